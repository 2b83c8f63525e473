"""Sharded training: weights, gradients and moments are split over the processes of a training, for models that outgrow
a card.

FSDP2 (`fully_shard` of PyTorch) keeps a part of every weight on each device. It gathers the weights of a block before
the block computes, drops them afterwards, and adds every gradient up where its part lies. accelerate joins the
processes; its own plugin for FSDP2 shards on accelerators alone and takes the optimizer over, so PyTorch is asked
directly, and a test on CPUs meets the same code.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeGuard

import torch

from nosce.data.sampling import Batch
from nosce.models.logits import logits_path
from nosce.models.number_format import Precision
from nosce.models.varlen import ForwardFunction
from nosce.train.loss import summed_cross_entropy

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor
    from transformers import PreTrainedModel

    from nosce.train.parallel import ProcessGroup


class _SummedLoss(torch.nn.Module):
    """The root of all shards: its forward pass is everything that a process computes of a micro-batch.

    Weights outside the blocks (embedding, last norm, head) are gathered for that pass, whoever calls for them in it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
        return summed_cross_entropy(self.model, forward, batch)


class ShardedWeights:
    """The float32 weights that are trained, a part on each device; the same methods as `MasterWeights`.

    In bfloat16 the weights are rounded as they are gathered, and gradients are summed in float32.
    """

    def __init__(self, model: PreTrainedModel, precision: Precision, group: ProcessGroup) -> None:
        """Shard a model.

        Args:
            model: The whole model, best on the CPU. The first process keeps it for `gather`; of the others it becomes
                the sharded model.
            precision: Number format of forward and backward pass.
            group: The processes that share it.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        self._whole = model if group.rank == 0 else None
        self.compute_model = copy.deepcopy(model) if group.rank == 0 else model
        logits_path(self.compute_model)  # looked up before it is sharded: a process alone could not compute
        self._root = _SummedLoss(self.compute_model)
        rounded = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)  # rotary angles stay
        policy = MixedPrecisionPolicy(cast_forward_inputs=False) if precision == "float32" else rounded
        mesh = init_device_mesh(torch.device(group.device).type, (group.size,))
        for module in (*block_modules(self.compute_model), self._root):
            fully_shard(module, mesh=mesh, mp_policy=policy)
        for module in self._root.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)  # the loss is divided by the whole batch already
                module.set_force_sum_reduction_for_comms(True)  # gloo has no mean
        self.trainable_parameters = {n: p for n, p in self.compute_model.named_parameters() if p.requires_grad}

    def summed_loss(self, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
        """Negative log-likelihood in nats, summed over a micro-batch."""
        loss: torch.Tensor = self._root(forward, batch)
        return loss

    def accumulate_gradients(self) -> None:
        """Nothing is left to do: the backward pass has added the gradients up."""

    def update_compute_weights(self) -> None:
        """Nothing is left to do: weights are rounded as they are gathered."""

    def gather(self) -> None:
        """Copy the trained weights to the whole model of the first process. All processes must call it."""
        whole = {} if self._whole is None else dict(self._whole.named_parameters())
        with torch.no_grad():
            for name, parameter in self.trainable_parameters.items():
                value = gathered(parameter)
                if self._whole is not None:
                    whole[name].copy_(value)


def block_modules(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The blocks of a model, as transformers names those that are not to be split.

    A block in a block is left out. So is one with an embedding that may be tied to the head (ModernBERT): weights that
    two modules share are gathered once, with everything outside the blocks.
    """
    names = set(model._no_split_modules or ())
    outer_weights = {id(p) for m in (model.get_input_embeddings(), model.get_output_embeddings()) for p in _weights(m)}
    blocks: dict[str, torch.nn.Module] = {}
    for path, module in model.named_modules():
        is_inner = any(path.startswith(f"{outer}.") for outer in blocks)
        if (
            type(module).__name__ in names
            and path
            and not is_inner
            and not outer_weights & set(map(id, _weights(module)))
        ):
            blocks[path] = module
    return list(blocks.values())


def _weights(module: torch.nn.Module | None) -> list[torch.nn.Parameter]:
    return [] if module is None else list(module.parameters())


def is_sharded(tensor: torch.Tensor) -> TypeGuard[DTensor]:
    """Has this process a part of the tensor?"""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):
        return False  # without the import, which takes half a second
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a sharded tensor; any other tensor as it is. All processes must call it."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded tensor that this process has, which shares its memory; any other tensor as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole_of(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The whole tensor of which every process has a part, sharded like another. All processes must call it."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor

    sharded = DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    return sharded.full_tensor()


def sharded_like(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor that every process has, sharded like another; as it is where the other is whole."""
    if not is_sharded(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
