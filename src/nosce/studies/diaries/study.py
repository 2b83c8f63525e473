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
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.world import ENTRY_NUMBER_ATTRIBUTE
from nosce.errors import UsageError
from nosce.evals.generation import GenerationEval
from nosce.evals.patching.count import CountPatching
from nosce.evals.probing.label_probes import EntryCountLabels, LabelProbe
from nosce.evals.qa import FrequencyBaseline, RecallEval
from nosce.evals.stopping import StopDecision
from nosce.models.architecture import Architecture, Pretrained
from nosce.studies.diaries.arms import (
    ARCHITECTURE_FAMILIES,
    HEADER_NUMBER_FIRST,
    MERGED,
    PAPER_ENCODER_DECODERS,
    QUESTIONS_STAGE,
    SETUPS,
    TWO_PHASES,
    DiariesConfig,
)
from nosce.studies.diaries.claims import diaries_claims
from nosce.studies.diaries.figures import diaries_figures, diaries_scaling_curves
from nosce.studies.diaries.selections import HEADER_FREQUENCIES, HEADER_RECALL, SEEN_RECITATION, reference_arm
from nosce.study import PRETRAIN, EvalSpec, Scale, Study
from nosce.train.config import TrainingConfig


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    config = _diaries_config(scale)
    return Study(
        name="diaries",
        title="How much is known",
        question="Does a model know how much it knows?",
        paper="arXiv:2502.19573",
        scale=scale,
        unit="diarist",
        arms=config.arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        evals=diaries_evals(config),
        claims=diaries_claims(config),
        figures=diaries_figures(config),
        scaling_curves=diaries_scaling_curves(config),
    )


def diaries_evals(config: DiariesConfig) -> tuple[EvalSpec, ...]:
    """What is asked of the arms: diaries and the decisions in them of all, titles and hidden states of some."""
    scorer, number_first_scorer = (
        DiaryScorer(world=replace(config.world, header=header)) for header in ("name first", "number first")
    )
    arm_names = [arm.name for arm in config.arms]
    worlds_by_arm = {f"{shape} {setup}": world for shape, world in config.extra_worlds.items() for setup in SETUPS}
    grid_arms = tuple(arm for arm in arm_names if arm not in (TWO_PHASES, HEADER_NUMBER_FIRST, *worlds_by_arm))
    reference_arms = (reference_arm(config), reference_arm(config, MERGED))
    decoder_scattered_arms = tuple(
        a for a in arm_names if not a.endswith(MERGED) and not a.startswith(PAPER_ENCODER_DECODERS)
    )
    special_cases = (
        [(scorer, QUESTIONS_STAGE, TWO_PHASES), (number_first_scorer, PRETRAIN, HEADER_NUMBER_FIRST)]
        if config.header_ablations
        else []
    )
    special_cases += [(DiaryScorer(world=world), PRETRAIN, arm) for arm, world in worlds_by_arm.items()]
    return (
        *(EvalSpec(evaluation, arms=grid_arms) for evaluation in _recitation_evals(scorer)),
        *(
            EvalSpec(evaluation, stage=stage, arms=(arm,))
            for who, stage, arm in special_cases
            for evaluation in _recitation_evals(who)
        ),
        EvalSpec(StopDecision(list_task=scorer), arms=grid_arms),
        *(EvalSpec(StopDecision(list_task=who), arms=(arm,)) for who, stage, arm in special_cases if stage == PRETRAIN),
        EvalSpec(StopDecision(list_task=scorer, swapped_entries=True, name="retold"), arms=reference_arms),
        EvalSpec(
            RecallEval(documents_per_entity=0, attributes=(ENTRY_NUMBER_ATTRIBUTE,), name=HEADER_RECALL),
            arms=decoder_scattered_arms,
        ),
        EvalSpec(
            FrequencyBaseline(attributes=(ENTRY_NUMBER_ATTRIBUTE,), name=HEADER_FREQUENCIES),
            arms=decoder_scattered_arms,
        ),
        EvalSpec(LabelProbe(source=EntryCountLabels(list_task=scorer), name="counted"), arms=reference_arms),
        EvalSpec(CountPatching(list_task=scorer), arms=reference_arms),
    )


def _recitation_evals(scorer: DiaryScorer) -> tuple[GenerationEval, GenerationEval]:
    """Diaries of people never asked about, and of those whose question was trained on."""
    return GenerationEval(scorer=scorer, constrained=False), GenerationEval(
        scorer=scorer, constrained=False, split="seen", name=SEEN_RECITATION
    )


