"""What the study karel claims of its arms in other worlds: programs with loops and branches, and the paper's boards.

Each claim about states needs an arm that writes right programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Mean
from nosce.evals.probing.program_states import BEHIND_BLOCK
from nosce.studies.karel.comparisons import gain_over_baselines, semantic_intervention
from nosce.studies.karel.selections import (
    BOARDS_ARM,
    LOOPS_ARM,
    PROBE_FEATURES,
    SHARPEST_ALTERNATIVE,
    program_scores,
)

OUR_DESIGN = "design of this study: the paper's programs have no loops and branches"


def loops_claims() -> Iterator[Claim]:
    """Right programs, and states that no bag of operations tells."""
    yield _writes_claim("loops-writes", "For programs with loops and branches", LOOPS_ARM, OUR_DESIGN)
    for feature, _ in PROBE_FEATURES:
        yield Claim(
            id=f"loops-{feature}",
            text=f"Behind the beginning of a loop or branch, {feature} in the state that the next operation leads to "
            "is read better than by every baseline",
            source=f"{OUR_DESIGN}; baselines: constant, start and bag of words, whole surface, untrained network",
            measure=gain_over_baselines(feature, 0, LOOPS_ARM, f" {BEHIND_BLOCK}"),
            threshold=0.0,
            preconditions=(_writes_programs(LOOPS_ARM),),
        )


def boards_claims() -> Iterator[Claim]:
    """The paper's results on the paper's boards, by a small model."""
    source = "abstract: 92.4 %; boards and pairs are the paper's, the model and its training are not"
    yield _writes_claim("boards-writes", "On boards of 8 x 8 with five pairs", BOARDS_ARM, source)
    for feature in ("position", "front"):
        yield Claim(
            id=f"boards-{feature}",
            text=f"On boards of 8 x 8 with five pairs, {feature} in the state that the next operation leads to is read "
            "better than by every baseline",
            source="section 3; baselines: constant, start and bag of operations, whole surface, untrained network",
            measure=gain_over_baselines(feature, 0, BOARDS_ARM),
            threshold=0.0,
            preconditions=(_writes_programs(BOARDS_ARM),),
        )
    yield Claim(
        id=f"boards-intervention-{SHARPEST_ALTERNATIVE}",
        text="On boards of 8 x 8 with five pairs, position under the words' own meaning is read better than under "
        f"{SHARPEST_ALTERNATIVE}, more so than without training, each as a share of the room above its own constant",
        source="section 4, in order only",
        measure=semantic_intervention(SHARPEST_ALTERNATIVE, arm=BOARDS_ARM),
        threshold=0.0,
        preconditions=(_writes_programs(BOARDS_ARM),),
    )


def _writes_programs(arm: str) -> Precondition:
    return Precondition(
        text="its generative accuracy", measure=Mean(selection=program_scores(arm=arm)), above=0.5, by_interval=True
    )


def _writes_claim(claim_id: str, where: str, arm: str, source: str) -> Claim:
    written = program_scores(arm=arm)
    return Claim(
        id=claim_id,
        text=f"{where} the model is right more than three times as often as the best single program",
        source=source,
        measure=Contrast(terms=((1.0, written), (-3.0, replace(written, evaluation="constant")))),
        threshold=0.0,
    )
