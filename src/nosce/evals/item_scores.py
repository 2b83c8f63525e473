"""The evaluation `ItemScores`: what a model writes, and the likelihood of the target, item by item and for any metric.

Source: the pairs of metrics are those of Schaeffer et al. 2023 (arXiv:2304.15004), section 3: exact match beside token
edit distance, and the log-likelihood from which both follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein

from nosce.data.corpus import Corpus
from nosce.evals.base import MultiCheckpointEvaluation
from nosce.records import Question, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.models.likelihood import SpanScore


@dataclass(frozen=True, kw_only=True)
class ItemScores(MultiCheckpointEvaluation):
    """Greedy replies and teacher-forced log-probabilities of the same questions.

    Metrics: `exact` (the whole target and its end), `edit` (insertions, deletions and substitutions of tokens, at most
    the longer one's length), `tokens` (share of the target's tokens, its end among them, that are the likeliest),
    `log_likelihood` (of target and end, in nats). The answer is the reply, so that it can be scored again.

    With `per_position` the last checkpoint has more metrics, for every position of a reply counted from 1: `place <n>`
    (is that token correct?), `first <n>` (are all tokens up to it?), and `nats <n>` (of the target's token there, given
    the target's earlier tokens; the position after the last token is the end).

    Attributes:
        split: The split whose questions are asked.
        extra_tokens: Tokens after which a reply is cut, beyond the longest target.
        per_position: Add metrics for every position, on the last checkpoint.
        name: Name of the evaluation in the readings.
    """

    split: Split = "unseen"
    extra_tokens: int = 2
    per_position: bool = False
    name: str = "outcomes"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint: four rows a question, and those for every position."""
        for checkpoint_number, (step, load) in enumerate(checkpoints.items(), 1):
            replies = score_replies(load(), corpus, corpus.questions_in(self.split), self.extra_tokens)
            metrics = replies.metrics()
            if self.per_position and checkpoint_number == len(checkpoints):
                metrics |= replies.position_metrics()
            yield self._table(replies, metrics, corpus).with_columns(step=pl.lit(step, dtype=pl.Int64))

    def _table(
        self, replies: ScoredReplies, metrics: Mapping[str, Sequence[float | None]], corpus: Corpus
    ) -> pl.DataFrame:
        items = pl.DataFrame(
            {
                "item": [q.id for q in replies.questions],
                "entity": [q.entity for q in replies.questions],
                "attribute": [q.attribute for q in replies.questions],
                "target": [q.target for q in replies.questions],
            }
        ).with_columns(evaluation=pl.lit(self.name), split=pl.lit(self.split))
        answers = [corpus.tokenizer.decode(tokens, skip_special_tokens=False) for tokens in replies.reply_tokens]
        reply_columns = {"answer": answers, "outcome": ["right" if one else "wrong" for one in replies.correct]}
        null_string = pl.lit(None, dtype=pl.String)
        tables = []
        for metric, values in metrics.items():
            columns = {k: pl.Series(v) if metric == "exact" else null_string for k, v in reply_columns.items()}
            value = pl.Series("value", values, dtype=pl.Float64, strict=False)
            rows = items.with_columns(value, metric=pl.lit(metric), **columns)
            tables.append(rows.drop_nulls("value"))  # a target that is too short has no such position
        return pl.concat(tables)


@dataclass(frozen=True, eq=False)
class ScoredReplies:
    """Questions with the tokens of replies and targets, and the scores of the targets."""

    questions: list[Question]
    reply_tokens: list[list[int]]
    target_tokens: list[list[int]]
    correct: list[bool]
    span_scores: list[SpanScore]

    def metrics(self) -> dict[str, list[float | None]]:
        """Metric -> a value a question."""
        pairs = list(zip(self.reply_tokens, self.target_tokens, strict=True))
        return {
            "exact": [float(correct) for correct in self.correct],
            "edit": [Levenshtein.distance(reply, target) for reply, target in pairs],
            "tokens": [float((one.predicted_tokens == one.target_tokens).mean()) for one in self.span_scores],
            "log_likelihood": [-one.nats for one in self.span_scores],
        }

    def position_metrics(self) -> dict[str, list[float | None]]:
        """Metric of a position -> a value a question, None where the target has no such position."""
        metrics: dict[str, list[float | None]] = {}
        pairs = list(zip(self.reply_tokens, self.target_tokens, strict=True))
        for end in range(1, max(map(len, self.target_tokens)) + 1):
            metrics[f"place {end}"] = [float(reply[end - 1 : end] == target[end - 1 : end]) for reply, target in pairs]
            metrics[f"first {end}"] = [float(reply[:end] == target[:end]) for reply, target in pairs]
        nats_by_target = [one.token_nats for one in self.span_scores]
        for index in range(max(map(len, nats_by_target))):
            metrics[f"nats {index + 1}"] = [nats[index] if index < len(nats) else None for nats in nats_by_target]
        return metrics


def score_replies(
    model: PreTrainedModel, corpus: Corpus, questions: list[Question], extra_tokens: int
) -> ScoredReplies:
    """Greedy replies to questions, and the scores of their targets."""
    from nosce.data.packing import encode
    from nosce.models.generation import generate
    from nosce.models.likelihood import loss_mask_spans, score_spans

    dataset = corpus.tokenized_questions(questions)
    span_scores = score_spans(model, dataset, loss_mask_spans(dataset), eos_id=corpus.eos_id)
    prompts = [np.array(encoding.ids) for encoding in encode(corpus.tokenizer, (q.prompt for q in questions))]
    targets = [np.array(encoding.ids) for encoding in encode(corpus.tokenizer, (q.target for q in questions))]
    max_new_tokens = max(map(len, targets)) + extra_tokens + 1
    drafts = None if model.config.is_encoder_decoder else targets
    replies = generate(model, prompts, eos_id=corpus.eos_id, max_new_tokens=max_new_tokens, drafts=drafts)
    reply_tokens, target_tokens = [reply.tokens.tolist() for reply in replies], [one.tolist() for one in targets]
    ended = [reply.ended for reply in replies]
    correct = [bool(e and r == t) for e, r, t in zip(ended, reply_tokens, target_tokens, strict=True)]
    return ScoredReplies(questions, reply_tokens, target_tokens, correct, list(span_scores))
