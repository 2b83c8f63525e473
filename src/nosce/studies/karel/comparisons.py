"""What probes of the study karel are compared with: baselines without the trained model, and other meanings."""

from __future__ import annotations

from nosce.analysis.headroom import GainTerm, NormalizedContrast
from nosce.analysis.measures import Difference, MinOf
from nosce.studies.karel.selections import ORIGINAL_ARM, state_probe_scores

#: What probes read without the trained model: of every feature the same.
BASELINES = ("constant", "bag/1", "surface/1", "untrained/1")


def gain_over_baselines(
    feature: str, offset: int, arm: str = ORIGINAL_ARM, suffix: str = "", baselines: tuple[str, ...] = BASELINES
) -> MinOf:
    """How much better probes read a state from the trained model than from the best baseline."""
    trained = state_probe_scores(feature, offset, arm=arm, suffix=suffix)
    floors = (state_probe_scores(feature, offset, floor, arm=arm, suffix=suffix) for floor in baselines)
    return MinOf(measures=tuple(Difference(a=trained, b=floor) for floor in floors))


def semantic_intervention(
    meaning: str, feature: str = "position", offset: int = 0, arm: str = ORIGINAL_ARM
) -> NormalizedContrast:
    """(Original's share of the room above its constant) - (other meaning's), trained minus untrained model."""
    terms: list[GainTerm] = []
    for source, sign in (("mean/1", 1.0), ("untrained/1", -1.0)):
        for compared_meaning, weight in (("original", sign), (meaning, -sign)):
            floor = state_probe_scores(feature, offset, "constant", compared_meaning, arm)
            terms.append((weight, state_probe_scores(feature, offset, source, compared_meaning, arm), floor))
    return NormalizedContrast(terms=tuple(terms))
