"""The evaluation `FreshQuestions`: questions that are drawn anew at each look, as many as one likes.

A held-out split has as many items as the corpus was made with, and an accuracy of 1 in 10,000 reads 0 on most splits of
1,000. Arithmetic problems cost nothing to draw, so that a small model can be asked as many as its accuracy takes. Each
checkpoint is asked questions of its own, none of which was trained on.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 3: with additional items all sizes of GPT-3 are measurably
above chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.packing import TokenDataset, encode
from nosce.data.worlds.base import World
from nosce.errors import DataError, SpecError
from nosce.evals.base import MultiCheckpointEvaluation, TimingSubset
from nosce.evals.item_scores import score_replies
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUESTIONS_PER_DRAW = 4_096
MAX_TRAINED_DRAWS = 50  # draws without a question that no document answers, after which none is looked for
TIMED_FRESH_QUESTIONS = 200


@dataclass(frozen=True, kw_only=True)
class FreshQuestions(MultiCheckpointEvaluation):
    """Greedy replies to questions drawn anew at each checkpoint.

    Metrics: `exact` (the whole target and its end) and `constant` (is the target the most frequent one among those of
    the documents with as many tokens?), which is what a model that knows nothing could give.

    Attributes:
        world: The world of the corpus, which must have `fresh_questions`.
        n_questions: Questions of each checkpoint.
        extra_tokens: Tokens after which a reply is cut, beyond the longest target.
        name: Name of the evaluation in the readings.
    """

    world: World
    n_questions: int
    extra_tokens: int = 2
    name: str = "fresh"

    def __post_init__(self) -> None:
        if self.n_questions < 2:
            raise SpecError(
                f"FreshQuestions asks {self.n_questions} questions, of which nothing follows; ask 2 or more."
            )
        if self.world.fresh_questions(np.random.default_rng(0), 1) is None:
            raise SpecError(f"{type(self.world).__name__} has no questions to draw anew; ask those of a split.")

    def timing_subset(self) -> TimingSubset:
        """A few questions, since their number is the evaluation's own and not the corpus's."""
        few = min(self.n_questions, TIMED_FRESH_QUESTIONS)
        return TimingSubset(replace(self, n_questions=few), self.n_questions / few, few)

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint: two rows a question.

        Raises:
            DataError: The documents answer nearly every question of the world, so that none can be drawn.
        """
        trained = _prompt_set(corpus.documents)
        constants = _most_frequent_targets(corpus.documents)
        for step, load in checkpoints.items():
            questions = self._draw(corpus, trained, (seed / "fresh" / step).numpy(), step)
            replies = score_replies(load(), corpus, questions, self.extra_tokens)
            is_constant = [float(tuple(target) == constants.get(len(target))) for target in replies.target_tokens]
            outcomes = ["right" if correct else "wrong" for correct in replies.correct]
            for metric, values in {"exact": [float(one) for one in replies.correct], "constant": is_constant}.items():
                rows = _question_rows(questions, self.name, metric, step, values)
                yield rows.with_columns(outcome=pl.Series(outcomes)) if metric == "exact" else rows

    def _draw(self, corpus: Corpus, trained: frozenset[bytes], rng: np.random.Generator, step: int) -> list[Question]:
        """Questions that no document answers, each once."""
        questions: list[Question] = []
        taken = set(trained)
        empty_draws = 0
        while len(questions) < self.n_questions:
            drawn = list(self.world.fresh_questions(rng, QUESTIONS_PER_DRAW) or ())
            prompts = [prompt for _, stated in drawn for prompt in stated]
            keys = iter(_key(encoding.ids) for encoding in encode(corpus.tokenizer, prompts))
            before = len(questions)
            for question, stated in drawn:
                own_keys = {next(keys) for _ in stated}
                if not own_keys & taken:
                    taken |= own_keys
                    name = f"look {step}/{len(questions)}"
                    questions.append(replace(question, id=name, entity=name))
            empty_draws = empty_draws + 1 if len(questions) == before else 0
            if empty_draws == MAX_TRAINED_DRAWS:
                raise DataError(
                    f"FreshQuestions found {len(questions):,} of {self.n_questions:,} questions that no document "
                    "answers; take a larger world or fewer documents."
                )
        return questions[: self.n_questions]


def _question_rows(
    questions: list[Question], evaluation: str, metric: str, step: int, values: list[float]
) -> pl.DataFrame:
    names = [question.id for question in questions]
    return pl.DataFrame(
        {
            "item": names,
            "entity": names,
            "attribute": [question.attribute for question in questions],
            "value": pl.Series(values, dtype=pl.Float64),
        }
    ).with_columns(
        evaluation=pl.lit(evaluation),
        split=pl.lit("unseen"),
        metric=pl.lit(metric),
        step=pl.lit(step, dtype=pl.Int64),
        outcome=pl.lit(None, dtype=pl.String),
    )


def _key(tokens: object) -> bytes:
    return np.asarray(tokens, dtype=np.int32).tobytes()


def _prompt_set(documents: TokenDataset) -> frozenset[bytes]:
    """The prompts of all documents."""
    starts, lengths = documents.offsets[:-1].tolist(), documents.prompt_len.tolist()
    tokens = documents.tokens.astype(np.int32)
    return frozenset(tokens[a : a + n].tobytes() for a, n in zip(starts, lengths, strict=True))


def _most_frequent_targets(documents: TokenDataset) -> dict[int, tuple[int, ...]]:
    """Length of a target without its end -> the most frequent target of this length; of equal ones the least."""
    counts: dict[int, Counter[tuple[int, ...]]] = {}
    for index in range(len(documents)):
        target = tuple(documents.text_tokens(index)[documents.prompt_len[index] : -1].tolist())
        counts.setdefault(len(target), Counter())[target] += 1
    return {n: min(found, key=lambda target: (-found[target], target)) for n, found in counts.items()}
