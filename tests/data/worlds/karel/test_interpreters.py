"""Both interpreters give the official one's states, and each other's on whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.data.worlds.karel import Karel, run_karel
from nosce.data.worlds.karel import vectorized as many
from nosce.data.worlds.karel.interpreter import DIRECTIONS, Board, StepLimitExceeded, execute_program
from nosce.data.worlds.karel.language import MEANINGS, reassign_operations
from nosce.data.worlds.karel.nested import draw_block_programs
from nosce.data.worlds.karel.world import draw_boards
from nosce.errors import DataError, SpecError

RE_ASSIGNED = ("alt0", "alt3", "alt5", "alt8", "alt11")


def test_all_golden_traces_pass_by_the_readable_interpreter(golden):
    """States, features, drawings and what had no effect, of 300 programs."""
    assert len(golden) == 300
    for record in golden:
        board = Board.from_grid(record["grid"])
        start, before = board.robot, board.state
        assert board.render() == record["drawn_input"]
        states, features, idle = [], [], []
        for _ in execute_program(board, tuple(record["program"])):
            states.append(board.state)
            features.append(list(board.features(start)))
            idle.append(board.state == before)
            before = board.state
        assert (states, features, idle) == (record["states"], record["features"], record["no_effect"])
        assert board.render() == record["drawn_output"]
        assert run_karel(record["grid"], record["program"]) == record["states"]


def features(traces: many.ProgramTraces, row: int) -> list[list[object]]:
    """The golden form of a row's features."""
    found, size = traces.features(), traces.start
    columns = (found["direction"], found["rows"], found["cols"], found["front"])
    mine = [column[row, : traces.n_operations[row]].tolist() for column in columns]
    return [[DIRECTIONS[d], r - (size.rows - 3), c - (size.cols - 3), f] for d, r, c, f in zip(*mine, strict=True)]


def states(traces: many.ProgramTraces, row: int) -> list[dict[str, object]]:
    """The golden form of a row's states."""
    cols, found = traces.start.cols, []
    for step in range(traces.n_operations[row]):
        at, direction = divmod(int(traces.robot[row, step]), cols), DIRECTIONS[traces.direction[row, step]]
        held = traces.markers[row, step]
        found.append(
            {
                "robot": {"row": at[0], "col": at[1], "dir": direction},
                "markers": [[*divmod(int(c), cols), int(held[c])] for c in np.flatnonzero(held)],
            }
        )
    return found


def test_all_golden_traces_pass_by_the_vectorised_interpreter(golden):
    """The same, many at once: programs of one board size are run together."""
    sizes: dict[tuple[int, int], list[dict]] = {}
    for record in golden:
        sizes.setdefault((record["grid"]["rows"], record["grid"]["cols"]), []).append(record)
    for records in sizes.values():
        boards = many.Boards.from_boards([Board.from_grid(record["grid"]) for record in records])
        code = many.compile_programs([tuple(record["program"]) for record in records])
        traces = many.run_programs(boards, code, keep_markers=True)
        for row, record in enumerate(records):
            assert states(traces, row) == record["states"]
            assert features(traces, row) == record["features"]
            assert (~traces.had_effect[row, : traces.n_operations[row]]).tolist() == record["no_effect"]


@pytest.mark.parametrize("meaning", RE_ASSIGNED)
def test_re_assigned_features_are_the_golden_ones(golden, meaning):
    """Both interpreters, under each table that the released code ran."""
    mine = [record for record in golden if meaning in record.get("alt_features", {})]
    assert len(mine) > 100
    for record in mine:
        board = Board.from_grid(record["grid"])
        start = board.robot
        found = [
            list(board.features(start))
            for _ in execute_program(board, reassign_operations(tuple(record["program"]), meaning))
        ]
        assert found == record["alt_features"][meaning]
        code = many.compile_programs([tuple(record["program"])]).with_meaning(meaning)
        traces = many.run_programs(many.Boards.from_boards([Board.from_grid(record["grid"])]), code)
        assert features(traces, 0) == record["alt_features"][meaning]


def test_equal_tables_of_the_released_code_are_equal():
    """Flip is index 0 and 7; 5, 6 and 10 are one; every table re-assigns only what is there."""
    assert MEANINGS["flip"] == MEANINGS["alt0"] == MEANINGS["alt7"]
    assert MEANINGS["alt5"] == MEANINGS["alt6"] == MEANINGS["alt10"]
    assert all(set(table) == set(MEANINGS["original"]) >= set(table.values()) for table in MEANINGS.values())


