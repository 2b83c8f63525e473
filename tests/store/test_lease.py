"""Leases among machines: taken over when the holder is gone, by no clock but the observer's own."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from nosce.errors import LeasedError
from nosce.pipeline import leased_steps
from nosce.pipeline.leased_steps import LeasedSteps
from nosce.store import lease as leases
from nosce.store.files import create_exclusively
from nosce.store.lease import (
    LOST_SECONDS,
    MAX_GAP_SECONDS,
    LeaseRecord,
    LeaseWatch,
    break_lease,
    describe_lease,
    hold_lease,
    lease_note,
    lease_path,
    process_start,
)
from nosce.store.store import Store

NAME = "training-0123"


class Clock:
    """The observer's monotonic clock, set by hand."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture
def folder(tmp_path):
    return Store.open(tmp_path / "store").lease_folder


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


def elsewhere(folder, **fields):
    """A lease of another host; its heartbeat's file."""
    record = replace(LeaseRecord.own(), **{"host": "node7", "machine": "node7 boot ns", "pid": 99, **fields})
    assert create_exclusively(lease_path(folder, NAME), json.dumps(asdict(record)))
    return folder / f"{NAME}.{record.token}.beat"


def watched(watch, clock, seconds, step=1.0):
    """The states that a watch has seen, looking every `step` seconds of its clock."""
    states = []
    for _ in range(round(seconds / step)):
        clock.now += step
        states.append(watch.look())
    return states


def test_a_lease_names_host_process_and_start(folder):
    with hold_lease(folder, NAME):
        record = LeaseRecord.load(lease_path(folder, NAME))
    assert (record.pid, record.host) == (os.getpid(), os.uname().nodename)
    assert record.process_start == process_start(os.getpid())
    assert not lease_path(folder, NAME).exists()


def test_a_lease_of_another_host_is_kept_while_its_heart_beats_and_lost_when_it_is_silent(folder, clock):
    beat = elsewhere(folder)
    watch = LeaseWatch(folder, NAME)
    for number in range(60):
        beat.write_text(f"{number}\n")
        assert set(watched(watch, clock, 10)) == {"held"}
    assert set(watched(watch, clock, LOST_SECONDS - 15)) == {"held"}
    assert watched(watch, clock, 30)[-1] == "lost"
    with pytest.raises(LeasedError, match=r"is being made by node7:99 since .*; this run waits for it\."):
        hold_lease(folder, NAME).__enter__()
    assert break_lease(folder, NAME, watch.content)
    assert not list(folder.glob("*.beat"))
    with hold_lease(folder, NAME):
        pass


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_clock_an_hour_off_decides_nothing(folder, clock, skew):
    """Times of files lie an hour ahead or behind: a heart that beats keeps the lease, a silent one loses it."""
    beat = elsewhere(folder, since="1999-01-01 00:00:00")
    watch = LeaseWatch(folder, NAME)
    for number in range(3):
        beat.write_text(f"{number}\n")
        for path in (beat, lease_path(folder, NAME)):
            os.utime(path, (time.time() + skew,) * 2)
        assert set(watched(watch, clock, 100)) == {"held"}
    assert watched(watch, clock, LOST_SECONDS)[-1] == "lost"


def test_a_beat_at_an_old_time_of_the_file_is_a_beat(folder, clock):
    """NFS may give a file the same time twice; what counts is its content."""
    beat = elsewhere(folder)
    watch = LeaseWatch(folder, NAME)
    for number in range(20):
        beat.write_text(f"{number}\n")
        os.utime(beat, (1e9, 1e9))
        assert set(watched(watch, clock, LOST_SECONDS / 2)) == {"held"}


def test_an_observer_that_slept_has_not_seen_silence(folder, clock):
    """A laptop that slept, or a disk that hung, for an hour: two looks prove nothing about the time between."""
    elsewhere(folder)
    watch = LeaseWatch(folder, NAME)
    watch.look()
    clock.now += 3600
    assert watch.look() == "held"
    assert watch.quiet_seconds <= MAX_GAP_SECONDS


