"""The arms of the study biographies: rows of the paper's table, doses, mixtures, celebrities, recipes, prose, tasks.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 to 7 and appendices A to H; tasks are those of
arXiv:2309.14402. Sizes are the sheet's (section 11).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.celebrities import Celebrities
from nosce.data.worlds.biographies.manipulation import (
    HINTABLE_TASKS,
    MANIPULATION_TASKS,
    Manipulation,
    ManipulationTask,
    task_vocabulary,
)
from nosce.data.worlds.biographies.prose import FreeBiographies, ProseGrammar
from nosce.data.worlds.biographies.templates import DAYS
from nosce.data.worlds.biographies.world import AUGMENTATIONS, PAIRED_AUGMENTATIONS, Biographies, BiographyNameExtractor
from nosce.evals.capacity import KnowledgeCapacity
from nosce.evals.patching.name import NamePatching
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import ENCODER_FAMILIES, Architecture
from nosce.study import Arm, EvalSpec, Stage
from nosce.train.config import LoRA, QAMixture, TrainingConfig

FINETUNE_STAGE, TASK_STAGE = "finetune", "task"  # stages
CHECKPOINT_FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # where the curves have their points
P_PROBE_DOCUMENTS = 5  # texts of a person that P-probing reads: all there are in its rows
DENSE_CHECKPOINT_FRACTIONS = tuple(n / 20 for n in range(21))
SINGLE, SINGLE_PERMUTE1, MULTI5_PERMUTE = "single", "single+permute1", "multi5+permute"
TWO_AUGMENTATIONS = (SINGLE, MULTI5_PERMUTE)
FOUR_AUGMENTATIONS = (SINGLE, SINGLE_PERMUTE1, "multi5", MULTI5_PERMUTE)
SIX_AUGMENTATIONS = (SINGLE, "single+fullname", SINGLE_PERMUTE1, "single+permute5", "multi5", MULTI5_PERMUTE)
#: Arms by their dose: wordings of a person in shuffled order, and the share of five wordings that is shuffled.
ARMS_BY_WORDINGS = {
    1: SINGLE_PERMUTE1,
    2: "multi2+permute",
    3: "multi3+permute",
    5: MULTI5_PERMUTE,
    10: "multi10+permute",
}
ARMS_BY_SHUFFLED_SHARE = {0.0: "multi5", 0.4: "multi5+permute40%", 1.0: MULTI5_PERMUTE}
WITH_CELEBRITIES = "single+permute1 + CEL"  # the paper's name for a minority among celebrities
MINORITY_Q_PROBE, MINORITY_P_PROBE = "q-probe minority", "p-probe minority"
CONTROL_P_PROBE = "p-probe control"  # the same, from as many people and texts, where all can be asked for
MULTI5_PERMUTE_FULLNAME = "multi5+permute+fullname"  # full names are what helps a model that sees both ways
TOKEN_RECALL = "recall by words"

#: `muon` was found by `benchmarks/recipes.py` on recall alone, in people that no study reports. `adamw` is the
#: optimizer of arXiv:2309.14316, at a learning rate from pilots (LOG.md) that was searched less.
OPTIMIZER_SETTINGS: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": "muon", "muon_lr": 0.03, "peak_lr": 2e-2, "batch_size": 32},
    "adamw": {"optimizer": "adamw", "peak_lr": 5e-3, "batch_size": 32},
}

#: Few values a field, so that every class has people enough; names shared by many (the sheet, section 11.1).
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


def mixed_arm_name(augmentation: str, dose: QuestionDose | None = None) -> str:
    """The arm that reads a row's biographies and questions about half of its people from the first step."""
    return f"{augmentation} mixed" + (f" {dose}" if dose else "")


@dataclass(frozen=True, kw_only=True)
class QuestionDose:
    """A share of questions in mixed training other than the scale's."""

    qa_fraction: float  # share of the texts, lower than the scale's
    # As many steps as at the scale's share, so that everybody is met more often; else they are met as often.
    same_steps: bool = False

    def __str__(self) -> str:
        return f"{self.qa_fraction:.0%}" + (" longer" if self.same_steps else "")


