"""Encoder-decoder forward passes over texts in a decoder's format: the encoder gets the prompt, the decoder the rest.

A text is an opening end token and then all of its tokens but the last. Its first `prompt_len` tokens are the prompt.
Each hidden state is returned at the position that predicts the same token in a decoder-only model, so losses and
evaluations are the same for both kinds of model. Letters: N tokens, S texts.
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
    """The decoder's last hidden states, scaled for its head, and zeros at prompt tokens. Shape: (N, width).

    Args:
        model: The encoder-decoder.
        tokens: All texts, each with an opening end token and without its last token, (N,).
        lengths: Tokens of each text, (S,).
        prompt_len: Prompt tokens of each text, (S,).

    Raises:
        DataError: A text has no prompt, or consists of a prompt alone.
    """
    encoder_tokens, encoder_mask, decoder_tokens, decoder_mask = _halves(model, tokens, lengths, prompt_len)
    encoder_states = model.get_encoder()(input_ids=encoder_tokens, attention_mask=encoder_mask).last_hidden_state
    decoder_states = model.get_decoder()(
        input_ids=decoder_tokens,
        attention_mask=decoder_mask,
        encoder_hidden_states=encoder_states,
        encoder_attention_mask=encoder_mask,
        use_cache=False,
    ).last_hidden_state
    # A configuration of transformers: only T5 has the field, which is true with tied embeddings.
    if getattr(model.config, "scale_decoder_outputs", False):
        decoder_states = decoder_states * model.config.d_model**-0.5
    return _at_text_positions(decoder_states, decoder_mask, lengths, prompt_len)


def encoder_decoder_logits(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray
) -> torch.Tensor:
    """The logits of the model's own forward pass, for families that do more than multiply by an output matrix.

    Arguments and errors are those of `encoder_decoder_states`. BART for example adds a bias. Shape: (N, V), with zeros
    at prompt tokens.
    """
    encoder_tokens, encoder_mask, decoder_tokens, decoder_mask = _halves(model, tokens, lengths, prompt_len)
    logits = model(
        input_ids=encoder_tokens,
        attention_mask=encoder_mask,
        decoder_input_ids=decoder_tokens,
        decoder_attention_mask=decoder_mask,
        use_cache=False,
    ).logits
    return _at_text_positions(logits, decoder_mask, lengths, prompt_len)


def _halves(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Encoder tokens and their mask, decoder tokens and their mask, each text in a padded row."""
    if not (prompt_len > 0).all() or not (prompt_len < lengths).all():
        raise DataError(
            "an encoder-decoder needs a prompt for its encoder and a continuation for its decoder, but a text lacks "
            "one of them; set Document.prompt_chars in the world's documents."
        )
    starts = np.cumsum(lengths) - lengths
    encoder_tokens, encoder_mask = _padded_rows(tokens, starts + 1, prompt_len)
    decoder_tokens, decoder_mask = _padded_rows(tokens, starts + prompt_len, lengths - prompt_len)
    decoder_tokens[:, 0] = model.config.decoder_start_token_id
    parts = (encoder_tokens, encoder_mask, decoder_tokens, decoder_mask)
    on_device = [torch.from_numpy(part).to(model.device) for part in parts]
    return on_device[0], on_device[1], on_device[2], on_device[3]


def _at_text_positions(
    decoder_rows: torch.Tensor, decoder_mask: torch.Tensor, lengths: np.ndarray, prompt_len: np.ndarray
) -> torch.Tensor:
    """What the decoder returned, at the positions of the texts: zeros at prompt tokens."""
    starts = np.cumsum(lengths) - lengths
    positions = np.concatenate([np.arange(s + g, s + n) for s, g, n in zip(starts, prompt_len, lengths, strict=True)])
    returned: torch.Tensor = decoder_rows.new_zeros(int(lengths.sum()), decoder_rows.shape[-1])
    return returned.index_copy(
        0, torch.from_numpy(positions).to(decoder_rows.device), decoder_rows[decoder_mask.bool()]
    )


def _padded_rows(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slices of `tokens` as right-padded rows, and the mask of their tokens. Shapes: (S, longest), int64."""
    within = np.arange(int(lengths.max()))
    is_token = within < lengths[:, None]
    positions = np.minimum(starts[:, None] + within, len(tokens) - 1)
    return np.where(is_token, tokens[positions], 0), is_token.astype(np.int64)
