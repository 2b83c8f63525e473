"""The scheduler: inputs first, failures stop only what hangs on them, damage is made good, leases are waited for."""

import importlib
import json
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
from filelock import FileLock

from nosce.errors import DamagedError, DataError
from nosce.pipeline import scheduler as executing
from nosce.pipeline.context import StepProgress
from nosce.pipeline.local_pool import StepEvent, attempt_step
from nosce.pipeline.plan import Plan
from nosce.pipeline.scheduler import pending_steps, run_plan
from nosce.pipeline.step import Step
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig

TOY = '''
"""A kind of step that writes its own name and what its inputs say."""
from dataclasses import dataclass

@dataclass(frozen=True)
class Toy:
    name: str
    text: str = ""
'''


class Ended(Exception):
    """A scheduler that goes round in circles was stopped."""


class Pool:
    """Makes steps in this very process, one an event, as the workers would; notes what it was asked for."""

    def __init__(self, store, size=2):
        self.store, self.size, self.queue, self.asked, self.closed = store, size, [], [], False

    @property
    def free_slots(self):
        return self.size - len(self.queue)

    def submit(self, step, *, rerun_stale):
        if len(self.asked) > 60:
            raise Ended
        self.asked.append(step.label)
        self.queue.append((step, rerun_stale))

    def events(self, timeout):
        if self.queue:
            step, rerun_stale = self.queue.pop(0)
            heard = []
            ended = attempt_step(step, self.store, RuntimeConfig(), rerun_stale, heard.append)
            yield from (*heard, ended)

    def close(self):
        self.closed = True


class Watcher:
    """Keeps what it is told."""

    def __init__(self, react=lambda sentence: None):
        self.sentences, self.events, self.react = [], [], react

    def on_start(self, step):
        self.events.append(("started", step.label))

    def on_event(self, step, event):
        self.events.append((event.kind, step.label))

    def on_message(self, sentence):
        self.sentences.append(sentence)
        self.react(sentence)


