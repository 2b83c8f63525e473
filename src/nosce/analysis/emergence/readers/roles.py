"""Which column of a table has which role: as the user says, by its header, or asked back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.analysis.emergence.readers.columns import columns_by_role, metric_header, plain_header, stderr_column
from nosce.analysis.emergence.readers.numbers import parse_number, parse_numbers
from nosce.errors import UsageError

PERPLEXITIES = ("perplexity", "ppl")


@dataclass(frozen=True, eq=False)
class RoleColumns:
    """Which columns have which role.

    Args:
        columns: Role -> column.
        sizes_from_names: Whether the sizes are read from the models' names.
        notes: What of it has to be said.
    """

    columns: Mapping[str, str]
    sizes_from_names: bool
    notes: tuple[str, ...]


def find_roles(table: pl.DataFrame, source: str, choice: ColumnChoice) -> RoleColumns:
    """The column of each role: as the user says, or the only one whose header fits.

    Raises:
        UsageError: Several columns may have a role, or none has one that is needed.
    """
    columns = _named_roles(table, source, choice)
    _add_by_header(table, columns, source, choice)
    for role, of in (("stderr", "sharp"), ("continuous_stderr", "continuous")):
        if of in columns and (column := stderr_column(table.columns, columns[of])) is not None:
            columns[role] = column
    if choice.n is not None and "sharp" in columns:
        columns.pop("right", None)
    _settle_scores(table, columns, source, choice)
    notes = []
    if metric_header(columns.get("continuous", "")) in PERPLEXITIES:
        notes.append(f"`{columns['continuous']}` is taken on its log scale.")
    sizes_from_names = "size" not in columns and "model" in columns
    if sizes_from_names:
        notes.append(f"The sizes are those in the names of `{columns['model']}`.")
    elif "size" not in columns:
        raise UsageError(_none_is("size", table.columns, source, choice))
    if "sharp" not in columns and not {"right", "asked"} <= columns.keys():
        raise UsageError(_none_is("sharp", table.columns, source, choice))
    return RoleColumns(columns, sizes_from_names, tuple(notes))


def _named_roles(table: pl.DataFrame, source: str, choice: ColumnChoice) -> dict[str, str]:
    """Role -> column, where the user named one; `--n` and `--chance` may be numbers instead."""
    columns = {}
    for role in ("size", "sharp", "continuous", "item", "seed"):
        named = choice.said(role)
        if named is not None and not (role == "continuous" and named == "none"):
            columns[role] = _named_column(table, str(named), role, source)
    for role, words in (("asked", choice.n), ("chance", choice.chance)):
        if words is not None and parse_number(words.rstrip("%")) is None:
            columns[role] = _named_column(table, words, "n" if role == "asked" else role, source)
    return columns


def _add_by_header(table: pl.DataFrame, columns: dict[str, str], source: str, choice: ColumnChoice) -> None:
    """Add the roles that the user did not name."""
    taken = set(columns.values())
    left_out = {"continuous": choice.continuous == "none", "asked": choice.n, "chance": choice.chance}
    for role, candidates in columns_by_role(table.columns).items():
        if role in columns or left_out.get(role):
            continue
        left = [name for name in candidates if name not in taken]
        if role == "size" and len(left) > 1:
            left = [name for name in left if table[name].n_unique() > 1] or left[:1]
        if len(left) > 1 and role in ROLE_MEANINGS and not all(table[name].equals(table[left[0]]) for name in left):
            raise UsageError(_which_one(role, left, source, choice))
        if left:
            columns[role] = left[0]


def _settle_scores(table: pl.DataFrame, columns: dict[str, str], source: str, choice: ColumnChoice) -> None:
    """Numbers of right answers may be called `correct`, and shares `score`: what they are shows beside `total`."""
    sharp = columns.get("sharp")
    if sharp is None and "right" not in columns and "value" in columns and "metric" not in columns:
        columns["sharp"] = columns["value"]
    elif sharp is not None and choice.sharp is None and {"asked", "right"} <= columns.keys():
        columns.pop("sharp")  # the counts say more than the share
    elif sharp is not None and choice.sharp is None and "asked" in columns and plain_header(sharp) == "correct":
        numbers = parse_numbers(table[sharp])[0]
        if (numbers > 1).any():
            columns["right"] = columns.pop("sharp")
        elif not (numbers > 0).filter(numbers < 1).any() and (parse_numbers(table[columns["asked"]])[0] > 1).any():
            raise UsageError(
                f"`{sharp}` of {source} has 0 and 1 alone beside `{columns['asked']}`, which may be counts or shares; "
                f"call the column n_correct if they are counts, or say {choice.command(source, '--sharp', sharp)}."
            )


def _named_column(table: pl.DataFrame, name: str, role: str, source: str) -> str:
    if name in table.columns:
        return name
    alike = [column for column in table.columns if plain_header(column) == plain_header(name)]
    if len(alike) == 1:
        return alike[0]
    raise UsageError(
        f"--{role} {name} names no column of {source}, which has {', '.join(map(repr, table.columns[:12]))}; take one."
    )


ROLE_MEANINGS = {
    "size": "the size",
    "sharp": "the sharp score",
    "continuous": "the continuous score",
    "asked": "the number of items",
    "chance": "the score of guessing",
}


def _which_one(role: str, candidates: Sequence[str], source: str, choice: ColumnChoice) -> str:
    """The sentence that asks which of several columns has a role."""
    many = " and ".join(f"`{name}`" for name in candidates[:4])
    tail = " (or none)" if role == "continuous" else ""
    command = choice.command(source, "--n" if role == "asked" else f"--{role}", candidates[0])
    return f"{many} of {source} may each be {ROLE_MEANINGS[role]}; name one: {command}{tail}."


def _none_is(role: str, columns: Sequence[str], source: str, choice: ColumnChoice) -> str:
    """The sentence that asks for the column of a role which no header has."""
    shown = ", ".join(map(repr, columns[:12]))
    command = choice.command(source, f"--{role}", "COLUMN")
    return f"none of the columns of {source}, {shown}, is plainly {ROLE_MEANINGS[role]}; name it: {command}."
