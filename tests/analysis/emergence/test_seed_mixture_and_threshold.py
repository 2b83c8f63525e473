"""Two groups of seeds, and thresholds in loss: found where planted, and not where not."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence.jump_shares import jump_shares
from nosce.analysis.emergence.loss_threshold import compare_loss_forms
from nosce.analysis.emergence.scores import CountOutcomes
from nosce.analysis.emergence.seed_mixture import single_group_p_value, within_group_share
from nosce.analysis.emergence.test import mirage_test
from nosce.errors import DataError
from nosce.seeds import Seed


def test_two_planted_groups_are_found():
    """Ten seeds of which four have learnt it."""
    rng = Seed(1).numpy()
    right = rng.binomial(1_000, np.where(np.arange(10) < 4, 0.92, 0.08))
    assert single_group_p_value(right, 1_000, Seed(0)) < 0.01


def test_one_group_is_rarely_parted():
    """Seeds that differ as a normal law has it: no more than one in twenty, about, is called two."""
    rng = Seed(2).numpy()
    found = []
    for n in range(120):
        shares = np.clip(rng.normal(0.5, 0.1, 8), 0.01, 0.99)
        found.append(single_group_p_value(rng.binomial(1_000, shares), 1_000, Seed(n)))
    assert np.mean(np.array(found) < 0.05) < 0.12
    assert single_group_p_value(np.full(6, 500), 1_000, Seed(0)) == 1.0


def test_an_audit_takes_each_seed_s_own_number_of_items():
    """The first seed has the fewest items: with its number the others would have shares above 1."""
    asked = np.array([10.0, 1_000, 400, 30, 5_000])[:, None] * np.ones(6)
    share = np.array([0.1, 0.2, 0.3, 0.5, 0.9, 1.0])
    counts = CountOutcomes(10.0 ** np.arange(6), np.round(share * asked), asked, continuous=None)
    assert mirage_test(counts, Seed(0), resamples=50).p_single_group == 1.0
    shares = jump_shares(counts, Seed(0), draws=20)
    assert shares is None or shares.untested["seeds"] == "the seeds form one group"


def test_seeds_with_other_numbers_of_items_are_compared_by_their_shares():
    """Half of each seed's items are right, whatever their number; no share is taken of another seed's items."""
    asked = np.array([10, 1_000, 400, 30, 5_000])
    assert single_group_p_value(asked / 2, asked, Seed(0)) == 1.0
    parted = np.round(asked * np.array([0.1, 0.9, 0.1, 0.9, 0.1]))
    assert single_group_p_value(parted, asked, Seed(0)) < 0.05
    assert single_group_p_value(np.full(5, 7), np.full(5, 10), Seed(0)) == single_group_p_value(
        np.full(5, 7), 10, Seed(0)
    )


def test_what_two_groups_leave():
    """Nothing of two values, everything of equal ones; order does not matter."""
    assert within_group_share([[0, 0, 1, 1], [1, 0, 1, 0]]).tolist() == [0, 0]
    assert within_group_share([[3, 3, 3]]).tolist() == [1]
    assert within_group_share([[0, 1, 2, 3]])[0] == pytest.approx(1 / 5)
    with pytest.raises(DataError, match="cannot show two groups"):
        single_group_p_value([1, 2, 3, 4], 10, Seed(0))


LOSS = np.linspace(3.2, 1.4, 16)
ASKED = np.full(16, 2_000.0)


def drawn(p: np.ndarray) -> np.ndarray:
    """Counts of such shares."""
    return Seed(4).numpy().binomial(2_000, p).astype(float)


@pytest.mark.whole
def test_a_planted_threshold_is_found_and_a_smooth_law_has_none():
    """Du et al.'s form at 2.2 with a chance level; a logistic curve is held to be smooth."""
    broken = 0.25 + 0.6 * np.maximum(2.2 - LOSS, 0)
    found = compare_loss_forms(LOSS, drawn(broken), ASKED, chance=0.25)
    assert found.best == "threshold"
    assert found.eta_low <= 2.2 <= found.eta_high
    assert found.eta_high - found.eta_low < 0.4
    smooth = compare_loss_forms(LOSS, drawn(1 / (1 + np.exp(4 * (LOSS - 2.2)))), ASKED)
    assert smooth.best == "smooth"
    assert smooth.product is None


def test_the_product_law_costs_what_the_truth_costs():
    """exp(-tokens loss), nothing fitted."""
    loss = LOSS / 4
    p = np.exp(-3 * loss)
    found = compare_loss_forms(loss, drawn(p), ASKED, target_tokens=3)
    entropy = float(np.mean(-(p * np.log(p) + (1 - p) * np.log(1 - p))))
    assert found.product == pytest.approx(entropy, abs=0.01)
    with pytest.raises(DataError, match="5 points"):
        compare_loss_forms([1, 1, 1, 1, 1], [1] * 5, [2] * 5)
