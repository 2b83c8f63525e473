"""Looks: a claim is judged at 3, 5, 8 and 12 training seeds, and all looks together are wrong at most once in twenty.

Whoever looks at an interval of 95 % four times and stops when it decides is wrong more often than once in twenty. So
each look has an interval of a higher level, and the error of 5 % is shared out among the looks by a spending function
(Lan and DeMets 1983, Biometrika 70:659-663), their form that spends as Pocock's boundaries do: by n of 12 seeds

    5 % x ln(1 + (e - 1) n / 12)

is spent. What a look spends is the error of its own interval (Bonferroni's inequality), which needs nothing to be known
of how the looks hang together. A boundary in the manner of O'Brien and Fleming would leave 0.01 % to three seeds, where
Student's t is then above 80.

An interval of level 1 - a errs with probability a whatever the truth is, and a claim that is decided wrongly, or
decided at all where the truth is the threshold itself, is an interval that misses the truth. The looks of a claim
therefore err together at most 5 %, and the interval at which a claim ended covers the truth in 95 % or more: whenever
the looks end, and for whatever reason. `benchmarks/looks.py` simulates both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from nosce.analysis.claims import Claim
from nosce.analysis.stats.level import USUAL_LEVEL, at_level
from nosce.records import Decision, Verdict

LOOKS = (3, 5, 8, 12)  # numbers of training seeds at which claims are judged
TOTAL_ERROR = 1 - USUAL_LEVEL  # of all looks together


def spent_error(seeds: int) -> float:
    """How much of the error all looks up to so many seeds have together, from 0 to 0.05."""
    return TOTAL_ERROR * math.log1p((math.e - 1) * seeds / LOOKS[-1])


def look_level(seeds: int) -> float:
    """The level of the interval at a look, e.g. 0.982 at 3 seeds. It depends on nothing else, so a look that was
    taken by one command is the look of any other command.

    Args:
        seeds: One of `LOOKS`.
    """
    index = LOOKS.index(seeds)
    before = spent_error(LOOKS[index - 1]) if index else 0.0
    return 1 - (spent_error(seeds) - before)


@dataclass(frozen=True, kw_only=True)
class ClaimSeeds:
    """How far the readings of a claim go.

    Args:
        claim: Name of the claim.
        n_seeds: Number of seeds, the first ones, of which all of the claim's readings are there.
        fixed_by: Why the number of seeds was fixed beforehand, e.g. "its arm small has 1 seed": the claim is then
            judged once, by an interval of 95 %. Empty: the claim is judged at looks.
        stopped: Why no further seed is run for the claim, though looks remain; empty: nothing has stopped it.
    """

    claim: str
    n_seeds: int
    fixed_by: str = ""
    stopped: str = ""


@dataclass(frozen=True, kw_only=True)
class LookDesign:
    """Which seeds the looks are at, and how far each claim's readings go.

    Args:
        seeds: The training seeds in the order in which looks take them.
        claims: How far the readings of each claim go.
    """

    seeds: tuple[int, ...]
    claims: tuple[ClaimSeeds, ...]


@dataclass(frozen=True, kw_only=True)
class ClaimLook:
    """One look at a claim, as a row of a table.

    Args:
        claim: Name of the claim.
        look: Number of the look, counted from 1; null where the number of seeds was fixed beforehand.
        seeds: Number of training seeds.
        level: Level of the look's interval.
        estimate: The measured number; null where it could not be computed.
        low: Lower end of its interval; null where no interval exists.
        high: Upper end of its interval; null likewise.
        verdict: What the look decided. The first that is not "undecided" is the claim's verdict.
        note: Why the claim was judged once, or why it was not looked at again; empty: neither.
    """

    claim: str
    look: int | None
    seeds: int
    level: float
    estimate: float | None
    low: float | None
    high: float | None
    verdict: Decision
    note: str = ""

    @property
    def phrase(self) -> str:
        """The look in words, e.g. "decided at look 2 of 4, 5 seeds, by an interval of 99.1 %"."""
        if self.look is None:
            return f"judged once: {self.note}"
        word = "open after" if self.verdict == "undecided" else "decided at"
        look = (
            f"{word} look {self.look} of {len(LOOKS)}, {self.seeds} seeds, by an interval of {100 * self.level:.3g} %"
        )
        return f"{look}; {self.note}" if self.note else look


def judge_at_looks(
    claims: Sequence[Claim], readings: pl.DataFrame, unit: str, design: LookDesign
) -> tuple[list[Verdict], list[ClaimLook]]:
    """The verdict on each claim from the first look that decides it, else from the last look; and all looks.

    Looks are taken again from the readings, so they need no memory: readings of more seeds change no verdict that an
    earlier look had reached.

    Args:
        claims: The claims.
        readings: The readings of all seeds.
        unit: Name of the independently drawn unit.
        design: The seeds of the looks.
    """
    verdicts: dict[str, Verdict] = {}
    looks: list[ClaimLook] = []
    ends = {one.claim: one for one in design.claims}
    for n_seeds in sorted({*LOOKS, *(one.n_seeds for one in design.claims)}):
        due = [claim for claim in claims if _is_due(ends[claim.id], n_seeds, verdicts.get(claim.id))]
        if due:
            part = readings.filter(pl.col("seed").is_in(design.seeds[:n_seeds]))
            for claim in due:
                verdict, look = _look(claim, part, unit, n_seeds, ends[claim.id])
                verdicts[claim.id] = verdict
                looks.append(look)
    for claim in claims:
        if claim.id not in verdicts:
            verdicts[claim.id] = _before_first_look(claim, readings, unit, design, ends[claim.id].n_seeds)
    return [verdicts[claim.id] for claim in claims], looks


def _is_due(end: ClaimSeeds, n_seeds: int, verdict: Verdict | None) -> bool:
    """Is a claim to be judged at so many seeds?"""
    if end.fixed_by:
        return n_seeds == end.n_seeds
    return n_seeds in LOOKS and n_seeds <= end.n_seeds and (verdict is None or verdict.verdict == "undecided")


def _look(claim: Claim, readings: pl.DataFrame, unit: str, n_seeds: int, end: ClaimSeeds) -> tuple[Verdict, ClaimLook]:
    level = USUAL_LEVEL if end.fixed_by else look_level(n_seeds)
    with at_level(level):
        verdict = claim.judge(readings, unit)
    if not end.fixed_by:
        verdict = _of_seeds(verdict, n_seeds)
    look = ClaimLook(
        claim=claim.id,
        look=None if end.fixed_by else 1 + LOOKS.index(n_seeds),
        seeds=(verdict.seeds or n_seeds) if end.fixed_by else n_seeds,
        level=level,
        estimate=verdict.estimate,
        low=verdict.low,
        high=verdict.high,
        verdict=verdict.verdict,
        note=end.fixed_by or (end.stopped if n_seeds == end.n_seeds and verdict.verdict == "undecided" else ""),
    )
    return verdict, look


def _of_seeds(verdict: Verdict, n_seeds: int) -> Verdict:
    """The verdict, undecided where its estimate is of other seeds than the look's: the look's level is for these."""
    if verdict.estimate is None or verdict.seeds == n_seeds:
        return verdict
    why = f"not decided at this look, since the estimate is of {_count(verdict.seeds)} and the look is at {n_seeds}"
    return replace(verdict, verdict="undecided", why=f"{why} ({verdict.why})")


def _before_first_look(claim: Claim, readings: pl.DataFrame, unit: str, design: LookDesign, n_seeds: int) -> Verdict:
    """The verdict on a claim of fewer seeds than the first look has: its estimate, and nothing decided."""
    with at_level(look_level(LOOKS[0])):
        verdict = claim.judge(readings.filter(pl.col("seed").is_in(design.seeds[:n_seeds])), unit)
    why = f"not judged: {_count(n_seeds)} of its readings are there, and the first look is at {LOOKS[0]}; run more"
    return replace(verdict, verdict="undecided", why=f"{why} ({verdict.why})")


def _count(seeds: int) -> str:
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def last_looks(looks: Sequence[ClaimLook]) -> dict[str, ClaimLook]:
    """The look that each claim's verdict is from, by the claim's id."""
    return {look.claim: look for look in looks}


def open_claims(looks: Sequence[ClaimLook]) -> Iterator[ClaimLook]:
    """The last looks of claims that later looks could decide."""
    for look in last_looks(looks).values():
        if look.look is not None and look.verdict == "undecided" and look.seeds < LOOKS[-1]:
            yield look
