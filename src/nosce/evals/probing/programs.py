"""Programs with the states they go through, and probes for these in whatever stands at their places.

A place is the position of a text that predicts an operation. What a program does there is asked of the world's
tracer; what probes make of hidden states, of floors and of other labels comes back as answers, one a place.

Letters: N programs, T operations, P places (an operation of a program), W width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.data.corpus import Corpus
from nosce.evals.generation import Judge, Told
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.evals.probing.probe import Probed

MEAN = "mean"  # over layers, as in the paper
FIRST = "original"  # the meaning that the texts have
DECAY = 0.2  # of the probes' weights, as in the released code


class Trace(Protocol):
    """What programs did, operation by operation; behind a program's last one anything may stand."""

    @property
    def operations(self) -> np.ndarray:
        """Which operation each was, as whole numbers. Shape: (N, T)."""
        ...

    @property
    def changed(self) -> np.ndarray:
        """Did the operation do anything? Shape: (N, T)."""
        ...

    def features(self) -> Mapping[str, np.ndarray]:
        """Whole numbers from 0 after every operation, each (N, T)."""
        ...

    def begin(self) -> Mapping[str, np.ndarray]:
        """The features that a state has before the first operation, as whole numbers from 0, each (N,)."""
        ...

    def surface(self) -> np.ndarray:
        """All that the prompt shows of where each program begins, as numbers. Shape: (N, F)."""
        ...


