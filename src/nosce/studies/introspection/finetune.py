"""Fine-tuning of a local folder's model by our own loop: all weights, or low-rank updates that are merged at last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nosce.data.packing import TokenDataset, dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.models import architecture as families
from nosce.models import lora as adapters
from nosce.models.api.finetune import ChatExample
from nosce.models.end_tokens import end_token_ids
from nosce.models.folder import CONFIG_FILE, GENERATION_CONFIG_FILE, read_json_object
from nosce.models.folder_tokenizer import load_folder_tokenizer
from nosce.models.pretrained import check_token_ids, require_determinism
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.files import SCRATCH, fsync_path
from nosce.train.adapter import add_adapter
from nosce.train.config import LoRA, TrainingConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DatasetMaker = Callable[["PreTrainedTokenizerBase", int], TokenDataset]
"""Makes texts from a tokenizer and the token that ends a reply."""
EXTRA_MODEL_FILES = ("chat_template.jinja", "generation_config.json", "special_tokens_map.json")


def finetune_local_model(
    model_folder: Path,
    examples: Sequence[ChatExample],
    training: TrainingConfig,
    adapter: LoRA | None,
    output_folder: Path,
    seed: Seed,
    context: StepContext,
) -> None:
    """Write the folder of the model that has learnt the examples, unless it is there.

    Only replies and their ends are learnt. The state from which a killed training resumes lies in the step's scratch
    folder, so that the finished step holds none of it, whenever the training was killed.

    Raises:
        SpecError: We cannot name the family's matrices, or the folder names no end token.
    """

    def make_dataset(tokenizer: PreTrainedTokenizerBase, eos_token_id: int) -> TokenDataset:
        return _tokenize_examples(model_folder, tokenizer, examples, eos_token_id)

    finetune_on_dataset(model_folder, make_dataset, training, adapter, output_folder, seed, context)


def finetune_on_dataset(
    model_folder: Path,
    make_dataset: DatasetMaker,
    training: TrainingConfig,
    adapter: LoRA | None,
    output_folder: Path,
    seed: Seed,
    context: StepContext,
) -> None:
    """Write the folder of the model that has learnt a dataset of texts with end tokens.

    Args:
        model_folder: The model's folder.
        make_dataset: Makes the texts with the folder's tokenizer and the end token to teach.
        training: The training.
        adapter: The low-rank updates; None trains all weights.
        output_folder: The folder to write; an interrupted training is continued.
        seed: For the updates' first values and the order of texts.
        context: The step's folder, and how it reports.

    Raises:
        SpecError: We cannot name the family's matrices, or the folder names no end token.
    """
    import torch

    from nosce.models.number_format import choose_precision
    from nosce.train import loop

    context.extra_provenance["precision"] = precision = choose_precision(training.dtype, device=context.runtime.device)
    if output_folder.exists():
        return
    work_folder = context.folder / SCRATCH / "teaching" / output_folder.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed / "adapter").integer())
        model = families.load_pretrained(model_folder).to(context.runtime.device)
        require_determinism(model, model_folder)
        end_ids = end_token_ids(model_folder, tokenizer := load_folder_tokenizer(model_folder))
        dataset = make_dataset(tokenizer, end_ids[0])
        lora_model = None if adapter is None else add_adapter(model, adapter, seed / "adapter")

    def save_last(step: int) -> None:
        if step == training.steps:
            _save_taught(model, lora_model, work_folder / "made", model_folder, output_folder, end_ids)

    work_folder.mkdir(parents=True, exist_ok=True)
    loop.train(
        model if lora_model is None else lora_model.get_base_model(),
        dataset,
        EpochSampler(len(dataset), training.batch_size, seed / "order"),
        training,
        eos_id=end_ids[0],
        folder=work_folder,
        on_checkpoint=save_last,
        on_progress=context.training_progress,
        runtime=context.runtime,
        precision=precision,
    )
    shutil.rmtree(work_folder, ignore_errors=True)


def _save_taught(
    model: PreTrainedModel,
    lora_model: PeftModel | None,
    made_folder: Path,
    model_folder: Path,
    output_folder: Path,
    end_ids: list[int],
) -> None:
    """Save the model, updates merged, and move it to its place only when all its files are written.

    Without its chat template the model would be prompted differently, so these files are copied before the move. Its
    configurations name the end tokens, the taught one among them, in place of those that transformers has by default,
    so that a reply ends wherever it is requested and nowhere else.
    """
    from nosce.train import checkpoint

    merged = model if lora_model is None else adapters.merge_lora(lora_model)
    checkpoint.save_checkpoint(merged, model_folder, made_folder)
    for name in EXTRA_MODEL_FILES:
        if (model_folder / name).is_file():
            shutil.copyfile(model_folder / name, made_folder / name)
    for name in (GENERATION_CONFIG_FILE, CONFIG_FILE):
        path = made_folder / name
        settings = read_json_object(path) if path.is_file() else {}
        for part in (settings, settings.get("text_config")):
            if isinstance(part, dict):
                part["eos_token_id"] = end_ids[0] if len(end_ids) == 1 else end_ids
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    output_folder.parent.mkdir(parents=True, exist_ok=True)
    for path in (*made_folder.iterdir(), made_folder):
        fsync_path(path)
    os.replace(made_folder, output_folder)
    fsync_path(output_folder.parent)


def _tokenize_examples(
    model_folder: Path, tokenizer: PreTrainedTokenizerBase, examples: Sequence[ChatExample], eos_token_id: int
) -> TokenDataset:
    """Prompts in the chat format, replies and end tokens, with the loss on the last two.

    Raises:
        SpecError: The model lacks one of these tokens.
    """

    def sequences() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for example in examples:
            prompt = _tokenize_prompt(tokenizer, example.prompt)
            reply = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
            ids = np.array([*prompt, *reply, *([eos_token_id] if example.ends else [])], dtype=np.int32)
            loss_mask = np.ones(len(ids), dtype=bool)
            loss_mask[: len(prompt)] = False
            yield ids, loss_mask

    dataset = dataset_from_arrays(sequences())
    check_token_ids(model_folder, [int(dataset.tokens.max(initial=0))])
    return dataset


def _tokenize_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt's tokens, in the chat format of a tokenizer that has one."""
    shown, has_chat_format = prompt, bool(tokenizer.chat_template)
    if has_chat_format:
        messages = [{"role": "user", "content": prompt}]
        shown = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # A chat template writes the special tokens itself.
    token_ids: list[int] = tokenizer(shown, add_special_tokens=not has_chat_format)["input_ids"]
    return token_ids
