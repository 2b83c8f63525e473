"""Claims about the arms beyond the paper's grid, and two about its arms. They were written before these arms were run.

Two were not: `opt-ahead` and `paper-shape-*` read arms of which one seed had been seen. Middle sizes of
`content-before-count` were named after all three seeds had been seen, since the largest knew both.

Where the paper has a statement, the source says so; the others ask what its design leaves open: whether a model knows
what it never read, and whether more diarists help or only more steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import Slope, SpearmanCorrelation
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.data.worlds.diaries.world import recall_attribute
from nosce.studies.diaries.arms import MERGED, QUESTIONS_STAGE, SCATTERED, SETUPS, TWO_PHASES, grid_arm_name
from nosce.studies.diaries.config import AS_THE_PAPERS_NAME, DiariesConfig
from nosce.studies.diaries.further_arms import (
    FRESH_START,
    NUMBER_ASKED,
    SKIPPED_NUMBERS,
    TEXT_FIRST,
    WITHOUT_ENTRIES,
    entry_length_name,
    equal_steps_name,
)
from nosce.studies.diaries.preconditions import (
    count_chance,
    learned_preconditions,
    memorised_precondition,
)
from nosce.studies.diaries.selections import (
    SEEN_RECITATION,
    TEXT_RECALL,
    document_recall,
    equal_steps_arms,
    recitation_of,
    recitation_scores,
    reference_arm,
    told_number,
)
from nosce.study import PRETRAIN

MAX_FORGOTTEN = 0.05  # share of the values in documents; a smaller loss counts as none
MAX_LENGTH_EFFECT = 0.05  # share per doubling of an entry's facts; a smaller decline counts as none
MIN_COMPARED = 0.4  # of what must be recalled before it is said that something is recalled as often
MAX_GAP_EFFECT = 0.1  # share of diaries; a smaller decline counts as none
MIN_TEXT_RECALL = 0.25  # share of the values in the general text; a name's attribute has forty values or more


def further_diaries_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    """The claims whose arms are trained."""
    return (
        *(_equal_steps_claims(config) if config.equal_steps and len(config.diarist_counts) > 1 else ()),
        *_families_claim(config),
        *_larger_encoder_decoder_claims(config),
        *(_phases_claims(config) if config.ablations and config.has_primary_decoder else ()),
        *(_paper_shape_claims() if AS_THE_PAPERS_NAME in config.extra_worlds else ()),
        *(_entry_length_claims(config) if config.entry_lengths else ()),
        *(_further_question_claims(config) if config.further_questions else ()),
        *((_start_claim(config),) if config.text_steps else ()),
    )


def _slope(arms: list[tuple[int, str]], subtract: list[tuple[int, str]] | None = None) -> Slope:
    """Whole diaries along the doublings of the diarists, less those of other arms."""
    return Slope(
        points=tuple((math.log2(count), recitation_scores(arm)) for count, arm in arms),
        subtract=tuple(recitation_scores(arm) for _, arm in subtract or ()),
    )


def _equal_steps_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    scattered, merged = (equal_steps_arms(config, setup) for setup in (SCATTERED, MERGED))
    beside_merged = [(count, arm) for count, arm in scattered if count in dict(merged)]
    pairs = [(m, s) for (_, m), (_, s) in zip(merged, beside_merged, strict=True)]
    return (
        Claim(
            id="more-diarists-at-equal-steps",
            text="In equally many optimizer steps more of the scattered diaries are recalled whole with more diarists "
            "(a doubling)",
            source="a control of figure 2: in equal passes more diarists are more steps too",
            measure=_slope(scattered),
            threshold=0.0,
            preconditions=learned_preconditions(scattered[-1][1]),
        ),
        Claim(
            id="gap-shrinks-at-equal-steps",
            text="In equally many optimizer steps the gap between merged and scattered shrinks with more diarists (a "
            "doubling)",
            source="a control of figure 3: in equal passes more diarists are more steps too",
            measure=_slope(merged, beside_merged),
            threshold=0.0,
            direction="below",
            preconditions=learned_preconditions(scattered[-1][1], merged[-1][1]),
        ),
        Claim(
            id="merged-easier-at-equal-steps",
            text="In equally many optimizer steps merged diaries are recalled whole more often than scattered ones, at "
            "the fewest and at the most diarists",
            source="a control of figures 2 and 3: in equal passes merged diaries have fewer steps",
            measure=MinOf(measures=tuple(Difference(a=recitation_scores(m), b=recitation_scores(s)) for m, s in pairs)),
            threshold=0.0,
            preconditions=learned_preconditions(*(arm for pair in pairs for arm in pair)),
        ),
    )


def _families_claim(config: DiariesConfig) -> Iterator[Claim]:
    """The two families of decoders, size by size, where the study has both."""
    if not {"opt", "pythia"} <= set(config.families):
        return
    sizes = [size for size in config.sizes_by_family["opt"] if size in config.sizes_by_family["pythia"]]
    if not sizes:
        return
    terms: list[tuple[float, Selection]] = []
    for family, sign in (("opt", 1.0), ("pythia", -1.0)):
        for size in sizes:
            arm = grid_arm_name(family, size, config.compared_diarists, SCATTERED)
            terms.append((sign / len(sizes), recitation_scores(arm)))
    ends = [grid_arm_name(family, sizes[-1], config.compared_diarists, SCATTERED) for family in ("opt", "pythia")]
    yield Claim(
        id="opt-ahead",
        text="OPT recalls more of the scattered diaries whole than Pythia's architecture (mean over equal sizes)",
        source="figure 2: at 64K diarists OPT of 125M lies clearly above Pythia of 160M",
        measure=Contrast(terms=tuple(terms)),
        threshold=0.0,
        preconditions=learned_preconditions(*ends),
    )


def _larger_encoder_decoder_claims(config: DiariesConfig) -> Iterator[Claim]:
    count, reference = config.encoder_decoder_diarists, config.reference_diarists
    for family in config.trained_encoder_decoders if count else ():
        size = config.sizes_by_family[family][-1]
        more = grid_arm_name(family, size, count, SCATTERED)
        plain = grid_arm_name(family, size, reference, SCATTERED)
        as_long = equal_steps_name(family, size, reference, SCATTERED)
        needs = learned_preconditions(more)
        fewer = [(f"{family}-more-diarists", plain, "equal passes")]
        if config.encoder_decoder_equal_steps:
            fewer.append((f"{family}-more-diarists-at-equal-steps", as_long, "equally many optimizer steps"))
        times = f"{count / reference:g} times the diarists"
        yield Claim(
            id=f"{family}-counts-with-more",
            text=f"With {times} {family} gets the number of scattered entries right more than 5 points more often than "
            "a guess",
            source="figure 6: at 32K diarists Flan-T5 shows the pattern of the decoders",
            measure=Mean(selection=recitation_scores(more, "count")),
            threshold=count_chance(config) + 0.05,
            preconditions=needs,
        )
        for claim_id, few, how in fewer:
            yield Claim(
                id=claim_id,
                text=f"With {times} {family} gets the number of scattered entries right more often, in {how}",
                source="figures 5 and 6: random at 8K diarists, not at 32K",
                measure=_more_of(recitation_scores(few, "count"), recitation_scores(more, "count")),
                threshold=0.0,
                preconditions=learned_preconditions(few, more),
            )


def _phases_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    """Why two phases recall less: are the documents not learnt, are they forgotten, or are the questions not learnt?"""
    plain = reference_arm(config)
    first, second = (document_recall(config, TWO_PHASES, stage) for stage in (PRETRAIN, QUESTIONS_STAGE))
    return (
        Claim(
            id="two-phases-learn-documents",
            text="Values in documents are recalled after the first of two phases as often as after one training (at "
            "most 5 points less)",
            source="the paper's remark on its schedule: learning or forgetting?",
            measure=Difference(a=first, b=document_recall(config, plain)),
            threshold=-MAX_FORGOTTEN,
            preconditions=(memorised_precondition(config, plain),),
        ),
        Claim(
            id="two-phases-forget",
            text="In the second of two phases more than 5 % of the values in documents are forgotten",
            source="the paper's remark on its schedule: two phases forget the documents",
            measure=Difference(a=first, b=second),
            threshold=MAX_FORGOTTEN,
            preconditions=(memorised_precondition(config, TWO_PHASES),),
        ),
        Claim(
            id="two-phases-learn-questions",
            text="Questions that were trained on are answered after the second of two phases",
            source="the paper's remark on its schedule: two phases overfit the pairs of questions and answers",
            measure=Mean(selection=recitation_scores(TWO_PHASES, evaluation=SEEN_RECITATION)),
            threshold=0.9,
        ),
    )


def _paper_shape_claims() -> tuple[Claim, ...]:
    claims = []
    for setup in SETUPS:
        arm = f"{AS_THE_PAPERS_NAME} {setup}"
        claims.append(
            Claim(
                id=f"paper-shape-{setup}",
                text=f"Of {setup} diaries of the paper's shape, up to 8 entries of up to 8 facts, more than half are "
                "recalled whole",
                source="figure 2, whose diaries have this shape",
                measure=Mean(selection=recitation_scores(arm)),
                threshold=0.5,
                preconditions=learned_preconditions(arm),
            )
        )
    return tuple(claims)


def length_arms(config: DiariesConfig) -> list[tuple[int, str]]:
    """Facts of an entry, and the arms; the reference arm is the shortest where its entries all have one length."""
    low, high = config.world.attributes
    arms = {n: entry_length_name(n) for n in config.entry_lengths}
    if low == high:
        arms = {low: reference_arm(config)} | arms
    return sorted(arms.items())


def _entry_length_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    arms = length_arms(config)
    claims = []
    for claim_id, metric, text in (
        ("longer-entries-count", "count", "The number of entries is right as often where entries are longer"),
        ("longer-entries-whole", "exact", "Diaries are recalled whole as often where entries are longer"),
    ):
        points = tuple((math.log2(n), recitation_scores(arm, metric)) for n, arm in arms)
        claims.append(
            Claim(
                id=claim_id,
                text=f"{text} (a decline of less than 5 points a doubling)",
                source="the analysis of documents' length: little effect from 1 to 8 attributes",
                measure=Slope(points=points),
                threshold=-MAX_LENGTH_EFFECT,
                preconditions=(
                    *learned_preconditions(*(arm for _, arm in arms)),
                    _recalled(f"{metric} of the shortest entries", points[0][1]),
                ),
            )
        )
    return tuple(claims)


def _recalled(text: str, selection: Selection) -> Precondition:
    """So much is right that it could be less: two zeros are alike and say nothing."""
    return Precondition(text=text, measure=Mean(selection=selection), above=MIN_COMPARED, by_interval=True)


def _more_of(few: Selection, many: Selection) -> Slope:
    """The mean of one selection minus that of another, which is about other people."""
    return Slope(points=((0.0, few), (1.0, many)))


def denial_scores(config: DiariesConfig, *, of_people_with_entries: bool) -> Selection:
    """How often the reply says that a person wrote nothing."""
    if of_people_with_entries:
        return recitation_of(config, WITHOUT_ENTRIES, "denied")
    return _of_nobody("denied")


def _of_nobody(metric: str) -> Selection:
    return replace(recitation_scores(WITHOUT_ENTRIES, metric), attributes=(recall_attribute(0),))


def _further_question_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    return (*_empty_claims(config), *_gap_claims(), *_number_claims(config))


def _empty_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    needs = learned_preconditions(WITHOUT_ENTRIES)
    with_entries, without = (denial_scores(config, of_people_with_entries=one) for one in (True, False))
    return (
        Claim(
            id="empty-known",
            text="People of whom no document tells are said to have written nothing more often than diarists are "
            "(chance: equally often)",
            source="design of this study: does a model know what it never read?",
            measure=_more_of(with_entries, without),
            threshold=0.0,
            preconditions=needs,
        ),
        Claim(
            id="empty-told",
            text="More than half of the people of whom no document tells are said to have written nothing",
            source="design of this study: does a model know what it never read?",
            measure=Mean(selection=_of_nobody("exact")),
            threshold=0.5,
            preconditions=needs,
        ),
    )


def _gap_claims() -> tuple[Claim, ...]:
    metrics = ("number/skipped", "number/there", "exact/gap", "exact/no gap")
    skipped, there, whole_with_gap, whole_without = (recitation_scores(SKIPPED_NUMBERS, metric) for metric in metrics)
    needs = learned_preconditions(SKIPPED_NUMBERS)
    return (
        Claim(
            id="gaps-known",
            text="A number between the first and the last is written less often where the diary skips it (chance: "
            "equally often)",
            source="design of this study: does a model invent the entry that is missing?",
            measure=_more_of(skipped, there),
            threshold=0.0,
            preconditions=needs,
        ),
        Claim(
            id="gaps-whole",
            text="Diaries that skip a number are recalled whole as often as others (at most 10 points less)",
            source="design of this study: is it a count, or one number after the other?",
            measure=_more_of(whole_without, whole_with_gap),
            threshold=-MAX_GAP_EFFECT,
            preconditions=(*needs, _recalled("diaries without a gap recalled whole", whole_without)),
        ),
    )


def _number_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    needs = learned_preconditions(NUMBER_ASKED)
    recited = recitation_of(config, NUMBER_ASKED, "count")
    plain = reference_arm(config)
    return (
        Claim(
            id="number-told",
            text="Asked for the number of entries, the model is right more often than a blind guess",
            source="design of this study: the count, asked directly",
            measure=Mean(selection=told_number(NUMBER_ASKED)),
            threshold=count_chance(config),
            preconditions=needs,
        ),
        Claim(
            id="number-told-better",
            text="The number of entries is right more often where it is asked for than where entries are recited",
            source="design of this study: does the count fail, or its use in a long answer?",
            measure=Difference(a=told_number(NUMBER_ASKED), b=recited),
            threshold=0.0,
            preconditions=needs,
        ),
        Claim(
            id="number-agrees",
            text="The number that is told rises with the number of entries that are recited (Spearman)",
            source="design of this study: is it one count that both use?",
            measure=SpearmanCorrelation(
                a=told_number(NUMBER_ASKED, "recalled"), b=recitation_of(config, NUMBER_ASKED, "recalled")
            ),
            threshold=0.0,
            preconditions=needs,
        ),
        Claim(
            id="number-asked-helps",
            text="The number of recited entries is right more often where the number is asked for in training too",
            source="design of this study: transfer from one question to the other",
            measure=Difference(a=recited, b=recitation_of(config, plain, "count")),
            threshold=0.0,
            preconditions=(*needs, *learned_preconditions(plain)),
        ),
    )


def _start_claim(config: DiariesConfig) -> Claim:
    """Is the fault in the architecture or in the weights, of a model that learns general text here?"""
    recalled = Mean(selection=Selection(evaluation=TEXT_RECALL, arm=TEXT_FIRST, stage=PRETRAIN))
    text_learned = Precondition(
        text="values in the general text recalled", measure=recalled, above=MIN_TEXT_RECALL, by_interval=True
    )
    return Claim(
        id="fresh-start-better",
        text="From random weights more of the scattered diaries are recalled whole than after general text",
        source="the paper's runs from scratch: so it is of the smallest Pythia, and not of the smallest Flan-T5",
        measure=Difference(a=recitation_scores(FRESH_START), b=recitation_scores(TEXT_FIRST)),
        threshold=0.0,
        preconditions=(
            *learned_preconditions(FRESH_START, TEXT_FIRST),
            *(() if config.text_folder else (text_learned,)),
        ),
    )
