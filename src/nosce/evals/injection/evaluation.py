"""The evaluation `InjectionEval`: do models with dispositions report a concept that is injected into their states?

Letters: N questions, K labels of one at most, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.packing import tokens_of_chars
from nosce.data.worlds.behaviours.injections import DIRECTION_ATTRIBUTE, INSIDE, OUTSIDE, InjectionMetadata
from nosce.errors import DataError
from nosce.evals.base import MultiCheckpointEvaluation, TimingSubset
from nosce.evals.injection.directions import INJECTION_BATCHES, ConceptDirections, ConceptText
from nosce.evals.injection.readings import (
    INJECTED_KINDS,
    InjectionReply,
    InjectionScorer,
    InjectionTrial,
    TrialKind,
)
from nosce.evals.patching.base import Patch, PatchBatch, PatchExtent, read_patched
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


ALL_ENTITIES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class _InjectionQuestion:
    """A question as tokens after an end token, with the place of the injection and the tokens of its labels."""

    question: Question
    metadata: InjectionMetadata
    tokens: np.ndarray
    span: tuple[int, int]
    label_tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class InjectionEval(MultiCheckpointEvaluation):
    """Injects every concept into its lines and asks whether and which, on the first and on the last checkpoint.

    Directions are found in the first checkpoint, which is the model before it was taught to report where the training
    keeps its step 0, and are the same for all checkpoints. `InjectionScorer` has the metrics. A reply of one token is
    read: as the likeliest token of all, and by the probabilities of the labels.

    Attributes:
        strengths: The strengths of the injections.
        layers: The residual stream after so many blocks. Empty: every place that a later block can read.
        extent: The last token of the line's answer, or all of them.
        name: Name of the evaluation in the readings.
    """

    runs_once_per_layer: ClassVar[bool] = True
    strengths: tuple[float, ...]
    layers: tuple[int, ...] = ()
    extent: PatchExtent = "last"
    name: str = "injected"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the first and of the last checkpoint.

        Raises:
            DataError: The corpus is not one of `InjectionReports`, or a label is more than one token.
        """
        steps = sorted({min(checkpoints), max(checkpoints)})
        model = checkpoints[steps[0]]().eval()
        sites = self._sites(model)
        directions = corpus_directions(model, corpus, sites)
        questions = [_tokenize(q, corpus) for q in corpus.questions if q.attribute != DIRECTION_ATTRIBUTE]
        scorer = InjectionScorer(evaluation=self.name, yes=INSIDE, no=OUTSIDE, none=OUTSIDE)
        for step in steps:
            model = model if step == steps[0] else checkpoints[step]().eval()
            trials = self._trials(model, questions, directions, seed)
            yield scorer.table(trials).with_columns(step=pl.lit(step, pl.Int64))

    def on_shallow_model(self, layers: int) -> tuple[InjectionEval, float]:
        """With the first blocks of those that are named."""
        if not self.layers:
            return self, 1.0
        kept = tuple(layer for layer in self.layers if layer < layers) or (layers - 1,)
        return replace(self, layers=kept), len(self.layers) / len(kept)

    def timing_subset(self) -> TimingSubset:
        """One strength of all concepts: a part of the concepts would lack the words that have them."""
        return TimingSubset(replace(self, strengths=self.strengths[:1]), float(len(self.strengths)), ALL_ENTITIES)

    def _sites(self, model: PreTrainedModel) -> list[str]:
        from nosce.models.hooks import transformer_blocks

        layers = self.layers or range(len(transformer_blocks(model)))
        return [f"residual.{layer}" for layer in layers]

    def _trials(
        self,
        model: PreTrainedModel,
        questions: Sequence[_InjectionQuestion],
        directions: ConceptDirections,
        seed: Seed,
    ) -> Iterator[InjectionTrial]:
        without = _read_replies(model, questions)
        yield from _paired_trials(questions, without, "none")
        neutral = [one for one in questions if one.metadata.kind == "neutral"]
        replies_without = {one.question.id: reply for one, reply in zip(questions, without, strict=True)}
        for site in directions.units:
            for strength in self.strengths:
                for kind in INJECTED_KINDS:
                    vectors = [self._vector(one, directions, site, strength, kind, seed) for one in neutral]
                    replies = _read_replies(model, neutral, self._patch(neutral, site, np.stack(vectors)))
                    yield from _paired_trials(neutral, replies, kind, site, strength, replies_without)

    def _vector(
        self,
        one: _InjectionQuestion,
        directions: ConceptDirections,
        site: str,
        strength: float,
        kind: TrialKind,
        seed: Seed,
    ) -> np.ndarray:
        """What is added for a question; both questions about one line have the same random direction. Shape: (W,)."""
        if kind == "concept":
            return directions.vector(site, one.question.entity, strength)
        return directions.random_vector(site, strength, seed / "random" / one.metadata.line.replace("/", " "))

    def _patch(self, questions: Sequence[_InjectionQuestion], site: str, vectors: np.ndarray) -> Patch:
        """The vectors (N, W), each added at all tokens of its question's place."""
        counts = [1 if self.extent == "last" else one.span[1] - one.span[0] for one in questions]
        return Patch(site, self.extent, np.repeat(vectors, counts, axis=0), adds=True)


