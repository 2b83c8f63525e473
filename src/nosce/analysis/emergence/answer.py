"""The answer to an audit in five lines of 80 columns: what, why, how sure, what would change it, and the figure.

Letters: D draws, J sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from nosce.analysis.emergence.jumps import JUMP_SHARE, JUMP_WINDOW, isotonic_fit, rise_shape
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.simulated_verdicts import SimulatedErrors, simulated_errors
from nosce.analysis.emergence.steepest_window import steepest_window_range
from nosce.analysis.emergence.test import (
    MIN_AGREEMENT,
    MIN_ANSWERS,
    MIN_SHARP_RISE,
    MIN_SIZES,
    EmergenceVerdict,
    MirageTestResult,
)
from nosce.analysis.stats.arrays import FloatArray
from nosce.seeds import Seed

WIDTH = 80
ANSWER_RESAMPLES = 500  # for the intervals of the second line
MIN_NAME = 6  # letters to which a score's name is cut at most


@dataclass(frozen=True)
class ShareInterval:
    """A share with its 95 % range."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.high - self.low < 1e-9:
            return f"{100 * self.value:.0f} % [no range]"
        return f"{100 * self.value:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}]"


@dataclass(frozen=True, kw_only=True)
class JumpNumbers:
    """Numbers of both scores' curves, with their 95 % ranges.

    Args:
        first: The sharp score at the first size.
        last: The sharp score at the last size.
        window: From which size to which the sharp score rises most, a quarter of the log range apart.
        sharp_share: Share of its rise that the sharp score makes there.
        continuous_share: Share of its rise that the continuous score makes there; None without one, or where it does
            not rise.
        has_continuous: There is a continuous score.
    """

    first: ShareInterval
    last: ShareInterval
    window: tuple[float, float]
    sharp_share: ShareInterval
    continuous_share: ShareInterval | None
    has_continuous: bool


def jump_numbers(scores: ItemOutcomes | CountOutcomes, seed: Seed) -> JumpNumbers:
    """The numbers of an audit's second line."""
    parts = list(scores.resampled_curves(None, seed, ANSWER_RESAMPLES))
    logs = np.log10(scores.sizes)
    sharp, smooth = (None if curves is None else curves.mean(0)[None] for curves in scores.means())
    assert sharp is not None
    drawn_sharp, drawn_smooth = (np.concatenate([part[index].mean(1) for part in parts]) for index in (0, 1))
    asked = scores.counts[1].mean(0)  # of one seed
    middle = float(rise_shape(sharp, logs, JUMP_WINDOW).window_log_size[0])
    half = JUMP_WINDOW * float(logs[-1] - logs[0]) / 2
    shares = None if smooth is None else _shares_at_jump(sharp, smooth, logs)
    has_rise = shares is not None and bool(np.isfinite(shares[0]))
    drawn = _shares_at_jump(drawn_sharp, drawn_smooth, logs) if has_rise else None
    sharp_share = float(rise_shape(sharp, logs, JUMP_WINDOW).window_share[0])
    return JumpNumbers(
        first=_with_exact_range(_interval(float(sharp[0, 0]), drawn_sharp[:, 0]), asked[0]),
        last=_with_exact_range(_interval(float(sharp[0, -1]), drawn_sharp[:, -1]), asked[-1]),
        window=(10 ** (middle - half), 10 ** (middle + half)),
        sharp_share=ShareInterval(sharp_share, *steepest_window_range(sharp[0], drawn_sharp, logs)),
        continuous_share=None if shares is None or drawn is None else _interval(float(shares[0]), drawn),
        has_continuous=smooth is not None,
    )


def _shares_at_jump(sharp: FloatArray, smooth: FloatArray, logs: FloatArray) -> FloatArray:
    """The share of the continuous score's rise in the window where the sharp score rises most; NaN without a rise.

    Shapes: (D, J), (D, J), (J,) -> (D,).
    """
    middles = rise_shape(sharp, logs, JUMP_WINDOW).window_log_size
    half = JUMP_WINDOW * (logs[-1] - logs[0]) / 2
    rising = isotonic_fit(smooth)
    shares = np.full(len(rising), np.nan)
    for index, (curve, middle) in enumerate(zip(rising, middles, strict=True)):
        low, high = np.interp([middle - half, middle + half], logs, curve)
        if curve[-1] > curve[0]:
            shares[index] = (high - low) / (curve[-1] - curve[0])
    return shares


