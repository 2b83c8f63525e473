"""What the study karel claims about the course of training: its phases, and how semantic content and accuracy move.

The phases are those of the ICML version of arXiv:2305.11169, told by generative accuracy: babbling until about 10 %,
syntax until about 25 %, semantics until above 90 %. Here these are shares of the way from the accuracy of the best
single program to the highest accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.headroom import NormalizedContrast
from nosce.analysis.measures import Contrast, Difference
from nosce.analysis.training_curves import CurveCorrelation, Peak, PhaseDuration, TrainingCurve
from nosce.studies.karel.selections import (
    ACCURACY_CURVE,
    BABBLING_END,
    DISTINCT_PROGRAMS_CURVE,
    LAST_BABBLING,
    MOST_COMMON_PROGRAM_CURVE,
    REFERENCE_NATS,
    SEMANTICS_END,
    SYNTAX_END,
    semantic_content_curve,
    state_probe_scores,
)

#: Claims that make no sense of a pretrained model: of nats a token, where a model has tokens of its own, and of the
#: beginnings of a training from random weights.
FRESH_WEIGHTS_CLAIMS = (
    "perplexity-rises",
    "falls-with-accuracy",
    "content-falls",
    "content-share-falls",
    "babbling",
    "syntax-before-semantics",
    "babbling-phase",
    "syntax-phase",
    "semantics-phase",
)
MIN_CURVE_CORRELATION = 0.71  # its square is a half
#: Kept checkpoints between the two at which the surprise of the authors' programs is compared: one could be noise.
PERPLEXITY_SPAN = 2
AFTER_READING = "section 3 says that it rises; written after the seeds 0 to 2 of the laptop scale had been read"
BABBLING_TEXT = (
    "the last checkpoint of babbling (the last before generative accuracy has made a tenth of its way from the best "
    "single program to its highest value)"
)


def training_claims(writes_programs: Precondition, *, is_pretrained: bool) -> Iterator[Claim]:
    """The claims about checkpoints along training; those of `FRESH_WEIGHTS_CLAIMS` are among them."""
    yield _perplexity_claim(writes_programs)
    yield _fixed_content_claim(writes_programs, is_pretrained=is_pretrained)
    yield from _own_content_claims(writes_programs)
    yield from _correlation_claims(writes_programs)
    yield Claim(
        id="babbling",
        text="At some checkpoint nearly every specification gets the same program",
        source="phases: one fixed program at 20 % of training",
        measure=Peak(curve=MOST_COMMON_PROGRAM_CURVE),
        threshold=0.95,
        preconditions=(writes_programs,),  # a model that never learns writes one program too, and is in no phase
    )
    yield _syntax_claim(writes_programs)
    yield _phase_claim("babbling", 0.0, BABBLING_END, 0.5, writes_programs)
    yield _phase_claim("syntax", BABBLING_END, SYNTAX_END, 0.25, writes_programs)
    yield _phase_claim("semantics", SYNTAX_END, SEMANTICS_END, 0.25, writes_programs)


def _perplexity_claim(writes_programs: Precondition) -> Claim:
    earlier = replace(LAST_BABBLING, earlier=PERPLEXITY_SPAN)
    return Claim(
        id="perplexity-rises",
        text="Just before accuracy takes off the authors' programs become more surprising: nats a token at "
        f"{BABBLING_TEXT} against {PERPLEXITY_SPAN} kept checkpoints earlier",
        source="section 5, figure 6b (first version), plotted only: perplexity rises sharply before accuracy does",
        measure=Difference(a=replace(REFERENCE_NATS, step=LAST_BABBLING), b=replace(REFERENCE_NATS, step=earlier)),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _fixed_content_claim(writes_programs: Precondition, *, is_pretrained: bool) -> Claim:
    fixed = state_probe_scores("position", 0, evaluation="fixed")
    before = "before this training" if is_pretrained else f"at {BABBLING_TEXT}"
    return Claim(
        id="content-rises",
        text=f"On one fixed set of programs, probes read position better at the end of training than {before}",
        source="section 3; the fixed set is ours",
        measure=Difference(a=fixed, b=replace(fixed, step=0 if is_pretrained else LAST_BABBLING)),
        threshold=0.0,
        preconditions=(writes_programs,),
    )


def _own_content_claims(writes_programs: Precondition) -> Iterator[Claim]:
    """Semantic content on a checkpoint's own programs, at the end of training minus at the end of babbling."""
    score = state_probe_scores("position", 0, evaluation="along")
    floor = state_probe_scores("position", 0, "constant", evaluation="along")
    score_before, floor_before = replace(score, step=LAST_BABBLING), replace(floor, step=LAST_BABBLING)
    plain = Claim(
        id="content-falls",
        text="On the programs that each checkpoint writes, semantic content falls while accuracy rises: position is "
        f"read fewer points above the best constant at the end of training than at {BABBLING_TEXT}",
        source=AFTER_READING,
        measure=Contrast(terms=((1.0, score), (-1.0, floor), (-1.0, score_before), (1.0, floor_before))),
        threshold=0.0,
        direction="below",
        preconditions=(writes_programs,),
    )
    yield plain
    yield replace(
        plain,
        id="content-share-falls",
        text="The same as a share of the room above the best constant, which more diverse programs leave larger or "
        "smaller",
        measure=NormalizedContrast(terms=((1.0, score, floor), (-1.0, score_before, floor_before))),
    )


