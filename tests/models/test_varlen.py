"""Texts that share one pass see nothing of each other, and each gives what it gives alone."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

from nosce.models import varlen as module
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.logits import padded_causal_forward
from nosce.models.varlen import MIN_BUCKET_TOKENS, MIN_LENGTH_RATIO, VARLEN_ATTENTION, bucket_by_length, varlen_forward
from nosce.seeds import Seed
from nosce.train import checkpoint

VOCABULARY = 40
LENGTHS = np.array([23, 23, 22, 17, 17, 17, 9, 5, 2, 1, 1])
TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
OTHERS = {
    "llama with shared keys": LlamaConfig(
        **TOKENS,
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    ),
    "opt with narrow embeddings": OPTConfig(
        **TOKENS,
        num_hidden_layers=2,
        hidden_size=32,
        ffn_dim=64,
        dropout=0.0,
        num_attention_heads=2,
        word_embed_proj_dim=16,
        max_position_embeddings=64,
    ),
}
PADDED = "codegen"  # the family whose attention `apart` does not know
FLAT = tuple(family for family in CAUSAL_FAMILIES if family != PADDED)
KNOWN = (*FLAT, *OTHERS)
EVERY = pytest.mark.parametrize("family", [*KNOWN, PADDED])


def model(family):
    """A narrow model whose weights are large enough for attention to matter."""
    if family in OTHERS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = AutoModelForCausalLM.from_config(OTHERS[family])
    else:
        shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64)
        net = build_model(shape, vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return net


def tokens(lengths=LENGTHS, seed=0):
    return Seed(seed).numpy().integers(3, VOCABULARY, size=int(lengths.sum()))


def cut(flat, lengths=LENGTHS):
    """What belongs to each stretch."""
    return np.split(flat, np.cumsum(lengths)[:-1]) if isinstance(flat, np.ndarray) else flat.split(lengths.tolist())


@torch.no_grad()
def hidden(net, flat, lengths=LENGTHS):
    with varlen_forward(net) as forward:
        return forward(flat, lengths)


def random_lengths(number):
    rng = Seed(number).numpy()
    return np.sort(rng.integers(1, 90, size=rng.integers(1, 80), endpoint=True))[::-1].copy()


@EVERY
@pytest.mark.parametrize("least", [0, 40, MIN_BUCKET_TOKENS])
def test_many_texts_at_once_give_what_each_gives_alone(family, least, monkeypatch):
    """The states of every text are those of the model's own pass over it, in however many blocks they are attended."""
    monkeypatch.setattr(module, "MIN_BUCKET_TOKENS", least)
    net = model(family)
    found = hidden(net, tokens())

    assert found.shape == (LENGTHS.sum(), 32 if family != "opt with narrow embeddings" else 16)
    for text, states in zip(cut(tokens()), cut(found), strict=True):
        with torch.no_grad():
            alone = net.base_model(input_ids=torch.from_numpy(text)[None], use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(states, alone, atol=2e-5, rtol=0)


@EVERY
def test_the_order_of_tokens_matters_within_a_text(family):
    """Positions are counted and attention looks back: two texts of the same tokens in other orders end differently."""
    lengths = np.array([6, 6])
    states = cut(hidden(model(family), np.array([4, 5, 6, 7, 8, 9, 7, 4, 6, 5, 8, 9]), lengths), lengths)

    assert (states[0][-1] - states[1][-1]).abs().max() > 1e-2


@EVERY
@pytest.mark.parametrize("least", [0, MIN_BUCKET_TOKENS])
def test_gradients_are_those_of_padded_rows(family, least, monkeypatch):
    """Every weight learns from flat texts what it would learn from padded rows."""
    monkeypatch.setattr(module, "MIN_BUCKET_TOKENS", least)
    towards = torch.from_numpy(Seed(1).numpy().normal(size=(LENGTHS.sum(), 32))).float()
    found = []
    for flat in (True, False):
        net = model(family)
        with varlen_forward(net) if flat else nullcontext(partial(padded_causal_forward, net)) as forward:
            states = forward(tokens(), LENGTHS)
            (states * towards[:, : states.shape[1]]).sum().backward()
        found.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})

    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 10
    for name, flat in found[0].items():
        padded = found[1][name]
        torch.testing.assert_close(flat, padded, atol=2e-5 * max(1.0, padded.abs().max().item()), rtol=0, msg=name)


@EVERY
def test_a_changed_text_changes_no_other(family):
    """With one text exchanged its own states change, those of all others stay as they are."""
    net, before = model(family), tokens()
    plain = cut(hidden(net, before))
    for number in (0, 4, len(LENGTHS) - 1):
        changed = before.copy()
        text = cut(changed)[number]
        text[:] = (text - 3 + 11) % (VOCABULARY - 3) + 3
        for place, (one, other) in enumerate(zip(plain, cut(hidden(net, changed)), strict=True)):
            if place == number:
                assert ((one - other).abs().amax(-1) > 1e-3).all()
            else:
                torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@EVERY
