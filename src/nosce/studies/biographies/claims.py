"""What the study biographies claims, with the paper's values (GPT2-small, 100,000 people) beside each claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import ConditionRankCorrelation, Slope
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.studies.biographies.arms import (
    bidirectional_arm_name,
    finetuning_arm_name,
    mixed_arm_name,
    task_arm_name,
)
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    MULTI5_PERMUTE_FULLNAME,
    SINGLE,
    SINGLE_PERMUTE1,
    SIX_AUGMENTATIONS,
    WITH_CELEBRITIES,
    BiographiesConfig,
)
from nosce.studies.biographies.further_claims import further_biographies_claims
from nosce.studies.biographies.selections import (
    CORE_ATTRIBUTES,
    bidirectional_preconditions,
    control_p_probe_accuracy,
    control_precondition,
    control_q_probe_accuracy,
    extraction_accuracy,
    extraction_gap,
    finetuning_precondition,
    first_token_accuracy,
    majority_accuracy,
    memorization_claim,
    minority_p_probe_accuracy,
    minority_q_probe_accuracy,
    mixed_extraction_accuracy,
    p_probe_accuracy,
    p_probe_majority_accuracy,
    p_probe_precondition,
    q_probe_accuracy,
    recall_precondition,
    task_accuracy,
    trained_questions_precondition,
)


def augmentation_claims(augmentations: tuple[str, ...]) -> tuple[Claim, ...]:
    """What the wording of the texts decides (arXiv:2309.14316, section 4), in the rows that are trained."""
    extracts = (_extracts_somewhere(MULTI5_PERMUTE, "fine-tuning"),) if MULTI5_PERMUTE in augmentations else ()
    candidates = (
        _difference_claim(
            id="extraction-gap",
            text="Five shuffled wordings make knowledge extractable that one wording does not",
            source="Figure 3, mean of six: 96.6 - 9.7",
            a=extraction_accuracy(MULTI5_PERMUTE),
            b=extraction_accuracy(SINGLE),
            paper_value=0.869,
            memorised_by=(SINGLE, MULTI5_PERMUTE),
        ),
        _difference_claim(
            id="single-near-chance",
            text="After one wording, answers about unseen people are at most a little better than a guess",
            source="Figure 3: 9.7 against a majority guess of 2.7",
            a=extraction_accuracy(SINGLE),
            b=majority_accuracy(SINGLE),
            threshold=0.10,
            direction="below",
            paper_value=0.07,
            memorised_by=(SINGLE,),
            needs=(_trained(SINGLE), *extracts),
        ),
        _gap_claim(
            "permute1-no-help",
            "Shuffling the sentences of the one text does not help by itself",
            SINGLE_PERMUTE1,
            SINGLE,
            -0.053,
            "4.4 - 9.7",
            threshold=0.05,
            direction="below",
            needs=(_trained(SINGLE_PERMUTE1), _trained(SINGLE)),
        ),
        _gap_claim(
            "rewording-alone-helps",
            "Five wordings in one order make more extractable than one wording",
            "multi5",
            SINGLE,
            0.313,
            "41.0 - 9.7",
        ),
        _gap_claim(
            "shuffling-on-top-helps",
            "Shuffled order on top of five wordings makes more extractable than five wordings alone",
            MULTI5_PERMUTE,
            "multi5",
            0.556,
            "96.6 - 41.0",
        ),
        _gap_claim(
            "fullname-helps",
            "The full name in every sentence makes more extractable, in one wording",
            "single+fullname",
            SINGLE,
            0.392,
            "48.9 - 9.7",
        ),
        _gap_claim(
            "orders-help",
            "Five orders of the same six sentences help where one order does not",
            "single+permute5",
            SINGLE_PERMUTE1,
            0.656,
            "70.0 - 4.4",
        ),
        _difference_claim(
            id="gap-on-four",
            text="The gap is 40 points or more on birth city, university, major and company",
            source="Figure 3, mean of four: 95.8 - 3.4",
            a=extraction_accuracy(MULTI5_PERMUTE, CORE_ATTRIBUTES),
            b=extraction_accuracy(SINGLE, CORE_ATTRIBUTES),
            threshold=0.40,
            paper_value=0.924,
            memorised_by=(SINGLE, MULTI5_PERMUTE),
        ),
    )
    return (
        *(memorization_claim(row) for row in augmentations),
        *(claim for claim in candidates if _arms_of(claim) <= set(augmentations)),
    )


def biographies_claims(config: BiographiesConfig) -> tuple[Claim, ...]:
    """The paper's claims, and what the study asks beyond the paper."""
    return (
        *augmentation_claims(config.augmentations),
        *(_mixed_claims() if SINGLE in config.mixed_augmentations else ()),
        *((_every_finetuning_claim(config),) if config.finetuning_grid else ()),
        *(_read_claims(config) if config.reads_states else ()),
        *(_celebrity_claims(config) if config.n_celebrities else ()),
        *(_bidirectional_claims(config) if config.bidirectional_augmentations else ()),
        *_task_claims(config),
        *further_biographies_claims(config),
    )


