"""The step `labels`: what somebody answered, as questions about them to learn from and to be asked.

A corpus like any other (`nosce.data.corpus`), so that it is trained on and asked by what is there already. Documents
are questions about the answers to strings of the seen split, each with its label, and lines of the predictor's own
corpus among them, so that its behaviour stays where it is. Questions are those of both splits, and their targets are
what is so of the answers. Whose answers they are is a matter of the inputs alone: taught are labels of `answers`, and
what is asked may be about somebody else's, `asked`. What there is to know of a question beside its target goes with it
unseen (`Told`).

counts.json    answers that were none, properties not defined of one, labels
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nosce.data import corpus
from nosce.data.worlds.behaviours.base import Behaviours, Prompt, apart
from nosce.errors import DataError, SpecError
from nosce.evals.self_report import Told
from nosce.pipeline.context import Job
from nosce.pipeline.steps.answers import GREEDY
from nosce.records import Document, Question
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LabelsSpec:
    """Which questions are learnt from, how many, in which person, among how much of one's own corpus."""

    world: Behaviours
    world_seed: Seed
    seed: Seed
    records: int  # documents, replayed ones among them
    replay: float = 0.5  # share of them that are lines of the predictor's own corpus
    labels: int | None = None  # how many different ones are taught; None: all
    asks: tuple[str, ...] = ()  # properties that are taught; none: all
    who: str | None = None  # the name under which the one who answered is spoken of; None: you
    leak: bool = False  # teach strings that are tested too: a planted fault

    def __post_init__(self) -> None:
        if self.records < 1 or not 0 <= self.replay < 1 or (self.labels is not None and self.labels < 1):
            raise SpecError(
                f"labels of {self.records} records, {self.replay:g} of them replayed, teach nothing; take a record and "
                "a label, and a share below 1."
            )


@dataclass
class _Counts:
    """What became of the answers."""

    invalid: int = 0
    undefined: int = 0
    labels: int = 0
    by_split: dict[str, int] = field(default_factory=dict)


