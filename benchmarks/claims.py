"""What becomes of every claim on readings whose truth is known?  Writes docs/claims.md.

    python benchmarks/claims.py                      400 draws of each world, all studies: about ten minutes of a core
    python benchmarks/claims.py --draws 20 karel     one study, printed
    python benchmarks/claims.py --only karel/future- diaries/gaps-whole
                                                     the rows of these claims, in the page as it stands

`nosce.bench_claims` does the same for the claims of a study of your own.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # tables of a few hundred rows: threads only wait for each other

from nosce.analysis.bench.claim_bench import BenchedClaim, bench_claims
from nosce.analysis.bench.table import bench_table, further_worlds_table
from nosce.pipeline.study_loading import load_study

RESULTS = Path(__file__).parents[1] / "docs" / "claims.md"
STUDIES = ("biographies", "biographies_variants", "karel", "diaries", "introspection", "emergence")
INTRODUCTION = """# The claims on planted readings

Would a claim fail if it were false? Every claim of every study is judged on readings that were drawn from known means:
in a world where the claim is true, in one where it is false, and in one that lies on its threshold. It must come out as
*holds*, *fails* and *undecided*. `python benchmarks/claims.py` makes this page; `nosce.bench_claims` judges the claims
of a study of your own.

The worlds follow from each claim's own selections, threshold and preconditions. The means that are planted put the
measure three quarters of the way from the threshold to the farthest value that it can have; all else lies in the middle
of its range. There are five seeds, 60 units each (300 where the worlds lie near the threshold or a precondition asks
for an interval; twelve seeds of 1,000 where two things must be alike within some points), one item a unit. Seeds
differ by a twentieth of the standard deviation of a coin. {draws}

An interval covers its truth in 95 % of draws, so about 95 % are undecided on the threshold. Shares are in percent, with
Wilson's intervals. A claim *can fail* if it surely fails in more than half of the draws where it is false.
"""
FURTHER = """
`Peak` counts every program that was written, so it has no interval, and a claim on it comes out as *holds* or *fails*
even on its threshold (`babbling`).
## Other worlds

How often claims come out as holds / fails / undecided, in percent, where a precondition does not hold, where the claim
is true of one seed alone, where half of the seeds obey it and half refute it (two groups), and where all shares are
0.4 % or 99.6 %. A dash: the claim has no such world.
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("studies", nargs="*", default=STUDIES)
    options.add_argument("--draws", type=int, default=400)
    options.add_argument("--further-draws", type=int, default=40)
    options.add_argument("--whole-table-draws", type=int, help="of measures that are no weighted sum of means")
    options.add_argument("--scale", default="laptop")
    options.add_argument("--only", nargs="+", default=[], metavar="STUDY/CLAIM", help="beginnings of claims' names")
    chosen = options.parse_args()
    asked = [name for name in STUDIES if any(one.startswith(f"{name}/") for one in chosen.only)]
    studies = asked if chosen.only else chosen.studies
    if chosen.only and not studies:
        options.error(f"no study of --only is known; write STUDY/CLAIM with one of {', '.join(STUDIES)}.")
    benched: dict[str, list[BenchedClaim]] = {}
    for name in studies:
        study = load_study(name, chosen.scale)
        claims = [one for one in study.claims if f"{name}/{one.id}".startswith(tuple(chosen.only) or name)]
        draws = {"draws": chosen.draws, "further_draws": chosen.further_draws}
        found = bench_claims(name, claims, study.unit, **draws, whole_table_draws=chosen.whole_table_draws)
        benched[name] = list(found)
        print(name, bench_table(benched[name]), sep="\n\n", flush=True)
        if chosen.further_draws:
            print("", further_worlds_table(benched[name]), sep="\n", flush=True)
    if chosen.only:
        RESULTS.write_text(with_new_rows(RESULTS.read_text(encoding="utf-8"), benched), encoding="utf-8")
    elif tuple(chosen.studies) == STUDIES:
        whole = chosen.draws if chosen.whole_table_draws is None else chosen.whole_table_draws
        draws = f"There are {chosen.draws} draws of each world, {chosen.further_draws} of those further below, and"
        draws += f" {whole} where the measure is no weighted sum of means and takes long."
        RESULTS.write_text(page(benched, draws), encoding="utf-8")


def page(benched: dict[str, list[BenchedClaim]], draws: str) -> str:
    """The page of all studies."""
    text = INTRODUCTION.format(draws=draws)
    for name, claims in benched.items():
        able = sum(one.can_fail for one in claims)
        text += f"\n## {name}\n\n{able} of {len(claims)} claims can fail.\n\n{bench_table(claims)}\n"
    text += FURTHER
    for name, claims in benched.items():
        text += f"\n### {name}\n\n{further_worlds_table(claims)}\n"
    return text


def with_new_rows(text: str, benched: dict[str, list[BenchedClaim]]) -> str:
    """The page with the rows of some claims made anew, and with the count of claims that can fail."""
    parts = re.split(r"^(?=#{2,3} )", text, flags=re.MULTILINE)
    for number, part in enumerate(parts):
        level, _, name = part.partition("\n")[0].partition(" ")
        if name in benched:
            table = bench_table(benched[name]) if level == "##" else further_worlds_table(benched[name])
            parts[number] = _counted(_merged_rows(part, table))
    return "".join(parts).rstrip() + "\n"


def _merged_rows(part: str, table: str) -> str:
    """A section whose table has the rows of another table, in place of its own of the same claims or at its end."""
    new = {_claim_name(row): row for row in table.splitlines()[2:] if row.startswith("| ")}
    lines = part.rstrip().splitlines()
    end = max(n for n, line in enumerate(lines) if line.startswith("|"))
    lines = [new.pop(_claim_name(line), line) if line.startswith("| ") else line for line in lines]
    return "\n".join([*lines[: end + 1], *new.values(), *lines[end + 1 :]]) + "\n\n"


def _claim_name(row: str) -> str:
    return row.split("|")[1].strip()


def _counted(part: str) -> str:
    """A section with its number of claims that can fail."""
    ends = [row.split("|")[-2].strip() for row in part.splitlines() if row.startswith("| ") and "---" not in row]
    counts = f"{ends.count('yes')} of {len(ends) - 1} claims can fail."
    return re.sub(r"^\d+ of \d+ claims can fail\.$", counts, part, flags=re.MULTILINE)


if __name__ == "__main__":
    main()
