"""What the study biographies claims, with the paper's values (GPT2-small, 100,000 people) beside each claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import Slope
from nosce.analysis.measures import Difference, MinOf
from nosce.studies.biographies.arms import (
    finetuning_arm_name,
    mixed_arm_name,
)
from nosce.studies.biographies.claim_parts import compared_arms, difference_claim
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    SINGLE,
    SINGLE_PERMUTE1,
    WITH_CELEBRITIES,
    BiographiesConfig,
)
from nosce.studies.biographies.further_claims import further_biographies_claims
from nosce.studies.biographies.probe_claims import read_claims
from nosce.studies.biographies.selections import (
    CORE_ATTRIBUTES,
    control_p_probe_accuracy,
    control_precondition,
    control_q_probe_accuracy,
    extraction_accuracy,
    finetuning_precondition,
    first_token_accuracy,
    majority_accuracy,
    memorization_claim,
    minority_p_probe_accuracy,
    minority_q_probe_accuracy,
    mixed_extraction_accuracy,
    recall_precondition,
    trained_questions_precondition,
)
from nosce.studies.biographies.variant_claims import bidirectional_claims, task_claims


def augmentation_claims(augmentations: tuple[str, ...]) -> tuple[Claim, ...]:
    """What the wording of the texts decides (arXiv:2309.14316, section 4), in the rows that are trained."""
    extracts = (_extracts_somewhere(MULTI5_PERMUTE, "fine-tuning"),) if MULTI5_PERMUTE in augmentations else ()
    candidates = (
        difference_claim(
            id="extraction-gap",
            text="Five shuffled wordings make knowledge extractable that one wording does not",
            source="Figure 3, mean of six: 96.6 - 9.7",
            a=extraction_accuracy(MULTI5_PERMUTE),
            b=extraction_accuracy(SINGLE),
            paper_value=0.869,
            memorised_by=(SINGLE, MULTI5_PERMUTE),
        ),
        difference_claim(
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
        difference_claim(
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
        *(claim for claim in candidates if compared_arms(claim) <= set(augmentations)),
    )


def biographies_claims(config: BiographiesConfig) -> tuple[Claim, ...]:
    """The paper's claims, and what the study asks beyond the paper."""
    return (
        *augmentation_claims(config.augmentations),
        *(_mixed_claims() if SINGLE in config.mixed_augmentations else ()),
        *((_every_finetuning_claim(config),) if config.finetuning_grid else ()),
        *(read_claims(config) if config.reads_states else ()),
        *(_celebrity_claims(config) if config.n_celebrities else ()),
        *(bidirectional_claims(config) if config.bidirectional_augmentations else ()),
        *task_claims(config),
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
    return difference_claim(
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


def _mixed_claims() -> Iterator[Claim]:
    """Questions among the biographies from the first step."""
    arm = mixed_arm_name(SINGLE)
    seen_questions = first_token_accuracy(arm, "questions", "seen")
    unseen_questions = first_token_accuracy(arm, "questions", "unseen")
    seen_biographies = first_token_accuracy(arm, "recall", "seen")
    unseen_biographies = first_token_accuracy(arm, "recall", "unseen")
    yield difference_claim(
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
