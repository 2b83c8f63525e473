"""The biographies world against its source: arXiv:2309.14316, section 2 and appendix A.1."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import islice, pairwise

import numpy as np
import pytest
import scipy.stats

from nosce.data.worlds import base as contract
from nosce.data.worlds.biographies import templates as words
from nosce.data.worlds.biographies import world as biographies
from nosce.data.worlds.biographies.world import (
    AUGMENTATIONS,
    PAIRED_AUGMENTATIONS,
    PERSON_ATTRIBUTES,
    Augmentation,
    Biographies,
    permuted_index,
    person,
)
from nosce.errors import SpecError
from nosce.records import Document
from nosce.seeds import Seed

SEED = Seed(0) / "world"
PEOPLE = 60

#: The table of appendix A.1: entries per person, wordings drawn anew, order drawn anew, times the name is said.
PAPER_AUGMENTATIONS = {
    "single": (1, False, False, 1),
    "single+fullname": (1, False, False, 6),
    "single+permute1": (1, False, True, 1),
    "single+permute2": (2, False, True, 1),
    "single+permute5": (5, False, True, 1),
    "single+permute1+fullname": (1, False, True, 6),
    "single+permute2+fullname": (2, False, True, 6),
    "single+permute5+fullname": (5, False, True, 6),
    "multi2": (2, True, False, 1),
    "multi5": (5, True, False, 1),
    "multi2+permute": (2, True, True, 1),
    "multi5+permute": (5, True, True, 1),
    "multi2+fullname": (2, True, False, 6),
    "multi5+fullname": (5, True, False, 6),
    "multi2+permute+fullname": (2, True, True, 6),
    "multi5+permute+fullname": (5, True, True, 6),
}
every_augmentation = pytest.mark.parametrize("augmentation", PAPER_AUGMENTATIONS)


@lru_cache
def written(augmentation: str, people: int = PEOPLE) -> dict[str, list[Document]]:
    """All entries of a small population by person."""
    found = defaultdict(list)
    for document in Biographies(people=people, augmentation=augmentation).documents(SEED):
        found[document.entity].append(document)
    return dict(found)


@lru_cache
def population(count: int = 2_000, **fields: int) -> tuple[biographies.Person, ...]:
    """The facts of many people."""
    world = Biographies(people=count, **fields)
    return tuple(person(world, index, SEED) for index in range(count))


def said(document: Document) -> set[str]:
    """Which six wordings an entry uses, whatever their order."""
    return set(document.wordings)


def order(document: Document) -> tuple[str, ...]:
    """In which order an entry tells of the attributes."""
    return tuple(span.attribute for span in document.spans)


def test_the_augmentations_are_those_of_the_paper():
    """There are exactly sixteen names, `single` and its fifteen augmentations, each once."""
    assert len(AUGMENTATIONS) == 16
    assert set(AUGMENTATIONS) == set(PAPER_AUGMENTATIONS)


@every_augmentation
def test_a_name_means_what_the_paper_says(augmentation):
    """Each name is read as the number of entries, and what is drawn anew, of its row in appendix A.1."""
    entries, rewording, permute, times = PAPER_AUGMENTATIONS[augmentation]
    assert Augmentation.parse(augmentation) == Augmentation(entries, rewording, permute, repeat_full_name=times == 6)


@every_augmentation
def test_the_contract_is_kept(augmentation):
    """Every augmentation keeps what all worlds owe the laboratory."""
    contract.check_world(Biographies(people=PEOPLE, augmentation=augmentation), SEED)
    assert isinstance(Biographies(), contract.World)


@every_augmentation
def test_entries_per_person_and_names_per_entry(augmentation):
    """Everybody has as many entries as appendix A.1 says, and each says the full name once or six times."""
    entries, _, _, times = PAPER_AUGMENTATIONS[augmentation]
    world = Biographies(people=PEOPLE, augmentation=augmentation)
    people = written(augmentation)
    assert len(people) == PEOPLE == world.n_entities
    assert {len(documents) for documents in people.values()} == {entries} == {world.documents_per_entity}
    for index in range(PEOPLE):
        name = person(world, index, SEED).name
        for document in people[f"person/{index}"]:
            assert document.text.count(name) == times
            assert document.text.index(name) < document.spans[0].start


@every_augmentation
def test_an_entry_says_each_fact_once(augmentation):
    """Six sentences, one an attribute, and the text under each span is the value of the fact."""
    world = Biographies(people=PEOPLE, augmentation=augmentation)
    for index, documents in enumerate(written(augmentation).values()):
        values = person(world, index, SEED).values
        for document in documents:
            assert sorted(order(document)) == sorted(PERSON_ATTRIBUTES)
            assert [wording.partition("#")[0] for wording in document.wordings] == list(order(document))
            for span in document.spans:
                assert document.text[span.start : span.end] == values[span.attribute]


#: What a value looks like to somebody who knows neither pools nor facts: capitals amid a sentence, a date's or a
#: city's end behind them.
VALUE = re.compile(r"(?<!^)(?<!\. )\b[A-Z][a-z]+(?: [A-Z][a-z]+)*(?: \d{1,2}, \d{4}|, [A-Z]{2}\b)?")


@pytest.mark.parametrize("augmentation", [*PAPER_AUGMENTATIONS, *PAIRED_AUGMENTATIONS, "multi5+permute40%"])
def test_spans_are_where_a_regular_expression_finds_values(augmentation):
    """Read back from the text alone, with the name blotted out."""
    for entity, documents in written(augmentation).items():
        name = person(Biographies(people=PEOPLE), int(entity.partition("/")[2]), SEED).name
        for document in documents:
            found = [match.span() for match in VALUE.finditer(document.text.replace(name, "x" * len(name)))]
            assert found == [(span.start, span.end) for span in document.spans], document.text


@every_augmentation
def test_an_entry_is_its_wordings_filled_in(augmentation):
    """A text read back sentence by sentence through its wordings tells the same name, pronoun and values."""
    world = Biographies(people=12, augmentation=augmentation)
    for index in range(12):
        who = person(world, index, SEED)
        for document in written(augmentation)[f"person/{index}"]:
            rest = document.text
            for place, wording in enumerate(document.wordings):
                attribute, _, number = wording.partition("#")
                named = place == 0 or PAPER_AUGMENTATIONS[augmentation][3] == 6
                subject, whose, was = (
                    (who.name, f"{who.name}'s", "was")
                    if named
                    else [("he", "his", "was"), ("she", "her", "was"), ("they", "their", "were")][who.pronoun_index]
                )
                sentence = words.SENTENCE_TEMPLATES[attribute][int(number)]
                for hole, word in {"who": subject, "whose": whose, "was": was, "value": who.values[attribute]}.items():
                    big = word[0].upper() + word[1:]
                    sentence = sentence.replace("{" + hole + "}", word).replace("{" + hole.capitalize() + "}", big)
                assert rest.startswith(sentence)
                rest = rest[len(sentence) :].removeprefix(" ")
            assert rest == ""


def test_permuted_entries_repeat_the_sentences_of_single():
    """All `single` augmentations say the same six sentences of a person, the fifth time as the first."""
    for augmentation in (name for name in PAPER_AUGMENTATIONS if name.startswith("single")):
        for entity, documents in written(augmentation).items():
            assert {frozenset(said(d)) for d in documents} == {frozenset(said(written("single")[entity][0]))}


@pytest.mark.parametrize("augmentation", [name for name in PAPER_AUGMENTATIONS if name.startswith("multi")])
def test_reworded_entries_differ(augmentation):
    """A `multi` augmentation words every entry of a person anew, so no two say the same six sentences."""
    for documents in written(augmentation).values():
        assert len({frozenset(said(d)) for d in documents}) == len(documents)


def test_wordings_do_not_depend_on_what_else_is_augmented():
    """Entry k is worded alike with and without permutation and full names, so that arms differ in one thing."""
    for many in (2, 5):
        plain = written(f"multi{many}")
        for rest in ("+fullname", "+permute", "+permute+fullname"):
            for entity, documents in written(f"multi{many}{rest}").items():
                assert [said(d) for d in documents] == [said(d) for d in plain[entity]]
    assert [d[0].wordings for d in written("multi5").values()] == [d[0].wordings for d in written("single").values()]


@every_augmentation
def test_the_order_of_sentences(augmentation):
    """The order of appendix A.1 unless it is permuted; then it differs from person to person and entry to entry."""
    orders = [[order(d) for d in documents] for documents in written(augmentation).values()]
    flat = [one for of_person in orders for one in of_person]
    if not PAPER_AUGMENTATIONS[augmentation][2]:
        assert set(flat) == {("birth_date", "birth_city", "university", "major", "company", "company_city")}
        return
    assert len(set(flat)) > 0.8 * min(len(flat), 60)
    if PAPER_AUGMENTATIONS[augmentation][0] > 1:
        assert sum(len(set(of_person)) > 1 for of_person in orders) >= PEOPLE - 2


def test_permuted_orders_are_uniform():
    """Over a thousand entries each attribute stands in each of the six places equally often."""
    orders = [order(d) for d in Biographies(people=1_000, augmentation="single+permute1").documents(SEED)]
    for place in range(6):
        counts = Counter(one[place] for one in orders)
        assert scipy.stats.chisquare([counts[a] for a in PERSON_ATTRIBUTES]).pvalue > 0.001


def test_wordings_are_uniform_over_those_asked_for():
    """A world of ten wordings uses exactly the first ten of each attribute, equally often."""
    counts = Counter(w for d in Biographies(people=1_000, wordings=10).documents(SEED) for w in d.wordings)
    assert set(counts) == {f"{attribute}#{number}" for attribute in PERSON_ATTRIBUTES for number in range(10)}
    for attribute in PERSON_ATTRIBUTES:
        assert scipy.stats.chisquare([counts[f"{attribute}#{n}"] for n in range(10)]).pvalue > 0.001


@every_augmentation
def test_facts_and_questions_do_not_depend_on_the_augmentation(augmentation):
    """Two arms that differ in the augmentation tell of the same people, ask the same and split alike."""
    plain, other = Biographies(people=PEOPLE), Biographies(people=PEOPLE, augmentation=augmentation)
    assert [person(plain, i, SEED) for i in range(PEOPLE)] == [person(other, i, SEED) for i in range(PEOPLE)]
    assert list(plain.questions(SEED)) == list(other.questions(SEED))
    assert list(plain.samples(SEED)) == list(other.samples(SEED))


def test_the_company_tells_its_city_and_nothing_else_tells_anything():
    """Everybody at one company works in one city; any two other attributes have nothing to do with each other."""
    cities = defaultdict(set)
    for who in population():
        cities[who.values["company"]].add(who.values["company_city"])
    assert {len(found) for found in cities.values()} == {1}

    few = population(4_000, cities=4, universities=4, majors=4, companies=4, years=4)
    names = ("birth_city", "university", "major", "company")
    for one, other in ((a, b) for a in names for b in names if a < b):
        table = Counter((who.values[one], who.values[other]) for who in few)
        counts = [[table[a, b] for b in {o for _, o in table}] for a in {o for o, _ in table}]
        assert scipy.stats.chi2_contingency(counts).pvalue > 0.001


POOLS = {
    "month": (lambda who: who.values["birth_date"].split()[0], words.MONTHS),
    "day": (lambda who: int(who.values["birth_date"].split()[1].rstrip(",")), words.DAYS),
    "year": (lambda who: int(who.values["birth_date"].split()[2]), words.YEARS),
    "birth_city": (lambda who: who.values["birth_city"], words.CITIES),
    "university": (lambda who: who.values["university"], words.UNIVERSITIES),
    "major": (lambda who: who.values["major"], words.MAJORS),
    "company": (lambda who: who.values["company"], words.COMPANIES),
    "pronoun_index": (lambda who: who.pronoun_index, range(3)),
    "first name": (lambda who: who.name.split()[0], words.FIRST_NAMES),
    "middle name": (lambda who: who.name.split()[1], words.MIDDLE_NAMES),
    "last name": (lambda who: who.name.split()[2], words.LAST_NAMES),
}


@pytest.mark.parametrize("field", POOLS)
def test_values_are_uniform(field):
    """Every value of a pool, and no other, is met equally often; names and pronouns too."""
    read, pool = POOLS[field]
    counts = Counter(map(read, population(6_000)))
    assert set(counts) <= set(pool)
    assert scipy.stats.chisquare([counts[value] for value in pool]).pvalue > 0.001


def test_the_majority_of_company_cities():
    """Guessing one city is right for about 14 % of the people, as New York is in the paper (13.7 %)."""
    counts = Counter(who.values["company_city"] for who in population(6_000))
    assert 0.125 < counts.most_common(1)[0][1] / 6_000 < 0.165
    assert counts.most_common(2)[1][1] / 6_000 < 0.02


def test_names_are_unique():
    """No two of 2,000 people share a full name, even where almost every name there is must be given."""
    assert len({who.name for who in population()}) == 2_000
    tight = Biographies(people=2_000, name_pool_sizes=(10, 10, 20))
    assert len({person(tight, index, SEED).name for index in range(2_000)}) == 2_000


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1_000, 4_096, 4_097])
def test_shuffled_is_a_permutation(size):
    """Every place is given exactly once, whether the size is a power of two, one more or one less."""
    for seed in (Seed(0), Seed(1)):
        assert sorted(permuted_index(index, size, seed) for index in range(size)) == list(range(size))


def test_shuffled_looks_shuffled():
    """Over many seeds an index lands in every place alike, and neighbours are not kept together."""
    places = np.array([[permuted_index(index, 100, Seed(0) / n) for index in (0, 1, 50, 99)] for n in range(2_000)])
    for column in places.T:
        assert scipy.stats.chisquare(np.bincount(column, minlength=100)).pvalue > 0.001
    for other in (1, 2, 3):
        apart = np.bincount((places[:, other] - places[:, 0]) % 100, minlength=100)
        assert apart[0] == 0
        assert scipy.stats.chisquare(apart[1:]).pvalue > 0.001


def test_a_person_has_one_pronoun():
    """He, she or they: one of them in all entries of a person, and all three in the population."""
    sets = ({"he", "his"}, {"she", "her"}, {"they", "their"})
    met = set()
    for index, documents in enumerate(written("multi5+permute").values()):
        texts = " ".join(d.text for d in documents).lower()
        used = set(re.findall(r"\b(?:he|his|she|her|they|their)\b", texts))
        assert used
        assert used <= sets[population()[index].pronoun_index]
        met |= used
    assert met == set.union(*sets)


def test_a_plural_pronoun_takes_a_plural_verb():
    """They were, he was and she was; a name always was."""
    for documents in written("multi5").values():
        for document in documents:
            assert not re.search(r"\b[Tt]hey was\b|\b(?:[Hh]e|[Ss]he) were\b", document.text)


@pytest.mark.parametrize("people", [2, 3, 10, 101, 1_000])
def test_the_split_is_an_exact_half(people):
    """Half of the people, the larger half if odd, may be trained on; all six questions of a person go together."""
    sides = defaultdict(set)
    for question in Biographies(people=people).questions(SEED):
        sides[question.entity].add(question.split)
    assert {len(splits) for splits in sides.values()} == {1}
    counts = Counter(next(iter(splits)) for splits in sides.values())
    assert counts == {"seen": (people + 1) // 2, "unseen": people // 2}


def test_the_split_tells_nothing_about_a_person():
    """Who is seen has nothing to do with the person's number."""
    seen = [q.split == "seen" for q in Biographies(people=1_000).questions(SEED) if q.attribute == "major"]
    assert abs(sum(seen[:500]) - 250) < 50
    assert abs(sum(seen[::2]) - 250) < 50
    assert abs(sum(a == b for a, b in pairwise(seen)) - 500) < 60


