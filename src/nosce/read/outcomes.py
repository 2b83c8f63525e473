"""The read-out `Outcomes`: what a model writes and what it thinks of the truth, item by item, for any metric.

Source: the pairs of metrics are those of Schaeffer et al. 2023 (arXiv:2304.15004), section 3: exact match beside token
edit distance, and beside the log-likelihood that both follow from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from rapidfuzz.distance import Levenshtein

from nosce.read.readouts import blank
from nosce.records import Reading, Split
from nosce.seeds import Seed
from nosce.text.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Greedy replies and teacher-forced log-probabilities of the same questions.

    Metrics: `exact` (the whole target and its end), `edit` (insertions, deletions and substitutions of tokens, at most
    the longer one's length), `tokens` (share of the target's tokens, its end among them, that are the first choice),
    `log_likelihood` (of target and end, in nats). The answer is the reply, so that it can be scored again.
    """

    needs_model: ClassVar[bool] = True
    split: Split = "unseen"
    spare: int = 2  # tokens beyond the longest target before a reply is cut
    name: str = "outcomes"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Four readings a question."""
        from nosce.read.generate import generate
        from nosce.read.likelihood import counted_spans, spoken
        from nosce.text.packing import encode

        assert model is not None
        questions = corpus.asked(self.split)
        sequences = corpus.question_sequences(questions)
        heard = spoken(model, sequences, counted_spans(sequences), end=corpus.end)
        prompts, targets = ([np.array(e.ids) for e in encode(corpus.tokenizer, texts)]
                            for texts in ((q.prompt for q in questions), (q.target for q in questions)))  # fmt: skip
        most = max(map(len, targets)) + self.spare + 1
        drafts = None if model.config.is_encoder_decoder else targets
        replies = generate(model, prompts, end=corpus.end, most=most, drafts=drafts)
        for question, reply, target, one in zip(questions, replies, targets, heard, strict=True):
            right = bool(reply.ended and np.array_equal(reply.tokens, target))
            where = {"readout": self.name, "split": question.split, "item": question.id, "about": question.about,
                     "facet": question.facet, "target": question.target}  # fmt: skip
            answer = corpus.tokenizer.decode(reply.tokens.tolist(), skip_special_tokens=False)
            yield blank(
                **where, metric="exact", value=float(right), outcome="right" if right else "wrong", answer=answer
            )
            edits = Levenshtein.distance(reply.tokens.tolist(), target.tolist())
            for metric, value in (("edit", float(edits)), ("tokens", float((one.chosen == one.true).mean())),
                                  ("log_likelihood", -one.nats)):  # fmt: skip
                yield blank(**where, metric=metric, value=value, outcome=None, answer=None)
