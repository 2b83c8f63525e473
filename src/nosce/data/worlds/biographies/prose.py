"""Biographies in free prose: merged clauses, appositions, any order of attributes, varying names and pronouns.

Profiles, names and questions are those of `Biographies`; only the texts differ. A rewriter writes them: by default a
grammar of our own, which needs no model, or a file of texts that a model wrote earlier (the experiment `rewriting` of
the study). Each text states all six values, letter for letter as in the profile.

One document and one question of `FreeBiographies()` at `Seed(0)`:

    With a degree from Marchfield Academy, Nedavel Kastock Mundock wrote a thesis about Library Science. By all
    accounts, Nedavel Mundock hailed from Ironbrook, CE. Alive since May 7, 2014, Nedavel commuted to a desk in
    Cinderhaven, OV. By all accounts, Nedavel Mundock rose through the ranks of Fluxyx Motors.

    In which town was Nedavel Kastock Mundock born? Answer:  ->  Ironbrook, CE

Source: bioR of Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix A.2, where Llama wrote the texts. Letters: E entries.
"""

from __future__ import annotations

import hashlib
import itertools
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

#: Phrases for a value, by attribute: predicates follow a subject, appositions a name, openings precede a subject.
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
    """Turns a profile into prose. A rewriter is plain data, so that it can be part of a world."""

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """A text with the full name and all six values of the person, letter for letter."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProseGrammar:
    """Two to four sentences. Values are grouped and ordered at random; each group is a sentence of merged clauses.

    Args:
        repeat_full_name: Give the full name wherever the person is mentioned. False: a pronoun or a shorter name may
            follow, as in the paper's texts.
    """

    repeat_full_name: bool = False

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """A random text of the grammar."""
        rng = seed.numpy()
        order = [PERSON_ATTRIBUTES[place] for place in rng.permutation(len(PERSON_ATTRIBUTES)).tolist()]
        cuts = sorted(rng.choice(np.arange(1, 6), size=int(rng.integers(1, 4)), replace=False).tolist())
        groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, 6], strict=True)]
        return " ".join(self._sentence(subject, group, rng, first=not n) for n, group in enumerate(groups))

    def _sentence(self, subject: Person, group: Sequence[str], rng: np.random.Generator, *, first: bool) -> str:
        subject_text, is_named = self._subject_text(subject, rng, first=first)
        was_or_were = PRONOUNS[subject.pronoun_index][2] if not is_named else "was"

        def phrase(templates: Mapping[str, tuple[str, ...]], attribute: str) -> str:
            template = templates[attribute][int(rng.integers(len(templates[attribute])))]
            return template.replace("{was}", was_or_were).format(subject.values[attribute])

        remaining = list(group)
        opening = apposition = ""
        if len(remaining) > 1 and rng.random() < 0.4:
            opening = f"{phrase(OPENING_TEMPLATES, remaining.pop(0))}, "
        if len(remaining) > 1 and is_named and rng.random() < 0.5:  # a pronoun takes no apposition
            apposition = f", {phrase(APPOSITION_TEMPLATES, remaining.pop(0))},"
        lead = "" if first or opening else SENTENCE_OPENERS[int(rng.integers(len(SENTENCE_OPENERS)))]
        predicates = [phrase(PREDICATE_TEMPLATES, attribute) for attribute in remaining]
        predicate_text = _join_clauses(predicates, CLAUSE_CONJUNCTIONS[int(rng.integers(len(CLAUSE_CONJUNCTIONS)))])
        return _capitalize_first(f"{lead}{opening}{subject_text}{apposition} {predicate_text}.")

    def _subject_text(self, subject: Person, rng: np.random.Generator, *, first: bool) -> tuple[str, bool]:
        """The words for the person, and whether they are a name."""
        if first or self.repeat_full_name:
            return subject.name, True
        first_name, *_, last_name = subject.name.split()
        pronoun = PRONOUNS[subject.pronoun_index][0]
        candidates = ((pronoun, False), (pronoun, False), (first_name, True), (f"{first_name} {last_name}", True))
        return candidates[int(rng.integers(len(candidates)))]


@dataclass(frozen=True, kw_only=True)
class PrewrittenTexts:
    """Texts from a file. Each line is JSON with `person`, `entry` and `text`.

    Args:
        file: Path of the file.
        digest: SHA-256 of the file's bytes, so that a changed file is another world.
    """

    file: str
    digest: str

    @classmethod
    def from_file(cls, file: str | Path) -> PrewrittenTexts:
        """The texts of a file.

        Raises:
            SpecError: The file does not exist.
        """
        path = Path(file).resolve()
        if not path.is_file():
            raise SpecError(f"the file {path} with texts of biographies is not there; write the texts first.")
        return cls(file=str(path), digest=hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def shape(self) -> tuple[int, int]:
        """The number of people, who are the first of their population, and of texts of each.

        Raises:
            DataError: A person in between has no text, or fewer than the others; or the file has changed.
        """
        written = _load_prewritten(self.file, self.digest)
        people = 1 + max((index for index, _ in written), default=-1)
        entries = 1 + max((entry for _, entry in written), default=-1)
        for wanted in itertools.product(range(people), range(entries)):
            if wanted not in written:
                raise DataError(
                    f"{self.file} has no text {wanted[1]} about person {wanted[0]}, but others; write every entry of "
                    "every person."
                )
        if people < 2:
            raise DataError(f"{self.file} tells of {people} people; write of two or more.")
        return people, entries

    def text(self, subject: Person, entry: int, seed: Seed) -> str:
        """The text of one entry.

        Raises:
            DataError: The file lacks the text, or its bytes have changed.
        """
        entry_text = _load_prewritten(self.file, self.digest).get((subject.index, entry))
        if entry_text is None:
            raise DataError(
                f"{self.file} has no text {entry} about person {subject.index}; write every entry of every person."
            )
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
    """A population described in free prose.

    Args:
        population: The people. Its augmentation is not used.
        entries_per_person: Number of texts per person. Use 5 for the paper's `multi5`.
        rewriter: Writes the texts. The default grammar needs no model and gives equal bytes everywhere.
    """

    population: Biographies = field(default_factory=Biographies)
    entries_per_person: int = 1
    rewriter: ProseRewriter = field(default_factory=ProseGrammar)

    def __post_init__(self) -> None:
        if self.entries_per_person < 1:
            raise SpecError(
                f"FreeBiographies.entries_per_person={self.entries_per_person} gives no documents; take 1 or more."
            )

    @property
    def documents_per_entity(self) -> int:
        """Texts per person."""
        return self.entries_per_person

    @property
    def n_entities(self) -> int:
        """The number of people."""
        return self.population.people

    def downsized(self, max_entities: int) -> FreeBiographies:
        """The same world with at most `max_entities` people."""
        return replace(self, population=self.population.downsized(max_entities))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All texts, person by person."""
        return self.documents_for(0, self.population.people, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The texts about the people `first` to `last` (excluded)."""
        for index in range(first, last):
            subject = person(self.population, index, seed)
            for entry in range(self.entries_per_person):
                text = self.rewriter.text(subject, entry, seed / "prose" / index / entry)
                yield Document(f"{index}/{entry}", f"person/{index}", text, value_spans(text, subject))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The questions of the population."""
        yield from self.population.questions(seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The words of the population and of the grammar, and up to 2,000 people's texts."""
        yield from self.population.samples(seed)
        for templates_by_attribute in (PREDICATE_TEMPLATES, APPOSITION_TEMPLATES, OPENING_TEMPLATES):
            for templates in templates_by_attribute.values():
                for template in templates:
                    for was_or_were in ("was", "were"):
                        yield template.replace("{was}", was_or_were).format("")
        yield from (f"{word} , ." for word in (*CLAUSE_CONJUNCTIONS, *SENTENCE_OPENERS))
        for document in self.documents_for(0, min(self.population.people, 2_000), seed):
            yield document.text


#: Attribute -> the phrase that a language model gets for its value.
FACT_TEMPLATES = {
    "birth_date": "was born on {}",
    "birth_city": "was born in {}",
    "university": "studied at {}",
    "major": "studied the subject {}",
    "company": "worked for {}",
    "company_city": "worked in {}",
}


def fact_phrases(subject: Person) -> tuple[tuple[str, str], ...]:
    """Every fact as a phrase, with its value; a language model gets these phrases to write a text (`rewriting`)."""
    return tuple((FACT_TEMPLATES[name].format(value), value) for name, value in subject.values.items())


def value_spans(text: str, subject: Person) -> tuple[Span, ...]:
    """The spans of the values in a text. Two attributes with one value get its first two positions, in order.

    Raises:
        DataError: The text lacks a value.
    """
    values = [subject.values[attribute] for attribute in PERSON_ATTRIBUTES]
    value_starts = find_value_offsets(text, values)
    if value_starts is None:
        first_missing = next(n for n in range(len(values)) if find_value_offsets(text, values[: n + 1]) is None)
        raise DataError(
            f"a text about {subject.name} does not state {PERSON_ATTRIBUTES[first_missing]}, "
            f"{values[first_missing]!r}; write a text that states all six values."
        )
    spans = []
    for name, start, value in zip(PERSON_ATTRIBUTES, value_starts, values, strict=True):
        spans.append(Span(name, start, start + len(value)))
    return tuple(sorted(spans, key=lambda span: span.start))


def _join_clauses(clauses: Sequence[str], conjunction: str) -> str:
    if len(clauses) == 1:
        return clauses[0]
    return f"{', '.join(clauses[:-1])} {conjunction} {clauses[-1]}"


def _capitalize_first(text: str) -> str:
    return text[0].upper() + text[1:]


def find_value_offsets(text: str, values: Iterable[str]) -> list[int] | None:
    """The position of each value; equal values get successive positions. None: a value is missing."""
    offsets: list[int] = []
    for value in values:
        offset = text.find(value)
        while offset in offsets and offset >= 0:
            offset = text.find(value, offset + 1)
        if offset < 0:
            return None
        offsets.append(offset)
    return offsets
