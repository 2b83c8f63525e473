"""`nosce export --as dataset`: the training texts and the questions as a folder that `datasets.load_dataset` opens.

README.md                  the card; its metadata name the files of each configuration and split
documents/*.parquet        one row a training text: `id`, `entity`, `text`, and where they are kept the places of values
questions/<split>.parquet  one row a question: `id`, `entity`, `attribute`, `prompt`, `target`, `metadata`
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer

from nosce.data.corpus import DOCUMENTS_PER_FILE, Corpus
from nosce.data.plain_tokenizer import word_decoder
from nosce.errors import DataError, NosceError, UsageError
from nosce.pipeline.exports.model_card import license_sentence, made_sentence
from nosce.pipeline.exports.target import ExportTarget
from nosce.records import Question, count_rows, read_table, to_table

DOCUMENTS, QUESTIONS = "documents", "questions"  # configurations, and the folders of their files


def write_dataset(target: ExportTarget, folder: Path, license_: str) -> str:
    """Write the texts and questions of a training with a card.

    Args:
        target: The checkpoint whose training's texts are written.
        folder: Where to write.
        license_: Identifier of a licence as the hub writes it.

    Returns:
        A sentence on what was written.

    Raises:
        UsageError: The training has neither texts nor questions.
        DataError: A text cannot be written from its tokens.
        NosceError: The disk refuses.
    """
    corpus = target.corpus
    splits = list(dict.fromkeys(question.split for question in corpus.questions))
    n_documents = len(corpus.document_index)
    if not splits and not n_documents:
        raise UsageError(f"{target.label} has neither texts nor questions; name another --stage or arm.")
    try:
        if n_documents:
            (folder / DOCUMENTS).mkdir(parents=True)
            _write_documents(corpus, folder / DOCUMENTS)
        if splits:
            (folder / QUESTIONS).mkdir(parents=True)
        for split in splits:
            rows = to_table(corpus.questions_in(split), Question).drop("split")
            rows.write_parquet(folder / QUESTIONS / f"{split}.parquet")
        (folder / "README.md").write_text(_dataset_card(target, splits, n_documents, license_), encoding="utf-8")
    except OSError as error:
        raise NosceError(f"{folder} could not be written ({error.strerror}); name another folder.") from error
    counts = f"{n_documents:,} texts and {len(corpus.questions):,} questions"
    return f"{counts} of {target.label} are now in {folder}, for datasets.load_dataset({str(folder)!r}, {QUESTIONS!r})."


def _write_documents(corpus: Corpus, folder: Path) -> None:
    """The texts in files of ten thousand. A world that wrote its own tokens kept only the first file of texts."""
    sources = sorted(corpus.folder.glob("documents-*.parquet"))
    if sum(map(count_rows, sources)) == len(corpus.document_index):
        for source in sources:
            shutil.copyfile(source, folder / source.name)
        return
    kept = read_table(sources[0], columns=["text"])["text"].to_list()
    tokenizer = _decoding_tokenizer(corpus, kept)
    for number, (start, texts) in enumerate(_decoded_parts(corpus, tokenizer)):
        if number == 0 and texts[: len(kept)] != kept:
            raise DataError(
                f"the texts of {corpus.folder.name} were kept only as tokens, which do not give them back exactly; "
                "take a smaller scale, whose texts are kept."
            )
        rows = corpus.document_index.slice(start, len(texts)).with_columns(text=pl.Series(texts, dtype=pl.String))
        rows.write_parquet(folder / f"documents-{number:05d}.parquet")


def _decoding_tokenizer(corpus: Corpus, texts: list[str]) -> Tokenizer:
    tokenizer = corpus.tokenizer
    if tokenizer.decoder is None:
        tokenizer.decoder = word_decoder(tokenizer, texts)
    return tokenizer


def _decoded_parts(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[tuple[int, list[str]]]:
    """The number of the first text of each part, and the part's texts, from their tokens without the end tokens."""
    dataset = corpus.documents
    for start in range(0, len(dataset), DOCUMENTS_PER_FILE):
        numbers = range(start, min(start + DOCUMENTS_PER_FILE, len(dataset)))
        tokens = [dataset.text_tokens(number)[:-1].tolist() for number in numbers]
        yield start, tokenizer.decode_batch(tokens, skip_special_tokens=False)


def _dataset_card(target: ExportTarget, splits: Sequence[str], n_documents: int, license_: str) -> str:
    """The README.md: metadata in the form of the hub, what the rows are, and how they are opened."""
    from huggingface_hub import DatasetCardData

    study = target.study
    configs: list[dict[str, object]] = []
    if splits:
        files = [{"split": split, "path": f"{QUESTIONS}/{split}.parquet"} for split in splits]
        configs.append({"config_name": QUESTIONS, "data_files": files, "default": True})
    if n_documents:
        configs.append({"config_name": DOCUMENTS, "data_files": [{"split": "train", "path": f"{DOCUMENTS}/*.parquet"}]})
    for config in configs:
        # `datasets` remembers a local folder by its last name and these fields, and not by the rows: without the step's
        # name, a second export to another folder of the same name would be opened as the first.
        config["description"] = f"{target.label}, {target.step.inputs['corpus'].name}"
    metadata = DatasetCardData(
        license=license_,
        pretty_name=f"{study.title}: {target.arm}, seed {target.seed}",
        tags=["nosce", "synthetic", study.name],
        task_categories=["question-answering", "text-generation"],
        configs=configs,
    )
    splits_sentence = f"Questions are of the splits {', '.join(splits)}. " if splits else ""
    return (
        f"---\n{metadata.to_yaml()}\n---\n"
        f"# {study.title}: {target.arm}, seed {target.seed}, {target.stage}\n\n{study.question} The texts and "
        f"questions of the study `{study.name}` ({study.paper}) at scale `{study.scale}`, of a synthetic world that "
        f"nosce wrote; nothing in them is true of anybody.\n\n{splits_sentence}A training may have seen the answers of "
        "`seen` questions, `validation` chooses a checkpoint or a setting, and `unseen` only evaluates; what each "
        "question asks about is in the texts of all splits unless the study says otherwise.\n\n"
        f"- {made_sentence(target)}\n" + license_sentence(license_)
    )
