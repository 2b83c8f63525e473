"""Arithmetic: sums and products of whole numbers, a character a token.

A record is a problem with its answer. Problems that are asked about are no record's, in either order of the operands.
Which digit of the answer comes first and whether numbers are filled up with zeros decides what can be learnt at all,
so both are fields.

Source: the sheet for arXiv:2304.15004, sections 2a and 8; the paper asked GPT-3.
Letters: N problems, W characters of a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from nosce.data.packing import Sequences
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed

Integers = npt.NDArray[np.int64]
OPERATIONS = ("+", "*")
BLOCK = 65_536  # records drawn together
BLANK = 10  # where a number has no digit; 11 and 12 are the operations, 13 is the equals sign
SYMBOLS = (*"0123456789", " ", *OPERATIONS, "=")


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Problems of one or both operations; operands are drawn evenly below ten to the number of digits."""

    operations: tuple[str, ...] = ("+",)
    digits: int = 3  # of an operand, at most
    other: int | None = None  # digits of the second one; None: as many
    least: int = 0  # operand; from 2 on no product is a zero or a copy
    padded: bool = True  # numbers are filled up with zeros: operands to `digits`, answers to what the largest has
    reversed: bool = True  # the last digit of every number first
    records: int = 400_000
    tests: int = 2_000  # problems of the unseen split
    trained: int = 500  # problems of the records that are asked about too: the seen split

    def __post_init__(self) -> None:
        if (
            not self.operations
            or set(self.operations) - set(OPERATIONS)
            or len(set(self.operations)) < len(self.operations)
        ):
            raise SpecError(f"Arithmetic.operations={self.operations} are not some of {OPERATIONS}, each once.")
        if not 1 <= self.seconds <= self.digits <= 5 or min(self.records, self.tests, self.trained) < 1:
            raise SpecError(
                f"Arithmetic of {self.digits} and {self.seconds} digits with {self.records} records, {self.tests} and "
                f"{self.trained} problems cannot be drawn; take 1 to 5 digits, no more for the second operand than for "
                "the first, and at least one of the others."
            )
        if not 0 <= self.least < 10**self.seconds:
            raise SpecError(f"Arithmetic.least={self.least} leaves no operand of {self.seconds} digits; take less.")
        if 2 * self.tests > self._pairs or self.trained > self.records:
            raise SpecError(
                f"Arithmetic with {self.tests:,} of {self._pairs:,} unordered pairs of operands held out, or "
                f"{self.trained:,} of {self.records:,} records asked about, leaves too little to learn from; ask fewer."
            )

    @property
    def _pairs(self) -> int:
        """Unordered pairs of operands."""
        each, other = int(10**self.digits) - self.least, int(10**self.seconds) - self.least
        return each * other - other * (other - 1) // 2

    @property
    def seconds(self) -> int:
        """Digits of the second operand, at most."""
        return self.digits if self.other is None else self.other

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token a character."""
        return TokenizerSpec(kind="symbols", symbols=SYMBOLS)

    @property
    def things(self) -> int:
        """How many records there are."""
        return self.records

    @property
    def documents_per_thing(self) -> int:
        """One text a record."""
        return 1

    @cached_property
    def answer_digits(self) -> int:
        """Of the largest answer."""
        one, other = 10**self.digits - 1, 10**self.seconds - 1
        return len(str(max(one * other if "*" in self.operations else 0, one + other if "+" in self.operations else 0)))

    def problem(self, one: int, operation: str, other: int) -> tuple[str, str]:
        """What is given and what is to be said, e.g. `12+34=` and `46`."""
        answer = one + other if operation == "+" else one * other
        return (f"{self._number(one, self.digits)}{operation}{self._number(other, self.seconds)}=",
                self._number(answer, self.answer_digits))  # fmt: skip

    def _number(self, value: int, digits: int) -> str:
        text = f"{value:0{digits}d}" if self.padded else str(value)
        return text[::-1] if self.reversed else text

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All records, one after the other."""
        number = 0
        for block in self._blocks(seed):
            for one, which, other in block.tolist():
                given, answer = self.problem(one, self.operations[which], other)
                yield Document(f"record/{number}", f"record/{number}", given + answer, (), given=len(given))
                number += 1

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Problems of the first records, no two alike, and problems of none.

        Raises:
            SpecError: The first records have too few different problems.
        """
        rows = next(self._blocks(seed))
        trained = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])][: self.trained]
        if len(trained) < self.trained:
            raise SpecError(
                f"Arithmetic.trained={self.trained:,} problems were asked for, but the first {len(rows):,} records "
                f"have {len(trained):,} different ones; ask fewer."
            )
        for split, rows in (("seen", trained), ("unseen", _held_out(self, seed))):
            for number, (one, which, other) in enumerate(rows.tolist()):
                given, answer = self.problem(one, self.operations[which], other)
                name = f"{'problem' if split == 'unseen' else 'trained'}/{number}"
                yield Question(name, name, f"{len(answer)} digits", given, answer, split)  # type: ignore[arg-type]

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every character."""
        yield "".join(SYMBOLS)

    def encoded(self, seed: Seed, tokenizer: Tokenizer, end: int) -> Iterator[Sequences]:
        """The tokens of all records, a block at a time; equal to those of `documents`."""
        ids = np.array([tokenizer.token_to_id(symbol) for symbol in SYMBOLS], dtype=np.int32)
        for block in self._blocks(seed):
            yield self._tokens(block, ids, end)

    def _tokens(self, block: Integers, ids: npt.NDArray[np.int32], end: int) -> Sequences:
        one, which, other = block.T
        operation = np.array([OPERATIONS.index(name) for name in self.operations])[which]
        answer = np.where(operation == 0, one + other, one * other)
        parts = [self._digits(one, self.digits), operation[:, None] + 11, self._digits(other, self.seconds),
                 np.full((len(one), 1), 13), self._digits(answer, self.answer_digits)]  # fmt: skip
        whole = np.concatenate([*parts, np.full((len(one), 1), -1)], 1)
        there = whole != BLANK
        counted = np.zeros(whole.shape, dtype=bool)
        counted[:, sum(part.shape[1] for part in parts[:4]) :] = True
        tokens = np.where(whole < 0, end, ids[np.maximum(whole, 0)]).astype(np.int32)
        return Sequences(tokens[there], counted[there], np.concatenate([[0], np.cumsum(there.sum(1))]))

    def _digits(self, values: Integers, digits: int) -> Integers:
        """Places in `SYMBOLS`, `BLANK` where a number has none. Shape: (N, digits)."""
        powers = 10 ** np.arange(digits)
        found = values[:, None] // powers % 10
        if not self.padded:
            found = np.where((values[:, None] >= powers) | (powers == 1), found, BLANK)
        return found if self.reversed else found[:, ::-1]

    def _blocks(self, seed: Seed) -> Iterator[Integers]:
        """(one operand, place in `operations`, other operand) of the records, (N, 3), none of them held out."""
        held = np.unique(_key(_held_out(self, seed), self.digits))
        for first in range(0, self.records, BLOCK):
            rng = (seed / "records" / (first // BLOCK)).numpy()
            rows = _draw(self, rng, BLOCK)
            while len(again := np.flatnonzero(np.isin(_key(rows, self.digits), held))):
                rows[again] = _draw(self, rng, len(again))
            yield rows[: min(BLOCK, self.records - first)]


def _draw(world: Arithmetic, rng: np.random.Generator, count: int) -> Integers:
    one, other = (rng.integers(world.least, 10**digits, size=count) for digits in (world.digits, world.seconds))
    which = rng.integers(len(world.operations), size=count)
    return np.stack([one, which, other], 1)


def _key(rows: Integers, digits: int) -> Integers:
    """A number for the two operands, equal in either order and for every operation. Shape: (N,)."""
    low, high = np.minimum(rows[:, 0], rows[:, 2]), np.maximum(rows[:, 0], rows[:, 2])
    found: Integers = low * 10**digits + high
    return found


@lru_cache(maxsize=8)
def _held_out(world: Arithmetic, seed: Seed) -> Integers:
    """Problems that no record has, no two of the same operands. Shape: (tests, 3)."""
    rng = (seed / "tests").numpy()
    found = _draw(world, rng, world.tests)
    while True:
        first = np.unique(_key(found, world.digits), return_index=True)[1]
        again = np.setdiff1d(np.arange(world.tests), first)
        if not len(again):
            return found
        found[again] = _draw(world, rng, len(again))
