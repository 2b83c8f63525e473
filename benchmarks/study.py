"""From nothing to a decided claim: `nosce run biographies --scale demo` against `benchmarks/plain.py`.

Both make the same people's texts, train the demo's two arms until they are memorised, fine-tune on questions,
ask about the other half and end with the claim's estimate and interval. The demo looks at recall nine times and at
the questions seven times for its curves; the plain script does so too, and once more without. Counted is all
processor time of all processes, imports included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import in_turns, write

HERE = Path(__file__).parent


def spent(command: list[str], results: list[str]) -> float:
    """Processor seconds of a command and its children; what it printed goes to `results`, with its wall time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    results.append(f"{time.perf_counter() - began:.0f}\n{done.stdout}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def nosce(results: list[str], profiles: list[str]) -> float:
    """The demo in a store of its own."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "nosce", "run", "biographies", "--scale", "demo", "--json", "--store", store]
        whole = spent(command, results)
        profiles.append(by_kind(Path(store), whole))
        return whole


def by_kind(store: Path, whole: float) -> str:
    """Processor seconds of each kind of step, as the store has written them down, and what is none's."""
    took: dict[str, float] = {}
    for file in sorted(store.glob("steps/*/provenance.json")):
        kind = file.parent.name.partition("-")[0]
        took[kind] = took.get(kind, 0.0) + json.loads(file.read_text(encoding="utf-8"))["cpu_seconds"]
    took["imports, processes, planning"] = whole - sum(took.values())
    order = sorted(took.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{kind} {seconds:.1f} s ({seconds / whole:.0%})" for kind, seconds in order)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=1)
    chosen = options.parse_args()
    profiles: list[str] = []
    told: dict[str, list[str]] = {"nosce": [], "curves": [], "ends": []}
    plain = [sys.executable, "-W", "ignore", str(HERE / "plain.py")]
    found = in_turns(
        {
            "nosce": lambda: nosce(told["nosce"], profiles),
            "curves": lambda: spent([*plain, "--curves"], told["curves"]),
            "ends": lambda: spent(plain, told["ends"]),
        },
        chosen.repeats,
    )
    wall, _, printed = told["nosce"][0].partition("\n")
    claim = next(c for c in json.loads(printed)["claims"] if c["id"] == "extraction-gap")
    mine = f"gap {claim['estimate']:.3f} [{claim['low']:.3f}, {claim['high']:.3f}] {claim['verdict']}, {wall} s of wall"
    cases = {
        "curves": "demo against a plain script that looks as often",
        "ends": "demo, with its curves, against a plain script that looks at the end alone",
    }
    for side, case in cases.items():
        slow, _, printed = told[side][0].partition("\n")
        other = json.loads(printed.strip().splitlines()[-1])
        note = (
            f"CPU seconds of all processes; {mine}, against {other['gap']:.3f} [{other['low']:.3f}, "
            f"{other['high']:.3f}] after recall of {min(other['recall'].values()):.1%}, {slow} s"
        )
        write("study", case, found["nosce"], found[side], note)
    write("study", "profile of the demo", found["nosce"][:1], None, profiles[0])


if __name__ == "__main__":
    main()