def _with_exact_range(share: ShareInterval, asked: float) -> ShareInterval:
    """A share of 0 or 1, of which every resampling is the same, with its exact (Clopper-Pearson) range."""
    n = round(float(asked))
    if share.high - share.low > 1e-9 or not -1e-9 <= share.value <= 1 + 1e-9:
        return share
    interval = scipy.stats.binomtest(round(share.value * n), n).proportion_ci(method="exact")
    return ShareInterval(share.value, float(interval.low), float(interval.high))


def _interval(value: float, drawn: FloatArray) -> ShareInterval:
    """A resampling without a rise says nothing of its share, so it counts as 0 below and as 1 above."""
    low = np.quantile(np.where(np.isnan(drawn), 0.0, drawn), 0.025)
    high = np.quantile(np.where(np.isnan(drawn), 1.0, drawn), 0.975)
    return ShareInterval(value, min(value, float(low)), max(value, float(high)))


@dataclass(frozen=True, kw_only=True)
class AuditAnswer:
    """An audit in plain words, each a line of at most 80 columns.

    Args:
        what: The verdict.
        why: Two numbers with their intervals.
        how_sure: The share of resamplings, and how often such a verdict is wrong in simulations.
        what_would_change: More of what would change the verdict.
        errors: The simulations that `how_sure` counts; None where there is no verdict.
    """

    what: str
    why: str
    how_sure: str
    what_would_change: str
    errors: SimulatedErrors | None

    @property
    def lines(self) -> tuple[str, str, str, str]:
        """The four lines; the figure's path is the fifth."""
        return self.what, self.why, self.how_sure, self.what_would_change


def audit_answer(
    scores: ItemOutcomes | CountOutcomes,
    result: MirageTestResult,
    verdict: EmergenceVerdict,
    names: tuple[str, str],
    seed: Seed,
    *,
    withheld: str = "",
) -> AuditAnswer:
    """The answer.

    Args:
        scores: The outcomes.
        result: What the mirage test found.
        verdict: The verdict after the correction for several tasks.
        names: The names of the sharp and of the continuous score.
        seed: The source of the resamplings of the intervals.
        withheld: Why a verdict of the test was withheld; "" where it was not.
    """
    numbers = jump_numbers(scores, seed)
    decided = verdict != "under-resolved"
    errors = simulated_errors(verdict, result.sizes, result.items) if decided else None
    return AuditAnswer(
        what=withheld or _what(result, verdict, names, numbers),
        why=_why(result, verdict, names, numbers),
        how_sure=_how_sure(result, errors),
        what_would_change=_what_would_change(scores, result, verdict, has_continuous=numbers.has_continuous),
        errors=errors,
    )


def fitted(template: str, names: Sequence[str], width: int = WIDTH) -> str:
    """A template with its names, the longest of them cut until the line fits."""
    kept = [_plain_name(name) for name in names]
    while len(line := template.format(*kept)) > width:
        longest = max(range(len(kept)), key=lambda index: len(kept[index]), default=None)
        if longest is None or len(kept[longest]) <= MIN_NAME:
            return line[: width - 1] + "…"
        kept[longest] = kept[longest].rstrip("…")[:-1] + "…"
    return line


def _plain_name(name: str) -> str:
    return " ".join(name.removesuffix(",none").removesuffix(" of the target").split())


def _what(result: MirageTestResult, verdict: EmergenceVerdict, names: tuple[str, str], numbers: JumpNumbers) -> str:
    if verdict == "metric":
        return fitted("The jump is the metric's: {} jumps, {} does not.", names)
    if verdict == "break":
        return fitted("The jump stays in another metric: {} jumps, and {} breaks too.", names)
    if verdict == "unexplained":
        return fitted("{} jumps, {} does not, and no one link between them holds.", names)
    if verdict == "no jump":
        return fitted(_no_jump_template(result, numbers), names[:1])
    if result.sizes < MIN_SIZES:
        return f"No verdict: {result.sizes} sizes are too few to tell a jump from a rise."
    if result.items * result.seeds < MIN_ANSWERS:
        return f"No verdict: {result.items * result.seeds:g} answers at a size are too few to see a rise."
    if not numbers.has_continuous and result.frequencies["under-resolved"] >= MIN_AGREEMENT:
        return fitted("{} jumps; without a continuous score it is open why.", names[:1])
    return f"No verdict: {result.sizes} sizes of {result.items:,.0f} items do not tell the cases apart."


