"""The claims of introspection in words: the paper's, and the other explanations of a self advantage."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from nosce.analysis.calibration import (
    AnswerProbability,
    CalibrationMAD,
    LabelMatchedContrast,
    LabelMatchedDifference,
)
from nosce.analysis.claims import Claim
from nosce.analysis.measures import Difference, MinOf
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted_change_claims import prompted_change_claims
from nosce.studies.introspection.prompted_names import (
    drawn_name,
    exact_name,
    likely_name,
    taught_name,
)
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_selections import (
    BASELINE_NAMES,
    BRIER,
    gain,
    observer_scores,
    prompted_crossed,
    prompted_reports,
    prompted_scores,
)
from nosce.studies.introspection.prompted_self_claims import self_knowledge_claims
from nosce.studies.introspection.prompted_tables import rule_metrics
from nosce.studies.introspection.selections import ADVANTAGE_MARGIN

PAPER_ADVANTAGES = {"A": 0.167, "B": 0.128}  # Llama over GPT-4o about Llama, and the other way round


def prompted_claims(parties: PromptedParties) -> Iterator[Claim]:
    """All claims; none is judged unless what it needs is there."""
    for letter in parties.letters:
        if letter in parties.targets:
            yield from _training_claims(parties, letter)
            if letter in parties.with_logprobs:
                yield _calibration_training_claim(parties, letter)
        yield from _baseline_claims(parties, letter)
        for other in parties.others(letter):
            yield _untaught_claim(parties, letter, other)
        for other in parties.taught_others(letter):
            yield from _cross_claims(parties, letter, other)
            yield from _calibration_claims(parties, letter, other)
    for first, second in combinations(parties.letters, 2):
        yield from _crossed_claims(parties, first, second)
    if parties.has_change and "A" in parties.targets:
        yield from prompted_change_claims(parties)
    if parties.knowledge.self_knowledge:
        yield from self_knowledge_claims(parties)


def _training_claims(parties: PromptedParties, letter: str) -> Iterator[Claim]:
    tested = parties.tested(letter)
    needs = (*parties.self_needs(letter), *parties.needs.of_reports((letter, letter)))
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


def _calibration_training_claim(parties: PromptedParties, letter: str) -> Claim:
    tested = parties.tested(letter)

    def brier(model: str) -> Selection:
        return prompted_scores(exact_name(model, model), "brier", tasks=None, quantity=BRIER)

    return Claim(
        id=f"training-calibrates-matched-{letter}",
        text=f"Training lowers the Brier score of {letter} about its answers of a letter or a digit, also where their "
        "most probable labels before and after are equally frequent",
        source=f"{INTROSPECTION_PAPER}, section 3.3 and appendix A.3.3",
        measure=LabelMatchedDifference(a=brier(letter), b=brier(tested)),
        threshold=0.0,
        preconditions=(*parties.self_needs(letter), *parties.needs.of_reports((letter, letter))),
    )


def _baseline_claims(parties: PromptedParties, letter: str) -> Iterator[Claim]:
    """Claims that compare the tested model with predictions that need no model."""
    tested = parties.tested(letter)
    reports, needs = prompted_reports(tested, tested), parties.self_needs(letter)
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
        preconditions=parties.rival_needs(letter, other, other),
    )


def _cross_claims(parties: PromptedParties, letter: str, other: str) -> Iterator[Claim]:
    """Claims that compare the model's reports about itself with those of another model that was taught the same."""
    tested, rival = parties.tested(letter), taught_name(other, letter)
    needs = parties.rival_needs(letter, rival, other)
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
        # Its own answers must vary too: a constant is right about a model that answers all alike.
        preconditions=(*needs, *parties.needs.of_labelled_targets((other, rival))),
    )


def _calibration_claims(parties: PromptedParties, letter: str, other: str) -> Iterator[Claim]:
    tested, rival = parties.tested(letter), taught_name(other, letter)
    needs = parties.rival_needs(letter, rival, other)
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
            text=f"The reports of {tested} lie nearer to its answers than those of {rival} do ({ways[way]})",
            source=f"{INTROSPECTION_PAPER}, section 3.3 (mean absolute deviation)",
            measure=CalibrationMAD(a=rival_scores, b=own_scores, answer_source=answer_source),
            threshold=0.0,
            paper_value=0.084 if way == "drawn" else None,
            preconditions=needs,
        )
        briers = [prompted_scores(one, "brier", tasks=tasks, quantity=BRIER) for one in (rival_reports, reports)]
        yield Claim(
            id=f"calibrated-proper-{way}-{letter}-{other}",
            text=f"{tested} has the lower Brier score about its own answers than {rival} ({ways[way]})",
            source=f"{DESIGN_SOURCE}: a proper score",
            measure=Difference(a=briers[0], b=briers[1]),
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
        pairs_of_both = (one, (one[0], one[0]), other, (other[0], other[0]))
        asked = dict.fromkeys(_main_pair(parties, target, predictor) for target, predictor in pairs_of_both)
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
