"""Probes for labels: what the text says is read, what it does not say is at chance, and so are shuffled labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.errors import DataError
from nosce.evals.probing.label_probes import AnswerPropertyLabels, EntryCountLabels, LabelProbe
from nosce.evals.self_report import ReportMetadata
from nosce.models.architecture import Architecture, build_model
from nosce.models.hooks import layer_sites
from nosce.records import Document, Question
from nosce.seeds import Seed

SEED = Seed(5)
WORDS = ("acorn", "basil", "cedar", "daisy")
ANSWER_PROPERTY = AnswerPropertyLabels(task="t", asked_property="parity", probed_property="first")


def network(corpus):
    """A network that was never trained."""
    shape = Architecture(layers=2, width=32, heads=2, max_positions=16)
    size = corpus.tokenizer.get_vocab_size()
    return build_model(shape, vocab_size=size, eos_id=corpus.eos_id, pad_id=None, seed=SEED).eval()


def shares(source, corpus, name="probe"):
    """Share of right rows by metric, and all rows."""
    net = network(corpus)
    rows = pl.concat(list(LabelProbe(source=source, name=name).evaluate_checkpoints({2: lambda: net}, corpus, SEED)))
    return dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows()), rows, layer_sites(net)


def word_corpus(folder, last_word):
    """Questions for a property of an answer that is one of four words, of 240 strings; every third is unseen."""
    rng = SEED.numpy()
    folder.mkdir()
    texts = [" ".join(WORDS), "say what = even"]
    save_tokenizer(build_tokenizer(TokenizerSpec(), texts), folder / "tokenizer")
    questions = []
    for number in range(240):
        answer, other = (WORDS[int(rng.integers(4))] for _ in range(2))
        prompt = f"say what {last_word(answer, other)}"
        for asked, target in (("parity", "even"), ("first", answer)):
            questions.append(
                Question(
                    f"t/{number}/{asked}",
                    f"s{number}",
                    f"t/{asked}",
                    prompt,
                    target,
                    "unseen" if number % 3 == 0 else "seen",
                    metadata=ReportMetadata(labels=WORDS).json_line,
                )
            )
    write_corpus(folder, [Document("d/0", "d/0", "say what = even", ())], questions)
    return Corpus(folder)


@pytest.mark.parametrize("planted", [True, False])
def test_a_word_that_is_there_is_read(tmp_path, planted):
    """At the end of a question that ends with the word, at every layer; else no better than four words allow."""
    corpus = word_corpus(tmp_path / "c", lambda answer, other: answer if planted else other)
    share, rows, sites = shares(ANSWER_PROPERTY, corpus, "echoes")
    assert set(rows["evaluation"]) == {"echoes"}
    assert rows.group_by("metric").len()["len"].unique().to_list() == [80]
    assert set(share) == {*sites, *(f"shuffled/{site}" for site in sites), "constant"}
    for site in sites:
        assert (share[site] > 0.95) if planted else (share[site] < 0.5)
        assert share[f"shuffled/{site}"] < 0.6
    assert share["constant"] < 0.5


def test_a_number_that_ends_the_text_is_read_and_a_name_says_nothing(numbered_corpus, numbered_lists):
    """Read from the embedding of the number; a name's, a colon's and shuffled numbers are at chance."""
    share, rows, sites = shares(EntryCountLabels(list_task=numbered_lists), numbered_corpus)
    unseen = [question.id for question in numbered_corpus.questions_in("unseen")]
    assert rows.filter(metric="constant/name")["item"].to_list() == unseen
    assert share["number/residual.0"] > 0.95
    assert share["question/residual.0"] < 0.5  # all questions end with a colon
    assert all(share[f"name/{site}"] < 0.5 for site in sites)
    assert share["shuffled/number/residual.0"] < 0.6
    assert share["constant/number"] == share["constant/name"] == 0.25


def test_training_questions_with_one_label_cannot_be_learnt_from(tmp_path):
    """The source has several classes, but only the unseen questions have the others: the reader is told."""
    corpus = word_corpus(tmp_path / "c", lambda answer, other: answer)
    alike = [q if q.split == "unseen" or q.target == "even" else replace(q, target=WORDS[0]) for q in corpus.questions]
    write_corpus(corpus.folder, [Document("d/0", "d/0", "say what = even", ())], alike)
    with pytest.raises(DataError, match="1 classes to train on"):
        shares(ANSWER_PROPERTY, Corpus(corpus.folder))


@pytest.mark.parametrize("missing", ["seen", "validation", "unseen"])
def test_without_a_split_there_are_no_labels(numbered_corpus, numbered_lists, tmp_path, missing):
    """A probe needs all three; and lists that are all equally long teach nothing."""
    (tmp_path / "tokenizer").symlink_to(numbered_corpus.folder / "tokenizer")
    kept = [question for question in numbered_corpus.questions if question.split != missing]
    write_corpus(tmp_path, [Document("d/0", "d/0", "x x", ())], kept)
    source = EntryCountLabels(list_task=numbered_lists)
    assert source.labelled_texts(Corpus(tmp_path), SEED) is None
    equal = [question for question in numbered_corpus.questions if question.target == "x x"]
    write_corpus(tmp_path, [Document("d/0", "d/0", "x x", ())], equal)
    assert source.labelled_texts(Corpus(tmp_path), SEED) is None


def test_validation_strings_are_a_share_of_the_seen_and_whole_entities(tmp_path):
    """Unseen strings are tested on, and the share of the others that stops training is the one that was asked for."""
    corpus = word_corpus(tmp_path / "c", lambda answer, other: answer)
    for fraction in (0.15, 0.5):
        labelled = replace(ANSWER_PROPERTY, validation_fraction=fraction).labelled_texts(corpus, SEED)
        is_unseen = np.array([question.split == "unseen" for question in labelled.questions])
        assert np.array_equal(labelled.splits == "test", is_unseen)
        assert (labelled.splits == "validation").sum() == round(fraction * 160)
