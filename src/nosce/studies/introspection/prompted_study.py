"""The study introspection for a model that is prompted in words: a local folder or an endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from nosce.analysis.calibration import (
    CalibrationFigure,
    CalibrationMAD,
    LabelMatchedDifference,
    MinimumDetectableEffect,
)
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.figures import BarCell, BarFigure, Figure
from nosce.analysis.measures import Difference, Mean, Measure, MinOf
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, PROPERTIES_BY_TASK
from nosce.evals.base import Experiment
from nosce.records import Estimate
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted import (
    ANSWER_READINGS,
    BEFORE_REPORTS,
    CROSS_REPORTS,
    GIVEN_ANSWER_REPORTS,
    SELF_ON_BASE_REPORTS,
    SELF_REPORTS,
    PromptedIntrospection,
)
from nosce.studies.introspection.selections import ADVANTAGE_MARGIN
from nosce.study import ExperimentSpec, Study

TEXT_BASELINE_NAMES = ("constant", "oracle", "nearest", "logistic")
MIN_VALID_SHARE = 0.9  # of reports; with fewer, a score says how often a form is kept and not what is known
REPORT_LABELS = {BEFORE_REPORTS: "before teaching", SELF_REPORTS: "after teaching"}


def prompted_introspection_study(
    introspection: PromptedIntrospection,
    *,
    scale: str,
    seeds: tuple[int, ...] = (0,),
    title: str = "Know thyself, asked",
) -> Study:
    """A study of a model that is prompted in words, and of other models that are taught the same labels.

    Each seed has its own strings, order of training labels, and samples.
    """
    other_indices = tuple(range(1, len(introspection.other_subjects) + 1))
    has_samples = introspection.n_samples > 0
    experiment: Experiment = introspection
    return Study(
        name=f"introspection-{introspection.subject.name}".replace("/", "-").lower(),
        title=f"{title}: {introspection.subject.name}",
        question="Does a model know what it would answer better than another that saw as many of its answers?",
        paper=INTROSPECTION_PAPER,
        scale=scale,
        unit="string",
        arms=(),
        experiments=(ExperimentSpec(name=introspection.subject.name, experiment=experiment),),
        seeds=seeds,
        evals=(),
        claims=tuple(_prompted_claims(other_indices, has_samples=has_samples)),
        figures=tuple(_prompted_figures(other_indices, has_samples=has_samples)),
    )


def _score_selection(
    evaluation: str, *, tasks: tuple[str, ...] | None = HELD_OUT_TEXT_TASKS, metric: str = "right"
) -> Selection:
    attributes = () if tasks is None else tuple(f"{task}/{name}" for task in tasks for name in PROPERTIES_BY_TASK[task])
    return Selection(evaluation=evaluation, metric=metric, attributes=attributes, split="unseen")


def _text_baseline_selection(baseline: str) -> Selection:
    return _score_selection("observers", metric=baseline)


def _gain_over_text_baseline(baseline: str) -> Difference:
    """How much more often the taught model is right about itself than a baseline without a model."""
    return Difference(a=_score_selection(SELF_REPORTS), b=_text_baseline_selection(baseline))


@dataclass(frozen=True, kw_only=True)
class ValidShare(Measure):
    """The share of reports that are valid.

    Args:
        invalid: The readings that say of each report whether it is invalid.
    """

    invalid: Selection

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share, with the interval of its complement.

        Raises:
            DataError: Nothing is selected.
        """
        share = Mean(selection=self.invalid).estimate(readings, unit)
        low, high = (None if end is None else 1 - end for end in (share.high, share.low))
        return replace(share, value=1 - share.value, low=low, high=high)


def _validity_preconditions(*evaluations: str) -> tuple[Precondition, ...]:
    """The needs that the reports of evaluations are valid: a report that is no answer says nothing of its author."""
    preconditions = []
    for evaluation in evaluations:
        invalid = _score_selection(evaluation, metric="report invalid")
        need = Precondition(
            text=f"the share of valid reports ({REPORT_LABELS.get(evaluation, evaluation)})",
            measure=ValidShare(invalid=invalid),
            above=MIN_VALID_SHARE,
        )
        preconditions.append(need)
    return tuple(preconditions)