def _gap_claim(
    id: str,
    text: str,
    arm: str,
    baseline_arm: str,
    paper_value: float,
    source: str,
    *,
    threshold: float = 0.0,
    direction: Literal["above", "below"] = "above",
    needs: tuple[Precondition, ...] = (),
) -> Claim:
    return _difference_claim(
        id=id,
        text=text,
        source=f"Figure 3: {source}",
        a=extraction_accuracy(arm),
        b=extraction_accuracy(baseline_arm),
        threshold=threshold,
        direction=direction,
        paper_value=paper_value,
        memorised_by=(baseline_arm, arm),
        needs=needs,
    )


def _trained(arm: str) -> Precondition:
    """That the fine-tuning taught its own questions: one that never worked extracts nothing from any row."""
    return trained_questions_precondition(arm, extraction_accuracy(arm))


def _difference_claim(
    *,
    id: str,
    text: str,
    source: str,
    a: Selection,
    b: Selection,
    paper_value: float,
    memorised_by: tuple[str, ...],
    threshold: float = 0.15,
    direction: Literal["above", "below"] = "above",
    needs: tuple[Precondition, ...] = (),
) -> Claim:
    """A claim on the difference of two accuracies, judged where these arms have memorised the biographies."""
    return Claim(
        id=id,
        text=text,
        source=source,
        measure=Difference(a=a, b=b),
        threshold=threshold,
        direction=direction,
        paper_value=paper_value,
        preconditions=(*map(recall_precondition, memorised_by), *needs),
    )


def _arms_of(claim: Claim) -> set[str]:
    measure = claim.measure
    assert isinstance(measure, Difference)
    return {str(select.arm) for select in (measure.a, measure.b)}


def _mixed_claims() -> Iterator[Claim]:
    """Questions among the biographies from the first step."""
    arm = mixed_arm_name(SINGLE)
    seen_questions = first_token_accuracy(arm, "questions", "seen")
    unseen_questions = first_token_accuracy(arm, "questions", "unseen")
    seen_biographies = first_token_accuracy(arm, "recall", "seen")
    unseen_biographies = first_token_accuracy(arm, "recall", "unseen")
    yield _difference_claim(
        id="mixed-extracts",
        text="Questions among the biographies make one wording extractable where fine-tuning does not",
        source="Figure 3, single: 86.6 mixed - 9.7 fine-tuned",
        a=mixed_extraction_accuracy(arm),
        b=extraction_accuracy(SINGLE),
        paper_value=0.769,
        memorised_by=(arm, SINGLE),
    )
    yield Claim(
        id="order-questions-first",
        text="In mixed training, questions about the trained half are learnt before their biographies",
        source="Figure 1b-c; mean first-token accuracy over training",
        measure=Difference(a=seen_questions, b=seen_biographies),
        threshold=0.0,
        preconditions=(recall_precondition(arm),),
    )
    yield Claim(
        id="order-biographies",
        text="Biographies of people who are asked about are learnt before those of the others",
        source="Figure 1b-c; mean first-token accuracy over training, of different people",
        measure=Slope(points=((0.0, unseen_biographies), (1.0, seen_biographies))),
        threshold=0.0,
        preconditions=(recall_precondition(arm),),
    )
    yield Claim(
        id="order-extraction-last",
        text="Questions about the other half are learnt last, after their biographies",
        source="Figure 1b-c; mean first-token accuracy over training",
        measure=Difference(a=unseen_biographies, b=unseen_questions),
        threshold=0.0,
        preconditions=(recall_precondition(arm),),
    )


