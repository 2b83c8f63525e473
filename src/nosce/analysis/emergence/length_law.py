"""Does a score fall geometrically or linearly with the length of the target?

If every token of a target must be right and each is right with probability p, then exact match of targets of L tokens
is p^L, while the edit distance is L (1 - p): the one falls geometrically in L, the other rises linearly (Schaeffer et
al. 2023, arXiv:2304.15004, section 2; section 3 shows both on GPT-3). Both forms are fitted with two numbers each, by
least squares on the score itself, and the one that leaves less is nearer.

Letters: L lengths, G candidate ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from nosce.analysis.jackknife import ValueColumns, jackknife_selections
from nosce.analysis.measures import Measure
from nosce.analysis.selection import Selection
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.ranges import UNBOUNDED, ValueRange
from nosce.errors import DataError
from nosce.records import Estimate

MIN_LENGTHS = 4  # two numbers fit any two points, and three hardly tell a line from a bend
LEAST_RATIO, LARGEST_RATIO, N_RATIOS = 0.02, 8.0, 40  # of neighbouring lengths, in each of three rounds of the search


@dataclass(frozen=True, kw_only=True)
class LengthLaw(Measure):
    """By how much a geometric curve in the length lies nearer to selections' means than a straight line does.

    The root mean square of what the line leaves, minus that of the geometric curve: above 0 where the curve is nearer,
    below 0 where the line is. Each length counts once, however many items it has.

    Args:
        points: The length of the target and the readings of it, at least four lengths.
    """

    points: tuple[tuple[float, Selection], ...]

    @property
    def quantity(self) -> str:
        """That of the selections."""
        return self.points[0][1].quantity

    @property
    def is_difference(self) -> bool:
        """A difference of two distances; of shares it is shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """Of shares -1 to 1, since each distance is at most 1."""
        ends = self.points[0][1].value_range
        if ends.low is None or ends.high is None:
            return UNBOUNDED
        return ValueRange(ends.low - ends.high, ends.high - ends.low)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean of the seeds' numbers, with an interval over items and seeds.

        Raises:
            DataError: There are fewer than four lengths, or one has no readings.
        """
        lengths = np.array([length for length, _ in self.points])
        if len(np.unique(lengths)) < MIN_LENGTHS:
            raise DataError(f"{len(lengths)} lengths cannot tell a line from a curve; give {MIN_LENGTHS} or more.")

        def statistic(columns: ValueColumns) -> float:
            return geometric_advantage(lengths, np.array([column.mean() for column in columns]))

        selections = [selection for _, selection in self.points]
        return jackknife_selections(selections, statistic, readings, unit, self.value_range)


def geometric_advantage(lengths: FloatArray, scores: FloatArray) -> float:
    """What a least-squares line leaves of scores, minus what a geometric curve leaves (root mean squares)."""
    line = np.stack([np.ones_like(lengths), lengths - lengths.mean()], 1)
    rest = scores - line @ np.linalg.lstsq(line, scores, rcond=None)[0]
    return float(np.sqrt((rest**2).mean()) - _geometric_rest(lengths, scores))


def _geometric_rest(lengths: FloatArray, scores: FloatArray) -> float:
    """The root mean square of what the nearest a r^L leaves, by a search over r in three rounds."""
    offsets = lengths - lengths.mean()
    ratios = np.geomspace(LEAST_RATIO, LARGEST_RATIO, N_RATIOS)
    for _ in range(3):
        curves = ratios[:, None] ** offsets[None]  # (G, L)
        factors = (curves @ scores) / (curves**2).sum(1)
        rests = ((scores[None] - factors[:, None] * curves) ** 2).mean(1)
        best = int(rests.argmin())
        around = ratios[max(0, best - 1)], ratios[min(len(ratios) - 1, best + 1)]
        ratios = np.geomspace(*around, N_RATIOS)
    return float(np.sqrt(rests[best]))
