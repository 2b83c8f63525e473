"""The answer of a study is what its verdicts say: nothing undecided is told as a fact, nothing refuted as true."""

import pytest

from nosce.analysis.answer import claim_word, derive_answer
from nosce.records import Verdict

TEXT = "Cats outrun dogs"


def verdict(word, id="race", **more):
    """A planted verdict."""
    whole = {
        "id": id,
        "text": TEXT,
        "source": "ours",
        "criterion": "the whole 95 % interval lies above 20 points",
        "paper_value": None,
        "estimate": 0.3,
        "low": 0.25,
        "high": 0.35,
        "n": 40,
        "unit": "cat",
        "verdict": word,
        "why": "t interval over 3 seeds",
        "is_difference": True,
        "seeds": 3,
    }
    return Verdict(**(whole | more))


def test_a_claim_that_holds_is_the_answer_with_its_number():
    """Differences are in points; the interval and n stand beside the sentence."""
    answer = derive_answer([verdict("holds")])
    assert answer.text == "Cats outrun dogs (30.0 points [25.0, 35.0], n = 40 cats, 3 training seeds)."
    assert answer.sure == "Of 1 claim 1 holds."
    assert answer.is_decided
    assert answer.claims == ("race",)


def test_a_claim_that_fails_is_denied_with_what_would_have_held():
    """The claim's text never stands alone, as if it were true."""
    text = derive_answer([verdict("fails")]).text
    assert text.startswith(f"It is not so that “{TEXT}” (30.0 points")
    assert "would be if the whole 95 % interval lies above 20 points" in text


@pytest.mark.parametrize("headline", [(), ("race",)])
@pytest.mark.parametrize("why", ["the interval reaches to both sides", "not judged, since the cat slept"])
def test_what_is_undecided_is_never_told_as_a_fact(why, headline):
    """With and without a headline; the text may only stand as a question."""
    answer = derive_answer([verdict("undecided", why=why)], headline)
    assert not answer.is_decided
    assert answer.text.startswith("Not ")
    assert TEXT not in answer.text.replace(f"whether this is so: “{TEXT}”", "")


def test_one_training_seed_speaks_of_this_model_alone():
    """At the sentence and in how sure it is."""
    answer = derive_answer([verdict("holds", seeds=1), verdict("undecided", "b", seeds=1)])
    assert answer.text.endswith("this model alone).")
    assert answer.sure == (
        "Of 2 claims 1 holds and 1 is undecided. The decision is of this model alone, from one training seed: another "
        "training could differ."
    )


def test_no_claim_is_no_answer():
    """Preconditions are no findings."""
    for verdicts in ([], [verdict("holds", is_precondition=True)]):
        answer = derive_answer(verdicts)
        assert answer.text == "Not answered: the study makes no claim yet."
        assert not answer.claims
        assert not answer.is_decided


def test_the_headline_says_which_claims_answer_and_their_verdicts_say_what():
    """In the headline's order, at most two; an undecided one is told as undecided behind a decided one."""
    verdicts = [verdict("holds", "a"), verdict("undecided", "b"), verdict("fails", "c/1"), verdict("fails", "c/2")]
    answer = derive_answer(verdicts, ("c/*", "a"))
    assert answer.claims == ("c/1", "c/2")
    mixed = derive_answer(verdicts, ("b", "a"))
    assert mixed.text.startswith(f"{TEXT} (30.0 points")  # what is decided comes first
    assert mixed.text.endswith(f"Not decided is whether this is so: “{TEXT}”.")
    assert mixed.claims == ("a",)
    open_ones = [verdict("undecided", "a"), verdict("undecided", "b", text="Dogs swim")]
    text = derive_answer(open_ones, ("a", "b")).text
    assert text == f"Not decided is whether these are so: “{TEXT}”; “Dogs swim”."
    assert derive_answer(verdicts, ("gone",)).claims == ("a", "c/1")  # a headline of another version


def test_a_study_s_own_rule_speaks_first():
    """`conclusion` is made from the verdicts by the study's rule."""
    answer = derive_answer([verdict("holds")], conclusion="multi5 does it.")
    assert answer.text == "multi5 does it."
    assert answer.claims == ("race",)


def test_counts_say_what_was_not_judged():
    """What was not judged, or not measured at all, is no evidence of a close call."""
    verdicts = [
        verdict("holds", "a"),
        verdict("fails", "b"),
        verdict("undecided", "c"),
        verdict("undecided", "d", why="not judged, since x"),
        verdict("undecided", "e", estimate=None, low=None, high=None),
    ]
    assert [claim_word(one) for one in verdicts] == ["holds", "fails", "undecided", "not judged", "not judged"]
    assert derive_answer(verdicts).sure == "Of 5 claims 1 holds, 1 fails, 1 is undecided and 2 were not judged."
    assert derive_answer(verdicts[2:]).text == (
        "Not answered: none of the 3 claims is decided. 1 of 3 claims was not judged, since x."
    )


def test_where_nothing_is_decided_the_need_that_is_missing_most_often_is_told():
    """Somebody whose model recalls too little has to read that, and not ask claim by claim."""
    verdicts = [
        verdict("undecided", "a", why="not judged, since recall is 8% and must be above 95%; the cat slept"),
        verdict("undecided", "b", why="not judged, since the dog slept; recall is 8% and must be above 95%"),
        verdict("undecided", "c", why="the interval reaches to both sides"),
    ]
    told = "2 of 3 claims were not judged, since recall is 8% and must be above 95%."
    assert derive_answer(verdicts).text.endswith(told)
    assert derive_answer(verdicts, ("c",)).text.endswith(told)
    assert derive_answer(verdicts[:1]).text.endswith("It was not judged, since recall is 8% and must be above 95%.")
    assert "not judged" not in derive_answer([*verdicts, verdict("holds", "d")]).text
    assert "not judged" not in derive_answer(verdicts[2:]).text
