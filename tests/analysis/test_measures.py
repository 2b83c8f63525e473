"""Claims hold where a difference was planted, and nothing is claimed of what is not there."""

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from tests.fixtures.planted_scores import planted_scores

from nosce.analysis import selection
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Difference, Mean, Measure
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.records import Estimate, Reading, Verdict, schema, to_table
from nosce.seeds import Seed

ARMS, SEEDS, PEOPLE, ATTRIBUTES = ("old", "new"), (0, 1, 2), 30, ("city", "job")
ASKED = Selection(evaluation="questions", split="unseen", stage="finetune")
OLD, NEW = replace(ASKED, arm="old"), replace(ASKED, arm="new")
GAP = Claim(
    id="gap", text="New is better", source="Figure 1", measure=Difference(a=NEW, b=OLD), threshold=0.15, paper_value=0.8
)


def readings(chance, *, steps=(10, 20)):
    """Answers of both arms to two questions a person; `chance` gives their probability of being right, by arm."""
    rng = Seed(0).numpy()
    rows = []
    for arm in ARMS:
        for seed in SEEDS:
            for step in steps:
                for person in range(PEOPLE):
                    for attribute in ATTRIBUTES:
                        right = rng.random() < chance[arm] * step / steps[-1]
                        rows.append(
                            Reading(
                                study="s",
                                scale="smoke",
                                arm=arm,
                                seed=seed,
                                stage="finetune",
                                step=step,
                                evaluation="questions",
                                split="unseen",
                                item=f"{attribute}/{person}",
                                entity=f"person/{person}",
                                attribute=attribute,
                                metric="exact",
                                value=float(right),
                                outcome="right" if right else "wrong",
                                answer="a",
                                target="b",
                            )
                        )
    return to_table(rows, Reading)


PLANTED = readings({"old": 0.1, "new": 0.7})
EMPTY = pl.DataFrame(schema=schema(Reading))


def shuffled(table):
    """The same values, dealt out anew within each step."""
    place = Seed(1).numpy().permutation(len(table))
    return table.with_columns(value=pl.Series(table["value"].to_numpy()[place]))


def test_a_claim_holds_where_its_difference_was_planted():
    """The planted difference of 60 points is found, with the interval around it and the paper's value beside it."""
    verdict = GAP.judge(PLANTED, "person")

    assert verdict.verdict == "holds"
    assert verdict.low < 0.6 < verdict.high
    assert 0.15 < verdict.low < verdict.estimate < verdict.high
    assert (verdict.id, verdict.paper_value, verdict.unit) == ("gap", 0.8, "person")
    assert verdict.n == PEOPLE * len(SEEDS), "n counts what was drawn independently, not the readings"
    assert verdict.criterion == "the whole 95 % interval lies above 15 points"


def test_a_claim_does_not_hold_where_the_answers_are_shuffled():
    """Dealt out anew the same answers show no difference, and the claim fails or stays undecided."""
    verdict = GAP.judge(shuffled(PLANTED), "person")

    assert verdict.verdict in ("fails", "undecided")
    assert verdict.low < 0 < verdict.high


@pytest.mark.parametrize(
    ("threshold", "direction", "word"),
    [(0.3, "above", "holds"), (0.9, "above", "fails"), (0.9, "below", "holds"), (0.3, "below", "fails")],
)
def test_the_verdict_is_decided_by_the_side_on_which_the_whole_interval_lies(threshold, direction, word):
    """The claim and its opposite never both hold."""
    claim = replace(GAP, threshold=threshold, direction=direction)

    assert claim.judge(PLANTED, "person").verdict == word
    assert claim.criterion.endswith(f"{direction} {100 * threshold:g} points")


def test_an_interval_that_straddles_the_threshold_decides_nothing():
    """At the planted value itself the claim is undecided, with its numbers shown."""
    verdict = replace(GAP, threshold=GAP.judge(PLANTED, "person").estimate).judge(PLANTED, "person")

    assert verdict.verdict == "undecided"
    assert verdict.estimate is not None


def test_a_claim_whose_need_is_not_met_is_not_judged():
    """What must be known first is told with what was found, and the difference is shown but decides nothing."""
    need = Precondition(text="recall of old", measure=Mean(selection=OLD), above=0.95)
    verdict = replace(GAP, preconditions=(need,)).judge(PLANTED, "person")
    met = replace(GAP, preconditions=(replace(need, above=0.01),)).judge(PLANTED, "person")

    assert verdict.verdict == "undecided"
    assert verdict.estimate == met.estimate
    assert verdict.why.startswith("not judged, since recall of old is ")
    assert "above 95%" in verdict.why
    assert met.verdict == "holds"


