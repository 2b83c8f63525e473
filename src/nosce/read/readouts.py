"""Read-outs: what is asked of a checkpoint, as pure data with one function each.

A read-out turns a model and a corpus into readings, one row an item and metric. It knows neither the
study nor the arm; those columns are filled when readings are gathered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from nosce.records import Question, Reading
from nosce.seeds import Seed
from nosce.text.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.read.likelihood import Spoken


class ReadOut(Protocol):
    """What the step `readings` asks of a read-out."""

    needs_model: ClassVar[bool]

    @property
    def name(self) -> str:
        """How the read-out is called in the readings."""
        ...

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint, with study, arm, seed, stage and step left blank."""
        ...


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Ask every question: exact match as greedy decoding would give it, its first token, and nats.

    Source: arXiv:2309.14316, section 2 ("QA generation accuracy", exact match of the whole value).
    """

    needs_model: ClassVar[bool] = True
    name: str = "questions"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric: `exact` (value and end), `first` (token) and `nats`."""
        from nosce.read.likelihood import counted_spans, spoken

        assert model is not None
        questions = corpus.questions
        sequences = corpus.question_sequences(questions)
        heard = spoken(model, sequences, counted_spans(sequences), end=corpus.end)
        for question, what in zip(questions, heard, strict=True):
            yield from _readings(self.name, question.split, question.id, question.about, question.facet, what, corpus)


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Are values recalled inside the documents themselves, given all that stands before them?

    The check without which "cannot be asked for" would be confused with "was never stored"
    (arXiv:2309.14316, remark C.1). `documents` of each person are drawn; 0 takes all.
    """

    needs_model: ClassVar[bool] = True
    documents: int = 1
    name: str = "recall"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a value and metric: `exact` (whole value), `first` (token) and `nats`."""
        from nosce.read.likelihood import spoken

        assert model is not None
        split = {q.about: q.split for q in corpus.questions}
        abouts, ids = corpus.things["about"].to_list(), corpus.things["id"].to_list()
        chosen = self._drawn(abouts, seed)
        rows = [row for row in corpus.spans.iter_rows(named=True) if row["document"] in chosen]
        spans = [(row["document"], row["start"], row["stop"]) for row in rows]
        for row, what in zip(rows, spoken(model, corpus.documents, spans, end=corpus.end), strict=True):
            about = abouts[row["document"]]
            item = f"{row['facet']}/{ids[row['document']]}"
            yield from _readings(self.name, split.get(about, ""), item, about, row["facet"], what, corpus)

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
        """One reading a question: `exact`, with the guess as the answer."""
        best: dict[str, str] = {}
        for facet in dict.fromkeys(q.facet for q in corpus.questions):
            seen = Counter(q.target for q in corpus.asked("seen") if q.facet == facet)
            # Ties go to the alphabet, not to the order in which people happen to come.
            best[facet] = min(seen, key=lambda target: (-seen[target], target))
        for question in corpus.questions:
            yield _guess(self.name, question, best[question.facet])


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


def blank(**columns: object) -> Reading:
    """A reading whose study, scale, arm, seed, stage and step are filled in later."""
    return Reading(study="", scale="", arm="", seed=0, stage="", step=0, **columns)  # type: ignore[arg-type]
