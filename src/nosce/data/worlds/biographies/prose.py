"""Biographies in free prose: clauses merged, appositions, any order, names and pronouns as they come.

Profiles, names and questions are those of `Biographies`; only the texts differ. They are written by a rewriter: by
default a grammar of our own, which needs no model; or texts that a model wrote before (`rewriting`
of the study), read from a file. A text tells all six values, each as it is in the profile.

Source: bioR of Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix A.2, where Llama wrote the texts. Letters: E entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, PRONOUNS, Biographies, Person, person
from nosce.errors import DataError, SpecError
from nosce.records import Document, Question, Span
from nosce.seeds import Seed

#: What can be said of a value: behind a subject; between commas behind a name; before a subject.
PREDICATE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "{was} born on {}",
        "came into the world on {}",
        "first saw the light on {}",
        "began life on {}",
        "arrived on {}",
        "drew a first breath on {}",
    ),
    "birth_city": (
        "hailed from {}",
        "grew up as a child of {}",
        "had a first home in {}",
        "{was} at home in {} from birth",
        "spent the first years in {}",
        "took the first steps in {}",
    ),
    "university": (
        "studied at {}",
        "attended {}",
        "took a degree at {}",
        "sat through lectures at {}",
        "enrolled at {} after school",
        "left {} with honors",
    ),
    "major": (
        "chose {} as a subject",
        "read {} with zeal",
        "specialized in {}",
        "took exams in {}",
        "wrote a thesis about {}",
        "gave years to the study of {}",
    ),
    "company": (
        "worked for {}",
        "earned a living at {}",
        "signed on with {}",
        "made a career at {}",
        "joined {} as a newcomer",
        "rose through the ranks of {}",
    ),
    "company_city": (
        "went to work in {}",
        "kept an office in {}",
        "settled in {} for the job",
        "moved to {} to work there",
        "commuted to a desk in {}",
        "spent working days in {}",
    ),
}
APPOSITION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": ("born on {}", "in the world since {}", "whose first birthday party looked back on {}"),
    "birth_city": ("a native of {}", "born and raised in {}", "a child of {}"),
    "university": ("a graduate of {}", "educated at {}", "an alumnus of {}"),
    "major": ("a student of {}", "trained in {}", "an expert on {}"),
    "company": ("an employee of {}", "a member of the staff of {}", "on the payroll of {}"),
    "company_city": ("employed in {}", "with a desk in {}", "at work in {}"),
}
OPENING_TEMPLATES: dict[str, tuple[str, ...]] = {
    "birth_date": ("Born on {}", "Alive since {}"),
    "birth_city": ("Raised in {}", "After a childhood in {}"),
    "university": ("After graduation from {}", "With a degree from {}"),
    "major": ("Trained in {}", "Thanks to a knowledge of {}"),
    "company": ("Hired by {}", "As part of {}"),
    "company_city": ("Employed in {}", "From an office in {}"),
}
CLAUSE_CONJUNCTIONS = ("and", "and later", "and then", "and also")
SENTENCE_OPENERS = ("", "", "", "In time, ", "As it happened, ", "By all accounts, ", "Later on, ")


class ProseRewriter(Protocol):
    """Who turns a profile into prose; plain data."""

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """A text that holds all six values of the person, letter for letter, and the full name."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProseGrammar:
    """Two to four sentences: values grouped and ordered at random, each group a sentence of merged clauses."""

    repeat_full_name: bool = False  # the full name wherever somebody is named

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """A draw of the grammar."""
        rng = seed.numpy()
        order = [PERSON_ATTRIBUTES[place] for place in rng.permutation(len(PERSON_ATTRIBUTES)).tolist()]
        cuts = sorted(rng.choice(np.arange(1, 6), size=int(rng.integers(1, 4)), replace=False).tolist())
        groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, 6], strict=True)]
        return " ".join(self._sentence(subject, group, rng, first=not n) for n, group in enumerate(groups))

    def _sentence(self, subject: Person, group: Sequence[str], rng: np.random.Generator, *, first: bool) -> str:
        subject_text, is_named = self._subject_text(subject, rng, first=first)
        was_or_were = PRONOUNS[subject.pronoun_index][2] if not is_named else "was"

        def told(kinds: Mapping[str, tuple[str, ...]], attribute: str) -> str:
            shape = kinds[attribute][int(rng.integers(len(kinds[attribute])))]
            return shape.replace("{was}", was_or_were).format(subject.values[attribute])

        remaining = list(group)
        opening = apposition = ""
        if len(remaining) > 1 and rng.random() < 0.4:
            opening = f"{told(OPENING_TEMPLATES, remaining.pop(0))}, "
        if len(remaining) > 1 and is_named and rng.random() < 0.5:  # a pronoun bears no apposition
            apposition = f", {told(APPOSITION_TEMPLATES, remaining.pop(0))},"
        lead = "" if first or opening else SENTENCE_OPENERS[int(rng.integers(len(SENTENCE_OPENERS)))]
        predicates = [told(PREDICATE_TEMPLATES, attribute) for attribute in remaining]
        predicate_text = _join_clauses(predicates, CLAUSE_CONJUNCTIONS[int(rng.integers(len(CLAUSE_CONJUNCTIONS)))])
        return _capitalize_first(f"{lead}{opening}{subject_text}{apposition} {predicate_text}.")

    def _subject_text(self, subject: Person, rng: np.random.Generator, *, first: bool) -> tuple[str, bool]:
        """How the person is called, and whether that is a name."""
        if first or self.repeat_full_name:
            return subject.name, True
        first_name, *_, last_name = subject.name.split()
        pronoun = PRONOUNS[subject.pronoun_index][0]
        candidates = ((pronoun, False), (pronoun, False), (first_name, True), (f"{first_name} {last_name}", True))
        return candidates[int(rng.integers(len(candidates)))]


