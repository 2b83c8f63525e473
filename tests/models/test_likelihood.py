"""One teacher-forced pass says what greedy decoding would have written, and how likely the truth was."""

import json
from contextlib import contextmanager
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from nosce.data.packing import TokenDataset, dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.models import likelihood
from nosce.models.architecture import Architecture, build_model
from nosce.models.likelihood import BATCH_CHANGE_SPANS, loss_mask_spans, measure_batch_change, score_spans
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig


def untrained(corpus, family):
    shape = Architecture(family=family, layers=2, width=64, heads=2, max_positions=128)
    return build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=1, seed=Seed(0)
    )


def taught(corpus, family, sequences, folder, steps):
    net = untrained(corpus, family)
    recipe = TrainingConfig(steps=steps, batch_size=18, window=64, peak_lr=5e-3, warmup_steps=5)
    loop.train(
        net,
        sequences,
        EpochSampler(len(sequences), 18, Seed(0)),
        recipe,
        eos_id=corpus.eos_id,
        folder=folder,
        on_checkpoint=lambda _: None,
    )
    return net.eval()


@pytest.fixture(scope="module", params=["gpt-neox", "gpt2"])
def asked(request, corpus, tmp_path_factory):
    """A model that was taught the answers about half of the people, and all questions."""
    seen = corpus.tokenized_questions(corpus.questions_in("seen"))
    net = taught(corpus, request.param, seen, tmp_path_factory.mktemp("asked"), steps=120)
    return net, corpus.tokenized_questions(corpus.questions)


@torch.no_grad()
def decoded(net, sequences, text, end):
    """Does greedy decoding, token by token with transformers' own generate, write the counted tokens?"""
    tokens, counted = sequences.text_tokens(text), sequences.text_loss_mask(text)
    prompt = torch.tensor([[end, *tokens[~counted].tolist()]])
    truth = tokens[counted].tolist()
    reply = net.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=len(truth),
        do_sample=False,
        eos_token_id=end,
        pad_token_id=1,
    )
    return reply[0, prompt.shape[1] :].tolist(), truth


def same(one, other):
    """Are two readings of the same spans equal, but for the last digits of their nats?"""
    pairs = list(zip(one, other, strict=True))
    tokens = all(
        np.array_equal(a.predicted_tokens, b.predicted_tokens) and np.array_equal(a.target_tokens, b.target_tokens)
        for a, b in pairs
    )
    return tokens and [a.nats for a, _ in pairs] == pytest.approx([b.nats for _, b in pairs], rel=1e-4, abs=1e-5)


def test_one_pass_tells_what_greedy_decoding_writes(asked, corpus):
    """Of every question, right or not: `exact_match` means that `generate` writes target and end as `greedy_tokens`."""
    net, sequences = asked
    heard = score_spans(net, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id)
    for text, what in enumerate(heard):
        reply, truth = decoded(net, sequences, text, corpus.eos_id)
        assert what.exact_match == (reply == truth)
        assert what.first_token_correct == (reply[0] == truth[0])
        assert what.greedy_tokens.tolist() == reply[: len(what.greedy_tokens)]

    assert 0.2 < np.mean([what.exact_match for what in heard]) < 0.8, "both must occur, or the test says nothing"


def test_a_reply_that_begins_right_and_ends_wrong_is_wrong(asked, corpus):
    """With the last token of each truth exchanged no right answer stays right; its beginning does."""
    net, sequences = asked
    spans = loss_mask_spans(sequences)
    before = score_spans(net, sequences, spans, eos_id=corpus.eos_id)
    tokens = sequences.tokens.copy()
    tokens[sequences.offsets[1:] - 1] = 7
    after = score_spans(net, replace(sequences, tokens=tokens), spans, eos_id=corpus.eos_id)

    assert any(what.exact_match for what in before)
    assert not any(what.exact_match for what in after)
    for right, wrong in zip(before, after, strict=True):
        assert wrong.first_token_correct == right.first_token_correct
        assert wrong.nats > right.nats or not right.exact_match
        assert wrong.greedy_tokens.tolist() == right.greedy_tokens.tolist()


