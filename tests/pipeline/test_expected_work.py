"""Steps start with the most work behind them first: a simulated pool ends earlier than in the plan's order."""

from __future__ import annotations

import heapq

import pytest

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.pipeline import expected_work
from nosce.pipeline.expected_work import longest_first, remaining_work
from nosce.pipeline.local_pool import StepEvent
from nosce.pipeline.plan import Plan, build_plan
from nosce.pipeline.scheduler import run_plan
from nosce.pipeline.step import Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.study_loading import builtin_studies, load_study
from nosce.seeds import Seed
from nosce.store.store import Store


class Clock:
    """A pool of simulated workers: each step takes its seconds, and time passes when nobody is free."""

    def __init__(self, seconds, size):
        self.seconds, self.size, self.now, self.busy, self.started = seconds, size, 0.0, [], []

    @property
    def free_slots(self):
        return self.size - len(self.busy)

    def submit(self, step, *, rerun_stale):
        self.started.append(step.label)
        heapq.heappush(self.busy, (self.now + self.seconds[step.name], step.name))

    def events(self, timeout):
        self.now, name = heapq.heappop(self.busy)
        yield StepEvent("made", name)

    def close(self):
        pass


class Silent:
    """A listener that does not listen."""

    def on_start(self, step):
        pass

    def on_event(self, step, event):
        pass

    def on_message(self, message):
        pass


def step(name, *inputs):
    spec = CorpusSpec(world=Biographies(people=len(name)), seed=Seed(0) / name, tokenizer=TokenizerSpec())
    return Step(kind="corpus", label=name, spec=spec, inputs={s.label: s for s in inputs})


def simulated(plan, seconds, folder, monkeypatch, *, order):
    """Seconds until the last step, in the plan's order or in that of a run."""
    if order == "plan":
        monkeypatch.setattr("nosce.pipeline.scheduler.longest_first", lambda steps, _: list(steps))
    pool = Clock(seconds, 2)
    run_plan(plan, Store(folder), pool, Silent())
    monkeypatch.undo()
    return pool.now, pool.started


def test_the_long_chain_starts_first(tmp_path, monkeypatch):
    """Many short steps and one long chain at the end of the plan: 9 seconds instead of 13 on two workers."""
    short = [step(f"short {n}") for n in range(8)]
    first = step("first")
    second = step("second", first)
    plan = Plan(study=None, upstream_steps=(*short, first, second), estimates=step("last", *short, second))
    work = dict.fromkeys((s.label for s in short), 1.0) | {"first": 4.0, "second": 5.0, "last": 0.0}
    monkeypatch.setattr(expected_work, "expected_work", lambda s: work[s.label])
    remaining = remaining_work(plan.all_steps)
    assert (remaining[first.name], remaining[second.name], remaining[short[0].name]) == (9.0, 5.0, 1.0)
    assert [s.label for s in longest_first(plan.all_steps, remaining)][:3] == ["first", "second", "short 0"]
    # What is done already is not waited for.
    assert remaining_work([second])[second.name] == 5.0
    seconds = {s.name: work[s.label] for s in plan.all_steps}
    monkeypatch.undo()
    monkeypatch.setattr(expected_work, "expected_work", lambda s: work[s.label])
    ours, started = simulated(plan, seconds, tmp_path / "a", monkeypatch, order="ours")
    monkeypatch.setattr(expected_work, "expected_work", lambda s: work[s.label])
    theirs, _ = simulated(plan, seconds, tmp_path / "b", monkeypatch, order="plan")
    assert started[0] == "first"
    assert started.index("second") == 5
    assert (ours, theirs) == (9.0, 13.0)


@pytest.mark.parametrize("name", [name for name in builtin_studies() if name != "little"])
def test_no_study_takes_longer_than_in_the_order_of_its_plan(name, tmp_path, monkeypatch):
    """With times that are the guesses, disturbed by up to a half, two workers end no later, and within one tenth of
    what no order can beat: half of all work, or the longest chain."""
    plan = build_plan(load_study(name, "laptop"))
    rng = Seed(0).numpy()
    seconds = {s.name: expected_work.expected_work(s) * rng.uniform(0.5, 1.5) for s in plan.all_steps}
    seconds[plan.estimates.name] = 0.0
    ours, _ = simulated(plan, seconds, tmp_path / "a", monkeypatch, order="ours")
    theirs, _ = simulated(plan, seconds, tmp_path / "b", monkeypatch, order="plan")
    chains: dict[str, float] = {}
    for s in plan.all_steps:
        chains[s.name] = seconds[s.name] + max((chains[given.name] for given in s.inputs.values()), default=0.0)
    least = max(sum(seconds.values()) / 2, *chains.values())
    assert ours <= theirs * 1.001
    assert ours <= least * 1.1
