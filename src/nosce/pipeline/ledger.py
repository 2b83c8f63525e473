"""The ledger: one row for each result, from what a report or a card wrote beside its page.

    <study>/<scale>/show.json     a study at a scale, or an audit of published tables
    cards/<model>/card.json       the card of a model

The rows serve the index of the static site and `nosce view`. Files of earlier versions are read too, and the row says
what its file does not tell. A file that is neither is refused by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from nosce.errors import DataError
from nosce.pipeline.seed_choice import seeds_text
from nosce.store.files import JsonObject, load_json_object
from nosce.store.text import printable
from nosce.store.typecheck import has_type

ResultKind = Literal["study", "audit", "card"]
KINDS: tuple[ResultKind, ...] = ("study", "audit", "card")  # in the order of the ledger
VERDICTS = ("holds", "fails", "undecided")
ONE_MODEL_WORDS = {  # of a card's claim, which is one of a single training; the later ones are of earlier versions
    "holds, this model alone": "holds",
    "fails, this model alone": "fails",
    "true of one seed": "holds",
    "false of one seed": "fails",
}
EARLIER_WORDS = {"true of one seed", "false of one seed"}
NO_WORDS = {"undecided", "not asked", "failed"}  # answers to a card's question that decide nothing
MAX_TEXT = 600  # characters of one text of a row
MAX_TITLE = 160


@dataclass(frozen=True, kw_only=True)
class VerdictCounts:
    """How many findings hold, fail and are undecided."""

    holds: int = 0
    fails: int = 0
    undecided: int = 0

    @classmethod
    def of(cls, verdicts: Iterable[str]) -> VerdictCounts:
        """The counts of verdicts, each one of `VERDICTS`."""
        counts = Counter(verdicts)
        return cls(**{word: counts[word] for word in VERDICTS})

    @property
    def total(self) -> int:
        """Number of findings."""
        return self.holds + self.fails + self.undecided

    @property
    def by_word(self) -> dict[str, int]:
        """The counts by verdict, in the order of `VERDICTS`."""
        return {"holds": self.holds, "fails": self.fails, "undecided": self.undecided}

    @property
    def sentence(self) -> str:
        """The counts in words, e.g. "8 of 14 findings hold, 3 fail, 3 are open."; "" without a finding."""
        if not self.total:
            return ""
        noun = "finding" if self.total == 1 else "findings"
        parts = [f"{self.holds} of {self.total} {noun} {'holds' if self.holds == 1 else 'hold'}"]
        parts += [f"{self.fails} {'fails' if self.fails == 1 else 'fail'}"] if self.fails else []
        parts += [f"{self.undecided} {'is' if self.undecided == 1 else 'are'} open"] if self.undecided else []
        return ", ".join(parts) + "."


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """A result as the ledger tells it.

    Args:
        kind: Whether it is a study, an audit of published tables, or a card.
        name: Name of the folder that the result lies in: the study, or the card.
        title: Its title; of a card it names the model.
        question: The question that it asks.
        answer: The answer in a sentence or two; without one the counts in words.
        paper: The paper whose claims are tested; "" for none.
        scale: Name of the scale.
        settings: What `--model` and `--set` changed.
        part: How much of the study it is of, e.g. "1 of 2 arms"; "" for the whole.
        seeds: The training seeds, in words.
        made: The day on which it was made, e.g. "2026-11-23"; "" where the file does not say.
        findings: The verdicts on findings of several trainings; preconditions are none.
        of_one_model: The decisions of a single training, which say nothing of others.
        notices: Sentences on what a reader must know of it, e.g. that older code made it.
        source: Where it lies, where there are several such places, e.g. "your store".
        href: Its page, relative to the index; "" where there is none.
        tag: What tells it from others of the same title; "" where there are none.
    """

    kind: ResultKind
    name: str
    title: str
    question: str
    answer: str
    paper: str = ""
    scale: str = ""
    settings: str = ""
    part: str = ""
    seeds: str = ""
    made: str = ""
    findings: VerdictCounts = field(default_factory=VerdictCounts)
    of_one_model: VerdictCounts = field(default_factory=VerdictCounts)
    notices: tuple[str, ...] = ()
    source: str = ""
    href: str = ""
    tag: str = ""

    @property
    def paper_href(self) -> str:
        """The address of a paper of arXiv; "" for any other."""
        number = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", self.paper)
        return f"https://arxiv.org/abs/{number[1]}" if number else ""


def folder_rows(folder: Path, *, source: str = "", at: str = ".") -> tuple[list[LedgerRow], list[DataError]]:
    """The rows of all results below a folder, sorted, and why others have none.

    Args:
        folder: The folder of a static site.
        source: What the rows say of where they lie.
        at: What their links begin with, so that no name of a folder can make one lead elsewhere.
    """
    rows, faults = [], []
    for file in (*sorted(folder.glob("*/*/show.json")), *sorted(folder.glob("*/*/card.json"))):
        try:
            rows.append(replace(_file_row(file, at), source=source))
        except DataError as error:
            faults.append(error)
    return sorted_rows(rows), faults


def sorted_rows(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Rows in the order of the ledger: by kind, name, scale and settings; equal ones keep their order."""
    return sorted(rows, key=lambda row: (KINDS.index(row.kind), row.name, row.scale, row.settings))


