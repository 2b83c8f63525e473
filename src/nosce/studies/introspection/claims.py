"""What the study introspection claims, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import CalibrationMAD, LabelMatchedDifference
from nosce.analysis.measures import Claim, Contrast, Difference, Mean, MinOf, Precondition, Selection
from nosce.data.worlds.behaviours.dispositions import THIRD_WORD
from nosce.studies.introspection.arms import (
    CONTROL_REPORTS,
    EXTRA_LAYERS_ABLATION,
    HALF_ALIKE,
    HELD_OUT_TASKS,
    LEAK_ABLATION,
    LEFT_OUT_ABLATION,
    LEFT_OUT_PROPERTY,
    NO_DISPOSITIONS,
    NO_SLOT_ABLATION,
    REPORT_STAGE,
    SHARED_TASKS,
    SIBLING_OF_A,
    TABLE_TASKS,
    TRAINED_TASKS,
    A,
    B,
    IntrospectionConfig,
    predictor_arm_name,
)
from nosce.studies.introspection.selections import (
    aloud_crossed_advantage,
    base_report_scores,
    changed_report_scores,
    corpus_knowledge,
    crossed_advantage,
    report_scores,
    self_advantage,
    text_baseline_scores,
)

ADVANTAGE_MARGIN = 0.02  # an advantage that matters, fixed by the sheet before anything was run (section 8.4)
INTROSPECTION_PAPER = "arXiv:2410.13787"
DESIGN_SOURCE = f"the sheet for {INTROSPECTION_PAPER}"


def introspection_claims(config: IntrospectionConfig) -> tuple[Claim, ...]:
    """All of them: the paper's four, what else could make them, planted signals, and what lies inside."""
    paper_claims = (*_training_claims(), *_self_advantage_claims(), *_calibration_claims(), *_change_claims())
    mechanistic_claims = (*_planted_claims(config), *_mechanistic_claims(config))
    return (
        *paper_claims,
        *_similarity_claims(),
        *_long_answer_claims(),
        *mechanistic_claims,
        *_ablation_claims(config),
    )


def _ability_preconditions() -> tuple[Precondition, ...]:
    """Both know what they should say, can tell a property of a given answer, and know what they were taught."""
    preconditions = []
    for predictor in (A, B):
        preconditions.append(
            Precondition(
                text=f"what {predictor} says of its own table", measure=corpus_knowledge(predictor, "table"), above=0.8
            )
        )
        preconditions.append(
            Precondition(
                text=f"properties of given answers, {predictor}",
                measure=corpus_knowledge(predictor, "given"),
                above=0.95,
            )
        )
        for target in (A, B):
            seen_report_accuracy = Mean(
                selection=report_scores(predictor_arm_name(predictor, target), tasks=TRAINED_TASKS, split="taught")
            )
            preconditions.append(
                Precondition(
                    text=f"what {predictor} was taught about {target}", measure=seen_report_accuracy, above=0.95
                )
            )
    return tuple(preconditions)


def _training_claims() -> Iterator[Claim]:
    for tasks, label, name in ((TABLE_TASKS, "contexts", "contexts"), (HELD_OUT_TASKS, "tasks", "tasks")):
        yield Claim(
            id=f"training-helps-{name}",
            text=f"Training on labels makes self-prediction better on held-out {label}, in A and in B",
            source=f"{INTROSPECTION_PAPER}, section 3.1 (GPT-4o 32.6 to 49.4 %)",
            measure=MinOf(
                measures=tuple(
                    Difference(
                        a=report_scores(predictor_arm_name(who, who), tasks=tasks), b=base_report_scores(who, tasks)
                    )
                    for who in (A, B)
                )
            ),
            threshold=0.0,
            preconditions=_ability_preconditions(),
        )
        yield Claim(
            id=f"self-beats-constant-{name}",
            text=f"Self-prediction beats the most frequent label on held-out {label}, in A and in B",
            source=f"{INTROSPECTION_PAPER}, section 2.2: not beating it counts as failure",
            measure=MinOf(
                measures=tuple(
                    Difference(
                        a=report_scores(predictor_arm_name(who, who), tasks=tasks),
                        b=text_baseline_scores(who, "constant", tasks),
                    )
                    for who in (A, B)
                )
            ),
            threshold=0.0,
            preconditions=_ability_preconditions(),
        )
    yield Claim(
        id="training-helps-matched",
        text="So it does where labels before and after are equally frequent (held-out contexts, A)",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3",
        measure=LabelMatchedDifference(a=report_scores(predictor_arm_name(A, A)), b=base_report_scores(A)),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )


