"""The answer to a study's question in one sentence, from the verdicts on its claims and the cost of its arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nosce.analysis.render.tables import ONE_MODEL, estimate_text
from nosce.analysis.stats.intervals import plural
from nosce.records import Verdict


@dataclass(frozen=True, kw_only=True)
class ArmConclusion:
    """Which of the arms does what is asked for, and at which cost.

    Args:
        claims: Each arm with the id of the claim that says it of this arm; its estimate is a share of answers.
        effect: What such an arm does, e.g. "makes the facts extractable".
        answers: The answers whose share is estimated, e.g. "exact answers on entities never asked about".
    """

    claims: tuple[tuple[str, str], ...]
    effect: str
    answers: str

    def sentence(self, verdicts: Sequence[Verdict], tokens: Mapping[str, float]) -> str:
        """The answer: the arm with the fewest tokens among those whose claim holds, or that there is none.

        Args:
            verdicts: The verdicts of the study.
            tokens: Tokens of text that each arm was trained on, by arm; an arm whose cost is not known is missing.
        """
        by_id = {verdict.id: verdict for verdict in verdicts}
        found = {arm: by_id[claim] for arm, claim in self.claims if claim in by_id}
        if not found:
            return f"Nothing says which arm {self.effect}, since no such claim was judged."
        holding = [arm for arm, verdict in found.items() if verdict.verdict == "holds"]
        undecided = [arm for arm, verdict in found.items() if verdict.verdict == "undecided"]
        failing = [arm for arm, verdict in found.items() if verdict.verdict == "fails"]
        if holding:
            cheapest = min(holding, key=lambda arm: tokens.get(arm, float("inf")))
            first = f"{cheapest} {self.effect}: {self._share(found[cheapest])}{_cost(cheapest, tokens)}."
        elif undecided:
            first = f"It is not decided which of the arms tried ({', '.join(found)}) {self.effect}."
        else:
            first = f"None of the arms tried ({', '.join(found)}) {self.effect}."
            return " ".join([first, *self._others(failing, found, tokens, "reaches")])
        others = [arm for arm in holding if arm != cheapest] if holding else []
        parts = [*self._others(others, found, tokens, "does so too, with"), *_not_decided(undecided)]
        return " ".join([first, *parts, *self._others(failing, found, tokens, "does not:")])

    def _share(self, verdict: Verdict) -> str:
        """The estimate with its interval, what it is counted over, and whether it is one of a single training."""
        alone = f", {ONE_MODEL}" if verdict.is_of_one_model else ""
        return f"{estimate_text(verdict)} {self.answers} (n = {verdict.n:,} {plural(verdict.unit)}{alone})"

    def _others(
        self, arms: Sequence[str], found: Mapping[str, Verdict], tokens: Mapping[str, float], what: str
    ) -> Iterator[str]:
        for arm in arms:
            yield f"{arm} {what} {estimate_text(found[arm])}{_cost(arm, tokens)}."


def _not_decided(arms: Sequence[str]) -> Iterator[str]:
    if arms:
        yield f"{', '.join(arms)} {'are' if len(arms) > 1 else 'is'} undecided, for the reasons beside the claims."


def _cost(arm: str, tokens: Mapping[str, float]) -> str:
    return f" after about {_count_text(tokens[arm])} tokens of texts" if arm in tokens else ""


def _count_text(count: float) -> str:
    """A large count in two or three digits, e.g. "1.25 million"."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{float(f'{count:.2g}'):,.0f}"
