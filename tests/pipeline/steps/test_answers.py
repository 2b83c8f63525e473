"""Answers of a checkpoint: the likeliest is the first choice, draws are as likely as they should be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import SpecError
from nosce.models.architecture import Architecture
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps import answers, corpus, training
from nosce.pipeline.steps.answers import GREEDY_SAMPLE, AnswersSpec
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig

SEED = Seed(41)
WORLD = Dispositions(vocabulary_size=8, n_contexts=30, records=4_000, prompts_per_task=20)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A corpus of dispositions and a network that has read some of it."""
    place = tmp_path_factory.mktemp("answers")
    spec = CorpusSpec(world=WORLD, seed=SEED, tokenizer=WORLD.tokenizer)
    corpus.make(spec, {}, StepContext(folder=place / "corpus"))
    recipe = TrainingConfig(steps=150, batch_size=64, peak_lr=5e-3, checkpoint_fractions=(0.1, 1.0))
    shape = Architecture(layers=2, width=32, heads=2, max_positions=32)
    training.make(
        TrainingSpec(model=shape, data="documents", training=recipe, adapter=None, seed=SEED),
        {"corpus": place / "corpus"},
        StepContext(folder=place / "training"),
    )
    return {"corpus": place / "corpus", "training": place / "training"}


def asked(inputs, folder, **more):
    """The tables of a step."""
    answers.make(
        AnswersSpec(world=WORLD, world_seed=SEED, seed=SEED / "answers", **more), inputs, StepContext(folder=folder)
    )
    return pl.read_parquet(folder / "answers.parquet"), pl.read_parquet(folder / "first.parquet")


@pytest.mark.whole
def test_the_likeliest_answer_is_the_first_choice(inputs, tmp_path):
    """Of every prompt, with its task and split; what is no answer is said to be none."""
    table, first = asked(inputs, tmp_path / "a")
    prompts = WORLD.prompts(SEED)
    assert table["prompt"].to_list() == [p.id for p in prompts]
    assert set(table["sample"]) == {GREEDY_SAMPLE}
    tokenizer = Corpus(inputs["corpus"]).tokenizer
    logs = np.array(first["log_probabilities"].to_list())
    assert np.exp(logs).sum(1) == pytest.approx(np.ones(len(prompts)), abs=1e-4)
    said = [answer.split()[0] if answer else "" for answer in table["answer"]]
    chosen = [tokenizer.id_to_token(int(place)) for place in logs.argmax(1)]
    assert np.mean([a == b for a, b in zip(said, chosen, strict=True)]) > 0.98
    assert table.filter(task="table")["valid"].mean() > 0.8
    for prompt, answer, valid, finish in zip(prompts, *table[["answer", "valid", "finish"]], strict=True):
        assert valid == (finish == "stop" and WORLD.is_valid_answer(answer, prompt))


@pytest.mark.whole
def test_draws_are_as_likely_as_the_first_token_says(inputs, tmp_path):
    """Twenty draws a prompt, each of its own; equal specs give equal answers."""
    table, first = asked(inputs, tmp_path / "a", n_samples=20)
    again, _ = asked(inputs, tmp_path / "b", n_samples=20)
    assert table.equals(again)
    tokenizer = Corpus(inputs["corpus"]).tokenizer
    logs = dict(zip(first["prompt"], first["log_probabilities"], strict=True))
    drawn = table.filter(pl.col("sample") >= 0, pl.col("answer") != "")
    likely = [logs[p][tokenizer.token_to_id(a.split()[0])] for p, a in drawn.select("prompt", "answer").iter_rows()]
    # The mean log-probability of what is drawn is minus the entropy.
    entropy = np.mean([-(np.exp(row) * np.array(row)).sum() for row in logs.values()])
    assert -np.mean(likely) == pytest.approx(entropy, rel=0.1)
    assert drawn.group_by("prompt").agg(pl.col("answer").n_unique())["answer"].mean() > 1.5


@pytest.mark.whole
def test_another_checkpoint_answers_otherwise(inputs, tmp_path):
    """And one that was not kept cannot be asked."""
    early, _ = asked(inputs, tmp_path / "a", checkpoint_step=15)
    late, _ = asked(inputs, tmp_path / "b")
    assert not early.equals(late)
    with pytest.raises(SpecError, match="kept at"):
        asked(inputs, tmp_path / "c", checkpoint_step=16)
    with pytest.raises(SpecError, match="take 1 token or more"):
        AnswersSpec(world=WORLD, world_seed=SEED, seed=SEED, max_new_tokens=0)


@dataclass(frozen=True)
class Leaking:
    """A world with one string on both sides."""

    inner: Dispositions = WORLD

    def prompts(self, seed: Seed) -> list[BehaviourPrompt]:
        one = self.inner.prompts(seed)[0]
        return [one, replace(one, id="again", split="unseen" if one.split == "seen" else "seen")]


@pytest.mark.whole
def test_strings_on_both_sides_are_refused_before_anything_is_asked(inputs, tmp_path):
    """In a sentence."""
    spec = AnswersSpec(world=Leaking(), world_seed=SEED, seed=SEED)
    with pytest.raises(SpecError, match="two splits"):
        answers.make(spec, inputs, StepContext(folder=tmp_path / "x"))
