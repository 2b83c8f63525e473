"""Experiments: planned, priced and read like everything else, and none of a study's arms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl
import pytest

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.errors import DataError, SpecError, UsageError
from nosce.evals.base import Experiment
from nosce.pipeline.context import StepContext
from nosce.pipeline.cost import estimate_costs
from nosce.pipeline.plan import build_plan
from nosce.pipeline.steps.experiment import ExperimentStepSpec, make
from nosce.records import Reading, schema
from nosce.seeds import Seed
from nosce.studies.emergence.vision.reconstruction import ImageReconstruction
from nosce.study import ExperimentSpec, Study


@dataclass(frozen=True)
class Coins(Experiment):
    """Tosses of a coin."""

    share: float
    count: int = 50
    name: str = "coins"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """One reading a toss."""
        tosses = (seed.numpy().random(self.count) < self.share).astype(float)
        names = [f"toss/{n}" for n in range(self.count)]
        if self.count:
            known = {"evaluation": self.name, "metric": "heads", "split": "unseen", "attribute": ""}
            table = pl.DataFrame({"item": names, "entity": names, "value": tosses})
            yield table.with_columns(**{name: pl.lit(value) for name, value in known.items()})


def study(**more: object) -> Study:
    """Two coins and no language model."""
    heads = Selection(evaluation="coins", metric="heads", arm="high")
    claim = Claim(id="c", text="t", source="s", measure=Mean(selection=heads), threshold=0.5)
    whole = Study(
        name="tosses",
        title="t",
        question="q",
        paper="p",
        scale="smoke",
        unit="toss",
        arms=(),
        seeds=(0, 1),
        evals=(),
        claims=(claim,),
        experiments=(
            ExperimentSpec(name="high", experiment=Coins(0.9)),
            ExperimentSpec(name="low", experiment=Coins(0.1), n_seeds=1),
        ),
    )
    return replace(whole, **more)


def test_an_experiment_writes_readings_of_all_columns(tmp_path):
    """Equal seeds, equal tables; other seeds, others."""
    tables = []
    for number, seed in enumerate((1, 1, 2)):
        job = StepContext(folder=tmp_path / str(number))
        make(ExperimentStepSpec(experiment=Coins(0.5), seed=Seed(seed)), {}, job)
        tables.append(pl.read_parquet(job.folder / "readings.parquet"))
    assert tables[0].schema == schema(Reading)
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    with pytest.raises(DataError, match="gave no readings"):
        make(
            ExperimentStepSpec(experiment=Coins(0.5, count=0), seed=Seed(1)), {}, StepContext(folder=tmp_path / "none")
        )


def test_a_trial_is_planned_for_its_seeds_and_can_be_chosen():
    """Three steps of two trials and two seeds; a name that is no trial's is refused."""
    plan = build_plan(study())
    assert [step.label for step in plan.upstream_steps] == ["high, seed 0", "low, seed 0", "high, seed 1"]
    assert len({step.name for step in plan.upstream_steps}) == 3
    assert [(one.arm, one.seed, one.stage) for one in plan.estimates.spec.sources] == [
        ("high", 0, "experiment"),
        ("low", 0, "experiment"),
        ("high", 1, "experiment"),
    ]
    assert [t.name for t in study().subset(("low",)).experiments] == ["low"]
    with pytest.raises(UsageError, match="no arm 'middle'"):
        study().subset(("middle",))
    with pytest.raises(SpecError, match="its own name"):
        study(
            experiments=(
                ExperimentSpec(name="a", experiment=Coins(0.1)),
                ExperimentSpec(name="a", experiment=Coins(0.2)),
            )
        )


def test_an_experiment_has_a_price_where_it_says_what_a_part_of_it_is():
    """Seconds from a short one; none where it does not say."""
    plan = build_plan(
        study(
            experiments=(
                ExperimentSpec(name="a", experiment=ImageReconstruction(bottleneck=2, epochs=8)),
                ExperimentSpec(name="b", experiment=Coins(0.1)),
            )
        )
    )
    costs = {cost.step.label: cost.seconds for cost in estimate_costs(plan.upstream_steps)}
    assert costs["a, seed 0"] > 0
    assert costs["b, seed 0"] is None  # unknown is not nothing