def bidirectional_arm_name(arm: str) -> str:
    """The arm of a model that sees both ways."""
    return f"masked {arm}"


def task_arm_name(task: ManipulationTask, *, hints: bool = False) -> str:
    """The arm that is taught a task."""
    return f"{task} with hints" if hints else task


def finetuning_arm_name(arm: str, finetuning: str) -> str:
    """The arm of a row that is fine-tuned otherwise."""
    return f"{arm}: {finetuning}"


def prose_arm_name(entries: int) -> str:
    """The arm that reads free texts."""
    return f"prose {entries}"


@dataclass(frozen=True, kw_only=True)
class BiographiesBaseConfig:
    """People, and how a model of one shape reads of them and is asked; steps are so many that all are met as often."""

    world: Biographies
    architecture: Architecture
    pretraining: TrainingConfig  # but for its steps
    exposures: int  # of each person, by whichever of their texts
    finetuning: TrainingConfig
    finetuning_adapter: LoRA | None = None  # of the fine-tuning by which rows are compared
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)

    def augmentation_arm(self, augmentation: str) -> Arm:
        """The arm of a row of the table; every person is met equally often in each."""
        world = replace(self.world, augmentation=augmentation)
        return Arm(
            name=augmentation,
            world=world,
            model=self.architecture,
            training=self._with_steps(self.pretraining, world.people),
            stages=(self._finetuning_stage(self.finetuning, self.finetuning_adapter),),
            tokenizer=self.tokenizer,
        )

    @property
    def exposures_per_step(self) -> float:
        """Exposures of each person in a step of a row."""
        return self.pretraining.batch_size / self.world.people

    def _with_steps(self, training: TrainingConfig, n_texts: float) -> TrainingConfig:
        """As many steps as bring so many texts before the model as often as the scale says."""
        return replace(training, steps=max(1, round(self.exposures * n_texts / training.batch_size)))

    def _finetuning_stage(self, training: TrainingConfig, adapter: LoRA | None) -> Stage:
        return Stage(name=FINETUNE_STAGE, training=training, adapter=adapter)


