"""The figures of the study introspection."""

from __future__ import annotations

from collections.abc import Iterator
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
    HALF_ALIKE,
    HELD_OUT_TASKS,
    LEFT_OUT_PROPERTY,
    NO_DISPOSITIONS,
    PREDICTORS,
    REPORT_PROPERTIES,
    REPORT_STAGE,
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
from nosce.studies.introspection.selections import (
    aloud_crossed_advantage,
    base_report_scores,
    changed_report_scores,
    corpus_knowledge,
    crossed_advantage,
    report_scores,
    self_advantage,
    text_baseline_scores,
)

UNSEEN_STRINGS_CAPTION = "Strings of which no label was taught; intervals over strings and training seeds."
TASK_SETS = (
    ("tables", TABLE_TASKS),
    ("choices", CHOICE_TASKS),
    ("held-out tasks", HELD_OUT_TASKS),
    ("all alike", SHARED_TASKS),
)
OTHER_MODEL = {A: B, B: A}
PREDICTOR_LABELS = {
    SIBLING_OF_A: "sibling: same corpus, trained anew",
    HALF_ALIKE: "half alike",
    B: "another corpus",
    NO_DISPOSITIONS: "no dispositions",
    A: "itself",
}


def introspection_figures(config: IntrospectionConfig) -> tuple[Figure, ...]:
    """All figures of the study."""
    behaviour_figures = (
        _self_and_cross_figure(),
        _four_accuracies_figure(),
        _predictors_figure(),
        _calibration_figure(),
        _deviation_figure(),
        _change_figure(),
        _properties_figure(),
    )
    mechanistic_figures = (_answer_patching_figure(config), _answer_probe_figure(config), _ability_figure(config))
    return (
        *behaviour_figures,
        *_ablation_figures(config),
        *mechanistic_figures,
        _invalid_figure(),
        _detectable_effect_figure(),
    )


def introspection_scaling_curves(config: IntrospectionConfig) -> tuple[ScalingCurveSpec, ...]:
    """Reports along the number of labels taught: of the model itself, and of another."""
    return tuple(
        ScalingCurveSpec(
            id=f"labels-{name}",
            title=f"Reports about A along the labels taught, {group}",
            x_label="different labels taught",
            points=(
                *((float(n), predictor_arm_name(predictor, A, f"{n} labels")) for n in config.label_counts),
                (float(config.max_label_count), predictor_arm_name(predictor, A)),
            ),
            sharp=replace(report_scores(A), arm=None),
            continuous=(replace(report_scores(A, "nats", quantity="nats"), arm=None),),
            log_likelihood=False,
        )
        for predictor, name, group in ((A, "self", "by itself"), (B, "cross", "by another corpus"))
    )


def _invalid_figure() -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGET_MODELS:
            for predictor in TARGET_MODELS:
                invalid_answers = Selection(
                    evaluation="unanswered",
                    metric="invalid",
                    arm=predictor_arm_name(predictor, target),
                    stage=REPORT_STAGE,
                )
                yield (
                    predictor_arm_name(predictor, target),
                    "invalid answers",
                    Mean(selection=invalid_answers),
                    "",
                    False,
                )
                invalid_reports = Mean(
                    selection=report_scores(predictor_arm_name(predictor, target), "free"), outcome="invalid"
                )
                yield predictor_arm_name(predictor, target), "invalid reports", invalid_reports, "", False
        for predictor in TARGET_MODELS:
            tick = f"{predictor_arm_name(predictor, A)}, changed"
            invalid_answers = Selection(
                evaluation="unanswered", metric="invalid", arm=predictor_arm_name(predictor, A), stage=CHANGE_STAGE
            )
            yield tick, "invalid answers", Mean(selection=invalid_answers), "", False
            invalid_reports = Mean(
                selection=report_scores(
                    predictor_arm_name(predictor, A),
                    "free",
                    CHOICE_TASKS,
                    evaluation=CHANGED_REPORTS,
                    stage=CHANGE_STAGE,
                ),
                outcome="invalid",
            )
            yield tick, "invalid reports", invalid_reports, "", False

    return BarFigure(
        id="invalid",
        title="Invalid answers and reports",
        caption="Invalid answers as a share of all prompts; invalid reports, as written, as a share of the questions. "
        "Invalid answers generate no questions, so the two can never coincide.",
        y_label="share",
        cells=_cells(rows()),
    )


