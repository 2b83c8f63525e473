"""The arms of the study emergence: two ladders of transformers, and three ladders of networks that read images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nosce.evals.base import Experiment
from nosce.models.architecture import Architecture
from nosce.studies.emergence.config import EmergenceConfig, SizeLadderConfig
from nosce.studies.emergence.selections import SizeLadder, VisionLadder
from nosce.studies.emergence.vision.classes import ImageClassification
from nosce.studies.emergence.vision.reconstruction import ImageReconstruction
from nosce.studies.emergence.vision.sequences import InContextNaming
from nosce.study import Arm, ExperimentSpec
from nosce.train.config import TrainingConfig


def ladder_arms(ladder_config: SizeLadderConfig) -> tuple[Arm, ...]:
    """The arms of a ladder, one a width."""
    tested_arms = [_arm(ladder_config, width) for width in ladder_config.widths]
    untested_arms = [replace(_arm(ladder_config, width), n_seeds=1) for width in ladder_config.untested_widths]
    return (*tested_arms, *untested_arms)


def peak_lr_for_width(width: int) -> float:
    """Peak learning rates by width, from the search in benchmarks/ladder.csv."""
    if width <= 24:
        return 1e-2
    return 5e-3 if width <= 64 else 2e-3


def size_ladder(ladder_config: SizeLadderConfig) -> SizeLadder:
    """What claims and figures need to know of a ladder."""
    arms = ladder_arms(ladder_config)
    widths = (*ladder_config.widths, *ladder_config.untested_widths)
    points = [(_n_block_parameters(ladder_config, w), arm.name) for w, arm in zip(widths, arms, strict=True)]
    n_tested = len(ladder_config.widths)
    world = ladder_config.world
    prompt, answer = world.prompt_and_answer(0, world.operations[0], 0)
    n_tokens = len(prompt) + len(answer) + 1
    return SizeLadder(
        name=ladder_config.name,
        points=tuple(points[:n_tested]),
        untested_points=tuple(points[n_tested:]),
        checkpoint_steps=arms[0].training.checkpoint_steps,
        tokens_per_step=float(ladder_config.batch_size * n_tokens),
        answer_digits=world.answer_digits,
    )


@dataclass(frozen=True)
class VisionRuns:
    """The networks of one kind, by size.

    Args:
        ladder: What claims and figures need to know of them.
        experiments: A network each.
    """

    ladder: VisionLadder
    experiments: tuple[ExperimentSpec, ...]


def vision_runs(config: EmergenceConfig) -> tuple[VisionRuns, VisionRuns, VisionRuns]:
    """Autoencoders, classifiers, and decoders that name images in context."""
    autoencoders = [(units, _reconstruction(config, units)) for units in config.bottlenecks]
    classifiers = [(units, _classification(config, units)) for units in config.hidden_units]
    decoders = [(width, _in_context_naming(config, width)) for width in config.sequence_widths]
    return (
        _vision_runs("reconstruction", autoencoders),
        _vision_runs("classes", classifiers),
        _vision_runs("sequences", decoders),
    )


def _reconstruction(config: EmergenceConfig, bottleneck: int) -> ImageReconstruction:
    return ImageReconstruction(bottleneck=bottleneck, epochs=config.reconstruction_epochs)


def _classification(config: EmergenceConfig, hidden_units: int) -> ImageClassification:
    return ImageClassification(hidden_units=hidden_units, epochs=config.classification_epochs)


def _in_context_naming(config: EmergenceConfig, width: int) -> InContextNaming:
    return InContextNaming(width=width, steps=config.sequence_steps, n_test_sequences=config.n_test_sequences)


def _vision_runs(kind: str, sized_experiments: Sequence[tuple[int, Experiment]]) -> VisionRuns:
    points, experiments = [], []
    for size, experiment in sized_experiments:
        name = f"{kind} {size}"
        points.append((float(size), name))
        experiments.append(ExperimentSpec(name=name, experiment=experiment))
    return VisionRuns(VisionLadder(kind=kind, points=tuple(points)), tuple(experiments))


def _arm(ladder_config: SizeLadderConfig, width: int) -> Arm:
    steps = ladder_config.steps
    first_checkpoint = min(ladder_config.first_checkpoint, steps)
    checkpoint_steps = np.unique(np.round(np.geomspace(first_checkpoint, steps, ladder_config.n_checkpoints)))
    training = TrainingConfig(
        steps=steps,
        batch_size=ladder_config.batch_size,
        peak_lr=peak_lr_for_width(width),
        min_lr_ratio=0.05,
        checkpoint_fractions=tuple(float(step) / steps for step in checkpoint_steps),
    )
    architecture = Architecture(
        family="gpt2", layers=ladder_config.layers, width=width, heads=max(1, width // 16), max_positions=32
    )
    return Arm(
        name=f"{ladder_config.name} {ladder_config.layers}x{width}",
        world=ladder_config.world,
        model=architecture,
        training=training,
        tokenizer=ladder_config.world.tokenizer,
    )


def _n_block_parameters(ladder_config: SizeLadderConfig, width: int) -> float:
    """Weights of the blocks, with biases and norms: what a size is on every axis here."""
    return float(ladder_config.layers * (12 * width * width + 13 * width))
