"""The read-out `Reports`: what a model says of an answer, its own or somebody's, and how sure it is of it.

A report is read twice: as the likeliest of the labels that a reply may be, and as what greedy decoding writes. It is
held against the label of whoever is asked about, and against that of the model's own answer. Where it is known how
likely each label is under the answers themselves, the probabilities of report and answers are set side by side.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3; constrained choice and proper scores are the sheet's, 7.3 and
8.3. Letters: N questions, C labels of one, V tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import blank
from nosce.records import Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.models.likelihood import BatchChange

COUNTS = "counts.json"
RANKS = 3  # of the labels likeliest under the answers, whose probabilities are compared
LEAST = 1e-6  # probability that a report gives to any label, so that nats are finite


@dataclass(frozen=True, kw_only=True)
class Told:
    """Travels in `Question.hidden`, as a line of JSON."""

    labels: tuple[str, ...]  # all that a reply may be; none: anything
    asked: str = ""  # the answer's prompt
    aloud: str = ""  # the same question about the answer of the one who is asked, there to be read
    taught: bool = False  # may be learnt from by an observer of the same labels
    exact: tuple[float, ...] = ()  # probability of each label under the answers, where the first token tells it
    drawn: tuple[float, ...] = ()  # share of each among draws
    own: str | None = None  # the label of the answer of the one who is asked

    @classmethod
    def of(cls, question: Question) -> Told:
        """What goes with a question.

        Raises:
            DataError: It is no question about an answer.
        """
        try:
            told: dict[str, Any] = json.loads(question.hidden)
        except ValueError:
            raise DataError(
                f"the question {question.id!r} is not about somebody's answer; ask one of labels."
            ) from None
        kept: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        return cls(**kept)

    @property
    def hidden(self) -> str:
        """The line that goes with the question."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Reports on a corpus of labels (`nosce.pipeline.steps.report_labels`).

    Metrics of each question: `right` (the likeliest label is that of the answer asked about), `free` (so is what is
    written, end and all; outcome `invalid` where that is no label), `nats` (of the label, among labels), `own` (the
    likeliest label is that of the model's own answer), and `agree` (the two answers have one label). Where the two
    differ, `right/differs` and `own/differs` say the same of these questions alone.

    Where the answers' own probabilities are known: `answer <k>` and `report <k>` (probabilities of the label that is
    the k-th likeliest answer), `brier` (squared distance of the two), `kl` (nats of the answers' from the report's),
    and `top` (probability of the likeliest). The same by draws alone: `drawn <k>`.

    With `aloud` the model is not asked what it would answer; it reads its own answer and is asked about that. It is a
    channel of its own by construction, to see that the comparisons see one.
    """

    needs_model: ClassVar[bool] = True
    aloud: bool = False
    name: str = "reports"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint; questions that were taught have the split `taught`.

        Raises:
            DataError: A label is more than one token, or there are none to choose from.
        """
        assert model is not None
        asked = self._asked(corpus)
        chances, written = _heard(model, corpus, asked)
        for question, told, share, free in zip(asked, map(Told.of, asked), chances, written, strict=True):
            chosen = told.labels[int(np.argmax(share))]
            split = "taught" if told.taught else question.split
            for metric, value, answer, outcome in _scores(question, told, share, chosen, free):
                yield blank(readout=self.name, split=split, item=question.id, about=question.about,
                            facet=question.facet, metric=metric, value=value, outcome=outcome, answer=answer,
                            target=question.target)  # fmt: skip

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """On a sample of the questions."""
        from nosce.models.likelihood import batch_change, counted_spans

        sequences = corpus.question_sequences(self._asked(corpus))
        return batch_change(model, sequences, counted_spans(sequences), end=corpus.end, seed=seed / "batch change")

    def _asked(self, corpus: Corpus) -> list[Question]:
        if not self.aloud:
            return corpus.questions
        from dataclasses import replace

        told = [(question, Told.of(question)) for question in corpus.questions]
        return [replace(question, prompt=one.aloud) for question, one in told if one.aloud and not one.taught]


