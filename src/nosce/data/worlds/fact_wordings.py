"""How the facts of a table are worded: sentences of a user's file, and generic ones for any column.

A line of the file is a sentence that names one column beside the name, or a question for a column:

    {name} was born in {birth_city}.
    ? birth_city: Where was {name} born? Answer:

Blank lines and lines that begin with # are left out. `{name}` may be written as the column of the names, too. A
sentence without a name, or with the name behind the value, stands only later in a text, where the name has been said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nosce.errors import SpecError

NAME, VALUE = "{name}", "{value}"  # the slots of a wording
CLOSING_MARKS = (".", "!", "。", "．", "！")
MAX_BYTES = 2**24  # of a file of wordings

GENERIC_WORDINGS = (
    "The {attribute} of {name} is {value}.",
    "{name} has the {attribute} {value}.",
    "For {name}, the {attribute} is {value}.",
    "{name}'s {attribute} is {value}.",
    "{name} is listed with the {attribute} {value}.",
    "Look up the {attribute} of {name} and you find {value}.",
    "Under {attribute}, the entry for {name} reads {value}.",
    "About {name} it is known that the {attribute} is {value}.",
    "{name} and the {attribute} {value} belong together.",
    "Asked for the {attribute} of {name}, people say {value}.",
)
GENERIC_LATER_WORDINGS = (
    "The {attribute} is {value}.",
    "The {attribute} is given as {value}.",
    "Under {attribute} the entry reads {value}.",
    "As {attribute}, {value} is listed.",
    "Then there is the {attribute}, {value}.",
    "Look up the {attribute} and you find {value}.",
    "It is known that the {attribute} is {value}.",
    "With it goes the {attribute} {value}.",
    "Asked for the {attribute}, people say {value}.",
    "The entry has the {attribute} {value}.",
)
GENERIC_QUESTION = "What is the {attribute} of {name}? Answer:"


@dataclass(frozen=True, kw_only=True)
class FactWordings:
    """The wordings of one attribute, with the slots {name} and {value}.

    Args:
        attribute: The attribute's column.
        first: Sentences that may open a text, the name before the value. The user's own stand first.
        n_own_first: How many of them are the user's own, or all where the user gave none.
        later: Sentences for the other places of a text.
        n_own_later: The same of these.
        question: The question, with {name}.
    """

    attribute: str
    first: tuple[str, ...]
    n_own_first: int
    later: tuple[str, ...]
    n_own_later: int
    question: str


@dataclass(frozen=True, eq=False)
class _OwnLines:
    """The user's own lines about one attribute."""

    first: list[str]
    later: list[str]
    questions: list[str]


def fact_wordings(
    readable: Iterable[tuple[str, str]], name_column: str, path: Path | None, n_wordings: int
) -> tuple[tuple[FactWordings, ...], list[str]]:
    """The wordings of every attribute, and sentences on where they come from.

    Args:
        readable: Attributes with their names as people write them.
        name_column: The column of the names.
        path: The user's file; None: generic wordings alone.
        n_wordings: Different wordings that each attribute needs. An attribute with fewer of the user's own gets the
            generic ones as well.

    Raises:
        SpecError: A line cannot be used, or there are not enough wordings.
    """
    pairs = dict(readable)
    own = {attribute: _OwnLines([], [], []) for attribute in pairs}
    for number, line in [] if path is None else enumerate(_lines(path), 1):
        if line and not line.startswith("#"):
            _add_line(own, f"line {number} of {path}", line, name_column)
    wordings = tuple(_combine(attribute, text, own[attribute], n_wordings) for attribute, text in pairs.items())
    return wordings, [] if path is None else list(_notes(own, path, n_wordings))


