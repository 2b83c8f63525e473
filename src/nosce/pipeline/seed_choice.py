"""Which training seeds a command means: a number of them, or the seeds themselves as ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nosce.errors import UsageError

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def parse_seeds(text: str | None) -> tuple[int | None, tuple[int, ...]]:
    """The number of seeds, or the seeds themselves, of a text such as "5", "10-14" or "0-2,10-14".

    A number alone is how many; "10-10" is the seed 10 alone.

    Returns:
        The number, None where there is none, and the seeds, () where there are none.

    Raises:
        UsageError: It is neither, a range runs backwards, or a seed stands twice.
    """
    from nosce.study import MAX_SEEDS  # here: the plan's record, which lists of studies read, imports this module

    if text is None or not text.strip():
        return None, ()
    if re.fullmatch(r"-?\d+", text.strip()):
        return int(text), ()
    seeds: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"--seeds {text} is no choice of seeds; write how many, e.g. 5, or which, e.g. 10-14.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < 2**31 or last - first >= MAX_SEEDS:
            raise UsageError(
                f"--seeds {text} has the range {part.strip()}; name the smaller seed first, at most {MAX_SEEDS:,} "
                "seeds below 2^31."
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds) or len(seeds) > MAX_SEEDS:
        raise UsageError(f"--seeds {text} names a seed twice or more than {MAX_SEEDS:,} seeds; name each once.")
    return None, tuple(seeds)


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as `--seeds` takes them, e.g. "0-2,10-14"."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(f"{run[0]}-{run[-1]}" for run in runs)
