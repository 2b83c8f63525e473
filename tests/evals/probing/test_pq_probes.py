"""P- and Q-probing: a planted signal is found where it is and nothing among shuffled people; places are right."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import ATTRIBUTES, Biographies, Names
from nosce.errors import DataError, SpecError
from nosce.evals.probing.low_rank import Asked, Fit, probed
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe, _Values
from nosce.models.architecture import Architecture, build
from nosce.pipeline.context import Job
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed

SEED = Seed(21)
WORLD = Biographies(people=40, names=(8, 8, 8), augmentation="multi2+permute", cities=6, universities=6, majors=4,
                    companies=6)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Forty people in two wordings."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=TokenizerSpec()), {}, Job(folder=folder))
    return Corpus(folder)


def network(vocabulary, width=32):
    """A frozen network of random weights."""
    shape = Architecture(layers=1, width=width, heads=2, positions=128)
    return build(shape, vocabulary=vocabulary, end=0, pad=None, seed=Seed(2)).eval()


def planted(count, signal, rng):
    """Texts of four random tokens behind an end token; the class is that of the token at one place, or nobody's."""
    tokens = np.concatenate([np.zeros((count, 1), dtype=np.int64), rng.integers(4, 20, size=(count, 4))], 1)
    classes = tokens[:, 2] % 2 if signal else rng.integers(2, size=count)
    places = np.full((count, 1), 2)
    return Asked(tokens, places, classes[None], np.ones((1, count, 1), dtype=bool), (2,))


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_planted_signal_is_found_and_shuffled_people_are_at_chance(rank, norm):
    """Which of two kinds the token at the place is: told of new texts; with labels that are nobody's, at chance."""
    rng = np.random.default_rng(4)
    fit = Fit(rank=rank, steps=300, batch=32, peak_lr=1e-2, decay=0.0)
    train, test = np.arange(400), np.arange(400, 600)
    found = {}
    for signal in (True, False):
        asked = planted(600, signal, rng)
        chosen = probed(network(20), asked, train, test, fit, SEED, norm)
        found[signal] = (chosen[0, :, 0] == asked.classes[0, test]).mean()
    assert found[True] > 0.97
    assert abs(found[False] - 0.5) < 0.12


def test_what_stands_behind_the_last_place_that_counts_is_not_computed():
    """Two tasks that end at different places: other tokens behind them change no choice that counts."""
    rng, train, test = np.random.default_rng(5), np.arange(40), np.arange(40, 60)
    tokens = rng.integers(4, 20, size=(60, 9))
    places = np.tile([2, 5], (60, 1))
    pending = np.stack([np.tile([True, False], (60, 1)), np.tile([True, True], (60, 1))])
    classes = rng.integers(2, size=(2, 60))
    other, fit = tokens.copy(), Fit(rank=2, steps=20, batch=8)
    other[:, 6:] = rng.integers(4, 20, size=(60, 3))
    short, long = (
        probed(network(20), Asked(x, places, classes, pending, (2, 2)), train, test, fit, SEED) for x in (tokens, other)
    )
    counted = pending[:, test]
    assert np.array_equal(short[counted], long[counted])
    net, seen = network(20), []
    net.base_model.register_forward_pre_hook(lambda _, __, given: seen.append(given["inputs_embeds"].shape),
                                             with_kwargs=True)  # fmt: skip
    probed(net, Asked(tokens, places, classes, pending, (2, 2)), train, test, replace(fit, steps=1), SEED)
    assert {shape[1] for shape in seen} == {3, 6}
    assert sum(shape[0] for shape in seen) == 2 * (8 + len(test))


def test_the_network_is_left_as_it_was_and_equal_seeds_choose_alike():
    """Nothing of the network learns; the same probes come out of the same seed."""
    net = network(20)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    asked = planted(60, True, np.random.default_rng(4))
    fit = Fit(rank=2, steps=5, batch=8)
    one, two = (probed(net, asked, np.arange(40), np.arange(40, 60), fit, SEED) for _ in range(2))
    assert np.array_equal(one, two)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    with pytest.raises(DataError, match="halves"):
        probed(net, asked, np.arange(40), np.arange(0), fit, SEED)
    with pytest.raises(SpecError, match="learns nothing"):
        Fit(rank=-1, steps=5, batch=8)


