"""A folder of ours answers as a loop over its logits says, draw by draw the same, and through its chat template."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BartConfig,
    BertConfig,
    Gemma2Config,
    Gemma3Config,
    LlamaConfig,
    MambaConfig,
    ModernBertConfig,
    RwkvConfig,
)

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.local import LocalChatModel
from nosce.models.architecture import Architecture, Pretrained, build_model
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


#: What a folder's generation_config.json may hold, each of which made transformers choose other tokens or fail.
STEERING = {
    "repetition_penalty": {"repetition_penalty": 1.5},
    "num_beams": {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
    "num_return_sequences": {"num_beams": 2, "num_return_sequences": 2},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "suppress_tokens": {"suppress_tokens": [2, 3, 4, 5, 6, 7]},
    "begin_suppress_tokens": {"begin_suppress_tokens": [2, 3, 4, 5, 6, 7]},
    "forced_bos_token_id": {"forced_bos_token_id": 5},
    "forced_eos_token_id": {"forced_eos_token_id": 5},
    "bad_words_ids": {"bad_words_ids": [[n] for n in range(3, 8)]},
    "sequence_bias": {"sequence_bias": [[[n], -30.0] for n in range(3, 8)]},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": [1, 50.0]},
    "guidance_scale": {"guidance_scale": 3.0},
    "min_new_tokens": {"min_new_tokens": 6},
    "min_length": {"min_length": 20},
    "max_length": {"max_length": 3},
    "max_time": {"max_time": 1e-9},
    "stop_strings": {"stop_strings": "grove"},
    "cache_implementation": {"cache_implementation": "static"},
    "use_cache": {"use_cache": False},
    "prompt_lookup_num_tokens": {"prompt_lookup_num_tokens": 2},
    "penalty_alpha": {"penalty_alpha": 0.6, "top_k": 4},
    "watermarking_config": {"watermarking_config": {"bias": 20.0, "greenlist_ratio": 0.25}},
    "do_sample": {"do_sample": True, "temperature": 3.0, "top_k": 3, "top_p": 0.5},
    "temperature alone": {"do_sample": False, "temperature": 0.9, "top_p": 0.6},  # as Llama 2 has it
    "min_p": {"min_p": 0.9},
    "typical_p": {"typical_p": 0.2},
    "epsilon_cutoff": {"epsilon_cutoff": 0.2},
    "eta_cutoff": {"eta_cutoff": 0.2},
    "top_h": {"top_h": 0.1},
    "remove_invalid_values": {"remove_invalid_values": True, "renormalize_logits": True},
    "output_scores": {"output_scores": True, "output_attentions": True, "return_dict_in_generate": False},
}
TEXTS = ["acorn", "ember fjord", "heron inlet jetty acorn basil"]
GEMMA_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 4,
}
BART_SIZES = {
    "d_model": 32,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
}
GREEDY = [ChatRequest.from_user(text, max_new_tokens=6) for text in TEXTS]
DRAWN = [ChatRequest.from_user("acorn basil", max_new_tokens=4, temperature=1.0, sample_index=n) for n in range(6)]


def steered(folder, place, **settings):
    """A copy of the folder whose generation_config.json holds the settings."""
    shutil.copytree(folder, place)
    file = place / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings))
    return place


def refilled(folder, place, config, model_class=AutoModelForCausalLM):
    """The folder's tokenizer with a model of another family, in float32 with weights that matter."""
    shutil.copytree(folder, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = model_class.from_config(config)
        with torch.no_grad():
            for name, weights in net.named_parameters():
                weights.mul_(8 if weights.ndim == 2 and "A_log" not in name else 1)
    net.save_pretrained(place)
    return place


@pytest.mark.parametrize("family", ["mamba", "rwkv", "gemma2", "bart"])
def test_a_reply_does_not_depend_on_its_batch_in_any_family(folder, tmp_path, family):
    """Families whose replies change with padding on the left are read one prompt at a time."""
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "vocab_size": 16}
    config = {
        "mamba": lambda: MambaConfig(**ends, hidden_size=32, num_hidden_layers=2, state_size=8),
        "rwkv": lambda: RwkvConfig(**ends, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32),
        "gemma2": lambda: Gemma2Config(**ends, **GEMMA_SIZES),
        "bart": lambda: BartConfig(**ends, **BART_SIZES, decoder_start_token_id=0, forced_bos_token_id=5),
    }[family]()
    if family == "bart":
        config.is_encoder_decoder, config.is_decoder = False, True
    one = LocalChatModel(refilled(folder, tmp_path / "whole", config), batch_size=4)
    for request, reply in zip(GREEDY, complete_all(one, GREEDY), strict=True):
        said, total = by_hand(one, request.messages[0][1], 6)
        assert reply.text == said
        assert reply.logprob == pytest.approx(total, abs=1e-3)


