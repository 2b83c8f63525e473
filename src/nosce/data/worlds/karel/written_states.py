"""The states of programs with loops and branches, one for each written operation.

An operation in a block runs never, once or often, so the state "after it" is that of the program as it is written so
far: up to this operation, with the open blocks closed.

    written so far                         run as
    while frontIsClear { move              while frontIsClear { move }
    repeat 2 { if leftIsClear { turnLeft   repeat 2 { if leftIsClear { turnLeft } }

For a program without control flow this is the state after so many operations. Behind a block it is no longer told by
the start and a bag of operations: the board decides how often each one runs.

Source: the states of Jin and Rinard 2024 (arXiv:2305.11169), section 2.2; programs with control flow are ours.
Letters: N programs, T written operations, K words of control flow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nosce.data.worlds.karel.encoding import KAREL_KEYWORDS
from nosce.data.worlds.karel.language import KAREL_OPERATIONS, Program, parse_program, program_words
from nosce.data.worlds.karel.vectorized import HALT, Boards, ProgramTraces, compile_programs, run_programs


def written_prefixes(program: Program) -> list[Program]:
    """For each written operation the program up to it, with the open blocks closed."""
    words, prefixes, open_blocks = list(program_words(program)), [], 0
    for index, word in enumerate(words):
        open_blocks += (word == "{") - (word == "}")
        if word in KAREL_OPERATIONS:
            prefix = parse_program([*words[: index + 1], *["}"] * open_blocks])
            assert prefix is not None
            prefixes.append(prefix)
    return prefixes


def trace_written(initial_boards: Boards, programs: Sequence[Program], meaning: str) -> ProgramTraces:
    """The traces of programs on one board each, with a state for each written operation.

    A state is not defined where what is written so far does not end on its board.

    Args:
        initial_boards: The boards, which stay unchanged.
        programs: One program a board.
        meaning: The meaning of the operations.
    """
    prefixes = [written_prefixes(program) for program in programs]
    lengths = np.array([len(some) for some in prefixes], dtype=np.int64)
    steps = max(1, int(lengths.max(initial=0)))
    shape = (len(programs), steps)
    robot, direction = (np.repeat(some[:, None], steps, 1) for some in (initial_boards.robot, initial_boards.direction))
    had_effect, is_defined = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    end = initial_boards.copy()
    finished = np.ones(len(programs), dtype=bool)
    for step in range(steps):
        rows = np.flatnonzero(lengths > step)
        code = compile_programs([prefixes[row][step] for row in rows]).with_meaning(meaning)
        run = run_programs(initial_boards.subset(rows), code)
        before, after = end.subset(rows), run.end
        changed = (before.robot != after.robot) | (before.direction != after.direction)
        had_effect[rows, step] = changed | (before.markers != after.markers).any(1)
        is_defined[rows, step] = finished[rows] = run.finished
        end.robot[rows], end.direction[rows], end.markers[rows] = after.robot, after.direction, after.markers
        robot[:, step], direction[:, step] = end.robot, end.direction
    operations, context = _written_words(programs, steps)
    return ProgramTraces(
        initial_boards, end, lengths, operations, robot, direction, had_effect, finished, None, is_defined, context
    )


def _written_words(programs: Sequence[Program], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The written operations, then `HALT`, and how often each word of control flow stands before each of them."""
    operations = np.full((len(programs), steps), HALT, dtype=np.int8)
    context = np.zeros((len(programs), steps, len(KAREL_KEYWORDS)), dtype=np.int16)
    for row, program in enumerate(programs):
        counts, step = np.zeros(len(KAREL_KEYWORDS), dtype=np.int16), 0
        for word in program_words(program):
            if word in KAREL_OPERATIONS:
                operations[row, step], context[row, step] = KAREL_OPERATIONS.index(word), counts
                step += 1
            else:
                counts[KAREL_KEYWORDS.index(word)] += 1
    return operations, context
