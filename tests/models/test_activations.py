"""What lies on disk is what the model computes of each text alone, at the place that has just read the token."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data import packing
from nosce.errors import DataError, SpecError
from nosce.models import activations
from nosce.models.activations import ACTIVATIONS_INDEX, Activations, collect_activations
from nosce.models.architecture import Architecture, build_model
from nosce.models.hooks import activation_sites, capture
from nosce.models.varlen import VARLEN_MODEL_TYPES
from nosce.seeds import Seed

VOCABULARY, WIDTH, END = 40, 32, 0
LENGTHS = (9, 3, 17, 1, 9, 12, 1, 16)
SITES = ("residual.0", "residual.1", "residual.2", "attention.1", "mlp.2", "final")
FAMILY = pytest.mark.parametrize("family", ["gpt-neox", "codegen"])


def model(family="gpt-neox"):
    """A narrow model whose weights are large enough for attention to matter; codegen's attention we do not know."""
    shape = Architecture(family=family, layers=2, width=WIDTH, heads=4, max_positions=64)
    net = build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return net.eval()


@pytest.fixture
def texts():
    """Eight texts of other lengths; the last begins as the third does."""
    rng = Seed(0).numpy()
    drawn = [rng.integers(2, VOCABULARY, size=length).astype(np.int32) for length in LENGTHS]
    drawn[7][:8] = drawn[2][:8]
    return packing.dataset_from_arrays((tokens, np.ones(len(tokens), dtype=bool)) for tokens in drawn)


def every(texts, seed=0):
    """All places of all texts and their opening end tokens, in an order of no order, with a column of the study's."""
    rows = [(text, token) for text, length in enumerate(texts.lengths) for token in range(-1, length)]
    mixed = [rows[i] for i in Seed(seed).numpy().permutation(len(rows))]
    return pl.DataFrame(mixed, schema=["text", "token"], orient="row").with_columns(
        entity=pl.format("person-{}", "text"), label=pl.col("token") % 3
    )


@torch.no_grad()
def by_hand(net, texts, places, site):
    """Each place from a pass of its own, over the end token and what stands up to there."""
    found = []
    for text, token in places.select("text", "token").iter_rows():
        upto = [END, *texts.text_tokens(text)[: token + 1].tolist()]
        with capture(net, [site]) as seen:
            net.base_model(input_ids=torch.tensor([upto]), use_cache=False)
        found.append(seen[site].reshape(len(upto), -1)[-1])
    return torch.stack(found).numpy()


def close(one, other):
    np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_both_ways_to_run_texts_together_are_tested():
    """One family is laid in one row, the other is padded."""
    assert [model(f).config.model_type in VARLEN_MODEL_TYPES for f in ("gpt-neox", "codegen")] == [True, False]


@FAMILY
@pytest.mark.parametrize("positions", [1, 20, 16_384])
def test_values_are_those_of_each_text_alone(family, positions, texts, tmp_path, monkeypatch):
    """One text a pass, a few or all: at every place stands what a pass over the text up to there ends with."""
    monkeypatch.setattr(activations, "tokens_per_pass", lambda _: positions)
    net, places = model(family), every(texts)[::4]
    found = collect_activations(net, texts, places, SITES, tmp_path, eos_id=END)

    assert found.sites == SITES
    for site in SITES:
        states = found.load_site(site)
        assert (states.dtype, states.shape) == (np.float32, (len(places), WIDTH))
        close(states, by_hand(net, texts, places, site))
        assert np.ptp(states, axis=0).min() > 1e-3, "places must differ, or the test says nothing"


@pytest.mark.parametrize(
    "family",
    [
        "gpt2",
        "llama",
        "opt",
    ],
)
def test_every_site_of_every_family_can_be_collected(family, texts, tmp_path):
    """Whatever a family's modules return, each site is one row of the model's width a place."""
    net, places = model(family), every(texts)[::9]
    found = collect_activations(net, texts, places, list(activation_sites(net)), tmp_path, eos_id=END)
    for site in activation_sites(net):
        close(found.load_site(site), by_hand(net, texts, places, site))


