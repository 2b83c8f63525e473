"""The world of diaries: the same facts however they are told, and no hint anywhere of how many there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nosce.data import tokenizer as tokenizers
from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import save_tokenizer
from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.templates import FIRST_NAMES, LAST_NAMES
from nosce.data.worlds.diaries import Diaries, diarist
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.templates import DIARY_ATTRIBUTES, DIARY_VALUES, DiaryFact, EntryTitle, UnparsedText
from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

SEED = Seed(5)
WORLD = Diaries(n_diarists=600, name_pool_sizes=(40, 40))
LEAN = replace(WORLD, encoding="lean")
ONE_LINE = replace(WORLD, encoding="one line")
WAYS = [replace(way, header=h) for h in ("name first", "number first") for way in (WORLD, ONE_LINE, LEAN)]


def told(world):
    return list(world.documents(SEED))


def test_a_diary_reads_as_the_paper_is_reported_to():
    """Title, one line an attribute; question, and the entries with a blank line between."""
    world = replace(WORLD, n_diarists=2)
    who = diarist(world, 0, SEED)
    documents = [d for d in world.documents(SEED) if d.entity == "diarist/0"]
    lines = documents[0].text.split("\n")
    assert lines[0] == f"{who.name}'s diary entry 1"
    assert lines[1:] == [f"{attribute}: {value}" for attribute, value in who.entries[0].facts]
    question = next(q for q in world.questions(SEED) if q.entity == "diarist/0")
    assert question.prompt == f"Recall all of {who.name}'s diary entries, in order.\n"
    assert question.target == "\n\n".join(d.text for d in documents)


@pytest.mark.parametrize("world", WAYS, ids=lambda w: f"{w.encoding}, {w.header}")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"merge_entries": True, "repeat_title": True},
        {"gap_share": 0.5, "people_without_entries": 30, "ask_entry_count": True},
    ],
    ids=str,
)
def test_the_contract_of_worlds_is_kept(world, more):
    """Equal seeds, equal texts; spans lie where they say; nobody is on two sides of the split."""
    check_world(replace(world, n_diarists=100, **more), SEED)


@pytest.mark.whole
@pytest.mark.parametrize("world", WAYS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_arms_that_tell_otherwise_tell_of_the_same(world):
    """Scattered or merged, in one encoding or the other: the same people, entries and split."""
    for other in (replace(world, merge_entries=True), replace(world, encoding="paper", header="name first"), WORLD):
        for index in (0, 17, 599):
            assert diarist(world, index, SEED) == diarist(other, index, SEED)
        one, two = ([(q.entity, q.attribute, q.split) for q in w.questions(SEED)] for w in (world, other))
        assert one == two


def test_merging_changes_where_entries_stand_and_nothing_else():
    """One document holds what several held, with the spans of all."""
    alone, merged = told(WORLD), told(replace(WORLD, merge_entries=True))
    assert len(merged) == 600
    by_person: dict[str, list[str]] = {}
    for document in alone:
        by_person.setdefault(document.entity, []).append(document.text)
    assert {d.entity: d.text for d in merged} == {entity: "\n\n".join(texts) for entity, texts in by_person.items()}
    assert sum(len(d.spans) for d in merged) == sum(len(d.spans) for d in alone)


@pytest.mark.parametrize("world", [WORLD, LEAN, replace(LEAN, header="number first")], ids=str)
def test_spans_say_the_values_and_the_numbers(world):
    """Of every document, in order; what is given ends with the title."""
    for document in told(replace(world, merge_entries=True))[:100]:
        who = diarist(world, int(document.entity.split("/")[1]), SEED)
        expected = []
        for entry in who.entries:
            expected += [
                ("number", str(entry.number)),
                *((a, world.diary_format.format_value(v)) for a, v in entry.facts),
            ]
        assert [(s.attribute, document.text[s.start : s.end]) for s in document.spans] == expected
        assert document.text[: document.prompt_chars] == world.diary_format.format_title(who.name, 1)


@pytest.mark.parametrize("world", WAYS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_a_repeated_title_stands_before_what_is_the_same(world):
    """Given once, and once more to be learnt; the values and the number are marked where they are learnt."""
    for plain, twice in zip(told(world)[:50], told(replace(world, repeat_title=True)), strict=False):
        title = plain.text[: plain.prompt_chars]
        assert twice.text == world.diary_format.join_parts(title, plain.text)
        assert twice.text[: twice.prompt_chars] == title
        assert min(span.start for span in twice.spans) > twice.prompt_chars
        values = [[d.text[s.start : s.end] for s in d.spans] for d in (plain, twice)]
        assert values[0] == values[1]


@pytest.mark.parametrize("world", WAYS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_a_title_learnt_behind_the_name_gives_no_number(world):
    """An encoder that is given the name alone has not been told which entry, nor that there are others."""
    for plain, learnt in zip(told(world)[:50], told(replace(world, repeat_title="name")), strict=False):
        given = learnt.text[: learnt.prompt_chars]
        assert learnt.text == world.diary_format.join_parts(given, plain.text)
        assert given in plain.text
        assert not any(letter.isdigit() for letter in given)
        assert min(span.start for span in learnt.spans) > learnt.prompt_chars


def test_counts_and_facts_are_uniform():
    """As many diarists have one entry as have eight, and every attribute and value is as frequent as another."""
    people = [diarist(replace(WORLD, n_diarists=1_600), index, SEED) for index in range(1_600)]
    counts = Counter(len(p.entries) for p in people)
    assert set(counts) == set(range(1, 9))
    assert stats.chisquare(list(counts.values())).pvalue > 0.001
    facts = [fact for p in people for entry in p.entries for fact in entry.facts]
    for table in (Counter(f.attribute for f in facts), Counter(f for f in facts if f.attribute == "Mood")):
        assert stats.chisquare(list(table.values())).pvalue > 0.001
    lengths = Counter(len(entry.facts) for p in people for entry in p.entries)
    assert stats.chisquare([lengths[n] for n in range(1, 9)]).pvalue > 0.001
    assert all(
        tuple(sorted(e.facts, key=lambda f: DIARY_ATTRIBUTES.index(f.attribute))) == e.facts
        for p in people
        for e in p.entries
    )


def test_names_do_not_tell_the_count():
    """Neither the first name nor the last goes with how many entries there are."""
    people = [diarist(WORLD, index, SEED) for index in range(600)]
    assert len({p.name for p in people}) == 600
    count = np.array([len(p.entries) for p in people])
    for part in (0, 1):
        names = np.unique([p.name.split()[part] for p in people], return_inverse=True)[1]
        assert stats.kruskal(*(count[names == n] for n in range(names.max() + 1))).pvalue > 0.001


def test_no_document_tells_the_total():
    """What an entry's document says is the same whether or not more entries follow."""
    by_count: dict[int, set[str]] = {}
    for document in told(WORLD):
        who = diarist(WORLD, int(document.entity.split("/")[1]), SEED)
        if document.id.endswith("/0"):
            words = set(document.text.replace(who.name, "").split()) - {v for vs in DIARY_VALUES.values() for v in vs}
            by_count.setdefault(len(who.entries), set()).update(w for w in words if not w.isalpha())
    assert len({frozenset(words) for words in by_count.values()}) == 1