def _every_finetuning_claim(config: BiographiesConfig) -> Claim:
    """Each fine-tuning has its own needs: its row is memorised, and it extracts from five shuffled wordings."""
    arms, needs = [SINGLE], [_extracts_somewhere(MULTI5_PERMUTE, "the rows' fine-tuning")]
    for variant in config.finetuning_grid:
        arms.append(finetuning_arm_name(SINGLE, variant.name))
        needs.append(_extracts_somewhere(finetuning_arm_name(MULTI5_PERMUTE, variant.name), variant.name))
    return Claim(
        id="no-recipe-helps",
        text=f"None of {len(arms)} fine-tunings lifts one wording more than 15 points above guessing",
        source="Figures 2 and 11, single, 124M: 5.7 to 10.5 against 2.7",
        measure=MinOf(measures=tuple(Difference(a=majority_accuracy(arm), b=extraction_accuracy(arm)) for arm in arms)),
        threshold=-0.15,
        paper_value=-0.078,
        preconditions=(*map(recall_precondition, arms), *needs),
    )


def _extracts_somewhere(arm: str, finetuning: str) -> Precondition:
    return finetuning_precondition(arm, f"what {finetuning} extracts from {MULTI5_PERMUTE} beyond a guess")


def _read_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """What the model's states hold, and whether an answer uses it."""
    yield from probe_claims(config.augmentations)
    yield _probe_order_claim(config)
    donor_answers = Selection(evaluation="renamed", metric="whole/follows/residual.1", arm=MULTI5_PERMUTE)
    yield Claim(
        id="name-carries-answer",
        text="With another person's name patched in behind the first layer, the answer is mostly that person's",
        source="design of this study: patching shows whether an answer uses what the name's states hold",
        measure=Mean(selection=donor_answers),
        threshold=0.5,
        preconditions=(recall_precondition(MULTI5_PERMUTE),),
    )


def probe_claims(augmentations: tuple[str, ...]) -> Iterator[Claim]:
    """Where probes can read the values (section 5), in the rows that are trained."""
    yield from (claim for claim in _probe_difference_claims() if _arms_of(claim) <= set(augmentations))


def _probe_difference_claims() -> Iterator[Claim]:
    yield _difference_claim(
        id="p-probe-single",
        text="After one wording, the first place of a text holds at most a little of the five later values",
        source="Figure 5, single, first place: 13.1 against a majority of 12.0",
        a=p_probe_accuracy(SINGLE),
        b=p_probe_majority_accuracy(SINGLE),
        threshold=0.10,
        direction="below",
        paper_value=0.011,
        memorised_by=(SINGLE,),
        needs=(p_probe_precondition(SINGLE),),
    )
    yield _difference_claim(
        id="p-probe-moves",
        text="After five shuffled wordings, the five later values can be read from the name on",
        source="Figure 5, first place: 99.9 - 13.1",
        a=p_probe_accuracy(MULTI5_PERMUTE),
        b=p_probe_accuracy(SINGLE),
        paper_value=0.868,
        memorised_by=(SINGLE, MULTI5_PERMUTE),
    )
    yield _difference_claim(
        id="q-probe-gap",
        text="From the name alone more can be read after five shuffled wordings than after one",
        source="Figure 7, first tokens: 99.9 - 19.9",
        a=q_probe_accuracy(MULTI5_PERMUTE),
        b=q_probe_accuracy(SINGLE),
        paper_value=0.80,
        memorised_by=(SINGLE, MULTI5_PERMUTE),
    )


def _probe_order_claim(config: BiographiesConfig) -> Claim:
    """Whether what probes read predicts what can be extracted."""
    ranked_rows = tuple(row for row in SIX_AUGMENTATIONS if row in config.augmentations)
    return Claim(
        id="q-probe-order",
        text="What probes read from the name ranks the rows as extraction does",
        source="Figures 3 and 7: the six rows here stand in one order there",
        measure=ConditionRankCorrelation(
            pairs=tuple((q_probe_accuracy(row), extraction_accuracy(row)) for row in ranked_rows)
        ),
        threshold=0.5,
        paper_value=1.0,
        preconditions=tuple(map(recall_precondition, ranked_rows)),
    )


