"""Which readings the study karel speaks of, by name: for its claims and for its figures."""

from __future__ import annotations

from nosce.analysis.measures import Select
from nosce.analysis.training_curves import Curve

ORIGINAL, OTHER = "original", "re-assigned"  # arms: what the words do to the boards of the training data
SHARP = "alt3"  # the table of the paper's first version: the sharpest test (the sheet, section 5)
ALTERNATIVES = ("flip", SHARP, "alt5", "alt8", "alt11")
#: Position is two labels that must both be right, as in the released code.
FEATURES = (("direction", ("direction",)), ("position", ("rows", "cols")), ("front", ("front",)))
OFFSETS = (-2, -1, 0, 1, 2)


def programs(metric: str = "correct", arm: str = ORIGINAL, step: str = "last", readout: str = "written") -> Select:
    """What became of the programs that are written for unseen specifications."""
    quantity = "share" if metric in ("correct", "strict", "reference") else "operations"
    return Select(readout=readout, metric=metric, arm=arm, split="unseen", step=step, quantity=quantity)  # type: ignore[arg-type]


def states(
    feature: str,
    offset: int,
    source: str = "mean/1",
    meaning: str = "original",
    arm: str = ORIGINAL,
    step: str | int = "last",
    readout: str = "states",
    also: str = "",
) -> Select:
    """Whether the states of the unseen specifications' programs were read right."""
    facet = f"{feature} {offset:+d}{also}"
    return Select(readout=readout, metric=f"{meaning}/{source}", arm=arm, facets=(facet,), step=step)  # type: ignore[arg-type]


CORRECT = Curve(select=programs(step="every"))
DISTINCT = Curve(select=programs(step="every"), statistic="distinct")
COMMONEST = Curve(select=programs(step="every"), statistic="commonest")
PERPLEXITY = Curve(
    select=Select(readout="questions", metric="nats_per_token", arm=ORIGINAL, split="unseen", step="every",
                  quantity="nats"),
    statistic="perplexity",
)  # fmt: skip


def content(feature: str = "position", offset: int = 0, readout: str = "along", meaning: str = "original") -> Curve:
    """Semantic content over training: the probe's accuracy above the best constant on the same programs."""
    probe = states(feature, offset, meaning=meaning, step="every", readout=readout)
    return Curve(select=probe, minus=states(feature, offset, "constant", meaning, step="every", readout=readout))


def bits(feature: str, meaning: str = "original") -> Select:
    """Bits a state that the hidden states save in telling a feature."""
    return Select(
        readout="states", metric=f"{meaning}/bits/1", arm=ORIGINAL, facets=(f"{feature} +0",), quantity="bits"
    )
