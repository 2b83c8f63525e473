"""Where the core-minutes of each laptop study go: a table by kind of step, written to `where.csv`.

Without a store the seconds are the prices of `nosce plan`, which times some steps of each shape of training and a part
of each evaluation on this machine; corpora, labels and claims have no price there and are counted without one. With
`--store` the seconds are those that the steps of a finished run wrote down. `start-up` is the time of a worker until
it can take a step, once a worker: the workers are kept from step to step.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from nosce.errors import DamagedError
from nosce.pipeline import cost
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.step import Step
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.store.store import Store

STUDIES = ("biographies", "karel", "diaries", "emergence", "introspection")
COLUMNS = ("study", "scale", "kind", "steps", "unpriced", "core_minutes", "share", "source")
WORKERS = 2
#: What a worker imports before it can train.
WORKER_IMPORTS = "import nosce.pipeline.run_step, nosce.pipeline.steps.training, torch, transformers, nosce.train.loop"


def kind_of(step: Step) -> str:
    """Training, or the evaluation by its class; probes are told from other evaluations."""
    if isinstance(step.spec, ExperimentStepSpec):
        return f"experiment: {type(step.spec.experiment).__name__}"
    if isinstance(step.spec, EvaluationStepSpec):
        evaluation = type(step.spec.evaluation)
        is_probe = evaluation.__module__.startswith("nosce.evals.probing")
        return f"{'probe' if is_probe else 'evaluation'}: {evaluation.__name__}"
    return step.kind


def start_up_seconds() -> float:
    """Processor seconds until a fresh process has imported what a worker needs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", WORKER_IMPORTS], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recorded_seconds(steps: tuple[Step, ...], store: Store) -> dict[str, float]:
    """Processor seconds of the finished steps, as each has written them down."""
    seconds = {}
    for step in steps:
        if store.has(step.name):
            try:
                record = json.loads((store.folder(step.name) / "provenance.json").read_text(encoding="utf-8"))
            except (OSError, DamagedError):
                continue
            seconds[step.name] = record["cpu_seconds"]
    return seconds


def table(study: str, scale: str, store: Store | None) -> list[dict[str, str]]:
    """Rows of one study, the largest first."""
    plan = StudyRequest(study=study, scale=scale).plan()
    steps = plan.all_steps
    if store is None:
        seconds = {c.step.name: c.seconds for c in cost.estimate_costs(plan, steps)}
    else:
        seconds = recorded_seconds(steps, store)
    minutes, counts, unpriced = defaultdict[str, float](float), defaultdict[str, int](int), defaultdict[str, int](int)
    for step in steps:
        kind = kind_of(step)
        counts[kind] += 1
        minutes[kind] += seconds.get(step.name, 0.0) / 60
        unpriced[kind] += step.name not in seconds
    counts["start-up"], minutes["start-up"] = WORKERS, WORKERS * start_up_seconds() / 60
    total = sum(minutes.values())
    rows = []
    for kind in sorted(minutes, key=lambda name: -minutes[name]):
        row = {"study": study, "scale": scale, "kind": kind, "steps": str(counts[kind])}
        row |= {"unpriced": str(unpriced[kind]), "core_minutes": f"{minutes[kind]:.2f}"}
        row |= {"share": f"{minutes[kind] / total:.3f}", "source": "prices" if store is None else "provenance"}
        rows.append(row)
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("studies", nargs="*", default=STUDIES)
    options.add_argument("--scale", default="laptop")
    options.add_argument("--store", type=Path, help="a store with a finished run, in place of prices")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "where.csv")
    chosen = options.parse_args()
    rows: list[dict[str, str]] = []
    for study in chosen.studies:
        rows += table(study, chosen.scale, None if chosen.store is None else Store(chosen.store))
        with chosen.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    for row in rows:
        print(
            f"{row['study']:14} {row['kind']:32} {row['steps']:>4} {float(row['core_minutes']):8.1f} min {row['share']}"
        )


if __name__ == "__main__":
    main()