def _diaries_config(scale: Scale) -> DiariesConfig:
    """Worlds, models, recipe and passes, by scale (the sheet, sections 3 and 8)."""
    base_world = Diaries(
        encoding="lean",
        entries=(1, 4),
        attributes=(1, 1),
        n_attributes=4,
        values_per_attribute=8,
        name_pool_sizes=(128, 128),
    )
    longer_world = replace(base_world, n_diarists=1_024, attributes=(1, 3))
    extra_worlds = {
        "longer entries": longer_world,
        "as the paper's": replace(longer_world, entries=(1, 8), attributes=(1, 8), n_attributes=8),
    }
    training = TrainingConfig(
        steps=1,
        batch_size=256,
        optimizer="muon",
        muon_lr=0.02,
        peak_lr=5e-3,
        prompt_loss_weight=1.0,
        dtype="auto",
        checkpoint_fractions=(0.25, 0.5, 0.6, 0.75, 1.0),
    )
    match scale:
        case "smoke":
            sizes: dict[str, tuple[str, ...]] = {"pythia": ("2x32", "2x64"), "flan-t5": ("2x32",)}
            return DiariesConfig(
                world=replace(base_world, train_share=0.6),
                training=replace(training, batch_size=32, checkpoint_fractions=(1.0,)),
                document_epochs=1,
                question_epochs=1,
                qa_start_fraction=0.0,
                families=tuple(sizes),
                sizes_by_family=sizes,
                diarist_counts=(100, 120),
                reference_diarists=120,
            )
        case "laptop":
            # Passes, their order and the recipe were searched for in another world: benchmarks/levers.csv.
            causal_sizes = ("2x32", "2x48", "2x64", "3x64", "3x96")
            sizes = {
                "pythia": causal_sizes,
                "opt": causal_sizes,
                "flan-t5": ("2x24", "2x32", "2x48", "2x64"),
            }  # two stacks each
            return DiariesConfig(
                world=base_world,
                training=training,
                document_epochs=140,
                question_epochs=21,
                qa_start_fraction=0.5,
                extra_worlds=extra_worlds,
                families=tuple(sizes),
                sizes_by_family=sizes,
                diarist_counts=(512, 1_024, 2_048),
                reference_diarists=2_048,
                extra_diarist_counts=(4_096,),
            )
        case "gpu":
            world = replace(extra_worlds["as the paper's"], name_pool_sizes=(256, 256))
            return DiariesConfig(
                world=world,
                training=training,
                document_epochs=150,
                question_epochs=20,
                qa_start_fraction=0.5,
                families=tuple(ARCHITECTURE_FAMILIES),
                full_grid=True,
                sizes_by_family=dict.fromkeys(ARCHITECTURE_FAMILIES, ("3x128", "4x256", "6x384", "8x384")),
                diarist_counts=(1_000, 2_000, 4_000, 8_000, 16_000),
                reference_diarists=8_000,
            )
        case "paper":
            # Learning rate, batch and precision are those of EpiK-Eval, the closest known relative (the sheet, 3.3).
            paper_training = TrainingConfig(
                steps=1,
                batch_size=50,
                peak_lr=2e-5,
                warmup_steps=3_600,
                min_lr_ratio=1.0,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                epsilon=1e-8,
                prompt_loss_weight=1.0,
                dtype="bfloat16",
                checkpoint_fractions=tuple(n / 20 for n in range(1, 21)),
            )
            return DiariesConfig(
                world=Diaries(),
                training=paper_training,
                document_epochs=500,
                question_epochs=500,
                qa_start_fraction=0.0,
                families=tuple(ARCHITECTURE_FAMILIES),
                sizes_by_family=dict.fromkeys(ARCHITECTURE_FAMILIES, tuple(PAPER_MODELS["opt"])),
                full_grid=True,
                diarist_counts=tuple(1_000 * 2**n for n in range(7)),
                reference_diarists=8_000,
                model_overrides=_paper_models(),
            )
    raise UsageError(f"diaries has no scale {scale!r}; take smoke, laptop, gpu or paper.")


#: The paper's models as far as they are known (the sheet, section 3.1): rung -> folder's name, layers, width, heads.
PAPER_MODELS: dict[str, dict[str, tuple[str, int, int, int]]] = {
    "opt": {
        "small": ("opt-125m", 12, 768, 12),
        "base": ("opt-350m", 24, 1_024, 16),
        "large": ("opt-1.3b", 24, 2_048, 32),
        "xl": ("opt-2.7b", 32, 2_560, 32),
    },
    "pythia": {
        "small": ("pythia-160m", 12, 768, 12),
        "base": ("pythia-410m", 24, 1_024, 16),
        "large": ("pythia-1.4b", 24, 2_048, 16),
        "xl": ("pythia-2.8b", 32, 2_560, 32),
    },
    "flan-t5": {
        "small": ("flan-t5-small", 8, 512, 8),
        "base": ("flan-t5-base", 12, 768, 12),
        "large": ("flan-t5-large", 24, 1_024, 16),
        "xl": ("flan-t5-xl", 24, 2_048, 32),
    },
}


def _paper_models() -> dict[str, Architecture | Pretrained]:
    """The paper's models from the folder that $NOSCE_MODELS names; without it the same shapes from scratch.

    Raises:
        SpecError: A model is not in that folder.
    """
    folder = os.environ.get("NOSCE_MODELS")
    return {
        f"{family} {model_size}": Pretrained.from_folder(Path(folder) / folder_name)
        if folder
        else Architecture(
            family=ARCHITECTURE_FAMILIES[family], layers=layers, width=width, heads=heads, max_positions=2_048
        )
        for family, sizes in PAPER_MODELS.items()
        for model_size, (folder_name, layers, width, heads) in sizes.items()
    }