def _no_jump_template(result: MirageTestResult, numbers: JumpNumbers) -> str:
    """In which way the sharp score has no jump."""
    if result.sharp_rise < MIN_SHARP_RISE:
        return "Nothing rises: {} has no jump."
    if numbers.last.value - numbers.first.value < MIN_SHARP_RISE:
        return "It goes up and down: {} has no jump."
    if result.sharp_window_share >= JUMP_SHARE:
        return "It rises early and slows down: {} has no jump."
    return "It rises evenly: {} has no jump."


def _why(result: MirageTestResult, verdict: EmergenceVerdict, names: tuple[str, str], numbers: JumpNumbers) -> str:
    """Two numbers with their intervals."""
    if result.sharp_rise < MIN_SHARP_RISE or not numbers.has_continuous or verdict == "no jump":
        steep = f", steepest quarter {numbers.sharp_share}" if result.sharp_rise >= MIN_SHARP_RISE else ""
        return fitted(f"Why: {{}} {numbers.first} to {numbers.last}{steep}.", names[:1])
    low, high = (size_text(size) for size in numbers.window)
    if verdict == "unexplained" and (off := _worst_link(result)) is not None:
        return fitted(f"{low} to {high}: {{}} {numbers.sharp_share} of its rise; link off {off}.", names[:1])
    beside = numbers.continuous_share or "does not rise"
    shares = f"{low} to {high}: {{}} makes {numbers.sharp_share} of its rise, {{}} {beside}."
    return fitted(shares, names)


def _worst_link(result: MirageTestResult) -> ShareInterval | None:
    """The residual of the link that is furthest from 0."""
    if result.residual is None or result.residual_low is None or result.residual_high is None:
        return None
    ranges = zip(result.residual, result.residual_low, result.residual_high, strict=True)
    return ShareInterval(*max(ranges, key=lambda one: abs(one[0])))


def _how_sure(result: MirageTestResult, errors: SimulatedErrors | None) -> str:
    shares = sorted(((share, name) for name, share in result.frequencies.items() if share), reverse=True)
    of_all = f"{result.resamples:,} resamplings"
    if errors is None:
        found = ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares[:3])
        return f"Sure: no. Of {of_all}: {found}."[:WIDTH]
    agreed = f"Sure: {100 * shares[0][0]:.0f} % of {of_all}"
    if not errors.given:
        return f"{agreed}; no simulation of this design gave it."
    wrong = ShareInterval(errors.wrong / errors.given, *errors.interval)
    return f"{agreed}; in simulations like this wrong {wrong}."


def _what_would_change(
    scores: ItemOutcomes | CountOutcomes, result: MirageTestResult, verdict: EmergenceVerdict, *, has_continuous: bool
) -> str:
    """More of what would change the verdict."""
    below, above = bracket(scores.sizes, result.jump_size)
    between = f"sizes from {size_text(below)} to {size_text(above)}"
    last = size_text(float(scores.sizes[-1]))
    if result.verdict == "unexplained" and verdict == "under-resolved" and isinstance(scores, CountOutcomes):
        return "To change it: the same answers item by item, or 12 sizes and more."
    if result.sizes < MIN_SIZES:
        return f"To change it: {MIN_SIZES - result.sizes} or more further sizes."
    if result.items * result.seeds < MIN_ANSWERS:
        return f"To change it: {MIN_ANSWERS} or more answers at every size."
    match verdict:
        case "metric":
            return f"To change it: {between}; a break may hide there."
        case "break":
            return f"To change it: {between}; the break may be a steep slope."
        case "unexplained":
            return "To change it: another continuous score of the same answers."
        case "no jump":
            hidden = f" or more items (up to {result.detection_limit:.1%} may hide)" if result.n_chance_sizes else ""
            return f"To change it: sizes above {last}{hidden}."
        case _:
            if not has_continuous:
                return "To change it: a continuous score of the same answers (--continuous COLUMN)."
            return f"To change it: {between}, or more than {result.items:,.0f} items."


def bracket(sizes: FloatArray, at: float) -> tuple[float, float]:
    """The neighbouring sizes between which a size lies."""
    right = int(np.clip(np.searchsorted(sizes, at), 1, len(sizes) - 1))
    return float(sizes[right - 1]), float(sizes[right])


def size_text(size: float) -> str:
    """A size as the field writes it, e.g. 1.3B, 410M or 26.8k."""
    for magnitude, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= magnitude * 0.9995:
            return f"{size / magnitude:.3g}{letter}" if size < 1e15 else f"{size:.2g}"
    return f"{size:.3g}"
