"""The figures of the study biographies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, scaling_curve_over_training
from nosce.analysis.figures import (
    ArmBarFigure,
    ArmCurveFigure,
    BarCell,
    BarFigure,
    Figure,
    LineFigure,
    LinePoint,
    TrainingCurveFigure,
)
from nosce.analysis.measures import Mean, Measure
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import TrainingCurve
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
    arms_by_shuffled_share,
    arms_by_wordings,
    augmentation_arm,
    bidirectional_arm_name,
    biographies_arms,
    finetuning_arm_name,
    mixed_arm_name,
    prose_arm_name,
    task_arm_name,
)
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    MULTI5_PERMUTE_FULLNAME,
    SINGLE,
    SINGLE_PERMUTE1,
    TWO_AUGMENTATIONS,
    WITH_CELEBRITIES,
    BiographiesConfig,
)
from nosce.studies.biographies.evals import (
    TOKEN_RECALL,
    q_probe_name,
    rank0_probe_name,
)
from nosce.studies.biographies.further_figures import further_biographies_figures
from nosce.studies.biographies.selections import (
    control_p_probe_accuracy,
    control_q_probe_accuracy,
    extraction_accuracy,
    first_token_accuracy,
    majority_accuracy,
    minority_p_probe_accuracy,
    minority_q_probe_accuracy,
    mixed_extraction_accuracy,
    q_probe_accuracy,
    recall_accuracy,
    task_accuracy,
)
from nosce.study import PRETRAIN

Split = Literal["seen", "unseen"]
PEOPLE_BY_SPLIT: dict[Split, str] = {"seen": "people asked about in training", "unseen": "people never asked about"}
UNSEEN_QA = Selection(evaluation="questions", split="unseen", stage=FINETUNE_STAGE)
Q_PROBE_PANEL, P_PROBE_PANEL = "read from the name, first token", "read before the first value, first token"
INTERVAL_CAPTION = "Intervals over people and training seeds."
UNSEEN_PEOPLE_CAPTION = f"People of whom no question was ever trained. {INTERVAL_CAPTION}"


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
    probes: tuple[Figure, ...] = (
        _p_probe_figure(),
        _q_probe_figure(config),
        _probe_vs_extraction_figure(config),
        *_probe_train_size_figures(config),
        _layers_figure(config),
    )
    doses = (
        _question_dose_figure(config),
        _dose_figure("wordings", "texts of each person, worded and shuffled anew", arms_by_wordings(config), "log"),
        _dose_figure("shuffled", "share of five wordings in shuffled order", arms_by_shuffled_share(config), "linear"),
    )
    return (
        _augmentations_figure(config),
        *augmentation_charts,
        _mixed_training_figure(config),
        *probes,
        _celebrities_figure(config),
        _bidirectional_figure(config),
        _bidirectional_memory_figure(config),
        *doses,
        _finetuning_figure(config),
        _tasks_figure(config),
        _capacity_figure(config),
        *further_biographies_figures(config),
    )


def biographies_scaling_curves(config: BiographiesConfig) -> tuple[ScalingCurveSpec, ...]:
    """Recall over training of each row, and extraction along the number of texts."""
    return (
        *recall_scaling_curves(
            config.augmentations, augmentation_arm(config, SINGLE).training.checkpoint_steps, config.exposures_per_step
        ),
        ScalingCurveSpec(
            id="extraction-by-wordings",
            title="Extraction along the number of texts",
            x_label="texts of each person",
            points=tuple((float(dose), arm) for dose, arm in arms_by_wordings(config).items()),
            sharp=replace(UNSEEN_QA, arm=None),
            continuous=(replace(UNSEEN_QA, metric="nats", quantity="nats"),),
            # A person's score is a mean over six attributes, of which no likelihood is the product.
            log_likelihood=False,
        ),
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


def _bar_figure(
    id: str,
    title: str,
    caption: str,
    y_label: str,
    cells: Iterator[tuple[str, str, Measure, str, bool]],
    *,
    kind: Literal["bars", "matrix"] = "bars",
    x_label: str = "",
) -> BarFigure:
    figure_cells = []
    for tick, group, measure, panel, is_baseline in cells:
        figure_cells.append(BarCell(tick, group, measure, panel=panel, baseline=is_baseline))
    return BarFigure(
        id=id, title=title, caption=caption, y_label=y_label, cells=tuple(figure_cells), kind=kind, x_label=x_label
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

    return _bar_figure(
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


def _p_probe_figure() -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for arm in TWO_AUGMENTATIONS:
            for attribute in reversed(PERSON_ATTRIBUTES):  # the first stands at the bottom
                for position in range(len(PERSON_ATTRIBUTES)):
                    select = Selection(
                        evaluation="p-probe",
                        arm=arm,
                        metric=f"first/{position}",
                        attributes=(attribute,),
                        stage=PRETRAIN,
                    )
                    yield f"{position}", attribute.replace("_", " "), Mean(selection=select), arm, False

    return _bar_figure(
        "p-probe",
        "Where in a biography can which value be read?",
        "First-token accuracy (%) of probes with a rank-2 update of the input embedding, at the place right "
        "before each value in reading order; values already stated are left out. Tested on people whom no probe "
        "was trained on.",
        "",
        cells(),
        kind="matrix",
        x_label="values stated before",
    )


def _q_probe_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for row in (*config.augmentations, *map(bidirectional_arm_name, config.bidirectional_augmentations)):
            for part, panel in (("first", "first token"), ("whole", "whole value (no birth dates)")):
                yield row, "read from the name", Mean(selection=q_probe_accuracy(row, part)), panel, False
                yield row, "most frequent class", Mean(selection=q_probe_accuracy(row, f"{part}/constant")), panel, True

    return _bar_figure(
        "q-probe",
        "What can be read from the name alone?",
        "Probes with a rank-16 update of the input embedding, behind the name between two end tokens. "
        f"{UNSEEN_PEOPLE_CAPTION}",
        "accuracy",
        cells(),
    )


def _probe_vs_extraction_figure(config: BiographiesConfig) -> LineFigure:
    points = []
    for row in config.augmentations:
        probe_accuracy, qa_accuracy = Mean(selection=q_probe_accuracy(row)), Mean(selection=extraction_accuracy(row))
        points.append(LinePoint(probe_accuracy, row, qa_accuracy))
    return LineFigure(
        id="probe-against-questions",
        title="Does the probe predict what can be extracted?",
        caption="What Q-probing reads from the name (first tokens) against exact answers after fine-tuning, "
        f"row by row. {UNSEEN_PEOPLE_CAPTION}",
        x_label="read from the name",
        y_label="asked, exact match",
        points=tuple(points),
        x_scale="linear",
    )


def _probe_train_size_figures(config: BiographiesConfig) -> Iterator[LineFigure]:
    """None where Q-probing learns from one number of people alone."""
    if not config.q_probe_train_sizes:
        return
    points = []
    for n_people in (*config.q_probe_train_sizes, config.world.people // 2):
        evaluation = "q-probe" if n_people == config.world.people // 2 else q_probe_name(n_people)
        for part, panel in (("first", "first token"), ("whole", "whole value (no birth dates)")):
            for metric, group in ((part, "read from the name"), (f"{part}/constant", "most frequent class")):
                points.append(
                    LinePoint(
                        float(n_people),
                        group,
                        Mean(selection=q_probe_accuracy(MULTI5_PERMUTE, metric, evaluation)),
                        panel=panel,
                    )
                )
    yield LineFigure(
        id="probe-people",
        title="Do probes read less because they learn from few people?",
        caption=f"Q-probing of {MULTI5_PERMUTE} by how many people it learns from, all else equal; "
        f"as many others are read. {INTERVAL_CAPTION}",
        x_label="people a probe learns from",
        y_label="accuracy",
        points=tuple(points),
        x_scale="log",
    )


def _layers_figure(config: BiographiesConfig) -> LineFigure:
    sites = [*(f"residual.{number}" for number in range(config.architecture.layers)), "final"]
    points = []
    for arm in TWO_AUGMENTATIONS:
        for x, site in enumerate(sites):
            probe = Selection(evaluation=rank0_probe_name(site), arm=arm, metric="first", stage=PRETRAIN)
            points.append(LinePoint(float(x), "read from the name, rank 0", Mean(selection=probe), panel=arm))
            for patched_tokens, group in (
                ("whole", "answer follows the name's states"),
                ("last", "... its last state alone"),
            ):
                donor_answers = Selection(
                    evaluation="renamed", metric=f"{patched_tokens}/follows/{site}", arm=arm, stage=FINETUNE_STAGE
                )
                points.append(LinePoint(float(x), group, Mean(selection=donor_answers), panel=arm))
    return LineFigure(
        id="layers",
        title="What can be read, and what does the model use?",
        caption="By layer: first tokens read from the name's end by probes that update nothing (rank "
        "0), and how often the answer becomes a donor's where the states of the name are exchanged for "
        f"theirs. {UNSEEN_PEOPLE_CAPTION}",
        x_label="blocks passed",
        y_label="share",
        points=tuple(points),
        x_scale="linear",
    )


def _celebrities_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for attribute in PERSON_ATTRIBUTES:
            tick = attribute.replace("_", " ")
            for arm, group in ((SINGLE_PERMUTE1, "alone"), (WITH_CELEBRITIES, "with celebrities")):
                yield tick, group, Mean(selection=extraction_accuracy(arm, (attribute,))), "questions", False
                q_probe = replace(minority_q_probe_accuracy(arm), attributes=(attribute,))
                yield tick, group, Mean(selection=q_probe), Q_PROBE_PANEL, False
                p_probe = replace(minority_p_probe_accuracy(arm), attributes=(attribute,))
                yield tick, group, Mean(selection=p_probe), P_PROBE_PANEL, False
                if arm == WITH_CELEBRITIES:
                    for selection, panel in (
                        (control_q_probe_accuracy(config), Q_PROBE_PANEL),
                        (control_p_probe_accuracy(), P_PROBE_PANEL),
                    ):
                        yield (
                            tick,
                            f"control: {MULTI5_PERMUTE}",
                            Mean(selection=replace(selection, attributes=(attribute,))),
                            panel,
                            False,
                        )
                if arm == SINGLE_PERMUTE1:
                    for selection, panel in ((q_probe, Q_PROBE_PANEL), (p_probe, P_PROBE_PANEL)):
                        constant = replace(selection, metric=f"{selection.metric}/constant")
                        yield tick, "most frequent", Mean(selection=constant), panel, True
            yield (
                tick,
                "most frequent",
                Mean(selection=replace(majority_accuracy(SINGLE_PERMUTE1), attributes=(attribute,))),
                "questions",
                True,
            )

    return _bar_figure(
        "celebrities",
        "Do celebrities' biographies help people who have one?",
        "People with one text: alone (questions about half of them trained), and among celebrities with five "
        "shuffled wordings (only questions about celebrities trained). Controls are probes that learn from as "
        f"many people and texts of a row whose knowledge is extractable. {UNSEEN_PEOPLE_CAPTION}",
        "accuracy",
        cells(),
    )


def _bidirectional_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for attribute in PERSON_ATTRIBUTES:
            tick = attribute.replace("_", " ")
            for row in config.bidirectional_augmentations:
                yield (
                    tick,
                    f"{bidirectional_arm_name(row)}, fine-tuned",
                    Mean(selection=extraction_accuracy(bidirectional_arm_name(row), (attribute,))),
                    "",
                    False,
                )
            mixed_arm = bidirectional_arm_name(mixed_arm_name(MULTI5_PERMUTE_FULLNAME))
            yield tick, mixed_arm, Mean(selection=mixed_extraction_accuracy(mixed_arm, (attribute,))), "", False
            yield (
                tick,
                f"causal {MULTI5_PERMUTE}, fine-tuned",
                Mean(selection=extraction_accuracy(MULTI5_PERMUTE, (attribute,))),
                "",
                False,
            )
            yield (
                tick,
                "majority guess",
                Mean(selection=replace(majority_accuracy(MULTI5_PERMUTE), attributes=(attribute,))),
                "",
                True,
            )

    return _bar_figure(
        "both-ways",
        "A bidirectional model",
        "Trained on masked words, then fine-tuned on answers that are masked whole, or mixed; the mask "
        f"shows how long an answer is. {UNSEEN_PEOPLE_CAPTION}",
        "exact match",
        cells(),
    )


def _bidirectional_memory_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        mixed_arm = bidirectional_arm_name(mixed_arm_name(MULTI5_PERMUTE_FULLNAME))
        for arm in (*map(bidirectional_arm_name, config.bidirectional_augmentations), mixed_arm):
            extraction = mixed_extraction_accuracy(arm) if arm == mixed_arm else extraction_accuracy(arm)
            if arm != mixed_arm:
                token_recall = Selection(evaluation=TOKEN_RECALL, arm=arm, stage=PRETRAIN)
                yield arm, "words of values, all others shown", Mean(selection=token_recall), "", False
            yield arm, "values whole", Mean(selection=recall_accuracy(arm)), "", False
            yield arm, "questions that were trained on", Mean(selection=replace(extraction, split="seen")), "", False
            yield arm, "questions about others", Mean(selection=extraction), "", False

    return _bar_figure(
        "both-ways-knows",
        "What a bidirectional model has memorised",
        "Each word of a value masked by itself, as in training; all words of a value masked at once; "
        f"and questions. {INTERVAL_CAPTION}",
        "exact match",
        cells(),
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

    return _bar_figure(
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

    return _bar_figure(
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
