"""What the study introspection claims, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import CalibrationMAD, LabelMatchedDifference
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.dispositions import THIRD_WORD
from nosce.studies.introspection.arms import (
    HALF_ALIKE,
    HELD_OUT_TASKS,
    LEFT_OUT_PROPERTY,
    NO_DISPOSITIONS,
    TABLE_TASKS,
    TARGET_MODELS,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.config import (
    DESIGN_SOURCE,
    INTROSPECTION_PAPER,
    LEAK_ABLATION,
    LEFT_OUT_ABLATION,
    NO_SLOT_ABLATION,
    IntrospectionConfig,
)
from nosce.studies.introspection.evals import CONTROL_REPORTS
from nosce.studies.introspection.mechanistic_claims import mechanistic_claims
from nosce.studies.introspection.preconditions import ability_preconditions, change_preconditions
from nosce.studies.introspection.selections import (
    ADVANTAGE_MARGIN,
    EQUIVALENCE_MARGIN,
    aloud_crossed_advantage,
    base_report_scores,
    changed_report_scores,
    crossed_advantage,
    report_scores,
    self_advantage,
    text_baseline_scores,
)
from nosce.studies.introspection.similarity_claims import similarity_claims


def introspection_claims(config: IntrospectionConfig) -> tuple[Claim, ...]:
    """All claims: the paper's four, other explanations, planted signals, and mechanisms."""
    paper_claims = (*_training_claims(), *_self_advantage_claims(), *_calibration_claims(), *_change_claims())
    return (
        *paper_claims,
        *similarity_claims(),
        *_long_answer_claims(),
        *_planted_claims(config),
        *mechanistic_claims(config),
        *_ablation_claims(config),
    )


def _training_gain(model: str, tasks: tuple[str, ...]) -> Difference:
    """How much more often a model is right about itself after it was taught labels than before."""
    return Difference(
        a=report_scores(predictor_arm_name(model, model), tasks=tasks), b=base_report_scores(model, tasks)
    )


def _gain_over_constant(model: str, tasks: tuple[str, ...]) -> Difference:
    """How much more often a model is right about itself than the most frequent label that it was taught."""
    return Difference(
        a=report_scores(predictor_arm_name(model, model), tasks=tasks),
        b=text_baseline_scores(model, "constant", tasks),
    )


def _training_claims() -> Iterator[Claim]:
    for tasks, name in ((TABLE_TASKS, "contexts"), (HELD_OUT_TASKS, "tasks")):
        yield Claim(
            id=f"training-helps-{name}",
            text=f"Training on labels makes self-prediction better on held-out {name}, in A and in B",
            source=f"{INTROSPECTION_PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %)",
            measure=MinOf(measures=(_training_gain(A, tasks), _training_gain(B, tasks))),
            threshold=0.0,
            preconditions=ability_preconditions(),
        )
        yield Claim(
            id=f"self-beats-constant-{name}",
            text=f"Self-prediction beats the most frequent label on held-out {name}, in A and in B",
            source=f"{INTROSPECTION_PAPER}, section 2.2: not beating it counts as failure",
            measure=MinOf(measures=(_gain_over_constant(A, tasks), _gain_over_constant(B, tasks))),
            threshold=0.0,
            preconditions=ability_preconditions(),
        )
    yield Claim(
        id="training-helps-matched",
        text="Training on labels helps also where labels before and after are equally frequent (held-out contexts, A)",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3",
        measure=LabelMatchedDifference(a=report_scores(predictor_arm_name(A, A)), b=base_report_scores(A)),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )


