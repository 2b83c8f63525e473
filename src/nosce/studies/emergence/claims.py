"""What the study emergence claims, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.emergence.forecasts import ForecastMethod
from nosce.analysis.emergence.jumps import JUMP_SHARE
from nosce.analysis.emergence.length_law import LengthLaw
from nosce.analysis.emergence.measures import ForecastSkill, LinkDrift, Steepness
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.emergence.test import MAX_LINK_DRIFT
from nosce.analysis.jackknife import JointExcess, Slope
from nosce.analysis.measures import Difference, Mean
from nosce.analysis.selection import Selection
from nosce.studies.emergence.selections import (
    EDIT_DISTANCE,
    NUMBER_DISTANCE,
    LengthRuns,
    SizeLadder,
    TransferRuns,
    VisionLadder,
    fresh_scores,
    length_attribute,
    problem_scores,
    readable_numbers,
)

MIN_READABLE = 0.9  # of the replies; a distance over fewer would be one of chosen problems
MIN_LENGTH_FALL = 0.2  # of exact match from the shortest to the longest answers; else there is no course to tell
METRIC_JUMP_LADDER, TRUE_JUMP_LADDER = (
    "products",
    "sums",
)  # the ladder whose jump should be the metric's, and the one whose is not


def emergence_claims(
    ladders: tuple[SizeLadder, ...],
    vision_ladders: tuple[VisionLadder, ...],
    lengths: LengthRuns | None = None,
    transfer: TransferRuns | None = None,
) -> tuple[Claim, ...]:
    """All claims of the study; those about lengths and transfer where such arms are trained."""
    by_name = {ladder.name: ladder for ladder in ladders}
    return (
        *_metric_jump_claims(by_name[METRIC_JUMP_LADDER]),
        *_true_jump_claims(by_name[TRUE_JUMP_LADDER]),
        *(c for vision_ladder in vision_ladders for c in _vision_claims(vision_ladder)),
        *(_length_claims(lengths) if lengths else ()),
        *(_transfer_claims(transfer) if transfer else ()),
    )


def _learned_precondition(ladder: SizeLadder) -> Precondition:
    return Precondition(
        text="exact match of the largest size",
        measure=Mean(selection=problem_scores(ladder.largest_arm)),
        above=0.5,
        by_interval=True,
    )


def jump_claim(scaling: ScalingCurveSpec, subject: str, *needs: Precondition, id: str | None = None) -> Claim:
    """The claim that the sharp score of a curve jumps."""
    return Claim(
        id=id or f"{scaling.id}-jumps",
        text=f"{subject} makes half of its rise within a quarter of the range of log size",
        source="arXiv:2304.15004, section 3 and 5: the sharp metric jumps; when a curve jumps is our definition",
        measure=Steepness(scaling=scaling, score="sharp"),
        threshold=JUMP_SHARE,
        preconditions=needs,
    )


def smooth_claim(scaling: ScalingCurveSpec, subject: str, *needs: Precondition) -> Claim:
    """The claim that the continuous score of a curve does not jump."""
    return Claim(
        id=f"{scaling.id}-smooth",
        text=f"{subject} of the same outputs makes less than half of its rise within any quarter",
        source="arXiv:2304.15004, section 3 and 5: a linear or continuous metric shows smooth change",
        measure=Steepness(scaling=scaling, score="continuous"),
        threshold=JUMP_SHARE,
        direction="below",
        preconditions=needs,
    )


def _metric_jump_claims(ladder: SizeLadder) -> Iterator[Claim]:
    learned = _learned_precondition(ladder)
    likelihood_scaling, edit_scaling = ladder.curve_by_size(), ladder.curve_by_size(EDIT_DISTANCE)
    yield jump_claim(likelihood_scaling, f"Exact match of {ladder.name}", learned, id=f"{ladder.name}-exact-jumps")
    yield smooth_claim(likelihood_scaling, f"The log-likelihood of {ladder.name}", learned)
    yield smooth_claim(edit_scaling, f"Edit distance of {ladder.name}", learned)
    yield smooth_claim(
        ladder.curve_by_size(NUMBER_DISTANCE),
        f"The distance of the answered from the right number of {ladder.name}",
        learned,
        Precondition(
            text="share of replies of the smallest size that hold a number",
            measure=Mean(selection=readable_numbers(ladder.smallest_arm)),
            above=MIN_READABLE,
            by_interval=True,
        ),
    )
    yield Claim(
        id="one-link",
        text=f"One link from log-likelihood to exact match of {ladder.name} holds at all sizes, up to a quarter "
        "of the rise",
        source="design of this study: a metric explains the jump only if one link holds at every size",
        measure=LinkDrift(scaling=likelihood_scaling),
        threshold=MAX_LINK_DRIFT,
        direction="below",
        preconditions=(learned,),
    )
    yield Claim(
        id="small-ones-can",
        text=f"The smallest size of {ladder.name} is right more often than the best constant answer",
        source="arXiv:2304.15004, section 3: with more items small models lie measurably above chance",
        measure=Difference(a=problem_scores(ladder.smallest_arm), b=_majority_accuracy(ladder.smallest_arm)),
        threshold=0.0,
    )
    rivals: tuple[tuple[ForecastMethod, str], ...] = (
        ("linked", "through a link from"),
        ("product", "as the exponential of"),
    )
    for forecast_method, words in rivals:
        yield Claim(
            id=f"foretold-{forecast_method}",
            text=f"At the sizes of this ladder, exact match of {ladder.name} at the next size is predicted with a "
            f"smaller error {words} the log-likelihood than from exact match itself",
            source="an objection of Jason Wei: nobody has shown exact match predicted from smooth scores",
            measure=ForecastSkill(scaling=likelihood_scaling, method="direct", reference=forecast_method),
            threshold=0.0,
            preconditions=(learned,),
        )
    middle_arm = ladder.points[len(ladder.points) // 2][1]
    yield Claim(
        id="places-hang-together",
        text=f"All digits of {ladder.name} are right more often than independent digits would be (the middle size)",
        source="design of this study: carries correlate the digits, so that accuracy is not p^L "
        "(arXiv:2304.15004, section 2)",
        measure=JointExcess(
            joint=problem_scores(middle_arm, f"first {ladder.answer_digits}"),
            marginals=tuple(problem_scores(middle_arm, f"place {n}") for n in range(1, ladder.answer_digits + 1)),
        ),
        threshold=0.0,
    )


def _majority_accuracy(arm: str) -> Selection:
    return Selection(evaluation="majority", arm=arm, split="unseen")


def _true_jump_claims(ladder: SizeLadder) -> Iterator[Claim]:
    learned = _learned_precondition(ladder)
    yield jump_claim(ladder.curve_by_size(), f"Exact match of {ladder.name}", learned, id=f"{ladder.name}-exact-jumps")
    yield Claim(
        id=f"{ladder.name}-break",
        text=f"The log-likelihood of {ladder.name} jumps too: half of its rise within a quarter of the range",
        source="design of this study: positions are learnt one by one, so that loss and edit distance jump too",
        measure=Steepness(scaling=ladder.curve_by_size(), score="continuous"),
        threshold=JUMP_SHARE,
        preconditions=(learned,),
    )


def _vision_claims(vision_ladder: VisionLadder) -> Iterator[Claim]:
    sharp, smooth, *_ = vision_ladder.metrics
    yield jump_claim(vision_ladder.curve_by_size, f"{vision_ladder.kind.capitalize()}, {sharp},")
    yield smooth_claim(vision_ladder.curve_by_size, f"{vision_ladder.kind.capitalize()}, {smooth.replace('_', ' ')}")
    if (curve := vision_ladder.per_image_curve) is not None:
        yield smooth_claim(curve, f"{vision_ladder.kind.capitalize()}, accuracy per image")


def _length_claims(runs: LengthRuns) -> Iterator[Claim]:
    """Exact match by the length of the answer, and the smallest size with as many problems as it takes."""
    exact, edit = _scores_by_length(runs, "exact"), _scores_by_length(runs, EDIT_DISTANCE)
    shortest, longest = runs.answer_lengths[0], runs.answer_lengths[-1]
    needs = (
        Precondition(
            text=f"exact match of answers of {shortest} digits",
            measure=Mean(selection=exact[shortest]),
            above=0.5,
            by_interval=True,
        ),
        Precondition(
            text=f"what exact match falls by from {shortest} to {longest} digits",
            measure=Slope(points=((0.0, exact[longest]), (1.0, exact[shortest]))),
            above=MIN_LENGTH_FALL,
            by_interval=True,
        ),
    )
    yield Claim(
        id="length-exact-geometric",
        text="Exact match falls with the length of the answer rather geometrically than linearly (the middle size)",
        source="arXiv:2304.15004, section 2 and 3: with every token to be right, accuracy is p^L",
        measure=LengthLaw(points=tuple((float(n), selection) for n, selection in exact.items())),
        threshold=0.0,
        preconditions=needs,
    )
    yield Claim(
        id="length-edit-linear",
        text="Edit distance rises with the length of the answer rather linearly than geometrically (the middle size)",
        source="arXiv:2304.15004, section 2 and 3: the expected distance is L (1 - p)",
        measure=LengthLaw(points=tuple((float(n), selection) for n, selection in edit.items())),
        threshold=0.0,
        direction="below",
        preconditions=needs,
    )
    arm = runs.smallest_arm
    yield Claim(
        id="small-ones-can-anew",
        text="Asked many problems that are drawn anew, the smallest size is right more often than the best constant "
        "answer of each length",
        source="arXiv:2304.15004, section 3: with more items small models lie measurably above chance",
        measure=Difference(a=fresh_scores(arm), b=fresh_scores(arm, "constant")),
        threshold=0.0,
    )


def _scores_by_length(runs: LengthRuns, metric: str) -> dict[int, Selection]:
    """The middle size's scores of answers of each length."""
    arm = runs.middle_arm
    return {n: problem_scores(arm, metric, attributes=length_attribute(n)) for n in runs.answer_lengths}


