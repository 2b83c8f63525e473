"""Hidden states that one evaluation needs for a moment, collected in a folder that is deleted afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.models.activations import Activations


@contextmanager
def temporary_activations(
    model: PreTrainedModel,
    token_sequences: Iterable[np.ndarray],
    positions: pl.DataFrame,
    sites: Sequence[str],
    *,
    eos_id: int,
) -> Iterator[Activations]:
    """Collect hidden states, and delete them when the block ends.

    Args:
        token_sequences: The texts as tokens, without an end token.
        positions: Columns `text` and `token`, as for `nosce.models.activations.collect_activations`.
        sites: Names of `nosce.models.hooks`.
    """
    from nosce.data.packing import dataset_from_arrays
    from nosce.models.activations import collect_activations

    dataset = dataset_from_arrays((tokens, np.ones(len(tokens), dtype=bool)) for tokens in token_sequences)
    with tempfile.TemporaryDirectory() as folder:
        yield collect_activations(model, dataset, positions, sites, Path(folder), eos_id=eos_id)
