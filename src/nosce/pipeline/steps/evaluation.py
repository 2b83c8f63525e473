"""The step `reading`: one read-out on every kept checkpoint of a training, or on a corpus alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import ReadOut, ReadsAll, ReadsOne
from nosce.pipeline.context import Job
from nosce.pipeline.steps.training import checkpoints
from nosce.records import Reading, Walk, completed, to_table
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ReadingSpec:
    """A read-out and the randomness of what it draws."""

    readout: ReadOut
    seed: Seed


def make(spec: ReadingSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write `readings.parquet`; study, arm, seed and stage are filled in when readings are gathered.

    Where likelihoods are read, `batch_change.json` says how much the batch moves them, on the last checkpoint.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    if isinstance(spec.readout, ReadsAll):
        table = _all(spec.readout, spec, inputs, job)
    else:
        table = to_table(_readings(spec, inputs, job), Reading)
    table.write_parquet(job.folder / "readings.parquet")


def _all(readout: ReadsAll, spec: ReadingSpec, inputs: Mapping[str, Path], job: Job) -> pl.DataFrame:
    """The readings of a read-out that wants all checkpoints at once, and gives tables."""
    import torch

    from nosce.train import checkpoint

    torch.set_num_threads(job.machine.threads)
    kept = checkpoints(inputs["training"])
    loads = {step: partial(_loaded, checkpoint.load, folder, job.machine.device) for step, folder in kept.items()}
    tables, walks = [to_table([], Reading)], []
    for number, table in enumerate(readout.read_all(loads, Corpus(inputs["corpus"]), spec.seed), 1):
        if isinstance(table, Walk):
            walks.append(asdict(table))
            continue
        tables.append(completed(table, Reading))
        job.progress(number, max(number, len(kept)), 0.0, float("nan"))
    if walks:
        (job.folder / "walks.json").write_text(json.dumps(walks, indent=1) + "\n")
    return pl.concat(tables)


def _loaded(load: Any, folder: Path, device: str) -> Any:
    return load(folder).to(device)


def _readings(spec: ReadingSpec, inputs: Mapping[str, Path], job: Job) -> Iterator[Reading]:
    corpus = Corpus(inputs["corpus"])
    assert isinstance(spec.readout, ReadsOne)
    if not spec.readout.needs_model:
        yield from spec.readout.read(None, corpus, spec.seed)
        return
    import torch

    from nosce.train import checkpoint

    torch.set_num_threads(job.machine.threads)
    kept = checkpoints(inputs["training"])
    for number, (step, folder) in enumerate(kept.items(), 1):
        model = checkpoint.load(folder).to(job.machine.device)
        for reading in spec.readout.read(model, corpus, spec.seed):
            yield replace(reading, step=step)
        if number == len(kept):
            _batch_change(spec, model, corpus, job.folder)
        job.progress(number, len(kept), 0.0, float("nan"))


def _batch_change(spec: ReadingSpec, model: Any, corpus: Corpus, folder: Path) -> None:
    """Write what a read-out says of it; one of a user's own may have nothing to say."""
    asked = getattr(spec.readout, "batch_change", None)
    if asked is not None and (change := asked(model, corpus, spec.seed)) is not None:
        (folder / "batch_change.json").write_text(json.dumps(asdict(change), indent=2) + "\n")
