"""The evaluation `ProgramStateProbe`: can the states that a written program goes through be read from hidden states?

While a model writes a program, the position that predicts an operation has a hidden state. The program, run so far, has
a program state, whose features are labels. A probe is trained on the programs that the model wrote for "seen" questions
and tested on those for "unseen" ones. The same probes are trained on labels of another meaning of the words, and on
baselines that know nothing of the trained model: the best constant, the start and the operations written so far, the
true present state, and an untrained network on the same texts.

Alignment: offset 0 is the state after the operation that is being predicted, -1 the state reached by what is written,
+1 the state after an operation that is not begun. The state before the first operation and the one after the last have
no label at any offset, because the prompt shows both.

Source: Jin and Rinard 2024 (arXiv:2305.11169), sections 3 and 4; baselines, controls and reference programs are ours.
Letters: N programs, T operations, P places (an operation of a program), W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation, first_sites
from nosce.evals.generation import Completion, generate_completions
from nosce.evals.probing.programs import (
    MEAN_OF_LAYERS,
    ORIGINAL_MEANING,
    ProbePredictions,
    ProbeTraining,
    ProgramDataset,
    ProgramTracer,
    all_correct,
    one_hot,
)
from nosce.records import ProbedFeature, Walkthrough, WalkthroughStep
from nosce.seeds import Seed
from nosce.store.spec import LATER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CheckpointLoader = Callable[[], "PreTrainedModel"]
LabelsByMeaning = Mapping[str, Mapping[str, np.ndarray]]  # meaning -> task -> labels (P,)
Predictions = dict[str, ProbePredictions]  # task -> predictions

BEHIND_BLOCK = "behind a block"  # in an attribute: of places behind the beginning of a loop or branch
#: Inputs of the same probes that know nothing of the trained model:
#: untrained   hidden states of the network before its first step, over the same texts
#: bag         features of the start, and how often each operation occurs up to the predicted one
#: surface     the whole start, how often each operation is written, and the predicted one: nearly the program
#: present     the true state at offset 0 and the number of operations so far, for later states
PROBE_BASELINES = ("untrained", "bag", "surface", "present")

#: Of a training of probes, for its price: those of a trained model have their best weights after some 5 epochs and end
#: a few later; those of the network without a training that stands in for it go on to the last.
TIMED_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class ProbeGrid:
    """Which probes are trained: every combination of offsets, meanings, shapes and sites, and baselines beside them.

    Attributes:
        offsets: Which program states, relative to the predicted operation.
        meanings: Meanings of the words.
        probe_shapes: Widths of hidden layers, for each shape of a probe. Baselines use the last shape.
        sites: Names of `nosce.models.hooks`, or "mean" over layers.
        baselines: Of `PROBE_BASELINES`.
        controls: Train on shuffled labels and on labels that can only be memorised, at the first site.
        code_lengths: Measure the bits that the first site saves in encoding the labels.
        baseline_meanings: The meanings for which bag, surface, controls and code lengths are measured.
    """

    offsets: tuple[int, ...] = (0, 1)
    meanings: tuple[str, ...] = (ORIGINAL_MEANING,)
    probe_shapes: tuple[tuple[int, ...], ...] = ((64,),)
    sites: tuple[str, ...] = (MEAN_OF_LAYERS,)
    baselines: tuple[str, ...] = ()
    controls: bool = False
    code_lengths: bool = False
    baseline_meanings: tuple[str, ...] = (ORIGINAL_MEANING,)


@dataclass(frozen=True, kw_only=True)
class ProgramStateProbe(MultiCheckpointEvaluation):
    """Probes for program states, on every kept checkpoint and with a larger grid on the last.

    Metrics, one row a place: `<meaning>/<source>/<number of hidden layers>`, is the state read correctly? Sources are
    the sites, the baselines, the controls, and `constant`. The attribute is `<feature> <offset>`. For the original
    meaning there are further rows for operations that changed something (`<feature> <offset> effective`) and, at later
    offsets, for places at which the present state was read correctly (`<feature> <offset> given the present`). Where
    programs have loops or branches there are rows for places behind one (`<feature> <offset> behind a block`).

    Attributes:
        tracer: The world's interpreter.
        features: Name of each feature, and the labels that must all be correct for it.
        final_grid: Probes of the last checkpoint.
        earlier_grid: Probes of every earlier checkpoint. None: there are none.
        use_reference_programs: Read the reference programs, equal for all checkpoints, and not the model's own.
        max_train_questions: Questions whose programs the probes are trained on. None: all seen ones.
        max_epochs: Epochs of a probe's training at most.
        max_walks: Programs of the last checkpoint that are kept as walkthroughs.
        name: Name of the evaluation in the readings.
        probe_training: How the probes are trained. None: as this project trains them.
    """

    tracer: ProgramTracer
    features: tuple[tuple[str, tuple[str, ...]], ...]
    final_grid: ProbeGrid
    earlier_grid: ProbeGrid | None = None
    use_reference_programs: bool = False
    max_train_questions: int | None = None
    max_epochs: int = 60
    max_walks: int = 0
    name: str = "states"
    probe_training: ProbeTraining | None = field(default=None, metadata=LATER)
    timed_entities: ClassVar[int] = 264  # an epoch of small data has as many batches as one of large data

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, CheckpointLoader], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame | Walkthrough]:
        """Readings of all checkpoints, the earliest of which is the untrained model; then the walkthroughs."""
        steps = sorted(checkpoints)
        for step in steps:
            grid = self.final_grid if step == steps[-1] else self.earlier_grid
            if grid is None:
                continue
            model = checkpoints[step]()
            programs = self._programs(model, corpus)
            if programs is None:
                continue
            states = programs.hidden_states(model, grid.sites, corpus.eos_id)
            if "untrained" in grid.baselines:
                untrained = programs.hidden_states(checkpoints[steps[0]](), [MEAN_OF_LAYERS], corpus.eos_id)
                states["untrained"] = untrained[MEAN_OF_LAYERS]
            probes = _CheckpointProbes(self, programs, states, grid, seed / step)
            yield pl.concat(probes.readings()).with_columns(step=pl.lit(step, pl.Int64))
            if self.max_walks and step == steps[-1]:
                yield from probes.longest_walks()

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """By the grids."""
        if self.earlier_grid is None:
            return "the last alone"
        return "alike" if self.earlier_grid == self.final_grid else "the last differs"

    @property
    def timed_form(self) -> ProgramStateProbe:
        """With the epochs that probes of a trained model take; those of the untrained one that is timed never end."""
        return replace(self, max_epochs=min(self.max_epochs, TIMED_EPOCHS))

    def on_shallow_model(self, layers: int) -> tuple[ProgramStateProbe, float]:
        """With the sites of the first blocks."""
        (sites, times), earlier = first_sites(self.final_grid.sites, layers), self.earlier_grid
        if earlier is not None:
            earlier = replace(earlier, sites=first_sites(earlier.sites, layers)[0])
        return replace(self, final_grid=replace(self.final_grid, sites=sites), earlier_grid=earlier), times

    def n_questions_read(self, n_by_split: Mapping[str, float]) -> float:
        """The seen questions up to `max_train_questions`, and all others."""
        seen, every = n_by_split.get("seen", 0.0), sum(n_by_split.values())
        return every if self.max_train_questions is None else every - seen + min(seen, self.max_train_questions)

    @property
    def components(self) -> list[str]:
        """The labels of all features."""
        return [label for _, labels in self.features for label in labels]

    def _programs(self, model: PreTrainedModel, corpus: Corpus) -> ProgramDataset | None:
        questions = [*corpus.questions_in("seen")[: self.max_train_questions], *corpus.questions_in("unseen")]
        if self.use_reference_programs:
            replies = [q.target for q in questions]
            ids = [e.ids for e in corpus.tokenizer.encode_batch(replies, add_special_tokens=False)]
            completions = [Completion(np.array(i), r) for i, r in zip(ids, replies, strict=True)]
        else:
            completions = generate_completions(model, corpus, questions, self.tracer, constrained=True)
        programs = ProgramDataset.from_completions(self.tracer, corpus, questions, completions)
        return None if programs is None else replace(programs, probe_training=self.probe_training)


@dataclass(frozen=True, eq=False)
class _CheckpointProbes:
    """All probes of one checkpoint: programs, their hidden states by source, and which probes are trained."""

    evaluation: ProgramStateProbe
    programs: ProgramDataset
    states: Mapping[str, np.ndarray]
    grid: ProbeGrid
    seed: Seed

    @property
    def _last_shape(self) -> tuple[int, ...]:
        return self.grid.probe_shapes[-1]

    def readings(self) -> Iterator[pl.DataFrame]:
        """All readings of the checkpoint, without their step."""
        grid, components = self.grid, self.evaluation.components
        labels = {meaning: self.programs.labels(components, grid.offsets, meaning) for meaning in grid.meanings}
        baseline_labels = {meaning: labels[meaning] for meaning in grid.meanings if meaning in grid.baseline_meanings}
        for meaning in labels:
            yield from self._majority_readings(labels[meaning], f"{meaning}/constant")
        first_site_predictions: Predictions = {}
        for source, inputs in self.states.items():
            for shape in grid.probe_shapes if source in grid.sites else grid.probe_shapes[-1:]:
                predictions = self._predict(inputs, labels, shape, source)
                yield from self._readings_by_meaning(predictions, labels, source, len(shape))
                if (source, shape) == (grid.sites[0], self._last_shape):
                    first_site_predictions = predictions
        yield from self._baseline_readings(baseline_labels)
        if "present" in grid.baselines:
            yield from self._present_readings(labels[ORIGINAL_MEANING], first_site_predictions)
        if grid.controls:
            yield from self._control_readings(baseline_labels)
        if grid.code_lengths:
            yield from self._code_length_readings(baseline_labels)

    def _predict(
        self, inputs: np.ndarray, labels_by_meaning: LabelsByMeaning, shape: tuple[int, ...], source: str
    ) -> Predictions:
        labels, max_epochs = _flatten_labels(labels_by_meaning), self.evaluation.max_epochs
        return self.programs.probe_predictions(inputs, labels, shape, max_epochs, self.seed / source)

    def _baseline_readings(self, labels_by_meaning: LabelsByMeaning) -> Iterator[pl.DataFrame]:
        """Readings of probes whose input is the program and not the hidden states."""
        for source in ("bag", "surface"):
            if source in self.grid.baselines:
                inputs = self.programs.bag if source == "bag" else self.programs.surface
                predictions = self._predict(inputs, labels_by_meaning, self._last_shape, source)
                yield from self._readings_by_meaning(predictions, labels_by_meaning, source, len(self._last_shape))

    def _control_readings(self, labels_by_meaning: LabelsByMeaning) -> Iterator[pl.DataFrame]:
        states, labels = self.states[self.grid.sites[0]], _flatten_labels(labels_by_meaning)
        predictions_by_control = self.programs.control_predictions(
            states, labels, self._last_shape, self.evaluation.max_epochs, self.seed / "controls"
        )
        for control, predictions in predictions_by_control.items():
            yield from self._readings_by_meaning(predictions, labels_by_meaning, control, len(self._last_shape))

    def _code_length_readings(self, labels_by_meaning: LabelsByMeaning) -> Iterator[pl.DataFrame]:
        """The bits that the hidden states save in encoding each label, place by place."""
        states, labels = self.states[self.grid.sites[0]], _flatten_labels(labels_by_meaning)
        bits_by_task = self.programs.bits_saved(
            states, labels, self._last_shape, self.evaluation.max_epochs, self.seed / "codes"
        )
        for name, bits_saved in bits_by_task.items():
            meaning, _, task = name.partition(":")
            label, _, offset = task.rpartition(" ")
            indices = np.flatnonzero(np.isfinite(bits_saved))
            attribute, metric = f"{label} {int(offset):+d}", f"{meaning}/bits/{len(self._last_shape)}"
            yield self._table(indices, bits_saved[indices], attribute, metric)

    def _readings_by_meaning(
        self, predictions: Predictions, labels_by_meaning: LabelsByMeaning, source: str, layers: int
    ) -> Iterator[pl.DataFrame]:
        for meaning, labels in labels_by_meaning.items():
            yield from self._feature_readings(predictions, labels, meaning, f"{meaning}/{source}/{layers}")

    def _feature_readings(
        self, predictions: Predictions, labels: Mapping[str, np.ndarray], meaning: str, metric: str
    ) -> Iterator[pl.DataFrame]:
        """Readings of each feature, which is correct where all its labels are."""
        for feature, offset, names in self._tasks(labels):
            if all(f"{meaning}:{name}" in predictions for name in names):
                correct = all_correct(predictions[f"{meaning}:{name}"] for name in names)
                indices = np.flatnonzero(self.programs.is_test & (labels[names[0]] >= 0))
                attribute = f"{feature} {offset:+d}"
                yield self._table(indices, correct[indices], attribute, metric)
                if meaning == ORIGINAL_MEANING:
                    behind = indices[self._is_behind_block[indices]]
                    if len(behind):
                        yield self._table(behind, correct[behind], f"{attribute} {BEHIND_BLOCK}", metric)
                    effective = indices[self.programs.had_effect(offset)[indices]]
                    yield self._table(effective, correct[effective], f"{attribute} effective", metric)

    @cached_property
    def _is_behind_block(self) -> np.ndarray:
        """Does a loop or branch begin before each place? Shape: (P,)."""
        is_behind: np.ndarray = (self.programs.context_counts > 0).sum(1) > 0
        return is_behind

    def _tasks(self, labels: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int, list[str]]]:
        """Feature, offset, and the names of its labels."""
        offsets = sorted({int(name.rpartition(" ")[2]) for name in labels})
        for feature, components in self.evaluation.features:
            for offset in offsets:
                yield feature, offset, [f"{part} {offset}" for part in components]

    def _majority_readings(self, labels: Mapping[str, np.ndarray], metric: str) -> Iterator[pl.DataFrame]:
        """The most frequent state among the training places, as a prediction of the test places.

        Where there are loops or branches, also among the places behind one alone.
        """
        is_test, everywhere = self.programs.is_test, np.ones(len(self.programs.is_test), dtype=bool)
        subsets = {"": everywhere, f" {BEHIND_BLOCK}": self._is_behind_block}
        for feature, offset, names in self._tasks(labels):
            joint = np.stack([labels[name] for name in names], 1)
            for suffix, subset in subsets.items():
                is_labelled = (joint >= 0).all(1) & subset
                joint_classes, counts = np.unique(joint[is_labelled & ~is_test], axis=0, return_counts=True)
                indices = np.flatnonzero(is_labelled & is_test)
                if len(joint_classes) and len(indices):
                    correct = (joint[indices] == joint_classes[counts.argmax()]).all(1)
                    yield self._table(indices, correct, f"{feature} {offset:+d}{suffix}", metric)

    def _present_readings(
        self, labels: Mapping[str, np.ndarray], first_site_predictions: Predictions
    ) -> Iterator[pl.DataFrame]:
        """Later states predicted from the true present one and the number of operations so far.

        Then the same, and the model's, where the present state was read correctly from the model: a model that does
        not have the present state cannot be expected to have what follows from it.
        """
        programs, layers = self.programs, len(self._last_shape)
        present = programs.labels(self.evaluation.components, (0,), ORIGINAL_MEANING, include_final=True)
        inputs = np.concatenate([one_hot(values) for values in (*present.values(), programs.operation_number)], 1)
        later_labels = {name: values for name, values in labels.items() if int(name.rpartition(" ")[2]) > 0}
        predictions = self._predict(inputs, {ORIGINAL_MEANING: later_labels}, self._last_shape, "present")
        metric = f"{ORIGINAL_MEANING}/present/{layers}"
        yield from self._feature_readings(predictions, later_labels, ORIGINAL_MEANING, metric)
        for source, source_predictions in ((self.grid.sites[0], first_site_predictions), ("present", predictions)):
            for feature, offset, names in self._tasks(later_labels):
                present_tasks = [f"{ORIGINAL_MEANING}:{part} 0" for part in dict(self.evaluation.features)[feature]]
                later_tasks = [f"{ORIGINAL_MEANING}:{name}" for name in names]
                has_present = all(task in first_site_predictions for task in present_tasks)
                if not has_present or not all(task in source_predictions for task in later_tasks):
                    continue
                present_correct = all_correct(first_site_predictions[task] for task in present_tasks)
                indices = np.flatnonzero(programs.is_test & (labels[names[0]] >= 0) & present_correct)
                correct = all_correct(source_predictions[task] for task in later_tasks)[indices]
                attribute, metric = f"{feature} {offset:+d} given the present", f"{ORIGINAL_MEANING}/{source}/{layers}"
                yield self._table(indices, correct, attribute, metric)

    def _table(self, indices: np.ndarray, values: np.ndarray, attribute: str, metric: str) -> pl.DataFrame:
        """Readings of these places, without their step."""
        columns = {
            "entity": self.programs.entities[self.programs.program_index[indices]],
            "item": self.programs.item_ids[indices],
            "value": values.astype(np.float64),
        }
        return pl.DataFrame(columns).with_columns(
            evaluation=pl.lit(self.evaluation.name),
            split=pl.lit("unseen"),
            attribute=pl.lit(attribute),
            metric=pl.lit(metric),
        )

    def longest_walks(self) -> Iterator[Walkthrough]:
        """The longest programs for unseen questions, operation by operation, with what the probes predict."""
        programs, evaluation = self.programs, self.evaluation
        # With the last state, which a walkthrough shows too.
        labels = programs.labels(evaluation.components, (0,), ORIGINAL_MEANING, include_final=True)
        states, seed = self.states[self.grid.sites[0]], self.seed / "walks"
        predictions = programs.probe_predictions(states, labels, self._last_shape, evaluation.max_epochs, seed)
        if len(predictions) < len(labels):
            return
        test_programs = [n for n, question in enumerate(programs.questions) if question.split == "unseen"]
        longest = sorted(test_programs, key=lambda n: (-int(programs.operation_count[n]), n))
        for program_index in longest[: evaluation.max_walks]:
            yield self._walk(program_index, labels, predictions)

    def _walk(self, program_index: int, labels: Mapping[str, np.ndarray], predictions: Predictions) -> Walkthrough:
        tracer, layers = self.evaluation.tracer, len(self._last_shape)
        question, reply = self.programs.questions[program_index], self.programs.replies[program_index]
        before, *pictures = tracer.render_steps(question, reply)
        frames = [WalkthroughStep("(start)", before[1], None, ())]
        places = np.flatnonzero(self.programs.program_index == program_index)
        for index, (word, picture) in zip(places, pictures, strict=True):
            predicted_values, beliefs = {}, []
            for name, true_values in labels.items():
                part, prediction = name.rpartition(" ")[0], predictions[name]
                predicted_values[part] = int(prediction.predicted[index])
                true, read = (tracer.value_name(part, int(v[index])) for v in (true_values, prediction.predicted))
                beliefs.append(ProbedFeature(part, true, read, float(prediction.confidence[index])))
            predicted_picture = tracer.render_predicted_state(question, predicted_values)
            frames.append(WalkthroughStep(word, picture, predicted_picture, tuple(beliefs)))
        (outcome,) = (metrics["correct"][1] for metrics in tracer.score([question], [reply], [True]))
        return Walkthrough(
            title=f"{question.entity}: {reply} ({outcome})",
            caption="Programs that the model wrote, on the first input of their specifications. Read by probes "
            f"with {layers} hidden {'layer' if layers == 1 else 'layers'} from the position that predicts each "
            "operation, before it is written; tested on specifications that no probe was trained on.",
            frames=tuple(frames),
        )


def _flatten_labels(labels_by_meaning: LabelsByMeaning) -> dict[str, np.ndarray]:
    """`<meaning>:<task>` -> labels."""
    flat = {}
    for meaning, labels in labels_by_meaning.items():
        for name, values in labels.items():
            flat[f"{meaning}:{name}"] = values
    return flat
