"""Which readings the study karel speaks of, by name: for its claims and for its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.selection import PhaseStep, Selection
from nosce.analysis.training_curves import TrainingCurve

ORIGINAL_ARM, REASSIGNED_ARM = "original", "re-assigned"  # arms: what the words do to the boards of the training data
RANDOM_ARM = "random weights"  # an arm: a pretrained model's architecture alone
LOOPS_ARM = "loops and branches"  # an arm: programs with control flow
BOARDS_ARM = "8 x 8 boards"  # an arm: the paper's boards and number of pairs
SHARPEST_ALTERNATIVE = "alt3"  # the re-assignment of the paper's first version: no word keeps its effect
ALTERNATIVE_SEMANTICS = ("flip", SHARPEST_ALTERNATIVE, "alt5", "alt8", "alt11")
Step = int | Literal["last", "every"] | PhaseStep  # the checkpoints of a selection
#: Shares of the rise of generative accuracy at which babbling, syntax and semantics end (phases of the ICML version).
BABBLING_END, SYNTAX_END, SEMANTICS_END = 0.1, 0.25, 0.9
#: The last checkpoint of babbling. Accuracy rises from what the best single program reaches: of short programs on small
#: boards one is right for many specifications, so that a tenth of all would be no border.
LAST_BABBLING = PhaseStep(evaluation="written", metric="correct", floor="constant", rise_fraction=BABBLING_END)
#: Position is two labels that must both be right, as in the released code.
PROBE_FEATURES = (("direction", ("direction",)), ("position", ("rows", "cols")), ("front", ("front",)))
PROBE_OFFSETS = (-2, -1, 0, 1, 2)


def program_scores(
    metric: str = "correct", arm: str = ORIGINAL_ARM, step: Step = "last", evaluation: str = "written"
) -> Selection:
    """What became of the programs that are written for unseen specifications."""
    quantity = "share" if metric in ("correct", "strict", "reference") else "operations"
    return Selection(evaluation=evaluation, metric=metric, arm=arm, split="unseen", step=step, quantity=quantity)


def state_probe_scores(
    feature: str,
    offset: int,
    source: str = "mean/1",
    meaning: str = "original",
    arm: str = ORIGINAL_ARM,
    step: Step = "last",
    evaluation: str = "states",
    suffix: str = "",
) -> Selection:
    """Whether the states of the unseen specifications' programs were read right."""
    attribute = f"{feature} {offset:+d}{suffix}"
    return Selection(evaluation=evaluation, metric=f"{meaning}/{source}", arm=arm, attributes=(attribute,), step=step)


ACCURACY_CURVE = TrainingCurve(selection=program_scores(step="every"), rises_from=program_scores(evaluation="constant"))
DISTINCT_PROGRAMS_CURVE = TrainingCurve(selection=program_scores(step="every"), statistic="distinct")
MOST_COMMON_PROGRAM_CURVE = TrainingCurve(selection=program_scores(step="every"), statistic="commonest")
REFERENCE_NATS = Selection(
    evaluation="questions", metric="nats_per_token", arm=ORIGINAL_ARM, split="unseen", step="every", quantity="nats"
)
PERPLEXITY_CURVE = TrainingCurve(selection=REFERENCE_NATS, statistic="perplexity")


def semantic_content_curve(
    feature: str = "position", offset: int = 0, evaluation: str = "along", meaning: str = "original"
) -> TrainingCurve:
    """Semantic content over training: the probe's accuracy above the best constant on the same programs."""
    probe = state_probe_scores(feature, offset, meaning=meaning, step="every", evaluation=evaluation)
    return TrainingCurve(
        selection=probe,
        subtract=state_probe_scores(feature, offset, "constant", meaning, step="every", evaluation=evaluation),
    )


def all_features_scores(source: str, offset: int = 0, evaluation: str = "grid") -> Selection:
    """Whether a state's features were read right, each of them a reading."""
    attributes = tuple(f"{feature} {offset:+d}" for feature, _ in PROBE_FEATURES)
    return replace(state_probe_scores("position", offset, source, evaluation=evaluation), attributes=attributes)


def probe_bits_saved(feature: str, meaning: str = "original") -> Selection:
    """Bits a state that the hidden states save in telling a feature."""
    return Selection(
        evaluation="states",
        metric=f"{meaning}/bits/1",
        arm=ORIGINAL_ARM,
        attributes=(f"{feature} +0",),
        quantity="bits",
    )
