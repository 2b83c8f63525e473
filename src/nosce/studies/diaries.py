"""Does a model know how much it knows?

Prato et al. 2024, "Do Large Language Models Know How Much They Know?" (arXiv:2502.19573). Invented people keep
diaries of some number of entries; every entry is a document of its own, or all of a person's are one. Asked for
everything that somebody wrote, a model must recite all of it and stop. In work: decoder-only models, two arms.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.charts import Cell, Columns, Curves, Lines
from nosce.curves import Curve
from nosce.errors import UsageError
from nosce.measures import Claim, Contrast, Difference, Mean, Need, Select
from nosce.models.families import Architecture, size
from nosce.read.readouts import Recall
from nosce.read.written import Written
from nosce.study import Arm, Read, Scale, Study
from nosce.train.recipe import Recipe
from nosce.worlds.diaries import Diaries
from nosce.worlds.diaries.judging import FAULTS, Reader

SCATTERED, MERGED = "scattered", "merged"  # arms: a document an entry, or one a diarist
TRAINED = "trained"  # the read-out of questions that were trained on


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    world, model, recipe, questions = _sizes(scale)
    arms = tuple(
        Arm(name=name, world=replace(world, merged=name == MERGED), model=model, recipe=recipe,
            tokenizer=world.tokenizer, questions=questions)
        for name in (SCATTERED, MERGED)
    )  # fmt: skip
    judge = Reader(world=world)
    return Study(
        name="diaries",
        title="How much is known",
        question="Does a model know how much it knows?",
        paper="arXiv:2502.19573",
        scale=scale,
        unit="diarist",
        arms=arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        reads=(
            Read(Recall()),
            Read(Written(judge=judge, masked=False)),
            Read(Written(judge=judge, masked=False, split="validation", name="validation")),
            Read(Written(judge=judge, masked=False, split="seen", name=TRAINED)),
        ),
        claims=claims(world),
        figures=figures(world, float(recipe.batch)),
    )


def recited(arm: str, metric: str = "exact", readout: str = "written", step: str = "last") -> Select:
    """What became of the diaries that were asked for."""
    plain = "share" if metric in ("exact", "count", "content") or metric.startswith("fault") else "entries"
    return Select(readout=readout, metric=metric, arm=arm, step=step, quantity=plain)  # type: ignore[arg-type]


def claims(world: Diaries) -> tuple[Claim, ...]:
    """What the paper says of the two set-ups, as far as one model size goes (the sheet, section 6)."""
    low, high = world.entries
    guess = 1 / (high - low + 1)
    learnt = Need(
        text="trained questions answered", measure=Mean(select=recited(SCATTERED, readout=TRAINED)), above=0.9
    )
    return (
        *(
            Claim(
                id=f"{arm}-trained",
                text=f"The {arm} model answers the questions that it was trained on",
                source="no number in the reports; without it nothing can be said of others",
                measure=Mean(select=recited(arm, readout=TRAINED)),
                threshold=0.9,
            )
            for arm in (SCATTERED, MERGED)
        ),
        Claim(
            id="merged-easier",
            text="What stands in one document is recalled whole more often than what is scattered over several",
            source="figures 2 and 3: in every family and size",
            measure=Difference(one=recited(MERGED), other=recited(SCATTERED)),
            threshold=0.0,
            needs=(learnt,),
        ),
        Claim(
            id="content-before-count",
            text="Entries that are recalled are right more often than their number is",
            source="the analysis of recalled against target count",
            measure=Contrast(terms=((1.0, recited(SCATTERED, "content")), (-1.0, recited(SCATTERED, "count")))),
            threshold=0.0,
            needs=(learnt,),
        ),
        Claim(
            id="count-known",
            text="The number of entries is right more often than a blind guess",
            source="figures 5 and 6: at sufficient scale",
            measure=Mean(select=recited(SCATTERED, "count")),
            threshold=guess,
            needs=(learnt,),
        ),
        Claim(
            id="recalled-whole",
            text="More than half of the scattered diaries of people never asked about are recalled whole",
            source="figure 2: at sufficient scale",
            measure=Mean(select=recited(SCATTERED)),
            threshold=0.5,
            needs=(learnt,),
        ),
    )  # fmt: skip


def figures(world: Diaries, batch: float) -> tuple[Lines | Columns | Curves, ...]:
    """What is recalled over training, by how many entries there are, and what goes wrong first."""
    numbers = range(world.entries[0], world.entries[1] + 1)
    arms = (SCATTERED, MERGED)
    return (
        Lines(
            id="training",
            title="Recalling whole diaries over training",
            caption="Of people whose question was trained on, and of people who were never asked about.",
            x_label="texts met",
            y_label="recalled whole",
            per_step=batch,
            panels=tuple(
                (panel, tuple((arm, Curve(select=recited(arm, readout=readout, step="every"))) for arm in arms))
                for panel, readout in (("asked about in training", TRAINED), ("never asked about", "written"))
            ),
        ),
        Columns(
            id="by-number",
            title="Recalled whole, by the number of entries",
            caption="Share of diaries of people who were never asked about that are recalled whole.",
            y_label="recalled whole",
            x_label="entries",
            cells=tuple(
                Cell(str(n), arm, Mean(select=replace(recited(arm), facets=(_facet(n),))))
                for n in numbers
                for arm in arms
            ),
        ),
        Columns(
            id="faults",
            title="What goes wrong first",
            caption="Share of replies about people who were never asked about, by the class of the first wrong unit.",
            y_label="share of replies",
            cells=tuple(Cell(name, arm, Mean(select=recited(arm, f"fault/{name}"))) for name in FAULTS for arm in arms),
        ),
    )


def _facet(number: int) -> str:
    from nosce.worlds.diaries.world import entries_of

    return entries_of(number)


def _sizes(scale: Scale) -> tuple[Diaries, Architecture, Recipe, float]:
    """World, model, recipe and the share of questions, by scale (the sheet, section 8)."""
    small = Diaries(encoding="lean", entries=(1, 4), attributes=(1, 3), offered=4, values=8, names=(64, 64))
    fast = Recipe(steps=1, batch=64, optimizer="muon", matrix_lr=0.02, peak_lr=5e-3, given_weight=1.0, dtype="auto",
                  checkpoints=(0.0, 0.25, 0.5, 0.75, 1.0))  # fmt: skip
    match scale:
        case "smoke":
            return replace(small, diarists=120), size("2x64"), replace(fast, steps=60), 0.25
        case "laptop":
            return replace(small, diarists=2_048), size("3x128"), replace(fast, steps=6_000), 0.1
    raise UsageError(f"diaries has no scale {scale!r} yet; take smoke or laptop.")
