"""Profiles turned into prose by whoever can write: asked again until all values stand in the text as they are.

What is written goes to a file, a line of JSON each with `person`, `entry` and `text`. Whoever refuses, or cannot keep
the facts together, is counted; a person without a text ends the run in one sentence, and what was written is kept.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix A.2: samples are redrawn until all attributes are present.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nosce.data.worlds.biographies.prose import places
from nosce.errors import DataError, SpecError
from nosce.models.api.base import Ask, Reply, Sampler
from nosce.seeds import Seed
from nosce.store.files import write_atomically


@dataclass(frozen=True)
class Profile:
    """One person: a number, a name, and facts, each what is to be told and the value that must stand in the text."""

    index: int
    name: str
    facts: tuple[tuple[str, str], ...]

    def told_by(self, text: str) -> bool:
        """Does a text hold the name, and every value at a place of its own?"""
        return self.name in text and places(text, [value for _, value in self.facts]) is not None


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """How texts are asked for."""

    entries: int = 1  # texts a person
    words: int = 50  # about
    fullname: bool = False  # wherever the person is named
    attempts: int = 5  # a text
    tokens: int = 200  # of a text at most
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if min(self.entries, self.words, self.attempts, self.tokens) < 1:
            raise SpecError(f"{self} asks for nothing; take one of each at least.")


@dataclass
class Written:
    """What it took."""

    texts: int = 0
    asked: int = 0
    refused: int = 0
    cut: int = 0  # ended by their length
    incomplete: int = 0  # a value was missing or changed
    spent: float | None = None  # by this run, in the currency of the sampler's prices; None: it does not say


def rewrite(sampler: Sampler, people: Sequence[Profile], how: Rewriting, seed: Seed, file: Path) -> Written:
    """Write the texts of everybody to a file, and beside it (`<file>.counts.json`) what it took.

    Every attempt is a draw of its own, so that a cache in the sampler keeps each; run again, nothing is asked twice.

    Raises:
        DataError: After all attempts somebody has no text.
    """
    counts, before = Written(), getattr(sampler, "spent", None)
    todo = [(who, entry) for who in people for entry in range(how.entries)]
    texts: dict[tuple[int, int], str] = {}
    for attempt in range(how.attempts):
        if not todo:
            break
        asks = [ask(who, how, seed / who.index / entry, attempt * how.entries + entry) for who, entry in todo]
        replies = dict(sampler.replies(asks))
        counts.asked += len(asks)
        left = []
        for place, (who, entry) in enumerate(todo):
            if (text := _usable(replies[place], who, counts)) is None:
                left.append((who, entry))
            else:
                texts[who.index, entry] = text
        todo = left
    counts.texts = len(texts)
    counts.spent = None if before is None else sampler.spent - before  # type: ignore[attr-defined]
    _keep(texts, counts, file)
    if todo:
        who = todo[0][0]
        raise DataError(
            f"{len(todo):,} of {len(people) * how.entries:,} texts could not be had in {how.attempts} attempts, the "
            f"first about {who.name}; what was written is in {file}, so allow more attempts or ask another model."
        )
    return counts


def ask(who: Profile, how: Rewriting, seed: Seed, sample: int) -> Ask:
    """The request for one text, with the facts in an order of their own."""
    facts = [fact for fact, _ in who.facts]
    order = (seed / "facts").numpy().permutation(len(facts)).tolist()
    called = "Use the full name in every sentence." if how.fullname else "Use the full name at the beginning."
    told = "; ".join(facts[place] for place in order)
    return Ask.user(
        f"Write a short biography of about {how.words} words, in one paragraph, that says all of this, with every "
        f"name, date and place spelt exactly so: {who.name} {told}. {called} Vary the order. Write nothing else.",
        tokens=how.tokens, temperature=how.temperature, sample=sample,
    )  # fmt: skip


def _usable(reply: Reply, who: Profile, counts: Written) -> str | None:
    """The text, if it is whole and tells everything; else why not is counted."""
    if reply.finish in ("refused", "invalid"):
        counts.refused += 1
        return None
    if reply.finish == "length":
        counts.cut += 1
        return None
    text = " ".join(reply.text.split())
    if not who.told_by(text):
        counts.incomplete += 1
        return None
    return text


def _keep(texts: Mapping[tuple[int, int], str], counts: Written, file: Path) -> None:
    lines: Sequence[str] = [json.dumps({"person": index, "entry": entry, "text": text}, ensure_ascii=False)
                            for (index, entry), text in sorted(texts.items())]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, "\n".join(lines) + "\n")
    write_atomically(file.with_name(f"{file.name}.counts.json"), json.dumps(asdict(counts), indent=2) + "\n")
