"""The patching engine: own states change nothing, a whole span of embeddings is the donor's text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nosce.evals.patching.base import (
    PATCH_EXTENTS,
    DonorRule,
    Patch,
    PatchBatching,
    batch_examples,
    capture_states,
    pair_donors,
    pair_readings,
    read_patched,
)
from nosce.models.architecture import Architecture, build_model
from nosce.models.hooks import layer_sites
from nosce.seeds import Seed

SEED = Seed(6)
BATCHINGS = (PatchBatching(pad=0, size=5), PatchBatching(pad=None, size=3), PatchBatching(pad=None, size=None))


@dataclass(frozen=True, eq=False)
class Example:
    """Tokens with a span."""

    tokens: np.ndarray
    span: tuple[int, int]


@pytest.fixture(scope="module")
def net():
    """A network of random weights."""
    shape = Architecture(layers=2, width=16, heads=2, max_positions=16)
    return build_model(shape, vocab_size=20, eos_id=0, pad_id=None, seed=SEED).eval()


@pytest.fixture(scope="module")
def examples():
    """Seventeen texts of unequal length with unequal spans."""
    rng = SEED.numpy()
    drawn = []
    for _ in range(17):
        length, first = int(rng.integers(6, 12)), int(rng.integers(1, 3))
        tokens = np.concatenate([[0], rng.integers(3, 20, length)])
        drawn.append(Example(tokens, (first, first + int(rng.integers(1, 4)))))
    return drawn


def last_states(batch, hidden):
    """What the head would read at the end of each example."""
    ends = [np.flatnonzero(row)[-1] for row in batch.tokens]
    return hidden[np.arange(len(ends)), ends].detach().numpy()


@pytest.mark.parametrize("batching", BATCHINGS)
def test_own_states_put_back_change_nothing_and_others_do(net, examples, batching):
    """At every site and for both extents; states of other examples change what is read before the last site."""
    sites = layer_sites(net)
    states = capture_states(net, examples, sites, batching)
    unpatched = read_patched(net, examples, last_states, batching)
    for site in sites:
        for extent in PATCH_EXTENTS:
            own = states.at(site, extent)
            restored = read_patched(net, examples, last_states, batching, Patch(site, extent, own))
            assert np.allclose(restored, unpatched, atol=1e-6)
            moved = read_patched(net, examples, last_states, batching, Patch(site, extent, own[::-1]))
            assert np.allclose(moved, unpatched, atol=1e-6) == (site == "final")


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_whole_span_of_embeddings_is_the_donors_text(net, examples, batching):
    """Below the first block, patching equals writing the donor's tokens; of the last token alone, writing that one."""
    hosts = [replace(example, span=(2, 5)) for example in examples]
    donors = hosts[1:] + hosts[:1]
    states = capture_states(net, donors, ["residual.0"], batching)
    for extent, first in (("whole", 2), ("last", 4)):
        patched = Patch("residual.0", extent, states.at("residual.0", extent))
        written = []
        for host, donor in zip(hosts, donors, strict=True):
            tokens = np.concatenate([host.tokens[:first], donor.tokens[first:5], host.tokens[5:]])
            written.append(replace(host, tokens=tokens))
        expected = read_patched(net, written, last_states, batching)
        assert np.allclose(read_patched(net, hosts, last_states, batching, patched), expected, atol=1e-6)


def test_positions_and_states_agree_for_ragged_spans(net, examples):
    """The states at some examples, in another order, are those that were captured at their positions."""
    batching = PatchBatching(pad=0)
    states = capture_states(net, examples, ["residual.0"], batching)
    embeddings = net.get_input_embeddings().weight.detach().numpy()
    order = SEED.numpy().permutation(len(examples))[:9]
    (batch,) = batch_examples([examples[index] for index in order], batching)
    for extent in PATCH_EXTENTS:
        tokens = batch.tokens[batch.positions(extent)]
        assert len(tokens) > len(order) or extent == "last"
        assert np.allclose(states.at("residual.0", extent, order), embeddings[tokens], atol=1e-6)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_example_is_in_one_batch_whole(examples, batching):
    """No more than the bound side by side, and only equal lengths where nothing fills rows up."""
    batches = list(batch_examples(examples, batching))
    assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == list(range(len(examples)))
    for batch in batches:
        assert batching.size is None or len(batch.indices) <= batching.size
        for row, index in zip(batch.tokens, batch.indices, strict=True):
            tokens = examples[index].tokens
            assert np.array_equal(row[: len(tokens)], tokens)
            assert len(row) == len(tokens) or batching.pad is not None


def test_donors_obey_their_rules():
    """Of the host's own group, accepted, never the host; a host without a required donor is left out."""
    groups, values = [index % 3 for index in range(30)], [index // 6 for index in range(30)]
    rules = [
        DonorRule(name="smaller", accepts=lambda host, donor: values[donor] < values[host]),
        DonorRule(name="equal", accepts=lambda host, donor: values[donor] == values[host] > 2, required=False),
    ]
    pairs = pair_donors(groups, rules, SEED, max_pairs=100)
    assert sorted(pairs.hosts.tolist()) == [index for index in range(30) if values[index]]
    for host, smaller, equal in zip(pairs.hosts, pairs.donors["smaller"], pairs.donors["equal"], strict=True):
        assert groups[host] == groups[smaller]
        assert values[smaller] < values[host]
        assert (equal == -1) == (values[host] <= 2)
        assert equal == -1 or (groups[equal] == groups[host] and values[equal] == values[host] and equal != host)
    fewer = pair_donors(groups, rules, SEED, max_pairs=4)
    assert np.array_equal(fewer.hosts, pairs.hosts[:4])
    assert np.array_equal(fewer.donors["smaller"], pairs.donors["smaller"][:4])


def test_pairs_without_a_value_have_no_reading():
    """One table a metric, with the rows that have a number."""
    values = {"all": np.array([True, False]), "some": np.array([np.nan, 1.0])}
    tables = list(pair_readings("e", 7, values, items=["a", "b"], entities=["x", "y"], attributes=["f", "f"]))
    assert [table["metric"].unique().to_list() for table in tables] == [["all"], ["some"]]
    assert tables[0]["value"].to_list() == [1.0, 0.0]
    assert tables[1].select("item", "entity", "value", "step").rows() == [("b", "y", 1.0, 7)]
