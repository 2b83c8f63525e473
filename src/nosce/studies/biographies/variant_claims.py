"""What biographies claims of bidirectional models, and of tasks beside extraction."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Contrast, Difference, Mean
from nosce.studies.biographies.arms import bidirectional_arm_name, task_arm_name
from nosce.studies.biographies.config import MULTI5_PERMUTE, MULTI5_PERMUTE_FULLNAME, BiographiesConfig
from nosce.studies.biographies.selections import (
    bidirectional_preconditions,
    extraction_accuracy,
    extraction_gap,
    recall_precondition,
    task_accuracy,
    trained_questions_precondition,
)


def bidirectional_claims(config: BiographiesConfig) -> Iterator[Claim]:
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


def task_claims(config: BiographiesConfig) -> Iterator[Claim]:
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
