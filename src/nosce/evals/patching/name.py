"""The evaluation `NamePatching`: does the answer change when the hidden state of a name is replaced by another name's?

A question names a person, the host. At one layer, the hidden state at the end of the name, or the states of all its
tokens, are replaced by those of a donor, a person named in a question for the same attribute. Then the answer's first
token is read. If the state of a name holds the person's facts and the model uses them, the answer becomes the donor's.
High probe accuracy alone does not show that the model uses what the probe reads. Control: putting the host's own states
back must change nothing.

Background: probes of the same states in Allen-Zhu and Li 2023 (arXiv:2309.14316); the paper has no patching.
Letters: N questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import MultiCheckpointEvaluation, TimingSubset
from nosce.evals.patching.base import (
    PATCH_EXTENTS,
    DonorRule,
    Patch,
    PatchBatch,
    PatchBatching,
    capture_states,
    pair_donors,
    pair_readings,
    read_patched,
)
from nosce.evals.probing.pq_probes import NameExtractor
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NAME_PATCHING_BATCHES = PatchBatching(pad=None)


@dataclass(frozen=True, eq=False)
class _NameQuestion:
    """A question as tokens after an end token; the span is the name, `first_token` is the target's first."""

    question: Question
    tokens: np.ndarray
    span: tuple[int, int]
    first_token: int


@dataclass(frozen=True, kw_only=True)
class NamePatching(MultiCheckpointEvaluation):
    """Replaces names on the last checkpoint, site by site, in questions about people the training never asked about.

    Metrics: `<last or whole>/follows/<site>` (the first choice is the first token of the donor's value),
    `.../stays/<site>` (it is the first token of the host's), `.../self/<site>` (it is what it was, with the host's own
    states put back), and `right` without a patch.

    Attributes:
        name_extractor: Takes the name out of a question's prompt.
        max_pairs: Hosts at most, each with one donor.
        attributes: Attributes whose questions are used. Empty: all.
        name: Name of the evaluation in the readings.
    """

    runs_once_per_layer: ClassVar[bool] = True
    name_extractor: NameExtractor
    max_pairs: int = 300
    attributes: tuple[str, ...] = ()
    name: str = "renamed"

    def timing_subset(self) -> TimingSubset:
        """A few pairs, from enough people to find names that have equally many tokens."""
        subset_pairs = min(self.max_pairs, 20)
        return TimingSubset(replace(self, max_pairs=subset_pairs), self.max_pairs / subset_pairs, 256)

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint. There are none if no host has a donor."""
        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, donors = self._pair_questions(corpus, seed)
        if hosts:
            yield from pair_readings(
                self.name,
                step,
                _first_token_metrics(model, hosts, donors),
                items=[f"{h.question.id}/{d.question.entity}" for h, d in zip(hosts, donors, strict=True)],
                entities=[h.question.entity for h in hosts],
                attributes=[h.question.attribute for h in hosts],
            )

    def _pair_questions(self, corpus: Corpus, seed: Seed) -> tuple[list[_NameQuestion], list[_NameQuestion]]:
        """Hosts and donors: equal attribute, number of tokens and span, and another first token of the value."""
        questions = []
        for question in corpus.questions_in("unseen"):
            if not self.attributes or question.attribute in self.attributes:
                tokenized = self._tokenize(question, corpus)
                questions += [] if tokenized is None else [tokenized]

        def answers_differ(host: int, donor: int) -> bool:
            return questions[host].first_token != questions[donor].first_token

        groups = [(one.question.attribute, len(one.tokens), one.span) for one in questions]
        rule = DonorRule(name="donor", accepts=answers_differ)
        pairs = pair_donors(groups, [rule], seed / "pairs", max_pairs=self.max_pairs)
        return [questions[index] for index in pairs.hosts], [questions[index] for index in pairs.donors["donor"]]

    def _tokenize(self, question: Question, corpus: Corpus) -> _NameQuestion | None:
        name = self.name_extractor.extract_name(question.prompt, question.attribute)
        start = question.prompt.find(name)
        encoding = corpus.tokenizer.encode(question.prompt, add_special_tokens=False)
        begin = encoding.char_to_token(start)
        end = encoding.char_to_token(start + len(name) - 1)
        if start < 0 or begin is None or end is None:
            return None
        first = corpus.tokenizer.encode(question.target, add_special_tokens=False).ids[0]
        return _NameQuestion(question, np.array([corpus.eos_id, *encoding.ids]), (begin + 1, end + 2), first)


def _first_token_metrics(
    model: PreTrainedModel, hosts: list[_NameQuestion], donors: list[_NameQuestion]
) -> dict[str, np.ndarray]:
    """Metric -> is it so of each pair? Shape of each: (N,)."""
    from nosce.models.hooks import layer_sites

    def first_choice(batch: PatchBatch, hidden: torch.Tensor) -> np.ndarray:
        tokens: np.ndarray = model.get_output_embeddings()(hidden[:, -1]).argmax(-1).cpu().numpy()
        return tokens

    sites = layer_sites(model)
    unpatched = read_patched(model, hosts, first_choice, NAME_PATCHING_BATCHES)
    host_states, donor_states = (capture_states(model, side, sites, NAME_PATCHING_BATCHES) for side in (hosts, donors))
    host_first, donor_first = (np.array([one.first_token for one in side]) for side in (hosts, donors))
    metrics = {"right": unpatched == host_first}
    for extent in PATCH_EXTENTS:
        for site in sites:
            donor_patch = Patch(site, extent, donor_states.at(site, extent))
            self_patch = Patch(site, extent, host_states.at(site, extent))
            patched = read_patched(model, hosts, first_choice, NAME_PATCHING_BATCHES, donor_patch)
            restored = read_patched(model, hosts, first_choice, NAME_PATCHING_BATCHES, self_patch)
            metrics[f"{extent}/follows/{site}"] = patched == donor_first
            metrics[f"{extent}/stays/{site}"] = patched == host_first
            metrics[f"{extent}/self/{site}"] = restored == unpatched
    return metrics
