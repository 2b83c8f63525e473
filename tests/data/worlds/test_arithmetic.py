"""Sums and products: true, split by unordered pairs, and written alike by both ways of writing."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.packing import encode, tokenize_documents
from nosce.data.worlds.arithmetic import Arithmetic
from nosce.data.worlds.base import check_world
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(12)
WAYS = [
    Arithmetic(
        operations=operations,
        digits=2,
        zero_padded=padded,
        reverse_digits=backwards,
        records=3_000,
        unseen_questions=300,
    )
    for operations in (("+",), ("*",), ("+", "*"))
    for padded in (True, False)
    for backwards in (True, False)
]
WAYS += [
    Arithmetic(
        operations=("*",),
        digits=3,
        second_digits=1,
        min_operand=2,
        records=3_000,
        unseen_questions=300,
        zero_padded=padded,
    )
    for padded in (True, False)
]
WAYS += [
    Arithmetic(
        operations=("*",),
        digits=4,
        second_digits=1,
        min_operand=2,
        zero_padded=False,
        operand_lengths=(2, 3, 4),
        records=3_000,
        unseen_questions=300,
    ),
    Arithmetic(digits=4, zero_padded=False, operand_lengths=(2, 4), records=3_000, unseen_questions=300),
]
IDS = [f"{''.join(w.operations)} {w.digits}{' padded' * w.zero_padded}{' reversed' * w.reverse_digits}" for w in WAYS]


def read(world, text):
    """The numbers of a text, by a regular expression."""
    one, operation, other, answer = re.fullmatch(r"(\d+)([+*])(\d+)=(\d+)", text).groups()
    way = slice(None, None, -1) if world.reverse_digits else slice(None)
    return int(one[way]), operation, int(other[way]), int(answer[way])


@pytest.mark.parametrize("world", WAYS, ids=IDS)
def test_answers_are_true_and_the_contract_is_kept(world):
    """Every record and every problem, read back without the world."""
    check_world(world, SEED)
    asked = [q.prompt + q.target for q in world.questions(SEED)]
    for text in [*(d.text for d in world.documents(SEED)), *asked]:
        one, operation, other, answer = read(world, text)
        assert answer == (one + other if operation == "+" else one * other)
        assert max(one, other) < 10**world.digits
        assert world.min_operand <= other < 10**world.resolved_second_digits


@pytest.mark.parametrize("world", WAYS, ids=IDS)
def test_what_is_asked_is_no_record_s_in_either_order(world):
    """Of the unseen split; the seen split's are records."""
    told = {read(world, d.text)[:3] for d in world.documents(SEED)}
    pairs = {frozenset((one, other)) for one, _, other in told}
    for question in world.questions(SEED):
        one, operation, other, _ = read(world, question.prompt + question.target)
        if question.split == "unseen":
            assert frozenset((one, other)) not in pairs
        else:
            assert (one, operation, other) in told


@pytest.mark.parametrize("world", WAYS, ids=IDS)
def test_tokens_are_those_of_the_texts(world):
    """Written at once or one by one: the same tokens, the same counted."""
    tokenizer = tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED))
    end = tokenizer.token_to_id("<eos>")
    documents = list(world.documents(SEED))
    expected = tokenize_documents(documents, list(encode(tokenizer, (d.text for d in documents))), end)
    (found,) = world.encoded_documents(SEED, tokenizer, end)
    assert np.array_equal(found.tokens, expected.tokens)
    assert np.array_equal(found.loss_mask, expected.loss_mask)
    assert np.array_equal(found.offsets, expected.offsets)


def test_padding_gives_every_text_one_length():
    """And without it a target is as long as its number, which is its attribute."""
    padded, plain = (replace(WAYS[0], zero_padded=padded) for padded in (True, False))
    assert len({len(d.text) for d in padded.documents(SEED)}) == 1
    attributes = {q.attribute for q in plain.questions(SEED)}
    assert {"2 digits", "3 digits"} <= attributes
    assert all(q.attribute == f"{len(q.target)} digits" for q in plain.questions(SEED))


