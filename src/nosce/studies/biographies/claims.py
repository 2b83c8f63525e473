"""What the paper says, with the values of its figures (GPT2-small, 100,000 people) beside each claim."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.jackknife import Rows, Trend
from nosce.analysis.measures import Claim, Contrast, Difference, Least, Mean, Select
from nosce.studies.biographies.arms import (
    BEST,
    FAMOUS,
    NAMED,
    ONE_ORDER,
    SINGLE,
    SIX_ROWS,
    Bench,
    masked,
    mixed,
    taught,
    tried,
)
from nosce.studies.biographies.selections import (
    FOUR,
    asked,
    asked_mixed,
    at_first,
    at_first_guessed,
    control,
    control_at_first,
    from_name,
    gap,
    guessed,
    known,
    known_by_words,
    memorised,
    minority,
    minority_at_first,
    sees,
    told,
)
from nosce.study import PRETRAIN


def of_rows(rows: tuple[str, ...]) -> tuple[Claim, ...]:
    """Claims 2 and 3 of the sheet: what the wording of the text decides, in rows that are there."""
    multi = gap(BEST, SINGLE)
    found = (
        Claim(
            id="extraction-gap",
            text="Five shuffled wordings make knowledge extractable that one wording does not",
            source="Figure 3, mean of six: 96.6 - 9.7",
            measure=multi,
            threshold=0.15,
            paper_value=0.869,
            needs=(known(SINGLE), known(BEST)),
        ),
        Claim(
            id="single-near-chance",
            text="After one wording, unseen people are answered at most a little better than by guessing",
            source="Figure 3: 9.7 against a majority guess of 2.7",
            measure=Difference(one=asked(SINGLE), other=guessed(SINGLE)),
            threshold=0.10,
            direction="below",
            paper_value=0.07,
            needs=(known(SINGLE),),
        ),
        _gap("permute1-no-help", "Shuffling the sentences of the one text does not help by itself", ONE_ORDER, SINGLE,
             -0.053, "4.4 - 9.7", threshold=0.05, direction="below"),
        _gap("rewording-alone-helps", "Five wordings in one order lie above one wording", "multi5", SINGLE, 0.313,
             "41.0 - 9.7"),
        _gap("shuffling-on-top-helps", "Shuffled order on top of five wordings lies above five wordings alone", BEST,
             "multi5", 0.556, "96.6 - 41.0"),
        _gap("fullname-helps", "Saying the full name in every sentence helps, in one wording", "single+fullname",
             SINGLE, 0.392, "48.9 - 9.7"),
        _gap("orders-help", "Five orders of the same six sentences help where one order does not", "single+permute5",
             ONE_ORDER, 0.656, "70.0 - 4.4"),
        Claim(
            id="gap-on-four",
            text="The gap is 40 points or more on birth city, university, major and company",
            source="Figure 3, mean of four: 95.8 - 3.4",
            measure=gap(BEST, SINGLE, FOUR),
            threshold=0.40,
            paper_value=0.924,
            needs=(known(SINGLE), known(BEST)),
        ),
    )  # fmt: skip
    return (*(memorised(row) for row in rows), *(claim for claim in found if _arms_of(claim) <= set(rows)))


def claims(bench: Bench) -> tuple[Claim, ...]:
    """All of the sheet's section 1, and what is asked beyond the paper."""
    return (
        *of_rows(bench.rows),
        *_mixed(),
        _every_recipe(bench),
        *_probes(),
        *_celebrities(bench),
        *_masked(bench),
        *_beyond(),
    )


def _gap(id: str, text: str, one: str, other: str, paper: float, source: str, *, threshold: float = 0.0,
         direction: str = "above") -> Claim:  # fmt: skip
    return Claim(id=id, text=text, source=f"Figure 3: {source}", measure=gap(one, other), threshold=threshold,
                 direction=direction, paper_value=paper, needs=(known(other), known(one)))  # type: ignore[arg-type] # fmt: skip


def _arms_of(claim: Claim) -> set[str]:
    measure = claim.measure
    assert isinstance(measure, Difference)
    return {str(select.arm) for select in (measure.one, measure.other)}


