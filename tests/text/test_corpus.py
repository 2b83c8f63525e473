"""A corpus on disk is the world's documents and questions, with the tokens of every value."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from nosce.errors import DataError
from nosce.records import Document, read_parquet
from nosce.text import corpus
from nosce.text.corpus import Corpus
from nosce.text.tokenizer import end_token, save


@pytest.fixture
def kept(tokenizer, world, seed, tmp_path) -> Corpus:
    """A corpus of either tokenizer, written in parts of 64 documents."""
    save(tokenizer, tmp_path / "tokenizer")
    before, corpus.PART = corpus.PART, 64
    try:
        corpus.write(tmp_path, world.documents(seed), world.questions(seed), tokenizer, end_token(tokenizer))
    finally:
        corpus.PART = before
    return Corpus(tmp_path)


def test_documents_and_questions_come_back(kept, world, seed):
    """All documents lie in parts in their order, and all questions beside them."""
    files = sorted(kept.folder.glob("documents-*.parquet"))
    documents = list(world.documents(seed))
    assert [file.name for file in files] == [f"documents-{n:05d}.parquet" for n in range(4)]
    assert [d for file in files for d in read_parquet(file, Document)] == documents
    assert kept.questions == list(world.questions(seed))
    assert kept.things.rows() == [(d.id, d.about) for d in documents]


def test_tokens_are_those_of_the_documents(kept, tokenizer, world, seed):
    """Document i of the tokens is document i of the texts, closed by its end, and all of it is counted."""
    documents = list(world.documents(seed))
    assert len(kept.documents) == len(documents)
    for number, document in enumerate(documents):
        expected = [*tokenizer.encode(document.text, add_special_tokens=False).ids, kept.end]
        assert kept.documents.text(number).tolist() == expected
    assert kept.documents.counted.all()


def test_spans_point_to_the_values(kept, world, seed):
    """Read through spans alone, the tokens of the corpus spell every value of every document, across parts."""
    rows = kept.spans.rows(named=True)
    expected = [(number, span, wording) for number, d in enumerate(world.documents(seed))
                for span, wording in zip(d.spans, d.wordings, strict=True)]  # fmt: skip
    texts = [d.text for d in world.documents(seed)]
    for row, (number, span, wording) in zip(rows, expected, strict=True):
        assert (row["document"], row["facet"], row["wording"]) == (number, span.facet, wording)
        spelled = kept.tokenizer.decode(kept.documents.text(number)[row["start"] : row["stop"]].tolist())
        assert spelled.replace(" ", "") == texts[number][span.start : span.end].replace(" ", "")


def test_questions_of_a_split_are_asked_apart(kept):
    """Every question is of one split, and its tokens end with its target and the end."""
    seen, unseen = kept.asked("seen"), kept.asked("unseen")
    assert len(seen) == len(unseen) == 120
    assert sorted(q.id for q in (*seen, *unseen)) == sorted(q.id for q in kept.questions)
    sequences = kept.question_sequences(seen)
    for number, question in enumerate(seen):
        answer = sequences.text(number)[sequences.mask(number)].tolist()
        assert answer[-1] == kept.end
        spelled = kept.tokenizer.decode(answer[:-1])
        assert spelled.replace(" ", "") == question.target.replace(" ", "")
    assert kept.question_sequences(seen, everything=True).counted.all()


def test_a_corpus_is_written_alike_twice(kept, tokenizer, world, seed, tmp_path):
    """Writing the same world again gives the same bytes in every file but for the cut into parts."""
    other = tmp_path / "again"
    other.mkdir()
    corpus.write(other, world.documents(seed), world.questions(seed), tokenizer, end_token(tokenizer))
    for name in ("documents.safetensors", "things.parquet", "questions.parquet"):
        assert (other / name).read_bytes() == (kept.folder / name).read_bytes()
    assert pl.read_parquet(other / "spans.parquet").equals(kept.spans)


def test_documents_are_not_held(word, world, seed, tmp_path, monkeypatch):
    """A part is on disk before the next one is asked for, so a corpus may be larger than memory."""
    monkeypatch.setattr(corpus, "PART", 50)

    def documents():
        for number, document in enumerate(world.documents(seed)):
            assert len(list(tmp_path.glob("documents-*.parquet"))) == number // 50
            yield document

    corpus.write(tmp_path, documents(), world.questions(seed), word, end_token(word))


def test_documents_without_wordings_are_fine(word, world, seed, tmp_path):
    """A world that does not say which wording it used has empty ones, and as many spans."""
    documents = (replace(d, wordings=()) for d in world.documents(seed))
    corpus.write(tmp_path, documents, world.questions(seed), word, end_token(word))
    assert set(Corpus(tmp_path).spans["wording"]) == {""}
    assert Corpus(tmp_path).spans.height == 200 * 6


@pytest.mark.parametrize("where", ["document", "question"])
def test_a_word_unknown_to_the_tokenizer_is_refused(word, world, seed, tmp_path, where):
    """A word outside the samples would be learnt as any other unknown one; the sentence shows its text."""
    documents, questions = list(world.documents(seed)), list(world.questions(seed))
    if where == "document":
        documents[3] = replace(documents[3], text=documents[3].text + " zebra zebra")
    else:
        questions[5] = replace(questions[5], target="zebra zebra")
    with pytest.raises(DataError, match=r"^2 words of the texts are unknown .*<unk> <unk>.*samples\(\).*\.$"):
        corpus.write(tmp_path, documents, questions, word, end_token(word))
