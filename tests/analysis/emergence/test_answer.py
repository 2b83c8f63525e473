"""The answer of an audit: five lines, 80 columns, two numbers with intervals, and what would change it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.answer import audit_answer, bracket, fitted, jump_numbers, size_text
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.simulated_verdicts import FILE, simulated_errors
from nosce.analysis.emergence.simulation import GROUND_TRUTHS, simulate_outcomes
from nosce.analysis.emergence.test import EMERGENCE_VERDICTS, mirage_test
from nosce.seeds import Seed

LONG = ("exact_match,strict-match of a task with a long name", "log-likelihood of the target")


def answered(scores, names=("acc", "nll"), verdict=None):
    result = mirage_test(scores, Seed(0), resamples=200)
    return audit_answer(scores, result, verdict or result.verdict, names, Seed(1))


@pytest.mark.parametrize("truth", GROUND_TRUTHS)
def test_every_verdict_is_four_lines_of_eighty_columns(truth):
    """Whatever is found, and however the scores are called."""
    scores = simulate_outcomes(truth, sizes=8, items=150, seeds=5 if truth == "seed mixture" else 1, seed=Seed(7))
    result = mirage_test(scores, Seed(0), resamples=200)
    for names, verdict in product((("acc", "nll"), LONG), EMERGENCE_VERDICTS):
        answer = audit_answer(scores, result, verdict, names, Seed(1))
        assert all(0 < len(line) <= 80 and "\n" not in line for line in answer.lines), answer.lines
        assert len(re.findall(r"-?\d+ % \[(-?\d+, -?\d+|no range)\]", answer.why)) >= 2, answer.why
        assert (answer.errors is None) == (verdict == "under-resolved")


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("power law", "The jump is the metric's: acc jumps, nll does not."),
        ("planted break", "The jump stays in another metric: acc jumps, and nll breaks too."),
        ("pure noise", "Nothing rises: acc has no jump."),
        ("mass shift", "acc jumps, nll does not, and no one link between them holds."),
    ],
)
def test_a_truth_is_told_in_plain_words(truth, words):
    """Of worlds whose truth was planted."""
    scores = simulate_outcomes(truth, sizes=8, items=1_000, seeds=1, seed=Seed(11), exponents=(1.0, 1.4))
    assert answered(scores).what == words


def test_an_even_rise_is_no_jump():
    """It rises, and evenly."""
    right = np.linspace(100, 900, 9)[None]
    counts = CountOutcomes(10.0 ** np.arange(9), right, np.full((1, 9), 1000.0), None)
    answer = answered(counts)
    assert answer.what == "It rises evenly: acc has no jump."
    assert answer.why.startswith("Why: acc 10 % [")


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([0.5] * 8, "Nothing rises: acc has no jump."),
        ([0.1, 0.9] * 4 + [0.1], "It goes up and down: acc has no jump."),
        ([0.1, 0.6, 0.8, 0.85, 0.87, 0.88, 0.89, 0.9], "It rises early and slows down: acc has no jump."),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "Nothing rises: acc has no jump."),
    ],
)
def test_what_is_no_jump_is_told_apart(shares, words):
    """Noise, an up and down, a rise that slows, and a fall."""
    right = 1_000 * np.array(shares)[None]
    counts = CountOutcomes(10.0 ** np.arange(len(shares)), right, np.full(right.shape, 1000.0), None)
    assert answered(counts, verdict="no jump").what == words


def test_the_share_of_the_continuous_score_is_that_at_the_jump():
    """A score that rose long before has none of its rise there, however steeply it rose."""
    sizes = 10.0 ** np.arange(9)
    sharp = np.repeat([0, 0, 0, 0, 0, 0, 1, 1, 1], 100).reshape(1, 9, 100).astype(float)
    early = np.broadcast_to(np.array([0, 9, 9, 9, 9, 9, 9, 9, 10.0])[None, :, None], sharp.shape)
    numbers = jump_numbers(ItemOutcomes(sizes, sharp, early), Seed(0))
    assert numbers.sharp_share.value == pytest.approx(1)
    assert numbers.continuous_share.value == pytest.approx(0)
    assert numbers.window[0] < 1e6 < numbers.window[1] * 10


def test_a_score_that_never_rises_has_no_share_of_its_rise():
    """It is no 0 %, which a score has that rose elsewhere."""
    sizes = 10.0 ** np.arange(9)
    sharp = np.repeat([0, 0, 0, 0, 0, 0, 1, 1, 1], 100).reshape(1, 9, 100).astype(float)
    falling = np.broadcast_to(-np.arange(9.0)[None, :, None], sharp.shape)
    scores = ItemOutcomes(sizes, sharp, falling)
    assert jump_numbers(scores, Seed(0)).continuous_share is None
    for verdict in ("metric", "break"):
        assert answered(scores, verdict=verdict).why.endswith("of its rise, nll does not rise.")


def test_a_resampling_without_a_rise_may_have_any_share():
    """A rise so small that every seventh resampling has none: from 0 to 100 %."""
    sizes = 10.0 ** np.arange(5)
    sharp = np.repeat([0, 0, 0, 1, 1], 20).reshape(1, 5, 20).astype(float)
    smooth = np.zeros((1, 5, 20))
    smooth[0, 3:, :2] = 1.0
    share = jump_numbers(ItemOutcomes(sizes, sharp, smooth), Seed(0)).continuous_share
    assert (share.low, share.high) == (0, 1)


def test_a_share_of_none_has_an_exact_range():
    """Every resampling of 0 of 20 is 0, and up to 17 % may hide."""
    right = np.array([[0.0, 0, 1, 2, 18, 20]])
    first = jump_numbers(CountOutcomes(10.0 ** np.arange(6), right, np.full((1, 6), 20.0), None), Seed(0))
    assert (first.first.low, round(first.first.high, 2)) == (0, 0.17)
    assert (round(first.last.low, 2), first.last.high) == (0.83, 1)


def test_names_are_cut_and_never_the_numbers():
    """The longest first, to six letters at least."""
    line = fitted("{} and {} rise by 12 % [10, 14].", ["x" * 70, "short"], width=50)
    assert len(line) == 50
    assert line.endswith("… and short rise by 12 % [10, 14].")
    assert len(fitted("{}" + "z" * 90, ["abc"], width=50)) == 50


def test_sizes_are_written_as_the_field_does():
    """In letters, with the neighbours of a jump."""
    told = [size_text(size) for size in (1224, 4.1e8, 1.3e9, 7e12, 26816, 12, 999_999)]
    assert told == ["1.22k", "410M", "1.3B", "7T", "26.8k", "12", "1M"]
    assert bracket(np.array([1.0, 10, 100]), 30) == (10, 100)
    assert bracket(np.array([1.0, 10, 100]), 1e9) == (10, 100)


def test_the_simulations_are_those_of_the_benchmark():
    """A copy that has grown stale would tell old error rates."""
    root = Path(__file__).parents[3]
    assert FILE.read_bytes() == (root / "benchmarks" / "mirage.csv").read_bytes(), "copy benchmarks/mirage.csv there"


def test_errors_are_counted_over_all_truths():
    """At the nearest design, by hand."""
    table = pl.read_csv(FILE).filter(sizes=8, items=10_000)
    errors = simulated_errors("metric", 7, 9_000)
    assert (errors.sizes, errors.items) == (8, 10_000)
    assert errors.given == table["metric"].sum()
    laws = ["power law", "dependent steps", "largest option"]
    assert errors.wrong == table.filter(~pl.col("truth").is_in(laws))["metric"].sum()
    low, high = errors.interval
    assert low <= errors.wrong / errors.given < high