@pytest.mark.whole
@pytest.mark.parametrize("blocks", [False, True])
def test_ten_thousand_random_programs_agree_between_the_interpreters(blocks):
    """Operation by operation: words done, robot, markers, and whether the program ended."""
    world, rng = Karel(board_shape=(5, 4), obstacle_rate=0.2, marker_rate=0.3), np.random.default_rng(5)
    count = 10_000
    boards = draw_boards(world, rng, count)
    lengths = rng.integers(1, 11, count)
    if blocks:
        programs = draw_block_programs(rng, lengths)
    else:
        words = np.array(list(MEANINGS["original"]))
        programs = [tuple(rng.choice(words, n).tolist()) for n in lengths]
    meanings = rng.choice(["original", *RE_ASSIGNED], count)
    codes = {
        name: many.run_programs(boards, many.compile_programs(programs).with_meaning(name), limit=60, keep_markers=True)
        for name in np.unique(meanings)
    }
    ended = 0
    for row, program in enumerate(programs):
        board, traces, done = boards.board(row), codes[meanings[row]], []
        found = []
        try:
            for word in execute_program(board, reassign_operations(program, meanings[row]), limit=60):
                done.append(word)
                found.append(board.state)
            finished = True
        except StepLimitExceeded:
            finished = False
        ended += finished
        assert traces.finished[row] == finished
        assert traces.n_operations[row] == len(done)
        assert states(traces, row) == found
    assert ended == count if not blocks else 0.5 * count < ended < count


def test_what_a_board_shows_is_what_is_read_back():
    """Drawings and boards are each other's inverse but for what the robot hides."""
    world, rng = Karel(board_shape=(4, 6)), np.random.default_rng(6)
    boards = draw_boards(world, rng, 500)
    again = many.Boards.from_glyphs(boards.glyphs(), boards.rows, boards.cols)
    for name in ("robot", "direction", "obstacles", "markers"):
        assert np.array_equal(getattr(boards, name), getattr(again, name))
    boards.markers[np.arange(500), boards.robot] = 3
    assert (
        many.Boards.from_glyphs(boards.glyphs(), boards.rows, boards.cols).markers[np.arange(500), boards.robot] == 0
    ).all()


def test_boards_are_drawn_as_the_paper_draws_them():
    """Means under the released sampler: 3.50 inner obstacles and 3.15 markers a board, the robot's cell free."""
    boards = draw_boards(Karel(), np.random.default_rng(7), 20_000)
    border = 8 * 8 - 6 * 6
    assert abs(boards.obstacles.sum(1).mean() - border - 3.50) < 0.05
    assert abs(boards.markers.sum(1).mean() - 3.15) < 0.05
    assert not boards.obstacles[np.arange(20_000), boards.robot].any()
    assert np.bincount(boards.direction).min() > 4_700


def test_counts_of_ten_are_drawn_with_their_first_digit():
    """An artefact of the official drawing, kept in both interpreters."""
    grid = {"rows": 3, "cols": 4, "robot": {"row": 1, "col": 1, "dir": "E"}, "obstacles": [], "markers": [[1, 2, 27]]}
    board = Board.from_grid(grid)
    assert board.render()[1] == "#>2#"
    assert many.Boards.from_boards([board]).glyphs().tolist() == [[3, 7]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"robot": {"row": 0, "col": 1, "dir": "E"}}, "no free cell"),
        ({"robot": {"row": 1, "col": 1, "dir": "X"}}, "cannot be read"),
        ({"obstacles": None}, "cannot be read"),
        ({"obstacles": [[1, 1]]}, "no free cell"),
    ],
)
def test_a_grid_that_is_none_is_refused(change, words):
    """One sentence, whatever is wrong."""
    grid = {"rows": 4, "cols": 4, "robot": {"row": 1, "col": 1, "dir": "E"}, "obstacles": [], "markers": []} | change
    with pytest.raises(DataError, match=words):
        run_karel(grid, ["move"])


def test_what_run_cannot_run_is_refused():
    """Unknown words, unknown meanings, programs without an end."""
    grid = {"rows": 4, "cols": 4, "robot": {"row": 1, "col": 1, "dir": "E"}, "obstacles": [], "markers": []}
    with pytest.raises(DataError, match="cannot be read"):
        run_karel(grid, ["jump"])
    with pytest.raises(SpecError, match="alt12"):
        run_karel(grid, ["move"], meaning="alt12")
    with pytest.raises(DataError, match="does not end"):
        run_karel(grid, ["while", "noMarkersPresent", "{", "turnLeft", "}"])
    assert run_karel(grid, []) == []


def test_blocks_do_what_they_say():
    """Repeat, while, if and else, by hand on one board."""
    grid = {"rows": 3, "cols": 6, "robot": {"row": 1, "col": 1, "dir": "E"}, "obstacles": [], "markers": [[1, 3, 1]]}
    words = "while frontIsClear { if markersPresent { pickMarker } else { putMarker } move } repeat 2 { turnLeft }"
    trace = run_karel(grid, words.split())
    assert [state["robot"]["col"] for state in trace] == [1, 2, 2, 3, 3, 4, 4, 4]
    assert trace[-1]["markers"] == [[1, 1, 1], [1, 2, 1]]
    assert trace[-1]["robot"]["dir"] == "W"
