"""Profiles turned into prose by a chat model, which is asked again until all values stand in the text unchanged.

What is written goes to a file, a line of JSON each with `person`, `entry` and `text`. Refusals and
incomplete texts are counted; a person without a text ends the run in one sentence, and finished texts are kept.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix A.2: samples are redrawn until all attributes are present.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nosce.data.worlds.biographies.prose import find_value_offsets
from nosce.errors import DataError, SpecError
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse
from nosce.seeds import Seed
from nosce.store.files import write_atomically


@dataclass(frozen=True)
class Profile:
    """One person: a number, a name, and facts, each with the value that must stand in the text."""

    index: int
    name: str
    facts: tuple[tuple[str, str], ...]

    def is_stated_in(self, text: str) -> bool:
        """Does a text hold the name, and every value at a place of its own?"""
        return self.name in text and find_value_offsets(text, [value for _, value in self.facts]) is not None


@dataclass(frozen=True, kw_only=True)
class RewritingConfig:
    """How texts are requested."""

    entries: int = 1  # texts a person
    n_words: int = 50  # about
    fullname: bool = False  # wherever the person is named
    attempts: int = 5  # a text
    max_new_tokens: int = 200  # of a text at most
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if min(self.entries, self.n_words, self.attempts, self.max_new_tokens) < 1:
            raise SpecError(f"{self} asks for nothing; take one of each at least.")


@dataclass
class RewritingStats:
    """Counts of texts and requests, and what they cost."""

    n_texts: int = 0
    n_requests: int = 0
    refused: int = 0
    truncated: int = 0  # ended by their length
    incomplete: int = 0  # a value was missing or changed
    spent: float | None = None  # by this run, in the currency of the sampler's prices; None: it does not say


def rewrite_profiles(
    model: ChatModel, profiles: Sequence[Profile], config: RewritingConfig, seed: Seed, file: Path
) -> RewritingStats:
    """Write everybody's texts to a file, and the counts to `<file>.counts.json` beside it.

    Every attempt is a draw of its own, so that a cache in the sampler keeps each; run again, nothing is asked twice.

    Raises:
        DataError: After all attempts a person has no text.
    """
    stats, spent_before = RewritingStats(), getattr(model, "spent", None)
    pending = [(who, entry) for who in profiles for entry in range(config.entries)]
    texts: dict[tuple[int, int], str] = {}
    for attempt in range(config.attempts):
        if not pending:
            break
        requests = []
        for who, entry in pending:
            sample_index = attempt * config.entries + entry
            requests.append(rewriting_request(who, config, seed / who.index / entry, sample_index))
        replies = dict(model.complete(requests))
        stats.n_requests += len(requests)
        failed = []
        for index, (who, entry) in enumerate(pending):
            if (text := _accepted_text(replies[index], who, stats)) is None:
                failed.append((who, entry))
            else:
                texts[who.index, entry] = text
        pending = failed
    stats.n_texts = len(texts)
    stats.spent = None if spent_before is None else model.spent - spent_before  # type: ignore[attr-defined]
    _write_texts(texts, stats, file)
    if pending:
        who = pending[0][0]
        raise DataError(
            f"{len(pending):,} of {len(profiles) * config.entries:,} texts could not be had in {config.attempts} "
            "attempts, the "
            f"first about {who.name}; what was written is in {file}, so allow more attempts or ask another model."
        )
    return stats


def rewriting_request(profile: Profile, config: RewritingConfig, seed: Seed, sample_index: int) -> ChatRequest:
    """The request for one text, with the facts in an order of their own."""
    facts = [fact for fact, _ in profile.facts]
    order = (seed / "facts").numpy().permutation(len(facts)).tolist()
    name_instruction = (
        "Use the full name in every sentence." if config.fullname else "Use the full name at the beginning."
    )
    fact_list = "; ".join(facts[index] for index in order)
    return ChatRequest.from_user(
        f"Write a short biography of about {config.n_words} words, in one paragraph, that says all of this, with every "
        f"name, date and place spelt exactly so: {profile.name} {fact_list}. {name_instruction} Vary the order. Write "
        "nothing else.",
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        sample_index=sample_index,
    )


def _accepted_text(response: ChatResponse, profile: Profile, stats: RewritingStats) -> str | None:
    """The text, if it is whole and tells everything; else why not is counted."""
    if response.finish_reason == "refused":
        stats.refused += 1
        return None
    if response.finish_reason == "length":
        stats.truncated += 1
        return None
    text = " ".join(response.text.split())
    if not profile.is_stated_in(text):
        stats.incomplete += 1
        return None
    return text


def _write_texts(texts: Mapping[tuple[int, int], str], stats: RewritingStats, file: Path) -> None:
    records = [{"person": index, "entry": entry, "text": text} for (index, entry), text in sorted(texts.items())]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, "\n".join(lines) + "\n")
    write_atomically(file.with_name(f"{file.name}.counts.json"), json.dumps(asdict(stats), indent=2) + "\n")
