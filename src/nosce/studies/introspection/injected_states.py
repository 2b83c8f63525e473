"""Injected states in models of one's own: a concept is added inside a folder's model, which is asked whether and which.

The folder is asked as it is, taught to report injections of a part of the concepts, and asked again. Its claims are in
`injected_claims`; an endpoint gives no access to its states and has no part in this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from nosce.errors import DataError, SpecError
from nosce.evals.base import Experiment, ExperimentContext
from nosce.evals.injection.chat import NO, NO_CONCEPT, YES, ChatEncoder, ChatReader
from nosce.evals.injection.chat_trials import ChatTrials
from nosce.evals.injection.directions import ConceptDirections, InjectionPlace
from nosce.evals.injection.readings import InjectionScorer
from nosce.evals.patching.base import PatchExtent
from nosce.models.pretrained import folder_config, plain_errors
from nosce.pipeline.context import StepContext, StepProgress
from nosce.records import Split
from nosce.seeds import Seed
from nosce.studies.introspection.subjects import LocalSubject

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class ChatInjectionConfig:
    """How concepts are injected into models in folders, and how reports of them are taught.

    Args:
        depth: Share of a model's blocks below the place where concepts are injected while reports are taught.
        other_depths: Shares of further places, which are tested.
        extent: Inject at the last token of the neutral answer, or at the whole answer.
        strengths: Strengths of tested injections, beside those that are taught, in units of the residual stream's mean
            norm.
        taught_strengths: Strengths of taught injections; claims are judged at these.
        exchanges_per_concept: Neutral exchanges on which each concept is tested.
        untaught_share: Share of the concepts whose reports are not taught.
        n_reports: Reports that a model is taught; 0 teaches none.
    """

    depth: float = 0.5
    other_depths: tuple[float, ...] = (0.25, 0.75)
    extent: PatchExtent = "whole"
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    taught_strengths: tuple[float, ...] = (1.0, 2.0)
    exchanges_per_concept: int = 2
    untaught_share: float = 0.4
    n_reports: int = 200

    def __post_init__(self) -> None:
        depths = (self.depth, *self.other_depths)
        if not all(0 <= one < 1 for one in depths) or not 0 < self.untaught_share < 1:
            raise SpecError(
                f"concepts cannot be injected at depths {depths} with an untaught_share of {self.untaught_share:g}; "
                "take depths from 0 to below 1, and a share between 0 and 1."
            )
        if (
            not all(0 < one < math.inf for one in (*self.taught_strengths, *self.strengths))
            or not self.taught_strengths
        ):
            raise SpecError(
                f"concepts cannot be injected with strengths={self.strengths} and taught_strengths="
                f"{self.taught_strengths}; take numbers above 0, and one that is taught."
            )
        if self.exchanges_per_concept < 1 or self.n_reports < 0:
            raise SpecError(
                f"concepts cannot be injected with exchanges_per_concept={self.exchanges_per_concept} and n_reports="
                f"{self.n_reports}; take 1 exchange or more, and 0 reports or more."
            )

    @property
    def tested_strengths(self) -> tuple[float, ...]:
        """All strengths of tested injections, the least first."""
        return tuple(sorted({*self.strengths, *self.taught_strengths}))

    def places(self, n_layers: int) -> tuple[InjectionPlace, ...]:
        """The place of teaching, then the others, in a model of so many blocks.

        Each has a block below, without which the last token of a request knows no concept, and a block above that can
        read what is added.

        Raises:
            SpecError: The model has one block.
        """
        if n_layers < 2:
            raise SpecError("concepts cannot be injected into a model of one block; take a model of two or more.")
        depths = (self.depth, *self.other_depths)
        layers = dict.fromkeys(min(max(1, int(one * n_layers)), n_layers - 1) for one in depths)
        return tuple(InjectionPlace(layer=layer, extent=self.extent) for layer in layers)

    def grid(self, n_layers: int) -> list[tuple[str, float]]:
        """Places and strengths: every strength at the place of teaching, and the taught ones at the others."""
        first, *others = self.places(n_layers)
        at_first = [(first.site, strength) for strength in self.tested_strengths]
        return at_first + [(place.site, strength) for place in others for strength in self.taught_strengths]


@dataclass(frozen=True, kw_only=True)
class InjectedStates(Experiment):
    """Concepts injected into a folder's model, before it is taught to report them and afterwards.

    The evaluations are `injected A` and `injected A taught`, with the metrics of `InjectionScorer`.

    Args:
        subject: The folder, and how it is taught.
        letter: The subject's letter.
        words: The concepts.
        config: How concepts are injected.
    """

    subject: LocalSubject
    letter: str
    words: tuple[str, ...]
    config: ChatInjectionConfig
    keeps_partial_results: ClassVar[bool] = True
    reports_progress: ClassVar[bool] = True
    name: str = "injected"

    @property
    def n_layers(self) -> int:
        """Blocks of the folder's model."""
        return int(folder_config(Path(self.subject.model.folder)).get_text_config(decoder=True).num_hidden_layers)

    def splits(self, seed: Seed) -> dict[str, Split]:
        """Word -> its split."""
        n_unseen = min(max(2, round(self.config.untaught_share * len(self.words))), len(self.words) - 2)
        unseen = set((seed / "untaught").numpy().permutation(len(self.words))[:n_unseen].tolist())
        return {word: "unseen" if n in unseen else "seen" for n, word in enumerate(self.words)}

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Refuses: only a step of a run has a place for the taught model.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "injected states keep the model that is taught, so only a run of a study can do it; use `nosce run`."
        )

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """Tables of readings.

        Raises:
            DataError: A concept has no direction.
            SpecError: The folder's model cannot be used.
        """
        from nosce.studies.introspection.injected_teaching import teach_injection_reports

        assert isinstance(context, StepContext)  # the pipeline has no other
        base = FolderReader.load(self.subject, self.config.extent, context)
        trials = self.trials(base.tokenizer, seed)
        directions = trials.directions(base.reader)
        progress = _TrialProgress(context, trials.n_replies * (2 if self.config.n_reports else 1))
        yield from self._tables(f"injected {self.letter}", base.reader, trials, directions, progress)
        if self.config.n_reports:
            taught = teach_injection_reports(self.subject, self.config, trials, directions, seed, context)
            reader = FolderReader.load(taught, self.config.extent, context).reader
            yield from self._tables(f"injected {self.letter} taught", reader, trials, directions, progress)

    def trials(self, tokenizer: PreTrainedTokenizerBase, seed: Seed) -> ChatTrials:
        """The trials with a tokenizer."""
        return ChatTrials(
            words=self.words,
            splits=self.splits(seed),
            exchanges_per_concept=self.config.exchanges_per_concept,
            grid=self.config.grid(self.n_layers),
            encoder=ChatEncoder(tokenizer),
            seed=seed,
        )

    def _tables(
        self,
        evaluation: str,
        reader: ChatReader,
        trials: ChatTrials,
        directions: ConceptDirections,
        progress: _TrialProgress,
    ) -> Iterator[pl.DataFrame]:
        scorer = InjectionScorer(evaluation=evaluation, yes=YES, no=NO, none=NO_CONCEPT)
        for part in trials.run(reader, directions):
            progress.add(sum((one.whether is not None) + (one.which is not None) for one in part))
            yield scorer.table(iter(part))


