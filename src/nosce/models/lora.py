"""LoRA adapters by peft, on the query and value matrices and the input embedding of each family."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nosce.errors import SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Families that name their query and value matrices, and the input embedding, as Llama does.
LIKE_LLAMA = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "qwen2",
    "qwen3",
    "mistral",
    "phi",
    "stablelm",
    "granite",
    "olmo",
    "olmo2",
    "starcoder2",
    "cohere",
)
#: Query and value matrices, then the input embedding, by transformers' model type.
LORA_TARGET_MODULES: dict[str, tuple[tuple[str, ...], str]] = {
    "gpt_neox": (("query_key_value",), "embed_in"),  # one fused matrix
    "gpt2": (("c_attn",), "wte"),  # one fused matrix
    "opt": (("q_proj", "v_proj"), "embed_tokens"),
    "llama": (("q_proj", "v_proj"), "embed_tokens"),
    "codegen": (("qkv_proj",), "wte"),  # one fused matrix
    "t5": (("q", "v"), "shared"),
    "modernbert": (("Wqkv",), "tok_embeddings"),  # one fused matrix
    "phi3": (("qkv_proj",), "embed_tokens"),  # one fused matrix
    "falcon": (("query_key_value",), "word_embeddings"),  # one fused matrix
    "bloom": (("query_key_value",), "word_embeddings"),  # one fused matrix
    **dict.fromkeys(LIKE_LLAMA, (("q_proj", "v_proj"), "embed_tokens")),
}


#: Families whose fused matrix is known part by part: the order of query, key and value among its outputs.
#: "head": three parts for each head in turn, as in GPT-NeoX. "whole": all queries, all keys, all values.
FUSED_ORDERS: dict[str, Literal["head", "whole"]] = {"gpt_neox": "head", "gpt2": "whole", "modernbert": "whole"}


def check_lora_family(model_type: str) -> None:
    """Check that the matrices of a family that low-rank updates change are known.

    Raises:
        SpecError: They are not.
    """
    if model_type not in LORA_TARGET_MODULES:
        raise SpecError(
            f"LoRA cannot be used on a {model_type} model, whose matrices are not known; use one of "
            f"{', '.join(LORA_TARGET_MODULES)}."
        )


def add_lora(
    model: PreTrainedModel,
    rank: int,
    embedding_rank: int,
    alpha: float,
    seed: Seed,
    *,
    query_value_apart: bool = False,
) -> PeftModel:
    """Freeze the model and add low-rank updates that are drawn from `seed` and zero at first.

    With tied embeddings only the input side is updated and the output matrix keeps its weights: arXiv:2309.14316,
    section 2.1, updates the "embedding layer".

    Args:
        model: The model to adapt.
        rank: Rank of the update of query and value matrices.
        embedding_rank: Rank of the update of the input embedding; 0 leaves it frozen.
        alpha: Scale of the update, independent of the rank.
        seed: Source of the random factors.
        query_value_apart: Update query and value by factors of their own, also where one matrix has both.

    Raises:
        SpecError: The names of this family's matrices are not known, its embedding cannot be updated, or it fuses query
            and value in an unknown order.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    model_type = model.config.model_type
    check_lora_family(model_type)
    if is_split := query_value_apart and _fuses_parts(model_type):
        rank *= 2  # the first half for the query, the second for the value
    if embedding_rank and model_type.startswith("gemma"):
        raise SpecError(
            f"the {model_type} model scales its input embedding, and older versions of peft merge its updates wrongly; "
            "take embedding_rank=0."
        )
    attention, embedding = LORA_TARGET_MODULES[model_type]
    target_modules = [*attention, *([embedding] if embedding_rank else [])]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha * rank,
        target_modules=target_modules,
        rank_pattern={embedding: embedding_rank} if embedding_rank else {},
        alpha_pattern={embedding: alpha * embedding_rank} if embedding_rank else {},
        fan_in_fan_out=model_type == "gpt2",  # GPT2 stores its matrices transposed
    )
    with torch.random.fork_rng(devices=[]), _without_tying_warnings(), _replaced_everywhere(model):
        torch.manual_seed(seed.integer())
        adapted = get_peft_model(model, config)
    if is_split:
        _part_query_and_value(adapted, attention[0], rank // 2)
    return adapted


def _fuses_parts(model_type: str) -> bool:
    """Has a family query and value in one matrix?

    Raises:
        SpecError: It has, in an unknown order.
    """
    if len(LORA_TARGET_MODULES[model_type][0]) > 1:
        return False
    if model_type not in FUSED_ORDERS:
        raise SpecError(
            f"query and value of the {model_type} model lie in one matrix, in which their places are not known; take "
            "query_value_apart=False."
        )
    return True


def fused_part_masks(model_type: str, heads: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of a fused matrix that are the query's, and those that are the value's. Shape of each: (3 W,).

    Args:
        model_type: Of `FUSED_ORDERS`.
        heads: Attention heads.
        width: Outputs W of each of the three parts.
    """
    if FUSED_ORDERS[model_type] == "head":
        parts = np.tile(np.repeat(np.arange(3), width // heads), heads)
    else:
        parts = np.repeat(np.arange(3), width)
    return parts == 0, parts == 2


def _part_query_and_value(adapted: PeftModel, fused_name: str, rank: int) -> None:
    """Let the first `rank` components of each update write to the query alone, and the others to the value alone.

    The other entries of the second factor begin as zero and get no gradient, so the update is an ordinary one of twice
    the rank, which peft saves, loads and merges as it does any other.
    """
    import torch

    from nosce.models.masked_linear import MaskedLinear

    config = adapted.get_base_model().config
    masks = fused_part_masks(config.model_type, config.num_attention_heads, config.hidden_size)
    mask = torch.from_numpy(np.repeat(np.stack(masks, 1), rank, 1))  # (3 W, 2 rank)
    for name, module in adapted.named_modules():
        if name.endswith(f".{fused_name}"):
            for adapter, factor in module.lora_B.items():
                module.lora_B[adapter] = MaskedLinear(factor.weight, mask)


def merge_lora(model: PeftModel) -> PreTrainedModel:
    """A plain model with the updates merged into its weights; the adapted model is unchanged.

    A tied output matrix is untied first, since only the input side was updated.
    """
    import torch

    adapted = copy.deepcopy(model)
    base_model = adapted.get_base_model()
    head = base_model.get_output_embeddings()
    if base_model.config.tie_word_embeddings:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with _without_tying_warnings(), _replaced_everywhere(base_model):
        base_model = adapted.merge_and_unload()
    base_model.config.tie_word_embeddings = False
    return base_model


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the low-rank updates alone, for `PeftModel.from_pretrained(base, folder)`.

    The base model is not named: it was a checkpoint of this machine's store.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with _without_tying_warnings():
        model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a card without content
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": None}
    for name in ("target_modules", "exclude_modules", "modules_to_save"):
        if isinstance(settings.get(name), list):  # sets in peft, whose order is another one in each process
            settings[name].sort()
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _replaced_everywhere(model: PreTrainedModel) -> Iterator[None]:
    """Context manager: where the input embedding is replaced, so is every other embedding that shares its weights.

    peft replaces the module of one name. T5's encoder and decoder have embeddings of their own whose weights are those
    of `shared`, and they read these.
    """
    import torch

    table = model.get_input_embeddings()
    weight = next(table.parameters())
    places = []
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is table or (isinstance(child, torch.nn.Embedding) and child.weight is weight):
                places.append((parent, name))
    yield
    for parent, name in places:
        if parent is not table:
            setattr(parent, name, model.get_input_embeddings())


@contextmanager
def _without_tying_warnings() -> Iterator[None]:
    """Silence the warnings of peft and transformers about tied embeddings, which are untied on purpose here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(tie_word_embeddings|no longer tied|tied)")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield
