"""A study as pure data: arms, seeds, evaluations and claims.

A study is a function from a scale to a `Study`; `nosce.pipeline.study_loading` loads one by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from nosce.analysis.claims import Claim
from nosce.analysis.conclusion import ArmConclusion
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.figures import Figure
from nosce.analysis.needed_rows import selections_in
from nosce.analysis.selection import Selection
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourWorld
from nosce.errors import SpecError, UsageError
from nosce.evals.base import Evaluation, Experiment, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.evals.injection.directions import InjectionPlace
from nosce.models.architecture import Architecture, Pretrained
from nosce.models.sources import ModelSource
from nosce.store.disclosure import Disclosure
from nosce.store.text import FILE_NAME_SIGNS, LABEL_SIGNS, name_fault
from nosce.store.typecheck import require_types
from nosce.train.config import LoRA, QAMixture, TrainingConfig

Scale = Literal["smoke", "laptop", "gpu", "paper", "demo"]
SCALES: tuple[Scale, ...] = get_args(Scale)
MAX_SEEDS = 1_000
EXPLORATORY_SEEDS = (0, 1, 2)  # read while the claims of the built-in studies were made; a study may name others
PRETRAIN = "pretrain"  # the name of the first stage of every arm


@dataclass(frozen=True, kw_only=True)
class StudyVariant:
    """What a command changes about a built-in study.

    Args:
        models: Models that the study's arms start from, instead of fresh weights.
        settings: Fields of the study's configuration, each `key=value`.
    """

    models: tuple[ModelSource, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The variant in a few words, e.g. "smollm2, people=50"; empty for the study as it is."""
        return ", ".join([*(source.label for source in self.models), *self.settings])

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each model of the hub."""
        return tuple(source.note for source in self.models if source.note)


@dataclass(frozen=True)
class AnswerSource:
    """Whose answers to the prompts of a world of behaviours: those of an arm after a stage."""

    arm: str = ""  # none: the arm itself
    stage: str = PRETRAIN  # none: the stage that is read
    n_samples: int = 0  # at temperature 1, beside the likeliest
    max_new_tokens: int = 4  # of an answer at most
    world: BehaviourWorld | None = None  # with other prompts; None: the arm's own


@dataclass(frozen=True, kw_only=True)
class ReportLabels:
    """Questions about somebody's answers: what a stage teaches, or what a read-out asks."""

    train_on: AnswerSource  # of the strings that may be learnt from
    ask_about: AnswerSource | None = None  # of what is only asked; None: the same
    own: AnswerSource | None = None  # of the one who is asked, so that reports can be held against these too
    n_documents: int = 10_000  # documents of a stage, replayed ones among them
    replay_fraction: float = 0.5  # share of them that are lines of the arm's own corpus
    max_labels: int | None = None  # how many different ones are taught; None: all
    property_names: tuple[str, ...] = ()  # properties that are taught; none: all
    name: str | None = None  # the name under which the one who answered is spoken of; None: you
    world: BehaviourWorld | None = None  # with other wordings; None: the arm's own
    leak: bool = False  # teach strings that are tested too: a planted fault


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training after the first, of all weights or of an adapter.

    It is on the questions of the arm's own corpus (seen split); or on labels of somebody's answers; or on the documents
    of another world that has the same words.
    """

    name: str
    training: TrainingConfig
    adapter: LoRA | None = None
    data: ReportLabels | World | None = None
    extra_layers: int = 0  # added on top of the checkpoint before it
    injection: InjectionPlace | None = None  # where the concepts that its documents mark are injected; None: nowhere
    qa_mixture: QAMixture | None = None  # questions of the seen split among the documents of `data`, a world

    def __post_init__(self) -> None:
        if self.qa_mixture is not None and not isinstance(self.data, World):
            raise SpecError(
                f"the stage {self.name!r} mixes questions into documents but has no documents; give it a world as data."
            )
        if self.injection is not None and not isinstance(self.data, World):
            raise SpecError(
                f"the stage {self.name!r} injects concepts but has no documents that mark them; give it the data "
                "InjectionReports(...)."
            )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One condition: a world, a model trained on its documents, and later stages one after the other."""

    name: str
    world: World
    model: Architecture | Pretrained
    training: TrainingConfig
    adapter: LoRA | None = None  # what the first training trains of a pretrained model; None: all weights
    stages: tuple[Stage, ...] = ()
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    n_seeds: int | None = None  # how many of the study's seeds, the first ones; None: all
    qa_mixture: QAMixture | None = None  # questions of the seen split among the documents of the first training
    replica: str = ""  # a name of its own weights and order: another training on the same corpus

    def __post_init__(self) -> None:
        _check_base(self.world, World, f"the world of the arm {self.name!r}")


