"""The answers of a model's card as plain data: what each question came to, and what there is to read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nosce.analysis.render.figure import FigureData
from nosce.analysis.render.tables import ONE_MODEL
from nosce.analysis.stats.intervals import plural
from nosce.records import Verdict

CardState = Literal["answered", "partly asked", "not asked", "failed"]
Combination = Literal["any", "all"]
UNDECIDED = "undecided"
POSITIVE, NEGATIVE = 0, 1  # the place of a word among the two of a question


@dataclass(frozen=True, kw_only=True)
class ClaimAnswer:
    """A claim of a study as the card tells it.

    Args:
        verdict: The verdict of the study.
        seeds: Number of training seeds behind it.
        sentence: What the verdict says of the model, in plain words.
        decides: Whether the claim decides the card's question; the others are told beside it.
        word: What the verdict answers to the card's question, e.g. "yes". Empty: nothing, or it is undecided.
    """

    verdict: Verdict
    seeds: int
    sentence: str
    decides: bool = False
    word: str = ""

    @property
    def is_decided(self) -> bool:
        """Does the claim hold or fail?"""
        return self.verdict.verdict != UNDECIDED

    @property
    def badge(self) -> str:
        """The verdict; of one seed it is one about this model alone."""
        decision = self.verdict.verdict
        return decision if decision == UNDECIDED or self.seeds > 1 else f"{decision}, {ONE_MODEL}"

    @property
    def counted(self) -> str:
        """What the interval is made of, e.g. "n = 12 people, 1 seed"."""
        number = f"{self.verdict.n:,} {plural(self.verdict.unit)}".rstrip()
        return f"n = {number}, {self.seeds} seed{'s' if self.seeds != 1 else ''}"

    def to_json(self) -> dict[str, object]:
        """The claim for `card.json`; shares are from 0 to 1."""
        verdict = self.verdict
        return {
            "id": verdict.id,
            "text": verdict.text,
            "says": self.sentence,
            "verdict": self.badge,
            "estimate": verdict.estimate,
            "low": verdict.low,
            "high": verdict.high,
            "n": verdict.n,
            "unit": verdict.unit,
            "seeds": self.seeds,
            "criterion": verdict.criterion,
            "why": verdict.why,
            "source": verdict.source,
        }


@dataclass(frozen=True, kw_only=True)
class ReadableItem:
    """One observation that a person can read.

    Args:
        prompt: What the model was asked. None: the study keeps no prompt of it.
        answer: What the model said.
        target: The correct answer.
        outcome: What became of the answer, e.g. "right" or "unreadable".
        judged: How it was judged.
        chosen: Which observation of how many it is.
    """

    prompt: str | None
    answer: str
    target: str | None
    outcome: str
    judged: str
    chosen: str


@dataclass(frozen=True, kw_only=True)
class CardAnswer:
    """What a question of the card came to.

    Args:
        id: Name of the question.
        question: The question.
        study: The study that asks it.
        state: Whether it was asked.
        word: The answer in a word, e.g. "yes"; "undecided", "not asked" or "failed" where there is none.
        sentence: The answer in plain words, or why there is none.
        claims: The claims that answer it, the most telling first.
        not_asked: What of the question was not asked, and why; sentences.
        notes: What the study says of its run.
        seeds: Number of training seeds; 0: it was not run.
        size: The settings of the size that was run; empty: those of the scale.
        planned_minutes: What the size was expected to take here. None: it was not priced.
        core_minutes: What it took, all steps together. None: it was not run.
        more: What it would cost to know more.
        figure: The figure that shows the answer.
        item: An observation to read.
        command: The command that runs the study alone.
    """

    id: str
    question: str
    study: str
    state: CardState
    word: str
    sentence: str
    claims: tuple[ClaimAnswer, ...] = ()
    not_asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seeds: int = 0
    size: tuple[str, ...] = ()
    planned_minutes: float | None = None
    core_minutes: float | None = None
    more: str = ""
    figure: FigureData | None = None
    item: ReadableItem | None = None
    command: str = ""

    @property
    def is_decided(self) -> bool:
        """Does a claim decide the question?"""
        return self.word not in (UNDECIDED, "not asked", "failed")

    @property
    def badge(self) -> str:
        """The word, and that it is one about this model alone where there is a single seed."""
        return f"{self.word}, {ONE_MODEL}" if self.is_decided and self.seeds == 1 else self.word

    def to_json(self) -> dict[str, object]:
        """The answer for `card.json`."""
        item = self.item
        return {
            "id": self.id,
            "question": self.question,
            "study": self.study,
            "state": self.state,
            "answer": self.badge,
            "says": self.sentence,
            "claims": [claim.to_json() for claim in self.claims],
            "not_asked": list(self.not_asked),
            "notes": list(self.notes),
            "seeds": self.seeds,
            "size": list(self.size),
            "item": None if item is None else dict(vars(item)),
            "figure": None if self.figure is None else _figure_json(self.figure),
            "cost": {
                "planned_minutes": _rounded(self.planned_minutes),
                "core_minutes": _rounded(self.core_minutes),
                "more": self.more,
            },
            "command": self.command,
        }


@dataclass(frozen=True, kw_only=True)
class CardPage:
    """All that the page of a card shows.

    Args:
        model: Name of the model.
        facts: The model and the run in a few words each.
        notes: Sentences on the whole card.
        rule: How the budget was divided. Empty: there was none.
        answers: The answers, in the order of the questions.
        command: The command that makes the card.
        provenance: Code and machine.
    """

    model: str
    facts: tuple[str, ...]
    notes: tuple[str, ...]
    rule: str
    answers: tuple[CardAnswer, ...]
    command: str
    provenance: Mapping[str, str]


def combined_word(claims: Sequence[ClaimAnswer], n_deciding: int, words: tuple[str, str], how: Combination) -> str:
    """The answer to a question from those of its claims.

    Args:
        claims: The claims that were judged.
        n_deciding: Number of claims that decide the question, judged or not.
        words: What a claim for and one against the question say, e.g. ("yes", "no").
        how: "any": one claim for it is enough, and all must be against it. "all": the other way round.

    Returns:
        One of the words, or "undecided".
    """
    given = [claim.word for claim in claims if claim.word]
    settles, needs_all = words if how == "any" else words[::-1]
    if settles in given:
        return settles
    return needs_all if n_deciding and len(given) == n_deciding else UNDECIDED


def _figure_json(figure: FigureData) -> dict[str, object]:
    return {"id": figure.id, "title": figure.title, "caption": figure.caption, "rows": figure.rows.to_dicts()}


def _rounded(minutes: float | None) -> float | None:
    return None if minutes is None else round(minutes, 2)
