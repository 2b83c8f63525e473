"""Adapters begin as nothing, move nothing else, and add up to a plain model."""

import copy
from types import SimpleNamespace
from typing import get_args

import numpy as np
import peft
import pytest
import torch
import transformers

from nosce.data.sampling import IGNORE_INDEX, Batch
from nosce.errors import SpecError
from nosce.models import lora as adapters
from nosce.models.architecture import Architecture, Family, build_model
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train import checkpoint
from nosce.train.loss import summed_cross_entropy

VOCABULARY = 40
FAMILIES = get_args(Family)
TIED = [(family, True) for family in FAMILIES] + [(family, False) for family in FAMILIES if family != "t5"]

# peft's own advice on tied embeddings, which lora.py follows, and its use of a name that transformers gave up.
HUSH = (
    "`is_gradient_checkpointing` is deprecated",
    "Model with `tie_word_embeddings=True`",
    "Model has `tie_word_embeddings=True`",
    "Input and output embeddings are no longer tied",
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{words}") for words in HUSH]


def model(family, **shape):
    wanted = {"layers": 2, "width": 32, "heads": 4, "max_positions": 64} | shape
    shape = Architecture(family=family, **wanted)
    return build_model(shape, vocab_size=VOCABULARY, eos_id=0, pad_id=1, mask_id=2, seed=Seed(0))


def ids(seed=0):
    return torch.from_numpy(Seed(seed).numpy().integers(3, VOCABULARY, size=(4, 12)))


@torch.no_grad()
def logits(net):
    decoder = {"decoder_input_ids": ids(1)} if net.config.is_encoder_decoder else {}
    return net.eval()(input_ids=ids(), **decoder).logits


def adapted_after(steps, family, *, query_value_apart=False, **shape):
    """A model with adapters, after so many optimizer steps towards saying the next token."""
    net = model(family, **shape)
    adapted = adapters.add_lora(net, 4, 6, 2.0, Seed(1), query_value_apart=query_value_apart)
    weights = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2)
    rows = ids().numpy()
    labels = rows[:, 1:].copy()
    if family == "t5":
        labels[:, :3] = IGNORE_INDEX
    batch = Batch(rows[:, :-1].flatten(), labels.flatten(), np.full(4, 11), prompt_len=np.full(4, 3))
    with varlen_forward(adapted.get_base_model()) as forward:
        for _ in range(steps):
            (summed_cross_entropy(adapted.get_base_model(), forward, batch) / batch.n_loss_tokens).backward()
            optimizer.step()
            optimizer.zero_grad()
    return adapted


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_starts_as_nothing(family):
    """Before the first step the adapted model says what the model says."""
    plain = logits(model(family))

    assert torch.equal(logits(adapted_after(0, family)), plain)


