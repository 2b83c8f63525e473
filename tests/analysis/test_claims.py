"""What a claim says of its threshold: levels in percent, differences of shares in points, other numbers as they are."""

import re
from dataclasses import replace

import polars as pl
import pytest

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import ComplementShare, Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.errors import SpecError

EXACT, NATS = Selection(evaluation="questions"), Selection(evaluation="questions", metric="nats", quantity="nats")


@pytest.mark.parametrize(
    ("measure", "shown"),
    [
        (Mean(selection=EXACT), "15 %"),
        (Difference(a=EXACT, b=EXACT), "15 points"),
        (MinOf(measures=(Difference(a=EXACT, b=EXACT),)), "15 points"),
        (Contrast(terms=((1.0, EXACT), (-1.0, EXACT))), "15 points"),
        (Contrast(terms=((0.5, EXACT), (0.5, EXACT))), "15 %"),
        (Difference(a=NATS, b=NATS), "0.15"),
    ],
)
def test_the_criterion_names_the_threshold_as_the_estimate_is_shown(measure, shown):
    """A reader compares the criterion with the number beside it, so both have one unit."""
    claim = Claim(id="c", text="t", source="s", measure=measure, threshold=0.15)
    assert claim.criterion == f"the whole 95 % interval lies above {shown}"


def test_the_criterion_of_an_equivalence_names_its_margin():
    """The margin has two signs, and is above 0."""
    measure = Difference(a=EXACT, b=EXACT)
    alike = Claim(id="c", text="t", source="s", measure=measure, threshold=0.05, direction="within")
    assert alike.criterion == "the whole 95 % interval lies within ±5 points"
    with pytest.raises(SpecError, match="the claim 'c' says that two things are alike within a margin of 0"):
        Claim(id="c", text="t", source="s", measure=measure, threshold=0.0, direction="within")


def paired_readings(n_strings: int, n_better: int) -> pl.DataFrame:
    """Two arms that are right alternately, the first also in so many of the strings in which it were wrong."""
    rows = []
    for n in range(n_strings):
        row = {"evaluation": "questions", "seed": 0, "entity": str(n), "stage": "pretrain", "step": 0, "split": "seen"}
        row |= {"attribute": "x", "item": str(n), "metric": "exact", "target": "", "answer": "", "outcome": "right"}
        rows += [
            row | {"arm": "a", "value": float(n % 2 or n < 2 * n_better)},
            row | {"arm": "b", "value": float(n % 2)},
        ]
    return pl.DataFrame(rows)


GAIN = Difference(a=Selection(evaluation="questions", arm="a"), b=Selection(evaluation="questions", arm="b"))


@pytest.mark.parametrize(
    ("n_better", "by_interval", "reason"),
    [
        (0, False, "the gain is 0.0 points and must be above 0 points"),
        (1, False, None),
        (1, True, r"the gain is 1.0 points \[-?\d.\d, \d.\d\] and the whole interval must lie above 0 points"),
        (20, True, None),
    ],
)
def test_a_precondition_by_interval_is_not_met_by_one_lucky_string(n_better, by_interval, reason):
    """A point estimate above the threshold may be chance; a difference of shares is shown in points."""
    needed = Precondition(text="the gain", measure=GAIN, above=0.0, by_interval=by_interval)
    found = needed.unmet_reason(paired_readings(100, n_better), "string")
    assert found is None if reason is None else re.fullmatch(reason, found)


def test_a_precondition_by_interval_needs_an_interval():
    """Strings that do not differ at all give none, and 20 points of nothing known are not met."""
    alike = pl.DataFrame(paired_readings(4, 0).filter(arm="a").with_columns(value=pl.lit(5.0)))
    nats = Mean(selection=Selection(evaluation="questions", quantity="nats"))
    needed = Precondition(text="the loss", measure=nats, above=0.0, by_interval=True)
    assert needed.unmet_reason(alike, "string") == (
        "the loss is 5 without an interval, and the interval must lie above 0"
    )


def seeds_readings(shares: list[float], n: int = 200) -> pl.DataFrame:
    """Readings of arm a in which so large a share of each seed's answers is right."""
    rows = []
    for seed, share in enumerate(shares):
        for number in range(n):
            row = {"evaluation": "questions", "seed": seed, "entity": str(number), "stage": "pretrain", "step": 0}
            row |= {"split": "seen", "attribute": "x", "item": str(number), "metric": "exact", "arm": "a"}
            rows.append(row | {"target": "", "answer": "", "outcome": "right", "value": float(number < share * n)})
    return pl.DataFrame(rows)


def judged(shares: list[float], threshold: float = 0.5, **how):
    measure = Mean(selection=Selection(evaluation="questions", arm="a"))
    claim = Claim(id="c", text="t", source="s", measure=measure, threshold=threshold, **how)
    return claim.judge(seeds_readings(shares), "string")


def test_seeds_in_two_groups_on_both_sides_decide_nothing():
    """Eleven trainings that learnt it and one that did not: their mean is surely above, and is true of none of them."""
    learnt = [0.96, 0.97, 0.95, 0.96, 0.97, 0.96, 0.95, 0.97, 0.96, 0.95, 0.97]
    mixed = judged([0.03, *learnt])
    assert mixed.low > 0.5
    assert mixed.verdict == "undecided"
    assert "two groups (1 at about 3.0% and 11 at about 96.1%) on both sides of 50 %" in mixed.why
    assert mixed.seed_groups.startswith("The seeds form two groups: 1 at about 3.0% and 11 at about 96.1%.")
    assert judged(learnt).verdict == "holds"
    assert judged(learnt).seed_groups == ""


def test_two_groups_on_one_side_are_told_and_judged():
    found = judged([0.6, 0.61, 0.62, 0.97, 0.98, 0.97], threshold=0.3)
    assert found.verdict == "holds"
    assert "mean over trainings of both kinds" in found.seed_groups


@pytest.mark.parametrize(
    ("shares", "said"), [([0.02, 0.98, 0.97], "3 seeds cannot tell two groups from one"), ([0.5], "")]
)
def test_few_seeds_cannot_tell_groups(shares, said):
    assert judged(shares).seed_groups.startswith(said)
    assert judged(shares).seeds == len(shares)


def test_a_decision_of_one_seed_is_one_of_this_model_alone():
    """Undecided is undecided however many seeds there are."""
    assert judged([0.9]).is_of_one_model
    assert not judged([0.5]).is_of_one_model
    assert not judged([0.9, 0.9, 0.91]).is_of_one_model


def test_the_rest_of_a_share_turns_its_seeds_round():
    rest = ComplementShare(selection=Selection(evaluation="questions", arm="a"))
    assert rest.estimate(seeds_readings([0.1, 0.9]), "string").seed_values == pytest.approx((0.9, 0.1))


def test_two_thresholds_of_one_measure_are_said_once():
    """Of its estimate and of its interval, as tables with few entities need, and a need that stands twice."""
    recall = Mean(selection=Selection(evaluation="questions", arm="a"))
    needs = (
        Precondition(text="recall", measure=recall, above=0.95),
        Precondition(text="recall", measure=recall, above=0.8, by_interval=True),
        Precondition(text="recall", measure=recall, above=0.95),
    )
    assert judged([0.4], preconditions=needs).why == "not judged, since recall is 40.0% and must be above 95%"
    assert (
        "the whole interval must lie above 94%"
        in judged([0.96], preconditions=(needs[0], replace(needs[1], above=0.94))).why
    )
