"""The vectorised interpreter: thousands of boards at once, in numpy, in step with `board.py`.

Programs are compiled to rows of instructions, and every row has a counter of its own: loops and branches cost
nothing where there are none. Letters: N boards, C cells (border included, row by row), L instructions, T operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nosce.data.worlds.karel.interpreter import AHEAD, DIRECTIONS, STEP_LIMIT, Board
from nosce.data.worlds.karel.language import CONDITIONS, OPERATIONS, If, Program, Repeat, Statement, While, meaning

MOVE, LEFT, RIGHT, PUT, PICK = range(5)
HALT, UNLESS, JUMP, SET, AGAIN = range(5, 10)
TURN = np.array([0, 3, 1, 0, 0, 0, 0, 0, 0, 0], dtype=np.int8)


@dataclass(slots=True)
class Boards:
    """Many boards of one size."""

    rows: int
    cols: int
    robot: np.ndarray  # (N,) int32, its cell
    direction: np.ndarray  # (N,) int8
    obstacles: np.ndarray  # (N, C) bool, border included
    markers: np.ndarray  # (N, C) int16

    def __len__(self) -> int:
        return len(self.robot)

    @property
    def ahead(self) -> np.ndarray:
        """What to add to a cell to get the next one in each direction. Shape: (4,)."""
        return np.array([rows * self.cols + cols for rows, cols in AHEAD], dtype=np.int32)

    def copy(self) -> Boards:
        """A copy that may be run; obstacles never change and are shared."""
        return Boards(
            self.rows, self.cols, self.robot.copy(), self.direction.copy(), self.obstacles, self.markers.copy()
        )

    def one(self, number: int) -> Board:
        """One of the boards, for the readable interpreter."""
        cells = [divmod(int(cell), self.cols) for cell in range(self.obstacles.shape[1])]
        blocked = {cell for cell, is_ in zip(cells, self.obstacles[number], strict=True) if is_}
        return Board(
            rows=self.rows,
            cols=self.cols,
            robot=cells[self.robot[number]],
            direction=int(self.direction[number]),
            obstacles=frozenset((r, c) for r, c in blocked if 0 < r < self.rows - 1 and 0 < c < self.cols - 1),
            markers={cell: int(count) for cell, count in zip(cells, self.markers[number], strict=True) if count},
        )

    def at(self, chosen: np.ndarray | slice) -> Boards:
        """Some of the boards, by number, as copies."""
        return Boards(self.rows, self.cols, self.robot[chosen].copy(), self.direction[chosen].copy(),
                      self.obstacles[chosen], self.markers[chosen].copy())  # fmt: skip

    def front(self, robot: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Is the cell ahead blocked, for the robot at these cells (N, ...), facing so? Shape as given."""
        where = robot + self.ahead[direction]
        number = np.arange(len(self)).reshape(-1, *[1] * (where.ndim - 1))
        blocked: np.ndarray = self.obstacles[number, where]
        return blocked

    def glyphs(self) -> np.ndarray:
        """The drawing of the inner cells as places in `GLYPHS`, row by row. Shape: (N, inner cells), uint8."""
        # As officially drawn, a count of ten or more shows its first digit only.
        digit = self.markers if not (self.markers > 9).any() else _first_digit(self.markers)
        drawn = np.where(self.obstacles, 1, np.where(digit > 0, 5 + digit, 0)).astype(np.uint8)
        drawn[np.arange(len(self)), self.robot] = 2 + self.direction
        whole = drawn.reshape(len(self), self.rows, self.cols)[:, 1:-1, 1:-1]
        return whole.reshape(len(self), (self.rows - 2) * (self.cols - 2))

    @classmethod
    def read(cls, glyphs: np.ndarray, rows: int, cols: int) -> Boards:
        """The boards that drawings show: what a robot hides is taken for nothing. `rows`, `cols` with border."""
        count = len(glyphs)
        whole = np.ones((count, rows, cols), dtype=np.uint8)
        whole[:, 1:-1, 1:-1] = glyphs.reshape(count, rows - 2, cols - 2)
        flat = whole.reshape(count, -1)
        robots = (flat >= 2) & (flat <= 5)
        robot = robots.argmax(1).astype(np.int32)
        direction = (flat[np.arange(count), robot] - 2).astype(np.int8)
        return cls(rows, cols, robot, direction, flat == 1, np.where(flat > 5, flat - 5, 0).astype(np.int16))

    @classmethod
    def of(cls, boards: Sequence[Board]) -> Boards:
        """The same boards as the readable interpreter's, which must be of one size."""
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


#: What a cell looks like: free, obstacle, robot facing north, east, south, west, then one to nine markers.
GLYPHS = ".#^>v<123456789"


def _first_digit(counts: np.ndarray) -> np.ndarray:
    digit = counts.copy()
    while (large := digit > 9).any():
        digit[large] //= 10
    return digit


