"""What a claim says of its threshold: levels in percent, differences of shares in points, other numbers as they are."""

import re

import polars as pl
import pytest

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.errors import SpecError

EXACT, NATS = Selection(evaluation="questions"), Selection(evaluation="questions", metric="nats", quantity="nats")


@pytest.mark.parametrize(
    ("measure", "shown"),
    [
        (Mean(selection=EXACT), "15 %"),
        (Difference(a=EXACT, b=EXACT), "15 points"),
        (MinOf(measures=(Difference(a=EXACT, b=EXACT),)), "15 points"),
        (Contrast(terms=((1.0, EXACT), (-1.0, EXACT))), "15 points"),
        (Contrast(terms=((0.5, EXACT), (0.5, EXACT))), "15 %"),
        (Difference(a=NATS, b=NATS), "0.15"),
    ],
)
def test_the_criterion_names_the_threshold_as_the_estimate_is_shown(measure, shown):
    """A reader compares the criterion with the number beside it, so both have one unit."""
    claim = Claim(id="c", text="t", source="s", measure=measure, threshold=0.15)
    assert claim.criterion == f"the whole 95 % interval lies above {shown}"


def test_the_criterion_of_an_equivalence_names_its_margin():
    """The margin has two signs, and is above 0."""
    measure = Difference(a=EXACT, b=EXACT)
    alike = Claim(id="c", text="t", source="s", measure=measure, threshold=0.05, direction="within")
    assert alike.criterion == "the whole 95 % interval lies within ±5 points"
    with pytest.raises(SpecError, match="the claim 'c' says that two things are alike within a margin of 0"):
        Claim(id="c", text="t", source="s", measure=measure, threshold=0.0, direction="within")


def paired_readings(n_strings: int, n_better: int) -> pl.DataFrame:
    """Two arms that are right alternately, the first also in so many of the strings in which it were wrong."""
    rows = []
    for n in range(n_strings):
        row = {"evaluation": "questions", "seed": 0, "entity": str(n), "stage": "pretrain", "step": 0, "split": "seen"}
        row |= {"attribute": "x", "item": str(n), "metric": "exact", "target": "", "answer": "", "outcome": "right"}
        rows += [
            row | {"arm": "a", "value": float(n % 2 or n < 2 * n_better)},
            row | {"arm": "b", "value": float(n % 2)},
        ]
    return pl.DataFrame(rows)


GAIN = Difference(a=Selection(evaluation="questions", arm="a"), b=Selection(evaluation="questions", arm="b"))


@pytest.mark.parametrize(
    ("n_better", "by_interval", "reason"),
    [
        (0, False, "the gain is 0.0 points and must be above 0 points"),
        (1, False, None),
        (1, True, r"the gain is 1.0 points \[-?\d.\d, \d.\d\] and the whole interval must lie above 0 points"),
        (20, True, None),
    ],
)
def test_a_precondition_by_interval_is_not_met_by_one_lucky_string(n_better, by_interval, reason):
    """A point estimate above the threshold may be chance; a difference of shares is shown in points."""
    needed = Precondition(text="the gain", measure=GAIN, above=0.0, by_interval=by_interval)
    found = needed.unmet_reason(paired_readings(100, n_better), "string")
    assert found is None if reason is None else re.fullmatch(reason, found)


def test_a_precondition_by_interval_needs_an_interval():
    """Strings that do not differ at all give none, and 20 points of nothing known are not met."""
    alike = pl.DataFrame(paired_readings(4, 0).filter(arm="a").with_columns(value=pl.lit(5.0)))
    nats = Mean(selection=Selection(evaluation="questions", quantity="nats"))
    needed = Precondition(text="the loss", measure=nats, above=0.0, by_interval=True)
    assert needed.unmet_reason(alike, "string") == (
        "the loss is 5 without an interval, and the interval must lie above 0"
    )
