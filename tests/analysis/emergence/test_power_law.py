"""The product law is found again where it was planted, as often as an interval promises."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence.power_law import fit_product_law
from nosce.errors import DataError
from nosce.seeds import Seed

SIZES = 10.0 ** np.linspace(6, 10, 8)
STEEP, SCALE, LENGTH = 0.6, 7.5, 5


def counts(rng, asked=1_000):
    """Right answers under the law."""
    loss = LENGTH * 10 ** (-STEEP * (np.log10(SIZES) - SCALE))
    return rng.binomial(asked, np.exp(-loss)), np.full(len(SIZES), asked)


def test_parameters_lie_in_their_intervals():
    """And the law says what it was made of, for other lengths too."""
    found = fit_product_law(SIZES, *counts(Seed(0).numpy(), 20_000), LENGTH)
    assert found.exponent_low < STEEP < found.exponent_high
    assert found.log10_scale_low < SCALE < found.log10_scale_high
    assert found.exponent_high - found.exponent_low < 0.1
    assert found.accuracy(SIZES[-1], 2) == pytest.approx(np.exp(-2 * 10 ** (-STEEP * 2.5)), abs=0.01)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    """Between 93 and 97 of a hundred, over a thousand simulations."""
    inside = np.zeros(2)
    for number in range(1_000):
        found = fit_product_law(SIZES, *counts((Seed(1) / number).numpy()), LENGTH)
        inside += [
            found.exponent_low < STEEP < found.exponent_high,
            found.log10_scale_low < SCALE < found.log10_scale_high,
        ]
    assert ((inside / 1_000 > 0.93) & (inside / 1_000 < 0.97)).all(), inside


@pytest.mark.parametrize(("right", "sizes"), [([0, 0, 0], 3), ([9, 9, 9], 3), ([1, 5], 2)])
def test_what_says_nothing_of_a_law_is_refused(right, sizes):
    """Nothing right, all right, two sizes."""
    with pytest.raises(DataError, match="product law"):
        fit_product_law(SIZES[:sizes], right, [9] * sizes, LENGTH)
