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

from nosce.data.worlds.biographies import templates as words
from nosce.errors import SpecError
from nosce.records import Document, Question, Span
from nosce.seeds import Seed

ATTRIBUTES = tuple(words.WORDINGS)
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
COUPLES = ("couple1", "couple2", "couple5")
PAIRS = ((0, 1), (2, 3), (4, 5))  # birth date and city, university and major, company and its city


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How a person's entries differ from each other.

    `entries` texts a person; `rewording` draws the wordings anew for each of them, otherwise all
    entries share the same six sentences; `permute` shuffles the sentences of each entry;
    `fullname` says the full name in every sentence instead of once. `coupled` glues three pairs of sentences together,
    so that only the order of the pairs is shuffled (appendix A.1.1). `share` of the entries are shuffled, the first
    ones are not: a dose between `multi5` and `multi5+permute`.
    """

    entries: int
    rewording: bool
    permute: bool
    fullname: bool
    coupled: bool = False
    share: float = 1.0

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
                f"take one of {', '.join((*AUGMENTATIONS, *COUPLES))} (other numbers are fine)."
            )
        return cls(
            entries=int(match["orders"] or match["many"] or match["couples"] or 1),
            rewording=match["many"] is not None,
            permute=any(match[name] is not None for name in ("permuted", "permute", "couples")),
            fullname=match["fullname"] is not None,
            coupled=match["couples"] is not None,
            share=int(match["share"] or 100) / 100,
        )


@dataclass(frozen=True, slots=True)
class Person:
    """The facts of one person, from which texts and answers are both made."""

    index: int
    name: str
    pronoun: int  # place in PRONOUNS
    values: dict[str, str]  # by attribute


@dataclass(frozen=True, kw_only=True)
class Biographies:
    """A population and the way it is written about; equal fields and seeds give equal bytes.

    Facts depend on the seed and the person's number alone, never on the augmentation, so that two
    arms that differ in the augmentation tell of the same people.
    """

    people: int = 1_000
    augmentation: str = "single"
    wordings: int = 24  # per attribute, the first so many of ours
    names: tuple[int, int, int] = (400, 400, 1_000)  # sizes of the pools of first, middle and last names
    years: int = 200  # of birth, from 1900 on
    cities: int = 200
    universities: int = 300
    majors: int = 100
    companies: int = 263
    also: tuple[str, ...] = ()  # texts of later tasks, whose words a tokenizer is to know too

    def __post_init__(self) -> None:
        Augmentation.parse(self.augmentation)
        if self.people < 2:
            raise SpecError(
                f"Biographies.people={self.people} leaves nobody to ask about after the split; take 2 or more."
            )
        offered = {
            "wordings": min(len(w) for w in words.WORDINGS.values()),
            "years": len(words.YEARS),
            "cities": len(words.CITIES),
            "universities": len(words.UNIVERSITIES),
            "majors": len(words.MAJORS),
            "companies": len(words.COMPANIES),
        }
        for field, most in offered.items():
            least = 2 if field == "cities" else 1  # headquarters are in the first city and in others
            if not least <= getattr(self, field) <= most:
                raise SpecError(
                    f"Biographies.{field}={getattr(self, field)} is not between {least} and {most}, "
                    "which is how many there are; take a number between them."
                )
        pools = (words.FIRST_NAMES, words.MIDDLE_NAMES, words.LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.names, pools, strict=True)):
            raise SpecError(
                f"Biographies.names={self.names} asks for more names than the pools hold "
                f"({', '.join(str(len(p)) for p in pools)}); take fewer."
            )
        if self.people > (unique := math.prod(self.names)):
            raise SpecError(
                f"Biographies.people={self.people:,} is more than the {unique:,} full names that pools of "
                f"{self.names} allow; enlarge names or take fewer people."
            )

    @cached_property
    def how(self) -> Augmentation:
        """The parsed augmentation."""
        return Augmentation.parse(self.augmentation)

    @property
    def documents_per_thing(self) -> int:
        """Entries per person; what a recipe needs to turn exposures of people into steps."""
        return self.how.entries

    @property
    def things(self) -> int:
        """How many people there are: what is drawn independently here."""
        return self.people

    def fewer(self, most: int) -> Biographies:
        """The same world of no more than so many people (two at least), of which each costs as much."""
        return replace(self, people=min(self.people, max(2, most)))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries of all people, person by person; nothing is held between two of them."""
        return self.documents_about(0, self.people, seed)

    def documents_about(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The entries of the people `first` to `last` (excluded), which need nobody else's."""
        for index in range(first, last):
            yield from entries(self, person(self, index, seed), seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Six questions a person, in one fixed wording each; half of the people are `seen`."""
        half = (self.people + 1) // 2
        for index in range(self.people):
            who = person(self, index, seed)
            split = "seen" if shuffled(index, self.people, seed / "split") < half else "unseen"
            for attribute in ATTRIBUTES:
                yield Question(
                    id=f"{attribute}/{index}",
                    about=f"person/{index}",
                    facet=attribute,
                    prompt=words.PROMPTS[attribute].format(name=who.name),
                    target=who.values[attribute],
                    split=split,  # type: ignore[arg-type]
                )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word this world can use, then entries in varied wordings of up to 2,000 people."""
        for attribute in ATTRIBUTES:
            for wording in words.WORDINGS[attribute][: self.wordings]:
                for who, whose, be in PRONOUNS:
                    yield wording.format(Who=who.capitalize(), who=who, Whose=whose.capitalize(), whose=whose,
                                         was=be, value="")  # fmt: skip
        yield from (prompt.format(name="X's") for prompt in words.PROMPTS.values())
        yield from self.also
        for pool, size in zip((words.FIRST_NAMES, words.MIDDLE_NAMES, words.LAST_NAMES), self.names, strict=True):
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
class Names:
    """Whom a question is about, for read-outs that show a model the bare name."""

    def title(self, prompt: str, facet: str) -> str:
        """The full name inside a question about an attribute."""
        before, after = words.PROMPTS[facet].split("{name}")
        return prompt.removeprefix(before).removesuffix(after)


def person(world: Biographies, index: int, seed: Seed) -> Person:
    """The facts of person number `index`: six attributes, a unique name and a pronoun.

    All fields are uniform and independent, except that the company's city is a function of the company.
    """
    rng = (seed / "person" / index).numpy()
    triple = shuffled(index, math.prod(world.names), seed / "names")
    first, rest = divmod(triple, world.names[1] * world.names[2])
    middle, last = divmod(rest, world.names[2])
    company = int(rng.integers(world.companies))
    month, day = words.MONTHS[rng.integers(12)], words.DAYS[rng.integers(len(words.DAYS))]
    values = {
        "birth_date": f"{month} {day}, {words.YEARS[rng.integers(world.years)]}",
        "birth_city": words.CITIES[rng.integers(world.cities)],
        "university": words.UNIVERSITIES[rng.integers(world.universities)],
        "major": words.MAJORS[rng.integers(world.majors)],
        "company": words.COMPANIES[company],
        "company_city": words.CITIES[words.headquarters(company, world.companies, world.cities)],
    }
    name = f"{words.FIRST_NAMES[first]} {words.MIDDLE_NAMES[middle]} {words.LAST_NAMES[last]}"
    return Person(index, name, int(rng.integers(len(PRONOUNS))), values)


def entries(world: Biographies, who: Person, seed: Seed) -> Iterator[Document]:
    """The texts about one person, as the world's augmentation says."""
    how = world.how
    for entry in range(how.entries):
        # One place in the tree for wording and one for order: `single+permute5` must find the six
        # sentences of `single`, and `multi5+permute` those of `multi5`, in another order.
        draw = (seed / "wording" / who.index / (entry if how.rewording else 0)).numpy()
        chosen = draw.integers(world.wordings, size=len(ATTRIBUTES)).tolist()
        order = _order(how, entry, seed / "order" / who.index / entry)
        yield write(who, [(ATTRIBUTES[k], chosen[k]) for k in order], how.fullname, f"{who.index}/{entry}")


def _order(how: Augmentation, entry: int, seed: Seed) -> list[int]:
    """The order of the sentences of one entry: shuffled, in shuffled pairs, or as they are."""
    if not how.permute or entry < round((1 - how.share) * how.entries):
        return list(range(len(ATTRIBUTES)))
    if how.coupled:
        return [place for pair in seed.numpy().permutation(len(PAIRS)).tolist() for place in PAIRS[pair]]
    return seed.numpy().permutation(len(ATTRIBUTES)).tolist()  # type: ignore[no-any-return]


def write(who: Person, sentences: list[tuple[str, int]], fullname: bool, id: str) -> Document:
    """One entry: sentences of (attribute, wording number), with the spans of their values.

    The full name stands in the first sentence, whichever that is, and a pronoun in the others.
    """
    text, spans = "", []
    for place, (attribute, wording) in enumerate(sentences):
        if fullname or place == 0:
            before, after = _halves(attribute, wording, who.name, f"{who.name}'s", "was")
        else:
            before, after = _with_pronoun(attribute, wording, who.pronoun)
        start = len(text) + (place > 0) + len(before)
        value = who.values[attribute]
        spans.append(Span(attribute, start, start + len(value)))
        text += " " * (place > 0) + before + value + after
    return Document(id, f"person/{who.index}", text, tuple(spans), tuple(f"{a}#{w}" for a, w in sentences))


@cache  # as many as there are wordings and pronouns
def _with_pronoun(attribute: str, wording: int, pronoun: int) -> tuple[str, str]:
    return _halves(attribute, wording, *PRONOUNS[pronoun])


def _halves(attribute: str, wording: int, subject: str, possessive: str, be: str) -> tuple[str, str]:
    """What stands before and after the value."""
    before, after = words.WORDINGS[attribute][wording].split("{value}")
    slots = {"who": subject, "whose": possessive, "was": be,
             "Who": subject[0].upper() + subject[1:], "Whose": possessive[0].upper() + possessive[1:]}  # fmt: skip
    return before.format(**slots), after.format(**slots)


def shuffled(index: int, size: int, seed: Seed) -> int:
    """The place of `index` in a random order of `size` things, without making the order.

    Distinct indices get distinct places, so a name drawn this way is unique by construction and a
    population of any size streams. A four-round Feistel network on the next even number of bits,
    walked until it lands below `size` (Black and Rogaway 2002, cycle walking).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask, key, place = (1 << half) - 1, _key(seed), index
    while True:
        left, right = place >> half, place & mask
        for number in range(4):
            block = hashlib.blake2b(right.to_bytes(8, "big"), key=key, salt=bytes([number]), digest_size=8)
            left, right = right, left ^ (int.from_bytes(block.digest(), "big") & mask)
        place = left << half | right
        if place < size:
            return place


@lru_cache(maxsize=64)
def _key(seed: Seed) -> bytes:
    return seed.digest()
