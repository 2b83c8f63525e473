"""The claims about what models know of themselves beyond their answers, what each needs, and their figure.

A claim of one of the five tasks says that the tested model is right about itself more often than the best constant, or
more often than another model with the same skill. Of answers that all models give alike, and of what stands far behind
the beginning of a long answer, the claim is that no such advantage shows; it fails where one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from nosce.analysis.claims import Claim, Precondition, needs_of_few
from nosce.analysis.figures import BarCell, BarFigure
from nosce.analysis.measures import ComplementShare, Contrast, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.self_knowledge import COPIES, KEEP, LATE, LENGTH, OWN, SAME, SELF_TASKS, SURER
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_self import (
    both_own_name,
    has_certainty,
    self_given_name,
    self_reports_name,
    self_truth_name,
    self_unlike_name,
)
from nosce.studies.introspection.prompted_self_tables import ALL_SELF_TASKS
from nosce.studies.introspection.selections import ADVANTAGE_MARGIN

FEW_TRANSCRIPTS_ABOVE = 0.5  # which the interval of the skill must exceed: a coin is right about half of ten given ones
ALIKE_SHARE = 0.8  # of questions about whose truth two models agree, before a place is one where all answer alike
TASK_WORDS = {
    KEEP: "whether it keeps its answer when asked whether it is sure",
    SURER: "which of two prompts makes it more certain",
    COPIES: "whether two copies of it choose alike",
    LENGTH: "how long its answer is",
    OWN: "which of two texts it has written",
    LATE: "what stands far behind the beginning of its long answers",
    SAME: "properties of answers that all models give alike",
}
TASK_SOURCES = {
    KEEP: f'{INTROSPECTION_PAPER}, section 4 ("are you sure": 74.5 % self, 76.5 % cross)',
    SURER: DESIGN_SOURCE,
    COPIES: f"{INTROSPECTION_PAPER}, section 4 (no transfer to coordination)",
    LENGTH: f"{INTROSPECTION_PAPER}, section 4 (length classes: not above the best constant)",
    OWN: "arXiv:2404.13076, section 2",
    LATE: f"{INTROSPECTION_PAPER}, section 4 (properties of long answers: not above the best constant)",
    SAME: f"{DESIGN_SOURCE}: where all answer alike, whoever knows one model knows all",
}


def self_knowledge_claims(parties: PromptedParties) -> Iterator[Claim]:
    """All claims of the tasks of self-knowledge."""
    for letter in parties.letters:
        for task in _asked_tasks(parties):
            yield _constant_claim(parties, letter, task)
            if letter in parties.targets:
                yield _transfer_claim(parties, letter, task)
            for other in parties.others(letter):
                yield _rival_claim(parties, letter, other, task)
        yield _late_constant_claim(parties, letter)
        for other in parties.others(letter):
            yield from (_no_advantage_claim(parties, letter, other, task) for task in (LATE, SAME))
    for first, second in combinations(parties.letters, 2):
        yield _preference_claim(parties, first, second)


def _asked_tasks(parties: PromptedParties) -> tuple[str, ...]:
    """The five tasks; without draws nobody plays a game."""
    return tuple(task for task in SELF_TASKS if task != COPIES or parties.knowledge.n_self_draws)


def self_knowledge_figure(parties: PromptedParties) -> BarFigure:
    """All tasks: every model about itself, the others about it, given transcripts, and the best constant."""
    cells = []
    for letter in parties.letters:
        tested, panel = parties.tested(letter), f"about {parties.tested(letter)}"
        predictors = {"itself": tested} | ({"itself, before": letter} if tested != letter else {})
        predictors |= {f"{other}, taught nothing": other for other in parties.others(letter)}
        for task in ALL_SELF_TASKS:
            for group, predictor in predictors.items():
                target = letter if group == "itself, before" else tested
                scores = Mean(selection=_reports(predictor, target, task))
                cells.append(BarCell(task, group, scores, panel))
            given = Selection(evaluation=self_given_name(tested, task), metric="right")
            cells.append(BarCell(task, "given transcripts", Mean(selection=given), panel))
            cells.append(BarCell(task, "best constant", Mean(selection=_constants(tested, task)), panel, baseline=True))
    return BarFigure(
        id="self-knowledge",
        title="What do models know about themselves beyond their answers?",
        caption=f"{'; '.join(f'{task}: {words}' for task, words in TASK_WORDS.items())}. An invalid report is wrong. "
        f"Of the task {OWN} the others are shown texts of the author.{_left_out(parties)}",
        y_label="reports that are right",
        cells=tuple(cells),
    )


def _left_out(parties: PromptedParties) -> str:
    """Which models' certainty nobody knows, and that there are no games."""
    silent = [letter for letter in parties.letters if not _knows_certainty(parties, letter)]
    words = ""
    if silent:
        words += f" Left out: how certain {' and '.join(silent)} is, since an endpoint gives no log-probabilities and "
        words += "n_self_draws asks for no draws."
    return words + ("" if parties.knowledge.n_self_draws else f" Left out: {COPIES}, which need draws.")


