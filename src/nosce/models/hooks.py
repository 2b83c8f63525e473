"""Named places inside a model whose activations can be read, by one vocabulary for all families.

    residual.0      what the first block is given: embeddings, with positions where a family adds them
    residual.<i>    the residual stream behind block i, counted from 1
    final           behind the last norm, what the head reads
    attention.<i>   what block i's attention adds to the stream
    mlp.<i>         what block i's multilayer perceptron adds

`attention` and `mlp` are there where we know a family's names for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nosce.errors import SpecError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What families call a block's attention and its perceptron; the last matrix of the latter where it has no module.
ATTENTION_MODULES = ("attention", "attn", "self_attn")
MLP_MODULES = ("mlp", "fc2")


def activation_sites(model: PreTrainedModel) -> dict[str, tuple[torch.nn.Module, bool]]:
    """Every site's name -> the module it is read at, and whether at its input instead of its output.

    Raises:
        SpecError: The model's blocks are not found.
    """
    block_list = transformer_blocks(model)
    modules: dict[str, tuple[torch.nn.Module, bool]] = {"residual.0": (block_list[0], True)}
    for layer, block in enumerate(block_list, 1):
        modules[f"residual.{layer}"] = (block, False)
        for name, known in (("attention", ATTENTION_MODULES), ("mlp", MLP_MODULES)):
            if (inner := next((getattr(block, k) for k in known if hasattr(block, k)), None)) is not None:
                modules[f"{name}.{layer}"] = (inner, False)
    modules["final"] = (_owner(model, block_list), False)
    return modules


def layer_sites(model: PreTrainedModel) -> list[str]:
    """The sites whose mean is "the layers" of a model: embeddings, every block's output, the last behind the norm.

    Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2 (hidden states as transformers gives them).
    """
    return [*(f"residual.{number}" for number in range(len(transformer_blocks(model)))), "final"]


def transformer_blocks(model: PreTrainedModel) -> Sequence[torch.nn.Module]:
    """The blocks of a decoder, first to last.

    Raises:
        SpecError: They are not found.
    """
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    candidates = [m for m in model.base_model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if not candidates or model.config.is_encoder_decoder or not model.can_generate():
        raise SpecError(
            f"activations of a {model.config.model_type} model were asked for, but its {count} blocks in one list "
            "were not found; use a decoder-only model."
        )
    return candidates[0]  # type: ignore[return-value]


#: The matrices with which a block writes to the residual stream, by what families call them.
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
    """What a block adds to the residual stream comes out of these: zero, it adds nothing.

    Raises:
        SpecError: They are not the two that we know of any family.
    """
    projections = [module for name, module in block.named_modules() if name in OUTPUT_PROJECTIONS]
    if len(projections) != 2:
        raise SpecError(
            f"of a {type(block).__name__} we do not know with which matrices it writes; take another family."
        )
    return [parameter for module in projections for parameter in module.parameters()]


def _owner(model: PreTrainedModel, block_list: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """The module that runs the blocks and then the last norm."""
    owner: torch.nn.Module = next(m for m in model.base_model.modules() if any(c is block_list for c in m.children()))
    return owner


@contextmanager
def capture(model: PreTrainedModel, site_names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Inside the block every forward pass leaves the activations of these sites in the dictionary.

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
    model: PreTrainedModel, site: str | None, indices: tuple[np.ndarray, np.ndarray], activations: np.ndarray | None
) -> Iterator[None]:
    """Inside the block every forward pass has these activations at a site, in place of its own.

    Args:
        site: The site; None leaves the model as it is.
        indices: Rows and positions, each (N,).
        activations: (N, W).

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

    def put(hidden: torch.Tensor) -> torch.Tensor:
        changed = hidden.clone()
        changed[indices] = patch_values
        return changed

    def before(_module: object, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if given:
            return (put(given[0]), *given[1:]), named
        return given, {**named, "hidden_states": put(named["hidden_states"])}

    def after(_module: object, _given: object, result: Any) -> Any:
        if hasattr(result, "last_hidden_state"):
            result.last_hidden_state = put(result.last_hidden_state)
            return result
        return (put(result[0]), *result[1:]) if isinstance(result, tuple) else put(result)

    handle = (
        module.register_forward_pre_hook(before, with_kwargs=True) if at_input else module.register_forward_hook(after)
    )
    try:
        yield
    finally:
        handle.remove()


def _input_hook(activations: dict[str, torch.Tensor], name: str) -> Any:
    def hook(_module: object, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        activations[name] = given[0] if given else named["hidden_states"]

    return hook


def _shape_hook(shape: list[torch.Size]) -> Any:
    def hook(_module: object, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        shape[:] = [(given[0] if given else named["hidden_states"]).shape[:-1]]

    return hook


def _output_hook(activations: dict[str, torch.Tensor], name: str, shape: list[torch.Size]) -> Any:
    def hook(_module: object, _given: object, result: Any) -> None:
        output = getattr(result, "last_hidden_state", result)
        states = output[0] if isinstance(output, tuple) else output
        activations[name] = states.reshape(*shape[0], -1)  # some families flatten rows and positions inside a block

    return hook
