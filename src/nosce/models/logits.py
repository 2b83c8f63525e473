"""From hidden states to logits as each family computes them, and a check that a model's logits belong to a text.

Many families do more than multiply the last hidden state by the output matrix: Granite and Cohere scale the logits,
Gemma 2 caps them, BERT has another layer in front. A model's logits are what its `forward` returns. Families of
`HEAD_ONLY_MODEL_TYPES` are known to stop at the product. A model of any other family is checked once, on a few tokens:

    own      its own code turns hidden states into logits, which are then computed only where they are needed
    whole    its forward pass is run as it is, and returns the logits of all positions

Letters: N tokens, S texts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch

from nosce.errors import SpecError
from nosce.models.seq2seq import encoder_decoder_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LogitsPath = Literal["head", "own", "whole"]
#: transformers' model types whose logits are the last hidden state times the output matrix.
HEAD_ONLY_MODEL_TYPES = frozenset({"gpt_neox", "gpt2", "opt", "llama", "codegen", "modernbert", "t5"})
PROBE_LENGTHS = np.array([11, 7, 2])  # tokens of the texts on which a model is checked, longest first
_paths: WeakKeyDictionary[torch.nn.Module, LogitsPath] = WeakKeyDictionary()


@contextmanager
def eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """Context manager: the model is in evaluation mode, and afterwards in its previous mode."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def output_logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """The model's logits of states that a forward function of `nosce.models.varlen` returned, in float32.

    Args:
        model: The model.
        hidden: What the forward function returned at the wanted positions, (N, width). For a model on the path "whole"
            these are the logits already.

    Returns:
        Logits, (N, V).

    Raises:
        SpecError: See `logits_path`.
    """
    path = logits_path(model)
    if path == "head":
        logits: torch.Tensor = model.get_output_embeddings()(hidden)
    else:
        logits = _own_logits(model, hidden) if path == "own" else hidden
    return logits.float()


def padded_causal_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    """The states of texts in rows that are padded on the right; for a model on the path "whole", its logits."""
    return _padded_states(model, tokens, lengths, logits_path(model))


def logits_path(model: PreTrainedModel) -> LogitsPath:
    """How the model's logits are computed. A model of an unknown family is checked at its first use.

    Raises:
        SpecError: The model does not read a plain text from left to right, or a text's logits depend on other texts.
    """
    if model.config.model_type in HEAD_ONLY_MODEL_TYPES:
        return "head"
    if model not in _paths:
        with torch.no_grad(), eval_mode(model):
            _paths[model] = _checked_path(model)
    return _paths[model]


class _FixedStates(torch.nn.Module):
    """Stands in for a base model and returns given states; everything else is asked of the base model."""

    def __init__(self, base_model: torch.nn.Module, states: torch.Tensor) -> None:
        super().__init__()
        self.__dict__.update(original=base_model, states=states)  # not registered as a part of this module

    def forward(self, *_: object, **__: object) -> object:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        return _tolerant(BaseModelOutputWithPast)(last_hidden_state=self.states)

    def __getattr__(self, name: str) -> Any:  # as torch types it
        return getattr(self.__dict__["original"], name)


def _tolerant(output_class: Any) -> Any:  # a class of transformers, which mypy does not follow
    """The class with None for every part that it lacks, such as the state of a recurrent model."""

    class Tolerant(output_class):  # type: ignore[misc]  # mypy does not follow transformers
        def __getattr__(self, name: str) -> None:
            if name.startswith("__"):
                raise AttributeError(name)

    return Tolerant


def _own_logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """What the model's own forward pass makes of the states; its base model is replaced while that runs."""
    prefix = model.base_model_prefix
    base_model = model._modules[prefix]
    model._modules[prefix] = _FixedStates(base_model, hidden[None])
    try:
        dummy = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        logits: torch.Tensor = model(input_ids=dummy, use_cache=False).logits[0]
    finally:
        model._modules[prefix] = base_model
    return logits


def _padded_states(model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, path: LogitsPath) -> torch.Tensor:
    is_token = np.arange(int(lengths.max())) < lengths[:, None]
    inputs = np.zeros(
        is_token.shape, dtype=np.int64
    )  # no padding mask: a causal model never attends to later positions
    inputs[is_token] = tokens
    network = model if path == "whole" else model.base_model
    output = network(input_ids=torch.from_numpy(inputs).to(model.device), use_cache=False)
    states: torch.Tensor = output.logits if path == "whole" else output.last_hidden_state
    return states[torch.from_numpy(is_token).to(model.device)]


def _checked_path(model: PreTrainedModel) -> LogitsPath:
    """The path on which the probe texts get the logits of the model's own forward pass over each of them alone."""
    vocab_size = model.get_input_embeddings().num_embeddings
    if model.config.is_encoder_decoder:
        _check_encoder_decoder(model, vocab_size)
        return "whole"
    tokens = (5 + 7 * np.arange(int(PROBE_LENGTHS.sum()), dtype=np.int64)) % vocab_size
    reference = _reference_logits(model, tokens)
    _check_independence(model, tokens)
    for path in ("own", "whole"):
        try:
            states = _padded_states(model, tokens, PROBE_LENGTHS, path)
            logits = _own_logits(model, states) if path == "own" else states
        except Exception:  # whatever a family's code does not expect: the next path is tried
            continue
        if max_relative_error(logits, reference) <= relative_tolerance(model):
            return path
    raise _refusal(model, "the logits of a text in a batch are not those that it gets alone")


def _reference_logits(model: PreTrainedModel, tokens: np.ndarray) -> torch.Tensor:
    """The logits of each probe text in a forward pass of its own."""
    rows = [torch.from_numpy(row)[None].to(model.device) for row in np.split(tokens, np.cumsum(PROBE_LENGTHS)[:-1])]
    try:
        first, again = ([model(input_ids=row, use_cache=False).logits[0] for row in rows] for _ in range(2))
    except Exception as error:
        raise _refusal(model, f"it does not read plain texts of any length ({type(error).__name__})") from error
    if any(len(logits) != row.shape[1] for logits, row in zip(first, rows, strict=True)):
        raise _refusal(model, "it does not return the logits of every token")
    if max_relative_error(torch.cat(first), torch.cat(again)) > relative_tolerance(model) / 10:
        raise _refusal(model, "it gives other logits when the same text is read again")
    return torch.cat(first)


def _check_independence(model: PreTrainedModel, tokens: np.ndarray) -> None:
    """Two rows of one shape: neither a later token nor the other row may change the logits of a token.

    Both passes have the same shapes, so they round alike, and a difference means a dependence however small it is.
    """
    length = int(PROBE_LENGTHS[0])
    rows = torch.from_numpy(np.stack([tokens[:length], tokens[-length:]])).to(model.device)
    changed = rows.clone()
    changed[0, -1], changed[1] = rows[1, 0], rows[1].flip(0)
    before, after = (model(input_ids=each, use_cache=False).logits[0, :-1] for each in (rows, changed))
    if max_relative_error(before, after) > relative_tolerance(model) / 10:
        raise _refusal(model, "a token's logits depend on later tokens or on the other texts of a batch")


def _check_encoder_decoder(model: PreTrainedModel, vocab_size: int) -> None:
    """Each probe text alone, all of them in one batch, and with another last token: its logits must stay the same."""
    tokens = (5 + 7 * np.arange(int(PROBE_LENGTHS.sum()), dtype=np.int64)) % vocab_size
    changed, ends = tokens.copy(), np.cumsum(PROBE_LENGTHS) - 1
    changed[ends] = (changed[ends] + 3) % vocab_size
    prompt_len = (PROBE_LENGTHS + 1) // 2
    try:
        alone = []
        for row, length, given in zip(np.split(tokens, ends[:-1] + 1), PROBE_LENGTHS, prompt_len, strict=True):
            alone.append(encoder_decoder_logits(model, row, np.array([length]), np.array([given])))
        together, after = (encoder_decoder_logits(model, each, PROBE_LENGTHS, prompt_len) for each in (tokens, changed))
    except Exception as error:
        raise _refusal(model, f"it does not read plain prompts and replies ({type(error).__name__})") from error
    if max_relative_error(together, torch.cat(alone)) > relative_tolerance(model):
        raise _refusal(model, "the logits of a text in a batch are not those that it gets alone")
    earlier = torch.from_numpy(np.delete(np.arange(len(tokens)), ends)).to(model.device)
    if max_relative_error(after[earlier], together[earlier]) > relative_tolerance(model) / 10:
        raise _refusal(model, "a token's logits depend on later tokens")


def relative_tolerance(model: PreTrainedModel) -> float:
    """How much two computations of the same logits may differ by rounding, as a fraction of the largest logit."""
    return 1e-4 if model.dtype in (torch.float32, torch.float64) else 0.05


def max_relative_error(logits: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference, as a fraction of the largest logit; infinite where shapes differ or a logit is NaN."""
    if logits.shape != reference.shape:
        return float("inf")
    error = float((logits.float() - reference.float()).abs().max() / reference.float().abs().max().clamp(min=1e-30))
    return error if error == error else float("inf")


def _refusal(model: PreTrainedModel, reason: str) -> SpecError:
    return SpecError(
        f"a {model.config.model_type} model cannot be used, since {reason}; take a family that predicts each token "
        "from those before it, such as llama, qwen2 or gpt2."
    )