@dataclass(frozen=True, slots=True)
class Code:
    """Programs as instructions. Straight-line programs are their operations, then `HALT`."""

    what: np.ndarray  # (N, L) int8
    first: np.ndarray | None = None  # (N, L) int16: a condition, or a counter's number
    second: np.ndarray | None = None  # (N, L) int16: where to go on, or how often
    counters: int = 0

    def __len__(self) -> int:
        return len(self.what)

    def meaning(self, name: str) -> Code:
        """The code with its operations re-assigned."""
        table = np.arange(AGAIN + 1, dtype=np.int8)
        for place, word in enumerate(OPERATIONS):
            table[place] = OPERATIONS.index(meaning(name)[word])
        return Code(table[self.what], self.first, self.second, self.counters)

    def at(self, chosen: np.ndarray | slice) -> Code:
        """Some of the programs."""
        first = None if self.first is None else self.first[chosen]
        second = None if self.second is None else self.second[chosen]
        return Code(self.what[chosen], first, second, self.counters)


def compile_all(programs: Iterable[Program]) -> Code:
    """Programs of any length and nesting as rows of instructions, all as long as the longest."""
    rows = [_compiled(program) for program in programs]
    width = 1 + max((len(row) for row in rows), default=0)
    table = np.full((len(rows), width, 3), (HALT, 0, 0), dtype=np.int16)
    for number, row in enumerate(rows):
        if row:
            table[number, : len(row)] = row
    what = table[:, :, 0].astype(np.int8)
    if (what <= HALT).all():
        return Code(what)
    counters = 1 + int(table[:, :, 1][(what == SET)].max(initial=-1))
    return Code(what, table[:, :, 1], table[:, :, 2], counters)


def _compiled(program: Program) -> list[tuple[int, int, int]]:
    code: list[tuple[int, int, int]] = []

    def write(statements: tuple[Statement, ...], depth: int) -> None:
        for statement in statements:
            match statement:
                case str():
                    code.append((OPERATIONS.index(statement), 0, 0))
                case Repeat(times, body):
                    code.append((SET, depth, times))
                    start = len(code)
                    write(body, depth + 1)
                    code.append((AGAIN, depth, start))
                case While(condition, body):
                    start = len(code)
                    code.append((UNLESS, _number(condition.name, condition.negated), 0))
                    write(body, depth)
                    code.append((JUMP, 0, start))
                    code[start] = (*code[start][:2], len(code))
                case If(condition, body, otherwise):
                    start = len(code)
                    code.append((UNLESS, _number(condition.name, condition.negated), 0))
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


def _number(name: str, negated: bool) -> int:
    return CONDITIONS.index(name) + len(CONDITIONS) * negated


@dataclass(frozen=True, slots=True)
class Traces:
    """What every program did: the robot after operation 1, 2, …; behind its last one it stays where it was."""

    start: Boards  # as they were before
    end: Boards  # as the programs left them
    count: np.ndarray  # (N,) operations done
    operations: np.ndarray  # (N, T) int8, as they were executed, HALT behind the last
    robot: np.ndarray  # (N, T) int32
    direction: np.ndarray  # (N, T) int8
    changed: np.ndarray  # (N, T) bool: did robot or markers change?
    finished: np.ndarray  # (N,) bool: False where the step limit came first
    markers: np.ndarray | None  # (N, T, C), where they were asked for

    def features(self) -> dict[str, np.ndarray]:
        """What probes look for in a state, each (N, T) as whole numbers from 0, after every operation.

        direction; rows and cols moved since the start, counted from the largest move back; front: is an obstacle
        ahead? The released code's extras too: the absolute place, the way to the end, obstacles on all four sides.
        """
        cols = self.start.cols
        rows_at, cols_at = np.divmod(self.robot, cols)
        rows_from, cols_from = np.divmod(self.start.robot, cols)
        rows_to, cols_to = np.divmod(self.end.robot, cols)
        most = (self.start.rows - 3, cols - 3)  # of inner cells the furthest apart
        sides = {
            f"obstacle_{DIRECTIONS[d]}": self.start.front(self.robot, np.full_like(self.direction, d)) for d in range(4)
        }
        found = {
            "direction": self.direction,
            "rows": rows_at - rows_from[:, None] + most[0],
            "cols": cols_at - cols_from[:, None] + most[1],
            "front": self.start.front(self.robot, self.direction),
            "row": rows_at - 1,
            "col": cols_at - 1,
            "rows_to_end": rows_to[:, None] - rows_at + most[0],
            "cols_to_end": cols_to[:, None] - cols_at + most[1],
            **sides,
        }
        return {name: values.astype(np.int64) for name, values in found.items()}

    def begin(self) -> dict[str, np.ndarray]:
        """The features of the start that are not the same for all: where it faces, and whether it is blocked."""
        front = self.start.front(self.start.robot, self.start.direction)
        return {"direction": self.start.direction.astype(np.int64), "front": front.astype(np.int64)}

    def surface(self) -> np.ndarray:
        """What is drawn of every start, cell by cell, as zeros and ones. Shape: (N, inner cells x glyphs)."""
        drawn = self.start.glyphs()
        hot: np.ndarray = np.eye(len(GLYPHS), dtype=np.float32)[drawn].reshape(len(drawn), -1)
        return hot[:, hot.any(0)]


