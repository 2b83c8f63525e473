"""Leases: which process makes which step, told in files that several machines can share.

    leases/<step>.lock            a lock of the kernel; it is let go of when the process dies
    leases/<step>.json            host, process and start of the process that makes the step
    leases/<step>.<token>.beat    a number that this process raises every few seconds: its heartbeat; below it a line of
                                  the holder's own, its note

The kernel's lock is enough on one machine. On a shared disk it may hold for one machine alone (NFS with
`local_lock=flock`) or not be there (Lustre without `flock`), so the file of the lease decides: it is created by one
call that succeeds for one process alone. A lease is taken over when its holder is gone:

- a holder on this machine, when no process has its id and its start;
- a holder elsewhere, when an observer has seen the heartbeat unchanged for `LOST_SECONDS` by the observer's own
  monotonic clock. No clock of one machine is compared with a clock of another, or with the time of a file.

A holder whose lease was taken over, e.g. since its machine slept, notices it and drops the step.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import psutil
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from nosce.errors import LeasedError
from nosce.store.files import create_exclusively, load_json_object
from nosce.store.text import printable
from nosce.store.typecheck import has_type

HEARTBEAT_SECONDS = 5.0
LOST_SECONDS = 180.0  # NFS may show a file as it was a minute ago
MAX_GAP_SECONDS = 10.0  # what one look counts at most: while the disk or the observer stood still, nobody was silent
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # a disk that has no locks

UNKNOWN_START = "unknown"

Fate = Literal["alive", "gone", "unknown"]
LeaseState = Literal["free", "held", "lost"]
_held_here: set[str] = set()  # tokens of the leases that this process holds


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """What a lease's file says of its holder.

    Args:
        token: A name that no other lease has.
        host: Name of the holder's machine, for people.
        machine: Name of the machine since its start, as `machine_name` has it.
        pid: Process id of the holder.
        process_start: Start of that process, as `process_start` has it.
        since: When the lease was taken, by the holder's clock; for people alone.
    """

    token: str
    host: str
    machine: str
    pid: int
    process_start: str
    since: str

    @classmethod
    def own(cls) -> LeaseRecord:
        """A new lease of this process."""
        pid = os.getpid()
        start = process_start(pid)
        return cls(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            machine=machine_name(),
            pid=pid,
            process_start=start or UNKNOWN_START,
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
        )

    @classmethod
    def load(cls, path: Path) -> LeaseRecord:
        """The lease in a file.

        Raises:
            ValueError: The file holds none; a few words say why.
        """
        values = load_json_object(path)
        types = {"token": str, "host": str, "machine": str, "pid": int, "process_start": str, "since": str}
        for name, type_ in types.items():
            if not has_type(values.get(name), type_):
                raise ValueError(f"it lacks a readable {name}")
        return cls(**{name: values[name] for name in types})

    @property
    def holder(self) -> str:
        """The holder, for people."""
        return printable(f"{self.host}:{self.pid} since {self.since}")

    @property
    def fate(self) -> Fate:
        """What became of the holder, as far as this machine can look it up; of another machine's process nothing."""
        if self.machine != machine_name():
            return "unknown"
        if self.pid == os.getpid():
            return "alive" if self.token in _held_here else "gone"
        start = process_start(self.pid)
        if UNKNOWN_START in (start, self.process_start):
            return "unknown"
        return "alive" if start == self.process_start else "gone"


@cache
def machine_name() -> str:
    """A name that two processes share if and only if each can look up the other by its process id.

    The host's name is not enough: two machines may have the same, and containers of one machine do not see each
    other's processes.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # no Linux
        parts.append(f"{uuid.getnode():x}")
    return " ".join(parts)


def process_start(pid: int) -> str | None:
    """The start of a process, which tells it from a later process of the same id; None where it has ended.

    On Linux in clock ticks since the machine's start. psutil's seconds since 1970 move there whenever the clock is set.
    `UNKNOWN_START` where this user may not see it.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        with suppress(OSError, IndexError):
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return UNKNOWN_START if psutil.pid_exists(pid) else None  # a process of a user whom /proc hides
    except psutil.AccessDenied:
        return UNKNOWN_START


