"""What the studies on models of one's own share: which model, and how its chat template asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nosce.data.worlds.base import World
from nosce.data.worlds.chat import ChatMarks
from nosce.data.worlds.text_folder import TextFolder, WithReplay
from nosce.errors import SpecError, UsageError
from nosce.models.architecture import Pretrained
from nosce.models.sources import ModelSource
from nosce.train.config import LoRA, TrainingConfig

MESSAGE = "MESSAGE"  # stands for the user's message while a template is rendered


def one_model(models: tuple[ModelSource, ...], study: str) -> ModelSource:
    """The one model of a study that trains one.

    Raises:
        UsageError: There are several.
    """
    if len(models) > 1:
        names = ", ".join(source.name for source in models)
        raise UsageError(f"{study} takes one --model, and {names} were given; run it once for each.")
    return models[0]


def chat_marks(model: Pretrained) -> ChatMarks:
    """What the chat template of a model's folder puts around a message of the user.

    Raises:
        SpecError: The folder has no chat template, or one that changes the message.
    """
    from nosce.models.folder_tokenizer import load_folder_tokenizer
    from nosce.models.pretrained import plain_errors

    tokenizer = load_folder_tokenizer(Path(model.folder))
    if not tokenizer.chat_template:
        raise SpecError(f"{model.folder} has no chat template, so --chat cannot ask through it; leave --chat out.")
    with plain_errors(f"the chat template in {model.folder} cannot be used"):
        messages = [{"role": "user", "content": MESSAGE}]
        rendered = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    before, found, after = rendered.partition(MESSAGE)
    if not found or MESSAGE in after:
        raise SpecError(
            f"the chat template in {model.folder} does not hold the message once as it is; leave --chat out."
        )
    return ChatMarks(before=before, after=after)


def with_replay(world: World, folder: str, share: float, n_documents: int) -> World:
    """The world with pieces of general text among its documents.

    Args:
        world: The world.
        folder: Folder of the text; empty: none.
        share: Share of the texts of training that are pieces, above 0 and below 1.
        n_documents: Number of the world's documents.

    Raises:
        SpecError: The share is out of range, or the folder holds no text.
    """
    if not folder:
        return world
    if not 0 < share < 1:
        raise SpecError(f"a replay share of {share:g} is no share of the texts; take more than 0 and less than 1.")
    n_pieces = max(1, round(share / (1 - share) * n_documents))
    return WithReplay(world=world, texts=TextFolder.from_folder(folder), n_pieces=n_pieces)


def continued_training(
    batch_size: int, peak_lr: float, *fractions: float, prompt_loss_weight: float = 0.0
) -> TrainingConfig:
    """A training that goes on from a pretrained model's weights; its steps follow from other fields.

    Args:
        batch_size: Texts of a step.
        peak_lr: Learning rate after the warm-up.
        fractions: Fractions of the training whose checkpoints are kept, beside its end.
        prompt_loss_weight: Weight of the loss on prompts.
    """
    return TrainingConfig(
        steps=1,
        batch_size=batch_size,
        peak_lr=peak_lr,
        warmup_steps=10,
        weight_decay=0.01,
        betas=(0.9, 0.95),
        prompt_loss_weight=prompt_loss_weight,
        dtype="auto",
        checkpoint_fractions=(*fractions, 1.0),
    )


def steps_for(training: TrainingConfig, n_texts: float) -> TrainingConfig:
    """The training with the steps that show so many texts, at least one."""
    return replace(training, steps=max(1, round(n_texts / training.batch_size)))


def low_rank_update(rank: int) -> LoRA | None:
    """The low-rank update of this rank, as all studies on a model's own weights train it; None for rank 0."""
    return LoRA(rank=rank, embedding_rank=0) if rank else None
