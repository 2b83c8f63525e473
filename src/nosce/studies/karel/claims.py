"""What the study karel claims, and what would refute it."""

from __future__ import annotations

import itertools
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.headroom import NormalizedGain
from nosce.analysis.measures import Contrast, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.studies.karel.comparisons import gain_over_baselines, semantic_intervention
from nosce.studies.karel.config import KarelConfig
from nosce.studies.karel.selections import (
    ALTERNATIVE_SEMANTICS,
    ORIGINAL_ARM,
    PROBE_FEATURES,
    RANDOM_ARM,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
    all_features_scores,
    probe_bits_saved,
    program_scores,
    state_probe_scores,
)
from nosce.studies.karel.training_claims import FRESH_WEIGHTS_CLAIMS, training_claims
from nosce.studies.karel.world_claims import boards_claims, loops_claims

REASSIGNED_CLAIMS = ("own-meaning-wins",)


def karel_claims(config: KarelConfig) -> tuple[Claim, ...]:
    """The paper's claims, and what the paper did not test."""
    writes_programs = Precondition(
        text="generative accuracy", measure=Mean(selection=program_scores()), above=0.5, by_interval=True
    )
    claims = (
        *_writing_claims(writes_programs),
        *_state_claims(config, writes_programs),
        *_semantics_claims(config, writes_programs),
        *training_claims(writes_programs, is_pretrained=config.is_pretrained),
        *(_random_weights_claims(writes_programs) if config.random_control else ()),
        *(loops_claims() if config.loops_arm else ()),
        *(boards_claims() if config.boards_arm else ()),
    )
    return tuple(claim for claim in claims if claim.id not in _left_out(config))


def _left_out(config: KarelConfig) -> tuple[str, ...]:
    """The claims that a configuration has no arm for, or of which they make no sense."""
    return (
        *(FRESH_WEIGHTS_CLAIMS if config.is_pretrained else ()),
        *(() if config.reassigned_control else REASSIGNED_CLAIMS),
    )


def _writing_claims(writes_programs: Precondition) -> tuple[Claim, ...]:
    """What the model writes: right programs, shorter than the authors'."""
    return (
        Claim(
            id="writes-programs",
            text="The model writes programs that do what an unseen specification shows",
            source="abstract: 92.4 % (first version: 96.4)",
            measure=Mean(selection=program_scores()),
            threshold=0.80,
            paper_value=0.924,
        ),
        Claim(
            id="above-one-program",
            text="The model is right more than three times as often as the best single program",
            source="design of this study: a fixed program can be right by chance on short specifications",
            measure=Contrast(terms=((1.0, program_scores()), (-3.0, replace(program_scores(), evaluation="constant")))),
            threshold=0.0,
        ),
        Claim(
            id="shorter",
            text="The model writes shorter programs than the programs that it learnt from",
            source="section 5: 1.60 against 2.47 operations (first version)",
            measure=Mean(selection=program_scores("longer")),
            threshold=0.0,
            direction="below",
            paper_value=-0.87,
            preconditions=(writes_programs,),
        ),
    )


