"""The vectorized interpreter: thousands of boards at once, in numpy, in agreement with `interpreter.py`.

Programs are compiled to rows of instructions, and every row has its own instruction index, so programs without control
flow pay nothing for it. Letters: N boards, C cells (border included, row by row), L instructions, T operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nosce.data.worlds.karel.interpreter import DIRECTION_OFFSETS, DIRECTIONS, STEP_LIMIT, Board
from nosce.data.worlds.karel.language import (
    CONDITIONS,
    KAREL_OPERATIONS,
    If,
    Program,
    Repeat,
    Statement,
    While,
    meaning_table,
)

MOVE, LEFT, RIGHT, PUT, PICK = range(5)
HALT, JUMP_UNLESS, JUMP, SET_COUNTER, LOOP_AGAIN = range(5, 10)
TURN_BY_OPCODE = np.array([0, 3, 1, 0, 0, 0, 0, 0, 0, 0], dtype=np.int8)


@dataclass(slots=True)
class Boards:
    """Many boards of one size. N boards of C cells, border included, row by row.

    Args:
        rows: Rows, border included.
        cols: Columns, border included.
        robot: Index of the robot's cell. Shape: (N,), int32.
        direction: Index into `DIRECTIONS`. Shape: (N,), int8.
        obstacles: Whether a cell is blocked. Shape: (N, C), bool.
        markers: Number of markers per cell. Shape: (N, C), int16.
    """

    rows: int
    cols: int
    robot: np.ndarray
    direction: np.ndarray
    obstacles: np.ndarray
    markers: np.ndarray

    def __len__(self) -> int:
        return len(self.robot)

    @property
    def direction_offsets(self) -> np.ndarray:
        """The difference between the index of a cell and of its neighbour in each direction. Shape: (4,)."""
        return np.array([rows * self.cols + cols for rows, cols in DIRECTION_OFFSETS], dtype=np.int32)

    def copy(self) -> Boards:
        """A copy for a run. Obstacles never change, so both share them."""
        return Boards(
            self.rows, self.cols, self.robot.copy(), self.direction.copy(), self.obstacles, self.markers.copy()
        )

    def board(self, index: int) -> Board:
        """One of the boards, for the readable interpreter."""
        cells = [divmod(int(cell), self.cols) for cell in range(self.obstacles.shape[1])]
        blocked = {cell for cell, is_ in zip(cells, self.obstacles[index], strict=True) if is_}
        return Board(
            rows=self.rows,
            cols=self.cols,
            robot=cells[self.robot[index]],
            direction=int(self.direction[index]),
            obstacles=frozenset((r, c) for r, c in blocked if 0 < r < self.rows - 1 and 0 < c < self.cols - 1),
            markers={cell: int(count) for cell, count in zip(cells, self.markers[index], strict=True) if count},
        )

    def subset(self, indices: np.ndarray | slice) -> Boards:
        """Copies of the boards with these indices."""
        return Boards(
            self.rows,
            self.cols,
            self.robot[indices].copy(),
            self.direction[indices].copy(),
            self.obstacles[indices],
            self.markers[indices].copy(),
        )

    def is_front_blocked(self, robot: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Whether the cell ahead is blocked, for robots at these cells (N, ...) and directions. Shape as given."""
        cell_ahead = robot + self.direction_offsets[direction]
        board_index = np.arange(len(self)).reshape(-1, *[1] * (cell_ahead.ndim - 1))
        blocked: np.ndarray = self.obstacles[board_index, cell_ahead]
        return blocked

    def glyphs(self) -> np.ndarray:
        """The drawing of the inner cells as indices into `GLYPHS`, row by row. Shape: (N, inner cells), uint8."""
        # As in the official drawing, a count of ten or more shows only its first digit.
        digit = self.markers if not (self.markers > 9).any() else _first_digit(self.markers)
        drawn = np.where(self.obstacles, 1, np.where(digit > 0, 5 + digit, 0)).astype(np.uint8)
        drawn[np.arange(len(self)), self.robot] = 2 + self.direction
        whole = drawn.reshape(len(self), self.rows, self.cols)[:, 1:-1, 1:-1]
        return whole.reshape(len(self), (self.rows - 2) * (self.cols - 2))

    @classmethod
    def from_glyphs(cls, glyphs: np.ndarray, rows: int, cols: int) -> Boards:
        """The boards of drawings, with no markers under a robot. `rows` and `cols` include the border."""
        count = len(glyphs)
        whole = np.ones((count, rows, cols), dtype=np.uint8)
        whole[:, 1:-1, 1:-1] = glyphs.reshape(count, rows - 2, cols - 2)
        flat = whole.reshape(count, -1)
        robots = (flat >= 2) & (flat <= 5)
        robot = robots.argmax(1).astype(np.int32)
        direction = (flat[np.arange(count), robot] - 2).astype(np.int8)
        return cls(rows, cols, robot, direction, flat == 1, np.where(flat > 5, flat - 5, 0).astype(np.int16))

    @classmethod
    def from_boards(cls, boards: Sequence[Board]) -> Boards:
        """The same boards as the readable interpreter's, which must have one size."""
        rows, cols = boards[0].rows, boards[0].cols
        obstacles = np.ones((len(boards), rows, cols), dtype=bool)
        obstacles[:, 1:-1, 1:-1] = False
        markers = np.zeros((len(boards), rows, cols), dtype=np.int16)
        for number, board in enumerate(boards):
            for cell in board.obstacles:
                obstacles[(number, *cell)] = True
            for cell, count in board.markers.items():
                markers[(number, *cell)] = count
        robot = np.array([b.robot[0] * cols + b.robot[1] for b in boards], dtype=np.int32)
        direction = np.array([b.direction for b in boards], dtype=np.int8)
        return cls(rows, cols, robot, direction, obstacles.reshape(len(boards), -1), markers.reshape(len(boards), -1))


#: The drawing of a cell: free, obstacle, robot facing north, east, south, west, then one to nine markers.
GLYPHS = ".#^>v<123456789"


def _first_digit(counts: np.ndarray) -> np.ndarray:
    digit = counts.copy()
    while (large := digit > 9).any():
        digit[large] //= 10
    return digit


@dataclass(frozen=True, slots=True)
class Bytecode:
    """Programs as instructions. A straight-line program is its operations, then `HALT`.

    Args:
        opcodes: Instructions. Shape: (N, L), int8.
        operand_1: A condition, or the index of a loop counter. Shape: (N, L), int16. None: no control flow.
        operand_2: The instruction to jump to, or the number of repeats. Shape: (N, L), int16. None: no control flow.
        n_counters: Number of loop counters.
    """

    opcodes: np.ndarray
    operand_1: np.ndarray | None = None
    operand_2: np.ndarray | None = None
    n_counters: int = 0

    def __len__(self) -> int:
        return len(self.opcodes)

    def with_meaning(self, name: str) -> Bytecode:
        """The code with its operations replaced by their meanings."""
        table = np.arange(LOOP_AGAIN + 1, dtype=np.int8)
        for opcode, word in enumerate(KAREL_OPERATIONS):
            table[opcode] = KAREL_OPERATIONS.index(meaning_table(name)[word])
        return Bytecode(table[self.opcodes], self.operand_1, self.operand_2, self.n_counters)

    def subset(self, indices: np.ndarray | slice) -> Bytecode:
        """The programs with these indices."""
        first = None if self.operand_1 is None else self.operand_1[indices]
        second = None if self.operand_2 is None else self.operand_2[indices]
        return Bytecode(self.opcodes[indices], first, second, self.n_counters)


def compile_programs(programs: Iterable[Program]) -> Bytecode:
    """Programs of any length and nesting as rows of instructions, padded to the longest."""
    rows = [_compile_program(program) for program in programs]
    width = 1 + max((len(row) for row in rows), default=0)
    table = np.full((len(rows), width, 3), (HALT, 0, 0), dtype=np.int16)
    for index, row in enumerate(rows):
        if row:
            table[index, : len(row)] = row
    opcodes = table[:, :, 0].astype(np.int8)
    if (opcodes <= HALT).all():
        return Bytecode(opcodes)
    counters = 1 + int(table[:, :, 1][(opcodes == SET_COUNTER)].max(initial=-1))
    return Bytecode(opcodes, table[:, :, 1], table[:, :, 2], counters)


