"""What the study karel claims, and what would refute it."""

from __future__ import annotations

import itertools
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf, NormalizedGain
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import CurveCorrelation, Peak, PhaseDuration
from nosce.studies.karel.config import KarelConfig
from nosce.studies.karel.selections import (
    ACCURACY_CURVE,
    ALTERNATIVE_SEMANTICS,
    DISTINCT_PROGRAMS_CURVE,
    MOST_COMMON_PROGRAM_CURVE,
    ORIGINAL_ARM,
    PERPLEXITY_CURVE,
    RANDOM_ARM,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
    probe_bits_saved,
    program_scores,
    semantic_content_curve,
    state_probe_scores,
)

#: Claims that make no sense of a pretrained model: of nats a token, where a model has tokens of its own, and of the
#: beginnings of a training from random weights.
FRESH_WEIGHTS_CLAIMS = ("perplexity-stays", "babbling", "syntax-before-semantics")
REASSIGNED_CLAIMS = ("own-meaning-wins",)
MIN_CURVE_CORRELATION = 0.71  # its square is a half


def karel_claims(config: KarelConfig) -> tuple[Claim, ...]:
    """The paper's claims, and what the paper did not test."""
    writes_programs = Precondition(text="generative accuracy", measure=Mean(selection=program_scores()), above=0.5)
    claims = (
        *_writing_claims(writes_programs),
        *_state_claims(config, writes_programs),
        *_semantics_claims(config, writes_programs),
        *_training_course_claims(),
        *(_random_weights_claims(writes_programs) if config.random_control else ()),
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
        Claim(
            id="perplexity-stays",
            text="The authors' programs stay surprising: more than half a nat a token",
            source="section 5, figure 6b, plotted only",
            measure=Mean(selection=replace(PERPLEXITY_CURVE.selection, step="last")),
            threshold=0.5,
            preconditions=(writes_programs,),
        ),
    )


def _state_claims(config: KarelConfig, writes_programs: Precondition) -> tuple[Claim, ...]:
    """What probes read in hidden states, against what they read without the model."""
    untrained = "the model before this training" if config.is_pretrained else "untrained network"
    states = itertools.product(("position", "front"), (0, 1))
    return (
        *(_baseline_claim(feature, offset, untrained, writes_programs) for feature, offset in states),
        Claim(
            id="content-rises",
            text="On one fixed set of programs, probes read position better at the end of training than before "
            "training",
            source="section 3; the fixed set is ours",
            measure=Contrast(
                terms=(
                    (1.0, state_probe_scores("position", 0, evaluation="fixed")),
                    (-1.0, state_probe_scores("position", 0, evaluation="fixed", step=0)),
                )
            ),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
        *(_future_state_claim(feature) for feature in ("direction", "position")),
        Claim(
            id="selective",
            text="The probe of position is better at states than at labels that can only be memorised",
            source="Hewitt and Liang 2019; not in the paper",
            measure=Difference(a=state_probe_scores("position", 0), b=state_probe_scores("position", 0, "memorised/1")),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
    )


def _semantics_claims(config: KarelConfig, writes_programs: Precondition) -> tuple[Claim, ...]:
    """The words' own meaning against other meanings, and whether the model uses states."""
    return (
        *(_intervention_claim(meaning, writes_programs) for meaning in ALTERNATIVE_SEMANTICS),
        Claim(
            id="shorter-code",
            text="Hidden states save more bits of the rows moved under the words' own meaning than under alt3",
            source="Voita and Titov 2020; not in the paper",
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
                ),
            ),
        ),
        *(_causal_claim(edit, against, config) for edit, against in (("swap", "other"), ("gradient", "random"))),
    )