@dataclass(frozen=True, kw_only=True)
class BiographiesConfig(BiographiesBaseConfig):
    """All that is trained and read at a scale."""

    augmentations: tuple[str, ...] = SIX_AUGMENTATIONS
    coupled_augmentations: tuple[str, ...] = PAIRED_AUGMENTATIONS
    mixed_augmentations: tuple[str, ...] = (SINGLE,)
    qa_fraction: float = 0.9  # share of the texts of mixed training
    mixed_exposures: int | None = None  # of each person there, by their texts; None: as many
    question_doses: tuple[QuestionDose, ...] = ()  # of questions, after one wording
    n_minority: int
    n_celebrities: int
    finetuning_grid: tuple[tuple[str, TrainingConfig, LoRA | None], ...] = ()  # other fine-tunings of two rows
    extra_finetuned_arms: tuple[
        str, ...
    ] = ()  # arms besides these whose fine-tuning is tried otherwise, by the first three
    q_probe_train_sizes: tuple[int, ...] = ()  # as many to learn Q-probing from, besides half of the world
    prose_entries: tuple[int, ...] = (1, 5)
    tasks: tuple[tuple[ManipulationTask, float], ...] = tuple(
        (task, hints) for task in MANIPULATION_TASKS for hints in ((0.0, 0.5) if task in HINTABLE_TASKS else (0.0,))
    )
    bidirectional_augmentations: tuple[str, ...] = (
        MULTI5_PERMUTE_FULLNAME,
    )  # rows that a model reads that sees both ways
    bidirectional_exposure_factor: int = 4  # times as many exposures, since it is told 15 % of the words at a time
    bidirectional_mixed_exposure_factor: int = 1  # the same where questions stand among the texts
    bidirectional_qa_fraction: float = 0.5  # their share there
    bidirectional_finetuning: TrainingConfig  # its fine-tuning
    bidirectional_peak_lr: float | None = None  # at the peak of its first training; None: that of the rows
    p_probe_config: LowRankProbeConfig
    q_probe_config: LowRankProbeConfig
    n_secondary_seeds: int | None = 1  # seeds of what no main claim rests on

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Rows first."""
        dose_augmentations = [
            name
            for name in (*ARMS_BY_WORDINGS.values(), *ARMS_BY_SHUFFLED_SHARE.values(), *self.coupled_augmentations)
            if name not in self.augmentations
        ]
        primary_arms = [self.augmentation_arm(name) for name in self.augmentations]
        primary_arms += [self._mixed_arm(name, self.qa_fraction) for name in self.mixed_augmentations]
        primary_arms.append(self._celebrities_arm())
        secondary_arms = [self.augmentation_arm(name) for name in dict.fromkeys(dose_augmentations)]
        secondary_arms += [self._mixed_arm(SINGLE, dose.qa_fraction, dose) for dose in self.question_doses]
        secondary_arms += [
            replace(
                self._celebrities_arm() if name == WITH_CELEBRITIES else self.augmentation_arm(name),
                name=finetuning_arm_name(name, how),
                stages=(self._finetuning_stage(training, adapter),),
            )
            for name, recipes in self.finetuning_grids
            for how, training, adapter in recipes
        ]
        secondary_arms += [self._prose_arm(entries) for entries in self.prose_entries]
        secondary_arms += list(self._bidirectional_arms())
        secondary_arms += [self._task_arm(task, hints) for task, hints in self.tasks]
        return (*primary_arms, *(replace(arm, n_seeds=self.n_secondary_seeds) for arm in secondary_arms))

    @property
    def finetuning_grids(self) -> Iterator[tuple[str, tuple[tuple[str, TrainingConfig, LoRA | None], ...]]]:
        """Arms with the other fine-tunings of each."""
        yield from ((name, self.finetuning_grid) for name in TWO_AUGMENTATIONS)
        yield from ((name, self.finetuning_grid[:3]) for name in self.extra_finetuned_arms)

    @property
    def evals(self) -> tuple[EvalSpec, ...]:
        """What is read of whom."""
        arms = {arm.name: arm for arm in self.arms}
        task_arms = tuple(task_arm_name(task, hints=hints > 0) for task, hints in self.tasks)
        knowledge_arms = tuple(name for name in arms if name not in task_arms)
        sites = [*(f"residual.{number}" for number in range(self.architecture.layers)), "final"]
        minority_world = replace(self.world, people=self.n_minority, augmentation=SINGLE_PERMUTE1)
        name_extractor = BiographyNameExtractor()
        return (
            EvalSpec(RecallEval(), arms=knowledge_arms),
            EvalSpec(MajorityBaseline(), arms=knowledge_arms),
            EvalSpec(QAEval(), stage=FINETUNE_STAGE),
            EvalSpec(QAEval(), arms=tuple(name for name, arm in arms.items() if arm.qa_mixture is not None)),
            EvalSpec(
                PositionProbe(config=self.p_probe_config, documents_per_entity=P_PROBE_DOCUMENTS),
                arms=TWO_AUGMENTATIONS,
            ),
            EvalSpec(
                NameProbe(config=self.q_probe_config, name_extractor=name_extractor),
                arms=(*self.augmentations, *map(bidirectional_arm_name, self.bidirectional_augmentations)),
            ),
            EvalSpec(
                RecallEval(per_token=True, name=TOKEN_RECALL),
                arms=tuple(map(bidirectional_arm_name, self.bidirectional_augmentations)),
            ),
            EvalSpec(
                NameProbe(config=self.q_probe_config, name_extractor=name_extractor, name=MINORITY_Q_PROBE),
                arms=(SINGLE_PERMUTE1, WITH_CELEBRITIES),
                question_source=minority_world,
            ),
            EvalSpec(
                PositionProbe(config=self.p_probe_config, name=MINORITY_P_PROBE),
                arms=(SINGLE_PERMUTE1, WITH_CELEBRITIES),
                question_source=minority_world,
            ),
            EvalSpec(
                PositionProbe(config=self.p_probe_config, name=CONTROL_P_PROBE),
                arms=(MULTI5_PERMUTE,),
                question_source=replace(minority_world, augmentation=MULTI5_PERMUTE),
            ),
            *(
                EvalSpec(
                    NameProbe(config=self.q_probe_config, name_extractor=name_extractor, name=q_probe_name(few)),
                    arms=(MULTI5_PERMUTE,),
                    question_source=replace(self.world, people=2 * few, augmentation=MULTI5_PERMUTE),
                )
                for few in self.q_probe_train_sizes
            ),
            *(
                EvalSpec(
                    NameProbe(
                        config=replace(self.q_probe_config, rank=0),
                        name_extractor=name_extractor,
                        site=site,
                        name=rank0_probe_name(site),
                    ),
                    arms=TWO_AUGMENTATIONS,
                )
                for site in sites
            ),
            EvalSpec(NamePatching(name_extractor=name_extractor), stage=FINETUNE_STAGE, arms=TWO_AUGMENTATIONS),
            EvalSpec(
                KnowledgeCapacity(
                    name_extractor=name_extractor,
                    n_possible_names=math.prod(self.world.name_pool_sizes),
                    n_possible_values=n_value_combinations(self.world),
                ),
                arms=self.augmentations,
            ),
            *self._task_evals(),
        )

    def _task_evals(self) -> Iterator[EvalSpec]:
        for task, hints in self.tasks:
            task_world = Manipulation(population=self.world, task=task, hint_share=hints)
            arm_names = (task_arm_name(task, hints=hints > 0),)
            yield EvalSpec(QAEval(), stage=TASK_STAGE, arms=arm_names, question_source=task_world)
            yield EvalSpec(MajorityBaseline(), stage=TASK_STAGE, arms=arm_names, question_source=task_world)

    def _mixed_arm(self, augmentation: str, qa_fraction: float, dose: QuestionDose | None = None) -> Arm:
        # Biographies with questions between them; twice the batch, to have fewer steps.
        batch_size = 2 * self.pretraining.batch_size
        training = replace(
            self.pretraining,
            batch_size=batch_size,
            checkpoint_fractions=CHECKPOINT_FRACTIONS if dose else DENSE_CHECKPOINT_FRACTIONS,
        )
        exposure_ratio = (self.mixed_exposures or self.exposures) / self.exposures
        n_texts = (
            exposure_ratio * self.world.people / (1 - (self.qa_fraction if dose and dose.same_steps else qa_fraction))
        )
        return replace(
            self.augmentation_arm(augmentation),
            name=mixed_arm_name(augmentation, dose),
            training=self._with_steps(training, n_texts),
            stages=(),
            qa_mixture=QAMixture(qa_fraction=qa_fraction),
        )

    def _celebrities_arm(self) -> Arm:
        """A minority as in the row of one order, among celebrities; every text is met equally often."""
        population = replace(self.world, people=self.n_minority + self.n_celebrities, augmentation=SINGLE_PERMUTE1)
        world = Celebrities(population=population, minority_size=self.n_minority, celebrity_augmentation=MULTI5_PERMUTE)
        return replace(
            self.augmentation_arm(SINGLE_PERMUTE1),
            name=WITH_CELEBRITIES,
            world=world,
            training=self._with_steps(self.pretraining, self.n_minority + 5 * self.n_celebrities),
        )

    def _prose_arm(self, entries: int) -> Arm:
        world = FreeBiographies(population=self.world, entries_per_person=entries, rewriter=ProseGrammar())
        return replace(self.augmentation_arm(SINGLE), name=prose_arm_name(entries), world=world)

    def _bidirectional_arms(self) -> Iterator[Arm]:
        """Models without a causal mask, fine-tuned and mixed; of a text they are told 15 % of the words at a time."""
        architecture = replace(self.architecture, family=ENCODER_FAMILIES[0])
        tokenizer = replace(self.tokenizer, has_mask_token=True)

        def longer(arm: Arm, times: int, *stages: Stage) -> Arm:
            rate = self.bidirectional_peak_lr or arm.training.peak_lr
            training = replace(arm.training, steps=times * arm.training.steps, window=None, peak_lr=rate)
            return replace(
                arm,
                name=bidirectional_arm_name(arm.name),
                model=architecture,
                tokenizer=tokenizer,
                training=training,
                stages=stages,
            )

        for augmentation in self.bidirectional_augmentations:
            yield longer(
                self.augmentation_arm(augmentation),
                self.bidirectional_exposure_factor,
                self._finetuning_stage(self.bidirectional_finetuning, self.finetuning_adapter),
            )
        yield longer(
            self._mixed_arm(MULTI5_PERMUTE_FULLNAME, self.bidirectional_qa_fraction),
            self.bidirectional_mixed_exposure_factor,
        )

    def _task_arm(self, task: ManipulationTask, hints: float) -> Arm:
        task_world = Manipulation(population=self.world, task=task, hint_share=hints)
        stage = Stage(name=TASK_STAGE, training=self.finetuning, adapter=self.finetuning_adapter, data=task_world)
        return replace(
            self.augmentation_arm(MULTI5_PERMUTE), name=task_arm_name(task, hints=hints > 0), stages=(stage,)
        )


def rank0_probe_name(site: str) -> str:
    """The name of a probe without an update of the embedding, at a site."""
    return f"rank-0 probe, {site}"


def q_probe_name(n_people: int) -> str:
    """The name of Q-probing that learns from so many people."""
    return f"q-probe of {n_people}"


def n_value_combinations(world: Biographies) -> float:
    """Combinations of values that there could be, the company's city left out, which follows from the company."""
    return float(12 * len(DAYS) * world.years * world.cities * world.universities * world.majors * world.companies)