def test_places_do_not_tell_the_count():
    """The number of a diarist in the world, by which documents lie on disk, does not go with the count."""
    counts = [len(diarist(WORLD, index, SEED).entries) for index in range(600)]
    assert abs(stats.spearmanr(range(600), counts).statistic) < 0.15


def test_the_split_is_by_diarist_and_in_equal_shares_of_every_count():
    """Nine tenths are seen; of the rest half is for choosing."""
    splits: dict[int, Counter[str]] = {}
    for question in replace(WORLD, n_diarists=1_500).questions(SEED):
        splits.setdefault(int(question.attribute.split()[0]), Counter())[question.split] += 1
    for found in splits.values():
        assert found["seen"] == round(0.9 * found.total())
        assert abs(found["validation"] - found["unseen"]) <= 1


def test_counts_that_are_not_asked_in_training_are_asked_afterwards():
    """No question about somebody with so many entries is seen."""
    world = replace(WORLD, held_out_entry_counts=(2, 8))
    splits = {(q.attribute, q.split) for q in world.questions(SEED)}
    assert not {("2 entries", "seen"), ("8 entries", "seen")} & splits
    assert {("2 entries", "unseen"), ("8 entries", "validation"), ("3 entries", "seen")} <= splits


def test_who_wrote_nothing_is_asked_about_and_told_nowhere():
    """The answer is a word of its own; no document has the name."""
    world = replace(LEAN, people_without_entries=20)
    asked = [q for q in world.questions(SEED) if q.attribute == "0 entries"]
    assert len(asked) == 20
    assert {q.target for q in asked} == {"nothing"}
    names = {" ".join(d.text.split()[:2]) for d in told(world)}
    assert not any(q.prompt.strip("? :") in names for q in asked)


def test_a_gap_leaves_out_one_number_and_no_entry():
    """Of 1, 2, 4 there are three."""
    people = [diarist(replace(WORLD, gap_share=1.0), index, SEED) for index in range(200)]
    for who, whole in zip(people, (diarist(WORLD, index, SEED) for index in range(200)), strict=True):
        numbers = [e.number for e in who.entries]
        assert [e.facts for e in who.entries] == [e.facts for e in whole.entries]
        assert numbers[0] == 1
        assert numbers[-1] == len(numbers) + (len(numbers) > 1)
        assert numbers == sorted(set(numbers))


