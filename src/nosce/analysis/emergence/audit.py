"""What `nosce audit` and `nosce design` do: read tables, run the mirage test, and say what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from scipy import stats

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence import summary as words
from nosce.analysis.emergence.power import ENOUGH, Power, designs
from nosce.analysis.emergence.scores import Counts, Items
from nosce.analysis.emergence.table import read, scores
from nosce.analysis.emergence.test import Audit, audit
from nosce.analysis.render.tables import rows_table
from nosce.errors import DataError, UsageError
from nosce.seeds import Seed

LEAST_DRAWS = 100
EMERGENT = 10.0  # the emergence score that `shares` counts from; the paper names no threshold


@dataclass(frozen=True, eq=False)
class Audited:
    """A table that was audited, and where several were, its p with all of them taken into account."""

    name: str
    scores: Items | Counts
    found: Audit
    q: float | None = None  # that a straight line would rise as steeply (Benjamini and Hochberg 1995)

    @property
    def json(self) -> dict[str, Any]:
        """All numbers."""
        told = words.as_json(self.found)
        return told if self.q is None else {"table": self.name, **told, "q_jump": self.q}


def tables(paths: Sequence[Path], *, lower_is_better: bool, log_likelihood: bool, draws: int) -> list[Audited]:
    """Audit tables of outcomes.

    Raises:
        UsageError: One cannot be read, is wrong, or too few resamplings were asked for.
    """
    if draws < LEAST_DRAWS:
        raise UsageError(f"--draws {draws} is too few to say how often; take {LEAST_DRAWS} or more.")
    told = []
    for path in paths:
        try:
            told.append((path.name, scores(read(path), lower_is_better=lower_is_better, log_likelihood=log_likelihood)))
        except DataError as error:  # the table is the user's
            raise UsageError(str(error) if len(paths) == 1 else f"{path}: {error}") from None
    found = [Audited(name, one, audit(one, Seed(0) / "audit", draws=draws)) for name, one in told]
    if len(found) == 1:
        return found
    qs = stats.false_discovery_control([one.found.p_jump for one in found])
    return [Audited(one.name, one.scores, one.found, float(q)) for one, q in zip(found, qs, strict=True)]


def shown(found: Sequence[Audited]) -> Iterator[str | Table]:
    """What a terminal prints."""
    for one in found:
        yield words.MEANING[one.found.verdict]
        more = [] if one.q is None else [("of all these tables, q", f"{one.q:.3f} that a straight line rises so")]
        yield rows_table(one.name, ("", ""), [*words.lines(one.found), *more])


def results(path: Path) -> dict[str, Any]:
    """Emergence scores of all curves in a folder or file of BIG-bench's own results, and by metric how many are high.

    Raises:
        UsageError: It holds none.
    """
    try:
        curves = bigbench.emergence(bigbench.load(path))
    except DataError as error:
        raise UsageError(str(error)) from None
    order = curves.sort("emergence", descending=True, nulls_last=True)
    return {"curves": order.to_dicts(), "threshold": EMERGENT,
            "shares": bigbench.shares(curves, EMERGENT).to_dicts()}  # fmt: skip


def results_shown(found: dict[str, Any]) -> Iterator[str | Table]:
    """What a terminal prints of BIG-bench's results."""
    curves = found["curves"]
    varies = [key for key in ("family", "metric", "shots", "sizes") if len({c[key] for c in curves}) > 1]
    alike = [f"{curves[0][key]} {key}" if isinstance(curves[0][key], int) else curves[0][key]
             for key in ("family", "metric", "shots", "sizes") if key not in varies]  # fmt: skip
    rows = [(" ".join(filter(None, (c["task"], c["subtask"]))), *(c[key] for key in varies),
             None if c["emergence"] is None else f"{c['emergence']:.2f}", c["noise"], c["q"])
            for c in curves]  # fmt: skip
    yield rows_table(", ".join(["Emergence scores", *alike]), ("task", *varies, "E", "noise: p", "q"), rows)
    yield rows_table(
        f"Curves above {found['threshold']:g}", ("metric", "above", "of"),
        [(s["metric"], s["emergent"], s["curves"]) for s in found["shares"]])  # fmt: skip
    yield ("A straight line has as many as its sizes less one, so that a high score is no jump; noise: how often pure "
           "noise is as far from 0; q: with all curves taken into account.")  # fmt: skip


def is_results(path: Path) -> bool:
    """Is it a folder, or lines of BIG-bench's result files, and no table of outcomes?"""
    if path.is_dir():
        return True
    if not path.is_file() or ".json" not in "".join(path.suffixes[-2:]):
        return False
    try:
        return bigbench.recognised(path)
    except (OSError, ValueError):
        return False


def tried(sizes: Sequence[int], items: Sequence[int], seeds: Sequence[int], worlds: int) -> Iterator[tuple[Power, ...]]:
    """Designs with their power, cheapest first."""
    if worlds < 10:
        raise UsageError(f"--worlds {worlds} is too few to say how often; take 10 or more.")
    yield from designs(sizes, items, seeds, worlds=worlds, seed=Seed(0) / "design")


def as_rows(powers: Sequence[Power]) -> list[dict[str, Any]]:
    """Designs as JSON, intervals with them."""
    return [{**asdict(p), "share": p.share, "low": p.interval[0], "high": p.interval[1]} for p in powers]


def design_table(found: Sequence[tuple[Power, ...]]) -> Table:
    """A row a design; enough is said where both truths are decided rightly nine times of ten."""
    rows = []
    for both in found:
        cells = [f"{p.share:.0%} [{p.interval[0]:.0%}, {p.interval[1]:.0%}]" for p in both]
        wrong = sum(p.wrong for p in both)
        enough = all(p.share >= ENOUGH for p in both)
        rows.append((both[0].sizes, both[0].items, both[0].seeds, *cells, wrong, enough))
    return rows_table("Designs, cheapest first",
                      ("sizes", "items", "seeds", "metric", "break", "wrong", f"{ENOUGH:.0%} of both"),
                      rows)  # fmt: skip
