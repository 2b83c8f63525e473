"""The figures of the study biographies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, scaling_curve_over_training
from nosce.analysis.figures import (
    ArmBarFigure,
    ArmCurveFigure,
    BarFigure,
    Figure,
    LineFigure,
    LinePoint,
    TrainingCurveFigure,
)
from nosce.analysis.measures import Mean, Measure
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import TrainingCurve
from nosce.studies.biographies.arms import (
    arms_by_shuffled_share,
    arms_by_wordings,
    augmentation_arm,
    biographies_arms,
    finetuning_arm_name,
    mixed_arm_name,
    prose_arm_name,
    task_arm_name,
)
from nosce.studies.biographies.config import MULTI5_PERMUTE, SINGLE, BiographiesConfig
from nosce.studies.biographies.figure_parts import (
    INTERVAL_CAPTION,
    PEOPLE_BY_SPLIT,
    UNSEEN_PEOPLE_CAPTION,
    UNSEEN_QA,
    bar_figure,
)
from nosce.studies.biographies.further_figures import further_biographies_figures
from nosce.studies.biographies.probe_figures import contrast_figures, probe_figures
from nosce.studies.biographies.selections import (
    extraction_accuracy,
    first_token_accuracy,
    majority_accuracy,
    mixed_extraction_accuracy,
    recall_accuracy,
    task_accuracy,
)
from nosce.study import PRETRAIN


def augmentation_figures(augmentations: tuple[str, ...], exposures_per_step: float) -> tuple[Figure, ...]:
    """Accuracy per attribute against the majority guess, and how recall and extraction come about."""
    return (
        ArmBarFigure(
            id="accuracy",
            title="Questions about unseen people, by attribute",
            caption="Exact match of the whole answer after fine-tuning on questions about the other half of the "
            "people; bars are 95 % intervals over people and seeds, dashes are the most frequent answer.",
            y_label="exact match",
            selection=UNSEEN_QA,
            baseline=Selection(evaluation="majority", split="unseen", stage=PRETRAIN),
            arms=augmentations,
        ),
        ArmCurveFigure(
            id="recall",
            title="Memorising: recall inside the biographies, over pretraining",
            caption="Share of attribute values that are recalled whole, given the text before them.",
            x_label="exposures of each person",
            y_label="values recalled",
            panels=(("", Selection(evaluation="recall", stage=PRETRAIN, step="every")),),
            x_per_step=exposures_per_step,
            arms=augmentations,
        ),
        ArmCurveFigure(
            id="finetuning",
            title="Extracting: questions, over fine-tuning",
            caption="Exact match on questions that are trained on, and on those about people never asked about before.",
            x_label="optimizer steps of fine-tuning",
            y_label="exact match",
            panels=(
                ("people asked about in training", replace(UNSEEN_QA, split="seen", step="every")),
                ("people never asked about", replace(UNSEEN_QA, step="every")),
            ),
            arms=augmentations,
        ),
    )


def biographies_figures(config: BiographiesConfig) -> tuple[Figure, ...]:
    """All figures of the study."""
    augmentation_charts = augmentation_figures(config.augmentations, config.exposures_per_step)
    return (
        _augmentations_figure(config),
        *augmentation_charts,
        *((_mixed_training_figure(config),) if SINGLE in config.mixed_augmentations else ()),
        *(probe_figures(config) if config.reads_states else ()),
        *contrast_figures(config),
        *_dose_figures(config),
        *((_finetuning_figure(config),) if config.finetuning_grid else ()),
        *((_tasks_figure(config),) if config.tasks else ()),
        *((_capacity_figure(config),) if config.reads_states else ()),
        *further_biographies_figures(config),
    )


def _dose_figures(config: BiographiesConfig) -> Iterator[LineFigure]:
    if config.question_doses:
        yield _question_dose_figure(config)
    if wordings := arms_by_wordings(config):
        yield _dose_figure("wordings", "texts of each person, worded and shuffled anew", wordings, "log")
    if shares := arms_by_shuffled_share(config):
        yield _dose_figure("shuffled", "share of five wordings in shuffled order", shares, "linear")


def biographies_scaling_curves(config: BiographiesConfig) -> tuple[ScalingCurveSpec, ...]:
    """Recall over training of each row, and extraction along the number of texts."""
    checkpoint_steps = augmentation_arm(config, SINGLE).training.checkpoint_steps
    curves = recall_scaling_curves(config.augmentations, checkpoint_steps, config.exposures_per_step)
    return (*curves, _wordings_scaling_curve(config)) if config.wording_counts else curves


def _wordings_scaling_curve(config: BiographiesConfig) -> ScalingCurveSpec:
    return ScalingCurveSpec(
        id="extraction-by-wordings",
        title="Extraction along the number of texts",
        x_label="texts of each person",
        points=tuple((float(dose), arm) for dose, arm in arms_by_wordings(config).items()),
        sharp=replace(UNSEEN_QA, arm=None),
        continuous=(replace(UNSEEN_QA, metric="nats", quantity="nats"),),
        # A person's score is a mean over six attributes, of which no likelihood is the product.
        log_likelihood=False,
    )


def recall_scaling_curves(
    augmentations: tuple[str, ...], checkpoint_steps: tuple[int, ...], exposures_per_step: float
) -> tuple[ScalingCurveSpec, ...]:
    """Recall inside the biographies over training, a curve for each row."""
    return tuple(_recall_scaling_curve(row, checkpoint_steps, exposures_per_step) for row in augmentations)


def _recall_scaling_curve(
    augmentation: str, checkpoint_steps: tuple[int, ...], exposures_per_step: float
) -> ScalingCurveSpec:
    return scaling_curve_over_training(
        f"recall-{augmentation}",
        f"Recall of what is read, {augmentation}",
        augmentation,
        checkpoint_steps,
        exposures_per_step,
        Selection(evaluation="recall", stage=PRETRAIN),
        Selection(evaluation="recall", metric="nats", stage=PRETRAIN, quantity="nats"),
        x_label="exposures",
    )


def _augmentations_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        augmentations = dict.fromkeys(
            (
                *config.augmentations,
                *arms_by_wordings(config).values(),
                *arms_by_shuffled_share(config).values(),
                *config.coupled_augmentations,
                *map(prose_arm_name, config.prose_entries),
            )
        )
        for row in augmentations:
            yield row, "recalled in the texts", Mean(selection=recall_accuracy(row)), "", False
            yield row, "asked about unseen people", Mean(selection=extraction_accuracy(row)), "", False
            if row in config.mixed_augmentations:
                yield (
                    row,
                    "asked, questions mixed in",
                    Mean(selection=mixed_extraction_accuracy(mixed_arm_name(row))),
                    "",
                    False,
                )
            yield row, "majority guess", Mean(selection=majority_accuracy(row)), "", True

    return bar_figure(
        "rows",
        "Memorised, and extractable?",
        "Rows of the paper's table, doses, couples, and texts in free prose. Recall is of all people, "
        f"questions are about people never asked about. {INTERVAL_CAPTION}",
        "exact match",
        cells(),
    )


def _mixed_training_figure(config: BiographiesConfig) -> TrainingCurveFigure:
    arm = mixed_arm_name(SINGLE)
    selections = {
        "questions of people asked about": first_token_accuracy(arm, "questions", "seen"),
        "questions of the others": first_token_accuracy(arm, "questions", "unseen"),
        "biographies of people asked about": first_token_accuracy(arm, "recall", "seen"),
        "biographies of the others": first_token_accuracy(arm, "recall", "unseen"),
    }
    lines = tuple((label, TrainingCurve(selection=selection)) for label, selection in selections.items())
    training = next(a.training for a in biographies_arms(config) if a.name == arm)
    return TrainingCurveFigure(
        id="mixed",
        title="Questions among the biographies from the first step: what does the model learn when?",
        caption="First-token accuracy inside biographies and in questions, for people whose questions are "
        "trained on and for the others. One wording a person.",
        x_label="exposures of each person",
        y_label="first token right",
        panels=(("", lines),),
        x_per_step=(config.mixed_exposures or config.exposures) / training.steps,
        arm=arm,
    )


def _dose_figure(
    id: str, x_label: str, arms_by_dose: dict[int, str] | dict[float, str], x_scale: Literal["linear", "log"]
) -> LineFigure:
    points = []
    for dose, arm in arms_by_dose.items():
        for split, group in PEOPLE_BY_SPLIT.items():
            select = replace(extraction_accuracy(arm), split=split)
            points.append(LinePoint(float(dose), group, Mean(selection=select)))
        points.append(LinePoint(float(dose), "recalled in the texts", Mean(selection=recall_accuracy(arm))))
    return LineFigure(
        id=id,
        title=f"Dose: {x_label}",
        caption=f"Exact match after fine-tuning. {INTERVAL_CAPTION}",
        x_label=x_label,
        y_label="exact match",
        points=tuple(points),
        x_scale=x_scale,
    )


def _question_dose_figure(config: BiographiesConfig) -> LineFigure:
    panels = {
        "every person seen as often": [d for d in config.question_doses if not d.same_steps and d.exposures is None],
        "as many steps": [d for d in config.question_doses if d.same_steps],
        "as many tokens": [d for d in config.question_doses if d.exposures is not None],
    }
    points: list[LinePoint] = []
    for panel, doses in panels.items():
        for row in config.dose_augmentations if doses else ():
            arms = [(dose.qa_fraction, mixed_arm_name(row, dose)) for dose in doses]
            points += _question_dose_points(row, [*arms, (config.qa_fraction, mixed_arm_name(row))], panel)
    return LineFigure(
        id="questions-mixed",
        title="Dose: share of questions among the biographies of one wording",
        caption="Exact match at the end of mixed training, one training seed but for the largest share. More "
        "questions mean more texts where every "
        f"person is seen as often, and fewer exposures where there are as many steps. {INTERVAL_CAPTION}",
        x_label="share of texts that are questions",
        y_label="exact match",
        points=tuple(points),
        x_scale="linear",
    )


def _question_dose_points(row: str, arms: Sequence[tuple[float, str]], panel: str) -> Iterator[LinePoint]:
    """Extraction and recall of a row's mixed arms by their share of questions."""
    prefix = "" if row == SINGLE else f"{row}: "
    for share, arm in arms:
        measures = (
            ("questions about people never asked about", mixed_extraction_accuracy(arm)),
            ("recalled in the texts", recall_accuracy(arm)),
        )
        for group, select in measures:
            yield LinePoint(share, f"{prefix}{group}", Mean(selection=select), panel=panel)


