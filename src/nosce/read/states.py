"""The read-out `States`: can the states that a written program goes through be read from the hidden states?

While a model writes, the position that predicts an operation has a hidden state; the program, run so far, has a
state of its own, whose features are labels. A probe is trained on the programs that the model wrote for "seen"
questions and tested on those for "unseen" ones. Beside the truth the same probes are trained on what the words
would mean otherwise, and on what knows nothing of the model: the best constant, the start and the operations
written so far, the true present state, an untrained network reading the same texts.

Alignment: offset 0 is the state behind the operation that is being predicted, -1 the one reached by what is
written, +1 that behind an operation not yet begun. The state before the first operation and the one behind the
last are left out at every offset: the prompt shows both.

Source: Jin and Rinard 2024 (arXiv:2305.11169), sections 3 and 4; floors, controls and the fixed programs are ours.
Letters: N programs, T operations, P places (an operation of a program), W width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.read.written import Judge, written
from nosce.records import Belief, Frame, Question, Walk
from nosce.seeds import Seed
from nosce.text.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.read.probes import Probed

Load = Callable[[], "PreTrainedModel"]
MEAN = "mean"  # over layers, as in the paper
FIRST = "original"  # the meaning that the texts have

#: What knows nothing of the trained model, beside the best constant, and is given to the same probes:
#: untrained   the hidden states of the network before its first step, over the same texts
#: bag         the features of the start, and how often each operation occurs up to the predicted one
#: surface     the whole board, how often each operation is written, and which one is predicted: nearly the program
#: present     the true state at offset 0 and the number of operations so far, for the states ahead of it
FLOORS = ("untrained", "bag", "surface", "present")


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


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which probes are trained: every combination of these."""

    offsets: tuple[int, ...] = (0, 1)
    meanings: tuple[str, ...] = (FIRST,)
    probes: tuple[tuple[int, ...], ...] = ((64,),)  # hidden layers
    sites: tuple[str, ...] = (MEAN,)
    floors: tuple[str, ...] = ()  # of FLOORS
    controls: bool = False  # shuffled labels, and labels that can only be memorised, on the first site
    codes: bool = False  # what labels cost to tell, on the first site