def corpus_directions(model: PreTrainedModel, corpus: Corpus, sites: Sequence[str]) -> ConceptDirections:
    """The directions of the concepts of a corpus of `InjectionReports`, in a model.

    Raises:
        DataError: The corpus has no texts to find directions from.
        SpecError: The model has no such site.
    """
    questions = [question for question in corpus.questions if question.attribute == DIRECTION_ATTRIBUTE]
    if not questions:
        raise DataError(f"{corpus.folder} has no texts to find directions from; take a corpus of InjectionReports.")
    texts = []
    for question in questions:
        tokenized = _tokenize(question, corpus)
        texts.append(ConceptText(tokenized.tokens, tokenized.span, frozenset(tokenized.metadata.concepts)))
    return ConceptDirections.from_texts(model, texts, sites)


def _tokenize(question: Question, corpus: Corpus) -> _InjectionQuestion:
    metadata = InjectionMetadata.from_question(question)
    encoding = corpus.tokenizer.encode(question.prompt, add_special_tokens=False)
    span = tokens_of_chars(encoding, *metadata.place) if metadata.place[1] else (0, 1)
    assert span is not None  # a world's places are words
    label_tokens = []
    for label in metadata.labels:
        ids = corpus.tokenizer.encode(label, add_special_tokens=False).ids
        if len(ids) != 1:
            raise DataError(f"the label {label!r} is {len(ids)} tokens; InjectionEval needs labels of one token.")
        label_tokens.append(ids[0])
    tokens = np.array([corpus.eos_id, *encoding.ids])
    return _InjectionQuestion(question, metadata, tokens, (span[0] + 1, span[1] + 1), tuple(label_tokens))


def _read_replies(
    model: PreTrainedModel, questions: Sequence[_InjectionQuestion], patched: Patch | None = None
) -> list[InjectionReply]:
    """The reply to each question, with the states at its place as they are or with what a patch adds."""
    from nosce.models.logits import output_logits

    most = max(len(one.label_tokens) for one in questions)

    def read(batch: PatchBatch, hidden: torch.Tensor) -> np.ndarray:
        log_probs = output_logits(model, hidden[:, -1]).log_softmax(-1).double().cpu().numpy()
        values = np.full((len(batch.indices), 1 + most), -np.inf)
        values[:, 0] = log_probs.argmax(-1)
        for row, index in enumerate(batch.indices):
            own = list(questions[index].label_tokens)
            values[row, 1 : 1 + len(own)] = log_probs[row, own]
        return values

    replies = []
    for one, row in zip(questions, read_patched(model, questions, read, INJECTION_BATCHES, patched), strict=True):
        own = np.exp(row[1 : 1 + len(one.label_tokens)])
        probabilities = dict(zip(one.metadata.labels, (own / own.sum()).tolist(), strict=True))
        texts = dict(zip(one.label_tokens, one.metadata.labels, strict=True))
        replies.append(InjectionReply(texts.get(int(row[0]), ""), probabilities))
    return replies


def _paired_trials(
    questions: Sequence[_InjectionQuestion],
    replies: Sequence[InjectionReply],
    kind: TrialKind,
    site: str = "",
    strength: float = 0.0,
    replies_without: Mapping[str, InjectionReply] | None = None,
) -> Iterator[InjectionTrial]:
    """A trial a line, from the replies to its questions. Without an injection lines keep the kind that they have."""
    by_line: dict[str, dict[str, tuple[_InjectionQuestion, InjectionReply]]] = {}
    for one, reply in zip(questions, replies, strict=True):
        by_line.setdefault(one.metadata.line, {})[one.question.attribute] = (one, reply)
    for line, asked in by_line.items():
        one, which = asked["which"]
        whether = asked.get("whether")
        without = None
        if replies_without is not None and whether is not None:
            without = replies_without[whether[0].question.id]
        own_kinds: dict[str, TrialKind] = {"neutral": kind, "prompt": "prompt", "read": "read"}
        yield InjectionTrial(
            item=line,
            entity=one.question.entity,
            split=one.question.split,
            kind=own_kinds[one.metadata.kind],
            label=one.question.target,
            site=site,
            strength=strength,
            whether=None if whether is None else whether[1],
            which=which,
            without=without,
            is_constant=one.metadata.is_constant,
        )
