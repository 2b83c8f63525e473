"""The result of the mirage test in words, as JSON and as one figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np

from nosce.analysis.emergence.forecasts import FORECAST_METHOD_LABELS
from nosce.analysis.emergence.jumps import JUMP_SHARE, JUMP_WINDOW
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.test import EmergenceVerdict, MirageTestResult
from nosce.analysis.render.figure import FigureData, FigureRow, figure_table
from nosce.analysis.stats.arrays import FloatArray

VERDICT_MEANINGS: dict[EmergenceVerdict, str] = {
    "no jump": "The sharp score does not jump: it rises over the whole range of sizes, or does not rise.",
    "metric": "The jump is the metric's: the continuous score rises smoothly, and one link from it to the sharp score "
    "holds at every size.",
    "break": "The jump stays: the continuous score breaks too.",
    "unexplained": "The sharp score jumps while the continuous one does not, and no one link between them holds "
    "at every size: the metric alone does not explain it.",
    "under-resolved": "No verdict: the table does not tell these cases apart.",
}


def mirage_result_json(result: MirageTestResult) -> dict[str, object]:
    """All numbers of the result; undefined numbers are null."""
    return {name: _plain(value) for name, value in asdict(result).items()} | {
        "meaning": VERDICT_MEANINGS[result.verdict]
    }


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def mirage_result_rows(result: MirageTestResult) -> list[tuple[str, str]]:
    """The result as rows of a table: what a number is, and the number."""
    rows = [
        ("verdict", f"{result.verdict}: {result.why}"),
        ("sizes, seeds, items", f"{result.sizes}, {result.seeds}, {result.items:,.0f}"),
        (
            "sizes no better than guessing",
            f"{result.n_chance_sizes}; up to {result.detection_limit:.2%} may hide there",
        ),
        ("the sharp score rises by", f"{result.sharp_rise:.1%}"),
        (
            f"of that within {JUMP_WINDOW:.0%} of the log range",
            f"{result.sharp_window_share:.0%}, about {result.jump_size:,.3g} (a jump from {JUMP_SHARE:.0%}; a "
            f"straight line: p = {result.p_linear:.3f})",
        ),
        (
            "emergence score E",
            f"{_defined_number(result.emergence_score)} (a straight line exceeds "
            f"{_defined_number(result.emergence_score_null)} once in twenty)",
        ),
    ]
    rows += _link_rows(result)
    rows += _forecast_rows(result)
    if result.p_single_group is not None:
        rows.append(("seeds of one group", f"p = {result.p_single_group:.3f}"))
    frequencies = ", ".join(f"{name} {share:.0%}" for name, share in result.frequencies.items() if share)
    rows.append((f"of {result.resamples:,} resamplings", frequencies))
    return rows


def _link_rows(result: MirageTestResult) -> Iterator[tuple[str, str]]:
    """The continuous score, and what it explains of the sharp one."""
    if result.continuous_window_share is not None:
        yield "the continuous score, within so much", f"{result.continuous_window_share:.0%} of its rise"
    if result.residual is not None and result.residual_low is not None and result.residual_high is not None:
        ranges = zip(result.residual, result.residual_low, result.residual_high, strict=True)
        worst, low, high = max(ranges, key=lambda size_range: abs(size_range[0]))
        yield "most that one link is off by", f"{worst:+.1%} [{low:+.1%}, {high:+.1%}]"
    if result.product_residual is not None:
        yield "most that p^L is off by", f"{max(result.product_residual, key=abs):+.1%}"
    if result.size_gain_nats is not None:
        yield "telling the size too gains", f"{result.size_gain_nats:+.4f} nats an outcome"


def _forecast_rows(result: MirageTestResult) -> Iterator[tuple[str, str]]:
    """How well each method forecasts the next size."""
    for method, label in FORECAST_METHOD_LABELS.items():
        if (score := result.forecast_scores.get(method)) is None:
            continue
        yield (
            f"next size foretold, {label}",
            f"{score['excess_nats']:.3f} nats lost an outcome, off by {score['error']:.1%}, 95 % intervals hold "
            f"{score['covered_95']:.0%} of {score['n']:.0f}",
        )


def _defined_number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "not defined"


def mirage_figure(
    outcomes: ItemOutcomes | CountOutcomes,
    result_json: Mapping[str, object],
    title: str,
    x_label: str = "size",
    id: str = "audit",
) -> FigureData:
    """Both scores over size, and the link's prediction; the continuous score is scaled to its range.

    Args:
        result_json: The audit as JSON.
    """
    sharp, smooth = outcomes.means()
    rows = list(_curve_rows("sharp", outcomes.sizes, sharp.mean(0)))
    if smooth is not None:
        mean = smooth.mean(0)
        spread = float(mean.max() - mean.min()) or 1.0
        rows += _curve_rows("continuous, 0 to 1 between its ends", outcomes.sizes, (mean - mean.min()) / spread)
    if result_json["residual"] is not None:
        linked = sharp.mean(0) - np.array(result_json["residual"])
        rows += _curve_rows("sharp, as the link has it", outcomes.sizes, linked)
    return FigureData(
        id=id,
        title=title,
        caption=f"The mirage test: {result_json['verdict']}, {result_json['why']}. {result_json['meaning']}",
        kind="curves",
        x_label=x_label,
        y_label="score",
        x_scale="log",
        table=figure_table(rows),
    )


def _curve_rows(group: str, sizes: FloatArray, values: FloatArray) -> Iterator[FigureRow]:
    for size, value in zip(sizes, values, strict=True):
        yield FigureRow(group=group, x=float(size), value=float(value))
