"""Write benchmarks/RESULTS.md: the last line of each case in results.csv, as a table."""

from __future__ import annotations

import csv

from measure import RESULTS

HEAD = """# Measured

Made by `make bench` from [results.csv](results.csv); the last measurement of each case. A ratio is how many times
less time ours took than the other side in the same run, taking turns: median of the pairs [lowest, highest].
What the cases are is said at the top of each script.

| benchmark | case | ratio | seconds, ours | pairs | note | commit |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {(row["benchmark"], row["case"]): row for row in rows}
    lines = []
    for row in last.values():
        ratio = f"{row['ratio']} [{row['ratio_low']}, {row['ratio_high']}]" if row["ratio_low"] else row["ratio"]
        seconds = f"{row['median_s']} [{row['low_s']}, {row['high_s']}]"
        cells = (row["benchmark"], row["case"], ratio, seconds, row["n"], row["note"], row["commit"])
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    machines = sorted({row["machine"] for row in last.values()})
    (RESULTS.parent / "RESULTS.md").write_text(HEAD + "\n".join(lines) + f"\n\nMachine: {'; '.join(machines)}.\n")


if __name__ == "__main__":
    main()
