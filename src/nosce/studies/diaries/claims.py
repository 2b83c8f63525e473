"""What the study diaries expects: statements 1 to 10 of the sheet's section 6, the puzzle of 7.2, where the count is.

Predictions of the puzzle were written before anything was run: if the loss on titles is what stores the number of
entries, then an arm without that loss, or with the number before the name, or with titles that only an encoder reads,
must tell last entries from others worse than the plain decoder does; and repeating the title in the target must help.
"""

from __future__ import annotations

import math

from nosce.analysis.jackknife import Auc, Ranks, Trend
from nosce.analysis.measures import Claim, Contrast, Difference, Least, Mean, Need
from nosce.studies.diaries.arms import ENCODERS, MASKED, MERGED, NAMED, NUMBER_FIRST, PHASES, REPEATED, SCATTERED, Grid
from nosce.studies.diaries.selections import (
    BLIND,
    TRAINED,
    along_diarists,
    along_sizes,
    both,
    counted,
    of_number,
    of_smallest,
    patched,
    recited,
    reference,
    stops,
    title,
)

LEARNT = 0.9  # of the trained questions must be answered before others are judged
FLAT = 0.05  # points an entry: a decline by less is none


def learnt(*arms: str) -> tuple[Need, ...]:
    """Trained questions are answered, so that what was not asked about can be judged; replies can be counted.

    Claims about how things go with size or number ask this of the last of them alone: where a small model does not even
    learn its questions, as the paper says of its smallest, that is what is to be seen.
    """
    return tuple(
        Need(text=f"{what} by {arm}", measure=Mean(select=recited(arm, metric, readout)), above=LEARNT)
        for arm in arms
        for what, metric, readout in (
            ("trained questions answered", "exact", TRAINED),
            ("replies readable", "readable", "written"),
        )
    )


def claims(grid: Grid) -> tuple[Claim, ...]:
    """All of them."""
    return (*_setups(grid), *_scale(grid), *_count(grid), *_families(grid), *(_puzzle(grid) if grid.puzzle else ()),
            *_where(grid))  # fmt: skip


def _setups(grid: Grid) -> tuple[Claim, ...]:
    cells = both(grid)
    best, easy = reference(grid), reference(grid, MERGED)
    return (
        Claim(
            id="trained",
            text="Questions that were trained on are answered, one document an entry",
            source="no number in the reports; without it nothing can be said of others",
            measure=Mean(select=recited(best, readout=TRAINED)),
            threshold=LEARNT,
        ),
        Claim(
            id="merged-easier",
            text="In every size and number merged diaries are recalled whole more often than scattered ones",
            source="figures 2 and 3: for every family, size and number",
            measure=Least(measures=tuple(Difference(one=recited(m), other=recited(s)) for m, s in cells)),
            threshold=0.0,
            needs=learnt(best, easy),
        ),
        Claim(
            id="merged-recalled",
            text="At the largest size more than half of the merged diaries are recalled whole",
            source="figure 2, dashed: good, not perfect, for decoder-only models",
            measure=Mean(select=recited(easy)),
            threshold=0.5,
            needs=learnt(easy),
        ),
        Claim(
            id="scattered-recalled",
            text="At the largest size more than half of the scattered diaries are recalled whole",
            source="figure 2, solid: at sufficient scale",
            measure=Mean(select=recited(best)),
            threshold=0.5,
            needs=learnt(best),
        ),
    )


