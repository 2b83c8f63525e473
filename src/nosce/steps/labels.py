"""The step `labels`: what somebody answered, as questions about them to learn from and to be asked.

A corpus like any other (`nosce.text.corpus`), so that it is trained on and asked by what is there already. Documents
are questions about the answers to strings of the seen split, each with its label, and lines of the predictor's own
corpus among them, so that its behaviour stays where it is. Questions are those of both splits, and their targets are
what is so of the answers. Whose answers they are is a matter of the inputs alone.

counts.json    answers that were none, properties not defined of one, labels
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from nosce.errors import DataError, SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.steps.answers import GREEDY
from nosce.steps.job import Job
from nosce.text import corpus
from nosce.worlds.behaviours.contract import Behaviours, Prompt, apart

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LabelsSpec:
    """Which questions are learnt from, how many, in which person, among how much of one's own corpus."""

    world: Behaviours
    world_seed: Seed
    seed: Seed
    records: int  # documents, replayed ones among them
    replay: float = 0.5  # share of them that are lines of the predictor's own corpus
    asks: tuple[str, ...] = ()  # properties that are trained on; none: all
    who: str | None = None  # the name under which the one who answered is spoken of; None: you

    def __post_init__(self) -> None:
        if self.records < 1 or not 0 <= self.replay < 1:
            raise SpecError(
                f"labels of {self.records} records, {self.replay:g} of them replayed, teach nothing; take a record, "
                "and a share below 1."
            )


@dataclass
class _Counts:
    """What became of the answers."""

    invalid: int = 0
    undefined: int = 0
    labels: int = 0
    by_split: dict[str, int] = field(default_factory=dict)


def make(spec: LabelsSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write the corpus; inputs are the predictor's own `corpus` and the `answers` that are asked about.

    Raises:
        DataError: No answer to a string of the seen split has a label.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    shutil.copytree(inputs["corpus"] / "tokenizer", job.folder / "tokenizer")
    told = pl.read_parquet(inputs["answers"] / "answers.parquet").filter(pl.col("sample") == GREEDY)
    answers = {row["prompt"]: row for row in told.iter_rows(named=True)}
    prompts = spec.world.prompts(spec.world_seed)
    apart(prompts)
    counts = _Counts()
    questions = list(_questions(spec, prompts, answers, counts))
    learnt = [q for q in questions if q.split == "seen" and (not spec.asks or q.facet.split("/")[-1] in spec.asks)]
    if not learnt:
        raise DataError("no answer to a string of the seen split has a label, so that there is nothing to learn from.")
    corpus.write(job.folder, _documents(spec, learnt, inputs["corpus"]), questions)
    (job.folder / "counts.json").write_text(json.dumps(vars(counts), indent=2) + "\n")


def _questions(
    spec: LabelsSpec, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, object]], counts: _Counts
) -> Iterator[Question]:
    """What is so of every valid answer, property by property."""
    for prompt in prompts:
        row = answers[prompt.id]
        if not row["valid"]:
            counts.invalid += 1
            continue
        for asked in prompt.asks:
            label = spec.world.value(asked, str(row["answer"]), spec.world_seed)
            if label is None:
                counts.undefined += 1
                continue
            counts.labels += 1
            counts.by_split[prompt.split] = counts.by_split.get(prompt.split, 0) + 1
            text = spec.world.hypothetical(prompt, asked, spec.who)
            yield Question(f"{prompt.id}/{asked}", prompt.string, f"{prompt.task}/{asked}", text, label, prompt.split)


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
