"""Where the core-minutes of each laptop study go: a table by kind of step, written to `where.csv`.

Without a store the seconds are the prices of `nosce plan`, which times some steps of each shape of training and a part
of each evaluation on this machine; corpora, labels and claims have no price there and are counted without one.
`start-up` is the time of a worker until it can take a step, once a worker: the workers are kept from step to step.

With `--store` the seconds are those that the steps of the fullest finished run wrote down. A run with `--until-decided`
gets a second table, `spent.csv`: what the seeds of the first look and the later ones took, by whether a claim that was
open at the first look reads them.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from nosce.analysis.looks import LOOKS
from nosce.pipeline import cost
from nosce.pipeline.claim_log import planned_versions
from nosce.pipeline.claim_outlook import steps_behind
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.results import RunResults
from nosce.store.spec import Json
from nosce.store.store import Store

STUDIES = ("biographies", "biographies_variants", "karel", "diaries", "emergence", "introspection")
COLUMNS = ("study", "scale", "kind", "steps", "unpriced", "core_minutes", "share", "source")
SPENT_COLUMNS = ("study", "seeds", "read_by", "steps", "core_minutes", "share")
WORKERS = 2
#: What a worker imports before it can train.
WORKER_IMPORTS = "import nosce.pipeline.run_step, nosce.pipeline.steps.training, torch, transformers, nosce.train.loop"

OPEN = "a claim that 3 seeds left open"
CLEAR = "claims that 3 seeds decided, alone"
FIXED = "claims of fixed seeds, alone"
NONE = "no claim"


def kind_of(kind: str, description: Mapping[str, Json]) -> str:
    """Training, or the evaluation by its class; probes are told from other evaluations."""
    spec = description.get("spec")
    asked = spec.get(kind) if isinstance(spec, dict) and kind in ("evaluation", "experiment") else None
    if not isinstance(asked, dict):
        return kind
    name = str(asked.get("type"))
    return f"{'probe' if 'Probe' in name else kind}: {name}"


def start_up_seconds() -> float:
    """Processor seconds until a fresh process has imported what a worker needs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", WORKER_IMPORTS], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recorded_seconds(results: RunResults) -> dict[str, float]:
    """Processor seconds of the finished steps, as each has written them down."""
    records = (step.record for step in results.steps if step.record is not None)
    return {record.name: float(record.provenance.get("cpu_seconds", 0.0)) for record in records}


def priced_steps(study: str, scale: str) -> tuple[dict[str, str], dict[str, float]]:
    """The kind of each step of a study by name, and the price of those that have one."""
    plan = StudyRequest(study=study, scale=scale).plan()
    prices = cost.estimate_costs(plan.all_steps)
    kinds = {step.name: kind_of(step.kind, step.description) for step in plan.all_steps}
    return kinds, {one.step.name: one.seconds for one in prices if one.seconds is not None}


def table(study: str, scale: str, kinds: Mapping[str, str], seconds: Mapping[str, float], source: str) -> list[dict]:
    """Rows of one study by kind of step, the largest first."""
    minutes, counts, unpriced = defaultdict[str, float](float), defaultdict[str, int](int), defaultdict[str, int](int)
    for name, kind in kinds.items():
        counts[kind] += 1
        minutes[kind] += seconds.get(name, 0.0) / 60
        unpriced[kind] += name not in seconds
    counts["start-up"], minutes["start-up"] = WORKERS, WORKERS * start_up_seconds() / 60
    total = sum(minutes.values())
    rows = []
    for kind in sorted(minutes, key=lambda name: -minutes[name]):
        row = {"study": study, "scale": scale, "kind": kind, "steps": str(counts[kind])}
        row |= {"unpriced": str(unpriced[kind]), "core_minutes": f"{minutes[kind]:.2f}"}
        row |= {"share": f"{minutes[kind] / total:.3f}", "source": source}
        rows.append(row)
    return rows


def spent(results: RunResults, seconds: Mapping[str, float]) -> list[dict]:
    """What seeds took, by whether a claim that the first look left open reads them; [] of a run without looks."""
    readers = {claim: group for claim, group in _groups(results)}
    if not readers:
        return []
    by_step: dict[str, set[tuple[int, str]]] = defaultdict(set)
    seeds = _look_seeds(results)
    for version in planned_versions(results.plan, {}):
        for seed, steps in steps_behind(results.plan, version).items():
            for step in steps:
                by_step[step].add((seed, readers.get(version.id, FIXED)))
    totals, counts = defaultdict[tuple[str, str], float](float), defaultdict[tuple[str, str], int](int)
    for step, took in seconds.items():
        read = by_step.get(step, set())
        groups = {group for _, group in read}
        who = next((group for group in (OPEN, CLEAR, FIXED) if group in groups), NONE)
        key = (_phase({seed for seed, _ in read}, seeds), who)
        totals[key] += took / 60
        counts[key] += 1
    whole = sum(totals.values())
    return [
        {
            "study": results.plan.study,
            "seeds": phase,
            "read_by": who,
            "steps": str(counts[phase, who]),
            "core_minutes": f"{minutes:.2f}",
            "share": f"{minutes / whole:.3f}",
        }
        for (phase, who), minutes in sorted(totals.items(), key=lambda entry: -entry[1])
    ]


def _groups(results: RunResults) -> Iterator[tuple[str, str]]:
    """Each claim with how its first look left it."""
    seen = set()
    for look in results.looks:
        if look.claim not in seen:
            seen.add(look.claim)
            yield look.claim, FIXED if look.look is None else OPEN if look.verdict == "undecided" else CLEAR


def _look_seeds(results: RunResults) -> list[int]:
    """The seeds of the looks, in their order."""
    spec = results.plan.steps[results.plan.estimates].description["spec"]
    looks = spec.get("looks") if isinstance(spec, dict) else None
    seeds = looks.get("seeds") if isinstance(looks, dict) else None
    return [int(str(seed)) for seed in seeds] if isinstance(seeds, list) else []


def _phase(read: set[int], seeds: Sequence[int]) -> str:
    """The seeds that a step belongs to, in words."""
    places = [seeds.index(seed) for seed in read if seed in seeds]
    if not places:
        return "exploratory" if read else "none"
    return "first look" if min(places) < LOOKS[0] else "later looks"


def write(path: Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """A CSV file of rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("studies", nargs="*", default=STUDIES)
    options.add_argument("--scale", default="laptop")
    options.add_argument("--store", type=Path, help="a store with finished runs, in place of prices")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "where.csv")
    chosen = options.parse_args()
    rows, spendings = [], []
    for study in chosen.studies:
        if chosen.store is None:
            kinds, seconds = priced_steps(study, chosen.scale)
        else:
            store = Store(chosen.store)
            results = RunResults.load(store, PlanRecord.find_finished(store, study, chosen.scale))
            kinds = {step.name: kind_of(step.kind, results.plan.steps[step.name].description) for step in results.steps}
            seconds = recorded_seconds(results)
            spendings += spent(results, seconds)
        rows += table(study, chosen.scale, kinds, seconds, "prices" if chosen.store is None else "provenance")
        write(chosen.out, COLUMNS, rows)
    if spendings:
        write(chosen.out.with_name("spent.csv"), SPENT_COLUMNS, spendings)
    for row in [*rows, *spendings]:
        named = row.get("kind") or f"{row['seeds']}, read by {row['read_by']}"
        print(f"{row['study']:20} {named:52} {row['steps']:>4} {float(row['core_minutes']):8.1f} min {row['share']}")


if __name__ == "__main__":
    main()
