"""Claims of the study karel on planted readings: what is said of a training is what was planted, with its sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.analysis.bench.claim_bench import bench_claims
from nosce.analysis.measures import Difference
from nosce.analysis.needed_rows import selections_in
from nosce.errors import SpecError
from nosce.pipeline.study_checks import check_references
from nosce.pipeline.study_loading import load_study
from nosce.studies.karel.config import karel_config
from nosce.studies.karel.study import karel_study
from nosce.study import StudyVariant

STEPS = (0, 10, 20, 30, 40, 50)
#: Right programs by checkpoint; one program is right for a fifth, and babbling ends behind step 20.
ACCURACY = (0.05, 0.2, 0.2, 0.5, 0.8, 0.95)
ONE_PROGRAM = 0.2
LAPTOP = karel_study(karel_config("laptop"), "laptop")
CLAIMS = {claim.id: claim for claim in LAPTOP.claims}
RESULTS = {"position": "position +0", "front": "front +0", "direction": "direction +0"}


def rows_of(evaluation, metric, values, *, steps=STEPS, attribute="length 3", people=200):
    """Specifications of three seeds, of which a share is right at each step, with a little noise between seeds."""
    tables = []
    for seed in range(3):
        shift = np.random.default_rng(seed).normal() * 0.002
        for step, value in zip(steps, values, strict=True):
            right = (np.arange(people) < people * (value + shift)).astype(float)
            tables.append(
                pl.DataFrame(
                    {"value": right, "entity": [str(n) for n in range(people)], "item": [str(n) for n in range(people)]}
                ).with_columns(
                    seed=pl.lit(seed, pl.Int64),
                    step=pl.lit(step, pl.Int64),
                    evaluation=pl.lit(evaluation),
                    metric=pl.lit(metric),
                    attribute=pl.lit(attribute),
                    arm=pl.lit("original"),
                    stage=pl.lit("pretrain"),
                    split=pl.lit("unseen"),
                    answer=pl.lit("move"),
                    outcome=pl.lit("right"),
                )
            )
    return pl.concat(tables)


@pytest.fixture(scope="module")
def written():
    """Programs become right behind step 20."""
    accuracy = rows_of("written", "correct", ACCURACY)
    return pl.concat([accuracy, rows_of("constant", "correct", [ONE_PROGRAM], steps=[50])])


def verdict(name, *tables):
    return CLAIMS[name].judge(pl.concat(tables), "specification").verdict


def content(evaluation, scores, floors):
    """Probes of position along training, and the best constants."""
    position = RESULTS["position"]
    read = rows_of(evaluation, "original/mean/1", scores, attribute=position)
    return pl.concat([read, rows_of(evaluation, "original/constant", floors, attribute=position)])


def test_content_that_falls_is_said_to_fall(written):
    """Planted: from 36 points above the constant at step 20 to 18 at the end, while programs become right."""
    falling = content("along", (0.5, 0.76, 0.76, 0.74, 0.73, 0.78), (0.4, 0.4, 0.4, 0.45, 0.52, 0.6))
    assert verdict("content-falls", written, falling) == "holds"
    assert verdict("content-share-falls", written, falling) == "holds"  # 60 % of the room, then 45 %
    assert verdict("rises-with-accuracy", written, falling) == "fails"
    steady = content("along", (0.9, 0.86, 0.86, 0.74, 0.66, 0.6), (0.4,) * 6)
    assert verdict("falls-with-accuracy", written, steady) == "holds"
    rising = content("along", (0.4, 0.5, 0.5, 0.6, 0.7, 0.8), (0.4,) * 6)
    assert verdict("content-falls", written, rising) == "fails"
    assert verdict("falls-with-accuracy", written, rising) == "fails"
    assert CLAIMS["falls-with-accuracy"].judge(pl.concat([written, rising]), "specification").estimate > 0.9
    assert verdict("content-share-falls", written, rising) == "fails"


def test_points_may_fall_where_the_share_of_the_room_does_not(written):
    """Planted: 30 points of a room of 60 are as much as 15 of 30, so that only the points fall."""
    alike = content("along", (0.5, 0.7, 0.7, 0.75, 0.8, 0.85), (0.4, 0.4, 0.4, 0.5, 0.6, 0.7))
    assert verdict("content-falls", written, alike) == "holds"
    assert verdict("content-share-falls", written, alike) == "undecided"


def test_content_rises_since_babbling_and_not_since_the_first_step(written):
    """Planted: all of the gain comes before step 20, while one program is written for everything."""
    early = content("fixed", (0.4, 0.8, 0.8, 0.8, 0.8, 0.75), (0.4,) * 6)
    assert verdict("content-rises", written, early) == "fails"
    late = content("fixed", (0.4, 0.5, 0.5, 0.6, 0.7, 0.8), (0.4,) * 6)
    assert verdict("content-rises", written, late) == "holds"


@pytest.mark.parametrize(("nats", "expected"), [((3, 1, 1, 1.4), "holds"), ((3, 1.6, 1.2, 1.1), "fails")])
def test_perplexity_is_asked_whether_it_rises_before_accuracy(nats, expected):
    """Planted: two checkpoints before the last of babbling, and its last one; what comes later counts nothing."""
    steps = (0, 10, 20, 30, 40, 50)
    accuracy = rows_of("written", "correct", (0.05, 0.2, 0.2, 0.2, 0.9, 0.95))
    floor = rows_of("constant", "correct", [ONE_PROGRAM], steps=[50])
    tables = []
    for step, value in zip(steps, (*nats, 0.5, 0.4), strict=True):
        one = rows_of("questions", "nats_per_token", [1.0], steps=[step])
        noise = pl.Series(np.random.default_rng(step).gamma(100, 0.01, len(one)))
        tables.append(one.with_columns(value=value * noise))
    assert verdict("perplexity-rises", accuracy, floor, *tables) == expected


def test_phases_are_told_by_shares_of_the_rise(written):
    """Planted: a tenth of the way is 27.5 %, a quarter 38.75 %, nine tenths 87.5 %."""
    bounds = [CLAIMS[f"{name}-phase"].measure.phase_bounds(written)[0] for name in ("babbling", "syntax", "semantics")]
    assert bounds == [(0, 0.5), (0.5, 0.5), (0.5, 0.9)]
    assert verdict("syntax-phase", written) == "fails"  # no checkpoint lies in between


@pytest.mark.whole
@pytest.mark.parametrize("feature", RESULTS)
@pytest.mark.parametrize("best", ["bag/1", "surface/1", "constant", "untrained/1"])
def test_no_baseline_may_read_a_feature_better(feature, best, written):
    """Planted: each baseline in turn reads more than the trained model; for every feature that refutes the claim."""
    sources = {"mean/1": 0.7, "bag/1": 0.5, "surface/1": 0.5, "constant": 0.4, "untrained/1": 0.5, best: 0.85}
    tables = [
        rows_of("states", f"original/{source}", [share], steps=[50], attribute=RESULTS[feature])
        for source, share in sources.items()
    ]
    assert verdict(f"{feature}+0", written, *tables) == "fails"
    tables[list(sources).index(best)] = rows_of(
        "states", f"original/{best}", [0.5], steps=[50], attribute=RESULTS[feature]
    )
    assert verdict(f"{feature}+0", written, *tables) == "holds"


@pytest.mark.parametrize(("score", "floor", "expected"), [(0.92, 0.8, "fails"), (0.5, 0.4, "holds")])
def test_meanings_are_compared_by_their_room(score, floor, expected, written):
    """Planted: 20 of 60 points under the own meaning; 12 of 20 elsewhere are fewer points and more of the room."""
    shares = {"mean/1": (0.6, score), "constant": (0.4, floor), "untrained/1": (0.4, floor)}
    tables = [
        rows_of("states", f"{meaning}/{source}", [share], steps=[50], attribute=RESULTS["position"], people=1_000)
        for source, both in shares.items()
        for meaning, share in zip(("original", "alt3"), both, strict=True)
    ]
    assert verdict("intervention-alt3", written, *tables) == expected


def test_depths_of_probes_are_compared_in_all_features(written):
    """Planted: a hidden layer adds ten points to position and to direction, and takes thirty from the obstacle."""
    tables = []
    for name, (linear, deeper) in {"position": (0.6, 0.7), "direction": (0.6, 0.7), "front": (0.8, 0.5)}.items():
        for depth, share in enumerate((linear, deeper)):
            tables.append(rows_of("grid", f"original/mean/{depth}", [share], steps=[50], attribute=RESULTS[name]))
    found = CLAIMS["deeper-probe-1"].judge(pl.concat([written, *tables]), "specification")
    assert found.verdict == "fails"
    assert found.estimate == pytest.approx((0.1 + 0.1 - 0.3) / 3, abs=0.01)
    assert found.paper_value == pytest.approx(0.791 - 0.632)


def test_every_claim_needs_right_programs_but_those_about_programs():
    """What is read in states of a model that writes no right programs says nothing."""
    free = {claim.id for claim in LAPTOP.claims if not claim.preconditions}
    assert free == {
        "writes-programs",
        "above-one-program",
        "loops-writes",
        "boards-writes",
    }


def test_arms_of_other_worlds_are_switched_by_a_field():
    """With the paper's boards and pairs, and with loops; where an arm is off, a note says how it is switched on."""
    arms = {arm.name: arm for arm in LAPTOP.arms}
    original, boards = arms["original"].world, arms["8 x 8 boards"].world
    assert (boards.board_shape, boards.n_examples, boards.n_heldout_examples) == ((6, 6), 5, 5)
    assert arms["8 x 8 boards"].n_seeds == 1
    assert (boards.lengths, boards.asked_lengths) == (original.lengths, original.asked_lengths)
    assert arms["loops and branches"].world == replace(original, control_flow=True)
    assert arms["8 x 8 boards"].training.steps == boards.records // arms["8 x 8 boards"].training.batch_size
    without = load_study("karel", "laptop", StudyVariant(settings=("loops_arm=no", "boards_arm=no")))
    assert [arm.name for arm in without.arms] == ["original", "re-assigned"]
    assert not [claim.id for claim in without.claims if claim.id.startswith(("loops", "boards"))]
    assert any("loops_arm=yes" in note for note in without.notes)
    assert any("boards_arm=yes" in note for note in without.notes)
    assert without.arms == LAPTOP.arms[:2]  # what was made before stays what it was


