"""Names exchanged inside the network: nothing moves without another person, all where the name is all there is."""

from __future__ import annotations

import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.sampling import Order
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies, Names
from nosce.evals.patching.name import Renamed
from nosce.models.architecture import Architecture, build
from nosce.models.hooks import layers
from nosce.pipeline.context import Job
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import Recipe

SEED = Seed(14)
WORLD = Biographies(people=30, names=(8, 8, 8), cities=6, universities=6, majors=4, companies=6)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A network that has learnt by heart the answers about everybody, so that the name tells them."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=TokenizerSpec()), {}, Job(folder=folder))
    corpus = Corpus(folder)
    shape = Architecture(layers=2, width=64, heads=2, positions=64)
    net = build(shape, vocabulary=corpus.tokenizer.get_vocab_size(), end=corpus.end, pad=None, seed=SEED)
    questions = corpus.question_sequences(corpus.questions)
    loop.train(net, questions, Order(len(questions), 60, SEED),
               Recipe(steps=250, batch=60, optimizer="muon", peak_lr=1e-2), end=corpus.end, folder=folder / "run",
               keep=lambda step: None)  # fmt: skip
    return corpus, net.eval()


def test_answers_follow_a_name_whose_states_are_all_exchanged(learnt):
    """Below the first block a name is nothing but its tokens: exchanged whole, the answer is the donor's.

    Put back, it is what it was; behind the last block nothing reads it any more.
    """
    corpus, net = learnt
    rows = pl.concat(list(Renamed(titles=Names(), pairs=80).read_all({1: lambda: net}, corpus, SEED)))
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert share["right"] > 0.95
    assert share["whole/follows/residual.0"] > 0.95
    assert share["whole/stays/residual.0"] < 0.05
    assert share["last/follows/residual.0"] < 0.6  # a last name alone is shared
    assert share["whole/stays/final"] == share["right"]
    for site in layers(net):
        for which in ("last", "whole"):
            assert share[f"{which}/self/{site}"] == 1
    donors = rows.filter(metric="right")["item"].str.split("/person/").list.last()
    assert not (("person/" + donors) == rows.filter(metric="right")["about"]).any()


def test_facets_can_be_chosen_and_pairs_are_of_one_facet(learnt):
    """Only majors, each with a donor of another major."""
    corpus, _ = learnt
    readout = Renamed(titles=Names(), facets=("major",))
    hosts, donors = readout._pairs(corpus, SEED)
    assert hosts
    assert all(h.question.facet == d.question.facet == "major" for h, d in zip(hosts, donors, strict=True))
    assert all(h.first != d.first and h.name == d.name for h, d in zip(hosts, donors, strict=True))
