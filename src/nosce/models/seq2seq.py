"""Many texts through an encoder-decoder: what is given to the encoder, what is to be learnt to the decoder.

A text comes as decoders read it, an opening end token and then all but its last token; its first `prompt_len` tokens
are what a prompt or a title is elsewhere. The hidden states come back at the places of the tokens they predict, so
that losses and read-outs need not know which kind of model spoke. Letters: N tokens, S texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def encoder_decoder_states(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray
) -> torch.Tensor:
    """The decoder's last hidden states, scaled as its head wants them; zeros where tokens are given. Shape: (N, width).

    Args:
        tokens: Every text behind an end token and without its last token.
        lengths: Of the texts, (S,).
        prompt_len: How many tokens of each are the encoder's, (S,).

    Raises:
        DataError: A text gives the encoder nothing, or is all given.
    """
    if not (prompt_len > 0).all() or not (prompt_len < lengths).all():
        raise DataError(
            "an encoder-decoder was given a text without a part to read or without a part to write; let the world's "
            "documents say what is given (Document.prompt_chars)."
        )
    starts = np.cumsum(lengths) - lengths
    encoder_tokens, encoder_mask = _padded_rows(tokens, starts + 1, prompt_len)
    decoder_tokens, decoder_mask = _padded_rows(tokens, starts + prompt_len, lengths - prompt_len)
    decoder_tokens[:, 0] = model.config.decoder_start_token_id
    device = model.device
    mask = torch.from_numpy(encoder_mask).to(device)
    encoder_states = model.get_encoder()(
        input_ids=torch.from_numpy(encoder_tokens).to(device), attention_mask=mask
    ).last_hidden_state
    decoder_states = model.get_decoder()(
        input_ids=torch.from_numpy(decoder_tokens).to(device),
        attention_mask=torch.from_numpy(decoder_mask).to(device),
        encoder_hidden_states=encoder_states,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    if getattr(model.config, "scale_decoder_outputs", False):
        decoder_states = decoder_states * model.config.d_model**-0.5
    positions = np.concatenate([np.arange(s + g, s + n) for s, g, n in zip(starts, prompt_len, lengths, strict=True)])
    states: torch.Tensor = decoder_states.new_zeros(len(tokens), decoder_states.shape[-1])
    return states.index_copy(
        0, torch.from_numpy(positions).to(device), decoder_states[torch.from_numpy(decoder_mask).to(device).bool()]
    )


def _padded_rows(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretches as rows padded behind, and where tokens are. Shapes: (S, longest), int64."""
    within = np.arange(int(lengths.max()))
    is_token = within < lengths[:, None]
    positions = np.minimum(starts[:, None] + within, len(tokens) - 1)
    return np.where(is_token, tokens[positions], 0), is_token.astype(np.int64)
