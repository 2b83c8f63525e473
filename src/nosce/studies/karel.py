"""Does a model that only reads programs come to hold what they do?

Jin and Rinard 2024, "Emergent Representations of Program Semantics in Language Models Trained on Programs"
(arXiv:2305.11169). A model learns to continue specifications, input and output boards of a small robot, with
programs that nobody has commented. Probes then look in its hidden states for the states of the program it is
writing; the same probes look for what the words would mean otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nosce.curves import Peak, Phases, Together
from nosce.errors import UsageError
from nosce.measures import Claim, Contrast, Difference, Least, Mean, Need, Room, Select
from nosce.models.families import Architecture, size
from nosce.read.edits import Edits
from nosce.read.readouts import Questions
from nosce.read.states import FLOORS, Grid, States
from nosce.read.written import Constant, Written
from nosce.studies._karel_figures import figures
from nosce.studies._karel_readings import (
    ALTERNATIVES,
    COMMONEST,
    CORRECT,
    DISTINCT,
    FEATURES,
    OFFSETS,
    ORIGINAL,
    OTHER,
    PERPLEXITY,
    SHARP,
    bits,
    content,
    programs,
    states,
)
from nosce.study import Arm, Read, Scale, Study
from nosce.train.recipe import Recipe
from nosce.worlds.karel.judging import Interpreter
from nosce.worlds.karel.language import OPERATIONS
from nosce.worlds.karel.world import Karel


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    world, model, recipe, hidden = _sizes(scale)
    seeds = (0,) if scale in ("smoke", "paper") else (0, 1, 2)
    arms = tuple(
        Arm(name=name, world=replace(world, meaning=meaning), model=model, recipe=recipe, tokenizer=world.tokenizer)
        for name, meaning in ((ORIGINAL, "original"), (OTHER, SHARP))
    )
    return Study(
        name="karel",
        title="Meaning in models of programs",
        question="Does a model that only reads programs come to hold what they do?",
        paper="arXiv:2305.11169",
        scale=scale,
        unit="specification",
        arms=arms,
        seeds=seeds,
        reads=tuple(read for arm in arms for read in reads(arm, hidden, epochs=6 if scale == "smoke" else 60)),
        claims=claims(model),
        figures=figures(recipe.batch, model.layers, world.asked_lengths[1], seeds),
    )


def reads(arm: Arm, hidden: int, epochs: int) -> tuple[Read, ...]:
    """What is asked of an arm's checkpoints: programs, their states, the references' likelihood, a floor."""
    assert isinstance(arm.world, Karel)
    judge = Interpreter(world=arm.world, most=min(14, arm.world.lengths[1] + 4))
    small = (hidden,)
    how: dict[str, Any] = {"tracer": judge, "features": FEATURES, "epochs": epochs}
    shapes = ((), small, (hidden, 2 * hidden))
    few = Grid(offsets=(0, 1), probes=(small,))
    more = Grid(offsets=(0, 1), meanings=("original", *ALTERNATIVES), probes=(small,), floors=FLOORS, controls=True,
                codes=True, floored=("original", SHARP))  # fmt: skip
    of = (arm.name,)
    if arm.name == OTHER:
        return (
            Read(Written(judge=judge), arms=of),
            Read(States(last=more, **how), arms=of),
        )
    layers = tuple(f"residual.{number}" for number in range(arm.model.layers))  # type: ignore[union-attr]
    return (
        Read(Written(judge=judge), arms=of),
        Read(Written(judge=judge, masked=False, name="free"), arms=of),
        Read(Constant(judge=judge), arms=of),
        Read(Questions(), arms=of),
        Read(States(last=more, along=few, walks=4, **how), arms=of),
        Read(States(last=few, along=few, fixed=True, name="fixed", **how), arms=of),
        Read(
            States(
                **how,
                last=Grid(offsets=OFFSETS, meanings=("original", "flip", SHARP), probes=shapes),
                name="grid",
            ),
            arms=of,
        ),
        Read(
            States(
                **how,
                last=Grid(meanings=("original",), probes=(small,), sites=(*layers, "final")),
                name="layers",
            ),
            arms=of,
        ),
        Read(
            Edits(editor=judge, features=("direction", "rows", "cols", "front"), vocabulary=OPERATIONS,
                  sites=(*layers[1:], "final")),
            arms=of,
        ),
    )  # fmt: skip


def above_floors(feature: str, offset: int, floors: tuple[str, ...] = ("constant", "bag/1", "untrained/1")) -> Least:
    """How much better a state is read from the trained model than from the best of what knows nothing of it."""
    trained = states(feature, offset)
    return Least(measures=tuple(Difference(one=trained, other=states(feature, offset, floor)) for floor in floors))


def intervention(meaning: str, feature: str = "position", offset: int = 0, arm: str = ORIGINAL) -> Contrast:
    """Original minus its constant, minus the other meaning minus its own; that of the untrained model taken away."""
    terms = []
    for source, sign in (("mean/1", 1.0), ("untrained/1", -1.0)):
        for of, way in (("original", sign), (meaning, -sign)):
            terms += [
                (way, states(feature, offset, source, of, arm)),
                (-way, states(feature, offset, "constant", of, arm)),
            ]
    return Contrast(terms=tuple(terms))


def claims(model: Architecture) -> tuple[Claim, ...]:
    """Claims 1 to 6 of the sheet's section 1, and what the paper did not test."""
    writes = Need(text="generative accuracy", measure=Mean(select=programs()), above=0.5)
    return (
        Claim(
            id="writes-programs",
            text="The model writes programs that do what an unseen specification shows",
            source="abstract: 92.4 % (first version: 96.4)",
            measure=Mean(select=programs()),
            threshold=0.80,
            paper_value=0.924,
        ),
        Claim(
            id="above-one-program",
            text="It is right more than three times as often as the best single program",
            source="the sheet, section 10",
            measure=Contrast(terms=((1.0, programs()), (-3.0, replace(programs(), readout="constant")))),
            threshold=0.0,
        ),
        *(_floors(feature, offset, writes) for feature in ("position", "front") for offset in (0, 1)),
        Claim(
            id="content-rises",
            text="On one fixed set of programs, position is read better at the end of training than before it",
            source="section 3; the fixed set is ours",
            measure=Contrast(terms=((1.0, states("position", 0, readout="fixed")),
                                    (-1.0, states("position", 0, readout="fixed", step=0)))),
            threshold=0.0,
            needs=(writes,),
        ),
        Claim(
            id="rises-with-accuracy",
            text="Semantic content and generative accuracy rise together over training",
            source="section 3: R² 0.878",
            measure=Together(one=content(), other=CORRECT),
            threshold=0.5,
            paper_value=0.878,
        ),
        Claim(
            id="rises-with-accuracy-detrended",
            text="Their changes from checkpoint to checkpoint go together too",
            source="no detrending in the paper",
            measure=Together(one=content(), other=CORRECT, detrended=True, quantity="r"),
            threshold=0.0,
        ),
        *(_future(feature) for feature in ("direction", "position")),
        *(_intervened(meaning, writes) for meaning in ALTERNATIVES),
        Claim(
            id="own-meaning-wins",
            text="In a model trained on re-assigned data its own labels take up more of the room above the constant",
            source="the sheet, section 9: the symmetric test",
            measure=Room(one=states("position", 0, meaning=SHARP, arm=OTHER),
                         floor=states("position", 0, "constant", SHARP, OTHER),
                         other=states("position", 0, arm=OTHER),
                         others_floor=states("position", 0, "constant", arm=OTHER)),
            threshold=0.0,
            needs=(Need(text="its generative accuracy", measure=Mean(select=programs(arm=OTHER)), above=0.5),),
        ),
        *(_used(edit, against, model) for edit, against in (("swap", "other"), ("gradient", "random"))),
        Claim(
            id="selective",
            text="The probe of position is better at states than at labels that can only be memorised",
            source="Hewitt and Liang 2019; not in the paper",
            measure=Difference(one=states("position", 0), other=states("position", 0, "memorised/1")),
            threshold=0.0,
            needs=(writes,),
        ),
        Claim(
            id="shorter-code",
            text="Hidden states save more bits in telling rows moved by the words' own meaning than by alt3",
            source="Voita and Titov 2020; not in the paper",
            measure=Difference(one=bits("rows"), other=bits("rows", SHARP)),
            threshold=0.0,
            needs=(writes,),
        ),
        Claim(
            id="shorter",
            text="It writes shorter programs than those it has learnt from",
            source="section 5: 1.60 against 2.47 operations (first version)",
            measure=Mean(select=programs("longer")),
            threshold=0.0,
            direction="below",
            paper_value=-0.87,
            needs=(writes,),
        ),
        Claim(
            id="perplexity-stays",
            text="The authors' programs stay surprising: more than half a nat a token",
            source="section 5, figure 6b, plotted only",
            measure=Mean(select=replace(PERPLEXITY.select, step="last")),
            threshold=0.5,
            needs=(writes,),
        ),
        Claim(
            id="babbling",
            text="At some checkpoint nearly every specification gets the same program",
            source="phases: one fixed program at 20 % of training",
            measure=Peak(curve=COMMONEST),
            threshold=0.95,
        ),
        Claim(
            id="syntax-before-semantics",
            text="Programs become diverse before they become right",
            source="phases: a quarter of training lies between",
            measure=Phases(first=DISTINCT, second=CORRECT),
            threshold=0.0,
            paper_value=0.25,
        ),
    )  # fmt: skip


