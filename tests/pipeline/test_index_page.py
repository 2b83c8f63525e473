"""The index as HTML: every text is literal, every link stays where it is, and no script runs in the static page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from nosce.pipeline.index_page import render_index
from nosce.pipeline.ledger import LedgerRow, VerdictCounts, folder_rows
from nosce.pipeline.view.library import LivePage
from nosce.pipeline.view.live import RunState, StepUnderWay

ODD = "<script>alert(1)</script> \"quoted\" 'single' & {{ 7 * 7 }}"
VOID = {"meta", "link"}
RESULTS = Path(__file__).parents[2] / "results"


class Reader(HTMLParser):
    """The elements and the text of a page, with a check that what was opened is closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open = [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        self.text += " "

    def handle_data(self, data):
        self.text += "" if "style" in self.open else data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def row(**changed):
    fields = {"kind": "study", "name": "birds", "title": "Birds", "question": "Do they?", "answer": "They do."}
    return LedgerRow(**(fields | changed))


def text_of(html):
    return " ".join(Reader(html).text.split())


def test_a_row_shows_question_answer_counts_and_facts():
    """Each count has its sign, its word and its number beside the bar, so that no colour is needed."""
    findings = VerdictCounts(holds=8, fails=3, undecided=0)
    html = render_index(
        [
            row(
                findings=findings,
                href="./birds/laptop/index.html",
                scale="laptop",
                seeds="3 seeds (0-2)",
                part="1 of 2 arms",
            )
        ]
    )
    text = text_of(html)
    for told in (
        "Do they?",
        "They do.",
        "✓ holds 8",
        "✗ fails 3",
        "? undecided 0",
        "3 seeds (0-2)",
        "date not recorded",
    ):
        assert told in text
    assert "scale laptop; only 1 of 2 arms" in text
    assert [link["href"] for link in Reader(html).all("a")] == ["./birds/laptop/index.html"]
    bars = [one["class"] for one in Reader(html).all("span") if "bar" in one.get("class", "").split()]
    assert bars == ["bar bar-holds", "bar bar-fails"]  # of none there is no bar
    assert "<script" not in html
    assert "this model alone" not in text


def test_decisions_of_one_model_stand_under_their_own_words():
    text = text_of(render_index([row(of_one_model=VerdictCounts(holds=1, fails=2))]))
    assert "this model alone ✓ holds 1 ✗ fails 2" in text


def test_hostile_text_stays_text():
    """In every field of a row, of a run and of what is left out."""
    names = ("name", "title", "question", "answer", "paper", "scale", "settings", "part", "seeds", "source")
    step = StepUnderWay(name="a", label=ODD, holder=ODD, is_held=True, quiet_seconds=0, note=None)
    run = RunState(study=ODD, scale=ODD, title=ODD, part=ODD, done=1, total=2, command=ODD, steps=(step,))
    live = LivePage(places=(ODD,), runs=(run,), faults=(ODD,), stamp=ODD)
    rows = [row(notices=(ODD,), **dict.fromkeys(names, ODD)), row(title=ODD, name="other")]
    page = Reader(render_index(rows, live))
    assert page.all("script") == [{"src": "/view.js", "defer": None}]
    assert page.text.count(ODD) >= len(names) + 7
    assert "49" not in page.text
    assert page.all("body")[0]["data-stamp"] == ODD


def test_an_empty_index_says_so():
    assert "no study yet" in render_index([])


def test_runs_stand_above_the_results_with_their_progress():
    step = StepUnderWay(name="training-1", label="one arm", holder="host:7", is_held=True, quiet_seconds=0, note=None)
    shared = {"study": "birds", "scale": "laptop", "title": "Birds", "part": "", "done": 61, "total": 120}
    runs = (RunState(**shared, command="c", steps=(step,)), RunState(**shared, command="nosce run birds", steps=()))
    html = render_index([], LivePage(places=("your store: /s",), runs=runs, faults=("Left out: x",), stamp="1"))
    text = text_of(html)
    assert "61 of 120 steps done, 1 under way" in text
    assert "training one arm by host:7" in text
    assert "61 of 120 steps done, nobody makes the rest" in text
    assert "Go on with nosce run birds" in text
    assert "Left out: x" in text
    assert [(bar["max"], bar["value"]) for bar in Reader(html).all("progress")] == [("120", "61")] * 2


def test_the_committed_index_is_that_of_the_committed_results():
    """A result that is added or made anew is in it, and its counts are those of the result's own file."""
    rows, faults = folder_rows(RESULTS)
    assert not faults
    assert (RESULTS / "index.html").read_text(encoding="utf-8") == render_index(rows)