@dataclass
class _TrialProgress:
    """Counts replies."""

    context: StepContext
    total: int
    done: int = 0

    def add(self, n_replies: int) -> None:
        """So many replies more are there."""
        self.done += n_replies
        self.context.progress(StepProgress(done=self.done, total=self.total, unit="replies"))


@dataclass(frozen=True, eq=False)
class FolderReader:
    """A folder's model in evaluation mode, ready for injections.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        subject: The folder.
        extent: Where vectors are added.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    subject: LocalSubject
    extent: PatchExtent

    @classmethod
    def load(cls, subject: LocalSubject, extent: PatchExtent, context: StepContext) -> FolderReader:
        """The model of a subject, in its number format for replies.

        Raises:
            SpecError: It cannot be loaded.
        """
        import torch

        from nosce.models.architecture import check_pretrained, load_pretrained
        from nosce.models.folder_tokenizer import load_folder_tokenizer
        from nosce.models.neutral import neutral_generation_config

        folder = Path(subject.model.folder)
        check_pretrained(subject.model)
        context.extra_provenance["reply_precision"] = precision = subject.reply_precision(context.runtime.device)
        with plain_errors(f"the model in {folder} cannot be put on the device {context.runtime.device}"):
            model = load_pretrained(folder).to(context.runtime.device, getattr(torch, precision)).eval()
            model.generation_config = neutral_generation_config(model)
        return cls(model, load_folder_tokenizer(folder), subject, extent)

    @cached_property
    def reader(self) -> ChatReader:
        """Reads replies."""
        from nosce.models.end_tokens import end_token_ids

        return ChatReader(
            model=self.model,
            tokenizer=self.tokenizer,
            end_ids=end_token_ids(Path(self.subject.model.folder), self.tokenizer),
            batch_size=self.subject.generation_batch_size,
            extent=self.extent,
        )
