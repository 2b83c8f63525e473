"""The read-outs `PositionProbe` and `NameProbe`: where in a text, and from what, can a value be read?

P-probing reads the hidden state right before each value of a whole text and asks for all values of that person;
Q-probing reads the state behind a bare name. Both let a probe update the input embedding (`low_rank`), so
that it can say what it looks for.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 5.1 and 5.2, appendices E and F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import SpecError
from nosce.evals.probing.low_rank import Asked, Fit
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = ("first", "whole")  # a value's first token, or all of it
NO_CLASS = -1
IN_PART = 16  # things whom a part of a probe is timed on


class Titles(Protocol):
    """Knows whom a question is about; plain data that a world gives, e.g. `Names` of the biographies."""

    def title(self, prompt: str, facet: str) -> str:
        """The bare name inside a prompt."""
        ...


@dataclass(frozen=True, kw_only=True)
class PositionProbe:
    """P-probing: every value of a person, at the places right before each value of a text of theirs.

    Readings have the metrics `first/<place>` and `whole/<place>`, places counted from 0, of values that have not been
    told at that place; `first/<place>/constant` is the most frequent class of the people it was trained on. People of
    the seen split are trained on, those of the unseen split are read.
    """

    needs_model: ClassVar[bool] = True
    fit: Fit
    skipped: tuple[str, ...] = ("birth_date",)  # facets whose whole values are too many to be classes
    documents: int = 1  # of a person
    name: str = "p-probe"

    def part(self) -> tuple[PositionProbe, float, int]:
        """A few small steps of its probes; what is read of everybody afterwards is left out, which is little."""
        fit, times = self.fit.part
        return replace(self, fit=fit), times, IN_PART

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        from nosce.models.architecture import sees_both_ways

        step = max(checkpoints)
        model = checkpoints[step]()
        if sees_both_ways(model):
            raise SpecError(
                "P-probing asks what is known before a value is told, and this model sees all of it; take NameProbe."
            )
        texts = self._texts(corpus)
        values = _Values.of(corpus, self.skipped)
        yield from _read(model, texts, values, self.fit, corpus, seed, self.name, step, "layer")

    def _texts(self, corpus: Corpus) -> list[_Text]:
        """The first texts of every person, with the place before each value in reading order."""
        abouts, ids = corpus.things["about"].to_list(), corpus.things["id"].to_list()
        spans = corpus.spans.sort("document", "start").unique(["document", "facet"], keep="first", maintain_order=True)
        told = {n: part for (n,), part in spans.sort("document", "start").group_by("document", maintain_order=True)}
        found, counts = [], dict.fromkeys(abouts, 0)
        for number, about in enumerate(abouts):
            if counts[about] >= self.documents or number not in told:
                continue
            counts[about] += 1
            part = told[number]
            tokens = corpus.documents.text(number)[:-1]
            # Behind an end token a value's first token is predicted at the position of its own number.
            found.append(_Text(ids[number], about, np.array([corpus.end, *tokens]), tuple(part["start"].to_list()),
                               tuple(part["facet"].to_list())))  # fmt: skip
        return found


@dataclass(frozen=True, kw_only=True)
class NameProbe:
    """Q-probing: every value of a person, behind their name alone between two end tokens.

    Readings have the metrics `first` and `whole`; `first/constant` and `whole/constant` as in `PositionProbe`.
    `titles` take the name out of a question's prompt, whose facet it is. States are those of `site`, e.g.
    "residual.1"; the paper's are the last.
    """

    needs_model: ClassVar[bool] = True
    fit: Fit
    titles: Titles
    skipped: tuple[str, ...] = ("birth_date",)
    site: str = "final"
    name: str = "q-probe"

    def part(self) -> tuple[NameProbe, float, int]:
        """A few small steps of its probes; what is read of everybody afterwards is left out, which is little."""
        fit, times = self.fit.part
        return replace(self, fit=fit, site="final"), times, IN_PART  # a large model is timed by a few of its layers

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        step = max(checkpoints)
        names: dict[str, str] = {}
        for question in corpus.questions:
            names.setdefault(question.about, self.titles.title(question.prompt, question.facet))
        texts = []
        for about, name in names.items():
            ids = corpus.tokenizer.encode(name, add_special_tokens=False).ids
            tokens = np.array([corpus.end, *ids, corpus.end])
            texts.append(_Text(about, about, tokens, (len(tokens) - 1,), ()))
        values = _Values.of(corpus, self.skipped)
        yield from _read(
            checkpoints[step](), texts, values, self.fit, corpus, seed, self.name, step, "batch", self.site
        )


@dataclass(frozen=True, eq=False)
class _Text:
    item: str
    about: str
    tokens: np.ndarray
    places: tuple[int, ...]
    facets: tuple[str, ...]  # what is told behind each place; none: nothing is


@dataclass(frozen=True, eq=False)
class _Values:
    """What is so of every person, as classes of the tasks (part, facet)."""

    tasks: tuple[tuple[str, str], ...]
    labels: Mapping[tuple[str, str], Mapping[str, int]]  # task -> about -> class
    words: Mapping[tuple[str, str], Sequence[str]]  # task -> the classes' names
    split: Mapping[str, str]

    @classmethod
    def of(cls, corpus: Corpus, skipped: Sequence[str]) -> _Values:
        """From the questions' targets."""
        targets: dict[str, dict[str, str]] = {}
        for q in corpus.questions:
            targets.setdefault(q.facet, {})[q.about] = q.target
        first = {t: corpus.tokenizer.encode(t, add_special_tokens=False).tokens[0]
                 for told in targets.values() for t in told.values()}  # fmt: skip
        tasks = [(part, facet) for part in PARTS for facet in targets if part == "first" or facet not in skipped]
        labels, words = {}, {}
        for part, facet in tasks:
            told = {about: first[t] if part == "first" else t for about, t in targets[facet].items()}
            known = sorted(set(told.values()))
            words[part, facet] = known
            labels[part, facet] = {about: known.index(one) for about, one in told.items()}
        return cls(tuple(tasks), labels, words, {q.about: q.split for q in corpus.questions})