def _compile_program(program: Program) -> list[tuple[int, int, int]]:
    code: list[tuple[int, int, int]] = []

    def write(statements: tuple[Statement, ...], depth: int) -> None:
        for statement in statements:
            match statement:
                case str():
                    code.append((KAREL_OPERATIONS.index(statement), 0, 0))
                case Repeat(times, body):
                    code.append((SET_COUNTER, depth, times))
                    start = len(code)
                    write(body, depth + 1)
                    code.append((LOOP_AGAIN, depth, start))
                case While(condition, body):
                    start = len(code)
                    code.append((JUMP_UNLESS, _condition_code(condition.name, condition.negated), 0))
                    write(body, depth)
                    code.append((JUMP, 0, start))
                    code[start] = (*code[start][:2], len(code))
                case If(condition, body, otherwise):
                    start = len(code)
                    code.append((JUMP_UNLESS, _condition_code(condition.name, condition.negated), 0))
                    write(body, depth)
                    if otherwise:
                        jump = len(code)
                        code.append((JUMP, 0, 0))
                        code[start] = (*code[start][:2], len(code))
                        write(otherwise, depth)
                        code[jump] = (JUMP, 0, len(code))
                    else:
                        code[start] = (*code[start][:2], len(code))

    write(program, 0)
    return code


def _condition_code(name: str, negated: bool) -> int:
    return CONDITIONS.index(name) + len(CONDITIONS) * negated


@dataclass(frozen=True, slots=True)
class ProgramTraces:
    """Traces of programs: the robot after operation 1, 2, …. After the last operation it keeps its last state.

    Args:
        start: The boards before the programs.
        end: The boards after the programs.
        n_operations: Number of executed operations. Shape: (N,).
        operations: The executed operations, then `HALT`. Shape: (N, T), int8.
        robot: Index of the robot's cell after each operation. Shape: (N, T), int32.
        direction: Index into `DIRECTIONS` after each operation. Shape: (N, T), int8.
        had_effect: Whether the operation changed the robot or the markers. Shape: (N, T), bool.
        finished: False if the program reached the step limit. Shape: (N,), bool.
        markers: Markers after each operation, if they were kept. Shape: (N, T, C).
        defined: Whether there is a state after the operation. Shape: (N, T), bool. None: everywhere.
        context: How often each of K words of control flow stands before the operation. Shape: (N, T, K), int16. None:
            there are no such words.
    """

    start: Boards
    end: Boards
    n_operations: np.ndarray
    operations: np.ndarray
    robot: np.ndarray
    direction: np.ndarray
    had_effect: np.ndarray
    finished: np.ndarray
    markers: np.ndarray | None
    defined: np.ndarray | None = None
    context: np.ndarray | None = None

    @property
    def is_defined(self) -> np.ndarray:
        """Whether there is a state after the operation. Shape: (N, T), bool."""
        return np.ones(self.operations.shape, dtype=bool) if self.defined is None else self.defined

    @property
    def context_counts(self) -> np.ndarray:
        """How often each of K words that are no operations stands before the operation. Shape: (N, T, K)."""
        return np.zeros((*self.operations.shape, 0), dtype=np.int16) if self.context is None else self.context

    def features(self) -> dict[str, np.ndarray]:
        """The features of a state that probes predict, as integers from 0, after every operation. Shapes: (N, T).

        direction; rows and cols moved since the start, counted from the largest possible move back; front: whether the
        cell ahead is blocked. Also the extra features of the released code: the absolute position, the distance to the
        end, and obstacles on all four sides.
        """
        cols = self.start.cols
        rows_at, cols_at = np.divmod(self.robot, cols)
        rows_from, cols_from = np.divmod(self.start.robot, cols)
        rows_to, cols_to = np.divmod(self.end.robot, cols)
        max_offset = (self.start.rows - 3, cols - 3)  # of the two inner cells that are the furthest apart
        sides = {}
        for index, letter in enumerate(DIRECTIONS):
            direction = np.full_like(self.direction, index)
            sides[f"obstacle_{letter}"] = self.start.is_front_blocked(self.robot, direction)
        feature_values = {
            "direction": self.direction,
            "rows": rows_at - rows_from[:, None] + max_offset[0],
            "cols": cols_at - cols_from[:, None] + max_offset[1],
            "front": self.start.is_front_blocked(self.robot, self.direction),
            "row": rows_at - 1,
            "col": cols_at - 1,
            "rows_to_end": rows_to[:, None] - rows_at + max_offset[0],
            "cols_to_end": cols_to[:, None] - cols_at + max_offset[1],
            **sides,
        }
        return {name: values.astype(np.int64) for name, values in feature_values.items()}

    def initial_features(self) -> dict[str, np.ndarray]:
        """The features of the start that vary: the direction, and whether the cell ahead is blocked."""
        front = self.start.is_front_blocked(self.start.robot, self.start.direction)
        return {"direction": self.start.direction.astype(np.int64), "front": front.astype(np.int64)}

    def initial_state_encoding(self) -> np.ndarray:
        """The drawing of every start, one-hot, without empty columns. Shape: (N, at most inner cells x glyphs)."""
        drawn = self.start.glyphs()
        hot: np.ndarray = np.eye(len(GLYPHS), dtype=np.float32)[drawn].reshape(len(drawn), -1)
        return hot[:, hot.any(0)]


