"""What the study introspection claims, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import Calibration, Matched
from nosce.analysis.measures import Claim, Contrast, Difference, Least, Mean, Need, Select
from nosce.data.worlds.behaviours.dispositions import THIRD
from nosce.studies.introspection.arms import (
    BLANK,
    CONTROL,
    DEEPER,
    HALF,
    HELD_OUT,
    LEAK,
    LEFT_OUT,
    NO_SLOT,
    ONE_LESS,
    REPORT,
    SHARED,
    SIBLING,
    TABLE,
    TAUGHT,
    A,
    B,
    Bench,
    on,
)
from nosce.studies.introspection.selections import (
    advantage,
    aloud_crossed,
    before,
    changed,
    crossed,
    known,
    observer,
    said,
)

MARGIN = 0.02  # an advantage that matters, fixed by the sheet before anything was run (section 8.4)
PAPER = "arXiv:2410.13787"
SHEET = f"the sheet for {PAPER}"


def claims(bench: Bench) -> tuple[Claim, ...]:
    """All of them: the paper's four, what else could make them, planted signals, and what lies inside."""
    paper = (*_trained(), *_privileged(), *_calibrated(), *_followed())
    inside = (*_planted(bench), *_inside(bench))
    return (*paper, *_doubted(), *_long(), *inside, *_doses(bench))


def _able() -> tuple[Need, ...]:
    """Both know what they should say, can tell a property of a given answer, and know what they were taught."""
    found = []
    for who in (A, B):
        found.append(Need(text=f"what {who} says of its own table", measure=known(who, "table"), above=0.8))
        found.append(Need(text=f"properties of given answers, {who}", measure=known(who, "given"), above=0.95))
        for target in (A, B):
            learnt = Mean(select=said(on(who, target), tasks=TAUGHT, split="taught"))
            found.append(Need(text=f"what {who} was taught about {target}", measure=learnt, above=0.95))
    return tuple(found)


def _trained() -> Iterator[Claim]:
    for tasks, words, name in ((TABLE, "contexts", "contexts"), (HELD_OUT, "tasks", "tasks")):
        yield Claim(
            id=f"training-helps-{name}",
            text=f"Training on labels makes self-prediction better on held-out {words}, in A and in B",
            source=f"{PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %)",
            measure=Least(measures=tuple(
                Difference(one=said(on(who, who), tasks=tasks), other=before(who, tasks)) for who in (A, B)
            )),
            threshold=0.0,
            needs=_able(),
        )  # fmt: skip
        yield Claim(
            id=f"self-beats-constant-{name}",
            text=f"Self-prediction beats the most frequent label on held-out {words}, in A and in B",
            source=f"{PAPER}, section 2.2: not beating it counts as failure",
            measure=Least(measures=tuple(
                Difference(one=said(on(who, who), tasks=tasks), other=observer(who, "constant", tasks))
                for who in (A, B)
            )),
            threshold=0.0,
            needs=_able(),
        )  # fmt: skip
    yield Claim(
        id="training-helps-matched",
        text="So it does where labels before and after are equally frequent (held-out contexts, A)",
        source=f"{PAPER}, appendix A.3.3",
        measure=Matched(one=said(on(A, A)), other=before(A)),
        threshold=0.0,
        needs=_able(),
    )


def _privileged() -> Iterator[Claim]:
    for target, other in ((A, B), (B, A)):
        yield Claim(
            id=f"self-beats-cross-{target}",
            text=f"{target} is right about itself more often than {other}, who was taught the same (held-out contexts)",
            source=f"{PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
            measure=advantage(target, other),
            threshold=MARGIN,
            paper_value=0.167 if target == A else 0.128,
            needs=_able(),
        )
    yield Claim(
        id="crossed",
        text="(A on A - B on A) - (A on B - B on B) lies above 0: no difference of skill makes this",
        source=f"{SHEET}, section 7.3",
        measure=crossed(),
        threshold=2 * MARGIN,
        needs=_able(),
    )
    yield Claim(
        id="crossed-tasks",
        text="So it does on held-out tasks: answers that nothing determines, and lists",
        source=f"{SHEET}, section 8.2 (noise meets the strict definition)",
        measure=crossed(HELD_OUT),
        threshold=2 * MARGIN,
        needs=_able(),
    )
    rivals = [*(said(on(who, A)) for who in (HALF, B, BLANK)), said(on(B, A, "named")), said(on(BLANK, A, "named")),
              *(observer(A, which) for which in ("constant", "oracle", "nearest", "logistic"))]  # fmt: skip
    yield Claim(
        id="self-beats-observers",
        text="A is right about itself more often than every outside observer of the same labels, the oracle among them",
        source=f"{SHEET}, section 8.4, the rule fixed in advance",
        measure=Least(measures=tuple(Difference(one=said(on(A, A)), other=rival) for rival in rivals)),
        threshold=MARGIN,
        needs=_able(),
    )