def test_two_observers_of_a_lost_lease_take_over_once(folder, clock):
    """The slower one finds a new holder and leaves it the lease."""
    elsewhere(folder)
    first, second = LeaseWatch(folder, NAME), LeaseWatch(folder, NAME)
    for watch in (first, second):
        assert watched(watch, clock, LOST_SECONDS + 5)[-1] == "lost"
    assert break_lease(folder, NAME, first.content)
    elsewhere(folder, pid=100)
    assert not break_lease(folder, NAME, second.content)
    assert LeaseRecord.load(lease_path(folder, NAME)).pid == 100
    assert not list(folder.glob("*.gone"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"pid": 3}', b'{"pid": true, "host": 3}'])
def test_a_damaged_lease_is_told_and_taken_over_in_time(folder, clock, content):
    """Nobody knows whose it is: it counts as another machine's, also for its heartbeat."""
    path = lease_path(folder, NAME)
    path.write_bytes(content)
    with pytest.raises(LeasedError, match=rf"an unknown process \(its lease {path} is damaged: .*\); this run waits"):
        hold_lease(folder, NAME).__enter__()
    assert "is damaged" in describe_lease(folder, NAME)
    watch = LeaseWatch(folder, NAME)
    for number in range(3):
        (folder / f"{NAME}.abc.beat").write_text(str(number))
        assert set(watched(watch, clock, LOST_SECONDS - 5)) == {"held"}
    assert watched(watch, clock, 10)[-1] == "lost"
    assert break_lease(folder, NAME, watch.content)


def test_a_lease_that_is_damaged_while_it_is_held_stays_its_holders(folder):
    with hold_lease(folder, NAME) as lease:
        lease_path(folder, NAME).write_text("{")
        lease.check(look=True)
    assert not lease_path(folder, NAME).exists()


@pytest.mark.parametrize("gone", [{"pid": 2**22 + 5}, {"process_start": "1"}])
def test_a_process_of_this_machine_that_ended_is_followed_at_once(folder, gone):
    """No process has its id, or a later one has: nobody waits."""
    elsewhere(folder, machine=leases.machine_name(), **({"pid": os.getppid()} | gone))
    assert LeaseWatch(folder, NAME).look() == "lost"
    assert "which has ended" in describe_lease(folder, NAME)
    with hold_lease(folder, NAME):
        assert LeaseRecord.load(lease_path(folder, NAME)).pid == os.getpid()


def test_a_living_process_of_this_machine_is_never_taken_over(folder, clock):
    """However long it is silent, e.g. since it was stopped: the kernel knows that it is there."""
    elsewhere(folder, machine=leases.machine_name(), pid=os.getppid(), process_start=process_start(os.getppid()))
    assert set(watched(LeaseWatch(folder, NAME), clock, 3 * LOST_SECONDS)) == {"held"}


def test_a_zombie_has_ended(folder):
    """A killed process that nobody waited for is in the kernel's table and makes nothing."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_start(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while process_start(child.pid) is not None:
        assert time.monotonic() < deadline
    child.communicate()


def test_what_the_kernel_still_knows_as_held_is_not_broken(folder, clock):
    """Where locks reach over machines, a silent holder keeps its lease as long as its lock."""
    with hold_lease(folder, NAME):
        path = lease_path(folder, NAME)
        path.write_text(json.dumps(asdict(replace(LeaseRecord.load(path), machine="node7"))))
        watch = LeaseWatch(folder, NAME)
        assert watched(watch, clock, LOST_SECONDS + 10)[-1] == "lost"
        assert not break_lease(folder, NAME, watch.content)


def test_a_holder_that_was_taken_over_notices(folder, monkeypatch):
    """It slept, and another made the step its own: it says so, writes nothing more, and leaves the other's lease."""
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    with hold_lease(folder, NAME) as lease:
        deadline = time.monotonic() + 10
        while not lease.beat_path.exists():
            assert time.monotonic() < deadline
        lease_path(folder, NAME).unlink()
        elsewhere(folder)
        with pytest.raises(LeasedError, match=r"was taken over by node7:99 since .*, since .* no sign of life; "):
            lease.check(look=True)
        while time.monotonic() < deadline:
            with suppress(LeasedError):
                lease.check()
                continue
            break
        else:
            pytest.fail("the heartbeat did not notice")
    assert LeaseRecord.load(lease_path(folder, NAME)).host == "node7"
    assert not lease.beat_path.exists()


def test_a_heartbeat_carries_the_holders_note(folder, monkeypatch):
    """Whoever looks reads the newest note of the holder, and each beat differs from the one before as it did."""
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    with hold_lease(folder, NAME) as lease:
        assert lease_note(folder, lease.record, NAME) == ""
        lease.note = lambda: "half – done"
        deadline, beats = time.monotonic() + 10, set()
        while len(beats) < 2:
            assert time.monotonic() < deadline
            if lease_note(folder, lease.record, NAME) == "half – done":
                beats.add(lease.beat_path.read_text(encoding="utf-8").partition("\n")[0])
        beat = lease.beat_path.read_text(encoding="utf-8")
        lease.note = lambda: 1 / 0  # of a note nothing may stop the heart
        while lease.beat_path.read_text(encoding="utf-8").strip() in ("", beat.strip()):
            assert time.monotonic() < deadline
        while not lease.beat_path.read_text(encoding="utf-8").strip().isdigit():
            assert time.monotonic() < deadline
    assert lease_note(folder, lease.record, NAME) == ""


def race(folder, start, winners):
    with suppress(LeasedError):
        start.wait()
        with hold_lease(Path(folder), NAME):
            winners.put(os.getpid())
            time.sleep(1)


def test_without_locks_of_the_kernel_the_file_alone_excludes(folder, monkeypatch):
    """Lustre without `flock`, or NFS with locks of one machine: of four processes one gets the lease."""

    @contextmanager
    def no_lock(folder, name):
        yield

    monkeypatch.setattr(leases, "_kernel_lock", no_lock)
    context = get_context("fork")
    start, winners = context.Barrier(4), context.Queue()
    processes = [context.Process(target=race, args=(str(folder), start, winners)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    winners.get(timeout=5)
    assert winners.empty()


@pytest.mark.parametrize("code", sorted(leases.WITHOUT_LOCKS))
def test_a_disk_that_refuses_locks_is_no_obstacle(folder, monkeypatch, code):
    """flock answers ENOSYS, ENOTSUP or ENOLCK: the lease is held by its file."""
    import fcntl

    def refuse(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold_lease(folder, NAME), pytest.raises(LeasedError, match=str(os.getpid())), hold_lease(folder, NAME):
        pass
    with hold_lease(folder, NAME):
        pass


def test_a_disk_without_hard_links_excludes_too(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with hold_lease(folder, NAME):
        assert not create_exclusively(lease_path(folder, NAME), "{}")


def test_a_disk_that_is_full_is_told_by_the_store(tmp_path, monkeypatch):
    from nosce.errors import StoreError

    def refuse(*_):
        raise OSError(28, "No space left on device")

    store = Store.open(tmp_path)
    monkeypatch.setattr(leases, "create_exclusively", refuse)
    with pytest.raises(StoreError, match="free some space"):
        store.lease(NAME).__enter__()


def test_a_lease_is_described_by_the_clock_of_the_disk(folder):
    """The age is the difference of two times that the disk gave; one in the future is no age."""
    assert describe_lease(folder, NAME) is None
    beat = elsewhere(folder)
    assert describe_lease(folder, NAME).startswith("being made by node7:99 since ")
    assert describe_lease(folder, NAME).endswith("last sign of life 0 s ago")
    beat.write_text("1")
    for path in (beat, lease_path(folder, NAME)):
        os.utime(path, (time.time() - 3000,) * 2)
    assert describe_lease(folder, NAME).endswith("last sign of life 50 min ago")
    os.utime(beat, (time.time() + 3600,) * 2)
    assert describe_lease(folder, NAME).endswith("last sign of life at an unknown time")


def test_a_waiting_run_tells_how_long_a_holder_is_silent_and_takes_over(tmp_path, clock, monkeypatch):
    """A line a minute, a warning, and at last the step."""
    monkeypatch.setattr(leased_steps, "time", clock)
    store, said = Store.open(tmp_path), []
    step = SimpleNamespace(kind="training", label="arm, seed 0", name=NAME)
    elsewhere(store.lease_folder)
    waiting = LeasedSteps(store, said.append, 1.0)
    assert waiting.may_start(step)
    waiting.add(step, "it is leased")
    waited = 0
    while not waiting.may_start(step):
        clock.now += 1
        waited += 1
        assert waited < 2 * LOST_SECONDS
    assert LOST_SECONDS <= waited <= LOST_SECONDS + 5
    assert said[0] == "it is leased"
    assert said[1].startswith("training: arm, seed 0 is still being made by node7:99 since ")
    assert said[1].endswith("last sign of life 60 s ago, and after 3 min this run takes it over.")
    assert said[-1].startswith("training: arm, seed 0 is taken over from node7:99 since ")
