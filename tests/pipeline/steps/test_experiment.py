"""Experiments: planned, priced and read like everything else, and none of a study's arms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl
import pytest

from nosce.analysis.measures import Claim, Mean, Select
from nosce.errors import DataError, SpecError, UsageError
from nosce.pipeline.context import Job
from nosce.pipeline.cost import price
from nosce.pipeline.plan import unroll
from nosce.pipeline.steps.experiment import ExperimentSpec, make
from nosce.records import Reading, schema
from nosce.seeds import Seed
from nosce.studies.emergence.vision.reconstruction import Reconstruction
from nosce.study import Study, Trial


@dataclass(frozen=True)
class Coins:
    """Tosses of a coin."""

    share: float
    count: int = 50
    name: str = "coins"

    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """One reading a toss."""
        tosses = (seed.numpy().random(self.count) < self.share).astype(float)
        names = [f"toss/{n}" for n in range(self.count)]
        if self.count:
            known = {"readout": self.name, "metric": "heads", "split": "unseen", "facet": ""}
            table = pl.DataFrame({"item": names, "about": names, "value": tosses})
            yield table.with_columns(**{name: pl.lit(value) for name, value in known.items()})


def study(**more: object) -> Study:
    """Two coins and no language model."""
    heads = Select(readout="coins", metric="heads", arm="high")
    claim = Claim(id="c", text="t", source="s", measure=Mean(select=heads), threshold=0.5)
    whole = Study(
        name="tosses", title="t", question="q", paper="p", scale="smoke", unit="toss", arms=(), seeds=(0, 1), reads=(),
        claims=(claim,), trials=(Trial(name="high", experiment=Coins(0.9)), Trial(name="low", experiment=Coins(0.1),
                                                                                 seeds=1)),
    )  # fmt: skip
    return replace(whole, **more)


def test_an_experiment_writes_readings_of_all_columns(tmp_path):
    """Equal seeds, equal tables; other seeds, others."""
    tables = []
    for number, seed in enumerate((1, 1, 2)):
        job = Job(folder=tmp_path / str(number))
        make(ExperimentSpec(experiment=Coins(0.5), seed=Seed(seed)), {}, job)
        tables.append(pl.read_parquet(job.folder / "readings.parquet"))
    assert tables[0].schema == schema(Reading)
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    with pytest.raises(DataError, match="read nothing"):
        make(ExperimentSpec(experiment=Coins(0.5, count=0), seed=Seed(1)), {}, Job(folder=tmp_path / "none"))


def test_a_trial_is_planned_for_its_seeds_and_can_be_chosen():
    """Three steps of two trials and two seeds; a name that is no trial's is refused."""
    plan = unroll(study())
    assert [step.what for step in plan.steps] == ["high, seed 0", "low, seed 0", "high, seed 1"]
    assert len({step.name for step in plan.steps}) == 3
    assert [(one.arm, one.seed, one.stage) for one in plan.last.spec.labels] == [
        ("high", 0, "experiment"), ("low", 0, "experiment"), ("high", 1, "experiment")]  # fmt: skip
    assert [t.name for t in study().narrowed(("low",)).trials] == ["low"]
    with pytest.raises(UsageError, match="no arm 'middle'"):
        study().narrowed(("middle",))
    with pytest.raises(SpecError, match="its own name"):
        study(trials=(Trial(name="a", experiment=Coins(0.1)), Trial(name="a", experiment=Coins(0.2))))


def test_an_experiment_has_a_price_where_it_says_what_a_part_of_it_is():
    """Seconds from a short one; none where it does not say."""
    plan = unroll(study(trials=(Trial(name="a", experiment=Reconstruction(bottleneck=2, epochs=8)),
                                Trial(name="b", experiment=Coins(0.1)))))  # fmt: skip
    costs = {cost.step.what: cost.seconds for cost in price(plan, plan.steps)}
    assert costs["a, seed 0"] > 0
    assert "b, seed 0" not in costs  # unknown is not nothing