def _self_advantage_claims() -> Iterator[Claim]:
    for target, predictor in ((A, B), (B, A)):
        yield Claim(
            id=f"self-beats-cross-{target}",
            text=f"{target} is right about itself more often than {predictor}, which was taught the same (held-out "
            "contexts)",
            source=f"{INTROSPECTION_PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
            measure=self_advantage(target, predictor),
            threshold=ADVANTAGE_MARGIN,
            paper_value=0.167 if target == A else 0.128,
            preconditions=ability_preconditions(),
        )
    yield Claim(
        id="crossed",
        text="(A on A - B on A) - (A on B - B on B) is above 0, which no difference of skill explains",
        source=f"{DESIGN_SOURCE}: a difference of skill cancels, as each model is both subject and predictor",
        measure=crossed_advantage(),
        threshold=2 * ADVANTAGE_MARGIN,
        preconditions=ability_preconditions(),
    )
    yield Claim(
        id="crossed-tasks",
        text="The same contrast is above 0 on held-out tasks: answers that nothing determines, and lists",
        source=f"{DESIGN_SOURCE}: no text determines these answers, so only the model can know them",
        measure=crossed_advantage(HELD_OUT_TASKS),
        threshold=2 * ADVANTAGE_MARGIN,
        preconditions=ability_preconditions(),
    )
    rivals = [
        *(report_scores(predictor_arm_name(who, A)) for who in (HALF_ALIKE, B, NO_DISPOSITIONS)),
        report_scores(predictor_arm_name(B, A, "named")),
        report_scores(predictor_arm_name(NO_DISPOSITIONS, A, "named")),
        *(text_baseline_scores(A, baseline) for baseline in ("constant", "oracle", "nearest", "logistic")),
    ]
    yield Claim(
        id="self-beats-observers",
        text="A is right about itself more often than every outside observer of the same labels, the oracle among them",
        source=f"{DESIGN_SOURCE}: the rule for an advantage was fixed before any run",
        measure=MinOf(
            measures=tuple(Difference(a=report_scores(predictor_arm_name(A, A)), b=rival) for rival in rivals)
        ),
        threshold=ADVANTAGE_MARGIN,
        preconditions=ability_preconditions(),
    )


def _calibration_claims() -> Iterator[Claim]:
    self_reports, cross_reports = report_scores(predictor_arm_name(A, A)), report_scores(predictor_arm_name(B, A))
    yield Claim(
        id="calibrated",
        text="Reports of A lie nearer to how likely its answers are than those of B (mean absolute deviation)",
        source=f"{INTROSPECTION_PAPER}, section 3.3 (GPT-4o, second character: 12.5 against 20.9 points)",
        measure=CalibrationMAD(a=cross_reports, b=self_reports),
        threshold=0.0,
        paper_value=0.084,
        preconditions=ability_preconditions(),
    )
    yield Claim(
        id="calibrated-first-rank",
        text="Reports of A lie nearer than those of B for the likeliest label alone",
        source=f"{DESIGN_SOURCE}: rare labels, which are easy, lower the pooled deviation",
        measure=CalibrationMAD(a=cross_reports, b=self_reports, ranks=(1,)),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )
    yield Claim(
        id="calibrated-proper",
        text="Reports of A have the lower Brier score against its answers' probabilities",
        source=f"{DESIGN_SOURCE}: a proper score",
        measure=Difference(a=_brier_scores(B), b=_brier_scores(A)),
        threshold=0.0,
        preconditions=ability_preconditions(),
    )


def _brier_scores(predictor: str) -> Selection:
    """Brier scores of a predictor's reports about A."""
    return report_scores(predictor_arm_name(predictor, A), "brier", quantity="squared distance")


def _change_claims() -> Iterator[Claim]:
    yield Claim(
        id="follows-change",
        text="After its choices were changed without any question, A reports the new ones more than the old",
        source=f"{INTROSPECTION_PAPER}, section 3.4 (GPT-4o 35.4 new, 21.7 old)",
        measure=Difference(
            a=changed_report_scores(predictor_arm_name(A, A), "right"),
            b=changed_report_scores(predictor_arm_name(A, A), "own"),
        ),
        threshold=0.0,
        paper_value=0.137,
        preconditions=change_preconditions(predictor_arm_name(A, A)),
    )
    yield Claim(
        id="follows-change-matched",
        text="A reports the new choices more than the old also where both labels are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3 (GPT-4o 36.3 new, 21.3 old)",
        measure=LabelMatchedDifference(
            a=changed_report_scores(predictor_arm_name(A, A), "right"),
            b=changed_report_scores(predictor_arm_name(A, A), "right", evaluation=CONTROL_REPORTS),
        ),
        threshold=0.0,
        paper_value=0.15,
        preconditions=change_preconditions(predictor_arm_name(A, A)),
    )
    terms = (
        (1.0, changed_report_scores(predictor_arm_name(A, A), "right")),
        (-1.0, changed_report_scores(predictor_arm_name(A, A), "own")),
        (-1.0, changed_report_scores(predictor_arm_name(B, A), "right")),
        (1.0, changed_report_scores(predictor_arm_name(B, A), "own")),
    )
    yield Claim(
        id="follows-more-than-cross",
        text="A's reports follow the change more than B's reports about A do after the same change",
        source=f"{DESIGN_SOURCE}: the informative control, whose result the paper does not report",
        measure=Contrast(terms=terms),
        threshold=0.0,
        preconditions=change_preconditions(predictor_arm_name(A, A), predictor_arm_name(B, A)),
    )


