"""How much work a step is, guessed from its spec, and how much waits behind it: the order in which steps are started.

A guess is a number of operations, of which the ratios alone count: 6 a weight and token of a training, 2 a weight and
token that is read. It needs no clock, so two runs of one plan start their steps in one order. `nosce.pipeline.cost`
has prices in seconds, which take minutes to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nosce.models.architecture import Architecture, ExtraLayers, Pretrained
from nosce.pipeline.step import Step
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.pipeline.steps.training import TrainingSpec

GUESSED_TEXT_TOKENS = 64  # of a text, where no corpus is there yet to tell
GUESSED_VOCABULARY = 1_000  # tokens
GUESSED_READ_TEXTS = 2_000  # that an evaluation reads of each checkpoint
EXPERIMENT_WORK = 1e13  # operations; an experiment trains a small network of its own
OTHER_WORK = 1e9  # operations; of corpora, checks and labels


def remaining_work(steps: Sequence[Step]) -> dict[str, float]:
    """The work of the longest chain of steps that begins with each step, by its name.

    Args:
        steps: Steps, each after its inputs. Inputs that are not among them are taken as done.
    """
    behind = dict.fromkeys((step.name for step in steps), 0.0)
    remaining: dict[str, float] = {}
    for step in reversed(steps):
        remaining[step.name] = behind[step.name] + expected_work(step)
        for given in step.inputs.values():
            if given.name in behind:
                behind[given.name] = max(behind[given.name], remaining[step.name])
    return remaining


def longest_first(steps: Sequence[Step], remaining: Mapping[str, float]) -> list[Step]:
    """The steps with the most work before their chain's end first; equal ones in their order."""
    return sorted(steps, key=lambda step: -remaining.get(step.name, 0.0))


def expected_work(step: Step) -> float:
    """A guess of a step's operations, from its spec alone."""
    spec = step.spec
    if isinstance(spec, TrainingSpec):
        texts = spec.training.steps * spec.training.batch_size
        return 6.0 * _weights(step) * texts * (spec.training.window or GUESSED_TEXT_TOKENS)
    if isinstance(spec, ExperimentStepSpec):
        return EXPERIMENT_WORK
    training_step = step.inputs.get("training")
    if not isinstance(spec, EvaluationStepSpec) or training_step is None:
        return OTHER_WORK
    n_checkpoints = len(_training_spec(training_step).training.checkpoint_steps)
    texts_forward = n_checkpoints * GUESSED_READ_TEXTS + 2 * spec.evaluation.n_training_texts
    return 2.0 * _weights(training_step) * texts_forward * GUESSED_TEXT_TOKENS


def _weights(training_step: Step) -> int:
    model = trained_model(training_step)
    if isinstance(model, Architecture):
        return model.parameter_count(GUESSED_VOCABULARY)
    return sum(file.stat().st_size for file in Path(model.folder).glob("*.safetensors")) // 4


def trained_model(step: Step) -> Architecture | Pretrained:
    """The model of a training, with the blocks that this training and those before it add."""
    spec, extra_layers = _training_spec(step), 0
    while spec.model is None or isinstance(spec.model, ExtraLayers):
        extra_layers += 0 if spec.model is None else spec.model.layers
        step = step.inputs["start"]
        spec = _training_spec(step)
    if not extra_layers:
        return spec.model
    assert isinstance(spec.model, Architecture)
    return replace(spec.model, layers=spec.model.layers + extra_layers)


def _training_spec(step: Step) -> TrainingSpec:
    assert isinstance(step.spec, TrainingSpec)
    return step.spec
