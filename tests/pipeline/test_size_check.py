"""A plan that cannot fit the machine is refused with its price, and one that might fit never is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nosce.errors import SpecError
from nosce.models.architecture import Architecture
from nosce.pipeline.plan import build_plan
from nosce.pipeline.size_check import MachineLimits, check_size
from nosce.pipeline.study_loading import load_study
from nosce.store.store import Store
from nosce.studies import BUILT_IN

FILE = Path(__file__).parents[1] / "fixtures" / "little_studies.py"
STUDY = load_study(f"{FILE}:one_arm", "smoke")
TRAINING = STUDY.arms[0].training


@dataclass(frozen=True)
class Crowd(type(STUDY.arms[0].world)):
    """A world that says how many people it has, and need not have their names."""

    size: int = 10**12

    @property
    def n_entities(self) -> int:
        """So many."""
        return self.size


def steps_with(**changes):
    return build_plan(replace(STUDY, arms=(replace(STUDY.arms[0], **changes),))).all_steps


CROWD = Crowd(**{name: getattr(STUDY.arms[0].world, name) for name in ("people", "name_pool_sizes", "years", "cities")})
WIDE = Architecture(layers=2, width=10**7, heads=1)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store.open(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": WIDE}, "28,800,000.0 GB of memory for 2.4e\\+15 weights"),
        ({"model": replace(WIDE, layers=10**6, width=64)}, "1,000,000 layers"),
        ({"training": replace(TRAINING, steps=10**12)}, "years for 1,000,000,000,000 steps"),
        ({"training": replace(TRAINING, batch_size=10**13)}, "of memory for a micro-batch"),
        ({"world": CROWD}, "8,000.0 GB of memory for 1,000,000,000,000 entities"),
        ({"world": replace(CROWD, size=10**9)}, "GB of disk"),
    ],
)
def test_what_cannot_fit_is_refused_with_its_price(store, monkeypatch, changes, told):
    """At once, with how large it is, what there is, and the word that turns the check off."""
    monkeypatch.setattr(MachineLimits, "of", lambda _: MachineLimits(memory_bytes=32e9, disk_bytes=40e9))
    started = time.monotonic()
    with pytest.raises(SpecError, match=told) as refused:
        check_size(steps_with(**changes), store)
    assert "NOSCE_ANY_SIZE=1" in str(refused.value)
    monkeypatch.setenv("NOSCE_ANY_SIZE", "1")
    check_size(steps_with(**changes), store)
    assert time.monotonic() - started < 5


def test_with_other_machines_the_memory_of_this_one_does_not_decide(store, monkeypatch):
    """Their disk is the store's, so that the disk still does."""
    monkeypatch.setattr(MachineLimits, "of", lambda _: MachineLimits(memory_bytes=1e3, disk_bytes=40e9))
    with pytest.raises(SpecError, match="of memory"):
        check_size(steps_with(), store)
    check_size(steps_with(), store, made_here=False)
    with pytest.raises(SpecError, match="GB of disk"):
        check_size(steps_with(world=replace(CROWD, size=10**9)), store, made_here=False)


def test_many_checkpoints_are_added_up(store, monkeypatch):
    """Four bytes a weight of each: what one training may keep, a hundred may not."""
    many = replace(TRAINING, steps=1_000, checkpoint_fractions=tuple(n / 1_000 for n in range(1_001)))
    bytes_of_all = 4 * 12 * 2 * 64**2 * 1_001
    monkeypatch.setattr(MachineLimits, "of", lambda _: MachineLimits(32e9, bytes_of_all))
    with pytest.raises(SpecError, match="of disk"):
        check_size(steps_with(training=many), store)
    check_size(steps_with(), store)


def test_a_plan_that_is_only_priced_needs_the_memory_of_two_layers(store, monkeypatch):
    """A model too deep for the machine can be priced; one too wide cannot."""
    monkeypatch.setattr(MachineLimits, "of", lambda _: MachineLimits(1e9, 0))
    deep = steps_with(model=Architecture(layers=1_000, width=512, heads=8))
    check_size(deep, store, timed_layers=2)
    with pytest.raises(SpecError, match="of memory"):
        check_size(deep, store)
    with pytest.raises(SpecError, match="of memory"):
        check_size(steps_with(model=WIDE), store, timed_layers=2)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_the_studies_of_nosce_fit_an_ordinary_machine(store, monkeypatch, name):
    """At scale laptop 8 GB of memory and 20 GB of disk pass the check."""
    monkeypatch.setattr(MachineLimits, "of", lambda _: MachineLimits(8e9, 20e9))
    check_size(build_plan(load_study(name, "laptop")).all_steps, store)
