"""Planted worlds: what models by script know, by construction, is what the claims about them say."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.fixtures.scripted_minds import SEED, WORLD, Mind, PromptBook, planted_run, planted_verdicts

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.prompted_teaching import LabelTeaching

A, B = Mind(letter="A"), Mind(letter="B")


def judged(tmp_path, *minds: Mind, **options):
    readings = planted_run(tmp_path, *minds, **options)
    return readings, {claim_id: verdict for claim_id, verdict in planted_verdicts(readings, *minds, **options).items()}


def share(readings: pl.DataFrame, evaluation: str, metric: str = "right") -> float:
    rows = readings.filter(evaluation=evaluation, metric=metric, split="unseen")
    assert len(rows)
    return rows["value"].mean()


@pytest.mark.whole
def test_models_that_read_their_own_answers_aloud_have_a_self_advantage_in_both_directions(tmp_path):
    """Each is right about itself after teaching, and reports itself also where it was taught the other's labels."""
    minds = (A, B)
    readings, verdicts = judged(tmp_path, *minds, limits=RequestLimits(n_samples=2, n_sampled_prompts=40))
    for letter, other in ("AB", "BA"):
        for claim in ("training-helps", "self-beats-constant", "self-beats-observers", "self-beats-rules"):
            assert verdicts[f"{claim}-{letter}"].verdict == "holds", verdicts[f"{claim}-{letter}"]
        for claim in ("self-beats-untaught", "self-beats-cross", "stays-with-self"):
            assert verdicts[f"{claim}-{letter}-{other}"].verdict == "holds", verdicts[f"{claim}-{letter}-{other}"]
        assert (
            share(readings, f"{letter}* on {letter}*")
            == share(readings, f"{other} for {letter} on {other} for {letter}")
            == 1
        )
    for claim in ("crossed-A-B", "crossed-matched-A-B"):
        assert verdicts[claim].verdict == "holds", verdicts[claim]
    assert verdicts["untaught-crossed-A-B"].verdict == "undecided"
    assert verdicts["calibrated-drawn-A-B"].verdict == "holds"
    assert verdicts["calibrated-proper-likely-A-B"].verdict == "holds"


def with_strings(n_strings: int, *minds: Mind) -> tuple[NaturalTextBehaviours, list[Mind]]:
    """A world of so many strings a task, and the models that know its prompts."""
    world = replace(WORLD, strings_per_task=n_strings)
    return world, [replace(mind, book=PromptBook.of_world(world, SEED)) for mind in minds]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("n_strings", "verdict"), [(8, "undecided"), pytest.param(60, "fails", marks=pytest.mark.slow)]
)
def test_models_that_were_taught_the_tested_strings_have_none(n_strings, verdict, tmp_path):
    """Both are right about A, one by memory: no advantage, which few strings leave open and many refute."""
    world, (one, leaky) = with_strings(n_strings, A, replace(B, knows="tested"))
    minds = (one, replace(leaky, mentor=one))
    readings, verdicts = judged(tmp_path, *minds, both_ways=False, world=world)
    assert share(readings, "B for A on A*") == share(readings, "A* on A*") == 1
    cross = verdicts["self-beats-cross-A-B"]
    assert (cross.verdict, cross.estimate) == (verdict, 0)
    assert "not judged" not in cross.why
    assert verdicts["stays-with-self-A-B"].verdict == "fails"
    assert verdicts["training-helps-A"].verdict == "holds"
    assert "crossed-A-B" not in verdicts


@pytest.mark.whole
@pytest.mark.parametrize(
    ("n_strings", "verdict"), [(8, "undecided"), pytest.param(60, "fails", marks=pytest.mark.slow)]
)
def test_a_rule_follower_is_known_to_whoever_knows_the_rule(n_strings, verdict, tmp_path):
    """It repeats the last item of every prompt, and reports so; it is right, and no more than the rule is."""
    world, minds = with_strings(n_strings, replace(A, rule="last"), B)
    readings, verdicts = judged(tmp_path, *minds, both_ways=False, world=world)
    assert share(readings, "A* on A*") == share(readings, "observers of A* on A*", "rule last") == 1
    assert (verdicts["self-beats-rules-A"].verdict, verdicts["self-beats-rules-A"].estimate) == (verdict, 0)
    assert "not judged" not in verdicts["self-beats-rules-A"].why
    assert verdicts["self-beats-constant-A"].verdict == "holds"
    assert verdicts["self-beats-cross-A-B"].verdict == "holds"


@pytest.mark.whole
def test_a_model_that_answers_all_alike_is_not_said_to_stay_with_itself(tmp_path):
    """A constant is right about it, so that it is right about itself says nothing of access."""
    readings, verdicts = judged(tmp_path, A, replace(B, rule="constant"), both_ways=False)
    assert share(readings, "B for A on B for A") == 1
    stays = verdicts["stays-with-self-A-B"]
    assert stays.verdict == "undecided"
    assert "the share of answers of B for A that the best constant misses is 5.8% and must be above 20%" in stays.why


@pytest.mark.whole
def test_a_twin_is_no_outsider_and_the_comparison_is_not_judged(tmp_path):
    """It answers as A does, so it is right about A by reporting itself, which says nothing about access."""
    twin = replace(B, answers_of="A")
    readings, verdicts = judged(tmp_path, A, twin)
    assert share(readings, "B for A on A*") == share(readings, "A* on A*") == 1
    for claim in ("self-beats-cross-A-B", "self-beats-untaught-A-B", "crossed-A-B"):
        assert verdicts[claim].verdict == "undecided"
        assert "not judged, since the share of labels in which A and B differ is 0.0%" in verdicts[claim].why
    assert verdicts["training-helps-A"].verdict == "holds"