@FAMILY
def test_token_minus_one_is_the_opening_end_token(family, texts, tmp_path):
    """It has read the end token and nothing else: the same in all texts, and not what the first token gives."""
    net = model(family)
    places = pl.DataFrame({"text": [3, 0, 2, 3], "token": [-1, -1, -1, 0]})
    found = collect_activations(net, texts, places, ["final"], tmp_path, eos_id=END).load_site("final")
    with torch.no_grad():
        alone = net.base_model(input_ids=torch.tensor([[END]])).last_hidden_state[0, 0].numpy()

    close(found[:3], np.stack([alone] * 3))
    assert np.abs(found[3] - alone).max() > 1e-2


@FAMILY
def test_a_place_sees_what_stands_before_it_alone(family, texts, tmp_path):
    """Where two texts begin alike their states are alike, up to the token at which they part."""
    places = pl.DataFrame({"text": [2] * 10 + [7] * 10, "token": [*range(-1, 9)] * 2})
    found = collect_activations(model(family), texts, places, ["residual.2"], tmp_path, eos_id=END).load_site(
        "residual.2"
    )

    close(found[:9], found[10:19])
    assert np.abs(found[9] - found[19]).max() > 1e-2


def test_places_keep_their_order_and_columns(texts, tmp_path):
    """Rows come as they were asked for, twice if they were asked for twice, with all that stood beside them."""
    net, places = model(), every(texts)
    places = pl.concat([places, places[:5]])
    found = collect_activations(net, texts, places, ["final"], tmp_path, eos_id=END)
    other = Seed(1).numpy().permutation(len(places))
    turned = collect_activations(net, texts, places[other], ["final"], tmp_path / "turned", eos_id=END)

    assert found.positions.equals(places)
    assert Activations(tmp_path).positions.equals(places)
    assert np.array_equal(turned.load_site("final"), found.load_site("final")[other])
    assert np.array_equal(found.load_site("final")[-5:], found.load_site("final")[:5])


def test_texts_without_a_place_are_not_run(texts, tmp_path):
    """Only what is asked about costs a pass."""
    net, run = model(), []
    net.base_model.register_forward_pre_hook(
        lambda _, __, named: run.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    collect_activations(
        net, texts, pl.DataFrame({"text": [4, 1, 4], "token": [0, 2, 8]}), ["final"], tmp_path, eos_id=END
    )

    assert run == [LENGTHS[4] + 1 + LENGTHS[1] + 1]


@FAMILY
@pytest.mark.parametrize(("shard", "files"), [(1, 76), (4 * WIDTH * 7, 11), (4 * WIDTH * 76, 1), (4 * WIDTH * 75, 2)])
def test_several_files_hold_the_same_as_one(family, shard, files, texts, tmp_path):
    """However few rows fit a file, the site is the same array, and no file is larger than was allowed."""
    net, places = model(family), every(texts)
    whole = collect_activations(net, texts, places, SITES[:2], tmp_path / "whole", eos_id=END)
    parts = collect_activations(net, texts, places, SITES[:2], tmp_path / "parts", eos_id=END, max_shard_bytes=shard)

    assert len(places) == 76
    for site in SITES[:2]:
        mine = sorted((tmp_path / "parts").glob(f"{site}-*.npy"))
        assert len(mine) == files
        assert all(np.load(file, mmap_mode="r").nbytes <= max(shard, 4 * WIDTH) for file in mine)
        assert parts.load_site(site).dtype == np.float32
        assert np.array_equal(parts.load_site(site), whole.load_site(site))


def test_one_file_is_mapped_and_not_read(texts, tmp_path):
    """What is larger than memory can be looked at row by row, and nobody can write into it."""
    states = collect_activations(model(), texts, every(texts), ["residual.1"], tmp_path, eos_id=END).load_site(
        "residual.1"
    )

    assert isinstance(states, np.memmap)
    assert not states.flags.writeable


def test_the_folder_holds_plain_files_and_no_pickle(texts, tmp_path):
    """The table, the ledger and plain arrays, which numpy reads where pickles are forbidden."""
    collect_activations(
        model(),
        texts,
        every(texts),
        SITES,
        tmp_path / "a" / "new" / "folder",
        eos_id=END,
        max_shard_bytes=4 * WIDTH * 40,
    )
    files = {file.name for file in (tmp_path / "a" / "new" / "folder").iterdir()}
    arrays = {f"{site}-{number:03d}.npy" for site in SITES for number in (0, 1)}

    assert files == {ACTIVATIONS_INDEX, "places.parquet", *arrays}
    for name in arrays:
        rows = np.load(tmp_path / "a" / "new" / "folder" / name, allow_pickle=False)
        assert (rows.dtype, rows.shape) == (np.float32, (40 if name.endswith("000.npy") else 36, WIDTH))
    assert (
        json.loads((tmp_path / "a" / "new" / "folder" / ACTIVATIONS_INDEX).read_text(encoding="utf-8"))["places"] == 76
    )


def test_what_was_collected_can_be_read_by_another_process(texts, tmp_path):
    """Nothing is needed but the folder."""
    written = collect_activations(model(), texts, every(texts), SITES[:2], tmp_path, eos_id=END)
    read = Activations(tmp_path)

    assert read.sites == SITES[:2]
    assert all(np.array_equal(read.load_site(site), written.load_site(site)) for site in SITES[:2])


@FAMILY
def test_collecting_changes_nothing_about_the_model(family, texts, tmp_path):
    """Weights, mode, hooks and the way of attending are as before, so that it can be done in the middle of training."""
    net = model(family).train()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    attention = net.config._attn_implementation
    collect_activations(net, texts, every(texts), SITES, tmp_path, eos_id=END)

    assert net.training
    assert net.config._attn_implementation == attention
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in net.named_parameters())


