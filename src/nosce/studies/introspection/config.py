"""What the study introspection trains and asks at each scale.

Source: Binder et al. 2024 (arXiv:2410.13787) asked GPT-4 and Llama 70B. These scales are this study's own design: small
transformers that are trained from scratch, so that every answer's probability is known exactly and siblings of a model
can be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.models.architecture import Architecture
from nosce.seeds import Seed
from nosce.studies.configs import config_for_scale
from nosce.studies.introspection.injected_config import InjectionConfig
from nosce.study import Scale
from nosce.train.config import TrainingConfig

INTROSPECTION_PAPER = "arXiv:2410.13787"
DESIGN_SOURCE = "design of this study"  # the source of claims that the paper does not make
FILLERS_ABLATION, NO_SLOT_ABLATION, LORA_ABLATION, LEAK_ABLATION, LEFT_OUT_ABLATION = ABLATIONS = (
    "fillers",
    "no slot",
    "LoRA",
    "leak",
    "one left out",
)


@dataclass(frozen=True, kw_only=True)
class IntrospectionConfig:
    """What the study trains and asks at a scale.

    Args:
        seeds: Training seeds; each has its own corpora, weights and order of documents.
        world: The corpora that give a model its dispositions.
        architecture: The models' family and size: layers x width.
        base_training: The training of a model on its corpus.
        report_training: The training of a predictor on labels of a target's answers.
        n_report_documents: Documents of a predictor's training; half of them come from its own corpus.
        change_training: The training that changes a model's choices.
        n_change_documents: Documents of the change.
        injection: How concepts are injected, and how reports of them are taught.
        label_counts: Numbers of different labels that are taught, fewer than all, an arm each.
        extra_layers: Fresh layers on top of a predictor, in the arms that have them.
        n_fillers: Filler tokens before a report, in the arms that have them.
        ablations: Other predictors of A, an arm each for A and for B, of one seed.
    """

    seeds: tuple[int, ...] = (0,)
    world: Dispositions
    architecture: Architecture
    base_training: TrainingConfig
    report_training: TrainingConfig
    n_report_documents: int
    change_training: TrainingConfig
    n_change_documents: int
    injection: InjectionConfig
    label_counts: tuple[int, ...]
    extra_layers: int = 2
    n_fillers: int = 4
    ablations: tuple[str, ...] = ABLATIONS

    @property
    def shared_world(self) -> Dispositions:
        """Prompts of every context that all corpora answer alike, most of them of the unseen split.

        No training sees more labels for them, and only two models and the baselines are asked about them.
        """
        return replace(self.world, n_shared_prompts=self.world.n_contexts)

    @property
    def max_label_count(self) -> int:
        """Different labels of valid answers to prompts of the seen split."""
        prompts = self.world.prompts(Seed(0))
        return sum(len(prompt.property_names) for prompt in prompts if prompt.split == "seen")


def introspection_config(scale: str, settings: Sequence[str] = ()) -> IntrospectionConfig:
    """The configuration of the study at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    note = " (the paper asked GPT-4 and Llama 70B: docs/introspection.md says how to ask a local folder or an endpoint)"
    return config_for_scale("introspection", INTROSPECTION_CONFIGS, scale, settings, note=note)


def _laptop_config() -> IntrospectionConfig:
    """4 layers of width 64: all claims on two cores."""
    report_training = TrainingConfig(steps=600, batch_size=128, optimizer="muon", muon_lr=0.01, peak_lr=2e-3)
    return IntrospectionConfig(
        seeds=(0, 1, 2),
        world=Dispositions(
            vocabulary_size=20, n_contexts=300, records=100_000, prompts_per_task=150, unseen_share=1 / 3
        ),
        architecture=Architecture(layers=4, width=64, heads=2, max_positions=40),
        base_training=TrainingConfig(steps=2_500, batch_size=256, optimizer="muon", peak_lr=5e-3),
        report_training=report_training,
        n_report_documents=40_000,
        change_training=replace(report_training, steps=60, batch_size=16),
        n_change_documents=1_000,
        injection=InjectionConfig(
            training=replace(report_training, checkpoint_fractions=(0.0, 1.0)), n_documents=40_000, layer=2
        ),
        label_counts=(200, 700),
    )


def _smoke_config() -> IntrospectionConfig:
    """Every kind of arm and evaluation, within a minute and without a result."""
    laptop = _laptop_config()
    return replace(
        laptop,
        seeds=(0,),
        world=replace(laptop.world, vocabulary_size=8, n_contexts=24, records=1_000, prompts_per_task=12),
        architecture=replace(laptop.architecture, layers=2),
        # Fewer steps, and there is no valid answer of which anything could be taught.
        base_training=replace(laptop.base_training, steps=25, batch_size=32),
        report_training=replace(laptop.report_training, steps=8, batch_size=32),
        n_report_documents=200,
        change_training=replace(laptop.change_training, steps=4),
        n_change_documents=100,
        injection=replace(
            laptop.injection,
            training=replace(laptop.injection.training, steps=8, batch_size=32),
            n_documents=200,
            layer=1,
            strengths=(1.0, 2.0),
            lines_per_concept=2,
        ),
        label_counts=(30,),
        ablations=(LEAK_ABLATION,),
    )


def _gpu_config() -> IntrospectionConfig:
    """6 layers of width 256, ten times the documents, on one GPU."""
    laptop = _laptop_config()
    return replace(
        laptop,
        world=replace(laptop.world, vocabulary_size=32, n_contexts=900, records=1_000_000, prompts_per_task=400),
        architecture=Architecture(layers=6, width=256, heads=8, max_positions=40),
        base_training=replace(laptop.base_training, steps=20_000),
        report_training=replace(laptop.report_training, steps=3_000),
        n_report_documents=400_000,
        injection=replace(
            laptop.injection,
            training=replace(laptop.injection.training, steps=3_000),
            n_documents=400_000,
            layer=3,
            lines_per_concept=8,
        ),
        label_counts=(500, 2_000),
    )


INTROSPECTION_CONFIGS: Mapping[Scale, Callable[[], IntrospectionConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