def _long_answer_claims() -> Iterator[Claim]:
    self_reports, cross_reports = _third_word_reports(A), _third_word_reports(B)
    yield Claim(
        id="not-of-long-answers",
        text="A predicts the third word of its lists no better than B does",
        source=f"{INTROSPECTION_PAPER}, section 4 and appendix A.4: the third word stays at the baseline even after "
        "training",
        measure=Difference(a=self_reports, b=cross_reports),
        threshold=EQUIVALENCE_MARGIN,
        direction="below",
        preconditions=ability_preconditions(),
    )


def _third_word_reports(predictor: str) -> Selection:
    """A predictor's reports of the third word of A's lists."""
    return report_scores(predictor_arm_name(predictor, A), tasks=("list",), properties=(THIRD_WORD,))


def _planted_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    yield Claim(
        id="planted-channel-is-seen",
        text="Planted: a model that reads its own answer before the question shows a self advantage",
        source="a self-report channel by construction",
        measure=aloud_crossed_advantage(),
        threshold=2 * ADVANTAGE_MARGIN,
    )
    if LEAK_ABLATION in config.ablations:
        yield Claim(
            id="planted-memory-is-not",
            text="Planted: predictors that were also taught the tested strings are right, but A no more often than B",
            source="a memoriser by construction",
            measure=self_advantage(A, B, ablation=LEAK_ABLATION),
            threshold=EQUIVALENCE_MARGIN,
            direction="below",
            preconditions=tuple(map(_leak_precondition, TARGET_MODELS)),
        )


def _leak_precondition(predictor: str) -> Precondition:
    return Precondition(
        text=f"{predictor}'s reports on strings it was taught",
        measure=Mean(selection=report_scores(predictor_arm_name(predictor, A, LEAK_ABLATION))),
        above=0.8,
        by_interval=True,
    )


def _ablation_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    if LEFT_OUT_ABLATION in config.ablations:
        yield _left_out_claim()
    if NO_SLOT_ABLATION in config.ablations:
        yield _no_slot_claim()


def _left_out_claim() -> Claim:
    return Claim(
        id="left-out-property",
        text="A reports a property that it was never asked about better than the best constant",
        source=f"{DESIGN_SOURCE}: transfer to properties never trained, which the paper leaves open",
        measure=Contrast(
            terms=(
                (1.0, report_scores(predictor_arm_name(A, A, LEFT_OUT_ABLATION), properties=(LEFT_OUT_PROPERTY,))),
                (-1.0, text_baseline_scores(A, "oracle", properties=(LEFT_OUT_PROPERTY,))),
            )
        ),
        threshold=0.0,
        preconditions=ability_preconditions(A, ablation=LEFT_OUT_ABLATION),
    )


def _no_slot_claim() -> Claim:
    return Claim(
        id="slot-is-needed",
        text="Without the answer's place in the question A is no better about itself than B is",
        source=f"{DESIGN_SOURCE}: in a pilot reports stayed at the best constant without this place",
        measure=self_advantage(A, B, ablation=NO_SLOT_ABLATION),
        threshold=EQUIVALENCE_MARGIN,
        direction="below",
        preconditions=ability_preconditions(ablation=NO_SLOT_ABLATION),
    )
