"""The claims of the study introspection about the inside of the network: extra layers, patching, probes."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Contrast, Difference
from nosce.studies.introspection.arms import EXTRA_LAYERS_ABLATION, SIBLING_OF_A, A, B, predictor_arm_name
from nosce.studies.introspection.config import DESIGN_SOURCE, IntrospectionConfig
from nosce.studies.introspection.preconditions import ability_preconditions
from nosce.studies.introspection.selections import (
    ADVANTAGE_MARGIN,
    answer_probe_scores,
    patched_report_scores,
    report_scores,
    self_advantage,
)


def mechanistic_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    """Whether extra layers help, whether a report reads the pending answer, and whether a probe does."""
    yield from _extra_layers_claims()
    layers = config.architecture.layers
    # A state is patched where the answer is complete and a later block can still read it: below the last block, or,
    # with extra layers, above all blocks that formed the answer.
    yield from _pending_answer_claims("", f"residual.{layers - 1}")
    yield from _pending_answer_claims(EXTRA_LAYERS_ABLATION, f"residual.{layers}")


def _extra_layers_claims() -> Iterator[Claim]:
    yield Claim(
        id="deeper-helps",
        text="Two fresh layers on top make A's reports about itself better",
        source=f"{DESIGN_SOURCE}: 0.51 to 0.55 against 0.69 to 0.77 in a pilot",
        measure=Difference(
            a=report_scores(predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION)), b=report_scores(predictor_arm_name(A, A))
        ),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )
    for predictor, id_part, text_part in (
        (B, "cross", "B with as many"),
        (SIBLING_OF_A, "sibling", "its sibling with as many"),
    ):
        yield Claim(
            id=f"deeper-self-beats-{id_part}",
            text=f"With two fresh layers A is right about itself more often than {text_part}",
            source=f"{DESIGN_SOURCE}: extra layers leave room to read an answer that the last layer forms",
            measure=self_advantage(A, predictor, ablation=EXTRA_LAYERS_ABLATION),
            threshold=ADVANTAGE_MARGIN,
            preconditions=ability_preconditions(A, predictor, ablation=EXTRA_LAYERS_ABLATION),
        )


def _pending_answer_claims(ablation: str, site: str) -> Iterator[Claim]:
    """Patching at a site, and a probe, of the pending answer in predictors of A with an ablation or without one."""
    arm, cross_arm = predictor_arm_name(A, A, ablation), predictor_arm_name(B, A, ablation)
    id_part, text_part = ("deeper-", ", two layers more") if ablation else ("", "")
    yield Claim(
        id=f"{id_part}report-follows-the-answer",
        text=f"Another prompt's state at the answer's place ({site}) makes A report that prompt's answer{text_part}",
        source=f"{DESIGN_SOURCE}: the causal test of whether a report reads the pending answer",
        measure=Difference(a=patched_report_scores(arm, f"follows/{site}"), b=patched_report_scores(arm, "unswapped")),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )
    yield Claim(
        id=f"{id_part}swap-of-the-same-moves-less",
        text=f"A state from a prompt with the same answer ({site}) changes A's report less often "
        f"than one with another answer{text_part}",
        source=f"{DESIGN_SOURCE}: the control of the causal test",
        measure=Contrast(
            terms=(
                (1.0, patched_report_scores(arm, f"same/{site}")),
                (-1.0, patched_report_scores(arm, f"stays/{site}")),
            )
        ),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )
    yield Claim(
        id=f"{id_part}answer-echoes",
        text=f"Where A reports a parity, a probe reads its answer's word better than where B reports A's{text_part}",
        source=f"{DESIGN_SOURCE}: a probe by layer for the answer that the model does not write",
        measure=Difference(a=answer_probe_scores(arm, "final"), b=answer_probe_scores(cross_arm, "final")),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )
