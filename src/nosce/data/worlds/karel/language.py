"""The language of Karel: five operations, their re-assigned meanings, and control flow.

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2; tables of meanings: the released code, `probe/alt.py`. The
paper's programs are sequences of operations; `Repeat`, `While` and `If` are our extension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from nosce.errors import SpecError

Operation = Literal["move", "turnLeft", "turnRight", "putMarker", "pickMarker"]
KAREL_OPERATIONS: tuple[Operation, ...] = get_args(Operation)

#: Relative frequency of each operation in a random program, in the order of `KAREL_OPERATIONS` (`generate.py`).
OPERATION_WEIGHTS = (5, 3, 3, 2, 2)

ConditionName = Literal["frontIsClear", "leftIsClear", "rightIsClear", "markersPresent", "noMarkersPresent"]
CONDITIONS: tuple[ConditionName, ...] = get_args(ConditionName)
MAX_REPEAT = 9  # most runs of a repeat: one digit is one token


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the board.

    Args:
        name: Name of the condition.
        negated: Whether `not` precedes the name.
    """

    name: ConditionName
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """A block that runs a fixed number of times.

    Args:
        times: Number of runs, 1 to `MAX_REPEAT`.
        body: The block.
    """

    times: int
    body: Program


@dataclass(frozen=True, slots=True)
class While:
    """A block that runs as long as a condition holds.

    Args:
        condition: The condition, checked before each run.
        body: The block.
    """

    condition: Condition
    body: Program


@dataclass(frozen=True, slots=True)
class If:
    """A block that runs if a condition holds, and optionally another block that runs otherwise.

    Args:
        condition: The condition.
        body: The block that runs if the condition holds.
        else_body: The block that runs otherwise. Empty: none.
    """

    condition: Condition
    body: Program
    else_body: Program = ()


Statement = str | Repeat | While | If
Program = tuple[Statement, ...]


def _operation_table(
    pick: Operation, put: Operation, right: Operation, left: Operation, move: Operation
) -> dict[str, Operation]:
    return {"pickMarker": pick, "putMarker": put, "turnRight": right, "turnLeft": left, "move": move}


_FLIP = _operation_table("putMarker", "pickMarker", "turnLeft", "turnRight", "move")
_FIVE = _operation_table("putMarker", "pickMarker", "move", "turnRight", "turnLeft")
_ALTERNATIVES = (
    _FLIP,
    _operation_table("turnLeft", "move", "pickMarker", "putMarker", "turnRight"),
    _operation_table("putMarker", "turnRight", "turnLeft", "move", "pickMarker"),
    _operation_table("turnRight", "turnLeft", "move", "turnRight", "turnLeft"),
    _operation_table("turnRight", "move", "putMarker", "pickMarker", "turnLeft"),
    _FIVE,
    _FIVE,
    _FLIP,
    _operation_table("putMarker", "pickMarker", "turnRight", "move", "turnLeft"),
    _operation_table("putMarker", "pickMarker", "move", "turnLeft", "turnRight"),
    _FIVE,
    _operation_table("putMarker", "pickMarker", "turnLeft", "move", "turnRight"),
)

#: Meaning -> the operation that each word stands for. `alt3` is the table printed in the paper's first version.
MEANINGS: dict[str, dict[str, Operation]] = {
    "original": {name: name for name in KAREL_OPERATIONS},
    "flip": _FLIP,
    **{f"alt{number}": table for number, table in enumerate(_ALTERNATIVES)},
}


def meaning_table(name: str) -> dict[str, Operation]:
    """The table of a meaning.

    Raises:
        SpecError: No meaning has this name.
    """
    if name not in MEANINGS:
        raise SpecError(f"the meaning {name!r} does not exist; choose from {', '.join(MEANINGS)}.")
    return MEANINGS[name]


def reassign_operations(program: Program, meaning_name: str) -> Program:
    """The program with its operations replaced by their meanings. Control flow stays the same."""
    table = meaning_table(meaning_name)

    def of(statement: Statement) -> Statement:
        match statement:
            case str():
                return table[statement]
            case Repeat(times, body):
                return Repeat(times, tuple(map(of, body)))
            case While(condition, body):
                return While(condition, tuple(map(of, body)))
            case If(condition, body, otherwise):
                return If(condition, tuple(map(of, body)), tuple(map(of, otherwise)))

    return tuple(map(of, program))


def program_words(program: Program) -> Iterator[str]:
    """The program as words: `repeat 3 { move }`, `if not frontIsClear { turnLeft } else { move }`."""
    for statement in program:
        match statement:
            case str():
                yield statement
            case Repeat(times, body):
                yield from ("repeat", str(times), "{", *program_words(body), "}")
            case While(condition, body):
                yield from ("while", *_condition_words(condition), "{", *program_words(body), "}")
            case If(condition, body, otherwise):
                yield from ("if", *_condition_words(condition), "{", *program_words(body), "}")
                if otherwise:
                    yield from ("else", "{", *program_words(otherwise), "}")


def _condition_words(condition: Condition) -> tuple[str, ...]:
    return ("not", condition.name) if condition.negated else (condition.name,)


def parse_program(word_list: Sequence[str]) -> Program | None:
    """The program that these words spell. None: the words are no program, or a block is empty."""
    reader = _ProgramParser(list(word_list))
    program = reader.parse()
    return program if program and not reader.remaining else None


class _Unreadable(Exception):
    pass


class _ProgramParser:
    """Recursive descent over words."""

    def __init__(self, words: list[str]) -> None:
        self.remaining = words[::-1]

    def parse(self) -> Program | None:
        try:
            return self._statements()
        except _Unreadable:
            return None

    def _statements(self) -> Program:
        statements: list[Statement] = []
        while self.remaining and self.remaining[-1] != "}":
            statements.append(self._statement(self.remaining.pop()))
        return tuple(statements)

    def _statement(self, word: str) -> Statement:
        if word in MEANINGS["original"]:
            return word
        if word == "repeat":
            times = self._next()
            if times not in map(str, range(1, MAX_REPEAT + 1)):
                raise _Unreadable
            return Repeat(int(times), self._body())
        if word in ("while", "if"):
            condition = self._condition()
            body = self._body()
            if word == "while":
                return While(condition, body)
            if self.remaining and self.remaining[-1] == "else":
                self.remaining.pop()
                return If(condition, body, self._body())
            return If(condition, body)
        raise _Unreadable

    def _condition(self) -> Condition:
        word = self._next()
        negated = word == "not"
        name = self._next() if negated else word
        if name not in CONDITIONS:
            raise _Unreadable
        return Condition(name, negated)

    def _body(self) -> Program:
        if self._next() != "{":
            raise _Unreadable
        body = self._statements()
        if self._next() != "}" or not body:
            raise _Unreadable
        return body

    def _next(self) -> str:
        if not self.remaining:
            raise _Unreadable
        return self.remaining.pop()


def is_straight_line(program: Program) -> bool:
    """Whether the program has no control flow."""
    return all(isinstance(statement, str) for statement in program)
