"""The read-out `GenerationEval`: what a model writes, judged by the world that asked for it.

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
from nosce.data.grammar import TokenGrammar
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.records import Outcome, Question, Reading, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Scorer(Protocol):
    """What a world that asks for something written knows about it."""

    def max_new_tokens(self, tokenizer: Tokenizer) -> int:
        """The most tokens of a reply, its end included."""
        ...

    def grammar(self, tokenizer: Tokenizer) -> TokenGrammar:
        """What may be written."""
        ...

    def score(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        """For each reply, by metric, its value and what became of it; metrics that do not apply are left out.

        Args:
            ended: Did the reply end by itself? One that did not was cut at the most tokens it was given.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GenerationEval(PerCheckpointEvaluation):
    """Greedy replies to the questions of one split, judged; under the judge's grammar or free.

    Metrics are the judge's. The answer is the reply as text, so that it can be judged again without the model.
    Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, "generative accuracy".
    """

    needs_model: ClassVar[bool] = True
    scorer: Scorer
    constrained: bool = True  # under the grammar
    split: Split = "unseen"
    name: str = "written"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric."""
        assert model is not None
        questions = corpus.questions_in(self.split)
        completions = generate_completions(model, corpus, questions, self.scorer, constrained=self.constrained)
        replies = [reply.text for reply in completions]
        reply_scores = self.scorer.score(questions, replies, [reply.ended for reply in completions])
        for question, reply, metric_scores in zip(questions, replies, reply_scores, strict=True):
            for metric, (value, outcome) in metric_scores.items():
                yield partial_reading(
                    evaluation=self.name,
                    split=question.split,
                    item=question.id,
                    entity=question.entity,
                    attribute=question.attribute,
                    metric=metric,
                    value=value,
                    outcome=outcome,
                    answer=reply,
                    target=question.target,
                )


class Completion(NamedTuple):
    """A reply, as tokens without its end and as text; one that was cut is as it stands."""

    tokens: np.ndarray
    text: str
    ended: bool = True


def generate_completions(
    model: PreTrainedModel, corpus: Corpus, questions: Sequence[Question], scorer: Scorer, *, constrained: bool
) -> list[Completion]:
    """The greedy reply to each question."""
    from nosce.data.packing import encode
    from nosce.models.generation import generate

    tokenizer = corpus.tokenizer
    prompts = [np.array(e.ids) for e in encode(tokenizer, [q.prompt for q in questions])]
    # What is expected is checked in one pass, and written word by word only from where the model says otherwise.
    can_draft = not constrained and not model.config.is_encoder_decoder
    drafts = [np.array(e.ids) for e in encode(tokenizer, [q.target for q in questions])] if can_draft else None
    replies = generate(
        model,
        prompts,
        eos_id=corpus.eos_id,
        max_new_tokens=scorer.max_new_tokens(tokenizer),
        drafts=drafts,
        grammar=scorer.grammar(tokenizer) if constrained else None,
    )
    return [
        Completion(r.tokens, tokenizer.decode(r.tokens.tolist(), skip_special_tokens=False), r.ended) for r in replies
    ]


@dataclass(frozen=True, kw_only=True)
class ConstantBaseline(PerCheckpointEvaluation):
    """What one reply to every question would score: the one that is best on the questions of the seen split.

    Tried are the most frequent targets there. Without this floor a score says nothing of the question's part in it.
    """

    needs_model: ClassVar[bool] = False
    scorer: Scorer
    metric: str = "correct"
    n_candidates: int = 50
    name: str = "constant"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading an unseen question, with the best reply as the answer."""
        seen_questions = corpus.questions_in("seen")
        candidates = sorted(Counter(q.target for q in seen_questions).items(), key=lambda pair: (-pair[1], pair[0]))[
            : self.n_candidates
        ]
        mean_scores = {reply: fmean(self._metric_values(seen_questions, reply)) for reply, _ in candidates}
        best_reply = max(mean_scores, key=lambda reply: (mean_scores[reply], reply))
        unseen_questions = corpus.questions_in("unseen")
        for question, value in zip(unseen_questions, self._metric_values(unseen_questions, best_reply), strict=True):
            yield partial_reading(
                evaluation=self.name,
                split=question.split,
                item=question.id,
                entity=question.entity,
                attribute=question.attribute,
                metric=self.metric,
                value=value,
                outcome="right" if value else "wrong",
                answer=best_reply,
                target=question.target,
            )

    def _metric_values(self, questions: Sequence[Question], reply: str) -> list[float]:
        return [found[self.metric][0] for found in self._score_constant(questions, reply)]

    def _score_constant(
        self, questions: Sequence[Question], reply: str
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        return self.scorer.score(questions, [reply] * len(questions), [True] * len(questions))
