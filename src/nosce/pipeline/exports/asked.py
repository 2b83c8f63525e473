"""The questions that a checkpoint was asked, with its answers: what tasks of other tools are made from.

Only evaluations with exact answers are taken (`QAEval`): right is an answer whose every token, and the end behind them,
is the likeliest. Greedy decoding writes this answer and no other, so that another tool that compares the written text
with the target counts the same answers as right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from nosce.data.corpus import Corpus
from nosce.data.packing import encode
from nosce.errors import UsageError
from nosce.evals.base import Evaluation
from nosce.evals.qa import QAEval
from nosce.pipeline.exports.target import ExportTarget
from nosce.pipeline.step import Step
from nosce.records import Question
from nosce.store.store import StepRecord

ANSWER_NOTE = (
    "nosce reads a whole answer in one pass: each token of this text is the likeliest one after the target's tokens "
    "before it. For a right answer it is what greedy decoding writes; for a wrong one it is so up to the first "
    "difference."
)


@dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    """A question and what became of it.

    Attributes:
        question: The question.
        answer: The likeliest tokens as text; the target for a right answer.
        correct: Whether the answer and its end are exactly the target's.
    """

    question: Question
    answer: str
    correct: bool


@dataclass(frozen=True, kw_only=True)
class AskedSet:
    """The questions of one split that one evaluation asked.

    Attributes:
        evaluation: Name of the evaluation.
        split: The split.
        items: The questions and answers, at least one.
        max_new_tokens: Most tokens of a target, its end included.
        max_prompt_tokens: Most tokens of a prompt.
        eos_token: The text of the token that ends an answer.
        step_record: The record of the evaluation.
    """

    evaluation: str
    split: str
    items: Sequence[AskedQuestion]
    max_new_tokens: int
    max_prompt_tokens: int
    eos_token: str
    step_record: StepRecord

    @property
    def accuracy(self) -> float:
        """The share of right answers, from 0 to 1."""
        return fmean(item.correct for item in self.items)

    @property
    def short_name(self) -> str:
        """Name among the sets of a checkpoint, of small letters, digits and underscores."""
        return slug(f"{self.evaluation}_{self.split}")

    def numbers(self) -> dict[str, str | int | float]:
        """Our numbers, as `nosce.json` of an exported folder has them."""
        return {
            "evaluation": self.evaluation,
            "split": self.split,
            "n": len(self.items),
            "right": sum(item.correct for item in self.items),
            "accuracy": self.accuracy,
            "max_new_tokens": self.max_new_tokens,
            "step": self.step_record.name,
        }

    def lines(self) -> str:
        """The questions as JSON lines of ASCII, so that no character of a question ends a line."""
        return "".join(json.dumps(self._row(item.question)) + "\n" for item in self.items)

    def _row(self, question: Question) -> dict[str, str]:
        return {
            "id": question.id,
            "entity": question.entity,
            "attribute": question.attribute,
            "evaluation": self.evaluation,
            "split": self.split,
            "prompt": question.prompt,
            "target": question.target,
        }


def slug(text: str) -> str:
    """A text as small letters, digits and underscores, which need no quotes in a shell, in YAML or in a path."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "x"


def task_name(target: ExportTarget) -> str:
    """The name of the tasks of a checkpoint, e.g. "nosce_biographies_demo_single"."""
    return f"nosce_{slug(target.study.name)}_{slug(target.study.scale)}_{slug(target.arm)}"


def asked_sets(target: ExportTarget) -> list[AskedSet]:
    """The questions of a checkpoint with exact answers, by evaluation and split.

    Raises:
        UsageError: The checkpoint was asked no such question.
    """
    steps = list(target.evaluation_steps())
    sets = [one for step in steps for one in _sets_of_step(target, step)]
    if not sets:
        others = sorted({_evaluation_of(step).name for step in steps})
        found = f"was read by {', '.join(others)}" if others else "was read by no evaluation"
        raise UsageError(
            f"{target.label} of {target.study.name} {found} and was asked no questions with exact answers, so there is "
            "nothing to compare; name another --stage or arm, or take --as dataset."
        )
    return sets


def _evaluation_of(step: Step) -> Evaluation:
    from nosce.pipeline.steps.evaluation import EvaluationStepSpec

    assert isinstance(step.spec, EvaluationStepSpec)
    return step.spec.evaluation


def _sets_of_step(target: ExportTarget, step: Step) -> Iterator[AskedSet]:
    """The sets of one evaluation; none where it is no `QAEval`."""
    evaluation = _evaluation_of(step)
    if not isinstance(evaluation, QAEval):
        return
    corpus = Corpus(target.store.verified(step.inputs["corpus"].name))
    rows = target.readings(step).filter(metric="exact").select("item", "value", "answer")
    found = {item: (value == 1.0, str(answer)) for item, value, answer in rows.iter_rows()}
    record = target.store.step_record(step.name)
    for split in dict.fromkeys(question.split for question in corpus.questions):
        asked = (question for question in corpus.questions_in(split) if question.id in found)
        items = [_asked(question, *found[question.id]) for question in asked]
        if items:
            yield _asked_set(evaluation.name, split, items, corpus, record)


def _asked(question: Question, correct: bool, answer: str) -> AskedQuestion:
    return AskedQuestion(question=question, answer=question.target if correct else answer, correct=correct)


def _asked_set(
    evaluation: str, split: str, items: list[AskedQuestion], corpus: Corpus, step_record: StepRecord
) -> AskedSet:
    prompt_lengths = [len(encoding.ids) for encoding in encode(corpus.tokenizer, (i.question.prompt for i in items))]
    target_lengths = [len(encoding.ids) for encoding in encode(corpus.tokenizer, (i.question.target for i in items))]
    return AskedSet(
        evaluation=evaluation,
        split=split,
        items=items,
        max_new_tokens=max(target_lengths) + 1,
        max_prompt_tokens=max(prompt_lengths),
        eos_token=str(corpus.tokenizer.id_to_token(corpus.eos_id)),
        step_record=step_record,
    )
