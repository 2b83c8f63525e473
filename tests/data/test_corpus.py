"""A corpus on disk is the world's documents and questions, with the tokens of every value."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from tokenizers import Tokenizer

from nosce.data import corpus
from nosce.data.corpus import Corpus
from nosce.data.packing import TokenDataset, tokenize_documents
from nosce.data.tokenizer import UNK_TOKEN, TokenizerSpec, build_tokenizer, eos_token_id, save_tokenizer
from nosce.data.worlds.diaries import Diaries
from nosce.errors import DataError
from nosce.records import Document, Span, read_parquet
from nosce.seeds import Seed


def empty(folder: Path, tokenizer: Tokenizer) -> Path:
    """A folder in which nothing but a tokenizer lies."""
    save_tokenizer(tokenizer, folder / "tokenizer")
    return folder


@pytest.fixture
def kept(tokenizer, world, seed, tmp_path) -> Corpus:
    """A corpus of either tokenizer, written in parts of 64 documents."""
    empty(tmp_path, tokenizer)
    before, corpus.DOCUMENTS_PER_FILE = corpus.DOCUMENTS_PER_FILE, 64
    try:
        corpus.write_corpus(tmp_path, world.documents(seed), world.questions(seed))
    finally:
        corpus.DOCUMENTS_PER_FILE = before
    return Corpus(tmp_path)


def test_documents_and_questions_come_back(kept, world, seed):
    """All documents lie in parts in their order, and all questions beside them."""
    files = sorted(kept.folder.glob("documents-*.parquet"))
    documents = list(world.documents(seed))
    assert [file.name for file in files] == [f"documents-{n:05d}.parquet" for n in range(4)]
    assert [d for file in files for d in read_parquet(file, Document)] == documents
    assert kept.questions == list(world.questions(seed))
    assert kept.document_index.rows() == [(d.id, d.entity) for d in documents]


def test_tokens_are_those_of_the_documents(kept, tokenizer, world, seed):
    """Document i of the tokens is document i of the texts, closed by its end, and all of it is counted."""
    documents = list(world.documents(seed))
    assert len(kept.documents) == len(documents)
    for number, document in enumerate(documents):
        expected = [*tokenizer.encode(document.text, add_special_tokens=False).ids, kept.eos_id]
        assert kept.documents.text_tokens(number).tolist() == expected
    assert kept.documents.loss_mask.all()


def test_spans_point_to_the_values(kept, world, seed):
    """Read through spans alone, the tokens of the corpus spell every value of every document, across parts."""
    rows = kept.spans.rows(named=True)
    expected = [
        (number, span, wording)
        for number, d in enumerate(world.documents(seed))
        for span, wording in zip(d.spans, d.wordings, strict=True)
    ]
    texts = [d.text for d in world.documents(seed)]
    for row, (number, span, wording) in zip(rows, expected, strict=True):
        assert (row["document"], row["attribute"], row["wording"]) == (number, span.attribute, wording)
        spelled = kept.tokenizer.decode(kept.documents.text_tokens(number)[row["start"] : row["stop"]].tolist())
        assert spelled.replace(" ", "") == texts[number][span.start : span.end].replace(" ", "")


def test_questions_of_a_split_are_asked_apart(kept):
    """Every question is of one split, and its tokens end with its target and the end."""
    seen, unseen = kept.questions_in("seen"), kept.questions_in("unseen")
    assert len(seen) == len(unseen) == 120
    assert sorted(q.id for q in (*seen, *unseen)) == sorted(q.id for q in kept.questions)
    sequences = kept.tokenized_questions(seen)
    for number, question in enumerate(seen):
        answer = sequences.text_tokens(number)[sequences.text_loss_mask(number)].tolist()
        assert answer[-1] == kept.eos_id
        spelled = kept.tokenizer.decode(answer[:-1])
        assert spelled.replace(" ", "") == question.target.replace(" ", "")


def test_a_corpus_is_written_alike_twice(kept, tokenizer, world, seed, tmp_path):
    """Writing the same world again gives the same bytes in every file but for the cut into parts."""
    other = empty(tmp_path / "again", tokenizer)
    corpus.write_corpus(other, world.documents(seed), world.questions(seed))
    for name in ("documents.safetensors", "things.parquet", "questions.parquet"):
        assert (other / name).read_bytes() == (kept.folder / name).read_bytes()
    assert pl.read_parquet(other / "spans.parquet").equals(kept.spans)


def test_documents_are_not_held(word, world, seed, tmp_path, monkeypatch):
    """A part is on disk before the next one is asked for, so a corpus may be larger than memory."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 50)

    def documents():
        for number, document in enumerate(world.documents(seed)):
            assert len(list(tmp_path.glob("documents-*.parquet"))) == number // 50
            yield document

    corpus.write_corpus(empty(tmp_path, word), documents(), world.questions(seed))