def test_dropout_is_off_while_collecting(texts, tmp_path):
    """A model in the middle of training is read as it would answer."""
    net, places = model("codegen"), every(texts)
    net.transformer.drop.p = 0.5
    plain = collect_activations(net, texts, places, ["final"], tmp_path / "plain", eos_id=END).load_site("final")

    assert np.array_equal(
        collect_activations(net.train(), texts, places, ["final"], tmp_path, eos_id=END).load_site("final"), plain
    )


def interrupted(monkeypatch, *given, **named):
    """A collection which the user stops when one of several passes has been written."""
    passes = []

    def stopping(*states):
        if passes:
            raise KeyboardInterrupt
        passes.append(1)
        return read(*states)

    read = activations._gather_states
    with monkeypatch.context() as patch:
        patch.setattr(activations, "tokens_per_pass", lambda _: 20)
        patch.setattr(activations, "_gather_states", stopping)
        with pytest.raises(KeyboardInterrupt):
            collect_activations(*given, **named)


def test_an_interrupted_collection_is_refused_and_written_over(texts, tmp_path, monkeypatch):
    """What has no ledger is not whole, whatever files are there; a second collection gives what a first would."""
    net, places = model(), every(texts)
    interrupted(monkeypatch, net, texts, places, ["final"], tmp_path, eos_id=END, max_shard_bytes=500)
    assert (tmp_path / "final-000.npy").exists()
    for look in (lambda: Activations(tmp_path).sites, lambda: Activations(tmp_path).load_site("final")):
        with pytest.raises(DataError, match="holds no complete collection of activations; collect them again"):
            look()
    again = collect_activations(net, texts, places[:30], ["final"], tmp_path, eos_id=END)
    fresh = collect_activations(net, texts, places[:30], ["final"], tmp_path / "fresh", eos_id=END)

    assert again.positions.equals(places[:30])
    assert np.array_equal(again.load_site("final"), fresh.load_site("final"))


def test_a_collection_that_is_interrupted_while_it_writes_over_a_whole_one_is_refused(texts, tmp_path, monkeypatch):
    """The old ledger must not vouch for arrays of which some rows are new and some are zeros."""
    net, places = model(), every(texts)
    collect_activations(net, texts, places, ["final"], tmp_path, eos_id=END)
    interrupted(monkeypatch, net, texts, places, ["final"], tmp_path, eos_id=END)
    with pytest.raises(DataError, match="no complete collection"):
        Activations(tmp_path).load_site("final")


@pytest.mark.parametrize("content", [None, "", '{"sites": {"fin'])
def test_a_folder_without_a_readable_ledger_is_refused(content, tmp_path):
    """Never collected, or the file is broken: one sentence says what to do."""
    if content is not None:
        (tmp_path / ACTIVATIONS_INDEX).write_text(content)
    with pytest.raises(DataError, match="holds no complete collection of activations; collect them again"):
        Activations(tmp_path).load_site("final")


