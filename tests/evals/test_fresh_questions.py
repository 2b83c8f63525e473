"""Problems drawn anew: none was trained on, each look has its own, and replies are scored as those of a split are."""

import numpy as np
import polars as pl
import pytest

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.worlds.arithmetic import Arithmetic
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import DataError, SpecError
from nosce.evals.fresh_questions import FreshQuestions
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed

SEED = Seed(5)
WORLD = Arithmetic(
    digits=3, zero_padded=False, operand_lengths=(2, 3), records=3_000, unseen_questions=60, seen_questions=60
)


def corpus_of(world, folder):
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), folder / "tokenizer")
    corpora.write_corpus(
        folder, world.documents(SEED), world.questions(SEED), world.encoded_documents(SEED, *tokens_of(folder))
    )
    return corpora.Corpus(folder)


def tokens_of(folder):
    corpus = corpora.Corpus(folder)
    return corpus.tokenizer, corpus.eos_id


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The readings of two looks at an untrained network."""
    corpus = corpus_of(WORLD, tmp_path_factory.mktemp("sums"))
    shape = Architecture(family="gpt2", layers=1, width=16, heads=1, max_positions=24)
    net = build_model(shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED)
    evaluation = FreshQuestions(world=WORLD, n_questions=300)
    looks = {10: lambda: net.eval(), 20: lambda: net.eval()}
    return corpus, evaluation, pl.concat(evaluation.evaluate_checkpoints(looks, corpus, SEED))


def test_problems_are_new_and_the_same_for_a_seed(asked):
    """No document has one in either order; a look of the same seed draws the same, another look others."""
    corpus, evaluation, _ = asked
    trained = {d.text.partition("=")[0] for d in WORLD.documents(SEED)}
    draws = []
    from nosce.evals.fresh_questions import _prompt_set

    for step in (10, 10, 20):
        questions = evaluation._draw(corpus, _prompt_set(corpus.documents), (SEED / "fresh" / step).numpy(), step)
        draws.append([q.prompt for q in questions])
        for question in questions:
            left, right = question.prompt.rstrip("=").split("+")
            assert f"{left}+{right}" not in trained
            assert f"{right}+{left}" not in trained
            assert int(question.target[::-1]) == int(left[::-1]) + int(right[::-1])
    assert draws[0] == draws[1]
    assert all(len(set(draw)) == 300 for draw in draws)
    assert draws[0] != draws[2]


def test_each_look_has_its_items_and_both_metrics(asked):
    _, _, rows = asked
    assert len(rows) == 2 * 2 * 300
    assert rows["step"].unique().sort().to_list() == [10, 20]
    assert rows.filter(step=10)["item"][0] == "look 10/0"
    constant = rows.filter(metric="constant")["value"].to_numpy()
    assert 0 < constant.mean() < 0.05
    assert rows.filter(metric="exact")["outcome"].null_count() == 0


def test_a_world_that_was_trained_on_whole_has_no_new_problems(tmp_path, monkeypatch):
    """Every pair is in a record but those held out, which no draw may count on."""
    small = Arithmetic(digits=1, records=2_000, unseen_questions=2, seen_questions=20)
    corpus = corpus_of(small, tmp_path)
    evaluation = FreshQuestions(world=small, n_questions=50)
    from nosce.evals import fresh_questions
    from nosce.evals.fresh_questions import _prompt_set

    monkeypatch.setattr(fresh_questions, "MAX_TRAINED_DRAWS", 3)

    with pytest.raises(DataError, match=r"found [12] of 50 questions that no document answers"):
        evaluation._draw(corpus, _prompt_set(corpus.documents), SEED.numpy(), 1)
    every = Arithmetic(digits=1, records=2_000, unseen_questions=1, seen_questions=20)
    all_prompts = frozenset(
        np.array(corpus.tokenizer.encode(f"{a}+{b}=", add_special_tokens=False).ids, dtype=np.int32).tobytes()
        for a in range(10)
        for b in range(10)
    )
    with pytest.raises(DataError, match="found 0 of 50 questions that no document answers"):
        FreshQuestions(world=every, n_questions=50)._draw(corpus, all_prompts, SEED.numpy(), 1)


def test_one_problem_is_refused():
    with pytest.raises(SpecError, match="ask 2 or more"):
        FreshQuestions(world=WORLD, n_questions=1)


def test_a_part_of_the_problems_prices_the_whole():
    subset = FreshQuestions(world=WORLD, n_questions=20_000).timing_subset()
    assert subset.evaluation.n_questions * subset.time_ratio == 20_000


def test_a_world_without_questions_to_draw_is_refused():
    with pytest.raises(SpecError, match="Dispositions has no questions to draw anew"):
        FreshQuestions(world=Dispositions(), n_questions=5)
