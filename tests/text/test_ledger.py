"""The exposure ledger says without counting what counting would have said."""

from __future__ import annotations

from collections import Counter, defaultdict

import polars as pl
import pytest

from nosce.seeds import Seed
from nosce.text.batches import Order
from nosce.text.ledger import exposures, summary

ORDER = Seed(0) / "order"


@pytest.fixture(scope="module")
def tables(world, seed) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The spans and the documents of the small population, as a corpus keeps them."""
    documents = list(world.documents(seed))
    spans = [(n, s.facet, w) for n, d in enumerate(documents) for s, w in zip(d.spans, d.wordings, strict=True)]
    return (
        pl.DataFrame(spans, schema=["document", "facet", "wording"], orient="row"),
        pl.DataFrame({"id": [d.id for d in documents], "about": [d.about for d in documents]}),
    )


def counted(tables: tuple[pl.DataFrame, pl.DataFrame], order: Order, steps: int) -> list[tuple]:
    """The ledger as somebody would keep it who watched the training."""
    spans, things = tables
    about, facts = things["about"].to_list(), defaultdict(list)
    for document, facet, wording in spans.rows():
        facts[document].append((facet, wording))
    times, wordings = Counter(), defaultdict(set)
    for step in range(steps):
        for document in order.step(step):
            for facet, wording in facts[int(document)]:
                times[about[document], facet] += 1
                wordings[about[document], facet].add(wording)
    every = sorted({(about[document], facet) for document, facet, _ in spans.rows()})
    return [(a, f, times[a, f], len(wordings[a, f])) for a, f in every]


@pytest.mark.parametrize("steps", [0, 1, 5, 28, 29, 100])
def test_the_ledger_is_what_counting_gives(tables, steps):
    """Exposures and wordings of every fact are those of a brute-force count, within an epoch and across."""
    order = Order(200, 7, ORDER)
    ledger = exposures(*tables, order, steps)
    assert ledger.columns == ["about", "facet", "exposures", "wordings"]
    assert ledger.rows() == counted(tables, order, steps)


def test_facts_never_met_are_kept(tables):
    """Missing is not zero: what was not trained on has a row that says 0, in 0 wordings."""
    ledger = exposures(*tables, Order(200, 1, ORDER), 3)
    assert ledger.height == 40 * 6
    unmet = ledger.filter(pl.col("exposures") == 0)
    assert unmet.height >= 37 * 6
    assert set(unmet["wordings"]) == {0}
    assert ledger.null_count().sum_horizontal().item() == 0


def test_whole_epochs_meet_every_fact_alike(tables):
    """After three epochs of five entries every fact was met fifteen times, in one to five wordings."""
    ledger = exposures(*tables, Order(200, 20, ORDER), 30)
    assert set(ledger["exposures"]) == {15}
    assert ledger["wordings"].min() >= 1
    assert ledger["wordings"].max() == 5


def test_a_wording_met_twice_is_one_wording():
    """Two entries that say a fact in the same words expose it twice in one wording."""
    spans = pl.DataFrame({"document": [0, 1, 2], "facet": ["a"] * 3, "wording": ["a#1", "a#1", "a#2"]})
    things = pl.DataFrame({"about": ["ada", "ada", "bo"]})
    assert exposures(spans, things, Order(3, 3, ORDER), 2).rows() == [("ada", "a", 4, 1), ("bo", "a", 2, 1)]


def test_the_summary_is_of_the_ledger(tables):
    """Least, mean and most of each facet are those of its rows, zeros included."""
    ledger = exposures(*tables, Order(200, 7, ORDER), 5)
    for row in summary(ledger).rows(named=True):
        met = [(e, w) for _, facet, e, w in ledger.rows() if facet == row["facet"]]
        times = [e for e, _ in met]
        assert row["facts"] == len(met) == 40
        assert (row["least_exposures"], row["most_exposures"]) == (min(times), max(times))
        assert row["mean_exposures"] == pytest.approx(sum(times) / 40)
        assert row["mean_wordings"] == pytest.approx(sum(w for _, w in met) / 40)
        assert row["most_wordings"] == max(w for _, w in met)