def _scale(grid: Grid) -> tuple[Claim, ...]:
    largest = grid.first[2]
    by_number, merged = along_diarists(grid, largest), along_diarists(grid, largest, MERGED)
    sizes = along_sizes(grid)
    logs = [math.log2(count) for count, _ in by_number]
    return (
        Claim(
            id="more-diarists",
            text="With more diarists more of the scattered diaries are recalled whole (a doubling)",
            source="figure 2: at sufficient size",
            measure=Trend(points=tuple((x, recited(arm)) for x, (_, arm) in zip(logs, by_number, strict=True))),
            threshold=0.0,
            needs=learnt(by_number[-1][1]),
        ),
        Claim(
            id="larger-models",
            text="Larger models recall more of the scattered diaries whole (a step of the ladder)",
            source="figure 2: at a fixed number of diarists",
            measure=Trend(points=tuple((float(x), recited(arm)) for x, (_, arm) in enumerate(sizes))),
            threshold=0.0,
            needs=learnt(sizes[-1][1]),
        ),
        Claim(
            id="smallest-peaks",
            text="The smallest model is best at a middle number of diarists",
            source="figure 2: OPT 7M rises up to 4K and falls beyond",
            measure=_peak(grid),
            threshold=0.0,
        ),
        Claim(
            id="gap-shrinks",
            text="The gap between merged and scattered shrinks with more diarists (a doubling)",
            source="figure 3: OPT and larger Pythia",
            measure=Trend(
                points=tuple((x, recited(arm)) for x, (_, arm) in zip(logs, merged, strict=True)),
                minus=tuple(recited(arm) for _, arm in by_number),
            ),
            threshold=0.0,
            direction="below",
            needs=learnt(by_number[-1][1], merged[-1][1]),
        ),
    )  # fmt: skip


def _peak(grid: Grid) -> Least:
    """The smallest model at the middle number of diarists, against the fewest and against the most."""
    (_, fewest), *_, (_, most) = small = of_smallest(grid)
    middle = dict(small)[grid.middle]
    return Least(measures=tuple(Trend(points=((0.0, recited(end)), (1.0, recited(middle)))) for end in (fewest, most)))


def _count(grid: Grid) -> tuple[Claim, ...]:
    low, high = grid.world.entries
    guess = 1 / (high - low + 1)
    best, small = reference(grid), along_sizes(grid)[0][1]
    return (
        Claim(
            id="content-before-count",
            text="Recalled entries are right more often than their number is",
            source="the analysis of where errors are",
            measure=Contrast(terms=((1.0, recited(best, "content")), (-1.0, recited(best, "count")))),
            threshold=0.0,
            needs=learnt(best),
        ),
        Claim(
            id="count-known",
            text="At the largest size the number of entries is right more often than a blind guess",
            source="figures 5 and 6: at sufficient scale",
            measure=Mean(select=recited(best, "count")),
            threshold=guess,
            needs=learnt(best),
        ),
        Claim(
            id="count-ranked",
            text="At the largest size more entries are told of those who wrote more (Spearman)",
            source="figures 5 and 6, read as a correlation",
            measure=Ranks(one=recited(best, "recalled")),
            threshold=0.0,
            needs=learnt(best),
        ),
        Claim(
            id="count-random-when-small",
            text="At the smallest size the number of entries is right no more often than a blind guess and 5 points",
            source="figures 5 and 6: small models return what looks like a random number",
            measure=Mean(select=recited(small, "count")),
            threshold=guess + 0.05,
            direction="below",
            needs=(Need(text="replies readable", measure=Mean(select=recited(small, "readable")), above=LEARNT),),
        ),
        Claim(
            id="no-decline",
            text="Longer diaries are not recalled whole less often, merged (points an entry more, above -5)",
            source="figure 4: accuracy does not fall with the number of documents",
            measure=Trend(
                points=tuple((float(k), of_number(reference(grid, MERGED), k)) for k in range(low, high + 1))
            ),
            threshold=-FLAT,
            needs=learnt(reference(grid, MERGED)),
        ),
    )


def _families(grid: Grid) -> tuple[Claim, ...]:
    found = []
    low, high = grid.world.entries
    for family in (f for f in grid.families if f in ENCODERS):
        merged, scattered = (reference(grid, setup, family) for setup in (MERGED, SCATTERED))
        found += [
            Claim(
                id=f"{family}-merged",
                text=f"{family} recalls more than nine of ten merged diaries whole",
                source="figure 2, dashed: nearly perfect for all Flan-T5",
                measure=Mean(select=recited(merged)),
                threshold=0.9,
                needs=learnt(merged),
            ),
            Claim(
                id=f"{family}-scattered",
                text=f"{family} gets the number of scattered entries right no more often than a guess and 5 points",
                source="figures 2, 5 and 6: near random at small numbers of diarists",
                measure=Mean(select=recited(scattered, "count")),
                threshold=1 / (high - low + 1) + 0.05,
                direction="below",
                needs=learnt(scattered),
            ),
        ]
    return tuple(found)