class Lease:
    """The exclusive right to make a step, as its holder has it; `hold_lease` makes one.

    `note` gives the line that each heartbeat carries besides its number, for people who look at the store.
    """

    def __init__(self, folder: Path, name: str, record: LeaseRecord) -> None:
        self.name, self.record = name, record
        self.note: Callable[[], str] = str
        self.path, self.beat_path = lease_path(folder, name), _beat_path(folder, name, record.token)
        self._is_lost, self._released = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {name}", daemon=True)
        self._thread.start()

    def check(self, *, look: bool = False) -> None:
        """Check that the lease is still this process's; with `look` in its file, else by the last heartbeat.

        Raises:
            LeasedError: Another process has taken the lease over.
        """
        if self._is_lost.is_set() or (look and not self._is_own()):
            raise LeasedError(
                f"{self.name} was taken over by {holder_of(self.path)}, since {self.record.host}:{self.record.pid} had "
                "given no sign of life; this run waits for it."
            )

    def release(self) -> None:
        """Give the lease back."""
        self._released.set()
        self._thread.join()
        with suppress(OSError):
            self.beat_path.unlink(missing_ok=True)
            if self._is_own():
                self.path.unlink(missing_ok=True)

    def _is_own(self) -> bool:
        """Is this process the holder, or does the disk not say?"""
        try:
            self.path.stat()
            return LeaseRecord.load(self.path).token == self.record.token
        except FileNotFoundError:
            return False
        except (OSError, ValueError):  # the disk is away, or the file is damaged; nobody else has written it
            return True

    def _beat(self) -> None:
        """Raise the number of the heartbeat until the lease is released or lost."""
        beats = 0
        while not self._released.wait(HEARTBEAT_SECONDS):
            if not self._is_own():
                self._is_lost.set()
                return
            beats += 1
            with suppress(OSError):  # a disk that is away for a moment; the next beat may reach it
                self.beat_path.write_text(f"{beats}\n{self._note_text()}\n", encoding="utf-8")

    def _note_text(self) -> str:
        try:
            return self.note()
        except Exception:  # whatever is wrong with a note, the heart beats on
            return ""


@contextmanager
def hold_lease(folder: Path, name: str) -> Iterator[Lease]:
    """Hold the lease of a step; it ends with the block, or with this process.

    Args:
        folder: The folder of the leases.
        name: Name of the step.

    Raises:
        LeasedError: Another process holds it; the sentence names that process.
        OSError: The disk refused.
    """
    path = lease_path(folder, name)
    with _kernel_lock(folder, name):
        record = LeaseRecord.own()
        _remove_if_gone(folder, name)
        if not create_exclusively(path, json.dumps(asdict(record))):
            raise _leased(name, path)
        _held_here.add(record.token)
        lease = Lease(folder, name, record)
        try:
            yield lease
        finally:
            lease.release()
            _held_here.discard(record.token)


def lease_path(folder: Path, name: str) -> Path:
    """The file that says who makes a step."""
    return folder / f"{name}.json"


def _beat_path(folder: Path, name: str, token: str) -> Path:
    return folder / f"{name}.{token}.beat"


def lease_note(folder: Path, record: LeaseRecord, name: str) -> str:
    """The note of a step's holder with its last heartbeat; "" before the first, or where it has none."""
    try:
        return _beat_path(folder, name, record.token).read_text(encoding="utf-8").partition("\n")[2].strip()
    except (OSError, UnicodeDecodeError):  # or it is being written right now
        return ""


def holder_of(path: Path) -> str:
    """Who holds the lease in a file, for people."""
    try:
        return LeaseRecord.load(path).holder
    except ValueError as error:
        if not path.exists():
            return "another process"
        return printable(f"an unknown process (its lease {path} is damaged: {error})")


def _leased(name: str, path: Path) -> LeasedError:
    return LeasedError(f"{name} is being made by {holder_of(path)}; this run waits for it.")


@contextmanager
def _kernel_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the kernel's lock of a step, where the disk has locks."""
    lock: BaseFileLock = FileLock(folder / f"{name}.lock")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock warns where it takes a file for a lock: see below
            lock.acquire(timeout=0)
    except Timeout:
        if not isinstance(lock, SoftFileLock):
            raise _leased(name, lease_path(folder, name)) from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    if isinstance(lock, SoftFileLock):  # which would outlive its process
        lock.release()
    try:
        yield
    finally:
        lock.release()


def _remove_if_gone(folder: Path, name: str) -> None:
    """Remove the lease of a process of this machine that has ended."""
    path = lease_path(folder, name)
    try:
        content = path.read_bytes()  # before the look at it, so that no newer lease is removed for an older one's fate
        record = LeaseRecord.load(path)
    except (FileNotFoundError, ValueError):
        return  # there is none, or nobody knows whose it is
    if record.fate == "gone":
        _displace(folder, name, content)


