"""The figures of the study diaries: the paper's figures 2 to 6, and those that the paper does not have."""

from __future__ import annotations

import json
from dataclasses import replace
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
from nosce.analysis.jackknife import Auc
from nosce.analysis.measures import Contrast, Difference, Mean, Measure
from nosce.analysis.training_curves import TrainingCurve
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DIARY_ERROR_CLASSES
from nosce.data.worlds.diaries.world import recall_attribute
from nosce.models.architecture import Architecture, Pretrained
from nosce.studies.diaries.arms import (
    HEADER_MASKED,
    HEADER_NAME_ONLY,
    HEADER_NUMBER_FIRST,
    HEADER_REPEATED,
    MERGED,
    SCATTERED,
    SETUPS,
    grid_arm_name,
)
from nosce.studies.diaries.config import PAPER_ENCODER_DECODERS, DiariesConfig
from nosce.studies.diaries.selections import (
    HEADER_FREQUENCIES,
    SEEN_RECITATION,
    arms_by_size,
    count_probe_scores,
    header_nats,
    patched_stop_scores,
    recitation_by_entries,
    recitation_scores,
    reference_arm,
    stop_scores,
)

UNSEEN_DIARISTS_CAPTION = "of people who were never asked about"


def diaries_figures(config: DiariesConfig) -> tuple[Figure, ...]:
    """All figures of the study, the paper's first."""
    paper_figures = (
        _size_figure(config),
        _setup_gap_figure(config),
        _diarists_figure(config),
        _entries_figure(config),
        _confusion_figure(config),
    )
    extra_figures = (
        _faults_figure(config),
        _training_figure(config),
        _continuous_metrics_figure(config),
        _localization_figure(config),
    )
    return (
        *paper_figures,
        *extra_figures,
        *_header_figures(config),
        *((_extra_worlds_figure(config),) if config.extra_worlds else ()),
    )


def diaries_scaling_curves(config: DiariesConfig) -> tuple[ScalingCurveSpec, ...]:
    """Whole scattered diaries by the size of the first family, against what they cost to tell."""
    family = config.families[0]
    points = tuple((size_axis_value(config, family, model_size), arm) for model_size, arm in arms_by_size(config))
    exact, *nats = (
        replace(select, arm=None, split="unseen")
        for select in (
            recitation_scores(points[0][1]),
            stop_scores(points[0][1], "stops"),
            stop_scores(points[0][1], "content"),
        )
    )
    return (
        ScalingCurveSpec(
            id="sizes",
            title="Is the rise with size a jump?",
            x_label="weights, embeddings left out",
            points=points,
            sharp=exact,
            continuous=tuple(nats),
        ),
    )


def size_axis_value(config: DiariesConfig, family: str, model_size: str) -> float:
    """Weights of the blocks' matrices, embeddings left out; the rank of the size where the model is a folder."""
    model = config.model(family, model_size)
    if isinstance(model, Architecture):
        return float(model.parameter_count(0))
    return float(config.sizes_by_family[family].index(model_size) + 1)


def _entry_counts(config: DiariesConfig) -> list[int]:
    low, high = config.world.entries
    return list(range(low, high + 1))


def _size_figure(config: DiariesConfig) -> LineFigure:
    points = [
        LinePoint(
            size_axis_value(config, family, model_size),
            f"{count:,}",
            Mean(selection=recitation_scores(grid_arm_name(family, model_size, count, setup))),
            panel=f"{family}, {setup}",
        )
        for family in config.families
        for setup in SETUPS
        for count in config.diarist_counts
        for model_size in config.sizes_by_family[family]
        if (model_size, count) in config.trained_cells(family)
    ]
    return LineFigure(
        id="ladder",
        title="Recalled whole, by size, family and number of diarists",
        caption=f"Share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole (figure 2 of the paper, whose "
        "solid lines are our scattered and whose dashed ones are our merged). A line is a number of diarists.",
        x_label="weights, embeddings left out",
        y_label="recalled whole",
        points=tuple(points),
    )


def _setup_gap_figure(config: DiariesConfig) -> LineFigure:
    points = [
        LinePoint(float(count), model_size, _setup_gap(family, model_size, count), panel=family)
        for family in config.families
        for model_size in config.sizes_by_family[family]
        for count in config.diarist_counts
        if (model_size, count) in config.trained_cells(family)
    ]
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
    cells = [
        (model_size, count, grid_arm_name(family, model_size, count, SCATTERED))
        for model_size, counts in counts_by_size.items()
        for count in counts
    ]
    return LineFigure(
        id="more-diarists",
        title="Scattered diaries, by the number of diarists",
        caption=f"The smallest and the largest size of {family}: left {UNSEEN_DIARISTS_CAPTION}, right of people "
        "whose question was trained on. Where the right falls, the model has not even learnt its trained questions.",
        x_label="diarists",
        y_label="recalled whole",
        points=tuple(
            LinePoint(
                float(count), model_size, Mean(selection=recitation_scores(arm, evaluation=evaluation)), panel=panel
            )
            for panel, evaluation in (("never asked about", "written"), ("asked about in training", SEEN_RECITATION))
            for model_size, count, arm in cells
        ),
    )