def _mixed() -> Iterator[Claim]:
    """Claim 1: questions among the biographies from the first step."""
    arm = mixed(SINGLE)
    every = {"stage": PRETRAIN, "arm": arm, "metric": "first", "step": "every"}
    seen, unseen = ({name: Select(readout=name, split=split, **every) for name in ("questions", "recall")}  # type: ignore[arg-type]
                    for split in ("seen", "unseen"))  # fmt: skip
    yield Claim(
        id="mixed-extracts",
        text="Questions among the biographies make one wording extractable that fine-tuning leaves shut",
        source="Figure 3, single: 86.6 mixed - 9.7 fine-tuned",
        measure=Difference(one=asked_mixed(arm), other=asked(SINGLE)),
        threshold=0.15,
        paper_value=0.769,
        needs=(known(arm), known(SINGLE)),
    )
    yield Claim(
        id="order-questions-first",
        text="In mixed training, questions of the one half are learnt before their biographies",
        source="Figure 1b-c; mean first-token accuracy over training",
        measure=Difference(one=seen["questions"], other=seen["recall"]),
        threshold=0.0,
        needs=(known(arm),),
    )
    yield Claim(
        id="order-biographies",
        text="Biographies of people who are asked about are learnt before those of the others",
        source="Figure 1b-c; mean first-token accuracy over training, of unlike people",
        measure=Trend(points=((0.0, unseen["recall"]), (1.0, seen["recall"]))),
        threshold=0.0,
        needs=(known(arm),),
    )
    yield Claim(
        id="order-extraction-last",
        text="Questions of the other half come last, after their biographies",
        source="Figure 1b-c; mean first-token accuracy over training",
        measure=Difference(one=unseen["recall"], other=unseen["questions"]),
        threshold=0.0,
        needs=(known(arm),),
    )


def _every_recipe(bench: Bench) -> Claim:
    all_of = (SINGLE, *(tried(SINGLE, how) for how, _, _ in bench.recipes))
    return Claim(
        id="no-recipe-helps",
        text=f"None of {len(all_of)} fine-tunings lifts one wording more than 15 points above guessing",
        source="Figures 2 and 11, single, 124M: 5.7 to 10.5 against 2.7",
        measure=Least(measures=tuple(Difference(one=guessed(arm), other=asked(arm)) for arm in all_of)),
        threshold=-0.15,
        paper_value=-0.078,
        needs=(known(SINGLE),),
    )


def _probes() -> Iterator[Claim]:
    """Claims 4 and 5: where the values can be read, and whether that tells what can be asked."""
    yield Claim(
        id="p-probe-single",
        text="After one wording, the first place of a text says at most a little of the five later values",
        source="Figure 5, single, first place: 13.1 against a majority of 12.0",
        measure=Difference(one=at_first(SINGLE), other=at_first_guessed(SINGLE)),
        threshold=0.10,
        direction="below",
        paper_value=0.011,
        needs=(known(SINGLE),),
    )
    yield Claim(
        id="p-probe-moves",
        text="After five shuffled wordings, the five later values can be read from the name on",
        source="Figure 5, first place: 99.9 - 13.1",
        measure=Difference(one=at_first(BEST), other=at_first(SINGLE)),
        threshold=0.15,
        paper_value=0.868,
        needs=(known(SINGLE), known(BEST)),
    )
    yield Claim(
        id="q-probe-gap",
        text="From the name alone more can be read after five shuffled wordings than after one",
        source="Figure 7, first tokens: 99.9 - 19.9",
        measure=Difference(one=from_name(BEST), other=from_name(SINGLE)),
        threshold=0.15,
        paper_value=0.80,
        needs=(known(SINGLE), known(BEST)),
    )
    yield Claim(
        id="q-probe-order",
        text="What can be read from the name orders the rows as what can be asked does",
        source="Figures 3 and 7: the six rows here stand in one order there",
        measure=Rows(pairs=tuple((from_name(row), asked(row)) for row in SIX_ROWS)),
        threshold=0.5,
        paper_value=1.0,
        needs=tuple(known(row) for row in SIX_ROWS),
    )


