"""What the study emergence trains and measures at each scale.

Source: Schaeffer, Miranda and Koyejo 2023 (arXiv:2304.15004). The paper asked GPT-3, which cannot be trained again.
These scales are this study's own design: ladders of small transformers that do arithmetic, and of small networks that
read images. Problems, widths and rates were searched for in another world: benchmarks/ladder.csv. The scale `paper` has
the paper's problems, and with `images_folder` its images; docs/paper-scale.md holds it against the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nosce.data.worlds.arithmetic import Arithmetic
from nosce.studies.configs import config_for_scale
from nosce.study import Scale


@dataclass(frozen=True, kw_only=True)
class SizeLadderConfig:
    """A ladder of model sizes on one kind of problem.

    Args:
        name: The ladder's name, a part of its arms' names.
        world: The problems.
        widths: Widths of the models, an arm each.
        untested_widths: Larger widths of one seed, which have nothing left to learn. Figures show them; no test uses
            them.
        steps: Optimizer steps of each model.
        batch_size: Problems per optimizer step.
        layers: Transformer blocks of each model.
        n_checkpoints: Checkpoints of each model, evenly spaced in the logarithm of the steps.
        first_checkpoint: Step of the first checkpoint.
    """

    name: str
    world: Arithmetic
    widths: tuple[int, ...]
    untested_widths: tuple[int, ...] = ()
    steps: int
    batch_size: int = 256
    layers: int = 2
    n_checkpoints: int = 12
    first_checkpoint: int = 12


@dataclass(frozen=True, kw_only=True)
class EmergenceConfig:
    """What the study trains and measures at a scale.

    Args:
        seeds: Training seeds; each has its own problems, weights and order.
        products: The ladder whose jump should come from the metric.
        sums: The ladder whose jump should not come from the metric.
        lengths: Sizes that learn products of several lengths, for the length of the answer and for problems drawn anew.
        together: Sizes that learn sums and products together, each as often as `products` learns its own.
        by_length: Train `lengths`.
        tasks_together: Train `together`.
        n_fresh_problems: Problems that the smallest size of `lengths` is asked anew at each of its checkpoints.
        bottlenecks: Units of the autoencoders' bottlenecks, a network each.
        hidden_units: Hidden units of the classifiers, a network each.
        sequence_widths: Widths of the decoders that name images in context, a network each.
        reconstruction_epochs: Passes of an autoencoder over the training images.
        classification_epochs: Passes of a classifier over the training images.
        sequence_steps: Optimizer steps of a decoder.
        n_test_sequences: Sequences of held-out images that a decoder is tested on.
        classifier: The classifiers' kind: one hidden layer, or a LeNet whose channels `hidden_units` are.
        images_folder: Folder with the published files of MNIST for classifiers, Omniglot for decoders and CIFAR-100 for
            autoencoders. Empty: the digits of scikit-learn for all.
    """

    seeds: tuple[int, ...]
    products: SizeLadderConfig
    sums: SizeLadderConfig
    lengths: SizeLadderConfig
    together: SizeLadderConfig
    bottlenecks: tuple[int, ...]
    hidden_units: tuple[int, ...]
    sequence_widths: tuple[int, ...]
    reconstruction_epochs: int = 150
    classification_epochs: int = 60
    sequence_steps: int = 1_000
    n_test_sequences: int = 1_000
    classifier: Literal["mlp", "lenet"] = "mlp"
    images_folder: str = ""
    by_length: bool = True
    tasks_together: bool = True
    n_fresh_problems: int = 20_000


def emergence_config(scale: str, settings: Sequence[str] = ()) -> EmergenceConfig:
    """The configuration of the study at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    note = " (the paper asked GPT-3: name models with --model, or hand outcomes of your own to `nosce audit`)"
    return config_for_scale("emergence", EMERGENCE_CONFIGS, scale, settings, note=note)


PRODUCTS = Arithmetic(
    operations=("*",), digits=3, second_digits=1, min_operand=2, unseen_questions=1_000, records=200_000
)
SUMS = Arithmetic(operations=("+",), digits=3, unseen_questions=1_000, records=400_000)
#: A factor of two to five digits, evenly, times one of one digit: answers of two to six digits. Of factors of one digit
#: there are too few to hold any out.
PRODUCTS_BY_LENGTH = Arithmetic(
    operations=("*",),
    digits=5,
    second_digits=1,
    min_operand=2,
    zero_padded=False,
    operand_lengths=(2, 3, 4, 5),
    unseen_questions=1_200,
    records=400_000,
)
#: The problems of `PRODUCTS`, half of them with a sum in place of the product.
SUMS_AND_PRODUCTS = replace(PRODUCTS, operations=("+", "*"), records=400_000, attribute="operation")


