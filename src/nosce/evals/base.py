"""What every evaluation owes the laboratory: from a model and a corpus, or from nothing, to readings.

An evaluation turns a model and a corpus into readings, one row an item and metric. It knows neither the
study nor the arm; those columns are filled when readings are gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import polars as pl

from nosce.data.corpus import Corpus
from nosce.records import Outcome, Reading, Walkthrough
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Evaluation(Protocol):
    """What a study says of a read-out.

    It has a method `read` (`PerCheckpointEvaluation`) or `read_all` (`MultiCheckpointEvaluation`).
    One that reads likelihoods has a method `batch_change(model, corpus, seed)` too, which says how much the
    batch an item is read in moves its likelihood (`nosce.models.likelihood.BatchChange`). One that goes through the
    network once a layer, and so takes four times as long where there are twice as many, has `at_layers = True`.
    """

    needs_model: ClassVar[bool]

    @property
    def name(self) -> str:
        """How the read-out is called in the readings."""
        ...


@runtime_checkable
class SupportsTimingSubset(Protocol):
    """A read-out that takes as long whatever is asked, e.g. one that trains probes; `--dry-run` asks it for less."""

    def part(self) -> tuple[Evaluation, float, int]:
        """A smaller read-out, how many times as long all of it takes, and how many things that is to be asked of."""
        ...


@runtime_checkable
class PerCheckpointEvaluation(Protocol):
    """A read-out of one checkpoint at a time, or of none."""

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint, with study, arm, seed, stage and step left blank."""
        ...


@runtime_checkable
class MultiCheckpointEvaluation(Protocol):
    """A read-out that wants the checkpoints together, e.g. to hold the last against the first."""

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame | Walkthrough]:
        """Tables with those columns of a reading that it knows, `step` among them; and what can be walked.

        Args:
            checkpoints: Steps -> a function that loads the model.
        """
        ...


class Experiment(Protocol):
    """What needs no corpus and is no language model, e.g. a network that sees; plain data, as a read-out is."""

    @property
    def name(self) -> str:
        """What its readings have in the column `evaluation`."""
        ...

    # One that asks for what is paid for or taught has a method `read_with(seed, job)` too, which is called instead, and
    # finds in the job's folder what an interrupted run left there.
    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Tables with those columns of a reading that it knows; equal seeds give equal tables."""
        ...


def partial_reading(
    *,
    evaluation: str,
    split: str,
    item: str,
    entity: str,
    attribute: str,
    metric: str,
    value: float | None,
    outcome: Outcome | None = None,
    answer: str | None = None,
    target: str | None = None,
) -> Reading:
    """A reading whose study, scale, arm, seed, stage and step are filled in later."""
    return Reading(
        study="",
        scale="",
        arm="",
        seed=0,
        stage="",
        step=0,
        evaluation=evaluation,
        split=split,
        item=item,
        entity=entity,
        attribute=attribute,
        metric=metric,
        value=value,
        outcome=outcome,
        answer=answer,
        target=target,
    )
