"""What a claim says of its threshold: levels in percent, differences of shares in points, other numbers as they are."""

import pytest

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection

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
