"""Does the confirmatory half agree? Every claim's verdict by seeds that were read while claims were made beside its
verdict by fresh seeds, of all studies under `results/`, written to `halves.csv`.

The exploratory verdict is that of the page's own run where it has exploratory seeds too. Else it is the one that the
results of an earlier commit had (`--before COMMIT`), and `criterion` says whether text and criterion of the claim are
still the same. Of a claim whose criterion changed, the two verdicts answer two questions; such rows are counted apart.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nosce.pipeline.claim_age import name_seeds
from nosce.pipeline.claim_outlook import halves_outcome

COLUMNS = (
    *("study", "claim", "exploratory_seeds", "exploratory", "exploratory_interval"),
    *("confirmatory_seeds", "confirmatory", "confirmatory_interval", "criterion", "outcome"),
)
NEW_CLAIM = "new claim"
CHANGED = "criterion changed"


def interval_text(claim: Mapping[str, Any]) -> str:
    """Estimate and interval of a claim, e.g. `0.717 [0.562, 0.883]`."""
    if claim["estimate"] is None:
        return "-"
    ends = ["-" if claim[end] is None else f"{claim[end]:.4g}" for end in ("low", "high")]
    return f"{claim['estimate']:.4g} [{ends[0]}, {ends[1]}]"


def published_before(commit: str, path: Path) -> dict[str, Any] | None:
    """What a page's `show.json` said at a commit; None where it had none."""
    shown = subprocess.run(["git", "show", f"{commit}:{path.as_posix()}"], capture_output=True, text=True, check=False)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def own_rows(now: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Rows of a page whose run has exploratory seeds too."""
    halves = now["halves"]
    for row in halves["claims"]:
        yield {
            "study": now["study"],
            "claim": row["claim"],
            "exploratory_seeds": name_seeds(halves["exploratory_seeds"]),
            "exploratory": row["exploratory"],
            "exploratory_interval": row["exploratory_here"],
            "confirmatory_seeds": name_seeds(halves["confirmatory_seeds"]),
            "confirmatory": row["confirmatory"],
            "confirmatory_interval": row["confirmatory_here"],
            "criterion": "same",
            "outcome": row["outcome"],
        }


def rows_against(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Rows of a page against what it said at an earlier commit; a claim that is not there is a new one."""
    earlier = {claim["id"]: claim for claim in before["claims"]}
    for claim in now["claims"]:
        if claim.get("is_precondition"):
            continue
        seen = earlier.get(claim["id"])
        row = {
            "study": now["study"],
            "claim": claim["id"],
            "confirmatory_seeds": name_seeds(_fresh_seeds(claim, before, now)),
            "confirmatory": claim["verdict"],
            "confirmatory_interval": interval_text(claim),
        }
        if seen is None:
            yield row | {"outcome": NEW_CLAIM}
            continue
        same = seen["text"] == claim["text"] and _bar(seen) == _bar(claim)
        outcome = halves_outcome(seen["verdict"], claim["verdict"], is_read=seen["estimate"] is not None)
        yield row | {
            "exploratory_seeds": name_seeds(before["seeds"]),
            "exploratory": seen["verdict"],
            "exploratory_interval": interval_text(seen),
            "criterion": "same" if same else "changed",
            "outcome": outcome,
        }


def _bar(claim: Mapping[str, Any]) -> str:
    """What the interval must do, without its level, which is the look's."""
    return str(claim["criterion"]).partition(" interval ")[2] or str(claim["criterion"])


def _fresh_seeds(claim: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]) -> list[int]:
    """The seeds that a claim's verdict rests on."""
    seeds = [seed for seed in now["seeds"] if seed not in before["seeds"]]
    return seeds[: claim["look"]["seeds"]] if claim.get("look") else seeds


def table(results: Path, commit: str) -> list[dict[str, str]]:
    """Rows of all pages under a folder whose runs have fresh seeds."""
    rows: list[dict[str, str]] = []
    for path in sorted(results.glob("*/laptop/show.json")):
        now = json.loads(path.read_text(encoding="utf-8"))
        if now.get("halves"):
            rows += own_rows(now)
        elif commit and (before := published_before(commit, path)) and not {*now["seeds"]} & {*before["seeds"]}:
            rows += rows_against(before, now)
    return rows


def summary(rows: list[dict[str, str]]) -> list[str]:
    """A line a study and one of all: how many verdicts agree, turned and so on."""
    lines = []
    for study in [*dict.fromkeys(row["study"] for row in rows), "all"]:
        chosen = [row for row in rows if study in (row["study"], "all")]
        outcomes = [CHANGED if row.get("criterion") == "changed" else row["outcome"] for row in chosen]
        counted = ", ".join(f"{count} {name}" for name, count in Counter(outcomes).most_common())
        lines.append(f"{study}: {len(chosen)} claims: {counted or 'none'}")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--results", type=Path, default=Path("results"))
    options.add_argument("--before", default="", help="a commit whose results rest on exploratory seeds")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "halves.csv")
    chosen = options.parse_args()
    rows = table(chosen.results, chosen.before)
    with chosen.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
