"""The figures of the study biographies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.emergence.scaling_curve import Scaling, along_training
from nosce.analysis.figures import Bars, Cell, Chart, Columns, Curves, Lines, Point, Rungs
from nosce.analysis.measures import Mean, Measure, Select
from nosce.analysis.training_curves import Curve
from nosce.data.worlds.biographies.world import ATTRIBUTES
from nosce.studies.biographies.arms import (
    BEST,
    BY_WORDS,
    FAMOUS,
    FINETUNE,
    NAMED,
    ONE_ORDER,
    PAIR,
    SHARES,
    SINGLE,
    WORDINGS,
    Bench,
    cheap,
    learnt_from,
    masked,
    mixed,
    prose,
    taught,
    tried,
)
from nosce.studies.biographies.selections import (
    asked,
    asked_mixed,
    control,
    control_at_first,
    from_name,
    guessed,
    minority,
    minority_at_first,
    recalled,
    told,
)
from nosce.study import PRETRAIN

UNSEEN = Select(readout="questions", split="unseen", stage=FINETUNE)
NAME, PLACE = "read from the name, first token", "read before the first value, first token"
OVER = "Intervals over people and training seeds."
NEVER = f"People of whom no question was ever trained. {OVER}"


def of_rows(rows: tuple[str, ...], exposures_per_step: float) -> tuple[Chart, ...]:
    """Accuracy per attribute against the majority guess, and how recall and extraction come about."""
    return (
        Bars(
            id="accuracy",
            title="Questions about unseen people, by attribute",
            caption="Exact match of the whole answer after fine-tuning on questions about the other half of the "
            "people; bars are 95 % intervals over people and seeds, dashes the most frequent answer.",
            y_label="exact match",
            select=UNSEEN,
            baseline=Select(readout="majority", split="unseen", stage=PRETRAIN),
            arms=rows,
        ),
        Curves(
            id="recall",
            title="Memorising: recall inside the biographies, over pretraining",
            caption="Share of attribute values that are recalled whole, given all that stands before them.",
            x_label="times each person was met",
            y_label="values recalled",
            panels=(("", Select(readout="recall", stage=PRETRAIN, step="every")),),
            per_step=exposures_per_step,
            arms=rows,
        ),
        Curves(
            id="finetuning",
            title="Extracting: questions, over fine-tuning",
            caption="Exact match on questions that are trained on, and on those about people never asked about before.",
            x_label="optimizer steps of fine-tuning",
            y_label="exact match",
            panels=(
                ("people asked about in training", replace(UNSEEN, split="seen", step="every")),
                ("people never asked about", replace(UNSEEN, step="every")),
            ),
            arms=rows,
        ),
    )


def figures(bench: Bench) -> tuple[Chart, ...]:
    """All of them."""
    first = of_rows(bench.rows, bench.per_step)
    probes: tuple[Chart, ...] = (_staircase(), _names(bench), _against(bench), *_people(bench), _layers(bench))
    doses = (_mixed_doses(bench),
             _dose("wordings", "texts of each person, worded and shuffled anew", WORDINGS, "log"),
             _dose("shuffled", "share of five wordings in shuffled order", SHARES, "linear"))  # fmt: skip
    return (_all(bench), *first, _order(bench), *probes, _celebrities(bench), _masked(bench),
            _masked_knows(bench), *doses, _recipes(bench),
            _tasks(bench), _capacity(bench))  # fmt: skip


def scalings(bench: Bench) -> tuple[Scaling, ...]:
    """Recall over training of each row, and extraction along the number of texts."""
    return (*of_recall(bench.rows, bench.row(SINGLE).recipe.kept, bench.per_step),
            Scaling(id="extraction-by-wordings", title="Extraction along the number of texts",
                    x_label="texts of each person",
                    points=tuple((float(dose), arm) for dose, arm in WORDINGS.items()),
                    sharp=replace(UNSEEN, arm=None),
                    continuous=(replace(UNSEEN, metric="nats", quantity="nats"),),
                    # A person's score is a mean over six attributes, of which no likelihood is the product.
                    log_likelihood=False))  # fmt: skip


def of_recall(rows: tuple[str, ...], kept: tuple[int, ...], per_step: float) -> tuple[Scaling, ...]:
    """Recall of what is read, over training."""
    return tuple(
        along_training(
            f"recall-{row}", f"Recall of what is read, {row}", row, kept, per_step,
            Select(readout="recall", stage=PRETRAIN),
            Select(readout="recall", metric="nats", stage=PRETRAIN, quantity="nats"), x_label="exposures",
        )
        for row in rows
    )  # fmt: skip


def _bars(id: str, title: str, caption: str, y_label: str, cells: Iterator[tuple[str, str, Measure, str, bool]],
          **more: str) -> Columns:  # fmt: skip
    found = tuple(Cell(tick, group, measure, panel=panel, baseline=base) for tick, group, measure, panel, base in cells)
    return Columns(id=id, title=title, caption=caption, y_label=y_label, cells=found, **more)  # type: ignore[arg-type]


def _all(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        rows = dict.fromkeys((*bench.rows, *WORDINGS.values(), *SHARES.values(), *bench.couples,
                              *map(prose, bench.prose)))  # fmt: skip
        for row in rows:
            yield row, "recalled in the texts", Mean(select=recalled(row)), "", False
            yield row, "asked about unseen people", Mean(select=asked(row)), "", False
            if row in bench.mixed:
                yield row, "asked, questions mixed in", Mean(select=asked_mixed(mixed(row))), "", False
            yield row, "majority guess", Mean(select=guessed(row)), "", True

    return _bars("rows", "Memorised, and extractable?",
                 "Rows of the paper's table, doses, couples, and texts in free prose. Recall is of everybody, "
                 f"questions of people never asked about. {OVER}", "exact match", cells())  # fmt: skip


def _order(bench: Bench) -> Lines:
    arm = mixed(SINGLE)
    every = {"stage": PRETRAIN, "arm": arm, "metric": "first", "step": "every"}
    lines = tuple(
        (f"{what} of {whom}", Curve(select=Select(readout=readout, split=split, **every)))  # type: ignore[arg-type]
        for what, readout in (("questions", "questions"), ("biographies", "recall"))
        for whom, split in (("people asked about", "seen"), ("the others", "unseen"))
    )
    recipe = next(a.recipe for a in bench.arms if a.name == arm)
    return Lines(id="mixed", title="Questions among the biographies from the first step: what is learnt when?",
                 caption="First-token accuracy inside biographies and in questions, for people whose questions are "
                 "trained on and for the others. One wording a person.",
                 x_label="times each person was met", y_label="first token right", panels=(("", lines),),
                 per_step=(bench.exposures_mixed or bench.exposures) / recipe.steps, arm=arm)  # fmt: skip


def _staircase() -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for arm in PAIR:
            for facet in reversed(ATTRIBUTES):  # the first stands at the bottom
                for place in range(len(ATTRIBUTES)):
                    select = Select(
                        readout="p-probe", arm=arm, metric=f"first/{place}", facets=(facet,), stage=PRETRAIN
                    )
                    yield f"{place}", facet.replace("_", " "), Mean(select=select), arm, False

    return _bars("p-probe", "Where in a biography can which value be read?",
                 "First-token accuracy (%) of probes with a rank-2 update of the input embedding, at the place right "
                 "before each value in reading order; values already told are left out. Tested on people whom no probe "
                 "was trained on.", "", cells(), kind="matrix", x_label="values told before")  # fmt: skip


def _names(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for row in (*bench.rows, *map(masked, bench.both_ways)):
            for part, panel in (("first", "first token"), ("whole", "whole value (no birth dates)")):
                yield row, "read from the name", Mean(select=from_name(row, part)), panel, False
                yield row, "most frequent class", Mean(select=from_name(row, f"{part}/constant")), panel, True

    return _bars("q-probe", "What can be read from the name alone?",
                 "Probes with a rank-16 update of the input embedding, behind the name between two end tokens. "
                 f"{NEVER}",
                 "accuracy", cells())  # fmt: skip


def _against(bench: Bench) -> Rungs:
    points = tuple(Point(Mean(select=from_name(row)), row, Mean(select=asked(row))) for row in bench.rows)
    return Rungs(id="probe-against-questions", title="Does the probe tell what can be asked?",
                 caption="What Q-probing reads from the name (first tokens) against exact answers after fine-tuning, "
                 f"row by row. {NEVER}", x_label="read from the name", y_label="asked, exact match", points=points,
                 x_scale="linear")  # fmt: skip


def _people(bench: Bench) -> Iterator[Rungs]:
    """None where Q-probing learns from one number of people alone."""
    if not bench.few_people:
        return
    points = []
    for few in (*bench.few_people, bench.world.people // 2):
        readout = "q-probe" if few == bench.world.people // 2 else learnt_from(few)
        for part, what in (("first", "first token"), ("whole", "whole value (no birth dates)")):
            for metric, group in ((part, "read from the name"), (f"{part}/constant", "most frequent class")):
                points.append(Point(float(few), group, Mean(select=from_name(BEST, metric, readout)), panel=what))
    yield Rungs(id="probe-people", title="Do probes see less because they learn from few?",
                caption=f"Q-probing of {BEST} by how many people it learns from, all else equal; "
                f"as many others are read. {OVER}", x_label="people a probe learns from",
                y_label="accuracy", points=tuple(points), x_scale="log")  # fmt: skip


def _layers(bench: Bench) -> Rungs:
    sites = [*(f"residual.{number}" for number in range(bench.shape.layers)), "final"]
    points = []
    for arm in PAIR:
        for x, site in enumerate(sites):
            probe = Select(readout=cheap(site), arm=arm, metric="first", stage=PRETRAIN)
            points.append(Point(float(x), "read from the name, rank 0", Mean(select=probe), panel=arm))
            for which, group in (("whole", "answer follows the name's states"), ("last", "... its last state alone")):
                moved = Select(readout="renamed", metric=f"{which}/follows/{site}", arm=arm, stage=FINETUNE)
                points.append(Point(float(x), group, Mean(select=moved), panel=arm))
    return Rungs(id="layers", title="Read, and used?",
                 caption="By layer: first tokens read from the name's end by probes that update nothing (rank "
                 "0), and how often the answer becomes a donor's where the states of the name are exchanged for "
                 f"theirs. {NEVER}", x_label="blocks passed", y_label="share", points=tuple(points),
                 x_scale="linear")  # fmt: skip


def _celebrities(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for facet in ATTRIBUTES:
            tick = facet.replace("_", " ")
            for arm, group in ((ONE_ORDER, "alone"), (FAMOUS, "with celebrities")):
                yield tick, group, Mean(select=asked(arm, (facet,))), "questions", False
                probe = replace(minority(arm), facets=(facet,))
                yield tick, group, Mean(select=probe), NAME, False
                place = replace(minority_at_first(arm), facets=(facet,))
                yield tick, group, Mean(select=place), PLACE, False
                if arm == FAMOUS:
                    for read, panel in ((control(bench), NAME), (control_at_first(), PLACE)):
                        yield tick, f"control: {BEST}", Mean(select=replace(read, facets=(facet,))), panel, False
                if arm == ONE_ORDER:
                    for read, panel in ((probe, NAME), (place, PLACE)):
                        constant = replace(read, metric=f"{read.metric}/constant")
                        yield tick, "most frequent", Mean(select=constant), panel, True
            yield tick, "most frequent", Mean(select=replace(guessed(ONE_ORDER), facets=(facet,))), "questions", True

    return _bars("celebrities", "Do others' biographies help those who have but one?",
                 "People told of in one text: alone (questions about half of them trained), and among celebrities told "
                 "of in five shuffled wordings (questions about celebrities alone trained). Controls are probes that "
                 f"learn from as many people and texts of a row that can be asked about. {NEVER}", "accuracy",
                 cells())  # fmt: skip


def _masked(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for facet in ATTRIBUTES:
            tick = facet.replace("_", " ")
            for row in bench.both_ways:
                yield tick, f"{masked(row)}, fine-tuned", Mean(select=asked(masked(row), (facet,))), "", False
            both = masked(mixed(NAMED))
            yield tick, both, Mean(select=asked_mixed(both, (facet,))), "", False
            yield tick, f"causal {BEST}, fine-tuned", Mean(select=asked(BEST, (facet,))), "", False
            yield tick, "majority guess", Mean(select=replace(guessed(BEST), facets=(facet,))), "", True

    return _bars("both-ways", "A model that sees both ways",
                 "Words masked and to be told, fine-tuned on answers masked whole, or mixed; the length of an answer "
                 f"is given away. {NEVER}", "exact match", cells())  # fmt: skip


def _masked_knows(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        both = masked(mixed(NAMED))
        for arm in (*map(masked, bench.both_ways), both):
            trained = asked_mixed(arm) if arm == both else asked(arm)
            if arm != both:
                words = Select(readout=BY_WORDS, arm=arm, stage=PRETRAIN)
                yield arm, "words of values, all others shown", Mean(select=words), "", False
            yield arm, "values whole", Mean(select=recalled(arm)), "", False
            yield arm, "questions that were trained on", Mean(select=replace(trained, split="seen")), "", False
            yield arm, "questions about others", Mean(select=trained), "", False

    return _bars("both-ways-knows", "What a model that sees both ways has by heart",
                 "Each word of a value hidden by itself, which is what it was trained on; all words of a value "
                 f"hidden at once; and questions. {OVER}", "exact match", cells())  # fmt: skip


def _dose(id: str, x_label: str, doses: dict[int, str] | dict[float, str], scale: str) -> Rungs:
    points = []
    for dose, arm in doses.items():
        for split, group in (("seen", "people asked about in training"), ("unseen", "people never asked about")):
            select = replace(UNSEEN, split=split, arm=arm)  # type: ignore[arg-type]
            points.append(Point(float(dose), group, Mean(select=select)))
        points.append(Point(float(dose), "recalled in the texts", Mean(select=recalled(arm))))
    return Rungs(id=id, title=f"Dose: {x_label}", caption=f"Exact match after fine-tuning. {OVER}", x_label=x_label,
                 y_label="exact match", points=tuple(points), x_scale=scale)  # type: ignore[arg-type] # fmt: skip


def _mixed_doses(bench: Bench) -> Rungs:
    points = []
    for same_steps, panel in ((False, "every person met as often"), (True, "as many steps")):
        arms = [(dose.questions, mixed(SINGLE, dose)) for dose in bench.doses if dose.same_steps == same_steps]
        for share, arm in [*arms, (bench.questions, mixed(SINGLE))] if arms else []:
            measures = (("questions about people never asked about", asked_mixed(arm)),
                        ("recalled in the texts", recalled(arm)))  # fmt: skip
            points += [Point(share, group, Mean(select=select), panel=panel) for group, select in measures]
    return Rungs(id="questions-mixed", title="Dose: share of questions among the biographies of one wording",
                 caption="Exact match at the end of mixed training, one training seed but for the largest share. More "
                 "questions mean more texts where every "
                 f"person is met as often, and fewer meetings where there are as many steps. {OVER}",
                 x_label="share of texts that are questions", y_label="exact match", points=tuple(points),
                 x_scale="linear")  # fmt: skip


def _recipes(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for row, recipes in bench.tries:
            for how in ("as the rows", *(how for how, _, _ in recipes)):
                arm = row if how == "as the rows" else tried(row, how)
                yield how, "people asked about", Mean(select=replace(asked(arm), split="seen")), row, False
                yield how, "people never asked about", Mean(select=asked(arm)), row, False
                yield how, "majority guess", Mean(select=guessed(row)), row, True

    return _bars("recipes", "Other recipes of fine-tuning",
                 f"Rates and decay of all weights, or ranks of updates of query, value and embedding. {OVER}",
                 "exact match", cells())  # fmt: skip


def _tasks(bench: Bench) -> Columns:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for task, hints in bench.tasks:
            arm, tick = taught(task, hints=hints > 0), task.replace("_", " ")
            group = "taught with hints, asked without" if hints else "taught and asked without a hint"
            yield tick, group, Mean(select=told(arm, task)), "", False
            if hints:
                yield tick, "asked with a hint", Mean(select=told(arm, f"{task}/hint")), "", False
            else:
                yield tick, "most frequent reply", Mean(select=told(arm, task, "majority")), "", True

    return _bars("tasks", "What else can be done with what is known?",
                 f"Tasks taught after {BEST}; a reply with a hint is right if hint and answer are. {NEVER}",
                 "exact match", cells())  # fmt: skip


def _capacity(bench: Bench) -> Curves:
    return Curves(
        id="capacity",
        title="Bits of knowledge in a weight",
        caption="The formula of Part 3.3, of each person's first text; what a weight could hold at most (2 bits) is "
        "far away, since there are few people. Learning rates fall along one schedule, which only the last point has "
        "behind it.",
        x_label="times each person was met",
        y_label="bits a weight",
        panels=(("", Select(readout="capacity", metric="bits_per_weight", stage=PRETRAIN, step="every",
                            quantity="bits")),),
        per_step=bench.per_step,
        arms=bench.rows,
    )  # fmt: skip
