"""General text from a folder: .txt, .jsonl and Parquet files, in pieces of some hundred words.

Continued training on a few facts makes a model forget other text. Replaying general text beside the facts is the usual
remedy, and a control: a model that has read general text before it reads the facts (arXiv:2309.14316, section 4.3,
mixes WikiBook with its biographies).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from nosce.data.worlds.base import World
from nosce.errors import SpecError
from nosce.records import Document, Question, read_table
from nosce.seeds import Seed

TEXT_SUFFIXES = (".txt", ".jsonl", ".parquet")
TEXT_COLUMNS = ("text", "content", "document")  # of the usual corpora on the Hugging Face hub
REPLAY_ENTITY = "text"  # every piece has an entity of its own, `text/7`


@dataclass(frozen=True, kw_only=True)
class TextFolder(World):
    """The texts of a folder, cut into pieces; there are no questions about them.

    Args:
        folder: Path of the folder. Its files of text, also in folders inside it, are read in the order of their names.
        digest: SHA-256 of these files, which enters the keys of steps.
        column: Column of the text in .jsonl and Parquet files. Empty: `text`, `content` or `document`.
        words_per_piece: Words of a piece; a longer text becomes several pieces. 60 are about a biography's.
        max_pieces: Pieces at most, taken evenly from all. None: all.
    """

    folder: str
    digest: str
    column: str = ""
    words_per_piece: int = 60
    max_pieces: int | None = None

    def __post_init__(self) -> None:
        if self.words_per_piece < 1 or (self.max_pieces is not None and self.max_pieces < 1):
            raise SpecError(
                f"TextFolder of {self.max_pieces} pieces of {self.words_per_piece} words holds no text; take 1 or more."
            )

    @classmethod
    def from_folder(cls, folder: str | Path, *, column: str = "", words_per_piece: int = 60) -> TextFolder:
        """The texts of a folder, with the digest of its files.

        Raises:
            SpecError: There is no such folder, or no file of text in it.
        """
        path = Path(folder).expanduser()
        files = _text_files(path)
        digest = hashlib.sha256()
        for file in files:
            digest.update(json.dumps([str(file.relative_to(path)), file.stat().st_size]).encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return cls(
            folder=str(path.resolve()), digest=digest.hexdigest(), column=column, words_per_piece=words_per_piece
        )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The pieces, in the order of the files."""
        for number, text in enumerate(self._pieces(seed)):
            yield Document(id=f"{REPLAY_ENTITY}/{number}", entity=f"{REPLAY_ENTITY}/{number}", text=text, spans=())

    def questions(self, seed: Seed) -> Iterator[Question]:
        """None."""
        return iter(())

    def samples(self, seed: Seed) -> Iterator[str]:
        """The pieces themselves."""
        yield from self._pieces(seed)

    def count_pieces(self, limit: int) -> int:
        """The number of pieces, or `limit` if there are as many; no more of the folder is read than that takes.

        Raises:
            SpecError: The files have changed.
        """
        return sum(1 for _ in islice(self._all_pieces(), limit))

    def _all_pieces(self) -> Iterator[str]:
        return (piece for text in self._texts() for piece in _cut(text, self.words_per_piece))

    def _pieces(self, seed: Seed) -> Iterator[str]:
        pieces = list(self._all_pieces())
        if not pieces:
            raise SpecError(f"the folder {self.folder} holds no text; give one with some words.")
        if self.max_pieces is None or self.max_pieces >= len(pieces):
            yield from pieces
            return
        chosen = (seed / "pieces").numpy().choice(len(pieces), self.max_pieces, replace=False)
        yield from (pieces[index] for index in sorted(chosen.tolist()))

    def _texts(self) -> Iterator[str]:
        path = Path(self.folder)
        if TextFolder.from_folder(path).digest != self.digest:
            raise SpecError(f"the files in {path} have changed since the study was planned; plan again.")
        for file in _text_files(path):
            yield from _read_texts(file, self.column)


@dataclass(frozen=True, kw_only=True)
class WithReplay(World):
    """A world whose documents stand among pieces of general text.

    Args:
        world: The world; facts, questions and splits are its own.
        texts: The general text.
        n_pieces: Pieces of it that stand among the documents; training shows each as often as each document.
    """

    world: World
    texts: TextFolder
    n_pieces: int

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The world's documents, then the pieces; the order of training is drawn from all of them."""
        yield from self.world.documents(seed)
        yield from replace(self.texts, max_pieces=self.n_pieces).documents(seed / "replay")

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The world's questions."""
        yield from self.world.questions(seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of both."""
        yield from self.world.samples(seed)
        yield from replace(self.texts, max_pieces=self.n_pieces).samples(seed / "replay")

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Those of the world."""
        return self.world.constant_attributes

    def downsized(self, max_entities: int) -> WithReplay:
        """A smaller world with fewer pieces."""
        return replace(self, world=self.world.downsized(max_entities), n_pieces=min(self.n_pieces, max_entities))


def _text_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SpecError(f"{folder} is no folder of texts; name one that holds .txt, .jsonl or .parquet files.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_SUFFIXES and path.is_file())
    if not files:
        raise SpecError(f"{folder} holds no file of text; put .txt, .jsonl or .parquet files there.")
    return files


def _read_texts(file: Path, column: str) -> Iterator[str]:
    if file.suffix.lower() == ".txt":
        yield _decode(file)
        return
    if file.suffix.lower() == ".jsonl":
        rows = enumerate((line for line in _decode(file).splitlines() if line.strip()), 1)
        yield from (_text_of_line(file, number, line, column) for number, line in rows)
        return
    table = read_table(file)
    name = _column(file, column, table.columns)
    values: Iterable[object] = table[name].to_list()
    yield from (value for value in values if isinstance(value, str))


def _decode(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from None


def _text_of_line(file: Path, number: int, line: str, column: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"line {number} of {file} is no JSON ({error}); mend it.") from None
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise SpecError(f"line {number} of {file} is neither a text nor an object with a text; mend it.")
    value = row[_column(file, column, list(row))]
    if not isinstance(value, str):
        raise SpecError(f"line {number} of {file} has {value!r:.60} where a text should be; mend it.")
    return value


def _column(file: Path, column: str, names: list[str]) -> str:
    """The column of the text."""
    for name in (column,) if column else TEXT_COLUMNS:
        if name in names:
            return name
    wanted = column or " or ".join(TEXT_COLUMNS)
    raise SpecError(
        f"{file} has the columns {', '.join(map(str, names[:12]))} and not {wanted}; name the text's column."
    )


def _cut(text: str, n_words: int) -> Iterator[str]:
    """Pieces of so many words, with single spaces between them; the last may be shorter."""
    words = text.split()
    for first in range(0, len(words), n_words):
        yield " ".join(words[first : first + n_words])
