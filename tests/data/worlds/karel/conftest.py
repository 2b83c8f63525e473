"""What the tests of Karel share."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from nosce.data.worlds.karel import Karel
from nosce.seeds import Seed

TRACES = Path(__file__).parents[3] / "fixtures" / "karel_traces.jsonl.gz"


@pytest.fixture(scope="session")
def golden() -> list[dict[str, Any]]:
    """Traces of the official interpreter."""
    with gzip.open(TRACES, "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def micro() -> Karel:
    """A small world with the numbers of laptop scale."""
    return Karel(
        board_shape=(3, 3),
        n_examples=2,
        n_heldout_examples=3,
        records=300,
        lengths=(2, 6),
        asked_lengths=(1, 6),
        seen_questions=60,
        unseen_questions=30,
    )


@pytest.fixture(scope="session")
def place() -> Seed:
    """Where these tests draw from."""
    return Seed(31)
