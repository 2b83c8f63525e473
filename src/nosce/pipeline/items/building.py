"""From the rows of readings to the readings of an item: one record a question, with its checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nosce.pipeline.items.item import ItemCheckpoint, ItemKind, ItemReadings
from nosce.pipeline.items.texts import EntityTexts
from nosce.records import Outcome

TOKEN_NATS = re.compile(r"nats (\d+)")


class ReadingCell(NamedTuple):
    """What a reading has beside its names: value, outcome and answer, each None where there is none."""

    value: float | None = None
    outcome: Outcome | None = None
    answer: str | None = None


@dataclass
class RowGroup:
    """The rows of one question in one arm.

    Args:
        seed: The training seed.
        split: The split of the item.
        metrics: The metrics, in their order.
        steps: Step -> metric -> the reading.
        target: The target; the first that stands in a row.
    """

    seed: int
    split: str
    metrics: dict[str, None] = field(default_factory=dict)
    steps: dict[int, dict[str, ReadingCell]] = field(default_factory=dict)
    target: str | None = None

    def add(self, step: int, metric: str, cell: ReadingCell, target: str | None) -> None:
        """Take a reading in."""
        self.metrics[metric] = None
        self.steps.setdefault(step, {})[metric] = cell
        if self.target is None:
            self.target = target


def build_readings(
    group: RowGroup,
    *,
    arm: str,
    stage: str,
    evaluation: str,
    kind: ItemKind,
    item: str,
    attribute: str,
    prompt: str | None,
    prompt_note: str,
    judged: str | None,
    texts: EntityTexts | None,
) -> ItemReadings:
    """The record of a group of rows; `judged` is the metric of the whole evaluation, `texts` has the tokenizer."""
    metrics = tuple(group.metrics)
    checkpoints = tuple(_checkpoint(step, rows, metrics) for step, rows in sorted(group.steps.items()))
    n_tokens = max((len(one.token_probabilities) for one in checkpoints), default=0)
    has_tokens = n_tokens > 0 and texts is not None and group.target is not None
    return ItemReadings(
        arm=arm,
        stage=stage,
        evaluation=evaluation,
        kind=kind,
        item=item,
        attribute=attribute,
        split=group.split,
        prompt=prompt,
        prompt_note=prompt_note,
        target=group.target,
        target_tokens=texts.target_tokens(group.target, n_tokens) if has_tokens and texts and group.target else (),
        metrics=metrics,
        judged=judged if judged in group.metrics else None,
        checkpoints=checkpoints,
    )


def _checkpoint(step: int, rows: Mapping[str, ReadingCell], metrics: tuple[str, ...]) -> ItemCheckpoint:
    """The readings after a step; a metric without a row there is not measured."""
    cells = [rows.get(metric, ReadingCell()) for metric in metrics]
    return ItemCheckpoint(
        step=step,
        values=tuple(cell.value for cell in cells),
        outcomes=tuple(cell.outcome for cell in cells),
        answers=tuple(cell.answer for cell in cells),
        probability=_probability(rows),
        token_probabilities=_token_probabilities(rows),
    )


def _probability(rows: Mapping[str, ReadingCell]) -> float | None:
    """The probability of the whole target, from its nats or its log-likelihood."""
    for metric, sign in (("nats", -1.0), ("log_likelihood", 1.0)):
        if (value := rows.get(metric, ReadingCell()).value) is not None:
            return math.exp(min(0.0, sign * value))
    return None


def _token_probabilities(rows: Mapping[str, ReadingCell]) -> tuple[float, ...]:
    """The probabilities of the tokens from 1 on, as far as each one's nats are there."""
    nats: dict[int, float] = {}
    for metric, cell in rows.items():
        if (found := TOKEN_NATS.fullmatch(metric)) is not None and cell.value is not None:
            nats[int(found[1])] = cell.value
    count = next(number for number in range(1, len(nats) + 2) if number not in nats) - 1
    return tuple(math.exp(-nats[number]) for number in range(1, count + 1))