class Tracer(Judge, Protocol):
    """What a world of programs knows about their states."""

    def trace(self, questions: Sequence[Question], replies: Sequence[str], meaning: str) -> Trace:
        """Run every reply."""
        ...

    def operations(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """Where in a reply's tokens its operations stand."""
        ...

    def readable(self, reply: str) -> bool:
        """Has the reply states in step with its words?"""
        ...

    def pictures(self, question: Question, reply: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """How the world looks before and after every operation, with the word that stands for it."""
        ...

    def imagined(self, question: Question, believed: Mapping[str, int]) -> tuple[str, ...] | None:
        """How it would look where features had these values, or None where it cannot."""
        ...

    def named(self, feature: str, value: int) -> str:
        """A feature's value in words."""
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """What a probe said at the places that were tested; elsewhere it is wrong, and says 0. Shapes: (P,)."""

    right: np.ndarray
    said: np.ndarray
    sure: np.ndarray

    @classmethod
    def of(cls, probed: Probed, places: int) -> Answers:
        """The probe's answers, spread over all places."""
        found = cls(np.zeros(places, dtype=bool), np.zeros(places, dtype=np.int64), np.zeros(places))
        found.right[probed.places], found.said[probed.places] = probed.right, probed.answers
        found.sure[probed.places] = probed.sure
        return found


@dataclass(frozen=True, eq=False)
class Programs:
    """Programs with the places at which their states are looked for."""

    tracer: Tracer
    questions: list[Question]
    tokens: list[np.ndarray]  # prompt and reply
    replies: list[str]
    text: np.ndarray  # (P,) which program a place belongs to
    number: np.ndarray  # (P,) which operation, counted from 1
    token: np.ndarray  # (P,) the place in the text that predicts it; -1 is the opening end token
    length: np.ndarray  # (N,) operations
    traces: dict[str, Trace] = field(default_factory=dict)  # by meaning, as they are asked for

    @classmethod
    def of(cls, tracer: Tracer, corpus: Corpus, questions: Sequence[Question], told: Sequence[Told]) -> Programs | None:
        """The replies that can be read and have a state between start and end; None where there are too few."""
        kept, tokens, places = [], [], []
        prompts = corpus.tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        for question, prompt, (ids, reply, _) in zip(questions, prompts, told, strict=True):
            if tracer.readable(reply) and len(at := tracer.operations(corpus.tokenizer, ids)) > 1:
                kept.append((question, reply))
                tokens.append(np.concatenate([prompt.ids, ids]).astype(np.int64))
                places.append(len(prompt.ids) + at - 1)
        sides = {question.split for question, _ in kept}
        if len(sides) < 2:
            return None
        length = np.array([len(at) for at in places])
        return cls(tracer, [q for q, _ in kept], tokens, [r for _, r in kept], np.repeat(np.arange(len(kept)), length),
                   np.concatenate([np.arange(1, n + 1) for n in length]), np.concatenate(places), length)  # fmt: skip

    @property
    def about(self) -> np.ndarray:
        """Which specification each program is for."""
        return np.array([q.about for q in self.questions])

    @property
    def items(self) -> np.ndarray:
        """A name for every place."""
        return np.char.add(np.char.add(self.about[self.text], "/"), self.number.astype(str))

    @property
    def test(self) -> np.ndarray:
        """Which places are tested on: those of unseen specifications."""
        unseen: np.ndarray = np.array([q.split == "unseen" for q in self.questions])[self.text]
        return unseen

    def trace(self, meaning: str) -> Trace:
        """What the programs do, the words meaning this."""
        if meaning not in self.traces:
            self.traces[meaning] = self.tracer.trace(self.questions, self.replies, meaning)
        return self.traces[meaning]

    def labels(
        self, features: Sequence[str], offsets: Sequence[int], meaning: str, *, edges: bool = False
    ) -> dict[str, np.ndarray]:
        """`<feature> <offset>` -> (P,) labels, -1 where there is no such state or the prompt shows it.

        Args:
            edges: Keep the states behind the last operations too.
        """
        found = self.trace(meaning).features()
        labels = {}
        for offset in offsets:
            behind = self.number + offset  # the state behind this operation
            there = (behind >= 1) & (behind < self.length[self.text] + edges)
            for feature in features:
                values = found[feature][self.text, np.clip(behind, 1, self.length[self.text]) - 1]
                labels[f"{feature} {offset}"] = np.where(there, values, -1)
        return labels

    def effective(self, offset: int) -> np.ndarray:
        """Did the operation before the state at this offset change anything? Shape: (P,)."""
        behind = np.clip(self.number + offset, 1, self.length[self.text])
        changed: np.ndarray = self.trace(FIRST).changed[self.text, behind - 1]
        return changed

    @property
    def bag(self) -> np.ndarray:
        """The start's features and the counts of operations up to the predicted one. Shape: (P, F).

        Counts are zeros and a one each, so that a small perceptron can look up what they add up to.
        """
        begin = [one_hot(values)[self.text] for values in self.trace(FIRST).begin().values()]
        counts = np.cumsum(self._kinds, 1)[self.text, self.number - 1].astype(np.int64)
        return np.concatenate([*begin, *(one_hot(column) for column in counts.T)], 1)

    @property
    def surface(self) -> np.ndarray:
        """The whole start, the counts of operations before, and the predicted one. Shape: (P, F)."""
        before = np.cumsum(self._kinds, 1) - self._kinds
        at = self.text, self.number - 1
        return np.concatenate([self.trace(FIRST).surface()[self.text], before[at], self._kinds[at]], 1)

    @property
    def _kinds(self) -> np.ndarray:
        """Which operation each is, as zeros and a one. Shape: (N, T, kinds)."""
        return one_hot(self.trace(FIRST).operations)

    def states(self, model: PreTrainedModel, site: str, end: int) -> np.ndarray:
        """Hidden states at the places. Shape: (P, W)."""
        from nosce.data.packing import collect as sequences
        from nosce.models.activations import collect
        from nosce.models.hooks import layers

        named = layers(model) if site == MEAN else [site]
        texts = sequences((ids, np.ones(len(ids), dtype=bool)) for ids in self.tokens)
        places = pl.DataFrame({"text": self.text, "token": self.token})
        with tempfile.TemporaryDirectory() as folder:
            found = collect(model, texts, places, named, Path(folder), end=end)
            return np.mean([found.at(name) for name in named], axis=0)  # type: ignore[no-any-return]

    def probed(
        self, inputs: np.ndarray, tasks: Mapping[str, np.ndarray], hidden: tuple[int, ...], epochs: int, seed: Seed
    ) -> dict[str, Answers]:
        """Task -> what a probe of it answered. Tasks of which nothing can be learnt, as all is alike, are left out."""
        from nosce.evals.probing.probe import ProbeSpec, probe

        parts = self._parts(seed)
        fit = {name: values for name, values in tasks.items() if self._can_learn(values, parts)}
        if not fit:
            return {}
        spec = ProbeSpec(hidden=hidden, epochs=epochs, decay=DECAY)
        found: list[Probed] = probe(inputs, fit, self.about[self.text], parts, spec, seed, controls=False)
        return {one.task: Answers.of(one, len(self.text)) for one in found}

    def controls(
        self, inputs: np.ndarray, tasks: Mapping[str, np.ndarray], hidden: tuple[int, ...], epochs: int, seed: Seed
    ) -> dict[str, dict[str, Answers]]:
        """ "shuffled" and "memorised" -> task -> what a probe answered that was taught other labels.

        What can be memorised is a start and the operations so far: each of them has one label, dealt out at random
        (Hewitt and Liang 2019; the sheet, section 9).
        """
        from nosce.evals.probing.probe import ProbeSpec, probe

        parts = self._parts(seed)
        fit = {name: values for name, values in tasks.items() if self._can_learn(values, parts)}
        spec = ProbeSpec(hidden=hidden, epochs=epochs, decay=DECAY)
        found = probe(inputs, fit, self.about[self.text], parts, spec, seed, kinds=self.kinds) if fit else []
        spread: dict[str, dict[str, Answers]] = {"shuffled": {}, "memorised": {}}
        for one in found:
            for control, right in (("shuffled", one.shuffled), ("memorised", one.memorised)):
                assert right is not None
                spread[control][one.task] = Answers.of(replace(one, right=right), len(self.text))
        return spread

    def codes(
        self, inputs: np.ndarray, tasks: Mapping[str, np.ndarray], hidden: tuple[int, ...], epochs: int, seed: Seed
    ) -> dict[str, np.ndarray]:
        """Task -> (P,) bits that the hidden states save in telling its labels; NaN where nothing can be said."""
        from nosce.evals.probing.probe import ProbeSpec, online_code

        spec = ProbeSpec(hidden=hidden, epochs=epochs, decay=DECAY)
        told = online_code(inputs, tasks, self.about[self.text], spec, seed)
        return {name: prior - bits for name, (bits, prior) in told.items()}

    @property
    def kinds(self) -> np.ndarray:
        """A name for the start and the operations up to the predicted one. Shape: (P,)."""
        trace = self.trace(FIRST)
        begin = np.stack(list(trace.begin().values()), 1)
        return np.array(["/".join(map(str, (*begin[text], *trace.operations[text, :number])))
                         for text, number in zip(self.text, self.number, strict=True)])  # fmt: skip

    def _parts(self, seed: Seed) -> np.ndarray:
        """A tenth of the seen specifications chooses when to stop. Shape: (P,)."""
        rng = (seed / "validation").numpy()
        held = rng.random(len(self.questions)) < 0.1
        return np.where(self.test, "test", np.where(held[self.text], "validation", "train"))

    def _can_learn(self, labels: np.ndarray, parts: np.ndarray) -> bool:
        there = labels >= 0
        known = [np.unique(labels[there & (parts == part)]) for part in ("train", "validation", "test")]
        return len(known[0]) > 1 and len(known[1]) > 0 and len(known[2]) > 0


def everywhere(answers: Iterable[Answers]) -> np.ndarray:
    """Where all of them are right."""
    right: np.ndarray = np.logical_and.reduce([one.right for one in answers])
    return right


def one_hot(values: np.ndarray) -> np.ndarray:
    """Zeros and a one for each value, as wide as they differ. Shape: (P, F)."""
    shifted = values - values.min()
    hot: np.ndarray = np.eye(int(shifted.max()) + 1, dtype=np.float32)[shifted]
    return hot