def test_a_later_token_changes_no_earlier_state(family):
    """Within a text nothing looks ahead."""
    net, before = model(family), tokens()
    after = before.copy()
    after[10] = (after[10] - 3 + 11) % (VOCABULARY - 3) + 3
    one, other = hidden(net, before)[:23], hidden(net, after)[:23]

    torch.testing.assert_close(one[:10], other[:10], atol=1e-6, rtol=0)
    assert ((one[10:] - other[10:]).abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("number", range(30))
def test_blocks_hold_every_token_once(number):
    """Block by block, each token has a place of its own: its stretch's row, and there its own position."""
    lengths = random_lengths(number)
    found = bucket_by_length(lengths)
    stretch, at = 0, 0
    for block in found:
        mine = lengths[stretch : stretch + block.sequences]
        assert (block.start, block.stop) == (at, at + mine.sum())
        assert block.max_length == mine.max()
        places = [row * block.max_length + place for row, length in enumerate(mine) for place in range(length)]
        assert places == (
            list(range(len(places))) if block.padded_positions is None else block.padded_positions.tolist()
        )
        stretch, at = stretch + block.sequences, block.stop

    assert (stretch, at) == (len(lengths), lengths.sum())


@pytest.mark.parametrize("number", range(30))
def test_blocks_waste_little_where_there_is_much(number):
    """A stretch much shorter than its block's longest is only let in while the block is small."""
    lengths = random_lengths(number)
    stretch = 0
    for block in bucket_by_length(lengths):
        mine = lengths[stretch : stretch + block.sequences]
        short = mine < MIN_LENGTH_RATIO * block.max_length
        assert (mine.cumsum()[short] - mine[short] < MIN_BUCKET_TOKENS).all()
        stretch += block.sequences


def test_where_texts_are_only_read_blocks_end_where_lengths_change():
    """Large groups of one length need no spreading; crumbs are still put together."""
    lengths = np.repeat([20, 19, 18, 17], [40, 40, 3, 3])
    found = bucket_by_length(lengths, split_on_length_change=True)
    assert [(b.sequences, b.max_length, b.padded_positions is None) for b in found] == [
        (40, 20, True),
        (40, 19, True),
        (6, 18, False),
    ]
    assert [b.sequences for b in bucket_by_length(lengths)] == [86]


def test_stretches_of_one_length_are_one_block_that_is_only_looked_at():
    """Where nothing needs padding nothing is moved."""
    (block,) = bucket_by_length(np.full(50, 20))

    assert block.padded_positions is None
    assert (block.start, block.stop, block.sequences, block.max_length) == (0, 1_000, 50, 20)


@pytest.mark.parametrize("family", KNOWN)
@pytest.mark.parametrize("before", ["sdpa", "eager"])
def test_the_models_own_attention_comes_back(family, before):
    """Behind the block the model attends as it did, also after an exception and after a block within a block."""
    net = model(family)
    net.set_attn_implementation(before)

    def broken():
        with varlen_forward(net):
            raise KeyboardInterrupt

    with varlen_forward(net):
        assert net.config._attn_implementation == VARLEN_ATTENTION
        with varlen_forward(net) as forward:
            forward(tokens(), LENGTHS)
        assert net.config._attn_implementation == VARLEN_ATTENTION
    assert net.config._attn_implementation == before
    with pytest.raises(KeyboardInterrupt):
        broken()

    assert net.config._attn_implementation == before


def test_an_unknown_family_is_left_alone(monkeypatch):
    """A model whose attention we do not know is padded: it keeps its attention, and the flat path is not taken."""
    net = model(PADDED)
    before = net.config._attn_implementation
    monkeypatch.setattr(module, "_varlen_causal_forward", None)
    with torch.no_grad(), varlen_forward(net) as forward:
        assert net.config._attn_implementation == before
        assert forward(tokens(), LENGTHS).shape == (LENGTHS.sum(), 32)


def test_every_family_but_one_is_laid_flat():
    """A family that is new is either known, and then held against padded rows here, or padded itself."""
    assert {model(family).config.model_type for family in FLAT} == module.VARLEN_MODEL_TYPES
    assert model(PADDED).config.model_type not in module.VARLEN_MODEL_TYPES


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_checkpoint_kept_inside_the_block_does_not_know_of_it(family, tmp_path):
    """What is saved in the middle of training names no attention of ours, and transformers reads it by itself."""
    net = model(family)
    own = net.config._attn_implementation
    (tmp_path / "tokenizer").mkdir()
    with varlen_forward(net) as forward:
        with torch.no_grad():
            states = forward(tokens(), LENGTHS)
        within = net.config._attn_implementation
        checkpoint.save_checkpoint(net, tmp_path / "tokenizer", tmp_path / "kept")
        assert net.config._attn_implementation == within, "keeping must not disturb the training it happens in"
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "kept")
    with torch.no_grad():
        first = read.base_model(input_ids=torch.from_numpy(tokens()[None, :23])).last_hidden_state[0]

    for file in (tmp_path / "kept").glob("*.json"):
        assert VARLEN_ATTENTION not in file.read_text(encoding="utf-8"), file.name
    assert (within == VARLEN_ATTENTION) == (family != PADDED)
    assert read.config._attn_implementation == own == ("eager" if family == PADDED else "sdpa")
    torch.testing.assert_close(first, states[:23], atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_block_that_is_filled_by_gathers_gives_equal_bytes(dtype):
    """On a GPU padding repeats a token: no token attends to it, and no gradient comes from it."""
    lengths = np.array([7, 6, 6, 3])
    bucket = module._length_bucket(lengths, np.concatenate([[0], np.cumsum(lengths)]), 0, 4, 7, "cpu")
    first = np.cumsum(lengths) - lengths
    tokens, is_padding = module._tokens_and_padding(first, lengths)
    gathers = replace(bucket, padded_tokens=tokens, is_padding=is_padding)
    found = []
    for each in (bucket, gathers):
        inputs = torch.randn(3, 1, 2, 22, 8, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
        outputs, _ = module._varlen_attention(torch.nn.Module(), *inputs, None, buckets=(each,))
        (outputs.float() * torch.arange(outputs.numel()).view_as(outputs)).sum().backward()
        found.append((outputs, inputs.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert bool(found[0][1].any())
