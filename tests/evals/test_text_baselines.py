"""Baselines that learn from labels: what they predict of labels of many kinds, and that they say so quietly."""

from __future__ import annotations

from nosce.evals.self_report import ReportMetadata
from nosce.evals.text_baselines import TextBaselines
from nosce.records import Question


def question(number: int, *, is_training: bool) -> Question:
    metadata = ReportMetadata(labels=(), is_training=is_training).json_line
    return Question(
        id=f"{'taught/' if is_training else ''}{number}",
        entity=f"string {number}",
        attribute="task/first word",
        prompt=f"number {number}",
        target=f"word{number}",
        split="seen" if is_training else "unseen",
        metadata=metadata,
    )


def test_labels_that_are_nearly_all_different_are_learnt_without_a_warning():
    """Words are, and scikit-learn warns that they may be numbers; warnings are errors here."""
    training = [question(number, is_training=True) for number in range(30)]
    tested = [question(number, is_training=False) for number in range(5)]
    readings = list(TextBaselines().evaluate_questions([*training, *tested]))
    right = {row.item: row.value for row in readings if row.metric == "nearest"}
    assert right == {str(number): 1.0 for number in range(5)}
