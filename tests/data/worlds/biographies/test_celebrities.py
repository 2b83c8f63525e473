"""Two groups of one population: who is told of how often, and whose questions may be trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.celebrities import Celebrities, FreeCelebrities
from nosce.data.worlds.biographies.prose import FreeBiographies, ProseGrammar
from nosce.data.worlds.biographies.world import (
    PAIRED_AUGMENTATIONS,
    PERSON_ATTRIBUTES,
    SENTENCE_PAIRS,
    Augmentation,
    Biographies,
)
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(8)
PEOPLE = Biographies(people=60, name_pool_sizes=(8, 8, 16), augmentation="single+permute1")
WORLD = Celebrities(population=PEOPLE, minority_size=20)


def orders(world):
    """The order of attributes in every entry, by person."""
    found = {}
    for document in world.documents(SEED):
        told = tuple(span.attribute for span in sorted(document.spans, key=lambda s: s.start))
        found.setdefault(document.entity, []).append(told)
    return found


def test_the_world_keeps_the_contract():
    """Spans, splits, equal bytes."""
    check_world(WORLD, SEED)


def test_celebrities_have_five_wordings_and_the_minority_one():
    """Entries a person, the same facts as in the population, and the minority's one text letter for letter."""
    texts = {}
    for document in WORLD.documents(SEED):
        texts.setdefault(document.entity, []).append(document.text)
    counts = Counter(len(found) for found in texts.values())
    assert counts == {1: 20, 5: 40}
    assert all(len(texts[f"person/{n}"]) == (1 if n < 20 else 5) for n in range(60))
    plain = {d.entity: d.text for d in PEOPLE.documents(SEED)}
    assert all(texts[f"person/{n}"] == [plain[f"person/{n}"]] for n in range(20))
    answers = {q.id: q.target for q in WORLD.questions(SEED)}
    assert answers == {q.id: q.target for q in PEOPLE.questions(SEED)}


def test_only_celebrities_may_be_asked_about_in_training():
    """The split is by group."""
    for question in WORLD.questions(SEED):
        index = int(question.entity.partition("/")[2])
        assert question.split == ("unseen" if index < 20 else "seen")
    for wrong in ({"minority_size": 0}, {"minority_size": 60}, {"celebrity_augmentation": "many"}):
        with pytest.raises(SpecError):
            replace(WORLD, **wrong)


@pytest.mark.parametrize("name", PAIRED_AUGMENTATIONS)
def test_couples_stay_together(name):
    """Pairs in their order, glued; the sentences of `single`; as many entries as the name says."""
    world = replace(PEOPLE, augmentation=name)
    pairs = {tuple(PERSON_ATTRIBUTES[k] for k in pair) for pair in SENTENCE_PAIRS}
    every = orders(world)
    for told in every.values():
        assert len(told) == int(name.removeprefix("couple"))
        assert all({order[0:2], order[2:4], order[4:6]} == pairs for order in told)
    assert len({order for told in every.values() for order in told}) > 2
    single = {d.entity: set(d.wordings) for d in replace(PEOPLE, augmentation="single").documents(SEED)}
    assert all(set(d.wordings) == single[d.entity] for d in world.documents(SEED))


def test_a_share_of_the_entries_is_shuffled():
    """The dose between five wordings in one order and five in any: the wordings are the same throughout."""
    assert Augmentation.parse("multi5+permute40%") == replace(Augmentation.parse("multi5+permute"), permuted_share=0.4)
    doses = {share: orders(replace(PEOPLE, augmentation=f"multi5+permute{share}")) for share in ("", "40%")}
    some = doses["40%"]
    assert all(told[:3] == [PERSON_ATTRIBUTES] * 3 for told in some.values())
    assert all(told[3:] == doses[""][entity][3:] for entity, told in some.items())
    wordings = [
        {d.id: set(d.wordings) for d in replace(PEOPLE, augmentation=a).documents(SEED)}
        for a in ("multi5", "multi5+permute40%")
    ]
    assert wordings[0] == wordings[1]
    with pytest.raises(SpecError):
        Augmentation.parse("multi5+permute0%")


FREE = FreeCelebrities(population=PEOPLE, minority_size=20)


@pytest.mark.parametrize("world", [FREE, replace(FREE, rewriter=ProseGrammar(repeat_full_name=True))])
def test_free_prose_has_the_same_two_groups(world):
    """One text about each of the minority, letter for letter that of free prose alone; five about each celebrity."""
    check_world(world, SEED)
    texts = {}
    for document in world.documents(SEED):
        texts.setdefault(document.entity, []).append(document.text)
    assert Counter(map(len, texts.values())) == {1: 20, 5: 40}
    plain = FreeBiographies(population=PEOPLE, rewriter=world.rewriter)
    alone = {d.entity: [d.text] for d in plain.documents(SEED)}
    assert all(texts[f"person/{n}"] == alone[f"person/{n}"] for n in range(20))
    assert [q.split for q in world.questions(SEED)] == [q.split for q in WORLD.questions(SEED)]
    assert set(plain.samples(SEED)) == set(world.samples(SEED))
    assert world.downsized(6).minority_size == 2


def test_free_prose_without_a_group_is_refused():
    """As with sentences."""
    for wrong in ({"minority_size": 0}, {"minority_size": 60}, {"celebrity_entries": 0}):
        with pytest.raises(SpecError):
            replace(FREE, **wrong)
