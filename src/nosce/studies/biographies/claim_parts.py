"""What several claims of biographies are made of."""

from __future__ import annotations

from typing import Literal

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Difference
from nosce.analysis.selection import Selection
from nosce.studies.biographies.selections import recall_precondition


def difference_claim(
    *,
    id: str,
    text: str,
    source: str,
    a: Selection,
    b: Selection,
    paper_value: float,
    memorised_by: tuple[str, ...],
    threshold: float = 0.15,
    direction: Literal["above", "below"] = "above",
    needs: tuple[Precondition, ...] = (),
) -> Claim:
    """A claim on the difference of two accuracies, judged where these arms have memorised the biographies."""
    return Claim(
        id=id,
        text=text,
        source=source,
        measure=Difference(a=a, b=b),
        threshold=threshold,
        direction=direction,
        paper_value=paper_value,
        preconditions=(*map(recall_precondition, memorised_by), *needs),
    )


def compared_arms(claim: Claim) -> set[str]:
    """The two arms that a claim's difference is of."""
    measure = claim.measure
    assert isinstance(measure, Difference)
    return {str(select.arm) for select in (measure.a, measure.b)}
