"""The Karel world: random boards, random programs, and the boards that the programs leave.

A record is a specification, i.e. some input boards with the outputs of a program, and the program. Records are drawn in
blocks, so that a million records take seconds. The seed and the block's number determine a block.

One document and one question of `Karel(board_shape=(2, 3), n_examples=1, records=10, seen_questions=2,
unseen_questions=2)` at `Seed(0)`. The robot is `^`, `>`, `v` or `<`, an obstacle `#`, a free cell `.`:

    IN ^ . . . . # OUT > . . . . # CODE pickMarker putMarker move putMarker move turnRight
    IN < . . . . . OUT v . . . . . CODE  ->  turnLeft

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, with the numbers of the released code (`karel/karel.py`,
`generate.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from nosce.data.packing import TokenDataset
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.karel.encoding import (
    KAREL_KEYWORDS,
    KarelEncodingName,
    LeanEncoding,
    OfficialEncoding,
    encoding_for,
    program_from_indices,
)
from nosce.data.worlds.karel.interpreter import STEP_LIMIT
from nosce.data.worlds.karel.language import (
    KAREL_OPERATIONS,
    OPERATION_WEIGHTS,
    Program,
    is_straight_line,
    meaning_table,
)
from nosce.data.worlds.karel.nested import draw_block_programs
from nosce.data.worlds.karel.tokens import check_program_tokens, uniform_layout
from nosce.data.worlds.karel.vectorized import HALT, Boards, Bytecode, compile_programs, run_programs
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.store.spec import LATER

RECORDS_PER_BLOCK = 4_096  # records drawn in one call of the generator
MAX_CELLS = 400  # most cells of an inner board


@dataclass(frozen=True, kw_only=True)
class Karel(World):
    """Boards, programs and specifications. The defaults are those of the released code.

    Documents are training records. Questions are specifications that no document has: probes may be trained on those of
    the seen split; those of the unseen split evaluate programs and probes.

    Args:
        board_shape: Rows and columns inside the border. 6 x 6 is the inner part of the paper's 8 x 8 board.
        n_examples: Input-output pairs of a specification, as in the released code.
        n_heldout_examples: Further pairs that evaluate a program and are hidden from the model.
        records: Number of training documents, as in the ICML version of the paper.
        lengths: Fewest and most operations of a training program. 6 to 10, so that short programs are outside the
            training range.
        asked_lengths: Fewest and most operations of the questions' reference programs; each length is equally frequent.
        seen_questions: Number of questions in the seen split.
        unseen_questions: Number of questions in the unseen split.
        obstacle_rate: Probability that an inner cell is an obstacle, from 0 to below 1.
        marker_rate: Probability that a free inner cell has a marker, 0 to 1.
        meaning: The effects of the operations, from `MEANINGS`. It changes the outputs, not the look of the texts.
        encoding: "lean": one token per cell and operation, the shorter texts. "official": the layout of the released
            code.
        control_flow: Also draw loops and branches, which the paper does not have. Only for the lean encoding.
        target_prefix: What stands before the program in a question's target. A tokenizer that does not put a space in
            front of every text needs a space there, so that the program has the tokens that it has in a document
            (`fit_to_tokenizer`).
    """

    board_shape: tuple[int, int] = (6, 6)
    n_examples: int = 5
    n_heldout_examples: int = 5
    records: int = 500_000
    lengths: tuple[int, int] = (6, 10)
    asked_lengths: tuple[int, int] = (1, 10)
    seen_questions: int = 10_000
    unseen_questions: int = 10_000
    obstacle_rate: float = 0.1
    marker_rate: float = 0.1
    meaning: str = "original"
    encoding: KarelEncodingName = "lean"
    control_flow: bool = False
    target_prefix: Literal["", " "] = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        meaning_table(self.meaning)
        rows, cols = self.board_shape
        if min(self.board_shape) < 1 or rows * cols > MAX_CELLS:
            raise SpecError(
                f"Karel.board_shape={self.board_shape} is no board of 1 to {MAX_CELLS} cells; take another shape."
            )
        counts = (self.n_examples, self.records, self.seen_questions, self.unseen_questions)
        if min(counts) < 1 or self.n_heldout_examples < 0:
            raise SpecError(
                f"Karel with n_examples={self.n_examples}, records={self.records}, "
                f"seen_questions={self.seen_questions}, unseen_questions={self.unseen_questions} and "
                f"n_heldout_examples={self.n_heldout_examples} has nothing to learn or to ask; take 1 or more, only of "
                "held-out examples 0 or more."
            )
        for name, limits in (("lengths", self.lengths), ("asked_lengths", self.asked_lengths)):
            if not 1 <= limits[0] <= limits[1] <= 50:
                raise SpecError(f"Karel.{name}={limits} is not a range within 1 to 50; give the least and the most.")
        if not (0 <= self.obstacle_rate < 1 and 0 <= self.marker_rate <= 1):
            raise SpecError(
                f"Karel with obstacle_rate={self.obstacle_rate} and marker_rate={self.marker_rate} cannot be drawn; "
                "take rates from 0 to 1, and an obstacle_rate below 1."
            )
        if self.encoding not in ("lean", "official"):
            raise SpecError(f"Karel.encoding={self.encoding!r} does not exist; take lean or official.")
        if self.control_flow and self.encoding == "official":
            raise SpecError("Karel.control_flow has no official text; take encoding='lean'.")
        if self.target_prefix and self.encoding == "official":
            raise SpecError("Karel.target_prefix is for the lean encoding; leave it out of the official one.")

    @cached_property
    def record_encoding(self) -> LeanEncoding | OfficialEncoding:
        """The encoding of the records."""
        return encoding_for(self.encoding, self.board_shape, self.n_examples)

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer for the encoding."""
        return self.record_encoding.tokenizer

    @property
    def program_separator(self) -> str:
        """What stands between specification and program in a document."""
        return " " if self.encoding == "lean" else ""

    def target_text(self, program: Program) -> str:
        """A program as it stands in a question's target, and so in a model's reply."""
        return self.target_prefix + self.record_encoding.format_program(program)

    @property
    def n_entities(self) -> int:
        """The number of records, which are the independently drawn units."""
        return self.records

    @property
    def documents_per_entity(self) -> int:
        """One document per record."""
        return 1

    @property
    def n_questions(self) -> int:
        """The number of specifications to write programs for."""
        return self.seen_questions + self.unseen_questions

    @property
    def n_unseen_entities(self) -> float:
        """The specifications that programs and probes are tested on; records are in no split."""
        return self.unseen_questions

    def downsized(self, max_entities: int) -> Karel:
        """A world with at most `max_entities` records and about as many questions at most, in the same shares."""
        share = min(1.0, max_entities / self.n_questions)
        return replace(
            self,
            records=min(self.records, max(1, max_entities)),
            seen_questions=max(1, round(share * self.seen_questions)),
            unseen_questions=max(1, round(share * self.unseen_questions)),
        )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All records in order."""
        for first, block in self._record_blocks(seed):
            for number, (pairs, program) in enumerate(zip(block.pairs, block.programs, strict=True), first):
                specification = self.record_encoding.format_specification(pairs)
                record_id = f"record/{number}"
                text = specification + self.program_separator + self.record_encoding.format_program(program)
                yield Document(record_id, record_id, text, (), prompt_chars=len(specification))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Specifications with their reference programs, first those of the seen split. Lengths take turns."""
        for number, (pairs, program) in enumerate(zip(*question_records(self, seed), strict=True)):
            yield Question(
                id=f"specification/{number}",
                entity=f"specification/{number}",
                attribute=f"length {_question_length(number, self.asked_lengths)}",
                prompt=self.record_encoding.format_specification(pairs[: self.n_examples]),
                target=self.target_text(program),
                split="seen" if number < self.seen_questions else "unseen",
                metadata=self.record_encoding.format_examples(pairs[self.n_examples :])
                if self.n_heldout_examples
                else "",
            )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word that records with this encoding can use."""
        yield self.record_encoding.vocabulary_text
        if self.control_flow:
            yield " ".join(KAREL_KEYWORDS)

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, eos_id: int) -> Iterator[TokenDataset] | None:
        """The tokens of all records, one block at a time; equal to the tokenized `documents`.

        None: the tokenizer gives cells or operations different numbers of tokens, so it has to read the texts.

        Raises:
            DataError: A program's tokens in a record are not those that it has alone.
        """
        check_program_tokens(self, tokenizer)
        layout = uniform_layout(self, tokenizer)
        if layout is None:
            return None
        return (layout.encode_block(block, eos_id) for _, block in self._record_blocks(seed))

    def _record_blocks(self, seed: Seed) -> Iterator[tuple[int, KarelRecords]]:
        """The index of the first record and the records of each block."""
        question_hashes = np.unique(_specification_hashes(question_records(self, seed).pairs[:, : self.n_examples]))
        for first in range(0, self.records, RECORDS_PER_BLOCK):
            size = min(RECORDS_PER_BLOCK, self.records - first)
            block_seed = seed / "records" / (first // RECORDS_PER_BLOCK)
            yield first, self._draw_training_block(block_seed, question_hashes).head(size)

    def _draw_training_block(self, seed: Seed, question_hashes: np.ndarray) -> KarelRecords:
        """A block of training records. None of their specifications is a question's."""
        rng = seed.numpy()
        low, high = self.lengths
        records = draw_records(self, rng, rng.integers(low, high + 1, RECORDS_PER_BLOCK), self.n_examples)
        # On small boards a random specification is now and then a question's; such records are drawn again.
        while len(clashes := np.flatnonzero(np.isin(_specification_hashes(records.pairs), question_hashes))):
            records = records.with_replaced(
                clashes, draw_records(self, rng, rng.integers(low, high + 1, len(clashes)), self.n_examples)
            )
        return records


