"""Activation patching: capture hidden states of donor examples, put them into host examples, and read the hosts.

An evaluation chooses the examples, pairs each host with a donor, and says what to read from the last hidden states.
Everything else is here and is the same for all of them: batching, capturing, patching, and the table of readings.

Letters: N examples, M pairs, B examples of a batch, T tokens, R patched positions, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import polars as pl

from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PatchExtent = Literal["last", "whole"]
PATCH_EXTENTS: tuple[PatchExtent, ...] = ("last", "whole")


class PatchExample(Protocol):
    """What the engine needs to know of an example. Each evaluation's own record has more."""

    @property
    def tokens(self) -> np.ndarray:
        """The example's tokens, after an end token. Shape: (T,)."""
        ...

    @property
    def span(self) -> tuple[int, int]:
        """First position, and last position + 1, of the states that are captured and patched."""
        ...


@dataclass(frozen=True, kw_only=True)
class PatchBatching:
    """How examples are put into batches. Rounding depends on the batch, so each evaluation states its own.

    Attributes:
        pad: Token that fills rows up on the right. None batches only examples of equal length together.
        size: Examples of one batch at most. None: no bound.
    """

    pad: int | None
    size: int | None = 500


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """Some of the examples, side by side.

    Attributes:
        indices: Indices of these examples among all. Shape: (B,).
        tokens: Shape: (B, T).
        spans: First position and last position + 1 of each span. Shape: (B, 2).
    """

    indices: np.ndarray
    tokens: np.ndarray
    spans: np.ndarray

    def positions(self, extent: PatchExtent) -> tuple[np.ndarray, np.ndarray]:
        """Rows and positions of the spans, or of their last tokens. Shapes: (R,), (R,)."""
        starts, counts = _starts_and_counts(self.spans, extent)
        return np.repeat(np.arange(len(counts)), counts), _concatenated_ranges(starts, counts)


@dataclass(frozen=True, eq=False)
class SpanStates:
    """Hidden states of the spans of N examples, concatenated.

    Attributes:
        by_site: Site -> states, each (R, W), float32.
        offsets: Example n has the rows from `offsets[n]` to `offsets[n + 1]`. Shape: (N + 1,).
    """

    by_site: dict[str, np.ndarray]
    offsets: np.ndarray

    def at(self, site: str, extent: PatchExtent, indices: np.ndarray | None = None) -> np.ndarray:
        """States of the spans of these examples, or of the spans' last tokens. Shape: (R, W).

        Args:
            indices: Which examples, in which order. None: all of them.
        """
        spans = np.stack([self.offsets[:-1], self.offsets[1:]], 1)
        starts, counts = _starts_and_counts(spans if indices is None else spans[indices], extent)
        states: np.ndarray = self.by_site[site][_concatenated_ranges(starts, counts)]
        return states


@dataclass(frozen=True, eq=False)
class Patch:
    """States that replace the hosts' own at one site.

    Attributes:
        site: Name of `nosce.models.hooks`.
        extent: Does each host have a state for every token of its span, or for the last one alone?
        states: The states of all hosts, host by host, of any float type; the model's type is used once they are put
            in. Shape: (R, W).
        adds: Add the states to the hosts' own instead.
    """

    site: str
    extent: PatchExtent
    states: np.ndarray
    adds: bool = False


PatchReader = Callable[[PatchBatch, "torch.Tensor"], np.ndarray]
"""Reads one value of each example of a batch from the last hidden states (B, T, W). Returns shape (B, ...)."""


