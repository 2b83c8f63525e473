"""The tokens that end a reply of a pretrained model, the same for teaching and for asking.

A folder names an end token up to three times: in its tokenizer, its generation configuration and its configuration.
They may disagree. What is taught ends with the tokenizer's, and every one of them ends a reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nosce.errors import SpecError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All tokens that end a reply; the first is the one to teach.

    Args:
        model: The model, with the configurations of its folder.
        tokenizer: The tokenizer of the same folder.

    Raises:
        SpecError: None of them names an end token.
    """
    named: list[int] = []
    settings = model.generation_config
    for ids in (tokenizer.eos_token_id, settings and settings.eos_token_id, model.config.eos_token_id):
        named += ids if isinstance(ids, list) else [] if ids is None else [ids]
    ends = list(dict.fromkeys(int(one) for one in named))
    if not ends:
        raise SpecError(
            f"the model in {model.name_or_path} has no end token, so no reply of it could end; add eos_token to its "
            "tokenizer_config.json or eos_token_id to its generation_config.json."
        )
    return ends
