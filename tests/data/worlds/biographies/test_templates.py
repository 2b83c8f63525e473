"""The words of the biographies world keep their own rules."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from tests.fixtures.every_case import check_every

from nosce.data.worlds.biographies import templates as words

ATTRIBUTES = ("birth_date", "birth_city", "university", "major", "company", "company_city")
SUBJECTS = {"{Who}", "{who}", "{Whose}", "{whose}"}
NAMES = {"first": words.FIRST_NAMES, "middle": words.MIDDLE_NAMES, "last": words.LAST_NAMES}
VALUES = {
    "cities": words.CITIES,
    "universities": words.UNIVERSITIES,
    "majors": words.MAJORS,
    "companies": words.COMPANIES,
}
EVERY_WORDING = [text for texts in words.SENTENCE_TEMPLATES.values() for text in texts]


def plain_words(text: str) -> list[str]:
    """The words of a wording without its placeholders."""
    return re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", text))


def test_attributes_and_their_order():
    """Wordings and questions cover the six attributes, in the fixed order."""
    assert tuple(words.SENTENCE_TEMPLATES) == ATTRIBUTES
    assert tuple(words.ATTRIBUTE_PROMPTS) == ATTRIBUTES


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_enough_wordings(attribute):
    """Each attribute has 50 wordings, no two equal: arXiv:2309.14316, appendix A.1, has 46 to 52."""
    texts = words.SENTENCE_TEMPLATES[attribute]
    assert len(texts) == 50
    assert len(set(texts)) == len(texts)


def test_subject_stands_before_the_value():
    """A wording has one subject and, after it, one value; {was} at most once and only beside a person."""

    def check(text):
        holes = re.findall(r"\{\w*\}", text)
        subjects = [hole for hole in holes if hole in SUBJECTS]
        assert len(subjects) == 1
        assert holes.count("{value}") == 1
        assert holes.count("{was}") <= 1
        assert set(holes) <= SUBJECTS | {"{value}", "{was}"}
        assert text.count("{") == text.count("}") == len(holes)
        assert text.index(subjects[0]) < text.index("{value}")
        assert (subjects[0][1] == "W") == text.startswith(subjects[0])
        if "{was}" in holes:
            assert subjects[0] + " {was}" in text
            assert subjects[0] in ("{Who}", "{who}")

    check_every(check, EVERY_WORDING)


def test_a_wording_is_one_plain_sentence():
    """A wording is short ASCII, capitalised, ends in its only full stop, and has single spaces."""

    def check(text):
        assert text.isascii()
        assert text == " ".join(text.split())
        assert re.fullmatch(r"[A-Za-z{} ,]+\.", text)
        assert text[0] == "{" or text[0].isupper()
        assert 4 <= len(plain_words(text)) <= 9
        assert all(word.islower() for word in plain_words(text)[text[0] != "{" :])

    check_every(check, EVERY_WORDING)


def test_a_wording_fits_every_subject_and_value():
    """No verb or pronoun depends on the person, and no article depends on the value."""

    def check(text):
        assert not {
            "he",
            "she",
            "they",
            "his",
            "her",
            "hers",
            "their",
            "theirs",
            "him",
            "them",
            "himself",
            "herself",
            "themselves",
            "is",
            "are",
            "has",
            "have",
            "does",
        } & set(plain_words(text.lower()))
        assert not re.search(r"\b(an?|the) \{value\}", text, re.IGNORECASE)
        assert not re.search(r"\{[Ww]ho\} (was|were)\b", text)

    check_every(check, EVERY_WORDING)


def test_wordings_average_five_to_six_words():
    """Sentences are short: about five and a half words besides the placeholders."""
    for texts in words.SENTENCE_TEMPLATES.values():
        assert 4.5 <= sum(len(plain_words(text)) for text in texts) / len(texts) <= 6.0


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_values_stand_in_many_places(attribute):
    """At least a third of the wordings go on after the value, and its place in the sentence varies."""
    texts = words.SENTENCE_TEMPLATES[attribute]
    assert sum(not text.endswith("{value}.") for text in texts) >= len(texts) / 3
    assert len({text[: text.index("{value}")].count(" ") for text in texts}) >= 4


def test_what_precedes_a_value_is_unique():
    """No two wordings, of one attribute or two, share all that stands before the value."""
    texts = [text for texts in words.SENTENCE_TEMPLATES.values() for text in texts]
    before = Counter(text[: text.index("{value}")].lower() for text in texts)
    assert [start for start, count in before.items() if count > 1] == []


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_prompts(attribute):
    """A question names the person once, asks once, and ends with the cue."""
    prompt = words.ATTRIBUTE_PROMPTS[attribute]
    assert prompt.count("{name}") == 1
    assert prompt.count("{") == 1
    assert prompt.endswith("? Answer:")
    assert prompt.count("?") == 1
    assert prompt.isascii()
    assert len(prompt.split()) <= 8
    assert len(set(words.ATTRIBUTE_PROMPTS.values())) == len(ATTRIBUTES)


@pytest.mark.parametrize(("pool", "count"), [("first", 400), ("middle", 400), ("last", 1000)])
def test_name_pools(pool, count):
    """A pool has the agreed number of distinct, capitalised, readable single words."""
    assert len(NAMES[pool]) == len(set(NAMES[pool])) == count
    assert all(re.fullmatch(r"[A-Z][a-z]{2,}", name) for name in NAMES[pool])
    assert [name for name in NAMES[pool] if re.search(r"(.)\1\1", name.lower())] == []


@pytest.mark.parametrize("pool", NAMES)
def test_first_names_of_a_pool_look_varied(pool):
    """The first twenty names begin in twenty ways and end in almost as many."""
    first = NAMES[pool][:20]
    assert len({name[:3] for name in first}) == 20
    assert len({name[-3:] for name in first}) >= 16


def test_a_name_means_nothing_else():
    """The three pools are disjoint from each other and from all capitalised words of values and texts."""
    texts = [
        *words.MONTHS,
        *words.ATTRIBUTE_PROMPTS.values(),
        *(t for ts in words.SENTENCE_TEMPLATES.values() for t in ts),
        *(value for pool in VALUES.values() for value in pool),
        "He She They His Her Their",
    ]
    others = {word.lower() for text in texts for word in re.findall(r"[A-Za-z]+", text)}
    names = [name.lower() for pool in NAMES.values() for name in pool]
    assert len(set(names)) == len(names)
    assert set(names) & others == set()


@pytest.mark.parametrize(
    ("pool", "count", "shape"),
    [
        ("cities", 200, r"[A-Z][a-z]+, [A-Z]{2}"),
        ("universities", 300, r"[A-Z][a-z]+( [A-Z][a-z]+){1,2}"),
        ("majors", 100, r"[A-Z][a-z]+( [A-Z][a-z]+)?"),
        ("companies", 263, r"[A-Z][a-z]+ [A-Z][a-z]+"),
    ],
)
def test_value_pools(pool, count, shape):
    """A pool has the agreed number of distinct values, all of one shape."""
    assert len(VALUES[pool]) == len(set(VALUES[pool])) == count
    assert [value for value in VALUES[pool] if not re.fullmatch(shape, value)] == []


def test_towns_and_regions():
    """No two towns share a name; twenty regions hold ten towns each."""
    towns, regions = zip(*(city.split(", ") for city in words.CITIES), strict=True)
    assert len(set(towns)) == 200
    assert set(Counter(regions).values()) == {10}


def test_universities_share_first_words():
    """The first 30, 60 and 300 universities have 10, 20 and 30 first words between them."""
    stems = [university.split()[0] for university in words.UNIVERSITIES]
    assert [len(set(stems[:n])) for n in (30, 60, 300)] == [10, 20, 30]


def test_value_pools_do_not_share_first_words():
    """The first word of a city, a university, a major or a company belongs to no other pool."""
    firsts = [{re.split(r"[ ,]", value)[0] for value in pool} for pool in VALUES.values()]
    assert len(set.union(*firsts)) == sum(map(len, firsts))


def test_companies_have_varied_first_words():
    """The first sixty companies have sixty first words, and none is shared by more than four."""
    firsts = [company.split()[0] for company in words.COMPANIES]
    assert len(set(firsts[:60])) == 60
    assert max(Counter(firsts).values()) <= 4


def test_dates():
    """Twelve months, 28 days that every month has, 200 years."""
    assert len(set(words.MONTHS)) == 12
    assert (min(words.DAYS), max(words.DAYS), len(words.DAYS)) == (1, 28, 28)
    assert (min(words.YEARS), max(words.YEARS), len(words.YEARS)) == (1900, 2099, 200)


@pytest.mark.parametrize(("companies", "cities", "distinct"), [(263, 200, 175), (30, 30, 20), (30, 10, 10)])
def test_headquarters(companies, cities, distinct):
    """City 0 holds about 14 percent of the companies, the others are spread evenly over the rest."""
    seats = Counter(words.headquarters_city(company, companies, cities) for company in range(companies))
    assert set(seats) == set(range(distinct))
    assert 0.13 <= seats.pop(0) / companies <= 0.17
    assert max(seats.values()) - min(seats.values()) <= 1


@pytest.mark.parametrize("cities", [2, 3, 30])
def test_headquarters_of_small_worlds(cities):
    """Every company of a small world sits in a city that exists, and only every seventh in city 0."""

    def check(companies):
        for company in range(companies):
            seat = words.headquarters_city(company, companies, cities)
            assert 0 <= seat < cities
            assert (seat == 0) == (company % 7 == 0)

    check_every(check, range(1, 40))


@pytest.mark.parametrize(("company", "companies", "cities"), [(-1, 3, 3), (3, 3, 3), (0, 3, 1)])
def test_headquarters_refuses_what_does_not_exist(company, companies, cities):
    """An unknown company and a world of one city are refused."""
    with pytest.raises(ValueError, match="headquarters"):
        words.headquarters_city(company, companies, cities)