def _transfer_claims(runs: TransferRuns) -> Iterator[Claim]:
    """The mean over two tasks that are learnt together, and what the one does for the other."""
    alone, together = runs.compared_arms
    products_together = problem_scores(together, attributes=("*",))
    largest = Precondition(
        text="exact match of the largest size that learns both",
        measure=Mean(selection=problem_scores(runs.ladder.largest_arm)),
        above=0.5,
        by_interval=True,
    )
    yield Claim(
        id="together-mean-smooth",
        text="The mean of exact match over sums and products that are learnt together makes less than half of its rise "
        "within any quarter",
        source="an objection that abilities carry each other (Xia Hu); arXiv:2401.04757: a mean over tasks is "
        "predicted better than a single task",
        measure=Steepness(scaling=runs.ladder.curve_by_size(), score="sharp"),
        threshold=JUMP_SHARE,
        direction="below",
        preconditions=(largest,),
    )
    yield Claim(
        id="together-helps-products",
        text="Products are right more often where sums of the same numbers are learnt beside as many products (the "
        "middle size)",
        source="design of this study: what one task brings to another moves the curve of an ability",
        measure=Slope(points=((0.0, problem_scores(alone)), (1.0, products_together))),
        threshold=0.0,
        preconditions=(largest,),
    )
