"""The readable interpreter: one board, one robot, one operation after the other.

`vectorized.py` runs thousands of boards at once and must agree with this interpreter, operation by operation. Rows
count downwards and columns to the right, both from 0. The border belongs to the board and always blocks the robot.

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, with the semantics of the released interpreter as in its
golden traces: no operation ever fails, an impossible operation does nothing, and a cell holds any number of markers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from nosce.data.worlds.karel.language import KAREL_OPERATIONS, Condition, If, Program, Repeat, Statement, While
from nosce.errors import DataError

DIRECTIONS = "NESW"  # clockwise, so that a right turn is the next one
DIRECTION_OFFSETS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows, columns
STEP_LIMIT = 200  # most operations and conditions of one run, because a loop may never end

GridCell = tuple[int, int]


class RobotState(TypedDict):
    """The robot in a golden trace's JSON; `dir` is one of `DIRECTIONS`."""

    row: int
    col: int
    dir: str


class KarelGrid(TypedDict):
    """A board in a golden trace's JSON, border included: obstacles as (row, col), markers as (row, col, count)."""

    rows: int
    cols: int
    robot: RobotState
    obstacles: Sequence[Sequence[int]]
    markers: Sequence[Sequence[int]]


class KarelState(TypedDict):
    """The variable part of a board in a golden trace's JSON: the robot, and markers as (row, col, count)."""

    robot: RobotState
    markers: list[list[int]]


class StepLimitExceeded(Exception):
    """A program was still running at its step limit."""


@dataclass(slots=True)
class Board:
    """A board and the robot on it.

    Args:
        rows: Rows, border included.
        cols: Columns, border included.
        robot: Row and column of the robot.
        direction: Index into `DIRECTIONS`.
        obstacles: Inner cells with an obstacle.
        markers: Cell -> number of markers, 1 or more.
    """

    rows: int
    cols: int
    robot: GridCell
    direction: int
    obstacles: frozenset[GridCell] = frozenset()
    markers: dict[GridCell, int] = field(default_factory=dict)

    @classmethod
    def from_grid(cls, grid: KarelGrid) -> Board:
        """The board of a golden trace's JSON.

        Raises:
            DataError: The robot is outside the board or on an obstacle, or a part of the grid is missing.
        """
        try:
            robot = grid["robot"]
            board = cls(
                rows=grid["rows"],
                cols=grid["cols"],
                robot=(robot["row"], robot["col"]),
                direction=DIRECTIONS.index(robot["dir"]),
                obstacles=frozenset((row, col) for row, col in grid["obstacles"]),
                markers={(row, col): count for row, col, count in grid["markers"] if count > 0},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the grid cannot be read ({type(error).__name__}: {error}); give rows, cols, robot (row, col, dir), "
                "obstacles and markers."
            ) from error
        if board.is_blocked(board.robot):
            raise DataError(f"the robot's position {board.robot} is no free cell; move the robot.")
        return board

    @property
    def state(self) -> KarelState:
        """The robot and the markers, in the form of the golden traces."""
        row, col = self.robot
        return {
            "robot": {"row": row, "col": col, "dir": DIRECTIONS[self.direction]},
            "markers": [[r, c, count] for (r, c), count in sorted(self.markers.items())],
        }

    def is_blocked(self, cell: GridCell) -> bool:
        """Whether the cell is an obstacle or part of the border."""
        row, col = cell
        inner = 0 < row < self.rows - 1 and 0 < col < self.cols - 1
        return not inner or cell in self.obstacles

    def neighbour_cell(self, right_turns: int = 0) -> GridCell:
        """The cell ahead of the robot, as if it had turned right `right_turns` times."""
        rows, cols = DIRECTION_OFFSETS[(self.direction + right_turns) % 4]
        return self.robot[0] + rows, self.robot[1] + cols

    def apply_operation(self, operation: str) -> None:
        """Do one operation. An impossible operation does nothing."""
        markers_here = self.markers.get(self.robot, 0)
        match operation:
            case "move":
                if not self.is_blocked(self.neighbour_cell()):
                    self.robot = self.neighbour_cell()
            case "turnLeft":
                self.direction = (self.direction - 1) % 4
            case "turnRight":
                self.direction = (self.direction + 1) % 4
            case "putMarker":
                self.markers[self.robot] = markers_here + 1
            case "pickMarker" if markers_here > 1:
                self.markers[self.robot] = markers_here - 1
            case "pickMarker":
                self.markers.pop(self.robot, None)
            case _:
                raise DataError(f"{operation!r} is no operation of Karel; choose from {', '.join(KAREL_OPERATIONS)}.")

    def holds(self, condition: Condition) -> bool:
        """Whether the condition holds."""
        match condition.name:
            case "frontIsClear":
                is_true = not self.is_blocked(self.neighbour_cell())
            case "leftIsClear":
                is_true = not self.is_blocked(self.neighbour_cell(-1))
            case "rightIsClear":
                is_true = not self.is_blocked(self.neighbour_cell(1))
            case "markersPresent":
                is_true = self.robot in self.markers
            case "noMarkersPresent":
                is_true = self.robot not in self.markers
        return is_true != condition.negated

    def render(self) -> list[str]:
        """The official drawing, border included. The robot hides the markers under it."""
        return ["".join(self._glyph((row, col)) for col in range(self.cols)) for row in range(self.rows)]

    def _glyph(self, cell: GridCell) -> str:
        if cell == self.robot:
            return "^>v<"[self.direction]
        if self.is_blocked(cell):
            return "#"
        return str(self.markers[cell])[0] if cell in self.markers else "."

    def features(self, start: GridCell) -> tuple[str, int, int, int]:
        """Direction, rows and columns from the start, and whether the cell ahead is blocked."""
        rows, cols = self.robot[0] - start[0], self.robot[1] - start[1]
        return DIRECTIONS[self.direction], rows, cols, int(self.is_blocked(self.neighbour_cell()))


def execute_program(board: Board, program: Program, limit: int = STEP_LIMIT) -> Iterator[str]:
    """Run a program, which changes the board. Yields each operation after it is done.

    Raises:
        StepLimitExceeded: The program was still running after `limit` operations and conditions.
    """
    steps_left = limit

    def count_step() -> None:
        nonlocal steps_left
        if not steps_left:
            raise StepLimitExceeded
        steps_left -= 1

    def holds(condition: Condition) -> bool:
        count_step()
        return board.holds(condition)

    def run(statements: tuple[Statement, ...]) -> Iterator[str]:
        for statement in statements:
            match statement:
                case str():
                    count_step()
                    board.apply_operation(statement)
                    yield statement
                case Repeat(times, body):
                    for _ in range(times):
                        yield from run(body)
                case While(condition, body):
                    while holds(condition):
                        yield from run(body)
                case If(condition, body, otherwise):
                    yield from run(body if holds(condition) else otherwise)

    return run(program)