def _knows_certainty(parties: PromptedParties, letter: str) -> bool:
    return has_certainty(parties.knowledge, int(letter in parties.with_logprobs))


def _reports(predictor: str, target: str, task: str, metric: str = "right", other: str = "") -> Selection:
    """A predictor's reports about a target; of the task `own`, with the texts of one other model alone."""
    attributes = (f"{task}/{other}",) if task == OWN and other else ()
    return Selection(evaluation=self_reports_name(predictor, target, task), metric=metric, attributes=attributes)


def _constants(target: str, task: str) -> Selection:
    return Selection(evaluation=self_truth_name(target, task), metric="constant")


def _reporter_needs(parties: PromptedParties, predictor: str, target: str, task: str) -> Iterator[Precondition]:
    """That a predictor's reports are valid, and that it has the skill on given transcripts."""
    invalid = ComplementShare(selection=_reports(predictor, target, task, "report invalid"))
    text = f"the share of valid reports of {predictor} in the task {task}"
    yield from needs_of_few(Precondition(text=text, measure=invalid, above=parties.needs.valid))
    given = Mean(selection=Selection(evaluation=self_given_name(predictor, task), metric="right"))
    text = f"the share of given transcripts of the task {task} that {predictor} reports rightly"
    yield from needs_of_few(Precondition(text=text, measure=given, above=parties.needs.skill), FEW_TRANSCRIPTS_ABOVE)


def _truth_needs(parties: PromptedParties, letter: str, target: str, task: str) -> Iterator[Precondition]:
    """That the target's behaviour is known and not all alike."""
    if task == SURER and not _knows_certainty(parties, letter):
        text = (
            f"the share of pairs of prompts whose certainty of {target} is known (its endpoint gives no "
            "log-probabilities, and n_self_draws asks for no draws)"
        )
        known = Selection(evaluation=self_truth_name(target, task), metric="known")
        yield Precondition(text=text, measure=Mean(selection=known), above=0.0, by_interval=True)
    text = f"the share of truths about {target} in the task {task} that the best constant misses"
    varied = ComplementShare(selection=_constants(target, task))
    yield from needs_of_few(Precondition(text=text, measure=varied, above=parties.needs.variety))


def _self_needs(parties: PromptedParties, letter: str, task: str) -> tuple[Precondition, ...]:
    tested = parties.tested(letter)
    return (*_truth_needs(parties, letter, tested, task), *_reporter_needs(parties, tested, tested, task))


def _rival_needs(parties: PromptedParties, letter: str, other: str, task: str) -> tuple[Precondition, ...]:
    """What a comparison with another model as it is given needs: both can report, and they behave unlike each other."""
    tested = parties.tested(letter)
    rival_target, unlike_model = (tested, parties.tested(other)) if task == OWN else (other, other)
    differs = Selection(evaluation=self_unlike_name(tested, unlike_model, task), metric="differs")
    text = f"the share of truths in which {tested} and {unlike_model} differ in the task {task}"
    unlike = Precondition(text=text, measure=Mean(selection=differs), above=parties.knowledge.truths_unlike)
    own_needs = [] if task != SAME else [_above_constant_need(model) for model in (tested, other)]
    if task == SAME:
        text = f"the share of truths in which {tested} and {unlike_model} agree in the task {task}"
        unlike = Precondition(text=text, measure=ComplementShare(selection=differs), above=ALIKE_SHARE)
    needs = (*_self_needs(parties, letter, task), *_reporter_needs(parties, other, rival_target, task))
    return (*needs, *needs_of_few(unlike), *own_needs)


