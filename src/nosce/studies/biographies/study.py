"""Is knowledge that was memorised also knowledge that can be asked for?

Allen-Zhu and Li 2023, "Physics of Language Models: Part 3.1, Knowledge Storage and Extraction"
(arXiv:2309.14316). Everybody's biography is learnt by heart; questions about half of the people are
then trained on; the other half are asked about. What decides is not whether the facts were stored
but in how many wordings they were met, and with that where in the model they are to be read.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.errors import UsageError
from nosce.evals.qa import Majority, Questions, Recall
from nosce.studies.biographies import claims as _biographies_claims
from nosce.studies.biographies import figures as _biographies_figures
from nosce.studies.biographies.arms import ALONG, FINETUNE, FOUR_ROWS, PAIR, SMALL, bench_of
from nosce.studies.biographies.arms import core as core_arms
from nosce.studies.biographies.selections import FOUR, asked, known
from nosce.study import Read, Scale, Study

PAPER = "arXiv:2309.14316"
TITLE, QUESTION = "Memorised is not extractable", "Can a model be asked for what it has learnt by heart?"


def study(scale: Scale) -> Study:
    """The study at a scale; `demo` is its core."""
    if scale == "demo":
        return core(scale)
    bench = bench_of(scale)
    if bench is None:
        raise UsageError(f"biographies has no scale {scale!r}; take smoke, demo, laptop, gpu or paper.")
    return Study(
        name="biographies",
        title=TITLE,
        question=QUESTION,
        paper=PAPER,
        scale=scale,
        unit="person",
        arms=bench.arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        reads=bench.reads,
        claims=_biographies_claims.claims(bench),
        figures=_biographies_figures.figures(bench),
        scalings=_biographies_figures.scalings(bench),
    )


def core(scale: Scale, optimizer: str = "muon", name: str = "biographies") -> Study:
    """Rows and questions alone: the demo, and what the controls of our recipe are held against.

    Args:
        optimizer: One of `OPTIMIZERS`.
        name: What the store and the report call it.
    """
    fast = optimizer == "muon"
    match scale:
        case "smoke":
            world = replace(SMALL, people=40, names=(8, 8, 16))
            arms = core_arms(world, PAIR, optimizer, model="2x64", exposures=20, finetune=20)
        case "demo":
            exposures = 40 if fast else 100
            arms = core_arms(SMALL, PAIR, optimizer, model="3x128", exposures=exposures, finetune=150, asking_lr=7e-4)
        case "laptop":
            exposures = 100 if fast else 260
            arms = core_arms(SMALL, FOUR_ROWS, optimizer, model="3x128", exposures=exposures, finetune=600)
        case _:
            raise UsageError(f"{name} has no scale {scale!r}; take smoke, demo or laptop.")
    rows = tuple(arm.name for arm in arms)
    per_step = arms[0].recipe.batch / arms[0].world.people  # type: ignore[attr-defined]
    return Study(
        name=name,
        title=TITLE,
        question=QUESTION,
        paper=PAPER,
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0, 1, 2) if scale == "laptop" else (0,),
        reads=(Read(Recall()), Read(Majority()), Read(Questions(), stage=FINETUNE)),
        claims=_biographies_claims.of_rows(rows),
        figures=_biographies_figures.of_rows(rows, per_step),
        scalings=_biographies_figures.of_recall(rows, arms[0].recipe.kept, per_step),
    )


__all__ = ["ALONG", "FINETUNE", "FOUR", "SMALL", "asked", "core", "known", "study"]
