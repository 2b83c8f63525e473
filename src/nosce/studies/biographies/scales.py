"""The configurations of the study biographies at each scale, and of its parts.

The scale `paper` has the sizes of Allen-Zhu and Li 2023 (arXiv:2309.14316), section 2.1 and appendices; the smaller
scales are this study's own design.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.manipulation import (
    task_vocabulary,
)
from nosce.data.worlds.biographies.world import AUGMENTATIONS, Biographies
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.models.architecture import Architecture
from nosce.studies.biographies.config import (
    FOUR_AUGMENTATIONS,
    MINORITY_TEXTS,
    MULTI5_PERMUTE,
    MULTI5_PERMUTE_FULLNAME,
    SINGLE,
    SINGLE_PERMUTE1,
    SMALL_BIOGRAPHIES,
    TWO_AUGMENTATIONS,
    BiographiesConfig,
    CoreConfig,
    QuestionDose,
    tasks_with_hint_shares,
)
from nosce.studies.biographies.trainings import (
    FinetuningVariant,
    long_finetuning,
    long_finetuning_grid,
    long_pretraining,
    short_finetuning,
    short_finetuning_grid,
    short_pretraining,
    smoke_finetuning,
)
from nosce.studies.configs import config_for_scale
from nosce.study import Scale
from nosce.train.config import LoRA

SMOKE_BIOGRAPHIES = replace(SMALL_BIOGRAPHIES, people=40, name_pool_sizes=(8, 8, 16))
#: The first checkpoint, one on the way and the last: the fewest of which a curve has a middle.
SMOKE_CHECKPOINT_FRACTIONS = (0.0, 0.5, 1.0)


def biographies_config(scale: str, settings: Sequence[str] = ()) -> BiographiesConfig:
    """The configuration of the study at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return config_for_scale("biographies", BIOGRAPHIES_CONFIGS, scale, settings, other_scales=("demo",))


def variants_config(scale: str, settings: Sequence[str] = ()) -> BiographiesConfig:
    """The configuration of `biographies_variants` at a scale.

    Raises:
        UsageError: It has no such scale or field.
    """
    return config_for_scale("biographies_variants", VARIANTS_CONFIGS, scale, settings)


def core_config(scale: str, name: str, settings: Sequence[str] = ()) -> CoreConfig:
    """The configuration of the study's core at a scale.

    Raises:
        UsageError: The core has no such scale or field.
    """
    return config_for_scale(name, CORE_CONFIGS, scale, settings)


def _question_doses(*shares: float) -> tuple[QuestionDose, ...]:
    return tuple(QuestionDose(qa_fraction=share, same_steps=same) for same in (False, True) for share in shares)


def _smoke_config() -> BiographiesConfig:
    """One arm of each kind and every kind of evaluation, within a minute and without a result."""
    return BiographiesConfig(
        world=replace(SMOKE_BIOGRAPHIES, extra_tokenizer_texts=tuple(task_vocabulary())),
        architecture=Architecture.named("2x64"),
        pretraining=replace(short_pretraining("muon"), checkpoint_fractions=SMOKE_CHECKPOINT_FRACTIONS),
        exposures=20,
        finetuning=smoke_finetuning(),
        augmentations=FOUR_AUGMENTATIONS,
        wording_counts=(1, 5),
        coupled_augmentations=("couple1",),
        qa_fraction=0.75,
        mixed_checkpoint_fractions=SMOKE_CHECKPOINT_FRACTIONS,
        question_doses=(QuestionDose(qa_fraction=0.5),),
        n_minority=20,
        n_celebrities=10,
        finetuning_grid=(
            FinetuningVariant("LoRA 8 embedding 32", smoke_finetuning(), LoRA(rank=8, embedding_rank=32)),
        ),
        q_probe_train_sizes=(10,),
        prose_entries=(1,),
        tasks=(("month_even", 0.0), ("month_even", 0.5), ("whose", 0.0)),
        bidirectional_exposure_factor=1.0,
        bidirectional_finetuning=smoke_finetuning(),
        p_probe_config=LowRankProbeConfig(rank=2, steps=4, batch_size=8),
        q_probe_config=LowRankProbeConfig(rank=16, steps=4, batch_size=16),
    )


