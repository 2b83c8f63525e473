"""The replies of a run that asks models: where they are kept, their table, what they cost, and how far the run is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse
from nosce.models.api.budget import Budget
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.pipeline.context import StepContext, StepProgress
from nosce.seeds import Seed


@dataclass(frozen=True)
class RunResources:
    """Where one run of a protocol keeps its results, and the budget of all its requests.

    Args:
        context: The step.
        seed: For samples and teaching.
        budget: What the run may cost.
        sibling: Number of the seed with which models are taught; siblings were taught the same with other seeds.
        world_seed: The seed of the prompts that are asked, whose strings a lesson must not teach; None: not needed.
    """

    context: StepContext
    seed: Seed
    budget: Budget = field(default_factory=Budget)
    sibling: int = 0
    world_seed: Seed | None = None

    @classmethod
    def of_run(cls, context: StepContext, seed: Seed) -> RunResources:
        """With a budget that all steps and restarts of the run share."""
        name = context.runtime.ledger_name
        ledger = None if name is None else replies_folder(context) / name
        return cls(context, seed, Budget(context.runtime.max_cost, ledger, context.folder.name))

    @property
    def teaching_seed(self) -> Seed:
        """The seed with which models are taught."""
        return self.seed / "taught" / f"sibling {self.sibling}" if self.sibling else self.seed / "taught"

    @property
    def job_folder(self) -> Path:
        """Where the ids of fine-tuning jobs are kept."""
        return replies_folder(self.context)

    def response_cache(self, model_id: str) -> ResponseCache:
        """The file of a model's replies."""
        name = f"{hashlib.sha256(model_id.encode()).hexdigest()[:20]}.jsonl"
        return ResponseCache(replies_folder(self.context) / name)


def replies_folder(context: StepContext) -> Path:
    """The folder of everything that was paid for: of the store, or of a step without a store."""
    return (context.folder if context.store_root is None else context.store_root) / "replies"


class ReplyProgress:
    """Counts the replies of a run, and reports them.

    Args:
        resources: Where reports go, and the budget.
        total: Number of requests to expect.
    """

    def __init__(self, resources: RunResources, total: int) -> None:
        self.resources, self.total, self.done, self.cached = resources, total, 0, 0
        self._cached_to_come = 0  # of the requests under way

    def expect(self, difference: int) -> None:
        """So many more requests than expected will come, or fewer where the difference is negative."""
        self.total += difference

    def begin(self, model: ChatModel, requests: Sequence[ChatRequest]) -> None:
        """These requests are about to be made. Their cached replies come first, and are counted as such."""
        self._cached_to_come = model.count_cached(requests) if isinstance(model, CachedChatModel) else 0

    def complete(self, model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
        """The replies in the order of the requests, with a report of each."""
        responses: dict[int, ChatResponse] = {}
        self.begin(model, requests)
        for index, reply in model.complete(requests):
            responses[index] = reply
            self.add()
        return [responses[index] for index in range(len(requests))]

    def add(self) -> None:
        """A reply is there."""
        self.done += 1
        if self._cached_to_come:
            self._cached_to_come -= 1
            self.cached += 1
        self._report()

    def finish(self) -> None:
        """No more requests will come, however many were expected."""
        self.total = self.done
        self._report()

    def _report(self) -> None:
        spent = self.resources.budget.spent
        self.resources.context.progress(
            StepProgress(
                done=self.done,
                total=max(self.total, self.done),
                unit="replies",
                cached=self.cached,
                spent=spent or None,
            )
        )
