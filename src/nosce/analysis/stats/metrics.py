"""Metrics of outputs and of probabilities, as plain functions of many items at once.

Each says its range, which way is better, and two things that decide whether a smooth ability looks like a jump:

    linear       does it change, to first order, in proportion to the error of a single token?
    continuous   does it change continuously with the model's probabilities, the targets being fixed?

Stored outputs and log-probabilities can be scored by any of these without the model.

Source: the definitions that Schaeffer et al. 2023 (arXiv:2304.15004), section 3, and BIG-bench (arXiv:2206.04615) use.
Letters: N items, O options, T tokens, B classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import numpy.typing as npt

from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError, UsageError

Targets = Sequence[str] | Sequence[Sequence[str]]
ECE_BINS = 15  # of the calibration error


def exact_match(outputs: Sequence[str], targets: Targets) -> FloatArray:
    """1 where the stripped output is any of the targets. 0 to 1, up; not linear (p^T), not continuous. Shape: (N,)."""
    _check_same_length(outputs, targets)
    return np.array(
        [float(o.strip() in {t.strip() for t in _as_list(ts)}) for o, ts in zip(outputs, targets, strict=True)]
    )


def expected_exact_match(log_likelihood: npt.ArrayLike) -> FloatArray:
    """The chance of the target at temperature 1, exp(log-likelihood). 0 to 1, up; not linear, continuous. (N,)."""
    return np.exp(_checked_floats(log_likelihood, upper=0.0))


def token_edit_distance(outputs: Sequence[Sequence[int | str]], targets: Sequence[Sequence[int | str]]) -> FloatArray:
    """Insertions, deletions and substitutions of tokens, each of cost 1; an empty output costs the target's length.

    0 to the longer one's length, down; about linear, T (1 - p); not continuous for an item, smooth on average.
    Shape: (N,).
    """
    from rapidfuzz.distance import Levenshtein

    _check_same_length(outputs, targets)
    return np.array([float(Levenshtein.distance(list(o), list(t))) for o, t in zip(outputs, targets, strict=True)])


def per_token_accuracy(predicted: Sequence[npt.ArrayLike], targets: Sequence[npt.ArrayLike]) -> FloatArray:
    """Share of target tokens that are the first choice, the truth before them given. 0 to 1, up; linear in
    expectation, not continuous for a token. Shape: (N,).
    """
    _check_same_length(predicted, targets)
    return np.array([float((np.asarray(c) == np.asarray(t)).mean()) for c, t in zip(predicted, targets, strict=True)])


def multiple_choice_grade(scores: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """The target score of the option with the largest (log-)probability; of tied ones the mean.

    0 to 1, up, chance is the mean of targets over options; neither linear nor continuous. BIG-bench breaks ties by a
    hash, which in expectation is the mean. Shapes: (N, O), (N, O) -> (N,).
    """
    option_scores, target_scores = _options(scores, targets)
    best = option_scores == option_scores.max(1, keepdims=True)
    grades: FloatArray = (target_scores * best).sum(1) / best.sum(1)
    return grades


def brier_option_mean(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """BIG-bench's: the mean over options of t (p - 1)^2 + (1 - t) p^2, probabilities renormalised over the options and
    targets over their sum.

    0 to 1, down; quadratic, continuous. Shapes: (N, O), (N, O) -> (N,).
    """
    p, wanted = _renormalised(log_probabilities, targets)
    found: FloatArray = (wanted * (p - 1) ** 2 + (1 - wanted) * p**2).mean(1)
    return found


def brier_option_sum(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """The sum over options of (p - t)^2, e.g. 0.75 for four even ones (arXiv:2403.15796). 0 to 2, down; quadratic,
    continuous. Shapes: (N, O), (N, O) -> (N,).
    """
    p, wanted = _renormalised(log_probabilities, targets)
    found: FloatArray = ((p - wanted) ** 2).sum(1)
    return found


def brier_correct_option(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """(p(correct) - 1)^2, renormalised over the options (arXiv:2410.01692). 0 to 1, down; quadratic, continuous.
    Shapes: (N, O), (N, O) -> (N,).
    """
    return (probability_of_correct(log_probabilities, targets) - 1) ** 2


def probability_of_correct(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """p(correct) over the sum of the options'. 0 to 1, up; linear in p, continuous. Shapes: (N, O), (N, O) -> (N,)."""
    given, wanted = _options(log_probabilities, targets)
    p, _ = _renormalised(given, wanted)
    found: FloatArray = (p * (wanted > 0)).sum(1)
    return found


