"""What the study diaries trains and asks at each scale.

Source: Prato et al. 2024 (arXiv:2502.19573). Neither its hyperparameters nor all of its models are known to us; there
the scale `paper` follows EpiK-Eval (Prato et al. 2023), the earlier study of the same authors. The smaller scales
are this study's own design: short entries with few values, and as many passes as make the model answer the questions
that it was trained on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nosce.data.worlds.diaries import Diaries
from nosce.errors import SpecError
from nosce.models.architecture import Architecture, Family, Pretrained
from nosce.studies.configs import config_for_scale
from nosce.study import Scale
from nosce.train.config import LoRA, TrainingConfig

#: The paper's families by the architectures that they are built from.
ARCHITECTURE_FAMILIES: dict[str, Family] = {"pythia": "gpt-neox", "opt": "opt", "flan-t5": "t5"}
PAPER_ENCODER_DECODERS = ("flan-t5",)
#: The paper's models: for each size the folder's name, layers, width and heads. Of some sizes the
#: paper names the parameter count alone; their shapes are those of the published models with these counts.
PAPER_MODELS: dict[str, dict[str, tuple[str, int, int, int]]] = {
    "opt": {
        "tiny": ("opt-7m", 6, 288, 9),  # no published shape: 7 million weights in our vocabulary
        "small": ("opt-125m", 12, 768, 12),
        "base": ("opt-350m", 24, 1_024, 16),
        "large": ("opt-1.3b", 24, 2_048, 32),
        "xl": ("opt-2.7b", 32, 2_560, 32),
    },
    "pythia": {
        "tiny": ("pythia-70m", 6, 512, 8),
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
#: Learning rates by size, the smallest first: those of OPT in EpiK-Eval (arXiv:2310.15372), whose smallest has 125
#: million weights, and its one rate of T5. Pythia, which it has not, takes OPT's.
PAPER_DECODER_LRS = {"tiny": 6e-5, "small": 6e-5, "base": 3e-5, "large": 2e-5, "xl": 1.6e-5}
PAPER_T5_LR = 1e-4


@dataclass(frozen=True, kw_only=True)
class DiariesConfig:
    """What the study trains and asks at a scale.

    Args:
        seeds: Training seeds; each has its own diarists, weights and order of texts.
        world: The invented diarists; arms change how many there are and how documents are written.
        training: The training on documents and questions; its steps follow from the passes.
        document_epochs: Passes over every document.
        question_epochs: Passes over every question that is trained on.
        qa_start_fraction: Share of the steps before the first question.
        families: Model families. The first has all seeds, the others `n_secondary_seeds`.
        sizes_by_family: Sizes of each family, smallest first; an encoder-decoder has two stacks of this size.
        diarist_counts: Numbers of diarists, an arm each.
        reference_diarists: Number of diarists at which every size is trained.
        extra_diarist_counts: Further numbers of diarists for the first family's smallest size, scattered only.
        n_secondary_seeds: Seeds of the arms of other families. None: all.
        full_grid: Train every size at every number of diarists. False: only the cross of the two.
        extra_worlds: Other shapes of diaries by name, two arms each.
        model_overrides: Models of sizes that are no `layers x width`, by `<family> <size>`.
        weights: Numbers of weights of such models, by `<family> <size>`. Missing: counted in the model's files.
        peak_lrs: Peak learning rates by `<family> <size>`. Missing: that of `training`.
        encoder_decoders: The families that read a question with an encoder.
        ablations: Train the arms that test where the number of entries is stored, and the one in two phases.
        title_loss: Train those of them that change the loss on titles, where `ablations` is False.
        patching: Patch hidden states of the question, at every layer.
        random_controls: Train the smallest model of each family that comes from a folder from random weights too.
        best_checkpoint: Read each training at the best of its kept steps, as the paper does: each half of the held-out
            diarists is tested at the step at which the most diaries of the other half are recalled whole. False: at the
            last step.
        equal_steps: Train the first family's largest size at every number of diarists for as many steps as the
            scattered diaries of the most diarists take (merged ones at the fewest and the most diarists); equal passes
            alone give few diarists few steps.
        encoder_decoder_diarists: A larger number of diarists for an encoder-decoder's largest size, scattered only. 0:
            none. The paper has four times the number of its other figures.
        encoder_decoder_equal_steps: Train that size at the reference number for as many steps, too.
        entry_lengths: Numbers of facts of an entry, an arm each with entries of this length alone.
        further_questions: Train the arms that ask about what was never written, and for the number of entries.
        text_steps: Steps of training on general text before the diaries. 0: no such arm. Its control starts from random
            weights with the same tokenizer.
        text_people: People whose biographies are the general text.
        text_folder: Folder of general text in place of biographies. Empty: none.
        adapter: The low-rank update that is trained of models in folders. None: all weights are trained.
        missing_models: The paper's models that are not in the folder of $NOSCE_MODELS.
    """

    seeds: tuple[int, ...] = (0,)
    world: Diaries
    training: TrainingConfig
    document_epochs: float
    question_epochs: float
    qa_start_fraction: float
    families: tuple[str, ...]
    sizes_by_family: Mapping[str, tuple[str, ...]]
    diarist_counts: tuple[int, ...]
    reference_diarists: int
    extra_diarist_counts: tuple[int, ...] = ()
    n_secondary_seeds: int | None = 1
    full_grid: bool = False
    extra_worlds: Mapping[str, Diaries] = field(default_factory=dict)
    model_overrides: Mapping[str, Architecture | Pretrained] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    peak_lrs: Mapping[str, float] = field(default_factory=dict)
    encoder_decoders: tuple[str, ...] = PAPER_ENCODER_DECODERS
    ablations: bool = True
    title_loss: bool = False
    patching: bool = True
    random_controls: bool = False
    best_checkpoint: bool = True
    equal_steps: bool = False
    encoder_decoder_diarists: int = 0
    encoder_decoder_equal_steps: bool = False
    entry_lengths: tuple[int, ...] = ()
    further_questions: bool = False
    text_steps: int = 0
    text_people: int = 1_000
    text_folder: str = ""
    adapter: LoRA | None = None
    missing_models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if 0 < self.encoder_decoder_diarists <= self.reference_diarists or self.encoder_decoder_diarists < 0:
            raise SpecError(
                f"encoder_decoder_diarists={self.encoder_decoder_diarists} is not more than the "
                f"{self.reference_diarists} diarists of reference_diarists; take a larger number, or 0 for none."
            )

    @property
    def has_title_arms(self) -> bool:
        """Are the arms trained that change the loss on titles?"""
        return self.ablations or self.title_loss

    @property
    def trained_encoder_decoders(self) -> tuple[str, ...]:
        """The families of the study that read a question with an encoder."""
        return tuple(family for family in self.families if family in self.encoder_decoders)

    @property
    def compared_diarists(self) -> int:
        """The most diarists at which every size of every family is trained; there the families are compared."""
        return self.diarist_counts[-1] if self.full_grid else self.reference_diarists

    @property
    def has_primary_decoder(self) -> bool:
        """Is the first family decoder-only? Titles, states and ablations are read of decoders alone."""
        return self.families[0] not in self.encoder_decoders

    @property
    def control_families(self) -> tuple[str, ...]:
        """The families whose smallest model is trained from random weights too."""
        if not self.random_controls:
            return ()
        return tuple(f for f in self.families if isinstance(self.model(f, self.sizes_by_family[f][0]), Pretrained))

    @property
    def primary_ladder(self) -> tuple[str, str, str]:
        """The first family, its smallest size and its largest."""
        sizes = self.sizes_by_family[self.families[0]]
        return self.families[0], sizes[0], sizes[-1]

    def trained_cells(self, family: str) -> list[tuple[str, int]]:
        """Sizes and numbers of diarists that are trained of a family."""
        sizes = self.sizes_by_family[family]
        if self.full_grid:
            return [(model_size, count) for model_size in sizes for count in self.diarist_counts]
        cells = [(model_size, self.reference_diarists) for model_size in sizes]
        if family != self.families[0]:
            return list(dict.fromkeys([*cells, (sizes[-1], self.diarist_counts[0])]))
        for model_size in (sizes[-1], sizes[0]):
            cells += [(model_size, count) for count in self.diarist_counts]
        return list(dict.fromkeys(cells))

    def model(self, family: str, model_size: str) -> Architecture | Pretrained:
        """The model of a family and a size."""
        override = self.model_overrides.get(f"{family} {model_size}")
        return override or Architecture.named(model_size, family=ARCHITECTURE_FAMILIES[family])


def _paper_peak_lrs() -> dict[str, float]:
    rates = {}
    for family, sizes in PAPER_MODELS.items():
        for size in sizes:
            rates[f"{family} {size}"] = PAPER_T5_LR if family in PAPER_ENCODER_DECODERS else PAPER_DECODER_LRS[size]
    return rates


def diaries_config(scale: str, settings: Sequence[str] = ()) -> DiariesConfig:
    """The configuration of the study at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return config_for_scale("diaries", DIARIES_CONFIGS, scale, settings)


