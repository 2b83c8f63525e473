"""What the study emergence claims, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.emergence.forecasts import How
from nosce.analysis.emergence.jumps import SHARE
from nosce.analysis.emergence.measures import Drift, Foresight, Steepness
from nosce.analysis.emergence.scaling_curve import Scaling
from nosce.analysis.emergence.test import DRIFT
from nosce.analysis.jackknife import Together
from nosce.analysis.measures import Claim, Difference, Mean, Need, Select
from nosce.studies.emergence.selections import EDIT, SEEN, Ladder, Seen, outcome

MIRAGE, NATURAL = "products", "sums"  # the ladder whose jump should be the metric's, and the one whose is not


def claims(ladders: tuple[Ladder, ...], seen: tuple[Seen, ...]) -> tuple[Claim, ...]:
    """All of them."""
    by_name = {ladder.name: ladder for ladder in ladders}
    return (*_mirage(by_name[MIRAGE]), *_natural(by_name[NATURAL]), *(c for one in seen for c in _seen(one)))


def _learnt(ladder: Ladder) -> Need:
    return Need(text="exact match of the largest size", measure=Mean(select=outcome(ladder.top)), above=0.5)


def _jumps(scaling: Scaling, what: str, *needs: Need, id: str | None = None) -> Claim:
    return Claim(
        id=id or f"{scaling.id}-jumps",
        text=f"{what} makes half of its rise within a quarter of the range of log size",
        source="arXiv:2304.15004, section 3 and 5: the sharp metric jumps; when a curve jumps is our definition",
        measure=Steepness(scaling=scaling, score="sharp"),
        threshold=SHARE,
        needs=needs,
    )


def _smooth(scaling: Scaling, what: str, *needs: Need) -> Claim:
    return Claim(
        id=f"{scaling.id}-smooth",
        text=f"{what} of the same outputs makes less than half of its rise within any quarter",
        source="arXiv:2304.15004, section 3 and 5: a linear or continuous metric shows smooth change",
        measure=Steepness(scaling=scaling, score="continuous"),
        threshold=SHARE,
        direction="below",
        needs=needs,
    )


def _mirage(ladder: Ladder) -> Iterator[Claim]:
    need = _learnt(ladder)
    likely, edit = ladder.by_size(), ladder.by_size(EDIT)
    yield _jumps(likely, f"Exact match of {ladder.name}", need, id=f"{ladder.name}-exact-jumps")
    yield _smooth(likely, f"The log-likelihood of {ladder.name}", need)
    yield _smooth(edit, f"Edit distance of {ladder.name}", need)
    yield Claim(
        id="one-link",
        text=f"One link from log-likelihood to exact match of {ladder.name} holds everywhere, to a quarter of the rise",
        source="the sheet, section 7: does the metric explain the jump",
        measure=Drift(scaling=likely),
        threshold=DRIFT,
        direction="below",
        needs=(need,),
    )
    yield Claim(
        id="small-ones-can",
        text=f"The smallest size of {ladder.name} is right more often than the best constant answer",
        source="arXiv:2304.15004, section 3: with more items small models lie measurably above chance",
        measure=Difference(one=outcome(ladder.bottom), other=_constant(ladder.bottom)),
        threshold=0.0,
    )
    rivals: tuple[tuple[How, str], ...] = (("linked", "through a link from"), ("product", "as the exponential of"))
    for other, words in rivals:
        yield Claim(
            id=f"foretold-{other}",
            text=f"Exact match of {ladder.name} at the next size is foretold better {words} the log-likelihood (nats)",
            source="the sheet, section 6: no one has shown exact match predicted from smooth surrogates",
            measure=Foresight(scaling=likely, one="direct", other=other),
            threshold=0.0,
            needs=(need,),
        )
    middle = ladder.points[len(ladder.points) // 2][1]
    yield Claim(
        id="places-hang-together",
        text=f"All digits of {ladder.name} are right more often than if each came alone (the middle size)",
        source="the sheet, section 7: digits are correlated, so that accuracy is not p^L",
        measure=Together(whole=outcome(middle, f"first {ladder.places}"),
                         parts=tuple(outcome(middle, f"place {n}") for n in range(1, ladder.places + 1))),
        threshold=0.0,
    )  # fmt: skip


def _constant(arm: str) -> Select:
    return Select(readout="majority", arm=arm, split="unseen")


def _natural(ladder: Ladder) -> Iterator[Claim]:
    need = _learnt(ladder)
    yield _jumps(ladder.by_size(), f"Exact match of {ladder.name}", need, id=f"{ladder.name}-exact-jumps")
    yield Claim(
        id=f"{ladder.name}-break",
        text=f"The log-likelihood of {ladder.name} jumps too: half of its rise within a quarter of the range",
        source="the sheet, section 8: positions are learnt one by one, so that loss and edit distance jump too",
        measure=Steepness(scaling=ladder.by_size(), score="continuous"),
        threshold=SHARE,
        needs=(need,),
    )


def _seen(seen: Seen) -> Iterator[Claim]:
    sharp, smooth, *_ = SEEN[seen.kind]
    yield _jumps(seen.by_size, f"{seen.kind.capitalize()}, {sharp},")
    yield _smooth(seen.by_size, f"{seen.kind.capitalize()}, {smooth.replace('_', ' ')}")
