"""Programs are judged by what they do, and gone on from as is shortest."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.worlds.karel.language import KAREL_OPERATIONS, parse_program
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.errors import DataError


@pytest.fixture(params=[{}, {"encoding": "official"}, {"control_flow": True}], ids=["lean", "official", "blocks"])
def judge(request, micro) -> KarelScorer:
    """An interpreter for each encoding."""
    return KarelScorer(world=replace(micro, **request.param), max_operations=8)


def scores(judge, questions, replies, metric):
    """The metric of every reply."""
    return np.array([found[metric][0] for found in judge.score(questions, replies)])


def test_the_author_is_always_right(judge, place):
    """On shown and hidden pairs, word for word, and exactly as long as the author."""
    questions = list(judge.world.questions(place))
    replies = [question.target for question in questions]
    for metric in ("correct", "strict", "reference"):
        assert scores(judge, questions, replies, metric).all()
    assert not scores(judge, questions, replies, "longer").any()


def test_a_reply_that_is_no_operations_is_refused(micro):
    """Places are found by the tokens of operations alone; anything else has none, and none is guessed."""
    judge, spec = KarelScorer(world=micro), tokenizers.TokenizerSpec(kind="bpe", vocab_size=300)
    tokenizer = tokenizers.build_tokenizer(spec, ["nothing of the kind"])
    for locate in (judge.operation_positions, judge.opening_positions):
        with pytest.raises(DataError, match=r"the tokens \[0, 0, .*\] of a program of Karel are no operation's, .*\.$"):
            locate(tokenizer, np.zeros(30, dtype=np.int64))


def test_another_program_with_the_same_effect_is_right(judge, place):
    """A full turn added to the author's program is right, and not the author's; half a turn is wrong."""
    if judge.max_operations < 8:
        return
    record_encoding = judge.world.record_encoding
    questions = list(judge.world.questions(place))
    turns = [
        record_encoding.format_program((*record_encoding.parse_reply(q.target), *["turnLeft"] * 4)) for q in questions
    ]
    half = [
        record_encoding.format_program((*record_encoding.parse_reply(q.target), *["turnLeft"] * 2)) for q in questions
    ]
    assert scores(judge, questions, turns, "strict").all()
    assert not scores(judge, questions, turns, "reference").any()
    assert (scores(judge, questions, turns, "longer") == 4).all()
    assert not scores(judge, questions, half, "correct").any()


def test_what_is_no_program_is_unreadable_and_not_wrong(judge, place):
    """It has no length either."""
    questions = list(judge.world.questions(place))[:3]
    for found in judge.score(questions, ["", "move move (", "IN OUT"]):
        assert found["correct"] == (0.0, "unreadable")
        assert "length" not in found


def test_right_by_luck_on_what_is_shown_is_not_strict(micro, place):
    """Some programs are right on the pairs shown and wrong on hidden ones; none is the other way round."""
    judge = KarelScorer(world=micro)
    questions = list(micro.questions(place))
    correct, strict = (
        np.concatenate(
            [
                scores(judge, questions, [" ".join(p)] * len(questions), m)
                for p in itertools.product(KAREL_OPERATIONS, repeat=2)
            ]
        )
        for m in ("correct", "strict")
    )
    assert (correct >= strict).all()
    assert correct.sum() > strict.sum()


def test_everything_that_the_grammar_lets_be_written_can_be_read(judge, place):
    """Random walks through the table end in programs, and every author's program is one of its walks."""
    tokenizer = tokenizers.build_tokenizer(judge.world.tokenizer, judge.world.samples(place))
    end, rng = tokenizers.eos_token_id(tokenizer), np.random.default_rng(8)
    grammar = judge.grammar(tokenizer, end)
    for question in judge.world.questions(place):
        ids = tokenizer.encode(question.target, add_special_tokens=False).ids
        assert grammar.accepts(np.array([*ids, end]))
        assert not grammar.accepts(np.array([end]))
        if not judge.world.control_flow:
            program = judge.world.record_encoding.parse_reply(question.target)
            at = judge.operation_positions(tokenizer, np.array(ids))
            assert [tokenizer.decode([ids[place]]) for place in at] == [
                judge.world.record_encoding.format_program((word,)).strip() for word in program
            ]
    for _ in range(200):
        state, written = 0, []
        while (token := int(rng.choice(np.flatnonzero(grammar.allowed[state])))) != end and len(written) < 200:
            written.append(token)
            state = int(grammar.transitions[state, token])
        if len(written) < 200:
            assert judge.world.record_encoding.parse_reply(tokenizer.decode(written)) is not None


def test_continuations_are_the_shortest_there_are(micro, place):
    """By trying every program of up to three operations with the judge itself."""
    judge = KarelScorer(world=micro)
    questions = [q for q in micro.questions(place) if q.attribute in ("length 1", "length 2", "length 3")][:12]
    begun = [(word,) for word in itertools.islice(itertools.cycle(KAREL_OPERATIONS), len(questions))]
    for question, start, ways in zip(questions, begun, judge.correct_continuations(questions, begun), strict=True):
        expected: frozenset[str] = frozenset()
        for length in range(4):
            rests = list(itertools.product(KAREL_OPERATIONS, repeat=length))
            right = scores(judge, [question] * len(rests), [" ".join((*start, *rest)) for rest in rests], "correct")
            if right.any():
                expected = frozenset((rest or ("",))[0] for rest, good in zip(rests, right, strict=True) if good)
                break
        if expected:
            assert ways == expected


def robot(rows):
    """Where the robot is drawn, and how."""
    return [(r, c, cell) for r, row in enumerate(rows) for c, cell in enumerate(row) if cell in "^>v<"]


def test_pictures_are_those_of_the_run(micro, place):
    """The first is the input, the last the output that the specification shows; a true belief draws the truth."""
    judge = KarelScorer(world=micro)
    for question in itertools.islice(micro.questions(place), 10):
        pictures = judge.render_steps(question, question.target)
        assert [word for word, _ in pictures[1:]] == list(parse_program(question.target.split()))
        shown = micro.record_encoding.parse_examples(question.prompt, 9)[0]
        drawn = [[".#^>v<123456789".index(c) for row in rows[1:-1] for c in row[1:-1]] for _, rows in pictures]
        assert drawn[0] == shown[0].tolist()
        assert drawn[-1] == shown[1].tolist()
        found = {
            name: int(values[0, 0]) for name, values in judge.trace([question], [question.target]).features().items()
        }
        assert robot(judge.render_predicted_state(question, found)) == robot(pictures[1][1])


def test_beginnings_that_are_all_right_already_need_nothing(micro, place):
    """The author's own programs end where they end, and no longer way is tried."""
    judge = KarelScorer(world=micro)
    questions = list(itertools.islice(micro.questions(place), 5))
    begun = [tuple(parse_program(question.target.split())) for question in questions]
    assert judge.correct_continuations(questions, begun) == [frozenset({""})] * 5
    assert judge.correct_continuations([], []) == []
