"""Prompts without a valid answer are counted, each as one reading."""

from __future__ import annotations

import json

import pytest

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import DataError
from nosce.evals.self_report import InvalidRate
from nosce.records import Document, Question
from nosce.seeds import Seed


@pytest.fixture
def labels(tmp_path):
    """Two questions about each of three answered prompts, one of them taught too."""
    tokenizers.save_tokenizer(
        tokenizers.build_tokenizer(TokenizerSpec(), ["what is it ? yes no"]), tmp_path / "tokenizer"
    )
    asked = []
    for n in range(3):
        for what in ("first", "second"):
            asked.append(Question(f"table/{n}/{what}", f"string {n}", what, "what is it ?", "yes", "unseen"))
    taught = [Question("taught/table/9/first", "string 9", "first", "what is it ?", "no", "seen")]
    corpora.write_corpus(tmp_path, [Document("d", "d", "what is it ?", ())], [*asked, *taught])
    return Corpus(tmp_path)


def test_every_prompt_is_one_reading(labels):
    """Answered prompts are 0 and the others 1; what was taught is no prompt that was asked."""
    (labels.folder / "counts.json").write_text(json.dumps({"invalid": 2}))
    rows = list(InvalidRate().evaluate(None, labels, Seed(0)))
    assert sorted(r.value for r in rows) == [0, 0, 0, 1, 1]
    assert len({r.entity for r in rows}) == 5


def test_a_corpus_that_is_none_of_labels_is_refused(labels):
    """There is nothing to count."""
    with pytest.raises(DataError, match="needs a corpus of labels"):
        list(InvalidRate().evaluate(None, labels, Seed(0)))