def _setup_gap(family: str, model_size: str, count: int) -> Measure:
    merged, scattered = (
        recitation_scores(grid_arm_name(family, model_size, count, setup)) for setup in (MERGED, SCATTERED)
    )
    return Difference(a=merged, b=scattered)


def _entries_figure(config: DiariesConfig) -> BarFigure:
    arms = [(model_size, setup, arm) for setup in SETUPS for model_size, arm in arms_by_size(config, setup)]
    return BarFigure(
        id="by-number",
        title="Recalled whole, by the number of entries",
        caption=f"Share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole, at "
        f"{config.reference_diarists:,} diarists (figure 4); colours are sizes.",
        y_label="recalled whole",
        x_label="entries",
        cells=tuple(
            BarCell(str(k), model_size, Mean(selection=recitation_by_entries(arm, k)), panel=setup)
            for model_size, setup, arm in arms
            for k in _entry_counts(config)
        ),
    )


def _confusion_figure(config: DiariesConfig) -> ConfusionMatrixFigure:
    entry_counts = _entry_counts(config)
    return ConfusionMatrixFigure(
        id="recalled",
        title="Entries recited, by entries in the diary",
        caption=f"Percent of the replies {UNSEEN_DIARISTS_CAPTION}, at {config.reference_diarists:,} diarists "
        "(figures 5 and 6). Columns sum to 100; replies without a title are left out. All seeds together.",
        x_label="entries in the diary",
        y_label="entries recited",
        attributes=tuple((recall_attribute(k), str(k)) for k in entry_counts),
        max_count=entry_counts[-1] + 1,
        panels=tuple(
            (
                f"{family} {model_size}, {setup}",
                recitation_scores(grid_arm_name(family, model_size, config.reference_diarists, setup), "recalled"),
            )
            for family in config.families
            for setup in SETUPS
            for model_size in dict.fromkeys((config.sizes_by_family[family][0], config.sizes_by_family[family][-1]))
        ),
    )


def _faults_figure(config: DiariesConfig) -> BarFigure:
    return BarFigure(
        id="faults",
        title="What goes wrong first",
        caption=f"Share of replies {UNSEEN_DIARISTS_CAPTION}, by the class of the first wrong unit; the largest size "
        f"at {config.reference_diarists:,} diarists.",
        y_label="share of replies",
        cells=tuple(
            BarCell(
                fault,
                setup,
                Mean(selection=recitation_scores(reference_arm(config, setup, family), f"fault/{fault}")),
                family,
            )
            for family in config.families
            for setup in SETUPS
            for fault in DIARY_ERROR_CLASSES
        ),
    )


def _training_figure(config: DiariesConfig) -> TrainingCurveFigure:
    return TrainingCurveFigure(
        id="training",
        title="Recalling whole diaries over training",
        caption=f"Left of people whose question was trained on, right {UNSEEN_DIARISTS_CAPTION}; the largest size.",
        x_label="texts seen",
        y_label="recalled whole",
        x_per_step=float(config.training.batch_size),
        panels=tuple(
            (
                panel,
                tuple(
                    (f"{family}, {setup}", _recitation_curve(reference_arm(config, setup, family), evaluation))
                    for family in config.families
                    for setup in SETUPS
                ),
            )
            for panel, evaluation in (("asked about in training", SEEN_RECITATION), ("never asked about", "written"))
        ),
    )


def _recitation_curve(arm: str, evaluation: str) -> TrainingCurve:
    return TrainingCurve(selection=recitation_scores(arm, evaluation=evaluation, step="every"))


def _continuous_metrics_figure(config: DiariesConfig) -> LineFigure:
    """Sharp and continuous measures of the same replies beside each other."""
    family = config.families[0]
    points = []
    for setup in SETUPS:
        for model_size, arm in arms_by_size(config, setup):
            x = size_axis_value(config, family, model_size)
            stop_auc = Auc(positives=stop_scores(arm, "stop/last"), negatives=stop_scores(arm, "stop/before"))
            for group, measure in (
                ("whole diaries", Mean(selection=recitation_scores(arm))),
                ("number of entries", Mean(selection=recitation_scores(arm, "count"))),
                ("content of entries", Mean(selection=recitation_scores(arm, "content"))),
                ("stops told from others (area)", stop_auc),
            ):
                points.append(LinePoint(x, group, measure, panel=setup))
    return LineFigure(
        id="continuous",
        title="Is it a jump?",
        caption=f"Whole diaries, and measures that have no threshold, {UNSEEN_DIARISTS_CAPTION}; the area under the "
        "curve, for which a half is chance, is of the probability of stopping behind true entries.",
        x_label="weights, embeddings left out",
        y_label="share",
        points=tuple(points),
    )


def _num_layers(model: Architecture | Pretrained) -> int:
    """Blocks of an architecture, or of a pretrained folder's decoder."""
    if isinstance(model, Architecture):
        return model.layers
    from transformers import AutoConfig

    loaded = AutoConfig.for_model(**json.loads((Path(model.folder) / "config.json").read_text()))
    return int(loaded.get_text_config(decoder=True).num_hidden_layers)