def weighted_probabilities(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """The sum of target scores times the options' probabilities as they are. -1 to 1, up; linear, continuous.
    Shapes: (N, O), (N, O) -> (N,).
    """
    given, wanted = _options(log_probabilities, targets)
    found: FloatArray = (wanted * np.exp(given)).sum(1)
    return found


def log_likelihood(log_probabilities: Sequence[npt.ArrayLike]) -> FloatArray:
    """Natural log of the probability of any of an item's targets. Up to 0, up; logarithmic, continuous.

    Args:
        log_probabilities: For each item those of its targets, each summed over its tokens. Shape: (N,) of (targets,).
    """
    parts = [np.asarray(one, dtype=np.float64).ravel() for one in log_probabilities]
    return np.array([float(np.logaddexp.reduce(one)) for one in parts])


def cross_entropy(token_log_probabilities: Sequence[npt.ArrayLike]) -> FloatArray:
    """Nats a token, over an item's tokens. 0 and more, down; the scaling law's own axis, continuous. Shape: (N,)."""
    return np.array([-float(np.mean(np.asarray(one, dtype=np.float64))) for one in token_log_probabilities])


def perplexity(token_log_probabilities: Sequence[npt.ArrayLike]) -> FloatArray:
    """exp(cross entropy). 1 and more, down; not linear, continuous. Shape: (N,)."""
    return np.exp(cross_entropy(token_log_probabilities))


def numeric_match(
    outputs: Sequence[str], targets: Sequence[float], *, tolerance: float = 0.1, signed_scale: bool = False
) -> FloatArray:
    """1 where a number is within a share of the target, or where that is 0 within so much.

    0 to 1, up; neither linear nor continuous. What is no number fails. Shape: (N,).

    Args:
        signed_scale: Divide by the target with its sign, as BIG-bench's code does, so that any number passes for a
            negative target.
    """
    _check_same_length(outputs, targets)
    matches = []
    for output, target in zip(outputs, targets, strict=True):
        number = _parsed_number(output)
        if number is None:
            matches.append(0.0)
            continue
        error = abs(number - target)
        scale = (target if signed_scale else abs(target)) or 1.0
        matches.append(float(error / scale <= tolerance))
    return np.array(matches)


def absolute_error(outputs: Sequence[str], targets: Sequence[float]) -> FloatArray:
    """|output - target|, NaN where the output is no number. 0 and more, down; of the magnitude, not of tokens. (N,)."""
    _check_same_length(outputs, targets)
    numbers = [_parsed_number(o) for o in outputs]
    return np.array([math.nan if n is None else abs(n - t) for n, t in zip(numbers, targets, strict=True)])


def relative_error(outputs: Sequence[str], targets: Sequence[float]) -> FloatArray:
    """|output - target| / |target|, NaN where the output is no number or the target is 0. 0 and more, down. (N,)."""
    size = np.abs(np.asarray(targets, dtype=np.float64))
    return np.where(size > 0, absolute_error(outputs, targets) / np.where(size > 0, size, 1.0), math.nan)


def bleu(outputs: Sequence[str], targets: Targets) -> float:
    """Corpus BLEU with one to four words, by sacrebleu, unsmoothed as BIG-bench has it.

    0 to 100, up; not linear, zero if one precision is, not continuous.
    """
    sacrebleu = _optional_library("sacrebleu")
    _check_same_length(outputs, targets)
    each = [_as_list(ts) for ts in targets]
    max_references = max(map(len, each), default=0)
    references = [[ts[n] if n < len(ts) else ts[0] for ts in each] for n in range(max_references)]
    return float(sacrebleu.corpus_bleu(list(outputs), references, smooth_method="none").score)


def rouge(outputs: Sequence[str], targets: Targets, kind: str = "rougeLsum") -> FloatArray:
    """ROUGE F1 with the best of the targets, by rouge-score: rouge1, rouge2, or rougeLsum, which is sharp.

    0 to 100, up; rouge1 and rouge2 linear in part, rougeLsum not; not continuous. Shape: (N,).
    """
    scorer = _optional_library("rouge_score.rouge_scorer", package="rouge-score").RougeScorer([kind])
    _check_same_length(outputs, targets)
    scores = []
    for output, output_targets in zip(outputs, targets, strict=True):
        scores.append(100 * max(float(scorer.score(t, output)[kind].fmeasure) for t in _as_list(output_targets)))
    return np.array(scores)


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = ECE_BINS) -> float:
    """Expected calibration error over bins of equal width. 0 to 1, down; not continuous. Shapes: (N,), (N,)."""
    p, hits = _checked_floats(confidence), _checked_floats(correct)
    if p.shape != hits.shape or (p < 0).any() or (p > 1).any():
        raise DataError("a calibration error needs one probability and one outcome an item, probabilities from 0 to 1.")
    which = np.minimum((p * n_bins).astype(int), n_bins - 1)
    total = 0.0
    for bin_index in np.unique(which):
        in_bin = which == bin_index
        total += float(in_bin.mean()) * abs(float(p[in_bin].mean()) - float(hits[in_bin].mean()))
    return total


