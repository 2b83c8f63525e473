"""The evaluation `GenerationEval`: what does a model write, scored by the world that asks for it?

A world's scorer reads the reply's text and returns its outcome, for example by running a program. The evaluation knows
neither the language nor how it is scored.
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
from nosce.records import AskedSplit, Outcome, Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Scorer(Protocol):
    """A world's knowledge of replies in its language."""

    def max_new_tokens(self, tokenizer: Tokenizer) -> int:
        """The most tokens of a reply, its end included."""
        ...

    def grammar(self, tokenizer: Tokenizer, eos_id: int) -> TokenGrammar:
        """The grammar of the language, whose texts end with this token."""
        ...

    def score(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        """For each reply: metric -> value and outcome. Metrics that do not apply to a reply are left out.

        Args:
            questions: One a reply.
            replies: What was written.
            ended: Did the reply end by itself? If not, it was cut after `max_new_tokens`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GenerationEval(PerCheckpointEvaluation):
    """Greedy replies to the questions of one split, or of both that are held out, with the scorer's metrics.

    The answer is the reply as text, so that it can be scored again without the model.
    Source: Jin and Rinard 2024 (arXiv:2305.11169), section 2.2, "generative accuracy".

    Attributes:
        scorer: The world's scorer.
        constrained: Generate under the scorer's grammar.
        split: The split whose questions are asked; "held out" asks those of validation and unseen.
        name: Name of the evaluation in the readings.
    """

    scorer: Scorer
    constrained: bool = True
    split: AskedSplit = "unseen"
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
    """A reply as tokens, without the end token, and as text."""

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
    # The target is checked in one pass; the model generates token by token only from where it departs from the target.
    can_draft = not constrained and not model.config.is_encoder_decoder
    drafts = [np.array(e.ids) for e in encode(tokenizer, [q.target for q in questions])] if can_draft else None
    replies = generate(
        model,
        prompts,
        eos_id=corpus.eos_id,
        max_new_tokens=scorer.max_new_tokens(tokenizer),
        drafts=drafts,
        grammar=scorer.grammar(tokenizer, corpus.eos_id) if constrained else None,
    )
    texts = [tokenizer.decode(reply.tokens.tolist(), skip_special_tokens=False) for reply in replies]
    return [Completion(reply.tokens, text, reply.ended) for reply, text in zip(replies, texts, strict=True)]


@dataclass(frozen=True, kw_only=True)
class ConstantBaseline(PerCheckpointEvaluation):
    """The score of one constant reply to every question: the reply that is best on the questions of the seen split.

    A score above this baseline shows that the question was used. Candidates are the most frequent targets.

    Attributes:
        scorer: The world's scorer.
        metric: The scorer's metric by which the reply is chosen, and which is reported.
        n_candidates: Targets that are tried.
        name: Name of the evaluation in the readings.
    """

    needs_model: ClassVar[bool] = False
    scorer: Scorer
    metric: str = "correct"
    n_candidates: int = 50
    name: str = "constant"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading an unseen question, with the best reply as the answer."""
        seen_questions = corpus.questions_in("seen")
        target_counts = Counter(question.target for question in seen_questions)
        candidates = sorted(target_counts, key=lambda target: (-target_counts[target], target))[: self.n_candidates]
        mean_scores = {reply: fmean(self._metric_values(seen_questions, reply)) for reply in candidates}
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
        return [scores[self.metric][0] for scores in self._score_constant(questions, reply)]

    def _score_constant(
        self, questions: Sequence[Question], reply: str
    ) -> Iterator[Mapping[str, tuple[float, Outcome | None]]]:
        return self.scorer.score(questions, [reply] * len(questions), [True] * len(questions))