def _file_row(file: Path, at: str) -> LedgerRow:
    """The row of a `show.json` or `card.json`; where it lies says the folder, never the file.

    Raises:
        DataError: The file is not what a report or a card writes.
    """
    name, scale = file.parts[-3:-1]
    try:
        contents = load_json_object(file)
        row = study_row(contents, name, scale) if file.name == "show.json" else card_row(contents, scale)
    except ValueError as error:
        raise DataError(f"{file} is not what a report writes ({error}); move it out of the report's folder.") from error
    if not (file.parent / "index.html").is_file():
        return replace(row, notices=(*row.notices, "Its page is not there."))
    return replace(row, href=f"{at}/{quote(name)}/{quote(scale)}/index.html")


def study_row(contents: JsonObject, name: str, scale: str) -> LedgerRow:
    """The row of a study or audit, from its `show.json`.

    Args:
        contents: The object in the file.
        name: Name of the study's folder.
        scale: Name of the scale's folder, for a file that does not name the scale.

    Raises:
        ValueError: It is no such object; a few words say why.
    """
    claims = _objects(contents, "claims")
    findings = [claim for claim in claims if not claim.get("is_precondition", False)]
    seeds = [int(seed) for seed in contents["seeds"]] if has_type(contents.get("seeds"), list[int]) else []
    several: list[str] = []
    alone: list[str] = []
    for claim in findings:
        verdict = _verdict(claim.get("verdict"))
        (alone if verdict != "undecided" and _is_of_one_model(claim, seeds) else several).append(verdict)
    if alone and {*several} <= {"undecided"}:  # of a single training is all that is decided
        several, alone = [], [*several, *alone]
    counts, of_one_model = VerdictCounts.of(several), VerdictCounts.of(alone)
    return LedgerRow(
        kind="audit" if isinstance(contents.get("audits"), list) else "study",
        name=name,
        title=_text(contents, "title", MAX_TITLE) or name,
        question=_text(contents, "question"),
        answer=_study_answer(contents) or _counted_answer(counts, of_one_model),
        paper=_text(contents, "paper", MAX_TITLE),
        scale=_text(contents, "scale", MAX_TITLE) or scale,
        settings=_text(contents, "variant"),
        part=_text(contents, "part"),
        seeds=_seeds_words(seeds),
        made=_day(contents.get("provenance")),
        findings=counts,
        of_one_model=of_one_model,
        notices=_older_notices(contents, claims),
    )


def card_row(contents: JsonObject, name: str) -> LedgerRow:
    """The row of a model's card, from its `card.json`.

    Args:
        contents: The object in the file.
        name: Name of the card's folder.

    Raises:
        ValueError: It is no such object; a few words say why.
    """
    questions = _objects(contents, "questions")
    claims = [claim for question in questions for claim in _objects(question, "claims")]
    several: list[str] = []
    alone: list[str] = []
    for claim in claims:
        word = claim.get("verdict")
        (alone if word in ONE_MODEL_WORDS or claim.get("seeds") == 1 else several).append(
            _verdict(ONE_MODEL_WORDS.get(str(word), word))
        )
    has_earlier = any(claim.get("verdict") in EARLIER_WORDS for claim in claims)
    seeds = sorted({number for one in questions if has_type(number := one.get("seeds"), int) and number})
    return LedgerRow(
        kind="card",
        name=name,
        title=f"Card of {_text(contents, 'model', MAX_TITLE) or name}",
        question=f"{len(questions)} questions about one model",
        answer=_card_answer(questions),
        scale=_text(contents, "scale", MAX_TITLE),
        settings=_card_settings(contents),
        seeds=_number_of_seeds(seeds[0]) if len(seeds) == 1 else "",
        made=_day(contents.get("provenance")),
        findings=VerdictCounts.of(several),
        of_one_model=VerdictCounts.of(alone),
        notices=("Made by older code, with other words for verdicts.",) if has_earlier else (),
    )