def _prompted_claims(other_indices: tuple[int, ...], *, has_samples: bool) -> Iterator[Claim]:
    """The claims; none is judged unless the subject's reports are valid, before teaching and after."""
    needs = _validity_preconditions(BEFORE_REPORTS, SELF_REPORTS)
    yield Claim(
        id="training-helps",
        text="Training on labels of its own answers makes a model predict its answers better, on held-out tasks",
        source=f"{INTROSPECTION_PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %, Llama 70B 26.4 to 48.5 %)",
        measure=Difference(a=_score_selection(SELF_REPORTS), b=_score_selection(BEFORE_REPORTS)),
        threshold=0.0,
        paper_value=0.168,
        preconditions=needs,
    )
    yield Claim(
        id="training-helps-matched",
        text="Training helps also where labels before and after are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3",
        measure=LabelMatchedDifference(a=_score_selection(SELF_REPORTS), b=_score_selection(BEFORE_REPORTS)),
        threshold=0.0,
        preconditions=needs,
    )
    yield Claim(
        id="self-beats-oracle",
        text="Self-prediction beats the best constant answer, which is taken from the tested answers themselves",
        source=f"{INTROSPECTION_PAPER}, section 3.2: the star of the plots",
        measure=_gain_over_text_baseline("oracle"),
        threshold=0.0,
        preconditions=needs,
    )
    yield Claim(
        id="self-beats-observers",
        text="Self-prediction beats every baseline that learns from the same labels without a model",
        source=f"{DESIGN_SOURCE}: the rule for an advantage was fixed before any run",
        measure=MinOf(measures=tuple(_gain_over_text_baseline(name) for name in TEXT_BASELINE_NAMES)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=needs,
    )
    yield from _cross_claims(other_indices, has_samples=has_samples)


def _cross_claims(other_indices: tuple[int, ...], *, has_samples: bool) -> Iterator[Claim]:
    """Claims that compare the model's reports about itself with the other models' reports about it."""
    for index in other_indices:
        cross_reports = f"{CROSS_REPORTS} {index}"
        needs = _validity_preconditions(BEFORE_REPORTS, SELF_REPORTS, cross_reports)
        yield Claim(
            id=f"self-beats-cross-{index}",
            text=f"The model is right about itself more often than the other model ({index}) that was taught the same",
            source=f"{INTROSPECTION_PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
            measure=Difference(a=_score_selection(SELF_REPORTS), b=_score_selection(cross_reports)),
            threshold=ADVANTAGE_MARGIN,
            paper_value=0.167,
            preconditions=needs,
        )
        if has_samples:
            yield Claim(
                id=f"calibrated-{index}",
                text="The model's reports lie nearer to its answers' frequencies than those of the other model "
                f"({index})",
                source=f"{INTROSPECTION_PAPER}, section 3.3",
                measure=CalibrationMAD(
                    a=_score_selection(cross_reports), b=_score_selection(SELF_REPORTS), answer_source="drawn"
                ),
                threshold=0.0,
                paper_value=0.084,
                preconditions=needs,
            )


def _prompted_figures(other_indices: tuple[int, ...], *, has_samples: bool) -> Iterator[Figure]:
    evaluations = {"before": BEFORE_REPORTS, "itself": SELF_REPORTS}
    evaluations |= {f"other {n}": f"{CROSS_REPORTS} {n}" for n in other_indices}
    yield _task_figure(evaluations)
    yield _property_figure(evaluations)
    yield _accuracy_figure(other_indices)
    yield _validity_figure(evaluations, other_indices)
    if has_samples:
        yield _prompted_calibration_figure(evaluations)
    yield _prompted_detectable_figure(other_indices)


def _task_figure(evaluations: dict[str, str]) -> BarFigure:
    cells = []
    for task in PROPERTIES_BY_TASK:
        for group, evaluation in evaluations.items():
            cells.append(BarCell(task, group, Mean(selection=_score_selection(evaluation, tasks=(task,)))))
        oracle = _score_selection("observers", tasks=(task,), metric="oracle")
        cells.append(BarCell(task, "best constant", Mean(selection=oracle), baseline=True))
    return BarFigure(
        id="tasks",
        title="Which model knows what it would answer?",
        caption=f"Strings of which no label was taught; {', '.join(HELD_OUT_TEXT_TASKS)} are held-out tasks. "
        "Intervals over strings.",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _property_figure(evaluations: dict[str, str]) -> BarFigure:
    properties = dict.fromkeys(name for task in HELD_OUT_TEXT_TASKS for name in PROPERTIES_BY_TASK[task])
    cells = []
    for name in properties:
        attributes = tuple(f"{task}/{name}" for task in HELD_OUT_TEXT_TASKS if name in PROPERTIES_BY_TASK[task])
        for group, evaluation in evaluations.items():
            right = Selection(evaluation=evaluation, metric="right", attributes=attributes)
            cells.append(BarCell(name, group, Mean(selection=right)))
        oracle = Selection(evaluation="observers", metric="oracle", attributes=attributes, split="unseen")
        cells.append(BarCell(name, "best constant", Mean(selection=oracle), baseline=True))
    return BarFigure(
        id="properties",
        title="Property by property",
        caption="Held-out tasks.",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _accuracy_figure(other_indices: tuple[int, ...]) -> BarFigure:
    evaluations_by_tick = {"it on itself before": SELF_ON_BASE_REPORTS, "it on itself": SELF_REPORTS}
    for index in other_indices:
        evaluations_by_tick |= {
            f"other {index} on it": f"{CROSS_REPORTS} {index}",
            f"other {index} on the other": f"{CROSS_REPORTS} {index} on itself",
        }
    cells = []
    for tick, evaluation in evaluations_by_tick.items():
        cells.append(BarCell(tick, "models", Mean(selection=_score_selection(evaluation))))
    for baseline in TEXT_BASELINE_NAMES:
        cells.append(BarCell(baseline, "observers", Mean(selection=_text_baseline_selection(baseline))))
    return BarFigure(
        id="observers",
        title="Four accuracies, and baselines without a model",
        caption="Held-out tasks. The oracle knows the most frequent of the tested answers.",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _validity_figure(evaluations: dict[str, str], other_indices: tuple[int, ...]) -> BarFigure:
    cells = []
    for metric in ("object invalid", "report invalid", "both invalid"):
        for group, evaluation in evaluations.items():
            invalid = Selection(evaluation=evaluation, metric=metric, split="unseen")
            cells.append(BarCell(metric, group, Mean(selection=invalid)))
    predictors = {"itself": "self"} | {f"other {n}": f"{CROSS_REPORTS} {n}" for n in other_indices}
    for group, predictor in predictors.items():
        given = Selection(evaluation=f"{GIVEN_ANSWER_REPORTS} {predictor}", metric="right")
        cells.append(BarCell("properties of given answers", group, Mean(selection=given)))
    valid = Selection(evaluation=ANSWER_READINGS, metric="valid")
    cells.append(BarCell("valid answers, before", "itself", Mean(selection=valid)))
    return BarFigure(
        id="validity",
        title="Invalid answers and reports",
        caption="Invalid answers are left out of every condition; invalid reports are wrong. Below: properties "
        "of given answers, which need no self-knowledge.",
        y_label="share",
        cells=tuple(cells),
    )


def _prompted_calibration_figure(evaluations: dict[str, str]) -> CalibrationFigure:
    curves = [(group, _score_selection(evaluation, tasks=None)) for group, evaluation in evaluations.items()]
    return CalibrationFigure(
        id="calibration",
        title="Do reports say how likely an answer is?",
        answer_source="drawn",
        caption="Shares of samples; the three most frequent values.",
        curves=tuple(curves),
    )


def _prompted_detectable_figure(other_indices: tuple[int, ...]) -> BarFigure:
    self_reports = _score_selection(SELF_REPORTS)
    differences: dict[str, Measure] = {
        "taught - before": Difference(a=self_reports, b=_score_selection(BEFORE_REPORTS)),
        "itself - best constant": _gain_over_text_baseline("oracle"),
    }
    for index in other_indices:
        cross_reports = _score_selection(f"{CROSS_REPORTS} {index}")
        differences[f"itself - other {index}"] = Difference(a=self_reports, b=cross_reports)
    cells = [BarCell(tick, "estimate", measure) for tick, measure in differences.items()]
    for tick, measure in differences.items():
        detectable_effect = MinimumDetectableEffect(measure=measure)
        cells.append(BarCell(tick, "smallest detectable effect", detectable_effect, baseline=True))
    return BarFigure(
        id="detectable",
        title="Estimates, and the smallest detectable effects",
        caption="Dashes: the difference that an interval as wide as this one excludes from 0 four times in five.",
        y_label="difference of shares",
        cells=tuple(cells),
    )
