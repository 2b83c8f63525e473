"""Loops and branches, against a second interpreter; and the states of programs as far as they are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.data.worlds.karel.tiny_interpreter import HEADINGS, TinyKarel, TooLong

from nosce.data.tokenizer import build_tokenizer
from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel import vectorized as many
from nosce.data.worlds.karel.encoding import KAREL_KEYWORDS
from nosce.data.worlds.karel.interpreter import StepLimitExceeded, execute_program
from nosce.data.worlds.karel.language import KAREL_OPERATIONS, parse_program, program_words
from nosce.data.worlds.karel.nested import draw_block_programs
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.world import draw_boards
from nosce.data.worlds.karel.written_states import trace_written, written_prefixes
from nosce.seeds import Seed

COUNT = 4_000
LIMIT = 60
WORLD = Karel(board_shape=(4, 5), obstacle_rate=0.2, marker_rate=0.3, control_flow=True)


@pytest.fixture(scope="module")
def drawn():
    """Boards and random programs with control flow."""
    rng = np.random.default_rng(11)
    return draw_boards(WORLD, rng, COUNT), draw_block_programs(rng, rng.integers(1, 9, COUNT))


def grid_of(board):
    """A board in the JSON form that all interpreters read."""
    return {
        "rows": board.rows,
        "cols": board.cols,
        "robot": board.state["robot"],
        "obstacles": sorted(board.obstacles),
        "markers": board.state["markers"],
    }


def state_of(board):
    """A board's state in the second interpreter's form."""
    piles = {complex(col, row): count for (row, col), count in board.markers.items()}
    return complex(board.robot[1], board.robot[0]), HEADINGS["NESW"[board.direction]], piles


def test_loops_and_branches_are_those_of_a_second_interpreter(drawn):
    """Operation by operation, on random programs with every kind of block, as words and without our parser."""
    boards, programs = drawn
    traces = many.run_programs(boards, many.compile_programs(programs), limit=LIMIT, keep_markers=True)
    kinds, endless = Counter(), 0
    for row, program in enumerate(programs):
        words = list(program_words(program))
        kinds.update(set(words))
        board, found = boards.board(row), []
        tiny = TinyKarel(grid_of(board), LIMIT)
        try:
            tiny.run(words)
            ended = True
        except TooLong:
            ended = False
        try:
            for word in execute_program(board, program, limit=LIMIT):
                found.append((word, *state_of(board)))
            assert ended
        except StepLimitExceeded:
            assert not ended
        endless += not ended
        assert found == tiny.done
        assert traces.finished[row] == ended
        assert traces.n_operations[row] == len(tiny.done)
        if tiny.done:
            cell = divmod(int(traces.robot[row, len(tiny.done) - 1]), boards.cols)
            assert complex(cell[1], cell[0]) == tiny.at
    assert min(kinds[word] for word in ("repeat", "while", "if", "else", "not")) > 200
    assert 0.01 * COUNT < endless < 0.5 * COUNT


def test_a_prefix_is_what_is_written_with_its_blocks_closed():
    """By hand: each operation ends one, and an `else` closes the block before it."""
    words = "move while frontIsClear { if markersPresent { pickMarker } else { move } turnLeft } repeat 2 { move }"
    expected = [
        "move",
        "move while frontIsClear { if markersPresent { pickMarker } }",
        "move while frontIsClear { if markersPresent { pickMarker } else { move } }",
        "move while frontIsClear { if markersPresent { pickMarker } else { move } turnLeft }",
        words,
    ]
    program = parse_program(words.split())
    assert [" ".join(program_words(prefix)) for prefix in written_prefixes(program)] == expected


def test_states_are_those_of_what_is_written_so_far(drawn):
    """The second interpreter runs each prefix by itself; a state is defined where that run ends."""
    boards, programs = (part[:400] if isinstance(part, list) else part.subset(slice(400)) for part in drawn)
    traces = trace_written(boards, programs, "original")
    found, checked = traces.features(), 0
    for row, program in enumerate(programs):
        prefixes = written_prefixes(program)
        assert traces.n_operations[row] == len(prefixes)
        for step, prefix in enumerate(prefixes):
            tiny = TinyKarel(grid_of(boards.board(row)), 200)
            start, before = tiny.at, traces.start
            try:
                tiny.run(list(program_words(prefix)))
            except TooLong:
                assert not traces.is_defined[row, step]
                continue
            checked += 1
            assert traces.is_defined[row, step]
            assert found["rows"][row, step] - (before.rows - 3) == (tiny.at - start).imag
            assert found["cols"][row, step] - (before.cols - 3) == (tiny.at - start).real
            assert HEADINGS["NESW"[found["direction"][row, step]]] == tiny.heading
            assert found["front"][row, step] == (tiny.at + tiny.heading not in tiny.free)
    assert checked > 1_500


def test_without_control_flow_the_states_are_the_plain_ones(drawn):
    """Programs of operations alone have one trace, under every meaning."""
    boards, rng = drawn[0].subset(slice(300)), np.random.default_rng(3)
    programs = [tuple(rng.choice(KAREL_OPERATIONS, n).tolist()) for n in rng.integers(1, 8, 300)]
    for meaning in ("original", "alt3"):
        written = trace_written(boards, programs, meaning)
        plain = many.run_programs(boards, many.compile_programs(programs).with_meaning(meaning))
        for name in ("robot", "direction", "had_effect", "n_operations", "finished", "is_defined"):
            assert np.array_equal(getattr(written, name), getattr(plain, name)), name
        assert np.array_equal(written.end.markers, plain.end.markers)
    assert np.array_equal(written.operations, many.compile_programs(programs).opcodes[:, :-1])
    assert not written.context_counts.any()
    assert plain.context_counts.shape == (300, 7, 0)


def test_other_words_are_counted_where_they_stand_before(drawn):
    """By hand: behind `while frontIsClear { move } if not leftIsClear {` stand two blocks, one of them closed."""
    program = parse_program(
        ["while", "frontIsClear", "{", "move", "}", "if", "not", "leftIsClear", "{", "turnLeft", "}"]
    )
    counts = trace_written(drawn[0].subset(slice(1)), [program], "original").context_counts[0]
    named = [{word: int(n) for word, n in zip(KAREL_KEYWORDS, row, strict=True) if n} for row in counts]
    assert named[0] == {"while": 1, "frontIsClear": 1, "{": 1}
    assert named[1] == {"while": 1, "frontIsClear": 1, "{": 2, "}": 1, "if": 1, "not": 1, "leftIsClear": 1}


def test_a_state_is_more_than_a_bag_of_operations(drawn):
    """Direction is the start's and the turns without blocks, and behind a block it is not."""
    boards, programs = drawn
    traces = trace_written(boards, programs, "original")
    turns = np.array([0, -1, 1, 0, 0])[np.minimum(traces.operations, 4)] * (traces.operations < 5)
    by_bag = (boards.direction[:, None] + np.cumsum(turns, 1)) % 4
    is_written = np.arange(by_bag.shape[1]) < traces.n_operations[:, None]
    behind = traces.context_counts.any(2)
    assert (by_bag == traces.direction)[is_written & ~behind].all()
    assert (by_bag == traces.direction)[is_written & behind & traces.is_defined].mean() < 0.7


def test_operations_are_found_among_other_words():
    """Their positions in the tokens, whatever stands between."""
    world = Karel(board_shape=(2, 2), n_examples=1, records=50, seen_questions=2, unseen_questions=2, control_flow=True)
    tokenizer, scorer = build_tokenizer(world.tokenizer, world.samples(Seed(0))), KarelScorer(world=world)
    reply = "repeat 2 { move } if markersPresent { pickMarker } else { turnLeft }"
    tokens = np.array(tokenizer.encode(reply, add_special_tokens=False).ids)
    assert scorer.operation_positions(tokenizer, tokens).tolist() == [3, 8, 12]
    assert scorer.is_traceable(reply)
    assert not replace(scorer, world=replace(world, control_flow=False)).is_traceable(reply)