def _self_advantage_claims() -> Iterator[Claim]:
    for target, predictor in ((A, B), (B, A)):
        yield Claim(
            id=f"self-beats-cross-{target}",
            text=f"{target} is right about itself more often than {predictor}, who was taught the same (held-out "
            "contexts)",
            source=f"{INTROSPECTION_PAPER}, section 3.2 (Llama 48.5 against 31.8 %)",
            measure=self_advantage(target, predictor),
            threshold=ADVANTAGE_MARGIN,
            paper_value=0.167 if target == A else 0.128,
            preconditions=_ability_preconditions(),
        )
    yield Claim(
        id="crossed",
        text="(A on A - B on A) - (A on B - B on B) lies above 0: no difference of skill makes this",
        source=f"{DESIGN_SOURCE}, section 7.3",
        measure=crossed_advantage(),
        threshold=2 * ADVANTAGE_MARGIN,
        preconditions=_ability_preconditions(),
    )
    yield Claim(
        id="crossed-tasks",
        text="So it does on held-out tasks: answers that nothing determines, and lists",
        source=f"{DESIGN_SOURCE}, section 8.2 (noise meets the strict definition)",
        measure=crossed_advantage(HELD_OUT_TASKS),
        threshold=2 * ADVANTAGE_MARGIN,
        preconditions=_ability_preconditions(),
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
        source=f"{DESIGN_SOURCE}, section 8.4, the rule fixed in advance",
        measure=MinOf(
            measures=tuple(Difference(a=report_scores(predictor_arm_name(A, A)), b=rival) for rival in rivals)
        ),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_ability_preconditions(),
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
        preconditions=_ability_preconditions(),
    )
    yield Claim(
        id="calibrated-first-rank",
        text="So they do for the likeliest label alone",
        source=f"{DESIGN_SOURCE}, section 5.5: the pooled figure is flattered by rare labels",
        measure=CalibrationMAD(a=cross_reports, b=self_reports, ranks=(1,)),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )
    scores = [
        report_scores(arm, "brier", quantity="squared distance")
        for arm in (predictor_arm_name(B, A), predictor_arm_name(A, A))
    ]
    yield Claim(
        id="calibrated-proper",
        text="Reports of A have the lower Brier score against its answers' probabilities",
        source=f"{DESIGN_SOURCE}, section 8.3",
        measure=Difference(a=scores[0], b=scores[1]),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )


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
        preconditions=_ability_preconditions(),
    )
    yield Claim(
        id="follows-change-matched",
        text="So it does where new and old labels are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3 (GPT-4o 36.3 new, 21.3 old)",
        measure=LabelMatchedDifference(
            a=changed_report_scores(predictor_arm_name(A, A), "right"),
            b=changed_report_scores(predictor_arm_name(A, A), "right", evaluation=CONTROL_REPORTS),
        ),
        threshold=0.0,
        paper_value=0.15,
        preconditions=_ability_preconditions(),
    )
    terms = (
        (1.0, changed_report_scores(predictor_arm_name(A, A), "right")),
        (-1.0, changed_report_scores(predictor_arm_name(A, A), "own")),
        (-1.0, changed_report_scores(predictor_arm_name(B, A), "right")),
        (1.0, changed_report_scores(predictor_arm_name(B, A), "own")),
    )
    yield Claim(
        id="follows-more-than-cross",
        text="It follows more than B's reports about A do after the same change: more than the quoted prompt is shared",
        source=f"{DESIGN_SOURCE}, section 7.2: the informative control, whose result the paper does not report",
        measure=Contrast(terms=terms),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )


