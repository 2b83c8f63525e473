"""Replies that were paid for are kept: a line each in a file that is only ever added to.

A line that was being written when the process died is not whole, and is asked again; all others are never asked twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nosce.errors import StoreError
from nosce.models.api.base import Ask, Reply, Sampler


@dataclass(eq=False)
class Replies:
    """A file of replies by their keys."""

    path: Path
    _known: dict[str, Reply] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        whole = self.path.read_bytes()
        for line in whole.split(b"\n"):
            try:
                told = json.loads(line)
                self._known[told["key"]] = Reply.of_json(told["reply"])
            except (ValueError, KeyError, TypeError):
                continue  # cut short when the process died
        if whole and not whole.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")  # so that the next line is not added to half of one

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Reply | None:
        """The reply under a key, None where there is none."""
        return self._known.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply, on disk before this returns.

        Raises:
            StoreError: The disk refused.
        """
        line = json.dumps({"key": key, "reply": reply.as_json()}, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise StoreError(f"a reply could not be kept in {self.path} ({error.strerror}); make room.") from error
            self._known[key] = reply


@dataclass(frozen=True, eq=False)
class Cached:
    """Whoever answers, asked only what is not known."""

    sampler: Sampler
    known: Replies

    @property
    def answerer(self) -> str:
        """The name of who answers."""
        return self.sampler.answerer

    @property
    def spent(self) -> float | None:
        """What asking has cost, in the currency of its prices; None where who answers does not say."""
        return getattr(self.sampler, "spent", None)

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Reply]]:
        """Known replies first; equal asks are asked once."""
        keys = [ask.key(self.answerer) for ask in asks]
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            if (reply := self.known.get(key)) is not None:
                yield place, reply
            else:
                places.setdefault(key, []).append(place)
        missing = list(places.values())
        for number, reply in self.sampler.replies([asks[mine[0]] for mine in missing]):
            if self.known.get(keys[missing[number][0]]) is None:  # else whoever answers keeps them itself
                self.known.add(keys[missing[number][0]], reply)
            for place in missing[number]:
                yield place, reply


@dataclass(frozen=True, eq=False)
class Replayed:
    """Nobody answers but the file: to make tables again without a model."""

    name: str
    known: Replies

    @property
    def answerer(self) -> str:
        """The name of who answered then."""
        return self.name

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Reply]]:
        """What was answered then.

        Raises:
            StoreError: Something was never answered.
        """
        for place, ask in enumerate(asks):
            reply = self.known.get(ask.key(self.name))
            if reply is None:
                raise StoreError(
                    f"{self.known.path} has no reply of {self.name} to prompt {place + 1} of {len(asks)}; ask it first."
                )
            yield place, reply
