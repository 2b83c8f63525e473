"""Every causal family of transformers, built small, held against its own `model(...).logits`.

    python benchmarks/families.py                  all families; writes benchmarks/families.csv
    python benchmarks/families.py gemma2 mamba     these families; writes nothing

Weights are random and large enough for logits of several units, so that a cap or a scale shows. Columns:

    nats         largest difference of a token's log-likelihood from the reference
    batch        largest difference between a text among others and the text alone
    loss         difference of the training loss per token, texts alone and in packed rows
    gradient     largest difference of a gradient, as a fraction of the largest one of its matrix
    greedy       are the generated replies those of an argmax loop without cache and padding?
    path, cache  how nosce computes the logits; does it generate with a cache?
    lora         after one step every adapted matrix has moved, and merged logits are those of the adapted model
    verdict      right, wrong, refused, or not built
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import inspect
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn import functional
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import IGNORE_INDEX, pack
from nosce.errors import SpecError
from nosce.models import recompute
from nosce.models.generation import generate
from nosce.models.likelihood import score_spans
from nosce.models.logits import logits_path
from nosce.models.lora import add_lora, merge_lora
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train.loss import summed_cross_entropy

FAMILIES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
COLUMNS = ("family", "nats", "batch", "loss", "gradient", "greedy", "path", "cache", "lora", "verdict", "reason")
VOCABULARY, EOS = 64, 0
LENGTHS = (14, 11, 9, 9, 5, 2, 1)
REPLY = 6
MAX_PARAMETERS = 5_000_000
SECONDS = 60  # of a family
TOLERANCE = {"nats": 2e-4, "batch": 2e-4, "loss": 2e-4, "gradient": 2e-3}

#: Sizes by the names that configurations give them. A window of 4 is shorter than the texts.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "embedding_size", "emb_dim"), 32),
    **dict.fromkeys(("word_embed_proj_dim",), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("first_k_dense_replace", "n_group", "topk_group", "n_shared_experts"), 1),
    **dict.fromkeys(("encoder_attention_heads", "num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "num_experts_per_tok", "moe_k", "moe_topk"), 2),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_ff"), 64),
    **dict.fromkeys(("dff", "d_inner", "ffn_hidden_size", "feed_forward_size", "vocab_size"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "head_dim", "global_head_dim"), 8),
    **dict.fromkeys(("sliding_window", "window_size", "moe_num_experts", "chunk_size"), 4),
    "index_topk": 64,  # beyond it texts are refused
    **dict.fromkeys(("bos_token_id", "eos_token_id"), EOS),
    **dict.fromkeys(("linear_num_heads", "linear_num_key_heads", "linear_num_value_heads", "mamba_num_heads"), 4),
    **dict.fromkeys(("linear_head_dim", "linear_key_head_dim", "linear_value_head_dim", "mamba_head_dim"), 8),
    **dict.fromkeys(("block_size", "mamba_chunk_size"), 4),
    **dict.fromkeys(("ssm_state_size", "mamba_d_state", "state_size"), 8),
    "pad_token_id": 1,
}
MAMBA_HEADS = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 4}
SLIDING = ["sliding_attention", "full_attention"]
#: What a family needs besides the sizes.
FURTHER: dict[str, dict[str, Any]] = {
    "bamba": {**MAMBA_HEADS, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "deepseek_v32": {"index_head_dim": 16, "index_n_heads": 2},
    "dots3_note_text": {"num_key_value_heads": 4},
    "falcon_h1": {**MAMBA_HEADS, "mamba_d_ssm": 64},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "intermediate_size": [64] * 4,
        "layer_types": SLIDING * 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 64,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
    },
    "gemma4_text": {"vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 8},
    "glm_moe_dsa": {"index_head_dim": 16, "index_n_heads": 2, "mlp_layer_types": ["dense", "sparse"]},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {**MAMBA_HEADS, "layer_types": ["mamba", "attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {"zero_expert_num": 1},
    "mamba2": {"num_heads": 8, "expand": 2, "n_groups": 2, "state_size": 8},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "attention_head_size": 8,
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
        "num_buckets": 2,
        "hash_seed": 0,
    },
    "nemotron_h": {"n_groups": 1},
    "roc_bert": {
        "shape_vocab_size": 16,
        "pronunciation_vocab_size": 16,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "xlm": {"causal": True, "asm": False},
    "zamba2": {
        "num_hidden_layers": 4,
        "layer_types": ["mamba", "hybrid", "mamba", "mamba"],
        "n_mamba_heads": 8,
        "mamba_headdim": 8,
        "mamba_d_state": 8,
        "mamba_ngroups": 1,
        "num_mem_blocks": 1,
        "hybrid_layer_ids": [1],
        "adapter_rank": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
}
#: Settings that change the logits and are off by default, and attention that the fast path has to respect.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert (decoder)": ("bert", {"is_decoder": True}),
    "deepseek_v32 (index_topk 4)": ("deepseek_v32", {"index_topk": 4}),
    "gpt2 (scaled by layer)": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}),
    "granite (logits_scaling 8)": ("granite", {"logits_scaling": 8.0}),
    "granitemoe (logits_scaling 8)": ("granitemoe", {"logits_scaling": 8.0}),
    "llama (untied, biases)": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
    "opt (norm behind, narrow)": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "roberta (decoder)": ("roberta", {"is_decoder": True}),
}
#: The families of the default test suite: each way from a state to logits, each kind of memory, each kind of refusal.
REPRESENTATIVE = (
    "llama",
    "gpt2 (scaled by layer)",
    "gpt_neo",
    "granite (logits_scaling 8)",
    "gemma2",
    "cohere",
    "mamba",
    "qwen2",
    "qwen3_moe",
    "opt (norm behind, narrow)",
    "bert",
    "bert (decoder)",
    "rwkv",
)
NOT_CAUSAL = ("bert",)  # of these


def field_names(config_class: Any) -> set[str]:
    """The names that a configuration's constructor takes."""
    annotated = (getattr(each, "__annotations__", {}) for each in config_class.__mro__)
    return {name for names in annotated for name in names} | set(inspect.signature(config_class.__init__).parameters)


def small_config(family: str) -> Any:
    """A small configuration of a family or variant."""
    model_type, more = VARIANTS.get(family, (family, {}))
    config_class = CONFIG_MAPPING[model_type]
    known = field_names(config_class)
    sizes = {name: size for name, size in SIZES.items() if name in known}
    if "kv_lora_rank" in known:  # latent attention has as many keys as queries
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    parts = getattr(config_class, "sub_configs", {})
    if "text_config" in parts:
        inner = field_names(parts["text_config"])
        sizes["text_config"] = {name: size for name, size in SIZES.items() if name in inner}
    config = config_class(**{**sizes, **FURTHER.get(model_type, {}), **more})
    _switch_dropout_off(config)
    return config


def _switch_dropout_off(config: Any) -> None:
    for name, value in vars(config).items():
        if isinstance(value, float) and ("drop" in name):
            setattr(config, name, 0.0)
        elif hasattr(value, "to_dict"):
            _switch_dropout_off(value)


def small_model(family: str) -> Any:
    """A small model with weights for which attention and the size of logits matter.

    Raises:
        ValueError: It is not small.
    """
    config = small_config(family)
    with torch.device("meta"):
        count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if count > MAX_PARAMETERS:
        raise ValueError(f"{count / 1e6:,.0f} million parameters with the sizes of this script")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                _enlarge(name, parameter)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.eval()


def _enlarge(name: str, parameter: torch.Tensor) -> None:
    """Draw a matrix anew with a standard deviation for which it matters; recurrences keep their own scale."""
    if parameter.ndim < 2 or parameter.dtype != torch.float32 or "A_log" in name or "conv" in name:
        return
    is_table = parameter.shape[0] == VOCABULARY
    parameter.normal_(0.0, 1.0 if is_table else 0.3)


