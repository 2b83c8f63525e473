"""What would refute which claim of the study karel, and what decides it."""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.measures import Claim, Contrast, Difference, Mean, MinOf, NormalizedGain, Precondition, Selection
from nosce.analysis.training_curves import CurveCorrelation, Peak, PhaseDuration
from nosce.models.architecture import Architecture
from nosce.studies.karel.selections import (
    ACCURACY_CURVE,
    ALTERNATIVE_SEMANTICS,
    DISTINCT_PROGRAMS_CURVE,
    MOST_COMMON_PROGRAM_CURVE,
    ORIGINAL_ARM,
    PERPLEXITY_CURVE,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
    probe_bits_saved,
    program_scores,
    semantic_content_curve,
    state_probe_scores,
)


def karel_claims(model: Architecture) -> tuple[Claim, ...]:
    """Claims 1 to 6 of the sheet's section 1, and what the paper did not test."""
    writes_programs = Precondition(text="generative accuracy", measure=Mean(selection=program_scores()), above=0.5)
    return (
        *_writing_claims(writes_programs),
        *_state_claims(writes_programs),
        *_semantics_claims(model, writes_programs),
        *_training_course_claims(),
    )


def _writing_claims(writes_programs: Precondition) -> tuple[Claim, ...]:
    """What it writes: right programs, shorter than the authors'."""
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
            text="It is right more than three times as often as the best single program",
            source="the sheet, section 10",
            measure=Contrast(terms=((1.0, program_scores()), (-3.0, replace(program_scores(), evaluation="constant")))),
            threshold=0.0,
        ),
        Claim(
            id="shorter",
            text="It writes shorter programs than those it has learnt from",
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


def _state_claims(writes_programs: Precondition) -> tuple[Claim, ...]:
    """What is read in its hidden states, against what could be read without them."""
    return (
        *(_baseline_claim(feature, offset, writes_programs) for feature in ("position", "front") for offset in (0, 1)),
        Claim(
            id="content-rises",
            text="On one fixed set of programs, position is read better at the end of training than before it",
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


def _semantics_claims(model: Architecture, writes_programs: Precondition) -> tuple[Claim, ...]:
    """The words' own meaning against others, and whether states are used."""
    return (
        *(_intervention_claim(meaning, writes_programs) for meaning in ALTERNATIVE_SEMANTICS),
        Claim(
            id="shorter-code",
            text="Hidden states save more bits in telling rows moved by the words' own meaning than by alt3",
            source="Voita and Titov 2020; not in the paper",
            measure=Difference(a=probe_bits_saved("rows"), b=probe_bits_saved("rows", SHARPEST_ALTERNATIVE)),
            threshold=0.0,
            preconditions=(writes_programs,),
        ),
        Claim(
            id="own-meaning-wins",
            text="In a model trained on re-assigned data its own labels take up more of the room above the constant",
            source="the sheet, section 9: the symmetric test",
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
        *(_causal_claim(edit, against, model) for edit, against in (("swap", "other"), ("gradient", "random"))),
    )


def _training_course_claims() -> tuple[Claim, ...]:
    """How all that comes about over training."""
    return (
        Claim(
            id="rises-with-accuracy",
            text="Semantic content and generative accuracy rise together over training",
            source="section 3: R² 0.878",
            measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE),
            threshold=0.5,
            paper_value=0.878,
        ),
        Claim(
            id="rises-with-accuracy-fixed",
            text="Semantic content on one fixed set of programs rises with generative accuracy",
            source="section 3; the fixed set is ours: content on a checkpoint's own programs moves with the programs",
            measure=CurveCorrelation(a=semantic_content_curve(evaluation="fixed"), b=ACCURACY_CURVE),
            threshold=0.5,
        ),
        Claim(
            id="rises-with-accuracy-detrended",
            text="Their changes from checkpoint to checkpoint go together too",
            source="no detrending in the paper",
            measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE, detrended=True, quantity="r"),
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


def gain_over_baselines(
    feature: str, offset: int, baselines: tuple[str, ...] = ("constant", "bag/1", "untrained/1")
) -> MinOf:
    """How much better a state is read from the trained model than from the best of what knows nothing of it."""
    trained = state_probe_scores(feature, offset)
    return MinOf(
        measures=tuple(Difference(a=trained, b=state_probe_scores(feature, offset, floor)) for floor in baselines)
    )


def semantic_intervention(
    meaning: str, feature: str = "position", offset: int = 0, arm: str = ORIGINAL_ARM
) -> Contrast:
    """Original minus its constant, minus the other meaning minus its own; that of the untrained model taken away."""
    terms = []
    for source, sign in (("mean/1", 1.0), ("untrained/1", -1.0)):
        for compared_meaning, weight in (("original", sign), (meaning, -sign)):
            terms += [
                (weight, state_probe_scores(feature, offset, source, compared_meaning, arm)),
                (-weight, state_probe_scores(feature, offset, "constant", compared_meaning, arm)),
            ]
    return Contrast(terms=tuple(terms))


def _causal_claim(edit: str, control_edit: str, model: Architecture) -> Claim:
    site = f"residual.{(model.layers + 1) // 2}"  # the middle one; figures show all
    edited, control = (
        Selection(evaluation="edits", metric=f"{kind}/{site}", arm=ORIGINAL_ARM) for kind in (edit, control_edit)
    )
    edit_text = "a swap" if edit == "swap" else "a move along a probe's gradient"
    control_text = "one with the same words for another specification" if edit == "swap" else "a random move as far"
    return Claim(
        id=f"used-{edit}",
        text=f"A hidden state given another state by {edit_text} makes the next word right for it, more than "
        f"{control_text}",
        source="not in the paper; the sheet, section 9",
        measure=Difference(a=edited, b=control),
        threshold=0.0,
    )


def _baseline_claim(feature: str, offset: int, writes_programs: Precondition) -> Claim:
    state_text = "the state that the next operation leads to" if offset == 0 else "the state one operation further"
    return Claim(
        id=f"{feature}{offset:+d}",
        text=f"{feature.capitalize()} in {state_text} is read above every floor",
        source="section 3; floors: constant, start and bag of operations, untrained network",
        measure=gain_over_baselines(feature, offset),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _future_state_claim(feature: str) -> Claim:
    suffix = " given the present"
    return Claim(
        id=f"future-{feature}",
        text=f"Where the present is read, the coming {feature} is read better than the present tells",
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
        text=f"Position by the words' own meaning is read better than by {meaning}, more so than without training",
        source="section 4, in order only: original above flip above adversarial",
        measure=semantic_intervention(meaning),
        threshold=0.0,
        preconditions=(writes_programs,),
    )
