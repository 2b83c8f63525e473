"""The study karel on a pretrained model of one's own.

nosce run karel --model ./codegen-350M-mono --set records=8000

The arms continue the training of the model on records of Karel's world in the model's own tokenizer: as the words mean,
with the words' effects re-assigned, and from random weights in place of the model's. Claims are the study's; the paper
trained from random weights alone, so that its values stand beside the estimates as what a model of nothing else does.

The position that predicts an operation is found through the tokenizer, which may give operations different numbers of
tokens (`nosce.data.worlds.karel.tokens`). A tokenizer whose tokens reach over words is refused.

Source: Jin and Rinard 2024 (arXiv:2305.11169), sections 2 to 4. Sizes and rates are this study's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from nosce.data.round_trip import comes_back
from nosce.data.tokenizer import load_tokenizer
from nosce.data.worlds.base import World
from nosce.data.worlds.karel.tokens import fit_to_tokenizer
from nosce.data.worlds.karel.world import Karel
from nosce.errors import DataError, SpecError
from nosce.models.architecture import ENCODER_FAMILIES, Pretrained
from nosce.models.pretrained import folder_config
from nosce.models.sources import ModelSource
from nosce.seeds import Seed
from nosce.studies.configs import config_for_scale
from nosce.studies.karel.config import SMALL_WORLD, KarelConfig
from nosce.studies.karel.study import KAREL_TITLE, karel_study
from nosce.studies.models import continued_training, low_rank_update, one_model, steps_for, with_replay
from nosce.study import Scale, Study
from nosce.train.config import TrainingConfig

N_TRIED_RECORDS = 20  # which a tokenizer must give back before anything is made

#: Rows by what they cost, the cheapest first, from which `--budget` takes the largest that fits.
BUDGET_LADDER: tuple[tuple[str, ...], ...] = (
    ("records=256", "seen_questions=80", "unseen_questions=40", "reassigned_control=no", "random_control=no"),
    ("records=1000", "seen_questions=200", "unseen_questions=100", "reassigned_control=no", "random_control=no"),
    ("records=2000", "seen_questions=400", "unseen_questions=200"),
    ("records=8000", "seen_questions=800", "unseen_questions=400"),
    ("records=64000", "seen_questions=4000", "unseen_questions=1000"),
)


@dataclass(frozen=True, kw_only=True)
class PretrainedKarelConfig:
    """What the study trains and probes of a pretrained model.

    Args:
        seeds: Training seeds; each has its own specifications and order of records.
        world: Boards, programs and specifications.
        training: The continued training on records; its steps follow from `record_passes`.
        record_passes: How often the training shows each record.
        lora: Rank of the low-rank update that is trained. 0: all weights are trained. The control from random weights
            trains all of them.
        replay: Folder of general text whose pieces stand among the records. Empty: none.
        replay_share: Share of the texts that are such pieces.
        reassigned_control: Train the model on records whose words have other meanings too.
        random_control: Train the same architecture from random weights too.
        probe_width: Units of a probe's hidden layer; a second hidden layer has twice as many.
        probe_epochs: Passes of a probe over its training states.
        curve_probe_train_size: Specifications that the probes of every checkpoint learn from.
        figure_probe_train_size: Specifications that probes learn from which only figures show.
    """

    seeds: tuple[int, ...] = (0,)
    world: Karel
    training: TrainingConfig
    record_passes: float = 1.0
    lora: int = 0
    replay: str = ""
    replay_share: float = 0.5
    reassigned_control: bool = True
    random_control: bool = True
    probe_width: int
    probe_epochs: int = 30
    curve_probe_train_size: int = 4_000
    figure_probe_train_size: int = 8_000

    @property
    def records_share(self) -> float:
        """Share of the texts of training that are records."""
        return 1 - self.replay_share if self.replay else 1.0


def study(scale: Scale, models: tuple[ModelSource, ...], settings: Sequence[str] = ()) -> Study:
    """The study of one model at a scale.

    Raises:
        UsageError: There is no such scale or field, or the models are several or behind an endpoint.
        SpecError: The model is not decoder-only, has no tokenizer, or has one in which programs have no places.
    """
    config = config_for_scale("karel --model", PRETRAINED_KAREL_CONFIGS, scale, settings)
    source = one_model(models, "karel")
    _refuse_encoders(source.pretrained)
    world = _in_own_tokens(config.world, source.pretrained)
    replayed = partial(_with_replay, config) if config.replay else None
    title = f"{KAREL_TITLE}: {source.name}"
    return karel_study(_with_model(config, world, source.pretrained), scale, title=title, replayed=replayed)


def _with_model(config: PretrainedKarelConfig, world: Karel, model: Pretrained) -> KarelConfig:
    return KarelConfig(
        seeds=config.seeds,
        world=world,
        architecture=model,
        training=steps_for(config.training, config.record_passes * world.records / config.records_share),
        probe_width=config.probe_width,
        probe_epochs=config.probe_epochs,
        curve_probe_train_size=config.curve_probe_train_size,
        figure_probe_train_size=config.figure_probe_train_size,
        reassigned_control=config.reassigned_control,
        random_control=config.random_control,
        adapter=low_rank_update(config.lora),
        records_share=config.records_share,
    )


def _with_replay(config: PretrainedKarelConfig, world: Karel) -> World:
    return with_replay(world, config.replay, config.replay_share, world.records)


def _refuse_encoders(model: Pretrained) -> None:
    """Check that a model reads programs from left to right.

    Raises:
        SpecError: It is an encoder or an encoder-decoder.
    """
    config = folder_config(Path(model.folder))
    if config.is_encoder_decoder or config.model_type in ENCODER_FAMILIES:
        kind = "encoder" if config.model_type in ENCODER_FAMILIES else "encoder-decoder"
        raise SpecError(
            f"the model in {model.folder} is an {kind} ({config.model_type}), and karel probes models that write "
            "programs from left to right; take a decoder-only model."
        )


def _in_own_tokens(world: Karel, model: Pretrained) -> Karel:
    """The world as the tokenizer of a model's folder has it.

    Raises:
        SpecError: The folder has no tokenizer, or one that loses records or has no places for a program's operations.
    """
    try:
        tokenizer = load_tokenizer(Path(model.folder))
        fitted = fit_to_tokenizer(world, tokenizer)
    except DataError as error:
        raise SpecError(f"karel cannot use the tokenizer in {model.folder}: {error}") from None
    for document in islice(fitted.documents(Seed(0) / "world"), N_TRIED_RECORDS):
        if not comes_back(tokenizer, document.text):
            raise SpecError(
                f"the tokenizer in {model.folder} does not give the record {document.text[:60]!r} back, so no "
                "specification could be read; take a model whose tokenizer keeps # . ^ > v < and digits."
            )
    return fitted


def _laptop_config() -> PretrainedKarelConfig:
    """Boards of 3 x 3, 2,000 records: a model of 135 M weights within an hour on two cores, and few right programs."""
    return PretrainedKarelConfig(
        world=replace(SMALL_WORLD, records=2_000, seen_questions=400, unseen_questions=200),
        training=continued_training(16, 3e-4, 0.0, 0.2, 0.4, 0.7, prompt_loss_weight=0.2),
        probe_width=64,
    )


def _smoke_config() -> PretrainedKarelConfig:
    """Every arm and evaluation, without a result."""
    config = _laptop_config()
    return replace(
        config,
        world=replace(config.world, records=64, seen_questions=60, unseen_questions=30),
        training=replace(config.training, checkpoint_fractions=(0.0, 1.0)),
        probe_width=8,
        probe_epochs=2,
    )


def _gpu_config() -> PretrainedKarelConfig:
    """Boards of 3 x 3, 128,000 records and three seeds: a model of a billion weights on one GPU."""
    config = _laptop_config()
    return replace(
        config,
        seeds=(0, 1, 2),
        world=replace(config.world, records=128_000, seen_questions=16_000, unseen_questions=1_000),
        training=replace(
            continued_training(128, 1e-4, *(0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75), prompt_loss_weight=0.2),
            warmup_steps=100,
        ),
        probe_width=256,
    )


PRETRAINED_KAREL_CONFIGS: Mapping[Scale, Callable[[], PretrainedKarelConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
