"""What was chosen in the study karel after readings had been seen."""

from __future__ import annotations

from nosce.store.disclosure import Disclosure

KAREL_DISCLOSURES = (
    Disclosure(
        chosen="Optimizer, learning rates, the weight of specifications and the number of records",
        after="single runs in worlds of their own",
        reported=False,
    ),
    Disclosure(
        chosen="Probes learn from 16,000 programs in place of 4,000, with weight decay",
        after="seed 0, whose bag of operations had been as good as its hidden states with 4,000",
        reported=True,
        claims=("position+*", "front+*", "selective", "intervention-*", "future-*", "content-rises"),
    ),
    Disclosure(
        chosen="The arm with re-assigned words has twice the records of the others",
        after="seed 0 of that arm had been right on 43 % with as many",
        reported=True,
        claims=("own-meaning-wins",),
    ),
    Disclosure(
        chosen="The claims that content falls, and the whole surface as a further baseline, were added",
        after="seeds 0 to 2 had been read",
        reported=True,
        claims=("falls-with-accuracy", "content-falls", "content-share-falls", "direction+*", "position+*", "front+*"),
    ),
    Disclosure(
        chosen="A need must hold by its whole interval and not by its estimate alone",
        after="the reported seeds had been judged by the estimate",
        reported=True,
    ),
)
