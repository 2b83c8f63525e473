"""What the study biographies trains and asks at each scale.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 to 7 and appendices A to H; tasks are those of
arXiv:2309.14402. The scale `paper` has the paper's sizes. The smaller scales are this study's own design: fewer people,
values and steps, and as many exposures of each person as make the model recall the biographies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.manipulation import (
    HINTABLE_TASKS,
    MANIPULATION_TASKS,
    ManipulationTask,
    task_vocabulary,
)
from nosce.data.worlds.biographies.world import AUGMENTATIONS, PAIRED_AUGMENTATIONS, Biographies
from nosce.errors import SpecError
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.models.architecture import Architecture
from nosce.studies.biographies.trainings import (
    DENSE_CHECKPOINT_FRACTIONS,
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
from nosce.train.config import LoRA, TrainingConfig

#: Rows of the paper's table: how the texts of a person are worded and ordered.
SINGLE, SINGLE_PERMUTE1, MULTI5_PERMUTE = "single", "single+permute1", "multi5+permute"
MULTI5_PERMUTE_FULLNAME = "multi5+permute+fullname"  # full names are what helps a bidirectional model (Figure 9)
TWO_AUGMENTATIONS = (SINGLE, MULTI5_PERMUTE)
FOUR_AUGMENTATIONS = (SINGLE, SINGLE_PERMUTE1, "multi5", MULTI5_PERMUTE)
SIX_AUGMENTATIONS = (SINGLE, "single+fullname", SINGLE_PERMUTE1, "single+permute5", "multi5", MULTI5_PERMUTE)
WITH_CELEBRITIES = "single+permute1 + CEL"  # the paper's name for a minority among celebrities
#: Other kinds of a minority's texts (Figure 17): two rows of bioS, and free prose in place of bioR.
MINORITY_TEXTS = (SINGLE, "single+permute1+fullname", "prose", "prose+fullname")
#: Design of this study: few values per attribute, so that a probe has enough people of each class to learn from, and
#: names that many people share, so that no single name gives a person away.
SMALL_BIOGRAPHIES = Biographies(
    people=400,
    wordings=20,
    name_pool_sizes=(20, 20, 40),
    years=100,
    cities=30,
    universities=30,
    majors=20,
    companies=30,
)
SMOKE_BIOGRAPHIES = replace(SMALL_BIOGRAPHIES, people=40, name_pool_sizes=(8, 8, 16))
#: The first checkpoint, one on the way and the last: the fewest of which a curve has a middle.
SMOKE_CHECKPOINT_FRACTIONS = (0.0, 0.5, 1.0)


def _tasks_with_hint_shares() -> Iterator[tuple[ManipulationTask, float]]:
    """Every task without hints, and each task that can have hints with hints in half of the training questions too."""
    for task in MANIPULATION_TASKS:
        yield task, 0.0
        if task in HINTABLE_TASKS:
            yield task, 0.5


@dataclass(frozen=True, kw_only=True)
class QuestionDose:
    """A share of questions in mixed training that differs from the scale's own.

    Args:
        qa_fraction: Share of the texts that are questions.
        same_steps: Train for as many steps as at the scale's share, so that the model sees each person more often.
            False: the model sees each person as often as at the scale's share.
        exposures: How often this training shows each person's biographies, so that it reads as many tokens as at the
            scale's share. None: as `same_steps` says.
    """

    qa_fraction: float
    same_steps: bool = False
    exposures: int | None = None

    def __post_init__(self) -> None:
        if self.same_steps and self.exposures is not None:
            raise SpecError("QuestionDose with same_steps and exposures has two lengths; give one of them.")

    def __str__(self) -> str:
        length = " longer" if self.same_steps else " as long" if self.exposures is not None else ""
        return f"{self.qa_fraction:.0%}{length}"


@dataclass(frozen=True, kw_only=True)
class BiographiesBaseConfig:
    """People, the model that reads about them, and the trainings of a row of the paper's table.

    Args:
        seeds: Training seeds; each has its own people, weights and order of texts.
        world: The invented people and their biographies; arms change the wording alone.
        architecture: The model's family and size: layers x width.
        tokenizer: How texts are cut into tokens.
        pretraining: The training on biographies; its steps follow from `exposures`.
        exposures: How often pretraining shows each person, in any of the person's texts.
        finetuning: The training on questions about half of the people, by which rows are compared.
        finetuning_adapter: The low-rank update that fine-tuning trains. None: all weights are trained.
    """

    seeds: tuple[int, ...] = (0,)
    world: Biographies
    architecture: Architecture
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    pretraining: TrainingConfig
    exposures: int
    finetuning: TrainingConfig
    finetuning_adapter: LoRA | None = None

    @property
    def exposures_per_step(self) -> float:
        """Exposures of each person in one step of a row's pretraining."""
        return self.pretraining.batch_size / self.world.people

    def with_steps(self, training: TrainingConfig, n_texts: float) -> TrainingConfig:
        """The training with as many steps as show `n_texts` texts `exposures` times each."""
        return replace(training, steps=max(1, round(self.exposures * n_texts / training.batch_size)))


