"""From the results of a study to the answer of a card's question."""

from __future__ import annotations

from collections.abc import Sequence

from nosce.analysis.card import CardAnswer, CardState, ClaimAnswer, combined_word
from nosce.analysis.render.figure import FigureData
from nosce.errors import DamagedError
from nosce.pipeline.budget import scaled_minutes
from nosce.pipeline.cards.items import readable_item
from nosce.pipeline.cards.planning import PlannedQuestion, larger_sizes
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.cost import TIMED_KINDS, StepCost
from nosce.pipeline.plan import Plan
from nosce.pipeline.results import RunResults
from nosce.store.store import Store

LARGER = 1.05  # times as long, from which another size counts as the larger one
SEEDS_FOR_MORE = 3


def answer_question(
    planned: PlannedQuestion, results: RunResults, model: str, others: Sequence[str], n_workers: int
) -> CardAnswer:
    """What a study's results say to a question.

    Args:
        planned: The question and its run.
        results: The results of the run.
        model: Name of the model.
        others: Names of the other models.
        n_workers: Steps that are made at once, for the price of more.
    """
    question, plan = planned.question, planned.plan
    assert planned.request is not None
    assert plan is not None
    seeds = len(results.plan.seeds)
    claims = tuple(question.claim_answers(results.verdicts, model, others, seeds))
    n_deciding = question.n_deciding(results.verdicts, model, others)
    not_asked = tuple(question.not_asked(results.verdicts, model, others))
    word = combined_word(claims, n_deciding, question.words, question.combination)
    state: CardState = "partly asked" if not_asked else "answered"
    if not any(claim.decides for claim in claims):
        word = "not asked"
    return CardAnswer(
        id=question.id,
        question=question.text,
        study=question.study,
        state=state,
        word=word,
        sentence=_sentence(claims),
        claims=claims,
        not_asked=not_asked,
        notes=plan.study.notes,
        seeds=seeds,
        size=planned.request.settings,
        planned_minutes=None if planned.choice is None else planned.choice.minutes,
        core_minutes=results.provenance.core_minutes,
        more=cost_of_more(planned, plan, results.store, n_workers),
        figure=_figure(results, question.figures),
        item=readable_item(
            plan, results.store, results.readings, [claim.verdict.id for claim in claims], model, question.judged
        ),
        command=in_store(planned.request.command, results.store),
    )


def unanswered(planned: PlannedQuestion, state: CardState, reason: str, store: Store) -> CardAnswer:
    """A question that was not asked, or whose study failed.

    Args:
        planned: The question.
        state: "not asked" or "failed".
        reason: Why, as the end of a sentence.
        store: The store.
    """
    return CardAnswer(
        id=planned.question.id,
        question=planned.question.text,
        study=planned.question.study,
        state=state,
        word=state,
        sentence=f"{'Not asked' if state == 'not asked' else 'Failed'}: {reason.rstrip('.')}.",
        size=() if planned.request is None else planned.request.settings,
        command="" if planned.request is None else in_store(planned.request.command, store),
    )


def _sentence(claims: Sequence[ClaimAnswer]) -> str:
    """What the claims say; of those that decide the question and are undecided the first reason is enough."""
    decided = [claim.sentence for claim in claims if claim.is_decided]
    undecided = [claim.sentence for claim in claims if claim.decides and not claim.is_decided]
    return " ".join([*decided, *undecided[:1]])


def _figure(results: RunResults, wanted: Sequence[str]) -> FigureData | None:
    """The first of the wanted figures that the study has and that shows something."""
    try:
        figures = {figure.id: figure for figure in results.figures}
    except DamagedError:
        return None
    for name in wanted:
        if name in figures and figures[name].rows["value"].count():
            return figures[name]
    return None


def cost_of_more(planned: PlannedQuestion, plan: Plan, store: Store, n_workers: int) -> str:
    """What the next size and more seeds would take, from what this size took here."""
    costs = [StepCost(step, _seconds(store, step.name)) for step in plan.upstream_steps if step.kind in TIMED_KINDS]
    minutes, _ = scaled_minutes(plan, costs, n_workers)
    parts = []
    for settings, larger in larger_sizes(planned):
        more, n_not_known = scaled_minutes(larger, costs, n_workers)
        if more > LARGER * minutes:
            at_least = "at least" if n_not_known else "about"
            parts.append(f"The next size, {', '.join(settings)}, would take {at_least} {minutes_text(more)} here.")
            break
    else:
        parts.append("No larger size of it is known at this scale; take a larger --scale or --set.")
    if len(plan.study.seeds) == 1:
        times = SEEDS_FOR_MORE * minutes
        parts.append(f"Three seeds of this size (--set seeds=0,1,2) would take about {minutes_text(times)}.")
    return " ".join(parts)


def _seconds(store: Store, name: str) -> float | None:
    return float(store.step_record(name).provenance["seconds"]) if store.has(name) else None


def minutes_text(minutes: float) -> str:
    """A duration as a reader wants it, e.g. "40 s", "12 minutes" or "3.5 hours"."""
    if minutes < 1.5:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
