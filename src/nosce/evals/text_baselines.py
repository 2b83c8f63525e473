"""The read-out `Observers`: what can be told of somebody's answers by who sees labelled examples and has no model.

All learn from the same labels that a predictor is taught, and are asked the same; a property each, over all tasks:

    constant        the most frequent label taught: of the same task if it was taught, else of all
    oracle          the most frequent label among the answers asked about, which nobody can know before
    nearest         a vote of the taught questions whose words are most alike (cosine of tf-idf of word n-grams)
    logistic        a logistic regression on the words, pairs and triples of words of the question

Source: the sheet for arXiv:2410.13787, sections 3.2 (the paper's baseline is the oracle) and 7.4 (observers at equal
data). Letters: N questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import blank
from nosce.evals.self_report import Told
from nosce.records import Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEIGHBOURS = 5
GRAMS = (1, 3)  # words of a feature


@dataclass(frozen=True, kw_only=True)
class Observers:
    """Observers of a corpus of labels; readings have the observer as metric and one row a question that was not taught.

    Equal numbers of labels are the predictors' own: those that its documents are made of.
    """

    needs_model: ClassVar[bool] = False
    name: str = "observers"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Readings of all observers.

        Raises:
            DataError: Nothing was taught of a property that is asked about.
        """
        told = {q.id: Told.of(q) for q in corpus.questions}
        taught = [q for q in corpus.questions if told[q.id].taught]
        asked = [q for q in corpus.questions if not told[q.id].taught]
        for name in dict.fromkeys(map(_property, asked)):
            some, mine = ([q for q in part if _property(q) == name] for part in (taught, asked))
            if not some:
                continue  # a property that is left out of what is taught has no observer
            for observer, guesses in _guessed(some, mine).items():
                for question, guess in zip(mine, guesses, strict=True):
                    right = guess == question.target
                    yield blank(readout=self.name, split=question.split, item=question.id, about=question.about,
                                facet=question.facet, metric=observer, value=float(right), answer=guess,
                                outcome="right" if right else "wrong", target=question.target)  # fmt: skip
        if not taught:
            raise DataError("observers were asked for, but the corpus has no label that was taught; ask one of labels.")


def _property(question: Question) -> str:
    return question.facet.rpartition("/")[2]


def _guessed(taught: Sequence[Question], asked: Sequence[Question]) -> dict[str, list[str]]:
    """Every observer's guesses, in the order of `asked`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    labels = [q.target for q in taught]
    found = {"constant": _constants(taught, asked), "oracle": _modes(asked, asked)}
    if len(set(labels)) < 2:
        return found | {name: [labels[0]] * len(asked) for name in ("nearest", "logistic")}

    def words() -> TfidfVectorizer:
        return TfidfVectorizer(ngram_range=GRAMS, token_pattern=r"\S+", lowercase=False)

    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(labels)), weights="distance", metric="cosine")
    for name, fitted in (("nearest", neighbours), ("logistic", LogisticRegression(C=10.0, max_iter=1_000))):
        pipe = make_pipeline(words(), fitted).fit([q.prompt for q in taught], labels)
        found[name] = [str(one) for one in pipe.predict([q.prompt for q in asked])]
    return found


def _constants(taught: Sequence[Question], asked: Sequence[Question]) -> list[str]:
    """The most frequent label of the task where it was taught, else of all tasks."""
    modes = {facet: _mode(q.target for q in taught if q.facet == facet) for facet in {q.facet for q in taught}}
    overall = _mode(q.target for q in taught)
    return [modes.get(q.facet, overall) for q in asked]


def _modes(questions: Sequence[Question], asked: Sequence[Question]) -> list[str]:
    """The most frequent label of each task and split."""
    kinds = {(q.facet, q.split) for q in questions}
    modes = {kind: _mode(q.target for q in questions if (q.facet, q.split) == kind) for kind in kinds}
    return [modes[q.facet, q.split] for q in asked]


def _mode(labels: Iterator[str]) -> str:
    """The most frequent; ties go to the alphabet."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))
