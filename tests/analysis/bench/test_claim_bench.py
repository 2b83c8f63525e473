"""Claims on planted readings: each can hold, fail and stay undecided, and what cannot is found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.analysis.bench.claim_bench import EXPECTED, bench_claims, linear_world, planted_table
from nosce.analysis.bench.linear import linear_forms
from nosce.analysis.bench.linear_judge import LinearJudge
from nosce.analysis.bench.planters import PLANTERS
from nosce.analysis.bench.table import bench_table, further_worlds_table
from nosce.analysis.calibration import CalibrationMAD
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.emergence.planters import SCALING_PLANTERS
from nosce.analysis.measures import Difference, Mean
from nosce.analysis.selection import Selection
from nosce.analysis.stats.level import at_level
from nosce.errors import SpecError

STUDIES = ("biographies", "biographies_variants", "karel", "diaries", "introspection", "emergence")
NEW, OLD = (Selection(evaluation="asked", arm=arm) for arm in ("new", "old"))
READS = Precondition(text="recall", measure=Mean(selection=replace(NEW, evaluation="recall")), above=0.9)
GAP = Claim(
    id="gap",
    text="New beats old",
    source="ours",
    measure=Difference(a=NEW, b=OLD),
    threshold=0.1,
    preconditions=(READS,),
)


def claims_of(name: str) -> list[tuple[str, Claim]]:
    """The claims of a study, one of each kind of measure and direction."""
    study = built_in_study(name, "laptop")
    kinds = {}
    for claim in study.claims:
        kinds.setdefault((type(claim.measure), claim.direction, claim.is_precondition), claim)
    return [(study.unit, claim) for claim in kinds.values()]


SOME = [pytest.param(unit, claim, id=f"{name}/{claim.id}") for name in STUDIES for unit, claim in claims_of(name)]
#: Those that take less than a tenth of a second a verdict.
QUICK = [one for one in SOME if "emergence" not in one.id and not isinstance(one.values[1].measure, CalibrationMAD)]


def test_a_claim_comes_out_as_its_world_says():
    """Holds where it is true, fails where it is false, undecided on its threshold and without its precondition."""
    (found,) = bench_claims("test", [GAP], "person", draws=60, further_draws=30)
    shares = {world: found.outcome(world).share(decision).value for world, decision in EXPECTED.items()}
    assert shares["true"] == shares["false"] == 1
    assert shares["on the threshold"] > 0.85
    assert found.can_fail
    assert found.passes
    assert found.outcome("precondition unmet").decisions == {"undecided": 30}
    assert found.outcome("all failing").decisions == {"undecided": 30}
    assert found.outcome("all right").decisions.get("holds", 0) == 0
    assert found.outcome("two groups of seeds").share("undecided").value > 0.5


def test_a_precondition_on_an_interval_is_planted_so_far_above_that_it_can_be_seen():
    """Of a recall whose whole interval must lie above 95 %; without it nothing is judged."""
    strict = replace(GAP, preconditions=(replace(READS, above=0.95, by_interval=True),))
    (found,) = bench_claims("test", [strict], "person", draws=60, further_draws=30)
    assert found.outcome("true").share("holds").value > 0.85
    assert found.outcome("false").share("fails").value > 0.85
    assert found.outcome("precondition unmet").decisions == {"undecided": 30}


def test_a_claim_that_cannot_fail_is_found_out():
    """A share is never below nothing, so that such a claim says nothing; the table names it."""
    empty = Claim(id="empty", text="Some are right", source="ours", measure=Mean(selection=NEW), threshold=0.0)
    (found,) = bench_claims("test", [empty], "person", draws=5, further_draws=2)
    assert not found.can_fail
    assert "no plausible means make empty false" in found.outcome("false").note
    assert "**no**" in bench_table([found])
    assert "empty" in further_worlds_table([found])


def test_a_measure_of_somebody_is_asked_for_a_planter():
    """A measure that nobody can plant is said to need a planter, and not left out in silence."""

    class OwnMeasure(Mean):
        pass

    own = replace(GAP, measure=OwnMeasure(selection=NEW), preconditions=())
    assert linear_forms(own.measure) is not None  # a subclass of a known measure is one

    class Unknown:
        is_difference, quantity = False, "share"

    with pytest.raises(SpecError, match="Unknown has no planter"):
        planted_table(replace(GAP, measure=Unknown()), "true", {})


@pytest.mark.whole
@pytest.mark.parametrize(("unit", "claim"), [one for one in SOME if linear_forms(one.values[1].measure) is not None])
@pytest.mark.parametrize("world", EXPECTED)
def test_arrays_are_judged_as_tables_are(unit, claim, world):
    """The quick way and `Claim.judge` agree on equal draws, in each study's kinds of claims."""
    keys, means, noise = linear_world(claim, world)
    noise = replace(noise, units=24)
    from nosce.analysis.bench.claim_bench import PlantedTable, _mean_cells

    cells = _mean_cells(keys, means)
    for number in range(2):
        values = cells.draw(np.random.default_rng(number), noise)["value"]
        table = PlantedTable([cells], noise).draw(np.random.default_rng(number))
        assert LinearJudge(claim, keys).verdict(np.asarray(values)) == claim.judge(table, unit).verdict