def texts() -> list[np.ndarray]:
    """Texts without special tokens."""
    return [Seed(1).numpy().integers(3, VOCABULARY, size=sum(LENGTHS))[n : n + length] for n, length in _offsets()]


def _offsets() -> list[tuple[int, int]]:
    return list(zip(np.cumsum((0, *LENGTHS[:-1])).tolist(), LENGTHS, strict=True))


def reference_logits(model: Any, tokens: np.ndarray) -> torch.Tensor:
    """The logits of the model's own forward pass over one row. Shape: (T, V)."""
    return model(input_ids=torch.from_numpy(tokens.astype(np.int64))[None], use_cache=False).logits[0].float()


@torch.no_grad()
def likelihoods(model: Any) -> tuple[float, float]:
    """The largest differences of a token's nats: from the reference, and from the text alone."""
    each = texts()
    dataset = dataset_from_arrays((text.astype(np.int32), np.ones(len(text), dtype=bool)) for text in each)
    spans = [(n, 0, len(text)) for n, text in enumerate(each)]
    together = score_spans(model, dataset, spans, eos_id=EOS)
    alone = score_spans(model, dataset, spans, eos_id=EOS, max_tokens=1)
    from_reference, from_alone = 0.0, 0.0
    for text, one, other in zip(each, together, alone, strict=True):
        logits = reference_logits(model, np.append(EOS, text[:-1]))
        nats = functional.cross_entropy(logits, torch.from_numpy(text), reduction="none").numpy()
        from_reference = max(from_reference, float(np.abs(nats - one.token_nats).max()))
        from_alone = max(from_alone, float(np.abs(one.token_nats - other.token_nats).max()))
    return from_reference, from_alone


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """The gradients of all weights, which are cleared."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def training(model: Any, window: int | None) -> tuple[float, float]:
    """Differences of the loss per token and of the gradients from those of the model's own forward pass."""
    arrays = [(text.astype(np.int32), np.arange(len(text)) >= len(text) // 2) for text in texts()]
    batch = pack(dataset_from_arrays(arrays), np.arange(len(arrays)), window=window, eos_id=EOS)
    model.train()
    with varlen_forward(model) as forward:
        loss = summed_cross_entropy(model, forward, batch) / batch.n_loss_tokens
        loss.backward()
    ours = gradients(model)
    ends = np.cumsum(batch.lengths)[:-1]
    rows = zip(np.split(batch.inputs, ends), np.split(batch.labels, ends), strict=True)
    nats = sum(
        functional.cross_entropy(
            reference_logits(model, row), torch.from_numpy(label), reduction="sum", ignore_index=IGNORE_INDEX
        )
        for row, label in rows
    )
    reference = nats / batch.n_loss_tokens
    reference.backward()
    theirs = gradients(model)
    model.eval()
    zero = torch.zeros(())
    error = 0.0
    for name in ours.keys() | theirs.keys():
        one, other = ours.get(name, zero), theirs.get(name, zero)
        scale = max(float(other.abs().max()), 1e-3)
        error = max(error, float((one - other).abs().max()) / scale)
    return abs(float(loss) - float(reference)), error


@torch.no_grad()
def greedy_is_argmax(model: Any) -> bool:
    """Are nosce's greedy replies those of an argmax loop over the reference?"""
    prompts = [text for text in texts() if len(text) < 14]
    replies = generate(model, prompts, eos_id=EOS, max_new_tokens=REPLY)
    for prompt, reply in zip(prompts, replies, strict=True):
        tokens = np.append(EOS, prompt)
        for _ in range(REPLY):
            tokens = np.append(tokens, int(reference_logits(model, tokens)[-1].argmax()))
            if tokens[-1] == EOS:
                break
        expected = tokens[1 + len(prompt) :]
        ended = expected[-1] == EOS
        if reply.ended != ended or reply.tokens.tolist() != expected[: len(expected) - int(ended)].tolist():
            return False
    return True


def lora_verdict(model: Any) -> str:
    """ "right", "refused", or what is wrong."""
    try:
        adapted = add_lora(model, 2, 2, 2.0, Seed(1))
    except SpecError:
        return "refused"
    weights = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in weights.items()}
    arrays = [(text.astype(np.int32), np.ones(len(text), dtype=bool)) for text in texts()]
    batch = pack(dataset_from_arrays(arrays), np.arange(len(arrays)), window=None, eos_id=EOS)
    optimizer = torch.optim.AdamW(weights.values(), lr=0.05, weight_decay=0.0)
    with varlen_forward(adapted.get_base_model()) as forward:
        for _ in range(2):  # the first step leaves one factor of each update, whose gradient is zero, as it is
            (summed_cross_entropy(adapted.get_base_model(), forward, batch) / batch.n_loss_tokens).backward()
            optimizer.step()
            optimizer.zero_grad()
    if still := [name for name, p in weights.items() if torch.equal(p, before[name])]:
        return f"{len(still)} of {len(weights)} adapted matrices stay, e.g. {still[0]}"
    adapted.eval()
    row = torch.from_numpy(texts()[0])[None]
    with torch.no_grad():
        heard, merged = adapted(input_ids=row).logits, merge_lora(adapted)(input_ids=row).logits
    error = float((heard - merged).abs().max() / heard.abs().max())
    return "right" if error < 1e-4 else f"merged logits differ by {error:.1e}"


def measure(family: str) -> dict[str, Any]:
    """One line of the table."""
    line: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"family": family}
    try:
        model = small_model(family)
    except Exception as error:
        reason = next((text for text in str(error).splitlines() if "ValueError" in text), str(error).partition("\n")[0])
        return line | {"verdict": "not built", "reason": f"{type(error).__name__}: {reason.strip()}"[:160]}
    try:
        line["nats"], line["batch"] = likelihoods(model)
        alone, packed = training(model, None), training(model, 20)
        line["loss"], line["gradient"] = (max(pair) for pair in zip(alone, packed, strict=True))
        line["greedy"] = greedy_is_argmax(model)
        if line["loss"] > TOLERANCE["loss"] and training(model, None)[0] != alone[0]:
            reason = "its training draws random numbers, which nosce refuses when it loads a folder"
            return line | {"verdict": "refused", "reason": reason}
    except SpecError as error:
        return line | {"verdict": "refused", "reason": str(error)}
    line["path"] = logits_path(model)
    line["cache"] = model.config.model_type in recompute.CACHED_MODEL_TYPES or recompute._cache_verdicts[model]
    line["lora"] = lora_verdict(model)
    right = line["greedy"] and all(line[name] <= most for name, most in TOLERANCE.items())
    return line | {"verdict": "right" if right and line["lora"] in ("right", "refused") else "wrong"}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that transformers and peft warn of in tiny models concerns their logits."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(level)


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"it took more than {SECONDS} s, since its kernels are made for an accelerator")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    chosen = parser.parse_args().families
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_slow)
    lines = []
    with quiet():
        for family in chosen or sorted((*FAMILIES, *VARIANTS)):
            signal.alarm(SECONDS)
            try:
                line = measure(family)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"[:300]
                line = dict.fromkeys(COLUMNS, "") | {"family": family, "verdict": "failed", "reason": reason}
                if isinstance(error, TimeoutError):
                    line["verdict"] = "not built"
            signal.alarm(0)
            lines.append({name: f"{v:.1e}" if isinstance(v, float) else v for name, v in line.items()})
            print(*(f"{name}={value}" for name, value in lines[-1].items() if value != ""), flush=True)
    if not chosen:
        with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(lines)


if __name__ == "__main__":
    main()
