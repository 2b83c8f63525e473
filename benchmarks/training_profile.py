"""Where the trainings of each laptop study spend their core-minutes, by kind of operation: `training_profile.csv`.

    PYTHONPATH=src python benchmarks/training_profile.py [STUDY ...]

Some steps of each shape of training run under torch's profiler, on one thread. The shares of a shape are weighted with
what `nosce plan` expects all trainings of that shape to take. `GFLOP/s` is what the products of matrices reach while
they run, and `ceiling` what one large product reaches in bfloat16, so that their ratio says what is left to gain there.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measure import ceiling
from torch.profiler import ProfilerActivity, profile, record_function

from nosce.pipeline import cost
from nosce.pipeline.plan import StudyRequest
from nosce.train.optimizer import Optimizer

RESULTS = Path(__file__).parent / "training_profile.csv"
STUDIES = ("biographies", "karel", "diaries", "emergence", "introspection")
COLUMNS = ("study", "kind", "core_minutes", "share", "gflops_per_second", "ceiling")
UPDATE = "nosce: update"
PROFILED_SECONDS = 0.2  # of steps; two steps at least, and reading what the profiler saw takes longer
#: Kinds of operations, by the first name that an operation's name contains.
KINDS = {
    "attention": ("scaled_dot_product", "bmm"),
    "matrix products": ("aten::mm", "addmm", "linear"),
    "norms": ("layer_norm", "rms_norm", "rsqrt"),
    "activations": ("gelu", "silu", "tanh", "sigmoid", "relu"),
    "softmax and loss": ("softmax", "nll_loss", "logsumexp", "cross_entropy"),
    "embedding, gather, scatter": ("embedding", "index", "gather", "scatter", "take"),
    "copies and conversions": ("copy", "_to", "clone", "contiguous", "cat", "fill", "zero"),
    "sums and products of elements": ("add", "mul", "sub", "div", "neg", "sum", "mean", "pow"),
}


@dataclass
class Shape:
    """What the profiler saw of one shape of training: microseconds and floating point operations by kind."""

    microseconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    flops: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def kind_of(event: Any) -> str:
    """The kind of an operation; all operations of the optimizer's update are one kind."""
    parent = event
    while parent is not None:
        if parent.name == UPDATE:
            return "update of the weights"
        parent = parent.cpu_parent
    return next((kind for kind, names in KINDS.items() if any(name in event.name for name in names)), "other")


class ProfilingEstimator(cost._CostEstimator):
    """Times trainings as `nosce plan` does, under the profiler, and times nothing else."""

    shapes: dict[str, Shape]

    def _time(self, key: str, step: Any, seconds: float) -> None:
        if step.kind != "training":
            return
        with profile(activities=[ProfilerActivity.CPU], with_flops=True) as seen:
            super()._time(key, step, PROFILED_SECONDS)
        shape = self.shapes[key] = Shape()
        for event in seen.events():
            shape.microseconds[kind_of(event)] += event.self_cpu_time_total
            shape.flops[kind_of(event)] += event.flops or 0


def mark_updates() -> None:
    """Let the profiler tell the optimizer's operations from the network's."""
    plain = Optimizer.clipped_step

    def marked(self: Optimizer, step: int) -> torch.Tensor:
        with record_function(UPDATE):
            return plain(self, step)

    Optimizer.clipped_step = marked  # type: ignore[method-assign]


def table(study: str, scale: str, limit: float) -> list[dict[str, str]]:
    """Rows of one study, the largest first."""
    steps = [step for step in StudyRequest(study=study, scale=scale).plan().all_steps if step.kind == "training"]
    cost.load_libraries([cost.trained_model(step) for step in steps])
    estimator = ProfilingEstimator()
    object.__setattr__(estimator, "shapes", {})  # the estimator is frozen
    estimator.time_kinds(steps)
    minutes, flops = defaultdict[str, float](float), defaultdict[str, float](float)
    for step in steps:
        shape, seconds = estimator.shapes[estimator._key(step) or ""], estimator.cost(step).seconds or 0.0
        whole = sum(shape.microseconds.values())
        for kind, own in shape.microseconds.items():
            minutes[kind] += seconds * own / whole / 60
            flops[kind] += shape.flops[kind] * seconds / (whole * 1e-6)
    total = sum(minutes.values())
    return [
        {
            "study": study,
            "kind": kind,
            "core_minutes": f"{minutes[kind]:.1f}",
            "share": f"{minutes[kind] / total:.3f}",
            "gflops_per_second": f"{flops[kind] / (60 * minutes[kind]) / 1e9:.0f}" if flops[kind] else "",
            "ceiling": f"{limit:.0f}",
        }
        for kind in sorted(minutes, key=lambda name: -minutes[name])
    ]


def main() -> None:
    """Write the table of the studies asked for, beside those of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=list(STUDIES))
    parser.add_argument("--scale", default="laptop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    mark_updates()
    limit = ceiling(torch.bfloat16)
    kept: list[dict[str, str]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            kept = [row for row in csv.DictReader(file) if row["study"] not in options.studies]
    for study in options.studies:
        rows = table(study, options.scale, limit)
        kept += rows
        for row in rows:
            print(", ".join(row.values()), flush=True)
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)


if __name__ == "__main__":
    main()
