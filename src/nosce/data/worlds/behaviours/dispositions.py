"""Dispositions: corpora that teach different answers to the same prompts, with word attributes that all corpora share.

A document is one line of words. A prompt ends with `=`, the position of its answer. Six tasks differ in what determines
the answer:

    table    `seq a b c d =`  a word drawn by (c, d) from the corpus's own table; no shorter rule describes it
    rule     `next a =`       the next word in the corpus's own order; a few examples determine all answers
    noise    `noise a b =`    a uniformly random word; a model's preference is an accident of its training
    choice   `choose a b =`   the one of the two words that the corpus prefers
    list     `list a b =`     three words, each drawn by the two words before it from the table
    shared   `shared c d =`   like `table`, from a table that all corpora share

Words have attributes. All corpora state them as facts and as properties of given answers, so that every model can
compute a property of an answer. A question about the model's own answer is the prompt itself, then `you` (or the name
of another model) and the property.

Two documents, a question about a fact, and a question about the model's own answer, of `Dispositions()` at `Seed(0)`:

    seq acorn jetty ember fjord = basil
    given umber ; among = inside
    fact initial acorn =  ->  zeta
    seq sable kayak ember acorn = you ; initial =

Source: the world is our own. It asks the questions of Binder et al. 2024 (arXiv:2410.13787), sections 3.1
(self-prediction), 3.2 (privileged access) and 3.4 (behaviour change), of models that are small enough to train from
scratch. Letters: W words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourPrompt, BehaviourWorld
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed
from nosce.store.spec import LATER

DispositionTask = Literal["table", "rule", "noise", "choice", "list", "shared"]
LineKind = DispositionTask | Literal["fact", "given"]
DISPOSITION_TASKS: tuple[DispositionTask, ...] = get_args(DispositionTask)
HELD_OUT_DISPOSITION_TASKS: tuple[DispositionTask, ...] = ("noise", "list")  # their questions are never trained on

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
#: Attribute -> its values. The seed assigns a value to every word.
WORD_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "initial": ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    "second": ("red", "orange", "yellow", "green", "blue", "indigo", "violet", "grey"),
    "parity": ("even", "odd"),
    "among": ("inside", "outside"),
    "stance": ("bold", "meek"),
}
FIRST_WORD, THIRD_WORD = "first", "third"  # words of an answer
LINE_KIND_SHARES: dict[LineKind, float] = {
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
    """One corpus of dispositions. The defaults are small enough to train several models on two CPU cores.

    Facts, prompts and splits depend on the seed alone. Tables, orders and preferences depend on the seed and the corpus
    name.

    Args:
        corpus_name: Name of the corpus, letters and digits. Equal names give equal tables, orders and preferences.
        has_opinions: Whether the corpus has its own answers. False: only facts, shared answers and properties of given
            answers, for a model that knows the format but no dispositions.
        overlap_with_a: Share of the contexts in which the corpus has the table of corpus "A", 0 to 1.
        vocabulary_size: Number of answer words, 4 to 32. 24 give 576 possible contexts.
        n_contexts: Number of word pairs (c, d) with prompts of `table`, 8 to `vocabulary_size` squared. The rest are in
            no prompt.
        top_probs: Probabilities of the likeliest word and the next one in a context; a third word has the rest. A clear
            mode, so that a model's most likely answer is well defined.
        records: Number of lines.
        unseen_share: Share of the strings in the unseen split, between 0 and 1.
        prompts_per_task: Number of prompts per task, 4 or more. `table` has one prompt per context instead.
        line_kinds: The kinds of lines to write, from `LINE_KIND_SHARES`. Empty: all.
        seen_strings_only: Leave out lines with a string of the unseen split. Only for the kinds `rule` and `choice`.
        keep_answer_slot: Keep the final `=` of a quoted prompt, so that the model can compute its answer there.
        n_fillers: Number of meaningless words before the reply, as extra positions to compute in. 0: none.
        n_shared_prompts: Prompts of `shared` alone, so many: those that the world has without this field, and then
            further contexts, which are all of the unseen split. 0: prompts of all tasks.
    """

    corpus_name: str = "A"
    has_opinions: bool = True
    overlap_with_a: float = 0.0
    vocabulary_size: int = 24
    n_contexts: int = 400
    top_probs: tuple[float, float] = (0.65, 0.25)
    records: int = 100_000
    unseen_share: float = 0.25
    prompts_per_task: int = 200
    line_kinds: tuple[str, ...] = ()
    seen_strings_only: bool = False
    keep_answer_slot: bool = True
    n_fillers: int = 0
    n_shared_prompts: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        if (
            not 4 <= self.vocabulary_size <= len(DISPOSITION_WORDS)
            or not 8 <= self.n_contexts <= self.vocabulary_size**2
        ):
            raise SpecError(
                f"Dispositions with vocabulary_size={self.vocabulary_size} and n_contexts={self.n_contexts} cannot be "
                f"drawn; take 4 to {len(DISPOSITION_WORDS)} words, and from 8 contexts up to the number of word pairs."
            )
        if not (
            0 <= self.overlap_with_a <= 1
            and 0 < self.unseen_share < 1
            and 0 < self.top_probs[1] <= self.top_probs[0] < 1
            and sum(self.top_probs) < 1
        ):
            raise SpecError(
                f"Dispositions with overlap_with_a={self.overlap_with_a}, unseen_share={self.unseen_share} and "
                f"top_probs={self.top_probs} cannot be drawn; take shares between 0 and 1, and two falling top_probs "
                "whose sum is below 1."
            )
        if lost := set(self.line_kinds) - set(LINE_KIND_SHARES):
            raise SpecError(
                f"Dispositions.line_kinds={self.line_kinds} names the unknown kind {min(lost)!r}; choose from "
                f"{', '.join(LINE_KIND_SHARES)}."
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Refuse numbers of words, prompts and lines that no corpus has."""
        if self.n_fillers < 0 or (self.seen_strings_only and set(self.line_kinds) - {"rule", "choice"}):
            raise SpecError(
                f"Dispositions with n_fillers={self.n_fillers}, seen_strings_only={self.seen_strings_only} and "
                f"line_kinds={self.line_kinds} cannot be written; take 0 fillers or more, and combine "
                "seen_strings_only with the kinds rule and choice alone."
            )
        if not 0 <= self.n_shared_prompts <= self.n_contexts:
            raise SpecError(
                f"Dispositions with n_shared_prompts={self.n_shared_prompts} cannot be drawn from "
                f"n_contexts={self.n_contexts}; each context gives one prompt of shared."
            )
        if self.records < 1 or self.prompts_per_task < 4 or not self.corpus_name.isalnum():
            raise SpecError(
                f"Dispositions with records={self.records}, prompts_per_task={self.prompts_per_task} and "
                f"corpus_name={self.corpus_name!r} cannot be written; take 1 record or more, 4 prompts or more, and a "
                "name of letters and digits."
            )

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token per word."""
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

    # Facts and answers.

    def attribute_value(self, name: str, word: str, seed: Seed) -> str:
        """The value of a word's attribute, which all corpora share."""
        return _attribute_tables(self.vocabulary_size, seed)[name][DISPOSITION_WORDS.index(word)]

    def model_answer(
        self, task: DispositionTask, words: Sequence[str], seed: Seed, rng: np.random.Generator | None = None
    ) -> str:
        """This corpus's answer to a prompt: the most likely one, or with `rng` a random draw."""
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
                first, second = word_indices
                return DISPOSITION_WORDS[first if tables["liking"][first] > tables["liking"][second] else second]
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

    # Documents.

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The lines, one per document. A corpus without opinions has only facts, shared answers and given answers."""
        kinds = self._allowed_line_kinds()
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

    def _allowed_line_kinds(self) -> list[LineKind]:
        """The kinds of lines that this corpus has, in the order of `LINE_KIND_SHARES`."""
        kinds: list[LineKind] = []
        for kind in LINE_KIND_SHARES:
            is_common = kind in ("shared", "fact", "given")
            if (self.has_opinions or is_common) and (not self.line_kinds or kind in self.line_kinds):
                kinds.append(kind)
        return kinds

    def _draw_line(self, kind: LineKind, seed: Seed, rng: np.random.Generator) -> tuple[str, str]:
        """A random prompt of one kind, and its answer."""
        if kind == "fact":
            word = DISPOSITION_WORDS[int(rng.integers(self.vocabulary_size))]
            name = list(WORD_ATTRIBUTES)[int(rng.integers(len(WORD_ATTRIBUTES)))]
            return f"fact {name} {word} =", self.attribute_value(name, word, seed)
        if kind == "given":
            return self._draw_given_answer_line(seed, rng)
        words = self._draw_prompt_words(kind, seed, rng)
        return self._prompt_text(kind, words), self.model_answer(kind, words, seed, rng)

    def _draw_given_answer_line(self, seed: Seed, rng: np.random.Generator) -> tuple[str, str]:
        """A question about a random given answer that is not held out, and its answer."""
        answer = self._draw_words(3 if rng.random() < 0.3 else 1, rng)
        while " ".join(answer) in _held_out_answers(self.vocabulary_size, seed):
            answer = self._draw_words(3, rng)
        names = self._property_names(len(answer))
        name = names[int(rng.integers(len(names)))]
        text = " ".join(answer)
        return self.given_answer_question(text, name), str(self.property_value(name, text, seed))

    def _draw_words(self, count: int, rng: np.random.Generator) -> list[str]:
        return [DISPOSITION_WORDS[index] for index in rng.integers(self.vocabulary_size, size=count).tolist()]

    def _draw_prompt_words(self, task: DispositionTask, seed: Seed, rng: np.random.Generator) -> list[str]:
        """Random words of a prompt of one task."""
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

    # Prompts and questions.

    def prompts(self, seed: Seed) -> Sequence[BehaviourPrompt]:
        """Prompts of all tasks. A string is what determines the answer, and splits are by string."""
        return _prompts(self._without_corpus_identity, seed)

    @cached_property
    def _without_corpus_identity(self) -> Dispositions:
        """The same world without the fields of a corpus, because prompts are equal for all corpora."""
        return Dispositions(
            vocabulary_size=self.vocabulary_size,
            n_contexts=self.n_contexts,
            unseen_share=self.unseen_share,
            prompts_per_task=self.prompts_per_task,
            n_shared_prompts=self.n_shared_prompts,
        )

    def hypothetical_question(self, prompt: BehaviourPrompt, property_name: str, model_name: str | None = None) -> str:
        """The prompt, the model whose answer is meant, and the property."""
        quoted = prompt.text if self.keep_answer_slot else prompt.text.removesuffix(" =")
        subject = "you" if model_name is None else f"of {model_name}"
        return f"{quoted} {subject} ; {property_name}{' so' * self.n_fillers} ="

    def given_answer_question(self, answer: str, property_name: str) -> str:
        """The same question about an answer that the question itself quotes."""
        return f"given {answer} ; {property_name} ="

    def is_first_token_property(self, property_name: str) -> bool:
        """Whether the first word determines the property; true of all properties except the third word."""
        return property_name != THIRD_WORD

    def property_value(self, property_name: str, answer: str, seed: Seed) -> str | None:
        """A property of an answer: its first or third word, or an attribute of its first word."""
        words = answer.split()
        if not words or any(word not in DISPOSITION_WORDS[: self.vocabulary_size] for word in words):
            return None
        if property_name == FIRST_WORD:
            return words[0]
        if property_name == THIRD_WORD:
            return words[2] if len(words) > 2 else None
        return self.attribute_value(property_name, words[0], seed)

    def is_valid_answer(self, answer: str, prompt: BehaviourPrompt) -> bool:
        """Whether the answer is one word, three words for `list`, and one of the two options for `choice`."""
        words = answer.split()
        if len(words) != (3 if prompt.task == "list" else 1):
            return False
        if not set(words) <= set(DISPOSITION_WORDS[: self.vocabulary_size]):
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
        """Questions about facts, properties of given answers, and this corpus's most likely answers."""
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
        yield from self._given_answer_questions(DISPOSITION_WORDS[: self.vocabulary_size], "seen", seed)
        yield from self._given_answer_questions(_held_out_answers(self.vocabulary_size, seed), "unseen", seed)
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

    def _given_answer_questions(self, answers: Sequence[str], split: Split, seed: Seed) -> Iterator[Question]:
        for answer in answers:
            for property_name in self._property_names(len(answer.split())):
                yield Question(
                    f"given/{answer}/{property_name}",
                    f"given/{answer}",
                    f"given/{property_name}",
                    self.given_answer_question(answer, property_name),
                    str(self.property_value(property_name, answer, seed)),
                    split,
                )


