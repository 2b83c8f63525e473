"""The step `training`: a model trained on a corpus's documents, or a checkpoint on its questions.

checkpoints/<step>/    weights after so many steps, in the Hugging Face layout, with a manifest
adapters/<step>/       the low-rank updates alone, in peft's layout, where an adapter was trained
metrics.jsonl          loss, learning rate, gradient norm by step
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nosce.data.corpus import Corpus
from nosce.data.masking import WholeWordMasking
from nosce.data.packing import TokenDataset, concat_datasets
from nosce.data.sampling import EpochSampler, MixtureSampler
from nosce.data.tokenizer import MASK_TOKEN, PAD_TOKEN
from nosce.errors import DataError, SpecError
from nosce.evals.injection.directions import InjectionPlace
from nosce.models import architecture as families
from nosce.models import lora as adapters
from nosce.models.architecture import Architecture, ExtraLayers, Pretrained
from nosce.models.pretrained import check_token_ids, folder_dropout
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.injected_documents import with_injections
from nosce.pipeline.steps.torch_setup import prepare_torch
from nosce.seeds import Seed
from nosce.store.provenance import record_provenance
from nosce.store.spec import LATER
from nosce.train.adapter import add_adapter
from nosce.train.config import LoRA, QAMixture, RuntimeConfig, TrainingConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from nosce.train.parallel import ProcessGroup

VERSION = 2
TrainingData = Literal["documents", "questions"] | QAMixture
#: The names of tables that hold one row a position in the families of transformers; rotary positions need none.
POSITION_TABLES = {"wpe", "embed_positions", "position_embeddings"}


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What is trained (`model`; where that is None or `ExtraLayers`, `start`), on what, how and from what seed.

    With an `injection` the documents are read with concepts injected there. The directions are found in the model that
    the training starts from, so that the inputs decide them.
    """

    model: Architecture | Pretrained | ExtraLayers | None
    data: TrainingData
    training: TrainingConfig
    adapter: LoRA | None
    seed: Seed
    injection: InjectionPlace | None = field(default=None, metadata=LATER)


def make(spec: TrainingSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Train, or resume an interrupted training; write checkpoints and metrics."""
    if context.runtime.processes == 1:
        _train(spec, inputs, context)
        return
    from nosce.train import parallel

    # What a process sends is a report for `progress`, or entries of the provenance.
    def hear(message: tuple[str, Any]) -> None:
        kind, content = message
        if kind == "progress":
            context.progress(content)
        else:
            context.extra_provenance.update(content)

    arguments = (spec, dict(inputs), context.folder, context.runtime)
    parallel.run_processes(_train_share, arguments, context.runtime.processes, hear)
    context.extra_provenance["processes"] = context.runtime.processes
    if context.runtime.sharded:
        context.extra_provenance["sharded"] = True


def _train_share(
    spec: TrainingSpec,
    inputs: Mapping[str, Path],
    folder: Path,
    runtime: RuntimeConfig,
    send: Callable[[tuple[str, object]], None],
) -> None:
    """What one of several processes does."""
    from nosce.train.parallel import ProcessGroup

    group = ProcessGroup.join(runtime.device)
    context = StepContext(
        folder=folder,
        runtime=replace(runtime, device=group.device),
        progress=lambda report: send(("progress", report)),
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
    from nosce.models.number_format import choose_precision
    from nosce.train import checkpoint, loop

    prepare_torch(context.runtime.threads)
    context.folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(inputs["corpus"])
    device = "cpu" if context.runtime.sharded else context.runtime.device  # no device may hold a whole sharded model
    model = _initial_model(spec, inputs, corpus).to(device)
    dataset = _training_dataset(spec, corpus, model)
    sampler = _training_sampler(spec, dataset, corpus)
    if isinstance(spec.model, Pretrained):
        check_token_ids(Path(spec.model.folder), [int(dataset.tokens.max(initial=0))])
        context.extra_provenance["dropout_switched_off"] = folder_dropout(Path(spec.model.folder))
    is_bidirectional = families.is_bidirectional(model)
    _check_training(spec.training, dataset, model, is_bidirectional)
    masking = WholeWordMasking.from_tokenizer(corpus.tokenizer, spec.seed / "masking") if is_bidirectional else None
    peft_model = None if spec.adapter is None else _with_adapter(model, spec.adapter, spec.seed / "adapter")

    def keep(step: int) -> None:
        whole = model if peft_model is None else adapters.merge_lora(peft_model)
        if peft_model is not None:
            adapters.save_adapter(peft_model, adapter_folder(context.folder, step))
        checkpoint.save_checkpoint(whole, corpus.tokenizer_folder, checkpoint_folder(context.folder, step))

    precision = choose_precision(spec.training.dtype, device=context.runtime.device)
    context.extra_provenance["precision"] = precision
    loop.train(
        model if peft_model is None else peft_model.get_base_model(),
        dataset,
        sampler,
        spec.training,
        eos_id=corpus.eos_id,
        folder=context.folder,
        on_checkpoint=keep,
        on_progress=context.training_progress,
        runtime=context.runtime,
        precision=precision,
        masking=masking,
        group=group,
    )


def _with_adapter(model: PreTrainedModel, adapter: LoRA, seed: Seed) -> PeftModel:
    return add_adapter(model, adapter, seed)


def _check_training(
    config: TrainingConfig, dataset: TokenDataset, model: PreTrainedModel, is_bidirectional: bool
) -> None:
    """Refuse more positions than the model has, and what only a causal decoder learns: prompts and packed texts."""
    _require_positions(model, config.window or int(dataset.lengths.max(initial=0)))
    is_causal = not (model.config.is_encoder_decoder or is_bidirectional)
    if not is_causal and (config.prompt_loss_weight or config.window is not None):
        raise SpecError(
            f"a model that is not a causal decoder was to be trained with prompt_loss_weight="
            f"{config.prompt_loss_weight} and window={config.window}, but such a model reads a prompt without "
            "predicting it, and reads each text alone; take 0 and None."
        )


def _require_positions(model: PreTrainedModel, longest: int) -> None:
    """Check that a model with a table of positions has one for each token of the longest row.

    Raises:
        SpecError: It has not.
    """
    tables = {name.rpartition(".")[2] for name, _ in (*model.named_modules(), *model.named_buffers())}
    limit = getattr(model.config, "max_position_embeddings", None)  # of transformers; not every family has it
    if limit is not None and longest > limit and tables & POSITION_TABLES:
        raise SpecError(
            f"the longest text or row has {longest:,} tokens, but the model reads {limit:,} positions; take shorter "
            "texts, a smaller window or a model with more positions."
        )


def checkpoint_folder(folder: Path, step: int) -> Path:
    """The folder of the checkpoint after so many steps, in a training's folder."""
    return folder / "checkpoints" / f"{step:07d}"


def adapter_folder(folder: Path, step: int) -> Path:
    """Where the low-rank updates after so many steps lie below a training's folder."""
    return folder / "adapters" / f"{step:07d}"


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """The kept checkpoints of a training's folder by step, earliest first.

    Raises:
        DataError: There is none.
    """
    folders = {int(path.name): path for path in sorted((folder / "checkpoints").glob("[0-9]" * 7))}
    if not folders:
        raise DataError(
            f"{folder} holds no checkpoint, so it is not the folder of a finished training; run the training again."
        )
    return folders


def _training_dataset(spec: TrainingSpec, corpus: Corpus, model: PreTrainedModel) -> TokenDataset:
    """The texts, and with an injection what is added to their states, which depends on the model."""
    if spec.injection is not None:
        return with_injections(corpus.documents, corpus, model, spec.injection, spec.seed)
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
