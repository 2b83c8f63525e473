"""The step `evaluation`: one evaluation of every kept checkpoint of a training, or of a corpus alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import Evaluation, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.steps.torch_setup import prepare_torch
from nosce.pipeline.steps.training import list_checkpoints
from nosce.records import Reading, Walkthrough, fill_columns, to_table
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class EvaluationStepSpec:
    """An evaluation and the seed of what it draws."""

    evaluation: Evaluation
    seed: Seed


def make(spec: EvaluationStepSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write `readings.parquet`; study, arm, seed and stage are filled in when readings are gathered.

    Where likelihoods are read, `batch_change.json` says how much the batch moves them, on the last checkpoint.
    """
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    if isinstance(spec.evaluation, MultiCheckpointEvaluation):
        table = _read_all_checkpoints(spec.evaluation, spec, inputs, context)
    else:
        table = to_table(_read_each_checkpoint(spec, inputs, context), Reading)
    _check_evaluation_column(table, spec.evaluation.name)
    table.write_parquet(context.folder / "readings.parquet")


def _check_evaluation_column(table: pl.DataFrame, name: str) -> None:
    """Check that the readings carry the evaluation's name: a claim on the name would find no other readings."""
    others = sorted(set(table["evaluation"]) - {name})
    if others:
        raise DataError(
            f"the evaluation {name!r} wrote readings under the name {others[0]!r}; write its own name into the "
            "column `evaluation`, and the rest into `metric`."
        )


def _read_all_checkpoints(
    evaluation: MultiCheckpointEvaluation, spec: EvaluationStepSpec, inputs: Mapping[str, Path], context: StepContext
) -> pl.DataFrame:
    """The readings of an evaluation that compares checkpoints."""
    from nosce.train import checkpoint

    prepare_torch(context.runtime.threads)
    checkpoint_folders = list_checkpoints(inputs["training"])

    def load_on_device(folder: Path) -> PreTrainedModel:
        return checkpoint.load_checkpoint(folder).to(context.runtime.device)

    loaders = {step: partial(load_on_device, folder) for step, folder in checkpoint_folders.items()}
    tables, walks = [to_table([], Reading)], []
    for n_tables, table in enumerate(evaluation.evaluate_checkpoints(loaders, Corpus(inputs["corpus"]), spec.seed), 1):
        if isinstance(table, Walkthrough):
            walks.append(asdict(table))
            continue
        tables.append(fill_columns(table, Reading))
        total = max(n_tables, len(checkpoint_folders))
        context.progress(StepProgress(done=n_tables, total=total, unit="tables"))
    if walks:
        (context.folder / "walks.json").write_text(json.dumps(walks, indent=1) + "\n", encoding="utf-8")
    return pl.concat(tables)


def _read_each_checkpoint(
    spec: EvaluationStepSpec, inputs: Mapping[str, Path], context: StepContext
) -> Iterator[Reading]:
    corpus = Corpus(inputs["corpus"])
    assert isinstance(spec.evaluation, PerCheckpointEvaluation)
    if not spec.evaluation.needs_model:
        yield from spec.evaluation.evaluate(None, corpus, spec.seed)
        return
    from nosce.train import checkpoint

    prepare_torch(context.runtime.threads)
    checkpoint_folders = list_checkpoints(inputs["training"])
    for n_read, (step, folder) in enumerate(checkpoint_folders.items(), 1):
        model = checkpoint.load_checkpoint(folder).to(context.runtime.device)
        for reading in spec.evaluation.evaluate(model, corpus, spec.seed):
            yield replace(reading, step=step)
        if n_read == len(checkpoint_folders):
            _write_batch_change(spec, model, corpus, context.folder)
        context.progress(StepProgress(done=n_read, total=len(checkpoint_folders), unit="checkpoints"))


def _write_batch_change(spec: EvaluationStepSpec, model: PreTrainedModel, corpus: Corpus, folder: Path) -> None:
    """Write the evaluation's batch change, if it measures one."""
    assert isinstance(spec.evaluation, PerCheckpointEvaluation)
    if (change := spec.evaluation.batch_change(model, corpus, spec.seed)) is not None:
        (folder / "batch_change.json").write_text(json.dumps(asdict(change), indent=2) + "\n", encoding="utf-8")