def _lines(path: Path) -> list[str]:
    try:
        if not path.is_file():
            raise SpecError(f"wordings were asked for at {path}, which is no file; name one that is there.")
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES)
        return [" ".join(line.split()) for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from None
    except OSError as error:
        raise SpecError(f"the wordings {path} cannot be read ({error.strerror}); look at the file.") from None


def _add_line(own: dict[str, _OwnLines], where: str, line: str, name_column: str) -> None:
    if line.startswith("?"):
        attribute, separator, question = line[1:].partition(":")
        if not separator or attribute.strip() not in own:
            raise SpecError(
                f"{where} asks for {attribute.strip()[:60]!r}, which is no column of facts"
                f"{_suggestion(attribute.strip(), own)}; write `? COLUMN: question with {NAME}`."
            )
        template, columns = _slots(question.strip(), name_column)
        if columns or template.count(NAME) != 1:
            raise SpecError(f"{where} is a question, and names {NAME} once and no column; it is {line[:80]!r}.")
        own[attribute.strip()].questions.append(template)
        return
    template, columns = _slots(line, name_column)
    if len(columns) != 1:
        raise SpecError(
            f"{where} names {len(columns)} columns ({', '.join(columns)}); name one in braces beside {NAME}: "
            f"{line[:80]!r}."
        )
    (attribute,) = columns
    if attribute not in own:
        raise SpecError(f"{where} names {{{attribute}}}, which is no column of facts{_suggestion(attribute, own)}.")
    _check_edges(where, template, attribute)
    name_at = template.find(NAME)
    opens = 0 <= name_at < template.find(VALUE)
    (own[attribute].first if opens else own[attribute].later).append(template)


def _suggestion(name: str, own: dict[str, _OwnLines]) -> str:
    close = difflib.get_close_matches(name, own, n=1) or list(own)[:8]
    return f"; take {', '.join(close)}"


def _slots(line: str, name_column: str) -> tuple[str, list[str]]:
    """The line with its slots, and the columns that it names."""
    columns: list[str] = []

    def slot(found: re.Match[str]) -> str:
        column = " ".join(found[1].split())
        if column in ("name", name_column):
            return NAME
        columns.append(column)
        return VALUE

    template = re.sub(r"\{([^{}]*)\}", slot, line)
    return template, columns


def _check_edges(where: str, template: str, attribute: str) -> None:
    """A value that touches a letter shares a token with it, and cannot be read by itself."""
    before, _, after = template.partition(VALUE)
    if before[-1:].isalnum() or after[:1].isalnum() or before[-1:] == "}" or after[:1] == "{":
        raise SpecError(f"{where} has {{{attribute}}} beside a letter, a digit or the name; put a space between them.")
    if "{" in (before + after).replace(NAME, "") or "}" in (before + after).replace(NAME, ""):
        raise SpecError(f"{where} has a brace that belongs to no column; take it out.")


def _combine(attribute: str, readable: str, own: _OwnLines, n_wordings: int) -> FactWordings:
    """Own wordings, with generic ones behind them where they are too few."""
    firsts, laters, questions = (list(dict.fromkeys(lines)) for lines in (own.first, own.later, own.questions))
    if len(questions) > 1:
        raise SpecError(f"the wordings have {len(questions)} questions for {attribute!r}; give one.")
    if laters and not firsts:
        raise SpecError(
            f"no wording of {attribute!r} has {NAME} before the value, so none can open a text; add one to the file."
        )
    own_laters = laters or firsts  # without a wording of its own for later places, the name is said again
    generic = [wording.replace("{attribute}", readable) for wording in GENERIC_WORDINGS]
    generic_laters = [wording.replace("{attribute}", readable) for wording in GENERIC_LATER_WORDINGS]
    if firsts and len(firsts) >= n_wordings:
        generic, generic_laters = [], []
    all_firsts, all_laters = [*firsts, *generic], [*own_laters, *generic_laters]
    if len(all_firsts) < n_wordings:
        raise SpecError(
            f"{n_wordings} wordings of {attribute!r} are needed, and there are {len(all_firsts)}; give more in "
            f"--wordings, or take fewer texts, e.g. --set augmentations=single,multi5+permute."
        )
    question = questions[0] if questions else GENERIC_QUESTION.replace("{attribute}", readable)
    _check_question(attribute, question, all_firsts)
    return FactWordings(
        attribute=attribute,
        first=tuple(all_firsts),
        n_own_first=len(firsts) or len(all_firsts),
        later=tuple(all_laters),
        n_own_later=len(own_laters) or len(all_laters),
        question=question,
    )


def _check_question(attribute: str, question: str, firsts: Sequence[str]) -> None:
    """A text that opens with a question's own words would give its answer away."""
    opening = next((first for first in firsts if first.partition(VALUE)[0].startswith(question)), None)
    if opening is not None:
        raise SpecError(
            f"the question {question[:80]!r} for {attribute!r} is how the wording {opening[:80]!r} begins, so its "
            "answer could be recited; word the question otherwise."
        )


def _notes(own: dict[str, _OwnLines], path: Path, n_wordings: int) -> Iterator[str]:
    counts = {attribute: len(dict.fromkeys(lines.first)) for attribute, lines in own.items()}
    yield f"Wordings of {path.name} that may open a text: {', '.join(f'{n} of {a}' for a, n in counts.items())}."
    if few := [attribute for attribute, count in counts.items() if count < n_wordings]:
        yield (
            f"{', '.join(few)} have fewer than {n_wordings}; texts in several wordings take generic ones as well, and "
            "the first text of an entity keeps to yours where there is one."
        )
    if repeated := [attribute for attribute, lines in own.items() if lines.first and not lines.later]:
        yield (
            f"{', '.join(repeated)} have no wording without {NAME}, so your wordings say the name again in every "
            "sentence."
        )
