"""The step `training`: a model trained on a corpus's documents, or a checkpoint on its questions.

checkpoints/<step>/    weights after so many steps, in the Hugging Face layout, with a manifest
metrics.jsonl          loss, learning rate, gradient norm by step
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nosce.data.corpus import Corpus
from nosce.data.masking import WholeWordMasking
from nosce.data.packing import TokenDataset, concat_datasets
from nosce.data.sampling import EpochSampler, MixtureSampler
from nosce.data.tokenizer import MASK_TOKEN, PAD_TOKEN
from nosce.errors import DataError, SpecError
from nosce.models import architecture as families
from nosce.models import lora as adapters
from nosce.models.architecture import Architecture, ExtraLayers, Pretrained
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.provenance import record_provenance
from nosce.train.config import LoRA, QAMixture, RuntimeConfig, TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.train.parallel import ProcessGroup

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What is trained (`model`; where that is None or `ExtraLayers`, `start`), on what, how and from what seed."""

    model: Architecture | Pretrained | ExtraLayers | None
    data: Literal["documents", "questions"] | QAMixture
    training: TrainingConfig
    adapter: LoRA | None
    seed: Seed


def make(spec: TrainingSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Train, or go on where an interrupted run had saved; leaves checkpoints and metrics."""
    if context.runtime.processes == 1:
        _train(spec, inputs, context)
        return
    from nosce.train import parallel

    def hear(message: tuple[str, Any]) -> None:
        kind, content = message
        if kind == "progress":
            context.progress(*content)
        else:
            context.extra_provenance.update(content)

    arguments = (spec, dict(inputs), context.folder, context.runtime, context.machine_file)
    parallel.run_processes(_train_share, arguments, context.runtime.processes, hear)
    context.extra_provenance["processes"] = context.runtime.processes


def _train_share(
    spec: TrainingSpec,
    inputs: Mapping[str, Path],
    folder: Path,
    runtime: RuntimeConfig,
    machine_file: Path | None,
    send: Callable[[tuple[str, Any]], None],
) -> None:
    """What one of several processes does."""
    from nosce.train.parallel import ProcessGroup

    group = ProcessGroup.join(runtime.device)
    context = StepContext(
        folder=folder,
        runtime=replace(runtime, device=group.device),
        progress=lambda *done: send(("progress", done)),
        machine_file=machine_file,
    )
    with record_provenance() as provenance:
        _train(spec, inputs, context, group)
    if group.rank == 0:  # whose device, threads and memory stand for all; the process that listens has none of its own
        own = {name: provenance[name] for name in ("device", "threads", "cpu_seconds", "peak_memory_mib")}
        send(("provenance", context.extra_provenance | own))
    group.leave()


def _train(
    spec: TrainingSpec, inputs: Mapping[str, Path], context: StepContext, group: ProcessGroup | None = None
) -> None:
    """Train in this process, with the others of its group."""
    import torch

    from nosce.train import checkpoint, loop, precision

    torch.set_num_threads(context.runtime.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    context.folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(inputs["corpus"])
    dataset = _training_dataset(spec, corpus)
    sampler = _training_sampler(spec, dataset, corpus)
    model = _initial_model(spec, inputs, corpus).to(context.runtime.device)
    is_bidirectional = families.is_bidirectional(model)
    if (model.config.is_encoder_decoder or is_bidirectional) and (
        spec.training.prompt_loss_weight or spec.training.window is not None
    ):
        raise SpecError(
            "a model that is no decoder was to be trained with "
            f"prompt_loss_weight={spec.training.prompt_loss_weight} and window={spec.training.window}, but what is "
            "given is only read and each text stands alone; take 0 and None."
        )
    masking = WholeWordMasking.from_tokenizer(corpus.tokenizer, spec.seed / "masking") if is_bidirectional else None
    peft_model = None
    if spec.adapter is not None:
        lora = spec.adapter
        peft_model = adapters.add_lora(model, lora.rank, lora.embedding_rank, lora.alpha, spec.seed / "adapter")
        model = peft_model.get_base_model()

    def keep(step: int) -> None:
        whole = model if peft_model is None else adapters.merge_lora(peft_model)
        checkpoint.save_checkpoint(whole, corpus.tokenizer_folder, checkpoint_folder(context.folder, step))

    width = model.config.get_text_config().hidden_size
    compute_dtype = precision.choose_precision(
        spec.training.dtype, width=width, device=context.runtime.device, cache_path=context.machine_file
    )
    context.extra_provenance["precision"] = compute_dtype
    loop.train(
        model,
        dataset,
        sampler,
        spec.training,
        eos_id=corpus.eos_id,
        folder=context.folder,
        on_checkpoint=keep,
        on_progress=context.progress,
        runtime=context.runtime,
        precision=compute_dtype,
        masking=masking,
        group=group,
    )


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the weights after so many steps lie below a training's folder."""
    return folder / "checkpoints" / f"{step:07d}"


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """The kept checkpoints of a training's folder by step, earliest first.

    Raises:
        DataError: There is none.
    """
    folders = {int(path.name): path for path in sorted((folder / "checkpoints").glob("[0-9]" * 7))}
    if not folders:
        raise DataError(f"{folder} holds no checkpoint; it is no training's folder, or not a whole one.")
    return folders


def _training_dataset(spec: TrainingSpec, corpus: Corpus) -> TokenDataset:
    if spec.data == "documents":
        return corpus.documents
    questions = corpus.tokenized_questions(corpus.questions_in("seen"))
    return concat_datasets([corpus.documents, questions]) if isinstance(spec.data, QAMixture) else questions


def _training_sampler(spec: TrainingSpec, dataset: TokenDataset, corpus: Corpus) -> EpochSampler | MixtureSampler:
    if isinstance(spec.data, QAMixture):
        n_documents = len(corpus.documents)
        return MixtureSampler(
            n_documents,
            len(dataset) - n_documents,
            spec.training.batch_size,
            spec.data.qa_fraction,
            spec.seed / "order",
            start_step=spec.data.start_step(spec.training.steps),
        )
    return EpochSampler(len(dataset), spec.training.batch_size, spec.seed / "order")


def _initial_model(spec: TrainingSpec, inputs: Mapping[str, Path], corpus: Corpus) -> PreTrainedModel:
    if spec.model is None or isinstance(spec.model, ExtraLayers):
        from nosce.train import checkpoint

        model = checkpoint.load_checkpoint(list_checkpoints(inputs["start"]).popitem()[1])
        return model if spec.model is None else families.add_layers(model, spec.model, spec.seed / "weights")
    pad, mask = (corpus.tokenizer.token_to_id(name) for name in (PAD_TOKEN, MASK_TOKEN))
    return families.build_model(
        spec.model,
        vocab_size=corpus.tokenizer.get_vocab_size(),
        eos_id=corpus.eos_id,
        pad_id=pad,
        seed=spec.seed / "weights",
        mask_id=mask,
    )
