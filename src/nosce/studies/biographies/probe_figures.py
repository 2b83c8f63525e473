"""The figures of the study biographies on probes, on celebrities, and on networks that read both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.figures import (
    BarFigure,
    Figure,
    LineFigure,
    LinePoint,
)
from nosce.analysis.measures import Mean, Measure
from nosce.analysis.selection import Selection
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
    bidirectional_arm_name,
    mixed_arm_name,
)
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    MULTI5_PERMUTE_FULLNAME,
    SINGLE_PERMUTE1,
    TWO_AUGMENTATIONS,
    WITH_CELEBRITIES,
    BiographiesConfig,
)
from nosce.studies.biographies.evals import (
    TOKEN_RECALL,
    q_probe_name,
    rank0_probe_name,
)
from nosce.studies.biographies.figure_parts import (
    INTERVAL_CAPTION,
    P_PROBE_PANEL,
    Q_PROBE_PANEL,
    UNSEEN_PEOPLE_CAPTION,
    bar_figure,
)
from nosce.studies.biographies.selections import (
    control_p_probe_accuracy,
    control_q_probe_accuracy,
    extraction_accuracy,
    majority_accuracy,
    minority_p_probe_accuracy,
    minority_q_probe_accuracy,
    mixed_extraction_accuracy,
    q_probe_accuracy,
    recall_accuracy,
)
from nosce.study import PRETRAIN


def probe_figures(config: BiographiesConfig) -> tuple[Figure, ...]:
    """What can be read from a name, and before a value."""
    return (
        _p_probe_figure(),
        _q_probe_figure(config),
        _probe_vs_extraction_figure(config),
        *_probe_train_size_figures(config),
        _layers_figure(config),
    )


def contrast_figures(config: BiographiesConfig) -> tuple[Figure, ...]:
    """Celebrities beside people with one text, and networks that read both ways."""
    celebrities = (_celebrities_figure(config),) if config.n_celebrities else ()
    if not config.bidirectional_augmentations:
        return celebrities
    return (*celebrities, _bidirectional_figure(config), _bidirectional_memory_figure(config))


def _p_probe_figure() -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for arm in TWO_AUGMENTATIONS:
            for attribute in reversed(PERSON_ATTRIBUTES):  # the first stands at the bottom
                for position in range(len(PERSON_ATTRIBUTES)):
                    select = Selection(
                        evaluation="p-probe",
                        arm=arm,
                        metric=f"first/{position}",
                        attributes=(attribute,),
                        stage=PRETRAIN,
                    )
                    yield f"{position}", attribute.replace("_", " "), Mean(selection=select), arm, False

    return bar_figure(
        "p-probe",
        "Where in a biography can which value be read?",
        "First-token accuracy (%) of probes with a rank-2 update of the input embedding, at the place right "
        "before each value in reading order; values already stated are left out. Tested on people whom no probe "
        "was trained on.",
        "",
        cells(),
        kind="matrix",
        x_label="values stated before",
    )


def _q_probe_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for row in (*config.augmentations, *map(bidirectional_arm_name, config.bidirectional_augmentations)):
            for part, panel in (("first", "first token"), ("whole", "whole value (no birth dates)")):
                yield row, "read from the name", Mean(selection=q_probe_accuracy(row, part)), panel, False
                yield row, "most frequent class", Mean(selection=q_probe_accuracy(row, f"{part}/constant")), panel, True

    return bar_figure(
        "q-probe",
        "What can be read from the name alone?",
        "Probes with a rank-16 update of the input embedding, behind the name between two end tokens. "
        f"{UNSEEN_PEOPLE_CAPTION}",
        "accuracy",
        cells(),
    )


def _probe_vs_extraction_figure(config: BiographiesConfig) -> LineFigure:
    points = []
    for row in config.augmentations:
        probe_accuracy, qa_accuracy = Mean(selection=q_probe_accuracy(row)), Mean(selection=extraction_accuracy(row))
        points.append(LinePoint(probe_accuracy, row, qa_accuracy))
    return LineFigure(
        id="probe-against-questions",
        title="Does the probe predict what can be extracted?",
        caption="What Q-probing reads from the name (first tokens) against exact answers after fine-tuning, "
        f"row by row. {UNSEEN_PEOPLE_CAPTION}",
        x_label="read from the name",
        y_label="asked, exact match",
        points=tuple(points),
        x_scale="linear",
    )


def _probe_train_size_figures(config: BiographiesConfig) -> Iterator[LineFigure]:
    """None where Q-probing learns from one number of people alone."""
    if not config.q_probe_train_sizes:
        return
    points = []
    for n_people in (*config.q_probe_train_sizes, config.world.people // 2):
        evaluation = "q-probe" if n_people == config.world.people // 2 else q_probe_name(n_people)
        for part, panel in (("first", "first token"), ("whole", "whole value (no birth dates)")):
            for metric, group in ((part, "read from the name"), (f"{part}/constant", "most frequent class")):
                points.append(
                    LinePoint(
                        float(n_people),
                        group,
                        Mean(selection=q_probe_accuracy(MULTI5_PERMUTE, metric, evaluation)),
                        panel=panel,
                    )
                )
    yield LineFigure(
        id="probe-people",
        title="Do probes read less because they learn from few people?",
        caption=f"Q-probing of {MULTI5_PERMUTE} by how many people it learns from, all else equal; "
        f"as many others are read. {INTERVAL_CAPTION}",
        x_label="people a probe learns from",
        y_label="accuracy",
        points=tuple(points),
        x_scale="log",
    )


def _layers_figure(config: BiographiesConfig) -> LineFigure:
    sites = [*(f"residual.{number}" for number in range(config.architecture.layers)), "final"]
    points = []
    for arm in TWO_AUGMENTATIONS:
        for x, site in enumerate(sites):
            probe = Selection(evaluation=rank0_probe_name(site), arm=arm, metric="first", stage=PRETRAIN)
            points.append(LinePoint(float(x), "read from the name, rank 0", Mean(selection=probe), panel=arm))
            for patched_tokens, group in (
                ("whole", "answer follows the name's states"),
                ("last", "... its last state alone"),
            ):
                donor_answers = Selection(
                    evaluation="renamed", metric=f"{patched_tokens}/follows/{site}", arm=arm, stage=FINETUNE_STAGE
                )
                points.append(LinePoint(float(x), group, Mean(selection=donor_answers), panel=arm))
    return LineFigure(
        id="layers",
        title="What can be read, and what does the model use?",
        caption="By layer: first tokens read from the name's end by probes that update nothing (rank "
        "0), and how often the answer becomes a donor's where the states of the name are exchanged for "
        f"theirs. {UNSEEN_PEOPLE_CAPTION}",
        x_label="blocks passed",
        y_label="share",
        points=tuple(points),
        x_scale="linear",
    )


def _control_cells(
    config: BiographiesConfig, attribute: str, tick: str
) -> Iterator[tuple[str, str, Measure, str, bool]]:
    panels = ((control_q_probe_accuracy(config), Q_PROBE_PANEL), (control_p_probe_accuracy(), P_PROBE_PANEL))
    for selection, panel in panels:
        measure = Mean(selection=replace(selection, attributes=(attribute,)))
        yield tick, f"control: {MULTI5_PERMUTE}", measure, panel, False


def _celebrities_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for attribute in PERSON_ATTRIBUTES:
            tick = attribute.replace("_", " ")
            for arm, group in ((SINGLE_PERMUTE1, "alone"), (WITH_CELEBRITIES, "with celebrities")):
                yield tick, group, Mean(selection=extraction_accuracy(arm, (attribute,))), "questions", False
                q_probe = replace(minority_q_probe_accuracy(arm), attributes=(attribute,))
                yield tick, group, Mean(selection=q_probe), Q_PROBE_PANEL, False
                p_probe = replace(minority_p_probe_accuracy(arm), attributes=(attribute,))
                yield tick, group, Mean(selection=p_probe), P_PROBE_PANEL, False
                if arm == WITH_CELEBRITIES:
                    yield from _control_cells(config, attribute, tick)
                if arm == SINGLE_PERMUTE1:
                    for selection, panel in ((q_probe, Q_PROBE_PANEL), (p_probe, P_PROBE_PANEL)):
                        constant = replace(selection, metric=f"{selection.metric}/constant")
                        yield tick, "most frequent", Mean(selection=constant), panel, True
            yield (
                tick,
                "most frequent",
                Mean(selection=replace(majority_accuracy(SINGLE_PERMUTE1), attributes=(attribute,))),
                "questions",
                True,
            )

    return bar_figure(
        "celebrities",
        "Do celebrities' biographies help people who have one?",
        "People with one text: alone (questions about half of them trained), and among celebrities with five "
        "shuffled wordings (only questions about celebrities trained). Controls are probes that learn from as "
        f"many people and texts of a row whose knowledge is extractable. {UNSEEN_PEOPLE_CAPTION}",
        "accuracy",
        cells(),
    )


def _bidirectional_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        for attribute in PERSON_ATTRIBUTES:
            tick = attribute.replace("_", " ")
            for row in config.bidirectional_augmentations:
                yield (
                    tick,
                    f"{bidirectional_arm_name(row)}, fine-tuned",
                    Mean(selection=extraction_accuracy(bidirectional_arm_name(row), (attribute,))),
                    "",
                    False,
                )
            mixed_arm = bidirectional_arm_name(mixed_arm_name(MULTI5_PERMUTE_FULLNAME))
            yield tick, mixed_arm, Mean(selection=mixed_extraction_accuracy(mixed_arm, (attribute,))), "", False
            yield (
                tick,
                f"causal {MULTI5_PERMUTE}, fine-tuned",
                Mean(selection=extraction_accuracy(MULTI5_PERMUTE, (attribute,))),
                "",
                False,
            )
            yield (
                tick,
                "majority guess",
                Mean(selection=replace(majority_accuracy(MULTI5_PERMUTE), attributes=(attribute,))),
                "",
                True,
            )

    return bar_figure(
        "both-ways",
        "A bidirectional model",
        "Trained on masked words, then fine-tuned on answers that are masked whole, or mixed; the mask "
        f"shows how long an answer is. {UNSEEN_PEOPLE_CAPTION}",
        "exact match",
        cells(),
    )


def _bidirectional_memory_figure(config: BiographiesConfig) -> BarFigure:
    def cells() -> Iterator[tuple[str, str, Measure, str, bool]]:
        mixed_arm = bidirectional_arm_name(mixed_arm_name(MULTI5_PERMUTE_FULLNAME))
        for arm in (*map(bidirectional_arm_name, config.bidirectional_augmentations), mixed_arm):
            extraction = mixed_extraction_accuracy(arm) if arm == mixed_arm else extraction_accuracy(arm)
            if arm != mixed_arm:
                token_recall = Selection(evaluation=TOKEN_RECALL, arm=arm, stage=PRETRAIN)
                yield arm, "words of values, all others shown", Mean(selection=token_recall), "", False
            yield arm, "values whole", Mean(selection=recall_accuracy(arm)), "", False
            yield arm, "questions that were trained on", Mean(selection=replace(extraction, split="seen")), "", False
            yield arm, "questions about others", Mean(selection=extraction), "", False

    return bar_figure(
        "both-ways-knows",
        "What a bidirectional model has memorised",
        "Each word of a value masked by itself, as in training; all words of a value masked at once; "
        f"and questions. {INTERVAL_CAPTION}",
        "exact match",
        cells(),
    )