def batch_examples(examples: Sequence[PatchExample], batching: PatchBatching) -> Iterator[PatchBatch]:
    """Every example once: in order if padded, else by length, in the order in which lengths first occur."""
    groups: dict[int, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(len(example.tokens) if batching.pad is None else 0, []).append(index)
    for group in groups.values():
        size = batching.size or len(group)
        for first in range(0, len(group), size):
            members = group[first : first + size]
            rows = [examples[index].tokens for index in members]
            tokens = np.full((len(rows), max(map(len, rows))), batching.pad or 0)
            for row, example_tokens in zip(tokens, rows, strict=True):
                row[: len(example_tokens)] = example_tokens
            yield PatchBatch(np.array(members), tokens, np.array([examples[index].span for index in members]))


def capture_states(
    model: PreTrainedModel, examples: Sequence[PatchExample], sites: Sequence[str], batching: PatchBatching
) -> SpanStates:
    """The hidden states of every example's span at every site."""
    import torch

    from nosce.models.hooks import capture

    offsets = _span_offsets(examples, "whole")
    by_site: dict[str, np.ndarray] = {}
    with torch.no_grad(), capture(model, sites) as captured:
        for batch in batch_examples(examples, batching):
            model.base_model(input_ids=torch.from_numpy(batch.tokens).to(model.device), use_cache=False)
            rows = _span_rows(offsets, batch.indices)
            for site in sites:
                states = captured[site][batch.positions("whole")].float().cpu().numpy()
                by_site.setdefault(site, np.zeros((offsets[-1], states.shape[-1]), np.float32))[rows] = states
    return SpanStates(by_site, offsets)


def read_patched(
    model: PreTrainedModel,
    examples: Sequence[PatchExample],
    read: PatchReader,
    batching: PatchBatching,
    patched: Patch | None = None,
) -> np.ndarray:
    """What is read of every example, of which there must be one at least. Shape: (N, ...).

    Args:
        patched: States that replace those of the examples. None reads the examples as they are.
    """
    import torch

    from nosce.models.hooks import patch

    extent: PatchExtent = patched.extent if patched else "last"
    offsets = _span_offsets(examples, extent)
    gathered: np.ndarray | None = None
    for batch in batch_examples(examples, batching):
        site, states = (patched.site, patched.states[_span_rows(offsets, batch.indices)]) if patched else (None, None)
        tokens = torch.from_numpy(batch.tokens).to(model.device)
        adds = patched is not None and patched.adds
        with torch.no_grad(), patch(model, site, batch.positions(extent), states, adds=adds):
            values = read(batch, model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
        if gathered is None:
            gathered = np.zeros((len(examples), *values.shape[1:]), values.dtype)
        gathered[batch.indices] = values
    assert gathered is not None, "there is no example to read"
    return gathered


@dataclass(frozen=True, kw_only=True)
class DonorRule:
    """Which examples of a host's group may be the host's donor.

    Attributes:
        name: Name of the rule.
        accepts: Takes the indices of a host and of another example of its group. May that example be the donor?
        required: Is a host without such a donor left out?
    """

    name: str
    accepts: Callable[[int, int], bool]
    required: bool = True


@dataclass(frozen=True, eq=False)
class HostDonorPairs:
    """Hosts and the donors drawn for them, as indices of examples.

    Attributes:
        hosts: Shape: (M,).
        donors: Rule -> donors, -1 where a host has none. Shape of each: (M,).
    """

    hosts: np.ndarray
    donors: Mapping[str, np.ndarray]


def pair_donors(
    groups: Sequence[Hashable], rules: Sequence[DonorRule], seed: Seed, *, max_pairs: int
) -> HostDonorPairs:
    """Draw hosts in random order, and for each host one donor a rule from the host's own group.

    Args:
        groups: The group of every example.
        rules: The rules in the order in which their donors are drawn.
        max_pairs: Hosts at most.
    """
    rng = seed.numpy()
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    hosts: list[int] = []
    donors: dict[str, list[int]] = {rule.name: [] for rule in rules}
    for host in rng.permutation(len(groups)).tolist():
        if len(hosts) >= max_pairs:
            break
        others = [index for index in members[groups[host]] if index != host]
        candidates = {rule.name: [other for other in others if rule.accepts(host, other)] for rule in rules}
        if all(candidates[rule.name] for rule in rules if rule.required):
            hosts.append(host)
            for name, choices in candidates.items():  # one draw a rule that has a candidate
                donors[name].append(choices[int(rng.integers(len(choices)))] if choices else -1)
    donor_arrays = {name: np.array(drawn, dtype=int) for name, drawn in donors.items()}
    return HostDonorPairs(np.array(hosts, dtype=int), donor_arrays)


def pair_readings(
    evaluation: str,
    step: int,
    values: Mapping[str, np.ndarray],
    *,
    items: list[str],
    entities: list[str],
    attributes: list[str],
) -> Iterator[pl.DataFrame]:
    """One table a metric, one row a pair. Pairs without a value (NaN) are left out.

    Args:
        values: Metric -> values, each (M,).
        items: Of every pair, as entities and attributes are.
    """
    pairs = pl.DataFrame({"item": items, "entity": entities, "attribute": attributes})
    for metric, value in values.items():
        yield pairs.with_columns(
            pl.Series("value", value.astype(np.float64)),
            evaluation=pl.lit(evaluation),
            split=pl.lit("unseen"),
            metric=pl.lit(metric),
            step=pl.lit(step, pl.Int64),
        ).filter(pl.col("value").is_not_nan())


def _starts_and_counts(spans: np.ndarray, extent: PatchExtent) -> tuple[np.ndarray, np.ndarray]:
    """First positions and lengths of spans (N, 2), or of their last tokens."""
    starts = spans[:, 1] - 1 if extent == "last" else spans[:, 0]
    return starts, spans[:, 1] - starts


def _span_offsets(examples: Sequence[PatchExample], extent: PatchExtent) -> np.ndarray:
    counts = [1 if extent == "last" else example.span[1] - example.span[0] for example in examples]
    return np.append(0, np.cumsum(counts, dtype=np.int64))


def _span_rows(offsets: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return _concatenated_ranges(offsets[indices], offsets[indices + 1] - offsets[indices])


def _concatenated_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Range after range: `counts[n]` integers from `starts[n]` on."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