SHORT_DIARIES = Diaries(
    encoding="lean",
    entries=(1, 4),
    attributes=(1, 1),
    n_attributes=4,
    values_per_attribute=8,
    name_pool_sizes=(128, 128),
)
LONGER_ENTRIES = replace(SHORT_DIARIES, n_diarists=1_024, attributes=(1, 3))
AS_THE_PAPERS = replace(LONGER_ENTRIES, entries=(1, 8), attributes=(1, 8), n_attributes=8)
AS_THE_PAPERS_NAME = "as the paper's"
#: Passes, their order and this training were searched for in another world: benchmarks/levers.csv.
SHORT_TRAINING = TrainingConfig(
    steps=1,
    batch_size=256,
    optimizer="muon",
    muon_lr=0.02,
    peak_lr=5e-3,
    prompt_loss_weight=1.0,
    dtype="auto",
    checkpoint_fractions=(0.25, 0.5, 0.6, 0.75, 1.0),
)


def _smoke_config() -> DiariesConfig:
    """Every arm and evaluation, within a minute and without a result."""
    return DiariesConfig(
        world=replace(SHORT_DIARIES, train_share=0.6),
        training=replace(SHORT_TRAINING, batch_size=32, checkpoint_fractions=(1.0,)),
        document_epochs=1,
        question_epochs=1,
        qa_start_fraction=0.0,
        families=("pythia", "flan-t5"),
        sizes_by_family={"pythia": ("2x32", "2x64"), "flan-t5": ("2x32",)},
        diarist_counts=(100, 120),
        reference_diarists=120,
        text_steps=4,
        text_people=20,
    )