def _localization_figure(config: DiariesConfig) -> BarFigure:
    cells = []
    arm = reference_arm(config).rpartition(" ")[0]
    family, _, largest = config.primary_ladder
    sites = [*(f"residual.{number}" for number in range(_num_layers(config.model(family, largest)))), "final"]
    for setup in SETUPS:
        setup_arm = f"{arm} {setup}"
        for site in sites:
            probe_metrics = {
                "at the question's end": f"question/{site}",
                "at a title's end": f"title/{site}",
                "shuffled numbers": f"shuffled/question/{site}",
            }
            cells += [
                BarCell(
                    site,
                    group,
                    Mean(selection=count_probe_scores(setup_arm, m)),
                    panel=f"number read by a probe, {setup}",
                )
                for group, m in probe_metrics.items()
            ]
            patch_metrics = {
                "question's last token": f"last/donor/{site}",
                "whole question": f"whole/donor/{site}",
                "whole, donor of equal number": f"whole/same/{site}",
            }
            cells += [
                BarCell(
                    site,
                    group,
                    Mean(selection=patched_stop_scores(setup_arm, m)),
                    panel=f"stops where the donor's ends, {setup}",
                )
                for group, m in patch_metrics.items()
            ]
        guess = Mean(selection=count_probe_scores(setup_arm, "constant/question"))
        unpatched = Mean(selection=patched_stop_scores(setup_arm, "unpatched"))
        for site in sites:
            baseline_label = "best constant, or unpatched"
            cells.append(BarCell(site, baseline_label, guess, f"number read by a probe, {setup}", baseline=True))
            cells.append(
                BarCell(site, baseline_label, unpatched, f"stops where the donor's ends, {setup}", baseline=True)
            )
    return BarFigure(
        id="where",
        title="Where is the number of entries represented?",
        caption=f"Linear probes by layer, {UNSEEN_DIARISTS_CAPTION}; and the share of hosts that stop behind as "
        "many entries "
        "as a donor with fewer has, with the donor's hidden states patched into the question.",
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
            cells += [
                BarCell(shape, group, Mean(selection=recitation_scores(arm, metric)), setup)
                for group, metric in metrics
            ]
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


def _header_figures(config: DiariesConfig) -> tuple[BarFigure, BarFigure]:
    plain = reference_arm(config)
    arms: dict[str, str] = {
        "plain": plain,
        "title's loss masked": HEADER_MASKED,
        "number before the name": HEADER_NUMBER_FIRST,
    }
    encoders = [f for f in config.families if f in PAPER_ENCODER_DECODERS]
    arms |= {f"{family}": reference_arm(config, SCATTERED, family) for family in encoders}
    if encoders:
        arms |= {"title repeated": HEADER_REPEATED, "title learnt": HEADER_NAME_ONLY}
    cells = []
    for label, arm in arms.items():
        stop_auc = Auc(positives=stop_scores(arm, "stop/last"), negatives=stop_scores(arm, "stop/before"))
        cells += [
            BarCell("stops told (area)", label, stop_auc),
            BarCell("whole", label, Mean(selection=recitation_scores(arm))),
            BarCell("number of entries", label, Mean(selection=recitation_scores(arm, "count"))),
        ]
    return _header_ablation_figure(tuple(cells)), _header_nats_figure(
        {"plain": plain, "number before the name": HEADER_NUMBER_FIRST}
    )


def _header_ablation_figure(cells: tuple[BarCell, ...]) -> BarFigure:
    return BarFigure(
        id="puzzle",
        title="Does the loss on titles store the number?",
        caption=f"{UNSEEN_DIARISTS_CAPTION.capitalize()}: how well stops are recognised (a half is chance), "
        "whole diaries, the number. "
        "Scattered documents, largest size. The last two are of flan-t5: with the title repeated, its encoder "
        "reads the title with the number; with the title learnt, its encoder reads the name alone.",
        y_label="share",
        cells=cells,
    )


def _header_nats_figure(arms: dict[str, str]) -> BarFigure:
    """What the number in a title costs a model that learns to write the title."""
    cells = []
    for label, arm in arms.items():
        saved = Contrast(terms=((1.0, header_nats(arm, evaluation=HEADER_FREQUENCIES)), (-1.0, header_nats(arm))))
        max_saved = Contrast(
            terms=(
                (1.0, header_nats(arm, evaluation=HEADER_FREQUENCIES)),
                (-1.0, header_nats(arm, "nats/own", HEADER_FREQUENCIES)),
            )
        )
        cells += [BarCell(label, "saved", saved), BarCell(label, "the most there is", max_saved, baseline=True)]
    return BarFigure(
        id="titles",
        title="What titles say about the number",
        caption="Nats that the number in a document's title costs less than a predictor that does not know the "
        "name, over "
        "all documents: a measure of the count that asks no question.",
        y_label="nats saved",
        cells=tuple(cells),
        unit="number",
    )
