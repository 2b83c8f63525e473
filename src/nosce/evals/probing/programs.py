"""Programs with the states they go through, and probes that read these states from inputs of any kind.

A place is the position of a text that predicts an operation. The world's tracer says what a program does there. Probes
predict it from hidden states, from baselines, and for other labels; their predictions come back one a place.

Letters: N programs, T operations, P places (an operation of a program), W width, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    from nosce.evals.probing.probe import ProbeConfig, ProbeResult

MEAN_OF_LAYERS = "mean"  # over layers, as in the paper
ORIGINAL_MEANING = "original"  # of the words, as the texts use them
PROBE_WEIGHT_DECAY = 0.2  # as in the code released with arXiv:2305.11169


@dataclass(frozen=True, kw_only=True)
class ProbeTraining:
    """A training of program-state probes that is not this project's own. The defaults are of the code released with
    arXiv:2305.11169 (probe/model.py and probe/train.py).

    Args:
        peak_lr: Learning rate of the first step.
        decay_points: Evenly spaced points at which the learning rate falls by a twentieth.
        batch_size: Places of a batch.
        batch_norm: Normalise each hidden layer's output, behind its ReLU, over the places of a batch.
    """

    peak_lr: float = 0.02
    decay_points: int = 150
    batch_size: int = 1_024
    batch_norm: bool = True


class ExecutionTraces(Protocol):
    """The execution of N programs, operation by operation. After a program's last operation, values are arbitrary."""

    @property
    def operations(self) -> np.ndarray:
        """The kind of each operation, as integers. Shape: (N, T)."""
        ...

    @property
    def had_effect(self) -> np.ndarray:
        """Did the operation change the state? Shape: (N, T)."""
        ...

    def features(self) -> Mapping[str, np.ndarray]:
        """Name -> the feature's value after every operation, as integers from 0. Shape of each: (N, T)."""
        ...

    @property
    def is_defined(self) -> np.ndarray:
        """Is there a state after the operation? None is where a loop does not end. Shape: (N, T)."""
        ...

    @property
    def context_counts(self) -> np.ndarray:
        """How often each of K words that are no operations stands before the operation. Shape: (N, T, K)."""
        ...

    def initial_features(self) -> Mapping[str, np.ndarray]:
        """Name -> the feature's value before the first operation, as integers from 0. Shape of each: (N,)."""
        ...

    def initial_state_encoding(self) -> np.ndarray:
        """Everything that the prompt shows of the state in which each program begins. Shape: (N, F)."""
        ...


