"""Checkpoints: weights in the Hugging Face layout with a manifest, and the state for resuming.

A checkpoint is a folder that `from_pretrained` of transformers loads without nosce. The state for resuming is one
safetensors file with weights and optimizer moments. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nosce.models import architecture as families
from nosce.store.files import checksum_tree, fsync_path, verify_manifest, write_atomically
from nosce.train.sharding import gathered, sharded_like

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.train.optimizer import Optimizer

TRAINING_STATE_FILE = "state.safetensors"
PENDING_LOSSES = "pending_losses"  # a tensor of that file; all others are named <what>/<parameter>
transformers.utils.logging.disable_progress_bar()  # it would overwrite the progress display of nosce


def save_checkpoint(model: PreTrainedModel, tokenizer_folder: Path, folder: Path) -> None:
    """Write a checkpoint folder with the tokenizer's files and a manifest, atomically by one rename."""
    staging = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    model.save_pretrained(staging, safe_serialization=True)
    for file in sorted(tokenizer_folder.glob("tokenizer*.json")):
        shutil.copyfile(file, staging / file.name)
    write_atomically(staging / "manifest.json", json.dumps(checksum_tree(staging), indent=2) + "\n")
    for file in (*staging.iterdir(), staging):
        fsync_path(file)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(staging, folder)
    fsync_path(folder.parent)


def load_checkpoint(folder: Path) -> PreTrainedModel:
    """The model of a checkpoint folder whose manifest has been verified.

    Raises:
        DamagedError: A file differs from its checksum.
    """
    verify_manifest(folder)
    return families.load_pretrained(folder)


def save_training_state(
    folder: Path,
    step: int,
    named_parameters: dict[str, torch.nn.Parameter],
    optimizer: Optimizer,
    pending_losses: Sequence[torch.Tensor] = (),
    *,
    is_first: bool = True,
) -> None:
    """Write the state for resuming after `step` steps, atomically by one rename.

    Of several processes with shards all must call this; the first one writes.

    Args:
        folder: Gets the file.
        step: Number of steps taken.
        named_parameters: The weights that are trained.
        optimizer: Holds the moments of these weights.
        pending_losses: Losses (0-d) of the steps since the last line of metrics, whose mean goes into the next line.
        is_first: Whether this is the process that writes.
    """
    tensors = {PENDING_LOSSES: torch.stack([*pending_losses]) if pending_losses else torch.zeros(0)}
    for name, parameter in named_parameters.items():
        for what, value in {"weight": parameter.detach(), **optimizer.moments(parameter)}.items():
            whole = gathered(value)
            if is_first:
                tensors[f"{what}/{name}"] = whole if whole is value else whole.cpu()  # a card may not hold all of them
    if not is_first:
        return
    staging = folder / f"{TRAINING_STATE_FILE}.new"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, staging, metadata={"step": str(step)})
    fsync_path(staging)
    os.replace(staging, folder / TRAINING_STATE_FILE)
    fsync_path(folder)


def restore_training_state(
    folder: Path, named_parameters: dict[str, torch.nn.Parameter], optimizer: Optimizer
) -> tuple[int, list[torch.Tensor]]:
    """Restore weights and moments; without a saved state, leave them as they are.

    A state that cannot be read, e.g. after a power cut, counts as none. The run then starts over, which costs time and
    does not change the result.

    Returns:
        The number of steps taken, and the losses (0-d) since the last line of metrics; 0 and none without a state.
    """
    try:
        with safe_open(folder / TRAINING_STATE_FILE, framework="pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        pending_losses = tensors.pop(PENDING_LOSSES)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0, []
    if {n.partition("/")[2] for n in tensors} != set(named_parameters):
        return 0, []
    if any(tensors.get(f"weight/{n}", torch.empty(0)).shape != p.shape for n, p in named_parameters.items()):
        return 0, []
    moments: dict[str, dict[str, torch.Tensor]] = {name: {} for name in named_parameters}
    with torch.no_grad():
        for name, parameter in named_parameters.items():
            parameter.copy_(sharded_like(tensors.pop(f"weight/{name}").to(parameter.device), parameter))
    for key, value in tensors.items():
        moment, _, name = key.partition("/")
        # The fused optimizer keeps its step count on the device of the weights.
        parameter = named_parameters[name]
        value = value.to(parameter.device)
        moments[name][moment] = sharded_like(value, parameter) if value.shape == parameter.shape else value
    for name, parameter_moments in moments.items():
        optimizer.load_moments(named_parameters[name], parameter_moments)
    device = next(iter(named_parameters.values())).device
    return step, list(pending_losses.to(device).unbind())