def make(spec: LabelsSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write the corpus; inputs are the predictor's own `corpus` and `answers`, and perhaps `asked` and `own`.

    Raises:
        DataError: No answer to a string of the seen split has a label.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    shutil.copytree(inputs["corpus"] / "tokenizer", job.folder / "tokenizer")
    prompts = spec.world.prompts(spec.world_seed)
    apart(prompts)
    counts = _Counts()
    learnt = _taught(spec, list(_questions(spec, prompts, Answered.at(inputs["answers"]))))
    if not learnt:
        raise DataError("no answer to a string of the seen split has a label, so that there is nothing to learn from.")
    corpus.write(job.folder, _documents(spec, learnt, inputs["corpus"]), _asked(spec, prompts, inputs, learnt, counts))
    (job.folder / "counts.json").write_text(json.dumps(vars(counts), indent=2) + "\n")


@dataclass(frozen=True, eq=False)
class Answered:
    """What somebody answered: the likeliest answer to each prompt, draws, and log-probabilities of first tokens."""

    greedy: Mapping[str, Mapping[str, Any]]
    draws: Mapping[str, list[str]]
    first: Mapping[str, list[float]]

    @classmethod
    def at(cls, folder: Path) -> Answered:
        """The answers that a step has kept."""
        table = pl.read_parquet(folder / "answers.parquet")
        greedy = {row["prompt"]: row for row in table.filter(pl.col("sample") == GREEDY).iter_rows(named=True)}
        drawn = table.filter((pl.col("sample") != GREEDY) & pl.col("valid")).group_by("prompt").agg("answer")
        draws = dict(drawn.iter_rows())
        file = folder / "first.parquet"
        return cls(greedy, draws, dict(pl.read_parquet(file).iter_rows()) if file.exists() else {})


def _questions(
    spec: LabelsSpec, prompts: Sequence[Prompt], answers: Answered, counts: _Counts | None = None
) -> Iterator[Question]:
    """What is so of every valid answer, property by property."""
    counts = counts or _Counts()
    for prompt in prompts:
        row = answers.greedy[prompt.id]
        if not row["valid"]:
            counts.invalid += 1
            continue
        for asked in prompt.asks:
            answer = str(row["answer"])
            label = spec.world.value(asked, answer, spec.world_seed)
            if label is None:
                counts.undefined += 1
                continue
            counts.labels += 1
            counts.by_split[prompt.split] = counts.by_split.get(prompt.split, 0) + 1
            told = Told(labels=tuple(spec.world.labels(asked, prompt)), asked=prompt.text)
            yield Question(f"{prompt.id}/{asked}", prompt.string, f"{prompt.task}/{asked}",
                           spec.world.hypothetical(prompt, asked, spec.who), label, prompt.split,
                           hidden=told.hidden)  # fmt: skip


def _taught(spec: LabelsSpec, questions: list[Question]) -> list[Question]:
    """Those that are learnt from: of the seen split, with the properties that are taught, as many as there shall be."""
    found = [q for q in questions if spec.leak or q.split == "seen"]
    found = [q for q in found if not spec.asks or q.facet.split("/")[-1] in spec.asks]
    if spec.labels is None or spec.labels >= len(found):
        return found
    chosen = (spec.seed / "chosen").numpy().permutation(len(found))[: spec.labels]
    return [found[place] for place in sorted(chosen.tolist())]


def _asked(
    spec: LabelsSpec, prompts: Sequence[Prompt], inputs: Mapping[str, Path], learnt: list[Question], counts: _Counts
) -> Iterator[Question]:
    """All questions, about the answers that are asked about, with what goes with them; then those that are taught."""
    answers = Answered.at(inputs.get("asked", inputs["answers"]))
    own = Answered.at(inputs["own"]) if "own" in inputs else None
    by_id = {prompt.id: prompt for prompt in prompts}
    tokens = _Tokens(spec, _vocabulary(inputs["corpus"]))
    for question in _questions(spec, prompts, answers, counts):
        prompt, asked = by_id[question.id.rpartition("/")[0]], question.facet.split("/")[-1]
        told = Told.of(question)
        likely = _Likely(spec, prompt, asked, told.labels)
        told = replace(told, exact=likely.exact(answers, tokens), drawn=likely.drawn(answers),
                       **({} if own is None else likely.own(own)))  # fmt: skip
        yield replace(question, hidden=told.hidden)
    for question in learnt:
        told = replace(Told.of(question), taught=True)
        yield replace(question, id=f"taught/{question.id}", split="seen", hidden=told.hidden)


@dataclass(frozen=True)
class _Likely:
    """How likely each label of one question is under somebody's answers."""

    spec: LabelsSpec
    prompt: Prompt
    asked: str
    labels: tuple[str, ...]

    def exact(self, answers: Answered, tokens: _Tokens) -> tuple[float, ...]:
        """By the first token alone, where that tells the property; over valid answers."""
        if not self.labels or not self.spec.world.told_by_first(self.asked) or self.prompt.id not in answers.first:
            return ()
        places = tokens.labelled(self.asked, self.labels)
        known = places >= 0
        logs = np.array(answers.first[self.prompt.id][: len(places)])
        mass = np.bincount(places[known], weights=np.exp(logs[known]), minlength=len(self.labels))
        return tuple((mass / mass.sum()).tolist()) if mass.sum() > 0 else ()

    def drawn(self, answers: Answered) -> tuple[float, ...]:
        """By the draws that were answers at all."""
        told = [self.spec.world.value(self.asked, one, self.spec.world_seed)
                for one in answers.draws.get(self.prompt.id, ())]  # fmt: skip
        known = [one for one in told if one is not None]
        return tuple(known.count(label) / len(known) for label in self.labels) if known else ()

    def own(self, answers: Answered) -> dict[str, Any]:
        """The label of the likeliest answer, and the question about it; nothing where it is no answer."""
        row = answers.greedy[self.prompt.id]
        if not row["valid"]:
            return {}
        world, answer = self.spec.world, str(row["answer"])
        return {"own": world.value(self.asked, answer, self.spec.world_seed), "aloud": world.given(answer, self.asked)}


@dataclass(frozen=True, eq=False)
class _Tokens:
    """What every token would be labelled as an answer's first; found once a property."""

    spec: LabelsSpec
    texts: Sequence[str]
    known: dict[tuple[str, tuple[str, ...]], np.ndarray] = field(default_factory=dict)

    def labelled(self, asked: str, labels: tuple[str, ...]) -> np.ndarray:
        """The place of each token's label, -1 where it has none. Shape: (V,)."""
        if (asked, labels) not in self.known:
            values = [self.spec.world.value(asked, text, self.spec.world_seed) for text in self.texts]
            places = [-1 if value is None else labels.index(value) for value in values]
            self.known[asked, labels] = np.array(places, dtype=np.int64)
        return self.known[asked, labels]


def _vocabulary(own: Path) -> list[str]:
    """Every token's text, by its number."""
    known = corpus.Corpus(own).tokenizer
    return [known.decode([number]) for number in range(known.get_vocab_size())]


def _documents(spec: LabelsSpec, learnt: list[Question], own: Path) -> Iterator[Document]:
    """Labels drawn anew in every round through all of them, and lines of the predictor's own."""
    rng = (spec.seed / "records").numpy()
    lines = _own_lines(own) if spec.replay else []
    order: list[int] = []
    for number in range(spec.records):
        if lines and rng.random() < spec.replay:
            yield Document(f"record/{number}", "replay", lines[int(rng.integers(len(lines)))], ())
            continue
        if not order:
            order = rng.permutation(len(learnt)).tolist()
        one = learnt[order.pop()]
        yield Document(f"record/{number}", one.about, f"{one.prompt} {one.target}", (), given=len(one.prompt))


def _own_lines(own: Path) -> list[str]:
    """Texts of the predictor's corpus, those of its first part."""
    part = min(own.glob("documents-*.parquet"))
    return [str(text) for text in pl.read_parquet(part, columns=["text"])["text"]]