def _heard(model: PreTrainedModel, corpus: Corpus, asked: Sequence[Question]) -> tuple[list[np.ndarray], list[str]]:
    """Probabilities of each question's labels among themselves, and what greedy decoding writes."""
    import torch

    from nosce.models.likelihood import counted_spans, passes

    numbers = _tokens(corpus, asked)
    sequences = corpus.question_sequences(list(asked))
    spans = counted_spans(sequences)
    chances: dict[int, np.ndarray] = {}
    written: dict[int, str] = {}
    for one in passes(model, sequences, spans, end=corpus.end):
        firsts = torch.tensor([cut.start for cut in one.cuts], device=one.logits.device)
        logs = one.logits[firsts].float().log_softmax(-1).cpu().numpy()
        best = one.logits.argmax(-1).cpu().numpy()
        for row, (number, cut) in enumerate(zip(one.numbers, one.cuts, strict=True)):
            among = np.exp(logs[row, numbers[asked[number].id]].astype(np.float64))
            chances[number] = among / among.sum()
            ends = int(best[cut.start + 1]) == corpus.end if best[cut.start] == one.true[cut.start] else True
            written[number] = corpus.tokenizer.decode([int(best[cut.start])]) if ends else ""
    return [chances[n] for n in range(len(asked))], [written[n] for n in range(len(asked))]


def _tokens(corpus: Corpus, asked: Sequence[Question]) -> Mapping[str, list[int]]:
    """The token of each label of each question."""
    known: dict[str, int] = {}
    found = {}
    for question in asked:
        labels = Told.of(question).labels
        if not labels:
            raise DataError(f"the question {question.id!r} has no closed list of labels; let its world give one.")
        for label in labels:
            if label not in known:
                ids = corpus.tokenizer.encode(label, add_special_tokens=False).ids
                if len(ids) != 1:
                    raise DataError(f"the label {label!r} is {len(ids)} tokens; reports are read where each is one.")
                known[label] = ids[0]
        found[question.id] = [known[label] for label in labels]
    return found


def _scores(
    question: Question, told: Told, share: np.ndarray, chosen: str, free: str
) -> Iterator[tuple[str, float, str | None, str | None]]:
    """Metric, value, answer and outcome."""

    def judged(metric: str, holds: bool, answer: str) -> tuple[str, float, str, str]:
        return metric, float(holds), answer, "right" if holds else "wrong"

    yield judged("right", chosen == question.target, chosen)
    valid = free in told.labels
    yield (
        "free",
        float(free == question.target),
        free,
        ("right" if free == question.target else "wrong" if valid else "invalid"),
    )
    yield "nats", -float(np.log(max(LEAST, share[told.labels.index(question.target)]))), None, None
    if told.own is not None:
        yield judged("own", chosen == told.own, chosen)
        yield "agree", float(told.own == question.target), None, None
        if told.own != question.target:
            yield judged("right/differs", chosen == question.target, chosen)
            yield judged("own/differs", chosen == told.own, chosen)
    if told.exact and not told.taught:
        yield from _likely(told, share)


def _likely(told: Told, share: np.ndarray) -> Iterator[tuple[str, float, None, None]]:
    """Probabilities under the answers and under the report, side by side."""
    exact = np.array(told.exact)
    order = np.argsort(-exact, kind="stable")[: min(RANKS, len(exact))]
    for rank, place in enumerate(order.tolist(), 1):
        yield f"answer {rank}", float(exact[place]), None, None
        yield f"report {rank}", float(share[place]), None, None
        if told.drawn:
            yield f"drawn {rank}", told.drawn[place], None, None
    yield "top", float(exact[order[0]]), None, None
    yield "brier", float(((exact - share) ** 2).sum()), None, None
    some = exact > 0
    yield "kl", float((exact[some] * np.log(exact[some] / np.maximum(LEAST, share[some]))).sum()), None, None


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """One reading a prompt of a corpus of labels: metric `invalid`, whether its likeliest answer is none.

    A corpus says how many prompts had none and not which, so that these are numbered.
    """

    needs_model: ClassVar[bool] = False
    name: str = "unanswered"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """0 or 1 of every prompt.

        Raises:
            DataError: The corpus is none of labels.
        """
        file = corpus.folder / COUNTS
        if not file.exists():
            raise DataError(
                "Unanswered was asked of a corpus that is none of labels; read it about somebody's answers."
            )
        invalid = int(json.loads(file.read_text())["invalid"])
        answered = {q.id.rpartition("/")[0]: q.about for q in corpus.questions if not q.id.startswith("taught/")}
        prompts = [(item, about, 0.0) for item, about in answered.items()]
        prompts += [(name, name, 1.0) for name in (f"invalid/{number}" for number in range(invalid))]
        for item, about, value in prompts:
            yield blank(readout=self.name, split="", item=item, about=about, facet="all", metric="invalid",
                        value=value, outcome=None, answer=None, target=None)  # fmt: skip
