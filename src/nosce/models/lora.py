"""LoRA adapters by peft, on the matrices that each family calls by its own names."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nosce.errors import SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Query and value matrices, then the input embedding, by transformers' model type.
TARGETS: dict[str, tuple[tuple[str, ...], str]] = {
    "gpt_neox": (("query_key_value",), "embed_in"),  # one fused matrix
    "gpt2": (("c_attn",), "wte"),  # one fused matrix
    "opt": (("q_proj", "v_proj"), "embed_tokens"),
    "llama": (("q_proj", "v_proj"), "embed_tokens"),
    "codegen": (("qkv_proj",), "wte"),  # one fused matrix
    "t5": (("q", "v"), "shared"),
    "modernbert": (("Wqkv",), "tok_embeddings"),  # one fused matrix
}


def add(model: PreTrainedModel, rank: int, embedding_rank: int, alpha: float, seed: Seed) -> PeftModel:
    """The model frozen, with fresh low-rank updates drawn from `seed` that are zero at first.

    With tied embeddings only the input side is updated ("embedding layer", arXiv:2309.14316, section
    2.1; the sheet's pitfall 7): the output matrix keeps its weights.

    Raises:
        SpecError: We do not know this family's matrices.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    kind = model.config.model_type
    if kind not in TARGETS:
        raise SpecError(
            f"LoRA was asked for on a {kind} model, whose matrices we cannot name; use one of {', '.join(TARGETS)}."
        )
    attention, embedding = TARGETS[kind]
    names = [*attention, *([embedding] if embedding_rank else [])]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha * rank,
        target_modules=names,
        rank_pattern={embedding: embedding_rank} if embedding_rank else {},
        alpha_pattern={embedding: alpha * embedding_rank} if embedding_rank else {},
        fan_in_fan_out=kind == "gpt2",  # its matrices are stored transposed
    )
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed.integer())
        return get_peft_model(model, config)


def merged(model: PeftModel) -> PreTrainedModel:
    """A plain model with the updates added in; the adapted one is left as it is.

    The output matrix is untied first where it shared the embedding, since only the input side was
    updated.
    """
    import torch

    whole = copy.deepcopy(model)
    plain = whole.get_base_model()
    head = plain.get_output_embeddings()
    if plain.config.tie_word_embeddings:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with _quiet():
        plain = whole.merge_and_unload()
    plain.config.tie_word_embeddings = False
    return plain


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' warnings about tied embeddings: untying them on purpose is what we do here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(tie_word_embeddings|no longer tied|tied)")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield
