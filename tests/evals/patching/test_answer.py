"""Pending answers swapped inside the network: a report that hangs on the swapped token follows, and controls stay."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.packing import dataset_from_arrays
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.evals.patching.answer import AnswerPatching
from nosce.evals.self_report import ReportMetadata
from nosce.records import Document, Question
from nosce.seeds import Seed

SEED = Seed(12)
WORDS = ("acorn", "basil", "cedar", "daisy", "elder", "fennel", "ginger", "hazel")
ANSWERS, LABELS = ("oak", "elm"), ("even", "odd")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, train_small):
    """Prompts `say <word>`, answered by a tree; reports `say <word> is <label>`, the label of that tree."""
    folder = tmp_path_factory.mktemp("reports")
    texts, questions = [], []
    for index, word in enumerate(WORDS):
        prompt, answer, label = f"say {word}", ANSWERS[index % 2], LABELS[index % 2]
        # Twice as often, so that the answer and not "is" is the likeliest token after the prompt.
        texts += [f"{prompt} {answer}", f"{prompt} {answer}", f"{prompt} is {label}"]
        metadata = ReportMetadata(labels=LABELS, object_prompt=prompt).json_line
        for task in ("table", "other"):
            identifier = f"{task}/{word}/parity"
            questions.append(
                Question(identifier, word, f"{task}/parity", f"{prompt} is", label, "unseen", metadata=metadata)
            )
    save_tokenizer(build_tokenizer(TokenizerSpec(), texts), folder / "tokenizer")
    write_corpus(folder, [Document("d/0", "d/0", "say oak", ())], questions)
    corpus = Corpus(folder)
    encodings = corpus.tokenizer.encode_batch(texts, add_special_tokens=False)
    dataset = dataset_from_arrays((np.array(e.ids), np.arange(len(e.ids)) >= 2) for e in encodings)
    return corpus, train_small(corpus, dataset)


def test_a_report_follows_the_word_that_it_hangs_on(learnt):
    """Below the first block the word is all there is: answer and report become the donor's.

    Where the donor has the same answer nothing moves. Behind the last block nothing reads the state any more.
    """
    corpus, net = learnt
    rows = pl.concat(list(AnswerPatching(tasks=("table",)).evaluate_checkpoints({1: lambda: net}, corpus, SEED)))
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert rows.filter(metric="unswapped").height == len(WORDS)
    assert share["unswapped"] == 0
    assert share["donor's own"] == 1
    assert share["moved/residual.0"] == share["follows/residual.0"] == share["same/residual.0"] == 1
    assert share["stays/residual.0"] == 0
    assert share["moved/final"] == share["stays/final"] == share["same/final"] == 1
    assert share["follows/final"] == 0


def test_pairs_are_of_one_task_and_differ_in_answer(learnt):
    """Hosts and donors of the given task alone; a donor has another label, a control has the same."""
    corpus, net = learnt
    rows = pl.concat(list(AnswerPatching(tasks=("table",)).evaluate_checkpoints({1: lambda: net}, corpus, SEED)))
    label = {q.id: q.target for q in corpus.questions}
    for host, donor in rows.filter(metric="unswapped")["item"].str.split("/table").to_list():
        assert label[host] != label[f"table{donor}"]
    assert set(rows["attribute"]) == {"table/parity"}
    assert not list(AnswerPatching(tasks=("nothing",)).evaluate_checkpoints({1: lambda: net}, corpus, SEED))
