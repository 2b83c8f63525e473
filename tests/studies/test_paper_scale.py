"""The paper's own size is no promise alone: its corpus, its model and some steps of its training are made here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nosce.data.corpus import Corpus
from nosce.models.architecture import load_pretrained as load_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.corpus import make as make_corpus
from nosce.pipeline.steps.training import TrainingSpec, list_checkpoints
from nosce.pipeline.steps.training import make as make_training
from nosce.pipeline.study_loading import load_study
from nosce.seeds import Seed

WINDOWS = 14  # texts, which fill two windows: the paper's 96 windows are for a machine of its own


@pytest.mark.slow
def test_biographies_at_the_papers_size_begin_to_train(tmp_path):
    """100,000 people in one text each, GPT2-small with rotary positions, 20 steps: the loss falls."""
    arm = next(arm for arm in load_study("biographies", "paper").arms if arm.name == "single")
    spec = CorpusSpec(world=arm.world, seed=Seed(0) / "world", tokenizer=arm.tokenizer)
    make_corpus(spec, {}, StepContext(folder=tmp_path / "corpus"))
    corpus = Corpus(tmp_path / "corpus")
    assert len(corpus.documents) == 100_000
    assert 60 < corpus.documents.lengths.mean() < 95  # 73 tokens of GPT-2 in the paper
    recipe = replace(arm.training, steps=20, batch_size=WINDOWS, warmup_steps=5, checkpoint_fractions=(1.0,))
    training = TrainingSpec(model=arm.model, data="documents", training=recipe, adapter=None, seed=Seed(0) / "pretrain")
    make_training(training, {"corpus": corpus.folder}, StepContext(folder=tmp_path / "training"))
    model = load_model(list_checkpoints(tmp_path / "training")[20])
    assert 85e6 < sum(p.numel() for p in model.parameters()) < 125e6
    lines = [
        json.loads(line) for line in (tmp_path / "training" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) == 20
    assert lines[-1]["nats"] < lines[0]["nats"] - 1
