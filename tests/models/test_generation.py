"""Every shortcut of generation gives the tokens that transformers' own generate gives, or draws from what it says."""

from functools import cache

import numpy as np
import pytest
import scipy.stats
import torch
from transformers import AutoModelForSeq2SeqLM, BartConfig, T5Config

from nosce.data.grammar import FORBIDDEN, TokenGrammar
from nosce.errors import SpecError
from nosce.models import generation as replies
from nosce.models import kv_cache as module
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.generation import SamplingParams, TokenCompletion, generate
from nosce.seeds import Seed

VOCABULARY, END, POSITIONS, MOST = 40, 0, 64, 12
TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": END, "eos_token_id": END, "pad_token_id": 1}
T5 = {
    **TOKENS,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "tie_word_embeddings": False,
    "decoder_start_token_id": 1,
}
PROMPTS = [
    Seed(3).numpy().integers(3, VOCABULARY, size=n) for n in (1, 14, 3, 3, 9, 20, 2, 0, 7, 5, 11, 16, 4, 8, 1, 6)
]

#: Added to the logit of the end, so that of each model some replies end and some are cut.
BIAS = {"gpt-neox": 0.3, "gpt2": 0.1, "opt": 0.6, "llama": 0.6, "codegen": 0.4, "t5": 0.3}
EVERY = pytest.mark.parametrize("family", [*CAUSAL_FAMILIES, "t5"])
DECODER = pytest.mark.parametrize("family", CAUSAL_FAMILIES)


@cache
def model(family):
    """A narrow model with weights large enough to say varied things, and an end that is neither rare nor certain."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        match family:
            case "t5":
                net, scales = AutoModelForSeq2SeqLM.from_config(T5Config(**T5)), {"shared": 0.1, "lm_head": 0.1, "": 4}
            case _:
                shape = Architecture(
                    family=family, layers=2, width=32, heads=4, max_positions=POSITIONS, tie_embeddings=False
                )
                net, scales = build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(1)), {"": 6}
        for name, weight in net.named_parameters():
            if weight.ndim == 2:
                weight.mul_(next(scale for part, scale in scales.items() if part in name))
        head = net.get_output_embeddings()
        head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
        head.bias[END] = BIAS[family]
    return net.eval()


def prompts(family):
    """Prompts of many lengths, the empty one among them where a model can be asked nothing."""
    return [p for p in PROMPTS if len(p) or family != "t5"]


@torch.no_grad()
def logits(net, tokens):
    """Of the token after these, by one plain pass of a decoder."""
    return net(input_ids=torch.tensor([[END, *tokens]])).logits[0, -1].double()


@cache
def theirs(family):
    """What transformers' generate replies, one prompt at a time."""
    return tuple(decoded(model(family), prompt) for prompt in prompts(family))


@torch.no_grad()
def decoded(net, prompt, max_new_tokens=MOST):
    shown = [*prompt] if net.config.is_encoder_decoder else [END, *prompt]
    ids = torch.tensor([shown])
    reply = net.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=1,
    )
    tokens = reply[0, 1 if net.config.is_encoder_decoder else len(shown) :].tolist()
    return (tuple(tokens[:-1]), True) if tokens[-1] == END else (tuple(tokens), False)


def plain(replies: list[TokenCompletion]):
    return tuple((tuple(reply.tokens.tolist()), reply.ended) for reply in replies)


def greedy(family, **more):
    return plain(generate(model(family), prompts(family), **({"eos_id": END, "max_new_tokens": MOST} | more)))


def sampled(family, items, *, temperature=1.0, max_new_tokens=MOST, **more):
    """Replies to some of the prompts, each with the seed of its number."""
    sampling = SamplingParams([Seed(5) / int(i) for i in items], temperature)
    asked = [prompts(family)[i] for i in items]
    return plain(generate(model(family), asked, eos_id=END, max_new_tokens=max_new_tokens, sampling=sampling, **more))


@EVERY
def test_replies_are_of_all_kinds(family):
    """Some replies of the models below end, at once or later, some are cut, and they differ: what follows needs it."""
    replies = theirs(family)
    ended = [len(tokens) for tokens, whole in replies if whole]

    assert 3 <= len(ended) <= len(replies) - 2
    assert len(set(ended)) >= 2
    assert len({tokens for tokens, _ in replies}) >= 8


@EVERY
@pytest.mark.parametrize("rows", [256, 5])
def test_greedy_replies_are_those_of_transformers(family, rows):
    """Token for token, with prompts of many lengths side by side, whether replies end or are cut."""
    assert greedy(family, batch_size=rows) == theirs(family)


@EVERY
def test_greedy_replies_one_at_a_time_are_those_of_transformers(family):
    """A row that is alone has nothing to be padded to and nothing to be dropped from."""
    assert greedy(family, batch_size=1) == theirs(family)


@DECODER
def test_prompts_of_one_length_are_decoded_as_well(family):
    """Where nothing needs padding no mask is made, and the replies are the same."""
    asked = [prompt[:3] for prompt in PROMPTS if len(prompt) >= 3]

    assert plain(generate(model(family), asked, eos_id=END, max_new_tokens=MOST)) == tuple(
        decoded(model(family), p) for p in asked
    )


@EVERY
def test_long_replies_are_those_of_transformers(family):
    """Up to the last position of a model replies are right, whatever the steps in which memory grows."""
    net, asked = model(family), [prompts(family)[i] for i in (0, 1, 5, 6)]
    max_new_tokens = POSITIONS - 20

    assert plain(generate(net, asked, eos_id=END, max_new_tokens=max_new_tokens)) == tuple(
        decoded(net, p, max_new_tokens) for p in asked
    )


@EVERY
def test_a_family_may_call_its_cache_by_either_name(family, monkeypatch):
    """transformers 5.24 renames `past_key_values` to `cache`, family by family, and warns of the old name."""
    net = model(family)
    old_name = net.forward
    renamed_calls = []

    def forward(*inputs, cache=None, **more):
        renamed_calls.append(cache)
        return old_name(*inputs, past_key_values=cache, **more)

    theirs(family)  # kept, since transformers' own loop calls the same function
    monkeypatch.setattr(net, "forward", forward)
    assert greedy(family) == theirs(family)
    assert renamed_calls
    assert all(one is not None for one in renamed_calls)


@DECODER
@pytest.mark.parametrize("max_new_tokens", [1, 2, 5])
def test_a_reply_is_cut_at_the_most_it_is_given(family, max_new_tokens):
    """Shorter limits give the beginnings of longer replies; only what had its end before the cut has ended."""
    expected = tuple(
        (tokens[:max_new_tokens], ended and len(tokens) < max_new_tokens) for tokens, ended in theirs(family)
    )

    assert greedy(family, max_new_tokens=max_new_tokens) == expected


@DECODER
def test_a_model_with_eager_attention_replies_alike(family):
    """Which of transformers' attentions a model was loaded with does not matter."""
    net = model(family)
    before = net.config._attn_implementation
    assert (before == "eager") == (family == "codegen")
    net.set_attn_implementation("eager")
    try:
        assert greedy(family) == theirs(family)
    finally:
        net.set_attn_implementation(before)


