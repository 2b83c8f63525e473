"""The index as HTML: the ledger of results, and above it the runs of a store where `nosce view` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nosce.analysis.render.html import page_templates
from nosce.analysis.render.tables import ONE_MODEL, VERDICT_SIGNS
from nosce.pipeline.ledger import LedgerRow, tell_apart

if TYPE_CHECKING:
    from nosce.pipeline.view.library import LivePage


def render_index(rows: Sequence[LedgerRow], live: LivePage | None = None) -> str:
    """The page of all results; equal rows give equal text.

    Args:
        rows: The rows of the ledger, in their order.
        live: What `nosce view` shows above them. None: nothing, and the page runs no script.
    """
    template = page_templates().get_template("index.html")
    return template.render(rows=tell_apart(rows), live=live, signs=VERDICT_SIGNS, one_model=ONE_MODEL)
