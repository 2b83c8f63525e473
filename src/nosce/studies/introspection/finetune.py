"""Teaching a local folder's model what to reply: low-rank updates by our own loop, merged into another folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nosce.data.packing import Sequences, collect
from nosce.data.sampling import Order
from nosce.models import architecture as families
from nosce.models import lora as adapters
from nosce.models.api.finetune import Example
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.train.config import LoRA, Recipe

BESIDE = ("chat_template.jinja", "generation_config.json", "special_tokens_map.json")


def teach(
    model: Path, examples: Sequence[Example], recipe: Recipe, adapter: LoRA, folder: Path, seed: Seed, job: Job
) -> None:
    """Write the folder of the model that has learnt the examples; only replies and their ends are learnt.

    Raises:
        SpecError: We cannot name the family's matrices.
    """
    import torch

    from nosce.train import checkpoint, loop, precision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed / "adapter").integer())
        net = families.load(model).to(job.machine.device)
        tokenizer = _tokenizer(model)
        end = int(tokenizer.eos_token_id)
        texts = _texts(tokenizer, examples, end)
        adapted = adapters.add(net, adapter.rank, adapter.embedding_rank, adapter.alpha, seed / "adapter")
    work = job.folder / "teaching" / folder.name

    def keep(step: int) -> None:
        if step == recipe.steps:
            made = work / "made"
            checkpoint.keep(adapters.merged(adapted), model, made)
            for name in BESIDE:
                if (model / name).is_file():
                    shutil.copyfile(model / name, made / name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, folder)  # whole or not there: without its template it would be asked otherwise

    work.mkdir(parents=True, exist_ok=True)
    width = net.config.get_text_config().hidden_size
    computed = precision.chosen(recipe.dtype, width=width, device=job.machine.device, memory=job.memory)
    job.notes["precision"] = computed
    loop.train(adapted.get_base_model(), texts, Order(len(texts), recipe.batch, seed / "order"), recipe, end=end,
               folder=work, keep=keep, progress=job.progress, machine=job.machine, precision=computed)  # fmt: skip
    shutil.rmtree(work, ignore_errors=True)


def _tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model, local_files_only=True)


def _texts(tokenizer: Any, examples: Sequence[Example], end: int) -> Sequences:
    """Prompts as the model is asked them, replies, ends; counted are the last two."""

    def each() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for one in examples:
            if tokenizer.chat_template:
                told = [{"role": "user", "content": one.prompt}]
                shown = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
                prompt = tokenizer(shown, add_special_tokens=False)["input_ids"]
            else:
                prompt = tokenizer(one.prompt)["input_ids"]
            reply = tokenizer(one.reply, add_special_tokens=False)["input_ids"]
            ids = np.array([*prompt, *reply, end], dtype=np.int32)
            counted = np.ones(len(ids), dtype=bool)
            counted[: len(prompt)] = False
            yield ids, counted

    return collect(each())
