"""The world of a user's facts: texts, wordings, questions, and what is refused before any work."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.facts import FactNameExtractor, check_facts, facts_from_table
from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.store.spec import describe

FACTS = Path(__file__).parents[2] / "fixtures" / "facts"
TABLE, WORDINGS = FACTS / "products.csv", FACTS / "products.txt"
SEED = Seed(0) / "world"


def products(augmentation="single", wordings=WORDINGS, **more):
    """The world of the forty products."""
    return replace(facts_from_table(TABLE, wordings, **more)[0], augmentation=augmentation)


@pytest.mark.parametrize("wordings", [WORDINGS, ""])
@pytest.mark.parametrize("augmentation", ["single", "single+permute2", "multi5", "multi5+permute+fullname"])
def test_the_world_keeps_the_contract(augmentation, wordings):
    """Own and generic wordings alike; every text states each fact of its entity once."""
    world = products(augmentation, wordings)
    check_world(world, SEED)
    documents, questions = list(world.documents(SEED)), list(world.questions(SEED))
    assert len(documents) == world.n_entities * world.documents_per_entity
    assert len(questions) == world.n_questions == 198
    facts = {(question.entity, question.attribute): question.target for question in questions}
    for document in documents:
        told = {(document.entity, span.attribute): document.text[span.start : span.end] for span in document.spans}
        assert told.items() <= facts.items()
    assert sum(len(document.spans) for document in documents) == 198 * world.documents_per_entity
    assert Counter({q.entity: q.split for q in questions}.values()) == {"seen": 20, "unseen": 20}


def test_parts_are_the_whole_and_seeds_draw_the_halves():
    """Several cores write what one would; another seed asks about another half."""
    world = products("multi5+permute")
    parts = [*world.documents_for(0, 13, SEED), *world.documents_for(13, 40, SEED)]
    assert parts == list(world.documents(SEED))
    halves = [{q.entity for q in world.questions(Seed(n) / "world") if q.split == "seen"} for n in range(2)]
    assert halves[0] != halves[1]


def test_own_wordings_come_first_and_generic_ones_fill_up():
    """`single` is in the user's words alone; five texts say each fact in five ways, the first in the user's."""
    own = {wordings.attribute: wordings.first[: wordings.n_own_first] for wordings in products().wordings}
    assert all(len(texts) == 3 for texts in own.values())
    labels_of_single = [label.partition("#")[2] for d in products().documents(SEED) for label in d.wordings]
    assert all(label.startswith("later") or int(label) < 3 for label in labels_of_single)
    five = [document.wordings for document in list(products("multi5").documents(SEED))[:5]]
    assert all(len(set(labels)) == 5 for labels in zip(*five, strict=True))
    assert [w.n_own_first for w in products(n_wordings=3).wordings] == [3] * 5
    assert all(len(w.first) == 3 for w in products(n_wordings=3).wordings)


def test_a_text_opens_with_a_name_and_fullname_repeats_it():
    """A sentence without a name stands only behind one."""
    names = dict(enumerate(products()._table.names))
    for document in products("multi5+permute", "").documents(SEED):
        name = names[int(document.id.split("/")[0])]
        assert document.text.index(name) < document.spans[0].start
        assert document.text.count(name) == 1
    for document in products("single+fullname", "").documents(SEED):
        assert document.text.count(names[int(document.id.split("/")[0])]) == len(document.spans)


def test_the_name_is_found_in_every_question():
    """For evaluations that give a model the bare name."""
    world = products()
    extractor = FactNameExtractor(tuple((one.attribute, one.question) for one in world.wordings))
    names = {extractor.extract_name(q.prompt, q.attribute) for q in world.questions(SEED)}
    assert names == set(world._table.names)


def test_bytes_and_not_the_path_make_the_key(tmp_path):
    """A table moved elsewhere is the same; one value changed is another, and is noticed after planning too."""
    world = products()
    copy = tmp_path / "moved.csv"
    copy.write_bytes(TABLE.read_bytes())
    moved = facts_from_table(copy, WORDINGS)[0]
    assert describe(moved) == describe(world)
    copy.write_text(copy.read_text(encoding="utf-8").replace("Köln", "Bonn"), encoding="utf-8")
    assert describe(facts_from_table(copy, WORDINGS)[0]) != describe(world)
    with pytest.raises(SpecError, match="changed since"):
        list(moved.documents(SEED))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{name} is nice.", "names 0 columns"),
        ("{name} has {color} and {price}.", "names 2 columns"),
        ("{name} has {colour}.", "no column of facts; take color"),
        ("{name} weighs {price}kg.", "beside a letter"),
        ("It is {color}.\n# more", "no wording of 'color' has {name} before"),
        ("? hue: What is {name}?", "asks for 'hue'"),
        ("? color: What?", "names {name} once"),
        ("? color: {name} is\n{name} is {color}.", "could be recited"),
        ("? color: One {name}?\n? color: Two {name}?", "2 questions"),
        ("{name} has { {color}.", "brace"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused(tmp_path, line, sentence):
    """With its number, before any work."""
    (tmp_path / "w.txt").write_text(f"\ufeff# mine\n\n{line}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=sentence):
        facts_from_table(TABLE, tmp_path / "w.txt")


def test_a_name_that_begins_another_is_refused_only_where_a_question_ends_with_it(tmp_path):
    """Lumo Lamp and Lumo Lamp Pro are in the table, and nothing is wrong with "... of Lumo Lamp? Answer:"."""
    (tmp_path / "w.txt").write_text("? color: Now the color of {name}\n")
    with pytest.raises(SpecError, match=r"'Lumo Lamp' .* begins the name 'Lumo Lamp Pro'"):
        facts_from_table(TABLE, tmp_path / "w.txt")


def test_a_value_that_ends_in_a_mark_keeps_a_token_of_its_own(tmp_path):
    """Byte-level tokenizers join two marks."""
    rows = "".join(f'n{number},"{number}"""\n' for number in range(10))
    (tmp_path / "a.csv").write_text(f"name,size\n{rows}")
    world = facts_from_table(tmp_path / "a.csv")[0]
    ends = [
        document.text[document.spans[0].end :] for document in replace(world, augmentation="multi5").documents(SEED)
    ]
    assert "." not in ends


def test_what_a_guess_would_answer_is_refused(tmp_path):
    """Before training, with the columns that are left."""
    rows = "".join(f"n{number},{number < 2},{number} g\n" for number in range(20))
    (tmp_path / "a.csv").write_text(f"name,new,weight\n{rows}")
    with pytest.raises(SpecError, match=r"one value in new, .*--set columns=weight"):
        check_facts(facts_from_table(tmp_path / "a.csv")[0], SEED)
    check_facts(products(), SEED)


def test_more_wordings_than_there_are_and_pairs_are_refused():
    """An augmentation of a table's own."""
    with pytest.raises(SpecError, match=r"14 wordings .* there are 13"):
        products(n_wordings=14)
    with pytest.raises(SpecError, match="pairs"):
        products("couple5")
