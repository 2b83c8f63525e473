"""What the study diaries expects: the paper's statements, its Flan-T5 puzzle, and where the count is stored.

The predictions for the puzzle were written before any run. If the loss on titles stores the number of entries, then an
arm without that loss, or with the number before the name, or with titles that only an encoder reads, must recognise
last entries worse than the plain decoder does. Repeating the title in the target must help.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import Slope, SpearmanCorrelation
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.studies.diaries.arms import (
    HEADER_MASKED,
    HEADER_NAME_ONLY,
    HEADER_NUMBER_FIRST,
    HEADER_REPEATED,
    MERGED,
    SCATTERED,
    TWO_PHASES,
    grid_arm_name,
    random_arm_name,
)
from nosce.studies.diaries.config import DIARIES_CONFIGS, DiariesConfig
from nosce.studies.diaries.further_claims import further_diaries_claims
from nosce.studies.diaries.preconditions import (
    MIN_SEEN_ACCURACY,
    answered_precondition,
    count_chance,
    learned_preconditions,
    readable_precondition,
    room_precondition,
)
from nosce.studies.diaries.selections import (
    HEADER_FREQUENCIES,
    SEEN_RECITATION,
    arms_by_diarists,
    arms_by_size,
    count_probe_scores,
    header_nats,
    merged_scattered_pairs,
    patched_stop_scores,
    recitation_by_entries,
    recitation_scores,
    reference_arm,
    smallest_size_arms,
    stop_auc,
    stop_scores,
)

MAX_DECLINE_PER_ENTRY = 0.05  # share per entry; a smaller decline counts as none
_CONTENT_AND_COUNT = (("content", 1.0), ("count", -1.0))
MIN_RECALLED = 0.5  # share of whole diaries; where fewer are recalled, nothing is left that could decline


def diaries_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    """The claims of the study whose arms are trained."""
    return (
        *_setup_claims(config),
        *_scaling_claims(config),
        *_count_claims(config),
        *_encoder_decoder_claims(config),
        *_header_claims(config),
        *_localization_claims(config),
        *(_random_weights_claim(config, family) for family in config.control_families),
        *further_diaries_claims(config),
    )


def left_out_claims(config: DiariesConfig) -> tuple[str, ...]:
    """The ids of the claims that the study at scale laptop has and a configuration lacks the arms for."""
    built = {claim.id for claim in diaries_claims(config)}
    return tuple(claim.id for claim in diaries_claims(DIARIES_CONFIGS["laptop"]()) if claim.id not in built)


def _is_ladder(config: DiariesConfig) -> bool:
    """Has the first family several sizes?"""
    return len(config.sizes_by_family[config.families[0]]) > 1


def _of_largest(config: DiariesConfig, text: str) -> str:
    """What is claimed of the largest size, or of the only one."""
    return f"At the largest size {text}" if _is_ladder(config) else f"{text[0].upper()}{text[1:]}"


def _setup_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    cells = merged_scattered_pairs(config)
    scattered_arm, merged_arm = reference_arm(config), reference_arm(config, MERGED)
    return (
        Claim(
            id="trained",
            text="Questions that were trained on are answered, one document an entry",
            source="no number in the paper; without it nothing can be said about other questions",
            measure=Mean(selection=recitation_scores(scattered_arm, evaluation=SEEN_RECITATION)),
            threshold=MIN_SEEN_ACCURACY,
            is_precondition=True,
        ),
        Claim(
            id="merged-easier",
            text="In every size and number merged diaries are recalled whole more often than scattered ones",
            source="figures 2 and 3: for every family, size and number",
            measure=MinOf(measures=tuple(Difference(a=recitation_scores(m), b=recitation_scores(s)) for m, s in cells)),
            threshold=0.0,
            preconditions=(
                *learned_preconditions(scattered_arm, merged_arm),
                *(answered_precondition(merged) for merged, _ in cells if merged != merged_arm),
            ),
        ),
        Claim(
            id="merged-recalled",
            text=_of_largest(config, "more than half of the merged diaries are recalled whole"),
            source="figure 2, dashed: good, not perfect, for decoder-only models",
            measure=Mean(selection=recitation_scores(merged_arm)),
            threshold=0.5,
            preconditions=learned_preconditions(merged_arm),
        ),
        Claim(
            id="scattered-recalled",
            text=_of_largest(config, "more than half of the scattered diaries are recalled whole"),
            source="figure 2, solid: at sufficient scale",
            measure=Mean(selection=recitation_scores(scattered_arm)),
            threshold=0.5,
            preconditions=learned_preconditions(scattered_arm),
        ),
    )


def _scaling_claims(config: DiariesConfig) -> Iterator[Claim]:
    """The claims that compare numbers of diarists, and the one that compares sizes."""
    by_diarists = _diarists_claims(config) if len(config.diarist_counts) > 1 else ()
    yield from by_diarists[:1]
    if _is_ladder(config):
        yield _larger_models_claim(config)
    yield from by_diarists[1:]


def _diarists_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    largest = config.primary_ladder[2]
    scattered_arms, merged_arms = arms_by_diarists(config, largest), arms_by_diarists(config, largest, MERGED)
    logs = [math.log2(count) for count, _ in scattered_arms]
    return (
        Claim(
            id="more-diarists",
            text="With more diarists more of the scattered diaries are recalled whole (a doubling)",
            source="figure 2: at sufficient size",
            measure=Slope(
                points=tuple((x, recitation_scores(arm)) for x, (_, arm) in zip(logs, scattered_arms, strict=True))
            ),
            threshold=0.0,
            preconditions=learned_preconditions(scattered_arms[-1][1]),
        ),
        Claim(
            id="smallest-peaks",
            text="The smallest model is best at a middle number of diarists",
            source="figure 2: OPT 7M rises up to 4K and falls beyond",
            measure=_peak_measure(config),
            threshold=0.0,
        ),
        Claim(
            id="gap-shrinks",
            text="The gap between merged and scattered shrinks with more diarists (a doubling)",
            source="figure 3: OPT and larger Pythia",
            measure=Slope(
                points=tuple((x, recitation_scores(arm)) for x, (_, arm) in zip(logs, merged_arms, strict=True)),
                subtract=tuple(recitation_scores(arm) for _, arm in scattered_arms),
            ),
            threshold=0.0,
            direction="below",
            preconditions=learned_preconditions(scattered_arms[-1][1], merged_arms[-1][1]),
        ),
    )


def _larger_models_claim(config: DiariesConfig) -> Claim:
    sizes = arms_by_size(config)
    return Claim(
        id="larger-models",
        text="Larger models recall more of the scattered diaries whole (a step of the ladder)",
        source="figure 2: at a fixed number of diarists",
        measure=Slope(points=tuple((float(x), recitation_scores(arm)) for x, (_, arm) in enumerate(sizes))),
        threshold=0.0,
        preconditions=learned_preconditions(sizes[-1][1]),
    )


def _random_when_small_claim(config: DiariesConfig) -> Claim:
    smallest_arm = arms_by_size(config)[0][1]
    return Claim(
        id="count-random-when-small",
        text="At the smallest size the number of entries is right at most 5 points more often than a blind guess",
        source="figures 5 and 6: small models return what looks like a random number",
        measure=Mean(selection=recitation_scores(smallest_arm, "count")),
        threshold=count_chance(config) + 0.05,
        direction="below",
        preconditions=(readable_precondition(smallest_arm),),
    )


def _peak_measure(config: DiariesConfig) -> MinOf:
    """By how much the smallest model is better at the middle number of diarists than at the fewest and the most."""
    (_, fewest_arm), *_, (_, most_arm) = small = smallest_size_arms(config)
    reference = recitation_scores(dict(small)[config.reference_diarists])
    over_fewest = Slope(points=((0.0, recitation_scores(fewest_arm)), (1.0, reference)))
    over_most = Slope(points=((0.0, recitation_scores(most_arm)), (1.0, reference)))
    return MinOf(measures=(over_fewest, over_most))


def _middle_sizes(config: DiariesConfig) -> list[str]:
    """Sizes between the smallest, whose number looks random, and the largest, which may know both number and content.

    Of two sizes it is the smaller one, of one size this one.
    """
    arms = [arm for _, arm in arms_by_size(config)]
    return arms[1:-1] or arms[:1]


def _content_claim(config: DiariesConfig) -> Claim:
    arms = _middle_sizes(config)
    terms = [(sign / len(arms), recitation_scores(arm, m)) for m, sign in _CONTENT_AND_COUNT for arm in arms]
    where = " (mean over the sizes between the smallest and the largest)" if len(arms) > 1 else ""
    return Claim(
        id="content-before-count",
        text=f"Recalled entries are right more often than their number is{where}",
        source="the analysis of where errors are; asked below the largest size, which was seen to know both",
        measure=Contrast(terms=tuple(terms)),
        threshold=0.0,
        preconditions=(*learned_preconditions(*arms), *(room_precondition(arm, "count") for arm in arms)),
    )


def _no_decline_claim(config: DiariesConfig, setup: str, claim_id: str) -> Claim:
    low, high = config.world.entries
    arm = reference_arm(config, setup)
    recalled = Precondition(
        text=f"diaries recalled whole by {arm}",
        measure=Mean(selection=recitation_scores(arm)),
        above=MIN_RECALLED,
        by_interval=True,
    )
    return Claim(
        id=claim_id,
        text=f"Longer {setup} diaries are recalled whole as often as shorter ones (a decline of less than 5 points an "
        "entry)",
        source="figure 4: accuracy does not fall with the number of documents",
        measure=Slope(points=tuple((float(n), recitation_by_entries(arm, n)) for n in range(low, high + 1))),
        threshold=-MAX_DECLINE_PER_ENTRY,
        preconditions=(*learned_preconditions(arm), recalled),
    )


def _count_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    largest_arm = reference_arm(config)
    return (
        _content_claim(config),
        Claim(
            id="count-known",
            text=_of_largest(config, "the number of entries is right more often than a blind guess"),
            source="figures 5 and 6: at sufficient scale",
            measure=Mean(selection=recitation_scores(largest_arm, "count")),
            threshold=count_chance(config),
            preconditions=learned_preconditions(largest_arm),
        ),
        Claim(
            id="count-ranked",
            text=_of_largest(config, "the model recites more entries for people who wrote more (Spearman)"),
            source="figures 5 and 6, read as a correlation",
            measure=SpearmanCorrelation(a=recitation_scores(largest_arm, "recalled")),
            threshold=0.0,
            preconditions=learned_preconditions(largest_arm),
        ),
        *((_random_when_small_claim(config),) if _is_ladder(config) else ()),
        _no_decline_claim(config, SCATTERED, "no-decline"),
        _no_decline_claim(config, MERGED, "no-decline-merged"),
    )


def _encoder_decoder_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    claims = []
    for family in config.trained_encoder_decoders:
        merged, scattered = (reference_arm(config, setup, family) for setup in (MERGED, SCATTERED))
        claims += [
            Claim(
                id=f"{family}-merged",
                text=f"{family} recalls more than nine of ten merged diaries whole",
                source="figure 2, dashed: nearly perfect for all Flan-T5",
                measure=Mean(selection=recitation_scores(merged)),
                threshold=0.9,
                preconditions=learned_preconditions(merged),
            ),
            Claim(
                id=f"{family}-scattered",
                text=f"{family} gets the number of scattered entries right at most 5 points more often than a guess",
                source="figures 2, 5 and 6: near random at small numbers of diarists",
                measure=Mean(selection=recitation_scores(scattered, "count")),
                threshold=count_chance(config) + 0.05,
                direction="below",
                preconditions=learned_preconditions(scattered),
            ),
        ]
    return tuple(claims)


def _header_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    if not config.has_primary_decoder:
        return tuple(_encoder_header_claims(config))
    plain = reference_arm(config)
    return (
        *_title_ablation_claims(config, plain),
        *_encoder_header_claims(config),
        Claim(
            id="titles-store-the-count",
            text="The number in a title costs the model less than a predictor that does not know the name (nats)",
            source="design of this study: a measure of the count that asks no question",
            measure=Contrast(
                terms=((1.0, header_nats(plain, evaluation=HEADER_FREQUENCIES)), (-1.0, header_nats(plain)))
            ),
            threshold=0.0,
        ),
        *((_one_phase_claim(plain),) if config.ablations else ()),
    )


def _title_ablation_claims(config: DiariesConfig, plain: str) -> Iterator[Claim]:
    if config.has_title_arms:
        yield _cheaper_stops_claim("header-loss", "with the loss on titles than without it", plain, HEADER_MASKED)
    if config.ablations:
        behind = "with the number behind the name than before it"
        yield _cheaper_stops_claim("number-first", behind, plain, HEADER_NUMBER_FIRST)


def _one_phase_claim(plain: str) -> Claim:
    return Claim(
        id="one-phase",
        text="Documents and questions in one training recall more than documents first and questions then",
        source="the paper's remark on its schedule: two phases forget",
        measure=Difference(a=recitation_scores(plain), b=recitation_scores(TWO_PHASES)),
        threshold=0.0,
        preconditions=learned_preconditions(plain),
    )


def _cheaper_stops_claim(claim_id: str, comparison: str, better: str, worse: str) -> Claim:
    """Stops behind true entries cost the arm `better` less than the arm `worse`."""
    return Claim(
        id=claim_id,
        text=f"Stops behind true entries cost less {comparison} (nats of a diary's decisions)",
        source="design of this study: the loss on titles stores the count, which explains the Flan-T5 puzzle",
        measure=Difference(a=stop_scores(worse, "stops"), b=stop_scores(better, "stops")),
        threshold=0.0,
        preconditions=learned_preconditions(better, worse),
    )


def _encoder_header_claims(config: DiariesConfig) -> Iterator[Claim]:
    """Encoder-decoders whose target contains the title, compared with those whose encoder alone reads the title."""
    for family in config.trained_encoder_decoders if config.has_title_arms else ():
        arm = reference_arm(config, SCATTERED, family)
        repeated = f"by {family} with titles repeated in the target"
        yield _cheaper_stops_claim("header-repeated", repeated, HEADER_REPEATED, arm)
        name_only = f"by {family} given the name alone, the title in the target"
        yield _cheaper_stops_claim("header-learnt", name_only, HEADER_NAME_ONLY, arm)


def _localization_claims(config: DiariesConfig) -> tuple[Claim, ...]:
    arms = {setup: reference_arm(config, setup) for setup in (SCATTERED, MERGED)}
    read_states = arms if config.has_primary_decoder else {}
    return (
        *(_stop_claim(setup, arm) for setup, arm in arms.items()),
        *(_count_probe_claim(setup, arm) for setup, arm in read_states.items()),
        *(_count_patching_claim(setup, arm) for setup, arm in read_states.items() if config.patching),
        Claim(
            id="stops-by-content",
            text="With other contents in its entries a merged diary's stop decisions cost more (nats)",
            source="design of this study: a wrong entry shows whether the stop depends on content",
            measure=Difference(a=stop_scores(arms[MERGED], "stops", "retold"), b=stop_scores(arms[MERGED], "stops")),
            threshold=0.0,
        ),
    )


def _stop_claim(setup: str, arm: str) -> Claim:
    return Claim(
        id=f"stop-told-{setup}",
        text=f"Behind true entries stopping is likelier where the diary ends ({setup}; area under the curve)",
        source="design of this study: a continuous metric cannot jump by its threshold alone",
        measure=stop_auc(arm),
        threshold=0.5,
        preconditions=learned_preconditions(arm),
    )


def _count_probe_claim(setup: str, arm: str) -> Claim:
    return Claim(
        id=f"count-planned-{setup}",
        text=f"A linear probe reads the number of {setup} entries at the question end, beyond a constant",
        source="design of this study: is the count planned, or checked step by step?",
        measure=Difference(a=count_probe_scores(arm, "question/final"), b=count_probe_scores(arm, "constant/question")),
        threshold=0.0,
    )


def _count_patching_claim(setup: str, arm: str) -> Claim:
    return Claim(
        id=f"count-moved-{setup}",
        text=f"With a donor's states patched into the question, {setup} diaries stop where the donor's ends, more "
        "often than with a donor of the host's number",
        source="design of this study: patching shows whether the stop uses the count",
        measure=Difference(
            a=patched_stop_scores(arm, "whole/donor/residual.1"), b=patched_stop_scores(arm, "whole/same/residual.1")
        ),
        threshold=0.0,
        preconditions=learned_preconditions(arm),
    )


def _random_weights_claim(config: DiariesConfig, family: str) -> Claim:
    """Is the fault in the architecture or in the pretrained weights?"""
    fresh = random_arm_name(config, family)
    smallest, count = config.sizes_by_family[family][0], config.reference_diarists
    pretrained = grid_arm_name(family, smallest, count, SCATTERED)
    return Claim(
        id=f"random-start-{family}",
        text=f"From random weights {family} {smallest} recalls more of the scattered diaries whole than from its "
        "pretrained ones",
        source="the paper's runs from scratch: so it is of the smallest Pythia, and not of the smallest Flan-T5",
        measure=Difference(a=recitation_scores(fresh), b=recitation_scores(pretrained)),
        threshold=0.0,
        preconditions=learned_preconditions(pretrained, fresh),
    )
