"""Are claims that are looked at up to four times wrong at most once in twenty?  Writes a table of docs/statistics.md.

    python benchmarks/looks.py --studies 4000

A planted study is run with 3, 5, 8 and 12 seeds, and its claim ends at the first look that decides it. A line a
quantity and distance of the truth from the claim's threshold, in standard deviations of one seed's value. It has the
share of studies that are decided wrongly (at distance 0 every decision is wrong) and of those whose last interval
covers the truth, at worst over runs that end after 3, 5, 8 or 12 seeds; the same of a claim that is judged once, with 2
seeds at 95 %; the share that is decided and the mean number of seeds of runs that end after 12; and the share of wrong
decisions if each look had an interval of 95 %.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from nosce.analysis.looks import LOOKS, TOTAL_ERROR, look_level
from nosce.analysis.stats.intervals import interval_of_units
from nosce.analysis.stats.paired import decide
from nosce.analysis.stats.ranges import SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.seeds import Seed

ROOT = Path(__file__).parents[1]
TABLE, PAGE = ROOT / "benchmarks" / "looks.csv", ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- benchmarks/looks.py -->", "<!-- end -->"
PEOPLE = 40
DISTANCES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
FEWEST = 2  # seeds of a claim that is judged once


@dataclass(frozen=True)
class World:
    """A quantity.

    Args:
        name: Its name.
        draw: From a random generator and a number of seeds, the scores of people, a row a seed.
        truth: The mean of infinitely many seeds.
        deviation: The standard deviation of one seed's value.
        value_range: The natural range.
    """

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    truth: float
    deviation: float
    value_range: ValueRange


def normal(spread: float) -> World:
    """Normal scores; seeds differ by so many errors of a seed's mean."""

    def draw(rng: np.random.Generator, seeds: int) -> np.ndarray:
        shift = spread * rng.normal(size=(seeds, 1)) / np.sqrt(PEOPLE)
        return rng.normal(size=(seeds, PEOPLE)) + shift

    return World(f"nats, seeds {spread:g}", draw, 0.0, float(np.sqrt((1 + spread**2) / PEOPLE)), UNBOUNDED)


def share(mean: float, spread: float) -> World:
    """Shares of right answers; seeds differ by so much of a coin's standard deviation."""
    total = 1 / spread**2 - 1 if spread else np.inf

    def draw(rng: np.random.Generator, seeds: int) -> np.ndarray:
        own = np.full((seeds, 1), mean) if not spread else rng.beta(mean * total, (1 - mean) * total, (seeds, 1))
        return rng.binomial(1, np.broadcast_to(own, (seeds, PEOPLE))).astype(np.float64)

    deviation = float(np.sqrt(mean * (1 - mean) * (spread**2 + (1 - spread**2) / PEOPLE)))
    return World(f"share {mean:g}, seeds {spread:g}", draw, mean, deviation, SHARE_RANGE)


def worlds() -> list[World]:
    """Every quantity."""
    shares = [share(mean, spread) for mean in (0.5, 0.9, 0.97) for spread in (0.0, 0.1, 0.3)]
    return [*(normal(spread) for spread in (0.0, 1.0, 5.0)), *shares]


@dataclass(frozen=True)
class LookOutcome:
    """A line of the table; all but `seeds` are shares of the simulated studies.

    Args:
        quantity: Name of the world.
        distance: From the truth to the threshold, in standard deviations of one seed's value.
        wrong: Decided wrongly, at worst over all ends of a run.
        covered: Whose last interval covers the truth, at worst likewise.
        wrong_once: Decided wrongly where a claim is judged once, with 2 seeds.
        covered_once: Whose interval then covers the truth.
        decided: Decided at the end of 12 seeds.
        seeds: Mean number of seeds then.
        wrong_at_95: Decided wrongly where every look has an interval of 95 %.
    """

    quantity: str
    distance: float
    wrong: float
    covered: float
    wrong_once: float
    covered_once: float
    decided: float
    seeds: float
    wrong_at_95: float


