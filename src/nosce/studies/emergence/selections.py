"""The curves of the study emergence: what is sharp, what is continuous, and along what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nosce.analysis.emergence.scaling_curve import Scaling
from nosce.analysis.measures import Select

OUTCOMES = "outcomes"
EDIT, LIKELIHOOD = "edit", "log_likelihood"
STAGE = "pretrain"
#: Metrics of what is seen: (sharp, continuous, is that the nats of the whole?), and what sizes are.
SEEN: dict[str, tuple[str, str, bool, str]] = {
    "reconstruction": ("within 0.5", "squared_error", False, "units of the bottleneck"),
    "classes": ("all 10", "nats 10", True, "hidden units"),
    "sequences": ("all 5", "nats 5", True, "width"),
}


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Arms of one task by size."""

    name: str
    points: tuple[tuple[float, str], ...]  # weights in the blocks, arm
    steps: tuple[int, ...]  # at which they are looked at
    per_step: float  # tokens
    places: int  # of an answer
    beyond: tuple[tuple[float, str], ...] = ()  # larger ones of one seed, shown and not tested

    @property
    def top(self) -> str:
        """The arm of the largest size."""
        return self.points[-1][1]

    @property
    def bottom(self) -> str:
        """The arm of the smallest size."""
        return self.points[0][1]

    def by_size(self, metric: str = LIKELIHOOD) -> Scaling:
        """Exact match beside another score, over sizes."""
        words = {LIKELIHOOD: "log-likelihood", EDIT: "edit distance"}[metric]
        likely = metric == LIKELIHOOD
        return Scaling(
            id=f"{self.name}-{words}".replace(" ", "-"), title=f"{self.name.capitalize()}, exact match beside {words}",
            x_label="weights", points=self.points, sharp=Select(readout=OUTCOMES), lower_is_better=not likely,
            continuous=(Select(readout=OUTCOMES, metric=metric, quantity="nats" if likely else "tokens"),),
            log_likelihood=likely, tokens=float(self.places + 1) if likely else None,
        )  # fmt: skip

    @property
    def by_tokens(self) -> Scaling:
        """The same along the training of the largest size."""
        return Scaling(
            id=f"{self.name}-training", title=f"{self.name.capitalize()}, along the training of the largest size",
            x_label="tokens seen", points=tuple((step * self.per_step, self.top) for step in self.steps),
            steps=self.steps, sharp=Select(readout=OUTCOMES), lower_is_better=False, tokens=float(self.places + 1),
            continuous=(Select(readout=OUTCOMES, metric=LIKELIHOOD, quantity="nats"),),
        )  # fmt: skip

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """All that go to the mirage test."""
        return self.by_size(), self.by_size(EDIT), self.by_tokens


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Trials of one kind by size."""

    kind: str
    points: tuple[tuple[float, str], ...]

    @property
    def by_size(self) -> Scaling:
        """The sharp metric beside the smooth one."""
        sharp, smooth, nats, x_label = SEEN[self.kind]
        return Scaling(
            id=self.kind, title=f"{self.kind.capitalize()}, {sharp} beside {smooth.replace('_', ' ')}", x_label=x_label,
            points=self.points, sharp=Select(readout=self.kind, metric=sharp), log_likelihood=nats,
            continuous=(Select(readout=self.kind, metric=smooth, quantity="nats" if nats else "error"),),
        )  # fmt: skip


def outcome(arm: str, metric: str = "exact", step: int | Literal["last", "every"] = "last") -> Select:
    """What became of an arm's problems."""
    quantity = {EDIT: "tokens", LIKELIHOOD: "nats"}.get(metric, "share")
    return Select(readout=OUTCOMES, metric=metric, arm=arm, stage=STAGE, step=step, quantity=quantity, split="unseen")
