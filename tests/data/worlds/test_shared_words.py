"""A world with the words of others: its own texts, and a tokenizer that reads all of them."""

from __future__ import annotations

import pytest

from nosce.data.round_trip import comes_back
from nosce.data.tokenizer import build_tokenizer
from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.world import Biographies
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.shared_words import WithWords
from nosce.seeds import Seed

DIARIES = Diaries(encoding="lean", n_diarists=20, people_without_entries=3, name_pool_sizes=(8, 8))
TEXT = Biographies(people=20, name_pool_sizes=(4, 4, 4), years=3, cities=3, universities=3, majors=3, companies=3)


@pytest.mark.parametrize(("world", "other"), [(DIARIES, TEXT), (TEXT, DIARIES)], ids=["diaries", "text"])
def test_it_is_the_world_with_more_words(world, other):
    """Documents, questions and what is known about them are the world's; without the other, its words are unknown."""
    seed, shared = Seed(0), WithWords(world=world, other_worlds=(other,))
    check_world(shared, seed)
    assert list(shared.documents(seed)) == list(world.documents(seed))
    assert list(shared.questions(seed)) == list(world.questions(seed))
    assert (shared.n_entities, shared.constant_attributes) == (world.n_entities, world.constant_attributes)
    assert shared.downsized(5) == WithWords(world=world.downsized(5), other_worlds=(other,))
    both, alone = (build_tokenizer(DIARIES.tokenizer, one.samples(seed)) for one in (shared, world))
    texts = [document.text for one in (world, other) for document in one.documents(seed)]
    assert all(comes_back(both, text) for text in texts)
    assert not all(comes_back(alone, text) for text in texts)
