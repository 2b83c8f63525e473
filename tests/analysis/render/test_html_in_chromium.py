"""The page of a study in a real browser: narrow, by keyboard, without a network, with hostile texts."""

import itertools

import polars as pl
import pytest
from tests.fixtures.chromium import CHROMIUM, open_page

from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData
from nosce.analysis.render.forest import ClaimRule
from nosce.analysis.render.html import StudyPage, render_study_page
from nosce.records import Verdict, Walkthrough, WalkthroughStep

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> & {{ 7 * 7 }}'
LONG = "Averyverylongnameofsomethingthatnobodywouldbreak" * 3


def planted_verdict(number, word, text):
    return Verdict(
        id=f"claim/{number}",
        text=text,
        source=text,
        criterion="the whole 95 % interval lies above 20 points",
        paper_value=0.3,
        estimate=0.5,
        low=0.4,
        high=0.6,
        n=12,
        unit="person",
        verdict=word,
        why=text,
        is_difference=True,
        seeds=3,
    )


def planted_page():
    rows = [("panel", f"group {x}", float(x), f"tick {x}", 0.5, 0.4, 0.6, 12, False) for x in range(5)]
    table = pl.DataFrame(rows, schema=FIGURE_COLUMNS, orient="row")
    figure = FigureData(id="f", title="A figure", caption="Words.", kind="bars", x_label="x", y_label="y", table=table)
    words = ("holds", "fails", "undecided", "holds")
    verdicts = [planted_verdict(i, word, (HOSTILE, LONG, "Short", "Words")[i]) for i, word in enumerate(words)]
    wide = pl.DataFrame({f"a column with a name {number}": [LONG] for number in range(9)})
    walk = Walkthrough(LONG, "c", (WalkthroughStep("turn", ("#" * 9,) * 3, None, ()),) * 30)
    step = {"step": LONG, "kind": "k", "what": HOSTILE, "state": "stale", "seconds": "1", "made": "now"}
    return StudyPage(
        study="s",
        title=HOSTILE,
        question="Who is faster?",
        paper="a paper",
        scale="laptop",
        seeds=(0, 1, 2),
        verdicts=tuple(verdicts),
        figures=(figure,),
        guards=({"guard": LONG, "found": HOSTILE, "verdict": "passed"},),
        tables=(("t", "c", wide),),
        steps=(step,),
        provenance={"commit": LONG},
        command=f"nosce run {LONG}",
        walks=(walk,),
        lead_figure="f",
        rules={one.id: ClaimRule(threshold=0.2) for one in verdicts},
        exploratory={one.id: one for one in verdicts},
        figure_claims={"f": ("claim/0",)},
        method=(("people", LONG, "1"),),
        items="items.html",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render_study_page(planted_page()), encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_scrolls_sideways_complains_or_leaves_the_file(page, width, dark):
    """With every fold open, too; the narrow screen gets the narrow picture."""
    with open_page(page, width=width) as browser:
        browser.darken(dark)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        narrow = browser.evaluate("document.querySelector('.lead img').naturalWidth < 400")
        assert narrow == (width == 390)
        assert browser.evaluate("window.hacked === undefined && !document.querySelector('script')")
        assert browser.errors == []
        assert all(one.startswith(("file:", "data:")) for one in browser.requests)


def test_a_claim_opens_by_keyboard(page):
    """Tab reaches the claims in their order, with a visible focus; Enter and the space bar open and close them."""
    with open_page(page, height=900) as browser:
        focus = "document.activeElement.parentElement.id"
        for _ in range(12):
            browser.press("Tab")
            if browser.evaluate(focus) == "claim-1":
                break
        assert browser.evaluate(focus) == "claim-1"
        assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        browser.press("Enter")
        assert browser.evaluate("document.querySelector('#claim-1').open")
        browser.press(" ")
        assert not browser.evaluate("document.querySelector('#claim-1').open")
        browser.press("Tab")
        assert browser.evaluate(focus) == "claim-2"


def test_the_forest_begins_within_a_screen_and_a_half(page):
    """Question, answer, how sure and one figure take no more than that."""
    with open_page(page, height=900) as browser:
        assert browser.evaluate("document.querySelector('.forest').getBoundingClientRect().top") < 1.5 * 900


def test_headings_are_in_order_and_drawings_have_words(page):
    """No level of heading is left out; each picture has a text, each table its heads."""
    with open_page(page, height=900) as browser:
        levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert browser.evaluate("[...document.images].every(one => one.alt.length > 10)")
        assert browser.evaluate("[...document.querySelectorAll('table')].every(one => one.querySelector('th[scope]'))")
