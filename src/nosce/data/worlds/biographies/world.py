"""Biographies: people with six attributes, described in one wording or in several.

A model that has read about a person in one wording can recite the text. Whether it can answer questions about the
person depends on how often the same facts occurred in other wordings or orders. The field `augmentation` sets both.

One document and one question of `Biographies()` at `Seed(0)`:

    Nedavel Kastock Mundock's passport listed May 7, 2014 as the birth date. She was born and swaddled in Ironbrook, CE.
    She joined lectures at Marchfield Academy each morning. She mastered Library Science as a main subject. She served
    Fluxyx Motors as a loyal employee. The office where she worked stood in Cinderhaven, OV.

    Which school did Nedavel Kastock Mundock attend? Answer:  ->  Marchfield Academy

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 2 and appendix A.1; wordings, names and values are our own.
Letters: N people, E entries (documents) per person.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies import templates as words
from nosce.errors import SpecError
from nosce.records import Document, Question, Span, Split
from nosce.seeds import Seed

PERSON_ATTRIBUTES = tuple(words.SENTENCE_TEMPLATES)
PRONOUNS = (("he", "his", "was"), ("she", "her", "was"), ("they", "their", "were"))

#: The sixteen rows of appendix A.1: `single` and its fifteen augmentations.
AUGMENTATIONS = (
    "single",
    "single+fullname",
    *(f"single+permute{k}" for k in (1, 2, 5)),
    *(f"single+permute{k}+fullname" for k in (1, 2, 5)),
    *(f"multi{k}{rest}" for rest in ("", "+fullname", "+permute", "+permute+fullname") for k in (2, 5)),
)


#: Augmentations that keep pairs of sentences together and shuffle only the pairs (appendix A.1.1).
PAIRED_AUGMENTATIONS = ("couple1", "couple2", "couple5")
SENTENCE_PAIRS = ((0, 1), (2, 3), (4, 5))  # birth date and city, university and major, company and its city


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How the entries of one person differ from each other.

    Args:
        entries_per_person: Number of documents per person.
        redraw_templates: Draw new sentence templates for each entry. False: all entries of a person have the same six
            sentences.
        permute_sentences: Shuffle the sentences of each entry.
        repeat_full_name: Give the full name in every sentence. False: in the first sentence only.
        permute_in_pairs: Keep three pairs of sentences together and shuffle only the pairs (appendix A.1.1).
        permuted_share: Share of the entries that are shuffled, beginning with the last. Shares below 1 are doses
            between `multi5` and `multi5+permute`.
    """

    entries_per_person: int
    redraw_templates: bool
    permute_sentences: bool
    repeat_full_name: bool
    permute_in_pairs: bool = False
    permuted_share: float = 1.0

    @classmethod
    def parse(cls, name: str) -> Augmentation:
        """The augmentation with the paper's name, e.g. `multi5+permute`.

        For dose curves, other numbers than the paper's are valid too (`multi3`, `single+permute10`), and so is a
        percentage of shuffled entries (`multi5+permute40%`).

        Raises:
            SpecError: The name is not an augmentation.
        """
        match = re.fullmatch(
            r"(?:single(?P<permuted>\+permute(?P<orders>[1-9]\d*))?|couple(?P<couples>[1-9]\d*)|"
            r"multi(?P<many>[1-9]\d*)(?P<permute>\+permute(?:(?P<share>[1-9]\d?)%)?)?)(?P<fullname>\+fullname)?",
            name,
        )
        if match is None:
            raise SpecError(
                f"Biographies.augmentation={name!r} does not exist; choose from "
                f"{', '.join((*AUGMENTATIONS, *PAIRED_AUGMENTATIONS))}, also with other numbers."
            )
        return cls(
            entries_per_person=int(match["orders"] or match["many"] or match["couples"] or 1),
            redraw_templates=match["many"] is not None,
            permute_sentences=any(match[name] is not None for name in ("permuted", "permute", "couples")),
            repeat_full_name=match["fullname"] is not None,
            permute_in_pairs=match["couples"] is not None,
            permuted_share=int(match["share"] or 100) / 100,
        )


