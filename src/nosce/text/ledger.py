"""The exposure ledger: per fact, how often and in how many wordings it was trained on, up to any step.

Nothing is counted while training: the texts of every step are a function of seed and step, so the
ledger can be written for any checkpoint afterwards, or before.
"""

from __future__ import annotations

import polars as pl

from nosce.text.batches import Order


def exposures(spans: pl.DataFrame, things: pl.DataFrame, order: Order, steps: int) -> pl.DataFrame:
    """One row a fact: `about`, `facet`, `exposures`, `wordings` met in the first `steps` steps.

    Args:
        spans: One row a value in a document: `document` (number), `facet`, `wording`.
        things: One row a document: `about`.
        order: The order in which documents were trained on.
        steps: Up to which optimizer step.

    Returns:
        Facts never met have 0 exposures in 0 wordings; sorted by about and facet.
    """
    met = pl.DataFrame({"about": things["about"], "met": order.counts(steps)}).with_row_index("document")
    met = met.with_columns(pl.col("document").cast(pl.Int64))
    return (
        spans.join(met, on="document", how="left")
        .group_by("about", "facet")
        .agg(
            exposures=pl.col("met").sum(),
            wordings=pl.col("wording").filter(pl.col("met") > 0).n_unique().cast(pl.Int64),
        )
        .sort("about", "facet")
    )


def summary(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row a facet: how many facts, and least, mean and most exposures and wordings of them."""
    return (
        ledger.group_by("facet", maintain_order=True)
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
