"""The read-out `TextBaselines`: what can be told of somebody's answers by who sees labelled examples and has no model.

All learn from the same labels that a predictor is taught, and are asked the same; a property each, over all tasks:

    constant        the most frequent label taught: of the same task if it was taught, else of all
    oracle          the most frequent label among the answers asked about, which nobody can know before
    nearest         a vote of the taught questions whose words are most alike (cosine of tf-idf of word n-grams)
    logistic        a logistic regression on the words, pairs and triples of words of the question

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.2: the paper's baseline is the oracle. The others are ours:
they have the same data as a predictor and no model. Letters: N questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.evals.self_report import ReportMetadata
from nosce.records import Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

N_NEIGHBORS = 5
NGRAM_RANGE = (1, 3)  # words of a feature


@dataclass(frozen=True, kw_only=True)
class TextBaselines(PerCheckpointEvaluation):
    """Observers of a corpus of labels; readings have the observer as metric and one row a question that was not taught.

    Equal numbers of labels are the predictors' own: those that its documents are made of.
    """

    needs_model: ClassVar[bool] = False
    name: str = "observers"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Readings of all observers.

        Raises:
            DataError: Nothing was taught of a property that is asked about.
        """
        metadata_by_id = {q.id: ReportMetadata.from_question(q) for q in corpus.questions}
        train_questions = [q for q in corpus.questions if metadata_by_id[q.id].is_training]
        test_questions = [q for q in corpus.questions if not metadata_by_id[q.id].is_training]
        for property_name in dict.fromkeys(map(_property, test_questions)):
            property_train, property_test = (
                [q for q in part if _property(q) == property_name] for part in (train_questions, test_questions)
            )
            if not property_train:
                continue  # a property that is left out of what is taught has no observer
            for baseline, predictions in _predict_all(property_train, property_test).items():
                for question, prediction in zip(property_test, predictions, strict=True):
                    correct = prediction == question.target
                    yield partial_reading(
                        evaluation=self.name,
                        split=question.split,
                        item=question.id,
                        entity=question.entity,
                        attribute=question.attribute,
                        metric=baseline,
                        value=float(correct),
                        answer=prediction,
                        outcome="right" if correct else "wrong",
                        target=question.target,
                    )
        if not train_questions:
            raise DataError("observers were asked for, but the corpus has no label that was taught; ask one of labels.")


def _property(question: Question) -> str:
    return question.attribute.rpartition("/")[2]


def _predict_all(train_questions: Sequence[Question], test_questions: Sequence[Question]) -> dict[str, list[str]]:
    """Every observer's guesses, in the order of `test_questions`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    labels = [q.target for q in train_questions]
    predictions = {
        "constant": _majority_per_task(train_questions, test_questions),
        "oracle": _majority_per_task_and_split(test_questions, test_questions),
    }
    if len(set(labels)) < 2:
        return predictions | {name: [labels[0]] * len(test_questions) for name in ("nearest", "logistic")}

    def words() -> TfidfVectorizer:
        return TfidfVectorizer(ngram_range=NGRAM_RANGE, token_pattern=r"\S+", lowercase=False)

    knn = KNeighborsClassifier(min(N_NEIGHBORS, len(labels)), weights="distance", metric="cosine")
    for name, classifier in (("nearest", knn), ("logistic", LogisticRegression(C=10.0, max_iter=1_000))):
        pipe = make_pipeline(words(), classifier).fit([q.prompt for q in train_questions], labels)
        predictions[name] = [str(one) for one in pipe.predict([q.prompt for q in test_questions])]
    return predictions


def _majority_per_task(train_questions: Sequence[Question], test_questions: Sequence[Question]) -> list[str]:
    """The most frequent label of the task where it was taught, else of all tasks."""
    modes = {
        attribute: _most_frequent(q.target for q in train_questions if q.attribute == attribute)
        for attribute in {q.attribute for q in train_questions}
    }
    overall = _most_frequent(q.target for q in train_questions)
    return [modes.get(q.attribute, overall) for q in test_questions]


def _majority_per_task_and_split(questions: Sequence[Question], test_questions: Sequence[Question]) -> list[str]:
    """The most frequent label of each task and split."""
    groups = {(q.attribute, q.split) for q in questions}
    modes = {kind: _most_frequent(q.target for q in questions if (q.attribute, q.split) == kind) for kind in groups}
    return [modes[q.attribute, q.split] for q in test_questions]


def _most_frequent(labels: Iterator[str]) -> str:
    """The most frequent; ties go to the alphabet."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))