def test_places_stand_right_before_the_values(corpus):
    """The token behind each place begins the value, found again by a regular expression in the text itself."""
    texts = PositionProbe(fit=Fit(rank=0, steps=1, batch=4), documents=2)._texts(corpus)
    assert len(texts) == 80
    targets = {(q.about, q.facet): q.target for q in corpus.questions}
    raw = {d["id"]: d["text"] for d in pl.read_parquet(corpus.folder / "documents-00000.parquet").iter_rows(named=True)}
    for text in texts:
        assert len(text.places) == len(ATTRIBUTES)
        if targets[text.about, "birth_city"] == targets[text.about, "company_city"]:
            continue  # one value in two places
        whole = raw[text.item]
        starts = {facet: re.search(rf"(?<!\w){re.escape(targets[text.about, facet])}(?!\w)", whole).start()
                  for facet in text.facets}  # fmt: skip
        for place, facet in zip(text.places, text.facets, strict=True):
            before = corpus.tokenizer.encode(whole[: starts[facet]], add_special_tokens=False).ids
            assert text.tokens[1 : place + 1].tolist() == before
        assert list(starts.values()) == sorted(starts.values())


def test_readings_are_of_what_is_yet_to_come(corpus):
    """A value is asked for up to its own place and not behind it; only people of the unseen half are read."""
    probe = PositionProbe(fit=Fit(rank=1, steps=2, batch=8))
    (*tables,) = probe.read_all({7: lambda: network(corpus.tokenizer.get_vocab_size())}, corpus, SEED)
    rows = pl.concat(tables)
    assert set(rows["step"]) == {7}
    split = {q.about: q.split for q in corpus.questions}
    assert {split[about] for about in rows["about"]} == {"unseen"}
    first = rows.filter(pl.col("metric") == "first/0")
    assert first.group_by("facet").len()["len"].to_list() == [20] * 6
    last = rows.filter(pl.col("metric") == "first/5")
    assert len(last) == 20  # each text has one value left
    assert "birth_date" not in set(rows.filter(pl.col("metric").str.starts_with("whole"))["facet"])
    constant = rows.filter(metric="first/0/constant")
    assert len(constant) == len(first)


def test_a_name_alone_is_shown(corpus):
    """Two end tokens around the name, which stands in every question about the person."""
    names = {q.about: Names().title(q.prompt, q.facet) for q in corpus.questions}
    assert all(names[q.about] in q.prompt and len(names[q.about].split()) == 3 for q in corpus.questions)
    probe = NameProbe(fit=Fit(rank=1, steps=2, batch=8), titles=Names())
    rows = pl.concat(list(probe.read_all({3: lambda: network(corpus.tokenizer.get_vocab_size())}, corpus, SEED)))
    assert set(rows["metric"]) == {"first", "whole", "first/constant", "whole/constant"}
    assert rows.filter(metric="first").group_by("facet").len()["len"].to_list() == [20] * 6
    assert len(_Values.of(corpus, ("birth_date",)).tasks) == 11


def test_a_name_is_read_at_any_layer():
    """Behind the embeddings alone an end token says nothing of what stood before it, so all texts are of one class."""
    rng = np.random.default_rng(4)
    tokens = np.concatenate([rng.integers(4, 20, size=(80, 3)), np.zeros((80, 1), dtype=np.int64)], 1)
    classes = tokens[:, 0] % 2
    asked = Asked(tokens, np.full((80, 1), 3), classes[None], np.ones((1, 80, 1), dtype=bool), (2,))
    fit = Fit(rank=0, steps=200, batch=16, peak_lr=1e-2)
    chosen = {site: probed(network(20), asked, np.arange(60), np.arange(60, 80), fit, SEED, "batch", site)
              for site in ("residual.0", "residual.1", "final")}  # fmt: skip
    assert len(np.unique(chosen["residual.0"])) == 1
    assert len(np.unique(chosen["final"])) == 2


def test_who_sees_all_of_a_text_is_not_asked_what_is_known_before_its_end(corpus):
    """A model that sees both ways has seen the values that it would be asked for."""
    shape = Architecture(family="modernbert", layers=1, width=32, heads=2, positions=128)
    net = build(shape, vocabulary=corpus.tokenizer.get_vocab_size(), end=0, pad=None, seed=Seed(2), mask=3)
    with pytest.raises(SpecError, match="NameProbe"):
        next(PositionProbe(fit=Fit(rank=0, steps=1, batch=4)).read_all({1: lambda: net}, corpus, SEED))
