"""The trials of injected states with a chat model, and the directions of its concepts.

Letters: K concepts, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nosce.evals.injection.chat import (
    DIRECTION_REQUESTS,
    TESTED_EXCHANGES,
    WHETHER_QUESTION,
    ChatEncoder,
    ChatReader,
    ChatRow,
    exchange_with,
    read_question,
    truth_labels,
    which_question,
)
from nosce.evals.injection.directions import ConceptDirections, ConceptText
from nosce.evals.injection.readings import INJECTED_KINDS, InjectionReply, InjectionTrial, TrialKind
from nosce.records import Split
from nosce.seeds import Seed


@dataclass(frozen=True, eq=False, kw_only=True)
class ChatTrials:
    """The trials of some concepts.

    Args:
        words: The concepts, each a word.
        splits: Word -> its split.
        exchanges_per_concept: Neutral exchanges on which each concept is tested.
        grid: The places and strengths of injections.
        encoder: Makes tokens.
        seed: For exchanges and random directions.
    """

    words: tuple[str, ...]
    splits: Mapping[str, Split]
    exchanges_per_concept: int
    grid: Sequence[tuple[str, float]]
    encoder: ChatEncoder
    seed: Seed

    @property
    def n_replies(self) -> int:
        """Number of replies of one model."""
        neutral = len(self.words) * self.exchanges_per_concept
        return 2 * neutral * (1 + len(INJECTED_KINDS) * len(self.grid)) + 3 * len(self.words)

    def directions(self, reader: ChatReader) -> ConceptDirections:
        """The directions of all concepts at every place of the grid, in a model.

        Raises:
            DataError: A concept has no direction, e.g. the only one.
            SpecError: The model has no such place.
        """
        texts = []
        for word in self.words:
            for request in DIRECTION_REQUESTS:
                row = self.encoder.request(request.format(word))
                texts.append(ConceptText(row.tokens, row.span, frozenset([word])))
        return ConceptDirections.from_texts(reader.model, texts, list(dict.fromkeys(site for site, _ in self.grid)))

    def run(self, reader: ChatReader, directions: ConceptDirections) -> Iterator[list[InjectionTrial]]:
        """The trials of one model: first those without an injection, then those of each place and strength."""
        without = self._ask(reader, self._neutral)
        yield [self._trial(case, "none", replies) for case, replies in zip(self._neutral, without, strict=True)]
        prompted = [(word, -1, exchange_with(word)) for word in self.words]
        replies = self._ask(reader, prompted)
        yield [self._trial(case, "prompt", one) for case, one in zip(prompted, replies, strict=True)]
        yield self._reading_trials(reader)
        for site, strength in self.grid:
            for kind in INJECTED_KINDS:
                vectors = np.stack([self._vector(case, kind, directions, site, strength) for case in self._neutral])
                trials = []
                for case, one, plain in zip(
                    self._neutral, self._ask(reader, self._neutral, site, vectors), without, strict=True
                ):
                    trials.append(self._trial(case, kind, one, site, strength, plain[0]))
                yield trials

    @cached_property
    def _neutral(self) -> list[tuple[str, int, tuple[str, str]]]:
        """Concept, number, and a neutral exchange without its word."""
        cases = []
        for word in self.words:
            order = (self.seed / "exchanges" / word).numpy().permutation(len(TESTED_EXCHANGES)).tolist()
            for number in range(self.exchanges_per_concept):
                cases.append((word, number, TESTED_EXCHANGES[order[number % len(order)]]))
        return cases

    def _ask(
        self,
        reader: ChatReader,
        cases: Sequence[tuple[str, int, tuple[str, str]]],
        site: str | None = None,
        vectors: np.ndarray | None = None,
    ) -> list[tuple[InjectionReply, InjectionReply]]:
        """The replies to both questions in each case."""
        both = []
        for question in ("whether", "which"):
            rows = [self.question_row(exchange, question) for _, _, exchange in cases]
            both.append(reader.replies(rows, site, vectors))
        return list(zip(*both, strict=True))

    def question_row(self, exchange: tuple[str, str], question: str) -> ChatRow:
        """An exchange and one of the two questions."""
        text = WHETHER_QUESTION if question == "whether" else which_question(self.words)
        return self.encoder.row(exchange, text, truth_labels(self.words)[question])

    def _reading_trials(self, reader: ChatReader) -> list[InjectionTrial]:
        labels = truth_labels(self.words)["which"]
        rows = [self.encoder.request(read_question(word, self.words), labels) for word in self.words]
        trials = []
        for word, reply in zip(self.words, reader.replies(rows), strict=True):
            trials.append(self._made(word, f"read/{word}", "read", None, reply))
        return trials

    def _vector(
        self,
        case: tuple[str, int, tuple[str, str]],
        kind: TrialKind,
        directions: ConceptDirections,
        site: str,
        strength: float,
    ) -> np.ndarray:
        word, number, _ = case
        if kind == "concept":
            return directions.vector(site, word, strength)
        return directions.random_vector(site, strength, self.seed / "random" / word / number)

    def _trial(
        self,
        case: tuple[str, int, tuple[str, str]],
        kind: TrialKind,
        replies: tuple[InjectionReply, InjectionReply],
        site: str = "",
        strength: float = 0.0,
        without: InjectionReply | None = None,
    ) -> InjectionTrial:
        word, number, _ = case
        return self._made(word, f"{word}/{number}", kind, replies[0], replies[1], site, strength, without)

    def _made(
        self,
        word: str,
        item: str,
        kind: TrialKind,
        whether: InjectionReply | None,
        which: InjectionReply,
        site: str = "",
        strength: float = 0.0,
        without: InjectionReply | None = None,
    ) -> InjectionTrial:
        split = self.splits[word]
        return InjectionTrial(
            item=item,
            entity=word,
            split=split,
            kind=kind,
            label=word,
            site=site,
            strength=strength,
            whether=whether,
            which=which,
            without=without,
            is_constant=word == next(one for one in self.words if self.splits[one] == split),
        )
