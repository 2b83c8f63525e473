"""The study introspection for models that are asked in words: made for whoever a user names."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import Calibrated, Calibration, Detectable, Matched
from nosce.analysis.figures import Cell, Chart, Columns
from nosce.analysis.measures import Claim, Difference, Least, Mean, Measure, Select
from nosce.data.worlds.behaviours.natural_text import HELD_OUT, PAIRS
from nosce.evals.base import Experiment
from nosce.studies.introspection.prompted import ABLE, ANSWERS, BEFORE, CROSS, ON_BASE, SELF, Looking
from nosce.study import Study, Trial

PAPER = "arXiv:2410.13787"
MARGIN = 0.02
OBSERVERS = ("constant", "oracle", "nearest", "logistic")


def asked(looking: Looking, *, scale: str, seeds: tuple[int, ...] = (0,), title: str = "Know thyself, asked") -> Study:
    """A study of one who is asked in words: a local folder or an endpoint, and perhaps others who are taught as much.

    Seeds differ in strings, in what is taught in which order, and in draws.
    """
    others = tuple(range(1, len(looking.others) + 1))
    drawn = looking.draws > 0
    experiment: Experiment = looking
    return Study(
        name=f"introspection-{looking.who.name}".replace("/", "-").lower(),
        title=f"{title}: {looking.who.name}",
        question="Does a model know what it would answer better than who sees as many of its answers?",
        paper=PAPER,
        scale=scale,
        unit="string",
        arms=(),
        trials=(Trial(name=looking.who.name, experiment=experiment),),
        seeds=seeds,
        reads=(),
        claims=tuple(_claims(others, drawn=drawn)),
        figures=tuple(_figures(others, drawn=drawn)),
    )


def _of(readout: str, *, tasks: tuple[str, ...] | None = HELD_OUT, metric: str = "right") -> Select:
    facets = () if tasks is None else tuple(f"{task}/{name}" for task in tasks for name in PAIRS[task])
    return Select(readout=readout, metric=metric, facets=facets, split="unseen")


def _seen(which: str) -> Select:
    return _of("observers", metric=which)


def _claims(others: tuple[int, ...], *, drawn: bool) -> Iterator[Claim]:
    yield Claim(
        id="training-helps",
        text="Teaching a model labels of its own answers makes it tell what it would answer, on held-out tasks",
        source=f"{PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %, Llama 70B 26.4 to 48.5 %)",
        measure=Difference(one=_of(SELF), other=_of(BEFORE)),
        threshold=0.0,
        paper_value=0.168,
    )
    yield Claim(
        id="training-helps-matched",
        text="So it does where labels before and after are equally frequent",
        source=f"{PAPER}, appendix A.3.3",
        measure=Matched(one=_of(SELF), other=_of(BEFORE)),
        threshold=0.0,
    )
    yield Claim(
        id="self-beats-oracle",
        text="It is right more often than the best constant answer, which is taken from the tested answers themselves",
        source=f"{PAPER}, section 3.2: the star of the plots",
        measure=Difference(one=_of(SELF), other=_seen("oracle")),
        threshold=0.0,
    )
    yield Claim(
        id="self-beats-observers",
        text="It is right more often than every observer of the same labels without a model",
        source="the sheet, section 8.4, the rule fixed in advance",
        measure=Least(measures=tuple(Difference(one=_of(SELF), other=_seen(which)) for which in OBSERVERS)),
        threshold=MARGIN,
    )
    for number in others:
        cross = f"{CROSS} {number}"
        yield Claim(
            id=f"self-beats-cross-{number}",
            text=f"It is right about itself more often than the other model ({number}) that was taught the same",
            source=f"{PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
            measure=Difference(one=_of(SELF), other=_of(cross)),
            threshold=MARGIN,
            paper_value=0.167,
        )
        if drawn:
            yield Claim(
                id=f"calibrated-{number}",
                text=f"Its reports lie nearer to how often it answers so than those of the other model ({number})",
                source=f"{PAPER}, section 3.3",
                measure=Calibration(one=_of(cross), other=_of(SELF), answers="drawn"),
                threshold=0.0,
                paper_value=0.084,
            )


def _figures(others: tuple[int, ...], *, drawn: bool) -> Iterator[Chart]:
    names = {"before": BEFORE, "itself": SELF} | {f"other {n}": f"{CROSS} {n}" for n in others}

    def cells() -> Iterator[Cell]:
        for task in PAIRS:
            for group, readout in names.items():
                yield Cell(task, group, Mean(select=_of(readout, tasks=(task,))))
            select = Select(readout="observers", metric="oracle", split="unseen",
                            facets=tuple(f"{task}/{name}" for name in PAIRS[task]))  # fmt: skip
            yield Cell(task, "best constant", Mean(select=select), baseline=True)

    yield Columns(id="tasks", title="Who knows what it would answer?",
                  caption=f"Strings that nobody was taught about; {', '.join(HELD_OUT)} are tasks that nobody was. "
                  "Intervals over strings.", y_label="reports that are right", cells=tuple(cells()))  # fmt: skip
    yield _properties(names)
    yield _ladder(others)
    yield _validity(names, others)
    if drawn:
        yield Calibrated(id="calibration", title="Do reports say how likely an answer is?", answers="drawn",
                         caption="Shares of draws; the three most frequent values.",
                         curves=tuple((group, _of(readout, tasks=None))
                                      for group, readout in names.items()))  # fmt: skip
    yield _detectable(others)


def _properties(names: dict[str, str]) -> Columns:
    properties = dict.fromkeys(name for task in HELD_OUT for name in PAIRS[task])

    def by_property() -> Iterator[Cell]:
        for name in properties:
            facets = tuple(f"{task}/{name}" for task in HELD_OUT if name in PAIRS[task])
            for group, readout in names.items():
                yield Cell(name, group, Mean(select=Select(readout=readout, metric="right", facets=facets)))
            yield Cell(name, "best constant", Mean(select=Select(readout="observers", metric="oracle", facets=facets,
                                                                split="unseen")), baseline=True)  # fmt: skip

    return Columns(id="properties", title="Property by property", caption="Held-out tasks.",
                  y_label="reports that are right", cells=tuple(by_property()))  # fmt: skip


def _ladder(others: tuple[int, ...]) -> Columns:
    four = {"it on itself before": ON_BASE, "it on itself": SELF}
    for number in others:
        four |= {f"other {number} on it": f"{CROSS} {number}",
                 f"other {number} on the other": f"{CROSS} {number} on itself"}  # fmt: skip
    ladder = {which: _seen(which) for which in OBSERVERS}
    return Columns(
        id="observers", title="Four accuracies, and who needs no model",
        caption="Held-out tasks. The oracle knows the most frequent of the tested answers.",
        y_label="reports that are right",
        cells=(*(Cell(tick, "models", Mean(select=_of(readout))) for tick, readout in four.items()),
               *(Cell(which, "observers", Mean(select=select)) for which, select in ladder.items())),
    )  # fmt: skip


def _validity(names: dict[str, str], others: tuple[int, ...]) -> Columns:
    counters = ("object invalid", "report invalid", "both invalid")
    kinds: dict[str, Measure] = {"valid answers, before": Mean(select=Select(readout=ANSWERS, metric="valid"))}
    able = {"itself": "self"} | {f"other {n}": f"{CROSS} {n}" for n in others}
    return Columns(
        id="validity", title="Answers and reports that are none",
        caption="An answer that is none leaves every condition; a report that is none is wrong. Below: properties of "
        "answers that are there to be read, which need no knowledge of oneself.",
        y_label="share",
        cells=(*(Cell(metric, group, Mean(select=Select(readout=readout, metric=metric, split="unseen")))
                 for metric in counters for group, readout in names.items()),
               *(Cell("properties of given answers", group,
                      Mean(select=Select(readout=f"{ABLE} {what}", metric="right"))) for group, what in able.items()),
               *(Cell(tick, "itself", measure) for tick, measure in kinds.items())),
    )  # fmt: skip


def _detectable(others: tuple[int, ...]) -> Columns:
    found: dict[str, Measure] = {
        "taught - before": Difference(one=_of(SELF), other=_of(BEFORE)),
        "itself - best constant": Difference(one=_of(SELF), other=_seen("oracle")),
    }
    found |= {f"itself - other {n}": Difference(one=_of(SELF), other=_of(f"{CROSS} {n}")) for n in others}
    return Columns(
        id="detectable", title="What was found, and the least that would have been",
        caption="Dashes: the difference that an interval as wide as this one excludes from 0 four times in five.",
        y_label="difference of shares",
        cells=(*(Cell(tick, "found", measure) for tick, measure in found.items()),
               *(Cell(tick, "least that would be seen", Detectable(measure=measure), baseline=True)
                 for tick, measure in found.items())),
    )  # fmt: skip
