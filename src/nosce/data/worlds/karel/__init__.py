"""Karel the robot: boards, programs that change them, and specifications that show their effect (arXiv:2305.11169).

language        operations, their re-assigned meanings, control flow
interpreter     the readable interpreter
vectorized      the fast interpreter, which must agree with the readable one
nested          random programs with control flow
written_states  the states of such programs, one for each written operation
encoding        records as text, official and lean
world           the world: training records, and specifications as questions
scoring         scores of a program that a model wrote, and the states that it passes through
"""

from __future__ import annotations

from collections.abc import Sequence

from nosce.data.worlds.karel.interpreter import Board, KarelGrid, KarelState, StepLimitExceeded, execute_program
from nosce.data.worlds.karel.language import parse_program, reassign_operations
from nosce.data.worlds.karel.world import Karel
from nosce.errors import DataError

__all__ = ["Karel", "run_karel"]


def run_karel(grid: KarelGrid, program: Sequence[str], meaning: str = "original") -> list[KarelState]:
    """Run a program on a board. Returns the state after each operation, in the JSON form of the golden traces.

    Args:
        grid: `rows` and `cols` (border included), `robot` (`row`, `col`, `dir`), `obstacles` and `markers`.
        program: Its words, e.g. `["move", "turnLeft"]`, or `["repeat", "2", "{", "move", "}"]`.
        meaning: The effects of the operations: original, flip, or alt0 to alt11.

    Raises:
        DataError: The grid or the program cannot be read, or the program does not halt.
        SpecError: No meaning has this name.
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
