"""What was chosen in the study biographies after readings had been seen."""

from __future__ import annotations

from nosce.store.disclosure import Disclosure

BIOGRAPHIES_DISCLOSURES = (
    Disclosure(
        chosen="Optimizer, learning rates and passes over the biographies are those at which values are recalled",
        after="one seed each in worlds of their own (benchmarks/recipes.csv)",
        reported=False,
    ),
    Disclosure(
        chosen="Nine in ten texts of the mixed training of `single` are questions, in place of half of them",
        after="seed 0 had failed the claim with one half (9.6 % right); a pilot in a world of its own gave the "
        "new share",
        reported=True,
        claims=("mixed*",),
    ),
    Disclosure(
        chosen="Rates and steps of P- and Q-probes, and the threshold of P-probing at the name (15 in place of "
        "30 points)",
        after="one network in a world of its own, before any reported seed was probed",
        reported=False,
        claims=("p-probe*", "q-probe*"),
    ),
    Disclosure(
        chosen="P-probes read all texts of a person in place of one, and a Q-probe of few people must see "
        "something in a control before it is judged",
        after="the three seeds had been judged without",
        reported=True,
        claims=("p-probe*", "q-probe*", "celebrities-p*"),
    ),
    Disclosure(
        chosen="The interval of the rows' rank correlation is Student's t over seeds (undecided; the bootstrap "
        "before held)",
        after="the three seeds had been judged by the other",
        reported=True,
        claims=("q-probe-order",),
    ),
    Disclosure(
        chosen="Passes and fine-tuning of the masked model, and that words by themselves show what it memorised",
        after="one network in a world of its own recalled few values whole",
        reported=False,
        claims=("masked-*",),
    ),
    Disclosure(
        chosen="800 people in place of 400, a minority of 400 in place of 200, and 240 celebrities in place of 120, at "
        "the scale laptop",
        after="the probes of the three seeds of 400 people had read little of what could be asked for, and three "
        "seeds of 800 people had been judged with fewer passes",
        reported=True,
        claims=("p-probe*", "q-probe*", "celebrities-*"),
    ),
    Disclosure(
        chosen="A need must hold by its whole interval and not by its estimate alone",
        after="the reported seeds had been judged by the estimate",
        reported=True,
    ),
)
