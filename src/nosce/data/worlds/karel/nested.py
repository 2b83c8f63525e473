"""Random programs with loops and branches.

A program of n operations is cut into pieces; a piece may stand in a block. How often is our choice: the paper has
no blocks.
"""

from __future__ import annotations

import numpy as np

from nosce.data.worlds.karel.language import (
    CONDITIONS,
    OPERATIONS,
    WEIGHTS,
    Condition,
    If,
    Program,
    Repeat,
    Statement,
    While,
)

IN_A_BLOCK = 0.3  # chance of a piece to be one
DEEPEST = 2  # blocks inside each other
MOST_TIMES = 4  # of a repeat that is drawn


def programs_with_blocks(rng: np.random.Generator, lengths: np.ndarray) -> list[Program]:
    """One program a length, which counts the operations that are written, not those that are done."""
    return [_program(rng, int(length), 0) for length in lengths]


def _program(rng: np.random.Generator, length: int, depth: int) -> Program:
    found: list[Statement] = []
    while length:
        size = int(rng.integers(1, min(length, 3) + 1))
        if depth < DEEPEST and rng.random() < IN_A_BLOCK:
            found.append(_block(rng, size, depth + 1))
        else:
            found.extend(_operations(rng, size))
        length -= size
    return tuple(found)


def _operations(rng: np.random.Generator, size: int) -> Program:
    drawn = rng.choice(len(OPERATIONS), size=size, p=np.array(WEIGHTS) / sum(WEIGHTS))
    return tuple(OPERATIONS[place] for place in drawn)


def _block(rng: np.random.Generator, size: int, depth: int) -> Statement:
    kinds = ("repeat", "while", "if", "ifelse") if size > 1 else ("repeat", "while", "if")
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "repeat":
        return Repeat(int(rng.integers(2, MOST_TIMES + 1)), _program(rng, size, depth))
    condition = Condition(CONDITIONS[int(rng.integers(len(CONDITIONS)))], bool(rng.random() < 0.5))
    if kind == "while":
        return While(condition, _program(rng, size, depth))
    if kind == "if":
        return If(condition, _program(rng, size, depth))
    cut = int(rng.integers(1, size))
    return If(condition, _program(rng, cut, depth), _program(rng, size - cut, depth))
