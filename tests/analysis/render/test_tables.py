"""Terminal tables: the numbers as the claims state them, readable without colour."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from nosce.analysis.render.tables import (
    claims_table,
    estimate_text,
    format_value,
    paper_value_text,
    preconditions_text,
    rows_table,
    sample_size_text,
    seed_group_sentences,
    tally_text,
)
from nosce.records import Verdict

CLAIM = Verdict(
    id="augmentation",
    text="Five wordings make facts extractable.",
    source="Figure 3",
    criterion="lower end above 50 %",
    paper_value=0.966,
    estimate=0.643,
    low=0.601,
    high=0.682,
    n=1200,
    unit="people",
    verdict="holds",
    why="60.1 % is above 50 %.",
)


def printed(table: Table, width: int = 100, **how) -> str:
    out = io.StringIO()
    Console(file=out, width=width, **how).print(table)
    return out.getvalue()


def test_a_difference_of_shares_is_shown_in_points():
    """A gap of 54.8 points is no level of 54.8 %; a difference of other numbers keeps its unit."""
    gap = replace(CLAIM, is_difference=True)
    assert estimate_text(gap) == "64.3 points [60.1, 68.2]"
    assert paper_value_text(gap) == "96.6 points"
    assert "points" in printed(claims_table([gap]), width=80)
    assert estimate_text(replace(gap, unit="nats", estimate=0.3, low=0.2, high=0.4)) == "0.300 nats [0.200, 0.400]"


def test_a_share_is_shown_as_percent_with_its_interval():
    """The reader sees percent with one decimal; the record keeps shares."""
    text = printed(claims_table([CLAIM]))

    assert "64.3 %" in text
    assert "[60.1, 68.2]" in text  # on a line of its own, so that it is whole at 60 columns
    assert "96.6 %" in text
    assert "1,200" in text
    assert "people" in text


@pytest.mark.parametrize("word", ["holds", "fails", "undecided"])
@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_verdict_is_a_word_without_colour(word, width):
    """Colour only repeats the word, which stays whole in a narrow terminal too."""
    table = claims_table([replace(CLAIM, verdict=word)])
    plain = printed(table, width, no_color=True)

    assert word in plain
    assert "\x1b[3" not in plain
    assert {"holds": "36m", "fails": "33m", "undecided": "90m"}[word] in printed(
        table, width, force_terminal=True, color_system="standard", no_color=False, _environ={}
    )


def test_what_is_missing_is_a_dash_and_never_a_zero():
    """No paper value, no estimate and no interval are all told apart from 0 %."""
    assert paper_value_text(replace(CLAIM, paper_value=None)) == "-"
    assert estimate_text(replace(CLAIM, estimate=None, low=None, high=None)) == "-"
    assert estimate_text(replace(CLAIM, low=None, high=None)) == "64.3 % [-, -]"
    assert estimate_text(replace(CLAIM, estimate=0.0, low=0.0, high=0.01)) == "0.0 % [0.0, 1.0]"


def test_a_number_that_is_no_share_keeps_its_unit():
    """Nats are not percent; nor is anything larger than one."""
    nats = replace(CLAIM, paper_value=None, estimate=0.31, low=0.2, high=0.4, unit="nats")

    assert estimate_text(nats) == "0.310 nats [0.200, 0.400]"
    assert sample_size_text(nats) == "1,200"
    assert estimate_text(replace(CLAIM, estimate=4.2, low=3.9, high=4.5)) == "4.20 [3.90, 4.50]"


def test_long_claims_wrap_and_keep_every_word():
    """A long text takes more lines and loses nothing."""
    words = [f"word{number}" for number in range(40)]
    text = printed(claims_table([replace(CLAIM, text=" ".join(words))]), width=80)

    assert all(word in text for word in words)
    assert max(map(len, text.splitlines())) <= 80


def test_cells_are_shown_literally():
    """Square brackets in a text are no style of the terminal."""
    text = printed(rows_table("[red]t[/red]", ["[b]c"], [["[bold]x[/bold]"]])) + printed(
        claims_table([replace(CLAIM, id="[i]", text="[red]no[/red]")])
    )

    for literal in ("[red]t[/red]", "[b]c", "[bold]x[/bold]", "[i]", "[red]no[/red]", "[low, high]"):
        assert literal in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (0.0, "0.00"),
        (0.64349, "0.643"),
        (12.0, "12.0"),
        (123.4, "123"),
        (999.7, "1,000"),
        (-12345.6, "-12,346"),
        (0.00001234, "1.23e-05"),
        (39_420_000, "39,420,000"),
        (True, "yes"),
        (float("nan"), "not a number"),
        ([1, 2], "1, 2"),
        ([], "-"),
    ],
)
def test_one_way_to_write_a_value(value, text):
    """Three significant digits, and never fewer digits than stand before the point."""
    assert format_value(value) == text


def test_preconditions_stand_in_one_line_apart_from_findings():
    """A claim that others rest on is no row of the table; its line has sign, name and number."""
    need = replace(CLAIM, id="memorised/single", text="all is recalled", is_precondition=True)
    text = printed(claims_table([CLAIM, need]), width=100)
    assert CLAIM.id in text
    assert need.id not in text
    line = preconditions_text([CLAIM, need])
    assert "memorised/single" in line
    assert CLAIM.id not in line
    assert preconditions_text([CLAIM]) == ""


def test_a_verdict_of_one_seed_is_marked_and_counted_apart():
    """One training holds what it holds alone; three seeds hold it for others."""
    alone, three = replace(CLAIM, seeds=1), replace(CLAIM, seeds=3)
    open_one = replace(alone, verdict="undecided")
    assert all(word in printed(claims_table([alone])) for word in ("this model", "alone"))
    assert "this model" not in printed(claims_table([three, open_one]))
    assert tally_text([alone, three, open_one]) == "3 claims: 1 holds, 1 undecided; of this model alone: 1 holds."
    assert tally_text([three]) == "1 claim: 1 holds."
    assert tally_text([replace(three, is_precondition=True)]) == ""


def test_what_is_said_of_groups_of_seeds_is_said_once():
    few = replace(CLAIM, seed_groups="3 seeds cannot tell.")
    two = replace(CLAIM, id="sums", seed_groups="The seeds form two groups.")
    assert seed_group_sentences([few, few, two, CLAIM]) == [
        "2 claims: 3 seeds cannot tell.",
        "sums: The seeds form two groups.",
    ]