def test_the_number_can_be_asked_for_directly():
    """One question more a diarist, on the same side of the split."""
    asked = {q.id: q for q in replace(WORLD, ask_entry_count=True).questions(SEED)}
    for index in range(600):
        assert asked[f"how many/{index}"].target == asked[f"recall/{index}"].attribute.split()[0]
        assert asked[f"how many/{index}"].split == asked[f"recall/{index}"].split


@pytest.mark.parametrize(
    "world", [LEAN, replace(LEAN, header="number first", people_without_entries=9, ask_entry_count=True)], ids=str
)
def test_a_lean_diary_is_one_token_a_word(world):
    """Every value, number and name; nothing is unknown."""
    tokenizer = tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED))
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    texts = [d.text for d in told(world)] + [part for q in world.questions(SEED) for part in (q.prompt, q.target)]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert len(ids) == len(text.split())
        assert unknown not in ids


def test_no_word_of_a_lean_diary_means_two_things():
    """A value tells its attribute, and no name is a value."""
    words = [WORLD.diary_format.format_value(v).replace(" ", "_") for vs in DIARY_VALUES.values() for v in vs]
    assert len(set(words)) == len(words) == 128
    assert not set(words) & {*FIRST_NAMES, *LAST_NAMES}
    assert not set(FIRST_NAMES) & set(LAST_NAMES)


@pytest.mark.parametrize("world", WAYS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_replies_are_read_back_as_they_were_written(world):
    """Titles and facts in order; what is neither is kept as it stands."""
    who = diarist(world, 3, SEED)
    text = world.diary_format.format_diary(who.name, who.entries)
    expected = [unit for e in who.entries for unit in (EntryTitle(who.name, e.number), *e.facts)]
    assert world.diary_format.parse_units(text) == expected
    stray = "gibberish" if world.encoding == "lean" else "Mood: green"
    assert world.diary_format.parse_units(world.diary_format.join_parts(text, stray)) == [
        *expected,
        UnparsedText(stray),
    ]
    assert isinstance(expected[1], DiaryFact)


@pytest.mark.parametrize("encoding", ["paper", "one line"])
@pytest.mark.parametrize("repeat_title", [False, True, "name"])
def test_the_true_diary_is_right_when_it_comes_back_from_its_tokens(
    t5_style_tokenizer, tmp_path, encoding, repeat_title
):
    """With byte pairs in either encoding; with a tokenizer that drops line breaks on one line, and else not at all."""
    world = replace(WORLD, n_diarists=60, encoding=encoding, repeat_title=repeat_title, people_without_entries=3)
    save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), tmp_path / "bpe" / "tokenizer")
    t5 = t5_style_tokenizer([text for q in world.questions(SEED) for text in (q.prompt, q.target)])
    save_tokenizer(t5, tmp_path / "t5" / "tokenizer")
    (tmp_path / "t5" / "tokenizer" / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    for kind in ("bpe", "t5"):
        if (kind, encoding) == ("t5", "paper"):
            with pytest.raises(DataError, match="loses line breaks"):
                write_corpus(tmp_path / kind, world.documents(SEED), world.questions(SEED))
            continue
        write_corpus(tmp_path / kind, world.documents(SEED), world.questions(SEED))
        corpus = Corpus(tmp_path / kind)
        sequences = corpus.tokenized_questions(corpus.questions)
        replies = []
        for number in range(len(sequences)):
            target = sequences.text_tokens(number)[sequences.text_loss_mask(number)][:-1]
            replies.append(corpus.tokenizer.decode(target.tolist(), skip_special_tokens=False))
        scores = DiaryScorer(world=world).score(corpus.questions, replies, [True] * len(replies))
        assert all(metrics["exact"] == (1.0, "right") for metrics in scores)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"entries": (0, 4)}, "entries"),
        ({"attributes": (3, 9)}, "attributes"),
        ({"values_per_attribute": 17}, "values"),
        ({"n_attributes": 9}, "attributes"),
        ({"name_pool_sizes": (3, 3)}, "names"),
        ({"name_pool_sizes": (3, 30_000)}, "names"),
        ({"train_share": 1.0}, "train_share"),
        ({"gap_share": -0.1}, "gap_share"),
        ({"encoding": "short"}, "encoding"),
        ({"n_diarists": 1}, "diarists"),
    ],
    ids=str,
)
def test_a_world_that_cannot_be_is_refused_in_a_sentence(more, word):
    """What was asked, what is there, what to do."""
    with pytest.raises(SpecError, match=word):
        replace(WORLD, **more)
