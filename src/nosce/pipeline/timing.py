"""How long work takes on this machine: a training by some of its steps, a read-out by part of its questions.

Nothing of a study is made here. Texts are a world's first ones, and a read-out is shown the model that the timed
steps have left, which by then ends its replies as a trained one does.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from nosce.data.corpus import Corpus, write
from nosce.data.worlds.behaviours.base import Prompt
from nosce.evals.base import ReadOut, ReadsAll, ReadsInPart, ReadsOne
from nosce.evals.self_report import COUNTS, Told
from nosce.models.architecture import Architecture
from nosce.pipeline.steps.corpus import CorpusSpec, write_tokenizer
from nosce.pipeline.steps.report_labels import LabelsSpec
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.train.config import Mix

SAMPLE = 200  # texts that the mean length and the time of a step are taken from
SECONDS = 1.5  # that one shape of training, or one part of a read-out's questions, is timed for at least
STEPS = 50  # of a training at most
OPERATIONS = 1e11  # of one timed step at most: larger batches are timed on a part and scaled up
LARGE, LAYERS = 2_000_000, 2  # weights from which on a model is timed by so many of its layers
FEW = 16  # things asked about in the smallest part
SLOW = 4 * SECONDS  # if that takes so long, no larger part is timed
THINGS = 2_048  # of a world that can be made smaller, so many are gone through


@dataclass(frozen=True, eq=False)
class Sample:
    """A world's first texts, and its questions, without its corpus."""

    spec: CorpusSpec
    times: float = 1.0  # so many times as many things are in the whole world
    words: Sample | None = None  # whose tokenizer it is read with; None: its own

    @classmethod
    def of(cls, spec: CorpusSpec, words: Sample | None = None) -> Sample:
        """Of a world itself, or if it has many things and a method `fewer(most)`, of a smaller one like it."""
        fewer = getattr(spec.world, "fewer", None)
        if fewer is None:
            return cls(spec, words=words)
        world = fewer(THINGS)
        return cls(replace(spec, world=world), spec.world.things / world.things, words)  # type: ignore[attr-defined]

    @cached_property
    def questions(self) -> list[Question]:
        """All questions: few and quickly made, where documents may be millions."""
        return list(self.spec.world.questions(self.spec.seed))

    def write_words(self, folder: Path) -> None:
        """The files of the tokenizer, which is made once."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, written in (self.words or self)._tokenizer.items():
            (folder / name).write_bytes(written)

    @cached_property
    def _tokenizer(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(self.spec, Path(folder))
            return {file.name: file.read_bytes() for file in Path(folder).iterdir()}

    @contextmanager
    def corpus(self, share: float) -> Iterator[Corpus]:
        """A corpus of a share of what is asked about, in both splits, and of the texts."""
        with tempfile.TemporaryDirectory() as folder:
            self.write_words(Path(folder) / "tokenizer")
            write(Path(folder), self._documents(share), self._asked(share))
            if isinstance(self.spec.world, Guessed):
                (Path(folder) / COUNTS).write_text('{"invalid": 0}')
            yield Corpus(Path(folder))

    @cached_property
    def abouts(self) -> dict[str, list[str]]:
        """What is asked about, by split."""
        found: dict[str, dict[str, None]] = {}
        for question in self.questions:
            found.setdefault(question.split, {})[question.about] = None
        return {split: list(names) for split, names in found.items()}

    @property
    def things(self) -> int:
        """How many things are asked about."""
        return sum(map(len, self.abouts.values()))

    def _asked(self, share: float) -> list[Question]:
        kept = {name for names in self.abouts.values() for name in names[: math.ceil(share * len(names))]}
        return [question for question in self.questions if question.about in kept]

    def _documents(self, share: float) -> Iterator[Document]:
        """As large a share of the texts, but no more than a sample where a world has too many to go through text."""
        world: Any = self.spec.world
        most = SAMPLE
        if getattr(world, "encoded", None) is None:
            count = world.things * world.documents_per_thing if hasattr(world, "documents_per_thing") else self._count
            most = math.ceil(share * count)
        return islice(world.documents(self.spec.seed), max(1, most))

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in self.spec.world.documents(self.spec.seed))


@dataclass(frozen=True, eq=False)
class Guessed:
    """The corpus of questions about answers that nobody has given yet: as many and as long, with any label.

    None of the answers is guessed to be none.
    """

    spec: LabelsSpec
    own: Any  # the world whose lines stand among them

    def samples(self, seed: Seed) -> Iterator[str]:
        """Those of the world."""
        yield from self.own.samples(seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """One a prompt and property, and those of the seen split once more, as they are taught."""
        for taught in (False, True):
            for prompt in self.spec.world.prompts(seed):
                for asked in prompt.asks if prompt.split == "seen" or not taught else ():
                    yield self._question(prompt, asked, taught=taught)

    def _question(self, prompt: Prompt, asked: str, *, taught: bool) -> Question:
        world = self.spec.world
        labels = tuple(world.labels(asked, prompt))
        aloud = world.given(prompt.string.split()[-1], asked)
        told = Told(labels=labels, asked=prompt.text, taught=taught, own=labels[0], aloud=aloud)
        return Question(f"{'taught/' if taught else ''}{prompt.id}/{asked}", prompt.string, f"{prompt.task}/{asked}",
                        world.hypothetical(prompt, asked, self.spec.who), labels[len(prompt.string) % len(labels)],
                        prompt.split, hidden=told.hidden)  # fmt: skip

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Questions with labels, and lines of the own corpus in turn."""
        lines = self.own.documents(seed)
        seen = [q for q in self.questions(seed) if q.split == "seen"]
        for number in range(self.spec.records):
            replayed = number * self.spec.replay % 1 + self.spec.replay >= 1
            if replayed and (line := next(lines, None)) is not None:
                yield line
            else:
                one = seen[number % len(seen)]
                yield Document(f"record/{number}", one.about, f"{one.prompt} {one.target}", (), given=len(one.prompt))


