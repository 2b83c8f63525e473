"""Which claims a figure serves: those whose measure selects readings that the figure shows.

Both are read from the description of a plan's estimates, so that a page from the store alone can link them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nosce.pipeline.plan_record import PlanRecord
from nosce.store.spec import Json

_PLACES = ("arm", "stage", "split")  # of a selection; one that is null stands for any


@dataclass(frozen=True, kw_only=True)
class FigureClaims:
    """The claims that a figure serves, the best served first.

    Args:
        figure: The figure's id.
        claims: Ids of claims.
        shares: Of each claim's selections the share that the figure shows.
    """

    figure: str
    claims: tuple[str, ...]
    shares: tuple[float, ...]


def claims_of_figures(plan: PlanRecord) -> dict[str, FigureClaims]:
    """By a figure's id the claims that it serves; a figure or claim of somebody's own kind may have no selections."""
    spec = plan.steps[plan.estimates].description.get("spec")
    figures, claims = (_objects(spec, part) for part in ("figures", "claims"))
    of_claims = {str(claim.get("id")): list(_selections(claim.get("measure"))) for claim in claims}
    found = {}
    for figure in figures:
        shown = list(_selections(figure))
        shares = {}
        for claim, wanted in of_claims.items():
            n_shown = sum(any(_shows(one, other) for other in shown) for one in wanted)
            if n_shown:
                shares[claim] = n_shown / len(wanted)
        best = sorted(shares, key=lambda claim: -shares[claim])
        name = str(figure.get("id"))
        found[name] = FigureClaims(figure=name, claims=tuple(best), shares=tuple(shares[claim] for claim in best))
    return found


def lead_figure(plan: PlanRecord, claims: Sequence[str], figures: Sequence[str]) -> str:
    """The figure that carries the answer: the one that the study names, else the best for the first claim; "" if none.

    Args:
        plan: Record of the plan.
        claims: The claims that the answer tells, the leading one first.
        figures: Ids of the figures that there are to show, in their order.
    """
    if plan.lead_figure in figures:
        return plan.lead_figure
    serving = claims_of_figures(plan)
    for claim in claims:
        shares = {}
        for figure in figures:
            if figure in serving and claim in serving[figure].claims:
                served = serving[figure]
                shares[figure] = served.shares[served.claims.index(claim)]
        if shares:
            return max(shares, key=lambda figure: shares[figure])  # of equally good ones the first
    return ""


def _objects(spec: Json, part: str) -> list[dict[str, Json]]:
    entries = spec.get(part) if isinstance(spec, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _selections(part: Json) -> Iterator[dict[str, Json]]:
    """Every selection inside a description."""
    if isinstance(part, list):
        for entry in part:
            yield from _selections(entry)
    elif isinstance(part, dict):
        if "evaluation" in part and "metric" in part:
            yield part
        for entry in part.values():
            yield from _selections(entry)


def _shows(wanted: dict[str, Json], shown: dict[str, Json]) -> bool:
    """Does a figure's selection have readings of a claim's?"""
    if (wanted.get("evaluation"), wanted.get("metric")) != (shown.get("evaluation"), shown.get("metric")):
        return False
    return all(None in (wanted.get(name), shown.get(name)) or wanted[name] == shown[name] for name in _PLACES)