def core_arms(
    world: Biographies,
    augmentations: tuple[str, ...],
    optimizer: str,
    *,
    model_size: str,
    exposures: int,
    finetune_steps: int,
    finetune_lr: float = 3e-4,
) -> tuple[Arm, ...]:
    """Rows alone, for controls and for the demo."""
    settings = OPTIMIZER_SETTINGS[optimizer]
    pretraining = TrainingConfig(steps=1, dtype="auto", checkpoint_fractions=CHECKPOINT_FRACTIONS, **settings)
    base_config = BiographiesBaseConfig(
        world=world,
        architecture=Architecture.named(model_size),
        pretraining=pretraining,
        exposures=exposures,
        finetuning=finetuning_config(finetune_steps, finetune_lr),
    )
    return tuple(base_config.augmentation_arm(augmentation) for augmentation in augmentations)


def finetuning_config(steps: int, peak_lr: float, **overrides: Any) -> TrainingConfig:
    """The fine-tuning of all weights on questions."""
    settings: dict[str, Any] = {
        "batch_size": 48,
        "warmup_steps": 20,
        "weight_decay": 0.01,
        "dtype": "auto",
        "checkpoint_fractions": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
        **overrides,
    }
    return TrainingConfig(steps=steps, peak_lr=peak_lr, **settings)


