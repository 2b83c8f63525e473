"""The curves of the study emergence: what is sharp, what is continuous, and along what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.selection import Selection
from nosce.analysis.stats.ranges import NON_POSITIVE

ITEM_SCORES_EVAL = "outcomes"
EDIT_DISTANCE, LOG_LIKELIHOOD = "edit", "log_likelihood"
EMERGENCE_STAGE = "pretrain"
DIGITS_ERROR_THRESHOLDS = (0.5, 1.5)  # squared errors of an image of 8 x 8
#: Metrics of what is seen: (sharp, continuous, is that the nats of the whole?), and what sizes are.
VISION_METRICS: dict[str, tuple[str, str, bool, str]] = {
    "reconstruction": ("within <c>", "squared_error", False, "units of the bottleneck"),
    "classes": ("all 10", "nats 10", True, "hidden units"),
    "sequences": ("all 5", "nats 5", True, "width"),
}


@dataclass(frozen=True, kw_only=True)
class SizeLadder:
    """Arms of one task by size."""

    name: str
    points: tuple[tuple[float, str], ...]  # weights in the blocks, arm
    checkpoint_steps: tuple[int, ...]  # at which they are looked at
    tokens_per_step: float  # tokens
    answer_digits: int  # of an answer
    untested_points: tuple[tuple[float, str], ...] = ()  # larger ones of one seed, shown and not tested

    @property
    def largest_arm(self) -> str:
        """The arm of the largest size."""
        return self.points[-1][1]

    @property
    def smallest_arm(self) -> str:
        """The arm of the smallest size."""
        return self.points[0][1]

    def curve_by_size(self, metric: str = LOG_LIKELIHOOD) -> ScalingCurveSpec:
        """Exact match beside another score, over sizes."""
        label = {LOG_LIKELIHOOD: "log-likelihood", EDIT_DISTANCE: "edit distance"}[metric]
        is_log_likelihood = metric == LOG_LIKELIHOOD
        return ScalingCurveSpec(
            id=f"{self.name}-{label}".replace(" ", "-"),
            title=f"{self.name.capitalize()}, exact match beside {label}",
            x_label="weights",
            points=self.points,
            sharp=Selection(evaluation=ITEM_SCORES_EVAL),
            lower_is_better=not is_log_likelihood,
            continuous=(
                Selection(
                    evaluation=ITEM_SCORES_EVAL,
                    metric=metric,
                    quantity="nats" if is_log_likelihood else "tokens",
                    limits=NON_POSITIVE if is_log_likelihood else None,
                ),
            ),
            log_likelihood=is_log_likelihood,
            target_tokens=float(self.answer_digits + 1) if is_log_likelihood else None,
        )

    @property
    def curve_by_tokens(self) -> ScalingCurveSpec:
        """The same along the training of the largest size."""
        return ScalingCurveSpec(
            id=f"{self.name}-training",
            title=f"{self.name.capitalize()}, along the training of the largest size",
            x_label="tokens seen",
            points=tuple((step * self.tokens_per_step, self.largest_arm) for step in self.checkpoint_steps),
            steps=self.checkpoint_steps,
            sharp=Selection(evaluation=ITEM_SCORES_EVAL),
            lower_is_better=False,
            target_tokens=float(self.answer_digits + 1),
            continuous=(
                Selection(evaluation=ITEM_SCORES_EVAL, metric=LOG_LIKELIHOOD, quantity="nats", limits=NON_POSITIVE),
            ),
        )

    @property
    def scaling_curves(self) -> tuple[ScalingCurveSpec, ...]:
        """All that go to the mirage test."""
        return self.curve_by_size(), self.curve_by_size(EDIT_DISTANCE), self.curve_by_tokens


@dataclass(frozen=True, kw_only=True)
class VisionLadder:
    """Trials of one kind by size."""

    kind: str
    points: tuple[tuple[float, str], ...]
    error_thresholds: tuple[float, ...] = DIGITS_ERROR_THRESHOLDS  # squared errors of an image
    size_label: str = ""  # what sizes are, if not what `VISION_METRICS` says
    images: str = ""  # the published data set; empty: scikit-learn's digits

    @property
    def metrics(self) -> tuple[str, str, bool, str]:
        """The sharp and the smooth metric, whether that is the nats of the whole, and what sizes are."""
        sharp, smooth, is_log_likelihood, x_label = VISION_METRICS[self.kind]
        sharp = sharp.replace("<c>", f"{self.error_thresholds[0]:g}")
        return sharp, smooth, is_log_likelihood, self.size_label or x_label

    @property
    def curve_by_size(self) -> ScalingCurveSpec:
        """The sharp metric beside the smooth one."""
        sharp_metric, smooth_metric, is_log_likelihood, x_label = self.metrics
        return ScalingCurveSpec(
            id=self.kind,
            title=f"{self.kind.capitalize()}, {sharp_metric} beside {smooth_metric.replace('_', ' ')}",
            x_label=x_label,
            points=self.points,
            sharp=Selection(evaluation=self.kind, metric=sharp_metric),
            log_likelihood=is_log_likelihood,
            continuous=(
                Selection(
                    evaluation=self.kind, metric=smooth_metric, quantity="nats" if is_log_likelihood else "error"
                ),
            ),
        )


def problem_scores(arm: str, metric: str = "exact", step: int | Literal["last", "every"] = "last") -> Selection:
    """What became of an arm's problems."""
    quantity = {EDIT_DISTANCE: "tokens", LOG_LIKELIHOOD: "nats"}.get(metric, "share")
    return Selection(
        evaluation=ITEM_SCORES_EVAL,
        metric=metric,
        arm=arm,
        stage=EMERGENCE_STAGE,
        step=step,
        quantity=quantity,
        limits=NON_POSITIVE if metric == LOG_LIKELIHOOD else None,
        split="unseen",
    )
