"""Outcomes: what is written and what is thought of the truth are of the same items and agree where they must."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nosce.analysis.stats.metrics import exact_match, token_edit_distance
from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.packing import encode
from nosce.data.sampling import EpochSampler
from nosce.data.worlds.arithmetic import Arithmetic
from nosce.evals.item_scores import ItemScores
from nosce.models.architecture import Architecture, build_model
from nosce.models.generation import generate
from nosce.models.likelihood import loss_mask_spans, score_spans
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig

SEED = Seed(3)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A corpus of one-digit sums and a network that has seen some of them."""
    folder = tmp_path_factory.mktemp("sums")
    world = Arithmetic(digits=1, zero_padded=False, records=2_000, unseen_questions=20, seen_questions=60)
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), folder / "tokenizer")
    corpora.write_corpus(folder, world.documents(SEED), world.questions(SEED))
    corpus = corpora.Corpus(folder)
    shape = Architecture(family="gpt2", layers=1, width=32, heads=2, max_positions=16)
    net = build_model(shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED)
    loop.train(
        net,
        corpus.documents,
        EpochSampler(len(corpus.documents), 64, SEED),
        TrainingConfig(steps=120, batch_size=64, peak_lr=1e-2),
        eos_id=corpus.eos_id,
        folder=folder / "run",
        on_checkpoint=lambda step: None,
    )
    return corpus, net.eval()


def test_outcomes_are_those_of_decoding_and_of_one_pass(learnt):
    """Replies as `generate` writes them without drafts, nats as `score_spans` has them; stored answers score alike."""
    corpus, net = learnt
    (rows,) = ItemScores(split="seen", per_position=True).evaluate_checkpoints({120: lambda: net}, corpus, SEED)
    assert rows["step"].unique().to_list() == [120]
    table = {metric: rows.filter(metric=metric) for metric in ("exact", "edit", "tokens", "log_likelihood")}
    questions = corpus.questions_in("seen")
    assert all(part["item"].to_list() == [q.id for q in questions] for part in table.values())

    prompts = [np.array(e.ids) for e in encode(corpus.tokenizer, (q.prompt for q in questions))]
    replies = generate(net, prompts, eos_id=corpus.eos_id, max_new_tokens=5)
    texts = [corpus.tokenizer.decode(r.tokens.tolist(), skip_special_tokens=False) for r in replies]
    assert table["exact"]["answer"].to_list() == texts
    ended = np.array([r.ended for r in replies])
    assert table["exact"]["value"].to_list() == (exact_match(texts, [q.target for q in questions]) * ended).tolist()
    assert table["edit"]["value"].to_list() == token_edit_distance(texts, [q.target for q in questions]).tolist()
    assert 0 < table["exact"]["value"].mean() < 1

    sequences = corpus.tokenized_questions(questions)
    heard = score_spans(net, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id)
    assert table["log_likelihood"]["value"].to_list() == pytest.approx([-one.nats for one in heard])
    assert table["exact"]["value"].to_list() == [float(one.exact_match) for one in heard]


def test_places_are_those_of_the_stored_replies(learnt):
    """The reply is kept, so every place can be told from it; all up to a place are no more often right than it is."""
    corpus, net = learnt
    (rows,) = ItemScores(split="unseen", per_position=True).evaluate_checkpoints({120: lambda: net}, corpus, SEED)
    replies = rows.filter(metric="exact")
    for place in (1, 2):
        expected = [
            a[place - 1 : place] == t[place - 1 : place] for a, t in replies.select("answer", "target").iter_rows()
        ]
        assert rows.filter(metric=f"place {place}")["value"].to_list() == [float(e) for e in expected]
    first, both = (rows.filter(metric=f"first {n}")["value"].to_numpy() for n in (1, 2))
    assert (both <= first).all()
    (plain,) = ItemScores(split="unseen").evaluate_checkpoints({120: lambda: net}, corpus, SEED)
    assert set(plain["metric"].unique()) == {"exact", "edit", "tokens", "log_likelihood"}


def test_nats_of_the_places_are_those_of_one_pass_and_make_up_the_log_likelihood(learnt):
    """Token by token with the end, summed to the whole; a shorter target has no such place, and no zero there."""
    corpus, net = learnt
    (rows,) = ItemScores(split="unseen", per_position=True).evaluate_checkpoints({120: lambda: net}, corpus, SEED)
    each = rows.filter(pl.col("metric").str.starts_with("nats "))
    whole = rows.filter(metric="log_likelihood").select("item", whole=-pl.col("value"))
    sums = each.group_by("item").agg(pl.col("value").sum(), pl.len()).join(whole, on="item")
    assert sums["value"].to_list() == pytest.approx(sums["whole"].to_list())
    questions = {q.id: q for q in corpus.questions_in("unseen")}
    lengths = [len(corpus.tokenizer.encode(questions[item].target).ids) + 1 for item in sums["item"]]
    assert sums["len"].to_list() == lengths
    assert len(set(lengths)) == 2
    sequences = corpus.tokenized_questions(list(questions.values()))
    heard = score_spans(net, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id)
    assert each.filter(metric="nats 1")["value"].to_list() == pytest.approx([one.token_nats[0] for one in heard])
