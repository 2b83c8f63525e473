"""Rotary positions that depend on the longest text of a batch are refused where they do."""

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, DeepseekV32Config, LlamaConfig, Phi3Config

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.errors import SpecError
from nosce.models.activations import collect_activations
from nosce.models.generation import generate
from nosce.models.likelihood import score_spans
from nosce.models.positions import max_stable_positions
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 16,
}
LONG = {"max_position_embeddings": 64, "original_max_position_embeddings": 16}  # transformers takes it from here
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
LATENT = {
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "index_n_heads"), 8),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "index_topk", "index_head_dim"), 16),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **{"first_k_dense_replace": 2, "n_routed_experts": 4, "moe_intermediate_size": 16},
}
CONFIGS = {
    "sparse": DeepseekV32Config(**SIZES, **LATENT, num_key_value_heads=4, max_position_embeddings=64),
    "dynamic": LlamaConfig(**SIZES, max_position_embeddings=16, rope_parameters=DYNAMIC),
    "longrope": LlamaConfig(**SIZES, **LONG, rope_parameters=LONGROPE),
    "phi3": Phi3Config(**SIZES, **LONG, rope_parameters=LONGROPE),
}
FIXED = LlamaConfig(**SIZES, max_position_embeddings=16)


def model(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)


def texts(*lengths):
    drawn = [Seed(n).numpy().integers(3, 40, size=length) for n, length in enumerate(lengths)]
    return dataset_from_arrays((text.astype(np.int32), np.ones(len(text), dtype=bool)) for text in drawn)


def nats(net, *lengths):
    return score_spans(net, texts(*lengths), [(n, 0, length) for n, length in enumerate(lengths)], eos_id=0)[0].nats


@pytest.mark.parametrize("name", CONFIGS)
def test_up_to_the_stable_length_a_text_does_not_depend_on_its_neighbours(name):
    """The longest text that is accepted, alone and beside shorter and longer ones."""
    net = model(CONFIGS[name])

    assert max_stable_positions(net) == 16
    assert nats(net, 9) == pytest.approx(nats(net, 9, 16), abs=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_beyond_the_stable_length_every_entry_refuses(name, tmp_path):
    """Without the check the short text's likelihood changed with the long one beside it."""
    net = model(CONFIGS[name])
    config = TrainingConfig(steps=1, batch_size=1, checkpoint_fractions=(0.0, 1.0))

    def no_checkpoint(step):
        raise AssertionError("nothing may be written before the refusal")

    with pytest.raises(SpecError, match=r"20 tokens.*beyond 16 tokens; shorten"):
        nats(net, 9, 20)
    with pytest.raises(SpecError, match="beyond 16 tokens"):
        generate(net, [np.arange(3, 15)], eos_id=0, max_new_tokens=6)
    sampler = EpochSampler(1, 1, Seed(0))
    with pytest.raises(SpecError, match="beyond 16 tokens"):
        loop.train(net, texts(20), sampler, config, eos_id=0, folder=tmp_path, on_checkpoint=no_checkpoint)
    positions = pl.DataFrame({"text": [0], "token": [0]})
    with pytest.raises(SpecError, match="beyond 16 tokens"):
        collect_activations(net, texts(20), positions, ["final"], tmp_path / "activations", eos_id=0)


def test_fixed_positions_have_no_such_limit():
    """Other kinds of rotary positions are functions of the position alone."""
    assert max_stable_positions(model(FIXED)) is None
