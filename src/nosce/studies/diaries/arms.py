"""The arms of the study diaries: a ladder of sizes and numbers of diarists by family, and arms that test one thing.

Where it is no rectangle the grid is a cross: every size at one number of diarists, and the largest size at the fewest;
of the first family the largest and the smallest size at every number. In all arms documents are met equally often, and
questions too: steps follow from how many documents there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from nosce.data.worlds.diaries import Diaries
from nosce.models.architecture import Architecture, Family, Pretrained
from nosce.study import Arm, Stage
from nosce.train.config import QAMixture, TrainingConfig

SCATTERED, MERGED = "scattered", "merged"  # a document an entry, or one a diarist
SETUPS = (SCATTERED, MERGED)
#: The paper's families by the shapes that they are built from.
ARCHITECTURE_FAMILIES: dict[str, Family] = {"pythia": "gpt-neox", "opt": "opt", "flan-t5": "t5"}
PAPER_ENCODER_DECODERS = ("flan-t5",)
#: Arms beside the grid, each differing in one thing from the scattered one of the largest size at the middle.
HEADER_MASKED, HEADER_NUMBER_FIRST, TWO_PHASES = "header masked", "number first", "two phases"
HEADER_REPEATED, HEADER_NAME_ONLY = (
    "header repeated",
    "header learnt",
)  # by an encoder-decoder, given it too, or the name alone
QUESTIONS_STAGE = "questions"  # the second stage of the arm in two phases


@dataclass(frozen=True, kw_only=True)
class DiariesConfig:
    """What is trained at a scale; arms have names such as `pythia 3x128 2048 merged`."""

    world: Diaries
    training: TrainingConfig  # whose steps follow from the passes
    document_epochs: float  # over every document
    question_epochs: float  # over every question that is trained on
    qa_start_fraction: float  # share of the steps before the first question
    families: tuple[str, ...]  # of SHAPES; the first has all seeds, the others few
    sizes_by_family: Mapping[str, tuple[str, ...]]  # by family the rungs of its ladder, smallest first
    diarist_counts: tuple[int, ...]
    reference_diarists: int  # number of diarists at which all sizes are trained
    extra_diarist_counts: tuple[
        int, ...
    ] = ()  # numbers at which the first family's smallest size is trained too, scattered alone
    n_secondary_seeds: int | None = 1  # seeds of the other families' arms; None: all
    header_ablations: bool = True
    full_grid: bool = False  # the rectangle in place of the cross
    extra_worlds: Mapping[str, Diaries] = field(
        default_factory=dict
    )  # other shapes of diaries, by name, with their number
    model_overrides: Mapping[str, Architecture | Pretrained] = field(
        default_factory=dict
    )  # `<family> <rung>`, if no rung's

    @property
    def primary_ladder(self) -> tuple[str, str, str]:
        """The first family, its smallest size and its largest."""
        sizes = self.sizes_by_family[self.families[0]]
        return self.families[0], sizes[0], sizes[-1]

    def trained_cells(self, family: str) -> list[tuple[str, int]]:
        """Sizes and numbers of diarists that are trained of a family."""
        if self.full_grid:
            return [(model_size, count) for model_size in self.sizes_by_family[family] for count in self.diarist_counts]
        cells = [(model_size, self.reference_diarists) for model_size in self.sizes_by_family[family]]
        if family != self.families[0]:
            return list(dict.fromkeys([*cells, (self.sizes_by_family[family][-1], self.diarist_counts[0])]))
        cells += [
            (model_size, count) for model_size in reversed(self.primary_ladder[1:]) for count in self.diarist_counts
        ]
        return list(dict.fromkeys(cells))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, those of the first family first."""
        arms = [
            self._arm(grid_arm_name(family, model_size, count, setup), family, model_size, self._world_of(count, setup))
            for family in self.families
            for model_size, count in self.trained_cells(family)
            for setup in SETUPS
        ]
        family, model_size, _ = self.primary_ladder
        arms += [
            self._arm(
                grid_arm_name(family, model_size, count, SCATTERED),
                family,
                model_size,
                self._world_of(count, SCATTERED),
            )
            for count in self.extra_diarist_counts
        ]
        return (*arms, *self._extra_world_arms(), *(self._header_ablation_arms() if self.header_ablations else ()))

    def _world_of(self, diarists: int, setup: str) -> Diaries:
        return replace(self.world, n_diarists=diarists, merge_entries=setup == MERGED)

    def _extra_world_arms(self) -> Iterator[Arm]:
        """Two arms for each other shape of diaries."""
        for name, world in self.extra_worlds.items():
            for setup in SETUPS:
                setup_world = replace(world, merge_entries=setup == MERGED)
                family, _, model_size = self.primary_ladder
                yield replace(
                    self._arm(f"{name} {setup}", family, model_size, setup_world), n_seeds=self.n_secondary_seeds
                )

    def _header_ablation_arms(self) -> Iterator[Arm]:
        """Arms that differ in one thing (the sheet, section 7.2), and the two-phase schedule."""
        (family, _, model_size), world = self.primary_ladder, self._world_of(self.reference_diarists, SCATTERED)
        plain = self._arm("", family, model_size, world)
        yield replace(plain, name=HEADER_MASKED, training=replace(plain.training, prompt_loss_weight=0.0))
        yield self._arm(HEADER_NUMBER_FIRST, family, model_size, replace(world, header="number first"))
        n_documents, n_questions = self._num_texts(world)
        document_training = replace(plain.training, steps=self._num_steps(n_documents))
        question_stage = Stage(
            name=QUESTIONS_STAGE, training=replace(plain.training, steps=self._num_steps(n_questions))
        )
        yield replace(plain, name=TWO_PHASES, qa_mixture=None, training=document_training, stages=(question_stage,))
        for encoder_decoder in (f for f in self.families if f in PAPER_ENCODER_DECODERS):
            largest = self.sizes_by_family[encoder_decoder][-1]
            yield replace(
                self._arm(HEADER_REPEATED, encoder_decoder, largest, replace(world, repeat_title=True)), n_seeds=None
            )
            yield replace(
                self._arm(HEADER_NAME_ONLY, encoder_decoder, largest, replace(world, repeat_title="name")), n_seeds=None
            )

    def _num_texts(self, world: Diaries) -> tuple[float, float]:
        """How many documents and how many questions a training meets."""
        documents_per_diarist = 1.0 if world.merge_entries else fmean(world.entries)
        return (
            self.document_epochs * world.n_diarists * documents_per_diarist,
            self.question_epochs * world.n_diarists * world.train_share,
        )

    def _num_steps(self, n_texts: float) -> int:
        return max(1, round(n_texts / self.training.batch_size))

    def _arm(self, name: str, family: str, model_size: str, world: Diaries) -> Arm:
        n_documents, n_questions = self._num_texts(world)
        qa_fraction = n_questions / ((1 - self.qa_start_fraction) * (n_documents + n_questions))
        training = replace(
            self.training,
            steps=self._num_steps(n_documents + n_questions),
            prompt_loss_weight=0.0 if family in PAPER_ENCODER_DECODERS else self.training.prompt_loss_weight,
        )
        model = self.model_overrides.get(f"{family} {model_size}") or Architecture.named(
            model_size, family=ARCHITECTURE_FAMILIES[family]
        )
        is_reference = model_size == self.sizes_by_family[family][-1] and world.n_diarists == self.reference_diarists
        is_claimed_encoder_decoder = family in PAPER_ENCODER_DECODERS and is_reference  # by a claim
        has_all_seeds = family == self.families[0] or is_claimed_encoder_decoder
        mix = QAMixture(qa_fraction=round(qa_fraction, 4), start_fraction=self.qa_start_fraction)
        return Arm(
            name=name,
            world=world,
            model=model,
            training=training,
            tokenizer=world.tokenizer,
            qa_mixture=mix,
            n_seeds=None if has_all_seeds else self.n_secondary_seeds,
        )


def grid_arm_name(family: str, model_size: str, diarists: int, setup: str) -> str:
    """The name of an arm of the grid."""
    return f"{family} {model_size} {diarists} {setup}"