def test_a_decoder_may_be_deeper_than_its_encoder():
    """Two layers that read and three that write: the reply is that of whole passes (transformers' generate fails)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AutoModelForSeq2SeqLM.from_config(T5Config(**T5, num_decoder_layers=3)).eval()
    prompt, written = prompts("t5")[1], [1]
    with torch.no_grad():
        for _ in range(3):
            given = {"input_ids": torch.from_numpy(prompt)[None], "decoder_input_ids": torch.tensor([written])}
            written.append(int(net(**given, use_cache=False).logits[0, -1].argmax()))

    assert plain(generate(net, [prompt], eos_id=39, max_new_tokens=3)) == ((tuple(written[1:]), False),)


@EVERY
@pytest.mark.parametrize("slack", [0.9, 1.0])
def test_dropping_a_row_changes_no_other(family, slack, monkeypatch):
    """Dropped as soon as a tenth have ended, or each at once: the replies are the same."""
    dropped = []
    keep = module.KVCacheBatch._select_rows
    monkeypatch.setattr(module, "COMPACTION_RATIO", slack)
    monkeypatch.setattr(
        module.KVCacheBatch, "_select_rows", lambda state, rows: (dropped.append(len(rows)), keep(state, rows))
    )

    assert greedy(family) == theirs(family)
    assert dropped
    assert dropped == sorted(dropped, reverse=True)


@EVERY
def test_rows_that_are_carried_along_change_no_other(family, monkeypatch):
    """Rows that have ended and are never dropped say nothing more and disturb nobody."""
    monkeypatch.setattr(module, "COMPACTION_RATIO", 0.0)
    monkeypatch.setattr(module.KVCacheBatch, "_select_rows", None)

    assert greedy(family) == theirs(family)


@DECODER
def test_a_right_draft_is_all_that_is_needed(family, monkeypatch):
    """Where every reply is what was expected nothing is decoded token by token, and the replies are the same."""
    monkeypatch.setattr(replies, "_decode", None)

    assert greedy(family, drafts=[np.array(tokens, dtype=int) for tokens, _ in theirs(family)]) == theirs(family)


@DECODER
@pytest.mark.parametrize("place", range(MOST))
def test_a_draft_that_is_wrong_anywhere_changes_nothing(family, place):
    """With another token at one place, or one too many, replies are those without a draft."""
    drafts = []
    for tokens, _ in theirs(family):
        draft = np.array(tokens, dtype=int)
        if place < len(draft):
            draft[place] = (draft[place] - 3 + 7) % (VOCABULARY - 3) + 3
        else:
            draft = np.append(draft, 5 + place)
        drafts.append(draft)

    assert greedy(family, drafts=drafts) == theirs(family)
    assert greedy(family, drafts=drafts, batch_size=3) == theirs(family)


@DECODER
@pytest.mark.parametrize("kind", ["empty", "too short", "too long", "random", "right and empty in turn"])
def test_no_draft_changes_a_reply(family, kind):
    """Drafts of nothing, of a beginning, of more than a reply may have, or of nonsense are no more than a guess."""
    rng = Seed(8).numpy()
    right = [np.array(tokens, dtype=int) for tokens, _ in theirs(family)]
    match kind:
        case "empty":
            drafts = [draft[:0] for draft in right]
        case "too short":
            drafts = [draft[: len(draft) // 2] for draft in right]
        case "too long":
            drafts = [np.append(draft, rng.integers(3, VOCABULARY, size=3 * MOST)) for draft in right]
        case "random":
            drafts = [rng.integers(3, VOCABULARY, size=rng.integers(2 * MOST)) for _ in right]
        case _:
            drafts = [draft[: len(draft) * (number % 2)] for number, draft in enumerate(right)]

    assert greedy(family, drafts=drafts) == theirs(family)
    for max_new_tokens in (1, 4):
        assert greedy(family, drafts=drafts, max_new_tokens=max_new_tokens) == greedy(
            family, max_new_tokens=max_new_tokens
        )


@DECODER
@pytest.mark.parametrize("tail", [[END], [END, 5, 6]], ids=["its own end", "more behind its end"])
def test_a_draft_with_an_end_in_it_changes_nothing(family, tail):
    """A draft that names the end, against what was asked for, is a guess like any other."""
    drafts = [np.array([*tokens, *tail], dtype=int) for tokens, _ in theirs(family)]

    assert greedy(family, drafts=drafts) == theirs(family)


@DECODER
def test_drafts_help_up_to_the_last_position(family):
    """Where prompt and reply fill the model, one draft that goes wrong late stands beside many that do so early."""
    rng = Seed(9).numpy()
    net = model(family)
    asked = [rng.integers(3, VOCABULARY, size=POSITIONS - MOST) for _ in range(24)]
    expected = plain(generate(net, asked, eos_id=END, max_new_tokens=MOST))
    late = next(i for i, (tokens, _) in enumerate(expected) if len(tokens) >= MOST - 1)
    drafts = [np.zeros(0, dtype=int)] * 24
    drafts[late] = np.array(expected[late][0][: MOST - 1])
    drafts[late][-1] = (drafts[late][-1] - 3 + 7) % (VOCABULARY - 3) + 3

    assert sum(not ended for _, ended in expected) > 1
    assert plain(generate(net, asked, eos_id=END, max_new_tokens=MOST, drafts=drafts)) == expected


@EVERY
def test_a_sampled_reply_depends_on_its_seed_alone(family):
    """Alone, in small batches, in another order or without half of the others: each item's reply is the same."""
    items = range(len(prompts(family)))
    together = sampled(family, items)
    some = Seed(0).numpy().permutation(len(together))[:7]

    assert len(set(together)) > len(together) / 2
    assert together != theirs(family)
    for rows in (1, 3, 256):
        assert sampled(family, items, batch_size=rows) == together
        assert sampled(family, some, batch_size=rows) == tuple(together[i] for i in some)


