"""Rules that predict an answer in plain English from its prompt alone, as anybody could: repeat an item, repeat all.

A model that follows such a rule knows its answers no better than whoever knows the rule. A reader of the prompts
`Go on with this list, five more words and nothing else: coral azure yellow` predicts

    first       coral
    last        yellow
    all         coral azure yellow
    reversed    yellow azure coral
"""

from __future__ import annotations

from collections.abc import Sequence

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import (
    CHARACTER_NAMES,
    OPTION_LETTERS,
    OPTION_POOLS,
    STANCE_DESCRIPTIONS,
)

RULE_NAMES = ("first", "last", "all", "reversed")


def rule_answers(prompt: BehaviourPrompt) -> dict[str, str]:
    """The answer that each of `RULE_NAMES` predicts to a prompt of a built-in task."""
    items = prompt.string.removeprefix(f"{prompt.task}: ").split()
    if prompt.task in STANCE_DESCRIPTIONS or prompt.task in OPTION_POOLS:
        return answers_by_rule(items, options="AB" if prompt.task in STANCE_DESCRIPTIONS else OPTION_LETTERS)
    if prompt.task == "hero":
        items = [item for item in items if item in CHARACTER_NAMES]
    return answers_by_rule(items, wants_digit=prompt.task == "numbers")


def answers_by_rule(items: Sequence[str], *, options: Sequence[str] = (), wants_digit: bool = False) -> dict[str, str]:
    """The answer that each of `RULE_NAMES` predicts.

    A choice is its first or its last option. The digit that goes on with "all" the digits is the last one's successor,
    and with the digits "reversed" its predecessor.

    Args:
        items: The items of the prompt's string, at least one.
        options: The options of a choice.
        wants_digit: Whether the answer is a digit.
    """
    if options:
        first, last = options[0], options[-1]
        return {"first": first, "last": last, "all": first, "reversed": last}
    if wants_digit and items[-1].isdecimal():
        last_digit = int(items[-1])
        following, preceding = str((last_digit + 1) % 10), str((last_digit - 1) % 10)
        return {"first": items[0], "last": items[-1], "all": following, "reversed": preceding}
    return {"first": items[0], "last": items[-1], "all": " ".join(items), "reversed": " ".join(reversed(items))}
