"""Random programs with loops and branches.

A program of n operations is cut into pieces, and each piece may become a block. The probability is our choice, because
the paper has no control flow.
"""

from __future__ import annotations

import numpy as np

from nosce.data.worlds.karel.language import (
    CONDITIONS,
    KAREL_OPERATIONS,
    OPERATION_WEIGHTS,
    Condition,
    If,
    Program,
    Repeat,
    Statement,
    While,
)

BLOCK_PROB = 0.3  # probability that a piece becomes a block
MAX_GENERATED_DEPTH = 2  # most nested blocks
MAX_GENERATED_REPEAT = 4  # most runs of a random repeat, so that programs stay short


def draw_block_programs(rng: np.random.Generator, lengths: np.ndarray) -> list[Program]:
    """One random program per length. The length counts the written operations, not the executed ones."""
    return [_draw_program(rng, int(length), 0) for length in lengths]


def _draw_program(rng: np.random.Generator, length: int, depth: int) -> Program:
    statements: list[Statement] = []
    while length:
        size = int(rng.integers(1, min(length, 3) + 1))
        if depth < MAX_GENERATED_DEPTH and rng.random() < BLOCK_PROB:
            statements.append(_draw_block(rng, size, depth + 1))
        else:
            statements.extend(_draw_operations(rng, size))
        length -= size
    return tuple(statements)


def _draw_operations(rng: np.random.Generator, size: int) -> Program:
    drawn = rng.choice(len(KAREL_OPERATIONS), size=size, p=np.array(OPERATION_WEIGHTS) / sum(OPERATION_WEIGHTS))
    return tuple(KAREL_OPERATIONS[place] for place in drawn)


def _draw_block(rng: np.random.Generator, size: int, depth: int) -> Statement:
    kinds = ("repeat", "while", "if", "ifelse") if size > 1 else ("repeat", "while", "if")
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "repeat":
        return Repeat(int(rng.integers(2, MAX_GENERATED_REPEAT + 1)), _draw_program(rng, size, depth))
    condition = Condition(CONDITIONS[int(rng.integers(len(CONDITIONS)))], bool(rng.random() < 0.5))
    if kind == "while":
        return While(condition, _draw_program(rng, size, depth))
    if kind == "if":
        return If(condition, _draw_program(rng, size, depth))
    cut = int(rng.integers(1, size))
    return If(condition, _draw_program(rng, cut, depth), _draw_program(rng, size - cut, depth))