def tell_apart(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The rows, each with a tag where others have its title: the first parts in which these differ."""
    parts: tuple[Callable[[LedgerRow], str], ...] = (
        lambda row: row.name,
        lambda row: row.scale,
        lambda row: row.settings,
        lambda row: row.part,
        lambda row: row.source,
        lambda row: row.seeds,
        lambda row: row.made,
        lambda row: row.href,
    )
    same: dict[str, list[LedgerRow]] = {}
    for row in rows:
        same.setdefault(_title_key(row), []).append(row)
    told = []
    for row in rows:
        others = same[_title_key(row)]
        chosen: list[Callable[[LedgerRow], str]] = []
        for part in parts:
            is_told = len({tuple(one(other) for one in chosen) for other in others}) == len(others)
            if not is_told and len({part(other) for other in others}) > 1:
                chosen.append(part)
        told.append(replace(row, tag=", ".join(filter(None, (part(row) for part in chosen)))))
    return told


def _title_key(row: LedgerRow) -> str:
    """Titles that a reader takes for the same have the same key."""
    return " ".join(row.title.casefold().split())


def _objects(contents: Mapping[str, object], name: str) -> list[JsonObject]:
    """A list of objects in an object of JSON."""
    value = contents.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"its {name} are no list of objects")
    return value


def _verdict(word: object) -> str:
    if word not in VERDICTS:
        raise ValueError(f"{word!r:.40} is no verdict")
    return str(word)


def _is_of_one_model(claim: JsonObject, seeds: Sequence[int]) -> bool:
    """Whether the decision is of a single training; earlier versions tell it by the study's seeds alone."""
    told = claim.get("this_model_alone")
    if told is None and "seeds" in claim:
        return bool(claim["seeds"] == 1)
    return bool(told) if told is not None else len(seeds) == 1


def _text(contents: Mapping[str, object], name: str, limit: int = MAX_TEXT) -> str:
    """A text of an object of JSON, without control characters; "" where there is none."""
    value = contents.get(name)
    text = "" if value is None else printable(str(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _study_answer(contents: Mapping[str, object]) -> str:
    """The answer that the study's verdicts give, or its conclusion; "" in pages of older code."""
    answer = contents.get("answer")
    return (_text(answer, "text") if isinstance(answer, Mapping) else "") or _text(contents, "conclusion")


def _counted_answer(counts: VerdictCounts, of_one_model: VerdictCounts) -> str:
    """The answer where the study gives none: how many findings hold."""
    alone = f"Of this model alone: {of_one_model.sentence}" if of_one_model.total else ""
    return " ".join(filter(None, (counts.sentence, alone))) or "It judges no finding."


def _card_answer(questions: Sequence[JsonObject]) -> str:
    """Which questions of a card are decided, and how."""
    decided, open_words = [], Counter[str]()
    for question in questions:
        word = _text(question, "answer", MAX_TITLE)
        if word in NO_WORDS:
            open_words[word] += 1
        else:
            decided.append(f"{_text(question, 'question')} {word[:1].upper()}{word[1:]}.")
    if not decided:
        decided = [f"None of {len(questions)} questions is decided."]
    left = ", ".join(f"{number} {word}" for word, number in sorted(open_words.items()))
    return " ".join([*decided, f"Questions left open: {left}." if left else ""]).strip()


def _card_settings(contents: JsonObject) -> str:
    """The settings and the budget of a card."""
    settings, budget = contents.get("settings"), contents.get("budget")
    words = [str(one) for one in settings] if isinstance(settings, list) else []
    if isinstance(budget, dict) and budget.get("text"):
        words.append(f"budget {budget['text']}")
    return printable(", ".join(words))[:MAX_TEXT]


def _seeds_words(seeds: Sequence[int]) -> str:
    """E.g. "3 seeds (0-2)" or "seed 7"; "" where no seeds are named."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"{_number_of_seeds(len(seeds))} ({seeds_text(seeds)})" if seeds else ""


def _number_of_seeds(number: int) -> str:
    return f"{number:,} seed{'' if number == 1 else 's'}"


def _day(provenance: object) -> str:
    """The day of a provenance; "" where it names none."""
    made = provenance.get("made") if isinstance(provenance, dict) else None
    day = re.match(r"\d{4}-\d\d-\d\d(?=T|$)", made) if isinstance(made, str) else None
    return day[0] if day else ""


def _older_notices(contents: JsonObject, claims: Sequence[JsonObject]) -> tuple[str, ...]:
    """What an earlier version did not tell, and whether the code had changed by the time of the page; a sentence."""
    provenance = contents.get("provenance")
    stale, total = (provenance.get(name) for name in ("stale", "steps")) if isinstance(provenance, dict) else ("", "")
    parts = []
    if isinstance(stale, dict) and stale:
        parts.append(f"{len(stale):,}{f' of {total:,}' if has_type(total, int) else ''} steps")
    if any("is_precondition" not in claim for claim in claims):
        parts.append("preconditions are not marked and count as findings")
    return (f"Made by older code: {'; '.join(parts)}.",) if parts else ()
