"""The bench: every claim is judged on planted readings, where it is true, where it is false, and on its threshold.

A claim must come out as "holds", "fails" and "undecided" there. One that cannot come out as "fails" in any plausible
world is no claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nosce.analysis.bench.linear import CellKey, LinearWorlds, linear_forms
from nosce.analysis.bench.linear_judge import LinearJudge
from nosce.analysis.bench.planted_readings import Noise, PlantedCells, PlantedTable, draw_means
from nosce.analysis.bench.planters import PLANTERS, UNITS, Planter, WorldKind
from nosce.analysis.claims import Claim
from nosce.analysis.emergence.planters import SCALING_PLANTERS, SCALING_UNITS
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import wilson
from nosce.errors import SpecError
from nosce.records import Decision, Estimate
from nosce.seeds import Seed

#: What must become of a claim in each world.
EXPECTED: dict[WorldKind, Decision] = {"true": "holds", "false": "fails", "on the threshold": "undecided"}
#: Worlds beside them, which show how a claim comes out where nothing can be learnt, or little.
FURTHER_WORLDS = ("precondition unmet", "one seed", "two groups of seeds", "all failing", "all right")
MANY_UNITS = 300  # units of a seed where the worlds lie near the threshold
NEAR = 0.15  # of a share
SMALL_NEED_ROOM = 0.4  # of the usual margin of a precondition
#: An equivalence within a few points cannot be told from five seeds that vary by as much.
EQUIVALENCE_NOISE = {"seeds": 12, "units": 1_000}


@dataclass(frozen=True, kw_only=True)
class WorldOutcome:
    """What became of a claim in one world.

    Args:
        world: Name of the world.
        decisions: How often the claim came out as each verdict.
        note: Why the world could not be planted; "" where it was.
    """

    world: str
    decisions: Mapping[Decision, int]
    note: str = ""

    def share(self, decision: Decision) -> Estimate | None:
        """How often it came out so, with Wilson's interval; None without draws."""
        draws = sum(self.decisions.values())
        return wilson(self.decisions.get(decision, 0), draws, unit="draw") if draws else None


@dataclass(frozen=True, kw_only=True)
class BenchedClaim:
    """A claim and what became of it in all worlds.

    Args:
        study: Name of the study.
        claim: The claim.
        outcomes: The three worlds first, then the further ones.
    """

    study: str
    claim: Claim
    outcomes: tuple[WorldOutcome, ...]

    def outcome(self, world: str) -> WorldOutcome:
        """The outcome of a world."""
        return next(one for one in self.outcomes if one.world == world)

    @property
    def can_fail(self) -> bool:
        """Whether it mostly fails where it is false."""
        share = self.outcome("false").share("fails")
        return share is not None and share.low is not None and share.low > 0.5

    @property
    def passes(self) -> bool:
        """Whether it mostly comes out as it must in each of the three worlds."""
        shares = [self.outcome(world).share(decision) for world, decision in EXPECTED.items()]
        return all(share is not None and share.value >= 0.8 for share in shares)


def bench_claims(
    study: str,
    claims: Sequence[Claim],
    unit: str,
    *,
    draws: int = 400,
    further_draws: int = 0,
    whole_table_draws: int | None = None,
    planters: Mapping[type, Planter] | None = None,
) -> Iterator[BenchedClaim]:
    """Judge every claim of a study on planted readings.

    Args:
        study: Name of the study, from which with the claim's name all draws follow.
        claims: The claims.
        unit: Name of the study's unit.
        draws: Draws of each of the three worlds.
        further_draws: Draws of each of the further worlds.
        whole_table_draws: Draws of claims whose measure is no weighted sum of means, which are judged on whole tables
            and take up to a hundred times as long; None takes as many as of the others.
        planters: For each measure of your own, what draws its worlds: from the claim and "true", "false" or "on the
            threshold" the cells that the measure reads. Weighted sums of means need none.
    """
    planters = {**PLANTERS, **SCALING_PLANTERS, **(planters or {})}
    for claim in claims:
        seed = Seed(0) / "bench" / study / claim.id
        outcomes = []
        for world in (*EXPECTED, *(FURTHER_WORLDS if further_draws else ())):
            count = draws if world in EXPECTED else further_draws
            if whole_table_draws is not None and linear_forms(claim.measure) is None:
                count = min(count, whole_table_draws)
            outcomes.append(_judge_world(claim, world, unit, count, seed / world, planters))
        yield BenchedClaim(study=study, claim=claim, outcomes=tuple(outcomes))


def _judge_world(
    claim: Claim, world: str, unit: str, draws: int, seed: Seed, planters: Mapping[type, Planter]
) -> WorldOutcome:
    rng = seed.numpy()
    try:
        if linear_forms(claim.measure) is not None:
            keys, means, noise = linear_world(claim, world)
            draw, judge = _mean_cells(keys, means).draw, LinearJudge(claim, keys)
            decisions = [judge.verdict(np.asarray(draw(rng, noise)["value"])) for _ in range(draws)]
            return WorldOutcome(world=world, decisions=Counter(decisions))
        table = planted_table(claim, world, planters)
    except SpecError as error:
        return WorldOutcome(world=world, decisions={}, note=str(error))
    verdicts = [claim.judge(table.draw(rng), unit) for _ in range(draws)]
    notes = Counter(v.why for v in verdicts if v.estimate is None)
    note = notes.most_common(1)[0][0] if notes else ""
    return WorldOutcome(world=world, decisions=Counter(v.verdict for v in verdicts), note=note)