@dataclass(frozen=True, kw_only=True)
class States:
    """Probes for the states of programs, on every kept checkpoint and in full on the last.

    Readings have the metric `<meaning>/<source>/<hidden layers>`, the facet `<feature> <offset>` and one row a
    place: was the state read right? Sources are the sites, the floors, and `constant`. For the original meaning
    there are readings again of operations that changed something (facet `<feature> <offset> effective`) and, ahead
    of the present, of places whose present state was read right (`<feature> <offset> given the present`).
    """

    needs_model: ClassVar[bool] = True
    tracer: Tracer
    features: tuple[tuple[str, tuple[str, ...]], ...]  # name -> the labels that must all be right
    last: Grid  # on the last checkpoint
    along: Grid | None = None  # on every checkpoint before
    fixed: bool = False  # read the reference programs instead of the model's own: the same on every checkpoint
    epochs: int = 60  # of a probe's training at most
    walks: int = 0  # programs of the last checkpoint that are kept to be stepped through
    name: str = "states"

    def read_all(self, checkpoints: Mapping[int, Load], corpus: Corpus, seed: Seed) -> Iterator[pl.DataFrame | Walk]:
        """Readings of all checkpoints, the earliest of which is the untrained model; then what can be walked."""
        steps = sorted(checkpoints)
        for step in steps:
            grid = self.last if step == steps[-1] else self.along
            if grid is None:
                continue
            model = checkpoints[step]()
            texts = self._texts(model, corpus)
            if texts is None:
                continue
            states = {site: texts.states(model, site, corpus.end) for site in grid.sites}
            if "untrained" in grid.floors:
                states["untrained"] = texts.states(checkpoints[steps[0]](), MEAN, corpus.end)
            yield pl.concat(self._read(texts, states, grid, seed / step)).with_columns(step=pl.lit(step, pl.Int64))
            if self.walks and step == steps[-1]:
                yield from self._walks(texts, states[grid.sites[0]], grid.probes[-1], seed / step)

    def _texts(self, model: PreTrainedModel, corpus: Corpus) -> Programs | None:
        if self.fixed:
            replies = [q.target for q in corpus.questions]
            ids = [e.ids for e in corpus.tokenizer.encode_batch(replies, add_special_tokens=False)]
            told = [(np.array(i), r) for i, r in zip(ids, replies, strict=True)]
        else:
            told = written(model, corpus, corpus.questions, self.tracer, masked=True)
        return Programs.of(self.tracer, corpus, told)

    def _read(self, texts: Programs, states: dict[str, np.ndarray], grid: Grid, seed: Seed) -> list[pl.DataFrame]:
        """All readings of one checkpoint."""
        found = []
        tables = {meaning: self._labels(texts, grid.offsets, meaning) for meaning in grid.meanings}
        for meaning, labels in tables.items():
            found += [self._row(texts, places, right, facet, f"{meaning}/constant")
                      for facet, places, right in self._constants(texts, labels)]  # fmt: skip
        whole = {f"{meaning}:{name}": values for meaning, labels in tables.items() for name, values in labels.items()}
        sources = dict(states)
        sources |= {name: getattr(texts, name) for name in ("bag", "surface") if name in grid.floors}
        for source, inputs in sources.items():
            for hidden in grid.probes if source in grid.sites else grid.probes[-1:]:
                right = texts.probed(inputs, whole, hidden, self.epochs, seed / source)
                for meaning, labels in tables.items():
                    found += self._rows(texts, right, labels, meaning, f"{meaning}/{source}/{len(hidden)}")
                if (source, hidden) == (grid.sites[0], grid.probes[-1]):
                    read = right
        if "present" in grid.floors:
            found += self._extrapolated(texts, tables[FIRST], read, grid, seed)
        first, layers = states[grid.sites[0]], len(grid.probes[-1])
        if grid.controls:
            for control, right in texts.controls(first, whole, grid.probes[-1], self.epochs, seed / "controls").items():
                for meaning, labels in tables.items():
                    found += self._rows(texts, right, labels, meaning, f"{meaning}/{control}/{layers}")
        if grid.codes:
            for name, saved in texts.codes(first, whole, grid.probes[-1], self.epochs, seed / "codes").items():
                meaning, _, task = name.partition(":")
                label, _, offset = task.rpartition(" ")
                facet, metric = f"{label} {int(offset):+d}", f"{meaning}/bits/{layers}"
                places = np.flatnonzero(np.isfinite(saved))
                found.append(self._row(texts, places, saved[places], facet, metric))
        return found

    def _labels(self, texts: Programs, offsets: Sequence[int], meaning: str) -> dict[str, np.ndarray]:
        parts = [label for _, labels in self.features for label in labels]
        return texts.labels(parts, offsets, meaning)

    def _rows(
        self, texts: Programs, right: dict[str, Answers], labels: dict[str, np.ndarray], meaning: str, metric: str
    ) -> Iterator[pl.DataFrame]:
        """Readings of each feature, which is right where all its labels are."""
        for feature, offset, names in self._tasks(labels):
            if all(f"{meaning}:{name}" in right for name in names):
                hits = _all(right[f"{meaning}:{name}"] for name in names)
                places = np.flatnonzero(texts.test & (labels[names[0]] >= 0))
                facet = f"{feature} {offset:+d}"
                yield self._row(texts, places, hits[places], facet, metric)
                if meaning == FIRST:
                    some = places[texts.effective(offset)[places]]
                    yield self._row(texts, some, hits[some], f"{facet} effective", metric)

    def _tasks(self, labels: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int, list[str]]]:
        offsets = sorted({int(name.rpartition(" ")[2]) for name in labels})
        for feature, parts in self.features:
            for offset in offsets:
                yield feature, offset, [f"{part} {offset}" for part in parts]

    def _constants(
        self, texts: Programs, labels: dict[str, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The most frequent state among the training places, as a guess at the test places."""
        for feature, offset, names in self._tasks(labels):
            joint = np.stack([labels[name] for name in names], 1)
            there = (joint >= 0).all(1)
            known, counts = np.unique(joint[there & ~texts.test], axis=0, return_counts=True)
            places = np.flatnonzero(there & texts.test)
            if len(known) and len(places):
                yield f"{feature} {offset:+d}", places, (joint[places] == known[counts.argmax()]).all(1)

    def _extrapolated(
        self, texts: Programs, labels: dict[str, np.ndarray], read: dict[str, Answers], grid: Grid, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Future states from the true present one and the number of operations so far.

        Then the same once more, and the model's, where the present state was read right from the model: whoever
        does not have the present can hardly be asked what follows from it.
        """
        parts = [label for _, names in self.features for label in names]
        present = texts.labels(parts, (0,), FIRST, edges=True)
        inputs = np.concatenate([_one_hot(values) for values in (*present.values(), texts.number)], 1)
        ahead = {name: values for name, values in labels.items() if int(name.rpartition(" ")[2]) > 0}
        right = texts.probed(inputs, {f"{FIRST}:{k}": v for k, v in ahead.items()}, grid.probes[-1], self.epochs,
                             seed / "present")  # fmt: skip
        layers = len(grid.probes[-1])
        yield from self._rows(texts, right, ahead, FIRST, f"{FIRST}/present/{layers}")
        for source, hits in ((grid.sites[0], read), ("present", right)):
            for feature, offset, names in self._tasks(ahead):
                now = [f"{FIRST}:{part} 0" for part in dict(self.features)[feature]]
                if not all(name in read for name in now) or not all(f"{FIRST}:{name}" in hits for name in names):
                    continue
                had = _all(read[name] for name in now)
                places = np.flatnonzero(texts.test & (labels[names[0]] >= 0) & had)
                good = _all(hits[f"{FIRST}:{name}"] for name in names)[places]
                yield self._row(texts, places, good, f"{feature} {offset:+d} given the present",
                                f"{FIRST}/{source}/{layers}")  # fmt: skip

    def _walks(self, texts: Programs, states: np.ndarray, hidden: tuple[int, ...], seed: Seed) -> Iterator[Walk]:
        """The longest programs for unseen questions, operation by operation beside what the probes say."""
        parts = [part for _, names in self.features for part in names]
        labels = texts.labels(parts, (0,), FIRST, edges=True)  # the last state too: it is to be looked at
        found = texts.probed(states, labels, hidden, self.epochs, seed / "walks")
        if len(found) < len(labels):
            return
        tested = [n for n, question in enumerate(texts.questions) if question.split == "unseen"]
        for text in sorted(tested, key=lambda n: (-int(texts.length[n]), n))[: self.walks]:
            yield self._walk(texts, text, labels, found, len(hidden))

    def _walk(
        self, texts: Programs, text: int, labels: dict[str, np.ndarray], found: dict[str, Answers], layers: int
    ) -> Walk:
        question, reply = texts.questions[text], texts.replies[text]
        before, *pictures = self.tracer.pictures(question, reply)
        frames = [Frame("(start)", before[1], None, ())]
        for place, (word, picture) in zip(np.flatnonzero(texts.text == text), pictures, strict=True):
            said = {name.rpartition(" ")[0]: int(answers.said[place]) for name, answers in found.items()}
            beliefs = tuple(
                Belief(part, self.tracer.named(part, int(labels[name][place])), self.tracer.named(part, said[part]),
                       float(found[name].sure[place]))
                for name in labels if (part := name.rpartition(" ")[0])
            )  # fmt: skip
            frames.append(Frame(word, picture, self.tracer.imagined(question, said), beliefs))
        (right,) = (metrics["correct"][1] for metrics in self.tracer.judge([question], [reply]))
        return Walk(
            title=f"{question.about}: {reply} ({right})",
            caption="Programs that the model wrote, on the first input of their specifications. Read by probes "
            f"with {layers} hidden {'layer' if layers == 1 else 'layers'} from the position that predicts each "
            "operation, before it is written; tested on specifications that no probe was trained on.",
            frames=tuple(frames),
        )

    def _row(self, texts: Programs, places: np.ndarray, right: np.ndarray, facet: str, metric: str) -> pl.DataFrame:
        text = texts.text[places]
        return pl.DataFrame({"about": texts.about[text], "item": texts.items[places],
                             "value": right.astype(np.float64)}).with_columns(
            readout=pl.lit(self.name), split=pl.lit("unseen"), facet=pl.lit(facet), metric=pl.lit(metric))  # fmt: skip


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
    def of(cls, tracer: Tracer, corpus: Corpus, told: Sequence[tuple[np.ndarray, str]]) -> Programs | None:
        """The replies that can be read and have a state between start and end; None where there are too few."""
        kept, tokens, places = [], [], []
        prompts = corpus.tokenizer.encode_batch([q.prompt for q in corpus.questions], add_special_tokens=False)
        for question, prompt, (ids, reply) in zip(corpus.questions, prompts, told, strict=True):
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
        begin = [_one_hot(values)[self.text] for values in self.trace(FIRST).begin().values()]
        counts = np.cumsum(self._kinds, 1)[self.text, self.number - 1].astype(np.int64)
        return np.concatenate([*begin, *(_one_hot(column) for column in counts.T)], 1)

    @property
    def surface(self) -> np.ndarray:
        """The whole start, the counts of operations before, and the predicted one. Shape: (P, F)."""
        before = np.cumsum(self._kinds, 1) - self._kinds
        at = self.text, self.number - 1
        return np.concatenate([self.trace(FIRST).surface()[self.text], before[at], self._kinds[at]], 1)

    @property
    def _kinds(self) -> np.ndarray:
        """Which operation each is, as zeros and a one. Shape: (N, T, kinds)."""
        return _one_hot(self.trace(FIRST).operations)

    def states(self, model: PreTrainedModel, site: str, end: int) -> np.ndarray:
        """Hidden states at the places. Shape: (P, W)."""
        from nosce.models.sites import layers
        from nosce.read.activations import collect
        from nosce.text.packing import collect as sequences

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
        from nosce.read.probes import ProbeSpec, probe

        parts = self._parts(seed)
        fit = {name: values for name, values in tasks.items() if self._can_learn(values, parts)}
        if not fit:
            return {}
        spec = ProbeSpec(hidden=hidden, epochs=epochs)
        found: list[Probed] = probe(inputs, fit, self.about[self.text], parts, spec, seed, controls=False)
        return {one.task: Answers.of(one, len(self.text)) for one in found}

    def controls(
        self, inputs: np.ndarray, tasks: Mapping[str, np.ndarray], hidden: tuple[int, ...], epochs: int, seed: Seed
    ) -> dict[str, dict[str, Answers]]:
        """ "shuffled" and "memorised" -> task -> what a probe answered that was taught other labels.

        What can be memorised is a start and the operations so far: each of them has one label, dealt out at random
        (Hewitt and Liang 2019; the sheet, section 9).
        """
        from nosce.read.probes import ProbeSpec, probe

        parts = self._parts(seed)
        fit = {name: values for name, values in tasks.items() if self._can_learn(values, parts)}
        spec = ProbeSpec(hidden=hidden, epochs=epochs)
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
        from nosce.read.probes import ProbeSpec, online_code

        spec = ProbeSpec(hidden=hidden, epochs=epochs)
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


def _all(answers: Iterable[Answers]) -> np.ndarray:
    """Where all of them are right."""
    right: np.ndarray = np.logical_and.reduce([one.right for one in answers])
    return right


def _one_hot(values: np.ndarray) -> np.ndarray:
    shifted = values - values.min()
    hot: np.ndarray = np.eye(int(shifted.max()) + 1, dtype=np.float32)[shifted]
    return hot