def _told(arm: str) -> Auc:
    """How well last entries are told from others."""
    return Auc(high=stops(arm, "stop/last"), low=stops(arm, "stop/before"))


def _puzzle(grid: Grid) -> tuple[Claim, ...]:
    plain = reference(grid)
    encoders = [f for f in grid.families if f in ENCODERS]
    better = [
        (MASKED, plain, MASKED, "header-loss", "with the loss on titles than without it"),
        (NUMBER_FIRST, plain, NUMBER_FIRST, "number-first", "with the number behind the name than before it"),
    ]
    for family in encoders:
        arm = reference(grid, SCATTERED, family)
        better += [
            (REPEATED, REPEATED, arm, "header-repeated", f"by {family} with titles repeated in the target"),
            (NAMED, NAMED, arm, "header-learnt", f"by {family} given the name alone, the title in the target"),
        ]
    return (
        *(
            Claim(
                id=id,
                text=f"Stops behind true entries are better told {what} (nats of a diary's decisions)",
                source="the sheet's hypothesis for the Flan-T5 puzzle, section 7.2; no report has it",
                measure=Difference(one=stops(worse, "stops"), other=stops(good, "stops")),
                threshold=0.0,
                needs=learnt(good, worse),
            )
            for _, good, worse, id, what in better
        ),
        Claim(
            id="titles-store-the-count",
            text="The number in a title costs less than without knowing the name (nats; the most is told below)",
            source="the sheet, section 7.2 (d): a measure without a question",
            measure=Contrast(terms=((1.0, title(plain, readout=BLIND)), (-1.0, title(plain)))),
            threshold=0.0,
        ),
        Claim(
            id="one-phase",
            text="Documents and questions in one training recall more than documents first and questions then",
            source="the paper's remark on its schedule: two phases forget",
            measure=Difference(one=recited(plain), other=recited(PHASES)),
            threshold=0.0,
            needs=learnt(plain),
        ),
    )  # fmt: skip


def _where(grid: Grid) -> tuple[Claim, ...]:
    best, easy = reference(grid), reference(grid, MERGED)
    return (
        *(
            Claim(
                id=f"stop-told-{setup}",
                text=f"Behind true entries stopping is likelier where the diary ends ({setup}; area under the curve)",
                source="the sheet, section 7.3: continuous metrics",
                measure=_told(arm),
                threshold=0.5,
                needs=learnt(arm),
            )
            for setup, arm in ((SCATTERED, best), (MERGED, easy))
        ),
        *(
            Claim(
                id=f"count-planned-{setup}",
                text=f"A linear probe reads the number of {setup} entries at the question end, beyond a constant",
                source="the sheet, section 7.3: plan or step-by-step check",
                measure=Difference(one=counted(arm, "question/final"), other=counted(arm, "constant/question")),
                threshold=0.0,
            )
            for setup, arm in ((SCATTERED, best), (MERGED, easy))
        ),
        *(
            Claim(
                id=f"count-moved-{setup}",
                text=f"With a donor's states in the question's place {setup} diaries stop where the donor's ends, more "
                "than with those of a stranger of the host's number",
                source="the sheet, section 7.3: patching a k = 2 diarist into a k = 6 one; the control is ours",
                measure=Difference(
                    one=patched(arm, "whole/donor/residual.1"), other=patched(arm, "whole/same/residual.1")
                ),
                threshold=0.0,
                needs=learnt(arm),
            )
            for setup, arm in ((SCATTERED, best), (MERGED, easy))
        ),
        Claim(
            id="stops-by-content",
            text="With other contents in its entries a merged diary's decisions cost more (nats)",
            source="the sheet, section 7.3: swap a wrong entry in and watch the stop",
            measure=Difference(one=stops(easy, "stops", "retold"), other=stops(easy, "stops")),
            threshold=0.0,
        ),
    )
