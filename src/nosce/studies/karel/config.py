"""What the study karel trains and probes at each scale.

Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2 and appendices. The scale `paper` has the paper's sizes. The
smaller scales are this study's own design: smaller boards, shorter programs and smaller models, with enough documents
that the model writes right programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from nosce.data.worlds.karel.world import Karel
from nosce.errors import SpecError
from nosce.evals.probing.programs import ProbeTraining
from nosce.models.architecture import Architecture, Pretrained
from nosce.models.pretrained import folder_config
from nosce.studies.configs import config_for_scale
from nosce.study import Scale
from nosce.train.config import LoRA, TrainingConfig

#: Seen specifications at the paper's scale: the paper's 50,000 train a probe, and a tenth decides when to stop.
PAPER_PROBED_SPECIFICATIONS = 55_556
#: Fractions of a training that are probed: one program for all specifications is a matter of the first tenth.
EARLY_CHECKPOINT_FRACTIONS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5, 0.6, 0.7, 0.85, 1.0)


@dataclass(frozen=True, kw_only=True)
class KarelConfig:
    """What the study trains and probes at a scale.

    Args:
        seeds: Training seeds; each has its own specifications, weights and order of documents.
        world: Boards, programs and specifications.
        architecture: The model's family and size: layers x width. Or a pretrained model, whose training goes on.
        training: The training on specifications with their programs.
        reassigned_training_factor: Times as many documents and steps for the arm whose words have other meanings. That
            arm learns more slowly: 43 % of its programs are right where 95 % of the other arm's are (LOG.md).
        probe_width: Units of a probe's hidden layer.
        second_probe_width: Units of a probe's second hidden layer. None: twice as many as the first has.
        probe_training: How probes are trained. None: as this project trains them.
        probe_epochs: Passes of a probe over its training states.
        curve_probe_train_size: Specifications that the probes of every checkpoint learn from.
        figure_probe_train_size: Specifications that probes learn from which only figures show.
        reassigned_control: Train the arm whose words have other meanings.
        random_control: Train the architecture of a pretrained model from random weights too.
        loops_arm: Train an arm whose programs have loops and branches, for as many steps.
        boards_arm: Train an arm on the paper's boards (8 x 8 with their border) and number of pairs (5).
        boards_records: Documents of that arm, each shown once.
        boards_seeds: Training seeds of that arm. None: all.
        adapter: The low-rank update that is trained of a pretrained model. None: all weights are trained.
        records_share: Share of the texts of training that are records; the others are general text.
    """

    seeds: tuple[int, ...] = (0,)
    world: Karel
    architecture: Architecture | Pretrained
    training: TrainingConfig
    reassigned_training_factor: int = 1
    probe_width: int
    second_probe_width: int | None = None
    probe_training: ProbeTraining | None = None
    probe_epochs: int = 30
    curve_probe_train_size: int = 4_000
    figure_probe_train_size: int = 8_000
    reassigned_control: bool = True
    random_control: bool = False
    loops_arm: bool = False
    boards_arm: bool = False
    boards_records: int = 192_000
    boards_seeds: int | None = None
    adapter: LoRA | None = None
    records_share: float = 1.0

    def __post_init__(self) -> None:
        if not self.is_pretrained and (self.random_control or self.adapter is not None):
            raise SpecError("random_control and adapter are for a pretrained model; give --model, or leave them out.")

    @property
    def loops_world(self) -> Karel:
        """The world whose programs have loops and branches."""
        return replace(self.world, control_flow=True)

    @property
    def boards_world(self) -> Karel:
        """The world with the paper's boards and pairs, and this scale's programs."""
        paper = Karel()
        return replace(
            self.world,
            board_shape=paper.board_shape,
            n_examples=paper.n_examples,
            n_heldout_examples=paper.n_heldout_examples,
            records=self.boards_records,
        )

    @property
    def records_per_step(self) -> float:
        """Records that a step of training shows."""
        return self.training.batch_size * self.records_share

    @cached_property
    def layers(self) -> int:
        """The number of the model's blocks."""
        if isinstance(self.architecture, Architecture):
            return self.architecture.layers
        return int(folder_config(Path(self.architecture.folder)).get_text_config().num_hidden_layers)

    @property
    def sites(self) -> tuple[str, ...]:
        """The hidden states that are probed: `residual.<blocks passed>`, and `final` behind the last norm."""
        return (*(f"residual.{layer}" for layer in range(self.layers)), "final")

    @property
    def middle_site(self) -> str:
        """The hidden state whose edits claims speak of."""
        return f"residual.{(self.layers + 1) // 2}"

    @property
    def is_pretrained(self) -> bool:
        """Does the training go on from a model's weights?"""
        return isinstance(self.architecture, Pretrained)


