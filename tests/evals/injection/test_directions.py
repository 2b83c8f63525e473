"""Directions of concepts: one that is planted is found, and what has none is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.errors import DataError, SpecError
from nosce.evals.injection.directions import ConceptDirections, InjectionPlace
from nosce.evals.patching.base import SpanStates
from nosce.seeds import Seed

WIDTH, N_TEXTS = 16, 400


def planted(noise=0.1):
    """States of texts with none, one or both of two concepts, each a random direction; and the directions."""
    rng = Seed(0).numpy()
    truth = {name: rng.normal(size=WIDTH) for name in ("acorn", "basil")}
    concepts = [frozenset(name for name in truth if rng.random() < 0.5) for _ in range(N_TEXTS)]
    states = [2 + noise * rng.normal(size=WIDTH) + sum(truth[name] for name in one) for one in concepts]
    offsets = np.arange(N_TEXTS + 1)
    return SpanStates({"residual.1": np.array(states, dtype=np.float32)}, offsets), concepts, truth


def test_a_planted_direction_is_recovered():
    """It points where it was planted, has length 1, and an injection is as long as its strength says."""
    states, concepts, truth = planted()
    found = ConceptDirections.from_states(states, concepts)
    for name, direction in truth.items():
        unit = found.units["residual.1"][name]
        assert unit @ direction / np.linalg.norm(direction) > 0.99
        assert np.linalg.norm(unit) == pytest.approx(1)
    assert found.norms["residual.1"] == pytest.approx(np.linalg.norm(states.by_site["residual.1"], axis=1).mean())
    for strength in (0.5, 2):
        long = strength * found.norms["residual.1"]
        assert np.linalg.norm(found.vector("residual.1", "acorn", strength)) == pytest.approx(long, rel=1e-5)
        random = found.random_vector("residual.1", strength, Seed(1))
        assert np.linalg.norm(random) == pytest.approx(long, rel=1e-5)
    assert not found.vector("residual.1", "acorn", 0).any()


def test_a_random_direction_depends_on_its_seed_and_is_near_no_concept():
    """Equal seeds give equal bytes."""
    found = ConceptDirections.from_states(*planted()[:2])
    one, again, other = (found.random_vector("residual.1", 1, seed) for seed in (Seed(1), Seed(1), Seed(2)))
    assert one.tobytes() == again.tobytes() != other.tobytes()


def test_a_concept_of_every_text_or_without_a_trace_has_no_direction():
    """A difference of means needs texts without it, and states that differ."""
    states, concepts, _ = planted()
    with pytest.raises(DataError, match="every text has the concept"):
        ConceptDirections.from_states(states, [one | {"everywhere"} for one in concepts])
    same = SpanStates({"residual.0": np.ones((4, WIDTH), dtype=np.float32)}, np.arange(5))
    with pytest.raises(DataError, match="has no direction; take another place"):
        ConceptDirections.from_states(same, [frozenset(["a"]), frozenset(), frozenset(["a"]), frozenset()])


def test_a_place_below_the_model_is_refused():
    """A number of blocks is 0 or more."""
    assert InjectionPlace(layer=3).site == "residual.3"
    with pytest.raises(SpecError, match="take 0 or more"):
        InjectionPlace(layer=-1)
