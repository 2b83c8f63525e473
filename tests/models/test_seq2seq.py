"""An encoder-decoder goes by the same calls as a decoder, and gives what its own class gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nosce.data.packing import collect
from nosce.data.sampling import IGNORED, Order, pack
from nosce.errors import DataError
from nosce.models.architecture import Architecture, build, load
from nosce.models.generation import generate
from nosce.models.likelihood import counted_spans, spoken
from nosce.models.varlen import apart
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import Recipe
from nosce.train.loss import counted_logits, next_token_nats

VOCABULARY, END = 40, 0
SHAPE = Architecture(family="t5", layers=2, width=32, heads=2)


def model(seed=0):
    return build(SHAPE, vocabulary=VOCABULARY, end=END, pad=1, seed=Seed(seed)).eval()


def texts(count=9):
    """Texts of unequal lengths, a part of each given, ending with the end token."""
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(count):
        given, rest = rng.integers(1, 7), rng.integers(2, 9)
        tokens = np.append(rng.integers(3, VOCABULARY, size=given + rest), END).astype(np.int32)
        pairs.append((tokens, np.arange(len(tokens)) >= given))
    return collect(pairs)


@torch.no_grad()
def test_logits_are_those_of_the_models_own_forward():
    """Each text alone through transformers' class, with what is given as its input and the rest as its labels."""
    net, told = model(), texts()
    batch = pack(told, range(len(told)), window=None, end=END)
    with apart(net) as forward:
        logits = counted_logits(net, forward, batch)
    order = sorted(range(len(told)), key=lambda t: -len(told.text(t)))
    at = 0
    for text in order:
        tokens, counted = told.text(text).astype(np.int64), told.mask(text)
        labels = torch.from_numpy(tokens[counted])[None]
        own = net(input_ids=torch.from_numpy(tokens[~counted])[None], labels=labels).logits[0]
        assert torch.allclose(logits[at : at + len(own)], own, atol=1e-5)
        at += len(own)
    assert at == len(logits) == (batch.labels != IGNORED).sum()


def test_the_loss_is_the_models_own():
    """Summed over what is to be written, whatever the company in the batch."""
    net, told = model(), texts()
    batch = pack(told, range(len(told)), window=None, end=END)
    with torch.no_grad(), apart(net) as forward:
        nats = next_token_nats(net, forward, batch)
        parts = sum(next_token_nats(net, forward, part) for part in batch.parts(4))
    assert float(parts) == pytest.approx(float(nats), rel=1e-5)
    own = 0.0
    for text in range(len(told)):
        tokens, counted = told.text(text).astype(np.int64), told.mask(text)
        labels = torch.from_numpy(tokens[counted])[None]
        with torch.no_grad():
            own += float(net(input_ids=torch.from_numpy(tokens[~counted])[None], labels=labels).loss) * counted.sum()
    assert float(nats) == pytest.approx(own, rel=1e-4)


def test_it_learns_by_the_loop_and_says_the_same_read_or_written(tmp_path):
    """After training, one pass tells what greedy decoding writes, for what was learnt and for what was not."""
    net, told = model(), texts(12)
    few = collect((told.text(t), told.mask(t)) for t in range(8))
    recipe = Recipe(steps=120, batch=8, peak_lr=5e-3, warmup=5)
    loop.train(net, few, Order(8, 8, Seed(0)), recipe, end=END, folder=tmp_path, keep=lambda _: None)
    heard = spoken(net, told, counted_spans(told), end=END)
    prompts = [told.text(t)[~told.mask(t)].astype(np.int64) for t in range(12)]
    replies = generate(net, prompts, end=END, most=12)
    for text, (what, reply) in enumerate(zip(heard, replies, strict=True)):
        target = told.text(text)[told.mask(text)][:-1]
        assert what.exact == (reply.ended and np.array_equal(reply.tokens, target))
        assert what.exact or text >= 8
    assert not all(what.exact for what in heard)


def test_a_saved_one_comes_back_as_what_it_was(tmp_path):
    """From a folder in the layout of transformers, whose configuration says what it is."""
    net = model(3)
    net.save_pretrained(tmp_path)
    back = load(tmp_path)
    assert type(back) is type(net)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), back.parameters(), strict=True))
    assert SHAPE.parameters(VOCABULARY) == pytest.approx(sum(p.numel() for p in net.parameters()), rel=0.02)


def test_a_text_that_gives_the_encoder_nothing_is_refused():
    """It would be asked about nothing."""
    net = model()
    plain = collect([(np.array([5, 6, END], dtype=np.int32), np.ones(3, dtype=bool))])
    with apart(net) as forward, pytest.raises(DataError, match="given"):
        next_token_nats(net, forward, pack(plain, [0], window=None, end=END))


def test_what_is_given_is_counted_from_the_front():
    """Of texts that count all, some and but the end."""
    masks = [[True] * 3, [False, True, False, True], [False, False, True], [False] * 2]
    told = collect((np.arange(len(m), dtype=np.int32), np.array(m)) for m in masks)
    assert told.given.tolist() == [0, 1, 2, 2]