def test_all_needs_that_are_not_met_are_told_once_and_also_where_the_claim_has_no_readings():
    """One sentence with every need; a need of which nothing is known leaves the claim unjudged too."""
    need = Precondition(text="recall of old", measure=Mean(selection=OLD), above=0.95)
    other = replace(need, text="recall of new", measure=Mean(selection=NEW), above=0.99)
    both = replace(GAP, preconditions=(need, other)).judge(PLANTED, "person")
    assert both.why.count("not judged, since") == 1
    assert "; recall of new is " in both.why
    lacking = replace(GAP, preconditions=(need,)).judge(PLANTED.filter(pl.col("arm") == "old"), "person")
    assert lacking.why.startswith("not judged, since recall of old is ")
    missing = replace(need, text="recall of nobody", measure=Mean(selection=replace(OLD, arm="nobody")))
    unknown = replace(GAP, preconditions=(missing,)).judge(PLANTED, "person")
    assert unknown.verdict == "undecided"
    assert unknown.why.startswith("not judged, since recall of nobody is not known: no reading is there")


@pytest.mark.parametrize("table", [EMPTY, PLANTED.filter(pl.col("arm") == "old")], ids=["no rows", "one arm"])
def test_readings_that_are_not_there_leave_a_claim_undecided(table):
    """Nothing is estimated from nothing: no number stands in the verdict, and the reason names what lacks."""
    verdict = GAP.judge(table, "person")

    assert verdict.verdict == "undecided"
    assert (verdict.estimate, verdict.low, verdict.high, verdict.n) == (None, None, None, 0)
    assert "no reading is there for new finetune unseen questions exact" in verdict.why


def test_people_that_only_one_arm_was_asked_about_leave_a_claim_undecided():
    """A paired difference needs the same people on both sides; who is missing is said."""
    lopsided = PLANTED.filter((pl.col("arm") == "old") | (pl.col("entity") != "person/3"))
    verdict = GAP.judge(lopsided, "person")

    assert verdict.verdict == "undecided"
    assert verdict.estimate is None
    assert "person/3" in verdict.why


def test_a_value_that_is_missing_is_not_taken_for_zero():
    """Readings without a value are counted and refused in a sentence; a claim on them is undecided."""
    holes = PLANTED.with_columns(
        value=pl.when((pl.col("arm") == "new") & (pl.col("entity") == "person/0")).then(None).otherwise(pl.col("value"))
    )
    with pytest.raises(DataError, match=r"^6 of 180 readings for new .* missing is not zero.*\.$"):
        Mean(selection=NEW).estimate(holes, "person")
    assert "missing is not zero" in GAP.judge(holes, "person").why


def test_a_mean_is_that_of_the_last_step_unless_another_is_named():
    """`last` takes the last step of each arm, seed and stage; a number takes that step; `every` takes all."""
    values = PLANTED.filter(arm="new")
    for step, rows in (("last", values.filter(step=20)), (10, values.filter(step=10)), ("every", values)):
        found = Mean(selection=replace(NEW, step=step)).estimate(PLANTED, "person")
        assert found.value == pytest.approx(rows["value"].mean())
        assert found.n == len(rows)


def test_the_last_step_is_each_runs_own():
    """An arm that was trained for fewer steps is read where it ended, not left out."""
    short = PLANTED.filter((pl.col("arm") == "new") | (pl.col("step") == 10))

    assert Mean(selection=OLD).estimate(short, "person").n == PEOPLE * len(ATTRIBUTES) * len(SEEDS)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"attributes": ("city",)}, 180),
        ({"arm": "new", "attributes": ("city", "job")}, 180),
        ({"split": "seen"}, 0),
        ({"evaluation": "recall"}, 0),
        ({"metric": "first"}, 0),
        ({"stage": "pretrain"}, 0),
        ({"step": 11}, 0),
    ],
    ids=str,
)
def test_a_selection_takes_rows_by_their_columns(wanted, count):
    """Every column named must match; one that is not named takes any."""
    assert len(replace(ASKED, **wanted).rows(PLANTED)) == count


def test_estimates_do_not_depend_on_what_was_estimated_before_or_on_the_order_of_rows():
    """The same table gives the same interval to the last digit, alone, again, and with its rows shuffled."""
    first = GAP.judge(PLANTED, "person")
    Mean(selection=OLD).estimate(PLANTED, "person")
    mixed = PLANTED[Seed(2).numpy().permutation(len(PLANTED))]

    assert GAP.judge(PLANTED, "person") == first
    assert GAP.judge(mixed, "person") == first


def test_an_estimate_keeps_to_what_is_possible():
    """A share lies between 0 and 1 and so does its interval, even where nearly everybody is right."""
    table = readings({"old": 0.0, "new": 0.99})
    for select in (OLD, NEW):
        found = Mean(selection=select).estimate(table, "person")
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high


def test_nats_have_no_bounds():
    """What is no share is not cut at one, and is told in its own unit; taken for a share it is refused."""
    rng = Seed(5).numpy()
    table = PLANTED.with_columns(metric=pl.lit("nats"), value=pl.Series(5 + rng.normal(size=len(PLANTED))))
    nats = Mean(selection=replace(NEW, metric="nats", quantity="nats"))
    verdict = replace(GAP, measure=nats, threshold=4.0).judge(table, "person")

    assert nats.estimate(table, "person").low > 4
    assert (verdict.verdict, verdict.unit) == ("holds", "nats")
    with pytest.raises(DataError, match="were said to lie within"):
        Mean(selection=replace(NEW, metric="nats")).estimate(table, "person")


