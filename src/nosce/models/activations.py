"""Activations of named sites at chosen token positions, collected once and read from disk by every probe.

A folder holds `activations.json`, `places.parquet` and `<site>-<shard>.npy`. The arrays are plain float32 with one row
per position, and are memory-mapped. Letters: P positions, W width of the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from nosce.data.packing import TokenDataset
from nosce.data.sampling import length_sorted_batches
from nosce.errors import DataError
from nosce.models.hooks import capture
from nosce.models.likelihood import tokens_per_pass
from nosce.models.logits import eval_mode
from nosce.models.varlen import varlen_forward
from nosce.records import read_table
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
    """Run the model over each text once and write the activations at the positions, in the order of `positions`.

    Args:
        model: The model to run.
        dataset: The texts; each attends to itself alone, behind an opening end token.
        positions: One row per position, with the columns `text` (index of the text) and `token` (index within the
            text, from 0; -1 is the opening end token). Further columns, such as entities and labels, are kept.
        sites: Site names of `nosce.models.hooks`.
        folder: Output folder. Files of an interrupted collection are overwritten.
        eos_id: The token that opens each text.
        max_shard_bytes: Largest size of one file in bytes.

    Returns:
        The collection on disk. A row is the activation at the position whose input is the token.

    Raises:
        SpecError: The model has no such site.
        DataError: A position lies outside its text.
    """
    text, token = _checked_positions(dataset, positions)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ACTIVATIONS_INDEX).unlink(missing_ok=True)  # an index must not exist while arrays are incomplete
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
    """Select rows from states of shape (1, N, W), texts one behind another, or (texts, T, W), texts padded."""
    if states.shape[0] == 1:
        batch_index, token = np.zeros_like(batch_index), (np.cumsum(lengths) - lengths)[batch_index] + token
    indices = (torch.from_numpy(batch_index).to(states.device), torch.from_numpy(token).to(states.device))
    gathered: np.ndarray = states[indices].float().cpu().numpy()
    return gathered


def _checked_positions(dataset: TokenDataset, positions: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Text and token of each position as int64, once every position lies within its text."""
    if not len(positions):
        raise DataError("activations were asked for at no position at all; give a table of at least one row.")
    missing = positions.select(pl.any_horizontal(pl.col("text", "token").is_null())).to_series()
    text, token = (positions[name].fill_null(0).cast(pl.Int64).to_numpy() for name in ("text", "token"))
    out_of_range = missing.to_numpy() | (text < 0) | (text >= len(dataset))
    out_of_range |= (token < -1) | (token >= dataset.lengths[np.where(out_of_range, 0, text)])
    if out_of_range.any():
        first = int(np.flatnonzero(out_of_range)[0])
        described = f"token {positions['token'][first]} of text {positions['text'][first]}"
        raise DataError(
            f"position {first} is {described}, which does not exist; "
            f"there are {len(dataset)} texts, and tokens count from 0 (-1 is the opening end token)."
        )
    return text, token


class _ShardWriter:
    """Writes the files of one site, rows in any order."""

    def __init__(self, folder: Path, site: str, rows: int, max_bytes: int) -> None:
        self.folder, self.site, self.rows, self.max_bytes = folder, site, rows, max_bytes
        self.arrays: list[np.memmap] = []
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
        for array in self.arrays:
            array.flush()


@dataclass(frozen=True)
class Activations:
    """A collection of activations on disk.

    Args:
        folder: The folder that `collect_activations` wrote.
    """

    folder: Path

    @cached_property
    def positions(self) -> pl.DataFrame:
        """The table of positions that was given to `collect_activations`."""
        return read_table(self.folder / "places.parquet")

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The collected sites.

        Raises:
            DataError: The folder holds no complete collection.
        """
        return tuple(self._file_names)

    def load_site(self, site: str) -> np.ndarray:
        """The activations of a site, memory-mapped where one file holds them all. Shape: (P, W), float32.

        Raises:
            DataError: The site was not collected.
        """
        if site not in self.sites:
            raise DataError(f"site {site!r} was not collected in {self.folder}; take from {', '.join(self.sites)}.")
        # `open_memmap` refuses an array of pickled Python objects.
        parts = [np.lib.format.open_memmap(self.folder / name, mode="r") for name in self._file_names[site]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def _file_names(self) -> dict[str, list[str]]:
        """The file names of each site."""
        try:
            index = json.loads((self.folder / ACTIVATIONS_INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise DataError(f"{self.folder} holds no complete collection of activations; collect them again.") from None
        file_names: dict[str, list[str]] = index["sites"]
        return file_names
