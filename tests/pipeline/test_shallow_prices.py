"""A deep model is timed by its first blocks, and so are evaluations that name blocks behind them."""

import re
from dataclasses import replace

import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.evals.base import first_sites
from nosce.models.architecture import Architecture
from nosce.pipeline import cost, timing
from nosce.pipeline.plan import build_plan
from nosce.store.spec import describe
from nosce.studies.karel.config import karel_config
from nosce.studies.karel.study import karel_study

LAYERS = 2


def named_blocks(spec):
    return [int(number) for number in re.findall(r"'(?:residual|attention|mlp)\.(\d+)'", str(describe(spec)))]


def test_the_sites_of_the_first_blocks_stand_for_all():
    """Those that are there, and how many times as many there are; the last state where there is none."""
    sites = (*(f"residual.{block}" for block in range(30)), "final")
    assert first_sites(sites, 2) == (("residual.0", "residual.1", "residual.2", "final"), 31 / 4)
    assert first_sites(("mean",), 2) == (("mean",), 1.0)
    assert first_sites(("residual.15", "mlp.16"), 2) == (("final",), 2.0)


@pytest.mark.parametrize("name", ["biographies", "diaries", "karel", "introspection"])
def test_what_is_timed_in_a_deep_model_s_place_names_no_block_behind_the_first_ones(name):
    """Of all evaluations of a study at its largest scale."""
    evaluations = [one.evaluation for one in built_in_study(name, "gpu").evals]
    for evaluation in evaluations:
        timed, times = evaluation.on_shallow_model(LAYERS)
        timed = timed.timed_form
        subset = timed.timing_subset()
        timed = timed if subset is None else subset.evaluation
        assert times >= 1
        assert max(named_blocks(timed), default=0) <= LAYERS, evaluation
    assert name != "karel" or max(named_blocks(tuple(evaluations))) > LAYERS


@pytest.mark.whole
def test_every_reading_of_a_deep_model_has_a_price(monkeypatch):
    """Karel reads each block; the time of seven sites is that of the four that two blocks have, and as many times."""
    monkeypatch.setattr(timing, "LARGE_MODEL_PARAMETERS", 1)
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.01)
    deep = replace(karel_config("smoke"), architecture=Architecture.named("6x128"))
    readings = [
        c
        for c in cost.estimate_costs(build_plan(karel_study(deep, scale="smoke")).all_steps)
        if c.step.kind == "evaluation"
    ]
    assert {"layers", "edits"} <= {c.step.spec.evaluation.name for c in readings}
    assert all(c.seconds is not None and c.seconds > 0 for c in readings)
