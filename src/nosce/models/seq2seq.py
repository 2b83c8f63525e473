"""Many texts through an encoder-decoder: what is given to the encoder, what is to be learnt to the decoder.

A text comes as decoders read it, an opening end token and then all but its last token; its first `given` tokens are
what a prompt or a title is elsewhere. The hidden states come back at the places of the tokens they predict, so that
losses and read-outs need not know which kind of model spoke. Letters: N tokens, S texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def hidden_states(model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, given: np.ndarray) -> torch.Tensor:
    """The decoder's last hidden states, scaled as its head wants them; zeros where tokens are given. Shape: (N, width).

    Args:
        tokens: Every text behind an end token and without its last token.
        lengths: Of the texts, (S,).
        given: How many tokens of each are the encoder's, (S,).

    Raises:
        DataError: A text gives the encoder nothing, or is all given.
    """
    if not (given > 0).all() or not (given < lengths).all():
        raise DataError(
            "an encoder-decoder was given a text without a part to read or without a part to write; let the world's "
            "documents say what is given (Document.given)."
        )
    starts = np.cumsum(lengths) - lengths
    read, seen = _rows(tokens, starts + 1, given)
    written, there = _rows(tokens, starts + given, lengths - given)
    written[:, 0] = model.config.decoder_start_token_id
    on = model.device
    mask = torch.from_numpy(seen).to(on)
    memory = model.get_encoder()(input_ids=torch.from_numpy(read).to(on), attention_mask=mask).last_hidden_state
    found = model.get_decoder()(
        input_ids=torch.from_numpy(written).to(on),
        attention_mask=torch.from_numpy(there).to(on),
        encoder_hidden_states=memory,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    if getattr(model.config, "scale_decoder_outputs", False):
        found = found * model.config.d_model**-0.5
    places = np.concatenate([np.arange(s + g, s + n) for s, g, n in zip(starts, given, lengths, strict=True)])
    whole: torch.Tensor = found.new_zeros(len(tokens), found.shape[-1])
    return whole.index_copy(0, torch.from_numpy(places).to(on), found[torch.from_numpy(there).to(on).bool()])


def _rows(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretches as rows padded behind, and where tokens are. Shapes: (S, longest), int64."""
    within = np.arange(int(lengths.max()))
    there = within < lengths[:, None]
    places = np.minimum(starts[:, None] + within, len(tokens) - 1)
    return np.where(there, tokens[places], 0), there.astype(np.int64)