def simulate(world: World, distance: float, studies: int) -> LookOutcome:
    """The line of a world and distance."""
    rng = (Seed(0) / "looks" / world.name / f"{distance:g}").numpy()
    threshold = world.truth - distance * world.deviation
    right = "holds" if distance else ""
    ends = [FEWEST, *LOOKS]
    wrong, covered = np.zeros((studies, len(ends)), bool), np.zeros((studies, len(ends)), bool)
    naive, used = np.zeros(studies, bool), np.zeros(studies)
    open_at_end = np.zeros(studies, bool)
    for study in range(studies):
        scores = world.draw(rng, LOOKS[-1])
        decision, hits, naive_decision = "undecided", False, "undecided"
        for column, n_seeds in enumerate(ends):
            level = 1 - TOTAL_ERROR if n_seeds == FEWEST else look_level(n_seeds)
            if n_seeds == FEWEST or decision == "undecided":
                now = interval_of_units(scores[:n_seeds], level=level, value_range=world.value_range)
                found = decide(now, threshold, "above")
                is_hit = now.low is None or now.high is None or bool(now.low <= world.truth <= now.high)
                if n_seeds == FEWEST:
                    wrong[study, column], covered[study, column] = found not in ("undecided", right), is_hit
                    continue
                decision, hits, used[study] = found, is_hit, n_seeds
            if naive_decision == "undecided":
                plain = interval_of_units(scores[:n_seeds], level=0.95, value_range=world.value_range)
                naive_decision = decide(plain, threshold, "above")
            wrong[study, column], covered[study, column] = decision not in ("undecided", right), hits
        naive[study], open_at_end[study] = naive_decision not in ("undecided", right), decision == "undecided"
    return LookOutcome(
        quantity=world.name,
        distance=distance,
        wrong=float(wrong[:, 1:].mean(0).max()),
        covered=float(covered[:, 1:].mean(0).min()),
        wrong_once=float(wrong[:, 0].mean()),
        covered_once=float(covered[:, 0].mean()),
        decided=float(1 - open_at_end.mean()),
        seeds=float(used.mean()),
        wrong_at_95=float(naive.mean()),
    )


def page_table(rows: list[LookOutcome], studies: int) -> str:
    """The table of the page: of each quantity the worst of all distances, and what the distances cost."""
    levels = ", ".join(f"{100 * look_level(n):.1f} % at {n}" for n in LOOKS)
    lines = [
        f"Levels: {levels} seeds. {studies:,} simulated studies a line and distance; the worst of runs that end",
        "after 3, 5, 8 or 12 seeds, over distances of 0 to 4 standard deviations of one seed's value from the",
        "threshold. Decided, and mean seeds of a run up to 12: at a distance of 0.5, 1, 2 and 4. The last columns are",
        "of a claim that is judged once, by an interval of 95 % over two seeds. *Seeds* in the first column says how",
        "much trainings differ: nats in standard errors of a seed's mean, shares in standard deviations of a coin.",
        "",
        "| quantity | wrong | wrong, 95 % at each look | covered | decided | seeds | wrong, once | covered, once |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.quantity for row in rows):
        own = [row for row in rows if row.quantity == name]
        far = [row for row in own if row.distance >= 0.5]
        cells = [
            name,
            f"{max(row.wrong for row in own):.1%}",
            f"{max(row.wrong_at_95 for row in own):.1%}",
            f"{min(row.covered for row in own):.1%}",
            ", ".join(f"{row.decided:.0%}" for row in far),
            ", ".join(f"{row.seeds:.1f}" for row in far),
            f"{max(row.wrong_once for row in own):.1%}",
            f"{min(row.covered_once for row in own):.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).replace("%,", " %,").replace("% |", " % |").replace("  %", " %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4_000, help="simulated studies a line")
    studies = parser.parse_args().studies
    rows = []
    for world in worlds():
        for distance in DISTANCES:
            rows.append(simulate(world, distance, studies))
            print(rows[-1], flush=True)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(LookOutcome)])
        for row in rows:
            writer.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in vars(row).values()])
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(f"{text[:before]}\n{page_table(rows, studies)}\n{text[after:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