def test_documents_without_wordings_are_fine(word, world, seed, tmp_path):
    """A world that does not say which wording it used has empty ones, and as many spans."""
    documents = (replace(d, wordings=()) for d in world.documents(seed))
    corpus.write_corpus(empty(tmp_path, word), documents, world.questions(seed))
    assert set(Corpus(tmp_path).spans["wording"]) == {""}
    assert Corpus(tmp_path).spans.height == 200 * 6


@pytest.mark.parametrize("where", ["document", "question", "two documents", "two questions"])
def test_a_word_unknown_to_the_tokenizer_is_refused(word, world, seed, tmp_path, where):
    """A word outside the samples would be learnt as any other unknown one; all are counted, the first is shown."""
    documents, questions = list(world.documents(seed)), list(world.questions(seed))
    match where:
        case "document":
            documents[3] = replace(documents[3], text=documents[3].text + " zebra zebra")
        case "question":
            questions[5] = replace(questions[5], target="zebra zebra")
        case "two documents":
            documents[3:5] = [replace(d, text=d.text + " zebra") for d in documents[3:5]]
        case "two questions":
            questions[5:7] = [replace(q, prompt=f"zebra {q.prompt}") for q in questions[5:7]]
    with pytest.raises(DataError, match=r"^2 words of the texts are unknown .*(<unk>|zebra).*samples\(\).*\.$"):
        corpus.write_corpus(empty(tmp_path, word), documents, questions)


def in_parts(world, seed, each=15):
    """The world's documents as functions that another process can call, each for a few people."""
    return [
        partial(world.documents_for, first, min(first + each, world.people), seed)
        for first in range(0, world.people, each)
    ]


def bytes_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_several_cores_write_what_one_writes(word, world, seed, tmp_path, monkeypatch):
    """Byte for byte, in parts made elsewhere, in parts made here, and in one stream cut into parts of that size."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 15 * 5)  # five entries each
    questions = list(world.questions(seed))
    folders = [empty(tmp_path / name, word) for name in ("two", "one", "stream")]
    corpus.write_corpus(folders[0], in_parts(world, seed), questions, n_processes=2)
    corpus.write_corpus(folders[1], in_parts(world, seed), questions, n_processes=1)
    corpus.write_corpus(folders[2], world.documents(seed), questions)
    two, one, stream = map(bytes_in, folders)
    assert sum(name.startswith("documents-") for name in two) == 3
    assert two == one == stream
    assert Corpus(folders[0]).spans["document"].to_list() == [n for n in range(200) for _ in range(6)]


def test_what_is_wrong_with_a_part_is_told_from_its_process(word, tmp_path):
    """The sentence of a world's mistake reaches whoever asked for the corpus, on whatever core it was made."""
    sound, wrong = (Document("0", "p", "In which town", (Span("a", start, 8),)) for start in (3, 4))
    parts = [partial(iter, [sound]), partial(iter, [wrong])]
    with pytest.raises(DataError, match=r"the value 'hich' shares a token .*'which'"):
        corpus.write_corpus(empty(tmp_path, word), parts, [], n_processes=2)


SLOW = """
import sys, time
from pathlib import Path
from nosce.data import corpus

def part():
    print("begun", flush=True)
    time.sleep(60)
    return []

if __name__ == "__main__":
    corpus.write_corpus(Path(sys.argv[1]), [part] * 3, [], n_processes=2)
"""


