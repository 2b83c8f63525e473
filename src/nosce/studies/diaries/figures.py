"""The figures of the study diaries: the paper's figures 2 to 6, and those that the paper does not have."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.figures import (
    BarCell,
    BarFigure,
    ConfusionMatrixFigure,
    Figure,
    LineFigure,
    LinePoint,
    TrainingCurveFigure,
)
from nosce.analysis.measures import Difference, Mean, Measure
from nosce.analysis.training_curves import TrainingCurve
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DIARY_ERROR_CLASSES
from nosce.data.worlds.diaries.world import recall_attribute
from nosce.models.architecture import Architecture, Pretrained
from nosce.models.folder import count_weights
from nosce.studies.diaries.arms import (
    MERGED,
    SCATTERED,
    SETUPS,
    grid_arm_name,
    random_arm_name,
)
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.count_figures import header_figures, localization_figure
from nosce.studies.diaries.further_figures import further_diaries_figures
from nosce.studies.diaries.selections import (
    SEEN_RECITATION,
    UNSEEN_DIARISTS_CAPTION,
    arms_by_size,
    recitation_by_entries,
    recitation_scores,
    reference_arm,
    stop_auc,
    stop_scores,
)


def diaries_figures(config: DiariesConfig) -> tuple[Figure, ...]:
    """All figures of the study, the paper's first."""
    paper_figures = (
        _size_figure(config),
        _setup_gap_figure(config),
        *((_diarists_figure(config),) if len(config.diarist_counts) > 1 else ()),
        _entries_figure(config),
        _confusion_figure(config),
    )
    extra_figures = (
        _faults_figure(config),
        _training_figure(config),
        _continuous_metrics_figure(config),
        *((localization_figure(config),) if config.has_primary_decoder else ()),
        *((_random_weights_figure(config),) if config.control_families else ()),
    )
    return (
        *paper_figures,
        *extra_figures,
        *header_figures(config),
        *((_extra_worlds_figure(config),) if config.extra_worlds else ()),
        *further_diaries_figures(config),
    )


def diaries_scaling_curves(config: DiariesConfig) -> tuple[ScalingCurveSpec, ...]:
    """Whole scattered diaries by the first family's size, beside the nats of their stop decisions and contents."""
    family = config.families[0]
    if len(config.sizes_by_family[family]) == 1:
        return ()
    points = tuple((size_axis_value(config, family, model_size), arm) for model_size, arm in arms_by_size(config))
    _, arm = points[0]
    sharp = recitation_scores(arm)
    continuous = [stop_scores(arm, metric) for metric in ("stops", "content")]
    return (
        ScalingCurveSpec(
            id="sizes",
            title="Is the rise with size a jump?",
            x_label=_size_label(config),
            points=points,
            sharp=replace(sharp, arm=None),
            continuous=tuple(replace(select, arm=None) for select in continuous),
        ),
    )


def size_axis_value(config: DiariesConfig, family: str, model_size: str) -> float:
    """Weights of the blocks' matrices, embeddings left out; all weights where the model is a folder."""
    model = config.model(family, model_size)
    if isinstance(model, Architecture):
        return float(model.parameter_count(0))
    return config.weights.get(f"{family} {model_size}") or float(count_weights(Path(model.folder)))


def _size_label(config: DiariesConfig) -> str:
    models = (config.model(family, size) for family in config.families for size in config.sizes_by_family[family])
    return "weights" if any(isinstance(model, Pretrained) for model in models) else "weights, embeddings left out"


def _entry_counts(config: DiariesConfig) -> list[int]:
    low, high = config.world.entries
    return list(range(low, high + 1))


def _sizes_trained_at(config: DiariesConfig, family: str, n_diarists: int) -> list[str]:
    """The sizes of a family that are trained at a number of diarists, smallest first."""
    trained_cells = config.trained_cells(family)
    return [size for size in config.sizes_by_family[family] if (size, n_diarists) in trained_cells]


def _size_figure(config: DiariesConfig) -> LineFigure:
    points = []
    for family in config.families:
        for setup in SETUPS:
            for count in config.diarist_counts:
                for model_size in _sizes_trained_at(config, family, count):
                    x = size_axis_value(config, family, model_size)
                    whole = Mean(selection=recitation_scores(grid_arm_name(family, model_size, count, setup)))
                    points.append(LinePoint(x, f"{count:,}", whole, panel=f"{family}, {setup}"))
    return LineFigure(
        id="ladder",
        title="Recalled whole, by size, family and number of diarists",
        caption=f"Share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole (figure 2 of the paper, whose "
        "solid lines are our scattered and whose dashed ones are our merged). A line is a number of diarists.",
        x_label=_size_label(config),
        y_label="recalled whole",
        points=tuple(points),
    )


