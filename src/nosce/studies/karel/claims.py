"""What would refute which claim of the study karel, and what decides it."""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.measures import Claim, Contrast, Difference, Least, Mean, Need, Room, Select
from nosce.analysis.training_curves import Peak, Phases, Together
from nosce.models.architecture import Architecture
from nosce.studies.karel.selections import (
    ALTERNATIVES,
    COMMONEST,
    CORRECT,
    DISTINCT,
    ORIGINAL,
    OTHER,
    PERPLEXITY,
    SHARP,
    bits,
    content,
    programs,
    states,
)


def claims(model: Architecture) -> tuple[Claim, ...]:
    """Claims 1 to 6 of the sheet's section 1, and what the paper did not test."""
    writes = Need(text="generative accuracy", measure=Mean(select=programs()), above=0.5)
    return (*_writing(writes), *_states(writes), *_meanings(model, writes), *_course())


def _writing(writes: Need) -> tuple[Claim, ...]:
    """What it writes: right programs, shorter than the authors'."""
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
    )  # fmt: skip


def _states(writes: Need) -> tuple[Claim, ...]:
    """What is read in its hidden states, against what could be read without them."""
    return (
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
        *(_future(feature) for feature in ("direction", "position")),
        Claim(
            id="selective",
            text="The probe of position is better at states than at labels that can only be memorised",
            source="Hewitt and Liang 2019; not in the paper",
            measure=Difference(one=states("position", 0), other=states("position", 0, "memorised/1")),
            threshold=0.0,
            needs=(writes,),
        ),
    )  # fmt: skip


def _meanings(model: Architecture, writes: Need) -> tuple[Claim, ...]:
    """The words' own meaning against others, and whether states are used."""
    return (
        *(_intervened(meaning, writes) for meaning in ALTERNATIVES),
        Claim(
            id="shorter-code",
            text="Hidden states save more bits in telling rows moved by the words' own meaning than by alt3",
            source="Voita and Titov 2020; not in the paper",
            measure=Difference(one=bits("rows"), other=bits("rows", SHARP)),
            threshold=0.0,
            needs=(writes,),
        ),
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
    )  # fmt: skip


def _course() -> tuple[Claim, ...]:
    """How all that comes about over training."""
    return (
        Claim(
            id="rises-with-accuracy",
            text="Semantic content and generative accuracy rise together over training",
            source="section 3: R² 0.878",
            measure=Together(one=content(), other=CORRECT),
            threshold=0.5,
            paper_value=0.878,
        ),
        Claim(
            id="rises-with-accuracy-fixed",
            text="Semantic content on one fixed set of programs rises with generative accuracy",
            source="section 3; the fixed set is ours: content on a checkpoint's own programs moves with the programs",
            measure=Together(one=content(readout="fixed"), other=CORRECT),
            threshold=0.5,
        ),
        Claim(
            id="rises-with-accuracy-detrended",
            text="Their changes from checkpoint to checkpoint go together too",
            source="no detrending in the paper",
            measure=Together(one=content(), other=CORRECT, detrended=True, quantity="r"),
            threshold=0.0,
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
