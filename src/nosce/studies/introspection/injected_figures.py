"""The figures of injected states: detections and names by strength and by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nosce.analysis.figures import BarCell, BarFigure, Figure, LineFigure, LinePoint
from nosce.analysis.measures import Mean
from nosce.evals.injection.readings import TrialKind
from nosce.studies.introspection.injected_selections import ConceptSplit, InjectedReadings, over_concepts


@dataclass(frozen=True, kw_only=True)
class InjectedSeries:
    """What the figures show of one model.

    Args:
        panels: Title -> the readings, e.g. before and after teaching.
        strengths: The tested strengths.
        sites: Number of blocks below each tested place -> the place.
        suffix: The end of the figures' ids.
        title: What the titles say of the model.
    """

    panels: dict[str, InjectedReadings]
    strengths: tuple[float, ...]
    sites: Mapping[int, str]
    suffix: str = ""
    title: str = ""


def injection_figures(series: InjectedSeries) -> Iterator[Figure]:
    """Detections by strength and by layer, names by strength, and the controls."""
    yield _strength_figure(series, "yes", "injected-strengths", "Is a concept injected?", "replies that say yes")
    yield _strength_figure(series, "names", "injected-names", "Which concept is injected?", "replies that name it")
    yield _layer_figure(series)
    yield _control_figure(series)


#: Curve -> the kind of trials, the split of their concepts, and whether it is a reference.
CURVES: dict[str, tuple[TrialKind, ConceptSplit | None, bool]] = {
    "taught concepts": ("concept", "seen", False),
    "untaught concepts": ("concept", "unseen", False),
    "random directions": ("random", None, False),
    "nothing": ("none", None, True),
}


def _strength_figure(series: InjectedSeries, metric: str, figure_id: str, title: str, y_label: str) -> LineFigure:
    points = []
    for panel, readings in series.panels.items():
        for curve, (kind, split, is_reference) in CURVES.items():
            shown = "names any" if metric == "names" and kind != "concept" else metric
            for strength in series.strengths:
                measure = Mean(selection=readings.scores(shown, kind, split, strengths=(strength,)))
                points.append(LinePoint(strength, curve, over_concepts(measure), panel=panel, baseline=is_reference))
    named = " Of random directions and of nothing: replies that name any concept." if metric == "names" else ""
    return LineFigure(
        id=f"{figure_id}{series.suffix}",
        title=f"{title}{series.title}",
        caption=f"By strength, in units of the residual stream's mean norm, at the layer of teaching.{named} Intervals "
        "over concepts.",
        x_label="strength of the injection",
        y_label=y_label,
        points=tuple(points),
    )


def _layer_figure(series: InjectedSeries) -> LineFigure:
    points = []
    for panel, readings in series.panels.items():
        for curve, (kind, split, is_reference) in CURVES.items():
            for layer, site in series.sites.items():
                measure = over_concepts(Mean(selection=readings.scores("yes", kind, split, site=site)))
                points.append(LinePoint(float(layer), curve, measure, panel=panel, baseline=is_reference))
    return LineFigure(
        id=f"injected-layers{series.suffix}",
        title=f"Where is an injected concept detected?{series.title}",
        caption="By layer, at the taught strengths. Reports were taught at one layer.",
        x_label="layer",
        y_label="replies that say yes",
        x_scale="linear",
        points=tuple(points),
    )


def _control_figure(series: InjectedSeries) -> BarFigure:
    cells = []
    for panel, readings in series.panels.items():
        bars: dict[str, tuple[str, TrialKind, ConceptSplit | None]] = {
            "taught concept": ("yes", "concept", "seen"),
            "untaught concept": ("yes", "concept", "unseen"),
            "random direction": ("yes", "random", None),
            "nothing": ("yes", "none", None),
            "word in the prompt": ("yes", "prompt", None),
        }
        for tick, (metric, kind, split) in bars.items():
            for group, shown in (("says yes", metric), ("probability of yes", "yes probability")):
                cells.append(
                    BarCell(tick, group, over_concepts(Mean(selection=readings.scores(shown, kind, split))), panel)
                )
        read = over_concepts(Mean(selection=readings.scores("names", "read", None)))
        cells.append(BarCell("word that is read", "names it", read, panel))
    return BarFigure(
        id=f"injected-controls{series.suffix}",
        title=f"What must be reported, and what must not{series.title}",
        caption="At the taught layer and strengths. Random directions, nothing and a word in the prompt must not be "
        "reported; a word that the question quotes must be named.",
        y_label="share of replies",
        cells=tuple(cells),
    )
