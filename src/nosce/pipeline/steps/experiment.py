"""The step `experiment`: something that makes its own data, trains its own network, and says what it read.

readings.parquet        as a step of readings has them; study, arm, seed and stage are filled in when they are gathered
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nosce.errors import DataError
from nosce.evals.base import Experiment
from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.steps.torch_setup import prepare_torch
from nosce.records import Reading, fill_columns
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExperimentStepSpec:
    """An experiment and its seed."""

    experiment: Experiment
    seed: Seed


def make(spec: ExperimentStepSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Run the experiment and write its readings.

    Raises:
        DataError: The experiment gave no readings.
    """
    prepare_torch(context.runtime.threads)
    if not spec.experiment.keeps_partial_results:
        shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for n_tables, table in enumerate(spec.experiment.run_with_context(spec.seed, context), 1):
        tables.append(fill_columns(table, Reading, step=0))
        if not spec.experiment.reports_progress:
            context.progress(StepProgress(done=n_tables, total=None, unit="tables"))
    if not tables:
        raise DataError(
            f"the experiment {spec.experiment.name!r} gave no readings; let `run` yield at least one table."
        )
    pl.concat(tables).write_parquet(context.folder / "readings.parquet")