@pytest.mark.parametrize(("family", "tied"), TIED)
def test_the_merged_model_is_the_adapted_one(family, tied):
    """After a few steps, which did change something, the plain sum says what the adapted model says."""
    adapted = adapted_after(8, family, tie_embeddings=tied)
    heard = logits(adapted)
    merged = adapters.merge_lora(adapted)

    assert (heard - logits(model(family, tie_embeddings=tied))).abs().max() > 0.05
    torch.testing.assert_close(logits(merged), heard, atol=2e-5, rtol=1e-4)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert torch.equal(logits(adapted), heard), "merging a copy must leave the adapted model to go on with"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_model_survives_the_disk(family, tmp_path):
    """Loaded from its checkpoint the merged model still has an output matrix of its own."""
    adapted = adapted_after(8, family)
    (tmp_path / "tokenizer").mkdir()
    checkpoint.save_checkpoint(adapters.merge_lora(adapted), tmp_path / "tokenizer", tmp_path / "kept")
    read = checkpoint.load_checkpoint(tmp_path / "kept")

    torch.testing.assert_close(logits(read), logits(adapted), atol=2e-5, rtol=1e-4)
    assert not torch.equal(read.get_input_embeddings().weight, read.get_output_embeddings().weight)
    assert read.config.tie_word_embeddings == (family == "t5")  # transformers has no other value for T5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_adapted_matrix_learns(family):
    """The first step moves one factor of each update, whose other factor is zero; the second step moves both."""
    before = {n: p.detach().clone() for n, p in adapted_after(0, family).named_parameters() if p.requires_grad}
    after = dict(adapted_after(2, family).named_parameters())

    assert len(before) >= 6
    assert not [name for name, weight in before.items() if torch.equal(weight, after[name])]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_adapters_learn(family):
    """Weights that require a gradient are the adapters'; after training all others are what they were."""
    before = {name: p.detach().clone() for name, p in model(family).named_parameters()}
    adapted = adapted_after(4, family)
    learning = [name for name, p in adapted.named_parameters() if p.requires_grad]

    assert learning
    assert all("lora_" in name for name in learning)
    for name, weight in adapted.get_base_model().named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, before[name.replace(".base_layer", "")]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_the_output_matrix_keeps_its_weights_where_embeddings_are_tied(family):
    """Only the input side of tied embeddings is updated, in the adapted model and in the merged one."""
    before = model(family).get_output_embeddings().weight.detach().clone()
    adapted = adapted_after(4, family)
    merged = adapters.merge_lora(adapted)

    for net in (adapted.get_base_model(), merged):
        assert torch.equal(net.get_output_embeddings().weight, before)
    assert not torch.equal(merged.get_input_embeddings().weight, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_an_embedding_rank_the_embedding_stays_frozen(family):
    """Rank 0 for the embedding leaves adapters on the attention alone."""
    adapted = adapters.add_lora(model(family), 4, 0, 2.0, Seed(1))
    learning = [name for name, p in adapted.named_parameters() if p.requires_grad]

    assert learning
    assert not [name for name in learning if "embed" in name or "wte" in name or "shared" in name]


def test_an_adapter_is_a_function_of_its_seed_and_of_nothing_drawn_before():
    """Equal seeds give equal adapters, others others, and torch's own generator is left alone."""
    first, again, other = (
        {n: p for n, p in adapters.add_lora(model("gpt-neox"), 4, 6, 2.0, Seed(s)).named_parameters() if "lora_" in n}
        for s in (1, 1, 2)
    )
    before = torch.get_rng_state()
    adapters.add_lora(model("gpt-neox"), 4, 6, 2.0, Seed(1))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


class SetOfAnotherProcess(set):
    """A set whose order is turned round, as another seed of Python's hashes may turn it."""

    def __iter__(self):
        return iter(reversed(list(super().__iter__())))


def test_an_adapter_folder_has_equal_bytes_in_every_process(tmp_path):
    """peft keeps the names of matrices in sets, and writes them in a set's order."""
    adapted = adapters.add_lora(model("llama"), 4, 6, 2.0, Seed(1))
    adapters.save_adapter(adapted, tmp_path / "a")
    config = adapted.peft_config["default"]
    config.target_modules = SetOfAnotherProcess(config.target_modules)
    adapters.save_adapter(adapted, tmp_path / "b")

    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_family_with_matrices_of_unknown_names_is_refused():
    """The sentence says for which families we know what to adapt."""
    with pytest.raises(SpecError, match=r"on a mamba model.*use one of gpt_neox"):
        adapters.add_lora(SimpleNamespace(config=SimpleNamespace(model_type="mamba")), 4, 0, 2.0, Seed(0))


CONFIGS = {
    "gemma": "Gemma",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3Text",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "mistral": "Mistral",
    "phi": "Phi",
    "phi3": "Phi3",
    "stablelm": "StableLm",
    "granite": "Granite",
    "olmo": "Olmo",
    "olmo2": "Olmo2",
    "starcoder2": "Starcoder2",
    "cohere": "Cohere",
    "falcon": "Falcon",
    "bloom": "Bloom",
}


def test_every_family_that_is_known_is_tested():
    elsewhere = {"gpt_neox", "gpt2", "opt", "llama", "codegen", "t5", "modernbert"}
    assert set(CONFIGS) | elsewhere == set(adapters.LORA_TARGET_MODULES)


@pytest.mark.parametrize("family", CONFIGS)
def test_families_of_other_peoples_folders_learn_and_merge(family):
    """An update begins as nothing, learns, and adds up to a plain model; the query and value matrices have it."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 64, "num_key_value_heads": 2, "head_dim": 8}
    sizes |= {"pad_token_id": 0}
    if family == "falcon":  # its heads are as wide as the layers allow
        del sizes["head_dim"]
    config = getattr(transformers, f"{CONFIGS[family]}Config")(**sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = transformers.AutoModelForCausalLM.from_config(config).eval()
    plain = logits(net)
    adapted = adapters.add_lora(net, 4, 0, 2.0, Seed(1))
    torch.testing.assert_close(logits(adapted), plain)
    updated = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert len(updated) in (4, 8)  # two layers of a fused matrix, or of two matrices, each two factors
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-1)
    for _ in range(3):
        torch.nn.functional.cross_entropy(adapted(input_ids=ids()).logits[:, 0], ids()[:, 1]).backward()
        optimizer.step()
        optimizer.zero_grad()
    heard = logits(adapted)
    assert (heard - plain).abs().max() > 1e-4
    torch.testing.assert_close(logits(adapters.merge_lora(adapted)), heard, atol=2e-5, rtol=1e-4)


def test_an_embedding_that_is_scaled_is_not_updated():
    """With peft 0.15 the merged model says something else than the adapted one."""
    config = transformers.GemmaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, intermediate_size=32)
    net = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(SpecError, match="take embedding_rank=0"):
        adapters.add_lora(net, 4, 6, 2.0, Seed(1))


FUSED = ("gpt-neox", "gpt2", "modernbert")


def fused_matrix(net):
    """Name and matrix of the first block's fused attention, outputs first."""
    (name,), _ = adapters.LORA_TARGET_MODULES[net.config.model_type]
    path, module = next((path, module) for path, module in net.named_modules() if path.endswith(name))
    return path, module.weight.T if net.config.model_type == "gpt2" else module.weight


@torch.no_grad()
def attended(net):
    """Output of the first block's attention."""
    site = {"gpt_neox": "attention", "gpt2": "attn", "modernbert": "attn"}[net.config.model_type]
    module = next(module for path, module in net.named_modules() if path.endswith(f".0.{site}"))
    kept = []
    handle = module.register_forward_hook(lambda _m, _a, out: kept.append(out[0] if isinstance(out, tuple) else out))
    net.eval()(input_ids=ids())
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("family", FUSED)
def test_query_and_value_are_where_a_fused_matrix_has_them(family):
    """Without values attention says one thing everywhere; without queries no key changes what it says."""
    masks = adapters.fused_part_masks(model(family).config.model_type, 4, 32)
    query, value = (torch.from_numpy(mask) for mask in masks)
    without_values, without_queries, other_keys = model(family), model(family), model(family)
    with torch.no_grad():
        fused_matrix(without_values)[1][value] = 0
        fused_matrix(without_queries)[1][query] = 0
        fused_matrix(other_keys)[1][query] = 0
        fused_matrix(other_keys)[1][~query & ~value] *= -3

    said = attended(without_values)
    assert (said - said[0, 0]).abs().max() < 1e-6
    assert attended(without_queries).std() > 1e-4
    torch.testing.assert_close(attended(other_keys), attended(without_queries))


@pytest.mark.parametrize("family", FUSED)
def test_query_and_value_apart_leave_the_key_and_have_a_rank_each(family):
    """After a few steps the merged query and value differ by the rank each, and the key by nothing."""
    adapted = adapted_after(6, family, query_value_apart=True)
    heard, merged = logits(adapted), adapters.merge_lora(adapted)
    path, before = fused_matrix(model(family))
    change = (fused_matrix(merged)[1] - before).detach()
    query, value = (torch.from_numpy(m) for m in adapters.fused_part_masks(merged.config.model_type, 4, 32))

    assert torch.equal(change[~query & ~value], torch.zeros(32, 32)), path
    assert torch.linalg.matrix_rank(change[query], atol=1e-6) == 4
    assert torch.linalg.matrix_rank(change[value], atol=1e-6) == 4
    assert torch.linalg.matrix_rank(change, atol=1e-6) == 8  # their inputs are different directions
    torch.testing.assert_close(logits(merged), heard, atol=2e-5, rtol=1e-4)


def test_a_copy_in_another_number_format_keeps_query_and_value_apart():
    """The model that computes in bfloat16 is a copy."""
    adapted = adapted_after(6, "gpt-neox", query_value_apart=True)
    factor = next(m for n, m in copy.deepcopy(adapted).bfloat16().named_modules() if n.endswith("lora_B.default"))

    assert factor.mask.shape == factor.weight.shape == (96, 8)
    factor(torch.ones(1, 8, dtype=torch.bfloat16)).sum().backward()
    assert torch.equal(factor.weight.grad != 0, factor.mask != 0)


def test_an_adapter_with_query_and_value_apart_is_an_ordinary_one_on_disk(tmp_path):
    """peft alone, which knows no masks, says the same with it."""
    adapted = adapted_after(6, "gpt-neox", query_value_apart=True)
    adapters.save_adapter(adapted, tmp_path / "adapter")
    read = peft.PeftModel.from_pretrained(model("gpt-neox"), tmp_path / "adapter")

    torch.testing.assert_close(logits(read), logits(adapted), atol=2e-5, rtol=1e-4)


def test_parts_in_an_unknown_order_are_refused():
    """One sentence says which model it is."""
    with pytest.raises(SpecError, match=r"codegen model lie in one matrix.*\.$"):
        adapters.add_lora(model("codegen"), 4, 0, 2.0, Seed(1), query_value_apart=True)


def test_where_they_have_matrices_of_their_own_nothing_changes():
    """Llama's query and value are apart either way."""
    one, other = (
        dict(adapters.add_lora(model("llama"), 4, 6, 2.0, Seed(1), query_value_apart=a).named_parameters())
        for a in (False, True)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
