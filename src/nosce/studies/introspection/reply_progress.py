"""How far a protocol of prompts is: replies that are there, those of them found in the cache, and those to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nosce.models.api.base import ChatModel, ChatRequest
from nosce.models.api.cache import CachedChatModel
from nosce.pipeline.context import StepProgress
from nosce.studies.introspection.subjects import RunResources


@dataclass(frozen=True, kw_only=True)
class PartSizes:
    """Number of requests of each part of the protocol.

    Args:
        answers: One answer to every prompt.
        reports: One report about every property of every string of the unseen split.
        given: Reports about answers that the question quotes; at most, since they need answers with a label.
        sampled_answers: Samples of answers.
        sampled_reports: Samples of reports.
    """

    answers: int
    reports: int
    given: int
    sampled_answers: int
    sampled_reports: int

    def before_teaching(self, *, repeat_answers: bool) -> int:
        """Number of requests before anything is taught."""
        return self.answers * (2 if repeat_answers else 1) + self.reports

    def without_teaching(self) -> int:
        """Number of the other requests of a subject that cannot be taught."""
        return self.sampled_answers + self.sampled_reports

    def after_teaching(self, n_others: int) -> int:
        """Number of the other requests of a subject that was taught, and of so many other models that were."""
        subject = self.answers + 2 * self.reports + self.given + self.sampled_answers + 2 * self.sampled_reports
        return subject + n_others * (self.answers + 2 * self.reports + self.given + self.sampled_reports)


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
