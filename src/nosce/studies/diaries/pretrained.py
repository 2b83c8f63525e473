"""The study diaries on models of one's own: `nosce run diaries --model FOLDER`, or several folders.

Each model's training is continued, with its own tokenizer, on diaries and on questions about some of the people. With
several models the smallest and the largest of a kind are compared: decoder-only models, and encoder-decoders. The
smallest of each kind is trained from random weights too, as the paper does to tell a fault of the architecture from a
fault of the pretrained weights. With `title_loss`, a decoder-only model and an encoder-decoder are the pair on which
the study's explanation of the paper's Flan-T5 is tried: the loss on titles is taken from the one and given to the
other.

Source: Prato et al. 2024 (arXiv:2502.19573). Sizes and rates are this study's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean

from nosce.data.round_trip import comes_back
from nosce.data.tokenizer import load_tokenizer
from nosce.data.worlds.diaries import Diaries
from nosce.errors import SpecError
from nosce.models.architecture import ENCODER_FAMILIES, Pretrained
from nosce.models.folder import count_weights
from nosce.models.pretrained import folder_config
from nosce.models.sources import ModelSource
from nosce.seeds import Seed
from nosce.studies.configs import config_for_scale
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.study import diaries_study
from nosce.studies.models import continued_training, low_rank_update, with_replay
from nosce.study import Arm, Scale, Study
from nosce.train.config import TrainingConfig

DECODER_ONLY, ENCODER_DECODER = "decoder-only", "encoder-decoder"
N_TRIED_DOCUMENTS = 20  # which a tokenizer must give back before anything is made

#: Rows by what they cost, the cheapest first, from which `--budget` takes the largest that fits.
BUDGET_LADDER: tuple[tuple[str, ...], ...] = (
    ("n_diarists=12", "document_epochs=10", "question_epochs=10", "random_controls=no"),
    ("n_diarists=24", "document_epochs=16", "question_epochs=16", "random_controls=no"),
    ("n_diarists=24", "document_epochs=20", "question_epochs=20"),
    ("n_diarists=60", "document_epochs=24", "question_epochs=24"),
    ("n_diarists=200", "document_epochs=30", "question_epochs=30"),
    ("n_diarists=1000", "document_epochs=30", "question_epochs=30"),
)


@dataclass(frozen=True, kw_only=True)
class PretrainedDiariesConfig:
    """What the study trains and asks of pretrained models.

    Args:
        seeds: Training seeds; each has its own diarists and order of texts.
        world: The invented diarists; arms change how documents are written.
        training: The continued training on documents and questions; its steps follow from the passes.
        document_epochs: Passes over every document.
        question_epochs: Passes over every question that is trained on.
        qa_start_fraction: Share of the steps before the first question.
        lora: Rank of the low-rank update that is trained. 0: all weights are trained. A control from random weights
            trains all of them.
        replay: Folder of general text whose pieces stand among the diaries. Empty: none. Decoder-only models alone.
        replay_share: Share of the texts, beside questions, that are such pieces.
        patching: Patch hidden states of the question, at every layer; it takes pairs of equally long questions, of
            which few people have none.
        random_controls: Train the smallest model of each kind from random weights too.
        best_checkpoint: Read each training at the best of its kept steps, as the paper does: each half of the held-out
            diarists is tested at the step at which the most diaries of the other half are recalled whole. False: at the
            last step.
        title_loss: Train the largest model of each kind with another loss on titles too: a decoder-only model without
            it, an encoder-decoder with the title in its target, given to the encoder or not.
    """

    seeds: tuple[int, ...] = (0,)
    world: Diaries
    training: TrainingConfig
    document_epochs: float
    question_epochs: float
    qa_start_fraction: float = 0.0
    lora: int = 0
    replay: str = ""
    replay_share: float = 0.5
    patching: bool = True
    random_controls: bool = True
    best_checkpoint: bool = True
    title_loss: bool = False


def study(scale: Scale, models: tuple[ModelSource, ...], settings: Sequence[str] = ()) -> Study:
    """The study of some models at a scale.

    Raises:
        UsageError: There is no such scale or field, or a model is behind an endpoint.
        SpecError: A model does not write texts, its tokenizer does not give diaries back, or the text to replay cannot
            be used.
        DataError: A model has no tokenizer.
    """
    config = config_for_scale("diaries --model", PRETRAINED_DIARIES_CONFIGS, scale, settings)
    names = ", ".join(source.name for source in models)
    built = diaries_study(_with_models(config, models), scale, title=f"How much is known: {names}")
    for arm in built.arms:
        _check_round_trip(arm)
    return replace(built, arms=tuple(_with_replay(config, arm) for arm in built.arms)) if config.replay else built


def _with_replay(config: PretrainedDiariesConfig, arm: Arm) -> Arm:
    """The arm with general text among its diaries, each of which is read as often as without.

    Raises:
        SpecError: The model is an encoder-decoder, which reads no text that has no title.
    """
    model, world, mixture = arm.model, arm.world, arm.qa_mixture
    assert isinstance(model, Pretrained)  # as all arms' models here; each has diaries and questions
    assert isinstance(world, Diaries)
    assert mixture is not None
    if folder_config(Path(model.folder)).is_encoder_decoder:
        raise SpecError(
            f"--replay mixes in text that has no title to encode, which {model.folder} (an encoder-decoder) cannot be "
            "trained on; leave --replay out, or name decoder-only models alone."
        )
    n_documents = round(world.n_diarists * (1.0 if world.merge_entries else fmean(world.entries)))
    replayed = with_replay(world, config.replay, config.replay_share, n_documents)
    steps = arm.training.steps
    document_steps = steps * (1 - mixture.qa_fraction * (1 - mixture.start_fraction))
    all_steps = round(steps + document_steps * config.replay_share / (1 - config.replay_share))
    return replace(
        arm,
        world=replayed,
        training=replace(arm.training, steps=all_steps),
        qa_mixture=replace(mixture, qa_fraction=round(mixture.qa_fraction * steps / all_steps, 4)),
    )


def _with_models(config: PretrainedDiariesConfig, models: tuple[ModelSource, ...]) -> DiariesConfig:
    """The study's configuration: a family for each kind of model, and a size for each model."""
    weights = {source: source.size or float(count_weights(Path(source.pretrained.folder))) for source in models}
    by_kind: dict[str, list[ModelSource]] = {DECODER_ONLY: [], ENCODER_DECODER: []}
    for source in sorted(models, key=lambda one: (weights[one], one.name)):
        by_kind[_kind(source)].append(source)
    kinds = {kind: sources for kind, sources in by_kind.items() if sources}
    named = {f"{kind} {source.name}": source for kind, sources in kinds.items() for source in sources}
    return DiariesConfig(
        seeds=config.seeds,
        world=config.world,
        training=config.training,
        document_epochs=config.document_epochs,
        question_epochs=config.question_epochs,
        qa_start_fraction=config.qa_start_fraction,
        families=tuple(kinds),
        sizes_by_family={kind: tuple(source.name for source in sources) for kind, sources in kinds.items()},
        diarist_counts=(config.world.n_diarists,),
        reference_diarists=config.world.n_diarists,
        n_secondary_seeds=None,
        model_overrides={name: source.pretrained for name, source in named.items()},
        weights={name: weights[source] for name, source in named.items()},
        encoder_decoders=(ENCODER_DECODER,),
        ablations=False,
        title_loss=config.title_loss,
        patching=config.patching,
        random_controls=config.random_controls,
        best_checkpoint=config.best_checkpoint,
        adapter=low_rank_update(config.lora),
    )


