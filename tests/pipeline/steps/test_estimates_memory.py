"""Claims and figures come out alike from the readings that they need and from all of them, and need little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from nosce.analysis import selection
from nosce.analysis.calibration import CalibrationMAD
from nosce.analysis.claims import Claim
from nosce.analysis.figures import BarCell, BarFigure, Figure, FigureRow
from nosce.analysis.measures import Difference, Mean, Measure
from nosce.analysis.needed_rows import needed_metrics
from nosce.analysis.selection import Selection
from nosce.pipeline.steps.estimates import (
    EstimatesSpec,
    ReadingSource,
    gather_needed_readings,
    write_readings,
)
from nosce.pipeline.study_loading import builtin_studies, load_study
from nosce.records import Estimate, Reading, fill_columns, read_table

READ, SPOKEN = Selection(evaluation="recall", metric="whole"), Selection(evaluation="recall", metric="first")
OTHER = Selection(evaluation="questions", metric="exact", step="every")


@dataclass(frozen=True, kw_only=True)
class CountOfAll(Measure):
    """A measure of somebody's own, which looks at every reading."""

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        n = len(readings)
        return Estimate(value=float(n), low=None, high=None, n=n, clusters=n, seeds=1, unit=unit, method="counted")


@dataclass(frozen=True, kw_only=True)
class FigureOfAll(Figure):
    """A figure of somebody's own."""

    kind: str = "bars"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> list[FigureRow]:
        return [FigureRow(group="all", x=0.0, value=float(len(readings)))]


def claim(measure):
    return Claim(id=type(measure).__name__, text="so", source="ours", measure=measure, threshold=0.5)


def spec(claims=(), figures=(), sources=()):
    return EstimatesSpec(
        study="s", scale="smoke", unit="person", arms=("a", "b"), sources=sources, claims=claims, figures=figures
    )


@pytest.fixture
def steps(tmp_path):
    """Two arms and two seeds: readings of two evaluations and five metrics, in mixed order."""
    rng, inputs, sources = np.random.default_rng(0), {}, []
    for arm in "ab":
        for seed in (0, 1):
            for evaluation, metrics in {"recall": ("whole", "first", "nats"), "questions": ("exact", "nats")}.items():
                rows = pl.DataFrame(
                    {
                        "evaluation": evaluation,
                        "metric": [metrics[n] for n in rng.integers(len(metrics), size=300)],
                        "step": rng.integers(1, 3, size=300),
                        "split": "unseen",
                        "item": [f"item {n}" for n in range(300)],
                        "entity": [f"person {n % 40}" for n in range(300)],
                        "attribute": "city",
                        "value": rng.random(300),
                    }
                )
                name = f"{arm}/{seed}/{evaluation}"
                inputs[name] = tmp_path / name.replace("/", "-")
                inputs[name].mkdir()
                fill_columns(rows, Reading).write_parquet(inputs[name] / "readings.parquet")
                sources.append(ReadingSource(input=name, arm=arm, seed=seed, stage="pretrain"))
    return inputs, tuple(sources)


@pytest.mark.parametrize("least", [10, 200_000])
def test_numbers_are_those_of_all_readings(steps, tmp_path, monkeypatch, least):
    """Verdicts and figures from the needed readings are to the last digit those from `readings.parquet`."""
    monkeypatch.setattr(selection, "CACHE_MIN_ROWS", least)
    inputs, sources = steps
    measures = Mean(selection=READ), Difference(a=READ, b=SPOKEN), Mean(selection=OTHER)
    cells = tuple(BarCell("tick", type(m).__name__, m) for m in measures)
    asked = spec(tuple(map(claim, measures)), (BarFigure(id="f", title="f", caption="c", cells=cells),), sources)
    write_readings(asked, inputs, tmp_path / "readings.parquet")
    whole, needed = read_table(tmp_path / "readings.parquet"), gather_needed_readings(asked, inputs)
    assert len(whole) == 8 * 300
    assert set(needed["metric"]) == {"whole", "first", "exact"}
    assert needed.schema == whole.drop("study", "scale").schema
    for one in asked.claims:
        assert one.judge(needed, "person") == one.judge(whole, "person")
    for figure in asked.figures:
        assert figure.table(needed, asked.arms, "person").equals(figure.table(whole, asked.arms, "person"))
    assert Selection(evaluation="nobody").rows(needed).is_empty()