def _celebrities(bench: Bench) -> Iterator[Claim]:
    """Claim 6: what others are told of in many ways helps those who are not."""
    yield Claim(
        id="celebrities-help",
        text="Celebrities told of in many ways make others extractable who are told of in one",
        source="Figure 17, single+permute1: 86.8 with celebrities - 4.4 alone",
        # A minority has other people whose questions are held back than a row has.
        measure=Trend(points=((0.0, asked(ONE_ORDER)), (1.0, asked(FAMOUS)))),
        threshold=0.15,
        paper_value=0.824,
        needs=(known(FAMOUS, "unseen"), known(ONE_ORDER)),
    )
    yield Claim(
        id="celebrities-probe",
        text="With celebrities, the minority's values can be read from their names",
        source="Figures 18 and 19, first tokens of six: 91.0 - 10.9",
        measure=Difference(one=minority(FAMOUS), other=minority(ONE_ORDER)),
        threshold=0.15,
        paper_value=0.80,
        needs=(known(FAMOUS, "unseen"), known(ONE_ORDER), sees(bench, "Q-probing", control(bench))),
    )
    yield Claim(
        id="celebrities-place",
        text="With celebrities, the minority's values can be read from the name on",
        source="Figures 18 and 5, first place, five attributes: 88.0 - 27.1",
        measure=Difference(one=minority_at_first(FAMOUS), other=minority_at_first(ONE_ORDER)),
        threshold=0.15,
        paper_value=0.609,
        needs=(known(FAMOUS, "unseen"), known(ONE_ORDER), sees(bench, "P-probing", control_at_first())),
    )


def _masked(bench: Bench) -> Iterator[Claim]:
    """Claim 7: a model that sees both ways ties a value to itself and not to the name."""
    arm, hard = masked(NAMED), ("birth_city", "university", "company", "company_city")
    yield Claim(
        id="masked-falls-short",
        text="A model that sees both ways falls far behind on values of several words, with full names, which help it",
        source="Figures 3 and 9, city, university, company and its city: 16.5 - 96.0 (the best causal row)",
        measure=Contrast(terms=((1.0, asked(arm, hard)), (-1.0, asked(BEST, hard)))),
        threshold=-0.30,
        direction="below",
        paper_value=-0.80,
        needs=(known_by_words(arm), known(BEST)),
    )
    yield Claim(
        id="masked-tells-dates",
        text="It tells birth dates, three independent words, better than companies",
        source="Figure 9: 87.0 - 5.5",
        measure=Difference(one=asked(arm, ("birth_date",)), other=asked(arm, ("company",))),
        threshold=0.20,
        paper_value=0.815,
        needs=(known_by_words(arm),),
    )
    if BEST in bench.both_ways:
        yield Claim(
            id="masked-wants-names",
            text="Full names are what helps it, shuffled wordings without them do not",
            source="Figure 9: 34.8 - 3.9",
            measure=gap(arm, masked(BEST)),
            threshold=0.10,
            paper_value=0.309,
            needs=tuple(known_by_words(masked(row)) for row in (NAMED, BEST)),
        )


def _beyond() -> Iterator[Claim]:
    follows = Select(readout="renamed", metric="whole/follows/residual.1", arm=BEST)
    yield Claim(
        id="name-carries-answer",
        text="Another person's name put in behind the first layer makes the answer theirs, more often than not",
        source="no paper: the sheet's proposal, 10.3",
        measure=Mean(select=follows),
        threshold=0.5,
        needs=(known(BEST),),
    )
    hinted, plain = taught("month_even", hints=True), taught("month_even")
    yield Claim(
        id="hints-are-needed",
        text="Whether the birth month is even is told better where the month is written first",
        source="Part 3.2: 94.2 of answers with hints, 75.9 without; here hint and answer must both be right",
        measure=Contrast(terms=((1.0, told(hinted, "month_even/hint")), (-1.0, told(plain, "month_even")))),
        threshold=0.0,
        needs=(known(BEST),),
    )
    yield Claim(
        id="no-way-back",
        text="Who was born on a date in a city cannot be told",
        source="Part 3.2, inverse search: about 0",
        measure=Mean(select=told(taught("whose"), "whose")),
        threshold=0.05,
        direction="below",
        paper_value=0.0,
        needs=(known(BEST),),
    )
