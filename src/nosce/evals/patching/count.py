"""The evaluation `CountPatching`: does the number of entries a model recites follow a hidden state of the question?

A host's list is longer than a donor's. The model is given the host's true list, and read is after which entry it would
first rather stop than go on. At one layer, the hidden states of the host's question are then replaced by those of the
donor's: does the model stop where the donor's list ends? Controls: the host without a patch, and a donor whose list is
as long as the host's, which should change nothing.

Background: recitation of all entries in Prato et al. 2024 (arXiv:2502.19573); the paper has no patching.
Letters: N lists, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation
from nosce.evals.patching.base import (
    PATCH_EXTENTS,
    DonorRule,
    Patch,
    PatchBatch,
    PatchBatching,
    PatchReader,
    capture_states,
    pair_donors,
    pair_readings,
    read_patched,
)
from nosce.evals.stopping import EntryBoundaries, ListTask
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _ListQuestion:
    """A question and its list as tokens after an end token; the span is the question."""

    question: Question
    tokens: np.ndarray
    span: tuple[int, int]
    boundaries: EntryBoundaries

    @property
    def entry_count(self) -> int:
        return len(self.boundaries.decision_positions)


@dataclass(frozen=True, kw_only=True)
class CountPatching(MultiCheckpointEvaluation):
    """Patches hidden states of the question on the last checkpoint: of its last token, or of all its tokens.

    Metrics, one row a pair: `<last or whole>/<donor or same>/<site>`, and `unpatched`. Is the donor's last entry the
    first one after which stopping is likelier than going on? The attribute is `<host's> to <donor's>` number.

    Attributes:
        list_task: The world's knowledge of its lists.
        max_pairs: Hosts at most, each with one donor of either kind.
        name: Name of the evaluation in the readings.
    """

    runs_once_per_layer: ClassVar[bool] = True
    list_task: ListTask
    max_pairs: int = 200
    name: str = "patched"

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """Earlier checkpoints are not read."""
        return "the last alone"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint. There are none if no host has a donor of either kind."""
        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, shorter, equal = self._pair_lists(corpus, seed)
        if hosts:
            yield from pair_readings(
                self.name,
                step,
                _stop_metrics(model, hosts, {"donor": shorter, "same": equal}, corpus.eos_id),
                items=[f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, shorter, strict=True)],
                entities=[h.question.entity for h in hosts],
                attributes=[f"{h.entry_count} to {d.entry_count}" for h, d in zip(hosts, shorter, strict=True)],
            )

    def _pair_lists(
        self, corpus: Corpus, seed: Seed
    ) -> tuple[list[_ListQuestion], list[_ListQuestion], list[_ListQuestion]]:
        """Hosts, a donor of each with fewer entries, and one with as many; their questions are equally long."""
        lists = self._lists(corpus)
        counts = [one.entry_count for one in lists]
        rules = [
            DonorRule(name="donor", accepts=lambda host, donor: counts[donor] < counts[host]),
            DonorRule(name="same", accepts=lambda host, donor: counts[donor] == counts[host]),
        ]
        pairs = pair_donors([one.span for one in lists], rules, seed / "pairs", max_pairs=self.max_pairs)
        hosts = [lists[index] for index in pairs.hosts]
        shorter_donors = [lists[index] for index in pairs.donors["donor"]]
        equal_donors = [lists[index] for index in pairs.donors["same"]]
        return hosts, shorter_donors, equal_donors

    def _lists(self, corpus: Corpus) -> list[_ListQuestion]:
        lists = []
        for question in corpus.questions_in("unseen"):
            if not self.list_task.entry_count(question):
                continue
            boundaries = EntryBoundaries.from_question(question, self.list_task, corpus)
            if boundaries is not None:
                prompt = corpus.tokenizer.encode(question.prompt, add_special_tokens=False).ids
                target = corpus.tokenizer.encode(question.target, add_special_tokens=False).ids
                tokens = np.array([corpus.eos_id, *prompt, *target])
                lists.append(_ListQuestion(question, tokens, (1, len(prompt) + 1), boundaries))
        return lists


def _stop_metrics(
    model: PreTrainedModel, hosts: list[_ListQuestion], donors: Mapping[str, list[_ListQuestion]], eos_id: int
) -> dict[str, np.ndarray]:
    """Metric -> does each host stop where the list of its shorter donor ends? Shape of each: (M,)."""
    from nosce.models.hooks import layer_sites

    batching, sites = PatchBatching(pad=eos_id), layer_sites(model)
    first_stop = _first_stop_reader(model, hosts, eos_id)
    states = {kind: capture_states(model, sources, sites, batching) for kind, sources in donors.items()}
    donor_counts = np.array([donor.entry_count for donor in donors["donor"]])
    metrics = {"unpatched": read_patched(model, hosts, first_stop, batching) == donor_counts}
    for extent in PATCH_EXTENTS:
        for site in sites:
            for kind, captured in states.items():
                patched = Patch(site, extent, captured.at(site, extent))
                stops = read_patched(model, hosts, first_stop, batching, patched)
                metrics[f"{extent}/{kind}/{site}"] = stops == donor_counts
    return metrics


def _first_stop_reader(model: PreTrainedModel, hosts: list[_ListQuestion], eos_id: int) -> PatchReader:
    """Reads after which entry stopping is first likelier than going on, 0 where after none."""

    def first_stop(batch: PatchBatch, hidden: torch.Tensor) -> np.ndarray:
        stops = []
        for row, index in enumerate(batch.indices):
            # A token is predicted one position earlier, and the end token stands before the question.
            question_length, boundaries = hosts[index].span[1] - 1, hosts[index].boundaries
            logits = model.get_output_embeddings()(hidden[row, question_length + boundaries.decision_positions])
            decisions = np.arange(len(boundaries.decision_positions))
            prefers_stop = logits[:, eos_id] > logits[decisions, boundaries.continue_tokens]
            entries = np.flatnonzero(prefers_stop.cpu().numpy())
            stops.append(int(entries[0]) + 1 if len(entries) else 0)
        return np.array(stops)

    return first_stop
