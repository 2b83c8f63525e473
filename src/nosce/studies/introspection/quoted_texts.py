"""A lesson before anything is asked: to report properties of an answer that the question itself quotes.

A model that cannot do this cannot report its own answers either, and such reports say nothing about introspection. The
quoted texts are random words, so the lesson says nothing about any model's answers. A model of 135 M weights learns
it from many words only: from the answers of the built-in tasks, which have few, it learns those words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import LIST_PROPERTIES
from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.errors import SpecError
from nosce.models.api.finetune import ChatExample
from nosce.models.folder_tokenizer import load_folder_tokenizer
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_WORDS, MAX_WORDS = 3, 8  # behind an opening
MIN_LETTERS = 3
MIN_VOCABULARY = 20
BLANKS = ("Ġ", "▁")  # what a token of byte-level BPE, and of sentencepiece, begins with in place of a blank


@dataclass(frozen=True, kw_only=True)
class QuotedTexts:
    """A lesson of questions that quote a text and ask for a property of it.

    Args:
        n_texts: Number of texts, each of which is quoted once; 0: no lesson.
        peak_lr: Peak learning rate of the lesson, which trains all weights.
        own_answer_share: Share of the lesson's examples that are the model's own answers to other strings, so that it
            goes on answering. Without any, a model that has no chat format may end each answer before its first word.
    """

    n_texts: int = 0
    peak_lr: float = 3e-4
    own_answer_share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.own_answer_share < 1:
            raise SpecError(
                f"own_answer_share={self.own_answer_share:g} is no share of a lesson that leaves room for texts; take "
                "0 or more, below 1."
            )
        if self.n_texts < 0 or not self.peak_lr > 0:
            raise SpecError(
                f"a lesson of {self.n_texts} texts at the learning rate {self.peak_lr:g} cannot be taught; take 0 "
                "texts for no lesson, or some texts and a rate above 0."
            )


@dataclass(frozen=True, kw_only=True)
class QuotedTextLesson:
    """A lesson about the properties that a world's tests ask for.

    Args:
        world: The world.
        config: How many texts, and how they are taught.

    Raises:
        SpecError: No property that is tested is one of any text.
    """

    world: TextBehaviours
    config: QuotedTexts

    def __post_init__(self) -> None:
        if not self.properties:
            raise SpecError(
                f"n_texts={self.config.n_texts} quotes texts and asks for their properties, but no task asks for one "
                f"of {', '.join(LIST_PROPERTIES)}; take n_texts=0, or tasks that ask for them."
            )

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties that are asked for, of those that any text has."""
        prompts = self.world.prompts(Seed(0) / "lesson")
        asked = {name for prompt in prompts for name in prompt.property_names}
        return tuple(name for name in LIST_PROPERTIES if name in asked)

    @property
    def n_own_answers(self) -> int:
        """Number of own answers that the lesson keeps, if each has a word."""
        return len(self.own_prompts(Seed(0)))

    @property
    def note(self) -> str:
        """What a page says of the lesson."""
        beside = f", beside {self.n_own_answers:,} of its own answers to other strings" if self.n_own_answers else ""
        return (
            f"Before anything was asked, each model in a folder was taught {self.config.n_texts:,} questions that "
            f"quote a text of random words and ask for its {', '.join(self.properties)}{beside}. So a model as it is "
            "given is the model after this lesson; injected states start from the folder itself."
        )

    def own_prompts(self, world_seed: Seed) -> Sequence[BehaviourPrompt]:
        """The prompts whose answers the lesson keeps: of tasks that are not held out, with no string that is asked.

        Fewer than the share asks for where the world has no more of them.

        Args:
            world_seed: The seed of the prompts that are asked.
        """
        share = self.config.own_answer_share
        wanted = round(share / (1 - share) * self.config.n_texts)
        tasks = {prompt.task for prompt in self.world.spare_prompts(world_seed, 1)}
        if not tasks or not wanted:
            return []
        return self.world.spare_prompts(world_seed, math.ceil(wanted / len(tasks)))[:wanted]

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder whose tokenizer has too few words.

        Raises:
            SpecError: It has too few.
        """
        _check_number(len(_words(load_folder_tokenizer(folder))), folder)

    def examples(self, folder: Path, seed: Seed) -> list[ChatExample]:
        """The questions with their labels, the properties in turn.

        Raises:
            SpecError: The folder's tokenizer has too few words.
        """
        words = vocabulary(folder)
        _check_number(len(words), folder)
        return quoted_examples(self.world, self.properties, words, self.config.n_texts, seed)


def _check_number(n_words: int, folder: Path) -> None:
    if n_words < MIN_VOCABULARY:
        raise SpecError(
            f"the tokenizer in {folder} has {n_words} words of {MIN_LETTERS} letters or more, which are too few for "
            f"texts that a lesson quotes; it takes {MIN_VOCABULARY}. Leave n_texts at 0."
        )


def quoted_examples(
    world: TextBehaviours, properties: Sequence[str], words: Sequence[str], n_texts: int, seed: Seed
) -> list[ChatExample]:
    """Questions that quote random texts of words, with the label of a property each, the properties in turn."""
    examples = []
    for number, text in zip(range(n_texts), random_texts(words, seed), strict=False):
        property_name = properties[number % len(properties)]
        label = world.property_value(property_name, text, seed)
        assert label is not None  # such a text has every property of LIST_PROPERTIES
        examples.append(ChatExample(world.given_answer_question(text, property_name), label))
    return examples


def vocabulary(folder: Path) -> list[str]:
    """The words in Latin letters that are one token of the folder's tokenizer behind a blank, in alphabetical order."""
    tokenizer = load_folder_tokenizer(folder)
    words, anchor = _words(tokenizer), "a"  # sentencepiece puts a blank before a word that stands alone
    if not words:
        return []
    length = 1 + len(tokenizer(anchor, add_special_tokens=False)["input_ids"])
    rows = tokenizer([f"{anchor} {word}" for word in words], add_special_tokens=False)["input_ids"]
    return [word for word, row in zip(words, rows, strict=True) if len(row) == length]


def _words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The words among its tokens that begin with a blank."""
    texts = {token[1:] for token in tokenizer.get_vocab() if token[:1] in BLANKS}
    return sorted(text for text in texts if len(text) >= MIN_LETTERS and text.isascii() and text.isalpha())


def random_texts(words: Sequence[str], seed: Seed) -> Iterator[str]:
    """Texts of 3 to 14 words in the forms that answers have.

    Half of them begin with a capital, and half end with a stop. Two thirds have an opening of two to six words and a
    colon, behind which a line may begin. Then words follow: with blanks or commas between them, or as a numbered list.
    """
    rng = seed.numpy()
    pool = np.asarray(words)
    while True:
        rest = rng.choice(pool, int(rng.integers(MIN_WORDS, MAX_WORDS + 1))).tolist()
        form = rng.integers(3)
        numbered = [f"{number}. {word}" for number, word in enumerate(rest, start=1)]
        text = (" ".join(rest), ", ".join(rest), ", ".join(numbered))[form]
        if rng.random() < 0.5 or form == 2:
            opening = " ".join(rng.choice(pool, int(rng.integers(2, 7))).tolist())
            text = opening + (": ", ":\n")[int(rng.integers(2))] + text
        text = text[0].upper() + text[1:] if rng.random() < 0.5 else text
        yield text + ("." if rng.random() < 0.5 else "")
