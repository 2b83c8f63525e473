"""Is knowledge that was memorised also knowledge that can be asked for?

Allen-Zhu and Li 2023, "Physics of Language Models: Part 3.1, Knowledge Storage and Extraction"
(arXiv:2309.14316). Everybody's biography is learnt by heart; questions about half of the people are
then trained on; the other half are asked about. What decides is not whether the facts were stored
but in how many wordings they were met, and with that where in the model they are to be read.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.errors import UsageError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.studies.biographies import claims as _biographies_claims
from nosce.studies.biographies import figures as _biographies_figures
from nosce.studies.biographies.arms import (
    CHECKPOINT_FRACTIONS,
    FINETUNE_STAGE,
    FOUR_AUGMENTATIONS,
    SMALL_BIOGRAPHIES,
    TWO_AUGMENTATIONS,
    biographies_config,
)
from nosce.studies.biographies.arms import core_arms as core_arms
from nosce.studies.biographies.selections import CORE_ATTRIBUTES, extraction_accuracy, recall_precondition
from nosce.study import EvalSpec, Scale, Study

BIOGRAPHIES_PAPER = "arXiv:2309.14316"
BIOGRAPHIES_TITLE, BIOGRAPHIES_QUESTION = (
    "Memorised is not extractable",
    "Can a model be asked for what it has learnt by heart?",
)


def study(scale: Scale) -> Study:
    """The study at a scale; `demo` is its core."""
    if scale == "demo":
        return core_study(scale)
    config = biographies_config(scale)
    if config is None:
        raise UsageError(f"biographies has no scale {scale!r}; take smoke, demo, laptop, gpu or paper.")
    return Study(
        name="biographies",
        title=BIOGRAPHIES_TITLE,
        question=BIOGRAPHIES_QUESTION,
        paper=BIOGRAPHIES_PAPER,
        scale=scale,
        unit="person",
        arms=config.arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        evals=config.evals,
        claims=_biographies_claims.biographies_claims(config),
        figures=_biographies_figures.biographies_figures(config),
        scaling_curves=_biographies_figures.biographies_scaling_curves(config),
    )


def core_study(scale: Scale, optimizer: str = "muon", name: str = "biographies") -> Study:
    """Rows and questions alone: the demo, and what the controls of our recipe are held against.

    Args:
        optimizer: One of `OPTIMIZERS`.
        name: What the store and the report call it.
    """
    is_muon = optimizer == "muon"
    match scale:
        case "smoke":
            world = replace(SMALL_BIOGRAPHIES, people=40, name_pool_sizes=(8, 8, 16))
            arms = core_arms(world, TWO_AUGMENTATIONS, optimizer, model_size="2x64", exposures=20, finetune_steps=20)
        case "demo":
            exposures = 40 if is_muon else 100
            arms = core_arms(
                SMALL_BIOGRAPHIES,
                TWO_AUGMENTATIONS,
                optimizer,
                model_size="3x128",
                exposures=exposures,
                finetune_steps=150,
                finetune_lr=7e-4,
            )
        case "laptop":
            exposures = 100 if is_muon else 260
            arms = core_arms(
                SMALL_BIOGRAPHIES,
                FOUR_AUGMENTATIONS,
                optimizer,
                model_size="3x128",
                exposures=exposures,
                finetune_steps=600,
            )
        case _:
            raise UsageError(f"{name} has no scale {scale!r}; take smoke, demo or laptop.")
    augmentations = tuple(arm.name for arm in arms)
    exposures_per_step = arms[0].training.batch_size / arms[0].world.people  # type: ignore[attr-defined]
    return Study(
        name=name,
        title=BIOGRAPHIES_TITLE,
        question=BIOGRAPHIES_QUESTION,
        paper=BIOGRAPHIES_PAPER,
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0, 1, 2) if scale == "laptop" else (0,),
        evals=(EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage=FINETUNE_STAGE)),
        claims=_biographies_claims.augmentation_claims(augmentations),
        figures=_biographies_figures.augmentation_figures(augmentations, exposures_per_step),
        scaling_curves=_biographies_figures.recall_scaling_curves(
            augmentations, arms[0].training.checkpoint_steps, exposures_per_step
        ),
    )


__all__ = [
    "CHECKPOINT_FRACTIONS",
    "CORE_ATTRIBUTES",
    "FINETUNE_STAGE",
    "SMALL_BIOGRAPHIES",
    "core_study",
    "extraction_accuracy",
    "recall_precondition",
    "study",
]