def _laptop_config() -> BiographiesConfig:
    """800 people, 3 layers of width 128: the paper's rows, probes and celebrities; `biographies_variants` has the rest.

    So many people, since a probe that learned from 100 people of a minority read little of what can be asked for.
    """
    return BiographiesConfig(
        seeds=(0, 1, 2),
        world=replace(SMALL_BIOGRAPHIES, people=800),
        architecture=Architecture.named("3x128"),
        pretraining=short_pretraining("muon"),
        exposures=64,
        finetuning=short_finetuning(480),
        wording_counts=(),
        shuffled_shares=(),
        coupled_augmentations=("couple1", "couple5"),
        mixed_augmentations=(),
        n_minority=400,
        n_celebrities=240,
        q_probe_train_sizes=(100, 200),
        prose_entries=(),
        celebrity_pairs=MINORITY_TEXTS,
        tasks=(),
        bidirectional_augmentations=(),
        bidirectional_mixed_augmentations=(),
        bidirectional_finetuning=short_finetuning(960, 1e-3),
        p_probe_config=LowRankProbeConfig(rank=2, steps=150, batch_size=16, peak_lr=1e-2),
        q_probe_config=LowRankProbeConfig(rank=16, steps=200, batch_size=32, peak_lr=1e-2),
    )


def _variants_smoke_config() -> BiographiesConfig:
    """One arm of each kind of training that `biographies_variants` has, without a result."""
    return replace(
        _smoke_config(),
        exposures=10,
        augmentations=TWO_AUGMENTATIONS,
        coupled_augmentations=(),
        reads_states=False,
        n_minority=0,
        n_celebrities=0,
        sizes=("3x64",),
        hides_values=True,
    )


def _variants_laptop_config() -> BiographiesConfig:
    """400 people, 3 layers of width 128: other trainings and questions, beside four of the paper's rows."""
    return replace(
        _laptop_config(),
        world=replace(SMALL_BIOGRAPHIES, extra_tokenizer_texts=tuple(task_vocabulary())),
        augmentations=FOUR_AUGMENTATIONS,
        wording_counts=(1, 2, 3, 5, 10),
        shuffled_shares=(0.0, 0.4, 1.0),
        coupled_augmentations=(),
        mixed_augmentations=(SINGLE,),
        question_doses=(QuestionDose(qa_fraction=0.25), *_question_doses(0.5, 0.75)),
        reads_states=False,
        n_minority=0,
        n_celebrities=0,
        finetuning_grid=short_finetuning_grid(480),
        q_probe_train_sizes=(),
        prose_entries=(1, 5),
        celebrity_pairs=(),
        sizes=("4x160", "4x256"),
        hides_values=True,
        tasks=tuple(tasks_with_hint_shares()),
        bidirectional_augmentations=(MULTI5_PERMUTE_FULLNAME,),
        bidirectional_mixed_augmentations=(MULTI5_PERMUTE_FULLNAME,),
    )


def _gpu_config() -> BiographiesConfig:
    """10,000 people, 6 layers of width 384: all rows of the paper's table on one GPU."""
    return BiographiesConfig(
        seeds=(0, 1, 2),
        world=Biographies(
            people=10_000, name_pool_sizes=(100, 100, 250), extra_tokenizer_texts=tuple(task_vocabulary())
        ),
        architecture=Architecture.named("6x384"),
        tokenizer=TokenizerSpec(kind="bpe", vocab_size=4_096),
        pretraining=long_pretraining(batch_size=168),
        exposures=540,
        finetuning=long_finetuning(10_000),
        finetuning_adapter=LoRA(rank=8, embedding_rank=64),
        augmentations=AUGMENTATIONS,
        mixed_augmentations=TWO_AUGMENTATIONS,
        qa_fraction=0.75,
        mixed_exposures=300,
        question_doses=_question_doses(0.25, 0.5),
        n_minority=10_000,
        n_celebrities=10_000,
        finetuning_grid=tuple(long_finetuning_grid(10_000))[:6],
        celebrity_pairs=MINORITY_TEXTS,
        sizes=("8x384", "12x768"),
        hides_values=True,
        bidirectional_augmentations=(SINGLE, MULTI5_PERMUTE, MULTI5_PERMUTE_FULLNAME),
        bidirectional_mixed_exposure_factor=2.0,
        bidirectional_qa_fraction=0.75,
        bidirectional_peak_lr=3e-4,
        bidirectional_finetuning=long_finetuning(10_000),
        p_probe_config=LowRankProbeConfig(rank=2, steps=5_000, batch_size=50),
        q_probe_config=LowRankProbeConfig(rank=16, steps=10_000, batch_size=200),
    )


#: Exposures of a person in 80,000 steps of 675 biographies, which are the 49,152 tokens of 96 windows.
PAPER_EXPOSURES, PAPER_STEPS = 540, 80_000
#: Shares of tokens that are questions in Figure 10, and the shares of texts that make them: a biography has 73 tokens,
#: a question with its answer 20.
PAPER_QUESTION_SHARES = {0.1: 0.289, 0.2: 0.478, 0.3: 0.61, 0.4: 0.709, 0.6: 0.846, 0.8: 0.936, 0.9: 0.9705}
PAPER_DOSE_AUGMENTATIONS = (SINGLE, SINGLE_PERMUTE1, "multi2+permute", MULTI5_PERMUTE)  # rows of Figure 10


