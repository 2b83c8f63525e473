"""Records as text: boards in and out, then the program, in the official layout or in a lean one.

    lean        IN . . > # 1 … OUT . . . # > … IN … CODE move turnLeft
    official    Examples: Input0, rows of ` __space__`, …, Code: def run() {, one indented operation a line

The official text spends two tokens on a cell and three on an operation, the lean one a token each. The closing
brace of the official text is its end token; ours is the tokenizer's. Source: the released `data/karel.py`.
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

#: What a cell is called in the official text, in the order of `GLYPHS`.
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
    """A way to write records."""

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer it is meant for."""
        ...

    def format_examples(self, pairs: np.ndarray) -> str:
        """Input-output pairs as text. Shape: (pairs, 2, inner cells) of places in `GLYPHS`."""
        ...

    def format_specification(self, pairs: np.ndarray) -> str:
        """The prompt: the pairs, and all that stands before the program."""
        ...

    def format_program(self, program: Program) -> str:
        """The program as it follows on its specification."""
        ...

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """The pairs of a text that `format_examples` or `format_specification` wrote. Shape: (pairs, 2, cells)."""
        ...

    def parse_reply(self, text: str) -> Program | None:
        """The program that a model wrote, or None where it is not readable as one."""
        ...


@dataclass(frozen=True)
class LeanEncoding:
    """One token a cell and one an operation, with `IN`, `OUT` and `CODE` between them."""

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token a word."""
        return TokenizerSpec(kind="word")

    def format_examples(self, pairs: np.ndarray) -> str:
        """`IN …cells… OUT …cells…` for each pair."""
        return " ".join(
            f"{word} {' '.join(GLYPHS[cell] for cell in board)}"
            for pair in pairs
            for word, board in zip(("IN", "OUT"), pair, strict=True)
        )

    def format_specification(self, pairs: np.ndarray) -> str:
        """The pairs, and the word `CODE`."""
        return f"{self.format_examples(pairs)} CODE"

    def format_program(self, program: Program) -> str:
        """Words with spaces between them."""
        return " ".join(program_words(program))

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """What `format_examples` wrote.

        Raises:
            DataError: It is not that.
        """
        parts = [part.split() for part in text.removesuffix("CODE").replace("OUT", "IN").split("IN")[1:]]
        if not parts or len(parts) % 2 or any(len(part) != cells or not set(part) <= set(GLYPHS) for part in parts):
            raise DataError(f"a text is no record of boards of {cells} cells: {text[:60]!r}; look at its world.")
        return np.array([[GLYPHS.index(cell) for cell in part] for part in parts], dtype=np.uint8).reshape(-1, 2, cells)

    def parse_reply(self, text: str) -> Program | None:
        """What `format_program` wrote, or None."""
        return parse_program(text.split())

    @property
    def vocabulary_text(self) -> str:
        """Every word there is."""
        return " ".join(("IN", "OUT", "CODE", *GLYPHS, *KAREL_OPERATIONS))


@dataclass(frozen=True)
class OfficialEncoding:
    """The layout of the released code, 39 different tokens, for straight-line programs."""

    row_width: int  # of the inner board
    n_examples: int  # pairs, whose numbers are tokens

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The tokens that occur."""
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
        """One token a symbol, spaces and line ends included."""
        return TokenizerSpec(kind="symbols", symbols=self.symbols)

    def format_examples(self, pairs: np.ndarray) -> str:
        """Numbered inputs and outputs, a row of cells a line."""
        lines = []
        for number, pair in enumerate(pairs):
            for word, board in zip(("Input", "Output"), pair, strict=True):
                lines.append(f"{word}{number % self.n_examples}")
                rows = board.reshape(-1, self.row_width)
                lines.extend("".join(f" {CELL_TOKENS[cell]}" for cell in row) for row in rows)
        return "".join(f"{line}\n" for line in lines)

    def format_specification(self, pairs: np.ndarray) -> str:
        """Examples, code, and the first line of the function."""
        return f"Examples:\n\n{self.format_examples(pairs)}\nCode:\ndef run() {{\n"

    def format_program(self, program: Program) -> str:
        """One indented call a line."""
        return "".join(f"  {OPERATION_CALLS[word]}\n" for word in program_words(program))

    def parse_examples(self, text: str, cells: int) -> np.ndarray:
        """What `format_examples` wrote.

        Raises:
            DataError: It is not that.
        """
        cell_indices = [CELL_TOKENS.index(word) for word in text.split() if word in CELL_TOKENS]
        if not cell_indices or len(cell_indices) % (2 * cells):
            raise DataError(f"a text is no record of boards of {cells} cells: {text[:60]!r}; look at its world.")
        return np.array(cell_indices, dtype=np.uint8).reshape(-1, 2, cells)

    def parse_reply(self, text: str) -> Program | None:
        """What `format_program` wrote, or None: every line must be one call, indented by two spaces."""
        operation_by_line = {f"  {call}": name for name, call in OPERATION_CALLS.items()}
        lines = text.split("\n")
        if len(lines) < 2 or lines[-1] or not all(line in operation_by_line for line in lines[:-1]):
            return None
        return tuple(operation_by_line[line] for line in lines[:-1])

    @property
    def vocabulary_text(self) -> str:
        """Nothing: the symbols are the vocabulary."""
        return ""


def encoding_for(
    name: KarelEncodingName, board_shape: tuple[int, int], n_examples: int
) -> LeanEncoding | OfficialEncoding:
    """The encoding of that name for boards of this size."""
    return LeanEncoding() if name == "lean" else OfficialEncoding(row_width=board_shape[1], n_examples=n_examples)


def program_from_indices(operations: Sequence[int]) -> Program:
    """The straight-line program of these places in `KAREL_OPERATIONS`."""
    return tuple(KAREL_OPERATIONS[place] for place in operations)
