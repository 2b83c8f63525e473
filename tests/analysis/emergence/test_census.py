"""A step on top of a smooth curve is found, a smooth curve is not called one, and p-values are calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence.census import (
    ScoreSeries,
    autocorrelated,
    calibration,
    census,
    line_p_value,
    noise_profile,
    step_test,
)
from nosce.errors import DataError
from nosce.seeds import Seed

SIZES = np.geomspace(1e6, 1e11, 14)
WAY = np.linspace(0, 1, 14)


def a_series(values, number=0, errors=0.0, sizes=SIZES):
    """One series of a table."""
    return ScoreSeries("table", f"task {number}", f"series {number}", sizes, values, np.full(len(sizes), errors))


def noise(number, spread=0.02):
    """Independent scatter."""
    return Seed(number).numpy().normal(0, spread, 14)


def test_a_step_is_found_where_it_is():
    """Its height and the size in its middle; the p-value is small."""
    found = step_test(a_series(0.1 + 0.2 * WAY + 0.4 * (WAY > 0.5) + noise(1)), Seed(0), draws=999)
    assert found.p < 0.01
    assert found.height == pytest.approx(0.4, abs=0.06)
    assert found.size == pytest.approx(np.sqrt(SIZES[6] * SIZES[7]))
    assert found.scatter == pytest.approx(0.02, rel=0.6)
    assert 0 < found.detectable < 0.4


def test_a_step_down_and_a_bend_are_no_step():
    """A parabola is taken out wholly: the t is that of the noise alone."""
    bend = 3 * WAY**2 - WAY
    assert step_test(a_series(bend + noise(2)), Seed(0), draws=99).t == pytest.approx(
        step_test(a_series(noise(2)), Seed(0), draws=99).t
    )
    assert step_test(a_series(1 - 0.4 * (WAY > 0.5) + noise(3)), Seed(0), draws=499).p > 0.2


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_the_p_values_of_smooth_curves_are_calibrated(correlation):
    """Of 240 logistic curves with scatter that hangs together or not, few have p below 0.05."""
    designs = [a_series(0.1 + 0.6 * WAY + noise(number, 0.03), number, 0.01) for number in range(12)]
    below, total = calibration(designs, Seed(0), correlation=correlation, repeats=20, draws=199)
    assert total == 240
    assert below / total < 0.09  # 0.05 and three standard errors


def test_false_discoveries_are_controlled_over_all_series():
    """Two steps among twenty smooth curves are found, with q above p, and hardly anything else."""
    smooth = [a_series(0.5 * WAY + noise(number), number) for number in range(100, 120)]
    steps = [a_series(0.2 * WAY + 0.5 * (WAY > 0.4) + noise(number), number) for number in (200, 201)]
    table = census([*smooth, *steps, a_series(np.zeros(14), 300), a_series(WAY[:5], 301, sizes=SIZES[:5])], Seed(0))
    assert table.height == 22  # without the constant one and the short one
    assert set(table.filter(table["q"] < 0.05)["task"]) == {"task 200", "task 201"}
    assert (table["q"] >= table["p"]).all()
    assert (table["q_any"] >= table["q"]).all()
    assert table["q_any"].min() < 0.05  # the draws are enough for it


def test_an_emergence_score_is_held_against_a_line():
    """A straight line with scatter has an E that its like often exceed; a flat start and a step do not."""
    line, step = a_series(0.6 * WAY + noise(7)), a_series(0.6 * (WAY > 0.5) + noise(6, 0.004))
    assert line_p_value(line, np.full(14, 0.02), Seed(0), draws=499) > 0.05
    assert line_p_value(step, np.full(14, 0.02), Seed(0), draws=499) < 0.05
    assert np.isnan(line_p_value(a_series(np.zeros(14)), np.full(14, 0.02), Seed(0), draws=99))


def test_scatter_is_that_of_items_and_of_models():
    """The mean variance is as found, with more of it where there are fewer items; neighbours correlate as told."""
    errors = np.array([0.01, 0.05])
    assert (noise_profile(errors, 0.01) ** 2).mean() == pytest.approx(0.01)
    assert (noise_profile(errors, 1e-4) ** 2).mean() == pytest.approx(1e-4)  # less than the items' own: paired items
    white = Seed(1).numpy().normal(size=(4_000, 6))
    found = autocorrelated(white, 0.7)
    assert np.corrcoef(found[:, 3], found[:, 4])[0, 1] == pytest.approx(0.7, abs=0.04)
    assert found[:, 5].std() == pytest.approx(1, abs=0.05)


def test_what_cannot_be_tested_is_told():
    """Too few sizes, sizes that fall, equal scores, and no series at all."""
    with pytest.raises(DataError, match="needs 7 ascending sizes"):
        step_test(a_series(WAY[:6], sizes=SIZES[:6]), Seed(0))
    with pytest.raises(DataError, match="needs 7 ascending sizes"):
        step_test(a_series(WAY, sizes=SIZES[::-1]), Seed(0))
    with pytest.raises(DataError, match="all scores are equal"):
        step_test(a_series(np.ones(14)), Seed(0))
    with pytest.raises(DataError, match="none of 1 series"):
        census([a_series(np.ones(14))], Seed(0))