def macro_f1(predicted: Sequence[str], targets: Sequence[str]) -> float:
    """Mean over classes of F1, by scikit-learn. 0 to 1, up; neither linear nor continuous."""
    from sklearn.metrics import f1_score

    _check_same_length(predicted, targets)
    return float(f1_score(list(targets), list(predicted), average="macro", zero_division=0.0))


def pass_at_k(n_samples: npt.ArrayLike, n_correct: npt.ArrayLike, k: int) -> FloatArray:
    """The chance that one of k samples is right, unbiased from n with c right: 1 - C(n - c, k) / C(n, k). 0 to 1, up;
    continuous in p. Shapes: (N,), (N,) -> (N,).

    Source: Chen et al. 2021 (arXiv:2107.03374), section 2.1.
    """
    n, c = np.asarray(n_samples, dtype=np.int64), np.asarray(n_correct, dtype=np.int64)
    if k < 1 or (n < k).any() or (c < 0).any() or (c > n).any():
        raise DataError(f"pass@{k} needs at least {k} samples an item, and no more right than drawn.")
    shares = []
    for drawn, right in zip(n.tolist(), c.tolist(), strict=True):
        shares.append(1.0 - math.prod((drawn - right - i) / (drawn - i) for i in range(k)))
    clipped: FloatArray = np.clip(np.array(shares), 0.0, 1.0)
    return clipped


def pass_until(n_samples: npt.ArrayLike, n_correct: npt.ArrayLike) -> FloatArray:
    """r / K of drawing until r are right: of resolution 1 / K, unlike a fixed number of items. 0 to 1, up; NaN where
    none was right before drawing stopped, which is less than 1 / K and not zero. Shapes: (N,), (N,) -> (N,).

    Source: Hu et al. 2023 (arXiv:2310.03262).
    """
    k, r = _checked_floats(n_samples), _checked_floats(n_correct)
    return np.where(r > 0, r / np.maximum(k, 1), math.nan)


def _as_list(targets: str | Sequence[str]) -> list[str]:
    return [targets] if isinstance(targets, str) else list(targets)


def _check_same_length(outputs: Sequence[object], targets: Sequence[object]) -> None:
    if len(outputs) != len(targets) or not len(outputs):
        raise DataError(
            f"{len(outputs)} outputs were given for {len(targets)} targets; give one each, and at least one."
        )


def _checked_floats(values: npt.ArrayLike, upper: float = math.inf) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if np.isnan(found).any() or (found > upper + 1e-9).any():
        raise DataError(f"a metric was given a number that is missing or above {upper:g}; missing is not zero.")
    return found


def _options(scores: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    given, wanted = _checked_floats(scores), _checked_floats(targets)
    if given.shape != wanted.shape or given.ndim != 2 or given.shape[1] < 2:
        raise DataError(f"options need scores and targets of one shape (N, O); found {given.shape} and {wanted.shape}.")
    return given, wanted


def _renormalised(log_probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Probabilities over the options, and targets that sum to one."""
    given, wanted = _options(log_probabilities, targets)
    if (wanted.sum(1) <= 0).any():
        raise DataError("an item has no right option; give its targets a sum above zero.")
    p = np.exp(given - given.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True), wanted / wanted.sum(1, keepdims=True)


def _parsed_number(text: str) -> float | None:
    match = re.fullmatch(r"\s*([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", text)
    return float(match[1].replace(",", "")) if match else None


def _optional_library(module: str, package: str | None = None) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            f"this metric needs the library {package or module}, which is not here; "
            f"install it with pip install {package or module}."
        ) from None
