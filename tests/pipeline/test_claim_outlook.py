"""The price of an open claim in core-minutes, and the two halves of seeds side by side."""

from dataclasses import replace

import pytest
from tests.fixtures import look_studies

from nosce.analysis.looks import ClaimLook
from nosce.analysis.price import ClaimPrice
from nosce.pipeline.claim_age import ClaimAge
from nosce.pipeline.claim_outlook import ClaimOutlook, SeedHalves, claim_outlooks, undecided_sentences
from nosce.pipeline.plan import StudyRequest, build_plan
from nosce.pipeline.plan_record import PlanRecord
from nosce.records import Verdict

PRICE = ClaimPrice(
    claim="close",
    seeds=3,
    by_seeds=True,
    needed=9,
    needed_low=5,
    needed_high=None,
    left=0.1,
    units_factor=None,
    share_seeds=0.8,
    share_units=0.2,
    share_items=None,
    sentence="about 9 seeds (80 % range 5 to over 100)",
)
VERDICT = Verdict("a", "A", "ours", "c", None, 0.5, 0.4, 0.6, 9, "toss", "holds", "why")


def test_core_minutes_are_those_of_the_claims_own_steps():
    """Six more seeds of one coin that took two minutes a seed; the other coins are not paid for."""
    study = look_studies.worn("smoke")
    plan = build_plan(study)
    record = PlanRecord.of(StudyRequest(study="worn", scale="smoke"), plan)
    seconds = {step.name: 120.0 if step.label.startswith("close") else 9_000.0 for step in plan.upstream_steps}

    outlook = claim_outlooks(record, (), (PRICE,), seconds)["close"]
    assert outlook.core_minutes == 12.0
    assert outlook.price_sentence == f"{PRICE.sentence}, some 12 core-minutes here"
    assert outlook.to_json()["price"]["core_minutes"] == 12.0
    del seconds[next(step.name for step in plan.upstream_steps if step.label.startswith("close"))]
    assert claim_outlooks(record, (), (PRICE,), seconds)["close"].core_minutes is None, "not known is not nothing"
    assert claim_outlooks(record, (), (PRICE,), seconds)["clear"].price_sentence == ""


def test_what_stands_below_a_verdict():
    look = ClaimLook(claim="a", look=2, seeds=5, level=0.9909, estimate=1, low=0, high=2, verdict="holds")
    assert ClaimOutlook(look=look).table_note == "5 seeds, 99.1 %"
    assert ClaimOutlook(look=replace(look, look=None)).table_note == ""
    assert ClaimOutlook().details == []


def test_one_reason_is_said_once():
    """Claims that lack one need stand in one sentence, which says the need once; others have their own and a price."""
    need = "accuracy is 18.3% [6.5%, 42.1%] and the whole interval must lie above 50%"
    unmet = replace(VERDICT, verdict="undecided", estimate=None, why=f"not judged, since {need}")
    verdicts = [replace(unmet, id="b"), VERDICT, replace(unmet, id="close", why="the interval is wide"), unmet]
    look = ClaimLook(claim="a", look=1, seeds=3, level=0.982, estimate=1, low=0, high=2, verdict="undecided")
    stopped = ClaimOutlook(
        look=replace(look, note=f"more seeds would not decide it: {need}"),
        price=replace(PRICE, needed=None, sentence=f"not by seeds: {need}"),
    )
    outlooks = {"a": stopped, "b": stopped, "close": ClaimOutlook(look=look, price=PRICE, core_minutes=0.3)}
    assert undecided_sentences(verdicts, outlooks) == [
        f"2 claims are undecided: not judged, since {need}. More seeds would not decide it. These are b, a.",
        f"close is undecided: the interval is wide. To decide it: {PRICE.sentence}, some 0.3 core-minutes here.",
    ]
    unlooked = ClaimOutlook(price=stopped.price)
    assert undecided_sentences([unmet], {"a": unlooked}) == [
        f"a is undecided: not judged, since {need}. To decide it: not by seeds."
    ]
    assert undecided_sentences([unmet], {}) == [f"a is undecided: not judged, since {need}."]


@pytest.mark.parametrize(
    ("seen", "fresh", "outcome"),
    [
        ("holds", "holds", "agree"),
        ("holds", "fails", "turned"),
        ("fails", "holds", "turned"),
        ("undecided", "holds", "newly decided"),
        ("holds", "undecided", "no longer decided"),
    ],
)
def test_halves_agree_or_turn(seen, fresh, outcome):
    ages = {"a": ClaimAge(status="changed", registered="2026-01-01T00:00:00Z", seeds_before=(0, 1, 2))}
    halves = SeedHalves.of(
        [replace(VERDICT, verdict=seen), replace(VERDICT, is_precondition=True)],
        [replace(VERDICT, verdict=fresh, estimate=0.55), replace(VERDICT, is_precondition=True)],
        ages,
        (0, 1, 2),
        (0, 1, 2, 10, 11),
    )
    (row,) = halves.rows.to_dicts()
    assert (row["outcome"], row["written"]) == (outcome, "before")
    assert row["exploratory_here"] != row["confirmatory_here"]
    assert halves.sentence == f"Exploratory seeds 0-2 against confirmatory seeds 10-11, 1 claim: 1 {outcome}."


def test_what_was_not_run_or_written_late_is_said():
    late = {"a": ClaimAge(status="changed", registered="2026-01-01T00:00:00Z", seeds_before=(0, 10))}
    halves = SeedHalves.of([replace(VERDICT, estimate=None, verdict="undecided")], [VERDICT], late, (0,), (0, 10))
    (row,) = halves.rows.to_dicts()
    assert (row["outcome"], row["written"]) == ("not run", "after confirmatory seeds")
