"""Questions exchanged inside the network: it stops by the number in the question, and by nothing else."""

from __future__ import annotations

import polars as pl
import pytest

from nosce.evals.patching.count import CountPatching
from nosce.models.hooks import layer_sites
from nosce.seeds import Seed

SEED = Seed(8)


@pytest.fixture(scope="module")
def share(numbered_corpus, numbered_lists, train_small):
    """Shares of hosts that stop where the donor's list ends, by metric, and the readings."""
    net = train_small(numbered_corpus, numbered_corpus.tokenized_questions(numbered_corpus.questions))
    evaluation = CountPatching(list_task=numbered_lists, max_pairs=12)
    rows = pl.concat(list(evaluation.evaluate_checkpoints({3: lambda: net}, numbered_corpus, SEED)))
    sites = layer_sites(net)
    expected = {f"{w}/{k}/{s}" for w in ("last", "whole") for k in ("donor", "same") for s in sites} | {"unpatched"}
    assert set(rows["metric"]) == expected
    return dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows()), rows


def test_the_network_stops_where_the_number_in_the_donors_question_says(share):
    """Below the first block the whole question is the donor's text, so the network stops where the donor's list ends.

    Its last token alone, a colon, says nothing there; behind the last block nothing reads the question any more.
    """
    values, _ = share
    assert values["unpatched"] == 0
    assert values["whole/donor/residual.0"] > 0.95
    assert values["last/donor/residual.0"] == values["last/donor/final"] == values["whole/donor/final"] == 0


def test_a_stranger_with_as_many_entries_changes_nothing(share):
    """At every site and for both extents."""
    values, _ = share
    assert all(value == 0 for metric, value in values.items() if "/same/" in metric)


def test_donors_have_fewer_entries_and_are_not_seen_in_training(share):
    """As the attribute says, for as many pairs as are wanted."""
    _, rows = share
    pairs = rows.filter(metric="unpatched")
    assert pairs.height == 12
    assert all(int(donor) < int(host) for host, donor in (a.split(" to ") for a in pairs["attribute"]))


def test_lists_without_a_partner_have_no_readings(numbered_corpus, numbered_lists, train_small):
    """Where all lists are equally long no host has a donor with fewer."""

    class Equal(type(numbered_lists)):
        def entry_count(self, question):
            return 2 if len(question.target.split()) == 2 else None

    net = train_small(numbered_corpus, numbered_corpus.tokenized_questions(numbered_corpus.questions), steps=1)
    evaluation = CountPatching(list_task=Equal())
    assert not list(evaluation.evaluate_checkpoints({3: lambda: net}, numbered_corpus, SEED))