def _kind(source: ModelSource) -> str:
    """Is a model decoder-only or an encoder-decoder?

    Raises:
        SpecError: It is an encoder alone.
    """
    folder = source.pretrained.folder
    config = folder_config(Path(folder))
    if config.model_type in ENCODER_FAMILIES:
        raise SpecError(
            f"the model in {folder} is an encoder ({config.model_type}), which writes no diaries; take a decoder-only "
            "model or an encoder-decoder."
        )
    return ENCODER_DECODER if config.is_encoder_decoder else DECODER_ONLY


def _check_round_trip(arm: Arm) -> None:
    """Check that the tokenizer of an arm's folder gives the first documents of its world back.

    Raises:
        SpecError: It does not.
        DataError: The folder has no tokenizer.
    """
    assert isinstance(arm.model, Pretrained)  # as all models of `--model` that have weights
    tokenizer = load_tokenizer(Path(arm.model.folder))
    for document in islice(arm.world.documents(Seed(0) / "world"), N_TRIED_DOCUMENTS):
        if not comes_back(tokenizer, document.text):
            raise SpecError(
                f"the tokenizer in {arm.model.folder} does not give the diary entry {document.text!r:.80} back, so no "
                "reply could be right; take a model whose tokenizer keeps letters, digits and : ; '."
            )


def _training(batch_size: int, peak_lr: float, *fractions: float) -> TrainingConfig:
    return continued_training(batch_size, peak_lr, *fractions, prompt_loss_weight=1.0)


def _laptop_config() -> PretrainedDiariesConfig:
    """24 diarists of 1 to 3 short entries, 20 passes: three trainings of a model of 135 M weights in 20 minutes."""
    return PretrainedDiariesConfig(
        world=Diaries(
            n_diarists=24,
            entries=(1, 3),
            attributes=(1, 2),
            n_attributes=4,
            values_per_attribute=8,
            name_pool_sizes=(64, 64),
            train_share=0.5,
        ),
        training=_training(8, 3e-4, 0.6, 0.8),
        document_epochs=20,
        question_epochs=20,
        patching=False,
    )


def _smoke_config() -> PretrainedDiariesConfig:
    """Every arm and evaluation, without a result."""
    config = _laptop_config()
    return replace(
        config,
        world=replace(config.world, n_diarists=16, entries=(1, 2)),
        training=replace(config.training, checkpoint_fractions=(0.5, 1.0)),
        document_epochs=1,
        question_epochs=1,
        patching=True,
        title_loss=True,
    )


def _gpu_config() -> PretrainedDiariesConfig:
    """1,000 diarists with entries as long as the paper's and three seeds: a model of a billion weights on one GPU."""
    config = _laptop_config()
    return replace(
        config,
        seeds=(0, 1, 2),
        world=Diaries(n_diarists=1_000),
        training=replace(_training(50, 5e-5, 0.4, 0.6, 0.8), warmup_steps=100),
        document_epochs=30,
        question_epochs=30,
        patching=True,
        title_loss=True,
    )


PRETRAINED_DIARIES_CONFIGS: Mapping[Scale, Callable[[], PretrainedDiariesConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
