"""What is said of a claim beside its verdict: its look, what would decide it at what price, its exploratory half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from nosce.analysis.looks import ClaimLook, last_looks
from nosce.analysis.price import ClaimPrice
from nosce.analysis.render.tables import estimate_text
from nosce.pipeline.claim_age import ClaimAge, name_seeds
from nosce.pipeline.claim_log import ClaimVersion, planned_versions
from nosce.pipeline.plan_record import PlanRecord
from nosce.records import Decision, Verdict, from_table, read_table
from nosce.store.spec import Json

NOT_BY_SEEDS = "not by seeds"  # how the price of a claim begins that no number of seeds decides
RecordT = TypeVar("RecordT")
HALVES = {  # what became of a verdict between the halves, in the order of the table
    "agree": "both halves say the same",
    "turned": "one half says holds, the other fails",
    "newly decided": "the exploratory half is undecided",
    "no longer decided": "the confirmatory half is undecided",
    "not run": "no exploratory reading is there",
}


@dataclass(frozen=True, kw_only=True)
class ClaimOutlook:
    """What is known of a claim beside its verdict.

    Args:
        look: The look that its verdict is from; None: it was judged as one.
        price: What would decide it; None where it is decided.
        core_minutes: Time of the seeds that would decide it, on one core as those before; None where it is not known.
    """

    look: ClaimLook | None = None
    price: ClaimPrice | None = None
    core_minutes: float | None = None

    @property
    def price_sentence(self) -> str:
        """What would decide the claim, in words; "" where it is decided."""
        if self.price is None:
            return ""
        minutes = "" if self.core_minutes is None else f", some {_rounded(self.core_minutes)} core-minutes here"
        return f"{self.price.sentence}{minutes}"

    @property
    def details(self) -> list[tuple[str, str]]:
        """Rows of the page: a word and a text."""
        rows = [] if self.look is None else [("look", self.look.phrase)]
        return [*rows, ("to decide it", self.price_sentence)] if self.price is not None else rows

    @property
    def table_note(self) -> str:
        """What the terminal's table says below the verdict, e.g. "5 seeds, 99.1 %"; "" without looks."""
        if self.look is None or self.look.look is None:
            return ""
        return f"{self.look.seeds} seeds, {100 * self.look.level:.3g} %"

    def to_json(self) -> dict[str, Json]:
        """The keys that `nosce show --json` adds to a claim."""
        price: dict[str, Json] | None = None
        if self.price is not None:
            price = {name: value for name, value in asdict(self.price).items() if name not in ("claim", "sentence")}
            price |= {"core_minutes": self.core_minutes, "sentence": self.price_sentence}
        look: dict[str, Json] = {}
        if self.look is not None:
            look = {name: value for name, value in asdict(self.look).items() if name != "claim"}
            look = {"look": {**look, "phrase": self.look.phrase}}
        return {"price": price, **look}


def undecided_sentences(verdicts: Sequence[Verdict], outlooks: Mapping[str, ClaimOutlook]) -> list[str]:
    """Why claims are undecided and what would decide them; claims with one reason in one sentence, e.g. one need.

    Args:
        verdicts: The verdicts of a run.
        outlooks: What is known of claims beside, by id.
    """
    groups: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.verdict == "undecided":
            reason = _open_reason(verdict, outlooks.get(verdict.id, ClaimOutlook()))
            groups.setdefault(reason, []).append(verdict.id)
    return [_undecided_sentence(reason, named) for reason, named in groups.items()]


def _undecided_sentence(reason: str, named: Sequence[str]) -> str:
    if len(named) == 1:
        return f"{named[0]} is undecided: {reason}"
    return f"{len(named)} claims are undecided: {reason} These are {', '.join(named)}."


def _open_reason(verdict: Verdict, outlook: ClaimOutlook) -> str:
    """Why a claim is undecided, why it was not looked at again, and its price; what one says is said once."""
    said = verdict.why.rstrip(".")
    sentences = [said]
    for lead, words in (("", outlook.look.note if outlook.look else ""), ("To decide it: ", outlook.price_sentence)):
        text = words.rstrip(".")
        answer, _, because = text.partition(": ")
        if because and because in said:  # a need that seeds do not meet, which is the reason already
            text = answer
        if text and not (lead and text == NOT_BY_SEEDS and len(sentences) > 1):
            sentences.append(f"{lead}{text}" if lead else f"{text[0].upper()}{text[1:]}")
    return ". ".join(sentences) + "."