@dataclass(frozen=True, slots=True)
class KarelRecords:
    """Specifications and programs: N records of K pairs on C inner cells.

    Args:
        pairs: Input and output boards as indices into `GLYPHS`. Shape: (N, K, 2, C), uint8.
        programs: The programs.
        operations: Programs as indices into `KAREL_OPERATIONS`, then `HALT`. Shape: (N, L), int8. None: the programs
            have control flow.
    """

    pairs: np.ndarray
    programs: list[Program]
    operations: np.ndarray | None

    def __iter__(self) -> Iterator[object]:
        return iter((self.pairs, self.programs))

    def head(self, count: int) -> KarelRecords:
        """The first `count` records."""
        operations = None if self.operations is None else self.operations[:count]
        return KarelRecords(self.pairs[:count], self.programs[:count], operations)

    def with_replaced(self, indices: np.ndarray, replacements: KarelRecords) -> KarelRecords:
        """The same records with replacements at some indices."""
        pairs, programs = self.pairs.copy(), list(self.programs)
        pairs[indices] = replacements.pairs
        for index, program in zip(indices, replacements.programs, strict=True):
            programs[index] = program
        operations = None if self.operations is None else self.operations.copy()
        if operations is not None and replacements.operations is not None:
            operations[indices] = replacements.operations
        return KarelRecords(pairs, programs, operations)


