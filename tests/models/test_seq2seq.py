"""An encoder-decoder goes by the same calls as a decoder, and gives what its own class gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForSeq2SeqLM

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import IGNORE_INDEX, EpochSampler, pack
from nosce.errors import DataError
from nosce.models.architecture import Architecture, build_model, load_pretrained
from nosce.models.generation import generate
from nosce.models.likelihood import loss_mask_spans, score_spans
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig
from nosce.train.loss import loss_position_logits, summed_cross_entropy

VOCABULARY, END = 40, 0
SHAPE = Architecture(family="t5", layers=2, width=32, heads=2)


def model(seed=0):
    return build_model(SHAPE, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(seed)).eval()


def texts(count=9):
    """Texts of unequal lengths, a part of each given, ending with the end token."""
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(count):
        given, rest = rng.integers(1, 7), rng.integers(2, 9)
        tokens = np.append(rng.integers(3, VOCABULARY, size=given + rest), END).astype(np.int32)
        pairs.append((tokens, np.arange(len(tokens)) >= given))
    return dataset_from_arrays(pairs)


@torch.no_grad()
def test_logits_are_those_of_the_models_own_forward():
    """Each text alone through transformers' class, with what is given as its input and the rest as its labels."""
    net, told = model(), texts()
    batch = pack(told, range(len(told)), window=None, eos_id=END)
    with varlen_forward(net) as forward:
        logits = loss_position_logits(net, forward, batch)
    order = sorted(range(len(told)), key=lambda t: -len(told.text_tokens(t)))
    at = 0
    for text in order:
        tokens, counted = told.text_tokens(text).astype(np.int64), told.text_loss_mask(text)
        labels = torch.from_numpy(tokens[counted])[None]
        own = net(input_ids=torch.from_numpy(tokens[~counted])[None], labels=labels).logits[0]
        assert torch.allclose(logits[at : at + len(own)], own, atol=1e-5)
        at += len(own)
    assert at == len(logits) == (batch.labels != IGNORE_INDEX).sum()


def test_the_loss_is_the_models_own():
    """Summed over what is to be written, whatever the company in the batch."""
    net, told = model(), texts()
    batch = pack(told, range(len(told)), window=None, eos_id=END)
    with torch.no_grad(), varlen_forward(net) as forward:
        nats = summed_cross_entropy(net, forward, batch)
        parts = sum(summed_cross_entropy(net, forward, part) for part in batch.split(4))
    assert float(parts) == pytest.approx(float(nats), rel=1e-5)
    own = 0.0
    for text in range(len(told)):
        tokens, counted = told.text_tokens(text).astype(np.int64), told.text_loss_mask(text)
        labels = torch.from_numpy(tokens[counted])[None]
        with torch.no_grad():
            own += float(net(input_ids=torch.from_numpy(tokens[~counted])[None], labels=labels).loss) * counted.sum()
    assert float(nats) == pytest.approx(own, rel=1e-4)


@pytest.mark.whole
def test_it_learns_by_the_loop_and_says_the_same_read_or_written(tmp_path):
    """After training, one pass tells what greedy decoding writes, for what was learnt and for what was not."""
    net, told = model(), texts(12)
    few = dataset_from_arrays((told.text_tokens(t), told.text_loss_mask(t)) for t in range(8))
    recipe = TrainingConfig(steps=120, batch_size=8, peak_lr=5e-3, warmup_steps=5)
    loop.train(net, few, EpochSampler(8, 8, Seed(0)), recipe, eos_id=END, folder=tmp_path, on_checkpoint=lambda _: None)
    heard = score_spans(net, told, loss_mask_spans(told), eos_id=END)
    prompts = [told.text_tokens(t)[~told.text_loss_mask(t)].astype(np.int64) for t in range(12)]
    replies = generate(net, prompts, eos_id=END, max_new_tokens=12)
    for text, (what, reply) in enumerate(zip(heard, replies, strict=True)):
        target = told.text_tokens(text)[told.text_loss_mask(text)][:-1]
        assert what.exact_match == (reply.ended and np.array_equal(reply.tokens, target))
        assert what.exact_match or text >= 8
    assert not all(what.exact_match for what in heard)


