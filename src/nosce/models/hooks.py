"""Activation sites: named places inside a model where hooks read or replace activations, the same for all families.

    residual.0      input of the first block: embeddings, plus positions where a family adds them
    residual.<i>    residual stream after block i, counted from 1
    final           output of the final norm, which is the input of the head
    attention.<i>   output of block i's attention, before it is added to the residual stream
    mlp.<i>         output of block i's MLP, before it is added to the residual stream

A model has the sites `attention` and `mlp` if its family's module names are known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nosce.errors import SpecError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Args = tuple[Any, ...]  # what torch gives a hook
KwArgs = dict[str, Any]  # what torch gives a hook
ModuleOutput = Any  # of torch: a tensor, a tuple, or a `ModelOutput` of transformers, which mypy does not follow
PreHook = Callable[[torch.nn.Module, Args, KwArgs], None]
Hook = Callable[[torch.nn.Module, Args, ModuleOutput], None]

#: The names of a block's attention and MLP. A family without an MLP module goes by the MLP's last matrix.
ATTENTION_MODULES = ("attention", "attn", "self_attn")
MLP_MODULES = ("mlp", "fc2")


def activation_sites(model: PreTrainedModel) -> dict[str, tuple[torch.nn.Module, bool]]:
    """Each site's name, with its module and whether the site is the module's input instead of its output.

    Raises:
        SpecError: The model's blocks are not found.
    """
    block_list = transformer_blocks(model)
    modules: dict[str, tuple[torch.nn.Module, bool]] = {"residual.0": (block_list[0], True)}
    for layer, block in enumerate(block_list, 1):
        modules[f"residual.{layer}"] = (block, False)
        for name, known in (("attention", ATTENTION_MODULES), ("mlp", MLP_MODULES)):
            children = dict(block.named_children())
            if (child := next((children[k] for k in known if k in children), None)) is not None:
                modules[f"{name}.{layer}"] = (child, False)
    modules["final"] = (_owner(model, block_list), False)
    return modules


def layer_sites(model: PreTrainedModel) -> list[str]:
    """The hidden states that transformers returns: embeddings, each block's output, and the last one after the norm.

    Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, average over these sites.
    """
    return [*(f"residual.{number}" for number in range(len(transformer_blocks(model)))), "final"]


def transformer_blocks(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The blocks of a decoder, first to last.

    Raises:
        SpecError: No list of blocks is found.
    """
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    candidates = [m for m in model.base_model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if not candidates or model.config.is_encoder_decoder or not model.can_generate():
        raise SpecError(
            f"activations of a {model.config.model_type} model were asked for, but its {count} blocks in one list "
            "were not found; use a decoder-only model."
        )
    return candidates[0]


#: The names of the matrices with which a block writes to the residual stream.
OUTPUT_PROJECTIONS = (
    "attention.dense",
    "mlp.dense_4h_to_h",
    "attn.c_proj",
    "mlp.c_proj",
    "self_attn.out_proj",
    "fc2",
    "self_attn.o_proj",
    "mlp.down_proj",
    "attn.out_proj",
    "mlp.fc_out",
)


def output_projection_parameters(block: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of the output matrices of attention and MLP; set to zero, the block adds nothing.

    Raises:
        SpecError: The block does not have exactly two known output matrices.
    """
    projections = [module for name, module in block.named_modules() if name in OUTPUT_PROJECTIONS]
    if len(projections) != 2:
        raise SpecError(f"the output matrices of a {type(block).__name__} are not known; take another family.")
    return [parameter for module in projections for parameter in module.parameters()]


def _owner(model: PreTrainedModel, block_list: torch.nn.ModuleList) -> torch.nn.Module:
    """The module that runs the blocks and then the final norm."""
    owner: torch.nn.Module = next(m for m in model.base_model.modules() if any(c is block_list for c in m.children()))
    return owner


@contextmanager
def capture(model: PreTrainedModel, site_names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Context manager: each forward pass stores the activations of the sites in the yielded dictionary.

    Raises:
        SpecError: The model has no such site.
    """
    available = activation_sites(model)
    if unknown := [name for name in site_names if name not in available]:
        raise SpecError(f"the model has no site {unknown[0]!r}; take from {', '.join(available)}.")
    activations: dict[str, torch.Tensor] = {}
    input_shape: list[torch.Size] = []
    handles = [transformer_blocks(model)[0].register_forward_pre_hook(_shape_hook(input_shape), with_kwargs=True)]
    for name in site_names:
        module, at_input = available[name]
        if at_input:
            handles.append(module.register_forward_pre_hook(_input_hook(activations, name), with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(_output_hook(activations, name, input_shape)))
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def patch(
    model: PreTrainedModel,
    site: str | None,
    indices: tuple[np.ndarray, np.ndarray],
    activations: np.ndarray | None,
    *,
    adds: bool = False,
    once: bool = False,
) -> Iterator[None]:
    """Context manager: each forward pass has the given activations at a site, in place of its own.

    Gradients go through the states that are kept and through those that are added to.

    Args:
        model: The model to patch.
        site: Name of the site; None leaves the model unpatched.
        indices: Rows and positions to patch, each of shape (N,).
        activations: The new activations, of shape (N, W); None leaves the model unpatched.
        adds: Add the activations to the model's own; zeros then change no bit.
        once: Patch the first forward pass alone, e.g. that of a prompt whose reply is generated token by token.

    Raises:
        SpecError: The model has no such site.
    """
    if site is None or activations is None:
        yield
        return
    available = activation_sites(model)
    if site not in available:
        raise SpecError(f"the model has no site {site!r}; take from {', '.join(available)}.")
    module, at_input = available[site]
    patch_values = torch.from_numpy(np.ascontiguousarray(activations)).to(model.device, model.dtype)

    passes = 0

    def put(hidden: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        if once and passes > 1:
            return hidden
        changed = hidden.clone()
        changed[indices] = hidden[indices] + patch_values if adds else patch_values
        return changed

    with _changed_states(module, at_input, put):
        yield


@contextmanager
def _changed_states(
    module: torch.nn.Module, at_input: bool, put: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Context manager: the hidden states that a module gets or gives are changed by a function."""

    def before(_module: object, args: Args, kwargs: KwArgs) -> tuple[Args, KwArgs]:
        if args:
            return (put(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": put(kwargs["hidden_states"])}

    def after(_module: object, _args: object, result: ModuleOutput) -> ModuleOutput:
        if hasattr(result, "last_hidden_state"):
            result.last_hidden_state = put(result.last_hidden_state)
            return result
        return (put(result[0]), *result[1:]) if isinstance(result, tuple) else put(result)

    if at_input:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _input_hook(activations: dict[str, torch.Tensor], name: str) -> PreHook:
    def hook(_module: object, args: Args, kwargs: KwArgs) -> None:
        activations[name] = args[0] if args else kwargs["hidden_states"]

    return hook


def _shape_hook(shape: list[torch.Size]) -> PreHook:
    def hook(_module: object, args: Args, kwargs: KwArgs) -> None:
        shape[:] = [(args[0] if args else kwargs["hidden_states"]).shape[:-1]]

    return hook


def _output_hook(activations: dict[str, torch.Tensor], name: str, shape: list[torch.Size]) -> Hook:
    def hook(_module: object, _args: object, result: ModuleOutput) -> None:
        output: ModuleOutput = getattr(result, "last_hidden_state", result)
        states = output[0] if isinstance(output, tuple) else output
        activations[name] = states.reshape(*shape[0], -1)  # some families flatten rows and positions inside a block

    return hook