def _cells(rows: Iterator[tuple[str, str, Measure, str, bool]]) -> tuple[BarCell, ...]:
    return tuple(
        BarCell(tick, group, measure, panel=panel, baseline=base) for tick, group, measure, panel, base in rows
    )


def _self_and_cross_figure() -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGET_MODELS:
            panel, predictor = f"about {target}", OTHER_MODEL[target]
            for tick, tasks in TASK_SETS:
                yield tick, "itself, untaught", Mean(selection=base_report_scores(target, tasks)), panel, False
                yield (
                    tick,
                    "itself",
                    Mean(selection=report_scores(predictor_arm_name(target, target), tasks=tasks)),
                    panel,
                    False,
                )
                yield (
                    tick,
                    "the other",
                    Mean(selection=report_scores(predictor_arm_name(predictor, target), tasks=tasks)),
                    panel,
                    False,
                )
                yield (
                    tick,
                    "most frequent label taught",
                    Mean(selection=text_baseline_scores(target, "constant", tasks)),
                    panel,
                    True,
                )

    return BarFigure(
        id="self-and-cross",
        title="Which model knows what it would answer?",
        caption=f"Reports of properties of answers; both models were taught the same labels. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=_cells(rows()),
    )


def _four_accuracies_figure() -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGET_MODELS:
            self_arm, cross_arm = predictor_arm_name(target, target), predictor_arm_name(OTHER_MODEL[target], target)
            selections = {
                "it on itself untaught": report_scores(self_arm, evaluation=BASE_REPORTS),
                "it on itself": report_scores(self_arm),
                "the other on it": report_scores(cross_arm),
                "the other on the other": report_scores(cross_arm, "own"),
            }
            for tick, select in selections.items():
                yield tick, f"about {target}", Mean(selection=select), "", False

    return BarFigure(
        id="four-accuracies",
        title="Four accuracies",
        caption="The same reports held against the answers before and after training, and the other's "
        f"reports against its own answers. Tables. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that agree",
        cells=_cells(rows()),
    )


def _predictors_figure() -> LineFigure:
    points = [
        LinePoint(
            Mean(selection=report_scores(predictor_arm_name(predictor, A), "agree")),
            PREDICTOR_LABELS[predictor],
            Mean(selection=report_scores(predictor_arm_name(predictor, A))),
        )
        for predictor in PREDICTORS
    ]
    points += [
        LinePoint(x, baseline, Mean(selection=text_baseline_scores(A, baseline)), baseline=True)
        for baseline in ("constant", "oracle", "nearest", "logistic")
        for x in (0.0, 1.0)
    ]
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
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        selections = {
            "itself": report_scores(predictor_arm_name(A, A)),
            "sibling": report_scores(predictor_arm_name(SIBLING_OF_A, A)),
            "another corpus": report_scores(predictor_arm_name(B, A)),
            "itself, untaught": base_report_scores(A),
        }
        for group, select in selections.items():
            yield "three likeliest", group, CalibrationMAD(a=select), "", False
            for rank, tick in enumerate(("1st", "2nd", "3rd"), 1):
                yield tick, group, CalibrationMAD(a=select, ranks=(rank,)), "", False
        for group in ("itself", "another corpus"):
            yield "by 20 samples", group, CalibrationMAD(a=selections[group], answer_source="drawn"), "", False

    return BarFigure(
        id="deviation",
        title="Mean absolute deviation, by rank",
        caption="How far reports' probabilities lie from the answers', pooled and by rank of the label; "
        "with shares of 20 samples instead of exact probabilities, sampling noise is added. Lower is better.",
        y_label="deviation",
        cells=_cells(rows()),
    )