def _setup_gap_figure(config: DiariesConfig) -> LineFigure:
    points = []
    for family in config.families:
        trained_cells = config.trained_cells(family)
        for model_size, count in product(config.sizes_by_family[family], config.diarist_counts):
            if (model_size, count) in trained_cells:
                gap = _setup_gap(family, model_size, count)
                points.append(LinePoint(float(count), model_size, gap, panel=family))
    return LineFigure(
        id="gap",
        title="What scattering costs",
        caption=f"Merged minus scattered: share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole (figure "
        "3). A line is a size.",
        x_label="diarists",
        y_label="merged minus scattered",
        points=tuple(points),
    )


def _diarists_figure(config: DiariesConfig) -> LineFigure:
    family = config.families[0]
    _, smallest, largest = config.primary_ladder
    counts_by_size = {
        largest: config.diarist_counts,
        smallest: tuple(dict.fromkeys((*config.diarist_counts, *config.extra_diarist_counts))),
    }
    points = []
    for panel, evaluation in (("never asked about", "written"), ("asked about in training", SEEN_RECITATION)):
        for model_size, counts in counts_by_size.items():
            for count in counts:
                arm = grid_arm_name(family, model_size, count, SCATTERED)
                whole = Mean(selection=recitation_scores(arm, evaluation=evaluation))
                points.append(LinePoint(float(count), model_size, whole, panel=panel))
    return LineFigure(
        id="more-diarists",
        title="Scattered diaries, by the number of diarists",
        caption=f"The smallest and the largest size of {family}: left {UNSEEN_DIARISTS_CAPTION}, right of people "
        "whose question was trained on. Where the right falls, the model has not even learnt its trained questions.",
        x_label="diarists",
        y_label="recalled whole",
        points=tuple(points),
    )


def _setup_gap(family: str, model_size: str, count: int) -> Measure:
    merged = recitation_scores(grid_arm_name(family, model_size, count, MERGED))
    scattered = recitation_scores(grid_arm_name(family, model_size, count, SCATTERED))
    return Difference(a=merged, b=scattered)


def _entries_figure(config: DiariesConfig) -> BarFigure:
    cells = []
    for setup in SETUPS:
        for model_size, arm in arms_by_size(config, setup):
            for n_entries in _entry_counts(config):
                whole = Mean(selection=recitation_by_entries(arm, n_entries))
                cells.append(BarCell(str(n_entries), model_size, whole, panel=setup))
    return BarFigure(
        id="by-number",
        title="Recalled whole, by the number of entries",
        caption=f"Share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole, at "
        f"{config.reference_diarists:,} diarists (figure 4); colours are sizes.",
        y_label="recalled whole",
        x_label="entries",
        cells=tuple(cells),
    )


def _confusion_figure(config: DiariesConfig) -> ConfusionMatrixFigure:
    entry_counts = _entry_counts(config)
    panels = []
    for family in config.families:
        sizes = config.sizes_by_family[family]
        for setup in SETUPS:
            for model_size in dict.fromkeys((sizes[0], sizes[-1])):
                arm = grid_arm_name(family, model_size, config.reference_diarists, setup)
                panels.append((f"{family} {model_size}, {setup}", recitation_scores(arm, "recalled")))
    more = config.encoder_decoder_diarists
    for family in config.trained_encoder_decoders if more else ():
        largest = config.sizes_by_family[family][-1]
        arm = grid_arm_name(family, largest, more, SCATTERED)
        panels.append((f"{family} {largest}, {more:,} diarists, scattered", recitation_scores(arm, "recalled")))
    return ConfusionMatrixFigure(
        id="recalled",
        title="Entries recited, by entries in the diary",
        caption=f"Percent of the replies {UNSEEN_DIARISTS_CAPTION}, at {config.reference_diarists:,} diarists "
        "unless a panel says otherwise (figures 5 and 6). Columns sum to 100; replies without a title are left "
        "out. All seeds together.",
        x_label="entries in the diary",
        y_label="entries recited",
        attributes=tuple((recall_attribute(k), str(k)) for k in entry_counts),
        max_count=entry_counts[-1] + 1,
        panels=tuple(panels),
    )


def _faults_figure(config: DiariesConfig) -> BarFigure:
    cells = []
    for family, setup in product(config.families, SETUPS):
        arm = reference_arm(config, setup, family)
        for fault in DIARY_ERROR_CLASSES:
            cells.append(BarCell(fault, setup, Mean(selection=recitation_scores(arm, f"fault/{fault}")), family))
    return BarFigure(
        id="faults",
        title="What goes wrong first",
        caption=f"Share of replies {UNSEEN_DIARISTS_CAPTION}, by the class of the first wrong unit; the largest size "
        f"at {config.reference_diarists:,} diarists.",
        y_label="share of replies",
        cells=tuple(cells),
    )