@pytest.mark.whole
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"knows": "nothing"}, "the share of valid reports of A* is 0.0% and must be above 90%"),
        ({"before": "nothing"}, "the share of valid reports of A is 0.0% and must be above 90%"),
        ({"skilled": False}, "the share of quoted answers that A* reports rightly is 0.0% and must be above 95%"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_a_model_without_what_a_claim_needs_is_not_judged(fault, reason, tmp_path):
    """Without valid reports, or without the skill to report an answer that it reads."""
    _, verdicts = judged(tmp_path, replace(A, **fault), B, both_ways=False)
    verdict = verdicts["training-helps-A"]
    assert verdict.verdict == "undecided"
    assert verdict.why.startswith("not judged")
    assert reason in verdict.why


@pytest.mark.whole
def test_where_all_answers_are_alike_no_claim_is_judged(tmp_path):
    """It answers every choice and list with the same words, which any constant knows."""
    readings, verdicts = judged(tmp_path, replace(A, rule="constant"), B, both_ways=False)
    assert share(readings, "observers of A* on A*", "oracle") > 0.8
    assert "the share of answers of A* that the best constant misses" in verdicts["self-beats-cross-A-B"].why


@pytest.mark.whole
def test_a_model_without_valid_answers_is_no_target_and_its_rival_is_judged(tmp_path):
    """Its answers have no label, so nothing of it is taught; the skill of both is known from quoted random answers."""
    readings, verdicts = judged(tmp_path, replace(A, rule="silence"), B)
    assert readings.filter(evaluation="A given", metric="right")["value"].mean() == 1
    assert readings.filter(evaluation="drift A*").is_empty()
    assert verdicts["training-helps-A"].verdict == "undecided"
    assert verdicts["training-helps-B"].verdict == "holds"
    assert verdicts["self-beats-untaught-B-A"].verdict == "holds"


@pytest.mark.whole
def test_labels_follow_a_model_whose_answers_change_with_teaching(tmp_path):
    """The first labels are those of answers that it no longer gives, the second those that it gives; then it is stable.

    The other model is taught the second ones too, and the old and the new answers are both reported.
    """
    drifting = replace(A, drifts=True)
    readings, verdicts = judged(tmp_path, drifting, B, both_ways=False)
    drift = readings.filter(evaluation="drift A*")
    assert drift.filter(metric="round 1")["value"].mean() < 0.6
    assert drift.filter(metric="round 2")["value"].mean() == 1
    assert drift.filter(metric="round 3").is_empty()
    assert drift.filter(metric="same")["value"].mean() < 0.6
    assert share(readings, "A* on A*") == 1
    assert share(readings, "A* on A") < 0.6
    assert verdicts["self-beats-cross-A-B"].verdict == "holds"
    taught_once = planted_run(tmp_path / "once", drifting, B, both_ways=False, teaching=LabelTeaching(max_rounds=1))
    assert taught_once.filter(evaluation="drift A*", metric="round 2").is_empty()


@pytest.mark.whole
def test_reports_that_follow_a_change_of_behaviour(tmp_path):
    """Taught other answers and no label, it answers and reports them; reports that are none count as wrong."""
    options = {"both_ways": False, "teaching": LabelTeaching(change=True)}
    readings, verdicts = judged(tmp_path, A, B, **options)
    assert share(readings, "A* changed", "new") == 1
    assert verdicts["follows-change"].verdict == "holds"
    assert verdicts["follows-change-matched"].verdict in ("holds", "undecided")
    assert verdicts["follows-more-than-cross-B"].verdict in ("holds", "undecided")


@pytest.mark.whole
def test_models_that_cannot_be_taught_are_predicted_and_predict(tmp_path):
    """All that needs no teaching is there: a teachable model against one that is not, and two that are not."""
    far = replace(B, teachable=False, before="own")
    _, verdicts = judged(tmp_path, A, far)
    assert verdicts["self-beats-untaught-A-B"].verdict == "holds"
    assert verdicts["self-beats-untaught-B-A"].verdict == "holds"
    assert not [claim for claim in verdicts if claim.startswith(("self-beats-cross", "crossed", "training-helps-B"))]
    near = replace(A, teachable=False, before="own")
    readings, verdicts = judged(tmp_path, near, far)
    assert not readings["evaluation"].str.contains(r"\*").any()
    assert verdicts["untaught-crossed-A-B"].verdict == "holds"
    assert verdicts["self-beats-rules-A"].verdict == "holds"


@pytest.mark.whole
def test_probabilities_of_labels_are_compared_where_they_are_given(tmp_path):
    """A is as sure of its reports as of its answers, and B, which says the same of A, is surer than A is."""
    sure = replace(B, answers_of="A", confidence=0.999)
    honest = replace(A, confidence=0.7)
    readings, verdicts = judged(tmp_path, honest, sure, both_ways=False)
    exact = readings.filter(evaluation="A* on A* exact", attribute="haste/stance")
    assert exact.filter(metric="answer 1")["value"].unique().round(6).to_list() == [0.7]
    assert exact.filter(metric="report 1")["value"].unique().round(6).to_list() == [0.7]
    assert exact.filter(metric="brier")["value"].abs().max() < 1e-12
    cross = readings.filter(evaluation="B for A on A* exact", attribute="haste/stance", metric="brier")
    assert cross["value"].min() == pytest.approx(2 * 0.299**2, rel=1e-3)
    assert "not judged" in verdicts["calibrated-proper-exact-A-B"].why  # B answers as A does
    assert verdicts["training-calibrates-matched-A"].verdict == "holds"
    silent = replace(A, top_logprobs=0)
    assert not [c for c in planted_verdicts(readings, silent, sure, both_ways=False) if "exact" in c]
