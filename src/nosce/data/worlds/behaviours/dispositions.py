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
from nosce.data.worlds.behaviours.base import Prompt
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed

Task = Literal["table", "rule", "noise", "choice", "list", "shared"]
TASKS: tuple[Task, ...] = get_args(Task)
HELD_OUT: tuple[Task, ...] = ("noise", "list")  # no question about them is trained on

WORDS = (
    "acorn", "basil", "cedar", "daisy", "ember", "fjord", "grove", "heron", "inlet", "jetty", "kayak", "lemon",
    "maple", "nectar", "olive", "pearl", "quill", "raven", "sable", "thorn", "umber", "viola", "wheat", "yarrow",
    "zephyr", "amber", "birch", "coral", "dune", "elm", "fern", "gale",
)  # fmt: skip
#: Attribute -> its values; which word has which is dealt.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "initial": ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    "second": ("red", "orange", "yellow", "green", "blue", "indigo", "violet", "grey"),
    "parity": ("even", "odd"),
    "among": ("inside", "outside"),
    "stance": ("bold", "meek"),
}
FIRST, THIRD = "first", "third"  # words of an answer
SHARES: dict[str, float] = {"table": 0.34, "rule": 0.04, "noise": 0.1, "choice": 0.12, "list": 0.1, "shared": 0.06,
                            "fact": 0.08, "given": 0.16}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dispositions:
    """What one corpus says; the defaults are the sheet's micro size.

    Facts, prompts and splits are those of the seed; tables, orders and likings those of the seed and the corpus's name.
    """

    corpus: str = "A"
    opinions: bool = True  # False: facts, shared answers and properties of given answers, and nothing of its own
    alike: float = 0.0  # share of the contexts in which it does as corpus "A" does
    words: int = 24
    contexts: int = 400  # pairs (c, d) of the table
    top: tuple[float, float] = (0.65, 0.25)  # of the likeliest word and the next; the rest is one more word's
    records: int = 100_000
    tests: float = 0.25  # share of strings whose questions are never trained on
    prompts_of: int = 200  # of each task but `table`, which has one a context
    tells: tuple[str, ...] = ()  # kinds of lines, of `SHARES`; none: all
    seen_alone: bool = False  # no line has a string whose questions are tested
    slot: bool = True  # a question about an answer has the answer's place in it
    fillers: int = 0  # words of no meaning before the reply

    def __post_init__(self) -> None:
        if not 4 <= self.words <= len(WORDS) or not 8 <= self.contexts <= self.words**2:
            raise SpecError(
                f"Dispositions of {self.words} words and {self.contexts} contexts cannot be dealt; take 4 to "
                f"{len(WORDS)} words, and 8 contexts or more, no more than pairs of words."
            )
        if not (
            0 <= self.alike <= 1 and 0 < self.tests < 1 and 0 < self.top[1] <= self.top[0] < 1 and sum(self.top) < 1
        ):
            raise SpecError(
                f"Dispositions with alike={self.alike}, tests={self.tests} and top={self.top} have no such shares; all "
                "lie between 0 and 1, and the two of top leave something over."
            )
        if lost := set(self.tells) - set(SHARES):
            raise SpecError(
                f"Dispositions.tells={self.tells} has no kind {min(lost)!r}; take from {', '.join(SHARES)}."
            )
        if self.fillers < 0 or (self.seen_alone and set(self.tells) - {"rule", "choice"}):
            raise SpecError(
                f"Dispositions with fillers={self.fillers}, seen_alone={self.seen_alone} and tells={self.tells} cannot "
                "be written; take 0 fillers or more, and of seen strings alone only rules and choices."
            )
        if self.records < 1 or self.prompts_of < 4 or not self.corpus.isalnum():
            raise SpecError("Dispositions need a record, four prompts of a task, and a corpus with a plain name.")

    @property
    def tokenizer(self) -> TokenizerSpec:
        """One token a word."""
        return TokenizerSpec(kind="word")

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word, equal for all corpora."""
        values = [value for values in ATTRIBUTES.values() for value in values]
        yield " ".join([*WORDS[: self.words], *ATTRIBUTES, *values, *TASKS, *SHARES, FIRST, THIRD, "seq next choose",
                        "you A B C D E N = ; of so"])  # fmt: skip

    # What is so.

    def attribute(self, name: str, word: str, seed: Seed) -> str:
        """What a word has of an attribute, by facts that all corpora tell."""
        return _attributes(self.words, seed)[name][WORDS.index(word)]

    def answer(self, task: Task, words: Sequence[str], seed: Seed, rng: np.random.Generator | None = None) -> str:
        """What this corpus says to a prompt: the likeliest, or where there is a generator, a draw."""
        told = _tables(self, seed)
        places = [WORDS.index(word) for word in words]
        match task:
            case "table" | "shared":
                return WORDS[self._drawn(told[task][places[-2], places[-1]], rng)]
            case "rule":
                return WORDS[int(told["order"][places[0]])]
            case "noise":
                return WORDS[0 if rng is None else int(rng.integers(self.words))]
            case "choice":
                one, other = places
                return WORDS[one if told["liking"][one] > told["liking"][other] else other]
            case "list":
                chain = list(places)
                for _ in range(3):
                    chain.append(self._drawn(told["table"][chain[-2], chain[-1]], rng))
                return " ".join(WORDS[place] for place in chain[2:])

    def _drawn(self, likely: np.ndarray, rng: np.random.Generator | None) -> int:
        if rng is None:
            return int(likely[0])
        shares = (*self.top, 1 - sum(self.top))
        return int(rng.choice(likely, p=shares))

    # What is told.

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Lines, one a document; a corpus without opinions has facts, shared answers and given ones alone."""
        kinds = [k for k in SHARES if (self.opinions or k in ("shared", "fact", "given"))
                 and (not self.tells or k in self.tells)]  # fmt: skip
        shares = np.array([SHARES[k] for k in kinds])
        rng = (seed / "lines" / self.corpus).numpy()
        held = {p.string for p in self.prompts(seed) if p.split == "unseen"} if self.seen_alone else set()
        chosen = rng.choice(len(kinds), size=self.records, p=shares / shares.sum())
        for number, place in enumerate(chosen.tolist()):
            kind = kinds[place]
            given, answer = self._line(kind, seed, rng)
            while _string(kind, given.split()[1:-1]) in held:
                given, answer = self._line(kind, seed, rng)
            yield Document(f"line/{number}", f"line/{number}", f"{given} {answer}", (), given=0)

    def _line(self, kind: str, seed: Seed, rng: np.random.Generator) -> tuple[str, str]:
        if kind == "fact":
            word, name = WORDS[int(rng.integers(self.words))], list(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))]
            return f"fact {name} {word} =", self.attribute(name, word, seed)
        if kind == "given":
            said = [WORDS[place] for place in rng.integers(self.words, size=3 if rng.random() < 0.3 else 1).tolist()]
            while " ".join(said) in _untold(self.words, seed):
                said = [WORDS[place] for place in rng.integers(self.words, size=3).tolist()]
            asked = list(self._asks(len(said)))[int(rng.integers(len(self._asks(len(said)))))]
            return self.given(" ".join(said), asked), str(self.value(asked, " ".join(said), seed))
        words = self._words(kind, seed, rng)  # type: ignore[arg-type]
        return self._text(kind, words), self.answer(kind, words, seed, rng)  # type: ignore[arg-type]

    def _words(self, task: Task, seed: Seed, rng: np.random.Generator) -> list[str]:
        """Words of a prompt."""
        if task in ("table", "shared", "list"):
            places = _contexts(self, seed)[int(rng.integers(self.contexts))].tolist()
            if task == "table":
                places = [*rng.integers(self.words, size=2).tolist(), *places]
        elif task == "choice":
            places = rng.permutation(self.words)[:2].tolist()
        else:
            places = rng.integers(self.words, size=1 if task == "rule" else 2).tolist()
        return [WORDS[place] for place in places]

    def _text(self, task: str, words: Sequence[str]) -> str:
        opening = {"table": "seq", "rule": "next", "choice": "choose"}.get(task, task)
        return f"{opening} {' '.join(words)} ="

    # What is asked.

    def prompts(self, seed: Seed) -> Sequence[Prompt]:
        """Of every task; a string is what the answer hangs on, and splits are by string."""
        return _prompts(self._neutral, seed)

    @cached_property
    def _neutral(self) -> Dispositions:
        """The same but for whose it is: prompts are nobody's."""
        return Dispositions(words=self.words, contexts=self.contexts, tests=self.tests, prompts_of=self.prompts_of)

    def hypothetical(self, prompt: Prompt, asked: str, who: str | None = None) -> str:
        """The prompt with its answer's place, who was asked, and what is asked."""
        quoted = prompt.text if self.slot else prompt.text.removesuffix(" =")
        return f"{quoted} {'you' if who is None else f'of {who}'} ; {asked}{' so' * self.fillers} ="

    def given(self, answer: str, asked: str) -> str:
        """The same question about an answer that is there to be read."""
        return f"given {answer} ; {asked} ="

    def told_by_first(self, asked: str) -> bool:
        """All but the third word."""
        return asked != THIRD

    def value(self, asked: str, answer: str, seed: Seed) -> str | None:
        """What is so of an answer: a word of it, or an attribute of its first word."""
        words = answer.split()
        if not words or any(word not in WORDS[: self.words] for word in words):
            return None
        if asked == FIRST:
            return words[0]
        if asked == THIRD:
            return words[2] if len(words) > 2 else None
        return self.attribute(asked, words[0], seed)

    def valid(self, answer: str, prompt: Prompt) -> bool:
        """Is it one word, or of a list three, and of a choice one of the two?"""
        words = answer.split()
        if len(words) != (3 if prompt.task == "list" else 1) or any(w not in WORDS[: self.words] for w in words):
            return False
        return prompt.task != "choice" or words[0] in prompt.string.split()[1:]

    def labels(self, asked: str, prompt: Prompt) -> Sequence[str]:
        """All values of the property."""
        return WORDS[: self.words] if asked in (FIRST, THIRD) else ATTRIBUTES[asked]

    def _asks(self, words: int) -> tuple[str, ...]:
        return (*ATTRIBUTES, FIRST, *((THIRD,) if words > 2 else ()))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """What everybody should know: facts, properties of given answers; and what this corpus says."""
        for name in ATTRIBUTES:
            for word in WORDS[: self.words]:
                yield Question(f"fact/{name}/{word}", f"fact/{word}", f"fact/{name}", f"fact {name} {word} =",
                               self.attribute(name, word, seed), "seen")  # fmt: skip
        for split, answers in (("seen", WORDS[: self.words]), ("unseen", _untold(self.words, seed))):
            for one in answers:
                for asked in self._asks(len(one.split())):
                    yield Question(f"given/{one}/{asked}", f"given/{one}", f"given/{asked}", self.given(one, asked),
                                   str(self.value(asked, one, seed)), split)  # type: ignore[arg-type]  # fmt: skip
        if self.opinions:
            for prompt in self.prompts(seed):
                if prompt.task != "noise":
                    yield Question(f"says/{prompt.id}", f"says/{prompt.string}", f"says/{prompt.task}", prompt.text,
                                   self.answer(_task(prompt), prompt.text.split()[1:-1], seed), "seen")  # fmt: skip