def test_a_million_records_are_written_in_blocks(tmp_path):
    """A corpus of them keeps the first texts and numbers the rest."""
    world = Arithmetic(records=150_000, unseen_questions=100)
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), tmp_path / "tokenizer")
    end, tokenizer = 0, tokenizers.load_tokenizer(tmp_path / "tokenizer")
    corpora.write_corpus(
        tmp_path,
        islice(world.documents(SEED), 100),
        world.questions(SEED),
        encoded_documents=world.encoded_documents(SEED, tokenizer, end),
    )
    assert len(corpora.Corpus(tmp_path).documents) == 150_000


@pytest.mark.parametrize(
    "more",
    [
        {"operations": ("-",)},
        {"operations": ()},
        {"digits": 6},
        {"records": 0},
        {"digits": 1, "unseen_questions": 50},
        {"records": 10, "seen_questions": 11},
        {"digits": 2, "second_digits": 3},
        {"digits": 1, "min_operand": 10, "unseen_questions": 5},
    ],
)
def test_a_world_that_cannot_be_is_refused(more):
    """In a sentence."""
    with pytest.raises(SpecError, match="Arithmetic"):
        Arithmetic(**more)


def test_no_problem_is_asked_twice():
    """Records repeat where there are few problems; questions never do."""
    world = Arithmetic(
        operations=("*",),
        digits=2,
        second_digits=1,
        min_operand=2,
        records=5_000,
        unseen_questions=100,
        seen_questions=300,
    )
    prompts = [q.prompt for q in world.questions(SEED)]
    assert len(set(prompts)) == len(prompts) == 400
    with pytest.raises(SpecError, match="different problems"):
        list(replace(world, seen_questions=5_000).questions(SEED))


def test_lengths_are_evenly_frequent_where_they_are_named():
    """Both operands of a sum have the drawn length, and answers of few digits are as many as long ones."""
    world = Arithmetic(digits=5, zero_padded=False, operand_lengths=(2, 3, 5), records=6_000, unseen_questions=300)
    numbers = [read(world, document.text) for document in world.documents(SEED)]
    lengths = [len(str(first)) for first, *_ in numbers]
    assert np.bincount(lengths)[[2, 3, 5]] / 6_000 == pytest.approx([1 / 3] * 3, abs=0.03)
    assert all(len(str(first)) == len(str(second)) for first, _, second, _ in numbers)
    uniform = [len(str(read(world, d.text)[0])) for d in replace(world, operand_lengths=()).documents(SEED)]
    assert np.mean(np.array(uniform) == 5) > 0.85


def test_an_attribute_may_be_the_operator():
    """Two tasks that are learnt together are told apart; the problems are the same ones."""
    world = Arithmetic(operations=("+", "*"), digits=2, records=3_000, unseen_questions=300)
    by_length, by_task = (list(replace(world, attribute=name).questions(SEED)) for name in ("length", "operation"))
    assert [(q.prompt, q.target) for q in by_length] == [(q.prompt, q.target) for q in by_task]
    assert all(q.attribute == re.sub(r"[\d=]", "", q.prompt) for q in by_task)


@pytest.mark.parametrize(
    ("lengths", "more", "said"),
    [
        ((2, 3), {"zero_padded": True}, "padded answers have one length"),
        ((2, 2), {}, "take different lengths from 1 to digits"),
        ((2, 4), {}, "take different lengths from 1 to digits"),
        ((1, 2, 3), {}, "about 100 problems of 1 digits, of which there are 55"),
    ],
)
def test_lengths_that_cannot_be_drawn_are_refused(lengths, more, said):
    with pytest.raises(SpecError, match=said):
        Arithmetic(**({"digits": 3, "zero_padded": False, "unseen_questions": 300, "operand_lengths": lengths} | more))
