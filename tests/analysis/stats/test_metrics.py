"""Metrics against their definitions, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nosce.analysis.stats import metrics
from nosce.errors import DataError

LOGS = np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.1]])
RIGHT = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])


def test_strings():
    """Stripped, any of the targets; tokens one edit each, an empty output the target's length."""
    assert metrics.exact_match([" 12", "13", "x"], [["12", "twelve"], ["12"], "x"]).tolist() == [1, 0, 1]
    assert metrics.token_edit_distance(["kitten", "", "aa"], ["sitting", "abc", "aa"]).tolist() == [3, 3, 0]
    assert metrics.token_edit_distance([[1, 2, 3]], [[1, 3]]).tolist() == [1]
    assert metrics.per_token_accuracy([[1, 2, 3]], [[1, 9, 3]]).tolist() == [pytest.approx(2 / 3)]


def test_options():
    """The grade takes the largest and the mean of ties; the three Brier scores are three."""
    assert metrics.multiple_choice_grade(LOGS, RIGHT).tolist() == [1, 0.25]
    assert metrics.probability_of_correct(LOGS, RIGHT) == pytest.approx([0.4, 0.25])
    assert metrics.brier_option_sum(LOGS, RIGHT) == pytest.approx([0.6**2 + 0.3**2 + 0.2**2 + 0.1**2, 0.75])
    assert metrics.brier_correct_option(LOGS, RIGHT) == pytest.approx([0.36, 0.75**2])
    assert metrics.brier_option_mean(LOGS, RIGHT) == pytest.approx([0.5 / 4, 0.75 / 4])
    assert metrics.weighted_probabilities(LOGS, RIGHT) == pytest.approx([0.4, 0.1])
    soft = metrics.multiple_choice_grade(LOGS[:1], np.array([[0.5, 0.5, 0, 0]]))
    assert soft.tolist() == [0.5]


def test_log_likelihoods():
    """Of any target, a token, the chance of all."""
    assert metrics.log_likelihood([[math.log(0.2), math.log(0.3)]]) == pytest.approx([math.log(0.5)])
    assert metrics.cross_entropy([np.log([0.5, 0.25])]) == pytest.approx([-math.log(0.125) / 2])
    assert metrics.perplexity([np.log([0.5, 0.125])]) == pytest.approx([4.0])
    assert metrics.expected_exact_match([math.log(0.25)]) == pytest.approx([0.25])


def test_the_sign_of_a_target_no_longer_passes_everything():
    """As published any number passes for a negative target; mended it must be close."""
    said, true = ["376", "-10", "ten", "1,050", "0.05"], [-9.34, -9.34, 10.0, 1_000.0, 0.0]
    assert metrics.numeric_match(said, true).tolist() == [0, 1, 0, 1, 1]
    assert metrics.numeric_match(said, true, signed_scale=True).tolist() == [1, 1, 0, 1, 1]
    assert metrics.absolute_error(said[:3], true[:3])[:2] == pytest.approx([385.34, 0.66])
    assert np.isnan(metrics.relative_error(["x", "1"], [1.0, 0.0])).all()


def test_calibration_and_classes():
    """A bin's sureness against how often it was right; F1 of each class, evenly."""
    assert metrics.expected_calibration_error([0.95] * 10, [1] * 5 + [0] * 5) == pytest.approx(0.45)
    assert metrics.expected_calibration_error([1.0, 0.0], [1, 0]) == 0
    assert metrics.macro_f1(["a", "a", "b"], ["a", "b", "b"]) == pytest.approx(2 / 3)


def test_pass_at_k_is_unbiased():
    """Against the mean over all ways of drawing; and drawing until one is right."""
    assert metrics.pass_at_k([5], [2], 2)[0] == pytest.approx(1 - 3 / 10)
    assert metrics.pass_at_k([5, 5], [0, 5], 3).tolist() == [0, 1]
    found = metrics.pass_until([100, 1_000], [2, 0])
    assert found[0] == 0.02
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.exact_match([], []),
        lambda: metrics.exact_match(["a"], ["a", "b"]),
        lambda: metrics.brier_option_sum(LOGS, RIGHT[:1]),
        lambda: metrics.brier_option_sum(LOGS, 0 * RIGHT),
        lambda: metrics.expected_exact_match([0.5]),
        lambda: metrics.expected_exact_match([math.nan]),
        lambda: metrics.expected_calibration_error([1.5], [1]),
        lambda: metrics.pass_at_k([2], [1], 3),
    ],
)
def test_what_cannot_be_scored_is_told(call):
    """In one sentence."""
    with pytest.raises(DataError, match=r"\."):
        call()


def test_bleu_is_a_hundred_for_the_same_and_nothing_without_four_words_in_common():
    """Unsmoothed, as BIG-bench has it; the better of several targets counts."""
    pytest.importorskip("sacrebleu")
    text = "the quick brown fox jumps over the lazy dog"
    assert metrics.bleu([text], [text]) == pytest.approx(100)
    assert metrics.bleu([text], ["dog lazy the over jumps fox brown quick the"]) == 0
    assert metrics.bleu([text], [["something else", text]]) == pytest.approx(100)
    shorter = metrics.bleu(["the quick brown fox jumps"], [text])
    # All n-grams are right, so that the brevity penalty alone is left: exp(1 - 9 / 5).
    assert shorter == pytest.approx(100 * np.exp(1 - 9 / 5))


def test_rouge_counts_overlaps_with_the_best_target():
    """F1 of words and pairs of words, by hand."""
    pytest.importorskip("rouge_score")
    assert metrics.rouge(["the cat"], ["the dog"], "rouge1") == pytest.approx([50])
    assert metrics.rouge(["a b c"], ["a b d"], "rouge2") == pytest.approx([50])
    assert metrics.rouge(["a b c"], [["x", "a b c"]]) == pytest.approx([100])
    assert metrics.rouge(["a b c d"], ["a x b y"], "rougeLsum") == pytest.approx([50])
