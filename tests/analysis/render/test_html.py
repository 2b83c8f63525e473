"""The page of a study: whole in one file, literal in every text, plain about what is stale."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from html.parser import HTMLParser

import polars as pl
import pytest

from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData
from nosce.analysis.render.forest import ClaimRule
from nosce.analysis.render.html import FOLD_ROWS, MAX_TABLE_ROWS, StudyPage, render_study_page
from nosce.analysis.render.palette import VERDICT_COLORS
from nosce.records import Verdict
from nosce.store.disclosure import Disclosure

ODD = "<script>alert(1)</script> \"quoted\" 'single' & {{ 7 * 7 }} $x$"
VOID = {"meta", "img", "source", "br", "link", "hr", "input"}


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
    before_claims = text[: text.index("Select a claim")]
    assert f"1 of 2 steps was {sentence}" in before_claims
    assert "Stale" not in before_claims  # one line among the facts and no headline: the numbers stand
    assert f"the old one stale: {sentence}" in text


def test_a_missing_step_is_told():
    """A page from half a store says that it is one."""
    page = study()
    text = Reader(render_study_page(replace(page, steps=(page.steps[0] | {"state": "missing"},)))).text

    assert "not made yet" in text[: text.index("Select a claim")]


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

    assert html.count("<details") == 3 + 1 + 1 + (rows > FOLD_ROWS)  # claims, undecided ones, steps
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
    assert re.search("fails ?, this model alone", text)
    assert not re.search("holds ?, this model alone", text)
    assert "2 claims: 1 holds; of this model alone: 1 fails." in text
    assert "Two groups of seeds." in text
    assert text.count(sentence) == 2  # at its claim, and in the list of all
    assert text.count(pilot.sentence) == 1  # in the list alone
    assert f"Reported readings. {sentence}" in text
    assert "Chosen after readings" not in Reader(render_study_page(study())).text


def test_the_page_begins_with_question_answer_and_how_sure():
    """In this order, before any figure; the answer is that of the verdicts and no field of the page."""
    page = study(question="Who is faster?", verdicts=(verdict("fails", text="Cats are", id="race", seeds=3),))
    text = " ".join(Reader(render_study_page(page)).text.split())
    places = [text.index(part) for part in ("Who is faster?", "It is not so that “Cats are”", "How sure?", "Claims")]
    assert places == sorted(places)
    assert "Of 1 claim 1 fails." in text
    assert Reader(render_study_page(page)).all("h1") == [{}]


def test_the_conclusion_of_a_study_cannot_hide_the_verdicts():
    """What a study's own rule says stands first, and the counts of the verdicts beside it."""
    page = study(conclusion="All is well.", verdicts=(verdict("fails", seeds=3),))
    text = " ".join(Reader(render_study_page(page)).text.split())
    assert text.index("All is well.") < text.index("Of 1 claim 1 fails.")


@pytest.mark.parametrize("word", ["holds", "fails", "undecided"])
def test_each_row_says_verdict_interval_and_threshold_in_words(word):
    """What the drawing shows is text too: the drawing itself is hidden from screen readers."""
    one = verdict(word, id="race", criterion="the whole 95 % interval lies above 20 points", is_difference=True)
    seen = replace(one, estimate=0.3, low=0.2, high=0.4)
    page = study(verdicts=(one,), rules={"race": ClaimRule(threshold=0.2)}, exploratory={"race": seen})
    html = render_study_page(page)
    row = " ".join(Reader(html[html.index("<summary>") : html.index("</summary>")] + "</summary>").text.split())
    for part in (word, "50.0 points [40.0, 60.0]", "exploratory 30.0 points [20.0, 40.0]", "holds above 20 points"):
        assert part in row
    assert all(svg.get("aria-hidden") == "true" or svg.get("aria-label") for svg in strips(html))


def strips(html):
    """The outermost drawings of a page; those inside them are hidden with them."""
    return [attrs for attrs in Reader(html).all("svg") if "overflow" not in attrs]


def test_a_verdict_has_a_shape_of_its_own():
    """Colours alone tell nothing: the signs differ, and so do the marks at the estimate."""
    marks = set()
    for word in ("holds", "fails", "undecided"):
        html = render_study_page(study(verdicts=(verdict(word),)))
        row = html[html.index('<ol class="forest">') : html.index("</ol>")]
        marks.add(re.search(r'<svg class="mark"[^>]*>\s*(<\w+)', row)[1])
    assert len(marks) == 3


def test_the_colours_of_page_and_terminal_are_those_of_one_palette():
    """`look.css` repeats them, since a style sheet cannot import."""
    html = render_study_page(study())
    for word, colour in VERDICT_COLORS.items():
        assert f"--{word}-mark: {colour.lower()}" in html


def test_what_was_not_shown_is_told_at_the_end():
    """Undecided claims, parts that were left out and disclosures have one section."""
    page = study(part_notice="One arm of two.", verdicts=(verdict("undecided", why="not judged, since x"),))
    text = " ".join(Reader(render_study_page(page)).text.split())
    end = text[text.index("What was not shown") :]
    assert "One arm of two." in end
    assert "1 of 1 claims is not decided" in end
    assert "not judged, since x" in end
    assert "What was not shown" not in Reader(render_study_page(study(verdicts=(verdict("holds"),)))).text


def test_the_method_has_the_paper_s_column_only_where_it_is_known():
    """A study without the paper's sizes shows its own alone."""
    with_paper = Reader(render_study_page(study(method=(("people", "1,200", "100,000"), ("steps", "40", "")))))
    assert "the paper" in with_paper.text
    assert "100,000" in with_paper.text
    alone = Reader(render_study_page(study(method=(("people", "1,200", ""),), verdicts=())))
    assert "1,200" in alone.text
    assert "the paper" not in alone.text


def test_one_item_is_offered_where_there_is_one_to_read():
    """The link is relative, so that it works from a file."""
    assert "Look at one item" not in Reader(render_study_page(study())).text
    page = Reader(render_study_page(study(items="items/index.html")))
    assert "Look at one item" in page.text
    assert {"href": "items/index.html"} in page.all("a")


def test_a_figure_names_the_claims_it_serves_and_leads_once():
    """The one at the top is not drawn a second time; its numbers stay below."""
    page = study(figure_claims={"words": ("words",)}, lead_figure="words")
    page = replace(page, verdicts=(page.verdicts[0],))
    html = render_study_page(page)
    assert html.count("<picture>") == 1
    assert html.index("<picture>") < html.index('id="claims"')
    assert "The numbers of this figure" in html
    assert '<a href="#claim-1">' in html[html.index('id="figures"') :]


def test_a_page_of_many_claims_stays_small():
    """A row is a few kilobytes, whatever the figures take."""
    few = render_study_page(study(verdicts=(verdict(),)))
    many = render_study_page(study(verdicts=tuple(verdict(id=str(number)) for number in range(101))))
    assert len(many) - len(few) < 100 * 4_000
