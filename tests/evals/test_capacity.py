"""Bits of knowledge: none where a model guesses, all where it knows, and the formula by hand in between."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies, BiographyNameExtractor
from nosce.errors import SpecError
from nosce.evals.capacity import KnowledgeCapacity
from nosce.models.architecture import Architecture, build_model
from nosce.models.likelihood import score_spans
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed

SEED = Seed(31)
WORLD = Biographies(people=24, name_pool_sizes=(8, 8, 8), augmentation="multi2+permute")
NAMES = math.prod(WORLD.name_pool_sizes)
VALUES = 12 * 28 * WORLD.years * WORLD.cities * WORLD.universities * WORLD.majors * WORLD.companies


@pytest.fixture(scope="module", params=["word", "bpe"])
def corpus(tmp_path_factory, request):
    """Two dozen people, by word and by byte."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    spec = TokenizerSpec(kind=request.param, vocab_size=600)
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=spec), {}, StepContext(folder=folder))
    return Corpus(folder)


def test_bits_are_those_of_the_formula(corpus):
    """Nats of name and values summed by hand, over the same spans; a name's tokens spell the name."""
    shape = Architecture(layers=1, width=32, heads=2, max_positions=256)
    net = build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED
    ).eval()
    evaluation = KnowledgeCapacity(
        name_extractor=BiographyNameExtractor(), n_possible_names=NAMES, n_possible_values=VALUES
    )
    (rows,) = evaluation.evaluate_checkpoints({5: lambda: net}, corpus, SEED)
    value = {m: dict(part.select("entity", "value").iter_rows()) for (m,), part in rows.group_by("metric")}
    people = evaluation._entity_spans(corpus)
    names = {q.entity: BiographyNameExtractor().extract_name(q.prompt, q.attribute) for q in corpus.questions}
    weights = sum(p.numel() for p in net.parameters())
    for entity, (document, name, values) in people.items():
        told = corpus.documents.text_tokens(document)[name[0] : name[1]].tolist()
        assert corpus.tokenizer.decode(told).strip() == names[entity]
        assert len(values) == 5
        heard = score_spans(
            net, corpus.documents, [(document, *name), *((document, *v) for v in values)], eos_id=corpus.eos_id
        )
        nats = [one.nats for one in heard]
        assert value["name_nats"][entity] == pytest.approx(nats[0], rel=1e-4)
        assert value["value_nats"][entity] == pytest.approx(sum(nats[1:]), rel=1e-4)
        bits = math.log2(NAMES / math.exp(nats[0])) + math.log2(VALUES) - sum(nats[1:]) / math.log(2)
        assert value["bits"][entity] == pytest.approx(bits, rel=1e-3, abs=0.1)
    per_weight = np.mean(list(value["bits_per_weight"].values()))
    assert per_weight == pytest.approx(np.mean(list(value["bits"].values())) * len(people) / weights)


def test_who_knows_everything_holds_all_bits_and_who_guesses_evenly_none(corpus, monkeypatch):
    """With no nats all of log2(N0 S0); with the nats of an even guess nothing."""
    from nosce.models import likelihood

    class Heard:
        """Nats as they are set."""

        def __init__(self, nats: float) -> None:
            self.nats = nats

    evaluation = KnowledgeCapacity(
        name_extractor=BiographyNameExtractor(), n_possible_names=NAMES, n_possible_values=VALUES
    )
    for guess in (False, True):
        each = [math.log(NAMES), *([math.log(VALUES) / 5] * 5)] if guess else [0.0] * 6
        monkeypatch.setattr(likelihood, "score_spans", lambda *a, each=each, **k: [Heard(n) for n in each * 24])
        (rows,) = evaluation.evaluate_checkpoints({5: lambda: torch.nn.Linear(10, 10)}, corpus, SEED)
        bits = rows.filter(pl.col("metric") == "bits")["value"]
        assert bits.to_list() == pytest.approx([0.0 if guess else math.log2(NAMES) + math.log2(VALUES)] * 24, abs=1e-6)
    with pytest.raises(SpecError, match="has none"):
        KnowledgeCapacity(name_extractor=BiographyNameExtractor(), n_possible_names=0, n_possible_values=1)