def test_equal_seeds_draw_alike_and_others_otherwise():
    """One prompt asked thirty times: with one seed thirty equal replies, with thirty seeds many."""
    net = model("gpt-neox")
    asked = [PROMPTS[1]] * 30
    alike = generate(net, asked, eos_id=END, max_new_tokens=MOST, sampling=SamplingParams([Seed(0)] * 30))
    varied = generate(
        net, asked, eos_id=END, max_new_tokens=MOST, sampling=SamplingParams([Seed(0) / i for i in range(30)])
    )

    assert len(set(plain(alike))) == 1
    assert len(set(plain(varied))) > 25


@DECODER
def test_a_low_temperature_is_greedy(family):
    """Close to zero only the first choice is ever drawn."""
    assert sampled(family, range(len(PROMPTS)), temperature=1e-4) == theirs(family)


def test_a_shorter_limit_cuts_a_sampled_reply():
    """What is drawn does not depend on how much more could have been drawn."""
    items = range(len(PROMPTS))
    long = sampled("gpt-neox", items)

    assert sampled("gpt-neox", items, max_new_tokens=3) == tuple((t[:3], ended and len(t) < 3) for t, ended in long)


def fits(counts, expected):
    """Is a table of counts what chance makes of these expectations? Rare cells are counted together."""
    rare = expected < 5
    cells = [np.append(x[~rare], x[rare].sum() if rare.any() else []) for x in (counts, expected)]
    return scipy.stats.chisquare(*cells).pvalue > 0.001


@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("family", ["gpt-neox", "gpt2", "codegen"])
def test_frequencies_are_the_models_probabilities(family, temperature):
    """Over two thousand replies the first token, and the one after it, fall as the softmax at this temperature says."""
    net, times = model(family), 2_000
    sampling = SamplingParams([Seed(7) / i for i in range(times)], temperature)
    replies = generate(net, [PROMPTS[4]] * times, eos_id=END, max_new_tokens=2, sampling=sampling, batch_size=1_000)
    first, second = np.zeros(VOCABULARY), np.zeros(VOCABULARY)
    for reply in replies:
        written = [*reply.tokens, END] if reply.ended else reply.tokens
        first[written[0]] += 1
        if len(written) > 1:
            second[written[1]] += 1

    opening = (logits(net, PROMPTS[4]) / temperature).softmax(-1).numpy()
    following = sum(
        opening[token] * (logits(net, [*PROMPTS[4], token]) / temperature).softmax(-1).numpy()
        for token in range(VOCABULARY)
        if token != END
    )
    assert fits(first, times * opening)
    assert fits(np.append(second, times - second.sum()), times * np.append(following, opening[END]))
    other = (logits(net, PROMPTS[4]) / (2 * temperature)).softmax(-1).numpy()
    assert not fits(first, times * other), "a wrong temperature must be seen"


def automaton(states=6):
    """A grammar of chance: about a third of the tokens in each state, the end in every second."""
    rng = Seed(3).numpy()
    then = np.where(rng.random((states, VOCABULARY)) < 0.3, rng.integers(states, size=(states, VOCABULARY)), FORBIDDEN)
    then[:, END] = np.where(np.arange(states) % 2, 0, FORBIDDEN)
    return TokenGrammar(then)


