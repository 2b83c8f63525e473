"""The read-out `Outcomes`: what a model writes and what it thinks of the truth, item by item, for any metric.

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
from nosce.records import Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Greedy replies and teacher-forced log-probabilities of the same questions.

    Metrics: `exact` (the whole target and its end), `edit` (insertions, deletions and substitutions of tokens, at most
    the longer one's length), `tokens` (share of the target's tokens, its end among them, that are the first choice),
    `log_likelihood` (of target and end, in nats). The answer is the reply, so that it can be scored again.

    With `by_place` the last checkpoint has more for every place of a reply, from 1 on: `place <n>` (is that token
    right?), `first <n>` (are all up to it?) and `nats <n>` (of the true token there, after the true ones before it; the
    place behind a target's last token is its end).
    """

    needs_model: ClassVar[bool] = True
    split: Split = "unseen"
    spare: int = 2  # tokens beyond the longest target before a reply is cut
    by_place: bool = False
    name: str = "outcomes"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint: four rows a question, at the last one perhaps more."""
        for number, (step, load) in enumerate(checkpoints.items(), 1):
            by_place = self.by_place and number == len(checkpoints)
            yield self._read(load(), corpus, by_place=by_place).with_columns(step=pl.lit(step, dtype=pl.Int64))

    def _read(self, model: PreTrainedModel, corpus: Corpus, *, by_place: bool) -> pl.DataFrame:
        from nosce.data.packing import encode
        from nosce.models.generation import generate
        from nosce.models.likelihood import counted_spans, spoken

        questions = corpus.asked(self.split)
        sequences = corpus.question_sequences(questions)
        heard = spoken(model, sequences, counted_spans(sequences), end=corpus.end)
        prompts, targets = ([np.array(e.ids) for e in encode(corpus.tokenizer, texts)]
                            for texts in ((q.prompt for q in questions), (q.target for q in questions)))  # fmt: skip
        most = max(map(len, targets)) + self.spare + 1
        drafts = None if model.config.is_encoder_decoder else targets
        replies = generate(model, prompts, end=corpus.end, most=most, drafts=drafts)
        said = [reply.tokens.tolist() for reply in replies]
        true = [target.tolist() for target in targets]
        right = [bool(r.ended and s == t) for r, s, t in zip(replies, said, true, strict=True)]
        base = pl.DataFrame({"item": [q.id for q in questions], "about": [q.about for q in questions],
                             "facet": [q.facet for q in questions], "target": [q.target for q in questions]}
                            ).with_columns(readout=pl.lit(self.name), split=pl.lit(self.split))  # fmt: skip
        values: dict[str, list[Any]] = {
            "exact": right,
            "edit": [Levenshtein.distance(s, t) for s, t in zip(said, true, strict=True)],
            "tokens": [float((one.chosen == one.true).mean()) for one in heard],
            "log_likelihood": [-one.nats for one in heard],
        }
        if by_place:
            for place in range(max(map(len, true))):
                values[f"place {place + 1}"] = [s[place : place + 1] == t[place : place + 1]
                                                for s, t in zip(said, true, strict=True)]  # fmt: skip
                values[f"first {place + 1}"] = [s[: place + 1] == t[: place + 1]
                                                for s, t in zip(said, true, strict=True)]  # fmt: skip
            for place in range(max(len(one.each) for one in heard)):
                values[f"nats {place + 1}"] = [one.each[place] if place < len(one.each) else None for one in heard]
        answers = [corpus.tokenizer.decode(tokens, skip_special_tokens=False) for tokens in said]
        told = {"answer": answers, "outcome": ["right" if one else "wrong" for one in right]}
        nothing = pl.lit(None, dtype=pl.String)
        parts = []
        for metric, value in values.items():
            more = {k: pl.Series(v) if metric == "exact" else nothing for k, v in told.items()}
            part = base.with_columns(pl.Series("value", value, dtype=pl.Float64, strict=False),
                                     metric=pl.lit(metric), **more)  # fmt: skip
            parts.append(part.drop_nulls("value"))  # shorter targets have no such place
        return pl.concat(parts)
