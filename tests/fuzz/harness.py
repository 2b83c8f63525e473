"""What became of a command or a call with broken input: done, one sentence, a traceback, a hang, or too much memory.

Each case runs in a forked child with its own process group, so nothing that it breaks, leaks or hangs on outlives it:

    outcome = run_nosce("audit", table, timeout=20)      # the command line, in the child's process
    outcome = run_case(lambda: ask(server), timeout=20)  # any call; a NosceError ends it as it ends a command
    assert outcome.kind in ("ok", "sentence"), outcome
    print(count_outcomes({"truncated table": outcome}))  # tried, ok, sentences, tracebacks, hangs, over memory

Import it with `from harness import ...`; `pyproject.toml` puts this folder on the path of pytest.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["ok", "sentence", "traceback", "hang", "memory"]
KINDS: tuple[Kind, ...] = ("ok", "sentence", "traceback", "hang", "memory")
MEMORY_LIMIT = 4 << 30  # bytes that a case may need
MAX_OUTPUT = 20_000  # characters of each stream that an outcome keeps
#: Words of a fault that no sentence should hold: of Python, of a worker's report, of Rust, of a C library.
FAULT_WORDS = ("Traceback (most recent call last)", "it broke with", "panicked at", "Fatal Python error")
REFUSED_ALLOCATIONS = ("MemoryError", "can't allocate memory", "Cannot allocate memory", "bad_alloc")


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Args:
        kind: "ok": exit code 0. "sentence": exit code 1 or 2 with a sentence on stderr, and no other lines of an error.
            "traceback": an exception, a worker that "broke with" one, a crash, or a failure without a word.
            "hang": still running after the time limit. "memory": needed more than the memory limit,
            or ended because an allocation was refused.
        exit_code: The exit code; minus the signal's number where a signal ended the child.
        stdout: The end of what was printed.
        stderr: The end of what was printed there.
        seconds: Wall time.
        peak_bytes: Most resident memory of the child and of the processes it started, above the child's at its start.
    """

    kind: Kind
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int

    @property
    def sentences(self) -> list[str]:
        """The lines of stderr that begin with `nosce: `, without these words."""
        return [line.removeprefix("nosce: ") for line in self.stderr.splitlines() if line.startswith("nosce: ")]

    def __str__(self) -> str:
        said = (self.stderr.strip() or self.stdout.strip())[-1_500:]
        peak = f"{self.peak_bytes / 1e6:.0f} MB"
        return f"{self.kind}, exit code {self.exit_code}, {self.seconds:.1f} s, {peak}:\n{said}"


def run_nosce(*words: object, timeout: float = 60, memory: int = MEMORY_LIMIT) -> Outcome:
    """What becomes of `nosce WORD...`, by the entry point of the command line, in a forked child."""

    def command() -> int:
        from nosce.cli import main

        sys.argv = ["nosce", *map(str, words)]
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0
        return 0

    return run_case(command, timeout=timeout, memory=memory)


def run_case(call: Callable[[], object], *, timeout: float = 60, memory: int = MEMORY_LIMIT) -> Outcome:
    """What becomes of a call in a forked child; an int that it returns is its exit code, a NosceError is a sentence.

    Args:
        call: The call. What it prints is kept.
        timeout: Seconds until the call counts as a hang, on a machine that is not overloaded; it is killed with all
            that it started.
        memory: Bytes of resident memory from which on the call counts as "memory". An allocation of twice as much is
            refused to it, so that the machine survives.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err, start = Path(folder) / "out", Path(folder) / "err", Path(folder) / "start"
        sys.stdout.flush()
        sys.stderr.flush()
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of forks beside threads; the child needs only its own
            child = os.fork()
        if child == 0:
            start.write_text(str(_statm()[1]))
            _run_child(call, out, err, memory)
        status, usage, is_hang = _wait(child, started, timeout)
        resident = int(start.read_text(encoding="utf-8")) if start.exists() else 0
        seconds, peak = time.monotonic() - started, max(0, usage.ru_maxrss * 1024 - resident)
        code = os.waitstatus_to_exitcode(status)
        texts = [path.read_text(errors="backslashreplace") if path.exists() else "" for path in (out, err)]
    kind = "hang" if is_hang else "memory" if peak > memory else _kind(code, *texts)
    return Outcome(kind, code, texts[0][-MAX_OUTPUT:], texts[1][-MAX_OUTPUT:], seconds, peak)


def count_outcomes(outcomes: Mapping[str, Outcome]) -> str:
    """One line on many cases and the worst of them, e.g. "60 tried: 3 ok, 57 sentence, 0 traceback, ..."."""
    counts = Counter(outcome.kind for outcome in outcomes.values())
    line = f"{len(outcomes)} tried: {', '.join(f'{counts[kind]} {kind}' for kind in KINDS)}"
    if not outcomes:
        return line
    slowest = max(outcomes, key=lambda name: outcomes[name].seconds)
    largest = max(outcomes, key=lambda name: outcomes[name].peak_bytes)
    return (
        f"{line}; longest {outcomes[slowest].seconds:.1f} s ({slowest}), "
        f"most memory {outcomes[largest].peak_bytes / 1e6:.0f} MB ({largest})"
    )


def _kind(code: int, out: str, err: str) -> Kind:
    if code not in (0, 1, 2) or any(words in text for words in FAULT_WORDS for text in (out, err)):
        return "memory" if any(words in text for words in REFUSED_ALLOCATIONS for text in (out, err)) else "traceback"
    if code == 0:
        return "ok"
    return "sentence" if err.strip() else "traceback"


def _run_child(call: Callable[[], object], out: Path, err: Path, memory: int) -> None:
    """Run the call with its streams in files, and leave by the shortest way: nothing of the parent is run or closed."""
    code = 1
    try:
        os.setsid()
        for descriptor, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        faulthandler.enable(file=sys.stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        limit = _statm()[0] + 2 * memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from nosce.cli import exit_code_of

        code = exit_code_of(call)
    except BaseException:
        code = 70
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 70
        os._exit(code & 0xFF)


def _wait(child: int, started: float, timeout: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for the child, or kill its whole group at the time limit."""
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        elapsed = time.monotonic() - started
        is_late = elapsed > timeout and elapsed > timeout * crowding()
        if found or is_late:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # with what it started and left behind
            if found:
                return status, usage, False
            return (*os.wait4(child, 0)[1:], True)
        time.sleep(0.005)


def crowding() -> float:
    """Processes that want to run, for each processor, or 1: how much longer a second of work takes on this machine."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _statm() -> list[int]:
    """Mapped and resident bytes of this process, from Linux."""
    return [
        int(pages) * resource.getpagesize() for pages in Path("/proc/self/statm").read_text(encoding="utf-8").split()
    ]