def draw_records(world: Karel, rng: np.random.Generator, lengths: np.ndarray, n_pairs: int) -> KarelRecords:
    """Random records: one program of each length, each on `n_pairs` random boards."""
    if world.control_flow:
        return _draw_control_flow_records(world, rng, lengths, n_pairs)
    max_length = max(world.lengths[1], world.asked_lengths[1])
    weights = np.array(OPERATION_WEIGHTS) / sum(OPERATION_WEIGHTS)
    operations = rng.choice(len(KAREL_OPERATIONS), size=(len(lengths), max_length), p=weights).astype(np.int8)
    operations[np.arange(max_length) >= lengths[:, None]] = HALT
    boards = draw_boards(world, rng, len(lengths) * n_pairs)
    code = Bytecode(np.repeat(np.pad(operations, ((0, 0), (0, 1)), constant_values=HALT), n_pairs, 0))
    io_pairs = _io_pairs(boards, code.with_meaning(world.meaning), (len(lengths), n_pairs))
    programs = [program_from_indices(row[:n]) for row, n in zip(operations.tolist(), lengths.tolist(), strict=True)]
    return KarelRecords(io_pairs, programs, operations)


def _draw_control_flow_records(
    world: Karel, rng: np.random.Generator, lengths: np.ndarray, n_pairs: int
) -> KarelRecords:
    """Records whose programs have loops and branches. A program that does not halt on all its boards is drawn again."""
    programs: list[Program] = [()] * len(lengths)
    io_pairs = np.zeros((len(lengths), n_pairs, 2, world.board_shape[0] * world.board_shape[1]), dtype=np.uint8)
    unfinished = np.arange(len(lengths))
    while len(unfinished):
        candidates = draw_block_programs(rng, lengths[unfinished])
        boards = draw_boards(world, rng, len(unfinished) * n_pairs)
        code = compile_programs(candidates)
        code = code.subset(np.repeat(np.arange(len(unfinished)), n_pairs)).with_meaning(world.meaning)
        traces = run_programs(boards, code, limit=STEP_LIMIT)
        ended = traces.finished.reshape(-1, n_pairs).all(1)
        candidate_pairs = np.stack([boards.glyphs(), traces.end.glyphs()], 1).reshape(len(unfinished), n_pairs, 2, -1)
        io_pairs[unfinished[ended]] = candidate_pairs[ended]
        for index in np.flatnonzero(ended):
            programs[unfinished[index]] = candidates[index]
        unfinished = unfinished[~ended]
    return KarelRecords(io_pairs, programs, None)


