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
from nosce.evals.item_scores import Outcomes
from nosce.evals.qa import Majority
from nosce.models.architecture import Architecture
from nosce.studies.emergence.claims import claims
from nosce.studies.emergence.figures import figures
from nosce.studies.emergence.selections import Ladder, Seen
from nosce.studies.emergence.vision.classes import Classes
from nosce.studies.emergence.vision.reconstruction import Reconstruction
from nosce.studies.emergence.vision.sequences import Sequences
from nosce.study import Arm, Read, Scale, Study, Trial
from nosce.train.config import Recipe


@dataclass(frozen=True, kw_only=True)
class Climb:
    """A ladder of sizes on one kind of problem."""

    name: str
    world: Arithmetic
    widths: tuple[int, ...]
    steps: int
    batch: int = 256
    layers: int = 2
    looks: int = 12  # checkpoints, evenly spaced in the logarithm of the steps
    first: int = 12  # step of the first of them
    beyond: tuple[int, ...] = ()  # widths shown but not tested, of one seed: sizes that have nothing left to learn

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """One a width."""
        larger = (replace(self._arm(width), seeds=1) for width in self.beyond)
        return (*(self._arm(width) for width in self.widths), *larger)

    def _arm(self, width: int) -> Arm:
        shape = Architecture(family="gpt2", layers=self.layers, width=width, heads=max(1, width // 16), positions=32)
        kept = np.unique(np.round(np.geomspace(min(self.first, self.steps), self.steps, self.looks)))
        recipe = Recipe(steps=self.steps, batch=self.batch, peak_lr=rate_of(width), floor=0.05,
                        checkpoints=tuple(float(step) / self.steps for step in kept))  # fmt: skip
        return Arm(name=f"{self.name} {self.layers}x{width}", world=self.world, model=shape, recipe=recipe,
                   tokenizer=self.world.tokenizer)  # fmt: skip

    @property
    def ladder(self) -> Ladder:
        """What claims and figures need to know of it."""
        points = tuple((self._weights(width), arm.name)
                       for width, arm in zip((*self.widths, *self.beyond), self.arms, strict=True))  # fmt: skip
        kept = self.arms[0].recipe.kept
        given, answer = self.world.problem(0, self.world.operations[0], 0)
        length = len(given) + len(answer) + 1
        return Ladder(name=self.name, points=points[: len(self.widths)], beyond=points[len(self.widths) :], steps=kept,
                      per_step=float(self.batch * length), places=self.world.answer_digits)  # fmt: skip

    def _weights(self, width: int) -> float:
        """Of the blocks with biases and norms: the sheet's count, section 8."""
        return float(self.layers * (12 * width * width + 13 * width))


def rate_of(width: int) -> float:
    """Peak learning rates by width."""
    return 1e-2 if width <= 24 else 5e-3 if width <= 64 else 2e-3


def study(scale: Scale) -> Study:
    """The study at a scale."""
    climbs, seen = _of(scale)
    ladders = tuple(climb.ladder for climb in climbs)
    shown = tuple(Seen(kind=kind, points=points) for kind, points, _ in seen)
    return Study(
        name="emergence",
        title="All at once",
        question="Did that ability really appear all at once, or does the metric jump?",
        paper="arXiv:2304.15004",
        scale=scale,
        unit="item",
        arms=tuple(arm for climb in climbs for arm in climb.arms),
        trials=tuple(trial for _, _, trials in seen for trial in trials),
        seeds=(0,) if scale == "smoke" else (0, 1, 2, 3, 4),
        reads=(Read(Outcomes(by_place=True)), Read(Majority())),
        claims=claims(ladders, shown),
        figures=figures(ladders, shown),
        scalings=(*(c for ladder in ladders for c in ladder.scalings), *(one.by_size for one in shown)),
    )


_Seen = tuple[str, tuple[tuple[float, str], ...], tuple[Trial, ...]]


def _of(scale: Scale) -> tuple[tuple[Climb, ...], tuple[_Seen, ...]]:
    """Ladders and what is seen, by scale (the sheet, section 8)."""
    # Which problems, widths and rates was searched for in another world: benchmarks/ladder.csv.
    products = Arithmetic(operations=("*",), digits=3, other=1, least=2, tests=1_000, records=200_000)
    sums = Arithmetic(operations=("+",), digits=3, tests=1_000, records=400_000)
    match scale:
        case "smoke":
            worlds = [replace(world, tests=100, records=3_000, trained=100) for world in (products, sums)]
            return tuple(
                Climb(name=name, world=world, widths=(4, 8, 12, 16, 24), steps=30, looks=4)
                for name, world in zip(("products", "sums"), worlds, strict=True)
            ), tuple(_seen(bottlenecks=(1, 4, 8, 16, 32), hidden=(1, 2, 4, 8, 16), widths=(4, 8, 12, 16, 24), fast=20))
        case "laptop":
            return (
                Climb(name="products", world=products, widths=(4, 6, 8, 12, 16, 20, 24, 32, 48), beyond=(96, 208),
                      steps=1_500),
                Climb(name="sums", world=sums, widths=(3, 4, 5, 6, 7, 8, 10, 12, 16, 24), beyond=(48, 96),
                      steps=1_500),
            ), tuple(_seen(bottlenecks=(1, 2, 4, 6, 8, 12, 16, 24, 32), hidden=(1, 2, 3, 4, 6, 8, 12, 16, 32),
                           widths=(4, 8, 12, 16, 20, 24, 32, 48)))  # fmt: skip
        case "gpu":
            worlds = [replace(world, digits=5, tests=10_000, records=4_000_000) for world in (products, sums)]
            widths = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
            return (
                Climb(name="products", world=replace(worlds[0], other=2), widths=widths, steps=15_000),
                Climb(name="sums", world=worlds[1], widths=widths, steps=15_000),
            ), tuple(_seen(bottlenecks=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
                           hidden=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64),
                           widths=(8, 12, 16, 24, 32, 48, 64, 96)))  # fmt: skip
    raise UsageError(
        f"emergence has no scale {scale!r}; take smoke, laptop or gpu (the paper asked GPT-3: hand outcomes of models "
        "that you asked to `nosce audit`)."
    )


def _seen(
    bottlenecks: tuple[int, ...],
    hidden: tuple[int, ...],
    widths: tuple[int, ...],
    fast: int = 1,
) -> Iterator[_Seen]:
    """Trials of the three kinds, `fast` times shorter than they should be."""
    made: dict[str, list[tuple[int, Experiment]]] = {
        "reconstruction": [(n, Reconstruction(bottleneck=n, epochs=150 // fast)) for n in bottlenecks],
        "classes": [(n, Classes(hidden=n, epochs=60 // fast)) for n in hidden],
        "sequences": [(n, Sequences(width=n, steps=1_000 // fast, tests=1_000 // fast)) for n in widths],
    }
    for kind, each in made.items():
        trials = tuple(Trial(name=f"{kind} {n}", experiment=one) for n, one in each)
        yield kind, tuple((float(n), trial.name) for (n, _), trial in zip(each, trials, strict=True)), trials
