"""transformers' `generate` without the settings that a model's folder brings along.

A folder's `generation_config.json` may hold penalties, beams, filters, forced and suppressed tokens, or helpers such as
prompt lookup. transformers then chooses other tokens than the most likely ones at temperature 0, and draws from another
distribution than the model's at temperature 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nosce.models.logits import max_relative_error, relative_tolerance

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel

#: The settings that say where a reply begins and ends; the only ones that are kept of a folder's.
KEPT_SETTINGS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
PROBE_NEW_TOKENS = 3


def neutral_generation_config(model: PreTrainedModel, **settings: object) -> GenerationConfig:
    """A configuration of `generate` in which everything is off but what is asked for.

    `generate` fills what a configuration leaves open from `model.generation_config`, so that must be neutral as well.

    Args:
        model: The model, whose begin, end and padding tokens are kept.
        settings: What is asked for, by the names of transformers.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    kept = {name: getattr(own, name) for name in KEPT_SETTINGS}  # a configuration of transformers
    if model.config.is_encoder_decoder and kept["decoder_start_token_id"] is None:
        kept["decoder_start_token_id"] = model.config.decoder_start_token_id
    off = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}
    if settings.get("do_sample"):  # transformers warns of filters of samples where it draws none
        off |= {"top_k": 0, "top_p": 1.0}
    return GenerationConfig(**{**kept, **off, **settings})


@torch.no_grad()
def padding_is_harmless(model: PreTrainedModel) -> bool:
    """Does `generate` give a prompt that is padded on the left the logits that the prompt gets alone?

    Recurrent models and models with learned positions may not. A short and a long prompt are tried, alone and together.
    """
    vocab_size = model.get_input_embeddings().num_embeddings
    rows = [[(3 + 5 * n) % vocab_size for n in range(length)] for length in (9, 2)]
    padded, mask = [rows[0], [0] * 7 + rows[1]], [[1] * 9, [0] * 7 + [1] * 2]
    try:
        together = _probe_logits(model, padded, mask)
        alone = torch.cat([_probe_logits(model, [row], [[1] * len(row)]) for row in rows])
    except Exception:  # whatever a family's code does not expect: every prompt is read alone
        return False
    return max_relative_error(together, alone) <= relative_tolerance(model)


def _probe_logits(model: PreTrainedModel, tokens: list[list[int]], mask: list[list[int]]) -> torch.Tensor:
    """The logits of the first generated tokens, without an end. Shape: (B, `PROBE_NEW_TOKENS`, V)."""
    options = neutral_generation_config(
        model,
        max_new_tokens=PROBE_NEW_TOKENS,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    inputs, attended = (torch.tensor(each, device=model.device) for each in (tokens, mask))
    return torch.stack(model.generate(inputs, attention_mask=attended, generation_config=options).logits, 1)
