"""How long the questions of a card are timed before its budget is divided."""

from nosce.pipeline.cards.planning import CARD_TIMING_SECONDS, card_timing_seconds


def test_a_large_budget_leaves_time_for_the_prices_that_divide_it():
    """Ninety minutes were divided by prices of 95 seconds, so that four of five questions stayed at their cheapest."""
    assert card_timing_seconds(90.0, is_dry_run=False) == 270.0


def test_a_small_budget_no_budget_and_a_dry_run_answer_soon():
    for minutes, is_dry_run in ((10.0, False), (None, False), (None, True), (90.0, True)):
        assert card_timing_seconds(minutes, is_dry_run=is_dry_run) == CARD_TIMING_SECONDS