def test_all_readings_are_written_in_the_order_of_the_steps(steps, tmp_path):
    """The table that other tools read has every row of every step, with the columns that the steps left blank."""
    inputs, sources = steps
    write_readings(spec(sources=sources), inputs, tmp_path / "readings.parquet")
    written = read_table(tmp_path / "readings.parquet")
    expected = [
        read_table(inputs[s.input] / "readings.parquet").with_columns(
            study=pl.lit("s"), scale=pl.lit("smoke"), arm=pl.lit(s.arm), seed=s.seed, stage=pl.lit(s.stage)
        )
        for s in sources
    ]
    assert written.equals(pl.concat([table.cast(dict(written.schema)) for table in expected]))
    assert list(written.columns) == list(Reading.__dataclass_fields__)


@pytest.mark.parametrize(
    "asked",
    [
        spec(claims=(claim(CountOfAll()),)),
        spec(figures=(FigureOfAll(id="f", title="f", caption="c"),)),
        spec(figures=(BarFigure(id="f", title="f", caption="c", cells=(BarCell("t", "g", CountOfAll()),)),)),
    ],
)
def test_a_measure_of_ones_own_sees_every_reading(steps, tmp_path, asked):
    """Alone, in a figure or as a figure: it gets all rows with all columns, in the order in which they are written."""
    inputs, sources = steps
    asked = spec(asked.claims, (*asked.figures, BarFigure(id="g", title="g", caption="c", cells=())), sources)
    write_readings(asked, inputs, tmp_path / "readings.parquet")
    assert gather_needed_readings(asked, inputs).equals(read_table(tmp_path / "readings.parquet"))


def test_a_measure_that_derives_metrics_gets_all_of_its_evaluation():
    """Calibration reads the metrics of ranks, which stand in no selection."""
    found = needed_metrics([claim(CalibrationMAD(a=READ)), claim(Mean(selection=OTHER))])
    assert found == {"recall": None, "questions": frozenset({"exact"})}


@pytest.mark.parametrize("name", builtin_studies())
def test_no_built_in_study_needs_all_readings(name):
    """Every claim, figure and curve of ours holds what it selects as selections."""
    study = load_study(name, "smoke")
    found = needed_metrics((*study.claims, *study.figures, *study.scaling_curves))
    assert found is not None
    assert all(metrics is None or metrics for metrics in found.values())


SCRIPT = """
import sys, polars as pl
from pathlib import Path
from nosce.pipeline.steps.estimates import *
from nosce.analysis.claims import Claim
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.records import Reading, fill_columns
folder, n = Path(sys.argv[1]), 100_000
rows = pl.DataFrame({"evaluation": "recall", "step": 1, "split": "unseen", "attribute": "city", "value": 1.0}).select(
    pl.all().repeat_by(n).explode()).with_columns(
    metric=pl.Series([f"metric {i % 20}" for i in range(n)]),
    entity=pl.Series([f"a person {i % 400}" for i in range(n)]),
    item=pl.Series([f"the {i % 1000}th of all items" for i in range(n)]), answer=pl.lit("a long answer of a model"))
fill_columns(rows, Reading).write_parquet(folder / "readings.parquet")
sources = tuple(ReadingSource(input="i", arm=f"arm {i}", seed=0, stage="pretrain") for i in range(30))
claims = [Claim(id=str(i), text="", source="", threshold=0.5,
    measure=Mean(selection=Selection(evaluation="recall", metric=f"metric {i}", arm="arm 1"))) for i in range(2)]
spec = EstimatesSpec(study="s", scale="x", unit="u", arms=(), sources=sources, claims=tuple(claims), figures=())
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
before = peak()
write_readings(spec, {"i": folder}, folder / "all.parquet")
readings = gather_needed_readings(spec, {"i": folder})
assert [claim.judge(readings, "u").estimate for claim in claims] == [1.0, 1.0]
print(round(peak() - before))
"""


@pytest.mark.whole
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_is_that_of_what_is_needed(tmp_path):
    """Three million readings, a tenth of them needed: a fraction of the 700 MiB and more of the whole table."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400
