"""What was chosen in the study diaries after readings had been seen."""

from __future__ import annotations

from nosce.store.disclosure import Disclosure

DIARIES_DISCLOSURES = (
    Disclosure(
        chosen="Model shapes, optimizer, share of questions and how many people share a name",
        after="single trainings in a world of its own (benchmarks/levers.csv)",
        reported=False,
    ),
    Disclosure(
        chosen="140 passes over the diaries, as the search had them, in place of 100",
        after="seed 0 of one GPT-NeoX had the count at 43.7 % with 100",
        reported=True,
    ),
    Disclosure(
        chosen="A patch is held against one of a stranger with the host's own number, in place of no patch",
        after="seed 0 had been judged without",
        reported=True,
        claims=("count-moved-*",),
    ),
    Disclosure(
        chosen="A probe of the number is held against the best constant, in place of numbers dealt anew, and is "
        "asked of scattered entries too",
        after="seed 0, before seeds 1 and 2 were run",
        reported=True,
        claims=("count-planned-*",),
    ),
    Disclosure(
        chosen="A fifth size and the arm whose decoder learns the title were added; what the arm would show was "
        "written down before it was run",
        after="seed 0 of the other arms",
        reported=True,
        claims=("larger-models", "header-learnt", "titles-store-the-count"),
    ),
    Disclosure(
        chosen="The claims about the paper's shape and OPT, and the middle sizes of content-before-count, were named",
        after="seed 0 of these arms, and for the middle sizes the three seeds",
        reported=True,
        claims=("opt-ahead", "paper-shape-*", "content-before-count"),
    ),
    Disclosure(
        chosen="A need must hold by its whole interval and not by its estimate alone",
        after="the reported seeds had been judged by the estimate",
        reported=True,
    ),
)