def _laptop_config() -> DiariesConfig:
    """The cross of five sizes and three numbers of diarists on two cores."""
    decoder_sizes = ("2x32", "2x48", "2x64", "3x64", "3x96")
    return DiariesConfig(
        seeds=(0, 1, 2),
        world=SHORT_DIARIES,
        training=SHORT_TRAINING,
        document_epochs=140,
        question_epochs=21,
        qa_start_fraction=0.5,
        families=("pythia", "opt", "flan-t5"),
        sizes_by_family={
            "pythia": decoder_sizes,
            "opt": decoder_sizes,
            "flan-t5": ("2x24", "2x32", "2x48", "2x64"),
        },
        diarist_counts=(512, 1_024, 2_048),
        reference_diarists=2_048,
        extra_diarist_counts=(4_096,),
        extra_worlds={"longer entries": LONGER_ENTRIES, AS_THE_PAPERS_NAME: AS_THE_PAPERS},
        equal_steps=True,
        encoder_decoder_diarists=8_192,
        entry_lengths=(2, 4),
        further_questions=True,
        text_steps=500,
        text_people=500,
    )


def _gpu_config() -> DiariesConfig:
    """The full grid of four sizes and five numbers of diarists on one GPU, with diaries as long as the paper's."""
    return DiariesConfig(
        seeds=(0, 1, 2),
        world=replace(AS_THE_PAPERS, name_pool_sizes=(256, 256)),
        training=SHORT_TRAINING,
        document_epochs=150,
        question_epochs=20,
        qa_start_fraction=0.5,
        families=tuple(ARCHITECTURE_FAMILIES),
        sizes_by_family=dict.fromkeys(ARCHITECTURE_FAMILIES, ("3x128", "4x256", "6x384", "8x384")),
        diarist_counts=(1_000, 2_000, 4_000, 8_000, 16_000),
        reference_diarists=8_000,
        full_grid=True,
        equal_steps=True,
        encoder_decoder_diarists=32_000,
        encoder_decoder_equal_steps=True,
        entry_lengths=(1, 2, 4, 8),
        further_questions=True,
        text_steps=4_000,
        text_people=10_000,
    )


def _paper_config() -> DiariesConfig:
    """The paper's models and numbers of diarists; learning rate, batch and precision are those of EpiK-Eval."""
    training = TrainingConfig(
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
    models, missing = _paper_models()
    sizes_by_family: dict[str, tuple[str, ...]] = {}
    for family, sizes in PAPER_MODELS.items():
        sizes_by_family[family] = tuple(size for size in sizes if f"{family} {size}" in models)
    return DiariesConfig(
        world=Diaries(),
        training=training,
        document_epochs=500,
        question_epochs=500,
        qa_start_fraction=0.0,
        families=tuple(family for family in ARCHITECTURE_FAMILIES if sizes_by_family[family]),
        sizes_by_family={family: sizes for family, sizes in sizes_by_family.items() if sizes},
        diarist_counts=tuple(1_000 * 2**n for n in range(7)),
        reference_diarists=8_000,
        full_grid=True,
        model_overrides=models,
        peak_lrs=_paper_peak_lrs(),
        random_controls=True,
        encoder_decoder_diarists=32_000,
        missing_models=missing,
    )


def _paper_models() -> tuple[dict[str, Architecture | Pretrained], tuple[str, ...]]:
    """The paper's models from the folder that $NOSCE_MODELS names, and the names of those that are not in it.

    Without that variable they are the same shapes from scratch.

    Raises:
        SpecError: None of them is there, or the folder of one holds no whole model.
    """
    models: dict[str, Architecture | Pretrained] = {}
    missing, folder = [], os.environ.get("NOSCE_MODELS")
    for family, sizes in PAPER_MODELS.items():
        for model_size, (name, layers, width, heads) in sizes.items():
            key = f"{family} {model_size}"
            if not folder:
                models[key] = Architecture(
                    family=ARCHITECTURE_FAMILIES[family], layers=layers, width=width, heads=heads, max_positions=2_048
                )
            elif (Path(folder) / name).is_dir():
                models[key] = Pretrained.from_folder(Path(folder) / name)
            else:
                missing.append(name)
    if not models:
        raise SpecError(
            f"$NOSCE_MODELS names {folder}, which has none of the paper's models; put folders there that are called "
            f"{', '.join(missing)}, one or more of them, or unset it to train the same shapes from scratch."
        )
    return models, tuple(missing)


DIARIES_CONFIGS: Mapping[Scale, Callable[[], DiariesConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
    "paper": _paper_config,
}
