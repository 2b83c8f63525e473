"""Kills at random moments: `nosce run STUDY --scale smoke` is killed again and again, and run again until it is done.

Most draws send SIGKILL to the command and all its workers, the others to one worker. After each kill every step that
was finished before must be there with the same bytes. In the end all that the steps made (documents, tokens, weights,
metrics, readings, verdicts, figures) is compared with a run that nobody disturbed. Only `provenance.json`, which tells
when and where, and `manifest.json`, which holds its checksum, may differ. Each study appends a line to `kills.csv`.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from nosce.seeds import Seed
from nosce.store.commit import git_state
from nosce.store.provenance import cpu_model

RESULTS = Path(__file__).parent / "kills.csv"
STUDIES = ("biographies", "diaries", "karel", "introspection", "emergence")
NOT_RESULTS = ("provenance.json", "manifest.json")
WORKER_SHARE = 0.3  # of the kills, which kill one worker and leave the command alive
COLUMNS = (
    "study",
    "kills",
    "of_one_worker",
    "runs",
    "with_steps_finished",
    "finished_steps_checked",
    "lost_steps",
    "altered_steps",
    "compared_files",
    "compared_bytes",
    "differing_bytes",
    "trainings_with_saved_state",
    "killed_in",
    "seconds",
    "seed",
    "commit",
    "machine",
)


@dataclass
class Tally:
    """What is counted over all runs of one study."""

    kills: int = 0
    of_one_worker: int = 0
    runs: int = 0
    with_steps_finished: int = 0  # kills before which at least one step was finished
    finished_steps_checked: int = 0  # finished steps at each kill, summed over the kills
    lost_steps: int = 0
    altered_steps: int = 0
    compared_files: int = 0
    compared_bytes: int = 0
    differing_bytes: int = 0
    trainings_with_saved_state: int = 0  # at a kill, a training in work had something to go on from
    killed_in: collections.Counter[str] = field(default_factory=collections.Counter)  # kinds of the steps in work


def start(study: str, store: Path, log: Path) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, as a shell would start it."""
    with log.open("ab") as out:
        words = [sys.executable, "-m", "nosce", "run", study, "--scale", "smoke", "--store", str(store)]
        return subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True, cwd=store.parent)


def digests(store: Path) -> dict[str, str]:
    """One checksum a finished step, of all its files, their names included."""
    found = {}
    for folder in sorted((store / "steps").glob("*")):
        whole = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            whole.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        found[folder.name] = whole.hexdigest()
    return found


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes of the command."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def moment(rng: np.random.Generator) -> float:
    """Seconds until the next kill: mostly soon, at times late enough for the longest step."""
    return float(rng.uniform(0.5, 7.0) if rng.random() < 0.85 else rng.uniform(7.0, 20.0))


def note(store: Path, tally: Tally, finished: dict[str, str]) -> None:
    """Count a kill, what it hit, and what was finished before it."""
    tally.kills += 1
    tally.with_steps_finished += bool(finished)
    tally.finished_steps_checked += len(finished)
    in_work = list((store / "work").glob("*"))
    tally.killed_in.update({folder.name.partition("-")[0] for folder in in_work} or {"no step"})
    tally.trainings_with_saved_state += any((f / "scratch" / "state.safetensors").exists() for f in in_work)


def check(store: Path, known: dict[str, str], tally: Tally) -> None:
    """Count the known finished steps that are gone or differ, and learn the new ones."""
    now = digests(store)
    tally.lost_steps += sum(name not in now for name in known)
    tally.altered_steps += sum(name in now and now[name] != known[name] for name in known)
    known.clear()
    known.update(now)


def disturbed(study: str, store: Path, log: Path, rng: np.random.Generator, quota: int, tally: Tally) -> None:
    """One run of a study, killed and started again until it is done or there have been `quota` kills in all."""
    known: dict[str, str] = {}
    tally.runs += 1
    while True:
        process = start(study, store, log)
        worker_killed = False
        while process.poll() is None:
            try:
                process.wait(timeout=moment(rng) if tally.kills < quota else None)
            except subprocess.TimeoutExpired:
                alive = workers(process)
                if alive and rng.random() < WORKER_SHARE:
                    alive[int(rng.integers(len(alive)))].kill()
                    worker_killed = True
                    tally.of_one_worker += 1
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                check(store, known, tally)
                note(store, tally, known)
        check(store, known, tally)
        if process.returncode == 0:
            return
        if process.returncode != -signal.SIGKILL and not (worker_killed and process.returncode == 1):
            sys.exit(f"{study} ended with {process.returncode}, which no kill explains; see {log}.")


def results(store: Path) -> dict[str, bytes]:
    """All that the steps made, by path."""
    paths = (store / "steps").rglob("*")
    return {str(p.relative_to(store)): p.read_bytes() for p in paths if p.is_file() and p.name not in NOT_RESULTS}


def compare(store: Path, whole: dict[str, bytes], tally: Tally) -> None:
    """Count the bytes in which a store differs from the undisturbed one, missing and additional bytes included."""
    parts = results(store)
    for path in sorted({*whole, *parts}):
        a, b = (np.frombuffer(side.get(path, b""), dtype=np.uint8) for side in (whole, parts))
        common = min(len(a), len(b))
        differing = int((a[:common] != b[:common]).sum()) + max(len(a), len(b)) - common
        if differing or (path in whole) != (path in parts):
            print(f"{path} differs in {differing} bytes", flush=True)
        tally.compared_files += 1
        tally.compared_bytes += max(len(a), len(b))
        tally.differing_bytes += differing


def measure(study: str, quota: int, seed: int, folder: Path) -> None:
    """All kills of one study, in as many runs as they take; a store that differs is left for a look."""
    began, tally = time.perf_counter(), Tally()
    rng = (Seed(seed) / "kills" / study).numpy()
    reference = folder / f"{study}-whole"
    if start(study, reference, folder / f"{study}-whole.log").wait() != 0:
        sys.exit(f"{study} failed undisturbed; see {folder / f'{study}-whole.log'}.")
    whole = results(reference)
    while tally.kills < quota:
        store = folder / f"{study}-{tally.runs}"
        store.mkdir()
        before = tally.differing_bytes + tally.lost_steps + tally.altered_steps
        disturbed(study, store, store.with_suffix(".log"), rng, quota, tally)
        compare(store, whole, tally)
        if tally.differing_bytes + tally.lost_steps + tally.altered_steps == before:
            shutil.rmtree(store)
        print(f"{study}, run {tally.runs}: {tally}", flush=True)
    shutil.rmtree(reference)
    write(study, tally, seed, time.perf_counter() - began)


def write(study: str, tally: Tally, seed: int, seconds: float) -> None:
    """Append the study's line."""
    row = {
        "study": study,
        **vars(tally),
        "killed_in": ", ".join(f"{kind} {number}" for kind, number in tally.killed_in.most_common()),
        "seconds": round(seconds),
        "seed": seed,
        "commit": (git_state()["commit"] or "")[:12] + ("+" if git_state()["dirty"] else ""),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
    }
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("studies", nargs="*", default=STUDIES)
    options.add_argument("--kills", type=int, default=40, help="kills of each study")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="for the stores; default: a temporary one")
    chosen = options.parse_args()
    folder = (chosen.folder or Path(tempfile.mkdtemp(prefix="nosce-kills-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for study in chosen.studies:
        measure(study, chosen.kills, chosen.seed, folder)


if __name__ == "__main__":
    main()
