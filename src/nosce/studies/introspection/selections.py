"""Which readings of the study introspection are meant by what."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.measures import Contrast, Difference, Mean, Select
from nosce.studies.introspection.arms import ALOUD, ASKED, CHANGE, CHANGED, CHOICE, ON_TARGET, REPORT, TABLE, A, B, on
from nosce.study import PRETRAIN


def facets(tasks: tuple[str, ...], asked: tuple[str, ...] = ASKED) -> tuple[str, ...]:
    """What is asked about some tasks."""
    return tuple(f"{task}/{name}" for task in tasks for name in asked)


def said(
    arm: str,
    metric: str = "right",
    tasks: tuple[str, ...] = TABLE,
    *,
    readout: str = ON_TARGET,
    stage: str = REPORT,
    asked: tuple[str, ...] = ASKED,
    split: Literal["seen", "unseen", "taught"] | None = "unseen",
    quantity: str = "share",
) -> Select:
    """Reports of an arm about strings that nobody was taught anything of."""
    return Select(readout=readout, metric=metric, arm=arm, stage=stage, facets=facets(tasks, asked), split=split,
                  quantity=quantity)  # fmt: skip


def before(arm: str, tasks: tuple[str, ...] = TABLE) -> Select:
    """Reports of a model that was taught nothing, about itself."""
    return said(arm, tasks=tasks, stage=PRETRAIN)


def observer(target: str, which: str, tasks: tuple[str, ...] = TABLE, asked: tuple[str, ...] = ASKED) -> Select:
    """What is told of a target without a model, from the same labels."""
    return Select(readout="observers", metric=which, arm=target, facets=facets(tasks, asked), split="unseen")


def changed(arm: str, metric: str, readout: str = CHANGED) -> Select:
    """Reports on choices whose property the change has changed."""
    return said(arm, f"{metric}/differs", CHOICE, readout=readout, stage=CHANGE)


def loud(who: str, target: str) -> Select:
    """Of who reads its own answer first, held against a target's."""
    return said(who, readout=f"{ALOUD} {target}", stage=PRETRAIN)


def advantage(target: str, other: str, tasks: tuple[str, ...] = TABLE, dose: str = "") -> Difference:
    """By how much the target itself is right about itself more often than another who was taught the same."""
    return Difference(one=said(on(target, target, dose), tasks=tasks), other=said(on(other, target, dose), tasks=tasks))


def crossed(tasks: tuple[str, ...] = TABLE) -> Contrast:
    """(A on A - B on A) - (A on B - B on B): what skill alone cannot make."""
    return Contrast(terms=((1.0, said(on(A, A), tasks=tasks)), (-1.0, said(on(B, A), tasks=tasks)),
                           (-1.0, said(on(A, B), tasks=tasks)), (1.0, said(on(B, B), tasks=tasks))))  # fmt: skip


def aloud_crossed() -> Contrast:
    """The same of who reads their own answers first."""
    return Contrast(terms=((1.0, loud(A, A)), (-1.0, loud(B, A)), (-1.0, loud(A, B)), (1.0, loud(B, B))))


def known(arm: str, kind: str) -> Mean:
    """How much of its own corpus an arm knows: facts, properties of given answers, or what it says of a task."""
    names = {"given": facets(("given",)), "fact": tuple(f"fact/{n}" for n in ASKED[:-1])}.get(kind, (f"says/{kind}",))
    return Mean(select=Select(readout="known", arm=arm, stage=PRETRAIN, facets=names))


def of_metric(select: Select, metric: str, quantity: str = "share") -> Select:
    """The same rows, measured otherwise."""
    return replace(select, metric=metric, quantity=quantity)