def _celebrity_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """Many wordings of celebrities help people who have one wording."""
    yield Claim(
        id="celebrities-help",
        text="Celebrities with many wordings make people with one wording extractable",
        source="Figure 17, single+permute1: 86.8 with celebrities - 4.4 alone",
        # The people whose questions are held out differ between a minority and a row.
        measure=Slope(
            points=((0.0, extraction_accuracy(SINGLE_PERMUTE1)), (1.0, extraction_accuracy(WITH_CELEBRITIES)))
        ),
        threshold=0.15,
        paper_value=0.824,
        preconditions=(recall_precondition(WITH_CELEBRITIES, "unseen"), recall_precondition(SINGLE_PERMUTE1)),
    )
    yield Claim(
        id="celebrities-probe",
        text="With celebrities, the minority's values can be read from their names",
        source="Figures 18 and 19, first tokens of six: 91.0 - 10.9",
        measure=Difference(a=minority_q_probe_accuracy(WITH_CELEBRITIES), b=minority_q_probe_accuracy(SINGLE_PERMUTE1)),
        threshold=0.15,
        paper_value=0.80,
        preconditions=(
            recall_precondition(WITH_CELEBRITIES, "unseen"),
            recall_precondition(SINGLE_PERMUTE1),
            control_precondition(config, "Q-probing", control_q_probe_accuracy(config)),
        ),
    )
    yield Claim(
        id="celebrities-place",
        text="With celebrities, the minority's values can be read from the name on",
        source="Figures 18 and 5, first place, five attributes: 88.0 - 27.1",
        measure=Difference(a=minority_p_probe_accuracy(WITH_CELEBRITIES), b=minority_p_probe_accuracy(SINGLE_PERMUTE1)),
        threshold=0.15,
        paper_value=0.609,
        preconditions=(
            recall_precondition(WITH_CELEBRITIES, "unseen"),
            recall_precondition(SINGLE_PERMUTE1),
            control_precondition(config, "P-probing", control_p_probe_accuracy()),
        ),
    )


def _bidirectional_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """A bidirectional model ties the words of a value to each other and not to the name."""
    arm = bidirectional_arm_name(MULTI5_PERMUTE_FULLNAME)
    multi_word_attributes = ("birth_city", "university", "company", "company_city")
    yield Claim(
        id="masked-falls-short",
        text="A bidirectional model falls far behind on values of several words, even with full names in each sentence",
        source="Figures 3 and 9, city, university, company and its city: 16.5 - 96.0 (the best causal row)",
        measure=Contrast(
            terms=(
                (1.0, extraction_accuracy(arm, multi_word_attributes)),
                (-1.0, extraction_accuracy(MULTI5_PERMUTE, multi_word_attributes)),
            )
        ),
        threshold=-0.30,
        direction="below",
        paper_value=-0.80,
        preconditions=(*bidirectional_preconditions(arm), recall_precondition(MULTI5_PERMUTE)),
    )
    yield Claim(
        id="masked-tells-dates",
        text="A bidirectional model answers birth dates, three independent words, better than companies",
        source="Figure 9: 87.0 - 5.5",
        measure=Difference(a=extraction_accuracy(arm, ("birth_date",)), b=extraction_accuracy(arm, ("company",))),
        threshold=0.20,
        paper_value=0.815,
        preconditions=bidirectional_preconditions(arm),
    )
    if MULTI5_PERMUTE in config.bidirectional_augmentations:
        arm_without_names = bidirectional_arm_name(MULTI5_PERMUTE)
        yield Claim(
            id="masked-wants-names",
            text="Full names help a bidirectional model; shuffled wordings without full names do not",
            source="Figure 9: 34.8 - 3.9",
            measure=extraction_gap(arm, arm_without_names),
            threshold=0.10,
            paper_value=0.309,
            preconditions=(*bidirectional_preconditions(arm), *bidirectional_preconditions(arm_without_names)),
        )


def _task_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """What else the model can do with what it knows (arXiv:2309.14402)."""
    if {("month_even", 0.0), ("month_even", 0.5)} <= set(config.tasks):
        yield _hints_claim()
    if ("whose", 0.0) in config.tasks:
        yield _inverse_search_claim()


def _hints_claim() -> Claim:
    hinted, plain = task_arm_name("month_even", hints=True), task_arm_name("month_even")
    return Claim(
        id="hints-are-needed",
        text="Whether the birth month is even is answered better where the month is written first",
        source="Part 3.2: 94.2 of answers with hints, 75.9 without; here hint and answer must both be right",
        measure=Contrast(
            terms=((1.0, task_accuracy(hinted, "month_even/hint")), (-1.0, task_accuracy(plain, "month_even")))
        ),
        threshold=0.0,
        preconditions=(recall_precondition(MULTI5_PERMUTE),),
    )


def _inverse_search_claim() -> Claim:
    whose = task_accuracy(task_arm_name("whose"), "whose")
    return Claim(
        id="no-way-back",
        text="The model cannot name the person who was born on a date in a city",
        source="Part 3.2, inverse search: about 0",
        measure=Mean(selection=whose),
        threshold=0.05,
        direction="below",
        paper_value=0.0,
        preconditions=(
            recall_precondition(MULTI5_PERMUTE),
            trained_questions_precondition(task_arm_name("whose"), whose),
        ),
    )
