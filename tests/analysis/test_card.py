"""The answers of a card: what one seed may say, how claims decide together, and that every text is shown literally."""

from __future__ import annotations

import re

import polars as pl
import pytest

from nosce.analysis.card import CardAnswer, CardPage, ClaimAnswer, ReadableItem, combined_word
from nosce.analysis.render.card_page import render_card_page
from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData
from nosce.records import Decision, Verdict

HOSTILE = "<script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(2)>"
YES_NO = ("yes", "no")


def claim_answer(decision: Decision = "holds", seeds: int = 1, word: str = "", text: str = "It can") -> ClaimAnswer:
    verdict = Verdict(
        id="a",
        text=text,
        source="section 4",
        criterion="the whole 95 % interval lies above 15 points",
        paper_value=None,
        estimate=0.2,
        low=0.1,
        high=0.3,
        n=12,
        unit="person",
        verdict=decision,
        why="bootstrap",
        is_difference=True,
    )
    return ClaimAnswer(verdict=verdict, seeds=seeds, sentence=f"It says {text}.", decides=True, word=word)


@pytest.mark.parametrize(
    ("decision", "seeds", "badge"),
    [
        ("holds", 1, "holds, this model alone"),
        ("fails", 1, "fails, this model alone"),
        ("undecided", 1, "undecided"),
        ("holds", 3, "holds"),
        ("fails", 2, "fails"),
    ],
)
def test_with_one_seed_a_claim_neither_holds_nor_fails(decision, seeds, badge):
    answer = claim_answer(decision, seeds)
    assert answer.badge == badge == answer.to_json()["verdict"]
    assert answer.counted == f"n = 12 people, {seeds} seed" + ("s" if seeds > 1 else "")


@pytest.mark.parametrize(
    ("words", "n_deciding", "how", "answer"),
    [
        (("yes", "no"), 2, "any", "yes"),
        (("no", "no"), 2, "any", "no"),
        (("no", ""), 2, "any", "undecided"),
        (("no",), 2, "any", "undecided"),  # the other was not judged, or is not there
        (("yes", "yes"), 2, "all", "yes"),
        (("yes", "no"), 2, "all", "no"),
        (("yes", ""), 2, "all", "undecided"),
        (("yes",), 2, "all", "undecided"),
        ((), 0, "any", "undecided"),
        ((), 0, "all", "undecided"),
    ],
)
def test_claims_decide_together(words, n_deciding, how, answer):
    """What is missing or undecided never settles a question."""
    assert combined_word([claim_answer(word=word) for word in words], n_deciding, YES_NO, how) == answer


def hostile_page() -> CardPage:
    item = ReadableItem(prompt=HOSTILE, answer=HOSTILE, target=HOSTILE, outcome=HOSTILE, judged=HOSTILE, chosen=HOSTILE)
    row = {"panel": HOSTILE, "group": HOSTILE, "x": 0.0, "tick": HOSTILE, "value": 0.5, "baseline": False}
    table = pl.DataFrame([row | {"low": None, "high": None, "n": 3}], schema=FIGURE_COLUMNS)
    figure = FigureData(id="f", title=HOSTILE, caption=HOSTILE, kind="bars", table=table)
    answer = CardAnswer(
        id="asked",
        question=HOSTILE,
        study="s",
        state="partly asked",
        word="yes",
        sentence=HOSTILE,
        claims=(claim_answer(text=HOSTILE),),
        not_asked=(HOSTILE,),
        notes=(HOSTILE,),
        seeds=1,
        size=(HOSTILE,),
        core_minutes=1.0,
        more=HOSTILE,
        figure=figure,
        item=item,
        command=HOSTILE,
    )
    return CardPage(
        model=HOSTILE,
        facts=(HOSTILE,),
        notes=(HOSTILE,),
        rule=HOSTILE,
        answers=(answer,),
        command=HOSTILE,
        provenance={HOSTILE: HOSTILE},
    )


def test_every_text_is_shown_literally():
    """A model's answer is a stranger's text: no tag, no template and no link of it takes effect."""
    page = render_card_page(hostile_page())
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}") > 20
    assert not re.search(r"<script|<img src=x|onerror=alert\(2\)>", page)
    assert not re.search(r'(?:src|href)="(?!data:image/svg|#)', page)  # nothing is loaded from elsewhere


def test_equal_cards_give_equal_pages():
    assert render_card_page(hostile_page()) == render_card_page(hostile_page())
