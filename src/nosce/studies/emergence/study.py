"""Did that ability really appear all at once?

Schaeffer, Miranda and Koyejo 2023, "Are Emergent Abilities of Large Language Models a Mirage?" (arXiv:2304.15004). A
score that asks for everything to be right may jump where every part of it gets better smoothly. Two ladders of small
transformers do arithmetic, one on which the jump is the metric's and one on which it is not, and small networks that
see are asked the same; all curves go to the mirage test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nosce.data.worlds.arithmetic import Arithmetic
from nosce.errors import UsageError
from nosce.evals.base import Experiment
from nosce.evals.item_scores import ItemScores
from nosce.evals.qa import MajorityBaseline
from nosce.models.architecture import Architecture
from nosce.studies.emergence.claims import emergence_claims
from nosce.studies.emergence.figures import emergence_figures
from nosce.studies.emergence.selections import SizeLadder, VisionLadder
from nosce.studies.emergence.vision.classes import ImageClassification
from nosce.studies.emergence.vision.reconstruction import ImageReconstruction
from nosce.studies.emergence.vision.sequences import InContextNaming
from nosce.study import Arm, EvalSpec, ExperimentSpec, Scale, Study
from nosce.train.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class SizeLadderConfig:
    """A ladder of sizes on one kind of problem."""

    name: str
    world: Arithmetic
    widths: tuple[int, ...]
    steps: int
    batch_size: int = 256
    layers: int = 2
    n_checkpoints: int = 12  # checkpoints, evenly spaced in the logarithm of the steps
    first_checkpoint: int = 12  # step of the first of them
    untested_widths: tuple[
        int, ...
    ] = ()  # widths shown but not tested, of one seed: sizes that have nothing left to learn

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """One a width."""
        untested_arms = (replace(self._arm(width), n_seeds=1) for width in self.untested_widths)
        return (*(self._arm(width) for width in self.widths), *untested_arms)

    def _arm(self, width: int) -> Arm:
        architecture = Architecture(
            family="gpt2", layers=self.layers, width=width, heads=max(1, width // 16), max_positions=32
        )
        checkpoint_steps = np.unique(
            np.round(np.geomspace(min(self.first_checkpoint, self.steps), self.steps, self.n_checkpoints))
        )
        training = TrainingConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            peak_lr=peak_lr_for_width(width),
            min_lr_ratio=0.05,
            checkpoint_fractions=tuple(float(step) / self.steps for step in checkpoint_steps),
        )
        return Arm(
            name=f"{self.name} {self.layers}x{width}",
            world=self.world,
            model=architecture,
            training=training,
            tokenizer=self.world.tokenizer,
        )

    @property
    def ladder(self) -> SizeLadder:
        """What claims and figures need to know of it."""
        points = tuple(
            (self._num_block_parameters(width), arm.name)
            for width, arm in zip((*self.widths, *self.untested_widths), self.arms, strict=True)
        )
        checkpoint_steps = self.arms[0].training.checkpoint_steps
        prompt, answer = self.world.prompt_and_answer(0, self.world.operations[0], 0)
        n_tokens = len(prompt) + len(answer) + 1
        return SizeLadder(
            name=self.name,
            points=points[: len(self.widths)],
            untested_points=points[len(self.widths) :],
            checkpoint_steps=checkpoint_steps,
            tokens_per_step=float(self.batch_size * n_tokens),
            answer_digits=self.world.answer_digits,
        )

    def _num_block_parameters(self, width: int) -> float:
        """Of the blocks with biases and norms: the sheet's count, section 8."""
        return float(self.layers * (12 * width * width + 13 * width))


def peak_lr_for_width(width: int) -> float:
    """Peak learning rates by width."""
    return 1e-2 if width <= 24 else 5e-3 if width <= 64 else 2e-3


def study(scale: Scale) -> Study:
    """The study at a scale."""
    ladder_configs, vision_runs = _emergence_config(scale)
    ladders = tuple(climb.ladder for climb in ladder_configs)
    vision_ladders = tuple(VisionLadder(kind=kind, points=points) for kind, points, _ in vision_runs)
    return Study(
        name="emergence",
        title="All at once",
        question="Did that ability really appear all at once, or does the metric jump?",
        paper="arXiv:2304.15004",
        scale=scale,
        unit="item",
        arms=tuple(arm for climb in ladder_configs for arm in climb.arms),
        experiments=tuple(trial for _, _, trials in vision_runs for trial in trials),
        seeds=(0,) if scale == "smoke" else (0, 1, 2, 3, 4),
        evals=(EvalSpec(ItemScores(per_position=True)), EvalSpec(MajorityBaseline())),
        claims=emergence_claims(ladders, vision_ladders),
        figures=emergence_figures(ladders, vision_ladders),
        scaling_curves=(
            *(c for ladder in ladders for c in ladder.scaling_curves),
            *(one.curve_by_size for one in vision_ladders),
        ),
    )