def karel_config(scale: str, settings: Sequence[str] = ()) -> KarelConfig:
    """The configuration of the study at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return config_for_scale("karel", KAREL_CONFIGS, scale, settings)


def even_checkpoint_fractions(count: int) -> tuple[float, ...]:
    """The beginning of a training, and the ends of `count` equal parts of it, as fractions."""
    return tuple(float(fraction) for fraction in np.linspace(0, 1, count + 1).round(4))


SMALL_WORLD = Karel(board_shape=(3, 3), n_examples=2, n_heldout_examples=3, lengths=(2, 6), asked_lengths=(1, 6))
SHORT_TRAINING = TrainingConfig(
    steps=1, batch_size=128, optimizer="muon", muon_lr=0.02, peak_lr=5e-3, prompt_loss_weight=0.2, dtype="auto"
)


def _smoke_config() -> KarelConfig:
    """Every arm and evaluation, within a minute and without a result."""
    return KarelConfig(
        world=replace(SMALL_WORLD, records=2_560, seen_questions=150, unseen_questions=100),
        architecture=Architecture.named("2x64"),
        training=replace(SHORT_TRAINING, steps=8, checkpoint_fractions=even_checkpoint_fractions(4)),
        probe_width=16,
        probe_epochs=3,
        boards_records=256,
    )


def _laptop_config() -> KarelConfig:
    """Boards of 3 x 3, programs of 2 to 6 operations: all claims on two cores.

    192,000 records of the paper's boards take a core two and a half hours, as long as all else of a seed, so that arm
    has one seed.
    """
    return KarelConfig(
        seeds=(0, 1, 2),
        world=replace(SMALL_WORLD, records=256_000, seen_questions=16_000, unseen_questions=1_000),
        architecture=Architecture.named("3x96"),
        training=replace(SHORT_TRAINING, steps=2_000, checkpoint_fractions=EARLY_CHECKPOINT_FRACTIONS),
        reassigned_training_factor=2,
        probe_width=64,
        loops_arm=True,
        boards_arm=True,
        boards_seeds=1,
    )


def _gpu_config() -> KarelConfig:
    """The paper's boards and program lengths with a model of 8 layers, on one GPU."""
    training = TrainingConfig(
        steps=10_000,
        batch_size=256,
        peak_lr=6e-4,
        prompt_loss_weight=1.0,
        dtype="bfloat16",
        warmup_steps=500,
        checkpoint_fractions=even_checkpoint_fractions(20),
    )
    return KarelConfig(
        seeds=(0, 1, 2),
        world=Karel(records=2_560_000, seen_questions=20_000, unseen_questions=5_000),
        architecture=replace(Architecture.named("8x384"), max_positions=512),
        training=training,
        probe_width=256,
        loops_arm=True,
    )


def _paper_config() -> KarelConfig:
    """The paper's corpus, a CodeGen model of 350 million weights and the paper's training."""
    training = TrainingConfig(
        steps=80_000,
        batch_size=39,
        peak_lr=5e-6,
        warmup_steps=6_000,
        weight_decay=0.0,
        min_lr_ratio=0.0,
        window=2_048,
        prompt_loss_weight=1.0,
        dtype="bfloat16",
        max_grad_norm=1e9,
        checkpoint_fractions=even_checkpoint_fractions(20),
        lr_schedule="linear",
    )
    return KarelConfig(
        world=Karel(
            records=500_000,
            seen_questions=PAPER_PROBED_SPECIFICATIONS,
            unseen_questions=10_000,
            encoding="official",
        ),
        architecture=Architecture(
            family="codegen", layers=20, width=1_024, heads=16, max_positions=2_048, tie_embeddings=False
        ),
        training=training,
        probe_width=256,
        second_probe_width=1_024,
        probe_training=ProbeTraining(),
        curve_probe_train_size=PAPER_PROBED_SPECIFICATIONS,
        figure_probe_train_size=PAPER_PROBED_SPECIFICATIONS,
    )


KAREL_CONFIGS: Mapping[Scale, Callable[[], KarelConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
    "paper": _paper_config,
}
