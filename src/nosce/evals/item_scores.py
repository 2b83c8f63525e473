"""The read-out `ItemScores`: what a model writes and what it thinks of the truth, item by item, for any metric.

Source: the pairs of metrics are those of Schaeffer et al. 2023 (arXiv:2304.15004), section 3: exact match beside token
edit distance, and beside the log-likelihood that both follow from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein

from nosce.data.corpus import Corpus
from nosce.evals.base import MultiCheckpointEvaluation
from nosce.records import Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class ItemScores(MultiCheckpointEvaluation):
    """Greedy replies and teacher-forced log-probabilities of the same questions.

    Metrics: `exact` (the whole target and its end), `edit` (insertions, deletions and substitutions of tokens, at most
    the longer one's length), `tokens` (share of the target's tokens, its end among them, that are the first choice),
    `log_likelihood` (of target and end, in nats). The answer is the reply, so that it can be scored again.

    With `per_position` the last checkpoint has more for every place of a reply, from 1 on: `place <n>` (is that token
    right?), `first <n>` (are all up to it?) and `nats <n>` (of the true token there, after the true ones before it; the
    place behind a target's last token is its end).
    """

    needs_model: ClassVar[bool] = True
    split: Split = "unseen"
    extra_tokens: int = 2  # tokens beyond the longest target before a reply is cut
    per_position: bool = False
    name: str = "outcomes"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint: four rows a question, at the last one perhaps more."""
        for checkpoint_number, (step, load) in enumerate(checkpoints.items(), 1):
            per_position = self.per_position and checkpoint_number == len(checkpoints)
            yield self._score_checkpoint(load(), corpus, per_position=per_position).with_columns(
                step=pl.lit(step, dtype=pl.Int64)
            )

    def _score_checkpoint(self, model: PreTrainedModel, corpus: Corpus, *, per_position: bool) -> pl.DataFrame:
        from nosce.data.packing import encode
        from nosce.models.generation import generate
        from nosce.models.likelihood import loss_mask_spans, score_spans

        questions = corpus.questions_in(self.split)
        dataset = corpus.tokenized_questions(questions)
        span_scores = score_spans(model, dataset, loss_mask_spans(dataset), eos_id=corpus.eos_id)
        prompts, targets = (
            [np.array(e.ids) for e in encode(corpus.tokenizer, texts)]
            for texts in ((q.prompt for q in questions), (q.target for q in questions))
        )
        max_new_tokens = max(map(len, targets)) + self.extra_tokens + 1
        drafts = None if model.config.is_encoder_decoder else targets
        replies = generate(model, prompts, eos_id=corpus.eos_id, max_new_tokens=max_new_tokens, drafts=drafts)
        reply_tokens = [reply.tokens.tolist() for reply in replies]
        target_tokens = [target.tolist() for target in targets]
        correct = [bool(r.ended and s == t) for r, s, t in zip(replies, reply_tokens, target_tokens, strict=True)]
        item_columns = pl.DataFrame(
            {
                "item": [q.id for q in questions],
                "entity": [q.entity for q in questions],
                "attribute": [q.attribute for q in questions],
                "target": [q.target for q in questions],
            }
        ).with_columns(evaluation=pl.lit(self.name), split=pl.lit(self.split))
        metric_values: dict[str, list[Any]] = {
            "exact": correct,
            "edit": [Levenshtein.distance(s, t) for s, t in zip(reply_tokens, target_tokens, strict=True)],
            "tokens": [float((one.predicted_tokens == one.target_tokens).mean()) for one in span_scores],
            "log_likelihood": [-one.nats for one in span_scores],
        }
        if per_position:
            for position in range(max(map(len, target_tokens))):
                metric_values[f"place {position + 1}"] = [
                    s[position : position + 1] == t[position : position + 1]
                    for s, t in zip(reply_tokens, target_tokens, strict=True)
                ]
                metric_values[f"first {position + 1}"] = [
                    s[: position + 1] == t[: position + 1] for s, t in zip(reply_tokens, target_tokens, strict=True)
                ]
            for position in range(max(len(one.token_nats) for one in span_scores)):
                metric_values[f"nats {position + 1}"] = [
                    one.token_nats[position] if position < len(one.token_nats) else None for one in span_scores
                ]
        answers = [corpus.tokenizer.decode(tokens, skip_special_tokens=False) for tokens in reply_tokens]
        reply_columns = {"answer": answers, "outcome": ["right" if one else "wrong" for one in correct]}
        null_string = pl.lit(None, dtype=pl.String)
        metric_tables = []
        for metric, value in metric_values.items():
            extra_columns = {k: pl.Series(v) if metric == "exact" else null_string for k, v in reply_columns.items()}
            metric_rows = item_columns.with_columns(
                pl.Series("value", value, dtype=pl.Float64, strict=False), metric=pl.lit(metric), **extra_columns
            )
            metric_tables.append(metric_rows.drop_nulls("value"))  # shorter targets have no such place
        return pl.concat(metric_tables)
