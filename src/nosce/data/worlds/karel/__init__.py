"""Karel the robot: boards, programs that do something to them, and specifications that show what.

language    the words, what they may be re-assigned to mean, blocks
board       the readable interpreter
many        the vectorised one, which must agree
text        records as text, official and lean
world       the world: records to learn from, specifications to ask
judging     what became of a program that a model wrote, and which states it goes through
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nosce.data.worlds.karel.interpreter import Board, StepLimitExceeded, execute_program
from nosce.data.worlds.karel.language import parse_program, reassign_operations
from nosce.data.worlds.karel.world import Karel
from nosce.errors import DataError

__all__ = ["Karel", "run_karel"]


def run_karel(grid: dict[str, Any], program: Sequence[str], meaning: str = "original") -> list[dict[str, Any]]:
    """Run a program on a board: the state after each operation, in the JSON form of the golden traces.

    Args:
        grid: `rows`, `cols` (border included), `robot` (`row`, `col`, `dir`), `obstacles` and `markers`.
        program: Its words, e.g. `["move", "turnLeft"]`, or `["repeat", "2", "{", "move", "}"]`.
        meaning: What the operations stand for: original, flip, or alt0 to alt11.

    Raises:
        DataError: The grid or the program cannot be read, or the program never ends.
        SpecError: There is no such meaning.
    """
    parsed = parse_program(program) if program else ()
    if parsed is None:
        raise DataError(
            f"the program {' '.join(program)[:80]!r} cannot be read; write operations, or blocks in braces."
        )
    board = Board.from_grid(grid)
    try:
        return [board.state for _ in execute_program(board, reassign_operations(parsed, meaning))]
    except StepLimitExceeded:
        raise DataError(
            f"the program {' '.join(program)[:80]!r} does not end on this board; bound its loops."
        ) from None