def test_a_model_that_sees_later_tokens_is_refused(folder, tmp_path):
    """BERT as it comes has no likelihood from left to right."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    one = LocalChatModel(refilled(folder, tmp_path / "whole", BertConfig(vocab_size=16, **sizes)))
    with pytest.raises(SpecError, match="a bert model cannot be used, since a token's logits depend on later tokens"):
        complete_all(one, GREEDY)


@pytest.fixture(scope="module")
def plain(folder):
    """The replies of the folder as it is."""
    return complete_all(LocalChatModel(folder), [*GREEDY, *DRAWN])


@pytest.mark.parametrize("settings", STEERING.values(), ids=STEERING)
def test_a_folders_settings_for_generation_steer_nothing(folder, plain, tmp_path, settings):
    """Replies at temperature 0 are the likeliest tokens, draws at 1 are the model's, and log-probabilities theirs."""
    steered(folder, tmp_path / "whole", **settings)
    one = LocalChatModel(tmp_path / "whole")
    one.model_id = LocalChatModel(folder).model_id  # the seeds of draws come from it
    found = complete_all(one, [*GREEDY, *DRAWN])

    assert [reply.text for reply in found] == [reply.text for reply in plain]
    for request, reply in zip(GREEDY, found, strict=False):
        said, total = by_hand(one, request.messages[0][1], 6)
        assert reply.text == said
        assert reply.logprob == pytest.approx(total, abs=1e-3)


def test_settings_for_generation_in_the_models_configuration_steer_nothing(folder, tmp_path):
    """Old folders have them in config.json and no other file."""
    shutil.copytree(folder, tmp_path / "whole")
    (tmp_path / "whole" / "generation_config.json").unlink()
    file = tmp_path / "whole" / "config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"repetition_penalty": 1.5, "max_length": 3})
    )
    found = complete_all(LocalChatModel(tmp_path / "whole"), GREEDY)

    assert [reply.text for reply in found] == [reply.text for reply in complete_all(LocalChatModel(folder), GREEDY)]


def test_any_of_several_end_tokens_ends_a_reply(folder, tmp_path):
    """The end tokens are the one setting for generation that is kept: the reply stops before the first of them."""
    plain = LocalChatModel(folder)
    first = complete_all(plain, GREEDY)[2]
    word = first.text.split()[1]
    ends = [plain._model.generation_config.eos_token_id, plain._tokenizer.convert_tokens_to_ids(word)]
    found = complete_all(LocalChatModel(steered(folder, tmp_path / "whole", eos_token_id=ends)), GREEDY)[2]

    assert found.text.split() == first.text.split()[: first.text.split().index(word)]
    assert found.finish_reason == "stop"


