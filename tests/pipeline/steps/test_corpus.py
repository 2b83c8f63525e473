"""The step `corpus` asks a world for parts, or for its own tokens, where it has them, and writes the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from nosce.data import corpus
from nosce.data.corpus import Corpus
from nosce.data.packing import TokenDataset, tokenize_documents
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.errors import DataError
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, _document_source, make
from nosce.records import Document, Question
from nosce.seeds import Seed

SEED = Seed(0) / "world"


@dataclass(frozen=True)
class Sums(World):
    """Additions, of which the task is given."""

    count: int = 30

    def documents(self, seed: Seed) -> Iterator[Document]:
        for number in range(self.count):
            other = int((seed / number).numpy().integers(100))
            task = f"{number}+{other}="
            yield Document(f"sum/{number}", f"sum/{number}", f"{task}{number + other}", (), prompt_chars=len(task))

    def questions(self, seed: Seed) -> Iterator[Question]:
        yield Question("sum/1000", "sum/1000", "sum", "1000+1=", "1001", "unseen", metadata="1001")

    def samples(self, seed: Seed) -> Iterator[str]:
        yield "none is needed"


@dataclass(frozen=True)
class Spoken(Sums):
    """One text, whose words are all there are."""

    text: str = ""
    count: int = 1

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "text", text)

    def documents(self, seed: Seed) -> Iterator[Document]:
        yield Document("text", "text", self.text, ())

    def questions(self, seed: Seed) -> Iterator[Question]:
        yield Question("q", "text", "word", self.text, self.text.split()[0], "unseen")

    def samples(self, seed: Seed) -> Iterator[str]:
        yield self.text


@dataclass(frozen=True)
class Encoded(Sums):
    """The same, which writes its own tokens as well, seven texts at a time; `wrong` is the text with a mistake."""

    wrong: int | None = None

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, end: int) -> Iterator[TokenDataset]:
        every = list(self.documents(seed))
        for first in range(0, self.count, 7):
            some = every[first : first + 7]
            found = tokenize_documents(some, [tokenizer.encode(d.text) for d in some], end)
            if self.wrong is not None and first <= self.wrong < first + 7:
                found.tokens[found.offsets[self.wrong - first]] = end
            yield found


def made(world: object, folder: Path) -> Path:
    """The folder of the step, where something of an interrupted run lay."""
    folder.mkdir()
    (folder / "documents-00099.parquet").write_text("half of it")
    make(
        CorpusSpec(world=world, seed=SEED, tokenizer=TokenizerSpec(kind="symbols", symbols=tuple("0123456789+="))),
        {},
        StepContext(folder=folder),
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All that the step left, byte for byte."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_world_of_its_own_tokens_leaves_what_its_texts_would(tmp_path, monkeypatch):
    """The same bytes but for the texts behind the first part, which nobody made."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    told, encoded = files(made(Sums(), tmp_path / "told")), files(made(Encoded(), tmp_path / "encoded"))
    assert {name for name in told if name not in encoded} == {f"documents-{n:05d}.parquet" for n in (1, 2)}
    assert encoded == {name: held for name, held in told.items() if name in encoded}


@pytest.mark.parametrize("wrong", [0, 9])
def test_own_tokens_are_held_against_the_first_texts(tmp_path, monkeypatch, wrong):
    """A mistake in the first part stops the step."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", 10)
    with pytest.raises(DataError, match="own tokens differ from those of its first 10 texts"):
        made(Encoded(wrong=wrong), tmp_path / "wrong")


def test_what_is_given_and_hidden_comes_back(tmp_path):
    """The task of every document is not counted, and what only a judge may see lies with the question."""
    kept = Corpus(made(Sums(), tmp_path / "kept"))
    for number, document in enumerate(Sums().documents(SEED)):
        tokens, counted = kept.documents.text_tokens(number), kept.documents.text_loss_mask(number)
        assert kept.tokenizer.decode(tokens[~counted].tolist()) == document.text[: document.prompt_chars]
        assert kept.tokenizer.decode(tokens[counted][:-1].tolist()) == document.text[document.prompt_chars :]
        assert counted[-1]
    assert [q.metadata for q in kept.questions] == ["1001"]


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_a_world_that_can_tell_of_some_things_is_asked_in_parts(dozen, monkeypatch, size):
    """The parts are its documents, one behind the other, all as many but the last, each to be made by itself."""
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_FILE", size)
    spec = CorpusSpec(world=dozen, seed=SEED, tokenizer=TokenizerSpec())
    parts = [list(part()) for part in reversed(_document_source(spec))][::-1]
    assert list(chain(*parts)) == list(dozen.documents(SEED))
    assert {len(part) for part in parts[:-1]} <= {size}
    assert 1 <= len(parts[-1]) <= size


def test_a_world_that_cannot_is_asked_for_all():
    """Without a way to tell of some of its things a world is a stream."""
    spec = CorpusSpec(world=Sums(), seed=SEED, tokenizer=TokenizerSpec())
    assert list(_document_source(spec)) == list(Sums().documents(SEED))


def test_another_world_is_written_in_the_words_of_the_first(tmp_path):
    """Its tokens are the first corpus's; what these cannot spell is refused and not read as unknown."""
    spec = TokenizerSpec()
    make(
        CorpusSpec(world=Spoken("one two three"), seed=SEED, tokenizer=spec), {}, StepContext(folder=tmp_path / "first")
    )
    words = {"words": tmp_path / "first"}
    make(
        CorpusSpec(world=Spoken("three two"), seed=SEED, tokenizer=spec), words, StepContext(folder=tmp_path / "second")
    )
    first, second = Corpus(tmp_path / "first"), Corpus(tmp_path / "second")
    assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert second.documents.text_tokens(0).tolist() == [
        first.tokenizer.token_to_id(w) for w in ("three", "two", "<eos>")
    ]
    with pytest.raises(DataError, match="unknown to the tokenizer"):
        make(CorpusSpec(world=Spoken("four"), seed=SEED, tokenizer=spec), words, StepContext(folder=tmp_path / "third"))