def without(*tokens):
    """A grammar that forbids a few tokens anywhere."""
    then = np.zeros((1, VOCABULARY), dtype=int)
    then[0, list(tokens)] = FORBIDDEN
    return TokenGrammar(then)


def obeys(grammar, reply):
    tokens, ended = reply
    return grammar.accepts(np.array([*tokens, END] if ended else tokens, dtype=int))


@torch.no_grad()
def by_hand(family, prompt, grammar):
    """The best allowed token of a whole pass, over and over."""
    net, state, written = model(family), 0, []
    for _ in range(MOST):
        if net.config.is_encoder_decoder:
            given = {"input_ids": torch.from_numpy(prompt)[None], "decoder_input_ids": torch.tensor([[1, *written]])}
            found = net(**given, use_cache=False).logits[0, -1]
        else:
            found = logits(net, [*prompt, *written])
        token = max(
            (t for t in range(VOCABULARY) if grammar.transitions[state, t] != FORBIDDEN), key=lambda t: found[t].item()
        )
        if token == END:
            return tuple(written), True
        written.append(token)
        state = grammar.transitions[state, token]
    return tuple(written), False


@EVERY
def test_a_greedy_reply_under_a_grammar_is_the_best_that_is_allowed(family):
    """Token by token as by hand, whatever stands beside it; all obey, which few would have done by themselves."""
    grammar = automaton()
    expected = tuple(by_hand(family, prompt, grammar) for prompt in prompts(family))

    for rows in (256, 5, 1):
        assert greedy(family, grammar=grammar, batch_size=rows) == expected
    assert all(obeys(grammar, reply) for reply in expected)
    assert sum(obeys(grammar, reply) for reply in theirs(family)) < len(expected) / 2
    assert len({ended for _, ended in expected}) == 2, "some must end, and some be cut"


@EVERY
def test_a_reply_that_obeys_anyway_is_not_changed(family):
    """With one token forbidden the replies that never held it stay, and all others turn where they did."""
    token = max((tokens for tokens, _ in theirs(family)), key=len)[-1]
    grammar, changed = without(token), 0
    for before, after in zip(theirs(family), greedy(family, grammar=grammar), strict=True):
        if obeys(grammar, before):
            assert after == before
            continue
        at, changed = before[0].index(token), changed + 1
        assert after[0][:at] == before[0][:at]
        assert obeys(grammar, after)

    assert 0 < changed < len(theirs(family))


@EVERY
def test_a_sampled_reply_under_a_grammar_obeys_it(family):
    """Whatever is drawn is allowed, the same in any company; and where all is allowed, the same as without."""
    grammar, items = automaton(), range(len(prompts(family)))
    drawn = sampled(family, items, grammar=grammar, temperature=2.0)

    assert all(obeys(grammar, reply) for reply in drawn)
    assert len(set(drawn)) > len(drawn) / 2
    assert drawn != greedy(family, grammar=grammar)
    assert sampled(family, items, grammar=grammar, temperature=2.0, batch_size=3) == drawn
    assert sampled(family, items, grammar=without()) == sampled(family, items)


def test_frequencies_under_a_grammar_are_shares_of_what_is_allowed():
    """Over two thousand replies first tokens fall as the softmax says, cut to what is allowed and filled up to one."""
    net, times, allowed = model("gpt-neox"), 2_000, automaton().allowed[0]
    sampling = SamplingParams([Seed(7) / i for i in range(times)])
    replies = generate(
        net,
        [PROMPTS[4]] * times,
        eos_id=END,
        max_new_tokens=1,
        sampling=sampling,
        batch_size=1_000,
        grammar=automaton(),
    )
    counts = np.bincount([reply.tokens[0] for reply in replies], minlength=VOCABULARY)
    shares = logits(net, PROMPTS[4]).softmax(-1).numpy()[allowed]

    assert not counts[~allowed].any()
    assert 0.05 < shares.sum() < 0.7, "a grammar that forbids little would prove little"
    assert fits(counts[allowed], times * shares / shares.sum())


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    """Greedy is not a temperature of zero but no sampling at all, and the sentence says so."""
    with pytest.raises(SpecError, match=r"leave sampling out for greedy\.$"):
        SamplingParams([], temperature)