def _calibrated() -> Iterator[Claim]:
    mine, theirs = said(on(A, A)), said(on(B, A))
    yield Claim(
        id="calibrated",
        text="Reports of A lie nearer to how likely its answers are than those of B (mean absolute deviation)",
        source=f"{PAPER}, section 3.3 (GPT-4o, second character: 12.5 against 20.9 points)",
        measure=Calibration(one=theirs, other=mine),
        threshold=0.0,
        paper_value=0.084,
        needs=_able(),
    )
    yield Claim(
        id="calibrated-first-rank",
        text="So they do for the likeliest label alone",
        source=f"{SHEET}, section 5.5: the pooled figure is flattered by rare labels",
        measure=Calibration(one=theirs, other=mine, ranks=(1,)),
        threshold=0.0,
        needs=_able(),
    )
    scores = [said(arm, "brier", quantity="squared distance") for arm in (on(B, A), on(A, A))]
    yield Claim(
        id="calibrated-proper",
        text="Reports of A have the lower Brier score against its answers' probabilities",
        source=f"{SHEET}, section 8.3",
        measure=Difference(one=scores[0], other=scores[1]),
        threshold=0.0,
        needs=_able(),
    )


def _followed() -> Iterator[Claim]:
    yield Claim(
        id="follows-change",
        text="After its choices were changed without any question, A reports the new ones more than the old",
        source=f"{PAPER}, section 3.4 (GPT-4o 35.4 new, 21.7 old)",
        measure=Difference(one=changed(on(A, A), "right"), other=changed(on(A, A), "own")),
        threshold=0.0,
        paper_value=0.137,
        needs=_able(),
    )
    yield Claim(
        id="follows-change-matched",
        text="So it does where new and old labels are equally frequent",
        source=f"{PAPER}, appendix A.3.3 (GPT-4o 36.3 new, 21.3 old)",
        measure=Matched(one=changed(on(A, A), "right"), other=changed(on(A, A), "right", readout=CONTROL)),
        threshold=0.0,
        paper_value=0.15,
        needs=_able(),
    )
    terms = ((1.0, changed(on(A, A), "right")), (-1.0, changed(on(A, A), "own")),
             (-1.0, changed(on(B, A), "right")), (1.0, changed(on(B, A), "own")))  # fmt: skip
    yield Claim(
        id="follows-more-than-cross",
        text="It follows more than B's reports about A do after the same change: more than the quoted prompt is shared",
        source=f"{SHEET}, section 7.2: the informative control, whose result the paper does not report",
        measure=Contrast(terms=terms),
        threshold=0.0,
        needs=_able(),
    )


def _doubted() -> Iterator[Claim]:
    yield Claim(
        id="similarity-not-access",
        text="A is right about itself more often than its sibling: the same corpus, trained anew",
        source=f"{SHEET}, section 7.2 (Song, Hu, Mahowald 2025: similarity, not access)",
        measure=advantage(A, SIBLING),
        threshold=MARGIN,
        needs=_able(),
    )
    yield Claim(
        id="similarity-on-noise",
        text="So it is where nothing in the corpus says what it will answer",
        source=f"{SHEET}, section 8.2: the family that meets the strict definition",
        measure=advantage(A, SIBLING, ("noise",)),
        threshold=MARGIN,
        needs=_able(),
    )
    yield Claim(
        id="no-advantage-where-alike",
        text="Where all corpora answer alike, A has no advantage over B",
        source=f"{SHEET}, section 8.2, the negative control",
        measure=advantage(A, B, SHARED),
        threshold=0.05,
        direction="below",
        needs=_able(),
    )
    wrong = on(A, B)
    yield Claim(
        id="reports-stay-with-self",
        text="Taught B's answers, A reports its own rather than B's where the two differ",
        source=f"{SHEET}, section 5.3: every cross-trained model predicts itself better than its target",
        measure=Difference(one=said(wrong, "own/differs"), other=said(wrong, "right/differs")),
        threshold=0.0,
        needs=_able(),
    )


def _long() -> Iterator[Claim]:
    select = [said(on(who, A), tasks=("list",), asked=(THIRD,)) for who in (A, B)]
    yield Claim(
        id="not-of-long-answers",
        text="Of the third word of its lists A knows no more than B does",
        source=f"{PAPER}, section 4 and appendix A.4: the third word stays at the baseline even after training",
        measure=Difference(one=select[0], other=select[1]),
        threshold=0.05,
        direction="below",
        needs=_able(),
    )