def planted_table(claim: Claim, world: str, planters: Mapping[type, Planter]) -> PlantedTable:
    """The readings of a world of a claim, with a planter for each measure that is no weighted sum.

    Raises:
        SpecError: The world cannot be planted; the sentence says why.
    """
    if linear_forms(claim.measure) is not None:
        keys, means, noise = linear_world(claim, world)
        return PlantedTable([_mean_cells(keys, means)], noise)
    planter = planters.get(type(claim.measure))
    if planter is None:
        raise SpecError(f"{type(claim.measure).__name__} has no planter, so that nothing can be planted; give one.")
    if world in ("all failing", "all right", "two groups of seeds"):
        raise SpecError(f"{world} is planted for weighted sums of means alone.")
    kind: WorldKind = next((name for name in EXPECTED if name == world), "true")
    noise = Noise(seeds=1 if world == "one seed" else 5)
    noise = replace(noise, units={**UNITS, **SCALING_UNITS}.get(type(claim.measure), noise.units))
    parts = planter(claim, kind)
    worlds = LinearWorlds(claim, [selection for part in parts for selection in part.selections])
    noise = _with_units_for_needs(noise, worlds)
    parts = [replace(part, attributes=part.attributes[: noise.units]) for part in parts]
    if world == "precondition unmet" and not worlds.has_needs:
        raise SpecError("the claim has no precondition that is planted by itself.")
    need_means = worlds.means([], needs_hold=world != "precondition unmet")
    if need_means is None:
        raise SpecError(f"the preconditions of {claim.id} cannot hold together.")
    needs = [_mean_cells(worlds.keys, need_means)] if worlds.keys else []
    return PlantedTable([*parts, *needs], noise)


def _with_units_for_needs(noise: Noise, worlds: LinearWorlds) -> Noise:
    """As many units as show that an interval lies above a threshold, where the planted mean is near it."""
    margin = worlds.least_interval_need_margin
    return replace(noise, units=max(noise.units, MANY_UNITS)) if margin is not None and margin < NEAR else noise


def linear_world(claim: Claim, world: str) -> tuple[tuple[CellKey, ...], FloatArray, Noise]:
    """The cells of a claim about a weighted sum of means, their means in a world, and the noise.

    Raises:
        SpecError: The world cannot be planted.
    """
    worlds, noise = _roomy_worlds(claim), Noise(seeds=1) if world == "one seed" else Noise()
    if world in ("all failing", "all right"):
        return worlds.keys, _at_an_end(worlds.keys, 0.004 if world == "all failing" else 0.996), noise
    if world == "precondition unmet" and not worlds.has_needs:
        raise SpecError("the claim has no precondition.")
    base = world if world in EXPECTED else "true"
    means = _means(claim, worlds, base, needs_hold=world != "precondition unmet")
    far = min(abs(target - claim.threshold) for target in worlds.targets(base)[0] if target is not None)
    if claim.direction == "within":
        noise = replace(noise, **(EQUIVALENCE_NOISE if world != "one seed" else {}))
    elif 0 < far < NEAR and claim.measure.quantity == "share":
        noise = replace(noise, units=MANY_UNITS)
    noise = _with_units_for_needs(noise, worlds)
    if world == "two groups of seeds":
        means = np.stack([means, _means(claim, worlds, "false")])
    return worlds.keys, means, noise


def _roomy_worlds(claim: Claim) -> LinearWorlds:
    """The worlds of a claim; preconditions that leave no room for what would refute it are met by a smaller margin."""
    usual = LinearWorlds(claim)
    try:
        _means(claim, usual, "false")
    except SpecError:
        return LinearWorlds(claim, need_room=SMALL_NEED_ROOM)
    return usual


def _means(claim: Claim, worlds: LinearWorlds, world: str, *, needs_hold: bool = True) -> FloatArray:
    """The first means that can be planted."""
    for targets in worlds.targets(world):
        target = targets[0]
        on_side = target is not None and (target > claim.threshold) == (
            (claim.direction == "above") == (world == "true")
        )
        if world in ("true", "false") and not on_side:
            raise SpecError(f"no plausible means make {claim.id} {world}.")
        means = worlds.means(targets, needs_hold=needs_hold)
        if means is not None:
            return means
    raise SpecError(f"no means make {claim.id} {world} and let its preconditions {'' if needs_hold else 'not '}hold.")


def _mean_cells(keys: Sequence[CellKey], means: FloatArray) -> PlantedCells:
    selections, outcomes = [selection for selection, _ in keys], [outcome for _, outcome in keys]
    return PlantedCells(tuple(selections), draw_means(means, selections, outcomes))


def _at_an_end(keys: Sequence[CellKey], share: float) -> FloatArray:
    """Means of shares at one end of their range.

    Raises:
        SpecError: A mean is none of shares.
    """
    if any(outcome is None and selection.quantity != "share" for selection, outcome in keys):
        raise SpecError("the claim reads something that is no share.")
    return np.full(len(keys), share)
