"""A folder of ours answers as a loop over its logits says, draw by draw the same, and through its chat template."""

from __future__ import annotations

import math
import shutil

import pytest
import torch

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.local import LocalChatModel
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.train import checkpoint

WORDS = "acorn basil cedar daisy ember fjord grove heron inlet jetty"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A little GPT-2 with weights large enough to prefer something, in the hub's layout."""
    place = tmp_path_factory.mktemp("model")
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(TokenizerSpec(kind="word"), [WORDS]), place / "tokenizer")
    made = tokenizers.load_tokenizer(place / "tokenizer")
    shape = Architecture(family="gpt2", layers=1, width=32, heads=2, max_positions=64)
    net = build_model(
        shape,
        vocab_size=made.get_vocab_size(),
        eos_id=made.token_to_id("<eos>"),
        pad_id=made.token_to_id("<pad>"),
        seed=Seed(1),
    )
    with torch.no_grad():
        for weights in net.parameters():
            weights.mul_(8 if weights.ndim > 1 else 1)
    checkpoint.save_checkpoint(net, place / "tokenizer", place / "whole")
    return place / "whole"


def by_hand(one: LocalChatModel, text: str, tokens: int) -> tuple[str, float]:
    """The first choice at every place, one at a time."""
    ids = one._tokenizer(text, return_tensors="pt")["input_ids"]
    total, start = 0.0, ids.shape[1]
    for _ in range(tokens):
        with torch.no_grad():
            logs = one._model(ids).logits[0, -1].log_softmax(-1)
        best = int(logs.argmax())
        total += float(logs[best])
        ids = torch.cat([ids, torch.tensor([[best]])], 1)
        if best == one._model.generation_config.eos_token_id:
            break
    return one._tokenizer.decode(ids[0, start:], skip_special_tokens=True), total


def test_greedy_replies_are_those_of_a_loop_whatever_the_batch(folder):
    """Prompts of unlike length together, and alone; log-probabilities with them."""
    one = LocalChatModel(folder, batch_size=4)
    texts = ["acorn", "basil cedar daisy", "ember fjord", "grove", "heron inlet jetty acorn basil"]
    found = complete_all(one, [ChatRequest.from_user(text, max_new_tokens=6, top_logprobs=3) for text in texts])
    for text, reply in zip(texts, found, strict=True):
        said, total = by_hand(one, text, 6)
        assert reply.text == said
        assert reply.logprob == pytest.approx(total, abs=1e-3)
        assert reply.finish_reason in ("stop", "length")
        assert len(reply.first_token_logprobs) == 3
        assert reply.first_token_logprobs[0][1] >= reply.first_token_logprobs[1][1] >= reply.first_token_logprobs[2][1]
        assert sum(math.exp(value) for _, value in reply.first_token_logprobs) <= 1 + 1e-6
    alone = complete_all(
        LocalChatModel(folder, batch_size=1),
        [ChatRequest.from_user(text, max_new_tokens=6, top_logprobs=3) for text in texts],
    )
    assert [reply.text for reply in alone] == [reply.text for reply in found]


def test_draws_are_their_own_and_the_same_again(folder):
    """Ten draws are not all alike; each is the same in another order, and global randomness is left alone."""
    asks = [ChatRequest.from_user("acorn basil", max_new_tokens=4, temperature=2.0, sample_index=n) for n in range(10)]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    found = complete_all(LocalChatModel(folder), asks)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({reply.text for reply in found}) > 3
    assert complete_all(LocalChatModel(folder), asks[::-1])[::-1] == found


def test_a_chat_template_is_used_where_there_is_one(folder):
    """Roles are written as it says."""
    one = LocalChatModel(folder)
    one._tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}now"
    ask = ChatRequest(messages=(("system", "acorn"), ("user", "basil")))
    assert one._prompt_text(ask) == "system : acorn user : basil now"
    one._tokenizer.chat_template = None
    assert one._prompt_text(ask) == "acorn\nbasil"


def test_replies_are_kept_under_the_weights(folder, tmp_path):
    """The same folder answers from the file; its name holds the hash of its weights."""
    known = ResponseCache(tmp_path / "r.jsonl")
    asks = [ChatRequest.from_user("acorn", max_new_tokens=3)]
    first = complete_all(CachedChatModel(LocalChatModel(folder), known), asks)
    assert "whole " in LocalChatModel(folder).model_id
    assert complete_all(CachedChatModel(LocalChatModel(folder), ResponseCache(tmp_path / "r.jsonl")), asks) == first
    assert len(known) == 1
    with pytest.raises(SpecError, match=r"lacks config\.json"):
        LocalChatModel(tmp_path)._tokenizer  # noqa: B018
    shutil.copytree(folder, tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(SpecError, match="has no tokenizer that can be read"):
        LocalChatModel(tmp_path / "mute")._tokenizer  # noqa: B018
