"""Programs with the states they go through, and probes for these in whatever stands at their places.

A place is the position of a text that predicts an operation. What a program does there is asked of the world's
tracer; what probes make of hidden states, of floors and of other labels comes back as answers, one a place.

Letters: N programs, T operations, P places (an operation of a program), W width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.data.corpus import Corpus
from nosce.evals.generation import Completion, Scorer
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.evals.probing.probe import ProbeResult

MEAN_OF_LAYERS = "mean"  # over layers, as in the paper
ORIGINAL_MEANING = "original"  # the meaning that the texts have
PROBE_WEIGHT_DECAY = 0.2  # of the probes' weights, as in the released code


class ExecutionTraces(Protocol):
    """What programs did, operation by operation; behind a program's last one anything may stand."""

    @property
    def operations(self) -> np.ndarray:
        """Which operation each was, as whole numbers. Shape: (N, T)."""
        ...

    @property
    def had_effect(self) -> np.ndarray:
        """Did the operation do anything? Shape: (N, T)."""
        ...

    def features(self) -> Mapping[str, np.ndarray]:
        """Whole numbers from 0 after every operation, each (N, T)."""
        ...

    def initial_features(self) -> Mapping[str, np.ndarray]:
        """The features that a state has before the first operation, as whole numbers from 0, each (N,)."""
        ...

    def initial_state_encoding(self) -> np.ndarray:
        """All that the prompt shows of where each program begins, as numbers. Shape: (N, F)."""
        ...


