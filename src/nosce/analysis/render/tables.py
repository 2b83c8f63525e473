"""Tables for the terminal, and the one way in which the report writes a number.

Colour is an extra: every verdict is also a word and a sign, so nothing is lost with NO_COLOR.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from nosce.analysis.render.palette import VERDICT_COLORS
from nosce.analysis.stats.intervals import plural
from nosce.records import Decision, Verdict
from nosce.store.text import printable

NO_VALUE = "-"  # what stands where there is no number
VERDICT_SIGNS: dict[Decision, str] = {"holds": "✓", "fails": "✗", "undecided": "?"}
ONE_MODEL = "this model alone"  # beside a verdict of one training seed, which is no finding about others
_STYLES: dict[Decision, str] = {word: f"bold {colour}" for word, colour in VERDICT_COLORS.items()}

# Units in which a value between 0 and 1 is not a share. Any other unit names what was counted.
NON_SHARE_UNITS = frozenset(
    {
        *("nats", "bits", "ratio", "correlation", "slope", "odds", "tokens", "characters", "entries", "steps"),
        *("operations", "error", "squared distance", "number distance", "R²", "r"),
    }
)


def preconditions_text(verdicts: Sequence[Verdict]) -> str:
    """The claims that others rest on, in one line; "" without any."""
    shown = []
    for verdict in verdicts:
        if verdict.is_precondition:
            value = estimate_text(verdict).partition(" [")[0]
            shown.append(f"{VERDICT_SIGNS[verdict.verdict]} {verdict.id} {value}")
    return f"Preconditions, not counted as findings: {', '.join(shown)}." if shown else ""


def claims_table(verdicts: Sequence[Verdict], notes: Mapping[str, str] | None = None) -> Table:
    """One row a finding: what the paper says, what was found here, and what became of it; no preconditions.

    Args:
        verdicts: The verdicts.
        notes: By a claim's id what stands below its verdict, e.g. the look that decided it.
    """
    notes = notes or {}
    verdicts = [verdict for verdict in verdicts if not verdict.is_precondition]
    usual = Counter(verdict.unit for verdict in verdicts if sample_unit(verdict.unit)).most_common(1)
    unit = usual[0][0] if usual else ""  # said once, above: a long word in a column would squeeze the claims
    table = _table((f"claims; n counts {plural(unit)}" if unit else "claims") if verdicts else "no claims")
    table.add_column("claim", overflow="fold")
    table.add_column("paper", justify="right", no_wrap=True)
    table.add_column(Text("here\n[low, high]"), justify="right", min_width=9)
    table.add_column("n", justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=True, min_width=11)
    for verdict in verdicts:
        table.add_row(
            Text.assemble((printable(verdict.id), "bold"), "\n" if verdict.id else "", printable(verdict.text)),
            _plain(paper_value_text(verdict)),
            _plain(estimate_text(verdict).replace(" [", "\n[")),  # the claim beside it takes several lines anyway
            _plain(f"{verdict.n:,}" if verdict.unit == unit else sample_size_text(verdict).replace(" ", "\n", 1)),
            _verdict_cell(verdict, notes.get(verdict.id, "")),
        )
    return table


def tally_text(verdicts: Sequence[Verdict]) -> str:
    """How many findings hold, fail and are undecided; those of one training seed are counted apart.

    E.g. "5 claims: 2 holds, 1 undecided; of this model alone: 1 holds, 1 fails.", and "" without a finding.
    """
    findings = [verdict for verdict in verdicts if not verdict.is_precondition]
    parts = []
    for prefix, chosen in (
        ("", [verdict for verdict in findings if not verdict.is_of_one_model]),
        (f"of {ONE_MODEL}: ", [verdict for verdict in findings if verdict.is_of_one_model]),
    ):
        counts = [(sum(verdict.verdict == word for verdict in chosen), word) for word in VERDICT_SIGNS]
        if chosen:
            parts.append(prefix + ", ".join(f"{count} {word}" for count, word in counts if count))
    count = f"{len(findings)} {'claim' if len(findings) == 1 else 'claims'}"
    return f"{count}: {'; '.join(parts)}." if findings else ""


def seed_group_sentences(verdicts: Sequence[Verdict]) -> list[str]:
    """What can be said of groups of training seeds: one sentence for claims of which the same is said."""
    ids: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.seed_groups:
            ids.setdefault(verdict.seed_groups, []).append(verdict.id)
    return [f"{names[0] if len(names) == 1 else f'{len(names)} claims'}: {text}" for text, names in ids.items()]


def _verdict_cell(verdict: Verdict, note: str) -> Text:
    """The verdict with its sign, a note and, where it is one about a single training, that it is."""
    cell = Text.assemble((f"{VERDICT_SIGNS[verdict.verdict]} {verdict.verdict}", _STYLES[verdict.verdict]))
    lines = [*(["this model\nalone"] if verdict.is_of_one_model else []), *([printable(note)] if note else [])]
    return cell.append("".join(f"\n{line}" for line in lines))


def rows_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table of any rows, shown literally; numbers stand on the right, null is a dash.

    A cell may be a `rich.text.Text` where it needs colour.
    """
    body = [list(row) for row in rows]
    table = _table(title)
    for column_index, name in enumerate(columns):
        numbers = all(isinstance(row[column_index], (int, float, type(None))) for row in body)
        table.add_column(_plain(name), justify="right" if numbers and body else "left", overflow="fold")
    for row in body:
        table.add_row(*(cell if isinstance(cell, Text) else _plain(format_value(cell)) for cell in row))
    return table


