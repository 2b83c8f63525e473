"""What the mirage test found, in words, as JSON and as one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import SAID
from nosce.analysis.emergence.jumps import SHARE, WINDOW
from nosce.analysis.emergence.scores import Counts, Items
from nosce.analysis.emergence.test import Audit, Verdict
from nosce.analysis.render.figure import Figure

MEANING: dict[Verdict, str] = {
    "no jump": "The sharp score does not jump: it rises over the whole range of sizes, or does not rise.",
    "metric": "The jump is the metric's: the continuous score rises smoothly, and one link from it to the sharp score "
    "holds at every size.",
    "break": "The jump stays: the continuous score breaks too.",
    "unexplained": "The sharp score jumps while the continuous one does not, and no one link between them holds "
    "at every size: the metric alone does not explain it.",
    "under-resolved": "No verdict: the table does not tell these cases apart.",
}  # fmt: skip


def as_json(found: Audit) -> dict[str, object]:
    """All numbers; what is not defined is null."""
    return {name: _plain(value) for name, value in asdict(found).items()} | {"meaning": MEANING[found.verdict]}


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def lines(found: Audit) -> list[tuple[str, str]]:
    """What was found, number by number, as (what, value)."""
    told = [
        ("verdict", f"{found.verdict}: {found.why}"),
        ("sizes, seeds, items", f"{found.sizes}, {found.seeds}, {found.items:,.0f}"),
        ("sizes no better than guessing", f"{found.censored}; up to {found.detectable:.2%} may hide there"),
        ("the sharp score rises by", f"{found.sharp_rise:.1%}"),
        (f"of that within {WINDOW:.0%} of the log range",
         f"{found.sharp_share:.0%}, about {found.jumps_at:,.3g} (a jump from {SHARE:.0%}; a straight line: p = "
         f"{found.p_jump:.3f})"),
        ("emergence score E", f"{_number(found.emergence)} (a straight line exceeds {_number(found.emergence_null)} "
                              "once in twenty)"),
    ]  # fmt: skip
    if found.continuous_share is not None:
        told.append(("the continuous score, within so much", f"{found.continuous_share:.0%} of its rise"))
    if found.residual is not None and found.residual_low is not None and found.residual_high is not None:
        worst = max(range(len(found.residual)), key=lambda place: abs(found.residual[place]))  # type: ignore[index]
        told.append(("most that one link is off by", f"{found.residual[worst]:+.1%} [{found.residual_low[worst]:+.1%}, "
                                                     f"{found.residual_high[worst]:+.1%}]"))  # fmt: skip
    if found.product_residual is not None:
        worst_product = max(found.product_residual, key=abs)
        told.append(("most that p^L is off by", f"{worst_product:+.1%}"))
    if found.screening is not None:
        told.append(("telling the size too gains", f"{found.screening:+.4f} nats an outcome"))
    for how, said_ in SAID.items():
        if (told_ := found.foreseen.get(how)) is None:
            continue
        told.append((f"next size foretold, {said_}",
                     f"{told_['lost']:.3f} nats lost an outcome, off by {told_['error']:.1%}, 95 % intervals hold "
                     f"{told_['covered']:.0%} of {told_['n']:.0f}"))  # fmt: skip
    if found.two_groups is not None:
        told.append(("seeds of one group", f"p = {found.two_groups:.3f}"))
    said = ", ".join(f"{name} {share:.0%}" for name, share in found.frequencies.items() if share)
    told.append((f"of {found.draws:,} resamplings", said))
    return told


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "not defined"


def figure(
    scores: Items | Counts, found: Mapping[str, Any], title: str, x_label: str = "size", id: str = "audit"
) -> Figure:
    """Both scores over size, the continuous one between its least and its most, and what the link makes of it.

    Args:
        found: The audit as JSON.
    """
    sharp, smooth = scores.means()
    rows = [_row("sharp", size, value) for size, value in zip(scores.sizes, sharp.mean(0), strict=True)]
    if smooth is not None:
        mean = smooth.mean(0)
        spread = float(mean.max() - mean.min()) or 1.0
        scaled = (mean - mean.min()) / spread
        rows += [
            _row("continuous, 0 to 1 between its ends", size, v) for size, v in zip(scores.sizes, scaled, strict=True)
        ]
    if found["residual"] is not None:
        linked = sharp.mean(0) - np.array(found["residual"])
        rows += [_row("sharp, as the link has it", size, v) for size, v in zip(scores.sizes, linked, strict=True)]
    return Figure(
        id=id,
        title=title,
        caption=f"The mirage test: {found['verdict']}, {found['why']}. {found['meaning']}",
        kind="curves",
        x_label=x_label,
        y_label="score",
        x_scale="log",
        table=pl.DataFrame(rows),
    )


def _row(group: str, size: float, value: float) -> dict[str, object]:
    return {"panel": "", "group": group, "x": float(size), "tick": "", "value": float(value), "low": None, "high": None,
            "n": 0, "baseline": False}  # fmt: skip