class ProgramTracer(Scorer, Protocol):
    """What a world of programs knows about their states."""

    def trace(self, questions: Sequence[Question], replies: Sequence[str], meaning: str) -> ExecutionTraces:
        """Run every reply."""
        ...

    def operation_positions(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """Where in a reply's tokens its operations stand."""
        ...

    def is_traceable(self, reply: str) -> bool:
        """Has the reply states in step with its words?"""
        ...

    def render_steps(self, question: Question, reply: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """How the world looks before and after every operation, with the word that stands for it."""
        ...

    def render_predicted_state(
        self, question: Question, predicted_features: Mapping[str, int]
    ) -> tuple[str, ...] | None:
        """How it would look where features had these values, or None where it cannot."""
        ...

    def value_name(self, feature: str, value: int) -> str:
        """A feature's value in words."""
        ...


@dataclass(frozen=True, eq=False)
class ProbePredictions:
    """What a probe said at the places that were tested; elsewhere it is wrong, and says 0. Shapes: (P,)."""

    correct: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @classmethod
    def from_result(cls, result: ProbeResult, count: int) -> ProbePredictions:
        """The probe's answers, spread over all places."""
        predictions = cls(np.zeros(count, dtype=bool), np.zeros(count, dtype=np.int64), np.zeros(count))
        predictions.correct[result.test_indices], predictions.predicted[result.test_indices] = (
            result.correct,
            result.predictions,
        )
        predictions.confidence[result.test_indices] = result.confidence
        return predictions


@dataclass(frozen=True, eq=False)
class ProgramDataset:
    """Programs with the places at which their states are looked for."""

    tracer: ProgramTracer
    questions: list[Question]
    tokens: list[np.ndarray]  # prompt and reply
    replies: list[str]
    program_index: np.ndarray  # (P,) which program a place belongs to
    operation_number: np.ndarray  # (P,) which operation, counted from 1
    position: np.ndarray  # (P,) the place in the text that predicts it; -1 is the opening end token
    operation_count: np.ndarray  # (N,) operations
    traces: dict[str, ExecutionTraces] = field(default_factory=dict)  # by meaning, as they are asked for

    @classmethod
    def from_completions(
        cls, tracer: ProgramTracer, corpus: Corpus, questions: Sequence[Question], completions: Sequence[Completion]
    ) -> ProgramDataset | None:
        """The replies that can be read and have a state between start and end; None where there are too few."""
        kept, tokens, positions = [], [], []
        prompts = corpus.tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        for question, prompt, (ids, reply, _) in zip(questions, prompts, completions, strict=True):
            if (
                tracer.is_traceable(reply)
                and len(operation_positions := tracer.operation_positions(corpus.tokenizer, ids)) > 1
            ):
                kept.append((question, reply))
                tokens.append(np.concatenate([prompt.ids, ids]).astype(np.int64))
                positions.append(len(prompt.ids) + operation_positions - 1)
        splits = {question.split for question, _ in kept}
        if len(splits) < 2:
            return None
        operation_count = np.array([len(operation_positions) for operation_positions in positions])
        return cls(
            tracer,
            [q for q, _ in kept],
            tokens,
            [r for _, r in kept],
            np.repeat(np.arange(len(kept)), operation_count),
            np.concatenate([np.arange(1, n + 1) for n in operation_count]),
            np.concatenate(positions),
            operation_count,
        )

    @property
    def entities(self) -> np.ndarray:
        """Which specification each program is for."""
        return np.array([q.entity for q in self.questions])

    @property
    def item_ids(self) -> np.ndarray:
        """A name for every place."""
        return np.char.add(np.char.add(self.entities[self.program_index], "/"), self.operation_number.astype(str))

    @property
    def is_test(self) -> np.ndarray:
        """Which places are tested on: those of unseen specifications."""
        unseen: np.ndarray = np.array([q.split == "unseen" for q in self.questions])[self.program_index]
        return unseen

    def trace(self, meaning: str) -> ExecutionTraces:
        """What the programs do, the words meaning this."""
        if meaning not in self.traces:
            self.traces[meaning] = self.tracer.trace(self.questions, self.replies, meaning)
        return self.traces[meaning]

    def labels(
        self, features: Sequence[str], offsets: Sequence[int], meaning: str, *, include_final: bool = False
    ) -> dict[str, np.ndarray]:
        """`<feature> <offset>` -> (P,) labels, -1 where there is no such state or the prompt shows it.

        Args:
            include_final: Keep the states behind the last operations too.
        """
        values_by_feature = self.trace(meaning).features()
        labels = {}
        for offset in offsets:
            state_number = self.operation_number + offset  # the state behind this operation
            is_labelled = (state_number >= 1) & (
                state_number < self.operation_count[self.program_index] + include_final
            )
            for feature in features:
                values = values_by_feature[feature][
                    self.program_index, np.clip(state_number, 1, self.operation_count[self.program_index]) - 1
                ]
                labels[f"{feature} {offset}"] = np.where(is_labelled, values, -1)
        return labels

    def had_effect(self, offset: int) -> np.ndarray:
        """Did the operation before the state at this offset change anything? Shape: (P,)."""
        state_number = np.clip(self.operation_number + offset, 1, self.operation_count[self.program_index])
        changed: np.ndarray = self.trace(ORIGINAL_MEANING).had_effect[self.program_index, state_number - 1]
        return changed

    @property
    def bag(self) -> np.ndarray:
        """The start's features and the counts of operations up to the predicted one. Shape: (P, F).

        Counts are zeros and a one each, so that a small perceptron can look up what they add up to.
        """
        initial = [
            one_hot(values)[self.program_index] for values in self.trace(ORIGINAL_MEANING).initial_features().values()
        ]
        counts = np.cumsum(self._one_hot_operations, 1)[self.program_index, self.operation_number - 1].astype(np.int64)
        return np.concatenate([*initial, *(one_hot(column) for column in counts.T)], 1)

    @property
    def surface(self) -> np.ndarray:
        """The whole start, the counts of operations before, and the predicted one. Shape: (P, F)."""
        before = np.cumsum(self._one_hot_operations, 1) - self._one_hot_operations
        at_operation = self.program_index, self.operation_number - 1
        return np.concatenate(
            [
                self.trace(ORIGINAL_MEANING).initial_state_encoding()[self.program_index],
                before[at_operation],
                self._one_hot_operations[at_operation],
            ],
            1,
        )

    @property
    def _one_hot_operations(self) -> np.ndarray:
        """Which operation each is, as zeros and a one. Shape: (N, T, kinds)."""
        return one_hot(self.trace(ORIGINAL_MEANING).operations)

    def hidden_states(self, model: PreTrainedModel, site: str, end: int) -> np.ndarray:
        """Hidden states at the places. Shape: (P, W)."""
        from nosce.data.packing import dataset_from_arrays as sequences
        from nosce.models.activations import collect_activations
        from nosce.models.hooks import layer_sites

        sites = layer_sites(model) if site == MEAN_OF_LAYERS else [site]
        token_sequences = sequences((ids, np.ones(len(ids), dtype=bool)) for ids in self.tokens)
        positions = pl.DataFrame({"text": self.program_index, "token": self.position})
        with tempfile.TemporaryDirectory() as folder:
            activations = collect_activations(model, token_sequences, positions, sites, Path(folder), eos_id=end)
            return np.mean([activations.load_site(name) for name in sites], axis=0)  # type: ignore[no-any-return]

    def probe_predictions(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        hidden_layer_sizes: tuple[int, ...],
        max_epochs: int,
        seed: Seed,
    ) -> dict[str, ProbePredictions]:
        """Task -> what a probe of it answered. Tasks of which nothing can be learnt, as all is alike, are left out."""
        from nosce.evals.probing.probe import ProbeConfig, train_probes

        splits = self._splits(seed)
        learnable = {name: values for name, values in tasks.items() if self._can_learn(values, splits)}
        if not learnable:
            return {}
        config = ProbeConfig(
            hidden_layer_sizes=hidden_layer_sizes, max_epochs=max_epochs, weight_decay=PROBE_WEIGHT_DECAY
        )
        results: list[ProbeResult] = train_probes(
            inputs, learnable, self.entities[self.program_index], splits, config, seed, controls=False
        )
        return {one.task: ProbePredictions.from_result(one, len(self.program_index)) for one in results}

    def control_predictions(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        hidden_layer_sizes: tuple[int, ...],
        max_epochs: int,
        seed: Seed,
    ) -> dict[str, dict[str, ProbePredictions]]:
        """ "shuffled" and "memorised" -> task -> what a probe answered that was taught other labels.

        What can be memorised is a start and the operations so far: each of them has one label, dealt out at random
        (Hewitt and Liang 2019).
        """
        from nosce.evals.probing.probe import ProbeConfig, train_probes

        splits = self._splits(seed)
        learnable = {name: values for name, values in tasks.items() if self._can_learn(values, splits)}
        config = ProbeConfig(
            hidden_layer_sizes=hidden_layer_sizes, max_epochs=max_epochs, weight_decay=PROBE_WEIGHT_DECAY
        )
        results = (
            train_probes(
                inputs,
                learnable,
                self.entities[self.program_index],
                splits,
                config,
                seed,
                control_types=self.control_types,
            )
            if learnable
            else []
        )
        predictions: dict[str, dict[str, ProbePredictions]] = {"shuffled": {}, "memorised": {}}
        for result in results:
            for control, correct in (("shuffled", result.shuffled_correct), ("memorised", result.control_correct)):
                assert correct is not None
                predictions[control][result.task] = ProbePredictions.from_result(
                    replace(result, correct=correct), len(self.program_index)
                )
        return predictions

    def bits_saved(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        hidden_layer_sizes: tuple[int, ...],
        max_epochs: int,
        seed: Seed,
    ) -> dict[str, np.ndarray]:
        """Task -> (P,) bits that the hidden states save in telling its labels; NaN where nothing can be said."""
        from nosce.evals.probing.probe import ProbeConfig, online_code_lengths

        config = ProbeConfig(
            hidden_layer_sizes=hidden_layer_sizes, max_epochs=max_epochs, weight_decay=PROBE_WEIGHT_DECAY
        )
        code_lengths = online_code_lengths(inputs, tasks, self.entities[self.program_index], config, seed)
        return {name: prior - bits for name, (bits, prior) in code_lengths.items()}

    @property
    def control_types(self) -> np.ndarray:
        """A name for the start and the operations up to the predicted one. Shape: (P,)."""
        trace = self.trace(ORIGINAL_MEANING)
        initial = np.stack(list(trace.initial_features().values()), 1)
        return np.array(
            [
                "/".join(map(str, (*initial[text], *trace.operations[text, :number])))
                for text, number in zip(self.program_index, self.operation_number, strict=True)
            ]
        )

    def _splits(self, seed: Seed) -> np.ndarray:
        """A tenth of the seen specifications chooses when to stop. Shape: (P,)."""
        rng = (seed / "validation").numpy()
        is_validation = rng.random(len(self.questions)) < 0.1
        return np.where(self.is_test, "test", np.where(is_validation[self.program_index], "validation", "train"))

    def _can_learn(self, labels: np.ndarray, splits: np.ndarray) -> bool:
        is_labelled = labels >= 0
        classes_by_split = [
            np.unique(labels[is_labelled & (splits == part)]) for part in ("train", "validation", "test")
        ]
        return len(classes_by_split[0]) > 1 and len(classes_by_split[1]) > 0 and len(classes_by_split[2]) > 0


def all_correct(predictions: Iterable[ProbePredictions]) -> np.ndarray:
    """Where all of them are right."""
    correct: np.ndarray = np.logical_and.reduce([one.correct for one in predictions])
    return correct


def one_hot(values: np.ndarray) -> np.ndarray:
    """Zeros and a one for each value, as wide as they differ. Shape: (P, F)."""
    shifted = values - values.min()
    hot: np.ndarray = np.eye(int(shifted.max()) + 1, dtype=np.float32)[shifted]
    return hot
