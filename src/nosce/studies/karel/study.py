"""Does a model that only reads programs come to hold what they do?

Jin and Rinard 2024, "Emergent Representations of Program Semantics in Language Models Trained on Programs"
(arXiv:2305.11169). A model learns to continue specifications, input and output boards of a small robot, with
programs that nobody has commented. Probes then look in its hidden states for the states of the program it is
writing; the same probes look for what the words would mean otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nosce.analysis.emergence.scaling_curve import along_training
from nosce.analysis.measures import Select
from nosce.data.worlds.karel.language import OPERATIONS
from nosce.data.worlds.karel.scoring import Interpreter
from nosce.data.worlds.karel.world import Karel
from nosce.errors import UsageError
from nosce.evals.generation import Constant, Written
from nosce.evals.patching.program_state import Edits
from nosce.evals.probing.program_states import FLOORS, Grid, States
from nosce.evals.qa import Questions
from nosce.models.architecture import Architecture, size
from nosce.studies.karel.claims import claims
from nosce.studies.karel.figures import figures
from nosce.studies.karel.selections import ALTERNATIVES, FEATURES, OFFSETS, ORIGINAL, OTHER, SHARP
from nosce.study import Arm, Read, Scale, Study
from nosce.train.config import Recipe

# Seen specifications that probes learn from: where they are trained at every checkpoint, and for figures alone.
ALONG, DRAWN = 4_000, 8_000
#: Fractions of a training at which it is looked at: one program for all is a matter of its first tenth.
EARLY = (0.0, 0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5, 0.6, 0.7, 0.85, 1.0)


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    world, model, recipe, hidden = _sizes(scale)
    seeds = (0,) if scale in ("smoke", "paper") else (0, 1, 2)
    # The re-assigned arm learns more slowly (LOG.md): 43 % right where the other is at 95.
    longer = 2 if scale == "laptop" else 1
    other = replace(world, meaning=SHARP, records=longer * world.records)
    slower = replace(recipe, steps=longer * recipe.steps, checkpoints=_looks(4))
    arms = (
        Arm(name=ORIGINAL, world=world, model=model, recipe=recipe, tokenizer=world.tokenizer),
        Arm(name=OTHER, world=other, model=model, recipe=slower, tokenizer=world.tokenizer),
    )
    return Study(
        name="karel",
        title="Meaning in models of programs",
        question="Does a model that only reads programs come to hold what they do?",
        paper="arXiv:2305.11169",
        scale=scale,
        unit="specification",
        arms=arms,
        seeds=seeds,
        reads=tuple(read for arm in arms for read in reads(arm, hidden, epochs=6 if scale == "smoke" else 30)),
        claims=claims(model),
        figures=figures(recipe.batch, model.layers, world.asked_lengths[1], seeds),
        scalings=(
            along_training(
                "programs", "Right programs along training", ORIGINAL, recipe.kept, float(recipe.batch),
                Select(readout="written", metric="correct", split="unseen"),
                Select(readout="questions", metric="nats", split="unseen", quantity="nats"), x_label="records seen",
            ),
        ),
    )  # fmt: skip


def reads(arm: Arm, hidden: int, epochs: int) -> tuple[Read, ...]:
    """What is asked of an arm's checkpoints: programs, their states, the references' likelihood, a floor."""
    assert isinstance(arm.world, Karel)
    judge = Interpreter(world=arm.world, most=min(14, arm.world.lengths[1] + 4))
    small = (hidden,)
    how: dict[str, Any] = {"tracer": judge, "features": FEATURES, "epochs": epochs}
    shapes = ((), small, (hidden, 2 * hidden))
    few = Grid(offsets=(0, 1), probes=(small,))
    more = Grid(offsets=(0, 1), meanings=("original", *ALTERNATIVES), probes=(small,), floors=FLOORS, controls=True,
                codes=True, floored=("original", SHARP))  # fmt: skip
    of = (arm.name,)
    if arm.name == OTHER:
        return (
            Read(Written(judge=judge), arms=of),
            Read(States(last=replace(few, meanings=("original", SHARP), floors=("untrained",)), **how), arms=of),
        )
    layers = tuple(f"residual.{number}" for number in range(arm.model.layers))  # type: ignore[union-attr]
    return (
        Read(Written(judge=judge), arms=of),
        Read(Written(judge=judge, masked=False, name="free"), arms=of),
        Read(Constant(judge=judge), arms=of),
        Read(Questions(split="unseen"), arms=of),
        Read(States(last=more, walks=4, **how), arms=of),
        Read(States(last=few, along=few, seen=ALONG, name="along", **how), arms=of),
        Read(States(last=few, along=few, seen=ALONG, fixed=True, name="fixed", **how), arms=of),
        Read(
            States(
                **how,
                last=Grid(offsets=OFFSETS, probes=shapes),
                seen=DRAWN,
                name="grid",
            ),
            arms=of,
        ),
        Read(
            States(
                **how,
                last=Grid(meanings=("original",), probes=(small,), sites=(*layers, "final")),
                seen=DRAWN,
                name="layers",
            ),
            arms=of,
        ),
        Read(
            Edits(editor=judge, features=("direction", "rows", "cols", "front"), vocabulary=OPERATIONS,
                  sites=(*layers[1:], "final")),
            arms=of,
        ),
    )  # fmt: skip


def _sizes(scale: Scale) -> tuple[Karel, Architecture, Recipe, int]:
    """World, model, recipe and width of the probes' hidden layers, by scale (the sheet, section 10)."""
    micro = Karel(inner=(3, 3), shown=2, hidden=3, lengths=(2, 6), asked_lengths=(1, 6))
    fast = Recipe(steps=1, batch=128, optimizer="muon", matrix_lr=0.02, peak_lr=5e-3, given_weight=0.2, dtype="auto")
    match scale:
        case "smoke":
            world = replace(micro, records=2_560, probed=150, tests=100)
            return world, size("2x64"), replace(fast, steps=20, checkpoints=_looks(5)), 16
        case "laptop":
            world = replace(micro, records=256_000, probed=16_000, tests=1_000)
            return world, size("3x96"), replace(fast, steps=2_000, checkpoints=EARLY), 64
        case "gpu":
            world = Karel(records=2_560_000, probed=20_000, tests=5_000)
            recipe = Recipe(steps=10_000, batch=256, peak_lr=6e-4, given_weight=1.0, dtype="bfloat16", warmup=500,
                            checkpoints=_looks(20))  # fmt: skip
            return world, replace(size("8x384"), positions=512), recipe, 256
        case "paper":
            world = Karel(records=1_000_000, probed=60_000, tests=10_000, encoding="official")
            model = Architecture(family="codegen", layers=20, width=1_024, heads=16, positions=2_048, tied=False)
            recipe = Recipe(steps=80_000, batch=39, peak_lr=5e-6, warmup=6_000, weight_decay=0.0, floor=0.0,
                            window=2_048, given_weight=1.0, dtype="bfloat16", clip=1e9,
                            checkpoints=_looks(20))  # fmt: skip
            return world, model, recipe, 256
    raise UsageError(f"karel has no scale {scale!r}; take smoke, laptop, gpu or paper.")


def _looks(count: int) -> tuple[float, ...]:
    """Fractions of a training at which it is looked at, its beginning included."""
    return tuple(float(f) for f in np.linspace(0, 1, count + 1).round(4))
