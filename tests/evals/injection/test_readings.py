"""What a report on an injected state counts as."""

from __future__ import annotations

import polars as pl
import pytest

from nosce.evals.injection.readings import InjectionReply, InjectionScorer, InjectionTrial, trial_attribute

SCORER = InjectionScorer(evaluation="injected", yes="yes", no="no", none="none")


def reply(text, **probabilities):
    return InjectionReply(text, probabilities)


def values(trial):
    table = SCORER.table(iter([trial]))
    return dict(table.select("metric", "value").iter_rows()), table


def trial(**changed):
    made = {
        "item": "acorn/0",
        "entity": "acorn",
        "split": "unseen",
        "kind": "concept",
        "label": "acorn",
        "site": "residual.1",
        "strength": 2.0,
        "whether": reply("yes", yes=0.7, no=0.3),
        "which": reply("acorn", acorn=0.5, basil=0.3, none=0.2),
    }
    return InjectionTrial(**(made | changed))


def test_a_detection_that_names_the_concept_is_reported():
    """One row a metric; what was done stands in the attribute."""
    found, table = values(trial())
    assert (found["yes"], found["names"], found["reported"], found["names any"]) == (1, 1, 1, 1)
    assert (found["yes probability"], found["name probability"], found["likeliest"]) == (0.7, 0.5, 1)
    assert set(table["attribute"]) == {"concept/residual.1/2"} == {trial_attribute("concept", "residual.1", 2.0)}
    assert table.filter(metric="yes")["outcome"].to_list() == ["right"]


def test_a_yes_is_a_false_alarm_where_no_concept_was_added():
    """Without an injection, with a random direction, and with a word in the prompt; a name is one too."""
    for kind in ("none", "random", "prompt"):
        found, table = values(trial(kind=kind))
        assert found["yes"] == found["names any"] == 1
        assert table.filter(pl.col("metric").is_in(["yes", "names"]))["outcome"].to_list() == ["wrong", "wrong"]


def test_another_word_is_invalid_and_no_denial_of_a_name():
    """A reply of another form is neither yes nor no, and names nothing."""
    found, table = values(trial(whether=reply("? maybe", yes=0.2, no=0.8), which=reply("", acorn=0, basil=0, none=1)))
    assert (found["yes"], found["valid"], found["valid name"], found["names any"], found["reported"]) == (0, 0, 0, 0, 0)
    assert table.filter(metric="yes")["outcome"].to_list() == ["invalid"]


def test_a_shift_is_read_only_where_the_text_denies_both_times():
    """The probability of yes may rise where the text says no; a tie counts one half."""
    no = reply("no", yes=0.2, no=0.8)
    for before, shift in ((0.1, 1.0), (0.3, 0.0), (0.2, 0.5)):
        assert values(trial(whether=no, without=reply("no", yes=before, no=1 - before)))[0]["shift"] == shift
    assert "shift" not in values(trial(without=no))[0]
    assert "shift" not in values(trial(whether=no, without=reply("yes", yes=0.9, no=0.1)))[0]
    assert "shift" not in values(trial(whether=no))[0]


def test_of_equally_likely_concepts_each_counts_its_share():
    """So that words with one first token favour none."""
    found, _ = values(trial(which=reply("none", acorn=0.2, basil=0.2, none=0.6)))
    assert found["likeliest"] == pytest.approx(0.5)
    assert (found["names"], found["names any"], found["valid name"]) == (0, 0, 1)


def test_a_word_that_is_read_must_be_named():
    """The question whether is not asked of it."""
    found, table = values(trial(kind="read", site="", strength=0.0, whether=None))
    assert found["names"] == 1
    assert {"yes", "reported"}.isdisjoint(found)
    assert table.filter(metric="names")["outcome"].to_list() == ["right"]
