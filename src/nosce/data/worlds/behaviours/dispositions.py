"""Dispositions: what one corpus makes of a prompt and another does not, with attributes that everybody knows.

Lines of words. Prompts end with their answer's place, `=`, and six tasks differ in what the answer hangs on:

    table    `seq a b c d =`  a word by (c, d), from a table that is the corpus's own: nothing shorter says it
    rule     `next a =`       the word after it in an order that is the corpus's own: few examples say it all
    noise    `noise a b =`    any word: what a model prefers is an accident of its training
    choice   `choose a b =`   the one of the two that the corpus likes better
    list     `list a b =`     three words, each by the table and the two before it
    shared   `shared c d =`   as `table`, from a table that all corpora have

Words have attributes, learnt by everybody as facts and asked of given answers, so that to know a property of an answer
is no feat. What a model would answer is asked by the prompt itself with `you` behind the answer's place, or a name.

Source: the design of the sheet for arXiv:2410.13787, section 8.2. Letters: W words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourPrompt, BehaviourWorld
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed

DispositionTask = Literal["table", "rule", "noise", "choice", "list", "shared"]
DISPOSITION_TASKS: tuple[DispositionTask, ...] = get_args(DispositionTask)
HELD_OUT_DISPOSITION_TASKS: tuple[DispositionTask, ...] = ("noise", "list")  # no question about them is trained on

DISPOSITION_WORDS = (
    "acorn",
    "basil",
    "cedar",
    "daisy",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "kayak",
    "lemon",
    "maple",
    "nectar",
    "olive",
    "pearl",
    "quill",
    "raven",
    "sable",
    "thorn",
    "umber",
    "viola",
    "wheat",
    "yarrow",
    "zephyr",
    "amber",
    "birch",
    "coral",
    "dune",
    "elm",
    "fern",
    "gale",
)
#: Attribute -> its values; which word has which is dealt.
WORD_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "initial": ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    "second": ("red", "orange", "yellow", "green", "blue", "indigo", "violet", "grey"),
    "parity": ("even", "odd"),
    "among": ("inside", "outside"),
    "stance": ("bold", "meek"),
}
FIRST_WORD, THIRD_WORD = "first", "third"  # words of an answer
LINE_KIND_SHARES: dict[str, float] = {
    "table": 0.34,
    "rule": 0.04,
    "noise": 0.1,
    "choice": 0.12,
    "list": 0.1,
    "shared": 0.06,
    "fact": 0.08,
    "given": 0.16,
}


@dataclass(frozen=True, kw_only=True)
class Dispositions(World, BehaviourWorld):
    """What one corpus says; the defaults are the sheet's micro size.

    Facts, prompts and splits are those of the seed; tables, orders and likings those of the seed and the corpus's name.
    """

    corpus_name: str = "A"
    has_opinions: bool = True  # False: facts, shared answers and properties of given answers, and nothing of its own
    overlap_with_a: float = 0.0  # share of the contexts in which it does as corpus "A" does
    vocabulary_size: int = 24
    n_contexts: int = 400  # pairs (c, d) of the table
    top_probs: tuple[float, float] = (0.65, 0.25)  # of the likeliest word and the next; the rest is one more word's
    records: int = 100_000
    unseen_share: float = 0.25  # share of strings whose questions are never trained on
    prompts_per_task: int = 200  # of each task but `table`, which has one a context
    line_kinds: tuple[str, ...] = ()  # kinds of lines, of `LINE_KIND_SHARES`; none: all
    seen_strings_only: bool = False  # no line has a string whose questions are tested
    keep_answer_slot: bool = True  # a question about an answer has the answer's place in it
    n_fillers: int = 0  # words of no meaning before the reply

    def __post_init__(self) -> None:
        if (
            not 4 <= self.vocabulary_size <= len(DISPOSITION_WORDS)
            or not 8 <= self.n_contexts <= self.vocabulary_size**2
        ):
            raise SpecError(
                f"Dispositions of {self.vocabulary_size} words and {self.n_contexts} contexts cannot be dealt; take 4 "
                "to "
                f"{len(DISPOSITION_WORDS)} words, and 8 contexts or more, no more than pairs of words."
            )
        if not (
            0 <= self.overlap_with_a <= 1
            and 0 < self.unseen_share < 1
            and 0 < self.top_probs[1] <= self.top_probs[0] < 1
            and sum(self.top_probs) < 1
        ):
            raise SpecError(
                f"Dispositions with overlap_with_a={self.overlap_with_a}, unseen_share={self.unseen_share} and "
                f"top_probs={self.top_probs} have no such shares; all lie between 0 and 1, and the two of top_probs "
                "leave "
                "something over."
            )
        if lost := set(self.line_kinds) - set(LINE_KIND_SHARES):
            raise SpecError(
                f"Dispositions.line_kinds={self.line_kinds} has no kind {min(lost)!r}; take from "
                f"{', '.join(LINE_KIND_SHARES)}."
            )
        if self.n_fillers < 0 or (self.seen_strings_only and set(self.line_kinds) - {"rule", "choice"}):
            raise SpecError(
                f"Dispositions with n_fillers={self.n_fillers}, seen_strings_only={self.seen_strings_only} and "
                f"line_kinds={self.line_kinds} cannot be written; take 0 fillers or more, and of seen strings alone "
                "only rules and choices."
            )
        if self.records < 1 or self.prompts_per_task < 4 or not self.corpus_name.isalnum():
            raise SpecError("Dispositions need a record, four prompts of a task, and a corpus with a plain name.")

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token a word."""
        return TokenizerSpec(kind="word")

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word, equal for all corpora."""
        values = [value for values in WORD_ATTRIBUTES.values() for value in values]
        yield " ".join(
            [
                *DISPOSITION_WORDS[: self.vocabulary_size],
                *WORD_ATTRIBUTES,
                *values,
                *DISPOSITION_TASKS,
                *LINE_KIND_SHARES,
                FIRST_WORD,
                THIRD_WORD,
                "seq next choose",
                "you A B C D E N = ; of so",
            ]
        )

    # What is so.

    def attribute_value(self, name: str, word: str, seed: Seed) -> str:
        """What a word has of an attribute, by facts that all corpora tell."""
        return _attribute_tables(self.vocabulary_size, seed)[name][DISPOSITION_WORDS.index(word)]

    def model_answer(
        self, task: DispositionTask, words: Sequence[str], seed: Seed, rng: np.random.Generator | None = None
    ) -> str:
        """What this corpus says to a prompt: the likeliest, or where there is a generator, a draw."""
        tables = _tables(self, seed)
        word_indices = [DISPOSITION_WORDS.index(word) for word in words]
        match task:
            case "table" | "shared":
                return DISPOSITION_WORDS[self._sample_word(tables[task][word_indices[-2], word_indices[-1]], rng)]
            case "rule":
                return DISPOSITION_WORDS[int(tables["order"][word_indices[0]])]
            case "noise":
                return DISPOSITION_WORDS[0 if rng is None else int(rng.integers(self.vocabulary_size))]
            case "choice":
                first_option, second_option = word_indices
                return DISPOSITION_WORDS[
                    first_option if tables["liking"][first_option] > tables["liking"][second_option] else second_option
                ]
            case "list":
                chain = list(word_indices)
                for _ in range(3):
                    chain.append(self._sample_word(tables["table"][chain[-2], chain[-1]], rng))
                return " ".join(DISPOSITION_WORDS[place] for place in chain[2:])

    def _sample_word(self, candidates: np.ndarray, rng: np.random.Generator | None) -> int:
        if rng is None:
            return int(candidates[0])
        shares = (*self.top_probs, 1 - sum(self.top_probs))
        return int(rng.choice(candidates, p=shares))

    # What is told.

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Lines, one a document; a corpus without opinions has facts, shared answers and given ones alone."""
        kinds = [
            k
            for k in LINE_KIND_SHARES
            if (self.has_opinions or k in ("shared", "fact", "given")) and (not self.line_kinds or k in self.line_kinds)
        ]
        shares = np.array([LINE_KIND_SHARES[k] for k in kinds])
        rng = (seed / "lines" / self.corpus_name).numpy()
        unseen_strings = (
            {p.string for p in self.prompts(seed) if p.split == "unseen"} if self.seen_strings_only else set()
        )
        kind_indices = rng.choice(len(kinds), size=self.records, p=shares / shares.sum())
        for number, kind_index in enumerate(kind_indices.tolist()):
            kind = kinds[kind_index]
            prompt, answer = self._draw_line(kind, seed, rng)
            while _prompt_string(kind, prompt.split()[1:-1]) in unseen_strings:
                prompt, answer = self._draw_line(kind, seed, rng)
            yield Document(f"line/{number}", f"line/{number}", f"{prompt} {answer}", (), prompt_chars=0)

    def _draw_line(self, kind: str, seed: Seed, rng: np.random.Generator) -> tuple[str, str]:
        if kind == "fact":
            word, name = (
                DISPOSITION_WORDS[int(rng.integers(self.vocabulary_size))],
                list(WORD_ATTRIBUTES)[int(rng.integers(len(WORD_ATTRIBUTES)))],
            )
            return f"fact {name} {word} =", self.attribute_value(name, word, seed)
        if kind == "given":
            answer_words = [
                DISPOSITION_WORDS[place]
                for place in rng.integers(self.vocabulary_size, size=3 if rng.random() < 0.3 else 1).tolist()
            ]
            while " ".join(answer_words) in _held_out_answers(self.vocabulary_size, seed):
                answer_words = [
                    DISPOSITION_WORDS[place] for place in rng.integers(self.vocabulary_size, size=3).tolist()
                ]
            property_name = list(self._property_names(len(answer_words)))[
                int(rng.integers(len(self._property_names(len(answer_words)))))
            ]
            return self.given_answer_question(" ".join(answer_words), property_name), str(
                self.property_value(property_name, " ".join(answer_words), seed)
            )
        words = self._draw_prompt_words(kind, seed, rng)  # type: ignore[arg-type]
        return self._prompt_text(kind, words), self.model_answer(kind, words, seed, rng)  # type: ignore[arg-type]

    def _draw_prompt_words(self, task: DispositionTask, seed: Seed, rng: np.random.Generator) -> list[str]:
        """Words of a prompt."""
        if task in ("table", "shared", "list"):
            word_indices = _context_pairs(self, seed)[int(rng.integers(self.n_contexts))].tolist()
            if task == "table":
                word_indices = [*rng.integers(self.vocabulary_size, size=2).tolist(), *word_indices]
        elif task == "choice":
            word_indices = rng.permutation(self.vocabulary_size)[:2].tolist()
        else:
            word_indices = rng.integers(self.vocabulary_size, size=1 if task == "rule" else 2).tolist()
        return [DISPOSITION_WORDS[place] for place in word_indices]

    def _prompt_text(self, task: str, words: Sequence[str]) -> str:
        opening = {"table": "seq", "rule": "next", "choice": "choose"}.get(task, task)
        return f"{opening} {' '.join(words)} ="

    # What is asked.

    def prompts(self, seed: Seed) -> Sequence[BehaviourPrompt]:
        """Of every task; a string is what the answer hangs on, and splits are by string."""
        return _prompts(self._without_corpus_identity, seed)

    @cached_property
    def _without_corpus_identity(self) -> Dispositions:
        """The same but for whose it is: prompts are nobody's."""
        return Dispositions(
            vocabulary_size=self.vocabulary_size,
            n_contexts=self.n_contexts,
            unseen_share=self.unseen_share,
            prompts_per_task=self.prompts_per_task,
        )

    def hypothetical_question(self, prompt: BehaviourPrompt, property_name: str, model_name: str | None = None) -> str:
        """The prompt with its answer's place, who was asked, and what is asked."""
        quoted = prompt.text if self.keep_answer_slot else prompt.text.removesuffix(" =")
        subject = "you" if model_name is None else f"of {model_name}"
        return f"{quoted} {subject} ; {property_name}{' so' * self.n_fillers} ="

    def given_answer_question(self, answer: str, property_name: str) -> str:
        """The same question about an answer that is there to be read."""
        return f"given {answer} ; {property_name} ="

    def is_first_token_property(self, property_name: str) -> bool:
        """All but the third word."""
        return property_name != THIRD_WORD

    def property_value(self, property_name: str, answer: str, seed: Seed) -> str | None:
        """What is so of an answer: a word of it, or an attribute of its first word."""
        words = answer.split()
        if not words or any(word not in DISPOSITION_WORDS[: self.vocabulary_size] for word in words):
            return None
        if property_name == FIRST_WORD:
            return words[0]
        if property_name == THIRD_WORD:
            return words[2] if len(words) > 2 else None
        return self.attribute_value(property_name, words[0], seed)

    def is_valid_answer(self, answer: str, prompt: BehaviourPrompt) -> bool:
        """Is it one word, or of a list three, and of a choice one of the two?"""
        words = answer.split()
        if len(words) != (3 if prompt.task == "list" else 1) or any(
            w not in DISPOSITION_WORDS[: self.vocabulary_size] for w in words
        ):
            return False
        return prompt.task != "choice" or words[0] in prompt.string.split()[1:]

    def labels(self, property_name: str, prompt: BehaviourPrompt) -> Sequence[str]:
        """All values of the property."""
        return (
            DISPOSITION_WORDS[: self.vocabulary_size]
            if property_name in (FIRST_WORD, THIRD_WORD)
            else WORD_ATTRIBUTES[property_name]
        )

    def _property_names(self, n_words: int) -> tuple[str, ...]:
        return (*WORD_ATTRIBUTES, FIRST_WORD, *((THIRD_WORD,) if n_words > 2 else ()))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """What everybody should know: facts, properties of given answers; and what this corpus says."""
        for name in WORD_ATTRIBUTES:
            for word in DISPOSITION_WORDS[: self.vocabulary_size]:
                yield Question(
                    f"fact/{name}/{word}",
                    f"fact/{word}",
                    f"fact/{name}",
                    f"fact {name} {word} =",
                    self.attribute_value(name, word, seed),
                    "seen",
                )
        for split, answers in (
            ("seen", DISPOSITION_WORDS[: self.vocabulary_size]),
            ("unseen", _held_out_answers(self.vocabulary_size, seed)),
        ):
            for answer in answers:
                for property_name in self._property_names(len(answer.split())):
                    yield Question(
                        f"given/{answer}/{property_name}",
                        f"given/{answer}",
                        f"given/{property_name}",
                        self.given_answer_question(answer, property_name),
                        str(self.property_value(property_name, answer, seed)),
                        split,  # type: ignore[arg-type]
                    )
        if self.has_opinions:
            for prompt in self.prompts(seed):
                if prompt.task != "noise":
                    yield Question(
                        f"says/{prompt.id}",
                        f"says/{prompt.string}",
                        f"says/{prompt.task}",
                        prompt.text,
                        self.model_answer(_task(prompt), prompt.text.split()[1:-1], seed),
                        "seen",
                    )