@dataclass(frozen=True)
class EvalSpec:
    """A read-out and the stage whose checkpoints it is taken on; of some arms, or where none is named of all."""

    evaluation: Evaluation
    stage: str = PRETRAIN
    arms: tuple[str, ...] = ()
    question_source: ReportLabels | World | None = None  # what is asked instead of the arm's own questions

    def __post_init__(self) -> None:
        bases = (PerCheckpointEvaluation, MultiCheckpointEvaluation)
        _check_base(self.evaluation, bases, f"the evaluation after the stage {self.stage!r}")


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """A condition that is no language model's: an experiment that reads what it made itself."""

    name: str
    experiment: Experiment
    n_seeds: int | None = None  # how many of the study's seeds, the first ones; None: all

    def __post_init__(self) -> None:
        _check_base(self.experiment, Experiment, f"the experiment of {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question to the field, what is run to answer it, and what would refute which claim."""

    name: str
    title: str
    question: str
    paper: str
    scale: str
    unit: str  # what is drawn independently, e.g. "person"
    variant: str = ""  # what a command has changed, e.g. "smollm2, people=50"
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    evals: tuple[EvalSpec, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    scaling_curves: tuple[ScalingCurveSpec, ...] = ()  # curves that the mirage test is run on
    experiments: tuple[ExperimentSpec, ...] = ()
    notes: tuple[str, ...] = ()  # sentences that plan, run and page say, e.g. which claims are left out and why
    conclusion: ArmConclusion | None = None  # how the verdicts answer the question in one sentence
    disclosures: tuple[Disclosure, ...] = ()  # what was chosen after which readings; page, table and JSON say it
    headline: tuple[str, ...] = ()  # ids or patterns of the claims that answer the question, the most telling first
    lead_figure: str = ""  # id of the figure that carries the answer; "": the best for the first claim of the answer
    auxiliary_arms: tuple[Arm, ...] = ()  # not run for themselves, but those that are run may learn from them
    exploratory_seeds: tuple[int, ...] = ()  # seeds that were read while claims were made; the others confirm them

    @property
    def label(self) -> str:
        """Study, scale and variant in a few words."""
        return ", ".join(filter(None, (self.name, self.scale, self.variant)))

    def __post_init__(self) -> None:
        require_types(self)
        _check_names(self)
        _check_seeds(self)
        names = [arm.name for arm in self.arms]
        all_names = [*names, *(trial.name for trial in self.experiments)]
        if not all_names or len(set(all_names)) < len(all_names):
            raise SpecError(
                f"the study {self.name!r} has the arms {all_names}; give it at least one, each with its own name."
            )
        if not self.seeds:
            raise SpecError(f"the study {self.name!r} has no seeds, so nothing would be run; give it at least one.")
        _require_unique(self.name, "seeds", list(self.seeds))
        _require_unique(self.name, "claims", [claim.id for claim in self.claims])
        _require_unique(self.name, "figures", [figure.id for figure in self.figures])
        if (
            unknown_arms := {arm for read in self.evals for arm in read.arms}
            - set(names)
            - {arm.name for arm in self.auxiliary_arms}
        ):
            raise SpecError(
                f"the study {self.name!r} reads the arms {sorted(unknown_arms)}, but has {names}; name one."
            )
        for name in names:
            arm_evals = [read for read in self.evals if not read.arms or name in read.arms]
            _require_unique(
                self.name, "read-outs of one stage", [(read.evaluation.name, read.stage) for read in arm_evals]
            )
        for arm in self.arms:
            _require_unique(self.name, f"stages of arm {arm.name!r}", [PRETRAIN, *(stage.name for stage in arm.stages)])
        stages = {PRETRAIN, *(stage.name for arm in (*self.arms, *self.auxiliary_arms) for stage in arm.stages)}
        if unknown_stages := [read.stage for read in self.evals if read.stage not in stages]:
            raise SpecError(
                f"the study {self.name!r} reads the stages {unknown_stages}, but only {sorted(stages)} are "
                "trained; name one."
            )

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the arms and experiments."""
        return (*(arm.name for arm in self.arms), *(experiment.name for experiment in self.experiments))

    def subset(self, arms: tuple[str, ...] = (), n_seeds: int | None = None, seeds: tuple[int, ...] = ()) -> Study:
        """The study with only some arms, and these seeds, or the first so many (or more: numbers go on).

        A number of seeds says nothing of which were read before, so that all of them count alike.

        Raises:
            UsageError: An arm is not there, or fewer than one seed was asked for.
        """
        known = self.condition_names
        if unknown_arms := [name for name in arms if name not in known]:
            raise UsageError(f"study {self.name!r} has no arm {unknown_arms[0]!r}; take from {', '.join(known)}.")
        if n_seeds is not None and not 1 <= n_seeds <= MAX_SEEDS:
            raise UsageError(f"--seeds {n_seeds} cannot be run; take 1 or more, and at most {MAX_SEEDS:,}.")
        selected_arms = tuple(arm for arm in self.arms if not arms or arm.name in arms)
        selected_experiments = tuple(trial for trial in self.experiments if not arms or trial.name in arms)
        auxiliary_arms = (*(arm for arm in self.arms if arm not in selected_arms), *self.auxiliary_arms)
        return replace(
            self,
            arms=selected_arms,
            experiments=selected_experiments,
            auxiliary_arms=auxiliary_arms,
            seeds=seeds or (self.seeds if n_seeds is None else first_seeds(self.seeds, n_seeds)),
            exploratory_seeds=self.exploratory_seeds if n_seeds is None else (),
        )

    @property
    def seen_seeds(self) -> tuple[int, ...]:
        """The exploratory seeds of a study that has others too; () where there is nothing to hold them against."""
        seen = tuple(seed for seed in self.seeds if seed in self.exploratory_seeds)
        return seen if len(seen) < len(self.seeds) else ()

    def without_unread_evals(self) -> Study:
        """The study without the evaluations, and without those arms of them, that no claim, figure or curve selects.

        With a measure or figure of somebody's own, which may look at any reading, the study stays as it is.
        """
        selections = selections_in((*self.claims, *self.figures, *self.scaling_curves))
        return self if selections is None else replace(self, evals=self._evals_of(selections))

    def read_by(self, claims: Sequence[Claim]) -> Study | None:
        """The study with the arms, experiments and evaluations that some claims and their needs read; None: with none.

        A measure of somebody's own may look at any reading: it reads the whole study.
        """
        selections = selections_in(claims)
        if selections is None:
            return self if claims else None
        evals = self._evals_of(selections)
        read = {name for spec in evals for name in (spec.arms or tuple(arm.name for arm in self.arms))}
        arms = tuple(arm for arm in self.arms if arm.name in read)
        chosen = {selection.arm for selection, _ in selections}
        experiments = tuple(one for one in self.experiments if None in chosen or one.name in chosen)
        if not arms and not experiments:
            return None
        auxiliary_arms = (*(arm for arm in self.arms if arm not in arms), *self.auxiliary_arms)
        return replace(self, arms=arms, experiments=experiments, evals=evals, auxiliary_arms=auxiliary_arms)

    def _evals_of(self, selections: Sequence[tuple[Selection, bool]]) -> tuple[EvalSpec, ...]:
        """The evaluations, each of those arms, whose readings are selected."""
        evals = []
        for spec in self.evals:
            arms = spec.arms or tuple(arm.name for arm in self.arms)
            read_arms = tuple(arm for arm in arms if any(_selects(one, spec, arm) for one, _ in selections))
            if read_arms:
                evals.append(spec if read_arms == arms else replace(spec, arms=read_arms))
        return tuple(evals)


def _selects(selection: Selection, spec: EvalSpec, arm: str) -> bool:
    """May the selection have readings of the evaluation of this arm?"""
    is_read = selection.evaluation == spec.evaluation.name and selection.stage in (None, spec.stage)
    return is_read and selection.arm in (None, arm)


def _check_names(study: Study) -> None:
    """The study's name, its scale and its figures' ids become names of files; all others are only labels."""
    arms = (*study.arms, *study.auxiliary_arms)
    for what, name, signs in (
        ("the study", study.name, FILE_NAME_SIGNS),
        ("the scale", study.scale, FILE_NAME_SIGNS),
        ("the unit", study.unit, LABEL_SIGNS),
        *(("a figure", figure.id, FILE_NAME_SIGNS) for figure in study.figures),
        *(("an arm", arm.name, LABEL_SIGNS) for arm in arms),
        *(("an experiment", one.name, LABEL_SIGNS) for one in study.experiments),
        *(("a stage", stage.name, LABEL_SIGNS) for arm in arms for stage in arm.stages),
        *(("a replica", arm.replica, LABEL_SIGNS) for arm in arms if arm.replica),
        *(("an evaluation", read.evaluation.name, f"{LABEL_SIGNS},") for read in study.evals),
        *(("a claim", claim.id, f"{LABEL_SIGNS}/") for claim in study.claims),
    ):
        if fault := name_fault(name, signs):
            raise SpecError(f"the name {name!r:.60} of {what} {fault}; choose another.")


def _check_seeds(study: Study) -> None:
    wrong = [seed for seed in (*study.seeds, *study.exploratory_seeds) if not 0 <= seed < 2**31]
    if wrong or len(study.seeds) > MAX_SEEDS:
        found = f"the seed {wrong[0]}" if wrong else f"{len(study.seeds):,} seeds"
        raise SpecError(
            f"the study {study.name!r} has {found}; give at most {MAX_SEEDS:,} whole numbers from 0 to below 2^31."
        )


def _check_base(part: object, bases: type | tuple[type, ...], what: str) -> None:
    """Raise unless a part of a study, which may be a user's own, inherits the defaults that the pipeline relies on."""
    if not isinstance(part, bases):
        names = [base.__name__ for base in (bases if isinstance(bases, tuple) else (bases,))]
        kind = type(part).__name__
        raise SpecError(
            f"{what} is a {kind}, which inherits from no {' or '.join(names)}; write `class {kind}({names[0]})`."
        )


def first_seeds(seeds: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The first so many of some seeds; where these are fewer, numbers go on."""
    more = range(max(seeds) + 1, max(seeds) + 1 + max(0, count - len(seeds)))
    return (*seeds, *more)[:count]


def _require_unique(study: str, kind: str, names: Sequence[object]) -> None:
    """What has one name would be counted twice."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise SpecError(
            f"among the {kind} of the study {study!r}, {repeated[0]!r} stands twice; give each its own name."
        )
