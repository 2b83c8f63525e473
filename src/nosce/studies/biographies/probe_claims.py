"""What biographies claims of the models' states: what probes read from them, and whether answers use them."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim
from nosce.analysis.jackknife import ConditionRankCorrelation
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.studies.biographies.claim_parts import compared_arms, difference_claim
from nosce.studies.biographies.config import MULTI5_PERMUTE, SINGLE, SIX_AUGMENTATIONS, BiographiesConfig
from nosce.studies.biographies.selections import (
    extraction_accuracy,
    p_probe_accuracy,
    p_probe_majority_accuracy,
    p_probe_precondition,
    q_probe_accuracy,
    recall_precondition,
)


def read_claims(config: BiographiesConfig) -> Iterator[Claim]:
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
    yield from (claim for claim in _probe_difference_claims() if compared_arms(claim) <= set(augmentations))


def _probe_difference_claims() -> Iterator[Claim]:
    yield difference_claim(
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
    yield difference_claim(
        id="p-probe-moves",
        text="After five shuffled wordings, the five later values can be read from the name on",
        source="Figure 5, first place: 99.9 - 13.1",
        a=p_probe_accuracy(MULTI5_PERMUTE),
        b=p_probe_accuracy(SINGLE),
        paper_value=0.868,
        memorised_by=(SINGLE, MULTI5_PERMUTE),
    )
    yield difference_claim(
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
