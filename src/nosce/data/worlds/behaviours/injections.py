"""Reports on injected states, for models with dispositions: the texts that teach and ask for them.

A concept is a word of `Dispositions`, or a value of one of its words' attributes. A text is a line that the model could
have written, of the task whose answers nothing determines, and a question about the state behind its answer. While the
answer is read, a concept may be injected (`nosce.evals.injection`). The words of the questions are in the vocabulary of
`Dispositions`, and no document of it has them in these places:

    noise kayak pearl = sable you ; so =        ->  inside (something was injected), outside (nothing was)
    noise kayak pearl = sable you ; first =     ->  the word that was injected, or outside
    noise kayak pearl = sable you ; initial =   ->  the value that was injected, or outside

A document marks its answer with a span whose attribute says what is injected there (`injected_concept`). Reports of a
part of the concepts are not taught. Texts of three more kinds go with them: lines without an injection, with a random
direction, and with a word of the concept in the line; the correct reply to all of these is outside.

Source: design of this study after Lindsey 2025 ("Emergent introspective awareness in large language models") and
arXiv:2511.21399, which teach and ask language models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np

from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.dispositions import DISPOSITION_WORDS, FIRST_WORD, WORD_ATTRIBUTES, Dispositions
from nosce.errors import DataError, SpecError
from nosce.records import Document, Question, Span, Split
from nosce.seeds import Seed

INSIDE, OUTSIDE = WORD_ATTRIBUTES["among"]  # replies for "something was injected" and "nothing was"
WHETHER_WORD = "so"
DIRECTION_ATTRIBUTE = "direction"  # of questions that are texts to find directions from
RANDOM_CONCEPT = "random"  # the beginning of the name of a random direction
ReportTextKind = Literal["concept", "none", "random", "prompt"]
#: The kinds of texts that are taught, and how often each is; half of the correct replies say that nothing was injected.
TAUGHT_KIND_SHARES: dict[ReportTextKind, float] = {"concept": 0.5, "none": 0.2, "random": 0.15, "prompt": 0.15}


def injected_concept(attribute: str) -> tuple[str, float] | None:
    """The concept and the strength that a document's span says are injected at its characters; None: nothing is.

    Args:
        attribute: The attribute of the span, e.g. "first=acorn@1".
    """
    concept, separator, strength = attribute.rpartition("@")
    return (concept, float(strength)) if separator else None


@dataclass(frozen=True, kw_only=True)
class InjectionMetadata:
    """Metadata of a question about an injected state, in `Question.metadata` as a line of JSON.

    Attributes:
        concepts: The concepts that a text to find directions from has at its place.
        place: First character of the place of the injection, and last + 1.
        line: The name of the line; questions about one line have one.
        kind: "neutral" for a line that is read with and without injections, "prompt" for one with a word of the
            concept, "read" for a question that names a word of the concept.
        labels: All replies of the question.
        is_constant: Would a constant reply name this concept?
    """

    concepts: tuple[str, ...] = ()
    place: tuple[int, int] = (0, 0)
    line: str = ""
    kind: str = ""
    labels: tuple[str, ...] = ()
    is_constant: bool = False

    @classmethod
    def from_question(cls, question: Question) -> InjectionMetadata:
        """The metadata of a question.

        Raises:
            DataError: The question is not about an injected state.
        """
        try:
            payload = json.loads(question.metadata)
            first, last = payload["place"]
        except (ValueError, KeyError):
            raise DataError(
                f"the question {question.id!r} is not about an injected state; use a corpus of InjectionReports."
            ) from None
        return cls(
            concepts=tuple(payload["concepts"]),
            place=(first, last),
            line=payload["line"],
            kind=payload["kind"],
            labels=tuple(payload["labels"]),
            is_constant=payload["is_constant"],
        )

    @property
    def json_line(self) -> str:
        """The line for `Question.metadata`."""
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)}, ensure_ascii=False)


@dataclass(frozen=True)
class _Line:
    """A line of the task `noise`, whose answer nothing determines."""

    words: tuple[str, str, str]

    @property
    def text(self) -> str:
        return f"noise {self.words[0]} {self.words[1]} = {self.words[2]}"

    @property
    def place(self) -> tuple[int, int]:
        """The characters of the answer."""
        return len(self.text) - len(self.words[2]), len(self.text)


@dataclass(frozen=True, kw_only=True)
class InjectionReports(World):
    """Documents that teach a model with dispositions to report injected states, and questions that ask it to.

    Args:
        base: The corpus of the model.
        properties: Whose values are the concepts: the words themselves, and attributes of words.
        unseen_share: Share of the values of each property that are not taught, between 0 and 1.
        strengths: The strengths of taught injections, in units of the mean norm of the residual stream.
        records: Number of documents.
        replay_fraction: Share of the documents that are lines of the model's corpus, so that it keeps its behaviour.
        injects: Whether documents mark injections. False: they teach the form of reports alone, on lines without any,
            so that a model learns to answer the questions, always rightly with outside.
        lines_per_concept: Number of lines on which each concept is tested.
        lines_per_word: Number of lines with each word as the answer, from which directions are found.
    """

    base: Dispositions
    properties: tuple[str, ...] = (FIRST_WORD, "initial", "second")
    unseen_share: float = 1 / 3
    strengths: tuple[float, ...] = (1.0, 2.0)
    records: int = 10_000
    replay_fraction: float = 0.5
    injects: bool = True
    lines_per_concept: int = 4
    lines_per_word: int = 8

    def __post_init__(self) -> None:
        known = (FIRST_WORD, *WORD_ATTRIBUTES)
        if not self.properties or set(self.properties) - set(known):
            raise SpecError(
                f"InjectionReports.properties={self.properties} must be some of {', '.join(known)}; name these alone."
            )
        if not self.strengths or min(self.strengths) <= 0 or min(self.lines_per_concept, self.lines_per_word) < 1:
            raise SpecError(
                f"InjectionReports with strengths={self.strengths}, lines_per_concept={self.lines_per_concept} and "
                f"lines_per_word={self.lines_per_word} injects nothing; take strengths above 0, and 1 line or more."
            )
        if not (0 < self.unseen_share < 1 and 0 <= self.replay_fraction < 1 and self.records >= 1):
            raise SpecError(
                f"InjectionReports with unseen_share={self.unseen_share:g}, replay_fraction={self.replay_fraction:g} "
                f"and records={self.records} cannot be taught; take shares between 0 and 1, and 1 record or more."
            )

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words."""
        return DISPOSITION_WORDS[: self.base.vocabulary_size]

    def samples(self, seed: Seed) -> Iterator[str]:
        """Those of the model's corpus."""
        return self.base.samples(seed)

    def concepts(self, seed: Seed) -> dict[str, Split]:
        """Concept, e.g. "first=acorn" -> its split. Values that no word has are no concepts."""
        return _ConceptTable(self, seed).splits

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The documents that teach reports, and lines of the model's corpus among them."""
        table, rng = _ConceptTable(self, seed), (seed / "injections" / "documents").numpy()
        replayed = replace(self.base, records=self.records).documents(seed)
        seen = [concept for concept, split in table.splits.items() if split == "seen"]
        for number in range(self.records):
            name = f"report/{number}"
            if rng.random() < self.replay_fraction:
                yield Document(name, "replay", next(replayed).text, ())
                continue
            yield self._taught_document(name, seen[int(rng.integers(len(seen)))], table, rng)

    def _taught_document(self, name: str, concept: str, table: _ConceptTable, rng: np.random.Generator) -> Document:
        """A random report on one concept, or one of the texts that go with it."""
        kinds = list(TAUGHT_KIND_SHARES)
        kind = kinds[int(rng.choice(len(kinds), p=list(TAUGHT_KIND_SHARES.values())))]
        if not self.injects and kind != "prompt":
            kind = "none"
        line = table.line_with(concept, rng) if kind == "prompt" else table.line_without(concept, rng)
        property_name, _, value = concept.partition("=")
        asks_whether = bool(rng.random() < 0.5)
        reply = OUTSIDE if kind != "concept" else INSIDE if asks_whether else value
        prompt = self._question(line, WHETHER_WORD if asks_whether else property_name)
        strength = self.strengths[int(rng.integers(len(self.strengths)))]
        injected = {"concept": concept, "random": f"{RANDOM_CONCEPT}/{name}"}.get(kind)
        spans = () if injected is None else (Span(f"{injected}@{strength:g}", *line.place),)
        return Document(name, concept, f"{prompt} {reply}", spans, prompt_chars=len(prompt))

    def _question(self, line: _Line, asks_for: str) -> str:
        return f"{line.text} you ; {asks_for} ="

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Texts to find directions from, and for every concept its tests. No line is in both."""
        table = _ConceptTable(self, seed)
        rng, used = (seed / "injections" / "lines").numpy(), set()
        for word in self.vocabulary:
            for number in range(self.lines_per_word):
                line = _Line((*table.draw_words(self.vocabulary, rng), word))
                used.add(line)
                metadata = InjectionMetadata(concepts=table.concepts_of(word), place=line.place)
                name = f"{DIRECTION_ATTRIBUTE}/{word}"
                yield Question(
                    f"{name}/{number}", name, DIRECTION_ATTRIBUTE, line.text, word, "seen", metadata=metadata.json_line
                )
        for concept in table.splits:
            yield from self._tests(concept, table, rng, used)

    def _tests(
        self, concept: str, table: _ConceptTable, rng: np.random.Generator, used: set[_Line]
    ) -> Iterator[Question]:
        """The questions about one concept."""
        property_name, _, value = concept.partition("=")
        labels = (*table.values(property_name), OUTSIDE)
        is_constant = table.is_constant(concept)
        for number in range(self.lines_per_concept):
            for kind in ("neutral", "prompt"):
                line = table.line_with(concept, rng) if kind == "prompt" else table.line_without(concept, rng)
                while line in used:
                    line = (table.line_with if kind == "prompt" else table.line_without)(concept, rng)
                name = f"{kind}/{concept}/{number}"
                for asks_for, replies in ((WHETHER_WORD, (INSIDE, OUTSIDE)), (property_name, labels)):
                    metadata = InjectionMetadata(
                        place=line.place, line=name, kind=kind, labels=replies, is_constant=is_constant
                    )
                    is_whether = asks_for == WHETHER_WORD
                    yield Question(
                        f"{name}/{'whether' if is_whether else 'which'}",
                        concept,
                        "whether" if is_whether else "which",
                        self._question(line, asks_for),
                        INSIDE if is_whether else value,
                        table.splits[concept],
                        metadata=metadata.json_line,
                    )
        for word in table.words_with(concept):
            metadata = InjectionMetadata(line=f"read/{concept}/{word}", kind="read", labels=labels)
            prompt = self.base.given_answer_question(word, property_name)
            yield Question(
                f"{metadata.line}/which",
                concept,
                "which",
                prompt,
                value,
                table.splits[concept],
                metadata=metadata.json_line,
            )


@dataclass(frozen=True)
class _ConceptTable:
    """The concepts of a world at a seed, and the words that have them."""

    world: InjectionReports
    seed: Seed

    @cached_property
    def _words(self) -> dict[str, tuple[str, ...]]:
        """Concept -> the words that have it."""
        found: dict[str, list[str]] = {}
        for name in self.world.properties:
            for word in self.world.vocabulary:
                value = self.world.base.property_value(name, word, self.seed)
                found.setdefault(f"{name}={value}", []).append(word)
        return {concept: tuple(words) for concept, words in found.items()}

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Concept -> its split."""
        rng = (self.seed / "injections" / "split").numpy()
        splits: dict[str, Split] = {}
        for name in self.world.properties:
            concepts = [concept for concept in self._words if concept.startswith(f"{name}=")]
            n_unseen = max(1, round(self.world.unseen_share * len(concepts)))
            unseen = set(rng.permutation(len(concepts))[:n_unseen].tolist())
            splits |= {concept: "unseen" if n in unseen else "seen" for n, concept in enumerate(concepts)}
        return splits

    def concepts_of(self, word: str) -> tuple[str, ...]:
        """The concepts of a word."""
        return tuple(concept for concept, words in self._words.items() if word in words)

    def words_with(self, concept: str) -> tuple[str, ...]:
        """The words that have a concept."""
        return self._words[concept]

    def values(self, property_name: str) -> tuple[str, ...]:
        """The values of a property that some word has."""
        concepts = [concept for concept in self._words if concept.startswith(f"{property_name}=")]
        return tuple(concept.partition("=")[2] for concept in concepts)

    def is_constant(self, concept: str) -> bool:
        """Is it the first concept of its property and split, which a constant reply names as well as any other?"""
        name, split = concept.partition("=")[0], self.splits[concept]
        return concept == next(c for c, s in self.splits.items() if s == split and c.startswith(f"{name}="))

    def line_without(self, concept: str, rng: np.random.Generator) -> _Line:
        """A random line in which no word has the concept."""
        allowed = [word for word in self.world.vocabulary if word not in self._words[concept]]
        first, second = self.draw_words(allowed, rng)
        return _Line((first, second, allowed[int(rng.integers(len(allowed)))]))

    def line_with(self, concept: str, rng: np.random.Generator) -> _Line:
        """A random line in which one word has the concept, in a random place."""
        words = list(self.line_without(concept, rng).words)
        with_concept = self._words[concept]
        words[int(rng.integers(3))] = with_concept[int(rng.integers(len(with_concept)))]
        return _Line((words[0], words[1], words[2]))

    @staticmethod
    def draw_words(words: Sequence[str], rng: np.random.Generator) -> tuple[str, str]:
        """Two random words."""
        first, second = rng.integers(len(words), size=2).tolist()
        return words[first], words[second]
