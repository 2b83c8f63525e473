"""The claims of the study introspection about the other explanation: what a model knows, a model like it knows too.

Source: Song, Hu and Mahowald 2025 (arXiv:2503.07513) found no privileged access in models that answer alike; siblings
of one corpus, and strings that all corpora answer alike, are this study's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Difference
from nosce.studies.introspection.arms import (
    EXTRA_LAYERS_ABLATION,
    NOISE_TASKS,
    SHARED_TASKS,
    SIBLING_OF_A,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.evals import SHARED_REPORTS
from nosce.studies.introspection.preconditions import ability_preconditions, knowledge_precondition
from nosce.studies.introspection.selections import (
    ADVANTAGE_MARGIN,
    EQUIVALENCE_MARGIN,
    report_scores,
    self_advantage,
    shared_advantage,
)


def similarity_claims() -> Iterator[Claim]:
    """Whether a sibling knows as much as A does, and whether A has an advantage where all models answer alike."""
    yield from _sibling_claims()
    yield Claim(
        id="no-advantage-where-alike",
        text="Where all corpora answer alike, A has no advantage over B",
        source=f"{DESIGN_SOURCE}: the negative control, where a predictor knows the answers too",
        measure=shared_advantage(),
        threshold=EQUIVALENCE_MARGIN,
        direction="below",
        preconditions=(
            *ability_preconditions(),
            knowledge_precondition("where all corpora answer alike", SHARED_TASKS, evaluation=SHARED_REPORTS),
        ),
    )
    cross_taught_arm = predictor_arm_name(A, B)
    yield Claim(
        id="reports-stay-with-self",
        text="Taught B's answers, A reports its own rather than B's where the two differ",
        source=f"{INTROSPECTION_PAPER}, appendix: every cross-trained model predicts itself better than its target",
        measure=Difference(
            a=report_scores(cross_taught_arm, "own/differs"), b=report_scores(cross_taught_arm, "right/differs")
        ),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )


def _sibling_claims() -> Iterator[Claim]:
    """A and its sibling. Without fresh layers seeds vary too much: three of them gave an interval of 90 points."""
    yield Claim(
        id="similarity-not-access",
        text="With two fresh layers, A and its sibling (the same corpus, trained anew) are equally often right about A",
        source="Song, Hu and Mahowald 2025, arXiv:2503.07513: similarity, not access",
        measure=self_advantage(A, SIBLING_OF_A, ablation=EXTRA_LAYERS_ABLATION),
        threshold=EQUIVALENCE_MARGIN,
        direction="within",
        preconditions=(
            *ability_preconditions(A, SIBLING_OF_A, ablation=EXTRA_LAYERS_ABLATION),
            knowledge_precondition("with two fresh layers", ablation=EXTRA_LAYERS_ABLATION),
        ),
    )
    yield Claim(
        id="similarity-on-noise",
        text="A is right more often than its sibling also where nothing in the corpus determines A's answer",
        source=f"{DESIGN_SOURCE}: no text determines these answers, so only the model can know them",
        measure=self_advantage(A, SIBLING_OF_A, NOISE_TASKS),
        threshold=ADVANTAGE_MARGIN,
        preconditions=(*ability_preconditions(A, SIBLING_OF_A), knowledge_precondition("on noise", NOISE_TASKS)),
    )
