"""The questions of a card as plain data: which study asks each, and which of its claims answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from typing import Literal

from nosce.analysis.answer import undecided_sentence
from nosce.analysis.card import NEGATIVE, POSITIVE, ClaimAnswer, Combination
from nosce.records import Verdict

AskedModels = Literal["the model", "the model and the others", "the ladder"]


def arm_name(model: str) -> str:
    """What an arm is called that is named after a model: a name of the hub without its slash."""
    return model.replace("/", "-")


@dataclass(frozen=True, kw_only=True)
class CardClaim:
    """A claim that answers a question of the card. In its texts {model} and {other} stand for names of models.

    Args:
        id: The claim's id, or a pattern of ids as of `fnmatch`, e.g. one for each of the other models.
        if_holds: What it says of the model where the claim holds, in a sentence.
        if_fails: The same where it fails.
        speaks: Whether a claim that holds speaks for the question or against it. None: it does not decide the
            question, and is told beside the others.
        needs: The other models that make sense of the claim: with some, or without any. None: it always makes sense.
        absent: Why the question was not asked in this respect, where the study has no such claim.
    """

    id: str
    if_holds: str
    if_fails: str
    speaks: Literal["for", "against"] | None = None
    needs: Literal["others", "no others"] | None = None
    absent: str = ""

    def fits(self, others: Sequence[str]) -> bool:
        """Does the claim make sense with these other models?"""
        return self.needs is None or (self.needs == "others") == bool(others)

    def matches(self, claim_id: str, model: str) -> bool:
        """Is a claim of a study meant?"""
        return fnmatchcase(claim_id, self.id.replace("{model}", escape(arm_name(model))))

    def word(self, verdict: Verdict, words: tuple[str, str]) -> str:
        """What a verdict answers; empty where it answers nothing."""
        if self.speaks is None or verdict.verdict == "undecided":
            return ""
        is_for = (verdict.verdict == "holds") == (self.speaks == "for")
        return words[POSITIVE if is_for else NEGATIVE]

    def sentence(self, verdict: Verdict, model: str, other: str) -> str:
        """What a verdict says in plain words."""
        if verdict.verdict == "undecided":
            return undecided_sentence(verdict)
        text = self.if_holds if verdict.verdict == "holds" else self.if_fails
        return text.replace("{model}", model).replace("{other}", other)


@dataclass(frozen=True, kw_only=True)
class CardQuestion:
    """A question of the card.

    Args:
        id: Name of the question.
        text: The question.
        study: Name of the built-in study that asks it.
        models: The models that the study is run on.
        claims: The claims that answer it, the most telling first. They are tried in this order for an item to read.
        combination: How the claims decide together; see `combined_word`.
        words: What a claim for and one against the question say.
        figures: Ids of figures, the best first; the first that the study has is shown.
        judged: How an item was judged.
    """

    id: str
    text: str
    study: str
    models: AskedModels
    claims: tuple[CardClaim, ...]
    combination: Combination = "all"
    words: tuple[str, str] = ("yes", "no")
    figures: tuple[str, ...]
    judged: str

    def fitting_claims(self, others: Sequence[str]) -> tuple[CardClaim, ...]:
        """The claims that make sense with these other models."""
        return tuple(claim for claim in self.claims if claim.fits(others))

    def claim_answers(
        self, verdicts: Sequence[Verdict], model: str, others: Sequence[str], seeds: int
    ) -> Iterator[ClaimAnswer]:
        """The verdicts that answer the question, in the order of its claims."""
        for claim in self.fitting_claims(others):
            found = [verdict for verdict in verdicts if claim.matches(verdict.id, model)]
            for index, verdict in enumerate(found):
                other = others[index] if len(found) == len(others) else "the other model"
                sentence = claim.sentence(verdict, model, other)
                yield ClaimAnswer(
                    verdict=verdict,
                    seeds=verdict.seeds or seeds,
                    sentence=sentence,
                    decides=claim.speaks is not None,
                    word=claim.word(verdict, self.words),
                )

    def n_deciding(self, verdicts: Sequence[Verdict], model: str, others: Sequence[str]) -> int:
        """How many claims decide the question; one that the study lacks counts too."""
        deciding = [claim for claim in self.claims if claim.speaks is not None]
        counts = [sum(claim.matches(verdict.id, model) for verdict in verdicts) for claim in deciding]
        return sum(max(1, count) if claim.fits(others) else 1 for claim, count in zip(deciding, counts, strict=True))

    def not_asked(self, verdicts: Sequence[Verdict], model: str, others: Sequence[str]) -> Iterator[str]:
        """What was not asked, and why."""
        for claim in self.claims:
            is_there = any(claim.matches(verdict.id, model) for verdict in verdicts)
            if claim.absent and not (claim.fits(others) and is_there):
                yield claim.absent
