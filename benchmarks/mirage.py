"""How good is the mirage test? Planted truths, audited; writes benchmarks/mirage.csv and the tables of docs/audit.md.

    python benchmarks/mirage.py                 # about ten minutes of one core
    python benchmarks/mirage.py --tables        # the tables of docs/audit.md again, from benchmarks/mirage.csv

A line a truth, number of items and number of sizes: how often each verdict was given. The worlds are others than those
on which the thresholds were chosen (those are below 2,000). The laws are steep enough to jump.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest

from nosce.analysis.emergence.power import JUMPING_EXPONENTS
from nosce.analysis.emergence.simulation import ALLOWED_VERDICTS, EXPECTED_VERDICTS, GROUND_TRUTHS, simulate_outcomes
from nosce.analysis.emergence.test import EMERGENCE_VERDICTS, mirage_verdict
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "mirage.csv"
PAGE = Path(__file__).parents[1] / "docs" / "audit.md"
BEGIN, END = "<!-- verdict tables: written by benchmarks/mirage.py -->", "<!-- end of the verdict tables -->"
RESAMPLES = 200
SEEDS_OF_A_MIXTURE = 5
MAX_FALSE = 0.05  # of the worlds of a truth that got a verdict


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--worlds", type=int, default=200)
    options.add_argument("--items", type=int, nargs="+", default=[100, 1_000, 10_000])
    options.add_argument("--sizes", type=int, nargs="+", default=[5, 8, 12])
    options.add_argument("--first", type=int, default=60_000, help="seed of the first world")
    options.add_argument("--tables", action="store_true", help="only write the tables of docs/audit.md")
    chosen = options.parse_args()
    if not chosen.tables:
        run(chosen.worlds, chosen.items, chosen.sizes, chosen.first)
    write_tables()


def run(worlds: int, items: Sequence[int], sizes: Sequence[int], first: int) -> None:
    """Audit the worlds and write benchmarks/mirage.csv, a line as soon as it is known."""
    heading = ["truth", "items", "sizes", "seeds", "worlds", *EMERGENCE_VERDICTS, "false metric", "false break"]
    with RESULTS.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*heading, "seconds an audit"])
        for n in items:
            for j in sizes:
                for truth in GROUND_TRUTHS:
                    began = time.process_time()
                    seeds = SEEDS_OF_A_MIXTURE if truth == "seed mixture" else 1
                    found: Counter[str] = Counter()
                    for number in range(first, first + worlds):
                        world = simulate_outcomes(
                            truth, sizes=j, items=n, seeds=seeds, seed=Seed(number), exponents=JUMPING_EXPONENTS
                        )
                        found[mirage_verdict(world, Seed(number) / "audit", resamples=RESAMPLES)] += 1
                    wrong = [0 if v in ALLOWED_VERDICTS[truth] else found[v] for v in ("metric", "break")]
                    spent = (time.process_time() - began) / worlds
                    verdicts = [found[v] for v in EMERGENCE_VERDICTS]
                    row = [truth, n, j, seeds, worlds, *verdicts, *wrong, f"{spent:.4f}"]
                    out.writerow(row)
                    file.flush()
                    print(*row, flush=True)


def write_tables() -> None:
    """Put the tables between their marks in docs/audit.md."""
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    parts = [false_table(rows, "metric"), false_table(rows, "break"), right_table(rows)]
    tables = "\n\n".join([*parts, summary(rows)])
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def cells(rows: Sequence[dict[str, str]]) -> list[tuple[int, int]]:
    """Numbers of sizes and of items, fewest first."""
    return sorted({(int(row["sizes"]), int(row["items"])) for row in rows})


def n_decided(row: dict[str, str]) -> int:
    """Worlds with a verdict."""
    return int(row["worlds"]) - int(row["under-resolved"])


def false_table(rows: Sequence[dict[str, str]], verdict: str) -> str:
    """Of the worlds with a verdict, how many were called so falsely: a row a truth, a column a number of sizes."""
    numbers = cells(rows)
    heads = " | ".join(f"{j} x {n:,}" for j, n in numbers)
    lines = [f"False **{verdict}**, of the worlds with a verdict (sizes x items):", ""]
    lines += [f"| truth | {heads} |", "|---|" + "---|" * len(numbers)]
    for truth in GROUND_TRUTHS:
        if verdict in ALLOWED_VERDICTS[truth]:
            continue
        by_cell = {(int(r["sizes"]), int(r["items"])): r for r in rows if r["truth"] == truth}
        shown = [f"{by_cell[cell][f'false {verdict}']}/{n_decided(by_cell[cell])}" for cell in numbers]
        lines.append(f"| {truth} | {' | '.join(shown)} |")
    return "\n".join(lines)


def right_table(rows: Sequence[dict[str, str]]) -> str:
    """How many worlds of each truth got the verdict that is expected of it."""
    numbers = cells(rows)
    lines = [
        "Worlds with the expected verdict, of all worlds (the others abstain unless a table above counts them):",
        "",
    ]
    heads = " | ".join(f"{j} x {n:,}" for j, n in numbers)
    lines += [f"| truth | expected | {heads} |", "|---|---|" + "---|" * len(numbers)]
    for truth in GROUND_TRUTHS:
        expected = EXPECTED_VERDICTS[truth]
        by_cell = {(int(r["sizes"]), int(r["items"])): r for r in rows if r["truth"] == truth}
        shown = [f"{int(by_cell[cell][expected]) / int(by_cell[cell]['worlds']):.0%}" for cell in numbers]
        lines.append(f"| {truth} | {expected} | {' | '.join(shown)} |")
    return "\n".join(lines)


def summary(rows: Sequence[dict[str, str]]) -> str:
    """The worst cell of each error, whether all are at most 5 %, and how much time an audit took."""
    parts = []
    for verdict in ("metric", "break"):
        judged = [row for row in rows if verdict not in ALLOWED_VERDICTS[row["truth"]] and n_decided(row)]
        worst = max(judged, key=lambda row: int(row[f"false {verdict}"]) / n_decided(row))
        count, of = int(worst[f"false {verdict}"]), n_decided(worst)
        ci = binomtest(count, of).proportion_ci(method="exact")
        over = [row for row in judged if int(row[f"false {verdict}"]) / n_decided(row) > MAX_FALSE]
        parts.append(
            f"The worst cell of false {verdict}: {worst['truth']} at {worst['sizes']} sizes and "
            f"{int(worst['items']):,} items, {count / of:.1%} [{ci.low:.1%}, {ci.high:.1%}]; {len(over)} of "
            f"{len(judged)} cells are above 5 %."
        )
    nine = [
        max(EMERGENCE_VERDICTS, key=lambda v: int(row[v])) == EXPECTED_VERDICTS[row["truth"]] for row in main_cell(rows)
    ]
    parts.append(
        f"At 8 sizes and 1,000 items the commonest verdict is the expected one for {sum(nine)} of {len(nine)} truths."
    )
    return "\n".join(parts)


def main_cell(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of 8 sizes and 1,000 items."""
    return [row for row in rows if (row["sizes"], row["items"]) == ("8", "1000")]


if __name__ == "__main__":
    main()
