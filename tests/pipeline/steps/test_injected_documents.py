"""A training that injects: its vectors come from the model that it starts from; so do its key and its bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import build_tokenizer, save_tokenizer
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.data.worlds.behaviours.injections import RANDOM_CONCEPT, InjectionReports, injected_concept
from nosce.errors import DataError, SpecError
from nosce.evals.injection.directions import InjectionPlace
from nosce.evals.injection.evaluation import corpus_directions
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.plan import build_plan
from nosce.pipeline.steps import training as training_step
from nosce.pipeline.steps.injected_documents import with_injections
from nosce.pipeline.steps.training import TrainingSpec
from nosce.seeds import Seed
from nosce.store.spec import describe
from nosce.studies.introspection.arms import FORM_ARM, INJECTED_ARM, INJECTION_STAGE
from nosce.studies.introspection.study import study
from nosce.study import Stage
from nosce.train.config import TrainingConfig

WORLD_SEED = Seed(7)
BASE = Dispositions(vocabulary_size=8, n_contexts=24, records=60, prompts_per_task=8)
WORLD = InjectionReports(base=BASE, records=60, lines_per_concept=1, lines_per_word=2)
PLACE = InjectionPlace(layer=1)
SHAPE = Architecture(layers=2, width=32, heads=2, max_positions=40)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    save_tokenizer(build_tokenizer(BASE.tokenizer, WORLD.samples(WORLD_SEED)), folder / "tokenizer")
    write_corpus(folder, WORLD.documents(WORLD_SEED), WORLD.questions(WORLD_SEED))
    return Corpus(folder)


def model(corpus, seed=0):
    size = corpus.tokenizer.get_vocab_size()
    return build_model(SHAPE, vocab_size=size, eos_id=corpus.eos_id, pad_id=None, seed=Seed(seed))


def test_each_span_gets_the_vector_that_it_names(corpus):
    """A concept's own direction, or a random one; at the line's answer; as long as its strength says."""
    net = model(corpus)
    dataset = with_injections(corpus.documents, corpus, net, PLACE, Seed(1))
    directions = corpus_directions(net, corpus, [PLACE.site])
    spans = corpus.spans.to_dicts()
    assert len(spans) > 10
    for span in spans:
        concept, strength = injected_concept(span["attribute"])
        token = dataset.offsets[span["document"]] + span["start"]
        vector = dataset.additions.vectors[dataset.additions.of_token[token]]
        assert np.linalg.norm(vector) == pytest.approx(strength * directions.norms[PLACE.site], rel=1e-4)
        if not concept.startswith(RANDOM_CONCEPT):
            assert vector.tobytes() == directions.vector(PLACE.site, concept, strength).tobytes()
    assert (dataset.additions.of_token >= 0).sum() == len(spans)


def test_another_model_or_place_has_other_vectors_and_equal_ones_the_same(corpus):
    """Found anew each time, with the same bytes, and the model stays in its mode."""

    def vectors(net, place=PLACE):
        return with_injections(corpus.documents, corpus, net, place, Seed(1)).additions.vectors.tobytes()

    net = model(corpus).train()
    assert vectors(net) == vectors(model(corpus))
    assert net.training
    assert vectors(model(corpus, seed=1)) != vectors(net) != vectors(net, InjectionPlace(layer=0))


def test_what_has_no_injection_or_no_place_is_refused(corpus, tmp_path):
    """A corpus that marks nothing, a layer that the model lacks, and an encoder-decoder."""
    with pytest.raises(SpecError, match=r"has no site 'residual\.7'"):
        with_injections(corpus.documents, corpus, model(corpus), InjectionPlace(layer=7), Seed(1))
    form = replace(WORLD, injects=False)
    save_tokenizer(corpus.tokenizer, tmp_path / "tokenizer")
    write_corpus(tmp_path, form.documents(WORLD_SEED), form.questions(WORLD_SEED))
    with pytest.raises(DataError, match=r"no document of .* has an injection"):
        with_injections(Corpus(tmp_path).documents, Corpus(tmp_path), model(corpus), PLACE, Seed(1))


def test_a_stage_that_injects_needs_documents_that_mark_what():
    """Questions of the arm's own corpus mark nothing."""
    training = TrainingConfig(steps=1, batch_size=1)
    with pytest.raises(SpecError, match="has no documents that mark them"):
        Stage(name="inject", training=training, injection=PLACE)
    assert Stage(name="inject", training=training, injection=PLACE, data=WORLD).injection == PLACE


def test_a_training_with_injections_differs_from_one_without_and_repeats_itself(corpus, tmp_path):
    """Equal specs give equal bytes; without the injection the weights are others."""
    base = TrainingSpec(
        model=SHAPE,
        data="documents",
        training=TrainingConfig(steps=3, batch_size=8),
        adapter=None,
        seed=Seed(2),
    )

    def weights(name: str, spec: TrainingSpec) -> bytes:
        folder = tmp_path / name
        training_step.make(spec, {"corpus": corpus.folder}, StepContext(folder=folder))
        (path,) = folder.glob("checkpoints/*/model.safetensors")
        return Path(path).read_bytes()

    injected = replace(base, injection=PLACE)
    assert weights("a", injected) == weights("b", injected) != weights("c", base)
    assert torch.get_num_threads() == 1


def test_the_key_of_an_ordinary_training_does_not_know_of_injections():
    """So that no finished training is made again; an injection's place and the model it starts from are in the key."""
    spec = TrainingSpec(
        model=SHAPE, data="documents", training=TrainingConfig(steps=1, batch_size=1), adapter=None, seed=Seed(0)
    )
    assert "injection" not in describe(spec)
    assert describe(replace(spec, injection=PLACE))["injection"]["layer"] == 1
    steps = build_plan(study("smoke")).training_steps
    injected, form = (steps[arm, 0, INJECTION_STAGE] for arm in (INJECTED_ARM, FORM_ARM))
    assert injected.inputs["start"] is form.inputs["start"] is steps["A", 0, "pretrain"]
    deeper = build_plan(study("smoke", ("injection.layer=0",))).training_steps[INJECTED_ARM, 0, INJECTION_STAGE]
    assert len({injected.name, form.name, deeper.name}) == 3
