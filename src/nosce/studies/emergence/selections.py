"""The curves of the study emergence: what is sharp, what is continuous, and along what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from nosce.analysis.answer_numbers import NumberScore
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.selection import Selection
from nosce.analysis.stats.ranges import NON_POSITIVE, ValueRange

ITEM_SCORES_EVAL = "outcomes"
EDIT_DISTANCE, LOG_LIKELIHOOD, NUMBER_DISTANCE = "edit", "log_likelihood", "number distance"
FRESH_EVAL = "fresh"
#: The continuous scores of a ladder: name, quantity, and natural range where it is not that of the quantity.
LADDER_SCORES: dict[str, tuple[str, str, ValueRange | None]] = {
    LOG_LIKELIHOOD: ("log-likelihood", "nats", NON_POSITIVE),
    EDIT_DISTANCE: ("edit distance", "tokens", None),
    NUMBER_DISTANCE: ("number distance", "number distance", None),
}
EMERGENCE_STAGE = "pretrain"
DIGITS_ERROR_THRESHOLDS = (0.5, 1.5)  # squared errors of an image of 8 x 8
#: Metrics of what is seen: (sharp, continuous, is that the nats of the whole?), and what sizes are.
VISION_METRICS: dict[str, tuple[str, str, bool, str]] = {
    "reconstruction": ("within <c>", "squared_error", False, "units of the bottleneck"),
    "classes": ("all 10", "nats 10", True, "hidden units"),
    "sequences": ("all 5", "nats 5", True, "width"),
}
#: The accuracy per image of the same images, by kind.
PER_IMAGE_METRICS = {"classes": "right 10", "sequences": "right"}


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
        label = LADDER_SCORES[metric][0]
        is_log_likelihood = metric == LOG_LIKELIHOOD
        return ScalingCurveSpec(
            id=f"{self.name}-{label}".replace(" ", "-"),
            title=f"{self.name.capitalize()}, exact match beside {label}",
            x_label="weights",
            points=self.points,
            sharp=Selection(evaluation=ITEM_SCORES_EVAL),
            lower_is_better=not is_log_likelihood,
            continuous=(_score_selection(metric),),
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
class LengthRuns:
    """Arms that learnt problems of several lengths.

    Args:
        smallest_arm: The arm that is asked problems drawn anew.
        middle_arm: The arm whose answers are held against the law of lengths: chosen by its place among the sizes.
        arms: The arms by size, without the smallest.
        answer_lengths: Digits of the answers, ascending.
    """

    smallest_arm: str
    middle_arm: str
    arms: tuple[tuple[float, str], ...]
    answer_lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TransferRuns:
    """Arms that learnt sums and products together, beside those that learnt products alone.

    Args:
        ladder: The arms of both together.
        compared_arms: The arm of products alone and that of both, of the same middle width.
        alone: The arms of products alone, by size.
    """

    ladder: SizeLadder
    compared_arms: tuple[str, str]
    alone: tuple[tuple[float, str], ...]


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
    def per_image_curve(self) -> ScalingCurveSpec | None:
        """The sharp metric beside the accuracy per image of the same images; None where nothing is right or wrong."""
        if self.kind not in PER_IMAGE_METRICS:
            return None
        sharp_metric, _, _, x_label = self.metrics
        return ScalingCurveSpec(
            id=f"{self.kind}-per-image",
            title=f"{self.kind.capitalize()}, {sharp_metric} beside the accuracy per image",
            x_label=x_label,
            points=self.points,
            sharp=Selection(evaluation=self.kind, metric=sharp_metric),
            lower_is_better=False,
            log_likelihood=False,
            continuous=(Selection(evaluation=self.kind, metric=PER_IMAGE_METRICS[self.kind]),),
        )

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


def length_attribute(digits: int) -> tuple[str, ...]:
    """The attribute of problems whose answers have so many digits."""
    return (f"{digits} digits",)


def problem_scores(
    arm: str,
    metric: str = "exact",
    step: int | Literal["last", "every"] = "last",
    attributes: tuple[str, ...] = (),
) -> Selection:
    """What became of an arm's problems."""
    score = _score_selection(metric)
    return replace(score, arm=arm, stage=EMERGENCE_STAGE, step=step, split="unseen", attributes=attributes)


def readable_numbers(arm: str) -> Selection:
    """Whether each of an arm's replies holds a number."""
    return replace(problem_scores(arm), rescore=NumberScore(kind="readable", last_digit_first=True))


def fresh_scores(arm: str, metric: str = "exact", step: int | Literal["last"] = "last") -> Selection:
    """What became of problems that were drawn anew."""
    return Selection(evaluation=FRESH_EVAL, metric=metric, arm=arm, step=step, split="unseen")


def _score_selection(metric: str) -> Selection:
    """A score of all arms' problems; the distance of a number is taken from the replies of exact match."""
    if metric not in LADDER_SCORES:
        return Selection(evaluation=ITEM_SCORES_EVAL, metric=metric)
    _, quantity, limits = LADDER_SCORES[metric]
    if metric == NUMBER_DISTANCE:
        rescore = NumberScore(kind="distance", last_digit_first=True)
        return Selection(evaluation=ITEM_SCORES_EVAL, metric="exact", quantity=quantity, rescore=rescore)
    return Selection(evaluation=ITEM_SCORES_EVAL, metric=metric, quantity=quantity, limits=limits)