def _above_constant_need(model: str) -> Precondition:
    """That a model knows what it answers where all answer alike; else it can have no advantage, access or not."""
    measure = Difference(a=_reports(model, model, SAME), b=_constants(model, SAME))
    text = f"the share of right reports of {model} about itself above the best constant in the task {SAME}"
    return Precondition(text=text, measure=measure, above=0.0, by_interval=True)


def _constant_claim(parties: PromptedParties, letter: str, task: str) -> Claim:
    tested = parties.tested(letter)
    return Claim(
        id=f"knows-{task}-{letter}",
        text=f"{tested} knows {TASK_WORDS[task]}, better than the best constant does",
        source=TASK_SOURCES[task],
        measure=Difference(a=_reports(tested, tested, task), b=_constants(tested, task)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_self_needs(parties, letter, task),
    )


def _rival_claim(parties: PromptedParties, letter: str, other: str, task: str) -> Claim:
    tested = parties.tested(letter)
    how = f"which was shown other texts by {tested}" if task == OWN else "which was taught nothing"
    return Claim(
        id=f"knows-{task}-{letter}-{other}",
        text=f"{tested} knows {TASK_WORDS[task]}, better than {other}, {how}",
        source=TASK_SOURCES[task],
        measure=Difference(a=_reports(tested, tested, task, other=other), b=_reports(other, tested, task, other=other)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_rival_needs(parties, letter, other, task),
    )


def _transfer_claim(parties: PromptedParties, letter: str, task: str) -> Claim:
    """The paper finds none, neither in coordination nor in other suites of self-knowledge."""
    tested = parties.tested(letter)
    before, after = _reports(letter, letter, task), _reports(tested, tested, task)
    return Claim(
        id=f"transfers-to-{task}-{letter}",
        text=f"Training on labels of its answers makes {letter} know better {TASK_WORDS[task]}, which was not trained",
        source=f"{INTROSPECTION_PAPER}, section 4, which finds no transfer to other kinds of self-knowledge",
        measure=Contrast(terms=((1.0, after), (-1.0, before))),
        threshold=0.0,
        preconditions=(
            *_self_needs(parties, letter, task),
            *_truth_needs(parties, letter, letter, task),
            *_reporter_needs(parties, letter, letter, task),
        ),
    )


def _late_constant_claim(parties: PromptedParties, letter: str) -> Claim:
    tested = parties.tested(letter)
    return Claim(
        id=f"late-is-not-known-{letter}",
        text=f"{tested} does not know {TASK_WORDS[LATE]}, better than the best constant does",
        source=TASK_SOURCES[LATE],
        measure=Difference(a=_reports(tested, tested, LATE), b=_constants(tested, LATE)),
        threshold=parties.knowledge.no_advantage_margin,
        direction="below",
        preconditions=_self_needs(parties, letter, LATE),
    )


def _no_advantage_claim(parties: PromptedParties, letter: str, other: str, task: str) -> Claim:
    tested = parties.tested(letter)
    return Claim(
        id=f"no-advantage-{task}-{letter}-{other}",
        text=f"{tested} has no advantage over {other} in {TASK_WORDS[task]}",
        source=TASK_SOURCES[task],
        measure=Difference(a=_reports(tested, tested, task), b=_reports(other, tested, task)),
        threshold=parties.knowledge.no_advantage_margin,
        direction="below",
        preconditions=_rival_needs(parties, letter, other, task),
    )


def _preference_claim(parties: PromptedParties, first: str, second: str) -> Claim:
    names = (parties.tested(first), parties.tested(second))
    needs = [need for name in names for need in _reporter_needs(parties, name, name, OWN)]
    differs = Selection(evaluation=self_unlike_name(*names, OWN), metric="differs")
    text = f"the share of texts in which {names[0]} and {names[1]} differ"
    unlike = Precondition(text=text, measure=Mean(selection=differs), above=parties.knowledge.truths_unlike)
    both = Selection(evaluation=both_own_name(*names), metric="right")
    return Claim(
        id=f"own-is-no-preference-{first}-{second}",
        text=f"{names[0]} and {names[1]}, shown the same two texts, are right together more often than half of the "
        "time, which no preference for one of the texts explains",
        source=f"{DESIGN_SOURCE}: a preference that both share makes one of them right and the other wrong",
        measure=Mean(selection=both),
        threshold=0.5 + ADVANTAGE_MARGIN,
        preconditions=(*needs, *needs_of_few(unlike)),
    )
