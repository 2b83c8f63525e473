"""A site's name means the same place in every family: what transformers itself says stands there."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BertConfig,
    OPTConfig,
    T5Config,
)

from nosce.errors import SpecError
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model, transformers_config
from nosce.models.hooks import activation_sites, capture
from nosce.models.varlen import VARLEN_MODEL_TYPES, varlen_forward
from nosce.seeds import Seed

VOCABULARY, LAYERS, WIDTH = 40, 3, 32
TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
SHAPE = {
    family: Architecture(family=family, layers=LAYERS, width=WIDTH, heads=4, max_positions=64)
    for family in CAUSAL_FAMILIES
}
IN_A_ROW = transformers_config(SHAPE["gpt-neox"], vocab_size=VOCABULARY, eos_id=0, pad_id=1)
IN_A_ROW.use_parallel_residual = False
OTHERS = {
    "gpt-neox in a row": IN_A_ROW,
    "opt with narrow embeddings": OPTConfig(
        **TOKENS,
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        ffn_dim=64,
        dropout=0.0,
        num_attention_heads=2,
        word_embed_proj_dim=16,
        max_position_embeddings=64,
    ),
}
EVERY = pytest.mark.parametrize("family", [*CAUSAL_FAMILIES, *OTHERS])
STREAM = [f"residual.{number}" for number in range(LAYERS + 1)]
WITHIN = [f"{part}.{number}" for number in range(1, LAYERS + 1) for part in ("attention", "mlp")]
TEXT = torch.tensor([[0, 7, 5, 39, 5, 12, 3], [0, 5, 7, 39, 12, 5, 8]])


def model(family):
    """A narrow model whose weights are large enough for every block to matter."""
    if family in OTHERS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = AutoModelForCausalLM.from_config(OTHERS[family])
    else:
        net = build_model(SHAPE[family], vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return net.eval()


@torch.no_grad()
def seen_in(net, names, *, run=None, **more):
    """What stands at the sites in one pass of the two texts through the model below the head, and what it returned."""
    with capture(net, names) as seen:
        returned = (run or net.base_model)(input_ids=TEXT, use_cache=False, **more)
    return seen, returned


def hooks(net):
    return [len(hooks) for m in net.modules() for hooks in (m._forward_hooks, m._forward_pre_hooks)]


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@EVERY
def test_every_family_has_the_same_sites(family):
    """The stream before and behind every block, what each attention and perceptron adds, and what the head reads."""
    assert set(activation_sites(model(family))) == {*STREAM, *WITHIN, "final"}


@EVERY
def test_the_stream_is_what_transformers_calls_hidden_states(family):
    """All of the library's own hidden states but the last, which is behind the final norm, site by site."""
    seen, returned = seen_in(model(family), [*STREAM, "final"], output_hidden_states=True)

    assert list(seen) == [*STREAM, "final"]
    assert len(returned.hidden_states) == len(STREAM)
    for name, expected in zip(STREAM[:-1], returned.hidden_states[:-1], strict=True):
        assert seen[name].shape == (*TEXT.shape, WIDTH)
        close(seen[name], expected)
    for one, other in pairwise(STREAM):
        assert (seen[one] - seen[other]).abs().max() > 1e-2, "blocks that do nothing would prove nothing"


@EVERY
def test_final_is_what_the_head_reads(family):
    """The logits are the head's answer to it, and it is the library's last hidden state."""
    net = model(family)
    seen, returned = seen_in(net, ["final"])
    with torch.no_grad():
        close(net.get_output_embeddings()(seen["final"]), net(input_ids=TEXT).logits)

    close(seen["final"], returned.last_hidden_state)


@EVERY
def test_final_is_seen_in_a_pass_through_the_whole_model(family):
    """Whether the model is run with its head or without, the same stands there."""
    net = model(family)
    one, other = (seen_in(net, [STREAM[-1], "final"], run=run)[0] for run in (net, net.base_model))
    for name, states in other.items():
        assert torch.equal(one[name], states)


@EVERY
def test_the_last_block_is_read_before_the_norm(family):
    """The final norm of the last residual gives `final`."""
    net = model(family)
    seen, _ = seen_in(net, ["final", STREAM[-1]])
    base = getattr(net.base_model, "decoder", net.base_model)
    norm = next(getattr(base, n) for n in ("final_layer_norm", "ln_f", "norm") if hasattr(base, n))
    with torch.no_grad():
        normed = norm(seen[STREAM[-1]])
        close(base.project_out(normed) if getattr(base, "project_out", None) else normed, seen["final"])


@EVERY
def test_the_first_site_holds_embeddings_and_positions(family):
    """By hand: the embeddings of the tokens, and of their places in the families that add them."""
    net = model(family)
    seen, _ = seen_in(net, ["residual.0"])
    with torch.no_grad():
        expected = net.get_input_embeddings()(TEXT)
        if family == "gpt2":
            expected = expected + net.transformer.wpe.weight[: TEXT.shape[1]]
        if family.startswith("opt"):
            decoder = net.model.decoder
            expected = decoder.project_in(expected) if decoder.project_in else expected
            expected = expected + decoder.embed_positions.weight[2 : TEXT.shape[1] + 2]  # OPT counts places from 2
    close(seen["residual.0"], expected)


