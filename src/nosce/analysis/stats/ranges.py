"""The natural range of a quantity, and intervals that keep within it by construction.

A share lies between 0 and 1, a correlation between -1 and 1, an edit distance at 0 or above, a log-likelihood at 0 or
below. An interval that is symmetric around the estimate ignores that, and covers too little near an end:
the nearer the end, the less a quantity varies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import SpecError


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The least and the largest value that a quantity can have.

    Args:
        low: The least value; None where there is none.
        high: The largest value; None where there is none.

    Raises:
        SpecError: The least value is not below the largest.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise SpecError(f"a range from {self.low:g} to {self.high:g} has no values; name the smaller end first.")

    @property
    def description(self) -> str:
        """The range in words, for methods and messages."""
        if self.low is None:
            return "unbounded" if self.high is None else f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"within [{self.low:g}, {self.high:g}]"

    def contains(self, values: FloatArray) -> bool:
        """Whether all values lie in the range, up to rounding."""
        tolerance = 1e-9
        above = self.low is None or bool((values >= self.low - tolerance).all())
        return above and (self.high is None or bool((values <= self.high + tolerance).all()))

    def scaled(self, weight: float) -> ValueRange:
        """The range of the quantity times a weight."""
        ends = [None if end is None else weight * end + 0.0 for end in (self.low, self.high)]
        return ValueRange(*ends) if weight > 0 else ValueRange(*reversed(ends))

    def score_interval(self, value: float, half_width: float, *, n: int) -> tuple[float, float]:
        """The interval around an estimate that keeps within the range, by inverting a score test.

        The estimate's standard error holds at the estimate alone. A value x is in the interval if the estimate lies
        at most so many standard errors from it, where the squared error at x is the estimated one times the ratio of
        (x - low)(high - x) at x and at the estimate. For independent items this is Wilson's interval; with one end
        the variance is proportional to the distance to that end, and without ends the interval is symmetric.

        Args:
            value: The estimate.
            half_width: Half of the symmetric interval, e.g. Student's t times the standard error.
            n: Number of units behind the estimate. Within half a unit of an end the variance is taken at half a unit,
                since at an end it says nothing.

        Source:
            Wilson 1927, JASA 22:209-212; with an estimated variance in place of the binomial one (an effective number
            of items): Korn and Graubard 1998, Survey Methodology 24:193-201.
        """
        if self.low is None and self.high is None:
            return value - half_width, value + half_width
        if self.low is None:
            low, high = self.scaled(-1.0).score_interval(-value, half_width, n=n)
            return -high, -low
        if self.high is None:
            return _one_sided(self.low, value, half_width)
        width = self.high - self.low
        share = min(max((value - self.low) / width, 0.5 / n), 1 - 0.5 / n)
        ratio = (half_width / width) ** 2 / (share * (1 - share))
        spread = math.sqrt(ratio * share * (1 - share) + ratio**2 / 4)
        low, high = ((share + ratio / 2 + sign * spread) / (1 + ratio) for sign in (-1.0, 1.0))
        low, high = self.low + width * max(low, 0.0), self.low + width * min(high, 1.0)  # rounding alone
        return min(low, value), max(high, value)


def _one_sided(end: float, value: float, half_width: float) -> tuple[float, float]:
    """A score interval where values lie at `end` or above, with a variance in proportion to the distance to it."""
    distance = value - end
    if distance <= 0:
        return value, value + half_width
    ratio = half_width**2 / distance
    spread = math.sqrt(ratio * distance + ratio**2 / 4)
    return end + max(distance + ratio / 2 - spread, 0.0), end + distance + ratio / 2 + spread


UNBOUNDED = ValueRange()
SHARE_RANGE = ValueRange(0.0, 1.0)
CORRELATION_RANGE = ValueRange(-1.0, 1.0)
NON_NEGATIVE = ValueRange(0.0, None)
NON_POSITIVE = ValueRange(None, 0.0)

#: The natural range of each quantity that a selection names. What is not listed may have any value, e.g. a difference
#: of lengths in operations.
QUANTITY_RANGES = {
    "share": SHARE_RANGE,
    "tokens": NON_NEGATIVE,
    "characters": NON_NEGATIVE,
    "entries": NON_NEGATIVE,
    "number distance": SHARE_RANGE,  # `answer_numbers.number_distance`
    "error": NON_NEGATIVE,
    "squared distance": ValueRange(0.0, 2.0),  # of two distributions
    "nats": NON_NEGATIVE,
    "correlation": CORRELATION_RANGE,
    "r": CORRELATION_RANGE,
}


def weighted_sum_range(terms: Iterable[tuple[float, ValueRange]]) -> ValueRange:
    """The range of a weighted sum of quantities that may have any combination of values."""
    low: float | None = 0.0
    high: float | None = 0.0
    for weight, term in terms:
        if weight == 0:
            continue
        scaled = term.scaled(weight)
        low = None if low is None or scaled.low is None else low + scaled.low
        high = None if high is None or scaled.high is None else high + scaled.high
    return UNBOUNDED if low == high else ValueRange(_cleaned(low), _cleaned(high))


def _cleaned(end: float | None) -> float | None:
    """An end without the rounding of a sum, e.g. 1 for 0.9999999999999999."""
    return None if end is None else float(np.round(end, 12))