_VisionRun = tuple[str, tuple[tuple[float, str], ...], tuple[ExperimentSpec, ...]]


def _emergence_config(scale: Scale) -> tuple[tuple[SizeLadderConfig, ...], tuple[_VisionRun, ...]]:
    """Ladders and what is seen, by scale (the sheet, section 8)."""
    # Which problems, widths and rates was searched for in another world: benchmarks/ladder.csv.
    products = Arithmetic(
        operations=("*",), digits=3, second_digits=1, min_operand=2, unseen_questions=1_000, records=200_000
    )
    sums = Arithmetic(operations=("+",), digits=3, unseen_questions=1_000, records=400_000)
    match scale:
        case "smoke":
            worlds = [
                replace(world, unseen_questions=100, records=3_000, seen_questions=100) for world in (products, sums)
            ]
            return tuple(
                SizeLadderConfig(name=name, world=world, widths=(4, 8, 12, 16, 24), steps=30, n_checkpoints=4)
                for name, world in zip(("products", "sums"), worlds, strict=True)
            ), tuple(
                _vision_runs(
                    bottlenecks=(1, 4, 8, 16, 32),
                    hidden=(1, 2, 4, 8, 16),
                    widths=(4, 8, 12, 16, 24),
                    shortening_factor=20,
                )
            )
        case "laptop":
            return (
                SizeLadderConfig(
                    name="products",
                    world=products,
                    widths=(4, 6, 8, 12, 16, 20, 24, 32, 48),
                    untested_widths=(96, 208),
                    steps=1_500,
                ),
                SizeLadderConfig(
                    name="sums",
                    world=sums,
                    widths=(3, 4, 5, 6, 7, 8, 10, 12, 16, 24),
                    untested_widths=(48, 96),
                    steps=1_500,
                ),
            ), tuple(
                _vision_runs(
                    bottlenecks=(1, 2, 4, 6, 8, 12, 16, 24, 32),
                    hidden=(1, 2, 3, 4, 6, 8, 12, 16, 32),
                    widths=(4, 8, 12, 16, 20, 24, 32, 48),
                )
            )
        case "gpu":
            worlds = [
                replace(world, digits=5, unseen_questions=10_000, records=4_000_000) for world in (products, sums)
            ]
            widths = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
            return (
                SizeLadderConfig(
                    name="products", world=replace(worlds[0], second_digits=2), widths=widths, steps=15_000
                ),
                SizeLadderConfig(name="sums", world=worlds[1], widths=widths, steps=15_000),
            ), tuple(
                _vision_runs(
                    bottlenecks=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
                    hidden=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64),
                    widths=(8, 12, 16, 24, 32, 48, 64, 96),
                )
            )
    raise UsageError(
        f"emergence has no scale {scale!r}; take smoke, laptop or gpu (the paper asked GPT-3: hand outcomes of models "
        "that you asked to `nosce audit`)."
    )


def _vision_runs(
    bottlenecks: tuple[int, ...],
    hidden: tuple[int, ...],
    widths: tuple[int, ...],
    shortening_factor: int = 1,
) -> Iterator[_VisionRun]:
    """Trials of the three kinds, `fast` times shorter than they should be."""
    experiments_by_kind: dict[str, list[tuple[int, Experiment]]] = {
        "reconstruction": [
            (n, ImageReconstruction(bottleneck=n, epochs=150 // shortening_factor)) for n in bottlenecks
        ],
        "classes": [(n, ImageClassification(hidden_units=n, epochs=60 // shortening_factor)) for n in hidden],
        "sequences": [
            (n, InContextNaming(width=n, steps=1_000 // shortening_factor, n_test_sequences=1_000 // shortening_factor))
            for n in widths
        ],
    }
    for kind, sized_experiments in experiments_by_kind.items():
        experiments = tuple(ExperimentSpec(name=f"{kind} {n}", experiment=one) for n, one in sized_experiments)
        yield (
            kind,
            tuple((float(n), trial.name) for (n, _), trial in zip(sized_experiments, experiments, strict=True)),
            experiments,
        )