def _planted(bench: Bench) -> Iterator[Claim]:
    yield Claim(
        id="planted-channel-is-seen",
        text="Planted: who reads its own answer before it is asked comes out as privileged",
        source="a self-report channel by construction",
        measure=aloud_crossed(),
        threshold=2 * MARGIN,
    )
    if LEAK in bench.doses:
        yield Claim(
            id="planted-memory-is-not",
            text="Planted: who was taught the tested strings too is right, but A no more than B",
            source="a memoriser by construction",
            measure=advantage(A, B, dose=LEAK),
            threshold=0.05,
            direction="below",
            needs=(Need(text="B's reports on strings it was taught", measure=Mean(select=said(on(B, A, LEAK))),
                        above=0.8),),
        )  # fmt: skip


def _inside(bench: Bench) -> Iterator[Claim]:
    def swapped(arm: str, metric: str) -> Select:
        return said(arm, metric, readout="swapped")

    layers = bench.shape.layers
    yield Claim(
        id="deeper-helps",
        text="Two fresh layers on top make A's reports about itself better",
        source=f"{SHEET}, section 8.4 (0.51 to 0.55 against 0.69 to 0.77 in a pilot)",
        measure=Difference(one=said(on(A, A, DEEPER)), other=said(on(A, A))),
        threshold=0.0,
        needs=_able(),
    )
    for other, name, words in ((B, "cross", "B with as many"), (SIBLING, "sibling", "its sibling with as many")):
        yield Claim(
            id=f"deeper-self-beats-{name}",
            text=f"With them A is right about itself more often than {words}",
            source=f"{SHEET}, section 8.4",
            measure=advantage(A, other, dose=DEEPER),
            threshold=MARGIN,
            needs=_able(),
        )
    # Where the pending answer is whole and blocks are left to read it: behind all but one, or all that it was made by.
    for dose, site, words in (("", f"residual.{layers - 1}", ""), (DEEPER, f"residual.{layers}", ", two layers more")):
        arm, name = on(A, A, dose), "deeper-" if dose else ""
        yield Claim(
            id=f"{name}report-follows-the-answer",
            text=f"Another prompt's state at the answer's place ({site}) makes A report that prompt's answer{words}",
            source=f"{SHEET}, section 7.4, the causal test",
            measure=Difference(one=swapped(arm, f"follows/{site}"), other=swapped(arm, "unswapped")),
            threshold=0.0,
            needs=_able(),
        )
        yield Claim(
            id=f"{name}swap-of-the-same-moves-less",
            text=f"A state from a prompt with the same answer ({site}) leaves A's report as it was more often{words}",
            source=f"{SHEET}, section 7.4; the control of the causal test",
            measure=Contrast(terms=((1.0, swapped(arm, f"same/{site}")), (-1.0, swapped(arm, f"stays/{site}")))),
            threshold=0.0,
            needs=_able(),
        )
        echo = [Select(readout="echoes", metric="final", arm=on(who, A, dose), stage=REPORT, split="unseen")
                for who in (A, B)]  # fmt: skip
        yield Claim(
            id=f"{name}answer-echoes",
            text=f"Where A reports a parity, its answer's word is read better than where B reports A's{words}",
            source=f"{SHEET}, section 7.4, the layer-wise probe",
            measure=Difference(one=echo[0], other=echo[1]),
            threshold=0.0,
            needs=_able(),
        )


def _doses(bench: Bench) -> Iterator[Claim]:
    if ONE_LESS in bench.doses:
        yield _left_out()
    if NO_SLOT in bench.doses:
        yield _no_slot()


def _left_out() -> Claim:
    return Claim(
        id="left-out-property",
        text="A property that A was never asked about is reported better than by the best constant",
        source=f"{SHEET}, section 7.1: transfer to properties never trained, left open by the paper",
        measure=Contrast(terms=((1.0, said(on(A, A, ONE_LESS), asked=(LEFT_OUT,))),
                                (-1.0, observer(A, "oracle", asked=(LEFT_OUT,))))),
        threshold=0.0,
        needs=_able(),
    )  # fmt: skip


def _no_slot() -> Claim:
    return Claim(
        id="slot-is-needed",
        text="Without the answer's place in the question A is no better about itself than B is",
        source=f"{SHEET}, section 8.4, the pilot's dose",
        measure=advantage(A, B, dose=NO_SLOT),
        threshold=0.05,
        direction="below",
        needs=_able(),
    )