def _paper_dose(tokens: float) -> QuestionDose:
    """The dose at which so large a share of as many tokens are questions."""
    exposures = round((1 - tokens) * PAPER_EXPOSURES)
    return QuestionDose(qa_fraction=PAPER_QUESTION_SHARES[tokens], exposures=exposures)


def _paper_config() -> BiographiesConfig:
    """100,000 people, GPT2-small with rotary positions, LoRA fine-tuning (arXiv:2309.14316, section 2.1)."""
    adapter = LoRA(rank=8, embedding_rank=128, alpha=4.0, query_value_apart=True)
    return BiographiesConfig(
        world=Biographies(people=100_000, wordings=50, extra_tokenizer_texts=tuple(task_vocabulary())),
        architecture=replace(Architecture.named("12x768"), sequential_blocks=True),
        tokenizer=TokenizerSpec(kind="bpe", vocab_size=8_192),
        pretraining=long_pretraining(batch_size=675),
        exposures=PAPER_EXPOSURES,
        finetuning=long_finetuning(50_000),
        finetuning_adapter=adapter,
        augmentations=AUGMENTATIONS,
        mixed_augmentations=AUGMENTATIONS,
        qa_fraction=PAPER_QUESTION_SHARES[0.8],
        mixed_exposures=108,
        mixed_steps=PAPER_STEPS,
        question_doses=tuple(_paper_dose(tokens) for tokens in PAPER_QUESTION_SHARES if tokens != 0.8),
        dose_augmentations=PAPER_DOSE_AUGMENTATIONS,
        n_minority=100_000,
        n_celebrities=100_000,
        finetuning_grid=tuple(long_finetuning_grid(50_000, adapter)),
        celebrity_pairs=MINORITY_TEXTS,
        sizes=("12x1280", "12x2048"),
        size_exposure_factor=2.5,  # 200,000 steps of the model of 682M weights (appendix B)
        hides_values=True,
        bidirectional_augmentations=AUGMENTATIONS,
        bidirectional_mixed_augmentations=AUGMENTATIONS,
        bidirectional_question_doses=(_paper_dose(0.2),),
        bidirectional_exposure_factor=1.875,  # 150,000 steps (appendix H)
        bidirectional_mixed_exposure_factor=1.875,
        bidirectional_qa_fraction=PAPER_QUESTION_SHARES[0.8],
        bidirectional_peak_lr=3e-4,
        bidirectional_finetuning=replace(long_finetuning(50_000), lr_schedule="linear", min_lr_ratio=0.0),
        p_probe_config=LowRankProbeConfig(rank=2, steps=30_000, batch_size=50),
        q_probe_config=LowRankProbeConfig(rank=16, steps=30_000, batch_size=200),
    )


def _core_demo_config() -> CoreConfig:
    """400 people, 3 layers of width 128, two rows: the difference between them in minutes."""
    return CoreConfig(
        world=SMALL_BIOGRAPHIES,
        architecture=Architecture.named("3x128"),
        pretraining=short_pretraining("muon"),
        exposures=40,
        adamw_exposures=100,
        finetuning=short_finetuning(150, 7e-4),
        augmentations=TWO_AUGMENTATIONS,
    )


def _core_smoke_config() -> CoreConfig:
    """The demo with fewer people and steps, without a result."""
    return replace(
        _core_demo_config(),
        world=SMOKE_BIOGRAPHIES,
        architecture=Architecture.named("2x64"),
        pretraining=replace(short_pretraining("muon"), checkpoint_fractions=SMOKE_CHECKPOINT_FRACTIONS),
        exposures=20,
        adamw_exposures=20,
        finetuning=smoke_finetuning(),
    )


def _core_laptop_config() -> CoreConfig:
    """The demo with four rows, three seeds, and as many steps as the fast and the paper's optimizer need."""
    return replace(
        _core_demo_config(),
        seeds=(0, 1, 2),
        exposures=100,
        adamw_exposures=260,
        finetuning=short_finetuning(600),
        augmentations=FOUR_AUGMENTATIONS,
    )


BIOGRAPHIES_CONFIGS: Mapping[Scale, Callable[[], BiographiesConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
    "paper": _paper_config,
}
VARIANTS_CONFIGS: Mapping[Scale, Callable[[], BiographiesConfig]] = {
    "smoke": _variants_smoke_config,
    "laptop": _variants_laptop_config,
}
CORE_CONFIGS: Mapping[Scale, Callable[[], CoreConfig]] = {
    "smoke": _core_smoke_config,
    "demo": _core_demo_config,
    "laptop": _core_laptop_config,
}
