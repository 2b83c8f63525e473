"""Which of the plans of a study and scale is meant: the fullest, unless a smaller one is asked for.

`nosce run --arms` and `--seeds` make smaller plans of a study. Their results lie beside the whole ones and hide none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nosce.errors import UsageError

if TYPE_CHECKING:
    from nosce.pipeline.plan_record import PlanRecord


def fullest_plan(newest_first: Sequence[PlanRecord]) -> PlanRecord:
    """The fullest of several plans of one study and scale; of equals the newest.

    The newest plan of the whole study is taken, or one that has all of its steps and more seeds. A study that was
    changed since is therefore shown as it is now, though an earlier version may have had more arms. Where no plan is of
    the whole study, the one of most arms is taken, then of most seeds.

    Args:
        newest_first: The plans, at least one.
    """
    if not (whole := [plan for plan in newest_first if plan.is_whole]):
        return max(newest_first, key=_size)
    newest = whole[0]
    return max((plan for plan in whole if _includes(plan, newest)), key=_size)


def _size(plan: PlanRecord) -> tuple[int, int]:
    return len(plan.arms), len(plan.seeds)


def _includes(plan: PlanRecord, other: PlanRecord) -> bool:
    """Is a plan of the same study, and has it all that another has but the estimates?"""
    same_study = (plan.study_arms, plan.study_seeds) == (other.study_arms, other.study_seeds)
    return same_study and other.steps.keys() - {other.estimates} <= plan.steps.keys()


def narrowed_plans(
    plans: Sequence[PlanRecord], arms: Sequence[str], n_seeds: int | None, seeds: Sequence[int] = ()
) -> list[PlanRecord]:
    """The plans of exactly these arms and so many seeds, or exactly these seeds.

    Args:
        plans: The plans.
        arms: Names of the arms, in any order and in capitals or not; empty: any.
        n_seeds: Number of seeds; None: any.
        seeds: The seeds; (): any.
    """
    asked = {name_key(name) for name in arms}
    chosen = []
    for plan in plans:
        has_arms = not asked or {name_key(name) for name in plan.arms} == asked
        has_seeds = not seeds or {*plan.seeds} == {*seeds}
        if has_arms and has_seeds and n_seeds in (None, len(plan.seeds)):
            chosen.append(plan)
    return chosen


def describe_part(arms: Sequence[str], all_arms: Sequence[str], seeds: Sequence[int], all_seeds: Sequence[int]) -> str:
    """How much of a study a plan has, e.g. "1 of 2 arms and 1 of 3 seeds"; "" for the whole study."""
    parts = []
    for word, n_here, n_all in (("arm", len(arms), len(all_arms)), ("seed", len(seeds), len(all_seeds))):
        if n_here < n_all:
            parts.append(f"{n_here} of {n_all} {word}{'' if n_all == 1 else 's'}")
    return " and ".join(parts)


def match_name(asked: str, names: Sequence[str], what: str) -> str:
    """The one of some names that somebody means: exactly it, or but for capitals, spaces, hyphens and underscores.

    Args:
        asked: What was given on the command line.
        names: The names.
        what: The beginning of the sentence on a name that is not there, e.g. "study 'x' has no arm".

    Raises:
        UsageError: No name fits, or several do.
    """
    if asked in names:
        return asked
    fitting = [name for name in names if name_key(name) == name_key(asked)]
    if len(fitting) != 1:
        raise UsageError(f"{what} {asked!r}; take one of {', '.join(fitting or names)}.")
    return fitting[0]


def name_key(name: str) -> str:
    """A name without what people write differently: capitals, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.casefold())