def test_one_person_alone_decides_nothing():
    """Nothing says how people differ where there is one: no interval is made up, and the claim is undecided."""
    alone = PLANTED.filter(entity="person/0")
    verdict = GAP.judge(alone, "person")

    assert verdict.verdict == "undecided"
    assert verdict.low is None


@dataclass(frozen=True)
class Half(Measure):
    """A measure of somebody's own, which says no more than a measure must."""

    def estimate(self, readings, unit):
        return Estimate(0.5, 0.4, 0.6, len(readings), 10, 1, unit, "made up")


def test_a_measure_of_ones_own_need_not_say_what_it_is_a_number_of():
    """It is taken for a share, and told by what was drawn independently."""
    verdict = replace(GAP, measure=Half()).judge(PLANTED, "person")

    assert (verdict.verdict, verdict.unit, verdict.n) == ("holds", "person", 10)


def test_a_verdict_goes_through_a_table_and_comes_back():
    """Null stays null and no number is NaN."""
    verdicts = [GAP.judge(PLANTED, "person"), GAP.judge(EMPTY, "person")]
    table = to_table(verdicts, Verdict)

    assert table["estimate"].null_count() == 1
    assert not any(isinstance(v, float) and math.isnan(v) for row in table.rows() for v in row)
    assert np.isfinite(table["estimate"][0])


def test_one_seed_is_that_seeds_own():
    """The mean of one model, which others of the table do not move."""
    table = planted_scores({"one": 0.3})
    found = Mean(selection=Selection(evaluation="r", metric="one"), seed=1).estimate(table, "person")
    assert found.value == pytest.approx(table.filter(seed=1)["value"].mean())
    assert (found.clusters, found.seeds) == (200, 1)
    with pytest.raises(DataError):
        Mean(selection=Selection(evaluation="r", metric="one"), seed=9).estimate(table, "person")


def test_the_share_of_an_outcome_is_counted_by_itself():
    """What became of replies is no value: an invalid one is told from a wrong one."""
    rows = [
        Reading(
            study="s",
            scale="smoke",
            arm="a",
            seed=0,
            stage="x",
            step=1,
            evaluation="r",
            split="unseen",
            item=f"i{n}",
            entity=f"i{n}",
            attribute="f",
            metric="free",
            value=0.0,
            outcome="invalid" if n % 4 == 0 else "wrong",
            answer=None,
            target=None,
        )
        for n in range(40)
    ]
    found = Mean(selection=Selection(evaluation="r", metric="free"), outcome="invalid").estimate(
        to_table(rows, Reading), "item"
    )
    assert found.value == pytest.approx(0.25)
    assert found.low < 0.25 < found.high
    with pytest.raises(DataError, match="no reading"):
        Mean(selection=Selection(evaluation="nobody"), outcome="invalid").estimate(to_table(rows, Reading), "item")
    lost = [*rows, replace(rows[0], item="x", entity="x", outcome=None)]
    with pytest.raises(DataError, match="1 of 41 readings"):
        Mean(selection=Selection(evaluation="r", metric="free"), outcome="invalid").estimate(
            to_table(lost, Reading), "item"
        )


def test_a_large_table_is_looked_through_once_and_says_the_same(monkeypatch):
    """Parts that are kept are those of the table asked about, and of no table before it."""

    def table(values):
        return pl.concat(
            [
                pl.DataFrame(
                    {
                        "evaluation": name,
                        "metric": "exact",
                        "arm": "a",
                        "split": "unseen",
                        "stage": "x",
                        "step": 1,
                        "seed": 0,
                        "attribute": "f",
                        "entity": [f"{n}" for n in range(50)],
                        "value": values,
                    }
                )
                for name in ("one", "other")
            ]
        )

    monkeypatch.setattr(selection, "CACHE_MIN_ROWS", 10)
    first, second = table([1.0] * 50), table([0.0] * 50)
    for readings, expected in ((first, 1.0), (second, 0.0), (first, 1.0)):
        for name in ("one", "other", "one"):
            rows = Selection(evaluation=name, arm="a").rows(readings)
            assert (len(rows), rows["value"].mean()) == (50, expected)
    assert Selection(evaluation="nobody").rows(first).is_empty()


@pytest.mark.parametrize(("weights", "is_difference"), [((1, -1), True), ((1, -3), True), ((0.5, 0.5), False)])
def test_what_subtracts_is_a_difference(weights, is_difference):
    """Three times a share taken from another may be -52 points, which are no percent."""
    terms = tuple(zip(weights, (NEW, OLD), strict=True))
    assert Contrast(terms=terms).is_difference == is_difference
