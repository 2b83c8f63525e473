"""The claims of the study biographies on its further arms: all rows probed, sizes, minorities, LoRA, hidden values.

Sources are sections and figures of Allen-Zhu and Li 2023 (arXiv:2309.14316), unless a claim says that it is ours.
Thresholds were chosen before any of these arms was run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import ConditionRankCorrelation, Slope
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.studies.biographies.arms import (
    HIDDEN_VALUES,
    HIDDEN_WORDS,
    WRITTEN_ARM,
    celebrities_arm_name,
    finetuning_arm_name,
    minority_arm_name,
    replay_arm_name,
    sized_arm_name,
)
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    SINGLE,
    SINGLE_PERMUTE1,
    SIX_AUGMENTATIONS,
    BiographiesConfig,
)
from nosce.studies.biographies.selections import (
    NON_DATE_ATTRIBUTES,
    couples_p_probe_accuracy,
    extraction_accuracy,
    finetuning_precondition,
    hidden_recall_accuracy,
    majority_accuracy,
    p_probe_accuracy,
    p_probe_staircase,
    recall_precondition,
    trained_questions_precondition,
)
from nosce.studies.biographies.trainings import QUERY_VALUE_RANKS, query_value_variant

#: Gain by celebrities of each kind of minority: with minus without (Figure 17).
PAPER_CELEBRITY_GAINS = {
    SINGLE: (0.535, "single: 63.2 with celebrities - 9.7 alone"),
    "single+permute1+fullname": (0.210, "single+permute1+fullname: 52.7 with celebrities - 31.7 alone"),
    "prose": (0.663, "bioR single: 76.3 with celebrities - 10.0 alone"),
    "prose+fullname": (0.413, "bioR single+fullname: 82.2 with celebrities - 40.9 alone"),
}
#: The same with general text in place of celebrities; the paper has it of bioR alone.
PAPER_TEXT_GAINS = {
    "prose": (-0.027, "bioR single: 7.3 with wiki - 10.0 alone"),
    "prose+fullname": (-0.132, "bioR single+fullname: 27.7 with wiki - 40.9 alone"),
}
PAPER_COUPLES = {  # partner seen - nothing seen, mean of three
    "couple1": (0.875, "100.0 behind the partner - 12.5 behind no value"),
    "couple2": (0.283, "99.9 behind the partner - 71.6 behind no value"),
    "couple5": (0.203, "99.9 behind the partner - 79.7 behind no value"),
}


def further_biographies_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """The claims on the arms that the scale has."""
    if config.reads_states:
        yield from _p_probe_claims(config)
    yield from map(_couple_claim, config.coupled_augmentations)
    yield from map(_celebrity_pair_claim, config.celebrity_pairs)
    yield from _general_text_claims(config)
    yield from _query_value_claims(config)
    if config.sizes:
        yield _size_claim(config)
    if config.hides_values:
        yield _hiding_claim()
    if config.written:
        yield _written_claim()


def _p_probe_claims(config: BiographiesConfig) -> Iterator[Claim]:
    rows = tuple(row for row in SIX_AUGMENTATIONS if row in config.augmentations)
    yield Claim(
        id="p-probe-order",
        text="What probes read at the first place of a text ranks the rows as extraction does",
        source="Figures 3 and 5, five later values, six rows: two neighbours change places",
        measure=ConditionRankCorrelation(
            pairs=tuple((p_probe_accuracy(row), extraction_accuracy(row)) for row in rows)
        ),
        threshold=0.5,
        paper_value=0.94,
        preconditions=tuple(map(recall_precondition, rows)),
    )
    yield Claim(
        id="p-probe-staircase",
        text="After one wording, a value can be read right before it is written and hardly one value earlier",
        source="Figure 5, single, birth city to company: 99.7 at its own place, 12.7 one value earlier",
        measure=p_probe_staircase(SINGLE),
        threshold=0.15,
        paper_value=0.87,
        preconditions=(recall_precondition(SINGLE),),
    )


def _couple_claim(row: str) -> Claim:
    """Two sentences that are always neighbours tie the second value to the first."""
    paper_value, numbers = PAPER_COUPLES.get(row, (None, "another row"))
    return Claim(
        id=f"couples/{row}",
        text=f"{row}: the second value of a pair can be read behind its partner and less behind another value",
        source=f"Figures 6 and 15, three values: {numbers}; other values change little",
        measure=Contrast(
            terms=((1.0, couples_p_probe_accuracy(row, "partner")), (-1.0, couples_p_probe_accuracy(row, "other")))
        ),
        threshold=0.10,
        paper_value=paper_value,
        preconditions=(recall_precondition(row),),
    )


def _celebrity_pair_claim(texts: str) -> Claim:
    alone, among = minority_arm_name(texts), celebrities_arm_name(texts)
    paper_value, numbers = PAPER_CELEBRITY_GAINS[texts]
    return Claim(
        id=f"celebrities-help/{alone}",
        text=f"Celebrities with many wordings make people with one text extractable: {alone}",
        source=f"Figure 17, {numbers}",
        # The people whose questions are held out differ between a minority and a row.
        measure=Slope(points=((0.0, extraction_accuracy(alone)), (1.0, extraction_accuracy(among)))),
        threshold=0.15,
        paper_value=paper_value,
        preconditions=(recall_precondition(among, "unseen"), recall_precondition(alone)),
    )


def _general_text_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """The control of celebrities: other text, in place of other people in many wordings."""
    if not config.replay:
        return
    for texts in (SINGLE_PERMUTE1, *config.celebrity_pairs):
        alone, among = minority_arm_name(texts), replay_arm_name(texts)
        paper_value, numbers = PAPER_TEXT_GAINS.get(texts, (None, "of bioR alone"))
        yield Claim(
            id=f"text-no-help/{alone}",
            text=f"General text in place of celebrities does not help: {alone}",
            source=f"Figure 17, {numbers}",
            measure=Contrast(terms=((1.0, extraction_accuracy(among)), (-1.0, extraction_accuracy(alone)))),
            threshold=0.05,
            direction="below",
            paper_value=paper_value,
            preconditions=(
                *map(recall_precondition, (among, alone)),
                *(trained_questions_precondition(arm, extraction_accuracy(arm)) for arm in (among, alone)),
            ),
        )
    if not config.n_celebrities:
        return
    among, celebrities = replay_arm_name(SINGLE_PERMUTE1), celebrities_arm_name(SINGLE_PERMUTE1)
    yield Claim(
        id="celebrities-above-text",
        text="Celebrities make people with one text extractable where general text does not",
        source="design of this study: Figure 17 has both of bioR, 76.3 - 7.3",
        measure=Slope(points=((0.0, extraction_accuracy(among)), (1.0, extraction_accuracy(celebrities)))),
        threshold=0.15,
        preconditions=(recall_precondition(celebrities, "unseen"), recall_precondition(among)),
    )


def _query_value_claims(config: BiographiesConfig) -> Iterator[Claim]:
    """The paper's own fine-tuning: low-rank updates of query and value, each by itself, and of the embedding."""
    names = {variant.name for variant in config.finetuning_grid}
    for rank in QUERY_VALUE_RANKS:
        if (name := query_value_variant(rank)) not in names:
            continue
        single, many = finetuning_arm_name(SINGLE, name), finetuning_arm_name(MULTI5_PERMUTE, name)
        yield Claim(
            id=f"lora-gap/{rank}",
            text=f"LoRA of query, value and embedding, rank {rank}, extracts more from five shuffled wordings than "
            "from one",
            source="Figure 3, mean of six: 96.6 - 9.7 (the better of ranks 8 and 16)",
            measure=Difference(a=extraction_accuracy(many), b=extraction_accuracy(single)),
            threshold=0.15,
            paper_value=0.869,
            preconditions=(recall_precondition(many), recall_precondition(single)),
        )