def _rounded(minutes: float) -> str:
    return f"{minutes:.1g}" if minutes < 1 else f"{minutes:,.0f}"


def claim_outlooks(
    plan: PlanRecord, looks: Sequence[ClaimLook], prices: Sequence[ClaimPrice], seconds: Mapping[str, float]
) -> dict[str, ClaimOutlook]:
    """The outlook of each claim of a plan, by id.

    Args:
        plan: Record of the plan.
        looks: The looks at its claims.
        prices: The prices of its undecided claims.
        seconds: What each finished step took, by name.
    """
    last, priced = last_looks(looks), {price.claim: price for price in prices}
    outlooks = {}
    for version in planned_versions(plan, {}):
        price = priced.get(version.id)
        minutes = None
        if price is not None and price.needed is not None:
            per_seed = seconds_per_seed(plan, version, seconds)
            minutes = None if per_seed is None else (price.needed - price.seeds) * per_seed / 60
        outlooks[version.id] = ClaimOutlook(look=last.get(version.id), price=price, core_minutes=minutes)
    return outlooks


def seconds_per_seed(plan: PlanRecord, version: ClaimVersion, seconds: Mapping[str, float]) -> float | None:
    """Seconds of the steps behind a claim's readings, a seed; None where a step's time is not known."""
    by_seed = steps_behind(plan, version)
    behind = {name for steps in by_seed.values() for name in steps}
    if not behind or any(name not in seconds for name in behind):
        return None
    return sum(seconds[name] for name in behind) / len(by_seed)


def steps_behind(plan: PlanRecord, version: ClaimVersion) -> dict[int, set[str]]:
    """The steps behind a claim's readings, with all that these were made from, by training seed."""
    estimates = plan.steps[plan.estimates].description
    spec, inputs = estimates.get("spec"), estimates.get("inputs")
    sources = spec.get("sources") if isinstance(spec, dict) else None
    evaluations = {*_evaluations_in(version.description)}
    found: dict[int, set[str]] = {}
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict) and isinstance(inputs, dict):
            step = str(inputs.get(str(source.get("input"))))
            is_read = version.arms is None or source.get("arm") in version.arms
            if is_read and _evaluation_name(plan, step) in (None, *evaluations):
                found.setdefault(int(str(source.get("seed"))), set()).add(step)
    return {seed: _behind(plan, steps) for seed, steps in found.items()}


def _evaluations_in(part: Json) -> Iterator[str]:
    """The names of evaluations that a description's selections have."""
    if isinstance(part, list):
        for entry in part:
            yield from _evaluations_in(entry)
    elif isinstance(part, dict):
        if isinstance(name := part.get("evaluation"), str):
            yield name
        for entry in part.values():
            yield from _evaluations_in(entry)


def _evaluation_name(plan: PlanRecord, step: str) -> str | None:
    """The evaluation of a step; None for an experiment's, whose readings may be of any."""
    spec = plan.steps[step].description.get("spec") if step in plan.steps else None
    evaluation = spec.get("evaluation") if isinstance(spec, dict) else None
    return str(evaluation.get("name")) if isinstance(evaluation, dict) else None


def _behind(plan: PlanRecord, steps: Iterable[str]) -> set[str]:
    """Steps with all that they were made from."""
    behind: set[str] = set()
    waiting = [*steps]
    while waiting:
        name = waiting.pop()
        if name not in behind and name in plan.steps:
            behind.add(name)
            inputs = plan.steps[name].description.get("inputs")
            waiting += [str(given) for given in inputs.values()] if isinstance(inputs, dict) else []
    return behind


def read_records(folder: Path, name: str, record_type: type[RecordT]) -> tuple[RecordT, ...]:
    """The records of a table of the estimates; () where estimates of an earlier version have none."""
    path = folder / name
    return tuple(from_table(read_table(path), record_type)) if path.exists() else ()


