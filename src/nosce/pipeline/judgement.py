"""What the readings of a study say of its claims: verdicts, looks, the price of what is open, and the exploratory half.

It is made from a table of readings and the claims alone, by the step `estimates` as by whoever computes published
verdicts again from published readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from nosce.analysis.claims import Claim
from nosce.analysis.looks import ClaimLook, LookDesign, judge_at_looks, last_looks
from nosce.analysis.price import ClaimPrice, price_claim
from nosce.analysis.stats.level import USUAL_LEVEL, at_level
from nosce.records import Verdict, to_table


class JudgedStudy(Protocol):
    """What of a study its judgement needs; the spec of the step `estimates` has it."""

    @property
    def unit(self) -> str:
        """Name of the independently drawn unit."""
        ...

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims."""
        ...

    @property
    def exploratory_seeds(self) -> tuple[int, ...]:
        """Seeds that were read while claims were made; () where all seeds count alike."""
        ...

    @property
    def looks(self) -> LookDesign | None:
        """How claims are judged at looks; None: once."""
        ...


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What became of the claims of a study.

    Args:
        verdicts: The verdict on each claim.
        looks: The looks at claims; () where claims are judged once.
        prices: What would decide each claim that is undecided.
        exploratory: The verdict on each claim by the exploratory seeds; () where there are none, or no others.
        readings: The readings that verdicts and figures rest on: those of the exploratory seeds are left out.
    """

    verdicts: tuple[Verdict, ...]
    looks: tuple[ClaimLook, ...]
    prices: tuple[ClaimPrice, ...]
    exploratory: tuple[Verdict, ...]
    readings: pl.DataFrame

    def write(self, folder: Path) -> None:
        """Write the tables that the module `estimates` lists."""
        to_table(self.verdicts, Verdict).write_parquet(folder / "verdicts.parquet")
        to_table(self.looks, ClaimLook).write_parquet(folder / "looks.parquet")
        to_table(self.prices, ClaimPrice).write_parquet(folder / "prices.parquet")
        to_table(self.exploratory, Verdict).write_parquet(folder / "exploratory.parquet")


def judge_study(study: JudgedStudy, readings: pl.DataFrame) -> Judgement:
    """Judge all claims of a study."""
    exploratory: list[Verdict] = []
    if study.exploratory_seeds:
        is_seen = pl.col("seed").is_in(study.exploratory_seeds)
        seen = readings.filter(is_seen)
        exploratory = [claim.judge(seen, study.unit) for claim in study.claims] if len(seen) else []
        readings = readings.filter(~is_seen)
    looks: list[ClaimLook] = []
    if study.looks is None:
        verdicts = [claim.judge(readings, study.unit) for claim in study.claims]
    else:
        verdicts, looks = judge_at_looks(study.claims, readings, study.unit, study.looks)
    return Judgement(
        verdicts=tuple(verdicts),
        looks=tuple(looks),
        prices=tuple(_prices(study, verdicts, looks, readings)),
        exploratory=tuple(exploratory),
        readings=readings,
    )


def _prices(
    study: JudgedStudy, verdicts: Sequence[Verdict], looks: Sequence[ClaimLook], readings: pl.DataFrame
) -> list[ClaimPrice]:
    """The price of each undecided claim, from the readings and at the level of its last look."""
    last, prices = last_looks(looks), []
    for claim, verdict in zip(study.claims, verdicts, strict=True):
        if verdict.verdict == "undecided":
            look, rows = last.get(claim.id), readings
            if look is not None and study.looks is not None:
                rows = readings.filter(pl.col("seed").is_in(study.looks.seeds[: look.seeds]))
            with at_level(USUAL_LEVEL if look is None else look.level):
                prices.append(price_claim(claim, rows, study.unit))
    return prices
