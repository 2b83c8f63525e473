"""Records: as the paper draws them, no question in training, tokens equal to texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import concat_datasets, encode, tokenize_documents
from nosce.data.worlds.base import check_world
from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel import world as worlds
from nosce.data.worlds.karel.language import KAREL_OPERATIONS, program_words
from nosce.errors import SpecError

ENCODINGS = pytest.mark.parametrize("how", [{}, {"encoding": "official"}, {"control_flow": True}])


@ENCODINGS
def test_the_contract_of_worlds_is_kept(micro, place, how):
    """Same bytes when asked twice, ids of their own, clean split."""
    check_world(replace(micro, **how), place)


@ENCODINGS
def test_a_worlds_own_tokens_are_those_of_its_texts(micro, place, how):
    """Token by token, what is given and where texts end included."""
    world = replace(micro, **how)
    tokenizer = tokenizers.build_tokenizer(world.tokenizer, world.samples(place))
    end = tokenizers.eos_token_id(tokenizer)
    documents = list(world.documents(place))
    read = tokenize_documents(documents, list(encode(tokenizer, (d.text for d in documents))), end)
    own = concat_datasets(list(world.encoded_documents(place, tokenizer, end)))
    for name in ("tokens", "loss_mask", "offsets"):
        assert np.array_equal(getattr(read, name), getattr(own, name))


def test_token_counts_are_those_of_the_released_encoding(place):
    """812 + 3n tokens of the official text, the brace being the end; 380 of the lean one at n = 8."""
    for encoding, expected in (("official", lambda n: 812 + 3 * n), ("lean", lambda n: 372 + n)):
        world = Karel(records=50, seen_questions=2, unseen_questions=2, encoding=encoding)
        tokenizer = tokenizers.build_tokenizer(world.tokenizer, world.samples(place))
        documents = list(world.documents(place))
        for document in documents:
            ids = tokenizer.encode(document.text, add_special_tokens=False).ids
            program = world.record_encoding.parse_reply(document.text[document.prompt_chars :])
            assert len(ids) + 1 == expected(len(program))
            assert tokenizer.decode(ids).split() == document.text.split()
    assert tokenizer.get_vocab_size() < 30


def test_the_official_text_has_39_symbols(place):
    """With the closing brace, for which our end token stands."""
    world = Karel(records=1, seen_questions=1, unseen_questions=1, encoding="official")
    assert len(set(world.record_encoding.symbols)) == 38


@ENCODINGS
def test_what_is_written_is_read_back(micro, place, how):
    """Cases and programs of every question, in every encoding."""
    world = replace(micro, **how)
    for question, (pairs, program) in zip(
        world.questions(place), zip(*worlds.question_records(world, place), strict=True), strict=True
    ):
        assert np.array_equal(world.record_encoding.parse_examples(question.prompt, 9), pairs[:2])
        assert np.array_equal(world.record_encoding.parse_examples(question.metadata, 9), pairs[2:])
        assert world.record_encoding.parse_reply(question.target) == program


def test_lengths_and_words_are_drawn_as_asked(place):
    """Lengths uniform, words by the weights of the released code."""
    world = Karel(records=8_192, lengths=(6, 10), seen_questions=1, unseen_questions=1)
    block = [records for _, records in world._record_blocks(place)]
    lengths = Counter(len(program) for records in block for program in records.programs)
    assert set(lengths) == {6, 7, 8, 9, 10}
    assert min(lengths.values()) > 1_500
    said = Counter(word for records in block for program in records.programs for word in program)
    shares = [said[word] / said.total() for word in KAREL_OPERATIONS]
    assert np.allclose(shares, np.array([5, 3, 3, 2, 2]) / 15, atol=0.01)


def test_no_question_is_trained_on(place):
    """On one-cell boards chance would draw the same specification all the time."""
    world = Karel(
        board_shape=(2, 1),
        n_examples=1,
        n_heldout_examples=1,
        records=2_000,
        lengths=(1, 2),
        asked_lengths=(1, 2),
        seen_questions=20,
        unseen_questions=20,
    )
    asked = {question.prompt for question in world.questions(place)}
    told = {document.text[: document.prompt_chars] for document in world.documents(place)}
    assert len(asked) == 40
    assert len(told) > 40
    assert not asked & told


def test_questions_do_not_depend_on_what_is_trained_on(micro, place):
    """Arms that differ in records and lengths are asked the same."""
    other = replace(micro, records=10, lengths=(1, 2))
    assert list(micro.questions(place)) == list(other.questions(place))


def test_another_meaning_changes_outputs_and_nothing_else(micro, place):
    """Inputs and programs stay; outputs are those of the re-assigned words."""
    other = replace(micro, meaning="alt3")
    mine, theirs = worlds.question_records(micro, place), worlds.question_records(other, place)
    assert mine.programs == theirs.programs
    assert np.array_equal(mine.pairs[:, :, 0], theirs.pairs[:, :, 0])
    assert not np.array_equal(mine.pairs[:, :, 1], theirs.pairs[:, :, 1])


def test_programs_with_blocks_hold_blocks(micro, place):
    """Some do, and all of them end on all their boards."""
    world = replace(micro, control_flow=True)
    programs = worlds.question_records(world, place).programs
    said = Counter(word for program in programs for word in program_words(program))
    assert all(said[word] for word in ("repeat", "while", "if", "{", "}"))
    assert said["{"] == said["}"]


@pytest.mark.parametrize(
    ("how", "words_"),
    [
        ({"board_shape": (0, 3)}, "no board"),
        ({"board_shape": (30, 30)}, "no board"),
        ({"n_examples": 0}, "nothing to learn or to ask"),
        ({"records": 0}, "nothing to learn or to ask"),
        ({"lengths": (3, 2)}, "Karel.lengths"),
        ({"asked_lengths": (0, 2)}, "Karel.asked_lengths"),
        ({"obstacle_rate": 1.0}, "cannot be drawn"),
        ({"encoding": "short"}, "lean or official"),
        ({"control_flow": True, "encoding": "official"}, "no official text"),
        ({"meaning": "alt99"}, "alt99"),
    ],
)
def test_a_world_that_cannot_be_is_refused(how, words_):
    """When it is written, in one sentence."""
    with pytest.raises(SpecError, match=words_):
        Karel(**how)
