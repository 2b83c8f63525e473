"""Karel's world: random boards, random programs, and what the programs make of the boards.

A record is a specification, that is some input boards with the outputs of a program, and the program. Records are
drawn a block at a time, so that a million of them cost seconds; block and seed say all about them.

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, with the released code's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from tokenizers import Tokenizer

from nosce.data.packing import Sequences, encode
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.karel.encoding import KEYWORDS, Lean, Name, Official, encoding, program_of
from nosce.data.worlds.karel.interpreter import STEP_LIMIT
from nosce.data.worlds.karel.language import OPERATIONS, WEIGHTS, Program, meaning, straight
from nosce.data.worlds.karel.nested import programs_with_blocks
from nosce.data.worlds.karel.vectorized import GLYPHS, HALT, Boards, Code, compile_all, run
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed

BLOCK = 4_096  # records drawn together
MOST_CELLS = 400  # of an inner board


@dataclass(frozen=True, kw_only=True)
class Karel:
    """Boards, programs and specifications; the defaults are the paper's (the sheet, section 2).

    Documents are records to learn from. Questions are specifications that no document shows: "seen" ones, on which
    probes may be trained, and "unseen" ones, on which programs and probes are judged.
    """

    inner: tuple[int, int] = (6, 6)  # rows and columns inside the border
    shown: int = 5  # input-output pairs of a specification
    hidden: int = 5  # further pairs that a program is judged on and the model is not shown
    records: int = 500_000
    lengths: tuple[int, int] = (6, 10)  # operations of a training program, from and to
    asked_lengths: tuple[int, int] = (1, 10)  # of the questions' reference programs, as many of each
    probed: int = 10_000  # questions of the seen split
    tests: int = 10_000  # questions of the unseen split
    obstacles: float = 0.1
    markers: float = 0.1
    meaning: str = "original"  # what the words do to the boards; texts look alike whatever it is
    encoding: Name = "lean"
    blocks: bool = False  # loops and branches too, beyond the paper

    def __post_init__(self) -> None:
        meaning(self.meaning)
        rows, cols = self.inner
        if min(self.inner) < 1 or rows * cols > MOST_CELLS:
            raise SpecError(f"Karel.inner={self.inner} is no board of 1 to {MOST_CELLS} cells; take another size.")
        if self.shown < 1 or self.hidden < 0 or min(self.records, self.probed, self.tests) < 1:
            raise SpecError(
                f"Karel with {self.shown} pairs shown and {self.hidden} hidden, {self.records} records, {self.probed} "
                f"and {self.tests} questions has nothing to learn or to ask; hidden may be 0, the others not."
            )
        for name in ("lengths", "asked_lengths"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= 50:
                raise SpecError(f"Karel.{name}={(low, high)} is not a range within 1 to 50; give least and most.")
        if not (0 <= self.obstacles < 1 and 0 <= self.markers <= 1):
            raise SpecError(
                f"Karel with obstacles={self.obstacles} and markers={self.markers} cannot be drawn; both are shares "
                "of the cells, and obstacles leave some free."
            )
        if self.encoding not in ("lean", "official"):
            raise SpecError(f"Karel.encoding={self.encoding!r} is not known; take lean or official.")
        if self.blocks and self.encoding == "official":
            raise SpecError("Karel.blocks has no official text; take encoding='lean'.")

    @cached_property
    def text(self) -> Lean | Official:
        """How records are written."""
        return encoding(self.encoding, self.inner, self.shown)

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer that the encoding is meant for."""
        return self.text.tokenizer

    @property
    def things(self) -> int:
        """How many records there are: what is drawn independently here."""
        return self.records

    @property
    def documents_per_thing(self) -> int:
        """One text a record."""
        return 1

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All records, one after the other."""
        for first, block in self._blocks(seed):
            for number, (pairs, program) in enumerate(zip(block.pairs, block.programs, strict=True), first):
                before = self.text.specification(pairs)
                space = " " if self.encoding == "lean" else ""
                name = f"record/{number}"
                yield Document(name, name, before + space + self.text.program(program), (), given=len(before))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Specifications with their reference programs, "seen" ones first; lengths take turns."""
        for number, (pairs, program) in enumerate(zip(*asked(self, seed), strict=True)):
            yield Question(
                id=f"specification/{number}",
                about=f"specification/{number}",
                facet=f"length {_length_of(number, self.asked_lengths)}",
                prompt=self.text.specification(pairs[: self.shown]),
                target=self.text.program(program),
                split="seen" if number < self.probed else "unseen",
                hidden=self.text.cases(pairs[self.shown :]) if self.hidden else "",
            )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word that records of this board's kind can use."""
        yield self.text.sample
        if self.blocks:
            yield " ".join(KEYWORDS)

    def encoded(self, seed: Seed, tokenizer: Tokenizer, end: int) -> Iterator[Sequences]:
        """The tokens of all records, a block at a time; equal to those of `documents`."""
        layout = _Layout(self, tokenizer)
        for _, block in self._blocks(seed):
            yield layout.tokens(block, end)

    def _blocks(self, seed: Seed) -> Iterator[tuple[int, Records]]:
        """(number of the first record, records) of every block."""
        known = np.unique(_keys(asked(self, seed).pairs[:, : self.shown]))
        for first in range(0, self.records, BLOCK):
            size = min(BLOCK, self.records - first)
            yield first, self._drawn(seed / "records" / (first // BLOCK), known).first(size)

    def _drawn(self, seed: Seed, known: np.ndarray) -> Records:
        """A block of training records, none of whose specifications is asked about."""
        rng = seed.numpy()
        low, high = self.lengths
        found = draw(self, rng, rng.integers(low, high + 1, BLOCK), self.shown)
        # On small boards chance draws what is asked about once in a while; those are drawn again.
        while len(again := np.flatnonzero(np.isin(_keys(found.pairs), known))):
            found = found.with_others(again, draw(self, rng, rng.integers(low, high + 1, len(again)), self.shown))
        return found


@dataclass(frozen=True, slots=True)
class Records:
    """Specifications and programs. N records of K pairs on C inner cells."""

    pairs: np.ndarray  # (N, K, 2, C) uint8, places in `GLYPHS`
    programs: list[Program]
    operations: np.ndarray | None  # (N, L) int8, `HALT` behind the last; None where there are blocks

    def __iter__(self) -> Iterator[object]:
        return iter((self.pairs, self.programs))

    def first(self, count: int) -> Records:
        """The first so many."""
        operations = None if self.operations is None else self.operations[:count]
        return Records(self.pairs[:count], self.programs[:count], operations)

    def with_others(self, places: np.ndarray, others: Records) -> Records:
        """The same with others at some places."""
        pairs, programs = self.pairs.copy(), list(self.programs)
        pairs[places] = others.pairs
        for place, program in zip(places, others.programs, strict=True):
            programs[place] = program
        operations = None if self.operations is None else self.operations.copy()
        if operations is not None and others.operations is not None:
            operations[places] = others.operations
        return Records(pairs, programs, operations)


def draw(world: Karel, rng: np.random.Generator, lengths: np.ndarray, pairs: int) -> Records:
    """Random records: programs of these lengths, each on as many random boards as there are to be pairs."""
    if world.blocks:
        return _draw_blocks(world, rng, lengths, pairs)
    most = max(world.lengths[1], world.asked_lengths[1])
    weights = np.array(WEIGHTS) / sum(WEIGHTS)
    operations = rng.choice(len(OPERATIONS), size=(len(lengths), most), p=weights).astype(np.int8)
    operations[np.arange(most) >= lengths[:, None]] = HALT
    boards = draw_boards(world, rng, len(lengths) * pairs)
    code = Code(np.repeat(np.pad(operations, ((0, 0), (0, 1)), constant_values=HALT), pairs, 0))
    shown = _shown(boards, code.meaning(world.meaning), (len(lengths), pairs))
    programs = [program_of(row[:n]) for row, n in zip(operations.tolist(), lengths.tolist(), strict=True)]
    return Records(shown, programs, operations)


def _draw_blocks(world: Karel, rng: np.random.Generator, lengths: np.ndarray, pairs: int) -> Records:
    """Records whose programs have loops and branches; those that do not end on all their boards are drawn again."""
    programs: list[Program] = [()] * len(lengths)
    shown = np.zeros((len(lengths), pairs, 2, world.inner[0] * world.inner[1]), dtype=np.uint8)
    left = np.arange(len(lengths))
    while len(left):
        drawn = programs_with_blocks(rng, lengths[left])
        boards = draw_boards(world, rng, len(left) * pairs)
        code = compile_all(drawn)
        code = code.at(np.repeat(np.arange(len(left)), pairs)).meaning(world.meaning)
        traces = run(boards, code, limit=STEP_LIMIT)
        ended = traces.finished.reshape(-1, pairs).all(1)
        both = np.stack([boards.glyphs(), traces.end.glyphs()], 1).reshape(len(left), pairs, 2, -1)
        shown[left[ended]] = both[ended]
        for place in np.flatnonzero(ended):
            programs[left[place]] = drawn[place]
        left = left[~ended]
    return Records(shown, programs, None)


def draw_boards(world: Karel, rng: np.random.Generator, count: int) -> Boards:
    """Random boards: each inner cell an obstacle or, if not, a marker by chance; the robot's cell is cleared."""
    rows, cols = world.inner
    obstacles = rng.random((count, rows, cols)) < world.obstacles
    markers = (rng.random((count, rows, cols)) < world.markers) & ~obstacles
    row, col = rng.integers(rows, size=count), rng.integers(cols, size=count)
    obstacles[np.arange(count), row, col] = markers[np.arange(count), row, col] = False
    whole = np.ones((count, rows + 2, cols + 2), dtype=bool)
    whole[:, 1:-1, 1:-1] = obstacles
    held = np.zeros(whole.shape, dtype=np.int16)
    held[:, 1:-1, 1:-1] = markers
    robot = ((row + 1) * (cols + 2) + col + 1).astype(np.int32)
    direction = rng.integers(4, size=count).astype(np.int8)
    return Boards(rows + 2, cols + 2, robot, direction, whole.reshape(count, -1), held.reshape(count, -1))


def _shown(boards: Boards, code: Code, shape: tuple[int, int]) -> np.ndarray:
    ends = run(boards, code).end
    return np.stack([boards.glyphs(), ends.glyphs()], 1).reshape(*shape, 2, -1)


@lru_cache(maxsize=8)
def asked(world: Karel, seed: Seed) -> Records:
    """The records that are asked about, no two of which show the same specification."""
    # What is trained on must not change what is asked, so that arms can be compared.
    same = replace(world, records=1, lengths=world.asked_lengths, encoding="lean")
    return _asked(same, seed)


@lru_cache(maxsize=8)
def _asked(world: Karel, seed: Seed) -> Records:
    count = world.probed + world.tests
    lengths = np.array([_length_of(number, world.asked_lengths) for number in range(count)])
    rng = (seed / "questions").numpy()
    found = draw(world, rng, lengths, world.shown + world.hidden)
    while True:
        keys = _keys(found.pairs[:, : world.shown])
        first = np.unique(keys, return_index=True)[1]
        again = np.setdiff1d(np.arange(count), first)
        if not len(again):
            return found
        found = found.with_others(again, draw(world, rng, lengths[again], world.shown + world.hidden))


def _length_of(number: int, lengths: tuple[int, int]) -> int:
    low, high = lengths
    return low + number % (high - low + 1)


def _keys(pairs: np.ndarray) -> np.ndarray:
    """A number for each specification, equal where they are equal. Shape: (N,), uint64."""
    flat = pairs.reshape(len(pairs), -1)
    odd = np.random.Generator(np.random.PCG64(0)).integers(2**63, size=flat.shape[1], dtype=np.uint64) * 2 + 1
    keys = np.zeros(len(flat), dtype=np.uint64)
    for column, factor in zip(flat.T, odd, strict=True):
        keys = (keys ^ (column.astype(np.uint64) + np.uint64(1)) * factor) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


class _Layout:
    """Where cells stand in the tokens of a specification, which is the same for all of a world."""

    def __init__(self, world: Karel, tokenizer: Tokenizer) -> None:
        self.world, self.tokenizer = world, tokenizer
        cells = world.inner[0] * world.inner[1]
        ids = [self._read(pairs) for pairs in _all_of_each_glyph(world.shown, cells)]
        self.cells = np.flatnonzero(ids[0] != ids[1])
        self.glyphs = np.array([row[self.cells[0]] for row in ids], dtype=np.int32)
        self.before = ids[0].astype(np.int32)
        words = [world.text.program((operation,)) for operation in OPERATIONS]
        self.calls = np.array([e.ids for e in encode(tokenizer, words)], dtype=np.int32)  # (5, tokens of one)

    def _read(self, pairs: np.ndarray) -> np.ndarray:
        text = self.world.text.specification(pairs)
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def tokens(self, block: Records, end: int) -> Sequences:
        """A block's records as tokens, each with its end."""
        count, start = len(block.pairs), len(self.before)
        before = np.repeat(self.before[None], count, 0)
        before[:, self.cells] = self.glyphs[block.pairs.reshape(count, -1)]
        programs, lengths = self._programs(block)
        whole = np.full((count, start + programs.shape[1] + 1), end, dtype=np.int32)
        whole[:, :start], whole[:, start:-1] = before, programs
        there = np.arange(whole.shape[1]) < (start + lengths + 1)[:, None]
        whole[np.arange(count), start + lengths] = end
        counted = np.broadcast_to(np.arange(whole.shape[1]) >= start, whole.shape)
        return Sequences(whole[there], counted[there], np.concatenate([[0], np.cumsum(start + lengths + 1)]))

    def _programs(self, block: Records) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the programs, filled up with anything, and how many are theirs."""
        if block.operations is not None:
            each = self.calls.shape[1]
            what = np.where(block.operations < HALT, block.operations, 0)
            lengths = (block.operations < HALT).sum(1) * each
            return self.calls[what].reshape(len(what), -1), lengths
        rows = [e.ids for e in encode(self.tokenizer, map(self.world.text.program, block.programs))]
        lengths = np.array([len(row) for row in rows])
        tokens = np.zeros((len(rows), lengths.max()), dtype=np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return tokens, lengths


def _all_of_each_glyph(shown: int, cells: int) -> Iterator[np.ndarray]:
    for glyph in range(len(GLYPHS)):
        yield np.full((shown, 2, cells), glyph, dtype=np.uint8)


def is_straight(world: Karel, seed: Seed) -> bool:
    """Are all programs that are asked about operations alone?"""
    return all(map(straight, asked(world, seed).programs))