@dataclass
class Bench:
    """A store, a kind of toy steps, and a graph of them: a -> b -> d -> last, and a -> c -> last."""

    store: Store
    kind: ModuleType  # its `faults` maps the name of a step to what its function raises
    toys: ModuleType

    def step(self, name, *inputs, text=""):
        return Step(kind="toy", label=name, spec=self.toys.Toy(name, text), inputs={s.label: s for s in inputs})

    def plan(self, **texts):
        a = self.step("a", text=texts.get("a", ""))
        b, c = self.step("b", a), self.step("c", a)
        d = self.step("d", b)
        return Plan(study=None, upstream_steps=(a, b, c, d), estimates=self.step("last", c, d))

    def run(self, plan, *, rerun_stale=False, watcher=None, pool=None):
        self.pool, self.watcher = pool or Pool(self.store), watcher or Watcher()
        return run_plan(plan, self.store, self.pool, self.watcher, rerun_stale=rerun_stale)

    def content(self, step):
        return (self.store.folder(step.name) / "said.txt").read_text(encoding="utf-8")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Toy steps whose spec lives in a file of the user's, so that its code can change."""
    (tmp_path / "toys.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(executing, "LEASE_RETRY_SECONDS", 0.0)
    monkeypatch.delitem(sys.modules, "toys", raising=False)
    toys = importlib.import_module("toys")
    kind = ModuleType("nosce.pipeline.steps.toy")
    kind.VERSION, kind.faults, kind.made = 1, {}, []

    def make(spec, inputs, context):
        if (fault := kind.faults.get(spec.name)) is not None:
            raise fault
        kind.made.append(spec.name)
        said = [(folder / "said.txt").read_text(encoding="utf-8") for folder in inputs.values()]
        context.progress(StepProgress(done=1, total=1, unit="toys"))
        (context.folder / "said.txt").write_text(
            f"{spec.name}{spec.text}({', '.join(said)}){job_number(kind, spec.name)}"
        )

    kind.make, kind.numbered = make, False
    monkeypatch.setitem(sys.modules, "nosce.pipeline.steps.toy", kind)
    yield Bench(Store.open(tmp_path / "store"), kind, toys)
    sys.modules.pop("toys", None)


def job_number(kind, name):
    """Where a kind is `numbered`, the how-manieth time the step is made: bytes that change when made again."""
    return f"#{kind.made.count(name)}" if kind.numbered else ""


def flip(path):
    whole = bytearray(path.read_bytes())
    whole[0] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("size", [1, 2, 9])
def test_inputs_are_made_first_and_everything_once(bench, size):
    """Whatever the number of workers, a step is started when its inputs are there, and once."""
    plan = bench.plan()
    outcome = bench.run(plan, pool=Pool(bench.store, size))
    place = {name: number for number, name in enumerate(bench.pool.asked)}

    assert sorted(bench.pool.asked) == ["a", "b", "c", "d", "last"]
    assert all(place[given.label] < place[step.label] for step in plan.all_steps for given in step.inputs.values())
    assert outcome.completed == [step.name for step in sorted(plan.all_steps, key=lambda s: place[s.label])]
    assert bench.content(plan.estimates) == "last(c(a()), d(b(a())))"
    assert bench.pool.closed


def test_independent_steps_run_side_by_side(bench):
    """b and c are both handed out before either is done."""
    bench.run(bench.plan())
    events = bench.watcher.events

    assert events.index(("started", "c")) < events.index(("made", "b"))


def test_what_is_there_is_not_made_again(bench):
    """A second run asks the pool for nothing."""
    plan = bench.plan()
    bench.run(plan)
    outcome = bench.run(plan)

    assert bench.pool.asked == []
    assert (outcome.completed, outcome.failed, outcome.stale) == ([], {}, [])


def test_a_failure_stops_what_hangs_on_it_and_nothing_else(bench):
    """After b broke neither d nor last is tried, c is made, and the next run goes on from there."""
    plan = bench.plan()
    bench.kind.faults["b"] = DataError("the data of b are of no use; mend them.")
    outcome = bench.run(plan)

    assert sorted(bench.pool.asked) == ["a", "b", "c"]
    assert list(outcome.failed.values()) == ["the data of b are of no use; mend them."]
    assert len(outcome.completed) == 2
    bench.kind.faults.clear()
    again = bench.run(plan)
    assert bench.pool.asked == ["b", "d", "last"]
    assert not again.failed


def test_a_fault_of_ours_is_told_in_one_sentence_with_the_traceback_in_a_file(bench):
    """An exception that nobody foresaw fails its step alone; where to read on is said."""
    plan = bench.plan()
    bench.kind.faults["c"] = ZeroDivisionError("division by zero")
    outcome = bench.run(plan)
    (sentence,) = outcome.failed.values()

    assert sentence.startswith("it broke with ZeroDivisionError: division by zero")
    assert "\n" not in sentence
    c = next(step for step in plan.all_steps if step.label == "c")
    assert "Traceback" in (bench.store.work_folder(c.name) / "error.txt").read_text(encoding="utf-8")
    bench.kind.faults.clear()
    bench.run(plan)
    assert not (bench.store.folder(c.name) / "error.txt").exists()


def test_a_disk_that_refuses_fails_the_step_with_advice(bench):
    """A full disk is told as such, with what to do."""
    bench.kind.faults["a"] = OSError(28, "No space left on device", "/store/x")
    outcome = bench.run(bench.plan())

    assert outcome.failed
    assert all("free some space" in sentence for sentence in outcome.failed.values())


def test_a_step_that_another_process_makes_is_waited_for(bench):
    """While b is leased elsewhere the run goes on with what it can, says so once, and finds b when it is done."""
    plan = bench.plan()
    b = next(step for step in plan.all_steps if step.label == "b")
    other = FileLock(bench.store.root / "leases" / f"{b.name}.lock")
    tries = []

    class Elsewhere(Pool):
        def events(self, timeout):
            for event in super().events(timeout):
                if event.kind == "leased":
                    tries.append(event.step_name)
                    if len(tries) == 3:  # the other process is done
                        other.release()
                        attempt_step(b, self.store, RuntimeConfig(), False, lambda _: None)
                yield event

    other.acquire()
    outcome = bench.run(plan, pool=Elsewhere(bench.store))

    assert tries == [b.name] * 3
    assert len([s for s in bench.watcher.sentences if "is being made by" in s]) == 1
    assert b.name not in outcome.completed
    assert len(outcome.completed) == 4
    assert bench.kind.made.count("b") == 1


def test_a_damaged_step_is_set_aside_and_made_again(bench):
    """One flipped byte is found before anything is done; the step is made again though its heirs are there."""
    plan = bench.plan()
    bench.run(plan)
    b = next(step for step in plan.all_steps if step.label == "b")
    flip(bench.store.folder(b.name) / "said.txt")
    outcome = bench.run(plan)

    assert outcome.completed == [b.name]
    assert bench.content(b) == "b(a())"
    assert len(bench.watcher.sentences) == 1
    assert b.name in bench.watcher.sentences[0]
    assert len(list((bench.store.root / "damaged").iterdir())) == 1, (
        "what was damaged is kept for whoever wants to look"
    )


@pytest.mark.parametrize("file", ["spec.json", "provenance.json", "manifest.json"])
@pytest.mark.parametrize("rerun_stale", [False, True])
def test_a_step_with_unreadable_papers_is_made_again(bench, file, rerun_stale):
    """The store's own files count like the data: what cannot be read is set aside, with and without --rerun-stale."""
    plan = bench.plan()
    bench.run(plan)
    b = next(step for step in plan.all_steps if step.label == "b")
    (bench.store.folder(b.name) / file).write_text("{")
    outcome = bench.run(plan, rerun_stale=rerun_stale)

    assert b.name in outcome.completed
    assert not outcome.failed
    assert json.loads((bench.store.folder(b.name) / file).read_text(encoding="utf-8"))


def test_damage_that_is_found_while_running_is_made_good(bench):
    """A byte that flips after the run has begun is found by the step that reads it; both are made in the end."""
    plan = bench.plan()
    a, b, *_ = plan.all_steps
    harmed = []

    class Rotting(Pool):
        def submit(self, step, *, rerun_stale):
            if step.label == "d" and not harmed:
                harmed.append(flip(self.store.folder(b.name) / "said.txt"))
            super().submit(step, rerun_stale=rerun_stale)

    outcome = bench.run(plan, pool=Rotting(bench.store))

    assert not outcome.failed
    assert bench.kind.made.count("b") == 2
    assert bench.content(plan.estimates) == "last(c(a()), d(b(a())))"
    assert bench.kind.made.count("a") == 1
    assert a.name in outcome.completed


def test_damage_that_two_steps_find_at_once_is_made_good_once(bench):
    """b and c are both waiting to read a when it rots: a is made again a single time."""
    plan = bench.plan()
    a = plan.all_steps[0]
    harmed = []

    class Rotting(Pool):
        def submit(self, step, *, rerun_stale):
            if step.label == "c" and not harmed:
                harmed.append(flip(self.store.folder(a.name) / "said.txt"))
            super().submit(step, rerun_stale=rerun_stale)

    outcome = bench.run(plan, pool=Rotting(bench.store))

    assert not outcome.failed
    assert bench.kind.made.count("a") == 2
    assert bench.content(plan.estimates) == "last(c(a()), d(b(a())))"


def test_damage_where_every_input_is_whole_fails_the_step_and_ends(bench):
    """A step that calls its inputs damaged when they are not is no reason to try for ever."""
    bench.kind.faults["c"] = DamagedError("something that is no step is damaged.")
    outcome = bench.run(bench.plan())

    assert list(outcome.failed.values()) == ["something that is no step is damaged."]


def test_stale_steps_are_used_as_they_are_and_named(bench, tmp_path):
    """Changed code does not cost a run's results: they are used, and the run says which are stale and why."""
    plan = bench.plan()
    bench.run(plan)
    (tmp_path / "toys.py").write_text(TOY + "\nCHANGED = True\n")
    outcome = bench.run(plan)

    assert bench.pool.asked == []
    assert len(outcome.stale) == 5
    assert all("made by code that has since changed (toys)" in sentence for sentence in outcome.stale)


def test_a_changed_comment_makes_nothing_stale(bench, tmp_path):
    """Comments and docstrings are no code."""
    plan = bench.plan()
    bench.run(plan)
    (tmp_path / "toys.py").write_text(TOY.replace("writes its own name", "says") + "\n# a remark\n")

    assert bench.run(plan).stale == []


def aged(bench, step):
    """Make a step stale by itself: as if one more module had gone into it, with a manifest that agrees."""
    from nosce.store.files import checksum_tree

    folder = bench.store.folder(step.name)
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    provenance["modules"]["gone"] = "0"
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "manifest.json").write_text(json.dumps(checksum_tree(folder)))


