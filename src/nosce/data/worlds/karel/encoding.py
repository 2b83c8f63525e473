"""Records as text: input and output boards, then the program, in the official layout or in a lean one.

    lean        IN . . > # 1 … OUT . . . # > … IN … CODE move turnLeft
    official    Examples: Input0, rows of ` __space__`, …, Code: def run() {, one indented operation a line

The official text has two tokens per cell and three per operation, the lean text one token each. The closing brace of
the official text is its end token; the tokenizer's end token replaces it here. Source: the released `data/karel.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.karel.language import (
    CONDITIONS,
    KAREL_OPERATIONS,
    MAX_REPEAT,
    Program,
    parse_program,
    program_words,
)
from nosce.data.worlds.karel.vectorized import GLYPHS
from nosce.errors import DataError

KarelEncodingName = Literal["lean", "official"]

#: Names of the cells in the official text, in the order of `GLYPHS`.
CELL_TOKENS = (
    "__space__",
    "__wall__",
    "__up__",
    "__right__",
    "__down__",
    "__left__",
    *(f"__{count}_Marker__" for count in range(1, 10)),
)
OPERATION_CALLS = {
    "move": "move()",
    "turnLeft": "turn_left()",
    "turnRight": "turn_right()",
    "putMarker": "put_marker()",
    "pickMarker": "pick_marker()",
}
KAREL_KEYWORDS = ("repeat", "while", "if", "else", "not", "{", "}", *CONDITIONS, *map(str, range(1, MAX_REPEAT + 1)))


class RecordEncoding(Protocol):
    """A text format for records."""

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer for the format."""
        ...

    def format_examples(self, pairs: np.ndarray) -> str:
        """Input-output pairs as text. Shape: (pairs, 2, inner cells), indices into `GLYPHS`."""
        ...

    def format_specification(self, pairs: np.ndarray) -> str:
        """The prompt: the pairs, and everything else before the program."""
        ...

    def format_program(self, program: Program) -> str:
        """The program as it follows its specification."""
        ...

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """The pairs of a text from `format_examples` or `format_specification`. Shape: (pairs, 2, cells)."""
        ...

    def parse_reply(self, text: str) -> Program | None:
        """The program that a model wrote, or None if the text is no program."""
        ...


@dataclass(frozen=True)
class LeanEncoding:
    """One token per cell and one per operation, with `IN`, `OUT` and `CODE` between them."""

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token per word."""
        return TokenizerSpec(kind="word")

    def format_examples(self, pairs: np.ndarray) -> str:
        """`IN …cells… OUT …cells…` for each pair."""
        boards = []
        for pair in pairs:
            for word, board in zip(("IN", "OUT"), pair, strict=True):
                boards.append(f"{word} {' '.join(GLYPHS[cell] for cell in board)}")
        return " ".join(boards)

    def format_specification(self, pairs: np.ndarray) -> str:
        """The pairs and the word `CODE`."""
        return f"{self.format_examples(pairs)} CODE"

    def format_program(self, program: Program) -> str:
        """The words of the program, separated by spaces."""
        return " ".join(program_words(program))

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """The pairs of a text from `format_examples`.

        Raises:
            DataError: The text has another format.
        """
        parts = [part.split() for part in text.removesuffix("CODE").replace("OUT", "IN").split("IN")[1:]]
        if not parts or len(parts) % 2 or any(len(part) != cells or not set(part) <= set(GLYPHS) for part in parts):
            raise DataError(f"the text {text[:60]!r} has no boards of {cells} cells; check its world's board_shape.")
        return np.array([[GLYPHS.index(cell) for cell in part] for part in parts], dtype=np.uint8).reshape(-1, 2, cells)

    def parse_reply(self, text: str) -> Program | None:
        """The program of a text from `format_program`; None for any other text."""
        return parse_program(text.split())

    @property
    def vocabulary_text(self) -> str:
        """Every word of the format."""
        return " ".join(("IN", "OUT", "CODE", *GLYPHS, *KAREL_OPERATIONS))


@dataclass(frozen=True)
class OfficialEncoding:
    """The layout of the released code, with 39 different tokens, for programs without control flow.

    Args:
        row_width: Columns of the inner board, which are a line of the text.
        n_examples: Input-output pairs of a specification, because each pair's number is a token.
    """

    row_width: int
    n_examples: int

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The tokens of the layout."""
        numbered = tuple(f"{word}{n}" for n in range(self.n_examples) for word in ("Input", "Output"))
        return (
            "Examples:",
            "Code:",
            "def",
            "run()",
            " {",
            "\n",
            "  ",
            " ",
            *numbered,
            *CELL_TOKENS,
            *OPERATION_CALLS.values(),
        )

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token per symbol; spaces and line ends are symbols."""
        return TokenizerSpec(kind="symbols", symbols=self.symbols)

    def format_examples(self, pairs: np.ndarray) -> str:
        """Numbered inputs and outputs, one line per row of cells."""
        lines = []
        for number, pair in enumerate(pairs):
            for word, board in zip(("Input", "Output"), pair, strict=True):
                lines.append(f"{word}{number % self.n_examples}")
                rows = board.reshape(-1, self.row_width)
                lines.extend("".join(f" {CELL_TOKENS[cell]}" for cell in row) for row in rows)
        return "".join(f"{line}\n" for line in lines)

    def format_specification(self, pairs: np.ndarray) -> str:
        """The examples, the heading of the code, and the first line of the function."""
        return f"Examples:\n\n{self.format_examples(pairs)}\nCode:\ndef run() {{\n"

    def format_program(self, program: Program) -> str:
        """One indented call per line."""
        return "".join(f"  {OPERATION_CALLS[word]}\n" for word in program_words(program))

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """The pairs of a text from `format_examples`.

        Raises:
            DataError: The text has another format.
        """
        cell_indices = [CELL_TOKENS.index(word) for word in text.split() if word in CELL_TOKENS]
        if not cell_indices or len(cell_indices) % (2 * cells):
            raise DataError(f"the text {text[:60]!r} has no boards of {cells} cells; check its world's board_shape.")
        return np.array(cell_indices, dtype=np.uint8).reshape(-1, 2, cells)

    def parse_reply(self, text: str) -> Program | None:
        """The program of a text from `format_program`, or None. Each line must be one call, indented by two spaces."""
        operation_by_line = {f"  {call}": name for name, call in OPERATION_CALLS.items()}
        lines = text.split("\n")
        if len(lines) < 2 or lines[-1] or not all(line in operation_by_line for line in lines[:-1]):
            return None
        return tuple(operation_by_line[line] for line in lines[:-1])

    @property
    def vocabulary_text(self) -> str:
        """Empty, because the symbols are the vocabulary."""
        return ""


def encoding_for(
    name: KarelEncodingName, board_shape: tuple[int, int], n_examples: int
) -> LeanEncoding | OfficialEncoding:
    """The encoding with this name for boards of this shape."""
    return LeanEncoding() if name == "lean" else OfficialEncoding(row_width=board_shape[1], n_examples=n_examples)


def program_from_indices(operations: Sequence[int]) -> Program:
    """The straight-line program of these indices into `KAREL_OPERATIONS`."""
    return tuple(KAREL_OPERATIONS[place] for place in operations)
