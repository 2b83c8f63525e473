"""Read-outs: what is asked of a checkpoint, as pure data with one function each.

A read-out turns a model and a corpus into readings, one row an item and metric. It knows neither the
study nor the arm; those columns are filled when readings are gathered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import blank
from nosce.records import Question, Reading, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.data.packing import Sequences
    from nosce.models.likelihood import BatchChange, Spoken


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Ask all questions or those of a split: exact match as greedy decoding gives it, its first token, and nats.

    Source: arXiv:2309.14316, section 2 ("QA generation accuracy", exact match of the whole value).
    """

    needs_model: ClassVar[bool] = True
    split: Split | None = None  # None: of both
    name: str = "questions"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric: `exact` (value and end), `first` (token) and `nats`."""
        from nosce.models.likelihood import spoken

        assert model is not None
        heard = spoken(model, *self._spans(corpus), end=corpus.end)
        for question, what in zip(self._asked(corpus), heard, strict=True):
            yield from _readings(self.name, question.split, question.id, question.about, question.facet, what, corpus)

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """On a sample of the questions."""
        from nosce.models.likelihood import batch_change

        return batch_change(model, *self._spans(corpus), end=corpus.end, seed=seed / "batch change")

    def _spans(self, corpus: Corpus) -> tuple[Sequences, list[tuple[int, int, int]]]:
        from nosce.models.likelihood import counted_spans

        sequences = corpus.question_sequences(self._asked(corpus))
        return sequences, counted_spans(sequences)

    def _asked(self, corpus: Corpus) -> list[Question]:
        return corpus.questions if self.split is None else corpus.asked(self.split)


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Are values recalled inside the documents themselves, given all that stands before them?

    The check without which "cannot be asked for" would be confused with "was never stored"
    (arXiv:2309.14316, remark C.1). `documents` of each person are drawn; 0 takes all. Of all facets, or of some.
    With `by_words` each token of a value is asked for by itself, the rest of the value beside it: where words are
    tokens, what a model that sees both ways has learnt.
    """

    needs_model: ClassVar[bool] = True
    documents: int = 1
    facets: tuple[str, ...] = ()
    by_words: bool = False
    name: str = "recall"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a value and metric: `exact` (whole value), `first` (token) and `nats`."""
        from nosce.models.likelihood import spoken

        assert model is not None
        split = {q.about: q.split for q in corpus.questions}
        abouts, ids = corpus.things["about"].to_list(), corpus.things["id"].to_list()
        rows = self._rows(model, corpus, seed)
        for row, what in zip(rows, spoken(model, corpus.documents, _places(rows), end=corpus.end), strict=True):
            about = abouts[row["document"]]
            item = f"{row['facet']}/{ids[row['document']]}{row.get('word', '')}"
            yield from _readings(self.name, split.get(about, ""), item, about, row["facet"], what, corpus)

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """On a sample of the values."""
        from nosce.models.likelihood import batch_change

        places = _places(self._rows(model, corpus, seed))
        return batch_change(model, corpus.documents, places, end=corpus.end, seed=seed / "batch change")

    def _rows(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> list[dict[str, Any]]:
        """Values of the drawn documents; what an encoder is given nobody can recall."""
        chosen = self._drawn(corpus.things["about"].to_list(), seed)
        rows = [row for row in corpus.spans.iter_rows(named=True)
                if row["document"] in chosen and (not self.facets or row["facet"] in self.facets)]  # fmt: skip
        if self.by_words:
            rows = [{**row, "start": at, "stop": at + 1, "word": f"/{at - row['start']}"}
                    for row in rows for at in range(row["start"], row["stop"])]  # fmt: skip
        if not model.config.is_encoder_decoder:
            return rows
        given = corpus.documents.given
        return [row for row in rows if row["start"] >= given[row["document"]]]

    def _drawn(self, abouts: list[str], seed: Seed) -> set[int]:
        if not self.documents:
            return set(range(len(abouts)))
        by_thing: dict[str, list[int]] = {}
        for number, about in enumerate(abouts):
            by_thing.setdefault(about, []).append(number)
        rng = (seed / "recall").numpy()
        return {
            int(number)
            for numbers in by_thing.values()
            for number in rng.choice(numbers, min(self.documents, len(numbers)), replace=False)
        }


@dataclass(frozen=True, kw_only=True)
class Majority:
    """What one would score without a model: always the most frequent answer among the seen people's."""

    needs_model: ClassVar[bool] = False
    name: str = "majority"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question: `exact`, with the guess as the answer.

        Raises:
            DataError: A facet was asked of unseen things alone, so that nothing is known to guess.
        """
        best: dict[str, str] = {}
        for facet in dict.fromkeys(q.facet for q in corpus.questions):
            seen = Counter(q.target for q in corpus.asked("seen") if q.facet == facet)
            if not seen:
                raise DataError(
                    f"a majority guess was asked for, but nobody of the seen split is asked about {facet!r}; "
                    "ask somebody, or leave the read-out Majority out."
                )
            # Ties go to the alphabet, not to the order in which people happen to come.
            best[facet] = min(seen, key=lambda target: (-seen[target], target))
        for question in corpus.questions:
            yield _guess(self.name, question, best[question.facet])


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """What the values of a facet would cost in the documents without a model, by how frequent they are there.

    Readings have the items of `Recall` with all documents: `nats` by their frequency among all documents, so without
    knowing whom it is about, and `nats/own` by that among the documents about the same, the least that is possible.
    """

    needs_model: ClassVar[bool] = False
    facets: tuple[str, ...]
    name: str = "frequencies"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Two readings a value."""
        split = {q.about: q.split for q in corpus.questions}
        abouts, ids = corpus.things["about"].to_list(), corpus.things["id"].to_list()
        for facet in self.facets:
            rows = list(corpus.spans.filter(pl.col("facet") == facet).iter_rows(named=True))
            values = [tuple(corpus.documents.text(r["document"])[r["start"] : r["stop"]].tolist()) for r in rows]
            owners = [abouts[row["document"]] for row in rows]
            often, own, each = Counter(values), Counter(zip(owners, values, strict=True)), Counter(owners)
            for row, value, about in zip(rows, values, owners, strict=True):
                where = {"readout": self.name, "split": split.get(about, ""), "about": about, "facet": facet,
                         "item": f"{facet}/{ids[row['document']]}", "answer": None, "target": None}  # fmt: skip
                for metric, share in (
                    ("nats", often[value] / len(rows)),
                    ("nats/own", own[about, value] / each[about]),
                ):
                    yield blank(**where, metric=metric, value=-math.log(share), outcome=None)


def _places(rows: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return [(row["document"], row["start"], row["stop"]) for row in rows]


def _guess(readout: str, question: Question, answer: str) -> Reading:
    right = answer == question.target
    return blank(readout=readout, split=question.split, item=question.id, about=question.about, facet=question.facet,
                 metric="exact", value=float(right), outcome="right" if right else "wrong", answer=answer,
                 target=question.target)  # fmt: skip


def _readings(
    readout: str, split: str, item: str, about: str, facet: str, what: Spoken, corpus: Corpus
) -> Iterator[Reading]:
    where = {"readout": readout, "split": split, "item": item, "about": about, "facet": facet}
    answer = corpus.tokenizer.decode(what.said.tolist(), skip_special_tokens=True)
    target = corpus.tokenizer.decode(what.true.tolist(), skip_special_tokens=True)
    for metric, right in (("exact", what.exact), ("first", what.first)):
        outcome = "right" if right else "wrong"
        yield blank(**where, metric=metric, value=float(right), outcome=outcome, answer=answer, target=target)
    yield blank(**where, metric="nats", value=what.nats, outcome=None, answer=None, target=target)
    mean = what.nats / len(what.true)
    yield blank(**where, metric="nats_per_token", value=mean, outcome=None, answer=None, target=target)
