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

from nosce import Bars, Claim, Difference, Question, Read, Reading, Seed, Select, Study
from nosce.data.corpus import Corpus
from nosce.evals.base import blank
from nosce.studies.biographies import study as biographies

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Ranks the right answer among all that occur for its facet, by the nats of answer and end.

    Whole answers with their ends are compared, so a long one needs no correction for its length.
    """

    needs_model: ClassVar[bool] = True
    facets: tuple[str, ...]
    split: Literal["seen", "unseen"] = "unseen"
    name: str = "choice"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Two readings a question: `exact` (the right answer is the likeliest) and `rank` (1 is best)."""
        assert model is not None
        for facet in self.facets:
            of_facet = [q for q in corpus.questions if q.facet == facet]
            offered = sorted({q.target for q in of_facet})
            asked = [q for q in of_facet if q.split == self.split]
            for question, nats in zip(asked, heard(model, corpus, asked, offered), strict=True):
                yield from self._readings(question, offered, nats)

    def _readings(self, question: Question, offered: list[str], nats: np.ndarray) -> Iterator[Reading]:
        where = {"readout": self.name, "split": question.split, "item": question.id, "about": question.about,
                 "facet": question.facet, "answer": offered[int(nats.argmin())], "target": question.target}  # fmt: skip
        rank = 1 + int((nats < nats[offered.index(question.target)]).sum())
        yield blank(**where, metric="exact", value=float(rank == 1), outcome="right" if rank == 1 else "wrong")
        yield blank(**where, metric="rank", value=float(rank), outcome=None)


def heard(model: PreTrainedModel, corpus: Corpus, asked: list[Question], offered: list[str]) -> np.ndarray:
    """Nats of each offered answer behind each prompt. Shape: (questions, answers)."""
    from nosce.models.likelihood import counted_spans, spoken  # imports torch, which planning can do without

    tried = [replace(question, target=answer) for question in asked for answer in offered]
    sequences = corpus.question_sequences(tried)
    said = spoken(model, sequences, counted_spans(sequences), end=corpus.end)
    return np.array([one.nats for one in said]).reshape(len(asked), len(offered))


def study(scale: str) -> Study:
    """`biographies` with the new read-out, and a claim on what it adds to the old one."""
    before = biographies.core(scale)
    choice = Choice(facets=biographies.FOUR)
    return replace(
        before,
        name="choice",
        title="To prefer and to say",
        question="Does a model prefer the right answer where it would not write it?",
        paper="none, an example",
        reads=(*before.reads, Read(choice, stage=biographies.FINETUNE)),
        claims=tuple(preferred(arm.name) for arm in before.arms),
        figures=(
            Bars(
                id="choice",
                title="The right answer is the likeliest of its kind",
                caption="Share of questions about unseen people, after fine-tuning on the others' questions.",
                y_label="right answer preferred",
                select=Select(readout=choice.name, stage=biographies.FINETUNE),
                baseline=Select(readout="majority", split="unseen", facets=biographies.FOUR),
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
            one=Select(readout="choice", arm=arm, split="unseen", stage=biographies.FINETUNE),
            other=biographies.asked(arm, biographies.FOUR),
        ),
        threshold=0.0,
        needs=(biographies.known(arm),),
    )
