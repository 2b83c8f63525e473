"""What was chosen in the study introspection after readings had been seen."""

from __future__ import annotations

from nosce.store.disclosure import Disclosure

INTROSPECTION_DISCLOSURES = (
    Disclosure(
        chosen="Deeper arms and their sibling have all seeds in place of one, and the sites of the causal "
        "claims are named",
        after="a pilot of the study with a seed of its own",
        reported=False,
        claims=("deeper-*", "report-follows-*", "swap-of-*", "answer-echoes"),
    ),
    Disclosure(
        chosen="Two claims whose sides had other strings compare the strings that both have; labels are matched "
        "after the change; the effect that could have been seen was added to two claims",
        after="seeds 0 to 2 had been judged without",
        reported=True,
        claims=("similarity-*", "follows-change*", "no-advantage-where-alike", "not-of-long-answers"),
    ),
    Disclosure(
        chosen="Learning rate and arms of injected states",
        after="a pilot of one seed of its own",
        reported=False,
        claims=("injected-*", "before-injected-*", "random-not-named"),
    ),
    Disclosure(
        chosen="A need must hold by its whole interval and not by its estimate alone",
        after="the reported seeds had been judged by the estimate",
        reported=True,
    ),
)
