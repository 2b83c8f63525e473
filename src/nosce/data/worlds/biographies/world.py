"""Biographies: people with six attributes, told in one wording or in many.

A model that met a person in one wording can recite it; whether it can be *asked* for what it
recites depends on how often the same facts were told otherwise. The world holds both, by name.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 2 and appendix A.1; wordings, names and
values are our own. Letters: N people, E entries (documents) per person.
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
from nosce.records import Document, Question, Span
from nosce.seeds import Seed

PERSON_ATTRIBUTES = tuple(words.SENTENCE_TEMPLATES)
PRONOUNS = (("he", "his", "was"), ("she", "her", "was"), ("they", "their", "were"))

#: The sheet's sixteen rows (appendix A.1): `single` and its fifteen augmentations.
AUGMENTATIONS = (
    "single",
    "single+fullname",
    *(f"single+permute{k}" for k in (1, 2, 5)),
    *(f"single+permute{k}+fullname" for k in (1, 2, 5)),
    *(f"multi{k}{rest}" for rest in ("", "+fullname", "+permute", "+permute+fullname") for k in (2, 5)),
)


#: Sentences in glued pairs, whose order alone is shuffled (appendix A.1.1).
PAIRED_AUGMENTATIONS = ("couple1", "couple2", "couple5")
SENTENCE_PAIRS = ((0, 1), (2, 3), (4, 5))  # birth date and city, university and major, company and its city


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How a person's entries differ from each other.

    `entries` texts a person; `rewording` draws the wordings anew for each of them, otherwise all
    entries share the same six sentences; `permute` shuffles the sentences of each entry;
    `fullname` says the full name in every sentence instead of once. `coupled` glues three pairs of sentences together,
    so that only the order of the pairs is shuffled (appendix A.1.1). `share` of the entries are shuffled, the first
    ones are not: a dose between `multi5` and `multi5+permute`.
    """

    entries_per_person: int
    redraw_templates: bool
    permute_sentences: bool
    repeat_full_name: bool
    permute_in_pairs: bool = False
    permuted_share: float = 1.0

    @classmethod
    def parse(cls, name: str) -> Augmentation:
        """The augmentation that the paper calls `name`, e.g. `multi5+permute`.

        Other numbers than the paper's are understood too (`multi3`, `single+permute10`), for dose curves, and a per
        cent of entries that are shuffled (`multi5+permute40%`).

        Raises:
            SpecError: Not such a name.
        """
        match = re.fullmatch(
            r"(?:single(?P<permuted>\+permute(?P<orders>[1-9]\d*))?|couple(?P<couples>[1-9]\d*)|"
            r"multi(?P<many>[1-9]\d*)(?P<permute>\+permute(?:(?P<share>[1-9]\d?)%)?)?)(?P<fullname>\+fullname)?",
            name,
        )
        if match is None:
            raise SpecError(
                f"Biographies.augmentation={name!r} is not one that exists; "
                f"take one of {', '.join((*AUGMENTATIONS, *PAIRED_AUGMENTATIONS))} (other numbers are fine)."
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
    """The facts of one person, from which texts and answers are both made."""

    index: int
    name: str
    pronoun_index: int  # place in PRONOUNS
    values: dict[str, str]  # by attribute


@dataclass(frozen=True, kw_only=True)
class Biographies(World):
    """A population and the way it is written about; equal fields and seeds give equal bytes.

    Facts depend on the seed and the person's number alone, never on the augmentation, so that two
    arms that differ in the augmentation tell of the same people.
    """

    people: int = 1_000
    augmentation: str = "single"
    wordings: int = 24  # per attribute, the first so many of ours
    name_pool_sizes: tuple[int, int, int] = (400, 400, 1_000)  # sizes of the pools of first, middle and last names
    years: int = 200  # of birth, from 1900 on
    cities: int = 200
    universities: int = 300
    majors: int = 100
    companies: int = 263
    extra_tokenizer_texts: tuple[str, ...] = ()  # texts of later tasks, whose words a tokenizer is to know too

    def __post_init__(self) -> None:
        Augmentation.parse(self.augmentation)
        if self.people < 2:
            raise SpecError(
                f"Biographies.people={self.people} leaves nobody to ask about after the split; take 2 or more."
            )
        available = {
            "wordings": min(len(w) for w in words.SENTENCE_TEMPLATES.values()),
            "years": len(words.YEARS),
            "cities": len(words.CITIES),
            "universities": len(words.UNIVERSITIES),
            "majors": len(words.MAJORS),
            "companies": len(words.COMPANIES),
        }
        for field, maximum in available.items():
            minimum = 2 if field == "cities" else 1  # headquarters are in the first city and in others
            if not minimum <= getattr(self, field) <= maximum:
                raise SpecError(
                    f"Biographies.{field}={getattr(self, field)} is not between {minimum} and {maximum}, "
                    "which is how many there are; take a number between them."
                )
        pools = (words.FIRST_NAMES, words.MIDDLE_NAMES, words.LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.name_pool_sizes, pools, strict=True)):
            raise SpecError(
                f"Biographies.name_pool_sizes={self.name_pool_sizes} asks for more names than the pools hold "
                f"({', '.join(str(len(p)) for p in pools)}); take fewer."
            )
        if self.people > (unique := math.prod(self.name_pool_sizes)):
            raise SpecError(
                f"Biographies.people={self.people:,} is more than the {unique:,} full names that pools of "
                f"{self.name_pool_sizes} allow; enlarge names or take fewer people."
            )

    @cached_property
    def parsed_augmentation(self) -> Augmentation:
        """The parsed augmentation."""
        return Augmentation.parse(self.augmentation)

    @property
    def documents_per_entity(self) -> int:
        """Entries per person; what a recipe needs to turn exposures of people into steps."""
        return self.parsed_augmentation.entries_per_person

    @property
    def n_entities(self) -> int:
        """How many people there are: what is drawn independently here."""
        return self.people

    def downsized(self, max_entities: int) -> Biographies:
        """The same world of no more than so many people (two at least), of which each costs as much."""
        return replace(self, people=min(self.people, max(2, max_entities)))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries of all people, person by person; nothing is held between two of them."""
        return self.documents_for(0, self.people, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The entries of the people `first` to `last` (excluded), which need nobody else's."""
        for index in range(first, last):
            yield from render_entries(self, person(self, index, seed), seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Six questions a person, in one fixed wording each; half of the people are `seen`."""
        half = (self.people + 1) // 2
        for index in range(self.people):
            subject = person(self, index, seed)
            split = "seen" if permuted_index(index, self.people, seed / "split") < half else "unseen"
            for attribute in PERSON_ATTRIBUTES:
                yield Question(
                    id=f"{attribute}/{index}",
                    entity=f"person/{index}",
                    attribute=attribute,
                    prompt=words.ATTRIBUTE_PROMPTS[attribute].format(name=subject.name),
                    target=subject.values[attribute],
                    split=split,  # type: ignore[arg-type]
                )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word this world can use, then entries in varied wordings of up to 2,000 people."""
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
    """Whom a question is about, for read-outs that show a model the bare name."""

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The full name inside a question about an attribute."""
        before, after = words.ATTRIBUTE_PROMPTS[attribute].split("{name}")
        return prompt.removeprefix(before).removesuffix(after)


def person(world: Biographies, index: int, seed: Seed) -> Person:
    """The facts of person number `index`: six attributes, a unique name and a pronoun.

    All fields are uniform and independent, except that the company's city is a function of the company.
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
    """The texts about one person, as the world's augmentation says."""
    augmentation = world.parsed_augmentation
    for entry in range(augmentation.entries_per_person):
        # One place in the tree for wording and one for order: `single+permute5` must find the six
        # sentences of `single`, and `multi5+permute` those of `multi5`, in another order.
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
    """The order of the sentences of one entry: shuffled, in shuffled pairs, or as they are."""
    if not augmentation.permute_sentences or entry < round(
        (1 - augmentation.permuted_share) * augmentation.entries_per_person
    ):
        return list(range(len(PERSON_ATTRIBUTES)))
    if augmentation.permute_in_pairs:
        return [
            place for pair in seed.numpy().permutation(len(SENTENCE_PAIRS)).tolist() for place in SENTENCE_PAIRS[pair]
        ]
    return seed.numpy().permutation(len(PERSON_ATTRIBUTES)).tolist()  # type: ignore[no-any-return]


def render_entry(
    subject: Person, attribute_templates: list[tuple[str, int]], repeat_full_name: bool, document_id: str
) -> Document:
    """One entry: sentences of (attribute, wording number), with the spans of their values.

    The full name stands in the first sentence, whichever that is, and a pronoun in the others.
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


@cache  # as many as there are wordings and pronouns
def _around_value_with_pronoun(attribute: str, template_index: int, pronoun_index: int) -> tuple[str, str]:
    return _around_value(attribute, template_index, *PRONOUNS[pronoun_index])


def _around_value(
    attribute: str, template_index: int, subject: str, possessive: str, was_or_were: str
) -> tuple[str, str]:
    """What stands before and after the value."""
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
    """The place of `index` in a random order of `size` things, without making the order.

    Distinct indices get distinct places, so a name drawn this way is unique by construction and a
    population of any size streams. A four-round Feistel network on the next even number of bits,
    walked until it lands below `size` (Black and Rogaway 2002, cycle walking).
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
