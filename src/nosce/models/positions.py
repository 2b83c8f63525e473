"""How many positions a model reads, and up to which of them a text's likelihood belongs to the text alone.

Rotary positions of the types "dynamic" (NTK scaling) and "longrope" change every frequency of a forward pass once its
longest row exceeds the length that the model was trained on. Beyond that length, a token's logits depend on later
tokens and on the other texts of the batch. Sparse attention that looks at the best `index_topk` positions breaks ties
by the width of the batch once there are more positions than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nosce.errors import SpecError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def max_positions_of(model: PreTrainedModel) -> int | None:
    """How many positions a model reads; None where its configuration sets no limit."""
    return getattr(model.config, "max_position_embeddings", None)  # a configuration of transformers; T5 has no limit


def max_stable_positions(model: PreTrainedModel) -> int | None:
    """The longest text whose logits do not depend on the longest text of its batch; None: no limit."""
    config = model.config.get_text_config(decoder=True)
    sparse = getattr(config, "index_topk", None)  # of DeepSeek V3.2 and its kin
    limits = [] if sparse is None else [int(sparse)]
    for rotary in _rotary_parameters(config):
        if rotary["rope_type"] == "longrope":
            limits.append(int(rotary.get("original_max_position_embeddings") or config.max_position_embeddings))
        elif "dynamic" in rotary["rope_type"]:
            limits.append(int(config.max_position_embeddings))
    return min(limits, default=None)


def check_positions(model: PreTrainedModel, longest: int) -> None:
    """Refuse a text that is longer than `max_stable_positions`.

    Args:
        model: The model that reads the text.
        longest: Tokens of the longest text.

    Raises:
        SpecError: The text is too long.
    """
    limit = max_stable_positions(model)
    if limit is not None and longest > limit:
        raise SpecError(
            f"a text of {longest} tokens was given to a {model.config.model_type} model whose logits depend on the "
            f"longest text of a batch beyond {limit} tokens; shorten the texts to {limit} tokens."
        )


def _rotary_parameters(config: Any) -> Iterator[Mapping[str, Any]]:  # a configuration of transformers
    """The rotary parameters of a model, or of each kind of its layers."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for each in (parameters, *(part for part in parameters.values() if isinstance(part, Mapping))):
        if each.get("rope_type"):
            yield each
