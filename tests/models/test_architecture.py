"""Every family of models is causal, named by its seed, and as large as its plan says."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from nosce.errors import SpecError
from nosce.models.architecture import (
    CAUSAL_FAMILIES,
    NAMED_SHAPES,
    Architecture,
    ExtraLayers,
    Pretrained,
    add_layers,
    build_model,
    draw_weights,
)
from nosce.models.hooks import output_projection_parameters, transformer_blocks
from nosce.models.pretrained import check_token_ids
from nosce.models.shallow import build_folder_model
from nosce.seeds import Seed
from nosce.store.spec import describe

VOCABULARY = 50


def model(family="gpt-neox", seed=0, **shape):
    """A model of two narrow layers."""
    wanted = {"layers": 2, "width": 32, "heads": 4, "max_positions": 64} | shape
    return build_model(
        Architecture(family=family, **wanted), vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(seed)
    ).eval()


def tokens(seed=0, rows=2, width=24):
    return torch.from_numpy(Seed(seed).numpy().integers(3, VOCABULARY, size=(rows, width)))


@torch.no_grad()
def logits(net, ids):
    return net(input_ids=ids).logits


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def saved(tmp_path):
    """A folder that somebody saved a model to, and that model."""
    net = model(seed=3)
    net.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved", net


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_later_token_changes_no_earlier_logit(family):
    """A changed token changes the logits from its place on, and not one before it."""
    net, before = model(family), tokens()
    after = before.clone()
    after[:, 10] = (after[:, 10] - 3 + 7) % (VOCABULARY - 3) + 3
    a, b = logits(net, before), logits(net, after)

    torch.testing.assert_close(a[:, :10], b[:, :10], atol=1e-6, rtol=0)
    assert ((a[:, 10:] - b[:, 10:]).abs().amax(dim=(0, 2)) > 1e-5).all()


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_are_one_matrix_where_the_shape_says_so(family, tied):
    """Input and output embeddings share their memory if tied, and are two matrices if not."""
    net = model(family, tie_embeddings=tied)

    assert (net.get_input_embeddings().weight is net.get_output_embeddings().weight) == tied


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_weights_are_a_function_of_the_seed(family):
    """Equal seeds give equal weights whatever was drawn before; other seeds give others."""
    one = weights(model(family, seed=1))
    torch.rand(7)
    again = weights(model(family, seed=1))
    other = weights(model(family, seed=2))

    assert equal(one, again)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].ndim == 2)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_building_a_model_draws_nothing_from_the_global_generator(family):
    """Whoever draws next from torch's own generator draws what they would have drawn anyway."""
    before = torch.get_rng_state()
    model(family)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@pytest.mark.parametrize("rung", ["4x128", "6x512"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_count_of_parameters_is_close_to_the_truth(family, rung, tied):
    """What a plan says of a model's size is within 15 % of what is built, as the price of a run rests on it."""
    layers, width, heads = NAMED_SHAPES[rung]
    shape = Architecture(family=family, layers=layers, width=width, heads=heads, tie_embeddings=tied)
    with torch.device("meta"):
        net = build_model(shape, vocab_size=1_000, eos_id=0, pad_id=1, seed=Seed(0))
    true = sum(p.numel() for p in net.parameters())

    assert shape.parameter_count(1_000) == pytest.approx(true, rel=0.15)


def test_there_is_no_dropout():
    """In training mode as in evaluation a model says the same, so a run needs no randomness but its order."""
    for family in CAUSAL_FAMILIES:
        net = model(family)
        assert torch.equal(logits(net, tokens()), logits(net.train(), tokens())), family


@pytest.mark.parametrize(("width", "rotary"), [(8, 2), (32, 2), (48, 2), (96, 6), (128, 8)])
def test_codegen_turns_an_even_quarter_of_a_head(width, rotary):
    """Heads of any width can be built, read forwards, and tell one order of tokens from another."""
    net = model("codegen", width=width)
    swapped = tokens()
    swapped[:, :2] = swapped[:, :2].flip(1)

    assert net.config.rotary_dim == rotary
    assert (logits(net, tokens())[:, 2:] - logits(net, swapped)[:, 2:]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Architecture.named("9x9"), "take one of 2x24, 2x32, 2x48"),
        (lambda: Architecture(family="rnn", layers=1, width=8, heads=1), "take one of gpt-neox"),
        (lambda: Architecture(layers=1, width=9, heads=2), "heads must divide"),
        (lambda: Architecture(layers=0, width=8, heads=2), "must be positive"),
        (lambda: Architecture.named("6x384", family="codegen"), r"codegen with 6 heads .* multiple of 4\.$"),
    ],
    ids=["size", "family", "heads", "layers", "groups of heads"],
)
def test_a_shape_that_cannot_be_is_refused_when_it_is_made(make, words):
    """An unknown size or family and an impossible shape say what there is instead."""
    with pytest.raises(SpecError, match=words):
        make()