def _used(edit: str, against: str, model: Architecture) -> Claim:
    site = f"residual.{(model.layers + 1) // 2}"  # the middle one; figures show all
    found, floor = (Select(readout="edits", metric=f"{kind}/{site}", arm=ORIGINAL) for kind in (edit, against))
    how = "a swap" if edit == "swap" else "a move along a probe's gradient"
    beside = "one with the same words for another specification" if edit == "swap" else "a random move as far"
    return Claim(
        id=f"used-{edit}",
        text=f"A hidden state given another state by {how} makes the next word right for it, more than {beside}",
        source="not in the paper; the sheet, section 9",
        measure=Difference(one=found, other=floor),
        threshold=0.0,
    )


def _floors(feature: str, offset: int, writes: Need) -> Claim:
    when = "the state that the next operation leads to" if offset == 0 else "the state one operation further"
    return Claim(
        id=f"{feature}{offset:+d}",
        text=f"{feature.capitalize()} in {when} is read above every floor",
        source="section 3; floors: constant, start and bag of operations, untrained network",
        measure=above_floors(feature, offset),
        threshold=0.0,
        needs=(writes,),
    )


def _future(feature: str) -> Claim:
    known = " given the present"
    return Claim(
        id=f"future-{feature}",
        text=f"Where the present is read, the coming {feature} is read better than the present tells",
        source="section 3: direction 68.4 against 62.2 (first version)",
        measure=Difference(one=states(feature, 1, also=known), other=states(feature, 1, "present/1", also=known)),
        threshold=0.0,
        paper_value=0.062 if feature == "direction" else None,
    )