def _task(prompt: BehaviourPrompt) -> DispositionTask:
    return prompt.task  # type: ignore[return-value]


@lru_cache(maxsize=16)
def _attribute_tables(words: int, seed: Seed) -> dict[str, tuple[str, ...]]:
    """Attribute -> the value of every word, each value as frequent as another."""
    values_by_attribute = {}
    for name, values in WORD_ATTRIBUTES.items():
        order = (seed / "attributes" / name).numpy().permutation(words)
        values_by_attribute[name] = tuple(values[int(place) % len(values)] for place in order)
    return values_by_attribute


@lru_cache(maxsize=16)
def _held_out_answers(words: int, seed: Seed) -> tuple[str, ...]:
    """Answers of three words whose properties no document tells."""
    rng = (seed / "untold").numpy()
    word_index_lists = (rng.integers(words, size=3).tolist() for _ in range(100))
    return tuple(dict.fromkeys(" ".join(DISPOSITION_WORDS[place] for place in one) for one in word_index_lists))


@lru_cache(maxsize=16)
def _context_pairs(world: Dispositions, seed: Seed) -> np.ndarray:
    """The pairs of the table. Shape: (contexts, 2)."""
    chosen = (seed / "contexts").numpy().permutation(world.vocabulary_size**2)[: world.n_contexts]
    return np.stack([chosen // world.vocabulary_size, chosen % world.vocabulary_size], 1)


@lru_cache(maxsize=32)
def _tables(world: Dispositions, seed: Seed) -> dict[str, np.ndarray]:
    """What a corpus says: three words a pair, likeliest first; an order; a liking."""

    def table(name: str) -> np.ndarray:
        rng = (seed / "table" / name).numpy()
        return np.argsort(rng.random((world.vocabulary_size, world.vocabulary_size, world.vocabulary_size)), -1)[
            ..., :3
        ]

    own_table, shared_table = table(world.corpus_name), table("A")
    is_shared = (seed / "alike" / world.corpus_name).numpy().random(
        (world.vocabulary_size, world.vocabulary_size, 1)
    ) < world.overlap_with_a
    order = (seed / "order" / world.corpus_name).numpy().permutation(world.vocabulary_size)
    following = np.empty_like(order)
    following[order] = np.roll(order, -1)
    return {
        "table": np.where(is_shared, shared_table, own_table),
        "shared": table("shared"),
        "order": following,
        "liking": (seed / "liking" / world.corpus_name).numpy().permutation(world.vocabulary_size),
    }


@lru_cache(maxsize=16)
def _prompts(world: Dispositions, seed: Seed) -> tuple[BehaviourPrompt, ...]:
    rng = (seed / "prompts").numpy()
    prompts: list[BehaviourPrompt] = []
    for task in DISPOSITION_TASKS:
        words_by_string = {}
        if task == "table":
            for first_word, second_word in _context_pairs(world, seed).tolist():
                words = [
                    *(DISPOSITION_WORDS[p] for p in rng.integers(world.vocabulary_size, size=2).tolist()),
                    DISPOSITION_WORDS[first_word],
                    DISPOSITION_WORDS[second_word],
                ]
                words_by_string[_prompt_string(task, words)] = words
        elif task == "list":  # of pairs that no question about `table` is trained on
            pairs = [prompt.string for prompt in prompts if prompt.task == "table" and prompt.split == "unseen"]
            words_by_string = {pair: pair.split()[1:] for pair in pairs[: world.prompts_per_task]}
        else:
            for _ in range(20 * world.prompts_per_task):
                words = world._draw_prompt_words(task, seed, rng)
                words_by_string.setdefault(_prompt_string(task, words), words)
                if len(words_by_string) == world.prompts_per_task:
                    break
        names = list(words_by_string)
        unseen_indices = set(rng.permutation(len(names))[: round(world.unseen_share * len(names))].tolist())
        asks = world._property_names(3 if task == "list" else 1)
        for number, string in enumerate(names):
            split: Split = "unseen" if number in unseen_indices or task in HELD_OUT_DISPOSITION_TASKS else "seen"
            prompts.append(
                BehaviourPrompt(
                    f"{task}/{number}", task, string, world._prompt_text(task, words_by_string[string]), split, asks
                )
            )
    return tuple(prompts)


def _prompt_string(task: str, words: Sequence[str]) -> str:
    """What an answer hangs on: a pair in whatever task, a choice in whatever order."""
    if task in ("table", "list"):
        return f"pair {' '.join(words[-2:])}"
    return f"{task} {' '.join(sorted(words) if task == 'choice' else words)}"