def test_a_saved_one_comes_back_as_what_it_was(tmp_path):
    """From a folder in the layout of transformers, whose configuration says what it is."""
    net = model(3)
    net.save_pretrained(tmp_path)
    back = load_pretrained(tmp_path)
    assert type(back) is type(net)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), back.parameters(), strict=True))
    assert SHAPE.parameter_count(VOCABULARY) == pytest.approx(sum(p.numel() for p in net.parameters()), rel=0.02)


def test_a_text_that_gives_the_encoder_nothing_is_refused():
    """It would be asked about nothing."""
    net = model()
    plain = dataset_from_arrays([(np.array([5, 6, END], dtype=np.int32), np.ones(3, dtype=bool))])
    with varlen_forward(net) as forward, pytest.raises(DataError, match="needs a prompt"):
        summed_cross_entropy(net, forward, pack(plain, [0], window=None, eos_id=END))


def test_what_is_given_is_counted_from_the_front():
    """Of texts that count all, some and but the end."""
    masks = [[True] * 3, [False, True, False, True], [False, False, True], [False] * 2]
    told = dataset_from_arrays((np.arange(len(m), dtype=np.int32), np.array(m)) for m in masks)
    assert told.prompt_len.tolist() == [0, 1, 2, 2]


#: Encoder-decoders whose logits are more than states times a matrix: a bias, a cap, a scale; and one of T5's kin.
OTHER_FAMILIES = {
    "bart": {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
    "marian": {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
    "mt5": {"d_model": 32, "num_layers": 2, "d_kv": 8, "d_ff": 64, "num_heads": 4, "dropout_rate": 0.0},
}
BART_SIZES = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 64, "dropout": 0.0}


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_other_encoder_decoders_give_their_own_logits(family):
    """Loss, likelihoods and greedy replies, against the model's own forward pass on one text at a time."""
    sizes = OTHER_FAMILIES[family] | ({} if family == "mt5" else BART_SIZES)
    ends = {"pad_token_id": 1, "bos_token_id": END, "eos_token_id": END, "decoder_start_token_id": END}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AutoModelForSeq2SeqLM.from_config(CONFIG_MAPPING[family](vocab_size=VOCABULARY, **sizes, **ends))
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(8 if weight.ndim == 2 else 1)
            if family != "mt5":
                net.final_logits_bias.normal_(0, 2)
    told = texts()
    scores = score_spans(net.eval(), told, loss_mask_spans(told), eos_id=END)
    batch = pack(told, range(len(told)), window=None, eos_id=END)
    with torch.no_grad(), varlen_forward(net) as forward:
        loss = summed_cross_entropy(net, forward, batch)
    own = 0.0
    prompts = []
    for text, score in enumerate(scores):
        tokens, counted = told.text_tokens(text).astype(np.int64), told.text_loss_mask(text)
        prompts.append(tokens[~counted])
        given, target = torch.from_numpy(tokens[~counted])[None], torch.from_numpy(tokens[counted])
        started = torch.cat([torch.tensor([END]), target[:-1]])[None]
        with torch.no_grad():
            logits = net(input_ids=given, decoder_input_ids=started).logits[0]
        nats = torch.nn.functional.cross_entropy(logits, target, reduction="none")
        np.testing.assert_allclose(score.token_nats, nats.numpy(), atol=1e-4, rtol=1e-4)
        own += float(nats.sum())
    assert float(loss) == pytest.approx(own, rel=1e-4)
    for prompt, reply in zip(prompts, generate(net, prompts, eos_id=END, max_new_tokens=5), strict=True):
        written = [END]
        while len(written) < 6 and (len(written) == 1 or written[-1] != END):
            with torch.no_grad():
                logits = net(input_ids=torch.from_numpy(prompt)[None], decoder_input_ids=torch.tensor([written])).logits
            written.append(int(logits[0, -1].argmax()))
        assert reply.tokens.tolist() == [token for token in written[1:] if token != END]
