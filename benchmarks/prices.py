"""Prices against bills: the minutes that `nosce plan` says for a study, and what its steps took by their provenance.

    python benchmarks/prices.py STORE STUDY [--scale laptop] [--seeds 1] [--arms NAME,...]

The study must have been run into the store, by one thread a step and without a GPU. The plan is priced as if nothing
were done. Core-seconds are those of the process that made a step; a step whose price is not known is left out of the
ratio and counted. Each kind of step, and the whole study, appends a line to `prices.csv`.

At smoke scale the ratios say little: a step there takes a second or two, most of which is imports and files.
"""

from __future__ import annotations

import argparse
import collections
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

from nosce.errors import NosceError, UsageError
from nosce.pipeline.cost import TIMED_KINDS, StepCost, estimate_costs
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.run import timing_seconds
from nosce.pipeline.step import Step
from nosce.store.commit import git_state
from nosce.store.provenance import cpu_model
from nosce.store.store import Store

RESULTS = Path(__file__).parent / "prices.csv"
COLUMNS = (
    "study",
    "scale",
    "seeds",
    "arms",
    "kind",
    "steps",
    "not_known",
    "planned_s",
    "taken_s",
    "ratio",
    "plan_s",
    "commit",
    "machine",
)


@dataclass
class Bill:
    """Core-seconds of some steps: planned and taken of those with a price, and taken by those without one."""

    steps: int = 0
    not_known: int = 0
    planned: float = 0.0
    taken: float = 0.0
    unpriced: float = 0.0

    def add(self, planned: float | None, taken: float) -> None:
        self.steps += 1
        if planned is None:
            self.not_known += 1
            self.unpriced += taken
        else:
            self.planned += planned
            self.taken += taken

    @property
    def ratio(self) -> float:
        return self.planned / self.taken if self.taken else math.nan


def bills(steps: list[Step], costs: list[StepCost], store: Store) -> dict[str, Bill]:
    """By kind of step, and "all"; kinds that have no price are only counted under their own name."""
    planned = {cost.step.name: cost.seconds for cost in costs}
    found: dict[str, Bill] = collections.defaultdict(Bill)
    for step in steps:
        taken = float(store.step_record(step.name).provenance["cpu_seconds"])
        found[step.kind].add(planned.get(step.name), taken)
        found["all"].add(planned.get(step.name), taken)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("study")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--seeds", type=int, help="as many seeds as the run had; default: the study's")
    parser.add_argument("--arms", default="", help="names of arms, if the run had these alone")
    options = parser.parse_args()
    arms = tuple(name for name in options.arms.split(",") if name)
    store = Store.open(options.store)
    plan = StudyRequest(study=options.study, scale=options.scale, n_seeds=options.seeds, arms=arms).plan()
    if missing := [step for step in plan.all_steps if not store.has(step.name)]:
        raise UsageError(
            f"{len(missing)} of {len(plan.all_steps)} steps of {options.study} are not in {store.root}; run it first."
        )
    started = time.monotonic()
    costs = estimate_costs(plan.all_steps, None, timing_seconds(options.scale, len(plan.all_steps)))
    seconds = time.monotonic() - started
    found = bills(list(plan.all_steps), costs, store)
    git, is_new = git_state(), not RESULTS.exists()
    print(
        f"{'kind':14} {'steps':>6} {'not known':>9} {'planned s':>10} {'taken s':>10} {'ratio':>6} {'unpriced s':>10}"
    )
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for kind in sorted(found, key=lambda kind: (kind == "all", kind not in TIMED_KINDS, kind)):
            bill = found[kind]
            print(
                f"{kind:14} {bill.steps:6} {bill.not_known:9} {bill.planned:10.1f} {bill.taken:10.1f} "
                f"{bill.ratio:6.2f} {bill.unpriced:11.1f}"
            )
            amounts = (
                f"{bill.planned:.1f}",
                f"{bill.taken:.1f}",
                "" if math.isnan(bill.ratio) else f"{bill.ratio:.2f}",
            )
            where = (f"{seconds:.0f}", (git["commit"] or "")[:12], cpu_model())
            writer.writerow(
                (
                    options.study,
                    options.scale,
                    options.seeds or "all",
                    options.arms or "all",
                    kind,
                    bill.steps,
                    bill.not_known,
                    *amounts,
                    *where,
                )
            )


if __name__ == "__main__":
    try:
        main()
    except NosceError as error:
        raise SystemExit(f"prices: {error}") from None
