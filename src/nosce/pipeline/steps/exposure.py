"""The step `ledger`: per fact, how often and in which wordings it will have been trained on.

Known before anything is trained, since the texts of every step are a function of seed and step.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.sampling import Order
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.train.config import Recipe

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LedgerSpec:
    """The recipe and the order of a training on documents."""

    recipe: Recipe
    order_seed: Seed


def make(spec: LedgerSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write `exposure.parquet` for the end of the training; `by_wording` gives it for any step."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    corpus = Corpus(inputs["corpus"])
    order = Order(len(corpus.documents), spec.recipe.batch, spec.order_seed)
    by_wording(corpus, order, spec.recipe.steps).write_parquet(job.folder / "exposure.parquet")


def by_wording(corpus: Corpus, order: Order, steps: int) -> pl.DataFrame:
    """One row a fact and wording: `about`, `facet`, `wording`, `exposures` in the first `steps` optimizer steps.

    A wording that was not met yet has 0 exposures; sorted by about, facet and wording.
    """
    met = pl.DataFrame({"about": corpus.things["about"], "met": order.counts(steps)}).with_row_index("document")
    return (
        corpus.spans.join(met.with_columns(pl.col("document").cast(pl.Int64)), on="document")
        .group_by("about", "facet", "wording")
        .agg(exposures=pl.col("met").sum())
        .sort("about", "facet", "wording")
    )


def summary(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row a facet: facts, exposures of a fact (least, mean, most), and in how many wordings (mean, most)."""
    facts = ledger.group_by("about", "facet").agg(
        exposures=pl.col("exposures").sum(), wordings=(pl.col("exposures") > 0).sum()
    )
    return (
        facts.group_by("facet")
        .agg(
            facts=pl.len(),
            least_exposures=pl.col("exposures").min(),
            mean_exposures=pl.col("exposures").mean(),
            most_exposures=pl.col("exposures").max(),
            mean_wordings=pl.col("wordings").mean(),
            most_wordings=pl.col("wordings").max(),
        )
        .sort("facet")
    )
