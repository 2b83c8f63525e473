"""Which readings the study biographies speaks of, and what must hold before it speaks at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.measures import Claim, Difference, Mean, Need, Select
from nosce.studies.biographies.arms import (
    BEST,
    BY_WORDS,
    CONTROL_PLACES,
    FINETUNE,
    MINORITY_PLACES,
    MINORITY_PROBE,
    TASK,
    Bench,
    learnt_from,
)
from nosce.study import PRETRAIN

#: Attributes of which neither the first sentence's shortcut nor company city's prior makes a special case
#: (the sheet's acceptance test, section 11.4).
FOUR = ("birth_city", "university", "major", "company")
FIVE = (*FOUR, "company_city")  # those with so few values that a probe can tell them whole


def asked(arm: str, facets: tuple[str, ...] = ()) -> Select:
    """Exact answers about people whose questions were never trained on."""
    return Select(readout="questions", arm=arm, split="unseen", facets=facets, stage=FINETUNE)


def asked_mixed(arm: str, facets: tuple[str, ...] = ()) -> Select:
    """The same of a model that met questions about others in its first training."""
    return Select(readout="questions", arm=arm, split="unseen", facets=facets, stage=PRETRAIN)


def guessed(arm: str) -> Select:
    """The majority guess on the same questions."""
    return Select(readout="majority", arm=arm, split="unseen", stage=PRETRAIN)


def gap(one: str, other: str, facets: tuple[str, ...] = ()) -> Difference:
    """How much better one arm answers about unseen people than another."""
    return Difference(one=asked(one, facets), other=asked(other, facets))


def recalled(arm: str) -> Select:
    """Values recalled whole inside the biographies after pretraining."""
    return Select(readout="recall", arm=arm, stage=PRETRAIN)


def known(arm: str, split: Literal["seen", "unseen"] | None = None) -> Need:
    """Extraction is judged only where the facts were memorised (the sheet's pitfall 10)."""
    select = replace(recalled(arm), split=split)
    return Need(text=f"attribute recall of {arm}", measure=Mean(select=select), above=0.95)


def known_by_words(arm: str) -> Need:
    """What a model that sees both ways has learnt by heart: each token of a value, the others standing beside it."""
    select = Select(readout=BY_WORDS, arm=arm, stage=PRETRAIN)
    return Need(text=f"words of values recalled by {arm}", measure=Mean(select=select), above=0.90)


def memorised(arm: str) -> Claim:
    """Attribute values are recalled inside the biographies."""
    return Claim(
        id=f"memorised/{arm}",
        text=f"{arm}: attribute values are recalled inside the biographies",
        source="remark C.1: well over 99",
        measure=Mean(select=recalled(arm)),
        threshold=0.95,
        paper_value=0.99,
    )


def at_first(arm: str) -> Select:
    """What P-probing reads before the first value of a text; that value itself is no evidence in a fixed order."""
    return Select(readout="p-probe", arm=arm, metric="first/0", stage=PRETRAIN, facets=FIVE)


def at_first_guessed(arm: str) -> Select:
    """The most frequent class at the same place."""
    return Select(readout="p-probe", arm=arm, metric="first/0/constant", stage=PRETRAIN, facets=FIVE)


def from_name(arm: str, part: str = "first", readout: str = "q-probe") -> Select:
    """What Q-probing reads from the name alone."""
    return Select(readout=readout, arm=arm, metric=part, stage=PRETRAIN)


def minority(arm: str) -> Select:
    """What Q-probing reads of the minority."""
    return from_name(arm, readout=MINORITY_PROBE)


def minority_at_first(arm: str) -> Select:
    """What P-probing reads of the minority before the first value of their text."""
    return replace(at_first(arm), readout=MINORITY_PLACES)


def control(bench: Bench) -> Select:
    """What Q-probing from as many people as it learns the minority from reads where all can be asked for."""
    people = bench.minority // 2
    return from_name(BEST, readout="q-probe" if people == bench.world.people // 2 else learnt_from(people))


def control_at_first() -> Select:
    """What P-probing from as many people and texts reads there before the first value."""
    return replace(at_first(BEST), readout=CONTROL_PLACES)


def sees(bench: Bench, how: str, read: Select) -> Need:
    """A probe that learns from as few as that of the minority sees what can surely be asked for."""
    beyond = Difference(one=read, other=replace(read, metric=f"{read.metric}/constant"))
    text = f"what {how} of {bench.minority // 2:,} people reads in {BEST} beyond a guess"
    return Need(text=text, measure=beyond, above=0.15)


def told(arm: str, facet: str, readout: str = "questions") -> Select:
    """Replies to a task about people of whom none was taught."""
    return Select(readout=readout, arm=arm, split="unseen", facets=(facet,), stage=TASK)
