"""The step `experiment`: something that makes its own data, trains its own network, and says what it read.

readings.parquet        as a step of readings has them; study, arm, seed and stage are filled in when they are gathered
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from nosce.errors import DataError
from nosce.records import Reading, completed
from nosce.seeds import Seed
from nosce.steps.job import Job

VERSION = 1


class Experiment(Protocol):
    """What needs no corpus and is no language model, e.g. a network that sees; plain data, as a read-out is."""

    @property
    def name(self) -> str:
        """What its readings have in the column `readout`."""
        ...

    # One that asks for what is paid for or taught has a method `read_with(seed, job)` too, which is called instead, and
    # finds in the job's folder what an interrupted run left there.
    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Tables with those columns of a reading that it knows; equal seeds give equal tables."""
        ...


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