@pytest.mark.parametrize("name", NAMED_SHAPES)
def test_every_rung_is_a_shape(name):
    """Heads divide the width on all rungs, which are named by layers and width."""
    shape = Architecture.named(name)

    assert name == f"{shape.layers}x{shape.width}"
    assert shape.width % shape.heads == 0


def test_a_local_folder_is_a_model_by_the_same_call(saved):
    """The folder's weights are read as they are: the same logits, whatever the seed."""
    folder, net = saved
    read = build_model(
        Pretrained.from_folder(folder), vocab_size=VOCABULARY, eos_id=0, pad_id=None, seed=Seed(9)
    ).eval()

    assert torch.equal(logits(read, tokens()), logits(net, tokens()))


def test_a_folder_with_random_weights_is_its_architecture_alone(saved):
    """The weights are a function of the seed and not the folder's, dropout is off; other keys stay as they were."""
    folder, original = saved
    named = Pretrained.from_folder(folder)
    fresh = replace(named, random_weights=True)
    first, again, other = (
        build_model(fresh, vocab_size=1, eos_id=0, pad_id=None, seed=Seed(seed)) for seed in (1, 1, 2)
    )
    assert equal(weights(first), weights(again))
    assert not equal(weights(first), weights(other))
    assert not equal(weights(first), weights(original))
    assert {name: w.shape for name, w in weights(first).items()} == {n: w.shape for n, w in weights(original).items()}
    assert all(module.p == 0 for module in first.modules() if isinstance(module, torch.nn.Dropout))
    assert set(describe(named)) == {"type", "folder", "digest"}
    assert describe(fresh) != describe(named)


@pytest.mark.parametrize("layers", [None, 30])
def test_random_weights_are_drawn_for_a_padding_token_that_opens_texts(tmp_path, layers):
    """The end token of many folders is their padding too. With zeros for it a deep model has no finite gradient."""
    depth = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=40,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(depth).save_pretrained(tmp_path)
    net = draw_weights(tmp_path, Seed(0)) if layers is None else build_folder_model(tmp_path, layers, Seed(0))
    net(input_ids=torch.tensor([[2, 5, 7, 9]]), labels=torch.tensor([[2, 5, 7, 9]])).loss.backward()

    assert (net.config.pad_token_id, net.config.num_hidden_layers) == (2, layers or 40)
    assert net.get_input_embeddings().weight[2].abs().min() > 0
    assert all(torch.isfinite(one.grad).all() for one in net.parameters())


def test_weights_that_changed_since_planning_are_refused(saved):
    """A folder whose weights were exchanged after it was named is not trained on."""
    folder, _ = saved
    named = Pretrained.from_folder(folder)
    model(seed=4).save_pretrained(folder)

    assert Pretrained.from_folder(folder) != named
    with pytest.raises(SpecError, match="have changed since"):
        build_model(named, vocab_size=VOCABULARY, eos_id=0, pad_id=None, seed=Seed(0))


def test_a_token_that_the_model_does_not_have_is_refused(saved):
    """Tokens that the model has no row for are refused before they are looked up."""
    check_token_ids(saved[0], [0, VOCABULARY - 1])
    with pytest.raises(SpecError, match=f"has {VOCABULARY} tokens but its tokenizer gives its texts the token number"):
        check_token_ids(saved[0], [VOCABULARY, 0])


