"""What the figures of the study biographies share: captions, selections, and bars from cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from nosce.analysis.figures import (
    BarCell,
    BarFigure,
)
from nosce.analysis.measures import Measure
from nosce.analysis.selection import Selection
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
)

Split = Literal["seen", "unseen"]
PEOPLE_BY_SPLIT: dict[Split, str] = {"seen": "people asked about in training", "unseen": "people never asked about"}
UNSEEN_QA = Selection(evaluation="questions", split="unseen", stage=FINETUNE_STAGE)
Q_PROBE_PANEL, P_PROBE_PANEL = "read from the name, first token", "read before the first value, first token"
INTERVAL_CAPTION = "Intervals over people and training seeds."
UNSEEN_PEOPLE_CAPTION = f"People of whom no question was ever trained. {INTERVAL_CAPTION}"


def bar_figure(
    id: str,
    title: str,
    caption: str,
    y_label: str,
    cells: Iterator[tuple[str, str, Measure, str, bool]],
    *,
    kind: Literal["bars", "matrix"] = "bars",
    x_label: str = "",
) -> BarFigure:
    """Bars of cells: tick, group, measure, panel, and whether the cell is a baseline."""
    figure_cells = []
    for tick, group, measure, panel, is_baseline in cells:
        figure_cells.append(BarCell(tick, group, measure, panel=panel, baseline=is_baseline))
    return BarFigure(
        id=id, title=title, caption=caption, y_label=y_label, cells=tuple(figure_cells), kind=kind, x_label=x_label
    )
