"""What a step has taken, over all attempts at it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nosce.pipeline import step_clock
from nosce.pipeline.step_clock import StepClock


def test_a_resumed_step_has_taken_what_its_attempts_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second goes on from what the first wrote down last; what it lost since is not made up."""
    now = [100.0]
    monkeypatch.setattr(step_clock.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(step_clock.time, "process_time", lambda: now[0] / 2)
    first = StepClock(tmp_path / "x.spent")
    for at in (101.0, 130.0, 132.0):
        now[0] = at
        first.keep()
    second = StepClock(tmp_path / "x.spent")
    assert second.with_earlier({"seconds": 10.0, "cpu_seconds": 5.0}) == {"seconds": 40.0, "cpu_seconds": 20.0}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seconds": "x", "cpu_seconds": 1}'])
def test_what_is_not_whole_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.spent").write_text(text)
    clock = StepClock(tmp_path / "x.spent")
    assert clock.with_earlier({"seconds": time.perf_counter() * 0 + 1.5, "cpu_seconds": 1.0})["seconds"] == 1.5
