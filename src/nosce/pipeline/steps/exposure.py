"""The step `exposure`: per fact, how often and in which wordings it will have been trained on.

Known before anything is trained, since the texts of every step are a function of seed and step.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExposureSpec:
    """The configuration and the sampler seed of a training on documents."""

    training: TrainingConfig
    sampler_seed: Seed


def make(spec: ExposureSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write `exposure.parquet` for the end of the training; `count_exposures` gives it for any step."""
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    corpus = Corpus(inputs["corpus"])
    sampler = EpochSampler(len(corpus.documents), spec.training.batch_size, spec.sampler_seed)
    count_exposures(corpus, sampler, spec.training.steps).write_parquet(context.folder / "exposure.parquet")


def count_exposures(corpus: Corpus, sampler: EpochSampler, steps: int) -> pl.DataFrame:
    """One row a fact and wording: `entity`, `attribute`, `wording`, `exposures` in the first `steps` optimizer steps.

    A wording without an exposure so far has 0 exposures; sorted by entity, attribute and wording.
    """
    document_counts = pl.DataFrame(
        {"entity": corpus.document_index["entity"], "met": sampler.exposures(steps)}
    ).with_row_index("document")
    return (
        corpus.spans.join(document_counts.with_columns(pl.col("document").cast(pl.Int64)), on="document")
        .group_by("entity", "attribute", "wording")
        .agg(exposures=pl.col("met").sum())
        .sort("entity", "attribute", "wording")
    )


def summarize_exposures(exposures: pl.DataFrame) -> pl.DataFrame:
    """One row an attribute: facts, exposures of a fact (least, mean, most), and in how many wordings (mean, most)."""
    facts = exposures.group_by("entity", "attribute").agg(
        exposures=pl.col("exposures").sum(), wordings=(pl.col("exposures") > 0).sum()
    )
    return (
        facts.group_by("attribute")
        .agg(
            facts=pl.len(),
            least_exposures=pl.col("exposures").min(),
            mean_exposures=pl.col("exposures").mean(),
            most_exposures=pl.col("exposures").max(),
            mean_wordings=pl.col("wordings").mean(),
            most_wordings=pl.col("wordings").max(),
        )
        .sort("attribute")
    )
