"""Arithmetic: sums and products of whole numbers, one token per character.

A record is a problem with its answer. No record is one of the unseen problems, in either order of the operands. The
digit order and the padding decide what a small model can learn at all, so both are fields.

One document and one question of `Arithmetic()` at `Seed(0)`: 187 + 665 = 852 with the last digit of every number first.

    781+566=2580
    781+566=  ->  2580

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 3, which asked GPT-3 for sums and products of few digits. A
small model does not read such prompts, so this world trains one from scratch.
Letters: N problems, W characters of a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from nosce.data.packing import TokenDataset
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed
from nosce.store.spec import LATER

Int64Array = npt.NDArray[np.int64]
ARITHMETIC_OPERATORS = ("+", "*")
PROBLEMS_PER_BLOCK = 65_536  # records drawn in one call of the generator
NO_DIGIT = 10  # index of the space, which marks a missing digit; 11 and 12 are the operators, 13 the equals sign
ARITHMETIC_SYMBOLS = (*"0123456789", " ", *ARITHMETIC_OPERATORS, "=")


@dataclass(frozen=True, kw_only=True)
class Arithmetic(World):
    """Problems of one or two operations. Operands are uniform below ten to the power of their number of digits.

    Args:
        operations: "+", "*" or both, each equally frequent.
        digits: Most digits of the first operand, 1 to 5. Three give a million ordered pairs, more than the records.
        second_digits: Most digits of the second operand. None: as many as the first.
        min_operand: Smallest operand. From 2 on, no product is zero or a copy of an operand.
        zero_padded: Pad numbers with zeros: operands to their number of digits, answers to that of the largest answer.
            True, so that every digit has a fixed position.
        reverse_digits: Write the last digit of every number first. True, so that a carry is known before the digit that
            needs it.
        records: Number of training documents.
        unseen_questions: Number of questions in the unseen split; their problems occur in no record. 2,000 keep the
            standard error of an accuracy near one percentage point.
        seen_questions: Number of questions in the seen split; their problems are those of the first records.
        operand_lengths: Numbers of digits of the first operand, evenly frequent; the second operand has as many or
            `second_digits`. Long and short answers are then equally frequent, which uniform operands make mostly long.
            Empty: uniform operands.
        attribute: What the attribute of a question is: the digits of its answer, e.g. "4 digits", or its operator.

    Raises:
        SpecError: Values that cannot be drawn, or too few training problems.
    """

    operations: tuple[str, ...] = ("+",)
    digits: int = 3
    second_digits: int | None = None
    min_operand: int = 0
    zero_padded: bool = True
    reverse_digits: bool = True
    records: int = 400_000
    unseen_questions: int = 2_000
    seen_questions: int = 500
    operand_lengths: tuple[int, ...] = field(default=(), metadata=LATER)
    attribute: Literal["length", "operation"] = field(default="length", metadata=LATER)

    def __post_init__(self) -> None:
        self._check_lengths()
        if (
            not self.operations
            or set(self.operations) - set(ARITHMETIC_OPERATORS)
            or len(set(self.operations)) < len(self.operations)
        ):
            raise SpecError(
                f"Arithmetic.operations={self.operations} is not a choice of {ARITHMETIC_OPERATORS}; give one or both, "
                "each once."
            )
        if (
            not 1 <= self.resolved_second_digits <= self.digits <= 5
            or min(self.records, self.unseen_questions, self.seen_questions) < 1
        ):
            raise SpecError(
                f"Arithmetic with digits={self.digits}, second_digits={self.second_digits}, records={self.records}, "
                f"unseen_questions={self.unseen_questions} and seen_questions={self.seen_questions} cannot be drawn; "
                "take 1 to 5 digits, no more for the second operand than for the first, and 1 or more of the others."
            )
        if not 0 <= self.min_operand < 10**self.resolved_second_digits:
            raise SpecError(
                f"Arithmetic.min_operand={self.min_operand} leaves no operand of {self.resolved_second_digits} digits; "
                "lower it."
            )
        if 2 * self.unseen_questions > self._operand_pairs or self.seen_questions > self.records:
            raise SpecError(
                f"Arithmetic holds out {self.unseen_questions:,} of {self._operand_pairs:,} unordered pairs of "
                f"operands and asks about {self.seen_questions:,} of {self.records:,} records, which leaves too few "
                "training problems; lower unseen_questions or seen_questions."
            )

    def _check_lengths(self) -> None:
        lengths = self.operand_lengths
        if not lengths:
            return
        if self.zero_padded or len(set(lengths)) < len(lengths) or not 1 <= min(lengths) <= max(lengths) <= self.digits:
            raise SpecError(
                f"Arithmetic.operand_lengths={lengths} with digits={self.digits} and zero_padded={self.zero_padded} "
                "cannot be drawn; take different lengths from 1 to digits, and zero_padded=False, since padded answers "
                "have one length."
            )
        shortest = min(lengths)
        first, second = (_n_operands(self, n) for n in (shortest, min(shortest, self.resolved_second_digits)))
        pairs = first * second if shortest > self.resolved_second_digits else first * (first + 1) // 2
        if 2 * self.unseen_questions > len(lengths) * pairs:
            raise SpecError(
                f"Arithmetic holds out about {self.unseen_questions // len(lengths):,} problems of {shortest} digits, "
                f"of which there are {pairs:,}; lower unseen_questions, or leave that length out."
            )

    @property
    def _operand_pairs(self) -> int:
        """Number of unordered pairs of operands."""
        first_choices = int(10**self.digits) - self.min_operand
        second_choices = int(10**self.resolved_second_digits) - self.min_operand
        return first_choices * second_choices - second_choices * (second_choices - 1) // 2

    @property
    def resolved_second_digits(self) -> int:
        """Most digits of the second operand."""
        return self.digits if self.second_digits is None else self.second_digits

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token per character."""
        return TokenizerSpec(kind="symbols", symbols=ARITHMETIC_SYMBOLS)

    @property
    def n_unseen_entities(self) -> float:
        """The problems of the unseen split; no record has one of them."""
        return self.unseen_questions

    @property
    def n_entities(self) -> int:
        """The number of records."""
        return self.records

    @property
    def documents_per_entity(self) -> int:
        """One document per record."""
        return 1

    @cached_property
    def answer_digits(self) -> int:
        """Digits of the largest answer."""
        max_first, max_second = 10**self.digits - 1, 10**self.resolved_second_digits - 1
        largest_product = max_first * max_second if "*" in self.operations else 0
        largest_sum = max_first + max_second if "+" in self.operations else 0
        return len(str(max(largest_product, largest_sum)))

    def prompt_and_answer(self, left: int, operator: str, right: int) -> tuple[str, str]:
        """The prompt and the answer of a problem, e.g. `12+34=` and `46`."""
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
        """All records in order."""
        number = 0
        for block in self._problem_blocks(seed):
            for left, operator_index, right in block.tolist():
                prompt, answer = self.prompt_and_answer(left, self.operations[operator_index], right)
                yield Document(f"record/{number}", f"record/{number}", prompt + answer, (), prompt_chars=len(prompt))
                number += 1

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Distinct problems of the first records, then problems that occur in no record.

        Raises:
            SpecError: The first records have too few distinct problems.
        """
        rows = next(self._problem_blocks(seed))
        seen_rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])][: self.seen_questions]
        if len(seen_rows) < self.seen_questions:
            raise SpecError(
                f"Arithmetic.seen_questions={self.seen_questions:,} is too many, because the first {len(rows):,} "
                f"records have only {len(seen_rows):,} different problems; lower it."
            )
        yield from self._questions_of(seen_rows, "trained", "seen")
        yield from self._questions_of(_held_out_problems(self, seed), "problem", "unseen")

    def _questions_of(self, rows: Int64Array, id_word: str, split: Split) -> Iterator[Question]:
        """One question per problem, with the ids `<id_word>/<number>`."""
        for number, (left, operator_index, right) in enumerate(rows.tolist()):
            prompt, answer = self.prompt_and_answer(left, self.operations[operator_index], right)
            question_id = f"{id_word}/{number}"
            operator = self.operations[operator_index]
            attribute = operator if self.attribute == "operation" else f"{len(answer)} digits"
            yield Question(question_id, question_id, attribute, prompt, answer, split)

    def fresh_questions(self, rng: np.random.Generator, count: int) -> Iterator[tuple[Question, tuple[str, ...]]]:
        """Problems with both orders of their operands."""
        rows = _draw_problems(self, rng, count)
        for question, (left, operator_index, right) in zip(
            self._questions_of(rows, "fresh", "unseen"), rows.tolist(), strict=True
        ):
            swapped = self.prompt_and_answer(right, self.operations[operator_index], left)[0]
            yield question, (question.prompt, swapped)

    def samples(self, seed: Seed) -> Iterator[str]:
        """One text with every character."""
        yield "".join(ARITHMETIC_SYMBOLS)

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, eos_id: int) -> Iterator[TokenDataset]:
        """The tokens of all records, one block at a time; equal to the tokenized `documents`."""
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
        """Indices into `ARITHMETIC_SYMBOLS`, or `NO_DIGIT` where a number has no digit. Shape: (N, digits)."""
        powers = 10 ** np.arange(n_digits)
        digit_values = values[:, None] // powers % 10
        if not self.zero_padded:
            digit_values = np.where((values[:, None] >= powers) | (powers == 1), digit_values, NO_DIGIT)
        return digit_values if self.reverse_digits else digit_values[:, ::-1]

    def _problem_blocks(self, seed: Seed) -> Iterator[Int64Array]:
        """Blocks of records as rows (first operand, index into `operations`, second operand). Shape: (N, 3). No row is
        held out.
        """
        held_out_keys = np.unique(_operand_keys(_held_out_problems(self, seed), self.digits))
        for first in range(0, self.records, PROBLEMS_PER_BLOCK):
            rng = (seed / "records" / (first // PROBLEMS_PER_BLOCK)).numpy()
            rows = _draw_problems(self, rng, PROBLEMS_PER_BLOCK)
            while len(clashes := np.flatnonzero(np.isin(_operand_keys(rows, self.digits), held_out_keys))):
                rows[clashes] = _draw_problems(self, rng, len(clashes))
            yield rows[: min(PROBLEMS_PER_BLOCK, self.records - first)]


def _draw_problems(world: Arithmetic, rng: np.random.Generator, count: int) -> Int64Array:
    """Problems as rows (first operand, index into `operations`, second operand), trained or not. Shape: (N, 3)."""
    if world.operand_lengths:
        return _draw_by_length(world, rng, count)
    left = rng.integers(world.min_operand, 10**world.digits, size=count)
    right = rng.integers(world.min_operand, 10**world.resolved_second_digits, size=count)
    operator_index = rng.integers(len(world.operations), size=count)
    return np.stack([left, operator_index, right], 1)


def _draw_by_length(world: Arithmetic, rng: np.random.Generator, count: int) -> Int64Array:
    """The same with evenly frequent lengths of the operands."""
    lengths = np.array(world.operand_lengths)[rng.integers(len(world.operand_lengths), size=count)]
    operands = []
    for digits in (lengths, np.minimum(lengths, world.resolved_second_digits)):
        low = np.maximum(np.where(digits > 1, 10 ** (digits - 1), 0), world.min_operand)
        operands.append(rng.integers(low, 10**digits))
    operator_index = rng.integers(len(world.operations), size=count)
    return np.stack([operands[0], operator_index, operands[1]], 1)


def _n_operands(world: Arithmetic, digits: int) -> int:
    """How many numbers of so many digits are operands."""
    return int(10**digits) - max(int(10 ** (digits - 1)) if digits > 1 else 0, world.min_operand)


def _operand_keys(rows: Int64Array, digits: int) -> Int64Array:
    """One number per pair of operands, equal for both orders and all operations. Shape: (N,)."""
    low, high = np.minimum(rows[:, 0], rows[:, 2]), np.maximum(rows[:, 0], rows[:, 2])
    keys: Int64Array = low * 10**digits + high
    return keys


@lru_cache(maxsize=8)
def _held_out_problems(world: Arithmetic, seed: Seed) -> Int64Array:
    """The problems of the unseen split, no two with the same operands. Shape: (unseen questions, 3)."""
    rng = (seed / "tests").numpy()
    problems = _draw_problems(world, rng, world.unseen_questions)
    while True:
        first = np.unique(_operand_keys(problems, world.digits), return_index=True)[1]
        duplicates = np.setdiff1d(np.arange(world.unseen_questions), first)
        if not len(duplicates):
            return problems
        problems[duplicates] = _draw_problems(world, rng, len(duplicates))
