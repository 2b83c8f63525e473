"""Does a model know how much it knows?

Prato et al. 2024, "Do Large Language Models Know How Much They Know?" (arXiv:2502.19573). Invented people keep
diaries of some number of entries; every entry is a document of its own, or all of a person's are one. Asked for
everything that somebody wrote, a model must recite all of it and stop.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import Reader
from nosce.data.worlds.diaries.world import NUMBER
from nosce.errors import UsageError
from nosce.evals.generation import Written
from nosce.evals.patching.count import Patched
from nosce.evals.probing.counted import Counted
from nosce.evals.qa import Frequencies, Recall
from nosce.evals.stopping import Stops
from nosce.models.architecture import Architecture, Pretrained
from nosce.studies.diaries.arms import ASKED, ENCODERS, MERGED, NUMBER_FIRST, PHASES, SETUPS, SHAPES, Grid
from nosce.studies.diaries.claims import claims
from nosce.studies.diaries.figures import figures, scalings
from nosce.studies.diaries.selections import BLIND, TITLES, TRAINED, reference
from nosce.study import PRETRAIN, Read, Scale, Study
from nosce.train.config import Recipe


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    grid = _grid(scale)
    return Study(
        name="diaries",
        title="How much is known",
        question="Does a model know how much it knows?",
        paper="arXiv:2502.19573",
        scale=scale,
        unit="diarist",
        arms=grid.arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        reads=reads(grid),
        claims=claims(grid),
        figures=figures(grid),
        scalings=scalings(grid),
    )


def reads(grid: Grid) -> tuple[Read, ...]:
    """What is asked of the arms: diaries and the decisions in them of all, titles and hidden states of some."""
    judge, other = (Reader(world=replace(grid.world, header=header)) for header in ("name first", "number first"))
    told = [arm.name for arm in grid.arms]
    shapes = {f"{shape} {setup}": world for shape, world in grid.beside.items() for setup in SETUPS}
    joint = tuple(arm for arm in told if arm not in (PHASES, NUMBER_FIRST, *shapes))
    looked = (reference(grid), reference(grid, MERGED))
    titled = tuple(a for a in told if not a.endswith(MERGED) and not a.startswith(ENCODERS))
    beside = [(judge, ASKED, PHASES), (other, PRETRAIN, NUMBER_FIRST)] if grid.puzzle else []
    beside += [(Reader(world=world), PRETRAIN, arm) for arm, world in shapes.items()]
    return (
        *(Read(readout, arms=joint) for readout in _asked(judge)),
        *(Read(readout, stage=stage, arms=(arm,)) for who, stage, arm in beside for readout in _asked(who)),
        Read(Stops(lister=judge), arms=joint),
        *(Read(Stops(lister=who), arms=(arm,)) for who, stage, arm in beside if stage == PRETRAIN),
        Read(Stops(lister=judge, retold=True, name="retold"), arms=looked),
        Read(Recall(documents=0, facets=(NUMBER,), name=TITLES), arms=titled),
        Read(Frequencies(facets=(NUMBER,), name=BLIND), arms=titled),
        Read(Counted(lister=judge), arms=looked),
        Read(Patched(lister=judge), arms=looked),
    )


def _asked(judge: Reader) -> tuple[Written, Written]:
    """Diaries of people never asked about, and of those whose question was trained on."""
    return Written(judge=judge, masked=False), Written(judge=judge, masked=False, split="seen", name=TRAINED)


def _grid(scale: Scale) -> Grid:
    """Worlds, models, recipe and passes, by scale (the sheet, sections 3 and 8)."""
    plain = Diaries(encoding="lean", entries=(1, 4), attributes=(1, 1), offered=4, values=8, names=(128, 128))
    longer = replace(plain, diarists=1_024, attributes=(1, 3))
    shapes = {"longer entries": longer, "as the paper's": replace(longer, entries=(1, 8), attributes=(1, 8), offered=8)}
    fast = Recipe(steps=1, batch=256, optimizer="muon", matrix_lr=0.02, peak_lr=5e-3, given_weight=1.0, dtype="auto",
                  checkpoints=(0.25, 0.5, 0.6, 0.75, 1.0))  # fmt: skip
    match scale:
        case "smoke":
            sizes: dict[str, tuple[str, ...]] = {"pythia": ("2x32", "2x64"), "flan-t5": ("2x32",)}
            return Grid(
                world=replace(plain, trained=0.6), recipe=replace(fast, batch=32, checkpoints=(1.0,)), passes=1,
                asked=1, after=0.0, families=tuple(sizes), sizes=sizes, diarists=(100, 120), middle=120,
            )  # fmt: skip
        case "laptop":
            # Passes, their order and the recipe were searched for in another world: benchmarks/levers.csv.
            causal = ("2x32", "2x48", "2x64", "3x64", "3x96")
            sizes = {"pythia": causal, "opt": causal, "flan-t5": ("2x24", "2x32", "2x48", "2x64")}  # two stacks each
            return Grid(
                world=plain, recipe=fast, passes=140, asked=21, after=0.5, beside=shapes, families=tuple(sizes),
                sizes=sizes, diarists=(512, 1_024, 2_048), middle=2_048, further=(4_096,),
            )  # fmt: skip
        case "gpu":
            world = replace(shapes["as the paper's"], names=(256, 256))
            return Grid(
                world=world, recipe=fast, passes=150, asked=20, after=0.5, families=tuple(SHAPES), whole=True,
                sizes=dict.fromkeys(SHAPES, ("3x128", "4x256", "6x384", "8x384")),
                diarists=(1_000, 2_000, 4_000, 8_000, 16_000), middle=8_000,
            )  # fmt: skip
        case "paper":
            # Learning rate, batch and precision are those of EpiK-Eval, the closest known relative (the sheet, 3.3).
            recipe = Recipe(steps=1, batch=50, peak_lr=2e-5, warmup=3_600, floor=1.0, weight_decay=0.0,
                            betas=(0.9, 0.999), epsilon=1e-8, given_weight=1.0, dtype="bfloat16",
                            checkpoints=tuple(n / 20 for n in range(1, 21)))  # fmt: skip
            return Grid(world=Diaries(), recipe=recipe, passes=500, asked=500, after=0.0,
                        families=tuple(SHAPES), sizes=dict.fromkeys(SHAPES, tuple(PRETRAINED["opt"])), whole=True,
                        diarists=tuple(1_000 * 2**n for n in range(7)), middle=8_000, models=_pretrained())  # fmt: skip
    raise UsageError(f"diaries has no scale {scale!r}; take smoke, laptop, gpu or paper.")


#: The paper's models as far as they are known (the sheet, section 3.1): rung -> folder's name, layers, width, heads.
PRETRAINED: dict[str, dict[str, tuple[str, int, int, int]]] = {
    "opt": {"small": ("opt-125m", 12, 768, 12), "base": ("opt-350m", 24, 1_024, 16),
            "large": ("opt-1.3b", 24, 2_048, 32), "xl": ("opt-2.7b", 32, 2_560, 32)},
    "pythia": {"small": ("pythia-160m", 12, 768, 12), "base": ("pythia-410m", 24, 1_024, 16),
               "large": ("pythia-1.4b", 24, 2_048, 16), "xl": ("pythia-2.8b", 32, 2_560, 32)},
    "flan-t5": {"small": ("flan-t5-small", 8, 512, 8), "base": ("flan-t5-base", 12, 768, 12),
                "large": ("flan-t5-large", 24, 1_024, 16), "xl": ("flan-t5-xl", 24, 2_048, 32)},
}  # fmt: skip


def _pretrained() -> dict[str, Architecture | Pretrained]:
    """The paper's models from the folder that $NOSCE_MODELS names; without it the same shapes from scratch.

    Raises:
        SpecError: A model is not in that folder.
    """
    folder = os.environ.get("NOSCE_MODELS")
    return {
        f"{family} {rung}": Pretrained.at(Path(folder) / name)
        if folder
        else Architecture(family=SHAPES[family], layers=layers, width=width, heads=heads, positions=2_048)
        for family, rungs in PRETRAINED.items()
        for rung, (name, layers, width, heads) in rungs.items()
    }