def _training_course_claims() -> tuple[Claim, ...]:
    """How accuracy and semantic content develop over training."""
    return (
        Claim(
            id="rises-with-accuracy",
            text="Semantic content and generative accuracy rise together over training",
            source="section 3: R² 0.878, so that r is 0.937; at least half of the variance shared, with the right sign",
            measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE),
            threshold=MIN_CURVE_CORRELATION,
            paper_value=0.937,
        ),
        Claim(
            id="rises-with-accuracy-fixed",
            text="Semantic content on one fixed set of programs rises with generative accuracy",
            source="section 3; the fixed set is ours: content on a checkpoint's own programs moves with the programs",
            measure=CurveCorrelation(a=semantic_content_curve(evaluation="fixed"), b=ACCURACY_CURVE),
            threshold=MIN_CURVE_CORRELATION,
        ),
        Claim(
            id="rises-with-accuracy-detrended",
            text="Semantic content and generative accuracy also change together from checkpoint to checkpoint",
            source="no detrending in the paper",
            measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE, detrended=True),
            threshold=0.0,
        ),
        Claim(
            id="babbling",
            text="At some checkpoint nearly every specification gets the same program",
            source="phases: one fixed program at 20 % of training",
            measure=Peak(curve=MOST_COMMON_PROGRAM_CURVE),
            threshold=0.95,
        ),
        Claim(
            id="syntax-before-semantics",
            text="Programs become diverse before they become right",
            source="phases: a quarter of training lies between",
            measure=PhaseDuration(start=DISTINCT_PROGRAMS_CURVE, end=ACCURACY_CURVE),
            threshold=0.0,
            paper_value=0.25,
        ),
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


def gain_over_baselines(
    feature: str, offset: int, baselines: tuple[str, ...] = ("constant", "bag/1", "untrained/1")
) -> MinOf:
    """How much better probes read a state from the trained model than from the best baseline."""
    trained = state_probe_scores(feature, offset)
    return MinOf(
        measures=tuple(Difference(a=trained, b=state_probe_scores(feature, offset, floor)) for floor in baselines)
    )


def semantic_intervention(
    meaning: str, feature: str = "position", offset: int = 0, arm: str = ORIGINAL_ARM
) -> Contrast:
    """(Original above its constant) - (other meaning above its constant), trained minus untrained model."""
    terms = []
    for source, sign in (("mean/1", 1.0), ("untrained/1", -1.0)):
        for compared_meaning, weight in (("original", sign), (meaning, -sign)):
            terms += [
                (weight, state_probe_scores(feature, offset, source, compared_meaning, arm)),
                (-weight, state_probe_scores(feature, offset, "constant", compared_meaning, arm)),
            ]
    return Contrast(terms=tuple(terms))


def _causal_claim(edit: str, control_edit: str, config: KarelConfig) -> Claim:
    site = config.middle_site  # figures show all
    edited = Selection(evaluation="edits", metric=f"{edit}/{site}", arm=ORIGINAL_ARM)
    control = replace(edited, metric=f"{control_edit}/{site}")
    edit_text = "a swap" if edit == "swap" else "a move along a probe's gradient"
    control_text = "one with the same words for another specification" if edit == "swap" else "a random move as far"
    return Claim(
        id=f"used-{edit}",
        text=f"A hidden state given another state by {edit_text} makes the next word right for it, more than "
        f"{control_text}",
        source="design of this study: a probe shows that a state can be read, an edit that it is used",
        measure=Difference(a=edited, b=control),
        threshold=0.0,
    )


def _baseline_claim(feature: str, offset: int, untrained: str, writes_programs: Precondition) -> Claim:
    state_text = "the state that the next operation leads to" if offset == 0 else "the state one operation further"
    return Claim(
        id=f"{feature}{offset:+d}",
        text=f"{feature.capitalize()} in {state_text} is read better than by every baseline",
        source=f"section 3; baselines: constant, start and bag of operations, {untrained}",
        measure=gain_over_baselines(feature, offset),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _future_state_claim(feature: str) -> Claim:
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
    )


def _intervention_claim(meaning: str, writes_programs: Precondition) -> Claim:
    return Claim(
        id=f"intervention-{meaning}",
        text=f"Position under the words' own meaning is read better than under {meaning}, more so than without "
        "training",
        source="section 4, in order only: original above flip above adversarial",
        measure=semantic_intervention(meaning),
        threshold=0.0,
        preconditions=(writes_programs,),
    )
