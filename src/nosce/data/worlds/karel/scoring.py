"""What became of a program that a model wrote: does it run, is it right, and which states does it go through?

Everything is read from the question's text and the reply's, as anybody could who has the tables alone. A program
is right when its drawing of every output is that of the specification; what the robot hides does not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from tokenizers import Tokenizer

from nosce.data.grammar import NEVER, Grammar
from nosce.data.packing import encode
from nosce.data.worlds.karel.encoding import Lean, Official
from nosce.data.worlds.karel.interpreter import Board, execute
from nosce.data.worlds.karel.language import CONDITIONS, MOST_TIMES, OPERATIONS, Program, re_assigned, straight, words
from nosce.data.worlds.karel.vectorized import Boards, Traces, compile_all, run
from nosce.data.worlds.karel.world import Karel
from nosce.records import Outcome, Question

MOST_OPERATIONS = 14  # that a model may write (the released `lm/utils.py`)
FURTHEST = 4  # operations that are looked ahead for a way to finish
PART = 200  # questions whose ways are looked for together
DEEPEST = 3  # blocks inside each other that may be written

Metric = tuple[float, Outcome | None]


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """Reads, runs and judges programs for the specifications of a world."""

    world: Karel
    most: int = MOST_OPERATIONS

    @property
    def _text(self) -> Lean | Official:
        return self.world.text

    @cached_property
    def _size(self) -> tuple[int, int]:
        return self.world.inner[0] + 2, self.world.inner[1] + 2

    def tokens(self, tokenizer: Tokenizer) -> int:
        """The most tokens of a reply, its end included."""
        each = len(tokenizer.encode(self._text.program((OPERATIONS[0],)), add_special_tokens=False).ids)
        return (self.most * (5 if self.world.blocks else 1)) * each + 1

    def judge(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool] = ()
    ) -> Iterator[dict[str, Metric]]:
        """What can be said of each reply, by metric.

        correct: right on all pairs shown. strict: on the hidden ones too. reference: word for word the author's.
        length: operations that are written, and longer: by how many than the author's; only of what can be read.
        """
        programs = [self._text.read_program(reply) for reply in replies]
        shown, whole = self._right(questions, programs)
        for question, program, few, all_ in zip(questions, programs, shown, whole, strict=True):
            if program is None:
                yield {name: (0.0, "unreadable") for name in ("correct", "strict", "reference")}
                continue
            same = self._text.program(program) == question.target
            right = {"correct": bool(few), "strict": bool(all_), "reference": same}
            found: dict[str, Metric] = {k: (float(v), "right" if v else "wrong") for k, v in right.items()}
            length = _operations(program)
            author = _operations(self._text.read_program(question.target) or ())
            yield found | {
                "length": (float(length), None),
                "author": (float(author), None),
                "longer": (float(length - author), None),
            }

    def _right(self, questions: Sequence[Question], programs: Sequence[Program | None]) -> tuple[np.ndarray, ...]:
        """Right on the shown pairs, and on all. Shapes: (N,), (N,)."""
        pairs = self._pairs(questions)
        count, each = pairs.shape[:2]
        code = compile_all([program or () for program in programs])
        boards = Boards.read(pairs[:, :, 0].reshape(count * each, -1), *self._size)
        traces = run(boards, code.at(np.repeat(np.arange(count), each)).meaning(self.world.meaning))
        same = (traces.end.glyphs() == pairs[:, :, 1].reshape(count * each, -1)).all(1) & traces.finished
        same = same.reshape(count, each)
        return same[:, : self.world.shown].all(1), same.all(1)

    def _pairs(self, questions: Sequence[Question]) -> np.ndarray:
        return np.stack([
            np.concatenate([self._read(text) for text in (q.prompt, q.hidden) if text]) for q in questions
        ])  # fmt: skip

    def _read(self, text: str) -> np.ndarray:
        return _read_cases(self._text, text, self.world.inner[0] * self.world.inner[1])

    def trace(self, questions: Sequence[Question], replies: Sequence[str], meaning: str = "original") -> Traces:
        """Every program on its specification's first input, the words meaning what `meaning` says.

        A reply that cannot be read has no operations. Features are relative to where the run began.
        """
        starts = np.stack([self._read(q.prompt)[0, 0] for q in questions])
        code = compile_all([self._text.read_program(reply) or () for reply in replies])
        return run(Boards.read(starts, *self._size), code.meaning(meaning))

    def operations(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """Where in a reply's tokens its operations stand, in order."""
        calls = np.array([e.ids for e in encode(tokenizer, [self._text.program((o,)) for o in OPERATIONS])])
        column = np.flatnonzero((calls != calls[0]).any(0))[0]
        return np.flatnonzero(np.isin(reply, calls[:, column]))

    def readable(self, reply: str) -> bool:
        """Is the reply a program of operations alone, whose states stand in step with its words?"""
        program = self._text.read_program(reply)
        return program is not None and straight(program)

    def beginning(self, words: Sequence[str]) -> str:
        """The beginning of a program as text."""
        return self._text.program(tuple(words))

    def continuations(self, questions: Sequence[Question], begun: Sequence[Sequence[str]]) -> list[frozenset[str]]:
        """The operations that begin a shortest way to a program right on all pairs shown.

        "" where the beginning is right as it stands; none where it takes more than `FURTHEST` operations.
        """
        found: list[frozenset[str]] = []
        for first in range(0, len(questions), PART):
            found += self._continued(questions[first : first + PART], begun[first : first + PART])
        return found

    def _continued(self, questions: Sequence[Question], begun: Sequence[Sequence[str]]) -> list[frozenset[str]]:
        pairs = self._pairs(questions)[:, : self.world.shown]
        count, each = pairs.shape[:2]
        code = compile_all([tuple(words) for words in begun]).at(np.repeat(np.arange(count), each))
        starts = Boards.read(pairs[:, :, 0].reshape(count * each, -1), *self._size)
        here = run(starts, code.meaning(self.world.meaning)).end
        goal = pairs[:, :, 1].reshape(count * each, -1)
        done = (here.glyphs() == goal).all(1).reshape(count, each).all(1)
        found = [frozenset({END}) if is_ else frozenset() for is_ in done]
        left = np.flatnonzero(~done)
        for length in range(1, FURTHEST + 1):
            if not len(left):
                break
            ways = list(itertools.product(OPERATIONS, repeat=length))
            rows = (left[:, None] * each + np.arange(each)).ravel()
            boards = here.at(np.repeat(rows, len(ways)))
            tried = compile_all(ways).at(np.tile(np.arange(len(ways)), len(rows))).meaning(self.world.meaning)
            same = (run(boards, tried).end.glyphs() == np.repeat(goal[rows], len(ways), 0)).all(1)
            solved = same.reshape(len(left), each, len(ways)).all(1)
            for number, hits in zip(left, solved, strict=True):
                found[number] = frozenset(ways[way][0] for way in np.flatnonzero(hits))
            left = left[~solved.any(1)]
        return found

    def pictures(self, question: Question, reply: str) -> list[tuple[str, tuple[str, ...]]]:
        """The board of the specification's first input before the program and after each operation: (word, rows)."""
        board = self._board(question)
        program = re_assigned(self._text.read_program(reply) or (), self.world.meaning)
        return [("", tuple(board.draw())), *((word, tuple(board.draw())) for word in execute(board, program))]

    def imagined(self, question: Question, believed: Mapping[str, int]) -> tuple[str, ...] | None:
        """The first input with the robot where and as it is believed to be; None where that is off the board."""
        board = self._board(question)
        board.robot = (board.robot[0] + believed["rows"] - self._size[0] + 3,
                       board.robot[1] + believed["cols"] - self._size[1] + 3)  # fmt: skip
        board.direction = believed["direction"]
        inside = all(0 < place < size - 1 for place, size in zip(board.robot, self._size, strict=True))
        return tuple(board.draw()) if inside else None

    def named(self, feature: str, value: int) -> str:
        """A feature's value in words."""
        match feature:
            case "direction":
                return ("north", "east", "south", "west")[value]
            case "rows" | "cols":
                return f"{value - self._size[feature == 'cols'] + 3:+d}"
            case _ if feature == "front" or feature.startswith("obstacle"):
                return ("free", "blocked")[value]
            case _:
                return str(value)

    def _board(self, question: Question) -> Board:
        return Boards.read(self._read(question.prompt)[0, 0][None], *self._size).one(0)

    def grammar(self, tokenizer: Tokenizer) -> Grammar:
        """What may be written: one to `most` operations, or with blocks whatever can be read."""
        each = {word: self._ids(tokenizer, word) for word in (*OPERATIONS, *(_SIGNS if self.world.blocks else ()))}
        after = _with_blocks if self.world.blocks else _straight_up_to(self.most)
        return _table(each, after, tokenizer.get_vocab_size(), self._end(tokenizer))

    def _ids(self, tokenizer: Tokenizer, word: str) -> tuple[int, ...]:
        text = self._text.program((word,)) if word in OPERATIONS else word
        return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

    def _end(self, tokenizer: Tokenizer) -> int:
        from nosce.data.tokenizer import end_token

        return end_token(tokenizer)