def test_whoever_is_killed_leaves_no_process_behind(word, tmp_path):
    """What makes the parts ends with what asked for them, even if that was killed and could tell nobody."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, tmp_path / "slow.py", empty(tmp_path, word)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "begun\n"
        process.kill()
        process.communicate(timeout=20)  # the output ends when nobody is left who could write
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_of_no_document_there_is_no_corpus(word, tmp_path):
    """A stream, a list of texts and a list of functions that give nothing are refused alike."""
    for documents in (iter([]), [], [partial(iter, [])]):
        with pytest.raises(DataError, match="not one text"):
            corpus.write_corpus(empty(tmp_path, word), documents, [])


BOARDS = build_tokenizer(TokenizerSpec(kind="symbols", symbols=(*"0123456789", " ", "+", "=")), ())


def sums(count: int) -> list[Document]:
    """Additions, of which the task is given, told as a world tells that writes its own tokens."""
    texts = [(f"{n} + {n * n} =", f" {n + n * n}") for n in range(count)]
    return [
        Document(f"sum/{n}", f"sum/{n}", task + answer, (), prompt_chars=len(task))
        for n, (task, answer) in enumerate(texts)
    ]


def tokens_of(documents: list[Document]) -> TokenDataset:
    """What the tokenizer reads in them."""
    return tokenize_documents(documents, [BOARDS.encode(d.text) for d in documents], eos_token_id(BOARDS))


def test_a_world_may_write_its_own_tokens(tmp_path, monkeypatch):
    """All tokens and things are kept, and the texts of the first part alone; others are not even asked for."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    every = sums(35)
    own = [tokens_of(every[:7]), tokens_of(every[7:30]), tokens_of(every[30:])]
    calls = []

    def part(first):
        calls.append(first)
        return every[first : first + 10]

    corpus.write_corpus(whole := empty(tmp_path / "whole", BOARDS), every, [])
    corpus.write_corpus(streamed := empty(tmp_path / "streamed", BOARDS), iter(every), [], iter(own))
    corpus.write_corpus(
        parted := empty(tmp_path / "parted", BOARDS), [partial(part, n) for n in (0, 10, 20, 30)], [], own
    )
    assert calls == [0]
    assert bytes_in(streamed) == bytes_in(parted)
    lost = {f"documents-{n:05d}.parquet" for n in (1, 2, 3)}
    assert bytes_in(streamed) == {name: held for name, held in bytes_in(whole).items() if name not in lost}
    assert not Corpus(streamed).documents.loss_mask.all()


def other(sequences: TokenDataset, change: str, text: int) -> TokenDataset:
    """The same tokens but for one mistake in a text."""
    tokens, counted, offsets = (array.copy() for array in asdict(sequences).values() if array is not None)
    first = offsets[text]
    match change:
        case "a token":
            tokens[first] = BOARDS.token_to_id("+")
        case "a mark":
            counted[first] = True
        case "a border":
            offsets[text] -= 1
        case "an unknown token":
            tokens[first] = BOARDS.token_to_id(UNK_TOKEN)
    return TokenDataset(tokens, counted, offsets)


@pytest.mark.parametrize("change", ["a token", "a mark", "a border", "an unknown token"])
def test_own_tokens_that_are_not_those_of_the_texts_are_refused(tmp_path, monkeypatch, change):
    """Whatever differs in a text that is there to be compared with is seen before a corpus is left behind."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    every = sums(35)
    with pytest.raises(DataError, match=r"own tokens differ from those of its first 10 texts; .*\.$"):
        corpus.write_corpus(empty(tmp_path, BOARDS), every, [], [other(tokens_of(every), change, 9)])
    assert not (tmp_path / "documents.safetensors").exists()


@pytest.mark.parametrize("count", [0, 9])
def test_own_tokens_of_fewer_texts_than_there_are_are_refused(tmp_path, monkeypatch, count):
    """A world that forgets texts is told so, be it that it has none."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    every = sums(35)
    with pytest.raises(DataError):
        corpus.write_corpus(empty(tmp_path, BOARDS), every, [], [tokens_of(every[:count])] if count else [])


def test_an_unknown_token_is_seen_in_texts_that_are_not_there(tmp_path, monkeypatch):
    """Behind the first part nothing is compared, but that no token is the one for the unknown is still seen."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    every = sums(35)
    with pytest.raises(DataError, match=r"^1 words of the texts are unknown .* in '<unk>8 \+ 784 = 812';"):
        corpus.write_corpus(empty(tmp_path, BOARDS), every, [], [other(tokens_of(every), "an unknown token", 28)])


def test_documents_of_a_world_that_writes_its_own_tokens_are_numbered(tmp_path):
    """Ids of texts that were never made can only be known where they are numbers behind a word."""
    every = [replace(d, id=f"sum/{7 * n}") for n, d in enumerate(sums(5))]
    with pytest.raises(DataError, match=r"called <word>/<number>, but .*'sum/0'.*number them from 0\.$"):
        corpus.write_corpus(empty(tmp_path, BOARDS), every, [], [tokens_of(every)])


def test_both_halves_of_the_held_out_questions_are_found_together(tmp_path):
    """Validation and unseen, in the order of the corpus, and none of the seen ones."""
    world, seed = Diaries(encoding="lean", n_diarists=40, train_share=0.5), Seed(0)
    empty(tmp_path, build_tokenizer(world.tokenizer, world.samples(seed)))
    corpus.write_corpus(tmp_path, world.documents(seed), world.questions(seed))
    kept = Corpus(tmp_path)
    held_out = kept.questions_in("held out")
    assert held_out == [question for question in kept.questions if question.split != "seen"]
    assert {question.split for question in held_out} == {"validation", "unseen"}