def _finetuning_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for row, finetunings in config.finetuning_grids:
            for finetuning in ("as the rows", *(variant.name for variant in finetunings)):
                arm = row if finetuning == "as the rows" else finetuning_arm_name(row, finetuning)
                yield (
                    finetuning,
                    "people asked about",
                    Mean(selection=replace(extraction_accuracy(arm), split="seen")),
                    row,
                    False,
                )
                yield finetuning, "people never asked about", Mean(selection=extraction_accuracy(arm)), row, False
                yield finetuning, "majority guess", Mean(selection=majority_accuracy(row)), row, True

    return bar_figure(
        "recipes",
        "Other fine-tunings",
        f"Rates and decay of all weights, or ranks of updates of query, value and embedding. {INTERVAL_CAPTION}",
        "exact match",
        cells(),
    )


def _tasks_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for task, hints in config.tasks:
            arm, tick = task_arm_name(task, hints=hints > 0), task.replace("_", " ")
            group = "taught with hints, asked without" if hints else "taught and asked without a hint"
            yield tick, group, Mean(selection=task_accuracy(arm, task)), "", False
            if hints:
                yield tick, "asked with a hint", Mean(selection=task_accuracy(arm, f"{task}/hint")), "", False
            else:
                yield tick, "most frequent reply", Mean(selection=task_accuracy(arm, task, "majority")), "", True

    return bar_figure(
        "tasks",
        "What else can the model do with what it knows?",
        f"Tasks taught after {MULTI5_PERMUTE}; a reply with a hint is right if hint and answer are. "
        f"{UNSEEN_PEOPLE_CAPTION}",
        "exact match",
        cells(),
    )


def _capacity_figure(config: BiographiesConfig) -> ArmCurveFigure:
    return ArmCurveFigure(
        id="capacity",
        title="Bits of knowledge in a weight",
        caption="The formula of Part 3.3, for each person's first text. The most that a weight can hold (2 bits) "
        "is far "
        "away, since there are few people. Only at the last point has the learning rate decayed.",
        x_label="exposures of each person",
        y_label="bits a weight",
        unit="number",
        panels=(
            (
                "",
                Selection(
                    evaluation="capacity", metric="bits_per_weight", stage=PRETRAIN, step="every", quantity="bits"
                ),
            ),
        ),
        x_per_step=config.exposures_per_step,
        arms=config.augmentations,
    )
