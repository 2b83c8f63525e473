"""How often models that are asked in words report a property of a *quoted* answer rightly, by property.

    PYTHONPATH=src python benchmarks/quoted_skill.py STORE

STORE holds runs of `nosce run introspection --model A,B`. Intervals are Wilson's over questions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from scipy.stats import binomtest


def main(store: Path) -> None:
    """Print a table for each finished run of the store."""
    for file in sorted(store.glob("steps/estimates-*/readings.parquet")):
        readings = pl.read_parquet(file, glob=False)
        given = readings.filter(pl.col("evaluation").str.ends_with(" given"), pl.col("metric") == "right")
        if given.is_empty():
            continue
        print(file.parent.name)
        prop = pl.col("attribute").str.split("/").list.last().alias("property")
        every = given.with_columns(pl.lit("all").alias("property"))
        table = pl.concat([every, given.with_columns(prop)]).group_by("evaluation", "property")
        for row in table.agg(pl.col("value").sum(), pl.len()).sort("evaluation", "property").iter_rows(named=True):
            right, n = round(row["value"]), row["len"]
            low, high = binomtest(right, n).proportion_ci(method="wilson")
            share = f"{100 * right / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
            print(f"  {row['evaluation']:16} {row['property']:28} {share}, n = {n}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