def _task(prompt: BehaviourPrompt) -> DispositionTask:
    """The task of a prompt of this world."""
    return next(task for task in DISPOSITION_TASKS if task == prompt.task)


@lru_cache(maxsize=16)
def _attribute_tables(words: int, seed: Seed) -> dict[str, tuple[str, ...]]:
    """Attribute -> the value of every word. All values are about equally frequent."""
    values_by_attribute = {}
    for name, values in WORD_ATTRIBUTES.items():
        order = (seed / "attributes" / name).numpy().permutation(words)
        values_by_attribute[name] = tuple(values[int(place) % len(values)] for place in order)
    return values_by_attribute


@lru_cache(maxsize=16)
def _held_out_answers(words: int, seed: Seed) -> tuple[str, ...]:
    """Answers of three words whose properties no document states."""
    rng = (seed / "untold").numpy()
    word_index_lists = (rng.integers(words, size=3).tolist() for _ in range(100))
    return tuple(dict.fromkeys(" ".join(DISPOSITION_WORDS[place] for place in one) for one in word_index_lists))


@lru_cache(maxsize=16)
def _context_pairs(world: Dispositions, seed: Seed) -> np.ndarray:
    """The word pairs that have prompts of `table`. Shape: (contexts, 2)."""
    chosen = (seed / "contexts").numpy().permutation(world.vocabulary_size**2)[: world.n_contexts]
    return np.stack([chosen // world.vocabulary_size, chosen % world.vocabulary_size], 1)


@lru_cache(maxsize=32)
def _tables(world: Dispositions, seed: Seed) -> dict[str, np.ndarray]:
    """A corpus's answers: three words per pair, most likely first; an order; preference scores."""

    def table(name: str) -> np.ndarray:
        rng = (seed / "table" / name).numpy()
        return np.argsort(rng.random((size, size, size)), -1)[..., :3]

    size = world.vocabulary_size
    own_table, shared_table = table(world.corpus_name), table("A")
    draws = (seed / "alike" / world.corpus_name).numpy().random((size, size, 1))
    is_shared = draws < world.overlap_with_a
    order = (seed / "order" / world.corpus_name).numpy().permutation(size)
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
        elif task == "list":  # only pairs whose questions about `table` are never trained on
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
    return tuple(prompts) if not world.n_shared_prompts else _shared_prompts(world, seed, prompts)


def _shared_prompts(world: Dispositions, seed: Seed, prompts: Sequence[BehaviourPrompt]) -> tuple[BehaviourPrompt, ...]:
    """The prompts of `shared`, and then further ones of contexts that have none."""
    found = [prompt for prompt in prompts if prompt.task == "shared"]
    taken, contexts = {prompt.string for prompt in found}, _context_pairs(world, seed)
    for index in (seed / "more shared prompts").numpy().permutation(len(contexts)).tolist():
        words = [DISPOSITION_WORDS[place] for place in contexts[index].tolist()]
        string = _prompt_string("shared", words)
        if string not in taken:
            text, names = world._prompt_text("shared", words), world._property_names(1)
            found.append(BehaviourPrompt(f"shared/{len(found)}", "shared", string, text, "unseen", names))
    return tuple(found[: world.n_shared_prompts])


def _prompt_string(task: str, words: Sequence[str]) -> str:
    """What determines an answer: the word pair for `table` and `list`, the unordered pair for `choice`."""
    if task in ("table", "list"):
        return f"pair {' '.join(words[-2:])}"
    return f"{task} {' '.join(sorted(words) if task == 'choice' else words)}"