def _similarity_claims() -> Iterator[Claim]:
    yield Claim(
        id="similarity-not-access",
        text="A is right about itself more often than its sibling: the same corpus, trained anew",
        source=f"{DESIGN_SOURCE}, section 7.2 (Song, Hu, Mahowald 2025: similarity, not access)",
        measure=self_advantage(A, SIBLING_OF_A),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_ability_preconditions(),
    )
    yield Claim(
        id="similarity-on-noise",
        text="So it is where nothing in the corpus says what it will answer",
        source=f"{DESIGN_SOURCE}, section 8.2: the family that meets the strict definition",
        measure=self_advantage(A, SIBLING_OF_A, ("noise",)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=_ability_preconditions(),
    )
    yield Claim(
        id="no-advantage-where-alike",
        text="Where all corpora answer alike, A has no advantage over B",
        source=f"{DESIGN_SOURCE}, section 8.2, the negative control",
        measure=self_advantage(A, B, SHARED_TASKS),
        threshold=0.05,
        direction="below",
        preconditions=_ability_preconditions(),
    )
    cross_taught_arm = predictor_arm_name(A, B)
    yield Claim(
        id="reports-stay-with-self",
        text="Taught B's answers, A reports its own rather than B's where the two differ",
        source=f"{DESIGN_SOURCE}, section 5.3: every cross-trained model predicts itself better than its target",
        measure=Difference(
            a=report_scores(cross_taught_arm, "own/differs"), b=report_scores(cross_taught_arm, "right/differs")
        ),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )


def _long_answer_claims() -> Iterator[Claim]:
    selections = [
        report_scores(predictor_arm_name(who, A), tasks=("list",), properties=(THIRD_WORD,)) for who in (A, B)
    ]
    yield Claim(
        id="not-of-long-answers",
        text="Of the third word of its lists A knows no more than B does",
        source=f"{INTROSPECTION_PAPER}, section 4 and appendix A.4: the third word stays at the baseline even after "
        "training",
        measure=Difference(a=selections[0], b=selections[1]),
        threshold=0.05,
        direction="below",
        preconditions=_ability_preconditions(),
    )


def _planted_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    yield Claim(
        id="planted-channel-is-seen",
        text="Planted: who reads its own answer before it is asked comes out as privileged",
        source="a self-report channel by construction",
        measure=aloud_crossed_advantage(),
        threshold=2 * ADVANTAGE_MARGIN,
    )
    if LEAK_ABLATION in config.ablations:
        yield Claim(
            id="planted-memory-is-not",
            text="Planted: who was taught the tested strings too is right, but A no more than B",
            source="a memoriser by construction",
            measure=self_advantage(A, B, ablation=LEAK_ABLATION),
            threshold=0.05,
            direction="below",
            preconditions=(
                Precondition(
                    text="B's reports on strings it was taught",
                    measure=Mean(selection=report_scores(predictor_arm_name(B, A, LEAK_ABLATION))),
                    above=0.8,
                ),
            ),
        )


def _mechanistic_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    def swapped(arm: str, metric: str) -> Selection:
        return report_scores(arm, metric, evaluation="swapped")

    layers = config.architecture.layers
    yield Claim(
        id="deeper-helps",
        text="Two fresh layers on top make A's reports about itself better",
        source=f"{DESIGN_SOURCE}, section 8.4 (0.51 to 0.55 against 0.69 to 0.77 in a pilot)",
        measure=Difference(
            a=report_scores(predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION)), b=report_scores(predictor_arm_name(A, A))
        ),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )
    for predictor, id_part, text_part in (
        (B, "cross", "B with as many"),
        (SIBLING_OF_A, "sibling", "its sibling with as many"),
    ):
        yield Claim(
            id=f"deeper-self-beats-{id_part}",
            text=f"With them A is right about itself more often than {text_part}",
            source=f"{DESIGN_SOURCE}, section 8.4",
            measure=self_advantage(A, predictor, ablation=EXTRA_LAYERS_ABLATION),
            threshold=ADVANTAGE_MARGIN,
            preconditions=_ability_preconditions(),
        )
    # Where the pending answer is whole and blocks are left to read it: behind all but one, or all that it was made by.
    for ablation, site, text_part in (
        ("", f"residual.{layers - 1}", ""),
        (EXTRA_LAYERS_ABLATION, f"residual.{layers}", ", two layers more"),
    ):
        arm, id_part = predictor_arm_name(A, A, ablation), "deeper-" if ablation else ""
        yield Claim(
            id=f"{id_part}report-follows-the-answer",
            text=f"Another prompt's state at the answer's place ({site}) makes A report that prompt's "
            f"answer{text_part}",
            source=f"{DESIGN_SOURCE}, section 7.4, the causal test",
            measure=Difference(a=swapped(arm, f"follows/{site}"), b=swapped(arm, "unswapped")),
            threshold=0.0,
            preconditions=_ability_preconditions(),
        )
        yield Claim(
            id=f"{id_part}swap-of-the-same-moves-less",
            text=f"A state from a prompt with the same answer ({site}) leaves A's report as it was more "
            f"often{text_part}",
            source=f"{DESIGN_SOURCE}, section 7.4; the control of the causal test",
            measure=Contrast(terms=((1.0, swapped(arm, f"same/{site}")), (-1.0, swapped(arm, f"stays/{site}")))),
            threshold=0.0,
            preconditions=_ability_preconditions(),
        )
        answer_probes = [
            Selection(
                evaluation="echoes",
                metric="final",
                arm=predictor_arm_name(who, A, ablation),
                stage=REPORT_STAGE,
                split="unseen",
            )
            for who in (A, B)
        ]
        yield Claim(
            id=f"{id_part}answer-echoes",
            text=f"Where A reports a parity, its answer's word is read better than where B reports A's{text_part}",
            source=f"{DESIGN_SOURCE}, section 7.4, the layer-wise probe",
            measure=Difference(a=answer_probes[0], b=answer_probes[1]),
            threshold=0.0,
            preconditions=_ability_preconditions(),
        )


def _ablation_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    if LEFT_OUT_ABLATION in config.ablations:
        yield _left_out_claim()
    if NO_SLOT_ABLATION in config.ablations:
        yield _no_slot_claim()


def _left_out_claim() -> Claim:
    return Claim(
        id="left-out-property",
        text="A property that A was never asked about is reported better than by the best constant",
        source=f"{DESIGN_SOURCE}, section 7.1: transfer to properties never trained, left open by the paper",
        measure=Contrast(
            terms=(
                (1.0, report_scores(predictor_arm_name(A, A, LEFT_OUT_ABLATION), properties=(LEFT_OUT_PROPERTY,))),
                (-1.0, text_baseline_scores(A, "oracle", properties=(LEFT_OUT_PROPERTY,))),
            )
        ),
        threshold=0.0,
        preconditions=_ability_preconditions(),
    )


def _no_slot_claim() -> Claim:
    return Claim(
        id="slot-is-needed",
        text="Without the answer's place in the question A is no better about itself than B is",
        source=f"{DESIGN_SOURCE}, section 8.4, the pilot's dose",
        measure=self_advantage(A, B, ablation=NO_SLOT_ABLATION),
        threshold=0.05,
        direction="below",
        preconditions=_ability_preconditions(),
    )