def _change_figure() -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for arm, tick in (
            (predictor_arm_name(A, A), "A about itself"),
            (predictor_arm_name(B, A), "B about A, the same change"),
        ):
            for metric, group in (("own/differs", "old answers"), ("right/differs", "new answers")):
                yield tick, group, Mean(selection=changed_report_scores(arm, metric.partition("/")[0])), "", False

    return BarFigure(
        id="change",
        title="After the choices were changed",
        caption="Reports of choices whose property changed when A learnt another corpus's choices, of pairs "
        "that no test is about; B was taught A's labels and then the same choices.",
        y_label="reports that agree",
        cells=_cells(rows()),
    )


def _properties_figure() -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for property_name in REPORT_PROPERTIES:
            yield (
                property_name,
                "itself",
                Mean(selection=report_scores(predictor_arm_name(A, A), properties=(property_name,))),
                "",
                False,
            )
            yield (
                property_name,
                "another corpus",
                Mean(selection=report_scores(predictor_arm_name(B, A), properties=(property_name,))),
                "",
                False,
            )
            yield (
                property_name,
                "best constant",
                Mean(selection=text_baseline_scores(A, "oracle", properties=(property_name,))),
                "",
                True,
            )

    return BarFigure(
        id="properties",
        title="Property by property",
        caption=f"About A, tables. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=_cells(rows()),
    )


def _ablation_figures(config: IntrospectionConfig) -> tuple[Figure, ...]:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for ablation in (
            "",
            "named",
            EXTRA_LAYERS_ABLATION,
            *(ablation for ablation in config.ablations if ablation != LEFT_OUT_ABLATION),
        ):
            tick = ablation or "unchanged"
            yield tick, "itself", Mean(selection=report_scores(predictor_arm_name(A, A, ablation))), "", False
            yield tick, "another corpus", Mean(selection=report_scores(predictor_arm_name(B, A, ablation))), "", False
            yield tick, "best constant", Mean(selection=text_baseline_scores(A, "oracle")), "", True
        for ablation in (LEFT_OUT_ABLATION,) if LEFT_OUT_ABLATION in config.ablations else ():
            for who, group in ((A, "itself"), (B, "another corpus")):
                yield (
                    ablation,
                    group,
                    Mean(
                        selection=report_scores(predictor_arm_name(who, A, ablation), properties=(LEFT_OUT_PROPERTY,))
                    ),
                    "",
                    False,
                )
            yield (
                ablation,
                "best constant",
                Mean(selection=text_baseline_scores(A, "oracle", properties=(LEFT_OUT_PROPERTY,))),
                "",
                True,
            )

    doses = BarFigure(
        id="doses",
        title="What the advantage depends on",
        caption="About A, tables; all but the first three have one seed. With a leak the tested strings were taught "
        f"too; where one property is left out, only that one is asked. {UNSEEN_STRINGS_CAPTION}",
        y_label="reports that are right",
        cells=_cells(rows()),
    )
    points = [
        LinePoint(float(n), group, Mean(selection=report_scores(predictor_arm_name(predictor, A, f"{n} labels"))))
        for predictor, group in ((A, "itself"), (B, "another corpus"))
        for n in config.label_counts
    ]
    points += [
        LinePoint(float(config.max_label_count), group, Mean(selection=report_scores(predictor_arm_name(predictor, A))))
        for predictor, group in ((A, "itself"), (B, "another corpus"))
    ]
    amounts = LineFigure(
        id="amounts",
        title="How many labels?",
        caption=f"About A, tables; fewer labels than all have one seed; equal steps. {UNSEEN_STRINGS_CAPTION}",
        x_label="different labels taught",
        y_label="reports that are right",
        points=tuple(points),
    )
    return doses, amounts