def _intervened(meaning: str, writes: Need) -> Claim:
    return Claim(
        id=f"intervention-{meaning}",
        text=f"Position by the words' own meaning is read better than by {meaning}, more so than without training",
        source="section 4, in order only: original above flip above adversarial",
        measure=intervention(meaning),
        threshold=0.0,
        needs=(writes,),
    )


def _sizes(scale: Scale) -> tuple[Karel, Architecture, Recipe, int]:
    """World, model, recipe and width of the probes' hidden layers, by scale (the sheet, section 10)."""
    micro = Karel(inner=(3, 3), shown=2, hidden=3, lengths=(2, 6), asked_lengths=(1, 6))
    fast = Recipe(steps=1, batch=128, optimizer="muon", matrix_lr=0.02, peak_lr=5e-3, given_weight=0.2, dtype="auto")
    match scale:
        case "smoke":
            world = replace(micro, records=2_560, probed=150, tests=100)
            return world, size("2x64"), replace(fast, steps=20, checkpoints=_looks(5)), 16
        case "laptop":
            world = replace(micro, records=256_000, probed=4_000, tests=1_000)
            return world, size("3x96"), replace(fast, steps=2_000, checkpoints=_looks(25)), 64
        case "gpu":
            world = Karel(records=2_560_000, probed=10_000, tests=5_000)
            recipe = Recipe(steps=10_000, batch=256, peak_lr=6e-4, given_weight=1.0, dtype="bfloat16", warmup=500,
                            checkpoints=_looks(20))  # fmt: skip
            return world, replace(size("8x384"), positions=512), recipe, 256
        case "paper":
            world = Karel(records=1_000_000, probed=60_000, tests=10_000, encoding="official")
            model = Architecture(family="codegen", layers=20, width=1_024, heads=16, positions=2_048, tied=False)
            recipe = Recipe(steps=80_000, batch=39, peak_lr=5e-6, warmup=6_000, weight_decay=0.0, floor=0.0,
                            window=2_048, given_weight=1.0, dtype="bfloat16", clip=1e9,
                            checkpoints=_looks(20))  # fmt: skip
            return world, model, recipe, 256
    raise UsageError(f"karel has no scale {scale!r}; take smoke, laptop, gpu or paper.")


def _looks(count: int) -> tuple[float, ...]:
    """Fractions of a training at which it is looked at, its beginning included."""
    return tuple(float(f) for f in np.linspace(0, 1, count + 1).round(4))
