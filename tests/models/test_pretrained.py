"""A folder's model has the weights of its files and nothing random; its wishes about loading are ignored."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from nosce.errors import SpecError
from nosce.models import architecture, pretrained
from nosce.models.architecture import Pretrained, build_model, check_pretrained, load_pretrained
from nosce.seeds import Seed

IDS = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
SIZES = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64} | IDS
GATED = SIZES | {"intermediate_size": 32, "num_key_value_heads": 2, "attention_dropout": 0.3}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0} | IDS
RANDOM_CONFIGS = {
    "gpt2": transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=64, **IDS),
    "opt": transformers.OPTConfig(**SIZES, ffn_dim=32, word_embed_proj_dim=16, dropout=0.3, layerdrop=0.5),
    "gpt_neox": transformers.GPTNeoXConfig(**SIZES, intermediate_size=32, attention_dropout=0.3, hidden_dropout=0.3),
    "llama": transformers.LlamaConfig(**GATED),
    "mixtral": transformers.MixtralConfig(**GATED, num_local_experts=2, router_jitter_noise=0.3),
    "t5": transformers.T5Config(**T5, dropout_rate=0.3),
    "modernbert": transformers.ModernBertConfig(
        **SIZES,
        intermediate_size=32,
        mlp_dropout=0.3,
        attention_dropout=0.3,
        embedding_dropout=0.3,
        cls_token_id=0,
        sep_token_id=0,
    ),
    "switch_transformers": transformers.SwitchTransformersConfig(
        **T5,
        num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1,
        num_experts=2,
        router_jitter_noise=0.3,
        dropout_rate=0.3,
    ),
    "bart": transformers.BartConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        dropout=0.3,
        attention_dropout=0.3,
        activation_dropout=0.3,
        encoder_layerdrop=0.5,
        decoder_layerdrop=0.5,
        decoder_start_token_id=0,
        **IDS,
    ),
    "falcon": transformers.FalconConfig(**SIZES, hidden_dropout=0.3, attention_dropout=0.3),
    "phi": transformers.PhiConfig(**SIZES, intermediate_size=32, resid_pdrop=0.3, embd_pdrop=0.3),
    "bloom": transformers.BloomConfig(n_layer=2, hidden_size=16, n_head=2, hidden_dropout=0.3, **IDS),
}


def saved(config, folder):
    """A folder that transformers wrote, with weights large enough that noise is seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture.auto_class(config.to_dict()).from_config(config)
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(5 if weights.ndim > 1 else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def gpt2(tmp_path):
    return saved(RANDOM_CONFIGS["gpt2"], tmp_path / "gpt2")


def edit(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize("family", RANDOM_CONFIGS)
def test_a_model_in_training_mode_draws_nothing_random(tmp_path, family):
    """Dropout, dropped layers and noise of routers are on in the file, and off in the model and in what it saves."""
    folder = saved(RANDOM_CONFIGS[family], tmp_path / family)
    model = load_pretrained(folder)
    model.save_pretrained(tmp_path / "again")

    assert max(pretrained.folder_dropout(folder).values()) >= 0.1
    pretrained.require_determinism(model, folder)
    assert pretrained.folder_dropout(tmp_path / "again") == {}
    assert all(m.p == 0 for m in model.modules() if isinstance(m, torch.nn.Dropout))


@pytest.mark.parametrize("family", ["gpt2", "opt", "mixtral", "t5"])
def test_randomness_that_is_not_switched_off_is_refused(tmp_path, family, monkeypatch):
    """The same folders with their dropout on are no models to train."""
    folder = saved(RANDOM_CONFIGS[family], tmp_path / family)
    monkeypatch.setattr(pretrained, "_set_randomness", lambda config, found: None)
    monkeypatch.setattr(pretrained, "switch_off_modules", lambda model: None)

    with pytest.raises(SpecError, match=f"{family} model .* draws random numbers"):
        build_model(Pretrained.from_folder(folder), vocab_size=50, eos_id=0, pad_id=1, seed=Seed(0))


def test_wishes_about_loading_are_not_obeyed(gpt2):
    """Attention kernels, number formats, outputs and a code of its own; the logits are those of the plain folder."""
    ids = torch.arange(10)[None]
    plain = load_pretrained(gpt2).eval()(input_ids=ids).logits
    edit(
        gpt2,
        _attn_implementation="evil/kernel",
        attn_implementation="flash_attention_2",
        torch_dtype="bfloat16",
        return_dict=False,
        output_attentions=True,
        num_labels=10**9,
        auto_map={"AutoModelForCausalLM": "own.Own"},
    )
    model = load_pretrained(gpt2).eval()

    assert model.config._attn_implementation == "sdpa"
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model(input_ids=ids).logits, plain)


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: edit(f, n_layer=3), r"lack 12 that config.json describes, e.g. 'transformer.h.2.attn.c_attn.bias'"),
        (lambda f: edit(f, n_layer=1), r"hold 'transformer.h.1.attn.c_attn.weight', a layer that config.json does not"),
        (lambda f: edit(f, n_embd=32), r"has the shape \[50, 16\], but config.json describes \[50, 32\]"),
        (lambda f: edit(f, n_layer=10**6), r"says n_layer=1,000,000, but the folder's weights are 28 tensors"),
        (lambda f: edit(f, n_layer=0), r"says n_layer=0; a model has at least one layer"),
        (lambda f: edit(f, quantization_config={"quant_method": "gptq"}), "are quantized"),
        (lambda f: edit(f, model_type="own", auto_map={"A": "own.A"}), "the folder's own code is not run"),
        (lambda f: change_weights(f, lambda t: t.pop("transformer.wpe.weight")), r"lack 1 that .*'transformer.wpe"),
        (lambda f: change_weights(f, lambda t: t["transformer.wpe.weight"].fill_(float("nan"))), "is not finite"),
    ],
    ids=["missing", "surplus", "shape", "million", "none", "quantized", "code", "one missing", "nan"],
)
def test_weights_that_are_not_those_of_the_configuration_are_refused(gpt2, change, words):
    """transformers would draw what is missing at random and drop what is too much; both are one sentence instead."""
    change(gpt2)

    with pytest.raises(SpecError, match=words):
        check_pretrained(Pretrained.from_folder(gpt2))


def test_missing_weights_are_refused_by_the_loader_itself(gpt2):
    """Also where nobody planned: a checkpoint's folder, or a folder that is asked."""
    change_weights(gpt2, lambda tensors: tensors.pop("transformer.wpe.weight"))

    with pytest.raises(SpecError, match="would draw them at random"):
        load_pretrained(gpt2)
