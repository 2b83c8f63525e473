"""Two groups of one population: who is told of how often, and whose questions may be trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from nosce.data.worlds.base import check
from nosce.data.worlds.biographies.celebrities import Celebrities
from nosce.data.worlds.biographies.world import ATTRIBUTES, COUPLES, PAIRS, Augmentation, Biographies
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(8)
PEOPLE = Biographies(people=60, names=(8, 8, 16), augmentation="single+permute1")
WORLD = Celebrities(population=PEOPLE, minority=20)


def orders(world):
    """The order of attributes in every entry, by person."""
    found = {}
    for document in world.documents(SEED):
        told = tuple(span.facet for span in sorted(document.spans, key=lambda s: s.start))
        found.setdefault(document.about, []).append(told)
    return found


def test_the_world_keeps_the_contract():
    """Spans, splits, equal bytes."""
    check(WORLD, SEED)


def test_celebrities_have_five_wordings_and_the_minority_one():
    """Entries a person, the same facts as in the population, and the minority's one text letter for letter."""
    texts = {}
    for document in WORLD.documents(SEED):
        texts.setdefault(document.about, []).append(document.text)
    counts = Counter(len(found) for found in texts.values())
    assert counts == {1: 20, 5: 40}
    assert all(len(texts[f"person/{n}"]) == (1 if n < 20 else 5) for n in range(60))
    plain = {d.about: d.text for d in PEOPLE.documents(SEED)}
    assert all(texts[f"person/{n}"] == [plain[f"person/{n}"]] for n in range(20))
    answers = {q.id: q.target for q in WORLD.questions(SEED)}
    assert answers == {q.id: q.target for q in PEOPLE.questions(SEED)}


def test_only_celebrities_may_be_asked_about_in_training():
    """The split is by group."""
    for question in WORLD.questions(SEED):
        index = int(question.about.partition("/")[2])
        assert question.split == ("unseen" if index < 20 else "seen")
    for wrong in ({"minority": 0}, {"minority": 60}, {"augmentation": "many"}):
        with pytest.raises(SpecError):
            replace(WORLD, **wrong)


@pytest.mark.parametrize("name", COUPLES)
def test_couples_stay_together(name):
    """Pairs in their order, glued; the sentences of `single`; as many entries as the name says."""
    world = replace(PEOPLE, augmentation=name)
    pairs = {tuple(ATTRIBUTES[k] for k in pair) for pair in PAIRS}
    every = orders(world)
    for told in every.values():
        assert len(told) == int(name.removeprefix("couple"))
        assert all({order[0:2], order[2:4], order[4:6]} == pairs for order in told)
    assert len({order for told in every.values() for order in told}) > 2
    single = {d.about: set(d.wordings) for d in replace(PEOPLE, augmentation="single").documents(SEED)}
    assert all(set(d.wordings) == single[d.about] for d in world.documents(SEED))


def test_a_share_of_the_entries_is_shuffled():
    """The dose between five wordings in one order and five in any: the wordings are the same throughout."""
    assert Augmentation.parse("multi5+permute40%") == replace(Augmentation.parse("multi5+permute"), share=0.4)
    doses = {share: orders(replace(PEOPLE, augmentation=f"multi5+permute{share}")) for share in ("", "40%")}
    some = doses["40%"]
    assert all(told[:3] == [ATTRIBUTES] * 3 for told in some.values())
    assert all(told[3:] == doses[""][about][3:] for about, told in some.items())
    wordings = [{d.id: set(d.wordings) for d in replace(PEOPLE, augmentation=a).documents(SEED)}
                for a in ("multi5", "multi5+permute40%")]  # fmt: skip
    assert wordings[0] == wordings[1]
    with pytest.raises(SpecError):
        Augmentation.parse("multi5+permute0%")
