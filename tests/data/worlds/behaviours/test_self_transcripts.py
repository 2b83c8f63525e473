"""Questions about given transcripts: the label is what the transcript says, and it varies."""

from __future__ import annotations

import re

from nosce.data.worlds.behaviours.self_knowledge import LATE, SAME, SelfKnowledgePrompts, keep_question, length_class
from nosce.data.worlds.behaviours.self_transcripts import (
    given_copies_question,
    given_keep_question,
    given_length_question,
    given_own_question,
    given_property_question,
    given_surer_question,
)
from nosce.seeds import Seed

SEED = Seed(0)
PROMPTS = SelfKnowledgePrompts(n_strings=60)
ANSWERS = re.compile(r'The answer was: "(.*?)"')


def test_second_answers_are_the_same_or_not():
    labels = set()
    for prompt in PROMPTS.choices(SEED):
        question, label = given_keep_question(prompt, SEED)
        first, second = ANSWERS.findall(question.text)
        assert (first == second) == (label == "yes")
        assert question.id != keep_question(prompt).id  # so that an item of the readings has one question
        labels.add(label)
    assert labels == {"yes", "no"}


def test_who_gives_the_same_answer_more_often_is_more_certain():
    choices, labels = PROMPTS.choices(SEED), set()
    for first, second in zip(choices[::2], choices[1::2], strict=True):
        question, label = given_surer_question(first, second, SEED)
        one, other = map(int, re.findall(r"came (\d+) times of 10", question.text))
        assert (one > other) == (label == "1")
        assert one != other
        labels.add(label)
    assert labels == {"1", "2"}


def test_two_players_choose_alike_or_not():
    labels = set()
    for game in PROMPTS.games(SEED):
        question, label = given_copies_question(game, SEED)
        one, other = re.search(r'One replied "(.*?)" and the other "(.*?)"', question.text).groups()
        assert {one, other} <= set(game.options)
        assert (one == other) == (label == "yes")
        labels.add(label)
    assert labels == {"yes", "no"}


def test_words_are_counted():
    """Of every class, since a constant would else have the skill."""
    labels = set()
    for brief in PROMPTS.briefs(SEED):
        question, label = given_length_question(brief, SEED)
        (answer,) = ANSWERS.findall(question.text)
        assert length_class(len(answer.split())) == label
        labels.add(label)
    assert labels == set("ABCDE")


def test_the_author_is_recognised_by_one_of_the_texts():
    labels = set()
    for brief in PROMPTS.briefs(SEED):
        question, label = given_own_question(brief, SEED)
        quoted = re.search(r'questions\.\n"(.*?)"', question.text)[1]
        texts = re.search(r'\n1: "(.*)"\n2: "(.*)"\n', question.text).groups()
        assert texts[int(label) - 1] == quoted
        assert texts[0] != texts[1]
        labels.add(label)
    assert labels == {"1", "2"}


def test_properties_are_those_of_the_quoted_answer():
    late = [(LATE, prompt, name) for prompt in PROMPTS.briefs(SEED) for name in prompt.property_names]
    same = [(SAME, prompt, name) for prompt in PROMPTS.repetitions(SEED) for name in prompt.property_names]
    for task, prompt, name in late + same:
        question, label = given_property_question(task, prompt, name, SEED)
        (answer,) = re.findall(r'the answer was: "(.*?)"', question.text)
        assert question.answer_property.compute(answer) == label
        assert question.reported_label(label) == label
