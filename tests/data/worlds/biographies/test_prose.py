"""Prose tells all six values of everybody, far more variously than templates do, and of the same people."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.prose import FreeBiographies, PrewrittenTexts, ProseGrammar, value_spans
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies, person
from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

SEED = Seed(17)
PEOPLE = Biographies(people=60, name_pool_sizes=(8, 8, 16), augmentation="multi5+permute")
WORLD = FreeBiographies(population=PEOPLE, entries_per_person=5)


def shape(document):
    """A text with its values and names taken out."""
    text = document.text
    for span in sorted(document.spans, key=lambda s: -s.start):
        text = f"{text[: span.start]}<{span.attribute}>{text[span.end :]}"
    return text


def test_the_world_keeps_the_contract():
    """Spans, splits, equal bytes, the vocabulary."""
    check_world(WORLD, SEED)
    check_world(replace(WORLD, rewriter=ProseGrammar(repeat_full_name=True)), SEED)


def test_every_text_tells_all_six_values_and_the_name():
    """Found again by a regular expression; spans are where the values are; sentences end and begin as they should."""
    for document in WORLD.documents(SEED):
        who = person(PEOPLE, int(document.entity.partition("/")[2]), SEED)
        assert document.text.count(who.name) >= 1
        assert {span.attribute for span in document.spans} == set(PERSON_ATTRIBUTES)
        for span in document.spans:
            value = who.values[span.attribute]
            assert document.text[span.start : span.end] == value
            assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", document.text)
        assert len({(s.start, s.end) for s in document.spans}) == 6
        assert re.fullmatch(r"[A-Z].*\.", document.text)
        assert "  " not in document.text
        assert "{" not in document.text


def test_prose_is_more_various_than_templates():
    """Hardly two texts of one build; templates, which repeat, begin alike far more often."""
    free = [shape(d) for d in WORLD.documents(SEED)]
    assert len(set(free)) == len(free)
    orders = Counter(tuple(s.attribute for s in d.spans) for d in WORLD.documents(SEED))
    assert len(orders) > 200
    sentences = Counter(text.count(". ") + 1 for text in free)
    assert set(sentences) == {2, 3, 4}
    assert sum(" and " in text for text in free) > 0.5 * len(free)


def test_people_and_questions_are_those_of_the_population():
    """Only the texts differ."""
    assert list(WORLD.questions(SEED)) == list(PEOPLE.questions(SEED))
    tokenizer = tokenizers.build_tokenizer(PEOPLE_TOKENS, WORLD.samples(SEED))
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    assert all(unknown not in tokenizer.encode(d.text).ids for d in WORLD.documents(SEED))


PEOPLE_TOKENS = tokenizers.TokenizerSpec()


def test_texts_of_a_file_are_read_and_held_against_the_profiles(tmp_path):
    """What a model wrote is used as it is, if it tells everything; a changed file is another world."""
    file = tmp_path / "texts.jsonl"
    texts = {d.id: d.text for d in WORLD.documents(SEED)}
    lines = [
        {"person": int(i.split("/")[0]), "entry": int(i.split("/")[1]), "text": f"{t} So it was."}
        for i, t in texts.items()
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    world = replace(WORLD, rewriter=PrewrittenTexts.from_file(file))
    assert [d.text for d in world.documents(SEED)] == [f"{t} So it was." for t in texts.values()]
    with pytest.raises(DataError, match="has no text 5"):
        list(replace(world, entries_per_person=6).documents(SEED))
    file.write_text(json.dumps(lines[0] | {"text": "Nobody is known."}))
    with pytest.raises(DataError, match="have changed"):
        list(
            FreeBiographies(population=PEOPLE, rewriter=replace(PrewrittenTexts.from_file(file), digest="0")).documents(
                SEED
            )
        )
    with pytest.raises(DataError, match="does not state birth_date"):
        list(FreeBiographies(population=PEOPLE, rewriter=PrewrittenTexts.from_file(file)).documents(SEED))
    with pytest.raises(SpecError, match="not there"):
        PrewrittenTexts.from_file(tmp_path / "none")


def test_a_file_says_how_many_people_and_texts_it_has(tmp_path):
    """The first people of all, each with as many texts; a gap is one sentence."""
    file = tmp_path / "texts.jsonl"

    def shape(*written):
        lines = [json.dumps({"person": index, "entry": entry, "text": "?"}) for index, entry in written]
        file.write_text("\n".join(lines))
        return PrewrittenTexts.from_file(file).shape

    assert shape((0, 0), (1, 0), (2, 0)) == (3, 1)
    assert shape((1, 1), (0, 0), (0, 1), (1, 0)) == (2, 2)
    with pytest.raises(DataError, match="has no text 0 about person 1, but others"):
        shape((0, 0), (2, 0))
    with pytest.raises(DataError, match="has no text 1 about person 1"):
        shape((0, 0), (0, 1), (1, 0))
    for few in ((), ((0, 0),)):
        with pytest.raises(DataError, match="write of two or more"):
            shape(*few)


def test_two_attributes_of_one_value_have_a_place_each():
    """Somebody who works where they were born."""
    who = person(PEOPLE, 0, SEED)
    same = replace(who, values=who.values | {"company_city": who.values["birth_city"]})
    spans = value_spans(ProseGrammar().text(same, 0, SEED), same)
    assert len({s.start for s in spans}) == 6
