"""The step `training`: a model trained on a corpus's documents, or a checkpoint on its questions.

checkpoints/<step>/    weights after so many steps, in the Hugging Face layout, with a manifest
metrics.jsonl          loss, learning rate, gradient norm by step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nosce.data.corpus import Corpus
from nosce.data.masking import Masking
from nosce.data.packing import Sequences, joined
from nosce.data.sampling import Mixed, Order
from nosce.data.tokenizer import MASK, PAD
from nosce.errors import DataError, SpecError
from nosce.models import architecture as families
from nosce.models import lora as adapters
from nosce.models.architecture import Architecture, Deeper, Pretrained
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.train.config import LoRA, Mix, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What is trained (`model`, or the input `start` where that is None or `Deeper`), on what, how, from which seed."""

    model: Architecture | Pretrained | Deeper | None
    on: Literal["documents", "questions"] | Mix
    recipe: Recipe
    adapter: LoRA | None
    seed: Seed


def make(spec: TrainingSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Train, or go on where an interrupted run had saved; leaves checkpoints and metrics."""
    import torch

    from nosce.train import checkpoint, loop, precision

    torch.set_num_threads(job.machine.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    job.folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(inputs["corpus"])
    sequences = _sequences(spec, corpus)
    order = _order(spec, sequences, corpus)
    model = _start(spec, inputs, corpus).to(job.machine.device)
    both_ways = families.sees_both_ways(model)
    if (model.config.is_encoder_decoder or both_ways) and (spec.recipe.given_weight or spec.recipe.window is not None):
        raise SpecError(
            f"a model that is no decoder was to be trained with given_weight={spec.recipe.given_weight} and "
            f"window={spec.recipe.window}, but what is given is only read and each text stands alone; take 0 and None."
        )
    masking = Masking.of(corpus.tokenizer, spec.seed / "masking") if both_ways else None
    adapted = None
    if spec.adapter is not None:
        lora = spec.adapter
        adapted = adapters.add(model, lora.rank, lora.embedding_rank, lora.alpha, spec.seed / "adapter")
        model = adapted.get_base_model()

    def keep(step: int) -> None:
        whole = model if adapted is None else adapters.merged(adapted)
        checkpoint.keep(whole, corpus.tokenizer_folder, checkpoint_at(job.folder, step))

    width = model.config.get_text_config().hidden_size
    computed = precision.chosen(spec.recipe.dtype, width=width, device=job.machine.device, memory=job.memory)
    job.notes["precision"] = computed
    loop.train(model, sequences, order, spec.recipe, end=corpus.end, folder=job.folder, keep=keep,
               progress=job.progress, machine=job.machine, precision=computed, masking=masking)  # fmt: skip


def checkpoint_at(folder: Path, step: int) -> Path:
    """Where the weights after so many steps lie below a training's folder."""
    return folder / "checkpoints" / f"{step:07d}"


def checkpoints(folder: Path) -> dict[int, Path]:
    """The kept checkpoints of a training's folder by step, earliest first.

    Raises:
        DataError: There is none.
    """
    found = {int(path.name): path for path in sorted((folder / "checkpoints").glob("[0-9]" * 7))}
    if not found:
        raise DataError(f"{folder} holds no checkpoint; it is no training's folder, or not a whole one.")
    return found


def _sequences(spec: TrainingSpec, corpus: Corpus) -> Sequences:
    if spec.on == "documents":
        return corpus.documents
    questions = corpus.question_sequences(corpus.asked("seen"))
    return joined([corpus.documents, questions]) if isinstance(spec.on, Mix) else questions


def _order(spec: TrainingSpec, sequences: Sequences, corpus: Corpus) -> Order | Mixed:
    if isinstance(spec.on, Mix):
        documents = len(corpus.documents)
        return Mixed(documents, len(sequences) - documents, spec.recipe.batch, spec.on.questions, spec.seed / "order",
                     after=spec.on.joined(spec.recipe.steps))  # fmt: skip
    return Order(len(sequences), spec.recipe.batch, spec.seed / "order")


def _start(spec: TrainingSpec, inputs: Mapping[str, Path], corpus: Corpus) -> PreTrainedModel:
    if spec.model is None or isinstance(spec.model, Deeper):
        from nosce.train import checkpoint

        model = checkpoint.load(checkpoints(inputs["start"]).popitem()[1])
        return model if spec.model is None else families.deepened(model, spec.model, spec.seed / "weights")
    pad, mask = (corpus.tokenizer.token_to_id(name) for name in (PAD, MASK))
    return families.build(spec.model, vocabulary=corpus.tokenizer.get_vocab_size(), end=corpus.end, pad=pad,
                          seed=spec.seed / "weights", mask=mask)  # fmt: skip
