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
from nosce.pipeline.context import Job
from nosce.records import Reading, completed
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """What is tried, and its randomness."""

    experiment: Experiment
    seed: Seed


def make(spec: ExperimentSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Run it, and write what it read.

    Raises:
        DataError: It read nothing.
    """
    import torch

    torch.set_num_threads(job.machine.threads)
    torch.use_deterministic_algorithms(True)
    keeps = getattr(spec.experiment, "read_with", None)
    if keeps is None:
        shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    tables = []
    found = spec.experiment.read(spec.seed) if keeps is None else keeps(spec.seed, job)
    for number, table in enumerate(found, 1):
        tables.append(completed(table, Reading, step=0))
        job.progress(number, number, 0.0, float("nan"))
    if not tables:
        raise DataError(f"the experiment {spec.experiment.name!r} read nothing, so that there is nothing to judge.")
    pl.concat(tables).write_parquet(job.folder / "readings.parquet")
