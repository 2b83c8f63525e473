"""What the study biographies trains and asks at each scale.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 to 7 and appendices A to H; tasks are those of
arXiv:2309.14402. The scale `paper` has the paper's sizes. The smaller scales are this study's own design: fewer people,
values and steps, and as many exposures of each person as make the model recall the biographies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.manipulation import (
    HINTABLE_TASKS,
    MANIPULATION_TASKS,
    ManipulationTask,
)
from nosce.data.worlds.biographies.world import PAIRED_AUGMENTATIONS, Biographies
from nosce.errors import SpecError
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.models.architecture import Architecture
from nosce.studies.biographies.trainings import (
    DENSE_CHECKPOINT_FRACTIONS,
    FinetuningVariant,
)
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


def tasks_with_hint_shares() -> Iterator[tuple[ManipulationTask, float]]:
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
    tasks: tuple[tuple[ManipulationTask, float], ...] = tuple(tasks_with_hint_shares())
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
