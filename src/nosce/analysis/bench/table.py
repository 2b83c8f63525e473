"""The table of the bench as Markdown: a row a claim, how often it came out as it must, and whether it can fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nosce.analysis.bench.claim_bench import EXPECTED, FURTHER_WORLDS, BenchedClaim, WorldOutcome
from nosce.records import Decision

_HEADER = ("claim", "measure", "true: holds", "false: fails", "on the threshold: undecided", "can fail")


def bench_table(benched: Sequence[BenchedClaim]) -> str:
    """The claims of one study as a Markdown table, with what could not be planted below.

    Args:
        benched: The claims of the study, e.g. from `bench_claims`.
    """
    lines = [_row(_HEADER), _row(["---"] * len(_HEADER))]
    for one in benched:
        shares = [_share_text(one.outcome(world), decision) for world, decision in EXPECTED.items()]
        name = f"{one.claim.id} (precondition)" if one.claim.is_precondition else one.claim.id
        lines.append(_row([name, type(one.claim.measure).__name__, *shares, "yes" if one.can_fail else "**no**"]))
    notes = list(_notes(benched))
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def further_worlds_table(benched: Sequence[BenchedClaim]) -> str:
    """How the claims of one study come out in the further worlds: holds / fails / undecided in percent."""
    lines = [_row(["claim", *FURTHER_WORLDS]), _row(["---"] * (1 + len(FURTHER_WORLDS)))]
    for one in benched:
        lines.append(_row([one.claim.id, *(_decisions_text(one.outcome(world)) for world in FURTHER_WORLDS)]))
    return "\n".join(lines)


def _notes(benched: Sequence[BenchedClaim]) -> Iterator[str]:
    for one in benched:
        for world in EXPECTED:
            if note := one.outcome(world).note:
                yield f"- {one.claim.id}, {world}: {note}"


def _share_text(outcome: WorldOutcome, decision: Decision) -> str:
    """The share with its interval in percent, e.g. "97.5 [95.5, 98.6]"."""
    share = outcome.share(decision)
    if share is None or share.low is None or share.high is None:
        return "-"
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _decisions_text(outcome: WorldOutcome) -> str:
    shares = [outcome.share(decision) for decision in EXPECTED.values()]
    return " / ".join(f"{100 * share.value:.0f}" for share in shares if share is not None) or "-"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