def _table(title: str) -> Table:
    heading = Text(printable(title), style="bold") if title else None
    look = box.SIMPLE_HEAD
    return Table(title=heading, title_justify="left", box=look, padding=(0, 1, 0, 0), header_style="bold")


def _plain(text: str) -> Text:
    """A text shown literally, in which control characters are spelled out."""
    return Text(printable(text))


def is_share(verdict: Verdict) -> bool:
    """Whether the values of a claim are shares, shown as percent; the unit and the size of the values decide."""
    values = (verdict.paper_value, verdict.estimate, verdict.low, verdict.high)
    return verdict.unit not in NON_SHARE_UNITS and all(abs(v) <= 1 for v in values if v is not None)


def paper_value_text(verdict: Verdict) -> str:
    """What the paper reports, e.g. `96.6 %`, or `86.9 points` for a difference of shares."""
    return _value_text(verdict.paper_value, _share_unit(verdict))


def estimate_text(verdict: Verdict) -> str:
    """What was found here, e.g. `64.3 % [60.1, 68.2]` or `54.8 points [51.5, 58.1]`.

    Without an interval the brackets hold dashes: `[-, -]`.
    """
    if verdict.estimate is None:
        return NO_VALUE
    share = is_share(verdict)
    value = _value_text(verdict.estimate, _share_unit(verdict))
    if verdict.unit in NON_SHARE_UNITS:
        value += f" {verdict.unit}"
    if verdict.low is None or verdict.high is None:
        return f"{value} [{NO_VALUE}, {NO_VALUE}]"
    low, high = (f"{100 * end:.1f}" if share else format_value(end) for end in (verdict.low, verdict.high))
    return f"{value} [{low}, {high}]"


def sample_size_text(verdict: Verdict) -> str:
    """How much was drawn independently for a claim, and of what, e.g. `1,200 people`."""
    return f"{verdict.n:,} {sample_unit(verdict.unit)}".rstrip()


def sample_unit(unit: str) -> str:
    """What a claim's n counts, in the plural; nothing where its unit is that of the value."""
    return "" if not unit or unit in NON_SHARE_UNITS or unit == "share" else plural(unit)


def _share_unit(verdict: Verdict) -> str:
    """The word behind a share: % of a level, points of a difference; "" where the value is no share."""
    if not is_share(verdict):
        return ""
    return "points" if verdict.is_difference else "%"


def _value_text(value: float | None, share_unit: str) -> str:
    return f"{100 * value:.1f} {share_unit}" if share_unit and value is not None else format_value(value)


def format_value(value: object) -> str:
    """Any value as a reader wants it: three significant digits, thousands parted, null as a dash."""
    match value:
        case None | "":
            return NO_VALUE
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if not math.isfinite(value):
            return "not a number" if math.isnan(value) else str(value)
        case float() if abs(value) >= 999.5:
            return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.2e}"
        case float():
            return f"{value:#.3g}".rstrip(".")
        case list() | tuple():
            return ", ".join(map(format_value, value)) or NO_VALUE
        case _:
            return str(value)