def draw_boards(world: Karel, rng: np.random.Generator, count: int) -> Boards:
    """Random boards. Each inner cell is an obstacle or else has a marker by chance; the robot's cell is cleared."""
    rows, cols = world.board_shape
    obstacles = rng.random((count, rows, cols)) < world.obstacle_rate
    markers = (rng.random((count, rows, cols)) < world.marker_rate) & ~obstacles
    row, col = rng.integers(rows, size=count), rng.integers(cols, size=count)
    obstacles[np.arange(count), row, col] = markers[np.arange(count), row, col] = False
    whole = np.ones((count, rows + 2, cols + 2), dtype=bool)
    whole[:, 1:-1, 1:-1] = obstacles
    held = np.zeros(whole.shape, dtype=np.int16)
    held[:, 1:-1, 1:-1] = markers
    robot = ((row + 1) * (cols + 2) + col + 1).astype(np.int32)
    direction = rng.integers(4, size=count).astype(np.int8)
    return Boards(rows + 2, cols + 2, robot, direction, whole.reshape(count, -1), held.reshape(count, -1))


def _io_pairs(boards: Boards, code: Bytecode, shape: tuple[int, int]) -> np.ndarray:
    ends = run_programs(boards, code).end
    return np.stack([boards.glyphs(), ends.glyphs()], 1).reshape(*shape, 2, -1)


@lru_cache(maxsize=8)
def question_records(world: Karel, seed: Seed) -> KarelRecords:
    """The records of the questions, no two with the same specification."""
    # Fields of the training records must not change the questions, so that arms can be compared.
    question_world = replace(world, records=1, lengths=world.asked_lengths, encoding="lean")
    return _draw_question_records(question_world, seed)


@lru_cache(maxsize=8)
def _draw_question_records(world: Karel, seed: Seed) -> KarelRecords:
    count = world.seen_questions + world.unseen_questions
    lengths = np.array([_question_length(number, world.asked_lengths) for number in range(count)])
    rng = (seed / "questions").numpy()
    records = draw_records(world, rng, lengths, world.n_examples + world.n_heldout_examples)
    while True:
        keys = _specification_hashes(records.pairs[:, : world.n_examples])
        first = np.unique(keys, return_index=True)[1]
        duplicates = np.setdiff1d(np.arange(count), first)
        if not len(duplicates):
            return records
        records = records.with_replaced(
            duplicates, draw_records(world, rng, lengths[duplicates], world.n_examples + world.n_heldout_examples)
        )


def _question_length(number: int, lengths: tuple[int, int]) -> int:
    low, high = lengths
    return low + number % (high - low + 1)


def _specification_hashes(pairs: np.ndarray) -> np.ndarray:
    """One number per specification, equal for equal specifications. Shape: (N,), uint64."""
    flat = pairs.reshape(len(pairs), -1)
    odd = np.random.Generator(np.random.PCG64(0)).integers(2**63, size=flat.shape[1], dtype=np.uint64) * 2 + 1
    keys = np.zeros(len(flat), dtype=np.uint64)
    for column, factor in zip(flat.T, odd, strict=True):
        keys = (keys ^ (column.astype(np.uint64) + np.uint64(1)) * factor) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def all_straight_line(world: Karel, seed: Seed) -> bool:
    """Whether no reference program of a question has control flow."""
    return all(map(is_straight_line, question_records(world, seed).programs))
