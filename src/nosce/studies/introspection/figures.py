"""The figures of the study introspection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.calibration import Calibrated, Calibration, Detectable
from nosce.analysis.emergence.scaling_curve import Scaling
from nosce.analysis.figures import Cell, Chart, Columns, Point, Rungs
from nosce.analysis.measures import Became, Difference, Mean, Measure, Select
from nosce.studies.introspection.arms import (
    ASKED,
    BLANK,
    CHANGE,
    CHANGED,
    CHOICE,
    DEEPER,
    HALF,
    HELD_OUT,
    LADDER,
    LEFT_OUT,
    ON_BASE,
    ONE_LESS,
    REPORT,
    SHARED,
    SIBLING,
    TABLE,
    TARGETS,
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

UNSEEN = "Strings that nobody was taught anything about; intervals over strings and training seeds."
SETS = (("tables", TABLE), ("choices", CHOICE), ("held-out tasks", HELD_OUT), ("all alike", SHARED))
OTHERS = {A: B, B: A}
NAMES = {SIBLING: "sibling: same corpus, trained anew", HALF: "half alike", B: "another corpus",
         BLANK: "no dispositions", A: "itself"}  # fmt: skip


def figures(bench: Bench) -> tuple[Chart, ...]:
    """All of them."""
    common = (_self_and_cross(), _four(), _ladder(), _calibration(), _deviation(), _change(), _properties())
    inside = (_swaps(bench), _echoes(bench), _able(bench))
    return (*common, *_doses(bench), *inside, _invalid(), _detectable())


def scalings(bench: Bench) -> tuple[Scaling, ...]:
    """Reports along the number of labels taught: of the model itself, and of another."""
    return tuple(
        Scaling(id=f"labels-{name}", title=f"Reports about A along the labels taught, {group}",
                x_label="different labels taught",
                points=(*((float(n), on(who, A, f"{n} labels")) for n in bench.amounts),
                        (float(bench.labels_at_most), on(who, A))),
                sharp=replace(said(A), arm=None),
                continuous=(replace(said(A, "nats", quantity="nats"), arm=None),), log_likelihood=False)
        for who, name, group in ((A, "self", "by itself"), (B, "cross", "by another corpus"))
    )  # fmt: skip


def _invalid() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGETS:
            for who in TARGETS:
                none = Select(readout="unanswered", metric="invalid", arm=on(who, target), stage=REPORT)
                yield on(who, target), "answers that are none", Mean(select=none), "", False
                free = Became(select=said(on(who, target), "free"), outcome="invalid")
                yield on(who, target), "reports that are none", free, "", False
        for who in TARGETS:
            after = f"{on(who, A)}, changed"
            none = Select(readout="unanswered", metric="invalid", arm=on(who, A), stage=CHANGE)
            yield after, "answers that are none", Mean(select=none), "", False
            free = Became(select=said(on(who, A), "free", CHOICE, readout=CHANGED, stage=CHANGE), outcome="invalid")
            yield after, "reports that are none", free, "", False

    return Columns(id="invalid", title="Answers and reports that are none",
                   caption="Of answers, a share of all prompts; of reports as they are written, of the questions. "
                   "About an answer that is none nothing is asked, so that both together cannot be.",
                   y_label="share", cells=_cells(rows()))  # fmt: skip


def _cells(rows: Iterator[tuple[str, str, Measure, str, bool]]) -> tuple[Cell, ...]:
    return tuple(Cell(tick, group, measure, panel=panel, baseline=base) for tick, group, measure, panel, base in rows)


def _self_and_cross() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGETS:
            panel, other = f"about {target}", OTHERS[target]
            for tick, tasks in SETS:
                yield tick, "itself, untaught", Mean(select=before(target, tasks)), panel, False
                yield tick, "itself", Mean(select=said(on(target, target), tasks=tasks)), panel, False
                yield tick, "the other", Mean(select=said(on(other, target), tasks=tasks)), panel, False
                yield tick, "most frequent label taught", Mean(select=observer(target, "constant", tasks)), panel, True

    return Columns(id="self-and-cross", title="Who knows what it would answer?",
                   caption=f"Reports of properties of answers, both taught the same labels. {UNSEEN}",
                   y_label="reports that are right", cells=_cells(rows()))  # fmt: skip


def _four() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for target in TARGETS:
            mine, theirs = on(target, target), on(OTHERS[target], target)
            four = {"it on itself untaught": said(mine, readout=ON_BASE), "it on itself": said(mine),
                    "the other on it": said(theirs), "the other on the other": said(theirs, "own")}  # fmt: skip
            for tick, select in four.items():
                yield tick, f"about {target}", Mean(select=select), "", False

    return Columns(id="four-accuracies", title="Four accuracies",
                   caption="The same reports held against the answers before and after training, and the other's "
                   f"reports against its own answers. Tables. {UNSEEN}",
                   y_label="reports that agree", cells=_cells(rows()))  # fmt: skip


def _ladder() -> Rungs:
    points = [
        Point(Mean(select=said(on(who, A), "agree")), NAMES[who], Mean(select=said(on(who, A)))) for who in LADDER
    ]
    points += [Point(x, which, Mean(select=observer(A, which)), baseline=True)
               for which in ("constant", "oracle", "nearest", "logistic") for x in (0.0, 1.0)]  # fmt: skip
    return Rungs(id="observers", title="Access, or likeness?",
                 caption="Who predicts A, by how often its own answers have the same property. Lines: observers of the "
                 f"same labels without a model. Tables. {UNSEEN}",
                 x_label="agreement of own answers with A's", y_label="reports that are right", points=tuple(points),
                 x_scale="linear")  # fmt: skip


def _calibration() -> Calibrated:
    return Calibrated(
        id="calibration", title="Do reports say how likely an answer is?",
        caption="Probability of a label among A's answers and in the report, ten bins, the three likeliest labels; "
        "answers' probabilities are exact, over all continuations. Tables, unseen strings, all seeds.",
        curves=(("itself", said(on(A, A))), ("another corpus", said(on(B, A))), ("itself, untaught", before(A))),
    )  # fmt: skip


def _deviation() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        sides = {"itself": said(on(A, A)), "sibling": said(on(SIBLING, A)), "another corpus": said(on(B, A)),
                 "itself, untaught": before(A)}  # fmt: skip
        for group, select in sides.items():
            yield "three likeliest", group, Calibration(one=select), "", False
            for rank, tick in enumerate(("1st", "2nd", "3rd"), 1):
                yield tick, group, Calibration(one=select, ranks=(rank,)), "", False
        for group in ("itself", "another corpus"):
            yield "by 20 draws", group, Calibration(one=sides[group], answers="drawn"), "", False

    return Columns(id="deviation", title="Mean absolute deviation, by rank",
                   caption="How far reports' probabilities lie from the answers', pooled and by rank of the label; "
                   "with shares of 20 draws instead of exact probabilities their noise comes on top. Lower is better.",
                   y_label="deviation", cells=_cells(rows()))  # fmt: skip


def _change() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for arm, tick in ((on(A, A), "A about itself"), (on(B, A), "B about A, the same change")):
            for metric, group in (("own/differs", "old answers"), ("right/differs", "new answers")):
                yield tick, group, Mean(select=changed(arm, metric.partition("/")[0])), "", False

    return Columns(id="change", title="After the choices were changed",
                   caption="Reports of choices whose property changed when A learnt another corpus's choices, of pairs "
                   "that no test is about; B was taught A's labels and then the same choices.",
                   y_label="reports that agree", cells=_cells(rows()))  # fmt: skip


def _properties() -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for asked in ASKED:
            yield asked, "itself", Mean(select=said(on(A, A), asked=(asked,))), "", False
            yield asked, "another corpus", Mean(select=said(on(B, A), asked=(asked,))), "", False
            yield asked, "best constant", Mean(select=observer(A, "oracle", asked=(asked,))), "", True

    return Columns(id="properties", title="Property by property", caption=f"About A, tables. {UNSEEN}",
                   y_label="reports that are right", cells=_cells(rows()))  # fmt: skip


def _doses(bench: Bench) -> tuple[Chart, ...]:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for dose in ("", "named", DEEPER, *(dose for dose in bench.doses if dose != ONE_LESS)):
            tick = dose or "as it is"
            yield tick, "itself", Mean(select=said(on(A, A, dose))), "", False
            yield tick, "another corpus", Mean(select=said(on(B, A, dose))), "", False
            yield tick, "best constant", Mean(select=observer(A, "oracle")), "", True
        for dose in (ONE_LESS,) if ONE_LESS in bench.doses else ():
            for who, group in ((A, "itself"), (B, "another corpus")):
                yield dose, group, Mean(select=said(on(who, A, dose), asked=(LEFT_OUT,))), "", False
            yield dose, "best constant", Mean(select=observer(A, "oracle", asked=(LEFT_OUT,))), "", True

    doses = Columns(id="doses", title="What it hangs on",
                    caption="About A, tables; all but the first three of one seed. With a leak the tested strings were "
                    f"taught too; of one property left out only that one is asked. {UNSEEN}",
                    y_label="reports that are right", cells=_cells(rows()))  # fmt: skip
    points = [Point(float(n), group, Mean(select=said(on(who, A, f"{n} labels"))))
              for who, group in ((A, "itself"), (B, "another corpus")) for n in bench.amounts]  # fmt: skip
    points += [Point(float(bench.labels_at_most), group, Mean(select=said(on(who, A))))
               for who, group in ((A, "itself"), (B, "another corpus"))]  # fmt: skip
    amounts = Rungs(id="amounts", title="How many labels?",
                    caption=f"About A, tables; fewer than all of one seed; equal steps. {UNSEEN}",
                    x_label="different labels taught", y_label="reports that are right",
                    points=tuple(points))  # fmt: skip
    return doses, amounts


def _swaps(bench: Bench) -> Rungs:
    names = {on(A, A): "A about itself", on(B, A): "B about A", on(A, A, DEEPER): "A about itself, 2 layers more"}
    words = {"moved": "pending answer is the donor's", "follows": "report is of the donor's answer",
             "same": "unmoved by a donor with the same answer"}  # fmt: skip

    def select(arm: str, metric: str) -> Select:
        return said(arm, metric, readout="swapped")

    return Rungs(
        id="swaps", title="Another prompt's state at the answer's place",
        caption="Replaced at one layer, while the question stays. B's pending answers are its own. Tables.",
        x_label="layer", y_label="share", x_scale="linear",
        points=tuple(Point(float(layer), words[metric], Mean(select=select(arm, f"{metric}/residual.{layer}")),
                           panel=panel)
                     for arm, panel in names.items() for metric in words
                     for layer in range(_depth(bench, arm))),
    )  # fmt: skip


def _depth(bench: Bench, arm: str) -> int:
    """Layers of an arm."""
    return bench.shape.layers + (bench.fresh_layers if DEEPER in arm else 0)


def _echoes(bench: Bench) -> Rungs:
    names = {on(A, A): "A about itself", on(B, A): "B about A", on(A, A, DEEPER): "A about itself, 2 layers more"}

    def select(arm: str, metric: str) -> Select:
        return Select(readout="echoes", metric=metric, arm=arm, stage=REPORT, split="unseen")

    return Rungs(
        id="echoes", title="A's answer, read where its parity is reported",
        caption="A linear probe for the answer's word at the end of a question that asks for its parity, by layer; "
        "taught on seen strings, tested on others. Dashed: taught with words dealt out anew.",
        x_label="layer", y_label="words read right", x_scale="linear",
        points=tuple(Point(float(layer), f"{words}{tail}", Mean(select=select(arm, f"{kind}residual.{layer}")),
                           baseline=base)
                     for arm, words in names.items() for layer in range(_depth(bench, arm))
                     for kind, tail, base in (("", "", False), ("shuffled/", ", dealt anew", True))),
    )  # fmt: skip


def _able(bench: Bench) -> Columns:
    def rows() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for who in LADDER:
            for kind, tick in (("given", "properties of given answers"), ("fact", "facts"), ("table", "its table"),
                               ("choice", "its choices"), ("rule", "its rule"), ("list", "its lists")):  # fmt: skip
                if who != BLANK or kind in ("given", "fact"):
                    yield tick, f"{who}", known(who, kind), "", False

    return Columns(id="able", title="What each knows before it is asked about anybody",
                   caption="Self minus cross says something only where these are equal. Strings of the corpus itself.",
                   y_label="known", cells=_cells(rows()))  # fmt: skip


def _detectable() -> Columns:
    measures: dict[str, Measure] = {
        "A: itself - other": advantage(A, B), "B: itself - other": advantage(B, A), "crossed": crossed(),
        "crossed, held-out tasks": crossed(HELD_OUT), "A: itself - sibling": advantage(A, SIBLING),
        "all alike": advantage(A, B, SHARED), "2 layers more": advantage(A, B, dose=DEEPER),
        "calibration": Calibration(one=said(on(B, A)), other=said(on(A, A))),
        "new - old choices": Difference(one=changed(on(A, A), "right"), other=changed(on(A, A), "own")),
        "planted: aloud, crossed": aloud_crossed(),
    }  # fmt: skip
    cells = [Cell(tick, "found", measure) for tick, measure in measures.items()]
    cells += [Cell(tick, "least that would be seen", Detectable(measure=measure), baseline=True)
              for tick, measure in measures.items()]  # fmt: skip
    return Columns(id="detectable", title="What was found, and the least that would have been",
                   caption="Dashes: the difference that an interval as wide as this one excludes from 0 four times in "
                   "five. The planted channel is who reads its own answer first.",
                   y_label="difference of shares (1 is all)", unit="number", cells=tuple(cells))  # fmt: skip
