"""Online codes: planted labels are cheap, and noise costs what its frequency says."""

from __future__ import annotations

import numpy as np

from nosce.evals.probing.mdl import online_code_lengths
from nosce.evals.probing.probe import UNKNOWN_LABEL, ProbeConfig
from nosce.seeds import Seed


def test_planted_labels_cost_few_bits_and_noise_costs_what_its_frequency_says():
    """Two bits a label of four classes; they nearly vanish where the states hold it."""
    rng = np.random.default_rng(12)
    people, labels = np.array([f"p{n}" for n in range(1_200)]), rng.integers(4, size=1_200)
    noise = rng.normal(size=(1_200, 12)).astype(np.float32)
    planted = noise.copy()
    planted[:, :4] += 8 * np.eye(4, dtype=np.float32)[labels]
    config = ProbeConfig(max_epochs=20)
    for states, least, most in ((planted, 1.5, 2.1), (noise, -0.5, 0.05)):
        bits, prior = online_code_lengths(states, {"label": labels}, people, config, Seed(2))["label"]
        told = np.isfinite(bits)
        assert 0.9 < told.mean() < 0.95  # all but the first sixteenth
        assert np.array_equal(told, np.isfinite(prior))
        assert abs(prior[told].mean() - 2) < 0.05
        assert least < (prior - bits)[told].mean() < most


def test_labels_that_are_not_there_cost_nothing_and_say_nothing():
    """UNKNOWN places have no bits, and a task with one class in its first portion is left out."""
    rng = np.random.default_rng(13)
    people, labels = np.array([f"p{n}" for n in range(400)]), rng.integers(3, size=400)
    labels[::4] = UNKNOWN_LABEL
    tasks = {"some": labels, "alike": np.zeros(400, dtype=np.int64)}
    found = online_code_lengths(
        rng.normal(size=(400, 6)).astype(np.float32), tasks, people, ProbeConfig(max_epochs=3), Seed(2)
    )
    assert set(found) == {"some"}
    assert np.isnan(found["some"][0][::4]).all()
