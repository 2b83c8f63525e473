"""A cache of replies: one line per reply in a file that is only appended to.

If a process dies while it writes a line, that line is incomplete and its request is sent again. No other request is
sent twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from nosce.errors import StoreError
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse


@dataclass(eq=False)
class ResponseCache:
    """Replies in a file, by the keys of their requests.

    Args:
        path: The file; it is created with its folder.
    """

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
                self._responses[str(entry["key"])] = ChatResponse.from_json(entry["reply"])
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue  # the process died while it wrote the line, or an earlier version kept what is no answer
        if whole and not whole.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")  # so that the next reply starts a line of its own

    def __len__(self) -> int:
        return len(self._responses)

    def get(self, key: str) -> ChatResponse | None:
        """The reply under a key; None where the cache has none."""
        return self._responses.get(key)

    def add(self, key: str, response: ChatResponse) -> None:
        """Append a reply to the file before returning.

        Raises:
            StoreError: The file cannot be written.
        """
        line = json.dumps({"key": key, "reply": response.as_json()}, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise StoreError(
                    f"a reply cannot be written to {self.path} ({error.strerror}); free some space."
                ) from error
            self._responses[key] = response


@runtime_checkable
class PaidModel(Protocol):
    """A chat model whose requests cost money."""

    @property
    def spent(self) -> float | None:
        """The cost of all requests, in the currency of the model's prices."""
        ...


@runtime_checkable
class BatchingModel(Protocol):
    """A chat model whose replies depend, by rounding, on the requests that are beside them in a batch."""

    def complete_needed(
        self, requests: Sequence[ChatRequest], needed: Collection[int]
    ) -> Iterator[tuple[int, ChatResponse]]:
        """The replies to some of the requests, in the batches that all of them give."""
        ...


@dataclass(frozen=True, eq=False)
class CachedChatModel:
    """A chat model that replies from a cache, and sends only requests without a cached reply.

    Args:
        model: The model for the other requests.
        cache: The cache, to which new replies are added.
    """

    model: ChatModel
    cache: ResponseCache

    @property
    def model_id(self) -> str:
        """The model's name."""
        return self.model.model_id

    @property
    def spent(self) -> float | None:
        """The cost of all requests in the currency of the model's prices; None for a model without prices."""
        return self.model.spent if isinstance(self.model, PaidModel) else None

    def count_cached(self, requests: Sequence[ChatRequest]) -> int:
        """How many of the requests have a reply in the cache, for which the model is not asked."""
        return sum(self.cache.get(request.cache_key(self.model_id)) is not None for request in requests)

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield cached replies first. Equal requests are sent once."""
        indices_by_key: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            indices_by_key.setdefault(request.cache_key(self.model_id), []).append(index)
        keys, uncached = list(indices_by_key), []
        for place, key in enumerate(keys):
            if (response := self.cache.get(key)) is None:
                uncached.append(place)
                continue
            for index in indices_by_key[key]:
                yield index, response
        different = [requests[indices[0]] for indices in indices_by_key.values()]
        for place, response in self._replies(different, uncached):
            if self.cache.get(keys[place]) is None:  # else the model itself has added the reply
                self.cache.add(keys[place], response)
            for index in indices_by_key[keys[place]]:
                yield index, response

    def _replies(self, requests: Sequence[ChatRequest], uncached: Sequence[int]) -> Iterator[tuple[int, ChatResponse]]:
        """The model's replies to the requests at these places."""
        if not uncached:
            return
        if isinstance(self.model, BatchingModel):
            yield from self.model.complete_needed(requests, frozenset(uncached))
            return
        for position, response in self.model.complete([requests[place] for place in uncached]):
            yield uncached[position], response


@dataclass(frozen=True, eq=False)
class ReplayChatModel:
    """A chat model that replies from a cache alone, to make tables again without the model.

    Args:
        name: The `model_id` of the model whose replies are cached.
        cache: The cache.
    """

    name: str
    cache: ResponseCache

    @property
    def model_id(self) -> str:
        """The name of the model whose replies are cached."""
        return self.name

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield the cached replies.

        Raises:
            StoreError: The cache lacks a reply.
        """
        for index, request in enumerate(requests):
            response = self.cache.get(request.cache_key(self.name))
            if response is None:
                raise StoreError(
                    f"{self.cache.path} has no reply of {self.name} to prompt {index + 1} of {len(requests)}; ask the "
                    "model first."
                )
            yield index, response
