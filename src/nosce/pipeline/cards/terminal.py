"""A card and its plan on a terminal: a block of at most four lines a question, 80 columns wide."""

from __future__ import annotations

import textwrap

from rich.console import Console

from nosce.analysis.card import CardAnswer
from nosce.analysis.render.tables import estimate_text
from nosce.pipeline.cards.answers import minutes_text
from nosce.pipeline.cards.card import ModelCard
from nosce.pipeline.cards.division import DIVISION_RULE
from nosce.pipeline.cards.planning import CardPlan, PlannedQuestion
from nosce.store.text import literal

WIDTH, INDENT = 80, "   "
SENTENCE_LINES = 2


def print_card(card: ModelCard, console: Console) -> None:
    """Print the answers, a block each."""
    for number, answer in enumerate(card.answers, 1):
        for line in answer_lines(number, answer):
            console.print(literal(line), highlight=False, soft_wrap=True)


def answer_lines(number: int, answer: CardAnswer) -> list[str]:
    """The block of an answer: the question, what the answer is, and the numbers of the most telling claim."""
    lines = [_short(f"{number}. {answer.question}"), *_wrapped(_headline(answer))]
    told = [claim for claim in answer.claims if claim.verdict.estimate is not None]
    if told:
        numbers = f"{estimate_text(told[0].verdict)}, {told[0].counted}"
        took = "" if answer.core_minutes is None else f"; took {minutes_text(answer.core_minutes)} of a core"
        lines.append(_short(f"{INDENT}{numbers}{took}"))
    return lines


def _headline(answer: CardAnswer) -> str:
    if answer.state in ("not asked", "failed"):
        return answer.sentence
    if answer.word == "not asked":  # what was not asked comes before what was
        return " ".join([*(f"Not asked: {one[:1].lower()}{one[1:]}" for one in answer.not_asked), answer.sentence])
    return " ".join([f"{answer.badge.capitalize()}.", answer.sentence or " ".join(answer.not_asked)])


def print_card_plan(plan: CardPlan, console: Console) -> None:
    """Print what a card would ask, at which size and price, and what it would not."""
    for number, planned in enumerate(plan.questions, 1):
        console.print(literal(_short(f"{number}. {planned.question.text}")), highlight=False, soft_wrap=True)
        for line in _wrapped(_plan_sentence(planned), lines=3):
            console.print(literal(line), highlight=False, soft_wrap=True)
    least = "At least " if plan.n_not_known else "About "
    total = f"{least}{minutes_text(plan.minutes)} in all."
    if plan.budget_minutes is not None:
        total = f"{least}{plan.minutes:.1f} of {plan.budget_minutes:g} minutes are planned. {DIVISION_RULE}"
    if plan.n_not_known:
        total += " What is not known took too long to be timed; the same command measures it again."
    console.print(literal(textwrap.fill(total, WIDTH)), highlight=False, soft_wrap=True)


def _plan_sentence(planned: PlannedQuestion) -> str:
    if planned.request is None:
        return f"Not asked: {planned.reason}."
    assert planned.plan is not None
    size = ", ".join(planned.request.settings) or "the size of the scale"
    what = f"{planned.question.study}, {size}: {len(planned.plan.all_steps)} steps"
    choice = planned.choice
    if choice is None:
        return f"{what}."
    if choice.n_not_known:
        return (
            f"{what}, at least {minutes_text(choice.minutes)}: the price of {choice.n_not_known} of them is not known."
        )
    parts = [f"{what}, {minutes_text(choice.minutes)}."]
    if choice.half_width is not None:
        parts.append(f"Below some {100 * choice.half_width:.0f} points no difference can be told.")
    if choice.next_settings:
        parts.append(f"Next size: {', '.join(choice.next_settings)}, {minutes_text(choice.next_minutes)}.")
    return " ".join(parts)


def _wrapped(text: str, lines: int = SENTENCE_LINES) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, max_lines=lines, placeholder=" ..."
    )


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4].rstrip()} ..."
