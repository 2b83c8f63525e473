"""The read-out `AnswerPatching`: does a report follow when the answer that is reported is changed inside the network?

A question about an answer quotes the prompt and its answer's place, where the model's pending answer stands. The hidden
state there is replaced, at one layer, by the one of another prompt of the same task whose answer has another label. Two
things are read in the same pass: which answer is pending now, and what is reported. A report that is read from the
pending answer moves to the other's label; one that was learnt by heart stays. Held against: a state from a prompt
whose answer is the same word, which should move nothing.

Source: the causal test proposed in the sheet for arXiv:2410.13787, section 7.4. Letters: N pairs, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.self_report import ReportMetadata
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _AnswerQuestion:
    """A question as tokens behind an end token."""

    question: Question
    labels: tuple[str, ...]
    tokens: np.ndarray
    answer_position: int  # position at which the answer is pending: that of the prompt's last token


@dataclass(frozen=True, kw_only=True)
class AnswerPatching:
    """Swaps on the last checkpoint, site by site, over questions about the tasks named.

    Metrics, one row a pair: `moved/<site>` (the pending answer is now the donor's), `follows/<site>` (the report is the
    label of the donor's answer), `stays/<site>` (it is still what it was), and for donors with the same pending answer
    `same/<site>` (it is still what it was). `unswapped` (the report is the label of the donor's answer, nothing done).
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    tasks: tuple[str, ...]
    max_pairs: int = 400  # at most
    name: str = "swapped"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where no prompt's place can be found, or nothing can be paired."""
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        questions = [one for q in corpus.questions_in("unseen") if (one := self._tokenize(q, corpus)) is not None]
        if not questions:
            return
        unpatched = _read(model, questions, corpus, None, None)
        hosts, donors, same_answer_donors = self._pair_questions(questions, unpatched, seed)
        if not len(hosts):
            return
        host_questions = [questions[place] for place in hosts]
        donor_reports = np.array([unpatched.reports[place] for place in donors])
        host_reports = unpatched.reports[hosts]
        # What the donor's answer would be reported as is the label that goes with its pending answer, not its report.
        donor_labels = np.array([questions[place].question.target for place in donors])
        values_by_metric: dict[str, np.ndarray] = {
            "unswapped": host_reports == donor_labels,
            "donor's own": donor_reports == donor_labels,
        }
        for site in layer_sites(model):
            states = unpatched.states[site]
            patched = _read(model, host_questions, corpus, site, states[donors])
            values_by_metric[f"moved/{site}"] = patched.pending_tokens == unpatched.pending_tokens[donors]
            values_by_metric[f"follows/{site}"] = patched.reports == donor_labels
            values_by_metric[f"stays/{site}"] = patched.reports == host_reports
            has_same_answer_donor = same_answer_donors >= 0
            same_answer_patched = _read(
                model,
                [m for m, p in zip(host_questions, has_same_answer_donor, strict=True) if p],
                corpus,
                site,
                states[same_answer_donors[has_same_answer_donor]],
            )
            unchanged = np.full(len(host_questions), np.nan)
            unchanged[has_same_answer_donor] = same_answer_patched.reports == host_reports[has_same_answer_donor]
            values_by_metric[f"same/{site}"] = unchanged
        yield from self._tables(values_by_metric, host_questions, [questions[place] for place in donors], step)

    def _tables(
        self,
        found: Mapping[str, np.ndarray],
        hosts: Sequence[_AnswerQuestion],
        donors: Sequence[_AnswerQuestion],
        step: int,
    ) -> Iterator[pl.DataFrame]:
        base = pl.DataFrame(
            {
                "item": [f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, donors, strict=True)],
                "entity": [h.question.entity for h in hosts],
                "attribute": [h.question.attribute for h in hosts],
            }
        )
        for metric, values in found.items():
            yield base.with_columns(
                pl.Series("value", values.astype(np.float64)),
                evaluation=pl.lit(self.name),
                split=pl.lit("unseen"),
                metric=pl.lit(metric),
                step=pl.lit(step, pl.Int64),
            ).filter(pl.col("value").is_not_nan())

    def _tokenize(self, question: Question, corpus: Corpus) -> _AnswerQuestion | None:
        metadata = ReportMetadata.from_question(question)
        if metadata.is_training or question.attribute.partition("/")[0] not in self.tasks:
            return None
        prompt, tokens = (
            corpus.tokenizer.encode(text, add_special_tokens=False).ids
            for text in (metadata.object_prompt, question.prompt)
        )
        if tokens[: len(prompt)] != prompt:
            return None  # the answer's place is left out
        return _AnswerQuestion(question, metadata.labels, np.array([corpus.eos_id, *tokens]), len(prompt))

    def _pair_questions(
        self, questions: Sequence[_AnswerQuestion], unpatched: _AnswerOutputs, seed: Seed
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of hosts, donors with another label, and donors with the same pending answer (-1: there is none)."""
        rng = (seed / "pairs").numpy()
        groups: dict[str, list[int]] = {}
        for index, one in enumerate(questions):
            groups.setdefault(one.question.attribute, []).append(index)
        hosts: list[int] = []
        donors: list[int] = []
        same_answer_donors: list[int] = []
        for index in rng.permutation(len(questions)).tolist():
            host = questions[index]
            candidates = [
                o
                for o in groups[host.question.attribute]
                if questions[o].answer_position == host.answer_position and o != index
            ]
            different_answer = [
                o
                for o in candidates
                if questions[o].question.target != host.question.target
                and unpatched.pending_tokens[o] != unpatched.pending_tokens[index]
            ]
            same_answer = [o for o in candidates if unpatched.pending_tokens[o] == unpatched.pending_tokens[index]]
            if different_answer and len(hosts) < self.max_pairs:
                hosts.append(index)
                donors.append(different_answer[int(rng.integers(len(different_answer)))])
                same_answer_donors.append(same_answer[int(rng.integers(len(same_answer)))] if same_answer else -1)
        return np.array(hosts, dtype=int), np.array(donors, dtype=int), np.array(same_answer_donors, dtype=int)


@dataclass(frozen=True, eq=False)
class _AnswerOutputs:
    pending_tokens: np.ndarray  # (N,) token that is likeliest at the answer's place
    reports: np.ndarray  # (N,) likeliest label
    states: Mapping[str, np.ndarray]  # site -> (N, W) at the answer's place; empty where a site was replaced


def _read(
    model: PreTrainedModel,
    asked: Sequence[_AnswerQuestion],
    corpus: Corpus,
    site: str | None,
    states: np.ndarray | None,
) -> _AnswerOutputs:
    """Pending answers and reports, with the states at the answer's place replaced at a site, or collected at all."""
    import torch

    from nosce.models.hooks import capture, layer_sites, patch

    count = len(asked)
    pending, reports = np.zeros(count, dtype=np.int64), np.empty(count, dtype=object)
    names = layer_sites(model) if site is None else []
    kept: dict[str, np.ndarray] = {}
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(asked):
        by_length.setdefault(len(one.tokens), []).append(place)
    for places in by_length.values():
        rows = torch.from_numpy(np.stack([asked[place].tokens for place in places])).to(model.device)
        slots = np.array([asked[place].answer_position for place in places])
        where = (np.arange(len(places)), slots)
        new = None if states is None else states[places]
        with torch.no_grad(), capture(model, names) as seen, patch(model, site, where, new):
            logits = model(input_ids=rows, use_cache=False).logits.float()
            for name in names:
                here = seen[name][where].float().cpu().numpy()
                kept.setdefault(name, np.zeros((count, here.shape[-1]), dtype=np.float32))[places] = here
        pending[places] = logits[where].argmax(-1).cpu().numpy()
        last = logits[:, -1].cpu().numpy()
        for row, place in enumerate(places):
            numbers = [corpus.tokenizer.token_to_id(label) for label in asked[place].labels]
            reports[place] = asked[place].labels[int(last[row, numbers].argmax())]
    return _AnswerOutputs(pending, reports, kept)
