"""The harness of the fuzzers tells a sentence from a traceback, a crash, a hang and a waste of memory."""

from __future__ import annotations

import os
import sys
import time

import pytest
from harness import count_outcomes, run_case, run_nosce

from nosce.errors import DataError, SpecError


def refused():
    raise SpecError("the study cannot be, so nothing is done.")


def too_few():
    raise DataError("the data are too few.")


def broken():
    raise KeyError("model_type")


def worker_broke():
    print("nosce: training-1 failed: it broke with KeyError", file=sys.stderr)
    return 1


def wordless():
    return 1


def crash():
    os.abort()


def forever():
    time.sleep(60)


def wasteful():
    return len(os.urandom(1) * 150_000_000) and 0


def greedy():
    return len(os.urandom(1) * 10_000_000_000)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda: 0, "ok", 0),
        (refused, "sentence", 2),
        (too_few, "sentence", 1),
        (broken, "traceback", 70),
        (worker_broke, "traceback", 1),
        (wordless, "traceback", 1),
        (crash, "traceback", -6),
        (forever, "hang", -9),
        (wasteful, "memory", 0),
        (greedy, "memory", 70),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_outcome_is_told_from_the_others(call, kind, code):
    """Each way to end is named, with its exit code; the test's own process goes on."""
    outcome = run_case(call, timeout=1.0 if call is forever else 20, memory=100_000_000)

    assert (outcome.kind, outcome.exit_code) == (kind, code), outcome


def test_a_command_is_run_as_the_command_line_does(tmp_path):
    """A study that does not exist is one sentence and exit code 2; what was printed is kept."""
    outcome = run_nosce("plan", "no_such_study", "--store", tmp_path / "store")
    version = run_nosce("--version")

    assert (outcome.kind, outcome.exit_code, len(outcome.sentences)) == ("sentence", 2, 1), outcome
    assert version.stdout.startswith("nosce ")
    assert count_outcomes({"a": outcome, "b": version}).startswith(
        "2 tried: 1 ok, 1 sentence, 0 traceback, 0 hang, 0 memory; longest"
    )
