"""Texts of a corpus about some entities: prompts of questions, and documents with how often each was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler
from nosce.errors import DataError
from nosce.evals.self_report import ReportMetadata
from nosce.pipeline.items.item import ItemTraining, TrainedDocument, TrainedFact
from nosce.pipeline.items.sources import ASKS_QUESTIONS, READS_DOCUMENTS, EvaluationSource, LedgerSource
from nosce.records import Document, Question, from_table, read_table, scan_table, schema
from nosce.store.store import Store

MAX_DOCUMENTS = 20  # texts of an item that are shown; the ledger counts all
NOT_WORD_FOR_WORD = "The world's question; the evaluation may show it otherwise."


@dataclass(frozen=True)
class EntityTexts:
    """Questions and documents about some entities.

    Args:
        folder: The corpus.
        entities: The entities.
    """

    folder: Path
    entities: Collection[str]

    @cached_property
    def questions(self) -> Mapping[str, Question]:
        """The questions about the entities, by their ids; those of a corpus that is gone are not there."""
        file = self.folder / "questions.parquet"
        if not file.exists():
            return {}
        rows = scan_table(file).filter(pl.col("entity").is_in(list(self.entities))).collect()
        return {question.id: question for question in from_table(rows, Question)}

    @cached_property
    def documents(self) -> Mapping[str, Document]:
        """The documents about the entities whose texts were kept, by their ids."""
        wanted, columns = pl.col("entity").is_in(list(self.entities)), list(schema(Document))
        scans = [scan_table(file) for file in sorted(self.folder.glob("documents-*.parquet"))]
        tables = [scan.filter(wanted).select(columns).collect() for scan in scans]
        return {one.id: one for one in from_table(pl.concat(tables), Document)} if tables else {}

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, for its tokenizer."""
        return Corpus(self.folder)

    def question(self, item: str) -> Question | None:
        """The question of this name, or else the one with the longest name that the item's begins with."""
        parts = item.split("/")
        names = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.questions[name] for name in names if name in self.questions), None)

    def prompt(self, source: EvaluationSource, item: str) -> tuple[str | None, str]:
        """What the model was given, and what the prompt is where it is not word for word that."""
        if source.type in READS_DOCUMENTS:
            return self._beginning(item), ""
        if source.kind == "probe" and item in self.documents:
            return self.documents[item].text, "The text whose hidden states the probe reads."
        if (question := self.question(item)) is None:
            return None, ""
        if source.kind in ("probe", "patch"):
            return question.prompt, "The question about which hidden states are read."
        if source.gives_answer:
            try:
                return ReportMetadata.from_question(question).given_answer_prompt or None, ""
            except DataError:
                return None, ""
        is_whole = question.id == item and source.type in ASKS_QUESTIONS
        return question.prompt, "" if is_whole else NOT_WORD_FOR_WORD

    def _beginning(self, item: str) -> str | None:
        """The text before the value that `<attribute>/<document>` names; None where its position is not known."""
        for document in self.documents.values():
            for span in document.spans:
                if item == f"{span.attribute}/{document.id}":
                    return document.text[: span.start]
        return None

    def target_tokens(self, target: str, count: int) -> tuple[str, ...]:
        """The target's tokens, if they and the end are so many; else ()."""
        tokenizer = self.corpus.tokenizer
        ids = tokenizer.encode(target, add_special_tokens=False).ids
        texts = tuple(tokenizer.decode([one], skip_special_tokens=False) for one in ids)
        return texts if len(texts) + 1 == count else ()


class ItemLedger:
    """The exposure ledger of some arms and what it is counted from, for any of their entities.

    Args:
        store: The store.
        source: Where the ledger is.
    """

    def __init__(self, store: Store, source: LedgerSource) -> None:
        self.source = source
        self.has_all = store.has(source.step) and store.has(source.corpus)
        if self.has_all:
            self._corpus_folder = store.folder(source.corpus)
            self._table = read_table(store.folder(source.step) / "exposure.parquet")
            self._index = read_table(self._corpus_folder / "things.parquet").with_row_index("document")

    @cached_property
    def _exposures(self) -> pl.Series:
        source = self.source
        sampler = EpochSampler(len(self._index), source.batch_size, source.sampler_seed)
        return pl.Series("exposures", sampler.exposures(source.steps))

    def trainings(self, entities: Collection[str]) -> dict[str, ItemTraining]:
        """What was trained on about each of these entities."""
        blank = ItemTraining(arms=self.source.arms, facts=(), documents=(), n_documents=0)
        if not self.has_all:
            note = "The corpus or its ledger is no longer in the store, so exposures are not known."
            return dict.fromkeys(entities, replace(blank, note=note))
        wanted = pl.col("entity").is_in(list(entities))
        facts = self._table.filter(wanted).partition_by("entity", as_dict=True, include_key=False)
        rows = self._index.with_columns(self._exposures).filter(wanted)
        documents = rows.partition_by("entity", as_dict=True, include_key=False)
        texts = EntityTexts(self._corpus_folder, entities).documents
        trainings = {}
        for entity in entities:
            known = facts.get((entity,), self._table.clear().drop("entity"))
            shown = documents.get((entity,), rows.clear().drop("entity"))
            trainings[entity] = replace(
                blank,
                facts=tuple(TrainedFact(**row) for row in known.iter_rows(named=True)),
                documents=tuple(self._document(row, texts) for row in shown.head(MAX_DOCUMENTS).iter_rows(named=True)),
                n_documents=len(shown),
                note=""
                if len(shown)
                else f"By the corpus's own index, no text that these arms trained on is about {entity}.",
            )
        return trainings

    def _document(self, row: Mapping[str, object], texts: Mapping[str, Document]) -> TrainedDocument:
        name = str(row["id"])
        text = texts[name].text if name in texts else None
        return TrainedDocument(id=name, exposures=int(str(row["exposures"])), text=text)
