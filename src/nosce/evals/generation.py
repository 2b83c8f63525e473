"""The read-out `Written`: what a model writes, judged by the world that asked for it.

A world's judge reads the reply's text and says what became of it, e.g. by running a program. The read-out knows
neither the language nor the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer

from nosce.data.corpus import Corpus
from nosce.data.grammar import Grammar
from nosce.evals.base import blank
from nosce.records import Outcome, Question, Reading, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Judge(Protocol):
    """What a world that asks for something written knows about it."""

    def tokens(self, tokenizer: Tokenizer) -> int:
        """The most tokens of a reply, its end included."""
        ...

    def grammar(self, tokenizer: Tokenizer) -> Grammar:
        """What may be written."""
        ...

    def judge(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        """For each reply, by metric, its value and what became of it; metrics that do not apply are left out.

        Args:
            ended: Did the reply end by itself? One that did not was cut at the most tokens it was given.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Written:
    """Greedy replies to the questions of one split, judged; under the judge's grammar or free.

    Metrics are the judge's. The answer is the reply as text, so that it can be judged again without the model.
    Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, "generative accuracy".
    """

    needs_model: ClassVar[bool] = True
    judge: Judge
    masked: bool = True  # under the grammar
    split: Split = "unseen"
    name: str = "written"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric."""
        assert model is not None
        questions = corpus.asked(self.split)
        told = written(model, corpus, questions, self.judge, masked=self.masked)
        replies = [reply.text for reply in told]
        judged = self.judge.judge(questions, replies, [reply.ended for reply in told])
        for question, reply, found in zip(questions, replies, judged, strict=True):
            for metric, (value, outcome) in found.items():
                yield blank(readout=self.name, split=question.split, item=question.id, about=question.about,
                            facet=question.facet, metric=metric, value=value, outcome=outcome, answer=reply,
                            target=question.target)  # fmt: skip


class Told(NamedTuple):
    """A reply, as tokens without its end and as text; one that was cut is as it stands."""

    tokens: np.ndarray
    text: str
    ended: bool = True


def written(
    model: PreTrainedModel, corpus: Corpus, questions: Sequence[Question], judge: Judge, *, masked: bool
) -> list[Told]:
    """The greedy reply to each question."""
    from nosce.data.packing import encode
    from nosce.models.generation import generate

    tokenizer = corpus.tokenizer
    prompts = [np.array(e.ids) for e in encode(tokenizer, [q.prompt for q in questions])]
    # What is expected is checked in one pass, and written word by word only from where the model says otherwise.
    free = not masked and not model.config.is_encoder_decoder
    drafts = [np.array(e.ids) for e in encode(tokenizer, [q.target for q in questions])] if free else None
    replies = generate(model, prompts, end=corpus.end, most=judge.tokens(tokenizer), drafts=drafts,
                       grammar=judge.grammar(tokenizer) if masked else None)  # fmt: skip
    return [Told(r.tokens, tokenizer.decode(r.tokens.tolist(), skip_special_tokens=False), r.ended) for r in replies]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """What one reply to every question would score: the one that is best on the questions of the seen split.

    Tried are the most frequent targets there. Without this floor a score says nothing of the question's part in it.
    """

    needs_model: ClassVar[bool] = False
    judge: Judge
    metric: str = "correct"
    tried: int = 50
    name: str = "constant"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading an unseen question, with the best reply as the answer."""
        known = corpus.asked("seen")
        often = sorted(Counter(q.target for q in known).items(), key=lambda pair: (-pair[1], pair[0]))[: self.tried]
        score = {reply: fmean(self._scores(known, reply)) for reply, _ in often}
        best = max(score, key=lambda reply: (score[reply], reply))
        asked = corpus.asked("unseen")
        for question, value in zip(asked, self._scores(asked, best), strict=True):
            yield blank(readout=self.name, split=question.split, item=question.id, about=question.about,
                        facet=question.facet, metric=self.metric, value=value,
                        outcome="right" if value else "wrong", answer=best, target=question.target)  # fmt: skip

    def _scores(self, questions: Sequence[Question], reply: str) -> list[float]:
        return [found[self.metric][0] for found in self._judged(questions, reply)]

    def _judged(
        self, questions: Sequence[Question], reply: str
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        return self.judge.judge(questions, [reply] * len(questions), [True] * len(questions))
