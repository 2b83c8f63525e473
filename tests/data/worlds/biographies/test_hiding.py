"""Copies of biographies that hide something before a value: what is hidden, what is learnt, and what stays."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.hiding import WORD, HidingBiographies
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies, person
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(4)
PEOPLE = Biographies(people=30, name_pool_sizes=(8, 8, 16))
VALUES, WORDS = (HidingBiographies(population=PEOPLE, hidden=hidden) for hidden in ("values", "words"))


def copies(world):
    """Each copy with its text, and the person."""
    originals = {d.entity: d for d in world.population.documents(SEED)}
    for document in replace(world, with_originals=False).documents(SEED):
        index = int(document.entity.partition("/")[2])
        yield document, originals[document.entity], person(world.population, index, SEED)


@pytest.mark.parametrize("world", [VALUES, WORDS, replace(VALUES, population=replace(PEOPLE, augmentation="multi2"))])
def test_the_world_keeps_the_contract(world):
    """Spans, splits, equal bytes; as many documents as it says; texts, questions and samples are the population's."""
    check_world(world, SEED)
    documents = list(world.documents(SEED))
    assert len(documents) == world.n_entities * world.documents_per_entity
    assert [d for d in documents if not d.prompt_chars] == list(world.population.documents(SEED))
    assert list(world.questions(SEED)) == list(world.population.questions(SEED))
    assert list(world.samples(SEED)) == list(world.population.samples(SEED))
    assert list(world.documents_for(3, 5, SEED)) == [d for d in documents if d.entity in ("person/3", "person/4")]
    assert world.downsized(4).population.people == 4


def test_only_the_value_of_a_copy_is_learnt():
    """The prompt ends where the value begins, and the text with its sentence; the first value needs no copy."""
    for world in (VALUES, WORDS):
        found = {}
        for copy, text, who in copies(world):
            (span,) = copy.spans
            assert copy.prompt_chars == span.start
            assert copy.text[span.start : span.end] == who.values[span.attribute]
            sentence = next(one for one in re.split(r"(?<=\.) ", text.text) if who.values[span.attribute] in one)
            assert copy.text.endswith(sentence) or who.values[span.attribute] not in sentence
            assert copy.text.endswith(".")
            found.setdefault(copy.entity, []).append(span.attribute)
        assert set(map(tuple, found.values())) == {PERSON_ATTRIBUTES[1:]}


def test_values_before_are_gone_and_the_name_stays():
    """What is left before the value are the words of the text without its values; the control has the values."""
    for copy, text, who in copies(VALUES):
        place = PERSON_ATTRIBUTES.index(copy.spans[0].attribute)
        before = copy.text[: copy.prompt_chars]
        assert who.name in before
        gaps = [0, *(end for span in text.spans[: place + 1] for end in (span.start, span.end))]
        parts = [text.text[a:b] for a, b in zip(gaps[::2], gaps[1::2], strict=False)]
        assert WORD.findall(before) == WORD.findall(" ".join(parts))


def test_the_control_hides_as_many_other_words():
    """Values and name stay letter for letter; as many words of the earlier sentences are gone, at random places."""
    n_fewer = 0
    for (copy, _, who), (hidden, text, _) in zip(copies(WORDS), copies(VALUES), strict=True):
        place = PERSON_ATTRIBUTES.index(copy.spans[0].attribute)
        assert who.name in copy.text
        assert all(text.text[span.start : span.end] in copy.text for span in text.spans[: place + 1])
        n_words, n_without = len(WORD.findall(copy.text)), len(WORD.findall(hidden.text))
        assert n_words >= n_without
        n_fewer += n_words > n_without
        own = text.text[text.text.index(". ", text.spans[place - 1].end) + 2 : text.spans[place].start]
        assert copy.text[: copy.prompt_chars].endswith(own)  # how the value is asked for stays
    assert n_fewer < 15  # of 150: a text may have fewer words than values
    assert {d.text for d, _, _ in copies(WORDS)} != {d.text for d, _, _ in copies(VALUES)}


def test_what_cannot_be_hidden_is_refused():
    """One sentence."""
    with pytest.raises(SpecError, match="choose from values, words"):
        HidingBiographies(hidden="names")
