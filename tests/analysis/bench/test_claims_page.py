"""The page of claims on planted readings: rows of some claims are made anew, and nothing else of it changes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from nosce.analysis.bench.claim_bench import bench_claims
from nosce.pipeline.study_loading import load_study

ROOT = Path(__file__).parents[3]


@pytest.fixture
def benchmark(monkeypatch):
    spec = importlib.util.spec_from_file_location("claims_benchmark", ROOT / "benchmarks" / "claims.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_rows_of_some_claims_are_replaced_and_counted(benchmark):
    """The claim's two rows alone; a claim that the page did not have stands at the end of its study's tables."""
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    study = load_study("karel", "laptop")
    (claim,) = (one for one in study.claims if one.id == "selective")
    benched = {"karel": list(bench_claims("karel", [claim], study.unit, draws=2, further_draws=1))}
    found = benchmark.with_new_rows(page, benched)
    old, new = page.splitlines(), found.splitlines()
    assert len(old) == len(new)
    changed = [line for before, line in zip(old, new, strict=True) if before != line]
    assert len(changed) >= 2
    assert all(line.startswith("| selective |") or "claims can fail" in line for line in changed)
    assert benchmark.with_new_rows(found, benched) == found

    gone = "\n".join(line for line in old if not line.startswith("| selective |")) + "\n"
    again = benchmark.with_new_rows(gone, benched)
    assert sorted(again.splitlines()) == sorted(new)
    section = again.split("\n## karel\n")[1].split("\n## ")[0].splitlines()
    (count,) = (line for line in section if line.endswith("can fail."))
    rows = [line for line in section if line.startswith("| ") and "---" not in line]
    assert count.endswith(f" of {len(rows) - 1} claims can fail.")