def biographies_config(scale: str) -> BiographiesConfig | None:
    """What is trained at a scale; None where there is none."""
    extra_words = tuple(task_vocabulary())
    pretraining = TrainingConfig(
        steps=1, dtype="auto", checkpoint_fractions=CHECKPOINT_FRACTIONS, **OPTIMIZER_SETTINGS["muon"]
    )
    match scale:
        case "smoke":
            world = replace(SMALL_BIOGRAPHIES, people=40, name_pool_sizes=(8, 8, 16), extra_tokenizer_texts=extra_words)
            return BiographiesConfig(
                world=world,
                architecture=Architecture.named("2x64"),
                pretraining=pretraining,
                exposures=20,
                finetuning=finetuning_config(20, 3e-4),
                n_minority=20,
                n_celebrities=10,
                coupled_augmentations=("couple1",),
                prose_entries=(1,),
                finetuning_grid=_finetuning_grid(20)[-1:],
                extra_finetuned_arms=(WITH_CELEBRITIES,),
                q_probe_train_sizes=(10,),
                question_doses=_question_doses(0.5),
                p_probe_config=LowRankProbeConfig(rank=2, steps=4, batch_size=8),
                q_probe_config=LowRankProbeConfig(rank=16, steps=4, batch_size=16),
                bidirectional_finetuning=finetuning_config(20, 1e-3),
            )
        case "laptop":
            return BiographiesConfig(
                world=replace(SMALL_BIOGRAPHIES, extra_tokenizer_texts=extra_words),
                architecture=Architecture.named("3x128"),
                pretraining=pretraining,
                exposures=64,
                finetuning=finetuning_config(480, 3e-4),
                n_minority=200,
                n_celebrities=120,
                finetuning_grid=_finetuning_grid(480),
                extra_finetuned_arms=(WITH_CELEBRITIES, "single+fullname"),
                q_probe_train_sizes=(50, 100),
                coupled_augmentations=("couple5",),
                question_doses=(QuestionDose(qa_fraction=0.25), *_question_doses(0.5, 0.75)),
                p_probe_config=LowRankProbeConfig(rank=2, steps=150, batch_size=16, peak_lr=1e-2),
                q_probe_config=LowRankProbeConfig(rank=16, steps=200, batch_size=32, peak_lr=1e-2),
                bidirectional_finetuning=finetuning_config(960, 1e-3),
            )
        case "gpu":
            return _gpu_config(extra_words)
        case "paper":
            return _paper_config(extra_words)
    return None


