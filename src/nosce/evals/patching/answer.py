"""The evaluation `AnswerPatching`: does a self-report follow when the answer it is about is changed inside the network?

A question about the model's own answer quotes the prompt. At the prompt's last token stands the pending answer, the
model's next-token prediction there. At one layer, the hidden state of that token is replaced by the state of another
prompt of the same task whose answer has another label. One pass then gives the pending answer and the report. A report
that is read from the pending answer moves to the donor's label. A report that was memorised during training stays.
Control: a state from a prompt with the same pending answer should move nothing.

Background: self-prediction in Binder et al. 2024 (arXiv:2410.13787); the paper has no such causal test.
Letters: N questions, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation
from nosce.evals.patching.base import (
    DonorRule,
    HostDonorPairs,
    Patch,
    PatchBatch,
    PatchBatching,
    SpanStates,
    capture_states,
    pair_donors,
    pair_readings,
    read_patched,
)
from nosce.evals.self_report import ReportMetadata
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ANSWER_PATCHING_BATCHES = PatchBatching(pad=None, size=None)


@dataclass(frozen=True, eq=False)
class _AnswerQuestion:
    """A question as tokens after an end token; the span is the quoted prompt's last token, before the answer."""

    question: Question
    labels: tuple[str, ...]
    tokens: np.ndarray
    span: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _AnswerOutputs:
    """Likeliest token at the answer's position, and likeliest label. Shapes: (N,)."""

    pending_tokens: np.ndarray
    reports: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AnswerPatching(MultiCheckpointEvaluation):
    """Swaps pending answers on the last checkpoint, site by site, in questions about the given tasks.

    Metrics, one row a pair: `moved/<site>` (the pending answer is now the donor's), `follows/<site>` (the report is the
    label of the donor's answer), `stays/<site>` (the report is what it was), and `same/<site>` (the same, for a donor
    with the same pending answer). Without a patch: `unswapped` (the report is the label of the donor's answer) and
    `donor's own` (the donor's report is the label of the donor's answer).

    Attributes:
        tasks: Tasks whose questions are used.
        max_pairs: Hosts at most.
        name: Name of the evaluation in the readings.
    """

    runs_once_per_layer: ClassVar[bool] = True
    tasks: tuple[str, ...]
    max_pairs: int = 400
    name: str = "swapped"

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """Earlier checkpoints are not read."""
        return "the last alone"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint. There are none if no question quotes its prompt, or no host has a donor."""
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        tokenized = (self._tokenize(question, corpus) for question in corpus.questions_in("unseen"))
        questions = [one for one in tokenized if one is not None]
        if not questions:
            return
        unpatched = _read_answers(model, questions, corpus)
        states = capture_states(model, questions, layer_sites(model), ANSWER_PATCHING_BATCHES)
        pairs = self._pair_questions(questions, unpatched, seed)
        hosts, donors = ([questions[i] for i in side] for side in (pairs.hosts, pairs.donors["other"]))
        if hosts:
            yield from pair_readings(
                self.name,
                step,
                _swap_metrics(model, corpus, questions, unpatched, states, pairs),
                items=[f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, donors, strict=True)],
                entities=[h.question.entity for h in hosts],
                attributes=[h.question.attribute for h in hosts],
            )

    def _tokenize(self, question: Question, corpus: Corpus) -> _AnswerQuestion | None:
        metadata = ReportMetadata.from_question(question)
        if metadata.is_training or question.attribute.partition("/")[0] not in self.tasks:
            return None
        prompt = corpus.tokenizer.encode(metadata.object_prompt, add_special_tokens=False).ids
        tokens = corpus.tokenizer.encode(question.prompt, add_special_tokens=False).ids
        if tokens[: len(prompt)] != prompt:
            return None  # the question does not quote the prompt, so no position predicts the answer
        span = len(prompt), len(prompt) + 1
        return _AnswerQuestion(question, metadata.labels, np.array([corpus.eos_id, *tokens]), span)

    def _pair_questions(
        self, questions: Sequence[_AnswerQuestion], unpatched: _AnswerOutputs, seed: Seed
    ) -> HostDonorPairs:
        """Donors with another label and another pending answer, and where there are any, with the same answer."""
        targets, pending = [one.question.target for one in questions], unpatched.pending_tokens

        def answers_differ(host: int, donor: int) -> bool:
            return targets[donor] != targets[host] and bool(pending[donor] != pending[host])

        def answers_agree(host: int, donor: int) -> bool:
            return bool(pending[donor] == pending[host])

        rules = [
            DonorRule(name="other", accepts=answers_differ),
            DonorRule(name="same", accepts=answers_agree, required=False),
        ]
        groups = [(one.question.attribute, one.span) for one in questions]
        return pair_donors(groups, rules, seed / "pairs", max_pairs=self.max_pairs)


def _swap_metrics(
    model: PreTrainedModel,
    corpus: Corpus,
    questions: Sequence[_AnswerQuestion],
    unpatched: _AnswerOutputs,
    states: SpanStates,
    pairs: HostDonorPairs,
) -> dict[str, np.ndarray]:
    """Metric -> is it so of each pair? NaN where a host has no donor with the same answer. Shape of each: (M,)."""
    hosts, donors, same_donors = pairs.hosts, pairs.donors["other"], pairs.donors["same"]
    has_same_donor = same_donors >= 0
    host_reports = unpatched.reports[hosts]
    # The donor's report may be wrong. Expected is the label that goes with the donor's pending answer.
    donor_labels = np.array([questions[index].question.target for index in donors])
    metrics: dict[str, np.ndarray] = {
        "unswapped": host_reports == donor_labels,
        "donor's own": unpatched.reports[donors] == donor_labels,
    }

    def read_with(site: str, hosts: np.ndarray, donors: np.ndarray) -> _AnswerOutputs:
        patched = Patch(site, "last", states.at(site, "last", donors))
        return _read_answers(model, [questions[index] for index in hosts], corpus, patched)

    for site in states.by_site:
        outputs = read_with(site, hosts, donors)
        metrics[f"moved/{site}"] = outputs.pending_tokens == unpatched.pending_tokens[donors]
        metrics[f"follows/{site}"] = outputs.reports == donor_labels
        metrics[f"stays/{site}"] = outputs.reports == host_reports
        unchanged = np.full(len(hosts), np.nan)
        if has_same_donor.any():
            control = read_with(site, hosts[has_same_donor], same_donors[has_same_donor])
            unchanged[has_same_donor] = control.reports == host_reports[has_same_donor]
        metrics[f"same/{site}"] = unchanged
    return metrics


def _read_answers(
    model: PreTrainedModel, questions: Sequence[_AnswerQuestion], corpus: Corpus, patched: Patch | None = None
) -> _AnswerOutputs:
    """Pending answers and reports, as they are or with the states at the answers' positions replaced."""

    def read(batch: PatchBatch, hidden: torch.Tensor) -> np.ndarray:
        logits = model.get_output_embeddings()(hidden).float()
        pending = logits[batch.positions("last")].argmax(-1).cpu().numpy()
        last, label_indices = logits[:, -1].cpu().numpy(), []
        for row, index in enumerate(batch.indices):
            label_tokens = [corpus.tokenizer.token_to_id(label) for label in questions[index].labels]
            label_indices.append(last[row, label_tokens].argmax())
        return np.stack([pending, np.array(label_indices)], 1)

    pending_tokens, label_indices = read_patched(model, questions, read, ANSWER_PATCHING_BATCHES, patched).T
    reports = [one.labels[index] for one, index in zip(questions, label_indices, strict=True)]
    return _AnswerOutputs(pending_tokens, np.array(reports, dtype=object))