@pytest.mark.parametrize(
    ("family", "given", "words"),
    [
        ("gpt2", {"max_new_tokens": 0}, r"at most 0 tokens .* 1 or more\.$"),
        (
            "gpt2",
            {"max_new_tokens": 45},
            r"of 20 tokens and a reply of 45 need 65 positions, but the model reads 64; .*\.$",
        ),
        ("gpt2", {"drafts": [np.zeros(0, dtype=int)] * 3}, r"16 prompts came with 3 drafts; give one for each\.$"),
        ("gpt2", {"sampling": SamplingParams([Seed(0)] * 17)}, r"16 prompts came with 17 sampling seeds; .*\.$"),
        ("gpt2", {"drafts": PROMPTS, "sampling": SamplingParams([Seed(0)] * 16)}, r"drafts .* leave them out .*\.$"),
        ("t5", {"drafts": PROMPTS[1:]}, r"drafts .* leave them out .* for an encoder-decoder\.$"),
        ("gpt2", {"drafts": PROMPTS, "grammar": without()}, r"drafts .* leave them out .* under a grammar .*\.$"),
        (
            "gpt2",
            {"grammar": TokenGrammar(np.zeros((2, 41)))},
            r"grammar of 41 tokens does not fit a model of 40; .*\.$",
        ),
    ],
    ids=[
        "no room",
        "too long",
        "drafts",
        "seeds",
        "drafts when sampling",
        "drafts of an encoder",
        "drafts under a grammar",
        "a wider grammar",
    ],
)
def test_what_cannot_be_generated_is_refused(family, given, words):
    """Before anything is computed, in one sentence with what was asked, what was found and what to do."""
    with pytest.raises(SpecError, match=words) as told:
        greedy(family, **given)

    assert "\n" not in str(told.value)


@DECODER
def test_a_prompt_and_its_reply_may_fill_the_model(family):
    """As many positions as the model has can be used, to the last."""
    asked = [np.resize(PROMPTS[5], POSITIONS - MOST), PROMPTS[1]]

    assert plain(generate(model(family), asked, eos_id=END, max_new_tokens=MOST)) == tuple(
        decoded(model(family), p) for p in asked
    )


def test_a_prompt_longer_than_its_encoder_is_refused():
    """An encoder with learnt positions cannot read more than it has, and that is said before it tries."""
    config = BartConfig(
        **TOKENS,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=16,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    net = AutoModelForSeq2SeqLM.from_config(config).eval()

    with pytest.raises(SpecError, match="positions"):
        generate(net, [np.arange(3, 33)], eos_id=END, max_new_tokens=4)


def test_no_prompt_has_no_reply():
    """Nothing asked, nothing said, with drafts or seeds of nothing as well."""
    for more in ({}, {"drafts": []}, {"sampling": SamplingParams([])}):
        assert generate(model("gpt-neox"), [], eos_id=END, max_new_tokens=MOST, **more) == []


@pytest.mark.parametrize("training", [True, False])
def test_generating_changes_nothing_about_the_model(training):
    """Weights, gradients, mode, attention and torch's own generator are as before."""
    net = model("gpt2").train(training)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    state, attention = torch.get_rng_state(), net.config._attn_implementation
    sampled("gpt2", [0, 1, 2])
    greedy("gpt2", drafts=PROMPTS)
    mode = net.training
    net.eval()

    assert mode == training
    assert net.config._attn_implementation == attention
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in net.named_parameters())


@EVERY
def test_attention_comes_back_after_an_exception(family, monkeypatch):
    """A model whose generation was interrupted attends as it did before."""

    def interrupted(*_):
        raise KeyboardInterrupt

    net = model(family)
    before = net.config._attn_implementation
    monkeypatch.setattr(replies, "_greedy_tokens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        greedy(family)

    assert net.config._attn_implementation == before
