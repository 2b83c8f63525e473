"""Claims and figures of introspection in words for the tasks of any world.

Claims and figures are written for the built-in tasks: those that are held out, and those that are trained. For another
world each of their selections takes that world's held-out or trained tasks.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import BUILT_IN_TASKS
from nosce.data.worlds.behaviours.text_behaviours import TextTasks

ValueT = TypeVar("ValueT")


def for_tasks(value: ValueT, tasks: TextTasks) -> ValueT:
    """A claim or figure whose selections are of a world's tasks, in place of the built-in ones."""
    if tasks == BUILT_IN_TASKS:
        return value
    if isinstance(value, Selection):
        return cast(ValueT, replace(value, attributes=_attributes(value.attributes, tasks)))
    if isinstance(value, tuple):
        return cast(ValueT, tuple(for_tasks(one, tasks) for one in value))
    if is_dataclass(value) and not isinstance(value, type):
        changed = {one.name: for_tasks(getattr(value, one.name), tasks) for one in fields(value) if one.init}
        return replace(value, **changed)
    return value


def _attributes(attributes: tuple[str, ...], tasks: TextTasks) -> tuple[str, ...]:
    """The world's attributes that stand in the place of these."""
    if attributes == BUILT_IN_TASKS.attributes(BUILT_IN_TASKS.held_out):
        return tasks.attributes(tasks.held_out)
    if attributes == BUILT_IN_TASKS.attributes(BUILT_IN_TASKS.trained):
        return tasks.attributes(tasks.trained)
    return attributes
