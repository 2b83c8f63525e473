"""How a card's budget is divided over its questions, and the record of what was chosen.

Prices are measured, so they differ a little each time. What was chosen once is kept in `cards/` of the store, so that
the same command goes on with the same sizes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nosce.pipeline.budget import PricedSize
from nosce.records import from_json
from nosce.store.files import load_json_object, warn_skipped, write_atomically
from nosce.store.spec import Json, hash_description
from nosce.store.store import Store, store_write_error

DIVISION_RULE = (
    "The cheapest size of every question comes first, the cheapest question before the others. Then the question whose "
    "next size adds the fewest minutes takes it, again and again, as long as all together stay within the budget. A "
    "question of which a price is not known stays at its cheapest size."
)


@dataclass(frozen=True, kw_only=True)
class QuestionPrice:
    """What the sizes of a question cost, or why it has no price.

    Args:
        id: Name of the question.
        sizes: The sizes, the cheapest first; none where pricing failed.
        reason: Why there are none.
    """

    id: str
    sizes: tuple[PricedSize, ...] = ()
    reason: str = ""

    @property
    def is_known(self) -> bool:
        """Are the prices of all steps known?"""
        return not self.reason and not any(size.n_not_known for size in self.sizes)


def divide_budget(prices: Sequence[QuestionPrice], minutes: float) -> dict[str, int]:
    """The place of the size that each question gets, by `DIVISION_RULE`; a question that gets none is missing.

    Args:
        prices: The questions that can be asked, each with a size at least.
        minutes: The budget.
    """
    by_id = {price.id: price.sizes for price in prices}
    chosen: dict[str, int] = {}
    left = minutes
    for price in sorted(prices, key=lambda price: price.sizes[0].minutes):
        if price.sizes[0].minutes <= left:
            chosen[price.id] = 0
            left -= price.sizes[0].minutes
    while steps := {id_: step for id_, at in chosen.items() if (step := _next_step(by_id[id_], at)) <= left}:
        cheapest = min(steps, key=lambda id_: steps[id_])
        chosen[cheapest] += 1
        left -= steps[cheapest]
    return chosen


def _next_step(sizes: Sequence[PricedSize], place: int) -> float:
    """The minutes that the next size adds; infinite where there is none, or where a price is not known."""
    if place + 1 >= len(sizes) or sizes[place + 1].n_not_known or sizes[place].n_not_known:
        return float("inf")
    return max(0.0, sizes[place + 1].minutes - sizes[place].minutes)


def choice_path(store: Store, name: str, asked: Json) -> Path:
    """The file that keeps the prices of a card.

    Args:
        store: The store.
        name: Name of the model.
        asked: All that decides which sizes there are.
    """
    word = "".join(letter if letter.isalnum() else "-" for letter in name)[:40]
    return store.root / "cards" / f"{word}-{hash_description(asked)[:20]}.json"


def load_prices(path: Path) -> dict[str, QuestionPrice] | None:
    """The prices that a file keeps, by question; None where there is no such file, or it is not ours."""
    if not path.is_file():
        return None
    try:
        contents = load_json_object(path)
        prices = from_json(contents["questions"], QuestionPrice)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        warn_skipped(path, f"it is no record of a card's prices ({error})")
        return None
    return {price.id: price for price in prices}


def save_prices(path: Path, prices: Mapping[str, QuestionPrice]) -> None:
    """Keep the prices of a card.

    Raises:
        StoreError: The disk refused.
    """
    contents = {"questions": [asdict(price) for price in prices.values()]}
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise store_write_error(error, path) from error
