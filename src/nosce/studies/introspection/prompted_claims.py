"""The claims of introspection in words: the paper's, and the other explanations of a self advantage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from nosce.analysis.calibration import (
    AnswerProbability,
    CalibrationMAD,
    LabelMatchedContrast,
    LabelMatchedDifference,
)
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, PROPERTIES_BY_TASK
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted_names import (
    changed_name,
    drawn_name,
    exact_name,
    likely_name,
    taught_name,
    tested_name,
)
from nosce.studies.introspection.prompted_needs import ClaimNeeds
from nosce.studies.introspection.prompted_selections import (
    BASELINE_NAMES,
    BRIER,
    ComplementShare,
    gain,
    observer_scores,
    prompted_crossed,
    prompted_reports,
    prompted_scores,
)
from nosce.studies.introspection.prompted_tables import rule_metrics
from nosce.studies.introspection.selections import ADVANTAGE_MARGIN

PAPER_ADVANTAGES = {"A": 0.167, "B": 0.128}  # Llama over GPT-4o about Llama, and the other way round
TRAINED_TEXT_TASKS = tuple(task for task in PROPERTIES_BY_TASK if task not in HELD_OUT_TEXT_TASKS)
MIN_CHANGED_SHARE = 0.1  # of labels; with fewer there is no new behaviour to follow
NEAREST = "the reports of {} lie nearer to the answers of {} than those of {} do"


@dataclass(frozen=True, kw_only=True)
class PromptedParties:
    """Who takes part, as far as claims and figures depend on it.

    Args:
        letters: The letters of the subjects.
        teachable: Those of the subjects that can be taught.
        targets: Those of the subjects that are taught labels of their own answers.
        with_logprobs: Those of the subjects that give the probabilities of a first token.
        has_samples: Whether answers and reports are sampled.
        has_change: Whether the first subject is taught other answers afterwards.
        needs: What must hold before a claim is judged.
    """

    letters: Sequence[str]
    teachable: Sequence[str]
    targets: Sequence[str]
    with_logprobs: Sequence[str]
    has_samples: bool
    has_change: bool
    needs: ClaimNeeds

    def tested(self, letter: str) -> str:
        """The model that is tested in a subject's place."""
        return tested_name(letter, self.targets)

    def others(self, letter: str) -> list[str]:
        """The other subjects."""
        return [other for other in self.letters if other != letter]

    def taught_others(self, letter: str) -> list[str]:
        """The other subjects that are taught this one's labels."""
        return [other for other in self.others(letter) if letter in self.targets and other in self.teachable]


def prompted_claims(parties: PromptedParties) -> Iterator[Claim]:
    """All claims; none is judged unless what it needs is there."""
    for letter in parties.letters:
        if letter in parties.targets:
            yield from _training_claims(parties, letter)
        yield from _baseline_claims(parties, letter)
        for other in parties.others(letter):
            yield _untaught_claim(parties, letter, other)
        for other in parties.taught_others(letter):
            yield from _cross_claims(parties, letter, other)
            yield from _calibration_claims(parties, letter, other)
    for first, second in combinations(parties.letters, 2):
        yield from _crossed_claims(parties, first, second)
    if parties.has_change and "A" in parties.targets:
        yield from _change_claims(parties)


def _self_needs(parties: PromptedParties, letter: str) -> tuple[Precondition, ...]:
    """What every claim about the tested model's reports about itself needs."""
    tested = parties.tested(letter)
    return (*parties.needs.of_reports((tested, tested)), *parties.needs.of_targets(tested))


def _rival_needs(parties: PromptedParties, letter: str, rival: str, other: str) -> tuple[Precondition, ...]:
    """What a comparison of the tested model with another one's reports about it needs."""
    tested = parties.tested(letter)
    rival_target = rival if rival in parties.letters else tested
    unlike = parties.needs.of_pairs((letter, other), (tested, rival))
    return (*_self_needs(parties, letter), *parties.needs.of_reports((rival, rival_target)), *unlike)


def _training_claims(parties: PromptedParties, letter: str) -> Iterator[Claim]:
    tested = parties.tested(letter)
    needs = (*_self_needs(parties, letter), *parties.needs.of_reports((letter, letter)))
    after, before = prompted_reports(tested, tested), prompted_reports(letter, letter)
    yield Claim(
        id=f"training-helps-{letter}",
        text=f"Training on labels of its own answers makes {letter} predict its answers better, on held-out tasks",
        source=f"{INTROSPECTION_PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %, Llama 70B 26.4 to 48.5 %)",
        measure=gain(after, before),
        threshold=0.0,
        paper_value=0.168,
        preconditions=needs,
    )
    yield Claim(
        id=f"training-helps-matched-{letter}",
        text=f"Training helps {letter} also where labels before and after are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3",
        measure=LabelMatchedDifference(a=after, b=before),
        threshold=0.0,
        preconditions=needs,
    )