@pytest.mark.whole
@pytest.mark.parametrize(("unit", "claim"), QUICK)
def test_some_claims_of_every_study_come_out_as_they_must(unit, claim):
    """Three draws of each world: no verdict is the opposite of the truth, and most are the right ones."""
    (found,) = bench_claims("test", [claim], unit, draws=3)
    assert found.outcome("true").decisions.get("fails", 0) == 0
    assert found.outcome("true").decisions.get("holds", 0) >= 2
    assert found.outcome("false").decisions.get("holds", 0) == 0
    assert found.outcome("false").decisions.get("fails", 0) >= 2


#: One claim of each kind of measure.
MEASURES = {type(one.values[1].measure): one for one in SOME}


@pytest.mark.whole
@pytest.mark.parametrize(("unit", "claim"), MEASURES.values())
def test_every_measure_takes_the_level_of_its_interval_from_the_block(unit, claim):
    """Looks at several numbers of seeds ask for other levels than 95 %; a claim then has no narrower interval."""
    table = planted_table(claim, "true", {**PLANTERS, **SCALING_PLANTERS}).draw(np.random.default_rng(0))
    usual = claim.measure.estimate(table, unit)
    with at_level(0.99):
        wide = claim.measure.estimate(table, unit)
    assert (usual.level, wide.level) == (0.95, 0.99)
    assert usual.high - usual.low <= wide.high - wide.low + 1e-12  # equal where both end at a bound


def test_a_need_leaves_room_for_what_refutes_a_claim():
    """Above a need of 80 % that is met by far, nothing exceeds by the claim's 5 points; then it is met by less."""
    far = replace(READS, measure=Mean(selection=OLD), above=0.8, by_interval=True)
    near = replace(GAP, threshold=0.05, direction="below", preconditions=(far,))
    (found,) = bench_claims("test", [near], "person", draws=60)
    assert found.can_fail
    assert found.passes


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_all_claims_come_out_as_they_must(name):
    """With 400 draws a world every claim of every study can hold and fail, and is mostly undecided on its threshold."""
    study = built_in_study(name, "laptop")
    for found in bench_claims(name, study.claims, study.unit, draws=400):
        assert found.can_fail, found.claim.id
        assert found.outcome("true").share("holds").value > 0.5, found.claim.id
        assert found.outcome("true").share("fails").value < 0.05, found.claim.id
        assert found.outcome("false").share("holds").value < 0.05, found.claim.id


def test_a_distance_of_numbers_is_planted_in_answers():
    """The planted answers lie as far from the target as the curve says, and exact match stands beside them."""
    claim = next(c for c in built_in_study("emergence", "laptop").claims if c.id == "products-number-distance-smooth")
    table = planted_table(claim, "true", {**PLANTERS, **SCALING_PLANTERS}).draw(np.random.default_rng(0))
    selection = claim.measure.scaling.continuous[0]
    sizes = [arm for _, arm in claim.measure.scaling.points]
    means = [replace(selection, arm=arm).rows(table)["value"].mean() for arm in sizes]
    assert np.all(np.diff(means) < 0.02)
    assert means[0] > 0.85 > 0.2 > means[-1]
    assert replace(selection, arm=sizes[0], rescore=None).rows(table)["value"].unique().sort().to_list() == [0.0, 1.0]
