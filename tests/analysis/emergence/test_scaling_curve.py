"""A study's scaling curve becomes the table that the mirage test takes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, audit_scaling_curve
from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.seeds import Seed

TRUTH = simulate_outcomes("power law", sizes=6, items=200, seeds=2, seed=Seed(4))
SCALING = ScalingCurveSpec(
    id="s",
    title="t",
    x_label="weights",
    points=tuple((float(size), f"arm {n}") for n, size in enumerate(TRUTH.sizes)),
    sharp=Selection(evaluation="written", metric="exact", split="unseen"),
    continuous=tuple(Selection(evaluation="stops", metric=metric, quantity="nats") for metric in ("stops", "content")),
)


def readings() -> pl.DataFrame:
    """The truth as readings: exact, and its nats in two parts."""
    parts = []
    for seed in range(2):
        for place in range(len(TRUTH.sizes)):
            nats = -TRUTH.continuous[seed, place]
            told = {"exact": TRUTH.sharp[seed, place], "stops": nats / 4, "content": nats * 3 / 4}
            for metric, values in told.items():
                evaluation = "written" if metric == "exact" else "stops"
                parts.append(
                    pl.DataFrame(
                        {
                            "arm": f"arm {place}",
                            "seed": seed,
                            "evaluation": evaluation,
                            "metric": metric,
                            "entity": [f"i{n:03}" for n in range(200)],
                            "value": values,
                        }
                    )
                )
    return pl.concat(parts).with_columns(
        split=pl.lit("unseen"), stage=pl.lit("s"), step=pl.lit(9), attribute=pl.lit("f")
    )


def test_items_stand_at_their_sizes():
    """Paired by what they are about within a seed, nats summed and turned."""
    found = SCALING.outcomes(readings().sample(fraction=1, shuffle=True, seed=3))
    assert np.array_equal(found.sharp, TRUTH.sharp)
    assert found.continuous == pytest.approx(TRUTH.continuous)
    assert found.sizes.tolist() == TRUTH.sizes.tolist()


def test_only_what_all_arms_have_is_audited():
    """An item that one arm lacks is left out everywhere, and so is a seed."""
    table = readings()
    lacking = table.filter(~((pl.col("arm") == "arm 3") & (pl.col("entity") == "i005") & (pl.col("seed") == 0)))
    assert SCALING.outcomes(lacking).sharp.shape == (2, 6, 199)
    one = table.filter(~((pl.col("arm") == "arm 2") & (pl.col("seed") == 1)))
    assert SCALING.outcomes(one).sharp.shape == (1, 6, 200)
    with pytest.raises(DataError, match="no items in common"):
        SCALING.outcomes(table.with_columns(entity=pl.col("entity") + pl.col("arm")))


def test_what_was_not_read_is_said_and_ends_no_study():
    """A verdict where there is one, and else why there is none."""
    told, items = audit_scaling_curve(SCALING, readings())
    assert told["verdict"] in ("metric", "no jump", "under-resolved")
    assert items is not None
    told, items = audit_scaling_curve(SCALING, readings().filter(evaluation="written"))
    assert told["verdict"] is None
    assert "no reading is there" in told["why"]
    assert items is None
