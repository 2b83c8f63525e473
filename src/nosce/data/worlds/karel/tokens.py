"""Karel's texts in the tokens of any tokenizer: which tokens each operation has, and where a program's operations are.

With the tokenizer of an encoding every operation has equally many tokens. The tokenizer of a pretrained model may give
`move` one token, and `turnLeft` and `turnRight` two, of which the first is the same:

    text      IN … CODE move turnRight turnLeft
    tokens    … | CODE | move | turn | Right | turn | Left
                         ^ move        ^ turnRight    ^ turnLeft    the tokens that tell the operations apart

The operation is predicted by the position before its telling token. All of this needs a program whose tokens are those
of its words, one after the other; a tokenizer of which that is not true is refused.

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 3, for the position that predicts an operation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from tokenizers import Tokenizer

from nosce.data.packing import TokenDataset, encode
from nosce.data.worlds.karel.encoding import KAREL_KEYWORDS
from nosce.data.worlds.karel.language import KAREL_OPERATIONS
from nosce.data.worlds.karel.vectorized import GLYPHS, HALT
from nosce.errors import DataError

if TYPE_CHECKING:
    from nosce.data.worlds.karel.world import Karel, KarelRecords


@dataclass(frozen=True)
class OperationTokens:
    """The tokens of each operation inside a program.

    Args:
        ids: Tokens of the operations, in the order of `KAREL_OPERATIONS`. None begins with all tokens of another.
        control_ids: Tokens of the words of control flow, which may stand between operations. Empty: there are none.
    """

    ids: tuple[tuple[int, ...], ...]
    control_ids: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, world: Karel, tokenizer: Tokenizer) -> OperationTokens:
        """The tokens that a tokenizer gives the operations of a world.

        Raises:
            DataError: A word has no tokens, or begins with all tokens of another.
        """
        words = (*KAREL_OPERATIONS, *(KAREL_KEYWORDS if world.control_flow else ()))
        ids = tuple(word_tokens(world, tokenizer, word) for word in words)
        for (one, one_ids), (other, other_ids) in itertools.permutations(zip(words, ids, strict=True), 2):
            if other_ids[: len(one_ids)] == one_ids:
                raise DataError(
                    f"Karel's {other} begins with all tokens of {one} in this tokenizer ({list(one_ids)}), so the two "
                    "cannot be told apart; take the tokenizer of the world's encoding."
                )
        return cls(ids[: len(KAREL_OPERATIONS)], ids[len(KAREL_OPERATIONS) :])

    @property
    def are_equally_many(self) -> bool:
        """Has every operation the same number of tokens?"""
        return len(set(map(len, self.ids))) == 1

    @property
    def most(self) -> int:
        """The most tokens of a word."""
        return max(map(len, self._all_ids))

    @property
    def _all_ids(self) -> tuple[tuple[int, ...], ...]:
        return self.ids + self.control_ids

    @property
    def shared_opening(self) -> tuple[int, ...]:
        """The tokens with which every word begins, e.g. the indentation of the official text."""
        return self.ids[0][: min(_shared(self.ids[0], other) for other in self._all_ids[1:])]

    @cached_property
    def telling_indices(self) -> tuple[int, ...]:
        """For each operation the index of the token that tells it apart from all others."""
        return tuple(max(_shared(one, other) for other in self._all_ids if other != one) for one in self.ids)

    def locate(self, reply: np.ndarray) -> np.ndarray:
        """The positions of the telling tokens in the tokens of a program. Shape: (operations,), int64.

        Raises:
            DataError: The tokens are not those of words, one after the other.
        """
        return np.array([start + self.telling_indices[kind] for start, kind in self._parts(reply)], dtype=np.int64)

    def locate_openings(self, reply: np.ndarray) -> np.ndarray:
        """The positions behind the opening that all operations share, for each operation. Shape: (operations,), int64.

        Raises:
            DataError: As `locate`.
        """
        return np.array([start + len(self.shared_opening) for start, _ in self._parts(reply)], dtype=np.int64)

    def _parts(self, reply: np.ndarray) -> Iterator[tuple[int, int]]:
        """The first token and the kind of each operation."""
        start, tokens = 0, tuple(reply.tolist())
        while start < len(tokens):
            matching = [kind for kind, one in enumerate(self._all_ids) if tokens[start : start + len(one)] == one]
            if not matching:
                raise DataError(
                    f"the tokens {list(tokens[start : start + self.most])} of a program of Karel are no operation's, "
                    "so the places of its states cannot be found; take the tokenizer of the world's encoding."
                )
            if matching[0] < len(self.ids):
                yield start, matching[0]
            start += len(self._all_ids[matching[0]])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens with which both begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def word_tokens(world: Karel, tokenizer: Tokenizer, word: str) -> tuple[int, ...]:
    """The tokens of an operation or a keyword inside a program."""
    return tuple(tokenizer.encode(_text_of_words(world, [word]), add_special_tokens=False).ids)


def _text_of_words(world: Karel, words: Sequence[str]) -> str:
    """Words as they stand in a target; they need not make a program."""
    if world.encoding == "official":
        return world.target_text(tuple(words))
    return world.target_prefix + " ".join(words)


def check_program_tokens(world: Karel, tokenizer: Tokenizer) -> None:
    """Check that a program's tokens in a record are those of its words, for every two words in a row.

    Raises:
        DataError: They are not, or the tokens of an operation do not decode to it.
    """
    OperationTokens.of(world, tokenizer)
    words = (*KAREL_OPERATIONS, *(KAREL_KEYWORDS if world.control_flow else ()))
    ids = {word: word_tokens(world, tokenizer, word) for word in words}
    for word, tokens in ids.items():
        decoded = tokenizer.decode(list(tokens), skip_special_tokens=False)
        if decoded.strip() != _text_of_words(world, [word]).strip():
            raise DataError(
                f"the tokens of Karel's {word} decode to {decoded!r} in this tokenizer; take one that keeps the word."
            )
    blank_boards = next(_uniform_board_pairs(world.n_examples, world.board_shape[0] * world.board_shape[1]))
    prompt = world.record_encoding.format_specification(blank_boards)
    prompt_ids = tuple(tokenizer.encode(prompt, add_special_tokens=False).ids)
    for pair in itertools.product(words, repeat=2):
        record = prompt + world.program_separator + _text_of_words(replace(world, target_prefix=""), pair)
        if tuple(tokenizer.encode(record, add_special_tokens=False).ids) != prompt_ids + ids[pair[0]] + ids[pair[1]]:
            raise DataError(
                f"in a record of Karel that ends in {record[len(prompt) - 4 :]!r} this tokenizer gives the program "
                f"other tokens than its words have behind {world.target_prefix!r}, so the places of a program's states "
                "cannot be found; take a tokenizer that begins a token at every space, or another target_prefix."
            )


def fit_to_tokenizer(world: Karel, tokenizer: Tokenizer) -> Karel:
    """The world whose targets have the tokens that its programs have in documents.

    Raises:
        DataError: No world has; see `check_program_tokens`.
    """
    prefixes: tuple[Literal["", " "], ...] = ("", " ") if world.encoding == "lean" else ("",)
    for prefix in prefixes:
        fitted = replace(world, target_prefix=prefix)
        try:
            check_program_tokens(fitted, tokenizer)
        except DataError:
            if prefix == prefixes[-1]:
                raise
        else:
            return fitted
    raise AssertionError("there is a last prefix")


class UniformLayout:
    """The positions of the cells in a tokenized specification, which are the same for all specifications of a world."""

    def __init__(self, world: Karel, tokenizer: Tokenizer, board_ids: Sequence[np.ndarray]) -> None:
        self.world, self.tokenizer = world, tokenizer
        self.cell_positions = np.flatnonzero(board_ids[0] != board_ids[1])
        self.glyph_ids = np.array([row[self.cell_positions[0]] for row in board_ids], dtype=np.int32)
        self.specification_ids = board_ids[0].astype(np.int32)
        self.operation_ids = np.array(OperationTokens.of(world, tokenizer).ids, dtype=np.int32)

    def encode_block(self, block: KarelRecords, eos_id: int) -> TokenDataset:
        """A block's records as tokens, each with its end token."""
        count, start = len(block.pairs), len(self.specification_ids)
        specification_tokens = np.repeat(self.specification_ids[None], count, 0)
        specification_tokens[:, self.cell_positions] = self.glyph_ids[block.pairs.reshape(count, -1)]
        programs, lengths = self._encode_programs(block)
        token_rows = np.full((count, start + programs.shape[1] + 1), eos_id, dtype=np.int32)
        token_rows[:, :start], token_rows[:, start:-1] = specification_tokens, programs
        is_token = np.arange(token_rows.shape[1]) < (start + lengths + 1)[:, None]
        token_rows[np.arange(count), start + lengths] = eos_id
        loss_mask = np.broadcast_to(np.arange(token_rows.shape[1]) >= start, token_rows.shape)
        return TokenDataset(
            token_rows[is_token], loss_mask[is_token], np.concatenate([[0], np.cumsum(start + lengths + 1)])
        )

    def _encode_programs(self, block: KarelRecords) -> tuple[np.ndarray, np.ndarray]:
        """Padded tokens of the programs, and the number of tokens of each program."""
        if block.operations is not None:
            each = self.operation_ids.shape[1]
            operation_indices = np.where(block.operations < HALT, block.operations, 0)
            lengths = (block.operations < HALT).sum(1) * each
            return self.operation_ids[operation_indices].reshape(len(operation_indices), -1), lengths
        rows = [e.ids for e in encode(self.tokenizer, map(self.world.target_text, block.programs))]
        lengths = np.array([len(row) for row in rows])
        tokens = np.zeros((len(rows), lengths.max()), dtype=np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return tokens, lengths


def uniform_layout(world: Karel, tokenizer: Tokenizer) -> UniformLayout | None:
    """How records are written as tokens without their texts; None where cells or operations differ in their tokens."""
    cells = world.board_shape[0] * world.board_shape[1]
    prompts = map(world.record_encoding.format_specification, _uniform_board_pairs(world.n_examples, cells))
    board_ids = [np.array(encoding.ids) for encoding in encode(tokenizer, prompts)]
    if len(set(map(len, board_ids))) > 1 or not OperationTokens.of(world, tokenizer).are_equally_many:
        return None
    is_cell = board_ids[0] != board_ids[1]
    same_around = all(np.array_equal(row[~is_cell], board_ids[0][~is_cell]) for row in board_ids)
    if np.count_nonzero(is_cell) != 2 * cells * world.n_examples or not same_around:
        return None
    return UniformLayout(world, tokenizer, board_ids)


def _uniform_board_pairs(n_examples: int, cells: int) -> Iterator[np.ndarray]:
    for glyph in range(len(GLYPHS)):
        yield np.full((n_examples, 2, cells), glyph, dtype=np.uint8)
