"""Read-outs find what was planted, stay at chance where nothing was, and leave the study's columns blank."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import DataError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.records import Question, Reading, to_table
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig


def untrained(corpus):
    shape = Architecture(layers=2, width=64, heads=2, max_positions=128)
    return build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=1, seed=Seed(0)
    )


@pytest.fixture(scope="module")
def read_half(corpus, tmp_path_factory):
    """A model that was trained on the biographies of the first six people alone, until it knew them by heart."""
    half = dataset_from_arrays((corpus.documents.text_tokens(i), corpus.documents.text_loss_mask(i)) for i in range(6))
    net = untrained(corpus)
    recipe = TrainingConfig(steps=120, batch_size=6, window=70, peak_lr=5e-3, warmup_steps=5)
    loop.train(
        net,
        half,
        EpochSampler(6, 6, Seed(0)),
        recipe,
        eos_id=corpus.eos_id,
        folder=tmp_path_factory.mktemp("half"),
        on_checkpoint=lambda _: None,
    )
    return net


@pytest.fixture(scope="module")
def told_often(tmp_path_factory, dozen):
    """The corpus of the dozen in five wordings each."""
    folder = tmp_path_factory.mktemp("often") / "corpus"
    world = replace(dozen, augmentation="multi5+permute")
    make(CorpusSpec(world=world, seed=Seed(0) / "world", tokenizer=TokenizerSpec()), {}, StepContext(folder=folder))
    return Corpus(folder)


def table(readings):
    return to_table(readings, Reading)


def mean(rows, **columns):
    return rows.filter(**columns)["value"].mean()


def test_recall_finds_what_was_memorised_and_only_that(corpus, read_half):
    """Values of people whose text was learnt by heart are recalled, those of the others hardly ever."""
    rows = table(RecallEval().evaluate(read_half, corpus, Seed(0)))
    learnt = pl.col("entity").is_in([f"person/{i}" for i in range(6)])

    for metric in ("exact", "first"):
        assert mean(rows.filter(learnt), metric=metric) > 0.97
        assert mean(rows.filter(~learnt), metric=metric) < 0.4  # five values a field, so a fifth by luck
    assert mean(rows.filter(learnt), metric="nats") < 0.3 < mean(rows.filter(~learnt), metric="nats")


def test_an_untrained_model_recalls_nothing(corpus):
    """Without training no value is recalled whole, and a token costs what a uniform guess costs."""
    rows = table(RecallEval().evaluate(untrained(corpus), corpus, Seed(0)))
    tokens = corpus.spans.select((pl.col("stop") - pl.col("start")).sum()).item()
    uniform = np.log(corpus.tokenizer.get_vocab_size())

    assert mean(rows, metric="exact") < 0.05
    assert rows.filter(metric="nats")["value"].sum() / tokens == pytest.approx(uniform, rel=0.1)


def test_recall_asks_for_every_value_once(corpus):
    """One reading a value and metric, with the value as its target and the person as its cluster."""
    rows = table(RecallEval().evaluate(untrained(corpus), corpus, Seed(0))).filter(metric="exact")
    truth = {(q.entity, q.attribute): corpus.tokenizer.encode(q.target).ids for q in corpus.questions}

    assert len(rows) == 72
    assert rows["item"].n_unique() == 72
    for row in rows.iter_rows(named=True):
        assert corpus.tokenizer.encode(row["target"]).ids == truth[row["entity"], row["attribute"]]


def test_recall_draws_as_many_texts_of_each_person_as_it_says(told_often):
    """One, two or all five texts a person, the same ones for the same seed, others for another."""
    net = untrained(told_often)

    def drawn(documents, seed):
        rows = table(RecallEval(documents_per_entity=documents).evaluate(net, told_often, Seed(seed)))
        return set(rows["item"].to_list())

    for documents, each in ((1, 1), (2, 2), (9, 5), (0, 5)):
        texts = Counter(item.split("/")[1] for item in drawn(documents, 0))
        assert set(texts.values()) == {6 * each}
        assert len(texts) == 12
    assert drawn(1, 0) == drawn(1, 0) != drawn(1, 1)


def test_majority_is_the_most_frequent_answer_among_the_seen(corpus):
    """As counted by hand: the guess of each facet, ties to the alphabet, and whether it is right."""
    rows = table(MajorityBaseline().evaluate(None, corpus, Seed(0)))
    guesses = {}
    for attribute in {q.attribute for q in corpus.questions}:
        answers = sorted(q.target for q in corpus.questions_in("seen") if q.attribute == attribute)
        guesses[attribute] = max(answers, key=answers.count)  # the first of the sorted ones that is most frequent

    assert len(rows) == 72
    for question, row in zip(corpus.questions, rows.iter_rows(named=True), strict=True):
        assert row["item"] == question.id
        assert row["answer"] == guesses[question.attribute]
        assert row["value"] == float(guesses[question.attribute] == question.target)
        assert row["outcome"] == ("right" if row["value"] else "wrong")


def test_a_facet_that_nobody_seen_was_asked_about_has_no_majority_and_says_so():
    """Where all questions of a facet are unseen there is nothing to guess from, which is told in a sentence."""
    asked = [Question("city/1", "person/1", "city", "Where?", "Rome", "unseen")]
    corpus = SimpleNamespace(questions=asked, questions_in=lambda split: [q for q in asked if q.split == split])

    with pytest.raises(DataError, match="city"):
        list(MajorityBaseline().evaluate(None, corpus, Seed(0)))


def test_questions_are_read_once_a_metric_and_say_what_was_answered(corpus):
    """Exact, first and nats, also by the token, of every question; an exact answer is the target, any other is not."""
    rows = table(QAEval().evaluate(untrained(corpus), corpus, Seed(0)))
    exact = rows.filter(metric="exact")

    assert rows.group_by("item").len()["len"].unique().to_list() == [4]
    assert set(rows["metric"]) == {"exact", "first", "nats", "nats_per_token"}
    assert rows.filter(metric="nats")["outcome"].null_count() == 72
    nats, each = (rows.filter(metric=metric) for metric in ("nats", "nats_per_token"))
    spelled = [len(corpus.tokenizer.encode(target).ids) + 1 for target in nats["target"]]  # the end is a token too
    assert len(set(spelled)) > 2
    assert (each["value"] * pl.Series(spelled)).to_list() == pytest.approx(nats["value"].to_list())
    assert ((exact["outcome"] == "right") == (exact["value"] == 1)).all()
    assert exact.filter(value=1.0, answer=pl.col("target")).height == exact.filter(value=1.0).height
    assert exact["split"].to_list() == [q.split for q in corpus.questions]


def test_questions_of_one_split_are_those_of_all_that_are_in_it(corpus):
    """Asked alone they get the same readings, and the others none."""
    net = untrained(corpus)
    rows, few = (table(QAEval(split=split).evaluate(net, corpus, Seed(0))) for split in (None, "unseen"))
    assert set(few["split"]) == {"unseen"}
    whole = rows.filter(split="unseen")
    assert few["item"].to_list() == whole["item"].to_list()
    assert np.allclose(few["value"], whole["value"], atol=1e-4)


@pytest.mark.parametrize("evaluation", [RecallEval(), MajorityBaseline(), QAEval()], ids=lambda r: r.name)
def test_study_columns_are_left_blank(corpus, evaluation):
    """A read-out knows neither study nor arm: those columns are filled where readings are gathered."""
    rows = list(evaluation.evaluate(untrained(corpus) if evaluation.needs_model else None, corpus, Seed(0)))

    assert rows
    assert {(r.study, r.scale, r.arm, r.seed, r.stage, r.step) for r in rows} == {("", "", "", 0, "", 0)}
    assert {r.evaluation for r in rows} == {evaluation.name}
    assert {r.split for r in rows} == {"seen", "unseen"}
    assert len({r.entity for r in rows}) == 12