def test_an_encoder_is_refused_before_it_is_loaded(folder, tmp_path):
    """ModernBERT writes no replies and has no settings for generation."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ids = dict.fromkeys(("cls_token_id", "sep_token_id", "eos_token_id", "bos_token_id"), 0) | {"pad_token_id": 1}
    config = ModernBertConfig(vocab_size=16, **sizes, **ids)
    one = LocalChatModel(refilled(folder, tmp_path / "whole", config, AutoModelForMaskedLM))
    with pytest.raises(SpecError, match=r"modernbert model in .* is an encoder, which fills gaps"):
        one.check_folder()
    with pytest.raises(SpecError, match="is an encoder"):
        complete_all(one, GREEDY)


def test_a_model_that_also_sees_answers(folder, tmp_path):
    """Gemma 3's sizes and end token are those of its text_config."""
    text = {"vocab_size": 16, **GEMMA_SIZES, "eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    whole = refilled(folder, tmp_path / "whole", config)
    (whole / "generation_config.json").unlink(missing_ok=True)
    found = complete_all(LocalChatModel(whole), GREEDY)
    assert {reply.finish_reason for reply in found} <= {"stop", "length"}
    model = Pretrained.from_folder(whole)
    assert build_model(model, vocab_size=16, eos_id=0, pad_id=1, seed=Seed(0)).config.model_type == "gemma3"


def test_no_word_that_a_class_has_as_its_end_cuts_a_reply(folder, tmp_path):
    """config.json and generation_config.json name no end, and LlamaConfig would say 2, which is a word here."""
    whole = tmp_path / "whole"
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    refilled(folder, whole, LlamaConfig(vocab_size=16, **sizes, eos_token_id=0, bos_token_id=0, pad_token_id=1))
    (whole / "generation_config.json").unlink()
    values = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    del values["eos_token_id"]
    (whole / "config.json").write_text(json.dumps(values))
    assert LocalChatModel(whole)._end_ids == [0]


def with_more_tokens(folder, place):
    """The folder with a tokenizer of one more token than the model has rows, "<image>", which also pads."""
    shutil.copytree(folder, place)
    tokenizer = tokenizers.load_tokenizer(place)
    first = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens(["<image>"])
    assert tokenizer.token_to_id("<image>") == first
    tokenizer.save(str(place / "tokenizer.json"))
    settings = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8"))
    (place / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": "<image>"}))
    return place


def test_tokens_that_no_text_has_may_be_more_than_the_models_rows(folder, plain, tmp_path):
    """As in CodeLlama 34B and Gemma 3 1B: replies are the same; only a prompt with such a token is refused."""
    one = LocalChatModel(with_more_tokens(folder, tmp_path / "whole"))
    one.check_folder()
    found = complete_all(one, GREEDY)
    assert [reply.text for reply in found] == [reply.text for reply in plain[: len(GREEDY)]]
    with pytest.raises(SpecError, match=r"has \d+ tokens but its tokenizer gives its texts the token number \d+"):
        complete_all(one, [ChatRequest.from_user("acorn <image>", max_new_tokens=2)])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("can't allocate memory: 9 GB")]
)
def test_short_memory_is_not_the_folders_fault(folder, monkeypatch, error):
    """One sentence that says what to do about it."""
    one = LocalChatModel(folder)

    def fail(**_):
        raise error

    monkeypatch.setattr(one._model, "generate", fail)
    one._rows_per_batch = 1
    with pytest.raises(SpecError, match="does not fit in the device's memory; take a smaller batch_size") as refused:
        complete_all(one, GREEDY)
    assert "replace" not in str(refused.value)


def test_what_fails_in_generate_is_not_said_to_be_the_folders_files(folder, monkeypatch):
    """It may as well be ours; an interrupt stays one."""
    one = LocalChatModel(folder)
    one._rows_per_batch = 1
    failures = iter([TypeError("an argument too many"), KeyboardInterrupt()])

    def fail(**_):
        raise next(failures)

    monkeypatch.setattr(one._model, "generate", fail)
    with pytest.raises(SpecError, match=r"TypeError \(an argument too many\); check that the folder's files are whole"):
        complete_all(one, GREEDY)
    with pytest.raises(KeyboardInterrupt):
        complete_all(one, GREEDY)


def test_an_end_that_the_tokenizer_does_not_have_is_refused(folder, tmp_path):
    """The model has a row for it, but no text could be padded with it."""
    whole, sizes = tmp_path / "whole", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    refilled(folder, whole, LlamaConfig(vocab_size=16, **sizes, intermediate_size=64, eos_token_id=15))
    (whole / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert LocalChatModel(folder)._tokenizer.convert_ids_to_tokens(15) is None
    with pytest.raises(SpecError, match=r"are \[15\], which its tokenizer does not have"):
        LocalChatModel(whole).check_folder()
