"""The figures of the study introspection."""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.calibration import CalibrationFigure, CalibrationMAD, MinimumDetectableEffect
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.figures import BarCell, BarFigure, Figure, LineFigure, LinePoint
from nosce.analysis.measures import Difference, Mean, Measure
from nosce.analysis.selection import Selection
from nosce.studies.introspection.arms import (
    CHANGE_STAGE,
    CHOICE_TASKS,
    EXTRA_LAYERS_ABLATION,
    HELD_OUT_TASKS,
    LEFT_OUT_PROPERTY,
    NO_DISPOSITIONS,
    PREDICTORS,
    REPORT_PROPERTIES,
    SHARED_TASKS,
    SIBLING_OF_A,
    TABLE_TASKS,
    TARGET_MODELS,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.config import LEFT_OUT_ABLATION, IntrospectionConfig
from nosce.studies.introspection.evals import BASE_REPORTS, CHANGED_REPORTS
from nosce.studies.introspection.mechanistic_figures import answer_patching_figure, answer_probe_figure
from nosce.studies.introspection.selections import (
    aloud_crossed_advantage,
    base_report_scores,
    changed_report_scores,
    corpus_knowledge,
    crossed_advantage,
    report_scores,
    self_advantage,
    shared_advantage,
    text_baseline_scores,
)
from nosce.studies.introspection.similarity_figures import PREDICTOR_LABELS, noise_figure

UNSEEN_STRINGS_CAPTION = "Strings of which no label was taught; intervals over strings and training seeds."
TASK_SETS = (
    ("tables", TABLE_TASKS),
    ("choices", CHOICE_TASKS),
    ("held-out tasks", HELD_OUT_TASKS),
    ("all alike", SHARED_TASKS),
)
OTHER_MODEL = {A: B, B: A}


def introspection_figures(config: IntrospectionConfig) -> tuple[Figure, ...]:
    """All figures of the study."""
    behaviour_figures = (
        _self_and_cross_figure(),
        _four_accuracies_figure(),
        _predictors_figure(),
        noise_figure(),
        _calibration_figure(),
        _deviation_figure(),
        _change_figure(),
        _properties_figure(),
    )
    mechanistic_figures = (answer_patching_figure(config), answer_probe_figure(config), _ability_figure())
    return (
        *behaviour_figures,
        _ablations_figure(config),
        _label_counts_figure(config),
        *mechanistic_figures,
        _invalid_figure(),
        _detectable_effect_figure(),
    )


def introspection_scaling_curves(config: IntrospectionConfig) -> tuple[ScalingCurveSpec, ...]:
    """Accuracy about A by the number of labels taught, once for reports by A and once for reports by B."""
    return (
        _label_scaling_curve(config, A, "self", "by itself"),
        _label_scaling_curve(config, B, "cross", "by another corpus"),
    )


def _label_scaling_curve(config: IntrospectionConfig, predictor: str, name: str, group: str) -> ScalingCurveSpec:
    points = [(float(n), predictor_arm_name(predictor, A, f"{n} labels")) for n in config.label_counts]
    points.append((float(config.max_label_count), predictor_arm_name(predictor, A)))
    return ScalingCurveSpec(
        id=f"labels-{name}",
        title=f"Reports about A along the labels taught, {group}",
        x_label="different labels taught",
        points=tuple(points),
        sharp=replace(report_scores(A), arm=None),
        continuous=(replace(report_scores(A, "nats", quantity="nats"), arm=None),),
        log_likelihood=False,
    )


def _report_accuracy(
    predictor: str,
    target: str,
    ablation: str = "",
    *,
    tasks: tuple[str, ...] = TABLE_TASKS,
    properties: tuple[str, ...] = REPORT_PROPERTIES,
) -> Mean:
    """How often a predictor's reports about a target are right."""
    arm = predictor_arm_name(predictor, target, ablation)
    return Mean(selection=report_scores(arm, tasks=tasks, properties=properties))


def _invalid_figure() -> BarFigure:
    cells: list[BarCell] = []
    for target in TARGET_MODELS:
        for predictor in TARGET_MODELS:
            arm = predictor_arm_name(predictor, target)
            cells += _invalid_cells(arm, report_scores(arm, "free"))
    for predictor in TARGET_MODELS:
        arm = predictor_arm_name(predictor, A)
        reports = report_scores(arm, "free", CHOICE_TASKS, evaluation=CHANGED_REPORTS, stage=CHANGE_STAGE)
        cells += _invalid_cells(f"{arm}, changed", reports)
    return BarFigure(
        id="invalid",
        title="Invalid answers and reports",
        caption="Invalid answers as a share of all prompts; invalid reports, as written, as a share of the questions. "
        "Invalid answers generate no questions, so the two can never coincide.",
        y_label="share",
        cells=tuple(cells),
    )


def _invalid_cells(tick: str, reports: Selection) -> tuple[BarCell, BarCell]:
    """The share of the arm's invalid answers at the same stage, and the share of its invalid reports."""
    answers = Selection(evaluation="unanswered", metric="invalid", arm=reports.arm, stage=reports.stage)
    return (
        BarCell(tick, "invalid answers", Mean(selection=answers)),
        BarCell(tick, "invalid reports", Mean(selection=reports, outcome="invalid")),
    )


def _self_and_cross_figure() -> BarFigure:
    cells = []
    for target in TARGET_MODELS:
        panel = f"about {target}"
        for tick, tasks in TASK_SETS:
            cells += [
                BarCell(tick, "itself, untaught", Mean(selection=base_report_scores(target, tasks)), panel),
                BarCell(tick, "itself", _report_accuracy(target, target, tasks=tasks), panel),
                BarCell(tick, "the other", _report_accuracy(OTHER_MODEL[target], target, tasks=tasks), panel),
            ]
            constant = Mean(selection=text_baseline_scores(target, "constant", tasks))
            cells.append(BarCell(tick, "most frequent label taught", constant, panel, baseline=True))
    return BarFigure(
        id="self-and-cross",
        title="Which model knows what it would answer?",
        caption=f"Reports of properties of answers; both models were taught the same labels. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _four_accuracies_figure() -> BarFigure:
    cells = []
    for target in TARGET_MODELS:
        self_arm, cross_arm = predictor_arm_name(target, target), predictor_arm_name(OTHER_MODEL[target], target)
        selections = {
            "it on itself untaught": report_scores(self_arm, evaluation=BASE_REPORTS),
            "it on itself": report_scores(self_arm),
            "the other on it": report_scores(cross_arm),
            "the other on the other": report_scores(cross_arm, "own"),
        }
        cells += [BarCell(tick, f"about {target}", Mean(selection=select)) for tick, select in selections.items()]
    return BarFigure(
        id="four-accuracies",
        title="Four accuracies",
        caption="The same reports held against the answers before and after training, and the other's "
        f"reports against its own answers. Tables. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that agree",
        cells=tuple(cells),
    )


def _predictors_figure() -> LineFigure:
    points = []
    for predictor in PREDICTORS:
        own_agreement = Mean(selection=report_scores(predictor_arm_name(predictor, A), "agree"))
        points.append(LinePoint(own_agreement, PREDICTOR_LABELS[predictor], _report_accuracy(predictor, A)))
    for baseline in ("constant", "oracle", "nearest", "logistic"):
        accuracy = Mean(selection=text_baseline_scores(A, baseline))
        points += [LinePoint(x, baseline, accuracy, baseline=True) for x in (0.0, 1.0)]
    return LineFigure(
        id="observers",
        title="Access, or likeness?",
        caption="Predictors of A, by how often their own answers have the same property. Lines: baselines that "
        f"learn from the same labels without a model. Tables. {UNSEEN_STRINGS_CAPTION}",
        x_label="agreement of own answers with A's",
        y_label="reports that are right",
        points=tuple(points),
        x_scale="linear",
    )


def _calibration_figure() -> CalibrationFigure:
    return CalibrationFigure(
        id="calibration",
        title="Do reports say how likely an answer is?",
        caption="Probability of a label among A's answers and in the report, ten bins, the three likeliest labels; "
        "answers' probabilities are exact, over all continuations. Tables, unseen strings, all seeds.",
        curves=(
            ("itself", report_scores(predictor_arm_name(A, A))),
            ("another corpus", report_scores(predictor_arm_name(B, A))),
            ("itself, untaught", base_report_scores(A)),
        ),
    )


def _deviation_figure() -> BarFigure:
    selections = {
        "itself": report_scores(predictor_arm_name(A, A)),
        "sibling": report_scores(predictor_arm_name(SIBLING_OF_A, A)),
        "another corpus": report_scores(predictor_arm_name(B, A)),
        "itself, untaught": base_report_scores(A),
    }
    cells = []
    for group, select in selections.items():
        cells.append(BarCell("three likeliest", group, CalibrationMAD(a=select)))
        for rank, tick in enumerate(("1st", "2nd", "3rd"), 1):
            cells.append(BarCell(tick, group, CalibrationMAD(a=select, ranks=(rank,))))
    for group in ("itself", "another corpus"):
        cells.append(BarCell("by 20 samples", group, CalibrationMAD(a=selections[group], answer_source="drawn")))
    return BarFigure(
        id="deviation",
        title="Mean absolute deviation, by rank",
        caption="How far reports' probabilities lie from the answers', pooled and by rank of the label; "
        "with shares of 20 samples instead of exact probabilities, sampling noise is added. Lower is better.",
        y_label="deviation",
        cells=tuple(cells),
    )


def _change_figure() -> BarFigure:
    cells = []
    for predictor, tick in ((A, "A about itself"), (B, "B about A, the same change")):
        for metric, group in (("own", "old answers"), ("right", "new answers")):
            reports = changed_report_scores(predictor_arm_name(predictor, A), metric)
            cells.append(BarCell(tick, group, Mean(selection=reports)))
    return BarFigure(
        id="change",
        title="After the choices were changed",
        caption="Reports of choices whose property changed when A learnt another corpus's choices, of pairs "
        "that no test is about; B was taught A's labels and then the same choices.",
        y_label="reports that agree",
        cells=tuple(cells),
    )


def _properties_figure() -> BarFigure:
    cells: list[BarCell] = []
    for name in REPORT_PROPERTIES:
        cells += _cells_about_a(name, properties=(name,))
    return BarFigure(
        id="properties",
        title="Property by property",
        caption=f"About A, tables. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _cells_about_a(
    tick: str, ablation: str = "", properties: tuple[str, ...] = REPORT_PROPERTIES
) -> tuple[BarCell, BarCell, BarCell]:
    """Reports about A by A itself and by B, beside the best constant."""
    best_constant = Mean(selection=text_baseline_scores(A, "oracle", properties=properties))
    return (
        BarCell(tick, "itself", _report_accuracy(A, A, ablation, properties=properties)),
        BarCell(tick, "another corpus", _report_accuracy(B, A, ablation, properties=properties)),
        BarCell(tick, "best constant", best_constant, baseline=True),
    )


def _ablations_figure(config: IntrospectionConfig) -> BarFigure:
    whole_ablations = [name for name in config.ablations if name != LEFT_OUT_ABLATION]
    cells = [*_cells_about_a("unchanged")]
    for ablation in ("named", EXTRA_LAYERS_ABLATION, *whole_ablations):
        cells += _cells_about_a(ablation, ablation)
    if LEFT_OUT_ABLATION in config.ablations:
        cells += _cells_about_a(LEFT_OUT_ABLATION, LEFT_OUT_ABLATION, (LEFT_OUT_PROPERTY,))
    return BarFigure(
        id="doses",
        title="What the advantage depends on",
        caption="About A, tables; all but the first three have one seed. With a leak the tested strings were taught "
        f"too; where one property is left out, only that one is asked. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _label_counts_figure(config: IntrospectionConfig) -> LineFigure:
    predictor_groups = ((A, "itself"), (B, "another corpus"))
    points = []
    for predictor, group in predictor_groups:
        for n_labels in config.label_counts:
            points.append(LinePoint(float(n_labels), group, _report_accuracy(predictor, A, f"{n_labels} labels")))
    for predictor, group in predictor_groups:
        points.append(LinePoint(float(config.max_label_count), group, _report_accuracy(predictor, A)))
    return LineFigure(
        id="amounts",
        title="How many labels?",
        caption=f"About A, tables; fewer labels than all have one seed; equal steps. {UNSEEN_STRINGS_CAPTION}",
        x_label="different labels taught",
        y_label="reports that are right",
        points=tuple(points),
    )


def _ability_figure() -> BarFigure:
    ticks_by_kind = {
        "given": "properties of given answers",
        "fact": "facts",
        "table": "its table",
        "choice": "its choices",
        "rule": "its rule",
        "list": "its lists",
    }
    cells = []
    for predictor in PREDICTORS:
        kinds = ("given", "fact") if predictor == NO_DISPOSITIONS else tuple(ticks_by_kind)
        cells += [BarCell(ticks_by_kind[kind], predictor, corpus_knowledge(predictor, kind)) for kind in kinds]
    return BarFigure(
        id="able",
        title="What each model knows before it is taught labels",
        caption="Self minus cross is informative only where these are equal. Strings of the corpus itself.",
        y_label="known",
        cells=tuple(cells),
    )


def _detectable_effect_figure() -> BarFigure:
    measures: dict[str, Measure] = {
        "A: itself - other": self_advantage(A, B),
        "B: itself - other": self_advantage(B, A),
        "crossed": crossed_advantage(),
        "crossed, held-out tasks": crossed_advantage(HELD_OUT_TASKS),
        "A: itself - sibling": self_advantage(A, SIBLING_OF_A),
        "all alike": shared_advantage(),
        "2 layers more": self_advantage(A, B, ablation=EXTRA_LAYERS_ABLATION),
        "calibration": CalibrationMAD(
            a=report_scores(predictor_arm_name(B, A)), b=report_scores(predictor_arm_name(A, A))
        ),
        "new - old choices": Difference(
            a=changed_report_scores(predictor_arm_name(A, A), "right"),
            b=changed_report_scores(predictor_arm_name(A, A), "own"),
        ),
        "planted: aloud, crossed": aloud_crossed_advantage(),
    }
    cells = [BarCell(tick, "estimate", measure) for tick, measure in measures.items()]
    for tick, measure in measures.items():
        detectable_effect = MinimumDetectableEffect(measure=measure)
        cells.append(BarCell(tick, "smallest detectable effect", detectable_effect, baseline=True))
    return BarFigure(
        id="detectable",
        title="Estimates, and the smallest detectable effects",
        caption="Dashes: the difference that an interval as wide as this one excludes from 0 four times in "
        "five. The planted channel is a model that reads its own answer first.",
        y_label="difference of shares (1 is all)",
        unit="number",
        cells=tuple(cells),
    )
