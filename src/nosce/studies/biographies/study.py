"""Is knowledge that a model has memorised also knowledge that it can be asked for?

Allen-Zhu and Li 2023, "Physics of Language Models: Part 3.1, Knowledge Storage and Extraction"
(arXiv:2309.14316). The model memorises everybody's biography. It is then trained on questions about half of
the people and is asked about the other half. What decides is not whether the facts were stored, but in how
many wordings the model has seen them, and with that where in the model they can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from nosce.analysis.claims import Claim
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.store.disclosure import Disclosure
from nosce.studies.biographies.arms import FINETUNE_STAGE, augmentation_arm, biographies_arms
from nosce.studies.biographies.claims import augmentation_claims, biographies_claims
from nosce.studies.biographies.config import SMALL_BIOGRAPHIES, BiographiesConfig
from nosce.studies.biographies.disclosures import BIOGRAPHIES_DISCLOSURES
from nosce.studies.biographies.evals import biographies_evals
from nosce.studies.biographies.figures import (
    augmentation_figures,
    biographies_figures,
    biographies_scaling_curves,
    recall_scaling_curves,
)
from nosce.studies.biographies.own_facts import names_facts, own_facts_study
from nosce.studies.biographies.scales import biographies_config, core_config, variants_config
from nosce.studies.biographies.selections import CORE_ATTRIBUTES, extraction_accuracy, recall_precondition
from nosce.studies.biographies.trainings import CHECKPOINT_FRACTIONS, short_pretraining
from nosce.study import EXPLORATORY_SEEDS, EvalSpec, Scale, Study

BIOGRAPHIES_TITLE = "Memorised is not extractable"
BIOGRAPHIES_QUESTION = "Can a model be asked for what it has memorised?"
BIOGRAPHIES_HEADLINE = ("single-near-chance", "extraction-gap")
VARIANTS_TITLE = "Other trainings of what is memorised"
VARIANTS_QUESTION = "Does another training make memorised facts extractable?"
VARIANTS_HEADLINE = ("mixed-extracts", "no-recipe-helps")
BIOGRAPHIES_PAPER = "arXiv:2309.14316"


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale; the scale `demo` runs its core, and the setting `facts` has a study of its own.

    Raises:
        UsageError: The study has no such scale or field.
    """
    if names_facts(settings):
        return own_facts_study(scale, settings)
    if scale == "demo":
        return core_study(scale, settings=settings)
    return _configured_study("biographies", biographies_config(scale, settings), scale)


def variants(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """Other trainings of the same rows: questions mixed in, other fine-tunings, sizes, hidden values, masks, tasks.

    At the scales gpu and paper the study `biographies` has them too.

    Raises:
        UsageError: The study has no such scale or field.
    """
    whole = _configured_study("biographies_variants", variants_config(scale, settings), scale)
    return replace(whole, title=VARIANTS_TITLE, question=VARIANTS_QUESTION, headline=VARIANTS_HEADLINE)


def _configured_study(name: str, config: BiographiesConfig, scale: Scale) -> Study:
    arms, claims = biographies_arms(config), biographies_claims(config)
    whole = Study(
        name=name,
        title=BIOGRAPHIES_TITLE,
        question=BIOGRAPHIES_QUESTION,
        paper=BIOGRAPHIES_PAPER,
        scale=scale,
        unit="person",
        arms=arms,
        seeds=config.seeds,
        exploratory_seeds=EXPLORATORY_SEEDS,
        evals=biographies_evals(config, arms),
        claims=claims,
        headline=BIOGRAPHIES_HEADLINE,
        figures=biographies_figures(config),
        scaling_curves=biographies_scaling_curves(config),
        disclosures=tuple(filter(partial(_bears_on_any, claims), BIOGRAPHIES_DISCLOSURES)),
    )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _bears_on_any(claims: Sequence[Claim], disclosure: Disclosure) -> bool:
    return not disclosure.claims or any(disclosure.bears_on(claim.id) for claim in claims)


def core_study(scale: Scale, optimizer: str = "muon", name: str = "biographies", settings: Sequence[str] = ()) -> Study:
    """Rows and questions alone: the demo, and the study that controls our own optimizer and packing.

    Args:
        scale: smoke, demo or laptop.
        optimizer: One of `OPTIMIZER_SETTINGS`.
        name: The study's name in the store and in the report.
        settings: Fields of the configuration that `--set` changes.

    Raises:
        UsageError: The core has no such scale.
    """
    config = core_config(scale, name, settings)
    if optimizer == "adamw":
        pretraining = replace(
            short_pretraining(optimizer), checkpoint_fractions=config.pretraining.checkpoint_fractions
        )
        config = replace(config, pretraining=pretraining, exposures=config.adamw_exposures)
    arms = tuple(augmentation_arm(config, augmentation) for augmentation in config.augmentations)
    checkpoint_steps = arms[0].training.checkpoint_steps
    return Study(
        name=name,
        title=BIOGRAPHIES_TITLE,
        question=BIOGRAPHIES_QUESTION,
        paper=BIOGRAPHIES_PAPER,
        scale=scale,
        unit="person",
        arms=arms,
        seeds=config.seeds,
        exploratory_seeds=EXPLORATORY_SEEDS,
        evals=(EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage=FINETUNE_STAGE)),
        claims=augmentation_claims(config.augmentations),
        headline=BIOGRAPHIES_HEADLINE,
        figures=augmentation_figures(config.augmentations, config.exposures_per_step),
        scaling_curves=recall_scaling_curves(config.augmentations, checkpoint_steps, config.exposures_per_step),
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
