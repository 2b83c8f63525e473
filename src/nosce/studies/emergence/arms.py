"""The arms of the study emergence: two ladders of transformers, and three ladders of networks that read images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nosce.evals.base import Experiment
from nosce.models.architecture import Architecture
from nosce.studies.emergence.config import EmergenceConfig, SizeLadderConfig
from nosce.studies.emergence.selections import (
    DIGITS_ERROR_THRESHOLDS,
    LengthRuns,
    SizeLadder,
    TransferRuns,
    VisionLadder,
)
from nosce.studies.emergence.vision.classes import ImageClassification
from nosce.studies.emergence.vision.images import DEFAULT_IMAGES, ImageDatasetConfig
from nosce.studies.emergence.vision.published import PUBLISHED_IMAGES
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
    if width <= 256:
        return 5e-3 if width <= 64 else 2e-3
    return 1e-3 if width <= 512 else 5e-4  # not searched: halved with each doubling


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


def length_runs(config: EmergenceConfig) -> LengthRuns | None:
    """What claims and figures need to know of the arms that learn several lengths; None where they are not trained."""
    if not config.by_length:
        return None
    ladder = config.lengths
    points = [(_n_block_parameters(ladder, w), _arm_name(ladder, w)) for w in ladder.widths]
    world = ladder.world
    shortest, longest = min(world.operand_lengths), max(world.operand_lengths)
    return LengthRuns(
        smallest_arm=points[0][1],
        middle_arm=points[len(points) // 2][1],
        arms=tuple(points[1:]),
        answer_lengths=tuple(range(shortest, longest + world.resolved_second_digits + 1)),
    )


def transfer_runs(config: EmergenceConfig) -> TransferRuns | None:
    """The same of the arms that learn two tasks together.

    The width at which they are held against products alone is the middle one of those that both have.
    """
    if not config.tasks_together:
        return None
    alone, together = config.products, config.together
    common = [width for width in together.widths if width in alone.widths]
    middle = common[len(common) // 2]
    return TransferRuns(
        ladder=size_ladder(together),
        compared_arms=(_arm_name(alone, middle), _arm_name(together, middle)),
        alone=tuple((_n_block_parameters(alone, w), _arm_name(alone, w)) for w in alone.widths),
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
    """Autoencoders, classifiers, and decoders that name images in context.

    Raises:
        SpecError: The folder of images lacks a published file, or has another one.
    """
    images = _images_by_kind(config)
    autoencoders = [(units, _reconstruction(config, units, images["reconstruction"])) for units in config.bottlenecks]
    classifiers = [(units, _classification(config, units, images["classes"])) for units in config.hidden_units]
    decoders = [(width, _in_context_naming(config, width, images["sequences"])) for width in config.sequence_widths]
    return (
        _vision_runs(_vision_ladder(config, "reconstruction"), autoencoders),
        _vision_runs(_vision_ladder(config, "classes"), classifiers),
        _vision_runs(_vision_ladder(config, "sequences"), decoders),
    )


#: The published images of each kind of network (arXiv:2304.15004, section 5).
PUBLISHED_BY_KIND = {"reconstruction": "cifar-100", "classes": "mnist", "sequences": "omniglot"}
PIXELS_OF_DIGITS, PIXELS_OF_CIFAR = 8 * 8, 32 * 32


def _images_by_kind(config: EmergenceConfig) -> dict[str, ImageDatasetConfig]:
    if not config.images_folder:
        return dict.fromkeys(PUBLISHED_BY_KIND, DEFAULT_IMAGES)
    folder = config.images_folder
    return {kind: ImageDatasetConfig.from_published(folder, name) for kind, name in PUBLISHED_BY_KIND.items()}


def _error_thresholds(config: EmergenceConfig) -> tuple[float, ...]:
    """Squared errors of an image below which it counts as reconstructed: as much a pixel for every kind of images."""
    factor = PIXELS_OF_CIFAR / PIXELS_OF_DIGITS if config.images_folder else 1.0
    return tuple(factor * threshold for threshold in DIGITS_ERROR_THRESHOLDS)


def _reconstruction(config: EmergenceConfig, bottleneck: int, images: ImageDatasetConfig) -> ImageReconstruction:
    return ImageReconstruction(
        bottleneck=bottleneck,
        images=images,
        epochs=config.reconstruction_epochs,
        error_thresholds=_error_thresholds(config),
    )


def _classification(config: EmergenceConfig, hidden_units: int, images: ImageDatasetConfig) -> ImageClassification:
    return ImageClassification(
        hidden_units=hidden_units,
        images=images,
        epochs=config.classification_epochs,
        architecture=config.classifier,
        subset_accuracy=True,
    )


def _in_context_naming(config: EmergenceConfig, width: int, images: ImageDatasetConfig) -> InContextNaming:
    return InContextNaming(
        width=width, images=images, steps=config.sequence_steps, n_test_sequences=config.n_test_sequences
    )


def _vision_ladder(config: EmergenceConfig, kind: str) -> VisionLadder:
    """A ladder without its points."""
    return VisionLadder(
        kind=kind,
        points=(),
        error_thresholds=_error_thresholds(config),
        size_label="channels" if (kind, config.classifier) == ("classes", "lenet") else "",
        images=PUBLISHED_IMAGES[PUBLISHED_BY_KIND[kind]].title if config.images_folder else "",
    )


def _vision_runs(ladder: VisionLadder, sized_experiments: Sequence[tuple[int, Experiment]]) -> VisionRuns:
    points, experiments = [], []
    for size, experiment in sized_experiments:
        name = f"{ladder.kind} {size}"
        points.append((float(size), name))
        experiments.append(ExperimentSpec(name=name, experiment=experiment))
    return VisionRuns(replace(ladder, points=tuple(points)), tuple(experiments))


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
        name=_arm_name(ladder_config, width),
        world=ladder_config.world,
        model=architecture,
        training=training,
        tokenizer=ladder_config.world.tokenizer,
    )


def _arm_name(ladder_config: SizeLadderConfig, width: int) -> str:
    return f"{ladder_config.name} {ladder_config.layers}x{width}"


def _n_block_parameters(ladder_config: SizeLadderConfig, width: int) -> float:
    """Weights of the blocks, with biases and norms: what a size is on every axis here."""
    return float(ladder_config.layers * (12 * width * width + 13 * width))
