"""The answer to a study's question, made from its verdicts: no sentence is written beforehand and could contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from nosce.analysis.render.tables import ONE_MODEL, estimate_text, sample_size_text
from nosce.records import Verdict

ClaimWord = Literal["holds", "fails", "undecided", "not judged"]
NOT_JUDGED = "not judged"  # how the reason of a verdict begins whose precondition did not hold
NEEDS_MISSING = f"{NOT_JUDGED}, since "  # and how it goes on where readings say so
MAX_TOLD = 2  # claims that an answer tells


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """What the verdicts of a study answer to its question.

    Args:
        parts: One sentence or two, each with the numbers behind it, or "" without.
        sure: How sure the answer is, in a sentence; "" without a claim.
        claims: Ids of the claims that the answer tells, decided ones first.
        is_decided: Whether one of these claims is decided.
    """

    parts: tuple[tuple[str, str], ...]
    sure: str
    claims: tuple[str, ...] = ()
    is_decided: bool = False

    @property
    def text(self) -> str:
        """The sentences with their numbers."""
        return " ".join(f"{sentence} ({basis})." if basis else f"{sentence}." for sentence, basis in self.parts)


def derive_answer(verdicts: Sequence[Verdict], headline: Sequence[str] = (), conclusion: str = "") -> StudyAnswer:
    """The answer to a study's question.

    Args:
        verdicts: The verdicts of the study.
        headline: Ids of the claims that answer the question, or patterns as of `fnmatch`, the most telling first.
            Empty: the claims that are decided, in the order of the study.
        conclusion: What the study's own rule makes of the verdicts; "" where it has none.
    """
    findings = [verdict for verdict in verdicts if not verdict.is_precondition]
    if not findings:
        parts = _part(conclusion or "Not answered: the study makes no claim yet")
        return StudyAnswer(parts=parts, sure="")
    decided = [verdict for verdict in findings if verdict.verdict != "undecided"]
    told = (_named(findings, headline) or decided)[:MAX_TOLD]
    told.sort(key=lambda verdict: verdict.verdict == "undecided")  # what is decided comes first
    known = [verdict for verdict in told if verdict.verdict != "undecided"]
    if conclusion:
        parts = _part(conclusion)
    elif len(told) > 1 and not known:
        texts = "; ".join(f"“{verdict.text.rstrip('.')}”" for verdict in told)
        parts = _part(f"Not decided is whether these are so: {texts}")
    elif told:
        parts = tuple(map(_told, told))
    elif len(findings) == 1:
        parts = _part("Not answered: the one claim is undecided")
    else:
        parts = _part(f"Not answered: none of the {len(findings)} claims is decided")
    if not known and not conclusion:
        parts = (*parts, *_missing_need(findings))
    claims = tuple(verdict.id for verdict in known) or tuple(verdict.id for verdict in told)
    return StudyAnswer(parts=parts, sure=_sureness(findings), claims=claims, is_decided=bool(known))


def _part(text: str) -> tuple[tuple[str, str], ...]:
    return ((text.removesuffix("."), ""),)


def _missing_need(findings: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """The need that is missing most often, where it left claims unjudged."""
    reasons: Counter[str] = Counter()
    for verdict in findings:
        if verdict.why.startswith(NEEDS_MISSING):
            reasons.update(verdict.why.removeprefix(NEEDS_MISSING).rstrip(".").split("; "))
    if not reasons:
        return ()
    reason, count = reasons.most_common(1)[0]
    which = "It was" if len(findings) == 1 else f"{count} of {len(findings)} claims {'was' if count == 1 else 'were'}"
    return _part(f"{which} not judged, since {reason}")


def claim_word(verdict: Verdict) -> ClaimWord:
    """The verdict, or "not judged" where a precondition left nothing to decide or nothing was measured."""
    if verdict.verdict == "undecided" and (verdict.estimate is None or verdict.why.startswith(NOT_JUDGED)):
        return "not judged"
    return verdict.verdict


def undecided_sentence(verdict: Verdict) -> str:
    """Why a claim is not decided, as a sentence."""
    why = verdict.why.rstrip(".")
    return f"{why[0].upper()}{why[1:]}." if why.startswith(NOT_JUDGED) else f"Not decided: {why}."


def _named(findings: Sequence[Verdict], headline: Sequence[str]) -> list[Verdict]:
    """The findings that the headline names, in its order."""
    found: dict[str, Verdict] = {}
    for pattern in headline:
        found |= {verdict.id: verdict for verdict in findings if fnmatchcase(verdict.id, pattern)}
    return list(found.values())


def _told(verdict: Verdict) -> tuple[str, str]:
    """What a verdict says of its claim, and the number behind it; what is undecided is not told as a fact."""
    text = verdict.text.rstrip(".")
    if verdict.verdict == "undecided":
        return f"Not decided is whether this is so: “{text}”", ""
    seeds = (
        f", {ONE_MODEL}" if verdict.is_of_one_model else f", {verdict.seeds} training seeds" if verdict.seeds else ""
    )
    basis = f"{estimate_text(verdict)}, n = {sample_size_text(verdict)}{seeds}"
    if verdict.verdict == "holds":
        return text, basis
    return f"It is not so that “{text}”", f"{basis}; so it would be if {verdict.criterion}"


def _sureness(findings: Sequence[Verdict]) -> str:
    """How many claims are decided, and whether by one training alone."""
    words = [claim_word(verdict) for verdict in findings]
    n_holds, n_fails, n_not_judged = (words.count(word) for word in ("holds", "fails", "not judged"))
    n_undecided = words.count("undecided")
    parts = [
        *([f"{n_holds} {'holds' if n_holds == 1 else 'hold'}"] if n_holds else []),
        *([f"{n_fails} {'fails' if n_fails == 1 else 'fail'}"] if n_fails else []),
        *([f"{n_undecided} {'is' if n_undecided == 1 else 'are'} undecided"] if n_undecided else []),
        *([f"{n_not_judged} {'was' if n_not_judged == 1 else 'were'} not judged"] if n_not_judged else []),
    ]
    first = f"Of {len(findings)} {'claim' if len(findings) == 1 else 'claims'} {_joined(parts)}."
    n_alone = sum(verdict.is_of_one_model for verdict in findings)
    if not n_alone:
        return first
    which = "The decisions are" if n_alone == n_holds + n_fails else f"{n_alone} of the decisions are"
    which = "The decision is" if n_holds + n_fails == 1 else which
    return f"{first} {which} of {ONE_MODEL}, from one training seed: another training could differ."


def _joined(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