def _smoke_config() -> EmergenceConfig:
    """Every kind of network and measure, within a minute and without a result."""
    products_world = replace(PRODUCTS, records=3_000, unseen_questions=100, seen_questions=100)
    sums_world = replace(SUMS, records=3_000, unseen_questions=100, seen_questions=100)
    lengths_world = replace(PRODUCTS_BY_LENGTH, records=3_000, unseen_questions=100, seen_questions=100)
    together_world = replace(SUMS_AND_PRODUCTS, records=3_000, unseen_questions=100, seen_questions=100)
    products = SizeLadderConfig(
        name="products", world=products_world, widths=(4, 8, 12, 16, 24), steps=12, n_checkpoints=3, first_checkpoint=3
    )
    return EmergenceConfig(
        seeds=(0,),
        products=products,
        sums=replace(products, name="sums", world=sums_world),
        lengths=replace(products, name="lengths", world=lengths_world, widths=(4, 8, 12), n_checkpoints=2),
        together=replace(products, name="together", world=together_world, n_checkpoints=2),
        n_fresh_problems=200,
        bottlenecks=(1, 4, 8, 16, 32),
        hidden_units=(1, 2, 4, 8, 16),
        sequence_widths=(4, 8, 12, 16, 24),
        reconstruction_epochs=3,
        classification_epochs=3,
        sequence_steps=15,
        n_test_sequences=50,
    )


def _laptop_config() -> EmergenceConfig:
    """Numbers of three digits: all claims on two cores."""
    return EmergenceConfig(
        seeds=(0, 1, 2, 3, 4),
        products=SizeLadderConfig(
            name="products",
            world=PRODUCTS,
            widths=(4, 6, 8, 12, 16, 20, 24, 32, 48),
            untested_widths=(96, 208),
            steps=1_500,
        ),
        sums=SizeLadderConfig(
            name="sums",
            world=SUMS,
            widths=(3, 4, 5, 6, 7, 8, 10, 12, 16, 24),
            untested_widths=(48, 96),
            steps=1_500,
        ),
        lengths=SizeLadderConfig(
            name="lengths", world=PRODUCTS_BY_LENGTH, widths=(4, 12, 16, 24), steps=3_000, n_checkpoints=4
        ),
        # Twice the steps of the products alone, so that each kind of problem is seen as often.
        together=SizeLadderConfig(
            name="together", world=SUMS_AND_PRODUCTS, widths=(4, 8, 12, 16, 24, 32), steps=3_000, n_checkpoints=4
        ),
        bottlenecks=(1, 2, 4, 6, 8, 12, 16, 24, 32),
        hidden_units=(1, 2, 3, 4, 6, 8, 12, 16, 32),
        sequence_widths=(4, 8, 12, 16, 20, 24, 32, 48),
    )


def _gpu_config() -> EmergenceConfig:
    """Numbers of five digits and thirteen widths on one GPU."""
    products_world = replace(PRODUCTS, digits=5, second_digits=2, records=4_000_000, unseen_questions=10_000)
    sums_world = replace(SUMS, digits=5, records=4_000_000, unseen_questions=10_000)
    products = SizeLadderConfig(
        name="products",
        world=products_world,
        widths=(4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
        steps=15_000,
    )
    return EmergenceConfig(
        seeds=(0, 1, 2, 3, 4),
        products=products,
        sums=replace(products, name="sums", world=sums_world),
        lengths=SizeLadderConfig(
            name="lengths",
            world=replace(PRODUCTS_BY_LENGTH, records=4_000_000),
            widths=(4, 12, 16, 24, 48, 96),
            steps=15_000,
        ),
        together=SizeLadderConfig(
            name="together",
            world=replace(products_world, operations=("+", "*"), records=8_000_000, attribute="operation"),
            widths=products.widths,
            steps=30_000,
        ),
        n_fresh_problems=200_000,
        bottlenecks=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
        hidden_units=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64),
        sequence_widths=(8, 12, 16, 24, 32, 48, 64, 96),
        classifier="lenet",
    )


def _paper_config() -> EmergenceConfig:
    """The paper's problems (products of two digits, sums of four) at fifteen widths, and its three networks."""
    widths = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)
    products = SizeLadderConfig(
        name="products",
        world=replace(PRODUCTS, digits=2, second_digits=2, records=4_000_000, unseen_questions=1_000),
        widths=widths,
        steps=30_000,
        layers=4,
    )
    sums_world = replace(SUMS, digits=4, records=4_000_000, unseen_questions=10_000)
    return EmergenceConfig(
        seeds=(0, 1, 2, 3, 4),
        products=products,
        sums=replace(products, name="sums", world=sums_world),
        lengths=SizeLadderConfig(
            name="lengths",
            world=replace(PRODUCTS_BY_LENGTH, records=4_000_000),
            widths=(8, 16, 32, 64, 128, 256),
            steps=30_000,
            layers=4,
        ),
        together=SizeLadderConfig(
            name="together",
            world=replace(products.world, operations=("+", "*"), records=8_000_000, attribute="operation"),
            widths=widths,
            steps=60_000,
            layers=4,
        ),
        n_fresh_problems=200_000,
        bottlenecks=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        hidden_units=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
        sequence_widths=(8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
        sequence_steps=20_000,
        n_test_sequences=10_000,
        classifier="lenet",
    )


EMERGENCE_CONFIGS: Mapping[Scale, Callable[[], EmergenceConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
    "paper": _paper_config,
}