def _asked(texts: Sequence[_Text], values: _Values, end: int) -> Asked:
    length, places = max(len(t.tokens) for t in texts), max(len(t.places) for t in texts)
    tokens = np.full((len(texts), length), end, dtype=np.int64)
    at = np.zeros((len(texts), places), dtype=np.int64)
    pending = np.zeros((len(values.tasks), len(texts), places), dtype=bool)
    for n, text in enumerate(texts):
        tokens[n, : len(text.tokens)] = text.tokens
        at[n, : len(text.places)] = text.places
        for k, (_, facet) in enumerate(values.tasks):
            told = text.facets.index(facet) if facet in text.facets else len(text.places) - 1
            pending[k, n, : told + 1] = True
    classes = np.array([[values.labels[task].get(t.about, NO_CLASS) for t in texts] for task in values.tasks])
    sizes = tuple(len(values.words[task]) for task in values.tasks)
    return Asked(tokens, at, classes, pending & (classes >= 0)[:, :, None], sizes)


def _read(
    model: PreTrainedModel, texts: Sequence[_Text], values: _Values, fit: Fit, corpus: Corpus, seed: Seed, name: str,
    step: int, norm: Literal["layer", "batch"], site: str = "final",
) -> Iterator[pl.DataFrame]:  # fmt: skip
    asked = _asked(texts, values, corpus.end)
    split = np.array([values.split.get(text.about, "") for text in texts])
    from nosce.evals.probing.low_rank import probed

    chosen = probed(
        model, asked, np.flatnonzero(split == "seen"), np.flatnonzero(split == "unseen"), fit, seed, norm, site
    )
    rows = np.flatnonzero(split == "unseen")
    for k, (part, facet) in enumerate(values.tasks):
        mine = asked.classes[k, split == "seen"]
        guess = int(np.bincount(mine[mine >= 0]).argmax())
        for place in range(asked.places.shape[1]):
            here = asked.pending[k, rows, place]
            if not here.any():
                continue
            metric = part if asked.places.shape[1] == 1 else f"{part}/{place}"
            base = {"item": [texts[n].item for n in rows[here]], "about": [texts[n].about for n in rows[here]]}
            told = asked.classes[k, rows[here]]
            for which, said in (("", chosen[k, here, place]), ("/constant", np.full(here.sum(), guess))):
                yield pl.DataFrame({**base, "value": (said == told).astype(np.float64)}).with_columns(
                    readout=pl.lit(name), split=pl.lit("unseen"), metric=pl.lit(metric + which),
                    facet=pl.lit(facet), step=pl.lit(step, pl.Int64),
                )  # fmt: skip
