"""Activations of named sites at named places, collected once and read from disk by every probe.

A folder holds `activations.json`, `places.parquet` and `<site>-<shard>.npy`: plain arrays of float32, one row
a place, mapped into memory and not read until a row is asked for. Letters: P places, W width of the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from nosce.data.packing import TokenDataset
from nosce.data.sampling import length_sorted_batches
from nosce.errors import DataError
from nosce.models.hooks import capture
from nosce.models.likelihood import eval_mode, tokens_per_pass
from nosce.models.varlen import varlen_forward
from nosce.store.files import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_SHARD_BYTES = 2**28  # bytes of one file at most
ACTIVATIONS_INDEX = "activations.json"


@torch.no_grad()
def collect_activations(
    model: PreTrainedModel,
    dataset: TokenDataset,
    positions: pl.DataFrame,
    sites: Sequence[str],
    folder: Path,
    *,
    eos_id: int,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Activations:
    """Run every text once and write what stands at the places, in the order of `positions`.

    Args:
        dataset: The texts; each is read alone, behind an end token.
        positions: One row a place: `text` (number) and `token` (place within the text, counted from 0; -1 is
            the opening end token). What else is there is kept: who it is about, labels.
        sites: Names of `nosce.models.hooks`.
        folder: Is made; what lay there of an interrupted collection is written over.

    Returns:
        What was written. The activation "at a token" is that of the position which has just read it.

    Raises:
        SpecError: The model has no such site.
        DataError: A place lies outside its text.
    """
    text, token = _checked_positions(dataset, positions)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ACTIVATIONS_INDEX).unlink(missing_ok=True)  # no ledger may vouch for arrays that are being written
    writers = {site: _ShardWriter(folder, site, len(positions), max_shard_bytes) for site in sites}
    order = np.argsort(text, kind="stable")
    starts = np.searchsorted(text[order], np.arange(len(dataset) + 1))
    with eval_mode(model), varlen_forward(model) as forward, capture(model, sites) as captured:
        for texts in length_sorted_batches(np.unique(text).tolist(), dataset.lengths, tokens_per_pass(model)):
            token_ids = [np.concatenate([[eos_id], dataset.text_tokens(t)]).astype(np.int64) for t in texts]
            lengths = np.array([len(tokens) for tokens in token_ids])
            forward(np.concatenate(token_ids), lengths, None)
            rows_by_text = [order[starts[t] : starts[t + 1]] for t in texts]
            rows = np.concatenate(rows_by_text)
            batch_index = np.repeat(np.arange(len(texts)), [len(mine) for mine in rows_by_text])
            for site, file in writers.items():
                file.write(rows, _gather_states(captured[site], batch_index, token[rows] + 1, lengths))
    for file in writers.values():
        file.close()
    positions.write_parquet(folder / "places.parquet")
    index = {"sites": {site: file.file_names for site, file in writers.items()}, "places": len(positions)}
    write_atomically(folder / ACTIVATIONS_INDEX, json.dumps(index, indent=2) + "\n")
    return Activations(folder)


def _gather_states(states: torch.Tensor, batch_index: np.ndarray, token: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of (1, N, W) where texts stand one behind the other, or of (texts, T, W) where they were padded."""
    if states.shape[0] == 1:
        batch_index, token = np.zeros_like(batch_index), (np.cumsum(lengths) - lengths)[batch_index] + token
    indices = (torch.from_numpy(batch_index).to(states.device), torch.from_numpy(token).to(states.device))
    gathered: np.ndarray = states[indices].float().cpu().numpy()
    return gathered


def _checked_positions(dataset: TokenDataset, positions: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Text and token of every place as wide integers, once all of them are there."""
    if not len(positions):
        raise DataError("activations were asked for at no place at all; give a table of at least one row.")
    missing = positions.select(pl.any_horizontal(pl.col("text", "token").is_null())).to_series()
    text, token = (positions[name].fill_null(0).cast(pl.Int64).to_numpy() for name in ("text", "token"))
    out_of_range = missing.to_numpy() | (text < 0) | (text >= len(dataset))
    out_of_range |= (token < -1) | (token >= dataset.lengths[np.where(out_of_range, 0, text)])
    if out_of_range.any():
        first = int(np.flatnonzero(out_of_range)[0])
        described = f"token {positions['token'][first]} of text {positions['text'][first]}"
        raise DataError(
            f"place {first} is {described}, which is not there; "
            f"there are {len(dataset)} texts, and tokens count from 0 (-1 is the opening end token)."
        )
    return text, token


class _ShardWriter:
    """The files of one site while they are written, rows in any order."""

    def __init__(self, folder: Path, site: str, rows: int, max_bytes: int) -> None:
        self.folder, self.site, self.rows, self.max_bytes = folder, site, rows, max_bytes
        self.arrays: list[np.ndarray] = []
        self.file_names: list[str] = []

    def write(self, rows: np.ndarray, states: np.ndarray) -> None:
        if not self.arrays:
            self._open(states.shape[1])
        for shard_index, array in enumerate(self.arrays):
            in_shard = rows // self.rows_per_shard == shard_index
            array[rows[in_shard] - shard_index * self.rows_per_shard] = states[in_shard]

    def _open(self, width: int) -> None:
        self.rows_per_shard = max(1, self.max_bytes // (4 * width))
        for shard_index, first in enumerate(range(0, self.rows, self.rows_per_shard)):
            self.file_names.append(f"{self.site}-{shard_index:03d}.npy")
            shape = (min(self.rows_per_shard, self.rows - first), width)
            file = self.folder / self.file_names[-1]
            self.arrays.append(np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape))

    def close(self) -> None:
        for part in self.arrays:
            part.flush()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Activations:
    """What `collect_activations` left in a folder."""

    folder: Path

    @cached_property
    def positions(self) -> pl.DataFrame:
        """One row a place, as they were asked for."""
        return pl.read_parquet(self.folder / "places.parquet")

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The sites that were read.

        Raises:
            DataError: The folder holds no whole collection.
        """
        return tuple(self._index["sites"])

    def load_site(self, site: str) -> np.ndarray:
        """The activations of a site, mapped from disk where one file holds them. Shape: (P, W), float32.

        Raises:
            DataError: The site was not collected.
        """
        if site not in self.sites:
            raise DataError(f"site {site!r} was not collected in {self.folder}; take from {', '.join(self.sites)}.")
        # `open_memmap` reads plain arrays and nothing else: an array of Python objects is refused.
        parts = [np.lib.format.open_memmap(self.folder / name, mode="r") for name in self._index["sites"][site]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def _index(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / ACTIVATIONS_INDEX).read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError):
            raise DataError(f"{self.folder} holds no whole collection of activations; collect them again.") from None
