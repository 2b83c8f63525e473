"""Runs many command lines in one process, since starting Python takes longer than most, and notes what came of each.

    python worker.py CASES.json OUTCOMES.jsonl

Each case is a list of words behind `nosce`. What costs minutes and is tested elsewhere is left out: steps are not made,
trainings are not timed, no browser is opened. The note of a case begins before the case, so that a crash names it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import _kind, crowding

HUNG = -14  # what a process that SIGALRM ends has as its exit code
LIMIT_SECONDS = 20  # that a case may take before it counts as a hang, on a machine that is not overloaded


class Hang(BaseException):
    """The alarm rang."""


def main(cases: Path, outcomes: Path) -> None:
    """Run all cases; one line of JSON for each."""
    from nosce.cli import app

    _leave_out_what_takes_minutes()
    signal.signal(signal.SIGALRM, _ring)
    warnings.simplefilter("error", RuntimeWarning)  # numpy would print lines of our code on the user's terminal
    with outcomes.open("w") as notes:
        for words in json.loads(cases.read_text(encoding="utf-8")):
            started = time.monotonic()
            code, out, err = _run(app, words)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            kind = "hang" if code == HUNG else _kind(code, out, err)
            note = {"kind": kind, "code": code, "out": out[-2_000:], "err": err[-4_000:], "peak": peak}
            notes.write(json.dumps(note | {"seconds": time.monotonic() - started}) + "\n")
            notes.flush()


def _run(app: object, words: list[str]) -> tuple[int, str, str]:
    from nosce.cli import exit_code_of
    from nosce.store.files import warn_skipped

    warn_skipped.cache_clear()
    with _streams() as streams:
        try:
            signal.alarm(round(LIMIT_SECONDS * crowding()))
            code = exit_code_of(lambda: app(words, standalone_mode=False))
        except Hang:
            code = HUNG
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            code = 70
            traceback.print_exc()
        finally:
            signal.alarm(0)
    return (code, *streams)


@contextmanager
def _streams() -> Iterator[list[str]]:
    """What is printed in the block: descriptors 1 and 2, so that libraries in C and Rust are heard too."""
    texts: list[str] = []
    before = sys.stdout, sys.stderr, os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", closefd=False, errors="backslashreplace")
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
        try:
            yield texts
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = before[:2]
            os.dup2(before[2], 1)
            os.dup2(before[3], 2)
            os.close(before[2])
            os.close(before[3])
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "backslashreplace"))


def _ring(*_: object) -> None:
    raise Hang


def _leave_out_what_takes_minutes() -> None:
    import typer

    from nosce.pipeline import cost, doctor, run, scheduler

    def failed(plan: object, *_: object, **__: object) -> scheduler.RunSummary:
        return scheduler.RunSummary(failed={plan.estimates.name: "no step is made here"})  # type: ignore[attr-defined]

    run.run_plan = failed
    cost.estimate_costs = lambda *_: []
    cost.makespan_minutes = lambda *_: 0.0
    doctor._gflops = lambda *_: 1.0
    typer.launch = lambda *_, **__: 0


if __name__ == "__main__":
    with warnings.catch_warnings():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