@pytest.mark.parametrize(("text", "token"), [(0, 9), (3, 1), (0, -2), (8, 0), (-1, 0), (8, -1)])
def test_a_place_outside_its_text_is_refused(text, token, texts, tmp_path):
    """The sentence names the first wrong place; nothing is written."""
    places = pl.DataFrame({"text": [0, text, 50], "token": [8, token, 3]})
    sentence = rf"position 1 is token {token} of text {text}, which does not exist; there are 8"
    with pytest.raises(DataError, match=sentence):
        collect_activations(model(), texts, places, ["final"], tmp_path / "new", eos_id=END)

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("column", ["text", "token"])
def test_a_place_that_is_missing_is_refused(column, texts, tmp_path):
    """A null, as a join may leave it, is no place."""
    places = pl.DataFrame({"text": [0, 1], "token": [0, 1]}).with_columns(
        pl.when(pl.col(column) == 1).then(None).otherwise(column).alias(column)
    )
    with pytest.raises(DataError, match="position 1 "):
        collect_activations(model(), texts, places, ["final"], tmp_path, eos_id=END)


def test_no_place_at_all_is_refused(texts, tmp_path):
    """An empty table is a mistake, and a sentence says so."""
    with pytest.raises(DataError, match="at no position at all; give a table of at least one row"):
        collect_activations(model(), texts, every(texts)[:0], ["final"], tmp_path, eos_id=END)


def test_an_unknown_site_is_refused(texts, tmp_path):
    """Before anything is run; and one that was not collected, when it is read."""
    places = every(texts)
    with pytest.raises(SpecError, match=r"no site 'residual\.9'; take from residual\.0, "):
        collect_activations(model(), texts, places, ["final", "residual.9"], tmp_path, eos_id=END)
    found = collect_activations(model(), texts, places, ["final", "residual.1"], tmp_path, eos_id=END)
    with pytest.raises(DataError, match=r"site 'mlp\.1' was not collected in .*; take from final, residual\.1"):
        found.load_site("mlp.1")


@pytest.mark.parametrize("names", [["residual.9"], ["final"]])
def test_a_collection_that_fails_leaves_the_model_in_training(names, texts, tmp_path, monkeypatch):
    """Refused or interrupted: a training that goes on afterwards goes on with its dropout."""
    net = model().train()
    if names == ["final"]:
        interrupted(monkeypatch, net, texts, every(texts), names, tmp_path, eos_id=END)
    else:
        with pytest.raises(SpecError):
            collect_activations(net, texts, every(texts), names, tmp_path, eos_id=END)

    assert net.training


@pytest.mark.parametrize(
    ("family", "dtype"),
    [(f, t) for f in ("gpt-neox", "codegen") for t in (pl.Int32, pl.UInt32, pl.UInt64, pl.Int16, pl.UInt8)],
)
def test_any_integers_may_name_a_place(family, dtype, texts, tmp_path):
    """The type in which numbers of texts and tokens are written down does not change what they mean."""
    net, places = model(family), every(texts).filter(pl.col("token") >= 0)[::5]
    cast = places.with_columns(pl.col("text", "token").cast(dtype))
    one = collect_activations(net, texts, places, ["final"], tmp_path / "one", eos_id=END)
    other = collect_activations(net, texts, cast, ["final"], tmp_path / "other", eos_id=END)

    assert np.array_equal(one.load_site("final"), other.load_site("final"))


def test_the_last_place_that_a_narrow_integer_can_name(tmp_path):
    """Token 127 in eight bits is token 127: one more, for the opening end token, must not turn round."""
    long = packing.dataset_from_arrays([(np.arange(2, 32, dtype=np.int32).repeat(5), np.ones(150, dtype=bool))])
    shape = Architecture(layers=1, width=WIDTH, heads=2, max_positions=200)
    net = build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0))
    places = pl.DataFrame({"text": [0], "token": [127]})
    one = collect_activations(net, long, places, ["final"], tmp_path / "one", eos_id=END)
    other = collect_activations(net, long, places.cast({"token": pl.Int8}), ["final"], tmp_path / "other", eos_id=END)

    assert np.array_equal(one.load_site("final"), other.load_site("final"))