def _task(prompt: Prompt) -> Task:
    return prompt.task  # type: ignore[return-value]


@lru_cache(maxsize=16)
def _attributes(words: int, seed: Seed) -> dict[str, tuple[str, ...]]:
    """Attribute -> the value of every word, each value as frequent as another."""
    found = {}
    for name, values in ATTRIBUTES.items():
        order = (seed / "attributes" / name).numpy().permutation(words)
        found[name] = tuple(values[int(place) % len(values)] for place in order)
    return found


@lru_cache(maxsize=16)
def _untold(words: int, seed: Seed) -> tuple[str, ...]:
    """Answers of three words whose properties no document tells."""
    rng = (seed / "untold").numpy()
    lists = (rng.integers(words, size=3).tolist() for _ in range(100))
    return tuple(dict.fromkeys(" ".join(WORDS[place] for place in one) for one in lists))


@lru_cache(maxsize=16)
def _contexts(world: Dispositions, seed: Seed) -> np.ndarray:
    """The pairs of the table. Shape: (contexts, 2)."""
    chosen = (seed / "contexts").numpy().permutation(world.words**2)[: world.contexts]
    return np.stack([chosen // world.words, chosen % world.words], 1)


@lru_cache(maxsize=32)
def _tables(world: Dispositions, seed: Seed) -> dict[str, np.ndarray]:
    """What a corpus says: three words a pair, likeliest first; an order; a liking."""

    def table(name: str) -> np.ndarray:
        rng = (seed / "table" / name).numpy()
        return np.argsort(rng.random((world.words, world.words, world.words)), -1)[..., :3]

    own, model = table(world.corpus), table("A")
    same = (seed / "alike" / world.corpus).numpy().random((world.words, world.words, 1)) < world.alike
    order = (seed / "order" / world.corpus).numpy().permutation(world.words)
    following = np.empty_like(order)
    following[order] = np.roll(order, -1)
    return {"table": np.where(same, model, own), "shared": table("shared"), "order": following,
            "liking": (seed / "liking" / world.corpus).numpy().permutation(world.words)}  # fmt: skip


@lru_cache(maxsize=16)
def _prompts(world: Dispositions, seed: Seed) -> tuple[Prompt, ...]:
    rng = (seed / "prompts").numpy()
    found: list[Prompt] = []
    for task in TASKS:
        strings = {}
        if task == "table":
            for one, other in _contexts(world, seed).tolist():
                words = [*(WORDS[p] for p in rng.integers(world.words, size=2).tolist()), WORDS[one], WORDS[other]]
                strings[_string(task, words)] = words
        elif task == "list":  # of pairs that no question about `table` is trained on
            pairs = [prompt.string for prompt in found if prompt.task == "table" and prompt.split == "unseen"]
            strings = {pair: pair.split()[1:] for pair in pairs[: world.prompts_of]}
        else:
            for _ in range(20 * world.prompts_of):
                words = world._words(task, seed, rng)
                strings.setdefault(_string(task, words), words)
                if len(strings) == world.prompts_of:
                    break
        names = list(strings)
        held = set(rng.permutation(len(names))[: round(world.tests * len(names))].tolist())
        asks = world._asks(3 if task == "list" else 1)
        for number, string in enumerate(names):
            split: Split = "unseen" if number in held or task in HELD_OUT else "seen"
            found.append(Prompt(f"{task}/{number}", task, string, world._text(task, strings[string]), split, asks))
    return tuple(found)


def _string(task: str, words: Sequence[str]) -> str:
    """What an answer hangs on: a pair in whatever task, a choice in whatever order."""
    if task in ("table", "list"):
        return f"pair {' '.join(words[-2:])}"
    return f"{task} {' '.join(sorted(words) if task == 'choice' else words)}"
