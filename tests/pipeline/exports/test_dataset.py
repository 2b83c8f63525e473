"""An exported dataset: the rows of the corpus, and a card that the hub's own library reads."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from huggingface_hub import DatasetCard
from tests.fixtures.tool_pythons import python_with, run_tool
from tests.pipeline.exports.test_asked import smoke_target

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.errors import DataError
from nosce.pipeline.export import export_checkpoint
from nosce.pipeline.exports import dataset
from nosce.records import Document

LOAD = """
import json, sys
import datasets
questions, documents = (datasets.load_dataset("./folder", name) for name in ("questions", "documents"))
print(json.dumps({"questions": {split: rows.num_rows for split, rows in questions.items()},
                  "first": questions["unseen"][0], "documents": documents["train"].num_rows,
                  "text": documents["train"][0]["text"]}))
"""


@pytest.fixture
def exported(smoke_store, tmp_path):
    """The folder, and the corpus it is of."""
    target = smoke_target(smoke_store)
    said = export_checkpoint(target, tmp_path / "folder", "dataset", "cc-by-4.0")
    assert "load_dataset" in said
    return tmp_path / "folder", target.corpus


def test_the_rows_are_those_of_the_corpus(exported):
    """Texts with the places of their values, and the questions of each split."""
    folder, corpus = exported
    texts = pl.read_parquet(folder / "documents" / "*.parquet")
    assert len(texts) == len(corpus.document_index)
    row = texts.row(0, named=True)
    assert row["spans"]
    assert all(0 <= span["start"] < span["end"] <= len(row["text"]) for span in row["spans"])
    for split in ("seen", "unseen"):
        rows = pl.read_parquet(folder / "questions" / f"{split}.parquet")
        asked = corpus.questions_in(split)
        assert rows["prompt"].to_list() == [question.prompt for question in asked]
        assert rows["target"].to_list() == [question.target for question in asked]


def test_the_card_names_the_files_as_the_hub_reads_them(exported):
    """Configurations, splits, licence and tags, through huggingface_hub."""
    folder, _ = exported
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert {"nosce", "synthetic"} <= set(card.data.tags)
    for config in card.data.to_dict()["configs"]:
        for files in config["data_files"]:
            assert list(folder.glob(files["path"])), files
    named = {config["config_name"]: config["data_files"] for config in card.data.to_dict()["configs"]}
    assert [files["split"] for files in named["questions"]] == ["seen", "unseen"]
    assert [files["split"] for files in named["documents"]] == ["train"]


@pytest.fixture
def token_corpus(tmp_path, monkeypatch):
    """A corpus that kept only the first of its texts, as a world that writes its own tokens does."""
    texts = [f"the {name} sleeps in town {n}" for n in range(4) for name in ("cat", "dog", "owl")]
    folder = tmp_path / "corpus"
    save_tokenizer(build_tokenizer(TokenizerSpec(kind="word", vocab_size=100), texts), folder / "tokenizer")
    documents = [Document(f"text/{n}", f"text/{n}", text, ()) for n, text in enumerate(texts)]
    write_corpus(folder, [lambda: documents[:5], lambda: documents[5:]], [])
    (folder / "documents-00001.parquet").unlink()
    monkeypatch.setattr(dataset, "DOCUMENTS_PER_FILE", 5)
    return Corpus(folder), texts


def test_texts_that_were_kept_as_tokens_are_written_from_them(token_corpus, tmp_path):
    """All of them, in the order of the corpus."""
    corpus, texts = token_corpus
    dataset._write_documents(corpus, tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.parquet")) == [f"documents-{n:05d}.parquet" for n in range(3)]
    assert pl.read_parquet(tmp_path / "*.parquet")["text"].to_list() == texts


def test_tokens_that_do_not_give_their_texts_back_are_refused(token_corpus, tmp_path):
    """Rather than texts that were never trained on."""
    corpus, _ = token_corpus
    path = corpus.folder / "documents-00000.parquet"
    pl.read_parquet(path).with_columns(pl.col("text") + " .").write_parquet(path)
    with pytest.raises(DataError, match="kept only as tokens, which do not give them back exactly"):
        dataset._write_documents(replace(corpus), tmp_path)


@pytest.mark.slow
def test_datasets_opens_the_folder_and_no_other_of_its_name(exported, smoke_store, tmp_path):
    """The library itself, without a network."""
    folder, corpus = exported
    python = python_with("datasets")
    other = tmp_path / "other"
    other.mkdir()
    export_checkpoint(smoke_target(smoke_store, arm="single"), other / "folder", "dataset", "mit")
    first = json.loads(run_tool(python, "-c", LOAD, cwd=other, HF_HOME=str(tmp_path / "home")))
    found = json.loads(run_tool(python, "-c", LOAD, cwd=folder.parent, HF_HOME=str(tmp_path / "home")))
    assert first["text"] != found["text"], "a folder was opened as another of the same name"
    assert found["questions"] == {split: len(corpus.questions_in(split)) for split in ("seen", "unseen")}
    assert found["documents"] == len(corpus.document_index)
    assert found["first"]["prompt"] == corpus.questions_in("unseen")[0].prompt
