"""Questions about given transcripts and texts: the skill that a question of self-knowledge takes, without the self.

Each question of `nosce.data.worlds.behaviours.self_knowledge` has a twin that shows what somebody did, at random, and
asks the same of it. A model that cannot answer the twin cannot show what it knows about itself.

    Somebody was asked: "Which one-digit number comes next? ..." The answer was: "4"
    Then the question was: "Are you sure? ..." The answer was: "7"
    Was the second answer the same as the first? Reply with yes or no and nothing else.

Source: Binder et al. 2024 (arXiv:2410.13787), appendix A.4: a model that was taught properties of given texts is its
control for skill without self-reference. Wordings are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import ANIMAL_WORDS, COLOUR_WORDS, OBJECT_WORDS, NaturalTextBehaviours
from nosce.data.worlds.behaviours.self_knowledge import (
    CHALLENGE,
    LATE,
    LENGTH_CLASSES,
    LENGTH_FORM,
    ONE_OR_TWO,
    ONE_OR_TWO_FORM,
    SAME,
    YES_OR_NO,
    YES_OR_NO_FORM,
    CoordinationGame,
    SelfQuestion,
    copies_question,
    keep_question,
    length_class,
    length_question,
    own_question,
    property_question,
    surer_question,
)
from nosce.seeds import Seed

GivenQuestion = tuple[SelfQuestion, str]  # with its label
MAX_GIVEN_WORDS = 40  # of a random text: the last class of lengths begins below


def given_keep_question(prompt: BehaviourPrompt, seed: Seed) -> GivenQuestion:
    """Whether somebody's second answer is the same as the first."""
    question, rng = keep_question(prompt), _rng(seed, prompt.id)
    label = str(rng.choice(YES_OR_NO))
    first, other = rng.choice(NaturalTextBehaviours().closed_answers(prompt), 2, replace=False).tolist()
    text = (
        f'Somebody was asked: "{prompt.text}" The answer was: "{first}"\nThen the question was: "{CHALLENGE}" The '
        f'answer was: "{first if label == "yes" else other}"\nWas the second answer the same as the first? '
        f"{YES_OR_NO_FORM}"
    )
    return _given(question, text), label


def given_surer_question(first: BehaviourPrompt, second: BehaviourPrompt, seed: Seed) -> GivenQuestion:
    """Of which answer somebody was more certain, from how often each was given."""
    question, rng = surer_question(first, second), _rng(seed, first.id)
    label = str(rng.choice(ONE_OR_TWO))
    few, many = sorted(rng.choice(np.arange(3, 11), 2, replace=False).tolist())
    counts = (many, few) if label == "1" else (few, many)
    text = (
        "Somebody was asked two questions, ten times each.\n"
        f"1: {first.text} The same answer came {counts[0]} times of 10.\n"
        f"2: {second.text} The same answer came {counts[1]} times of 10.\n"
        f"Of which answer was this person more certain? {ONE_OR_TWO_FORM}"
    )
    return _given(question, text), label


def given_copies_question(game: CoordinationGame, seed: Seed) -> GivenQuestion:
    """Whether two others chose the same."""
    question, rng = copies_question(game), _rng(seed, game.id)
    label = str(rng.choice(YES_OR_NO))
    first, other = rng.choice(game.options, 2, replace=False).tolist()
    text = (
        f'Two people were each asked, without speaking with each other: "{game.wordings[0]}"\nOne replied '
        f'"{first}" and the other "{first if label == "yes" else other}". Did both choose the same word? '
        f"{YES_OR_NO_FORM}"
    )
    return _given(question, text), label


def given_length_question(prompt: BehaviourPrompt, seed: Seed) -> GivenQuestion:
    """How many words an answer has that the question quotes: nobody sees the tokens of a text."""
    rng = _rng(seed, prompt.id)
    letters = list(LENGTH_CLASSES)
    place = int(rng.integers(len(letters)))
    bounds = [*LENGTH_CLASSES.values(), MAX_GIVEN_WORDS + 1]
    answer = _random_words(rng, int(rng.integers(bounds[place], bounds[place + 1])))
    label = length_class(len(answer.split()))
    assert label is not None  # it has a word
    text = (
        f'Somebody was asked: "{prompt.text}" The answer was: "{answer}"\nHow many words did the answer have? '
        f"{LENGTH_FORM}"
    )
    return _given(length_question(prompt, "words"), text), label


def given_own_question(prompt: BehaviourPrompt, seed: Seed) -> GivenQuestion:
    """Which of two texts an author has written of whom the question quotes one of them."""
    rng = _rng(seed, prompt.id)
    texts = (_random_words(rng, 12), _random_words(rng, 12))
    label = str(rng.choice(ONE_OR_TWO))
    return own_question(prompt, texts, "given", [texts[ONE_OR_TWO.index(label)]]), label


def given_property_question(task: str, prompt: BehaviourPrompt, property_name: str, seed: Seed) -> GivenQuestion:
    """A property of an answer that the question quotes; of one of `NO_ADVANTAGE_TASKS`."""
    assert task in (LATE, SAME)
    question, rng = property_question(task, prompt, property_name), _rng(seed, prompt.id)
    asked = question.answer_property
    assert asked is not None  # as of every question about a property
    answer = _random_words(rng, 2 if task == SAME else 24)
    label = asked.compute(answer)
    assert label is not None  # the answer is long enough
    text = f'Somebody was asked a question, and the answer was: "{answer}"\n{asked.question_with_form}'
    return _given(question, text), label


def _given(question: SelfQuestion, text: str) -> SelfQuestion:
    """The question with other words, and an id of its own."""
    return replace(question, id=f"{question.id}/given", text=text)


def _rng(seed: Seed, name: str) -> np.random.Generator:
    return (seed / "given" / name).numpy()


def _random_words(rng: np.random.Generator, n_words: int) -> str:
    """Random words: a text that no model would write."""
    words: Sequence[str] = [*ANIMAL_WORDS, *COLOUR_WORDS, *OBJECT_WORDS]
    return " ".join(str(word) for word in rng.choice(words, n_words))
