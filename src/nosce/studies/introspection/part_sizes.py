"""How many requests each part of the protocol of introspection makes."""

from __future__ import annotations

from dataclasses import dataclass


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