def run_programs(
    initial_boards: Boards, bytecode: Bytecode, *, limit: int = STEP_LIMIT, keep_markers: bool = False
) -> ProgramTraces:
    """Run program i on board i, all at once.

    Args:
        initial_boards: The boards, which stay unchanged.
        bytecode: One program per board.
        limit: Most operations and conditions of one program. A program that reaches it is not finished.
        keep_markers: Keep the markers after every operation, which takes N x T x C numbers.
    """
    current, board_indices = initial_boards.copy(), np.arange(len(initial_boards))
    max_steps = bytecode.opcodes.shape[1] - 1 if bytecode.operand_1 is None else limit
    shape = (len(initial_boards), max(1, max_steps))
    trace = {
        "operations": np.full(shape, HALT, dtype=np.int8),
        "robot": np.repeat(initial_boards.robot[:, None], shape[1], 1),
        "direction": np.repeat(initial_boards.direction[:, None], shape[1], 1),
        "had_effect": np.zeros(shape, dtype=bool),
    }
    markers = np.repeat(initial_boards.markers[:, None], shape[1], 1) if keep_markers else None
    if bytecode.operand_1 is None:
        for step in range(max_steps):
            opcodes = bytecode.opcodes[:, step]
            trace["had_effect"][:, step] = _apply_opcodes(current, opcodes, board_indices)
            trace["operations"][:, step] = opcodes
            trace["robot"][:, step], trace["direction"][:, step] = current.robot, current.direction
            if markers is not None:
                markers[:, step] = current.markers
        count, finished = (bytecode.opcodes < HALT).sum(1), np.ones(len(initial_boards), dtype=bool)
    else:
        count, finished = _run_bytecode(current, bytecode, limit, trace, markers)
        last = max(1, int(count.max(initial=0)))
        for values in (*trace.values(), *(() if markers is None else (markers,))):
            for row in np.flatnonzero(count < last):  # after its last operation a robot keeps its state
                values[row, count[row] : last] = values[row, count[row] - 1] if count[row] else values[row, 0]
        trace = {name: values[:, :last] for name, values in trace.items()}
        markers = None if markers is None else markers[:, :last]
        after = np.arange(last) >= count[:, None]
        trace["operations"][after], trace["had_effect"][after] = HALT, False
    return ProgramTraces(
        start=initial_boards, end=current, n_operations=count, finished=finished, markers=markers, **trace
    )


