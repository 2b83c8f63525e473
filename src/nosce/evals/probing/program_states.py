"""The read-out `ProgramStateProbe`: can the states that a written program goes through be read from the hidden states?

While a model writes, the position that predicts an operation has a hidden state; the program, run so far, has a
state of its own, whose features are labels. A probe is trained on the programs that the model wrote for "seen"
questions and tested on those for "unseen" ones. Beside the truth the same probes are trained on what the words
would mean otherwise, and on what knows nothing of the model: the best constant, the start and the operations
written so far, the true present state, an untrained network reading the same texts.

Alignment: offset 0 is the state behind the operation that is being predicted, -1 the one reached by what is
written, +1 that behind an operation not yet begun. The state before the first operation and the one behind the
last are left out at every offset: the prompt shows both.

Source: Jin and Rinard 2024 (arXiv:2305.11169), sections 3 and 4; floors, controls and the fixed programs are ours.
Letters: N programs, T operations, P places (an operation of a program), W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import MultiCheckpointEvaluation
from nosce.evals.generation import Completion, generate_completions
from nosce.evals.probing.programs import (
    MEAN_OF_LAYERS,
    ORIGINAL_MEANING,
    ProbePredictions,
    ProgramDataset,
    ProgramTracer,
    all_correct,
    one_hot,
)
from nosce.records import ProbedFeature, Walkthrough, WalkthroughStep
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CheckpointLoader = Callable[[], "PreTrainedModel"]
LabelsByMeaning = Mapping[str, Mapping[str, np.ndarray]]  # meaning -> task -> labels (P,)

#: What knows nothing of the trained model, beside the best constant, and is given to the same probes:
#: untrained   the hidden states of the network before its first step, over the same texts
#: bag         the features of the start, and how often each operation occurs up to the predicted one
#: surface     the whole board, how often each operation is written, and which one is predicted: nearly the program
#: present     the true state at offset 0 and the number of operations so far, for the states ahead of it
PROBE_BASELINES = ("untrained", "bag", "surface", "present")


@dataclass(frozen=True, kw_only=True)
class ProbeGrid:
    """Which probes are trained: every combination of these."""

    offsets: tuple[int, ...] = (0, 1)
    meanings: tuple[str, ...] = (ORIGINAL_MEANING,)
    probe_shapes: tuple[tuple[int, ...], ...] = ((64,),)  # hidden layers
    sites: tuple[str, ...] = (MEAN_OF_LAYERS,)
    baselines: tuple[str, ...] = ()  # of FLOORS
    controls: bool = False  # shuffled labels, and labels that can only be memorised, on the first site
    code_lengths: bool = False  # what labels cost to tell, on the first site
    baseline_meanings: tuple[str, ...] = (
        ORIGINAL_MEANING,
    )  # the meanings that bag, surface, controls and codes are for


@dataclass(frozen=True, kw_only=True)
class ProgramStateProbe(MultiCheckpointEvaluation):
    """Probes for the states of programs, on every kept checkpoint and in full on the last.

    Readings have the metric `<meaning>/<source>/<hidden layers>`, the facet `<feature> <offset>` and one row a
    place: was the state read right? Sources are the sites, the floors, and `constant`. For the original meaning
    there are readings again of operations that changed something (facet `<feature> <offset> effective`) and, ahead
    of the present, of places whose present state was read right (`<feature> <offset> given the present`).
    """

    needs_model: ClassVar[bool] = True
    tracer: ProgramTracer
    features: tuple[tuple[str, tuple[str, ...]], ...]  # name -> the labels that must all be right
    final_grid: ProbeGrid  # on the last checkpoint
    earlier_grid: ProbeGrid | None = None  # on every checkpoint before
    use_reference_programs: bool = (
        False  # read the reference programs instead of the model's own: the same on every checkpoint
    )
    max_train_questions: int | None = None  # questions whose programs the probes learn from; None: all that are seen
    max_epochs: int = 60  # of a probe's training at most
    max_walks: int = 0  # programs of the last checkpoint that are kept to be stepped through
    name: str = "states"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, CheckpointLoader], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame | Walkthrough]:
        """Readings of all checkpoints, the earliest of which is the untrained model; then what can be walked."""
        steps = sorted(checkpoints)
        for step in steps:
            grid = self.final_grid if step == steps[-1] else self.earlier_grid
            if grid is None:
                continue
            model = checkpoints[step]()
            programs = self._programs(model, corpus)
            if programs is None:
                continue
            states = {site: programs.hidden_states(model, site, corpus.eos_id) for site in grid.sites}
            if "untrained" in grid.baselines:
                states["untrained"] = programs.hidden_states(checkpoints[steps[0]](), MEAN_OF_LAYERS, corpus.eos_id)
            yield pl.concat(self._checkpoint_readings(programs, states, grid, seed / step)).with_columns(
                step=pl.lit(step, pl.Int64)
            )
            if self.max_walks and step == steps[-1]:
                yield from self._longest_walks(programs, states[grid.sites[0]], grid.probe_shapes[-1], seed / step)

    def _programs(self, model: PreTrainedModel, corpus: Corpus) -> ProgramDataset | None:
        questions = [*corpus.questions_in("seen")[: self.max_train_questions], *corpus.questions_in("unseen")]
        if self.use_reference_programs:
            replies = [q.target for q in questions]
            ids = [e.ids for e in corpus.tokenizer.encode_batch(replies, add_special_tokens=False)]
            completions = [Completion(np.array(i), r) for i, r in zip(ids, replies, strict=True)]
        else:
            completions = generate_completions(model, corpus, questions, self.tracer, constrained=True)
        return ProgramDataset.from_completions(self.tracer, corpus, questions, completions)

    def _checkpoint_readings(
        self, programs: ProgramDataset, states: dict[str, np.ndarray], grid: ProbeGrid, seed: Seed
    ) -> list[pl.DataFrame]:
        """All readings of one checkpoint."""
        readings = []
        labels_by_meaning = {meaning: self._labels(programs, grid.offsets, meaning) for meaning in grid.meanings}
        for meaning, labels in labels_by_meaning.items():
            readings += [
                self._readings_table(programs, places, predictions, attribute, f"{meaning}/constant")
                for attribute, places, predictions in self._majority_baseline(programs, labels)
            ]
        baseline_labels = {
            meaning: labels for meaning, labels in labels_by_meaning.items() if meaning in grid.baseline_meanings
        }
        for source, inputs in states.items():
            for hidden_layer_sizes in grid.probe_shapes if source in grid.sites else grid.probe_shapes[-1:]:
                predictions = programs.probe_predictions(
                    inputs, _flatten_labels(labels_by_meaning), hidden_layer_sizes, self.max_epochs, seed / source
                )
                readings += self._readings_by_meaning(
                    programs, predictions, labels_by_meaning, source, len(hidden_layer_sizes)
                )
                if (source, hidden_layer_sizes) == (grid.sites[0], grid.probe_shapes[-1]):
                    site_predictions = predictions
        layers = len(grid.probe_shapes[-1])
        for source in ("bag", "surface"):
            if source in grid.baselines:
                inputs = getattr(programs, source)
                predictions = programs.probe_predictions(
                    inputs, _flatten_labels(baseline_labels), grid.probe_shapes[-1], self.max_epochs, seed / source
                )
                readings += self._readings_by_meaning(programs, predictions, baseline_labels, source, layers)
        if "present" in grid.baselines:
            readings += self._future_from_present(
                programs, labels_by_meaning[ORIGINAL_MEANING], site_predictions, grid, seed
            )
        first_site_states = states[grid.sites[0]]
        if grid.controls:
            training = grid.probe_shapes[-1], self.max_epochs, seed / "controls"
            for control, predictions in programs.control_predictions(
                first_site_states, _flatten_labels(baseline_labels), *training
            ).items():
                readings += self._readings_by_meaning(programs, predictions, baseline_labels, control, layers)
        if grid.code_lengths:
            readings += self._code_length_readings(programs, first_site_states, baseline_labels, grid, seed)
        return readings

    def _code_length_readings(
        self,
        programs: ProgramDataset,
        states: np.ndarray,
        labels_by_meaning: LabelsByMeaning,
        grid: ProbeGrid,
        seed: Seed,
    ) -> Iterator[pl.DataFrame]:
        """What the states save in telling each label, place by place."""
        hidden_layer_sizes = grid.probe_shapes[-1]
        for name, bits_saved in programs.bits_saved(
            states, _flatten_labels(labels_by_meaning), hidden_layer_sizes, self.max_epochs, seed / "codes"
        ).items():
            meaning, _, task = name.partition(":")
            label, _, offset = task.rpartition(" ")
            indices = np.flatnonzero(np.isfinite(bits_saved))
            attribute, metric = f"{label} {int(offset):+d}", f"{meaning}/bits/{len(hidden_layer_sizes)}"
            yield self._readings_table(programs, indices, bits_saved[indices], attribute, metric)

    def _readings_by_meaning(
        self,
        programs: ProgramDataset,
        predictions: dict[str, ProbePredictions],
        labels_by_meaning: LabelsByMeaning,
        source: str,
        layers: int,
    ) -> Iterator[pl.DataFrame]:
        """Readings of every meaning."""
        for meaning, labels in labels_by_meaning.items():
            yield from self._feature_readings(programs, predictions, labels, meaning, f"{meaning}/{source}/{layers}")

    def _labels(self, programs: ProgramDataset, offsets: Sequence[int], meaning: str) -> dict[str, np.ndarray]:
        components = [label for _, labels in self.features for label in labels]
        return programs.labels(components, offsets, meaning)

    def _feature_readings(
        self,
        programs: ProgramDataset,
        predictions: dict[str, ProbePredictions],
        labels: Mapping[str, np.ndarray],
        meaning: str,
        metric: str,
    ) -> Iterator[pl.DataFrame]:
        """Readings of each feature, which is right where all its labels are."""
        for feature, offset, names in self._tasks(labels):
            if all(f"{meaning}:{name}" in predictions for name in names):
                correct = all_correct(predictions[f"{meaning}:{name}"] for name in names)
                indices = np.flatnonzero(programs.is_test & (labels[names[0]] >= 0))
                attribute = f"{feature} {offset:+d}"
                yield self._readings_table(programs, indices, correct[indices], attribute, metric)
                if meaning == ORIGINAL_MEANING:
                    effective_indices = indices[programs.had_effect(offset)[indices]]
                    yield self._readings_table(
                        programs, effective_indices, correct[effective_indices], f"{attribute} effective", metric
                    )

    def _tasks(self, labels: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int, list[str]]]:
        offsets = sorted({int(name.rpartition(" ")[2]) for name in labels})
        for feature, components in self.features:
            for offset in offsets:
                yield feature, offset, [f"{part} {offset}" for part in components]

    def _majority_baseline(
        self, programs: ProgramDataset, labels: dict[str, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The most frequent state among the training places, as a guess at the test places."""
        for feature, offset, names in self._tasks(labels):
            joint = np.stack([labels[name] for name in names], 1)
            is_labelled = (joint >= 0).all(1)
            joint_classes, counts = np.unique(joint[is_labelled & ~programs.is_test], axis=0, return_counts=True)
            indices = np.flatnonzero(is_labelled & programs.is_test)
            if len(joint_classes) and len(indices):
                yield f"{feature} {offset:+d}", indices, (joint[indices] == joint_classes[counts.argmax()]).all(1)

    def _future_from_present(
        self,
        programs: ProgramDataset,
        labels: dict[str, np.ndarray],
        site_predictions: dict[str, ProbePredictions],
        grid: ProbeGrid,
        seed: Seed,
    ) -> Iterator[pl.DataFrame]:
        """Future states from the true present one and the number of operations so far.

        Then the same once more, and the model's, where the present state was read right from the model: whoever
        does not have the present can hardly be asked what follows from it.
        """
        components = [label for _, names in self.features for label in names]
        present = programs.labels(components, (0,), ORIGINAL_MEANING, include_final=True)
        inputs = np.concatenate([one_hot(values) for values in (*present.values(), programs.operation_number)], 1)
        future_labels = {name: values for name, values in labels.items() if int(name.rpartition(" ")[2]) > 0}
        predictions = programs.probe_predictions(
            inputs,
            {f"{ORIGINAL_MEANING}:{k}": v for k, v in future_labels.items()},
            grid.probe_shapes[-1],
            self.max_epochs,
            seed / "present",
        )
        layers = len(grid.probe_shapes[-1])
        yield from self._feature_readings(
            programs, predictions, future_labels, ORIGINAL_MEANING, f"{ORIGINAL_MEANING}/present/{layers}"
        )
        for source, source_predictions in ((grid.sites[0], site_predictions), ("present", predictions)):
            for feature, offset, names in self._tasks(future_labels):
                present_tasks = [f"{ORIGINAL_MEANING}:{part} 0" for part in dict(self.features)[feature]]
                if not all(name in site_predictions for name in present_tasks) or not all(
                    f"{ORIGINAL_MEANING}:{name}" in source_predictions for name in names
                ):
                    continue
                present_correct = all_correct(site_predictions[name] for name in present_tasks)
                indices = np.flatnonzero(programs.is_test & (labels[names[0]] >= 0) & present_correct)
                correct = all_correct(source_predictions[f"{ORIGINAL_MEANING}:{name}"] for name in names)[indices]
                yield self._readings_table(
                    programs,
                    indices,
                    correct,
                    f"{feature} {offset:+d} given the present",
                    f"{ORIGINAL_MEANING}/{source}/{layers}",
                )

    def _longest_walks(
        self, programs: ProgramDataset, states: np.ndarray, hidden_layer_sizes: tuple[int, ...], seed: Seed
    ) -> Iterator[Walkthrough]:
        """The longest programs for unseen questions, operation by operation beside what the probes say."""
        components = [part for _, names in self.features for part in names]
        labels = programs.labels(
            components, (0,), ORIGINAL_MEANING, include_final=True
        )  # the last state too: it is to be looked at
        predictions = programs.probe_predictions(states, labels, hidden_layer_sizes, self.max_epochs, seed / "walks")
        if len(predictions) < len(labels):
            return
        test_programs = [n for n, question in enumerate(programs.questions) if question.split == "unseen"]
        for program_index in sorted(test_programs, key=lambda n: (-int(programs.operation_count[n]), n))[
            : self.max_walks
        ]:
            yield self._walk(programs, program_index, labels, predictions, len(hidden_layer_sizes))

    def _walk(
        self,
        programs: ProgramDataset,
        program_index: int,
        labels: dict[str, np.ndarray],
        predictions: dict[str, ProbePredictions],
        layers: int,
    ) -> Walkthrough:
        question, reply = programs.questions[program_index], programs.replies[program_index]
        before, *pictures = self.tracer.render_steps(question, reply)
        frames = [WalkthroughStep("(start)", before[1], None, ())]
        for index, (word, picture) in zip(
            np.flatnonzero(programs.program_index == program_index), pictures, strict=True
        ):
            predicted_values = {
                name.rpartition(" ")[0]: int(answers.predicted[index]) for name, answers in predictions.items()
            }
            beliefs = tuple(
                ProbedFeature(
                    part,
                    self.tracer.value_name(part, int(labels[name][index])),
                    self.tracer.value_name(part, predicted_values[part]),
                    float(predictions[name].confidence[index]),
                )
                for name in labels
                if (part := name.rpartition(" ")[0])
            )
            frames.append(
                WalkthroughStep(word, picture, self.tracer.render_predicted_state(question, predicted_values), beliefs)
            )
        (outcome,) = (metrics["correct"][1] for metrics in self.tracer.score([question], [reply], [True]))
        return Walkthrough(
            title=f"{question.entity}: {reply} ({outcome})",
            caption="Programs that the model wrote, on the first input of their specifications. Read by probes "
            f"with {layers} hidden {'layer' if layers == 1 else 'layers'} from the position that predicts each "
            "operation, before it is written; tested on specifications that no probe was trained on.",
            frames=tuple(frames),
        )

    def _readings_table(
        self, programs: ProgramDataset, indices: np.ndarray, values: np.ndarray, attribute: str, metric: str
    ) -> pl.DataFrame:
        program_index = programs.program_index[indices]
        return pl.DataFrame(
            {
                "entity": programs.entities[program_index],
                "item": programs.item_ids[indices],
                "value": values.astype(np.float64),
            }
        ).with_columns(
            evaluation=pl.lit(self.name), split=pl.lit("unseen"), attribute=pl.lit(attribute), metric=pl.lit(metric)
        )


def _flatten_labels(labels_by_meaning: LabelsByMeaning) -> dict[str, np.ndarray]:
    """`<meaning>:<task>` -> labels."""
    return {
        f"{meaning}:{name}": values for meaning, labels in labels_by_meaning.items() for name, values in labels.items()
    }