@dataclass(frozen=True, slots=True)
class Person:
    """The facts about one person. Documents and answers are both made from them.

    Args:
        index: Number of the person, from 0.
        name: Full name, unique within the world.
        pronoun_index: Index into `PRONOUNS`.
        values: Attribute -> value.
    """

    index: int
    name: str
    pronoun_index: int
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Biographies(World):
    """A population and the texts about it.

    The facts depend on the seed and the person's index alone, never on the augmentation, so two arms that differ only
    in the augmentation describe the same people. Sizes of the pools of values are those of the paper.

    Args:
        people: Number of people, 2 or more. The paper has 100,000; 1,000 train in minutes.
        augmentation: How the entries of one person differ, from `AUGMENTATIONS` or `PAIRED_AUGMENTATIONS`.
        wordings: Number of sentence templates per attribute; a smaller number uses the first ones. The paper has 46 to
            52.
        name_pool_sizes: Number of first, middle and last names.
        years: Number of birth years, from 1900 on.
        cities: Number of cities, 2 or more.
        universities: Number of universities.
        majors: Number of majors.
        companies: Number of companies.
        extra_tokenizer_texts: Texts of later tasks, so that the tokenizer knows their words.
    """

    people: int = 1_000
    augmentation: str = "single"
    wordings: int = 24
    name_pool_sizes: tuple[int, int, int] = (400, 400, 1_000)
    years: int = 200
    cities: int = 200
    universities: int = 300
    majors: int = 100
    companies: int = 263
    extra_tokenizer_texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Augmentation.parse(self.augmentation)
        if self.people < 2:
            raise SpecError(f"Biographies.people={self.people} leaves one side of the split empty; take 2 or more.")
        self._check_value_pools()
        self._check_names()

    def _check_value_pools(self) -> None:
        available = {
            "wordings": (self.wordings, min(len(w) for w in words.SENTENCE_TEMPLATES.values())),
            "years": (self.years, len(words.YEARS)),
            "cities": (self.cities, len(words.CITIES)),
            "universities": (self.universities, len(words.UNIVERSITIES)),
            "majors": (self.majors, len(words.MAJORS)),
            "companies": (self.companies, len(words.COMPANIES)),
        }
        for field, (value, maximum) in available.items():
            minimum = 2 if field == "cities" else 1  # headquarters are in the first city and in others
            if not minimum <= value <= maximum:
                raise SpecError(
                    f"Biographies.{field}={value} is out of range, because the pool holds {maximum}; take a number "
                    f"from {minimum} to {maximum}."
                )

    def _check_names(self) -> None:
        pools = (words.FIRST_NAMES, words.MIDDLE_NAMES, words.LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.name_pool_sizes, pools, strict=True)):
            raise SpecError(
                f"Biographies.name_pool_sizes={self.name_pool_sizes} is out of range, because the pools hold "
                f"{', '.join(str(len(p)) for p in pools)} names; take from 1 to these numbers."
            )
        if self.people > (unique := math.prod(self.name_pool_sizes)):
            raise SpecError(
                f"Biographies.people={self.people:,} is more than the {unique:,} full names from pools of "
                f"{self.name_pool_sizes}; raise name_pool_sizes or lower people."
            )

    @cached_property
    def parsed_augmentation(self) -> Augmentation:
        """The parsed augmentation."""
        return Augmentation.parse(self.augmentation)

    @property
    def documents_per_entity(self) -> int:
        """Entries per person; a training configuration converts exposures of people into steps with it."""
        return self.parsed_augmentation.entries_per_person

    @property
    def n_entities(self) -> int:
        """The number of people, who are the independently drawn units."""
        return self.people

    def downsized(self, max_entities: int) -> Biographies:
        """The same world with at most `max_entities` people, but at least two. The cost per person stays the same."""
        return replace(self, people=min(self.people, max(2, max_entities)))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries of all people, person by person. Nothing is kept in memory between two entries."""
        return self.documents_for(0, self.people, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The entries of the people `first` to `last` (excluded), independent of all other people."""
        for index in range(first, last):
            yield from render_entries(self, person(self, index, seed), seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Six questions per person, one per attribute, each in one fixed wording. Half of the people are in the seen
        split.
        """
        half = (self.people + 1) // 2
        for index in range(self.people):
            subject = person(self, index, seed)
            split: Split = "seen" if permuted_index(index, self.people, seed / "split") < half else "unseen"
            for attribute in PERSON_ATTRIBUTES:
                yield Question(
                    id=f"{attribute}/{index}",
                    entity=f"person/{index}",
                    attribute=attribute,
                    prompt=words.ATTRIBUTE_PROMPTS[attribute].format(name=subject.name),
                    target=subject.values[attribute],
                    split=split,
                )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word of this world, then entries of up to 2,000 people in varied wordings."""
        for attribute in PERSON_ATTRIBUTES:
            for wording in words.SENTENCE_TEMPLATES[attribute][: self.wordings]:
                for who, whose, be in PRONOUNS:
                    yield wording.format(
                        Who=who.capitalize(), who=who, Whose=whose.capitalize(), whose=whose, was=be, value=""
                    )
        yield from (prompt.format(name="X's") for prompt in words.ATTRIBUTE_PROMPTS.values())
        yield from self.extra_tokenizer_texts
        for pool, size in zip(
            (words.FIRST_NAMES, words.MIDDLE_NAMES, words.LAST_NAMES), self.name_pool_sizes, strict=True
        ):
            yield " ".join(pool[:size])
        yield from words.CITIES[: self.cities]
        yield from words.UNIVERSITIES[: self.universities]
        yield from words.MAJORS[: self.majors]
        yield from words.COMPANIES[: self.companies]
        yield from (f"{month} 1," for month in words.MONTHS)
        yield " ".join(str(number) for number in (*words.DAYS, *words.YEARS[: self.years]))
        varied = replace(self, people=min(self.people, 2_000), augmentation="multi2+permute")
        yield from (document.text for document in varied.documents(seed))


@dataclass(frozen=True)
class BiographyNameExtractor:
    """Finds the name in a question, for evaluations that give a model the bare name."""

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The full name inside a question about an attribute."""
        before, after = words.ATTRIBUTE_PROMPTS[attribute].split("{name}")
        return prompt.removeprefix(before).removesuffix(after)


def person(world: Biographies, index: int, seed: Seed) -> Person:
    """The facts about the person with this index: six attributes, a unique name and a pronoun.

    All fields are uniform and independent, except that the company determines the company's city.
    """
    rng = (seed / "person" / index).numpy()
    triple = permuted_index(index, math.prod(world.name_pool_sizes), seed / "names")
    first, rest = divmod(triple, world.name_pool_sizes[1] * world.name_pool_sizes[2])
    middle, last = divmod(rest, world.name_pool_sizes[2])
    company = int(rng.integers(world.companies))
    month, day = words.MONTHS[rng.integers(12)], words.DAYS[rng.integers(len(words.DAYS))]
    values = {
        "birth_date": f"{month} {day}, {words.YEARS[rng.integers(world.years)]}",
        "birth_city": words.CITIES[rng.integers(world.cities)],
        "university": words.UNIVERSITIES[rng.integers(world.universities)],
        "major": words.MAJORS[rng.integers(world.majors)],
        "company": words.COMPANIES[company],
        "company_city": words.CITIES[words.headquarters_city(company, world.companies, world.cities)],
    }
    name = f"{words.FIRST_NAMES[first]} {words.MIDDLE_NAMES[middle]} {words.LAST_NAMES[last]}"
    return Person(index, name, int(rng.integers(len(PRONOUNS))), values)


def render_entries(world: Biographies, subject: Person, seed: Seed) -> Iterator[Document]:
    """The texts about one person, as the world's augmentation describes."""
    augmentation = world.parsed_augmentation
    for entry in range(augmentation.entries_per_person):
        # Wording and order have separate seeds: `single+permute5` must have the six sentences of
        # `single`, and `multi5+permute` those of `multi5`, in another order.
        rng = (seed / "wording" / subject.index / (entry if augmentation.redraw_templates else 0)).numpy()
        template_indices = rng.integers(world.wordings, size=len(PERSON_ATTRIBUTES)).tolist()
        order = _sentence_order(augmentation, entry, seed / "order" / subject.index / entry)
        yield render_entry(
            subject,
            [(PERSON_ATTRIBUTES[k], template_indices[k]) for k in order],
            augmentation.repeat_full_name,
            f"{subject.index}/{entry}",
        )


def _sentence_order(augmentation: Augmentation, entry: int, seed: Seed) -> list[int]:
    """The order of the sentences of one entry: shuffled, in shuffled pairs, or unchanged."""
    if not augmentation.permute_sentences or entry < round(
        (1 - augmentation.permuted_share) * augmentation.entries_per_person
    ):
        return list(range(len(PERSON_ATTRIBUTES)))
    if augmentation.permute_in_pairs:
        pairs = seed.numpy().permutation(len(SENTENCE_PAIRS)).tolist()
        return [sentence for pair in pairs for sentence in SENTENCE_PAIRS[pair]]
    order: list[int] = seed.numpy().permutation(len(PERSON_ATTRIBUTES)).tolist()
    return order


def render_entry(
    subject: Person, attribute_templates: list[tuple[str, int]], repeat_full_name: bool, document_id: str
) -> Document:
    """One entry: a sentence per (attribute, template index), with the spans of the values.

    The full name is in the first sentence, whichever attribute that states, and a pronoun is in the others.
    """
    text, spans = "", []
    for sentence_index, (attribute, template_index) in enumerate(attribute_templates):
        if repeat_full_name or sentence_index == 0:
            before, after = _around_value(attribute, template_index, subject.name, f"{subject.name}'s", "was")
        else:
            before, after = _around_value_with_pronoun(attribute, template_index, subject.pronoun_index)
        start = len(text) + (sentence_index > 0) + len(before)
        value = subject.values[attribute]
        spans.append(Span(attribute, start, start + len(value)))
        text += " " * (sentence_index > 0) + before + value + after
    return Document(
        document_id, f"person/{subject.index}", text, tuple(spans), tuple(f"{a}#{w}" for a, w in attribute_templates)
    )


@cache  # one item per template and pronoun
def _around_value_with_pronoun(attribute: str, template_index: int, pronoun_index: int) -> tuple[str, str]:
    return _around_value(attribute, template_index, *PRONOUNS[pronoun_index])


def _around_value(
    attribute: str, template_index: int, subject: str, possessive: str, was_or_were: str
) -> tuple[str, str]:
    """The parts of a sentence before and after its value."""
    before, after = words.SENTENCE_TEMPLATES[attribute][template_index].split("{value}")
    slots = {
        "who": subject,
        "whose": possessive,
        "was": was_or_were,
        "Who": subject[0].upper() + subject[1:],
        "Whose": possessive[0].upper() + possessive[1:],
    }
    return before.format(**slots), after.format(**slots)


def permuted_index(index: int, size: int, seed: Seed) -> int:
    """The position of `index` in a random order of `size` items, without building the order.

    Distinct indices get distinct positions, so a name drawn this way is unique by construction, and a population of any
    size streams. The order is a four-round Feistel network on the next even number of bits, repeated until the result
    is below `size` (Black and Rogaway 2002, cycle walking).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask, key, permuted = (1 << half) - 1, _seed_digest(seed), index
    while True:
        left, right = permuted >> half, permuted & mask
        for round_index in range(4):
            block = hashlib.blake2b(right.to_bytes(8, "big"), key=key, salt=bytes([round_index]), digest_size=8)
            left, right = right, left ^ (int.from_bytes(block.digest(), "big") & mask)
        permuted = left << half | right
        if permuted < size:
            return permuted


@lru_cache(maxsize=64)
def _seed_digest(seed: Seed) -> bytes:
    return seed.digest()