def test_rerun_stale_makes_what_is_stale_again_and_leaves_what_followed_from_equal_bytes(bench):
    """b is made again; since its bytes are the same, d and last are found as they are."""
    plan = bench.plan()
    bench.run(plan)
    aged(bench, plan.all_steps[1])
    before = list(bench.kind.made)
    outcome = bench.run(plan, rerun_stale=True)

    assert outcome.completed == [plan.all_steps[1].name]
    assert bench.kind.made[len(before) :] == ["b"]
    assert len(list((bench.store.root / "replaced").iterdir())) == 1
    assert bench.run(plan).stale == []


def test_rerun_stale_makes_again_what_followed_from_other_bytes(bench):
    """b comes out otherwise this time, so d and last are made again, and c, which hangs on a alone, is not."""
    plan = bench.plan()
    bench.kind.numbered = True
    bench.run(plan)
    aged(bench, plan.all_steps[1])
    outcome = bench.run(plan, rerun_stale=True)
    by_name = {step.name: step.label for step in plan.all_steps}

    assert [by_name[name] for name in outcome.completed] == ["b", "d", "last"]
    assert bench.content(plan.estimates) == "last(c(a()#1)#1, d(b(a()#1)#2)#2)#2"
    assert bench.run(plan).stale == []


def test_only_what_the_estimates_lack_is_needed(bench):
    """Inputs of finished steps may be cleared away; those of a step to be made are needed again."""
    import shutil

    plan = bench.plan()
    bench.run(plan)
    steps = {step.label: step for step in plan.all_steps}
    for name in ("a", "b"):
        shutil.rmtree(bench.store.folder(steps[name].name))
    assert pending_steps(plan, bench.store) == []
    shutil.rmtree(bench.store.folder(steps["last"].name))
    assert [step.label for step in pending_steps(plan, bench.store)] == ["last"]
    shutil.rmtree(bench.store.folder(steps["d"].name))
    assert [step.label for step in pending_steps(plan, bench.store)] == ["a", "b", "d", "last"]


def test_an_interrupt_closes_the_pool(bench):
    """Ctrl-C leaves no worker behind and goes on to whoever called."""

    def interrupt(_):
        raise KeyboardInterrupt

    pool = Pool(bench.store)
    pool.events = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.run(bench.plan(), pool=pool)

    assert pool.closed


def test_a_worker_that_died_fails_its_step(bench):
    """A pool that tells of a dead worker has that step booked as failed, and the run ends."""
    plan = bench.plan()

    class Dying(Pool):
        def events(self, timeout):
            for event in super().events(timeout):
                dead = event.step_name == plan.all_steps[2].name and event.kind == "made"
                yield StepEvent("failed", event.step_name, "its process was ended.") if dead else event

    outcome = bench.run(plan, pool=Dying(bench.store))

    assert outcome.failed == {plan.all_steps[2].name: "its process was ended."}