@lru_cache(maxsize=50_000)
def _read_cases(text: Lean | Official, written: str, cells: int) -> np.ndarray:
    """The pairs of a text; the same specifications are judged again and again."""
    return text.read_cases(written, cells)


def _operations(program: Program) -> int:
    """How many operations are written."""
    return sum(word in OPERATIONS for word in words(program))


_SIGNS = ("repeat", "while", "if", "else", "not", "{", "}", *CONDITIONS, *map(str, range(1, MOST_TIMES + 1)))
END = ""
State = tuple[object, ...]


def _straight_up_to(most: int) -> object:
    """The grammar of one to `most` operations; a state is how many there are."""

    def after(state: State) -> Mapping[str, State]:
        count = int(state[0]) if state else 0  # type: ignore[call-overload]
        more: dict[str, State] = {word: (count + 1,) for word in OPERATIONS} if count < most else {}
        return more | ({END: ()} if count else {})

    return after


def _with_blocks(state: State) -> Mapping[str, State]:
    """The grammar of blocks; a state is (what is expected, the open blocks).

    Expected are: a statement ("first" where none has been written in this block), how often, a condition, its name
    behind "not", or an opening brace; "closed" is where an `else` may follow.
    """
    if not state:
        return _with_blocks(("first", ()))
    expected, stack = state[0], state[1]
    assert isinstance(stack, tuple)
    match expected:
        case "times":
            return {str(n): ("brace", stack) for n in range(1, MOST_TIMES + 1)}
        case "condition":
            return {"not": ("name", stack), **{name: ("brace", stack) for name in CONDITIONS}}
        case "name":
            return {name: ("brace", stack) for name in CONDITIONS}
        case "brace":
            return {"{": ("first", stack)}
    found: dict[str, State] = {word: ("more", stack) for word in OPERATIONS}
    if len(stack) < DEEPEST:
        found["repeat"] = ("times", (*stack, "repeat"))
        found |= {word: ("condition", (*stack, word)) for word in ("while", "if")}
    if expected == "closed":
        found["else"] = ("brace", (*stack, "else"))
    if expected != "first":
        if stack:
            found["}"] = ("closed" if stack[-1] == "if" else "more", stack[:-1])
        else:
            found[END] = ()
    return found


def _table(words: Mapping[str, tuple[int, ...]], after: object, vocabulary: int, end: int) -> Grammar:
    """States and words to a table over tokens; a word of several tokens goes through states of its own."""
    numbers: dict[object, int] = {(): 0}
    todo: list[State] = [()]
    rows: dict[int, dict[int, int]] = {}

    def number(state: object) -> int:
        return numbers.setdefault(state, len(numbers))

    while todo:
        state = todo.pop()
        here = rows.setdefault(number(state), {})
        for word, then in after(state).items():  # type: ignore[operator]
            if word == END:
                here[end] = 0
                continue
            if then not in numbers:
                number(then)
                todo.append(then)
            at = here
            for place, token in enumerate(words[word]):
                last = place + 1 == len(words[word])
                at[token] = number(then) if last else number((state, words[word][: place + 1]))
                at = rows.setdefault(at[token], {}) if not last else at
    table = np.full((len(numbers), vocabulary), NEVER, dtype=np.int32)
    for state_number, row in rows.items():
        for token, then in row.items():
            table[state_number, token] = then
    return Grammar(table)
