"""Checkpoints: weights in the Hugging Face layout with a manifest, and the state to go on from.

A kept checkpoint is a folder that the `from_pretrained` of transformers loads with no nosce around.
The state for resuming is one safetensors file with weights and optimizer moments. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

from nosce.models import architecture as families
from nosce.store.files import checksum_tree, verify, write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.train.optimizer import Optimizer

STATE = "state.safetensors"
transformers.utils.logging.disable_progress_bar()  # it would draw over our own


def keep(model: PreTrainedModel, tokenizer: Path, folder: Path) -> None:
    """Write a checkpoint folder with the tokenizer's files and a manifest, in one rename."""
    beside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    model.save_pretrained(beside, safe_serialization=True)
    for file in sorted(tokenizer.glob("tokenizer*.json")):
        shutil.copyfile(file, beside / file.name)
    write_atomically(beside / "manifest.json", json.dumps(checksum_tree(beside), indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


def load(folder: Path) -> PreTrainedModel:
    """The model of a checkpoint folder, once its manifest has been verified.

    Raises:
        DamagedError: A file is not what was written.
    """
    verify(folder)
    return families.load(folder)


def save_state(folder: Path, step: int, named: dict[str, torch.nn.Parameter], optimizer: Optimizer) -> None:
    """Write what is needed to go on after `step` steps, in one rename."""
    tensors = {}
    for name, parameter in named.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for moment, value in optimizer.moments(parameter).items():
            tensors[f"{moment}/{name}"] = value
    beside = folder / f"{STATE}.new"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, beside, metadata={"step": str(step)})
    os.replace(beside, folder / STATE)


def restore_state(folder: Path, named: dict[str, torch.nn.Parameter], optimizer: Optimizer) -> int:
    """Put weights and moments back as they were and return how many steps had been taken; 0 without a state.

    A state that cannot be read (a power cut before it reached the disk) counts as none: the run starts
    over, which costs time and never correctness.
    """
    try:
        with safe_open(folder / STATE, framework="pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, KeyError, TypeError, _UNREADABLE):
        return 0
    if {n.partition("/")[2] for n in tensors} != set(named):
        return 0
    moments: dict[str, dict[str, torch.Tensor]] = {name: {} for name in named}
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(tensors.pop(f"weight/{name}"))
    for key, value in tensors.items():
        moment, _, name = key.partition("/")
        # The fused optimizer keeps its step count on the device of the weights.
        moments[name][moment] = value.to(named[name].device)
    for name, remembered in moments.items():
        optimizer.remember(named[name], remembered)
    return step


def _unreadable() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


_UNREADABLE = _unreadable()