def _size_claim(config: BiographiesConfig) -> Claim:
    """Each size has its own needs: it has memorised both rows, and it extracts from the other row."""
    measures, needs = [], []
    for size in config.sizes:
        single, many = (sized_arm_name(row, size) for row in (SINGLE, MULTI5_PERMUTE))
        measures.append(Difference(a=majority_accuracy(single), b=extraction_accuracy(single)))
        needs += [recall_precondition(single), recall_precondition(many)]
        needs.append(finetuning_precondition(many, f"what {size} extracts from {MULTI5_PERMUTE} beyond a guess"))
    sizes = " and ".join(config.sizes)
    return Claim(
        id="size-no-help",
        text=f"Larger models ({sizes}) do not lift one wording more than 15 points above guessing",
        source="Figure 2, single: at most 11.0 of 682M weights, against a majority guess of 2.7",
        measure=MinOf(measures=tuple(measures)),
        threshold=-0.15,
        paper_value=-0.083,
        preconditions=tuple(needs),
    )


def _hiding_claim() -> Claim:
    """Does the cause that the paper gives answer to an intervention?"""
    later = (HIDDEN_VALUES, HIDDEN_WORDS)
    values, words = (extraction_accuracy(arm, NON_DATE_ATTRIBUTES) for arm in later)
    recalled = hidden_recall_accuracy(HIDDEN_VALUES)
    return Claim(
        id="hiding-helps",
        text="One wording becomes extractable where each value is also learnt without the values before it, more "
        "than where it is learnt without as many other words",
        source="design of this study: sections 1 and 5 say that one wording is kept behind the values before",
        measure=Difference(a=values, b=words),
        threshold=0.15,
        preconditions=(
            *map(recall_precondition, later),
            Precondition(
                text="values recalled without the values before them",
                measure=Mean(selection=recalled),
                above=0.90,
                by_interval=True,
            ),
            _hiding_took(recalled),
        ),
    )


def _hiding_took(recalled: Selection) -> Precondition:
    """Where the control recalls as much without the values before, hiding them has changed nothing."""
    gain = Difference(a=recalled, b=replace(recalled, arm=HIDDEN_WORDS))
    text = f"what {HIDDEN_VALUES} recalls without the values before beyond {HIDDEN_WORDS}"
    return Precondition(text=text, measure=gain, above=0.15, by_interval=True)


def _written_claim() -> Claim:
    return Claim(
        id="written-near-chance",
        text="After one text by a language model, answers about unseen people are at most a little better than a guess",
        source="Figure 12, bioR single: 10.0 against a majority guess of 2.7",
        measure=Difference(a=extraction_accuracy(WRITTEN_ARM), b=majority_accuracy(WRITTEN_ARM)),
        threshold=0.10,
        direction="below",
        paper_value=0.073,
        preconditions=(
            recall_precondition(WRITTEN_ARM),
            trained_questions_precondition(WRITTEN_ARM, extraction_accuracy(WRITTEN_ARM)),
            finetuning_precondition(MULTI5_PERMUTE, f"extraction above a guess after {MULTI5_PERMUTE}"),
        ),
    )
