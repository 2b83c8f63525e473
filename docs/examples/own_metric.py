"""A read-out of one's own: offered a list of answers, does the model prefer the right one?

To write an answer is more than to prefer it. `Choice` measures the second: every answer that occurs for an
attribute is put behind the prompt, and the right one is ranked among them by its likelihood. The study is the
built-in one with this read-out added, so what the store already holds of it is not trained again.

    nosce run docs/examples/own_metric.py:study --scale smoke
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from nosce import ArmBarFigure, Claim, Difference, EvalSpec, Question, Reading, Seed, Selection, Study
from nosce.data.corpus import Corpus
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.studies.biographies import study as biographies

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Choice(PerCheckpointEvaluation):
    """Ranks the right answer among all that occur for its attribute, by the nats of answer and end.

    Whole answers with their ends are compared, so a long one needs no correction for its length.
    """

    needs_model: ClassVar[bool] = True
    attributes: tuple[str, ...]
    split: Literal["seen", "unseen"] = "unseen"
    name: str = "choice"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Two readings a question: `exact` (the right answer is the likeliest) and `rank` (1 is best)."""
        assert model is not None
        for attribute in self.attributes:
            of_attribute = [q for q in corpus.questions if q.attribute == attribute]
            offered = sorted({q.target for q in of_attribute})
            asked = [q for q in of_attribute if q.split == self.split]
            for question, nats in zip(asked, heard(model, corpus, asked, offered), strict=True):
                yield from self._readings(question, offered, nats)

    def _readings(self, question: Question, offered: list[str], nats: np.ndarray) -> Iterator[Reading]:
        where = {
            "evaluation": self.name,
            "split": question.split,
            "item": question.id,
            "entity": question.entity,
            "attribute": question.attribute,
            "answer": offered[int(nats.argmin())],
            "target": question.target,
        }
        rank = 1 + int((nats < nats[offered.index(question.target)]).sum())
        yield partial_reading(
            **where, metric="exact", value=float(rank == 1), outcome="right" if rank == 1 else "wrong"
        )
        yield partial_reading(**where, metric="rank", value=float(rank), outcome=None)


def heard(model: PreTrainedModel, corpus: Corpus, asked: list[Question], offered: list[str]) -> np.ndarray:
    """Nats of each offered answer behind each prompt. Shape: (questions, answers)."""
    from nosce.models.likelihood import loss_mask_spans, score_spans  # imports torch, which planning can do without

    tried = [replace(question, target=answer) for question in asked for answer in offered]
    sequences = corpus.tokenized_questions(tried)
    said = score_spans(model, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id)
    return np.array([one.nats for one in said]).reshape(len(asked), len(offered))


def study(scale: str) -> Study:
    """`biographies` with the new read-out, and a claim on what it adds to the old one."""
    before = biographies.core_study(scale)
    choice = Choice(attributes=biographies.CORE_ATTRIBUTES)
    return replace(
        before,
        name="choice",
        title="To prefer and to say",
        question="Does a model prefer the right answer where it would not write it?",
        paper="none, an example",
        evals=(*before.evals, EvalSpec(choice, stage=biographies.FINETUNE_STAGE)),
        claims=tuple(preferred(arm.name) for arm in before.arms),
        figures=(
            ArmBarFigure(
                id="choice",
                title="The right answer is the likeliest of its kind",
                caption="Share of questions about unseen people, after fine-tuning on the others' questions.",
                y_label="right answer preferred",
                selection=Selection(evaluation=choice.name, stage=biographies.FINETUNE_STAGE),
                baseline=Selection(evaluation="majority", split="unseen", attributes=biographies.CORE_ATTRIBUTES),
            ),
        ),
    )


def preferred(arm: str) -> Claim:
    """More is preferred than is written."""
    return Claim(
        id=f"preferred/{arm}",
        text=f"{arm}: the right answer is preferred more often than it is written",
        source="our guess",
        measure=Difference(
            a=Selection(evaluation="choice", arm=arm, split="unseen", stage=biographies.FINETUNE_STAGE),
            b=biographies.extraction_accuracy(arm, biographies.CORE_ATTRIBUTES),
        ),
        threshold=0.0,
        preconditions=(biographies.recall_precondition(arm),),
    )