def _state_claims(config: KarelConfig, writes_programs: Precondition) -> tuple[Claim, ...]:
    """What probes read in hidden states, against what they read without the model."""
    untrained = "the model before this training" if config.is_pretrained else "untrained network"
    states = itertools.product((feature for feature, _ in PROBE_FEATURES), (0, 1))
    return (
        *(_baseline_claim(feature, offset, untrained, writes_programs) for feature, offset in states),
        *_depth_claims(writes_programs),
        *(_future_state_claim(feature, writes_programs) for feature in ("direction", "position")),
        Claim(
            id="selective",
            text="The probe of position is better at states than at labels that can only be memorised",
            source="Hewitt and Liang 2019; not in the paper",
            measure=Difference(a=state_probe_scores("position", 0), b=state_probe_scores("position", 0, "memorised/1")),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
    )


def _depth_claims(writes_programs: Precondition) -> tuple[Claim, ...]:
    """Whether states are read better by deeper probes, in the mean of direction, position and the obstacle in front."""
    claims = []
    for depth, name, shallow, gain in (
        (1, "one hidden layer", "a linear one", 0.159),
        (2, "two hidden layers", "one with one", 0.032),
    ):
        claims.append(
            Claim(
                id=f"deeper-probe-{depth}",
                text=f"A probe with {name} reads the state that the next operation leads to better than {shallow}",
                source="section 3, table 1: linear 63.2 %, one hidden layer 79.1 %, two 82.3 %",
                measure=Difference(a=all_features_scores(f"mean/{depth}"), b=all_features_scores(f"mean/{depth - 1}")),
                threshold=0.0,
                paper_value=gain,
                preconditions=(writes_programs,),
            )
        )
    return tuple(claims)


def _semantics_claims(config: KarelConfig, writes_programs: Precondition) -> tuple[Claim, ...]:
    """The words' own meaning against other meanings, and whether the model uses states."""
    return (
        *(_intervention_claim(meaning, writes_programs) for meaning in ALTERNATIVE_SEMANTICS),
        Claim(
            id="shorter-code",
            text="In raw bits, hidden states save more of the rows moved under the words' own meaning than under "
            f"{SHARPEST_ALTERNATIVE}, where rows have fewer bits to save: their own meaning needs it, and it proves no "
            f"more (intervention-{SHARPEST_ALTERNATIVE} compares shares of the room above each constant)",
            source="Voita and Titov 2020; not in the paper, by whose programs the best constant offset is right of "
            "43.0 % under the own meaning and of 57.6 % under this one",
            measure=Difference(a=probe_bits_saved("rows"), b=probe_bits_saved("rows", SHARPEST_ALTERNATIVE)),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
        Claim(
            id="own-meaning-wins",
            text="In a model trained on re-assigned data its own labels gain more of what is possible above the "
            "constant",
            source="design of this study: the symmetric test, in which the re-assigned meaning should win",
            measure=NormalizedGain(
                a=state_probe_scores("position", 0, meaning=SHARPEST_ALTERNATIVE, arm=REASSIGNED_ARM),
                a_floor=state_probe_scores("position", 0, "constant", SHARPEST_ALTERNATIVE, REASSIGNED_ARM),
                b=state_probe_scores("position", 0, arm=REASSIGNED_ARM),
                b_floor=state_probe_scores("position", 0, "constant", arm=REASSIGNED_ARM),
            ),
            threshold=0.0,
            preconditions=(
                Precondition(
                    text="its generative accuracy",
                    measure=Mean(selection=program_scores(arm=REASSIGNED_ARM)),
                    above=0.5,
                    by_interval=True,
                ),
            ),
        ),
        _causal_claim("swap", "other", config, writes_programs),
        _causal_claim("gradient", "random", config, writes_programs),
    )


def _random_weights_claims(writes_programs: Precondition) -> tuple[Claim, ...]:
    """What pretrained weights are good for, beside the same training from random ones."""
    source = "design of this study: the paper trains from random weights alone"
    fixed = state_probe_scores("position", 0, evaluation="fixed")
    return (
        Claim(
            id="pretraining-writes",
            text="From its pretrained weights the model writes more right programs than from random weights",
            source=source,
            measure=Difference(a=program_scores(), b=program_scores(arm=RANDOM_ARM)),
            threshold=0.0,
        ),
        Claim(
            id="pretraining-states",
            text="On one fixed set of programs, position is read better from pretrained weights than from random ones, "
            "each after the same training",
            source=source,
            measure=Difference(a=fixed, b=replace(fixed, arm=RANDOM_ARM)),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
    )


def _causal_claim(edit: str, control_edit: str, config: KarelConfig, writes_programs: Precondition) -> Claim:
    site = config.middle_site  # figures show all
    edited = Selection(evaluation="edits", metric=f"{edit}/{site}", arm=ORIGINAL_ARM)
    control = replace(edited, metric=f"{control_edit}/{site}")
    edit_text = "a swap" if edit == "swap" else "a move along a probe's gradient"
    control_text = (
        "the same words for a specification where they need another word" if edit == "swap" else "a random move as far"
    )
    return Claim(
        id=f"used-{edit}",
        text=f"A hidden state given another state by {edit_text} makes the next word right for it, more than "
        f"{control_text}",
        source="design of this study: a probe shows that a state can be read, an edit that it is used",
        measure=Difference(a=edited, b=control),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _baseline_claim(feature: str, offset: int, untrained: str, writes_programs: Precondition) -> Claim:
    state_text = "the state that the next operation leads to" if offset == 0 else "the state one operation further"
    return Claim(
        id=f"{feature}{offset:+d}",
        text=f"{feature.capitalize()} in {state_text} is read better than by every baseline",
        source=f"section 3; baselines: constant, start and bag of operations, whole surface, {untrained}",
        measure=gain_over_baselines(feature, offset),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _future_state_claim(feature: str, writes_programs: Precondition) -> Claim:
    suffix = " given the present"
    return Claim(
        id=f"future-{feature}",
        text=f"Where the present {feature} is read right, the next one is read better than the present predicts",
        source="section 3: direction 68.4 against 62.2 (first version)",
        measure=Difference(
            a=state_probe_scores(feature, 1, suffix=suffix),
            b=state_probe_scores(feature, 1, "present/1", suffix=suffix),
        ),
        threshold=0.0,
        paper_value=0.062 if feature == "direction" else None,
        preconditions=(writes_programs,),
    )


def _intervention_claim(meaning: str, writes_programs: Precondition) -> Claim:
    return Claim(
        id=f"intervention-{meaning}",
        text=f"Position under the words' own meaning is read better than under {meaning}, more so than without "
        "training, each as a share of the room above its own constant",
        source="section 4, in order only: original above flip above adversarial",
        measure=semantic_intervention(meaning),
        threshold=0.0,
        preconditions=(writes_programs,),
    )