class ProgramTracer(Scorer, Protocol):
    """A world's knowledge of the states of its programs."""

    def trace(self, questions: Sequence[Question], replies: Sequence[str], meaning: str) -> ExecutionTraces:
        """Run every reply."""
        ...

    def operation_positions(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """Positions of the tokens that tell the operations in a reply's tokens; the one before predicts them."""
        ...

    def is_traceable(self, reply: str) -> bool:
        """Does every word of the reply have a state?"""
        ...

    def render_steps(self, question: Question, reply: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """A word for the start and for every operation, each with a picture of the world after it."""
        ...

    def render_predicted_state(
        self, question: Question, predicted_features: Mapping[str, int]
    ) -> tuple[str, ...] | None:
        """A picture of the world with these feature values. None if no world has them."""
        ...

    def value_name(self, feature: str, value: int) -> str:
        """The name of a feature's value."""
        ...


@dataclass(frozen=True, eq=False)
class ProbePredictions:
    """A probe's predictions at the test places. At other places they are wrong, class 0 and probability 0.

    Attributes:
        correct: Is the prediction the label? Shape: (P,).
        predicted: Most likely classes. Shape: (P,).
        confidence: Their probabilities. Shape: (P,).
    """

    correct: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @classmethod
    def from_result(cls, result: ProbeResult, count: int) -> ProbePredictions:
        """The predictions of a result, spread over all `count` places."""
        predictions = cls(np.zeros(count, dtype=bool), np.zeros(count, dtype=np.int64), np.zeros(count))
        predictions.correct[result.test_indices] = result.correct
        predictions.predicted[result.test_indices] = result.predictions
        predictions.confidence[result.test_indices] = result.confidence
        return predictions


@dataclass(frozen=True, eq=False)
class ProgramDataset:
    """N programs with the P places that predict their operations.

    Attributes:
        tracer: The world's interpreter.
        questions: The question that each program answers.
        tokens: Prompt and reply of each program.
        replies: The text of each program.
        program_index: The program of each place. Shape: (P,).
        operation_number: The operation that each place predicts, counted from 1. Shape: (P,).
        position: The position in the text that predicts the operation; -1 is the opening end token. Shape: (P,).
        operation_count: Operations of each program. Shape: (N,).
        traces: Executions by meaning, filled when they are first needed.
        probe_training: How probes are trained. None: as this project trains them.
    """

    tracer: ProgramTracer
    questions: list[Question]
    tokens: list[np.ndarray]
    replies: list[str]
    program_index: np.ndarray
    operation_number: np.ndarray
    position: np.ndarray
    operation_count: np.ndarray
    traces: dict[str, ExecutionTraces] = field(default_factory=dict)
    probe_training: ProbeTraining | None = None

    @classmethod
    def from_completions(
        cls,
        tracer: ProgramTracer,
        corpus: Corpus,
        questions: Sequence[Question],
        completions: Sequence[Completion],
        locate: Callable[[Tokenizer, np.ndarray], np.ndarray] | None = None,
    ) -> ProgramDataset | None:
        """The readable programs of two operations or more. None if they are not of two splits.

        Args:
            tracer: The world's interpreter.
            corpus: The corpus of the questions.
            questions: One a completion.
            completions: The programs.
            locate: Positions in a reply's tokens, of which those before are probed. None: the tracer's
                `operation_positions`.
        """
        locate = locate or tracer.operation_positions
        kept, tokens, positions = [], [], []
        prompts = corpus.tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        for question, prompt, (ids, reply, _) in zip(questions, prompts, completions, strict=True):
            if not tracer.is_traceable(reply):
                continue
            operation_positions = locate(corpus.tokenizer, ids)
            if len(operation_positions) > 1:
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
        """The specification of each program. Shape: (N,)."""
        return np.array([q.entity for q in self.questions])

    @property
    def item_ids(self) -> np.ndarray:
        """An identifier of every place. Shape: (P,)."""
        return np.char.add(np.char.add(self.entities[self.program_index], "/"), self.operation_number.astype(str))

    @property
    def is_test(self) -> np.ndarray:
        """Is each place a test place, that is, of an unseen specification? Shape: (P,)."""
        unseen: np.ndarray = np.array([q.split == "unseen" for q in self.questions])[self.program_index]
        return unseen

    def trace(self, meaning: str) -> ExecutionTraces:
        """The execution of the programs if their words have this meaning."""
        if meaning not in self.traces:
            self.traces[meaning] = self.tracer.trace(self.questions, self.replies, meaning)
        return self.traces[meaning]

    def labels(
        self, features: Sequence[str], offsets: Sequence[int], meaning: str, *, include_final: bool = False
    ) -> dict[str, np.ndarray]:
        """`<feature> <offset>` -> (P,) labels, -1 where there is no such state or the prompt shows it.

        Args:
            features: Names of features.
            offsets: Which states, relative to the one after the predicted operation.
            meaning: The meaning of the words.
            include_final: Label the states after the last operations too.
        """
        trace = self.trace(meaning)
        values_by_feature, is_defined = trace.features(), trace.is_defined
        last_operation = self.operation_count[self.program_index]
        labels = {}
        for offset in offsets:
            state_number = self.operation_number + offset  # the state after this operation
            is_labelled = (state_number >= 1) & (state_number < last_operation + include_final)
            operation_index = np.clip(state_number, 1, last_operation) - 1
            is_labelled &= is_defined[self.program_index, operation_index]
            for feature in features:
                values = values_by_feature[feature][self.program_index, operation_index]
                labels[f"{feature} {offset}"] = np.where(is_labelled, values, -1)
        return labels

    def had_effect(self, offset: int) -> np.ndarray:
        """Did the operation before the state at this offset change the state? Shape: (P,)."""
        state_number = np.clip(self.operation_number + offset, 1, self.operation_count[self.program_index])
        changed: np.ndarray = self.trace(ORIGINAL_MEANING).had_effect[self.program_index, state_number - 1]
        return changed

    @property
    def bag(self) -> np.ndarray:
        """The start's features and the counts of operations up to the predicted one. Shape: (P, F).

        Counts are one-hot, so that a small perceptron can look up what they add up to. Other words that stand before
        are counted too.
        """
        initial_features = self.trace(ORIGINAL_MEANING).initial_features()
        initial = [one_hot(values)[self.program_index] for values in initial_features.values()]
        counts = np.cumsum(self._one_hot_operations, 1)[self.program_index, self.operation_number - 1].astype(np.int64)
        columns = (*counts.T, *self.context_counts.T)
        return np.concatenate([*initial, *(one_hot(column) for column in columns)], 1)

    @property
    def context_counts(self) -> np.ndarray:
        """How often each word that is no operation and that occurs stands before each place. Shape: (P, K)."""
        counts = self.trace(ORIGINAL_MEANING).context_counts[self.program_index, self.operation_number - 1]
        occurring: np.ndarray = counts[:, counts.any(0)].astype(np.int64)
        return occurring

    @property
    def surface(self) -> np.ndarray:
        """The whole start, the counts of earlier words, and the predicted operation. Shape: (P, F)."""
        before = np.cumsum(self._one_hot_operations, 1) - self._one_hot_operations
        at_operation = self.program_index, self.operation_number - 1
        return np.concatenate(
            [
                self.trace(ORIGINAL_MEANING).initial_state_encoding()[self.program_index],
                before[at_operation],
                self._one_hot_operations[at_operation],
                self.context_counts.astype(np.float32),
            ],
            1,
        )

    @property
    def _one_hot_operations(self) -> np.ndarray:
        """The kind of each operation, one-hot. Shape: (N, T, kinds)."""
        return one_hot(self.trace(ORIGINAL_MEANING).operations)

    def hidden_states(self, model: PreTrainedModel, sites: Sequence[str], end: int) -> dict[str, np.ndarray]:
        """Hidden states at the places, by site. Shape of each: (P, W). The network reads each program once.

        Args:
            sites: Names of `nosce.models.hooks`, and "mean" over layers.
            end: The end token.
        """
        from nosce.evals.probing.hidden_states import temporary_activations
        from nosce.models.hooks import layer_sites

        parts = {site: layer_sites(model) if site == MEAN_OF_LAYERS else [site] for site in sites}
        collected = list(dict.fromkeys(name for names in parts.values() for name in names))
        positions = pl.DataFrame({"text": self.program_index, "token": self.position})
        with temporary_activations(model, self.tokens, positions, collected, eos_id=end) as activations:
            means = {}
            for site, names in parts.items():
                means[site] = np.mean([activations.load_site(name) for name in names], axis=0)
            return means

    def probe_predictions(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        hidden_layer_sizes: tuple[int, ...],
        max_epochs: int,
        seed: Seed,
    ) -> dict[str, ProbePredictions]:
        """Task -> predictions of a probe. Tasks with too few labels or classes are left out.

        Args:
            inputs: What the probes see at each place. Shape: (P, F).
            tasks: Name -> labels, each (P,).
            hidden_layer_sizes: Widths of hidden layers.
            max_epochs: Epochs at most.
            seed: Seed of the validation split and the probes.
        """
        config = self._probe_config(hidden_layer_sizes, max_epochs)
        results = self._train(inputs, tasks, config, seed)
        return {one.task: ProbePredictions.from_result(one, len(self.program_index)) for one in results}

    def control_predictions(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        hidden_layer_sizes: tuple[int, ...],
        max_epochs: int,
        seed: Seed,
    ) -> dict[str, dict[str, ProbePredictions]]:
        """ "shuffled" and "memorised" -> task -> predictions of a probe that was trained on other labels.

        Labels are shuffled among specifications, or drawn for each start and operations so far, so that they can only
        be memorised (Hewitt and Liang 2019). Arguments are those of `probe_predictions`.
        """
        config = self._probe_config(hidden_layer_sizes, max_epochs)
        predictions: dict[str, dict[str, ProbePredictions]] = {"shuffled": {}, "memorised": {}}
        for result in self._train(inputs, tasks, config, seed, self.control_types):
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
        """Task -> (P,) bits that the inputs save in encoding its labels, NaN where a label has no code length.

        Arguments are those of `probe_predictions`.
        """
        from nosce.evals.probing.mdl import online_code_lengths

        config = self._probe_config(hidden_layer_sizes, max_epochs)
        code_lengths = online_code_lengths(inputs, tasks, self.entities[self.program_index], config, seed)
        return {name: prior - bits for name, (bits, prior) in code_lengths.items()}

    def _train(
        self,
        inputs: np.ndarray,
        tasks: Mapping[str, np.ndarray],
        config: ProbeConfig,
        seed: Seed,
        control_types: np.ndarray | None = None,
    ) -> list[ProbeResult]:
        """Results of the tasks that can be learnt, with controls if control types are given."""
        from nosce.evals.probing.probe import train_probes

        splits = self._splits(seed)
        learnable = {name: values for name, values in tasks.items() if _can_learn(values, splits)}
        if not learnable:
            return []
        controls = control_types is not None
        entities = self.entities[self.program_index]
        return train_probes(
            inputs, learnable, entities, splits, config, seed, control_types=control_types, controls=controls
        )

    def _probe_config(self, hidden_layer_sizes: tuple[int, ...], max_epochs: int) -> ProbeConfig:
        from nosce.evals.probing.probe import ProbeConfig

        config = ProbeConfig(
            hidden_layer_sizes=hidden_layer_sizes, max_epochs=max_epochs, weight_decay=PROBE_WEIGHT_DECAY
        )
        chosen = self.probe_training
        if chosen is None:
            return config
        return replace(
            config,
            peak_lr=chosen.peak_lr,
            decay_points=chosen.decay_points,
            batch_size=chosen.batch_size,
            batch_norm=chosen.batch_norm,
        )

    @property
    def control_types(self) -> np.ndarray:
        """A string for the start and the operations up to the predicted one, and other words. Shape: (P,)."""
        trace = self.trace(ORIGINAL_MEANING)
        initial = np.stack(list(trace.initial_features().values()), 1)
        types = []
        for program, number, context in zip(
            self.program_index, self.operation_number, self.context_counts, strict=True
        ):
            types.append("/".join(map(str, (*initial[program], *trace.operations[program, :number], *context))))
        return np.array(types)

    def _splits(self, seed: Seed) -> np.ndarray:
        """A tenth of the seen specifications decides when training stops. Shape: (P,)."""
        rng = (seed / "validation").numpy()
        is_validation = rng.random(len(self.questions)) < 0.1
        return np.where(self.is_test, "test", np.where(is_validation[self.program_index], "validation", "train"))


def _can_learn(labels: np.ndarray, splits: np.ndarray) -> bool:
    """Has training two classes, and have validation and test a label?"""
    is_labelled = labels >= 0
    train, validation, test = (np.unique(labels[is_labelled & (splits == s)]) for s in ("train", "validation", "test"))
    return len(train) > 1 and len(validation) > 0 and len(test) > 0


def all_correct(predictions: Iterable[ProbePredictions]) -> np.ndarray:
    """Is every one of the predictions correct? Shape: (P,)."""
    correct: np.ndarray = np.logical_and.reduce([one.correct for one in predictions])
    return correct


def one_hot(values: np.ndarray) -> np.ndarray:
    """One-hot encoding of each value, as wide as the range of the values. Shape: (P, F)."""
    shifted = values - values.min()
    hot: np.ndarray = np.eye(int(shifted.max()) + 1, dtype=np.float32)[shifted]
    return hot