def _training_figure(config: DiariesConfig) -> TrainingCurveFigure:
    return TrainingCurveFigure(
        id="training",
        title="Recalling whole diaries over training",
        caption=f"Left of people whose question was trained on, right {UNSEEN_DIARISTS_CAPTION}; the largest size.",
        x_label="texts seen",
        y_label="recalled whole",
        x_per_step=float(config.training.batch_size),
        panels=(
            ("asked about in training", _recitation_curves(config, SEEN_RECITATION)),
            ("never asked about", _recitation_curves(config, "written")),
        ),
    )


def _recitation_curves(config: DiariesConfig, evaluation: str) -> tuple[tuple[str, TrainingCurve], ...]:
    """The curve of every family and setup, at the largest size, with its name."""
    curves = []
    for family, setup in product(config.families, SETUPS):
        every_step = recitation_scores(reference_arm(config, setup, family), evaluation=evaluation, step="every")
        curves.append((f"{family}, {setup}", TrainingCurve(selection=every_step)))
    return tuple(curves)


def _continuous_metrics_figure(config: DiariesConfig) -> LineFigure:
    """Sharp and continuous measures of the same replies beside each other."""
    family = config.families[0]
    points = []
    for setup in SETUPS:
        for model_size, arm in arms_by_size(config, setup):
            x = size_axis_value(config, family, model_size)
            for group, measure in (
                ("whole diaries", Mean(selection=recitation_scores(arm))),
                ("number of entries", Mean(selection=recitation_scores(arm, "count"))),
                ("content of entries", Mean(selection=recitation_scores(arm, "content"))),
                ("stops told from others (area)", stop_auc(arm)),
            ):
                points.append(LinePoint(x, group, measure, panel=setup))
    return LineFigure(
        id="continuous",
        title="Is it a jump?",
        caption=f"Whole diaries, and measures that have no threshold, {UNSEEN_DIARISTS_CAPTION}; the area under the "
        "curve, for which a half is chance, is of the probability of stopping behind true entries.",
        x_label=_size_label(config),
        y_label="share",
        points=tuple(points),
    )


def _random_weights_figure(config: DiariesConfig) -> BarFigure:
    """The smallest model of each family from its own weights and from random ones."""
    metrics = (("whole", "exact"), ("number of entries", "count"), ("content of entries", "content"))
    cells = []
    for family in config.control_families:
        smallest = config.sizes_by_family[family][0]
        pretrained = grid_arm_name(family, smallest, config.reference_diarists, SCATTERED)
        for start, arm in (("pretrained", pretrained), ("random weights", random_arm_name(config, family))):
            panel = f"{family} {smallest}"
            for group, metric in metrics:
                cells.append(BarCell(start, group, Mean(selection=recitation_scores(arm, metric)), panel))
            trained = Mean(selection=recitation_scores(arm, evaluation=SEEN_RECITATION))
            cells.append(BarCell(start, "whole, of trained questions", trained, panel, baseline=True))
    return BarFigure(
        id="random-start",
        title="The architecture or the weights?",
        caption=f"Scattered diaries {UNSEEN_DIARISTS_CAPTION}, of the smallest model from its pretrained weights and "
        "from weights drawn at random; dashes are the share of trained questions that is answered.",
        y_label="share",
        cells=tuple(cells),
    )


def _extra_worlds_figure(config: DiariesConfig) -> BarFigure:
    """Other shapes of diaries beside the grid's."""
    worlds = {"the grid's": replace(config.world, n_diarists=config.reference_diarists), **config.extra_worlds}
    metrics = (("whole", "exact"), ("number of entries", "count"), ("content of entries", "content"))
    cells = []
    for setup in SETUPS:
        for shape in worlds:
            arm = reference_arm(config, setup) if shape == "the grid's" else f"{shape} {setup}"
            for group, metric in metrics:
                cells.append(BarCell(shape, group, Mean(selection=recitation_scores(arm, metric)), setup))
            trained = Mean(selection=recitation_scores(arm, evaluation=SEEN_RECITATION))
            cells.append(BarCell(shape, "whole, of trained questions", trained, setup, baseline=True))
    descriptions = "; ".join(f"{shape}: {_describe_world(world)}" for shape, world in worlds.items())
    return BarFigure(
        id="shapes",
        title="Longer entries, longer diaries",
        caption=f"The largest size, {UNSEEN_DIARISTS_CAPTION}; dashes are the share of trained questions that is "
        f"answered. {descriptions}.",
        y_label="share",
        cells=tuple(cells),
    )


def _describe_world(world: Diaries) -> str:
    low, high = world.attributes
    facts = str(low) if low == high else f"{low} to {high}"
    return f"{world.n_diarists:,} diarists of {world.entries[0]} to {world.entries[1]} entries of {facts} facts"