def _question_doses(*shares: float) -> tuple[QuestionDose, ...]:
    return tuple(QuestionDose(qa_fraction=share, same_steps=same) for same in (False, True) for share in shares)


def _finetuning_grid(steps: int) -> tuple[tuple[str, TrainingConfig, LoRA | None], ...]:
    """The paper's grid in our sizes: rates and decay of all weights, ranks of LoRA, and loss on the question too."""
    lora_training = finetuning_config(steps, 3e-3)
    return (
        ("full 1e-3", finetuning_config(steps, 1e-3), None),
        ("full 1e-4", finetuning_config(steps, 1e-4), None),
        ("LoRA 8 embedding 32", lora_training, LoRA(rank=8, embedding_rank=32)),
        ("LoRA 8 embedding 0", lora_training, LoRA(rank=8, embedding_rank=0)),
        ("LoRA 16 embedding 128", lora_training, LoRA(rank=16, embedding_rank=128)),
        ("full loss on questions too", finetuning_config(steps, 3e-4, prompt_loss_weight=1.0), None),
    )


def _paper_finetuning_grid(steps: int) -> tuple[tuple[str, TrainingConfig, LoRA | None], ...]:
    """The paper's grid (appendices B to D): rates and decays of all weights, ranks of LoRA."""
    full_finetunings = [
        (f"full {rate:g} decay {decay:g}", _long_finetuning_config(steps, peak_lr=rate, weight_decay=decay), None)
        for rate in (1e-3, 3e-4, 1e-4)
        for decay in (0.01, 0.001)
    ]
    lora_finetunings: list[tuple[str, TrainingConfig, LoRA | None]] = [
        (
            f"LoRA {rank} embedding {embedding_rank}",
            _long_finetuning_config(steps),
            LoRA(rank=rank, embedding_rank=embedding_rank),
        )
        for rank in (2, 4, 8, 16, 32)
        for embedding_rank in (0, 16, 32, 64, 128)
        if (rank, embedding_rank) != (8, 128)
    ]
    return (*full_finetunings, *lora_finetunings)