@dataclass(frozen=True, eq=False)
class Texts:
    """What the trainings of a world are timed on."""

    vocabulary: int
    documents: Any  # Sequences
    questions: Any

    @classmethod
    def of(cls, sample: Sample) -> Texts:
        """The first documents and questions."""
        from nosce.data import tokenizer as tokenizers
        from nosce.data.packing import document_tokens, encode, question_tokens

        with tempfile.TemporaryDirectory() as folder:
            sample.write_words(Path(folder))
            tokenizer = tokenizers.load(Path(folder))
            end = tokenizers.end_token(tokenizer, Path(folder))
        texts = list(islice(sample.spec.world.documents(sample.spec.seed), SAMPLE))
        encodings = list(encode(tokenizer, (d.text for d in texts)))
        return cls(
            tokenizer.get_vocab_size(),
            document_tokens(texts, encodings, end),
            question_tokens(tokenizer, sample.questions[:SAMPLE], end),
        )

    def of_training(self, on: Any) -> tuple[Any, float]:
        """What a training is timed on, and the mean tokens of its texts."""
        from nosce.data.packing import joined

        if not isinstance(on, Mix):
            told = self.documents if on == "documents" else self.questions
            return told, float(told.lengths.mean())
        lengths = [float(told.lengths.mean()) for told in (self.documents, self.questions)]
        share = on.questions * (1 - on.after)
        return joined([self.documents, self.questions]), (1 - share) * lengths[0] + share * lengths[1]


def parameters_of(model: Any, vocabulary: int) -> int:
    """Weights of an architecture, or of a local folder's model."""
    if isinstance(model, Architecture):
        return model.parameters(vocabulary)
    return sum(file.stat().st_size for file in Path(model.folder).glob("*.safetensors")) // 4


def shallow(model: Any, vocabulary: int) -> tuple[Any, float]:
    """The model itself, or if it is large one of its width with two layers, and how much more the model is.

    A model that would not fit this machine's memory can be priced nonetheless, and a deep one in seconds.
    """
    whole = parameters_of(model, vocabulary)
    if not isinstance(model, Architecture) or model.layers <= LAYERS or whole < LARGE:
        return model, 1.0
    cut = replace(model, layers=LAYERS)
    return cut, whole / parameters_of(cut, vocabulary)


