"""What the mirage test says of published tables; writes benchmarks/published.csv.

    python benchmarks/published.py --data ../shared/data

LAMBADA over the training of eight Pythia sizes (Apache-2.0), five benchmarks over 65 to 70 open models (MIT), 24 tasks
of BIG-bench over twelve sizes (MIT and Apache-2.0); sources and licences lie beside the tables. A line each: the
verdict, what it rests on, and how well the next point was foretold from all before it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence.forecasts import ScalingCurve, forecast_onsets, forecast_sizes, summarize_forecasts
from nosce.analysis.emergence.loss_threshold import compare_loss_forms
from nosce.analysis.emergence.scores import CountOutcomes
from nosce.analysis.emergence.test import MirageTestResult, mirage_test
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "published.csv"
LAMBADA = 5_153  # texts
COLUMNS = (
    "table",
    "series",
    "points",
    "verdict",
    "why",
    "sharp_rise",
    "sharp_share",
    "continuous_share",
    "link_off",
    "p_line",
    "q_line",
    "foretold",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = options.parse_args().data
    told = [*lambada(data), *on_loss(data), *choices(data), *bigbench_tasks(data)]
    groups: dict[str, list[int]] = {}
    for place, (name, _, _) in enumerate(told):
        groups.setdefault(name.split(":")[0], []).append(place)
    q = np.ones(len(told))
    for places in groups.values():
        q[places] = stats.false_discovery_control([told[place][1].p_linear for place in places])
    with RESULTS.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for (name, found, series), value in zip(told, q, strict=True):
            line = (
                name,
                series,
                found.sizes,
                found.verdict,
                found.why,
                f"{found.sharp_rise:.3f}",
                f"{found.sharp_window_share:.2f}",
                number(found.continuous_window_share),
                off(found),
                f"{found.p_linear:.3f}",
                f"{value:.3f}",
                json.dumps(
                    {how: {k: round(v, 3) for k, v in one.items()} for how, one in found.forecast_scores.items()}
                ),
            )
            out.writerow(line)
            print(*line[:8], flush=True)
        out.writerow(loss_forms(data))
    of_each_size(data)


def off(found: MirageTestResult) -> str:
    """The most that one link leaves unexplained at any point."""
    return "" if found.residual is None else f"{max(map(abs, found.residual)):.3f}"


def number(value: float | None) -> str:
    """Two digits, nothing where there is none."""
    return "" if value is None else f"{value:.2f}"


def pythia(data: Path) -> pl.DataFrame:
    """LAMBADA without examples, one row a size and step; step 0 has no place on a logarithmic axis."""
    path = data / "emergence_extra" / "pythia_checkpoints.csv.gz"
    table = pl.read_csv(path, schema_overrides={"ppl": pl.Float64, "ppl_stderr": pl.String})
    return table.filter((pl.col("shots") == 0) & pl.col("task").str.contains("lambada") & (pl.col("step") > 0)).sort(
        "non_embedding_params", "step"
    )


def lambada(data: Path) -> Iterator[tuple[str, MirageTestResult, int]]:
    """Along training, sizes as series; and along sizes, at the last step."""
    table = pythia(data)
    shape = (table["size"].n_unique(), table["step"].n_unique())
    right = (table["acc"].to_numpy() * LAMBADA).round().reshape(shape)
    smooth = -np.log(table["ppl"].to_numpy()).reshape(shape)
    tokens = table["tokens_seen"].unique().sort().to_numpy().astype(float)
    asked = np.full(shape, float(LAMBADA))
    along = CountOutcomes(sizes=tokens, n_correct=right, n_total=asked, continuous=smooth)
    yield "lambada: along training", mirage_test(along, Seed(0)), shape[0]
    for first in (64, 256, 512):  # steps; the verdict depends on where one begins
        kept = table.filter(pl.col("size") == table["size"][0])["step"].to_numpy() >= first
        part = CountOutcomes(
            sizes=tokens[kept], n_correct=right[:, kept], n_total=asked[:, kept], continuous=smooth[:, kept]
        )
        yield f"lambada: along training from step {first}", mirage_test(part, Seed(0)), shape[0]
    sizes = table["non_embedding_params"].unique().sort().to_numpy().astype(float)
    last = CountOutcomes(sizes=sizes, n_correct=right[:, -1:].T, n_total=asked[:, -1:].T, continuous=smooth[:, -1:].T)
    yield "lambada: along sizes", mirage_test(last, Seed(0)), 1


def on_loss(data: Path) -> Iterator[tuple[str, MirageTestResult, int]]:
    """LAMBADA with the loss for an axis in place of tokens: points of like loss as one, and each size alone.

    A log-likelihood is a straight line along itself and cannot break there: what is asked is whether accuracy jumps at
    some loss, and whether one link explains it. 12b diverges at two early steps (to a perplexity of 6e8), which
    stretches the axis; hence once without what lies a nat above a size's first step.
    """
    table = pythia(data).with_columns(loss=pl.col("ppl").log(), right=(pl.col("acc") * LAMBADA).round())
    calm = table.filter(pl.col("loss") < 1 + pl.col("loss").first().over("size"))
    for what, points, width in (("", table, 1.0), ("", table, 0.5), ("", table, 2.0), (", no spikes", calm, 1.0)):
        each = (
            points.group_by((pl.col("loss") / width).floor().alias("place"))
            .agg(pl.col("loss").mean(), pl.col("right").sum(), pl.len())
            .sort("loss", descending=True)
        )
        yield f"lambada: along the loss, points within {width:g} nats{what}", _along_loss(each, each["len"]), 1
    for (name,), part in table.group_by("size", maintain_order=True):
        once = part.sort("loss", descending=True).unique("loss", maintain_order=True)
        yield f"lambada: along the loss, {name}", _along_loss(once, pl.Series([1] * len(once))), 1


def _along_loss(table: pl.DataFrame, points: pl.Series) -> MirageTestResult:
    """Audit accuracy along a falling loss; each row stands for so many points."""
    loss = table["loss"].to_numpy()
    told = CountOutcomes(
        sizes=np.exp(-loss),
        n_correct=table["right"].to_numpy()[None],
        n_total=points.to_numpy()[None] * float(LAMBADA),
        continuous=-loss[None],
    )
    return mirage_test(told, Seed(0))


def loss_forms(data: Path) -> tuple[str, ...]:
    """Does accuracy rise smoothly with the loss of all sizes and steps, or only from some loss on? As a line."""
    table = pythia(data)
    found = compare_loss_forms(
        table["ppl"].log().to_numpy(), (table["acc"].to_numpy() * LAMBADA).round(), np.full(len(table), float(LAMBADA))
    )
    why = f"nats an outcome of points left out: smooth {found.smooth:.4f}, threshold {found.threshold:.4f}"
    return ("lambada: along the loss, forms", "1", str(len(table)), found.best, why, *[""] * (len(COLUMNS) - 5))


def of_each_size(data: Path) -> None:
    """Onsets of LAMBADA: where a tenth is right, foretold from the steps before, by size; coverage over all."""
    every, told = [], []
    for (name,), part in pythia(data).group_by("size", maintain_order=True):
        right = (part["acc"].to_numpy() * LAMBADA).round()
        curve = ScalingCurve(
            part["tokens_seen"].to_numpy().astype(float),
            right,
            np.full(len(part), float(LAMBADA)),
            -np.log(part["ppl"].to_numpy()),
        )
        every += [(name, one) for one in forecast_onsets(curve, Seed(0), level=0.1)]
        told += [one for one in forecast_sizes(curve, Seed(0)) if curve.shares[one.n_fit_sizes] > 0]
    for how in ("direct", "linked"):
        mine = [one for _, one in every if one.method == how]
        print(
            f"onset {how}: {len(mine)} forecasts, {np.mean([o.covered for o in mine]):.0%} covered, CRPS "
            f"{np.mean([o.crps for o in mine]):.2f} decades, median width "
            f"{np.median([min(o.high, 99) - o.low for o in mine]):.2f}"
        )
    print(json.dumps(summarize_forecasts(tuple(told)), indent=1))


def choices(data: Path) -> Iterator[tuple[str, MirageTestResult, int]]:
    """Accuracy beside the target-conditioned Brier score, by training FLOPs; models of equal FLOPs as one."""
    table = pl.read_csv(data / "emergence_extra" / "multichoice_acc_brier_by_model.csv.gz")
    for (task,), part in table.filter(pl.col("flops_1e21") > 0).group_by("task", maintain_order=True):
        each = (
            part.with_columns(right=(pl.col("acc") * pl.col("n_questions")).round())
            .group_by("flops_1e21")
            .agg(pl.col("right", "n_questions").sum(), pl.col("tc_brier").mean())
            .sort("flops_1e21")
        )
        told = CountOutcomes(
            sizes=each["flops_1e21"].to_numpy(),
            n_correct=each["right"].to_numpy()[None],
            n_total=each["n_questions"].to_numpy()[None].astype(float),
            continuous=-each["tc_brier"].to_numpy()[None],
        )
        yield f"choices: {task}", mirage_test(told, Seed(0)), 1


def bigbench_tasks(data: Path) -> Iterator[tuple[str, MirageTestResult, int]]:
    """Multiple choice alone, with nothing continuous beside it."""
    table = bigbench.load_bigbench(data / "bigbench" / "scores_BIG-G_T0.jsonl.gz")
    asked = pl.read_csv(data / "bigbench" / "counts.csv")
    column = next(name for name in asked.columns if "scored" in name or name == "n")
    scored = dict(asked.group_by("task").agg(pl.col(column).max()).iter_rows())
    for (task,), part in bigbench.to_counts(table, scored).group_by("task", maintain_order=True):
        ordered = part.sort("size")
        told = CountOutcomes(
            sizes=ordered["size"].to_numpy(),
            n_correct=ordered["right"].to_numpy()[None],
            n_total=ordered["asked"].to_numpy()[None],
            continuous=None,
            chance=float(ordered["low"][0]),
        )
        yield f"bigbench: {task}", mirage_test(told, Seed(0)), 1


if __name__ == "__main__":
    main()
