"""The page of a study: whole in one file, literal in every text, plain about what is stale."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from html.parser import HTMLParser

import polars as pl
import pytest

from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData
from nosce.analysis.render.html import FOLD_ROWS, MAX_TABLE_ROWS, StudyPage, render_study_page
from nosce.records import Verdict
from nosce.store.disclosure import Disclosure

ODD = "<script>alert(1)</script> \"quoted\" 'single' & {{ 7 * 7 }} $x$"
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """The elements of a page, in order, with a check that what was opened is closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

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


def verdict(word="holds", text="a claim", **more):
    odd = dict.fromkeys(("id", "source", "criterion", "why", "unit"), text)
    numbers = {"paper_value": 0.9, "estimate": 0.5, "low": 0.4, "high": 0.6, "n": 12}
    return Verdict(**({"text": text, "verdict": word} | odd | numbers | more))


def study(text="words", **more):
    rows = [
        (text, text, 0.0, text, 0.5, 0.4, 0.6, 12, False),
        (text, text, 1.0, text, None, None, None, 0, False),
    ]
    table = pl.DataFrame(rows, schema=FIGURE_COLUMNS, orient="row")
    figure = FigureData(id=text, title=text, caption=text, kind="bars", x_label=text, y_label=text, table=table)
    step = {"step": text, "kind": text, "what": text, "state": "done", "seconds": text, "made": text}
    whole = {
        "study": text,
        "title": text,
        "question": text,
        "paper": text,
        "scale": text,
        "seeds": (0, 1),
        "verdicts": tuple(verdict(word, text) for word in ("holds", "fails", "undecided")),
        "figures": (figure,),
        "guards": ({"guard": text, "found": text, "verdict": text},),
        "tables": ((text, text, pl.DataFrame({"name": [text], "share": [0.64349], "none": [None]})),),
        "steps": (step,),
        "provenance": {text: text},
        "command": text,
    }
    return StudyPage(**(whole | more))


def test_equal_pages_give_equal_text():
    """A page holds nothing of the time or the process that made it."""
    assert render_study_page(study()) == render_study_page(study())


def test_every_text_is_shown_literally():
    """No text of any field becomes mark-up, a template or an attribute, in the page and in its pictures."""
    html = render_study_page(study(ODD))
    page = Reader(html)
    picture = base64.b64decode(page.all("img")[0]["src"].partition(",")[2]).decode()

    assert not page.open
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script" not in html + picture
    assert "49" not in page.text
    assert page.text.count(ODD) >= 3 * 6 + len(fields(StudyPage))
    ET.fromstring(picture)


def test_a_page_needs_nothing_else():
    """No element points out of the file; pictures are data, and links stay on the page."""
    page = Reader(render_study_page(study()))
    html = render_study_page(study())
    pictures = page.all("img")
    svg = base64.b64decode(pictures[0]["src"].partition(",")[2]).decode()

    assert pictures
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in pictures)
    assert all(image["alt"].strip() for image in pictures)
    assert not page.all("link")
    assert not page.all("script")
    assert not page.all("iframe")
    assert all(link["href"].startswith("#") for link in page.all("a"))
    assert not re.search(r"https?://|@import|url\(", html)
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg))


def test_verdicts_are_words_with_their_reasons():
    """Each claim tells its verdict, numbers, criterion and reason as text, before any figure."""
    text = Reader(
        render_study_page(study(verdicts=(verdict("fails", criterion="above 20 %", why="It was 3 %."),)))
    ).text
    claims = text[text.index("Claims") : text.index("Figures")]

    for part in ("fails", "50.0 % [40.0, 60.0]", "90.0 %", "12", "above 20 %", "It was 3 %."):
        assert part in claims
    for word in ("holds", "fails", "undecided"):
        assert re.search(rf"[✓✗?]\s+{word}", Reader(render_study_page(study())).text)


def test_a_stale_step_is_told_at_the_top_and_at_the_step():
    """Whoever reads the claims has read before that the code has changed since."""
    fresh = study()
    stale = replace(fresh, steps=(*fresh.steps, fresh.steps[0] | {"state": "stale", "what": "the old one"}))
    sentence = "made by code that has since changed"

    assert sentence not in Reader(render_study_page(fresh)).text
    text = " ".join(Reader(render_study_page(stale)).text.split())
    assert f"1 of 2 steps was {sentence}" in text[: text.index("3 claims")]
    assert f"the old one stale: {sentence}" in text
    assert Reader(render_study_page(stale)).elements.count(("details", {"open": None})) == 1


def test_a_missing_step_is_told():
    """A page from half a store says that it is one."""
    page = study()
    text = Reader(render_study_page(replace(page, steps=(page.steps[0] | {"state": "missing"},)))).text

    assert "not made yet" in text[: text.index("3 claims")]


def test_missing_numbers_are_dashes():
    """A null is a dash in tables, of the study and of the figure, and a float has three digits."""
    text = Reader(render_study_page(study())).text.split()

    assert "0.643" in text
    assert text.count("-") == 1 + 3  # the table's null; value, low and high of the missing bar


@pytest.mark.parametrize("rows", [FOLD_ROWS, FOLD_ROWS + 1, MAX_TABLE_ROWS, MAX_TABLE_ROWS + 5])
def test_a_long_table_is_folded_and_says_what_it_leaves_out(rows):
    """Long tables wait in a fold; a cut is never silent."""
    page = study(figures=(), tables=(("t", "c", pl.DataFrame({"number": range(rows)})),))
    html = render_study_page(page)

    assert html.count("<details") == 1 + (rows > FOLD_ROWS)
    assert ("5 more rows" in html) == (rows > MAX_TABLE_ROWS)
    assert html.count('<td class="number">') == min(rows, MAX_TABLE_ROWS) + 1  # and the seconds of the step


def test_an_empty_study_is_a_page():
    """Before the first run there is a page too, and it says so."""
    page = study(verdicts=(), figures=(), guards=(), tables=(), steps=(), seeds=(), provenance={})

    assert "makes no claim yet" in Reader(render_study_page(page)).text


def test_tables_name_their_columns():
    """Every table has headers with a scope, so that it can be read aloud."""
    page = Reader(render_study_page(study()))

    assert len(page.all("thead")) == len(page.all("table")) == 4
    assert all(head.get("scope") == "col" for head in page.all("th"))


def test_one_seed_groups_of_seeds_and_choices_stand_at_the_claim():
    """The badge says whose verdict it is; what was chosen after readings stands at the claims that it bears on."""
    after = Disclosure(chosen="The task", after="seed 0 had been read", reported=True, claims=("sums-*",))
    of_sums = verdict("fails", id="sums-break", seeds=1, seed_groups="Two groups of seeds.")
    pilot = Disclosure(chosen="The rate", after="a pilot", reported=False, claims=("sums-*",))
    page = study(verdicts=(of_sums, verdict("holds", id="other", seeds=3)), disclosures=(after, pilot))
    text = " ".join(Reader(render_study_page(page)).text.split())
    sentence = "The task: chosen after seed 0 had been read (readings that this study reports)."
    assert "fails, this model alone" in text
    assert "holds, this model alone" not in text
    assert "2 claims: 1 holds; of this model alone: 1 fails." in text
    assert "Two groups of seeds." in text
    assert text.count(sentence) == 2  # at its claim, and in the list of all
    assert text.count(pilot.sentence) == 1  # in the list alone
    assert f"Reported readings. {sentence}" in text
    assert "Chosen after readings" not in Reader(render_study_page(study())).text
