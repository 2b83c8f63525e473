"""Bits of knowledge: none where a model guesses, all where it knows, and the formula by hand in between."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies, Names
from nosce.errors import SpecError
from nosce.evals.capacity import Capacity
from nosce.models.architecture import Architecture, build
from nosce.models.likelihood import spoken
from nosce.pipeline.context import Job
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed

SEED = Seed(31)
WORLD = Biographies(people=24, names=(8, 8, 8), augmentation="multi2+permute")
NAMES = math.prod(WORLD.names)
VALUES = 12 * 28 * WORLD.years * WORLD.cities * WORLD.universities * WORLD.majors * WORLD.companies


@pytest.fixture(scope="module", params=["word", "bpe"])
def corpus(tmp_path_factory, request):
    """Two dozen people, by word and by byte."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    spec = TokenizerSpec(kind=request.param, vocabulary=600)
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=spec), {}, Job(folder=folder))
    return Corpus(folder)


def test_bits_are_those_of_the_formula(corpus):
    """Nats of name and values summed by hand, over the same spans; a name's tokens spell the name."""
    shape = Architecture(layers=1, width=32, heads=2, positions=256)
    net = build(shape, vocabulary=corpus.tokenizer.get_vocab_size(), end=corpus.end, pad=None, seed=SEED).eval()
    readout = Capacity(titles=Names(), names=NAMES, values=VALUES)
    (rows,) = readout.read_all({5: lambda: net}, corpus, SEED)
    value = {m: dict(part.select("about", "value").iter_rows()) for (m,), part in rows.group_by("metric")}
    people = readout._people(corpus)
    names = {q.about: Names().title(q.prompt, q.facet) for q in corpus.questions}
    weights = sum(p.numel() for p in net.parameters())
    for about, (document, name, values) in people.items():
        told = corpus.documents.text(document)[name[0] : name[1]].tolist()
        assert corpus.tokenizer.decode(told).strip() == names[about]
        assert len(values) == 5
        heard = spoken(net, corpus.documents, [(document, *name), *((document, *v) for v in values)], end=corpus.end)
        nats = [one.nats for one in heard]
        assert value["name_nats"][about] == pytest.approx(nats[0], rel=1e-4)
        assert value["value_nats"][about] == pytest.approx(sum(nats[1:]), rel=1e-4)
        bits = math.log2(NAMES / math.exp(nats[0])) + math.log2(VALUES) - sum(nats[1:]) / math.log(2)
        assert value["bits"][about] == pytest.approx(bits, rel=1e-3, abs=0.1)
    per_weight = np.mean(list(value["bits_per_weight"].values()))
    assert per_weight == pytest.approx(np.mean(list(value["bits"].values())) * len(people) / weights)


def test_who_knows_everything_holds_all_bits_and_who_guesses_evenly_none(corpus, monkeypatch):
    """With no nats all of log2(N0 S0); with the nats of an even guess nothing."""
    from nosce.models import likelihood

    class Heard:
        """Nats as they are set."""

        def __init__(self, nats: float) -> None:
            self.nats = nats

    readout = Capacity(titles=Names(), names=NAMES, values=VALUES)
    for guess in (False, True):
        each = [math.log(NAMES), *([math.log(VALUES) / 5] * 5)] if guess else [0.0] * 6
        monkeypatch.setattr(likelihood, "spoken", lambda *a, each=each, **k: [Heard(n) for n in each * 24])
        (rows,) = readout.read_all({5: lambda: torch.nn.Linear(10, 10)}, corpus, SEED)
        bits = rows.filter(pl.col("metric") == "bits")["value"]
        assert bits.to_list() == pytest.approx([0.0 if guess else math.log2(NAMES) + math.log2(VALUES)] * 24, abs=1e-6)
    with pytest.raises(SpecError, match="has none"):
        Capacity(titles=Names(), names=0, values=1)