@dataclass(frozen=True, kw_only=True)
class SeedHalves:
    """The verdicts by exploratory seeds beside those by confirmatory seeds.

    Args:
        exploratory_seeds: Seeds that were read while claims were made.
        confirmatory_seeds: The others, on which the published verdicts rest.
        rows: One row a finding: `claim`, `exploratory`, `exploratory_here`, `confirmatory`, `confirmatory_here`,
            `outcome`, and `written`, whether the claim was written before any confirmatory seed was read.
    """

    exploratory_seeds: tuple[int, ...]
    confirmatory_seeds: tuple[int, ...]
    rows: pl.DataFrame

    @classmethod
    def of(
        cls,
        exploratory: Sequence[Verdict],
        confirmatory: Sequence[Verdict],
        ages: Mapping[str, ClaimAge],
        exploratory_seeds: Collection[int],
        seeds: Collection[int],
    ) -> SeedHalves:
        """The halves of two lists of verdicts on the same claims.

        Args:
            exploratory: The verdicts by exploratory seeds.
            confirmatory: The verdicts by all others.
            ages: The age of each claim, by its id.
            exploratory_seeds: Seeds that were read while claims were made, whether they were run here or not.
            seeds: All seeds that were run.
        """
        confirming = tuple(seed for seed in seeds if seed not in exploratory_seeds)
        rows = []
        for seen, fresh in zip(exploratory, confirmatory, strict=True):
            if not fresh.is_precondition:
                rows.append(
                    {
                        "claim": fresh.id,
                        "exploratory": seen.verdict,
                        "exploratory_here": estimate_text(seen),
                        "confirmatory": fresh.verdict,
                        "confirmatory_here": estimate_text(fresh),
                        "outcome": halves_outcome(seen.verdict, fresh.verdict, is_read=seen.estimate is not None),
                        "written": _written(ages.get(fresh.id), confirming),
                    }
                )
        columns = (
            "claim",
            "exploratory",
            "exploratory_here",
            "confirmatory",
            "confirmatory_here",
            "outcome",
            "written",
        )
        table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
        seen_seeds = tuple(seed for seed in seeds if seed in exploratory_seeds)
        return cls(exploratory_seeds=seen_seeds, confirmatory_seeds=confirming, rows=table)

    @property
    def counts(self) -> dict[str, int]:
        """How many verdicts agree, turned and so on."""
        counted = Counter(self.rows["outcome"].to_list())
        return {name: counted[name] for name in HALVES}

    @property
    def sentence(self) -> str:
        """The counts in one sentence."""
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count) or "no claim"
        seen, fresh = name_seeds(self.exploratory_seeds), name_seeds(self.confirmatory_seeds)
        count = len(self.rows)
        return f"Exploratory {seen} against confirmatory {fresh}, {count} claim{'' if count == 1 else 's'}: {shown}."

    def to_json(self) -> dict[str, Json]:
        """The object `halves` of `nosce show --json`."""
        return {
            "exploratory_seeds": [*self.exploratory_seeds],
            "confirmatory_seeds": [*self.confirmatory_seeds],
            "counts": {**self.counts},
            "claims": [{**row} for row in self.rows.iter_rows(named=True)],
        }


def halves_outcome(seen: Decision, fresh: Decision, *, is_read: bool) -> str:
    """What became of a verdict, one of `HALVES`.

    Args:
        seen: The verdict by exploratory seeds.
        fresh: The verdict by the others.
        is_read: Whether the exploratory seeds have readings for the claim.
    """
    if not is_read:
        return "not run"
    if seen == fresh:
        return "agree"
    if seen == "undecided":
        return "newly decided"
    return "no longer decided" if fresh == "undecided" else "turned"


def _written(age: ClaimAge | None, confirmatory_seeds: Collection[int]) -> str:
    """Whether a claim stood in its form before any confirmatory seed was read."""
    if age is None or age.registered is None:
        return "not known"
    return "after confirmatory seeds" if {*age.seeds_before} & {*confirmatory_seeds} else "before"