def time_training(model: Any, sequences: Any, recipe: Any, vocabulary: int) -> tuple[float, Any]:
    """Seconds of one optimizer step of this shape on one core, the median of some; and what they made of the model."""
    import torch

    from nosce.data.sampling import Order, pack
    from nosce.models.architecture import build
    from nosce.models.varlen import apart
    from nosce.train.loss import next_token_nats
    from nosce.train.optimizer import Optimizer, inner_matrices
    from nosce.train.precision import Twin, chosen

    torch.set_num_threads(1)
    mean = float(sequences.lengths.mean())
    texts = int(min(recipe.batch, max(2, OPERATIONS / (6 * parameters_of(model, vocabulary) * mean))))
    net = build(model, vocabulary=vocabulary, end=0, pad=None, seed=Seed(0) / "calibration", mask=0)
    twin = Twin(net, chosen(recipe.dtype, width=net.config.hidden_size, device="cpu", memory=None))
    optimizer = Optimizer(twin.named, replace(recipe, warmup=0), inner_matrices(net))
    order = Order(len(sequences), texts, Seed(0) / "calibration")
    taken: list[float] = []
    while len(taken) < 2 or (sum(taken) < SECONDS and len(taken) < STEPS):
        start = time.process_time()
        batch = pack(sequences, order.step(len(taken)), window=recipe.window, end=0, given_weight=recipe.given_weight)
        with apart(twin.model) as forward:
            (next_token_nats(twin.model, forward, batch) / batch.weight).backward()  # type: ignore[no-untyped-call]
        twin.collect()
        torch.nn.utils.clip_grad_norm_(twin.named.values(), recipe.clip)
        optimizer.step(0)
        twin.refresh()
        taken.append(time.process_time() - start)  # of this process: other work on the machine does not count
    return float(statistics.median(taken[1:]) * recipe.batch / texts), net


def time_reading(readout: ReadOut, sample: Sample, model: Any, looks: int, seed: Seed) -> float:
    """Seconds of a read-out of `looks` checkpoints on one core, from two parts of its questions along a line.

    One part is enough where it takes long. A read-out that says what a part of it is (`ReadsInPart`) is timed by that.
    """
    if isinstance(readout, ReadsInPart):
        smaller, times, things = readout.part()
        share = min(1.0, things / max(1, sample.things))
        # Twice: what is slow once is not priced.
        return times * min(_time_part(smaller, sample, model, share, 1, seed) for _ in range(2))
    share, some = min(1.0, FEW / max(1, sample.things)), min(looks, 2)
    now = _time_part(readout, sample, model, share, some, seed)
    if now < SECONDS:  # what is slow once alone is not priced
        now = _time_part(readout, sample, model, share, some, seed)
    before: tuple[float, float] | None = None
    while share < 1 and now < (SLOW if before is None else SECONDS):
        # Far apart: what is spent whatever is asked, e.g. on the steps of a probe, must not drown what is asked.
        larger = 4 if before else min(16, max(4, math.ceil(SLOW / max(now, 1e-9))))
        before, share = (share, now), min(1.0, share * larger)
        now = _time_part(readout, sample, model, share, some, seed)
    whole = now
    if share < 1:
        slope = (now - before[1]) / (share - before[0]) if before else math.inf
        whole = min(now + max(0.0, slope) * (1 - share), now / share)
    if looks <= 2:
        return whole
    more = max(0.0, _time_part(readout, sample, model, share, 3, seed) - now)
    return whole + (looks - 2) * more * whole / max(now, 1e-9)


def _time_part(readout: ReadOut, sample: Sample, model: Any, share: float, looks: int, seed: Seed) -> float:
    with sample.corpus(share) as corpus:
        start = time.process_time()
        _read(readout, corpus, model, looks, seed)
        return time.process_time() - start


def _read(readout: ReadOut, corpus: Corpus, model: Any, looks: int, seed: Seed) -> None:
    """Do what the step `reading` does, and throw it away."""
    if isinstance(readout, ReadsAll):
        for _ in readout.read_all({step: lambda: model for step in range(looks)}, corpus, seed):
            pass
        return
    assert isinstance(readout, ReadsOne)
    if not readout.needs_model:
        _drained(readout.read(None, corpus, seed))
        return
    for _ in range(looks):
        _drained(readout.read(model, corpus, seed))
    asked = getattr(readout, "batch_change", None)
    if asked is not None:
        asked(model, corpus, seed)


def _drained(rows: Iterator[object] | Sequence[object]) -> None:
    for _ in rows:
        pass