def _apply_opcodes(boards: Boards, opcodes: np.ndarray, board_indices: np.ndarray) -> np.ndarray:
    """Do one operation on each board. Returns whether it had an effect. `HALT` and later opcodes do nothing."""
    ahead = boards.robot + boards.direction_offsets[boards.direction]
    moved = (opcodes == MOVE) & ~boards.obstacles[board_indices, ahead]
    boards.robot = np.where(moved, ahead, boards.robot)
    turn = TURN_BY_OPCODE[opcodes]
    boards.direction = (boards.direction + turn) & 3
    put = opcodes == PUT
    picked = (opcodes == PICK) & (boards.markers[board_indices, boards.robot] > 0)
    boards.markers[board_indices, boards.robot] += put.astype(np.int16) - picked
    changed: np.ndarray = moved | (turn > 0) | put | picked
    return changed


def _run_bytecode(
    boards: Boards, bytecode: Bytecode, limit: int, trace: dict[str, np.ndarray], markers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Run code with jumps until every program has halted or reached its limit.

    Returns the number of executed operations, and whether the program halted.
    """
    assert bytecode.operand_1 is not None
    assert bytecode.operand_2 is not None
    size = len(boards)
    instruction_index, steps_spent, count = (np.zeros(size, dtype=np.int64) for _ in range(3))
    counters = np.zeros((size, max(1, bytecode.n_counters)), dtype=np.int64)
    finished = np.zeros(size, dtype=bool)
    live = np.arange(size)
    while len(live):
        opcodes = bytecode.opcodes[live, instruction_index[live]]
        costly = opcodes <= JUMP_UNLESS
        has_stopped = (opcodes == HALT) | (costly & (steps_spent[live] >= limit))
        finished[live[opcodes == HALT]] = True
        live, opcodes, costly = live[~has_stopped], opcodes[~has_stopped], costly[~has_stopped]
        operand_1 = bytecode.operand_1[live, instruction_index[live]]
        operand_2 = bytecode.operand_2[live, instruction_index[live]]
        steps_spent[live] += costly
        is_condition = opcodes == JUMP_UNLESS
        jump = opcodes == JUMP
        jump[is_condition] = ~_conditions_hold(boards, live[is_condition], operand_1[is_condition])
        counters[live[opcodes == SET_COUNTER], operand_1[opcodes == SET_COUNTER]] = operand_2[opcodes == SET_COUNTER]
        is_loop_end = opcodes == LOOP_AGAIN
        counters[live[is_loop_end], operand_1[is_loop_end]] -= 1
        jump[is_loop_end] = counters[live[is_loop_end], operand_1[is_loop_end]] > 0
        instruction_index[live] = np.where(jump, operand_2, instruction_index[live] + 1)
        is_operation = opcodes < HALT
        _execute_operations(boards, live[is_operation], opcodes[is_operation], count, trace, markers)
    return count, finished


def _execute_operations(
    boards: Boards,
    board_indices: np.ndarray,
    opcodes: np.ndarray,
    count: np.ndarray,
    trace: dict[str, np.ndarray],
    markers: np.ndarray | None,
) -> None:
    """Do one operation on each of these boards, append it to the board's trace, and count it."""
    acting = boards.subset(board_indices)
    changed = _apply_opcodes(acting, opcodes, np.arange(len(board_indices)))
    boards.robot[board_indices] = acting.robot
    boards.direction[board_indices] = acting.direction
    boards.markers[board_indices] = acting.markers
    position = count[board_indices]
    trace["operations"][board_indices, position] = opcodes
    trace["had_effect"][board_indices, position] = changed
    trace["robot"][board_indices, position] = acting.robot
    trace["direction"][board_indices, position] = acting.direction
    if markers is not None:
        markers[board_indices, position] = acting.markers
    count[board_indices] += 1


def _conditions_hold(boards: Boards, board_indices: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Whether the condition holds on each of these boards."""
    robot, direction = boards.robot[board_indices], boards.direction[board_indices]
    cells = [robot + boards.direction_offsets[(direction + turn) % 4] for turn in (0, 3, 1)]
    sides = [~boards.obstacles[board_indices, cell] for cell in cells]
    has_markers = boards.markers[board_indices, robot] > 0
    holds = np.stack([*sides, has_markers, ~has_markers])[condition % len(CONDITIONS), np.arange(len(board_indices))]
    is_negated = condition >= len(CONDITIONS)
    result: np.ndarray = holds != is_negated
    return result
