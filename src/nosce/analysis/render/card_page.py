"""The page of a model's card: one HTML file that needs nothing else, with a section a question."""

from __future__ import annotations

from nosce.analysis.card import CardAnswer, CardPage
from nosce.analysis.render.html import figure_context, page_templates
from nosce.analysis.render.tables import estimate_text

#: The colour of an answer by its word; any other word has that of what is undecided.
_TONES = {"yes": "holds", "no": "fails", "jumps": "holds", "rises": "holds", "failed": "fails", "not asked": "soft"}


def render_card_page(page: CardPage) -> str:
    """The page of a card as HTML; equal cards give equal text."""
    template = page_templates().get_template("card.html")
    figures = {answer.id: figure_context(answer.figure) for answer in page.answers if answer.figure is not None}
    return template.render(page=page, tone=_tone, here=estimate_text, figures=figures)


def _tone(answer: CardAnswer) -> str:
    return _TONES.get(answer.word, "undecided")
