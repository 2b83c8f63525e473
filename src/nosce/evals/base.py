"""The base classes of evaluations and experiments: from a model and a corpus, or from nothing, to readings.

An evaluation turns a model and a corpus into readings, one row an item and metric. It knows neither the
study nor the arm; those columns are filled when readings are gathered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

import polars as pl

from nosce.data.corpus import Corpus
from nosce.records import Outcome, Reading, Walkthrough
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.models.likelihood import BatchChange


#: Columns of the readings of replies, without those that the pipeline fills.
REPLY_SCHEMA = {
    "evaluation": pl.String,
    "split": pl.String,
    "item": pl.String,
    "entity": pl.String,
    "attribute": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "answer": pl.String,
    "target": pl.String,
    "outcome": pl.String,
}


class TimingSubset(NamedTuple):
    """A small part of an evaluation, by which all of it is priced."""

    evaluation: Evaluation
    time_ratio: float
    """How many times as long the whole evaluation takes as the part."""
    n_entities: int
    """How many entities the part asks about."""


#: Each checkpoint takes as long; the last takes longer or shorter than each other; the last takes all of the time.
CheckpointCosts = Literal["alike", "the last differs", "the last alone"]


class Evaluation(ABC):
    """What is asked of a checkpoint: plain data, a frozen dataclass with its parameters as fields.

    An evaluation inherits from `PerCheckpointEvaluation`, or from `MultiCheckpointEvaluation` if it compares
    checkpoints. Its readings carry `name` in the column `evaluation`.
    """

    needs_model: ClassVar[bool] = True
    """False for a baseline that reads the corpus alone."""
    runs_once_per_layer: ClassVar[bool] = False
    """True where the network runs once for each of its layers, so that twice the depth takes four times as long."""
    timed_entities: ClassVar[int] = 8
    """Entities of the smallest part that is timed: more where a part of a few costs nearly as much as one of many."""
    name: str

    @property
    def n_training_texts(self) -> int:
        """Texts with which the evaluation trains something through the network: a guess of its length for the order."""
        return 0

    @property
    def timed_form(self) -> Evaluation:
        """What is timed in its place: the same, but with whatever ends early in a trained model ending as early."""
        return self

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """How the time grows with the checkpoints of an evaluation that reads them together."""
        return "the last differs"

    def n_questions_read(self, n_by_split: Mapping[str, float]) -> float:
        """How many of a world's questions it reads, from their number in each split; all by default."""
        return sum(n_by_split.values())

    def timing_subset(self) -> TimingSubset | None:
        """A part whose time predicts that of the whole, for an evaluation whose time does not grow with its questions.

        None: the evaluation is timed on a few of its questions.
        """
        return None

    def on_shallow_model(self, layers: int) -> tuple[Evaluation, float]:
        """What is timed where the first blocks of a deep model stand in for it, and how many times as long all takes.

        By default the same, once. An evaluation that names its sites reads those that are there.

        Args:
            layers: Blocks of the model that stands in.
        """
        return self, 1.0


def first_sites(sites: Sequence[str], layers: int) -> tuple[tuple[str, ...], float]:
    """The sites that a model with so many blocks has, and how many there are for each of them.

    `final`, the state behind the last norm, where it has none of them.

    Args:
        sites: Names of `nosce.models.hooks`, those of a place followed by its blocks: `residual.3`.
        layers: Blocks of the model.
    """
    kept = tuple(site for site in sites if "." not in site or int(site.rpartition(".")[2]) <= layers)
    return (kept, len(sites) / len(kept)) if kept else (("final",), float(len(sites)))


class PerCheckpointEvaluation(Evaluation):
    """An evaluation of one checkpoint at a time, or of a corpus alone."""

    @abstractmethod
    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint, with study, arm, seed, stage and step left blank.

        Args:
            model: The checkpoint; None where `needs_model` is False.
            corpus: The texts and questions of the arm.
            seed: For whatever the evaluation draws.
        """

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange | None:
        """How much the likelihood of an item depends on its batch; None if the evaluation reads no likelihood."""
        return None


class MultiCheckpointEvaluation(Evaluation):
    """An evaluation of all checkpoints together, e.g. to compare the last with the first."""

    @abstractmethod
    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame | Walkthrough]:
        """Tables with the columns of a reading that the evaluation knows, `step` among them, and walkthroughs.

        Args:
            checkpoints: Step -> a function that loads the model.
            corpus: The texts and questions of the arm.
            seed: For whatever the evaluation draws.
        """


class ExperimentContext(Protocol):
    """What an experiment may use of the step that runs it."""

    @property
    def folder(self) -> Path:
        """The step's folder; it may hold what an interrupted run left."""
        ...


class Experiment(ABC):
    """A self-contained experiment that generates its own data and trains its own network; a frozen dataclass."""

    keeps_partial_results: ClassVar[bool] = False
    """True where an interrupted run leaves files in the step's folder from which the next run goes on."""
    reports_progress: ClassVar[bool] = False
    """True where `run_with_context` reports through its context how far it is; else its tables are counted."""
    name: str

    @abstractmethod
    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Tables with the columns of a reading that the experiment knows; equal seeds give equal tables.

        A table without columns says that all is loaded: what came before is done once, however long the whole is.
        """

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """As `run`, for an experiment that keeps partial results, or that pays or trains within the step's limits."""
        return self.run(seed)

    def item_prompts(self, seed: Seed) -> Mapping[str, str]:
        """What a model was asked for each item of the readings, by the item's name; empty where nothing is asked."""
        return {}

    def timing_subset(self) -> tuple[Experiment, float] | None:
        """A small part and how many times as long the whole takes; None: the experiment has no price beforehand."""
        return None


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