def _long_finetuning_config(steps: int, **overrides: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "peak_lr": 3e-4,
        "warmup_steps": 0,
        "weight_decay": 0.01,
        "dtype": "bfloat16",
        "checkpoint_fractions": (0.0, 0.02, 0.1, 0.25, 0.5, 1.0),
        **overrides,
    }
    return TrainingConfig(steps=steps, batch_size=48, **settings)


def _gpu_config(extra_words: tuple[str, ...]) -> BiographiesConfig:
    """10,000 people, 6 layers of 384 (the sheet, section 11.2)."""
    pretraining = TrainingConfig(
        steps=1,
        batch_size=168,
        window=512,
        peak_lr=1e-3,
        warmup_steps=1_000,
        dtype="bfloat16",
        checkpoint_fractions=CHECKPOINT_FRACTIONS,
    )
    return BiographiesConfig(
        world=Biographies(people=10_000, name_pool_sizes=(100, 100, 250), extra_tokenizer_texts=extra_words),
        architecture=Architecture.named("6x384"),
        pretraining=pretraining,
        exposures=540,
        finetuning=_long_finetuning_config(10_000),
        finetuning_adapter=LoRA(rank=8, embedding_rank=64),
        tokenizer=TokenizerSpec(kind="bpe", vocab_size=4_096),
        augmentations=AUGMENTATIONS,
        mixed_augmentations=TWO_AUGMENTATIONS,
        n_minority=10_000,
        n_celebrities=10_000,
        finetuning_grid=_paper_finetuning_grid(10_000)[:6],
        p_probe_config=LowRankProbeConfig(rank=2, steps=5_000, batch_size=50),
        q_probe_config=LowRankProbeConfig(rank=16, steps=10_000, batch_size=200),
        qa_fraction=0.75,
        bidirectional_qa_fraction=0.75,
        mixed_exposures=300,
        question_doses=_question_doses(0.25, 0.5),
        bidirectional_augmentations=(SINGLE, MULTI5_PERMUTE, MULTI5_PERMUTE_FULLNAME),
        bidirectional_mixed_exposure_factor=2,
        bidirectional_peak_lr=3e-4,
        bidirectional_finetuning=_long_finetuning_config(10_000),
    )


def _paper_config(extra_words: tuple[str, ...]) -> BiographiesConfig:
    """100,000 people, GPT2-small with rotary positions, LoRA fine-tuning (arXiv:2309.14316, section 2.1)."""
    pretraining = TrainingConfig(
        steps=1,
        batch_size=672,
        window=512,
        peak_lr=1e-3,
        warmup_steps=1_000,
        dtype="bfloat16",
        checkpoint_fractions=CHECKPOINT_FRACTIONS,
    )
    return BiographiesConfig(
        world=Biographies(people=100_000, extra_tokenizer_texts=extra_words),
        architecture=Architecture.named("12x768"),
        pretraining=pretraining,
        exposures=538,
        finetuning=_long_finetuning_config(50_000),
        finetuning_adapter=LoRA(rank=8, embedding_rank=128),
        tokenizer=TokenizerSpec(kind="bpe", vocab_size=8_192),
        augmentations=AUGMENTATIONS,
        mixed_augmentations=AUGMENTATIONS,
        # Shares of texts; of tokens they are 80 %, and 20, 40 and 60 % as in the paper's Figure 10.
        qa_fraction=0.936,
        question_doses=tuple(QuestionDose(qa_fraction=share, same_steps=True) for share in (0.478, 0.709, 0.846)),
        bidirectional_qa_fraction=0.936,
        mixed_exposures=108,
        n_minority=100_000,
        n_celebrities=100_000,
        finetuning_grid=_paper_finetuning_grid(50_000),
        p_probe_config=LowRankProbeConfig(rank=2, steps=30_000, batch_size=50),
        q_probe_config=LowRankProbeConfig(rank=16, steps=30_000, batch_size=200),
        bidirectional_augmentations=AUGMENTATIONS,
        bidirectional_exposure_factor=2,
        bidirectional_mixed_exposure_factor=2,
        bidirectional_peak_lr=3e-4,
        bidirectional_finetuning=_long_finetuning_config(50_000),
    )
