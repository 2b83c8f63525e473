"""The evaluation `StopDecision`: after each entry of the true list, does the model go on or stop?

A model that knows how many entries there are stops after the last one and nowhere else. The true list is given, so the
evaluation reads the decision alone and not the content before it. Alternatively the entries have the contents of
another list, to see whether the decision depends on the contents.

Background: recitation of all entries in Prato et al. 2024 (arXiv:2502.19573); the paper scores whole replies.
Letters: k entries of a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tokenizers import Encoding

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.records import AskedSplit, Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ListTask(Protocol):
    """A world's knowledge of questions that ask for a complete list."""

    def entry_count(self, question: Question) -> int | None:
        """The number of entries of the true list. None if the question asks for no list."""
        ...

    def entry_ends(self, question: Question) -> list[int]:
        """The end of each entry in the target, in characters."""
        ...

    def with_extra_entry(self, question: Question) -> str:
        """The target followed by the beginning of an entry that does not exist."""
        ...

    def with_entries_of(self, question: Question, donor: Question) -> str:
        """The target with the contents of another list's entries."""
        ...

    def count_probe_texts(self, question: Question) -> Mapping[str, str]:
        """Name -> a text at whose end a model could know the number of entries. The question is one of them."""
        ...


@dataclass(frozen=True, eq=False)
class EntryBoundaries:
    """The decisions between stopping and going on, in the tokens of a list.

    Attributes:
        decision_positions: Tokens of the target before each decision. Shape: (k,).
        continue_tokens: The token that goes on, at each decision. Shape: (k,).
    """

    decision_positions: np.ndarray
    continue_tokens: np.ndarray

    @classmethod
    def from_question(cls, question: Question, list_task: ListTask, corpus: Corpus) -> EntryBoundaries | None:
        """The decisions of a question's list. None if the list is empty, or if going on changes earlier tokens.

        Raises:
            DataError: A token reaches over the end of an entry, so that no position decides whether to go on.
        """
        entry_ends = list_task.entry_ends(question)
        target_encoding = corpus.tokenizer.encode(question.target, add_special_tokens=False)
        extended_encoding = corpus.tokenizer.encode(list_task.with_extra_entry(question), add_special_tokens=False)
        if (
            not entry_ends
            or extended_encoding.ids[: len(target_encoding.ids)] != target_encoding.ids
            or len(extended_encoding.ids) == len(target_encoding.ids)
        ):
            return None
        positions = np.array([_tokens_before(target_encoding, cut, question) for cut in entry_ends])
        return cls(positions, np.array(extended_encoding.ids)[positions])


def _tokens_before(encoding: Encoding, cut: int, question: Question) -> int:
    """The number of tokens in the first `cut` characters of the target."""
    before = [last for first, last in encoding.offsets if first < cut]
    if max(before, default=0) > cut:
        raise DataError(
            f"in the target of {question.id!r} a token reaches over the end of the entry that ends with "
            f"{question.target[:cut][-20:]!r}; separate entries by a space or a line break."
        )
    return len(before)


