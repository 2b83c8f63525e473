"""An item in a terminal: no wider than it, hostile texts as texts, and the same as JSON."""

from __future__ import annotations

import json
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from tests.pipeline.items.conftest import HOSTILE

from nosce.pipeline.items.terminal import print_item
from nosce.records import ProbedFeature, Walkthrough, WalkthroughStep
from nosce.store.text import printable


def printed(item, width: int = 80, *, colour: bool = False) -> str:
    """What a terminal of this width is sent."""
    stream = StringIO()
    print_item(
        item, Console(file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    )
    return stream.getvalue()


def test_no_line_is_wider_than_the_terminal(reader):
    for item in reader.items(reader.entries[:3]):
        lines = printed(item).splitlines()
        assert max(map(cell_len, lines)) <= 80
        for one in item.readings:
            assert any(one.item in line for line in lines)


def test_hostile_texts_are_shown_and_not_obeyed(hostile_items):
    """Markup stands as it is; control characters and signs of direction are spelled out."""
    text = printed(hostile_items[0], 4_000, colour=True)
    assert "<script>alert(1)</script>" in text
    assert printable(HOSTILE) in text
    assert "[red]" in text
    assert "\u202e" not in text
    assert "\x1b[31m {{" not in text


def test_states_stand_side_by_side_and_misreadings_are_named(hostile_items):
    """As many boards in a row as there is room for."""
    from dataclasses import replace

    board = ("#####", "#.^.#", "#####")
    wrong = ProbedFeature("direction", "north", "south", 0.75)
    frames = tuple(WalkthroughStep(f"word{n}", board, None, (wrong,) if n == 7 else ()) for n in range(12))
    text = printed(replace(hostile_items[0], walks=(Walkthrough("a program", "on a board", frames),)), 40)
    rows = [line for line in text.splitlines() if line.strip().startswith("word")]
    assert [len(row.split()) for row in rows] == [5, 5, 2]
    assert "7. word7: a probe reads direction south (75%), it is north" in " ".join(text.split())


def test_the_command_shows_an_item_as_text_and_as_json(nosce, smoke_store, reader):
    words = ("show", "biographies_adamw", "--store", smoke_store, "--item")
    shown = nosce.here(*words, "person/3@0", COLUMNS="80")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("person/3, seed 0")
    (told,) = json.loads(nosce.here(*words, "person/3@0", "--json").stdout)
    (item,) = reader.items(reader.find("person/3@0"))
    assert told == json.loads(json.dumps(item.to_json()))
    assert nosce.here(*words, "random").returncode == 0
    wrong = json.loads(nosce.here(*words, "wrong", "--json").stdout)
    assert wrong[0]["entry"]["n_wrong"] > 0


def test_the_command_refuses_an_unknown_item_in_a_line(nosce, smoke_store):
    ended = nosce.here("show", "biographies_adamw", "--store", smoke_store, "--item", "person/nobody")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "has no item 'person/nobody'; its" in ended.stderr
    assert "person/0, person/1" in ended.stderr
