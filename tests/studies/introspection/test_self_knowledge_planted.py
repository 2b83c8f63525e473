"""Planted worlds of self-knowledge: what models by script know of themselves is what the claims about them say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.self_minds import KNOWLEDGE, SelfMind, self_parties, self_verdicts, with_strings

from nosce.data.worlds.behaviours.self_knowledge import SELF_TASKS
from nosce.studies.introspection.prompted_self_claims import self_knowledge_figure

A, B = SelfMind(letter="A"), SelfMind(letter="B")
KNOWN = [f"knows-{task}-A" for task in SELF_TASKS]
ADVANTAGES = [f"{claim}-B" for claim in KNOWN]


def words_of(verdicts, claims):
    return {claim: verdicts[claim].verdict for claim in claims}


@pytest.mark.whole
def test_models_that_know_themselves_do_so_in_every_task(tmp_path):
    """Both know what they do, and neither knows the other; both are shown texts and do not recognise the author."""
    knowledge, minds = with_strings(100, A, B)
    readings, verdicts = self_verdicts(tmp_path, *minds, knowledge=knowledge)
    claims = [*KNOWN, *ADVANTAGES, *(claim.replace("-A-B", "-B-A") for claim in ADVANTAGES), "own-is-no-preference-A-B"]
    assert words_of(verdicts, claims) == dict.fromkeys(claims, "holds"), [verdicts[c].why for c in claims]
    for task in SELF_TASKS:
        assert readings.filter(evaluation=f"A on A {task}", metric="right")["value"].mean() == 1
        assert readings.filter(evaluation=f"A given {task}", metric="right")["value"].mean() == 1
        assert readings.filter(evaluation=f"B on A {task}", metric="right")["value"].mean() < 0.8


@pytest.mark.whole
def test_a_model_that_tosses_a_coin_knows_less_than_an_outsider_who_knows_it(tmp_path):
    """The outsider reports what A does, and recognises its texts: the skill without the self."""
    outsider = replace(B, knows="A", reads=True)
    _, verdicts = self_verdicts(tmp_path, replace(A, knows="coin"), outsider)
    judged = [claim for claim in ADVANTAGES if "surer" not in claim]  # of 24 pairs too few truths differ
    assert words_of(verdicts, judged) == dict.fromkeys(judged, "fails"), [verdicts[c].why for c in judged]
    assert "holds" not in words_of(verdicts, KNOWN).values()


@pytest.mark.whole
@pytest.mark.parametrize(("n_strings", "verdict"), [(48, "undecided"), pytest.param(240, "fails")])
def test_an_outsider_who_knows_as_much_leaves_no_advantage(n_strings, verdict, tmp_path):
    """A knows itself, which beats the constant, and B knows A as well: few strings leave it open, many refute it."""
    knowledge, minds = with_strings(n_strings, A, replace(B, knows="A", reads=True))
    _, verdicts = self_verdicts(tmp_path, *minds, knowledge=knowledge)
    assert words_of(verdicts, KNOWN) == dict.fromkeys(KNOWN, "holds")
    for claim in ("knows-keep-A-B", "knows-copies-A-B", "knows-length-A-B", "knows-own-A-B"):
        assert (verdicts[claim].verdict, verdicts[claim].estimate) == (verdict, 0), verdicts[claim].why


@pytest.mark.whole
def test_a_model_that_always_says_the_same_knows_nothing(tmp_path):
    """It is right as often as a constant, and is wrong about its lengths; nothing holds."""
    _, verdicts = self_verdicts(tmp_path, replace(A, knows="constant"), B)
    assert not [claim for claim in (*KNOWN, *ADVANTAGES) if verdicts[claim].verdict == "holds"]
    assert verdicts["knows-length-A"].verdict == "fails"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"knows": "nothing"}, "the share of valid reports of A in the task {} is 0.0% and must be above 90%"),
        ({"skilled": False}, "given transcripts of the task {} that A reports rightly is 0.0% and must be above 95%"),
    ],
    ids=["no valid report", "no skill"],
)
def test_what_a_claim_needs_is_judged_first(fault, reason, tmp_path):
    _, verdicts = self_verdicts(tmp_path, replace(A, **fault), B)
    for task in SELF_TASKS:
        for claim in (f"knows-{task}-A", f"knows-{task}-A-B", f"knows-{task}-B-A"):
            if claim != "knows-own-B-A" or "skilled" in fault:
                assert verdicts[claim].verdict == "undecided"
                assert reason.format(task) in verdicts[claim].why, claim


def test_behaviour_that_is_all_alike_is_known_to_a_constant(tmp_path):
    """A keeps every answer, and says so."""
    readings, verdicts = self_verdicts(tmp_path, replace(A, keeps_all=True), B)
    assert readings.filter(evaluation="A on A keep", metric="right")["value"].mean() == 1
    assert "the share of truths about A in the task keep that the best constant misses is 0.0%" in (
        verdicts["knows-keep-A"].why
    )
    assert verdicts["knows-copies-A"].verdict == "holds"


def test_a_twin_is_no_outsider(tmp_path):
    """It does what A does, so it knows A by knowing itself; its texts bear its own name."""
    _, verdicts = self_verdicts(tmp_path, A, replace(B, acts_like="A"))
    for task in ("keep", "surer", "copies", "length"):
        assert f"in which A and B differ in the task {task} is 0.0%" in verdicts[f"knows-{task}-A-B"].why
    assert verdicts["knows-keep-A"].verdict == "holds"


@pytest.mark.whole
def test_no_advantage_shows_far_behind_the_beginning_unless_there_is_one(tmp_path):
    """Who knows its first words alone has none; who knows the later ones too refutes both claims."""
    knowledge, minds = with_strings(120, A, B)
    _, verdicts = self_verdicts(tmp_path, *minds, knowledge=knowledge)
    assert words_of(verdicts, ["late-is-not-known-A", "no-advantage-late-A-B"]) == {
        "late-is-not-known-A": "holds",
        "no-advantage-late-A-B": "holds",
    }
    knowing = replace(minds[0], knows_late=True)
    _, verdicts = self_verdicts(tmp_path, knowing, minds[1], knowledge=knowledge)
    assert verdicts["late-is-not-known-A"].verdict == verdicts["no-advantage-late-A-B"].verdict == "fails"


@pytest.mark.whole
def test_no_advantage_shows_where_all_answer_alike_unless_skill_differs(tmp_path):
    """Both repeat the words and know it; a model that slips is beaten, and one that knows nothing is not compared."""
    _, verdicts = self_verdicts(tmp_path, A, B)
    assert verdicts["no-advantage-same-A-B"].verdict == "holds", verdicts["no-advantage-same-A-B"].why
    _, verdicts = self_verdicts(tmp_path, A, replace(B, slips=0.5))
    assert verdicts["no-advantage-same-A-B"].verdict == "fails"
    _, verdicts = self_verdicts(tmp_path, A, replace(B, knows="coin"))
    assert "right reports of B about itself above the best constant" in verdicts["no-advantage-same-A-B"].why


@pytest.mark.whole
def test_a_preference_for_long_texts_is_not_the_recognition_of_ones_own(tmp_path):
    """Both call the longer text their own, so that one of them is right each time."""
    likers = [replace(mind, likes_long=True) for mind in (A, B)]
    readings, verdicts = self_verdicts(tmp_path, *likers)
    both = readings.filter(evaluation="A and B own", metric="right")
    assert both["value"].mean() == 0.5
    assert verdicts["own-is-no-preference-A-B"].verdict == "undecided"
    _, verdicts = self_verdicts(tmp_path, replace(A, knows="coin"), replace(B, knows="coin"))
    assert verdicts["own-is-no-preference-A-B"].verdict in ("fails", "undecided")


@pytest.mark.whole
def test_lengths_are_in_words_where_an_endpoint_does_not_count_tokens(tmp_path):
    """The question is about words then; two units are not compared with each other."""
    silent = [replace(mind, says_tokens=False) for mind in (A, B)]
    readings, verdicts = self_verdicts(tmp_path, *silent)
    items = readings.filter(evaluation="A on A length", metric="right")["item"]
    assert items.str.starts_with("length/words/").all()
    assert verdicts["knows-length-A"].verdict == verdicts["knows-length-A-B"].verdict == "holds"
    readings, verdicts = self_verdicts(tmp_path, A, silent[1])
    assert readings.filter(evaluation="A on A length", metric="right")["item"].str.starts_with("length/tokens/").all()
    assert verdicts["knows-length-A"].verdict == "holds"
    assert "in which A and B differ in the task length is not known" in verdicts["knows-length-A-B"].why


@pytest.mark.whole
def test_certainty_is_known_by_draws_where_there_are_no_log_probabilities(tmp_path):
    """With neither, the task is left out, and the reason stands with the claim and with the figure."""
    mute = replace(A, top_logprobs=0)
    knowledge = replace(KNOWLEDGE, n_self_draws=20)
    readings, verdicts = self_verdicts(tmp_path, mute, B, knowledge=knowledge)
    reports = readings.filter(evaluation="A on A surer", metric="right")
    assert len(reports) > 8
    assert reports["value"].mean() > 0.8  # twenty draws are not the probability
    none = replace(KNOWLEDGE, n_self_draws=0)
    readings, verdicts = self_verdicts(tmp_path, mute, B, knowledge=none)
    for claim in ("knows-surer-A", "knows-surer-A-B"):
        assert "pairs of prompts whose certainty of A is known (its endpoint gives no log-p" in verdicts[claim].why
    assert readings.filter(evaluation="A is surer", metric="known")["value"].sum() == 0
    assert verdicts["knows-surer-B"].verdict == "holds"
    assert "knows-copies-B" not in verdicts
    caption = self_knowledge_figure(self_parties(mute, B, knowledge=none)).caption
    assert "Left out: how certain A is, since an endpoint gives no log-probabilities" in caption
    assert "Left out: copies, which need draws" in caption
    assert "Left out" not in self_knowledge_figure(self_parties(mute, B)).caption


@pytest.mark.whole
def test_the_figure_shows_each_model_beside_the_constant(tmp_path):
    """A row for each task, of itself, of the other, of given transcripts and of the best constant."""
    readings, _ = self_verdicts(tmp_path, A, B)
    rows = list(self_knowledge_figure(self_parties(A, B)).rows(readings, ["m"], "string"))
    found = {(row.panel, row.tick, row.group): row.value for row in rows}
    assert len(found) == 2 * 7 * 4
    assert all(value is not None for value in found.values())
    assert found["about A", "keep", "itself"] == found["about A", "own", "given transcripts"] == 1
    assert found["about A", "keep", "B, taught nothing"] < 0.8
