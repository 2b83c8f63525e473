"""A model whose answers never have the form that was asked for: the run ends, says so, and judges no claim."""

import json

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder


@pytest.mark.whole
def test_a_model_that_gives_no_answer_ends_with_its_validity_and_no_verdict(nosce, tmp_path):
    """An untrained llama behind a chat template writes signs alone, so that no answer has a label to teach."""
    folder = tiny_folder("llama", tmp_path / "llama")
    words = ("run", "introspection", "--model", folder, "--scale", "smoke", "--workers", "1", "--store", tmp_path / "s")
    small = ("--set", "n_samples=0", "--set", "tasks=towns,things,haste", "--set", "dtype=float32")
    done = nosce.here(*words, *small, "--json")
    assert done.returncode == 0, done.stderr
    claims = json.loads(done.stdout)["claims"]
    assert claims
    assert {claim["verdict"] for claim in claims} == {"undecided"}
    (table,) = (tmp_path / "s").glob("steps/estimates-*/readings.parquet")
    readings = pl.read_parquet(table)
    valid = readings.filter(pl.col("metric") == "valid")["value"]
    assert len(valid) > 20
    assert valid.sum() == 0