def _baseline_claims(parties: PromptedParties, letter: str) -> Iterator[Claim]:
    """Claims that compare the tested model with predictions that need no model."""
    tested = parties.tested(letter)
    reports, needs = prompted_reports(tested, tested), _self_needs(parties, letter)
    yield Claim(
        id=f"self-beats-constant-{letter}",
        text=f"{tested} beats the best constant answer, which is taken from the tested answers themselves",
        source=f"{INTROSPECTION_PAPER}, section 3.2: the star of the plots",
        measure=gain(reports, observer_scores(tested, tested, "oracle")),
        threshold=0.0,
        preconditions=needs,
    )
    learnt_from = dict.fromkeys((tested, letter))
    baselines = [observer_scores(source, tested, name) for source in learnt_from for name in BASELINE_NAMES]
    yield Claim(
        id=f"self-beats-observers-{letter}",
        text=f"{tested} beats every baseline that learns from labels without a model, of its answers now and before",
        source=f"{DESIGN_SOURCE}: the rule for an advantage was fixed before any run",
        measure=MinOf(measures=tuple(Difference(a=reports, b=baseline) for baseline in baselines)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=needs,
    )
    rules = [observer_scores(tested, tested, metric) for metric in rule_metrics()]
    yield Claim(
        id=f"self-beats-rules-{letter}",
        text=f"{tested} beats every simple rule, e.g. that an answer repeats the last item of its prompt",
        source=f"{DESIGN_SOURCE}: a model that follows a rule is known to whoever knows the rule",
        measure=MinOf(measures=tuple(Difference(a=reports, b=rule) for rule in rules)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=needs,
    )


def _untaught_claim(parties: PromptedParties, letter: str, other: str) -> Claim:
    """The claim that needs no teaching of the other model, and none at all where the target is not taught."""
    tested = parties.tested(letter)
    return Claim(
        id=f"self-beats-untaught-{letter}-{other}",
        text=f"{tested} is right about itself more often than {other}, which was taught nothing",
        source=f"{INTROSPECTION_PAPER}, appendix A.2.1",
        measure=Difference(a=prompted_reports(tested, tested), b=prompted_reports(other, tested)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_rival_needs(parties, letter, other, other),
    )


def _cross_claims(parties: PromptedParties, letter: str, other: str) -> Iterator[Claim]:
    """Claims that compare the model's reports about itself with those of another model that was taught the same."""
    tested, rival = parties.tested(letter), taught_name(other, letter)
    needs = _rival_needs(parties, letter, rival, other)
    yield Claim(
        id=f"self-beats-cross-{letter}-{other}",
        text=f"{tested} is right about itself more often than {rival}, which was taught the same",
        source=f"{INTROSPECTION_PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
        measure=Difference(a=prompted_reports(tested, tested), b=prompted_reports(rival, tested)),
        threshold=ADVANTAGE_MARGIN,
        paper_value=PAPER_ADVANTAGES.get(letter),
        preconditions=needs,
    )
    yield Claim(
        id=f"stays-with-self-{letter}-{other}",
        text=f"{rival}, which was taught labels of {tested}, is right about itself more often than about {tested}",
        source=f"{INTROSPECTION_PAPER}, figure 15: every cross-trained model predicts itself better than its target",
        measure=gain(prompted_reports(rival, rival), prompted_reports(rival, tested)),
        threshold=0.0,
        preconditions=needs,
    )


def _calibration_claims(parties: PromptedParties, letter: str, other: str) -> Iterator[Claim]:
    tested, rival = parties.tested(letter), taught_name(other, letter)
    needs = _rival_needs(parties, letter, rival, other)
    both_have_logprobs = {letter, other} <= set(parties.with_logprobs)
    sources: dict[str, tuple[str, str, AnswerProbability]] = {}
    if parties.has_samples:
        sources["drawn"] = (drawn_name(rival, tested), drawn_name(tested, tested), "drawn")
    if parties.has_samples and both_have_logprobs:
        sources["likely"] = (likely_name(rival, tested), likely_name(tested, tested), "drawn")
    if both_have_logprobs:
        sources["exact"] = (exact_name(rival, tested), exact_name(tested, tested), "answer")
    ways = {
        "drawn": "shares of sampled reports, shares of sampled answers",
        "likely": "probabilities of reports, shares of sampled answers",
        "exact": "probabilities of reports and of answers of a letter or a digit",
    }
    for way, (rival_reports, reports, answer_source) in sources.items():
        tasks = None if way == "exact" else HELD_OUT_TEXT_TASKS
        rival_scores, own_scores = (prompted_scores(one, tasks=tasks) for one in (rival_reports, reports))
        yield Claim(
            id=f"calibrated-{way}-{letter}-{other}",
            text=f"{NEAREST.format(tested, tested, rival).capitalize()} ({ways[way]})",
            source=f"{INTROSPECTION_PAPER}, section 3.3 (mean absolute deviation)",
            measure=CalibrationMAD(a=rival_scores, b=own_scores, answer_source=answer_source),
            threshold=0.0,
            paper_value=0.084 if way == "drawn" else None,
            preconditions=needs,
        )
        rival_brier, own_brier = (
            prompted_scores(one, "brier", tasks=tasks, quantity=BRIER) for one in (rival_reports, reports)
        )
        yield Claim(
            id=f"calibrated-proper-{way}-{letter}-{other}",
            text=f"{tested} has the lower Brier score about its own answers than {rival} ({ways[way]})",
            source=f"{DESIGN_SOURCE}: a proper score",
            measure=Difference(a=rival_brier, b=own_brier),
            threshold=0.0,
            preconditions=needs,
        )


def _crossed_claims(parties: PromptedParties, first: str, second: str) -> Iterator[Claim]:
    """Claims in which skill cancels, since each of two models is both target and predictor."""
    pairs = {"untaught-": ((first, second), (second, first))}
    if second in parties.taught_others(first) and first in parties.taught_others(second):
        pairs[""] = (
            (parties.tested(first), taught_name(second, first)),
            (parties.tested(second), taught_name(first, second)),
        )
    for prefix, (one, other) in pairs.items():
        asked = dict.fromkeys(_main_pair(parties, *pair) for pair in (one, one[:1] * 2, other, other[:1] * 2))
        needs = (
            *parties.needs.of_reports(*asked),
            *parties.needs.of_targets(one[0], other[0]),
            *parties.needs.of_pairs((first, second), *(() if prefix else (one, other))),
        )
        contrast = prompted_crossed(one, other)
        yield Claim(
            id=f"{prefix}crossed-{first}-{second}",
            text=f"({one[0]} on {one[0]} - {one[1]} on {one[0]}) - ({other[1]} on {other[0]} - {other[0]} on "
            f"{other[0]}) is above 0, which no difference of skill explains",
            source=f"{DESIGN_SOURCE}: a difference of skill cancels, as each model is both subject and predictor",
            measure=contrast,
            threshold=2 * ADVANTAGE_MARGIN,
            preconditions=needs,
        )
        yield Claim(
            id=f"{prefix}crossed-matched-{first}-{second}",
            text="The same contrast is above 0 also where the labels of both targets are equally frequent",
            source=f"{INTROSPECTION_PAPER}, appendix A.3.3, which re-weights another comparison",
            measure=LabelMatchedContrast(terms=contrast.terms),
            threshold=2 * ADVANTAGE_MARGIN,
            preconditions=needs,
        )


def _main_pair(parties: PromptedParties, target: str, predictor: str) -> tuple[str, str]:
    """A predictor and the target of which its invalid reports are counted: itself, where it was taught nothing."""
    return predictor, predictor if predictor in parties.letters else target


def _change_claims(parties: PromptedParties) -> Iterator[Claim]:
    tested = parties.tested("A")
    changed = changed_name(tested)

    def scores(model: str, metric: str) -> Selection:
        return prompted_scores(model, metric, tasks=TRAINED_TEXT_TASKS)

    def needs(*models: str) -> tuple[Precondition, ...]:
        valid = []
        for model in models:
            share = ComplementShare(selection=scores(model, "report invalid"))
            text = f"the share of valid reports of {model}"
            valid.append(Precondition(text=text, measure=share, above=parties.needs.valid))
        differs = Mean(selection=scores(changed, "differs"))
        text = f"the share of labels of {tested} that the change has changed"
        return (
            *_self_needs(parties, "A"),
            *valid,
            Precondition(text=text, measure=differs, above=MIN_CHANGED_SHARE),
        )

    yield Claim(
        id="follows-change",
        text=f"After {tested} was taught other answers and no label, it reports the new ones more than the old",
        source=f"{INTROSPECTION_PAPER}, section 3.4 (GPT-4o 35.4 new, 21.7 old)",
        measure=Difference(a=scores(changed, "new"), b=scores(changed, "old")),
        threshold=0.0,
        paper_value=0.137,
        preconditions=needs(changed),
    )
    yield Claim(
        id="follows-change-matched",
        text=f"{changed} reports the new answers more than the old also where both labels are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3 (GPT-4o 36.3 new, 21.3 old)",
        measure=LabelMatchedDifference(a=scores(changed, "new"), b=scores(changed, "old")),
        threshold=0.0,
        paper_value=0.15,
        preconditions=needs(changed),
    )
    for other in parties.taught_others("A"):
        rival = changed_name(taught_name(other, "A"))
        terms = ((1.0, changed, "new"), (-1.0, changed, "old"), (-1.0, rival, "new"), (1.0, rival, "old"))
        yield Claim(
            id=f"follows-more-than-cross-{other}",
            text=f"The reports of {changed} follow the change more than those of {rival}, after the same change",
            source=f"{DESIGN_SOURCE}: the informative control, whose result the paper does not report",
            measure=Contrast(terms=tuple((weight, scores(model, metric)) for weight, model, metric in terms)),
            threshold=0.0,
            preconditions=needs(changed, rival),
        )
