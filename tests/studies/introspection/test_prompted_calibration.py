"""Probabilities of labels: what a process computes, any other computes to the last digit."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.studies.introspection.prompted_calibration import distribution_rows
prompt = BehaviourPrompt("p", "towns", "p", "p", "unseen", ("first word",))
for n in range(40):
    answers = {f"label {k}": (k + n) / 1e3 + 0.1**k for k in range(9)}
    reports = {f"label {k}": (n + 0.7) / 1e3 / k for k in range(3, 12)}
    print(distribution_rows("e", prompt, "first word", "drawn", answers, reports)[-1]["value"])
"""


def test_a_brier_score_does_not_hang_on_the_order_of_a_set():
    """Strings have other hashes in every process, so that a sum over a set of them had other last digits."""
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1
    assert len(set(next(iter(found)).split())) > 30
