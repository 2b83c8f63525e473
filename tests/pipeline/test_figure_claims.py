"""A figure serves the claims whose readings it shows, and the best for the answer stands at the top."""

from dataclasses import replace

import pytest
from tests.fixtures import coin_studies

from nosce import ArmBarFigure, Selection
from nosce.pipeline.figure_claims import claims_of_figures, lead_figure
from nosce.pipeline.plan import StudyRequest, build_plan
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.site import claim_rules


def figure(id, selection):
    """A figure of some readings."""
    return ArmBarFigure(id=id, title=id, caption=id, selection=selection)


@pytest.fixture(scope="module")
def record():
    """Three claims, on a fair coin, a bent one and both; a figure of the fair one, one of both, and one of neither."""
    coin = Selection(evaluation="coin", metric="heads")
    fair = Selection(evaluation="coin", metric="heads", arm="fair")
    other = Selection(evaluation="coin", metric="tails")
    figures = (figure("other", other), figure("fair", fair), figure("both", coin))
    study = replace(coin_studies.coins("smoke"), figures=figures, headline=("differs",))
    return PlanRecord.of(StudyRequest(study="coins", scale="smoke"), build_plan(study))


def test_a_figure_serves_the_claims_whose_readings_it_shows(record):
    """Those of which it shows all readings come first; another metric or arm is none of theirs."""
    serving = claims_of_figures(record)
    assert serving["both"].claims == ("lands", "bends", "differs")
    assert serving["fair"].claims == ("lands", "differs")
    assert serving["fair"].shares == (1.0, 0.5)
    assert serving["other"].claims == ()


def test_the_leading_figure_is_the_one_named_or_the_best_for_the_first_claim(record):
    """Of figures that show as much, the first; one that was not drawn is none."""
    names = ["other", "fair", "both"]
    assert lead_figure(record, ("differs",), names) == "both"
    assert lead_figure(record, ("lands",), names) == "fair"
    assert lead_figure(replace(record, lead_figure="other"), ("lands",), names) == "other"
    assert lead_figure(replace(record, lead_figure="gone"), ("lands",), ["both"]) == "both"
    assert lead_figure(record, ("bends",), ["other", "fair"]) == ""
    assert lead_figure(record, (), names) == ""


def test_the_plan_remembers_the_headline(record, tmp_path):
    """So that a page is made where the study's file is gone."""
    assert record.headline == ("differs",)


def test_the_rules_of_claims_are_those_of_the_plan(record):
    """Threshold and side as numbers, for the forest plot."""
    rules = claim_rules(record)
    assert {name: rule.threshold for name, rule in rules.items()} == {"lands": 0.25, "bends": 0.5, "differs": 0.0}
    assert {rule.direction for rule in rules.values()} == {"above"}