def run(start: Boards, code: Code, *, limit: int = STEP_LIMIT, keep_markers: bool = False) -> Traces:
    """Run program i on board i, all at once.

    Args:
        limit: Operations and conditions of one program; one that has not ended then is not finished.
        keep_markers: Keep the markers after every operation, which takes N × T × C numbers.
    """
    boards, numbers = start.copy(), np.arange(len(start))
    most = code.what.shape[1] - 1 if code.first is None else limit
    shape = (len(start), max(1, most))
    trace = {"operations": np.full(shape, HALT, dtype=np.int8), "robot": np.repeat(start.robot[:, None], shape[1], 1),
             "direction": np.repeat(start.direction[:, None], shape[1], 1),
             "changed": np.zeros(shape, dtype=bool)}  # fmt: skip
    markers = np.repeat(start.markers[:, None], shape[1], 1) if keep_markers else None
    if code.first is None:
        for place in range(most):
            what = code.what[:, place]
            trace["changed"][:, place] = _act(boards, what, numbers)
            trace["operations"][:, place] = what
            trace["robot"][:, place], trace["direction"][:, place] = boards.robot, boards.direction
            if markers is not None:
                markers[:, place] = boards.markers
        count, finished = (code.what < HALT).sum(1), np.ones(len(start), dtype=bool)
    else:
        count, finished = _run_code(boards, code, limit, trace, markers)
        last = max(1, int(count.max(initial=0)))
        for values in (*trace.values(), *(() if markers is None else (markers,))):
            for row in np.flatnonzero(count < last):  # behind its last operation a robot stays where it is
                values[row, count[row] : last] = values[row, count[row] - 1] if count[row] else values[row, 0]
        trace = {name: values[:, :last] for name, values in trace.items()}
        markers = None if markers is None else markers[:, :last]
        after = np.arange(last) >= count[:, None]
        trace["operations"][after], trace["changed"][after] = HALT, False
    return Traces(start=start, end=boards, count=count, finished=finished, markers=markers, **trace)


def _act(boards: Boards, what: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Do one operation on each board; whether it changed anything. `HALT` and beyond do nothing."""
    ahead = boards.robot + boards.ahead[boards.direction]
    moved = (what == MOVE) & ~boards.obstacles[numbers, ahead]
    boards.robot = np.where(moved, ahead, boards.robot)
    turn = TURN[what]
    boards.direction = (boards.direction + turn) & 3
    put = what == PUT
    picked = (what == PICK) & (boards.markers[numbers, boards.robot] > 0)
    boards.markers[numbers, boards.robot] += put.astype(np.int16) - picked
    changed: np.ndarray = moved | (turn > 0) | put | picked
    return changed


def _run_code(
    boards: Boards, code: Code, limit: int, trace: dict[str, np.ndarray], markers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Run code with jumps until all have halted or spent their limit; operations done, and who finished."""
    assert code.first is not None
    assert code.second is not None
    size = len(boards)
    place, spent, count = (np.zeros(size, dtype=np.int64) for _ in range(3))
    counters = np.zeros((size, max(1, code.counters)), dtype=np.int64)
    finished = np.zeros(size, dtype=bool)
    live = np.arange(size)
    while len(live):
        what = code.what[live, place[live]]
        costly = what <= UNLESS
        out = (what == HALT) | (costly & (spent[live] >= limit))
        finished[live[what == HALT]] = True
        live, what, costly = live[~out], what[~out], costly[~out]
        one, two = code.first[live, place[live]], code.second[live, place[live]]
        spent[live] += costly
        asked = what == UNLESS
        jump = what == JUMP
        jump[asked] = ~_asks(boards, live[asked], one[asked])
        counters[live[what == SET], one[what == SET]] = two[what == SET]
        again = what == AGAIN
        counters[live[again], one[again]] -= 1
        jump[again] = counters[live[again], one[again]] > 0
        place[live] = np.where(jump, two, place[live] + 1)
        acting = what < HALT
        doing, what = live[acting], what[acting]
        part = boards.at(doing)
        changed = _act(part, what, np.arange(len(doing)))
        boards.robot[doing], boards.direction[doing], boards.markers[doing] = part.robot, part.direction, part.markers
        at = count[doing]
        trace["operations"][doing, at], trace["changed"][doing, at] = what, changed
        trace["robot"][doing, at], trace["direction"][doing, at] = part.robot, part.direction
        if markers is not None:
            markers[doing, at] = part.markers
        count[doing] += 1
    return count, finished


def _asks(boards: Boards, which: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Does the condition hold on each of these boards?"""
    robot, direction = boards.robot[which], boards.direction[which]
    sides = [~boards.obstacles[which, robot + boards.ahead[(direction + turn) % 4]] for turn in (0, 3, 1)]
    here = boards.markers[which, robot] > 0
    holds = np.stack([*sides, here, ~here])
    found: np.ndarray = holds[condition % len(CONDITIONS), np.arange(len(which))] != (condition >= len(CONDITIONS))
    return found
