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
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse


@dataclass(eq=False)
class ResponseCache:
    """A file of replies by their keys."""

    path: Path
    _responses: dict[str, ChatResponse] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        whole = self.path.read_bytes()
        for line in whole.split(b"\n"):
            try:
                entry = json.loads(line)
                self._responses[entry["key"]] = ChatResponse.from_json(entry["reply"])
            except (ValueError, KeyError, TypeError):
                continue  # cut short when the process died
        if whole and not whole.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")  # so that the next line is not added to half of one

    def __len__(self) -> int:
        return len(self._responses)

    def get(self, key: str) -> ChatResponse | None:
        """The reply under a key, None where there is none."""
        return self._responses.get(key)

    def add(self, key: str, response: ChatResponse) -> None:
        """Keep a reply, on disk before this returns.

        Raises:
            StoreError: The disk refused.
        """
        line = json.dumps({"key": key, "reply": response.as_json()}, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise StoreError(f"a reply could not be kept in {self.path} ({error.strerror}); make room.") from error
            self._responses[key] = response


@dataclass(frozen=True, eq=False)
class CachedChatModel:
    """Whoever answers, asked only what is not known."""

    model: ChatModel
    cache: ResponseCache

    @property
    def model_id(self) -> str:
        """The name of who answers."""
        return self.model.model_id

    @property
    def spent(self) -> float | None:
        """What asking has cost, in the currency of its prices; None where who answers does not say."""
        return getattr(self.model, "spent", None)

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Known replies first; equal requests are asked once."""
        keys = [ask.cache_key(self.model_id) for ask in requests]
        indices_by_key: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            if (response := self.cache.get(key)) is not None:
                yield index, response
            else:
                indices_by_key.setdefault(key, []).append(index)
        uncached = list(indices_by_key.values())
        for position, response in self.model.complete([requests[mine[0]] for mine in uncached]):
            if self.cache.get(keys[uncached[position][0]]) is None:  # else whoever answers keeps them itself
                self.cache.add(keys[uncached[position][0]], response)
            for index in uncached[position]:
                yield index, response


@dataclass(frozen=True, eq=False)
class ReplayChatModel:
    """Nobody answers but the file: to make tables again without a model."""

    name: str
    cache: ResponseCache

    @property
    def model_id(self) -> str:
        """The name of who answered then."""
        return self.name

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """What was answered then.

        Raises:
            StoreError: Something was never answered.
        """
        for index, request in enumerate(requests):
            response = self.cache.get(request.cache_key(self.name))
            if response is None:
                raise StoreError(
                    f"{self.cache.path} has no reply of {self.name} to prompt {index + 1} of {len(requests)}; ask it "
                    "first."
                )
            yield index, response