def break_lease(folder: Path, name: str, content: bytes) -> bool:
    """Remove the lease of a holder that is gone.

    Args:
        folder: The folder of the leases.
        name: Name of the step.
        content: What the lease's file held when its holder was found to be gone.

    Returns:
        Whether the lease is removed. It stays where the kernel knows a living holder, or where it is another by now.
    """
    try:
        with _kernel_lock(folder, name):
            return _displace(folder, name, content)
    except LeasedError:
        return False


def _displace(folder: Path, name: str, content: bytes) -> bool:
    """Take a lease's file away if it still has this content.

    Two observers may find a lease lost at once. Only one rename of a file succeeds, and whoever finds that the slower
    one has taken a newer lease away puts that lease back.
    """
    path = lease_path(folder, name)
    aside = folder / f"{name}.{uuid.uuid4().hex}.gone"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True
    is_same = aside.read_bytes() == content
    if not is_same:
        create_exclusively(path, aside.read_text(encoding="utf-8", errors="replace"))
    else:
        for beat in folder.glob(f"{name}.*.beat"):
            beat.unlink(missing_ok=True)
    aside.unlink()
    return is_same


@dataclass
class LeaseWatch:
    """What one observer sees of a step's lease, by the observer's own clock.

    Args:
        folder: The folder of the leases.
        name: Name of the step.
    """

    folder: Path
    name: str
    quiet_seconds: float = field(default=0.0, init=False)  # for which lease and heartbeat were seen unchanged
    is_alive: bool = field(default=False, init=False)  # the holder is a process of this machine that was found
    content: bytes = field(default=b"", init=False)  # of the lease's file
    _beat: bytes = field(default=b"", init=False)
    _last_look: float = field(default=0.0, init=False)

    def look(self) -> LeaseState:
        """The lease now: "free", "held", or "lost" by a holder that has ended or gives no sign of life."""
        path = lease_path(self.folder, self.name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return "free"
        except OSError:
            return "held"  # the disk is away; nothing is known
        try:
            record = LeaseRecord.load(path)
        except ValueError:
            record = None
        self._count(content, _beat_content(self.folder, self.name))
        fate = "unknown" if record is None else record.fate
        self.is_alive = fate == "alive"
        if fate == "unknown":
            return "lost" if self.quiet_seconds >= LOST_SECONDS else "held"
        return "held" if self.is_alive else "lost"

    def describe(self) -> str:
        """The holder and its last sign of life, for people."""
        seconds = duration(self.quiet_seconds)
        return f"{holder_of(lease_path(self.folder, self.name))}; last sign of life {seconds} ago"

    def _count(self, content: bytes, beat: bytes) -> None:
        now = time.monotonic()
        is_quiet = (content, beat) == (self.content, self._beat)
        self.quiet_seconds += min(now - self._last_look, MAX_GAP_SECONDS) if is_quiet else -self.quiet_seconds
        self.content, self._beat, self._last_look = content, beat, now


def _beat_content(folder: Path, name: str) -> bytes:
    """The heartbeats of a step's lease; whose they are is known even where the lease's own file is damaged."""
    content = b""
    for path in sorted(folder.glob(f"{name}.*.beat")):
        with suppress(OSError):
            content += path.read_bytes()
    return content


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def describe_lease(folder: Path, name: str) -> str | None:
    """Who makes a step, and its last sign of life, in words; None where nobody makes it.

    The age is the difference of two times that the disk gave to files, so that no machine's own clock counts. Nothing
    is decided by it.
    """
    path = lease_path(folder, name)
    if not path.exists():
        return None
    try:
        record = LeaseRecord.load(path)
    except ValueError:
        return f"being made by {holder_of(path)}"
    if record.fate == "gone":
        return f"was being made by {record.holder}, which has ended; the next run goes on from there"
    age = _sign_of_life_age(folder, [path, _beat_path(folder, name, record.token)])
    when = "at an unknown time" if age is None else f"{duration(age)} ago"
    return f"being made by {record.holder}; last sign of life {when}"


def _sign_of_life_age(folder: Path, paths: list[Path]) -> float | None:
    """Seconds since one of these files was written, by the clock of the disk; None where that clock tells nothing."""
    probe = folder / f"{uuid.uuid4().hex}.clock"
    try:
        probe.write_bytes(b".")
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        return None
    times = []
    for path in paths:
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    age = now - max(times, default=now + 1)
    return max(age, 0.0) if age > -0.5 else None