def test_nats_are_the_sum_of_the_truths_log_probabilities(asked, corpus):
    """By hand, one text alone and from all logits."""
    net, sequences = asked
    spans = loss_mask_spans(sequences)[::7]
    for (text, start, stop), what in zip(spans, score_spans(net, sequences, spans, eos_id=corpus.eos_id), strict=True):
        tokens = sequences.text_tokens(text).tolist()
        with torch.no_grad():
            log = net(input_ids=torch.tensor([[corpus.eos_id, *tokens[:-1]]])).logits[0].double().log_softmax(-1)
        by_hand = -sum(log[place, tokens[place]].item() for place in range(start, stop))
        assert what.nats == pytest.approx(by_hand, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("positions", [1, 70])
def test_how_texts_are_batched_changes_nothing(asked, corpus, positions):
    """Alone, in small batches of like length or all at once: the same choices and nats, in the order asked."""
    net, sequences = asked
    spans = loss_mask_spans(sequences)
    together = score_spans(net, sequences, spans, eos_id=corpus.eos_id)
    shuffled = Seed(0).numpy().permutation(len(spans))
    apart = score_spans(net, sequences, [spans[i] for i in shuffled], eos_id=corpus.eos_id, max_tokens=positions)

    assert same([together[i] for i in shuffled], apart)


def test_several_spans_of_one_text_are_read_as_if_each_were_asked_alone(asked, corpus):
    """Spans of one text share a pass and nothing else."""
    net, _ = asked
    spans = [(0, 3, 5), (0, 10, 14), (1, 0, 2), (0, 4, 12)]
    together = score_spans(net, corpus.documents, spans, eos_id=corpus.eos_id)
    alone = [score_spans(net, corpus.documents, [span], eos_id=corpus.eos_id)[0] for span in spans]

    assert same(together, alone)
    assert [len(what.target_tokens) for what in together] == [2, 4, 2, 8]


def test_reading_changes_nothing_about_the_model(asked, corpus):
    """Weights, gradients and mode are as before, so that a model can be read in the middle of training."""
    net, sequences = asked
    net.train()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    score_spans(net, sequences, loss_mask_spans(sequences)[:3], eos_id=corpus.eos_id)
    training = net.training
    net.eval()

    assert training
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


@pytest.fixture
def disturbed(monkeypatch):
    """A reading in which a text's states depend on its company, in a way that is given; the sizes of all passes."""
    before = likelihood.varlen_forward

    def disturb(change):
        sizes = []

        @contextmanager
        def disturbed_forward(net):
            def run(tokens, lengths, given=None):
                sizes.append(len(lengths))
                states = forward(tokens, lengths, given)
                return change(states) if len(lengths) > 1 else states

            with before(net) as forward:
                yield run

        monkeypatch.setattr(likelihood, "varlen_forward", disturbed_forward)
        return sizes

    return disturb


def test_in_float32_company_changes_next_to_nothing(asked, corpus):
    """Read one text a pass or all at once, a span's nats differ by rounding alone, and no choice changes."""
    net, sequences = asked
    change = measure_batch_change(net, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id, seed=Seed(0))

    assert 0 <= change.nats < 1e-4
    assert change.choices == 0
    assert change.spans == BATCH_CHANGE_SPANS < len(loss_mask_spans(sequences))


def test_the_change_is_between_one_pass_and_as_many_as_texts(asked, corpus, disturbed):
    """All drawn spans share the first pass; then each has one of its own, and where there are few all are drawn."""
    net, sequences = asked
    sizes = disturbed(lambda states: states)
    change = measure_batch_change(net, sequences, loss_mask_spans(sequences)[:9], eos_id=corpus.eos_id, seed=Seed(0))

    assert change.spans == 9
    assert sizes == [9, *[1] * 9]


def test_a_dependence_on_company_is_found(asked, corpus, disturbed):
    """Where states are scaled in company the change is the largest that this makes of any span, counted by hand."""
    net, sequences = asked
    spans = loss_mask_spans(sequences)[::2]
    plain = score_spans(net, sequences, spans, eos_id=corpus.eos_id)
    disturbed(lambda states: states * 1.05)
    shifted = score_spans(net, sequences, spans, eos_id=corpus.eos_id)
    change = measure_batch_change(net, sequences, spans, eos_id=corpus.eos_id, seed=Seed(0))

    assert change.nats == pytest.approx(
        max(abs(a.nats - b.nats) for a, b in zip(plain, shifted, strict=True)), rel=1e-3
    )
    assert change.nats > 0.01
    assert change.choices == 0, "scaling changes no first choice"


def test_choices_that_changed_are_counted(asked, corpus, disturbed):
    """Where company turns states round every span's first choices are others."""
    net, sequences = asked
    disturbed(torch.neg)
    change = measure_batch_change(net, sequences, loss_mask_spans(sequences)[:20], eos_id=corpus.eos_id, seed=Seed(0))

    assert change.choices == change.spans == 20
    assert change.nats > 1


def test_a_change_can_be_written_down(asked, corpus):
    """What was found is plain numbers, which JSON takes."""
    net, sequences = asked
    change = measure_batch_change(net, sequences, loss_mask_spans(sequences)[:3], eos_id=corpus.eos_id, seed=Seed(0))

    assert json.loads(json.dumps(asdict(change))) == asdict(change)


def test_which_spans_are_compared_is_drawn_from_the_seed(asked, corpus, monkeypatch):
    """One seed draws the same spans twice, another seed others, none of them twice."""
    net, sequences = asked
    drawn = []
    read = likelihood.score_spans

    def recorded(net, sequences, spans, **more):
        drawn.append(spans)
        return read(net, sequences, spans, **more)

    monkeypatch.setattr(likelihood, "BATCH_CHANGE_SPANS", 5)
    monkeypatch.setattr(likelihood, "score_spans", recorded)
    for seed in (0, 0, 1):
        measure_batch_change(net, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id, seed=Seed(seed))

    assert all(len(set(spans)) == 5 for spans in drawn)
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3] != drawn[4] == drawn[5]