@EVERY
def test_attention_and_perceptron_are_what_a_block_adds(family):
    """The stream behind a block is the stream before it, plus the attention's part, plus the perceptron's."""
    seen, _ = seen_in(model(family), [*STREAM, *WITHIN])
    for number in range(1, LAYERS + 1):
        before, behind = seen[f"residual.{number - 1}"], seen[f"residual.{number}"]
        attention, mlp = (seen[f"{part}.{number}"].reshape(before.shape) for part in ("attention", "mlp"))
        close(behind - before, attention + mlp)
        assert min(attention.abs().max(), mlp.abs().max()) > 1e-2, "either alone must not do"


@EVERY
def test_all_sites_have_the_shape_of_the_stream(family):
    """One vector a text and place, wherever it is read."""
    seen, _ = seen_in(model(family), [*STREAM, *WITHIN])

    assert {name: states.shape for name, states in seen.items()} == dict.fromkeys(
        [*STREAM, *WITHIN], (*TEXT.shape, WIDTH)
    )


@EVERY
def test_only_what_was_asked_for_is_kept(family):
    """The dictionary holds the named sites alone, and each pass replaces what the one before had left."""
    net = model(family)
    with torch.no_grad(), capture(net, ["residual.2", "attention.1"]) as seen:
        assert not seen
        net(input_ids=TEXT)
        first = dict(seen)
        net(input_ids=TEXT[:, :4].flip(0))

    assert set(first) == {"residual.2", "attention.1"} == set(seen)
    assert first["residual.2"].shape == (*TEXT.shape, WIDTH)
    close(seen["residual.2"], first["residual.2"][:, :4].flip(0))


@EVERY
def test_watching_changes_no_number(family):
    """The logits are to the bit those of a model that nobody watches."""
    net = model(family)
    with torch.no_grad():
        plain = net(input_ids=TEXT).logits
    _, returned = seen_in(net, activation_sites(net), run=net)

    assert torch.equal(returned.logits, plain)


@EVERY
def test_nothing_is_left_behind(family):
    """Behind the block the model has the hooks it had, and no later pass writes; also after an exception."""
    net = model(family)
    net.base_model.register_forward_hook(lambda *_: None)
    before = hooks(net)
    with capture(net, activation_sites(net)) as seen:
        assert sum(hooks(net)) == sum(before) + len(activation_sites(net)) + 1  # one more looks at rows and positions
    with torch.no_grad():
        net(input_ids=TEXT)

    assert not seen
    assert hooks(net) == before

    def broken():
        with capture(net, activation_sites(net)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert hooks(net) == before


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_in_a_row_of_texts_apart_the_stream_is_the_same(family):
    """Run together, laid flat or padded, every token's stream is what it is in a row of its own."""
    net = model(family)
    alone, _ = seen_in(net, [*STREAM, "final"])
    with torch.no_grad(), varlen_forward(net) as forward, capture(net, [*STREAM, "final"]) as seen:
        forward(TEXT.numpy().ravel(), np.array([7, 7]))
    for name, states in alone.items():
        assert seen[name].shape[0] == (1 if net.config.model_type in VARLEN_MODEL_TYPES else len(TEXT))
        torch.testing.assert_close(seen[name].flatten(0, 1), states.flatten(0, 1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["residual.4", "residual.-1", "attention.0", "mlp.0", "embedding", ""])
def test_a_site_that_is_not_there_is_refused(name):
    """In a sentence that names it and those that are there; nothing is hooked."""
    net = model("gpt-neox")
    before = hooks(net)
    with pytest.raises(SpecError, match=rf"no site '{name}'; take from residual\.0, .*final\.$"):
        capture(net, ["residual.1", name]).__enter__()

    assert hooks(net) == before


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_model_of_encoder_and_decoder_is_refused(kind):
    """Its layers are in two lists: which "residual.1" would be meant?"""
    config = {
        "t5": T5Config(**TOKENS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0),
        "bart": BartConfig(
            **TOKENS,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            decoder_start_token_id=0,
            max_position_embeddings=64,
        ),
    }[kind]
    net = AutoModelForSeq2SeqLM.from_config(config)
    with pytest.raises(SpecError, match=f"activations of a {kind} model were asked for.*use a decoder-only model"):
        activation_sites(net)
    with pytest.raises(SpecError, match="use a decoder-only model"):
        capture(net, ["residual.1"]).__enter__()


def test_an_encoder_alone_is_refused():
    """Its places look ahead, also at padding: `collect` would write other numbers for other batches."""
    net = AutoModelForMaskedLM.from_config(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
    )
    with pytest.raises(SpecError, match="use a decoder-only model"):
        activation_sites(net)


def test_blocks_that_are_not_found_are_told():
    """Where no list has as many modules as the configuration says there are blocks, nothing is guessed."""
    net = model("gpt2")
    del net.transformer.h[-1]
    with pytest.raises(SpecError, match="gpt2 model were asked for, but its 3 blocks in one list were not found"):
        activation_sites(net)
