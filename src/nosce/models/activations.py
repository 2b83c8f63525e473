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

from nosce.data.packing import Sequences
from nosce.data.sampling import by_length
from nosce.errors import DataError
from nosce.models.hooks import watched
from nosce.models.likelihood import evaluating, suited
from nosce.models.varlen import apart
from nosce.store.files import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHARD = 2**28  # bytes of one file at most
LEDGER = "activations.json"


@torch.no_grad()
def collect(
    model: PreTrainedModel,
    sequences: Sequences,
    places: pl.DataFrame,
    sites: Sequence[str],
    folder: Path,
    *,
    end: int,
    shard: int = SHARD,
) -> Activations:
    """Run every text once and write what stands at the places, in the order of `places`.

    Args:
        sequences: The texts; each is read alone, behind an end token.
        places: One row a place: `text` (number) and `token` (place within the text, counted from 0; -1 is
            the opening end token). What else is there is kept: who it is about, labels.
        sites: Names of `nosce.models.hooks`.
        folder: Is made; what lay there of an interrupted collection is written over.

    Returns:
        What was written. The activation "at a token" is that of the position which has just read it.

    Raises:
        SpecError: The model has no such site.
        DataError: A place lies outside its text.
    """
    text, token = _within(sequences, places)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LEDGER).unlink(missing_ok=True)  # no ledger may vouch for arrays that are being written
    files = {site: _Shards(folder, site, len(places), shard) for site in sites}
    order = np.argsort(text, kind="stable")
    starts = np.searchsorted(text[order], np.arange(len(sequences) + 1))
    with evaluating(model), apart(model) as forward, watched(model, sites) as seen:
        for texts in by_length(np.unique(text).tolist(), sequences.lengths, suited(model)):
            whole = [np.concatenate([[end], sequences.text(t)]).astype(np.int64) for t in texts]
            lengths = np.array([len(tokens) for tokens in whole])
            forward(np.concatenate(whole), lengths, None)
            of_text = [order[starts[t] : starts[t + 1]] for t in texts]
            rows = np.concatenate(of_text)
            number = np.repeat(np.arange(len(texts)), [len(mine) for mine in of_text])
            for site, file in files.items():
                file.write(rows, _at(seen[site], number, token[rows] + 1, lengths))
    for file in files.values():
        file.close()
    places.write_parquet(folder / "places.parquet")
    ledger = {"sites": {site: file.names for site, file in files.items()}, "places": len(places)}
    write_atomically(folder / LEDGER, json.dumps(ledger, indent=2) + "\n")
    return Activations(folder)


def _at(states: torch.Tensor, number: np.ndarray, token: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of (1, N, W) where texts stand one behind the other, or of (texts, T, W) where they were padded."""
    if states.shape[0] == 1:
        number, token = np.zeros_like(number), (np.cumsum(lengths) - lengths)[number] + token
    where = (torch.from_numpy(number).to(states.device), torch.from_numpy(token).to(states.device))
    found: np.ndarray = states[where].float().cpu().numpy()
    return found


def _within(sequences: Sequences, places: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Text and token of every place as wide integers, once all of them are there."""
    if not len(places):
        raise DataError("activations were asked for at no place at all; give a table of at least one row.")
    missing = places.select(pl.any_horizontal(pl.col("text", "token").is_null())).to_series()
    text, token = (places[name].fill_null(0).cast(pl.Int64).to_numpy() for name in ("text", "token"))
    wrong = missing.to_numpy() | (text < 0) | (text >= len(sequences))
    wrong |= (token < -1) | (token >= sequences.lengths[np.where(wrong, 0, text)])
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        named = f"token {places['token'][first]} of text {places['text'][first]}"
        raise DataError(
            f"place {first} is {named}, which is not there; "
            f"there are {len(sequences)} texts, and tokens count from 0 (-1 is the opening end token)."
        )
    return text, token


class _Shards:
    """The files of one site while they are written, rows in any order."""

    def __init__(self, folder: Path, site: str, rows: int, most: int) -> None:
        self.folder, self.site, self.rows, self.most = folder, site, rows, most
        self.maps: list[np.ndarray] = []
        self.names: list[str] = []

    def write(self, rows: np.ndarray, states: np.ndarray) -> None:
        if not self.maps:
            self._open(states.shape[1])
        for number, part in enumerate(self.maps):
            mine = rows // self.each == number
            part[rows[mine] - number * self.each] = states[mine]

    def _open(self, width: int) -> None:
        self.each = max(1, self.most // (4 * width))
        for number, first in enumerate(range(0, self.rows, self.each)):
            self.names.append(f"{self.site}-{number:03d}.npy")
            shape = (min(self.each, self.rows - first), width)
            file = self.folder / self.names[-1]
            self.maps.append(np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape))

    def close(self) -> None:
        for part in self.maps:
            part.flush()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Activations:
    """What `collect` left in a folder."""

    folder: Path

    @cached_property
    def places(self) -> pl.DataFrame:
        """One row a place, as they were asked for."""
        return pl.read_parquet(self.folder / "places.parquet")

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The sites that were read.

        Raises:
            DataError: The folder holds no whole collection.
        """
        return tuple(self._ledger["sites"])

    def at(self, site: str) -> np.ndarray:
        """The activations of a site, mapped from disk where one file holds them. Shape: (P, W), float32.

        Raises:
            DataError: The site was not collected.
        """
        if site not in self.sites:
            raise DataError(f"site {site!r} was not collected in {self.folder}; take from {', '.join(self.sites)}.")
        # `open_memmap` reads plain arrays and nothing else: an array of Python objects is refused.
        parts = [np.lib.format.open_memmap(self.folder / name, mode="r") for name in self._ledger["sites"][site]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def _ledger(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / LEDGER).read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError):
            raise DataError(f"{self.folder} holds no whole collection of activations; collect them again.") from None
