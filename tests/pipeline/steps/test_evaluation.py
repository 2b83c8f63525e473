"""The step of an evaluation keeps readings under the evaluation's own name alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import DataError
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps import corpus as corpus_step
from nosce.pipeline.steps import evaluation as evaluation_step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.records import Reading, read_table
from nosce.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class Named(PerCheckpointEvaluation):
    """One reading, under the evaluation's name or another."""

    name: str = "scores"
    written_as: str = "scores"
    needs_model = False

    def evaluate(self, model, corpus, seed) -> Iterator[Reading]:
        item = {"split": "unseen", "item": "q", "entity": "e", "attribute": "city"}
        yield partial_reading(evaluation=self.written_as, metric="right", value=1.0, **item)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "c"
    world = Biographies(people=12, name_pool_sizes=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)
    corpus_step.make(CorpusSpec(world=world, seed=Seed(0), tokenizer=TokenizerSpec()), {}, StepContext(folder=folder))
    return folder


def made(evaluation, corpus, folder):
    spec = EvaluationStepSpec(evaluation=evaluation, seed=Seed(0))
    evaluation_step.make(spec, {"corpus": corpus}, StepContext(folder=folder))
    return read_table(folder / "readings.parquet")


def test_readings_are_kept_under_the_evaluations_name(corpus, tmp_path):
    assert made(Named(), corpus, tmp_path / "e")["evaluation"].to_list() == ["scores"]


def test_readings_under_another_name_are_refused(corpus, tmp_path):
    """A claim on `scores` would find none of them."""
    with pytest.raises(DataError, match="'scores' wrote readings under the name 'scores/linear'"):
        made(Named(written_as="scores/linear"), corpus, tmp_path / "e")
