"""How curves rise: by definition, and on curves of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from nosce.analysis.emergence.jumps import (
    curves_break,
    emergence_score,
    isotonic_fit,
    noise_emergence_scores,
    noise_p_value,
    rise_shape,
)
from nosce.seeds import Seed

LOGS = np.linspace(5, 9, 9)


def test_the_emergence_score_is_as_defined():
    """Range over the root of the median squared step, with the sign of its way."""
    assert emergence_score([0.1, 0.1, 0.2, 0.2, 0.8, 0.9]) == pytest.approx(0.8 / np.sqrt(0.01))
    assert emergence_score([0.9, 0.8, 0.75, 0.1]) == pytest.approx(-0.8 / 0.1)
    assert emergence_score(np.arange(12.0)) == pytest.approx(11)  # a straight line of M points has M - 1
    assert emergence_score([1.0, 0.0, 1.0]) < 0  # of equal ones the first counts


@pytest.mark.parametrize("values", [[0, 0, 0, 1, 1], [0.1, 0.2], [0.1, np.nan, 0.3]])
def test_where_the_emergence_score_is_not_defined_it_is_no_number(values):
    """Half of the steps zero, two points, or one missing."""
    assert np.isnan(emergence_score(values))


def test_noise_alone_reaches_what_the_sheet_says():
    """The median of |E| of twelve Gaussian numbers is 3.3, and one in twenty exceeds 6.3."""
    drawn = Seed(0).numpy().normal(size=(20_000, 12))
    scores = np.abs([emergence_score(row) for row in drawn])
    assert np.median(scores) == pytest.approx(3.3, abs=0.1)
    assert np.quantile(scores, 0.95) == pytest.approx(6.3, abs=0.15)


def test_the_closest_rising_curve_is_that_of_pooling():
    """As scikit-learn has it, for many curves at once."""
    curves = Seed(1).numpy().normal(size=(50, 9)) + np.linspace(0, 1, 9)
    expected = [IsotonicRegression().fit_transform(LOGS, curve) for curve in curves]
    assert isotonic_fit(curves) == pytest.approx(np.array(expected))


def test_a_step_breaks_and_a_line_and_a_power_law_do_not():
    """Nor does a law that slows down all along, however much of its rise it makes at the beginning."""
    step = np.where(LOGS > 7.2, 0.9, 0.05)
    line = (LOGS - 5) / 4
    law = -(10 ** (-1.0 * (LOGS - 5)))
    found = rise_shape(np.stack([step, line, law, np.zeros(9)]), LOGS)
    assert found.is_jump.tolist() == [True, False, False, False]
    assert curves_break(np.stack([step, line, law, np.zeros(9)]), LOGS).tolist() == [True, False, False, False]
    assert found.rise == pytest.approx([0.85, 1.0, 1 - 1e-4, 0])
    assert found.window_share[1] == pytest.approx(0.25)
    assert 7 < found.window_log_size[0] < 7.6
    assert found.width_decades[1] == pytest.approx(0.8 * 4)


def test_a_product_law_is_as_wide_as_it_must_be():
    """exp(-L (N/c)^-a) goes from a tenth to nine tenths within 1.339 / a decades, whatever L is."""
    fine = np.linspace(0, 12, 2_001)
    for length in (1, 5, 50):
        curve = np.exp(-length * 10 ** (-0.8 * (fine - 6)))
        assert rise_shape(curve, fine).width_decades[0] == pytest.approx(1.339 / 0.8, abs=0.01)


@pytest.mark.parametrize(
    ("points", "expected"), [(4, (1.9, 5.6, 11.9)), (5, (2.1, 4.5, 7.6)), (8, (2.9, 6.2, 9.7)), (12, (3.3, 6.3, 8.8))]
)
def test_noise_has_the_scores_of_the_sheet(points, expected):
    """Median, 95 and 99 % of |E| of Gaussian noise: the sheet for arXiv:2304.15004, section 4d."""
    assert np.quantile(noise_emergence_scores(points), [0.5, 0.95, 0.99]) == pytest.approx(expected, rel=0.06)
    assert noise_p_value(-expected[1], points) == pytest.approx(0.05, abs=0.01)
    assert np.isnan(noise_p_value(float("nan"), points))
