"""The figures of the study introspection that look inside the network: patching and probes of the pending answer."""

from __future__ import annotations

from nosce.analysis.figures import LineFigure, LinePoint
from nosce.analysis.measures import Mean
from nosce.studies.introspection.arms import EXTRA_LAYERS_ABLATION, A, B, predictor_arm_name
from nosce.studies.introspection.config import IntrospectionConfig
from nosce.studies.introspection.selections import answer_probe_scores, patched_report_scores

#: The arms whose pending answers are patched and probed: predictors of A, and A with extra layers.
MECHANISTIC_ARMS = {
    predictor_arm_name(A, A): "A about itself",
    predictor_arm_name(B, A): "B about A",
    predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION): "A about itself, 2 layers more",
}


def _num_layers(config: IntrospectionConfig, arm: str) -> int:
    """Layers of an arm."""
    return config.architecture.layers + (config.extra_layers if EXTRA_LAYERS_ABLATION in arm else 0)


def answer_patching_figure(config: IntrospectionConfig) -> LineFigure:
    """What a report says when another prompt's state is patched in at the answer's place, by layer."""
    labels = {
        "moved": "pending answer is the donor's",
        "follows": "report is of the donor's answer",
        "same": "unmoved by a donor with the same answer",
    }
    points = []
    for arm, panel in MECHANISTIC_ARMS.items():
        for metric, label in labels.items():
            for layer in range(_num_layers(config, arm)):
                share = Mean(selection=patched_report_scores(arm, f"{metric}/residual.{layer}"))
                points.append(LinePoint(float(layer), label, share, panel=panel))
    return LineFigure(
        id="swaps",
        title="Another prompt's state at the answer's place",
        caption="Patched at one layer, while the question stays. B's pending answers are its own. Tables.",
        x_label="layer",
        y_label="share",
        x_scale="linear",
        points=tuple(points),
    )


def answer_probe_figure(config: IntrospectionConfig) -> LineFigure:
    """How often a probe reads the answer that a report is about, by layer."""
    points = []
    for arm, group in MECHANISTIC_ARMS.items():
        for layer in range(_num_layers(config, arm)):
            site = f"residual.{layer}"
            trained = Mean(selection=answer_probe_scores(arm, site))
            shuffled = Mean(selection=answer_probe_scores(arm, f"shuffled/{site}"))
            points.append(LinePoint(float(layer), group, trained))
            points.append(LinePoint(float(layer), f"{group}, shuffled", shuffled, baseline=True))
    return LineFigure(
        id="echoes",
        title="A's answer, read where its parity is reported",
        caption="A linear probe for the answer's word at the end of a question that asks for its parity, by layer; "
        "trained on seen strings, tested on others. Dashed: trained with shuffled words.",
        x_label="layer",
        y_label="words read right",
        x_scale="linear",
        points=tuple(points),
    )
