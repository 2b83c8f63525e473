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

from nosce.data.packing import TokenDataset
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed

Int64Array = npt.NDArray[np.int64]
ARITHMETIC_OPERATORS = ("+", "*")
PROBLEMS_PER_BLOCK = 65_536  # records drawn together
NO_DIGIT = 10  # where a number has no digit; 11 and 12 are the operations, 13 is the equals sign
ARITHMETIC_SYMBOLS = (*"0123456789", " ", *ARITHMETIC_OPERATORS, "=")


@dataclass(frozen=True, kw_only=True)
class Arithmetic(World):
    """Problems of one or both operations; operands are drawn evenly below ten to the number of digits."""

    operations: tuple[str, ...] = ("+",)
    digits: int = 3  # of an operand, at most
    second_digits: int | None = None  # digits of the second one; None: as many
    min_operand: int = 0  # operand; from 2 on no product is a zero or a copy
    zero_padded: bool = True  # numbers are filled up with zeros: operands to `digits`, answers to what the largest has
    reverse_digits: bool = True  # the last digit of every number first
    records: int = 400_000
    unseen_questions: int = 2_000  # problems of the unseen split
    seen_questions: int = 500  # problems of the records that are asked about too: the seen split

    def __post_init__(self) -> None:
        if (
            not self.operations
            or set(self.operations) - set(ARITHMETIC_OPERATORS)
            or len(set(self.operations)) < len(self.operations)
        ):
            raise SpecError(
                f"Arithmetic.operations={self.operations} are not some of {ARITHMETIC_OPERATORS}, each once."
            )
        if (
            not 1 <= self.resolved_second_digits <= self.digits <= 5
            or min(self.records, self.unseen_questions, self.seen_questions) < 1
        ):
            raise SpecError(
                f"Arithmetic of {self.digits} and {self.resolved_second_digits} digits with {self.records} records, "
                f"{self.unseen_questions} and {self.seen_questions} problems cannot be drawn; take 1 to 5 digits, no "
                "more for "
                "the second operand than for the first, and at least one of the others."
            )
        if not 0 <= self.min_operand < 10**self.resolved_second_digits:
            raise SpecError(
                f"Arithmetic.min_operand={self.min_operand} leaves no operand of {self.resolved_second_digits} digits; "
                "take less."
            )
        if 2 * self.unseen_questions > self._operand_pairs or self.seen_questions > self.records:
            raise SpecError(
                f"Arithmetic with {self.unseen_questions:,} of {self._operand_pairs:,} unordered pairs of operands "
                "held "
                f"out, or {self.seen_questions:,} of {self.records:,} records asked about, leaves too little to learn "
                "from; "
                "ask fewer."
            )

    @property
    def _operand_pairs(self) -> int:
        """Unordered pairs of operands."""
        first_choices, second_choices = (
            int(10**self.digits) - self.min_operand,
            int(10**self.resolved_second_digits) - self.min_operand,
        )
        return first_choices * second_choices - second_choices * (second_choices - 1) // 2

    @property
    def resolved_second_digits(self) -> int:
        """Digits of the second operand, at most."""
        return self.digits if self.second_digits is None else self.second_digits

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token a character."""
        return TokenizerSpec(kind="symbols", symbols=ARITHMETIC_SYMBOLS)

    @property
    def n_entities(self) -> int:
        """How many records there are."""
        return self.records

    @property
    def documents_per_entity(self) -> int:
        """One text a record."""
        return 1

    @cached_property
    def answer_digits(self) -> int:
        """Of the largest answer."""
        max_first, max_second = 10**self.digits - 1, 10**self.resolved_second_digits - 1
        return len(
            str(
                max(
                    max_first * max_second if "*" in self.operations else 0,
                    max_first + max_second if "+" in self.operations else 0,
                )
            )
        )

    def prompt_and_answer(self, left: int, operator: str, right: int) -> tuple[str, str]:
        """What is given and what is to be said, e.g. `12+34=` and `46`."""
        answer = left + right if operator == "+" else left * right
        return (
            f"{self._format_number(left, self.digits)}{operator}"
            f"{self._format_number(right, self.resolved_second_digits)}=",
            self._format_number(answer, self.answer_digits),
        )

    def _format_number(self, value: int, digits: int) -> str:
        text = f"{value:0{digits}d}" if self.zero_padded else str(value)
        return text[::-1] if self.reverse_digits else text

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All records, one after the other."""
        number = 0
        for block in self._problem_blocks(seed):
            for left, operator_index, right in block.tolist():
                prompt, answer = self.prompt_and_answer(left, self.operations[operator_index], right)
                yield Document(f"record/{number}", f"record/{number}", prompt + answer, (), prompt_chars=len(prompt))
                number += 1

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Problems of the first records, no two alike, and problems of none.

        Raises:
            SpecError: The first records have too few different problems.
        """
        rows = next(self._problem_blocks(seed))
        seen_rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])][: self.seen_questions]
        if len(seen_rows) < self.seen_questions:
            raise SpecError(
                f"Arithmetic.seen_questions={self.seen_questions:,} problems were asked for, but the first "
                f"{len(rows):,} records have {len(seen_rows):,} different ones; ask fewer."
            )
        for split, rows in (("seen", seen_rows), ("unseen", _held_out_problems(self, seed))):
            for number, (left, operator_index, right) in enumerate(rows.tolist()):
                prompt, answer = self.prompt_and_answer(left, self.operations[operator_index], right)
                question_id = f"{'problem' if split == 'unseen' else 'trained'}/{number}"
                yield Question(question_id, question_id, f"{len(answer)} digits", prompt, answer, split)  # type: ignore[arg-type]

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every character."""
        yield "".join(ARITHMETIC_SYMBOLS)

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, eos_id: int) -> Iterator[TokenDataset]:
        """The tokens of all records, a block at a time; equal to those of `documents`."""
        ids = np.array([tokenizer.token_to_id(symbol) for symbol in ARITHMETIC_SYMBOLS], dtype=np.int32)
        for block in self._problem_blocks(seed):
            yield self._encode_block(block, ids, eos_id)

    def _encode_block(self, block: Int64Array, ids: npt.NDArray[np.int32], eos_id: int) -> TokenDataset:
        left, operator_index, right = block.T
        operation = np.array([ARITHMETIC_OPERATORS.index(name) for name in self.operations])[operator_index]
        answer = np.where(operation == 0, left + right, left * right)
        parts = [
            self._digit_array(left, self.digits),
            operation[:, None] + 11,
            self._digit_array(right, self.resolved_second_digits),
            np.full((len(left), 1), 13),
            self._digit_array(answer, self.answer_digits),
        ]
        symbol_indices = np.concatenate([*parts, np.full((len(left), 1), -1)], 1)
        is_symbol = symbol_indices != NO_DIGIT
        loss_mask = np.zeros(symbol_indices.shape, dtype=bool)
        loss_mask[:, sum(part.shape[1] for part in parts[:4]) :] = True
        tokens = np.where(symbol_indices < 0, eos_id, ids[np.maximum(symbol_indices, 0)]).astype(np.int32)
        return TokenDataset(tokens[is_symbol], loss_mask[is_symbol], np.concatenate([[0], np.cumsum(is_symbol.sum(1))]))

    def _digit_array(self, values: Int64Array, n_digits: int) -> Int64Array:
        """Places in `ARITHMETIC_SYMBOLS`, `NO_DIGIT` where a number has none. Shape: (N, digits)."""
        powers = 10 ** np.arange(n_digits)
        digit_values = values[:, None] // powers % 10
        if not self.zero_padded:
            digit_values = np.where((values[:, None] >= powers) | (powers == 1), digit_values, NO_DIGIT)
        return digit_values if self.reverse_digits else digit_values[:, ::-1]

    def _problem_blocks(self, seed: Seed) -> Iterator[Int64Array]:
        """(one operand, place in `operations`, other operand) of the records, (N, 3), none of them held out."""
        held_out_keys = np.unique(_operand_keys(_held_out_problems(self, seed), self.digits))
        for first in range(0, self.records, PROBLEMS_PER_BLOCK):
            rng = (seed / "records" / (first // PROBLEMS_PER_BLOCK)).numpy()
            rows = _draw_problems(self, rng, PROBLEMS_PER_BLOCK)
            while len(clashes := np.flatnonzero(np.isin(_operand_keys(rows, self.digits), held_out_keys))):
                rows[clashes] = _draw_problems(self, rng, len(clashes))
            yield rows[: min(PROBLEMS_PER_BLOCK, self.records - first)]


def _draw_problems(world: Arithmetic, rng: np.random.Generator, count: int) -> Int64Array:
    left, right = (
        rng.integers(world.min_operand, 10**digits, size=count)
        for digits in (world.digits, world.resolved_second_digits)
    )
    operator_index = rng.integers(len(world.operations), size=count)
    return np.stack([left, operator_index, right], 1)


def _operand_keys(rows: Int64Array, digits: int) -> Int64Array:
    """A number for the two operands, equal in either order and for every operation. Shape: (N,)."""
    low, high = np.minimum(rows[:, 0], rows[:, 2]), np.maximum(rows[:, 0], rows[:, 2])
    keys: Int64Array = low * 10**digits + high
    return keys


@lru_cache(maxsize=8)
def _held_out_problems(world: Arithmetic, seed: Seed) -> Int64Array:
    """Problems that no record has, no two of the same operands. Shape: (tests, 3)."""
    rng = (seed / "tests").numpy()
    problems = _draw_problems(world, rng, world.unseen_questions)
    while True:
        first = np.unique(_operand_keys(problems, world.digits), return_index=True)[1]
        duplicates = np.setdiff1d(np.arange(world.unseen_questions), first)
        if not len(duplicates):
            return problems
        problems[duplicates] = _draw_problems(world, rng, len(duplicates))
