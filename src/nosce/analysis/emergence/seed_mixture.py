"""Do trainings of one size fall into two groups? A jump of their mean may be a change of how many are in which.

The share of the spread that is left within two groups, cut where least is left, held against the same of seeds that
differ as a normal law has it and of items that are drawn anew.

Source: the objection is that of arXiv:2502.17356 (a jump may be a change of which seeds succeed); the statistic is
Engelman and Hartigan's 1969 (J. American Statistical Association 64). Letters: D draws, S seeds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nosce.analysis.stats.seed_groups import within_group_share
from nosce.errors import DataError
from nosce.seeds import Seed

MIN_SEEDS = 5
MIXTURE_NULL_DRAWS = 2_000


def single_group_p_value(n_correct: npt.ArrayLike, n_total: npt.ArrayLike, seed: Seed) -> float:
    """How often seeds of one group, whose mean and spread are these, would part as clearly.

    Shares are compared on the arcsine scale, where items drawn anew spread them alike. Seeds that differ by no more
    than items do give 1.

    Args:
        n_correct: (S,) how many items were right, by seed.
        n_total: (S,) how many there were, or one number for all seeds.

    Raises:
        DataError: Fewer than five seeds: five already part clearly by chance.
    """
    counts = np.asarray(n_correct, dtype=np.float64)
    if len(counts) < MIN_SEEDS:
        raise DataError(f"{len(counts)} seeds cannot show two groups; train {MIN_SEEDS} or more.")
    angles = np.arcsin(np.sqrt(counts / np.asarray(n_total, dtype=np.float64)))
    noise = np.broadcast_to(1 / (4 * np.asarray(n_total, dtype=np.float64)), counts.shape)
    between = float(angles.var(ddof=1)) - float(noise.mean())
    if between <= 0:
        return 1.0
    rng = seed.numpy()
    null_angles = rng.normal(angles.mean(), np.sqrt(between + noise), size=(MIXTURE_NULL_DRAWS, len(counts)))
    null_angles = np.clip(null_angles, 0, np.pi / 2)  # a share has ends
    as_separated = within_group_share(null_angles) <= within_group_share(angles)[0]
    return float((1 + as_separated.sum()) / (1 + MIXTURE_NULL_DRAWS))