def test_questions_ask_with_the_full_name_for_the_value():
    """Six questions a person, each with the whole name; the target is the fact and stands in every entry."""
    questions = list(Biographies(people=PEOPLE).questions(SEED))
    assert len(questions) == 6 * PEOPLE
    for number, question in enumerate(questions):
        who = population()[number // 6]
        assert question.entity == f"person/{who.index}"
        assert question.attribute == PERSON_ATTRIBUTES[number % 6]
        assert who.name in question.prompt
        assert question.target == who.values[question.attribute]
        assert all(question.target in d.text for d in written("multi5")[question.entity])


def test_samples_hold_every_word():
    """A tokenizer made from the samples knows every word of every augmentation's texts and of the questions."""
    split = re.compile(r"\w+|[^\w\s]+").findall
    fields = {"people": 200, "name_pool_sizes": (8, 8, 10), "cities": 9, "majors": 7, "years": 20, "wordings": 5}
    known = {word for text in Biographies(**fields).samples(SEED) for word in split(text)}
    for augmentation in ("single", "multi5+permute+fullname"):
        world = Biographies(**fields, augmentation=augmentation)
        texts = [d.text for d in world.documents(SEED)]
        texts += [f"{q.prompt} {q.target}" for q in world.questions(SEED)]
        assert {word for text in texts for word in split(text)} <= known


def test_seeds_make_different_worlds():
    """Two seeds share neither people nor facts nor split, except by chance."""
    world, other = Biographies(people=200), Seed(1) / "world"
    pairs = [(person(world, i, SEED), person(world, i, other)) for i in range(200)]
    assert sum(one.name == two.name for one, two in pairs) == 0
    for attribute in PERSON_ATTRIBUTES:
        assert sum(one.values[attribute] == two.values[attribute] for one, two in pairs) < 30
    splits = [[q.split for q in world.questions(seed)] for seed in (SEED, other)]
    assert 0.35 < np.mean([a == b for a, b in zip(*splits, strict=True)]) < 0.65


def test_a_larger_world_begins_with_the_smaller_one():
    """The facts of person 7 do not depend on how many people there are, so worlds can grow."""
    small, large = Biographies(people=10), Biographies(people=1_000)
    assert [person(small, i, SEED) for i in range(10)] == [person(large, i, SEED) for i in range(10)]
    assert list(small.documents(SEED)) == list(islice(large.documents(SEED), 10))


def peak_of(people: int) -> int:
    """The most bytes held at once while all documents of a world are met one by one."""
    tracemalloc.start()
    try:
        for _ in Biographies(people=people, augmentation="multi5").documents(SEED):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_documents_stream():
    """Many times the people take no more memory: nothing is held between two people."""
    peak_of(10)  # what is made once: caches, imports
    small, large = peak_of(30), peak_of(200)
    assert large < 500_000
    assert large < small + 50_000


def test_the_first_document_of_a_large_world_comes_at_once(monkeypatch):
    """Of 100,000 people one is made before the first text is there, and no order of all of them."""
    made = []
    monkeypatch.setattr(
        biographies, "person", lambda world, index, seed: made.append(index) or person(world, index, seed)
    )
    started = time.process_time()
    document = next(Biographies(people=100_000, augmentation="multi5").documents(SEED))
    question = next(Biographies(people=100_000).questions(SEED))
    assert time.process_time() - started < 0.5
    assert made == [0, 0]
    assert document.entity == question.entity == "person/0"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"people": 0}, "people=0"),
        ({"people": 1}, "people=1"),
        ({"people": -5}, "people=-5"),
        ({"people": 9, "name_pool_sizes": (2, 2, 2)}, "people=9 .* 8 full names"),
        ({"people": 160_000_001}, "160,000,000 full names"),
        ({"name_pool_sizes": (401, 400, 1_000)}, "name_pool_sizes=.401"),
        ({"name_pool_sizes": (0, 400, 1_000)}, "name_pool_sizes=.0"),
        ({"augmentation": "double"}, "augmentation='double' .* single, single.fullname"),
        ({"augmentation": "single+permute"}, "augmentation="),
        ({"augmentation": "multi0"}, "augmentation="),
        ({"augmentation": "multi5+fullname+permute"}, "augmentation="),
        ({"augmentation": ""}, "augmentation="),
        ({"cities": 201}, "cities=201 .* 200"),
        ({"cities": 0}, "cities=0"),
        ({"universities": 301}, "universities=301"),
        ({"majors": 101}, "majors=101"),
        ({"companies": 264}, "companies=264"),
        ({"years": 201}, "years=201"),
        ({"wordings": 51}, "wordings=51"),
        ({"wordings": 0}, "wordings=0"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_sentence(fields, found):
    """An impossible world is refused when it is made, with what was asked, what there is, and what to do."""
    with pytest.raises(SpecError, match=found) as refusal:
        Biographies(**fields)
    assert re.fullmatch(r"Biographies\.[^\n]*\.", str(refusal.value))


@pytest.mark.parametrize(("name", "entries"), [("multi1", 1), ("multi3+permute", 3), ("single+permute10", 10)])
def test_other_numbers_than_the_papers_work(name, entries):
    """Dose curves need other numbers of entries than the paper's rows."""
    world = Biographies(people=5, augmentation=name)
    assert len(list(world.documents(SEED))) == 5 * entries
    contract.check_world(world, SEED)


def test_the_smallest_world_works():
    """Two people, one wording, one of everything and two cities still make texts and questions."""
    world = Biographies(
        people=2,
        augmentation="multi2+permute",
        wordings=1,
        name_pool_sizes=(1, 1, 2),
        years=1,
        cities=2,
        universities=1,
        majors=1,
        companies=1,
    )
    contract.check_world(world, SEED)
    assert {q.split for q in world.questions(SEED)} == {"seen", "unseen"}


def test_one_city_is_refused_when_the_world_is_made():
    """Headquarters need two cities, so a world of one is refused where it is written down."""
    with pytest.raises(SpecError, match="cities=1"):
        list(islice(Biographies(cities=1).documents(Seed(0)), 1))