def _answer_patching_figure(config: IntrospectionConfig) -> LineFigure:
    panels = {
        predictor_arm_name(A, A): "A about itself",
        predictor_arm_name(B, A): "B about A",
        predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION): "A about itself, 2 layers more",
    }
    labels = {
        "moved": "pending answer is the donor's",
        "follows": "report is of the donor's answer",
        "same": "unmoved by a donor with the same answer",
    }

    def select(arm: str, metric: str) -> Selection:
        return report_scores(arm, metric, evaluation="swapped")

    return LineFigure(
        id="swaps",
        title="Another prompt's state at the answer's place",
        caption="Patched at one layer, while the question stays. B's pending answers are its own. Tables.",
        x_label="layer",
        y_label="share",
        x_scale="linear",
        points=tuple(
            LinePoint(
                float(layer), labels[metric], Mean(selection=select(arm, f"{metric}/residual.{layer}")), panel=panel
            )
            for arm, panel in panels.items()
            for metric in labels
            for layer in range(_num_layers(config, arm))
        ),
    )


def _num_layers(config: IntrospectionConfig, arm: str) -> int:
    """Layers of an arm."""
    return config.architecture.layers + (config.extra_layers if EXTRA_LAYERS_ABLATION in arm else 0)


def _answer_probe_figure(config: IntrospectionConfig) -> LineFigure:
    groups = {
        predictor_arm_name(A, A): "A about itself",
        predictor_arm_name(B, A): "B about A",
        predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION): "A about itself, 2 layers more",
    }

    def select(arm: str, metric: str) -> Selection:
        return Selection(evaluation="echoes", metric=metric, arm=arm, stage=REPORT_STAGE, split="unseen")

    return LineFigure(
        id="echoes",
        title="A's answer, read where its parity is reported",
        caption="A linear probe for the answer's word at the end of a question that asks for its parity, by layer; "
        "trained on seen strings, tested on others. Dashed: trained with shuffled words.",
        x_label="layer",
        y_label="words read right",
        x_scale="linear",
        points=tuple(
            LinePoint(
                float(layer), f"{group}{tail}", Mean(selection=select(arm, f"{kind}residual.{layer}")), baseline=base
            )
            for arm, group in groups.items()
            for layer in range(_num_layers(config, arm))
            for kind, tail, base in (("", "", False), ("shuffled/", ", shuffled", True))
        ),
    )


def _ability_figure(config: IntrospectionConfig) -> BarFigure:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for predictor in PREDICTORS:
            for kind, tick in (
                ("given", "properties of given answers"),
                ("fact", "facts"),
                ("table", "its table"),
                ("choice", "its choices"),
                ("rule", "its rule"),
                ("list", "its lists"),
            ):
                if predictor != NO_DISPOSITIONS or kind in ("given", "fact"):
                    yield tick, f"{predictor}", corpus_knowledge(predictor, kind), "", False

    return BarFigure(
        id="able",
        title="What each model knows before it is taught labels",
        caption="Self minus cross is informative only where these are equal. Strings of the corpus itself.",
        y_label="known",
        cells=_cells(rows()),
    )


def _detectable_effect_figure() -> BarFigure:
    measures: dict[str, Measure] = {
        "A: itself - other": self_advantage(A, B),
        "B: itself - other": self_advantage(B, A),
        "crossed": crossed_advantage(),
        "crossed, held-out tasks": crossed_advantage(HELD_OUT_TASKS),
        "A: itself - sibling": self_advantage(A, SIBLING_OF_A),
        "all alike": self_advantage(A, B, SHARED_TASKS),
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
    cells += [
        BarCell(tick, "smallest detectable effect", MinimumDetectableEffect(measure=measure), baseline=True)
        for tick, measure in measures.items()
    ]
    return BarFigure(
        id="detectable",
        title="Estimates, and the smallest detectable effects",
        caption="Dashes: the difference that an interval as wide as this one excludes from 0 four times in "
        "five. The planted channel is a model that reads its own answer first.",
        y_label="difference of shares (1 is all)",
        unit="number",
        cells=tuple(cells),
    )