@dataclass(frozen=True, kw_only=True)
class StopDecision(PerCheckpointEvaluation):
    """The decision after each entry, and the nats of the list.

    Metrics, one row a decision: `stop/last` and `stop/before`, the probability of stopping where the alternative is to
    go on. One row a list: `stopped` (is the last entry the only one after which stopping is likelier?), `stops` (nats
    of the k decisions) and `content` (nats of all else).

    Attributes:
        list_task: The world's knowledge of its lists.
        split: The split whose questions are used; "held out" uses those of validation and unseen.
        swapped_entries: Give the entries the contents of another list.
        name: Name of the evaluation in the readings.
    """

    list_task: ListTask
    split: AskedSplit = "unseen"
    swapped_entries: bool = False
    name: str = "stops"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint."""
        assert model is not None
        questions = [q for q in corpus.questions_in(self.split) if self.list_task.entry_count(q)]
        if self.swapped_entries:
            questions = _with_swapped_entries(questions, self.list_task, seed / "retold")
        bounded_lists = []
        for question in questions:
            boundaries = EntryBoundaries.from_question(question, self.list_task, corpus)
            bounded_lists += [] if boundaries is None else [(question, boundaries)]
        decisions = score_stop_decisions(model, corpus, bounded_lists)
        for (question, boundaries), (stop_probs, nats) in zip(bounded_lists, decisions, strict=True):
            yield from self._readings(question, stop_probs, nats, len(boundaries.decision_positions))

    def _readings(self, question: Question, stop_probs: np.ndarray, nats: float, entry_count: int) -> Iterator[Reading]:
        shared_columns = {
            "evaluation": self.name,
            "split": question.split,
            "entity": question.entity,
            "attribute": question.attribute,
        }
        is_last = np.arange(entry_count) == entry_count - 1
        for entry_number, (stop_prob, at_last) in enumerate(zip(stop_probs.tolist(), is_last.tolist(), strict=True), 1):
            metric = "stop/last" if at_last else "stop/before"
            yield partial_reading(
                **shared_columns, item=f"{question.id}/{entry_number}", metric=metric, value=stop_prob, outcome=None
            )
        correct = bool(((stop_probs > 0.5) == is_last).all())
        yield partial_reading(
            **shared_columns,
            item=question.id,
            metric="stopped",
            value=float(correct),
            outcome="right" if correct else "wrong",
        )
        decision_nats = float(-np.log(np.maximum(np.where(is_last, stop_probs, 1 - stop_probs), 1e-12)).sum())
        yield partial_reading(**shared_columns, item=question.id, metric="stops", value=decision_nats, outcome=None)
        yield partial_reading(
            **shared_columns, item=question.id, metric="content", value=nats - decision_nats, outcome=None
        )


def score_stop_decisions(
    model: PreTrainedModel, corpus: Corpus, bounded_lists: Sequence[tuple[Question, EntryBoundaries]]
) -> Iterator[tuple[np.ndarray, float]]:
    """For each list, the probability of stopping after each entry, (k,), and the nats of all tokens."""
    import torch

    from nosce.models.likelihood import iter_span_batches, loss_mask_spans

    dataset = corpus.tokenized_questions([q for q, _ in bounded_lists])
    results: dict[int, tuple[np.ndarray, float]] = {}
    for span_batch in iter_span_batches(model, dataset, loss_mask_spans(dataset), eos_id=corpus.eos_id):
        log_probs = span_batch.logits.log_softmax(-1)
        target_tokens = torch.from_numpy(span_batch.target_tokens.astype(np.int64)).to(log_probs.device)
        nats = -log_probs.gather(1, target_tokens[:, None])[:, 0].double().cpu().numpy()
        for list_index, cut in zip(span_batch.span_indices, span_batch.row_slices, strict=True):
            boundaries = bounded_lists[list_index][1]
            positions = torch.from_numpy(boundaries.decision_positions).to(log_probs.device)
            at_decisions = log_probs[cut][positions].double().cpu().numpy()
            decisions = np.arange(len(boundaries.decision_positions))
            continue_log_odds = at_decisions[decisions, boundaries.continue_tokens] - at_decisions[:, corpus.eos_id]
            results[list_index] = (1 / (1 + np.exp(np.clip(continue_log_odds, -500, 500))), float(nats[cut].sum()))
    return (results[list_index] for list_index in range(len(bounded_lists)))


def _with_swapped_entries(questions: Sequence[Question], list_task: ListTask, seed: Seed) -> list[Question]:
    """Every list with the contents of the entries of another, random list."""
    permutation = seed.numpy().permutation(len(questions))
    swapped = []
    for index, question in enumerate(questions):
        donor = questions[int(permutation[index])]
        donor = questions[(int(permutation[index]) + 1) % len(questions)] if donor is question else donor
        swapped.append(replace(question, target=list_task.with_entries_of(question, donor)))
    return swapped
