"""Texts that teach and ask for reports on injected states: what they mark, what they hold out, and what is right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.data.worlds.behaviours.injections import (
    INSIDE,
    OUTSIDE,
    RANDOM_CONCEPT,
    InjectionMetadata,
    InjectionReports,
    injected_concept,
)
from nosce.errors import DataError, SpecError
from nosce.records import Question
from nosce.seeds import Seed

SEED = Seed(5)
BASE = Dispositions(vocabulary_size=12, n_contexts=40, records=200, prompts_per_task=8)
WORLD = InjectionReports(base=BASE, records=800)


def injected_in(document):
    """What a document says is injected, and the marked characters."""
    if not document.spans:
        return None, ""
    (span,) = document.spans
    return injected_concept(span.attribute), document.text[span.start : span.end]


def test_the_world_keeps_its_contract():
    """Equal seeds give equal texts, ids are unique, spans lie in their texts."""
    check_world(WORLD, SEED)
    assert [d.text for d in WORLD.documents(SEED)] != [d.text for d in WORLD.documents(Seed(6))]


def test_a_report_is_right_about_what_its_document_marks():
    """Inside or the concept's value where a concept is injected, else outside; injected is the line's answer."""
    taught = [document for document in WORLD.documents(SEED) if document.entity != "replay"]
    assert 300 < len(taught) < 500
    n_injected = 0
    for document in taught:
        injected, characters = injected_in(document)
        line, _, rest = document.text.partition(" you ; ")
        asks_for, _, reply = rest.partition(" = ")
        if injected is None or injected[0].startswith(RANDOM_CONCEPT):
            assert reply == OUTSIDE
            continue
        n_injected += 1
        name, _, value = injected[0].partition("=")
        assert characters == line.split()[-1]
        assert injected[1] in WORLD.strengths
        assert (asks_for, reply) in (("so", INSIDE), (name, value))
        assert not any(BASE.property_value(name, word, SEED) == value for word in line.split())
    assert 0.4 < n_injected / len(taught) < 0.6


def test_reports_of_held_out_concepts_are_not_taught():
    """A third of the values of each property, and no document injects one of them."""
    splits = WORLD.concepts(SEED)
    by_property = {}
    for concept, split in splits.items():
        by_property.setdefault(concept.partition("=")[0], []).append(split)
    assert {name: found.count("unseen") for name, found in by_property.items()} == {
        "first": 4,
        "initial": 3,
        "second": 3,
    }
    for document in WORLD.documents(SEED):
        injected, _ = injected_in(document)
        if injected is not None and not injected[0].startswith(RANDOM_CONCEPT):
            assert splits[injected[0]] == "seen"


def test_no_tested_line_is_among_the_texts_that_directions_are_found_from():
    """And a prompt line has a word of the concept, a neutral line none."""
    questions = list(WORLD.questions(SEED))
    direction_lines = {q.prompt for q in questions if q.attribute == "direction"}
    assert len(direction_lines) > 80
    for question in questions:
        metadata = InjectionMetadata.from_question(question)
        if metadata.kind not in ("neutral", "prompt"):
            continue
        line = question.prompt.partition(" you ;")[0]
        assert line not in direction_lines
        name, _, value = question.entity.partition("=")
        has_word = any(BASE.property_value(name, word, SEED) == value for word in line.split())
        assert has_word == (metadata.kind == "prompt")
        assert question.target in metadata.labels
        assert line[slice(*metadata.place)] == line.split()[-1]


def test_the_form_is_taught_without_any_injection():
    """The same questions, whose right reply is always outside."""
    form = [d for d in replace(WORLD, injects=False).documents(SEED) if d.entity != "replay"]
    assert not any(document.spans for document in form)
    assert {document.text.split()[-1] for document in form} == {OUTSIDE}
    assert len({document.text.split()[-3] for document in form}) == 4  # so, first, initial, second


def test_words_of_a_span_that_inject_nothing():
    """An ordinary attribute names no concept."""
    assert injected_concept("employer") is None
    assert injected_concept("first=acorn@0.5") == ("first=acorn", 0.5)


@pytest.mark.parametrize(
    "changed",
    [
        {"properties": ("colour",)},
        {"properties": ()},
        {"strengths": ()},
        {"strengths": (0.0,)},
        {"lines_per_concept": 0},
        {"unseen_share": 1.0},
        {"replay_fraction": 1.0},
        {"records": 0},
    ],
)
def test_what_cannot_be_injected_is_refused(changed):
    """Before any text is written."""
    with pytest.raises(SpecError, match="InjectionReports"):
        replace(WORLD, **changed)


def test_a_question_of_another_world_has_no_metadata_of_this_one():
    """One sentence says what to use."""
    with pytest.raises(DataError, match="use a corpus of InjectionReports"):
        InjectionMetadata.from_question(Question("a", "a", "b", "c", "d", "seen"))