def _correlation_claims(writes_programs: Precondition) -> Iterator[Claim]:
    own = Claim(
        id="rises-with-accuracy",
        text="Semantic content and generative accuracy rise together over training",
        source="section 3: R² 0.878, so that r is 0.937; at least half of the variance shared, with the right sign",
        measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE),
        threshold=MIN_CURVE_CORRELATION,
        paper_value=0.937,
        preconditions=(writes_programs,),
    )
    yield own
    yield replace(
        own,
        id="falls-with-accuracy",
        text="On the programs that each checkpoint writes, semantic content falls as generative accuracy rises",
        source=AFTER_READING,
        threshold=0.0,
        direction="below",
    )
    yield replace(
        own,
        id="rises-with-accuracy-fixed",
        text="Semantic content on one fixed set of programs rises with generative accuracy",
        source="section 3; the fixed set is ours: content on a checkpoint's own programs moves with the programs",
        measure=CurveCorrelation(a=semantic_content_curve(evaluation="fixed"), b=ACCURACY_CURVE),
        paper_value=None,
    )
    yield replace(
        own,
        id="rises-with-accuracy-detrended",
        text="Semantic content and generative accuracy also change together from checkpoint to checkpoint",
        source="no detrending in the paper",
        measure=CurveCorrelation(a=semantic_content_curve(), b=ACCURACY_CURVE, detrended=True),
        threshold=0.0,
        paper_value=None,
    )


def _syntax_claim(writes_programs: Precondition) -> Claim:
    return Claim(
        id="syntax-before-semantics",
        text="Programs become diverse before they become right: their number makes a tenth of its rise before "
        "generative accuracy makes a quarter of its own",
        source="phases: diversity rises in the second phase, a quarter of training, accuracy in the third",
        measure=PhaseDuration(
            start=DISTINCT_PROGRAMS_CURVE,
            end=ACCURACY_CURVE,
            start_fraction=BABBLING_END,
            end_fraction=SYNTAX_END,
        ),
        threshold=0.0,
        paper_value=0.25,
        preconditions=(writes_programs,),
    )


def _phase_claim(name: str, start: float, end: float, paper: float, writes_programs: Precondition) -> Claim:
    """That a phase takes at least half of the share of training that it takes in the paper."""
    begins: TrainingCurve | None = ACCURACY_CURVE if start else None
    return Claim(
        id=f"{name}-phase",
        text=f"{name.capitalize()} takes at least half of the share of training that it takes in the paper: accuracy "
        f"goes from {start:.0%} to {end:.0%} of its way from the best single program to its highest value",
        source="phases: babbling half of training, syntax and semantics a quarter each; half of it is ours",
        measure=PhaseDuration(start=begins, end=ACCURACY_CURVE, start_fraction=start, end_fraction=end),
        threshold=paper / 2,
        paper_value=paper,
        preconditions=(writes_programs,),
    )