@dataclass(frozen=True, kw_only=True)
class PrewrittenTexts:
    """Texts that were written before, a line of JSON each with `person`, `entry` and `text`; named by their hash."""

    file: str
    digest: str

    @classmethod
    def from_file(cls, file: str | Path) -> PrewrittenTexts:
        """The texts of a file.

        Raises:
            SpecError: There is none.
        """
        path = Path(file).resolve()
        if not path.is_file():
            raise SpecError(f"texts of biographies were looked for in {path}, which is not there; write them first.")
        return cls(file=str(path), digest=hashlib.sha256(path.read_bytes()).hexdigest())

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """The text that was written.

        Raises:
            DataError: It was not, or the file has changed.
        """
        entry_text = _load_prewritten(self.file, self.digest).get((subject.index, entry))
        if entry_text is None:
            raise DataError(f"{self.file} has no text {entry} about person {subject.index}; write as many as are read.")
        return entry_text


@lru_cache(maxsize=4)
def _load_prewritten(file: str, digest: str) -> dict[tuple[int, int], str]:
    whole = Path(file).read_bytes()
    if hashlib.sha256(whole).hexdigest() != digest:
        raise DataError(f"the texts in {file} have changed since the study was planned; plan again.")
    lines = [json.loads(line) for line in whole.decode("utf-8").splitlines() if line]
    return {(int(line["person"]), int(line["entry"])): str(line["text"]) for line in lines}


@dataclass(frozen=True, kw_only=True)
class FreeBiographies(World):
    """A population told of in prose, `entries` texts a person."""

    population: Biographies = field(default_factory=Biographies)
    entries_per_person: int = 1
    rewriter: ProseRewriter = field(default_factory=ProseGrammar)

    def __post_init__(self) -> None:
        if self.entries_per_person < 1:
            raise SpecError(
                f"FreeBiographies.entries_per_person={self.entries_per_person} tells of nobody; take 1 or more."
            )

    @property
    def documents_per_entity(self) -> int:
        """Entries a person."""
        return self.entries_per_person

    @property
    def n_entities(self) -> int:
        """How many people there are."""
        return self.population.people

    def downsized(self, max_entities: int) -> FreeBiographies:
        """The same of no more than so many people."""
        return replace(self, population=self.population.downsized(max_entities))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries of all people."""
        return self.documents_for(0, self.population.people, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The entries of the people `first` to `last` (excluded)."""
        for index in range(first, last):
            subject = person(self.population, index, seed)
            for entry in range(self.entries_per_person):
                text = self.rewriter.text(subject, entry, seed / "prose" / index / entry)
                yield Document(f"{index}/{entry}", f"person/{index}", text, value_spans(text, subject))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Those of the population."""
        yield from self.population.questions(seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """Words of the population and of the grammar, and some texts."""
        yield from self.population.samples(seed)
        for kinds in (PREDICATE_TEMPLATES, APPOSITION_TEMPLATES, OPENING_TEMPLATES):
            yield from (
                shape.replace("{was}", be).format("")
                for shapes in kinds.values()
                for shape in shapes
                for be in ("was", "were")
            )
        yield from (f"{word} , ." for word in (*CLAUSE_CONJUNCTIONS, *SENTENCE_OPENERS))
        for document in self.documents_for(0, min(self.population.people, 2_000), seed):
            yield document.text


#: What a writer is told of each value.
FACT_TEMPLATES = {
    "birth_date": "was born on {}",
    "birth_city": "was born in {}",
    "university": "studied at {}",
    "major": "studied the subject {}",
    "company": "worked for {}",
    "company_city": "worked in {}",
}


def fact_phrases(subject: Person) -> tuple[tuple[str, str], ...]:
    """Every fact in a few words, with its value: what a writer is to tell (a profile of `rewriting`)."""
    return tuple((FACT_TEMPLATES[name].format(value), value) for name, value in subject.values.items())


def value_spans(text: str, subject: Person) -> tuple[Span, ...]:
    """Where a text tells each value; two attributes of one value stand at its two places, in order.

    Raises:
        DataError: A value is not told.
    """
    values = [subject.values[attribute] for attribute in PERSON_ATTRIBUTES]
    value_starts = find_value_offsets(text, values)
    if value_starts is None:
        missing_attribute = next(
            PERSON_ATTRIBUTES[n] for n in range(6) if find_value_offsets(text, values[: n + 1]) is None
        )
        raise DataError(
            f"a text about {subject.name} does not tell {missing_attribute}, {subject.values[missing_attribute]!r}; "
            "every text tells all six."
        )
    spans = [
        Span(name, start, start + len(value))
        for name, start, value in zip(PERSON_ATTRIBUTES, value_starts, values, strict=True)
    ]
    return tuple(sorted(spans, key=lambda span: span.start))


def _join_clauses(clauses: Sequence[str], conjunction: str) -> str:
    if len(clauses) == 1:
        return clauses[0]
    return f"{', '.join(clauses[:-1])} {conjunction} {clauses[-1]}"


def _capitalize_first(text: str) -> str:
    return text[0].upper() + text[1:]


def find_value_offsets(text: str, values: Iterable[str]) -> list[int] | None:
    """The first character of each value, equal values one after the other; None where one does not stand there."""
    offsets: list[int] = []
    for value in values:
        offset = text.find(value)
        while offset in offsets and offset >= 0:
            offset = text.find(value, offset + 1)
        if offset < 0:
            return None
        offsets.append(offset)
    return offsets