def test_states_behind_a_block_are_compared_with_every_baseline():
    """Of the loops' arm alone, and with baselines that were asked for."""
    for feature in RESULTS:
        claim = CLAIMS[f"loops-{feature}"]
        cells = {selection for selection, _ in selections_in((claim.measure,))}
        assert {one.arm for one in cells} == {"loops and branches"}
        assert {one.attributes for one in cells} == {(f"{feature} +0 behind a block",)}
        sources = ("mean/1", "constant", "bag/1", "surface/1", "untrained/1")
        assert {one.metric for one in cells} == {f"original/{source}" for source in sources}


@pytest.mark.parametrize("change", [{"floor": "best"}, {"evaluation": "spoken"}])
def test_a_phase_of_an_evaluation_that_is_not_there_is_refused(change):
    """Before any work, as for every name of a claim."""
    check_references(LAPTOP)
    claim = CLAIMS["content-rises"]
    before = replace(claim.measure.b, step=replace(claim.measure.b.step, **change))
    broken = replace(LAPTOP, claims=(replace(claim, measure=replace(claim.measure, b=before)),))
    with pytest.raises(SpecError, match=f"names the evaluation '{next(iter(change.values()))}'"):
        check_references(broken)


NEW = (
    *("falls-with-accuracy", "rises-with-accuracy", "perplexity-rises", "content-rises", "content-falls"),
    *("content-share-falls", "direction+0", "front+1", "deeper-probe-1", "intervention-alt5", "babbling-phase"),
    *("syntax-phase", "semantics-phase", "loops-writes", "loops-direction", "boards-writes", "boards-position"),
    "boards-intervention-alt3",
)


@pytest.mark.whole
@pytest.mark.parametrize("name", NEW)
def test_claims_come_out_on_the_bench(name):
    """Five draws of each world: never the opposite of the truth, nearly always the truth."""
    (found,) = bench_claims("karel", [CLAIMS[name]], LAPTOP.unit, draws=5)
    for world, right, wrong in (("true", "holds", "fails"), ("false", "fails", "holds")):
        assert found.outcome(world).decisions.get(wrong, 0) == 0
        assert found.outcome(world).decisions.get(right, 0) >= 4


def test_nothing_is_compared_with_itself():
    """A difference of a selection and itself would be nothing, whatever is read."""
    for study in (LAPTOP, load_study("karel", "smoke")):
        for claim in study.claims:
            measures = getattr(claim.measure, "measures", (claim.measure,))
            assert all(one.a != one.b for one in measures if isinstance(one, Difference))
            assert selections_in((claim,))
    assert replace(CLAIMS["content-rises"].measure.b, step="last") == CLAIMS["content-rises"].measure.a