@pytest.mark.parametrize("lacking", ["*.safetensors", "config.json"])
def test_a_folder_without_weights_or_configuration_is_refused(saved, lacking):
    """A folder of pickled weights, or of weights alone, is no model; the sentence says what is."""
    folder, _ = saved
    for file in list(folder.glob(lacking)):
        file.rename(folder / "pytorch_model.bin")

    with pytest.raises(SpecError, match="Hugging Face layout"):
        Pretrained.from_folder(folder)


@pytest.mark.parametrize("family", ["gpt-neox", "gpt2", "opt", "llama", "codegen"])
def test_fresh_layers_say_nothing_until_they_are_trained(family):
    """A deepened model has more blocks and the logits it had; what its fresh blocks write with can learn."""
    net = model(family)
    more = add_layers(net, ExtraLayers(layers=2), Seed(3)).eval()
    assert more.config.num_hidden_layers == net.config.num_hidden_layers + 2
    torch.testing.assert_close(logits(more, tokens()), logits(net, tokens()))
    assert all(torch.equal(value, weights(more)[name]) for name, value in weights(net).items())
    more.train()(input_ids=tokens(), labels=tokens()).loss.backward()
    assert all(p.grad.abs().max() > 0 for p in output_projection_parameters(transformer_blocks(more)[-1]))


def test_deeper_by_nothing_is_refused():
    """A stage without fresh layers has another spec."""
    with pytest.raises(SpecError, match="adds nothing"):
        ExtraLayers(layers=0)


def test_t5_with_untied_embeddings_is_refused():
    """transformers ties them whatever the configuration says, and would only drop the scale of the states."""
    with pytest.raises(SpecError, match="family t5 with tie_embeddings=False"):
        Architecture(family="t5", layers=2, width=32, heads=2, tie_embeddings=False)


@torch.no_grad()
def test_blocks_in_sequence_let_the_mlp_read_what_attention_added():
    """A block without attention's output is the same either way; with it the MLP reads another sum."""
    sequential, parallel = model(sequential_blocks=True), model()
    assert equal(weights(sequential), weights(parallel)), "the same weights in another order"
    states = torch.randn(1, 24, 32, generator=torch.Generator().manual_seed(0))
    for net, reads_sum in ((sequential, True), (parallel, False)):
        attention, mlp, read = heard_in_the_first_block(net, states)
        torch.testing.assert_close(read, states + attention if reads_sum else states)
        said = transformer_blocks(net)[0](states, **positions_of(net, states))
        torch.testing.assert_close(said[0] if isinstance(said, tuple) else said, states + attention + mlp)


def positions_of(net, states):
    """What a block of GPT-NeoX wants besides its input."""
    positions = torch.arange(states.shape[1])[None]
    return {"position_embeddings": net.base_model.rotary_emb(states, positions), "attention_mask": None}


def heard_in_the_first_block(net, states):
    """Outputs of attention and MLP, and what the MLP's norm reads."""
    block, heard = transformer_blocks(net)[0], {}
    block.attention.register_forward_hook(lambda _m, _a, out: heard.__setitem__("attention", out[0]))
    block.mlp.register_forward_hook(lambda _m, _a, out: heard.__setitem__("mlp", out))
    block.post_attention_layernorm.register_forward_hook(lambda _m, a, _o: heard.__setitem__("read", a[0]))
    block(states, **positions_of(net, states))
    return heard["attention"], heard["mlp"], heard["read"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "codegen"])
def test_only_gpt_neox_has_a_choice_of_order(family):
    """One sentence, when it is written; and the choice is in no key from before it."""
    with pytest.raises(SpecError, match=r"sequential_blocks=True cannot be built.*\.$"):
        Architecture(family=family, layers=2, width=32, heads=4, sequential_blocks=True)
    assert "sequential_blocks" not in describe(Architecture.named("2x64"))
