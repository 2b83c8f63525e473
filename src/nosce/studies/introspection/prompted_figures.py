"""The figures of introspection in words."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import AnswerProbability, CalibrationFigure, MinimumDetectableEffect
from nosce.analysis.figures import BarCell, BarFigure, Figure
from nosce.analysis.measures import ComplementShare, Difference, Mean, Measure
from nosce.analysis.selection import Selection
from nosce.studies.introspection.prompted_names import (
    answers_name,
    changed_name,
    drawn_name,
    drift_name,
    exact_name,
    given_name,
    likely_name,
    reports_name,
    taught_name,
    unlike_name,
)
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_selections import (
    BASELINE_NAMES,
    TRAINED_TEXT_TASKS,
    gain,
    observer_scores,
    prompted_reports,
    prompted_scores,
)
from nosce.studies.introspection.prompted_self_claims import self_knowledge_figure
from nosce.studies.introspection.prompted_tables import rule_metrics

REPORTS_RIGHT = "reports that are right"


def prompted_figures(parties: PromptedParties, *, max_rounds: int) -> Iterator[Figure]:
    """All figures."""
    yield _matrix_figure(parties)
    yield _task_figure(parties)
    yield _property_figure(parties)
    yield _observer_figure(parties)
    yield _needs_figure(parties)
    yield _invalid_figure(parties)
    if parties.targets:
        yield _old_and_new_figure(parties)
        yield _drift_figure(parties, max_rounds)
    yield from _calibration_figures(parties)
    if parties.has_change and "A" in parties.targets:
        yield _change_figure(parties)
    if parties.knowledge.self_knowledge:
        yield self_knowledge_figure(parties)
    yield _prompted_detectable_figure(parties)


def _predictors_of(parties: PromptedParties, letter: str) -> dict[str, str]:
    """Words for a figure -> the models that predict a subject."""
    predictors = {"itself": parties.tested(letter)}
    predictors |= {f"{other}, taught the same": taught_name(other, letter) for other in parties.taught_others(letter)}
    return predictors | {f"{other}, taught nothing": other for other in parties.others(letter)}


def _models(parties: PromptedParties) -> Iterator[tuple[str, str]]:
    """Every predictor, and the target of which its invalid reports are counted."""
    for letter in parties.letters:
        yield letter, letter
    for letter in parties.targets:
        yield parties.tested(letter), parties.tested(letter)
        for other in parties.taught_others(letter):
            yield taught_name(other, letter), parties.tested(letter)


def _matrix_figure(parties: PromptedParties) -> BarFigure:
    models = list(dict.fromkeys(predictor for predictor, _ in _models(parties)))
    targets = list(dict.fromkeys([*parties.letters, *(parties.tested(letter) for letter in parties.letters)]))
    cells = []
    for predictor in models:
        cells += [BarCell(target, predictor, Mean(selection=prompted_reports(predictor, target))) for target in targets]
        if predictor not in targets:
            cells.append(BarCell("itself", predictor, Mean(selection=prompted_reports(predictor, predictor))))
    return BarFigure(
        id="matrix",
        title="Every predictor about every model's answers",
        caption="Held-out tasks. Rows: who reports. Columns: whose answers the reports are compared with. A star: "
        "taught labels of its own answers.",
        y_label=REPORTS_RIGHT,
        kind="matrix",
        cells=tuple(cells),
    )


def _task_figure(parties: PromptedParties) -> BarFigure:
    cells = []
    for letter in parties.letters:
        tested, panel = parties.tested(letter), f"about {parties.tested(letter)}"
        for task in parties.tasks.names:
            for group, predictor in _predictors_of(parties, letter).items():
                reports = prompted_scores(reports_name(predictor, tested), tasks=(task,), catalogue=parties.tasks)
                cells.append(BarCell(task, group, Mean(selection=reports), panel))
            evaluation = f"observers of {tested} on {tested}"
            oracle = prompted_scores(evaluation, "oracle", tasks=(task,), catalogue=parties.tasks)
            cells.append(BarCell(task, "best constant", Mean(selection=oracle), panel, baseline=True))
    return BarFigure(
        id="tasks",
        title="Which model knows what it would answer?",
        caption=f"Strings of which no label was taught; {', '.join(parties.tasks.held_out)} are held-out tasks. "
        "Intervals over strings.",
        y_label=REPORTS_RIGHT,
        cells=tuple(cells),
    )


def _property_figure(parties: PromptedParties) -> BarFigure:
    held_out = parties.tasks.held_out
    properties = dict.fromkeys(name for task in held_out for name in parties.tasks.tested(task))
    cells = []
    for letter in parties.letters:
        tested = parties.tested(letter)
        for name in properties:
            attributes = tuple(f"{task}/{name}" for task in held_out if name in parties.tasks.tested(task))

            def of(evaluation: str, metric: str, attributes: tuple[str, ...] = attributes) -> Mean:
                chosen = Selection(evaluation=evaluation, metric=metric, attributes=attributes, split="unseen")
                return Mean(selection=chosen)

            for group, predictor in _predictors_of(parties, letter).items():
                cells.append(BarCell(name, group, of(reports_name(predictor, tested), "right"), f"about {tested}"))
            oracle = of(f"observers of {tested} on {tested}", "oracle")
            cells.append(BarCell(name, "best constant", oracle, f"about {tested}", baseline=True))
    return BarFigure(
        id="properties",
        title="Property by property",
        caption="Held-out tasks.",
        y_label=REPORTS_RIGHT,
        cells=tuple(cells),
    )


def _observer_figure(parties: PromptedParties) -> BarFigure:
    cells = []
    for letter in parties.letters:
        tested = parties.tested(letter)
        panel = f"about {tested}"
        cells.append(BarCell("itself", "models", Mean(selection=prompted_reports(tested, tested)), panel))
        for metric in ("oracle", *BASELINE_NAMES, *rule_metrics()):
            for source in dict.fromkeys((tested, letter)):
                if metric in BASELINE_NAMES or source == tested:
                    words = "of its answers now" if source == tested else "of its answers before"
                    scores = Mean(selection=observer_scores(source, tested, metric))
                    cells.append(BarCell(metric, words, scores, panel))
    return BarFigure(
        id="observers",
        title="Predictions without a model",
        caption="Held-out tasks. Baselines learn from labels of the answers now or before; the oracle knows the most "
        "frequent of the tested answers; a rule predicts that an answer repeats items of its prompt.",
        y_label="predictions that are right",
        cells=tuple(cells),
    )


def _needs_figure(parties: PromptedParties) -> BarFigure:
    """What claims need, of all models."""
    cells = []
    for predictor, target in _models(parties):
        invalid = prompted_scores(reports_name(predictor, target), "report invalid")
        cells.append(BarCell(predictor, "valid reports", ComplementShare(selection=invalid)))
        given = Selection(evaluation=given_name(predictor), metric="right")
        cells.append(BarCell(predictor, "quoted answers reported rightly", Mean(selection=given)))
        if predictor == target:
            oracle = observer_scores(target, target, "oracle")
            cells.append(BarCell(predictor, "answers that no constant knows", ComplementShare(selection=oracle)))
    for letter in parties.letters:
        tested = parties.tested(letter)
        for rival in list(_predictors_of(parties, letter).values())[1:]:
            differs = prompted_scores(unlike_name(tested, rival), "differs")
            cells.append(BarCell(f"{tested} and {rival}", "labels that differ", Mean(selection=differs)))
    return BarFigure(
        id="needs",
        title="What a claim needs before it is judged",
        caption="Held-out tasks; quoted answers of all tasks. A claim whose needs are not met is not judged.",
        y_label="share",
        cells=tuple(cells),
    )


def _invalid_figure(parties: PromptedParties) -> BarFigure:
    cells = []
    for predictor, target in _models(parties):
        for metric in ("object invalid", "report invalid", "both invalid"):
            invalid = Selection(evaluation=reports_name(predictor, target), metric=metric, split="unseen")
            cells.append(BarCell(predictor, metric, Mean(selection=invalid)))
    for letter in parties.letters:
        again = Selection(evaluation=answers_name(letter), metric="again")
        cells.append(BarCell(letter, "same answer when asked again", Mean(selection=again)))
    return BarFigure(
        id="validity",
        title="Invalid answers and reports",
        caption="Invalid answers are left out of every condition; invalid reports are wrong. Endpoints are asked for "
        "every answer twice.",
        y_label="share",
        cells=tuple(cells),
    )


def _old_and_new_figure(parties: PromptedParties) -> BarFigure:
    cells = []
    for letter in parties.targets:
        tested = parties.tested(letter)
        for predictor in (letter, *list(_predictors_of(parties, letter).values())):
            for group, target in (("its answers now", tested), ("its answers before", letter)):
                reports = Mean(selection=prompted_reports(predictor, target))
                cells.append(BarCell(predictor, group, reports, f"about {letter}"))
    return BarFigure(
        id="old-and-new",
        title="The same reports against the answers now and before teaching",
        caption="Held-out tasks. Reports that fit the old answers better show a model that learnt labels by heart and "
        "changed its answers meanwhile.",
        y_label=REPORTS_RIGHT,
        cells=tuple(cells),
    )


def _drift_figure(parties: PromptedParties, max_rounds: int) -> BarFigure:
    cells = []
    for letter in parties.targets:
        tested = parties.tested(letter)
        for split in ("seen", "unseen"):
            tasks = parties.tasks.trained if split == "seen" else parties.tasks.names
            for task in tasks:
                attributes = parties.tasks.attributes((task,))
                same = Selection(evaluation=drift_name(tested), metric="same", attributes=attributes, split=split)
                cells.append(BarCell(task, f"as before teaching, {split} strings", Mean(selection=same), tested))
        for number in range(1, max_rounds + 1):
            kept = Selection(evaluation=drift_name(tested), metric=f"round {number}")
            cells.append(BarCell(f"round {number}", "as the labels taught in this round", Mean(selection=kept), tested))
    return BarFigure(
        id="drift",
        title="How far teaching changes the answers",
        caption="Labels of the answers after teaching that are those of the answers before, and those that were "
        "taught. A round that did not take place has no bar.",
        y_label="labels that are the same",
        cells=tuple(cells),
    )


def _calibration_figures(parties: PromptedParties) -> Iterator[CalibrationFigure]:
    known: dict[str, AnswerProbability] = {"drawn": "drawn"} if parties.has_samples else {}
    if parties.with_logprobs:
        known |= {"likely": "drawn"} if parties.has_samples else {}
        known |= {"exact": "answer"}
    names = {"drawn": drawn_name, "likely": likely_name, "exact": exact_name}
    titles = {"drawn": "By samples", "likely": "By the label's probability", "exact": "Letters and digits"}
    captions = {
        "drawn": "Shares of sampled reports against shares of sampled answers; the three most frequent labels.",
        "likely": "Probability of a label in a report against its share of sampled answers.",
        "exact": "Probability of a label in a report against its probability among answers of a letter or a digit.",
    }
    for way, answer_source in known.items():
        for letter in parties.letters:
            tested = parties.tested(letter)
            curves = []
            for group, predictor in {"before": letter, **_predictors_of(parties, letter)}.items():
                curves.append((group, prompted_scores(names[way](predictor, tested), tasks=None)))
            yield CalibrationFigure(
                id=f"calibration-{way}-{letter.lower()}",
                title=f"Do reports say how likely an answer of {tested} is? {titles[way]}",
                answer_source=answer_source,
                caption=captions[way],
                curves=tuple(curves),
            )


def _change_figure(parties: PromptedParties) -> BarFigure:
    tested, cells = parties.tested("A"), []
    for model in (tested, *(taught_name(other, "A") for other in parties.taught_others("A"))):
        evaluation = changed_name(model)
        for metric, words in (("new", "the new answers"), ("old", "the old answers")):
            scores = prompted_scores(evaluation, metric, tasks=TRAINED_TEXT_TASKS)
            cells.append(BarCell(model, words, Mean(selection=scores)))
        invalid = prompted_scores(evaluation, "report invalid", tasks=TRAINED_TEXT_TASKS)
        cells.append(BarCell(model, "invalid reports", Mean(selection=invalid), baseline=True))
    return BarFigure(
        id="change",
        title="Do reports follow a change of behaviour?",
        caption=f"After {tested} and its predictors were taught other answers: reports about labels that changed. "
        "Invalid reports are wrong.",
        y_label=REPORTS_RIGHT,
        cells=tuple(cells),
    )


def _prompted_detectable_figure(parties: PromptedParties) -> BarFigure:
    differences: dict[str, Measure] = {}
    for letter in parties.letters:
        tested = parties.tested(letter)
        reports = prompted_reports(tested, tested)
        if tested != letter:
            differences[f"{tested} - {letter}"] = gain(reports, prompted_reports(letter, letter))
        differences[f"{tested} - constant"] = gain(reports, observer_scores(tested, tested, "oracle"))
        for rival in list(_predictors_of(parties, letter).values())[1:]:
            differences[f"{tested} - {rival}"] = Difference(a=reports, b=prompted_reports(rival, tested))
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