@dataclass(frozen=True, kw_only=True)
class CoreConfig(BiographiesBaseConfig):
    """The core of the study: rows and questions alone. The demo runs it, and the two controls of our own recipe.

    Args:
        exposures: How often pretraining with Muon shows each person, in any of the person's texts.
        adamw_exposures: The same for AdamW, which needs more exposures until the model recalls the biographies.
        augmentations: Rows of the paper's table, an arm each.
    """

    adamw_exposures: int
    augmentations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BiographiesConfig(BiographiesBaseConfig):
    """What the study trains and asks at a scale.

    Args:
        augmentations: Rows of the paper's table, an arm each.
        wording_counts: Numbers of texts of a person in shuffled order, an arm each.
        shuffled_shares: Shares of five texts whose order is shuffled, an arm each.
        coupled_augmentations: Rows in which sentences about two attributes are always neighbours, an arm each.
        mixed_augmentations: Rows that are also trained with questions among the biographies, an arm each.
        qa_fraction: Share of the texts of mixed training that are questions.
        mixed_exposures: How often mixed training shows each person's biographies. None: `exposures` times.
        mixed_steps: Steps of a mixed training, whose batch follows. None: twice as many texts a step as in the rows,
            and the steps follow.
        mixed_checkpoint_fractions: Fractions of a mixed training at which its curve has points.
        question_doses: Other shares of questions in mixed training, an arm each.
        dose_augmentations: Rows that are trained with these shares.
        reads_states: Read the rows by probes, patch the states of names, and count bits a weight.
        n_minority: People of the minority, whose questions are never trained where there are celebrities.
        n_celebrities: People with five texts each, whose questions are trained. 0: no arm has celebrities.
        finetuning_grid: Other fine-tunings of the rows `single` and `multi5+permute`, an arm each.
        extra_finetuned_arms: Further arms that get the first three fine-tunings of the grid.
        q_probe_train_sizes: Numbers of people that Q-probing learns from, besides half of all people.
        prose_entries: Texts in free prose that each person has, an arm each.
        celebrity_pairs: Kinds of a minority's texts that are also read alone and among celebrities, from
            `MINORITY_TEXTS`; the row `single+permute1` always is.
        replay: Folder of general text; where one is given, each minority is also read among its pieces in place of
            celebrities. Empty: none.
        replay_share: Share of the texts of these arms that are such pieces. Half, as in the paper's control.
        sizes: Further sizes of the model, for one wording and for five shuffled ones, two arms each.
        size_exposure_factor: Times as many exposures for these sizes.
        hides_values: Also read one wording beside copies that hide values, or other words, before a value: two arms.
        written: File of texts that a language model wrote, from `write_prose`; an arm. Empty: none.
        tasks: Tasks of arXiv:2309.14402, and the share of their training questions that come with a hint.
        bidirectional_augmentations: Rows on which a model without causal mask is trained, an arm each.
        bidirectional_mixed_augmentations: Rows on which it is trained with questions among the texts, an arm each.
        bidirectional_question_doses: Other shares of questions in its mixed training, for each of these rows.
        bidirectional_exposure_factor: Times as many exposures for it, since it predicts 15 % of the words at a time.
        bidirectional_mixed_exposure_factor: The same factor where questions stand among the biographies.
        bidirectional_qa_fraction: Share of the texts of its mixed training that are questions.
        bidirectional_peak_lr: Peak learning rate of its pretraining. None: that of the rows.
        bidirectional_finetuning: Its fine-tuning on questions.
        p_probe_config: Training of the probes at positions in a biography (appendix E).
        q_probe_config: Training of the probes that read the name alone (appendix F).
        n_secondary_seeds: Seeds of the arms that no main claim rests on. None: all.
    """

    augmentations: tuple[str, ...] = SIX_AUGMENTATIONS
    wording_counts: tuple[int, ...] = (1, 2, 3, 5, 10)
    shuffled_shares: tuple[float, ...] = (0.0, 0.4, 1.0)
    coupled_augmentations: tuple[str, ...] = PAIRED_AUGMENTATIONS
    mixed_augmentations: tuple[str, ...] = (SINGLE,)
    qa_fraction: float = 0.9
    mixed_exposures: int | None = None
    mixed_steps: int | None = None
    mixed_checkpoint_fractions: tuple[float, ...] = DENSE_CHECKPOINT_FRACTIONS
    question_doses: tuple[QuestionDose, ...] = ()
    dose_augmentations: tuple[str, ...] = (SINGLE,)
    reads_states: bool = True
    n_minority: int
    n_celebrities: int
    finetuning_grid: tuple[FinetuningVariant, ...] = ()
    extra_finetuned_arms: tuple[str, ...] = ()
    q_probe_train_sizes: tuple[int, ...] = ()
    prose_entries: tuple[int, ...] = (1, 5)
    celebrity_pairs: tuple[str, ...] = ()
    replay: str = ""
    replay_share: float = 0.5
    sizes: tuple[str, ...] = ()
    size_exposure_factor: float = 1.0
    hides_values: bool = False
    written: str = ""
    tasks: tuple[tuple[ManipulationTask, float], ...] = tuple(_tasks_with_hint_shares())
    bidirectional_augmentations: tuple[str, ...] = (MULTI5_PERMUTE_FULLNAME,)
    bidirectional_mixed_augmentations: tuple[str, ...] = (MULTI5_PERMUTE_FULLNAME,)
    bidirectional_question_doses: tuple[QuestionDose, ...] = ()
    bidirectional_exposure_factor: float = 4.0
    bidirectional_mixed_exposure_factor: float = 1.0
    bidirectional_qa_fraction: float = 0.5
    bidirectional_peak_lr: float | None = None
    bidirectional_finetuning: TrainingConfig
    p_probe_config: LowRankProbeConfig
    q_probe_config: LowRankProbeConfig
    n_secondary_seeds: int | None = 1

    def __post_init__(self) -> None:
        if unknown := [name for name in self.celebrity_pairs if name not in MINORITY_TEXTS]:
            raise SpecError(
                f"BiographiesConfig.celebrity_pairs names {unknown[0]!r}; choose from {', '.join(MINORITY_TEXTS)}."
            )
        if self.celebrity_pairs and not self.n_celebrities:
            raise SpecError("BiographiesConfig.celebrity_pairs needs celebrities; n_celebrities is 0.")
        for size in self.sizes:
            Architecture.named(size)  # raises if it does not exist

    def sized(self, size: str) -> Architecture:
        """The architecture of another size, otherwise as the rows'."""
        named = Architecture.named(size)
        return replace(self.architecture, layers=named.layers, width=named.width, heads=named.heads)

    @property
    def finetuning_grids(self) -> Iterator[tuple[str, tuple[FinetuningVariant, ...]]]:
        """Arms, each with its other fine-tunings."""
        yield from ((name, self.finetuning_grid) for name in TWO_AUGMENTATIONS if self.finetuning_grid)
        yield from ((name, self.finetuning_grid[:3]) for name in self.extra_finetuned_arms)


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
        tasks=tuple(_tasks_with_hint_shares()),
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
