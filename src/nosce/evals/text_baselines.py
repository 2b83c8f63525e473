"""The evaluation `TextBaselines`: how well can answers be predicted from labelled examples alone, without a model?

All baselines learn from the labels that a predictor is trained on and are asked the same questions; one classifier for
each property, over all tasks:

    constant        the most frequent training label: of the same task if it has any, else of all tasks
    oracle          the most frequent label among the test answers, which no predictor can know
    nearest         a vote of the training questions with the most similar words (cosine of tf-idf of word n-grams)
    logistic        logistic regression on the words, pairs and triples of words of the question

Source: the paper's baseline is the oracle (Binder et al. 2024, arXiv:2410.13787, section 3); the others are ours, so
that self-prediction is compared with prediction from equal data.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
    """Baselines on a corpus of labels. The baseline is the metric; one row a question that the training did not ask.

    A baseline is trained on exactly the labels that the predictor's documents contain.

    Attributes:
        name: Name of the evaluation in the readings.
    """

    needs_model: ClassVar[bool] = False
    name: str = "observers"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Readings of all baselines, for the properties that have training labels.

        Raises:
            DataError: The corpus has no training label.
        """
        return self.evaluate_questions(corpus.questions)

    def evaluate_questions(self, questions: Sequence[Question]) -> Iterator[Reading]:
        """As `evaluate`, from the questions of a corpus alone.

        Raises:
            DataError: No question is a training label.
        """
        metadata_by_id = {q.id: ReportMetadata.from_question(q) for q in questions}
        train_questions = [q for q in questions if metadata_by_id[q.id].is_training]
        test_questions = [q for q in questions if not metadata_by_id[q.id].is_training]
        for property_name in dict.fromkeys(map(_property, test_questions)):
            property_train = [q for q in train_questions if _property(q) == property_name]
            property_test = [q for q in test_questions if _property(q) == property_name]
            if not property_train:
                continue
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
            raise DataError(
                "TextBaselines needs training labels, and the corpus has none; read it on a corpus of labels."
            )


def _property(question: Question) -> str:
    return question.attribute.rpartition("/")[2]


def _predict_all(train_questions: Sequence[Question], test_questions: Sequence[Question]) -> dict[str, list[str]]:
    """Baseline -> predictions, in the order of `test_questions`."""
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
        with warnings.catch_warnings():
            # It takes many labels of few examples, as words are, for numbers, and warns.
            warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
            pipe = make_pipeline(words(), classifier).fit([q.prompt for q in train_questions], labels)
        predictions[name] = [str(one) for one in pipe.predict([q.prompt for q in test_questions])]
    return predictions


def _majority_per_task(train_questions: Sequence[Question], test_questions: Sequence[Question]) -> list[str]:
    """The most frequent training label of the question's task, or of all tasks if the task has none."""
    labels_by_task: dict[str, list[str]] = {}
    for question in train_questions:
        labels_by_task.setdefault(question.attribute, []).append(question.target)
    modes = {task: _most_frequent(labels) for task, labels in labels_by_task.items()}
    overall = _most_frequent(q.target for q in train_questions)
    return [modes.get(q.attribute, overall) for q in test_questions]


def _majority_per_task_and_split(questions: Sequence[Question], test_questions: Sequence[Question]) -> list[str]:
    """The most frequent label of the question's task and split."""
    groups = {(q.attribute, q.split) for q in questions}
    modes = {kind: _most_frequent(q.target for q in questions if (q.attribute, q.split) == kind) for kind in groups}
    return [modes[q.attribute, q.split] for q in test_questions]


def _most_frequent(labels: Iterable[str]) -> str:
    """The most frequent label. Ties are broken alphabetically."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))