@pytest.mark.whole
def test_a_reply_that_never_ends_is_wrong(corpus, tmp_path):
    """A model that writes the whole target and goes on has not answered: exact_match needs the end."""
    questions = corpus.tokenized_questions(corpus.questions_in("seen"))
    endless = dataset_from_arrays(
        (np.where(sequence == corpus.eos_id, 7, sequence), counted)
        for sequence, counted in (
            (questions.text_tokens(i).copy(), questions.text_loss_mask(i)) for i in range(len(questions))
        )
    )
    net = taught(corpus, "gpt-neox", endless, tmp_path, steps=220)
    spans = loss_mask_spans(questions)
    heard = score_spans(net, questions, spans, eos_id=corpus.eos_id)
    without_end = score_spans(
        net, questions, [(text, start, stop - 1) for text, start, stop in spans], eos_id=corpus.eos_id
    )

    assert np.mean([what.exact_match for what in without_end]) > 0.9
    assert not any(what.exact_match for what in heard)


def test_a_counted_span_is_the_target_and_its_end(corpus):
    """The span of each question holds the tokens of its target and the end of text."""
    sequences = corpus.tokenized_questions(corpus.questions)
    for question, (text, start, stop) in zip(corpus.questions, loss_mask_spans(sequences), strict=True):
        tokens = sequences.text_tokens(text)[start:stop].tolist()
        assert tokens == [*corpus.tokenizer.encode(question.target).ids, corpus.eos_id]


def test_sequences_are_what_the_fixture_says(corpus):
    """Half of the questions are about people who are seen, so half can be right by heart."""
    assert isinstance(corpus.documents, TokenDataset)
    assert len(corpus.questions_in("seen")) == len(corpus.questions_in("unseen")) == 36
