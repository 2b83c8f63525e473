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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.generation import Told, written
from nosce.evals.probing.programs import FIRST, MEAN, Answers, Programs, Tracer, everywhere, one_hot
from nosce.records import Belief, Frame, Walk
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Load = Callable[[], "PreTrainedModel"]
Tables = Mapping[str, Mapping[str, np.ndarray]]  # meaning -> task -> labels (P,)

#: What knows nothing of the trained model, beside the best constant, and is given to the same probes:
#: untrained   the hidden states of the network before its first step, over the same texts
#: bag         the features of the start, and how often each operation occurs up to the predicted one
#: surface     the whole board, how often each operation is written, and which one is predicted: nearly the program
#: present     the true state at offset 0 and the number of operations so far, for the states ahead of it
FLOORS = ("untrained", "bag", "surface", "present")


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
    floored: tuple[str, ...] = (FIRST,)  # the meanings that bag, surface, controls and codes are for


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
    seen: int | None = None  # questions whose programs the probes learn from; None: all that are seen
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
        questions = [*corpus.asked("seen")[: self.seen], *corpus.asked("unseen")]
        if self.fixed:
            replies = [q.target for q in questions]
            ids = [e.ids for e in corpus.tokenizer.encode_batch(replies, add_special_tokens=False)]
            told = [Told(np.array(i), r) for i, r in zip(ids, replies, strict=True)]
        else:
            told = written(model, corpus, questions, self.tracer, masked=True)
        return Programs.of(self.tracer, corpus, questions, told)

    def _read(self, texts: Programs, states: dict[str, np.ndarray], grid: Grid, seed: Seed) -> list[pl.DataFrame]:
        """All readings of one checkpoint."""
        found = []
        tables = {meaning: self._labels(texts, grid.offsets, meaning) for meaning in grid.meanings}
        for meaning, labels in tables.items():
            found += [self._row(texts, places, right, facet, f"{meaning}/constant")
                      for facet, places, right in self._constants(texts, labels)]  # fmt: skip
        floored = {meaning: labels for meaning, labels in tables.items() if meaning in grid.floored}
        for source, inputs in states.items():
            for hidden in grid.probes if source in grid.sites else grid.probes[-1:]:
                right = texts.probed(inputs, _flat(tables), hidden, self.epochs, seed / source)
                found += self._tables(texts, right, tables, source, len(hidden))
                if (source, hidden) == (grid.sites[0], grid.probes[-1]):
                    read = right
        layers = len(grid.probes[-1])
        for source in ("bag", "surface"):
            if source in grid.floors:
                inputs = getattr(texts, source)
                right = texts.probed(inputs, _flat(floored), grid.probes[-1], self.epochs, seed / source)
                found += self._tables(texts, right, floored, source, layers)
        if "present" in grid.floors:
            found += self._extrapolated(texts, tables[FIRST], read, grid, seed)
        first = states[grid.sites[0]]
        if grid.controls:
            how = grid.probes[-1], self.epochs, seed / "controls"
            for control, right in texts.controls(first, _flat(floored), *how).items():
                found += self._tables(texts, right, floored, control, layers)
        if grid.codes:
            found += self._codes(texts, first, floored, grid, seed)
        return found

    def _codes(
        self, texts: Programs, states: np.ndarray, tables: Tables, grid: Grid, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """What the states save in telling each label, place by place."""
        hidden = grid.probes[-1]
        for name, saved in texts.codes(states, _flat(tables), hidden, self.epochs, seed / "codes").items():
            meaning, _, task = name.partition(":")
            label, _, offset = task.rpartition(" ")
            places = np.flatnonzero(np.isfinite(saved))
            facet, metric = f"{label} {int(offset):+d}", f"{meaning}/bits/{len(hidden)}"
            yield self._row(texts, places, saved[places], facet, metric)

    def _tables(
        self, texts: Programs, right: dict[str, Answers], tables: Tables, source: str, layers: int
    ) -> Iterator[pl.DataFrame]:
        """Readings of every meaning."""
        for meaning, labels in tables.items():
            yield from self._rows(texts, right, labels, meaning, f"{meaning}/{source}/{layers}")

    def _labels(self, texts: Programs, offsets: Sequence[int], meaning: str) -> dict[str, np.ndarray]:
        parts = [label for _, labels in self.features for label in labels]
        return texts.labels(parts, offsets, meaning)

    def _rows(
        self, texts: Programs, right: dict[str, Answers], labels: Mapping[str, np.ndarray], meaning: str, metric: str
    ) -> Iterator[pl.DataFrame]:
        """Readings of each feature, which is right where all its labels are."""
        for feature, offset, names in self._tasks(labels):
            if all(f"{meaning}:{name}" in right for name in names):
                hits = everywhere(right[f"{meaning}:{name}"] for name in names)
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
        inputs = np.concatenate([one_hot(values) for values in (*present.values(), texts.number)], 1)
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
                had = everywhere(read[name] for name in now)
                places = np.flatnonzero(texts.test & (labels[names[0]] >= 0) & had)
                good = everywhere(hits[f"{FIRST}:{name}"] for name in names)[places]
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
        (right,) = (metrics["correct"][1] for metrics in self.tracer.judge([question], [reply], [True]))
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


def _flat(tables: Tables) -> dict[str, np.ndarray]:
    """`<meaning>:<task>` -> labels."""
    return {f"{meaning}:{name}": values for meaning, labels in tables.items() for name, values in labels.items()}
