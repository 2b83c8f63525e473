"""`--budget 20m`: of the sizes of a study on a given model, the largest whose price fits.

The smallest size is timed once, as `nosce plan` times it. The others are priced from it: a training by its steps, an
evaluation by its questions, or by the people that it asks about. What is chosen are ordinary settings, so the result
has the name that `--set` would give it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from nosce.data.worlds.base import World
from nosce.errors import SpecError, UsageError
from nosce.evals.base import Evaluation, Experiment
from nosce.pipeline.cost import TIMED_KINDS, StepCost, TimingListener, estimate_costs, makespan_minutes
from nosce.pipeline.local_pool import available_cores
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_table import TimingProgress
from nosce.pipeline.step import Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.pipeline.study_loading import budget_ladder
from nosce.store.spec import describe, hash_description
from nosce.store.text import literal

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0}
TIMING_SECONDS = 45.0  # for the smallest size of a model that may have hundreds of millions of weights
WORST_DEVIATION = 0.5  # of a share of answers, at one half


@dataclass(frozen=True, kw_only=True)
class BudgetChoice:
    """A size of a study that fits a budget.

    Args:
        settings: The settings of the size, each `key=value`.
        minutes: Its price.
        n_not_known: Steps whose price is not known; they are not in the minutes.
        half_width: Half the width of the interval of a difference of two shares of unseen entities, at worst. None:
            the number of entities is not known.
        next_settings: The settings of the next larger size; empty: this is the largest.
        next_minutes: Its price.
    """

    settings: tuple[str, ...]
    minutes: float
    n_not_known: int
    half_width: float | None
    next_settings: tuple[str, ...]
    next_minutes: float

    @property
    def sentence(self) -> str:
        """What was chosen, what it costs, and what it will not be able to tell."""
        at_least = f"at least {self.minutes:.1f}" if self.n_not_known else f"about {self.minutes:.1f}"
        parts = [f"The budget takes {', '.join(self.settings)}: {at_least} minutes here."]
        if self.n_not_known:
            parts.append(f"The price of {self.n_not_known} steps is not known.")
        if self.half_width is not None:
            parts.append(f"A difference below some {100 * self.half_width:.0f} points may not be told from none.")
        if self.next_settings:
            parts.append(f"The next size, {', '.join(self.next_settings)}, would take {self.next_minutes:.1f}.")
        return " ".join(parts)


def parse_budget(text: str) -> float:
    """The minutes of a text such as 90s, 20m or 2h.

    Raises:
        UsageError: It is no time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)", text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"--budget {text} is no time; write 90s, 20m or 2h.")
    return float(match[1]) * SECONDS[match[2]] / 60


def choose_size(
    request: StudyRequest, minutes: float, n_workers: int, listener: TimingListener | None = None
) -> BudgetChoice:
    """The largest size of a study that fits.

    Args:
        request: The study with its models.
        minutes: The budget.
        n_workers: Steps that are made at once.
        listener: Told what is timed.

    Raises:
        UsageError: The study has no sizes to choose from, a setting names what the budget chooses, or not even the
            smallest size fits.
    """
    ladder = budget_ladder(request.study) if request.models else ()
    if not ladder:
        raise UsageError(f"--budget has no sizes of {request.study} to choose from; give --model, or leave it out.")
    _check_settings(request, ladder)
    sizes = price_sizes(request, ladder, n_workers, listener)
    fitting = [index for index, size in enumerate(sizes) if size.minutes <= minutes]
    if not sizes[0].has_prices:
        fitting = fitting[:1]  # no size can be told from another, and what is not known is not nothing
    if not fitting:
        raise UsageError(
            f"--budget {minutes:g}m is too little: {', '.join(ladder[0])}, the smallest size, takes "
            f"{sizes[0].minutes:.1f} minutes here; allow more."
        )
    return size_choice(sizes, fitting[-1])


@dataclass(frozen=True, kw_only=True)
class PricedSize:
    """A size of a study on a model with its price.

    Args:
        settings: The settings of the size, each `key=value`.
        minutes: Its price here.
        n_not_known: Steps whose price is not known; they are not in the minutes.
        half_width: As in `BudgetChoice`.
        has_prices: Whether trainings and experiments have prices; without them no size can be told from another.
    """

    settings: tuple[str, ...]
    minutes: float
    n_not_known: int
    half_width: float | None
    has_prices: bool


def price_sizes(
    request: StudyRequest,
    ladder: Sequence[tuple[str, ...]],
    n_workers: int,
    listener: TimingListener | None = None,
    seconds: float = TIMING_SECONDS,
) -> tuple[PricedSize, ...]:
    """The sizes that the scale has room for with their prices, the cheapest first.

    Args:
        request: The study with its models.
        ladder: The sizes as settings, the cheapest first.
        n_workers: Steps that are made at once.
        listener: Told what is timed.
        seconds: For how long the smallest size is timed.

    Raises:
        UsageError: A setting is not there.
        SpecError: The smallest size is impossible.
    """
    plans = dict(possible_plans(request, ladder))
    smallest = plans[ladder[0]]
    costs = estimate_costs(_representatives(smallest), listener, seconds)
    known_kinds = {cost.step.kind for cost in costs if cost.seconds is not None}
    has_prices = {step.kind for step in smallest.upstream_steps} & {"training", "experiment"} <= known_kinds
    sizes = []
    for settings, plan in plans.items():
        minutes, n_not_known = scaled_minutes(plan, costs, n_workers)
        sizes.append(
            PricedSize(
                settings=settings,
                minutes=minutes,
                n_not_known=n_not_known,
                half_width=_half_width(plan),
                has_prices=has_prices,
            )
        )
    return tuple(sizes)


def size_choice(sizes: Sequence[PricedSize], index: int) -> BudgetChoice:
    """The choice of one of several sizes."""
    size = sizes[index]
    is_last = index == len(sizes) - 1
    return BudgetChoice(
        settings=size.settings,
        minutes=size.minutes,
        n_not_known=size.n_not_known,
        half_width=size.half_width,
        next_settings=() if is_last else sizes[index + 1].settings,
        next_minutes=math.nan if is_last else sizes[index + 1].minutes,
    )


def possible_plans(request: StudyRequest, ladder: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], Plan]]:
    """The plans of the sizes that the scale has room for: a small world has not names for many people."""
    for settings in ladder:
        try:
            yield settings, replace(request, settings=(*settings, *request.settings)).plan()
        except SpecError:
            if settings == ladder[0]:  # then it is no matter of size
                raise


def _check_settings(request: StudyRequest, ladder: Sequence[Sequence[str]]) -> None:
    if both := settings_of_size(request, ladder):
        raise UsageError(f"--budget chooses {both[0]}, and --set gives it too; leave one of the two out.")


def settings_of_size(request: StudyRequest, ladder: Sequence[Sequence[str]]) -> list[str]:
    """The fields that the sizes of a study choose and a setting of the request gives too."""
    chosen = {setting.partition("=")[0] for settings in ladder for setting in settings}
    given = {setting.partition("=")[0].strip().rpartition(".")[2] for setting in request.settings}
    return sorted(chosen & given)


def scaled_minutes(plan: Plan, costs: Sequence[StepCost], n_workers: int) -> tuple[float, int]:
    """The price of a plan from the costs of another size of it, and how many steps have no price.

    Steps of one label are the same but for their size. A step that the other size does not have, e.g. of an arm that
    larger sizes alone have, or that could not be timed, costs what the dearest step of its kind does.
    """
    scaled = []
    for step in plan.upstream_steps:
        if step.kind in TIMED_KINDS:
            cost = _cost_of_like_step(step, costs)
            seconds = None if cost is None or cost.seconds is None else cost.seconds * _growth(cost.step, step)
            scaled.append(StepCost(step, seconds))
    n_not_known = sum(cost.seconds is None for cost in scaled)
    return makespan_minutes(plan.upstream_steps, scaled, n_workers), n_not_known


def _cost_of_like_step(step: Step, costs: Sequence[StepCost]) -> StepCost | None:
    """The cost of the step that is most like a step; of several the dearest, so that none is priced too low."""
    known = [cost for cost in costs if cost.seconds is not None and cost.step.kind == step.kind]
    alike = [cost for cost in known if cost.step.label == step.label]
    for likeness in (_work, _name, _class):
        alike = alike or [cost for cost in known if likeness(cost.step) == likeness(step)]
    return max(alike, key=lambda cost: cost.seconds or 0.0, default=None)


def _asked(step: Step) -> Evaluation | Experiment | None:
    if isinstance(step.spec, EvaluationStepSpec):
        return step.spec.evaluation
    return step.spec.experiment if isinstance(step.spec, ExperimentStepSpec) else None


def _work(step: Step) -> str:
    """What an evaluation does, whatever it is called and whichever split it asks."""
    description = describe(_asked(step))
    if not isinstance(description, dict):
        return ""
    return hash_description({key: value for key, value in description.items() if key not in ("name", "split")})


def _name(step: Step) -> str:
    asked = _asked(step)
    return "" if asked is None else asked.name


def _class(step: Step) -> str:
    return type(_asked(step)).__name__


def _representatives(plan: Plan) -> list[Step]:
    """The steps that are timed: every training and experiment, and one evaluation for all that do the same."""
    evaluations: dict[str, Step] = {}
    others = []
    for step in plan.upstream_steps:
        if step.kind == "evaluation":
            evaluations.setdefault(_work(step), step)
        else:
            others.append(step)
    return [*others, *evaluations.values()]


def kinds_of_work(plan: Plan) -> set[tuple[str, str]]:
    """What a plan has to be timed by: the kinds of its steps, and what evaluations and experiments do."""
    return {(step.kind, _work(step)) for step in plan.upstream_steps if step.kind in TIMED_KINDS}


def _growth(small: Step, large: Step) -> float:
    """How many times as long a step takes as its smaller version."""
    if isinstance(small.spec, TrainingSpec) and isinstance(large.spec, TrainingSpec):
        return _n_texts(large.spec) / _n_texts(small.spec)
    if isinstance(small.spec, EvaluationStepSpec) and small.spec.evaluation.timing_subset() is not None:
        return 1.0
    if isinstance(small.spec, ExperimentStepSpec) and isinstance(large.spec, ExperimentStepSpec):
        return _n_subsets(large.spec) / _n_subsets(small.spec)
    count = _n_questions if isinstance(small.spec, EvaluationStepSpec) else _n_entities
    before, after = count(small), count(large)
    return after / before if before and after else 1.0


def _n_subsets(spec: ExperimentStepSpec) -> float:
    """How many times as long an experiment takes as the part by which it is timed, which is the same at all sizes."""
    subset = spec.experiment.timing_subset()
    return 1.0 if subset is None else subset[1]


def _n_texts(spec: TrainingSpec) -> int:
    return spec.training.steps * spec.training.batch_size


def _world(step: Step) -> World | None:
    """The world of the corpus that a step reads."""
    corpus = step.inputs.get("corpus", step)
    return corpus.spec.world if isinstance(corpus.spec, CorpusSpec) else None


def _n_entities(step: Step) -> int | None:
    world = _world(step)
    return None if world is None else world.n_entities


def _n_questions(step: Step) -> int | None:
    """The questions of a world; where it has as many of every entity, its entities."""
    world = _world(step)
    return None if world is None else world.n_questions or world.n_entities


def _half_width(plan: Plan) -> float | None:
    """Half of a 95 % interval of a difference of two independent shares of the unseen entities, at worst."""
    worlds = [world for step in plan.upstream_steps if step.kind == "corpus" and (world := _world(step)) is not None]
    counts = [world.n_unseen_entities for world in worlds if world.n_unseen_entities]
    if not counts:
        return None
    n_unseen = max(counts) * len(plan.study.seeds)
    return 1.96 * WORST_DEVIATION * math.sqrt(2 / n_unseen)


def fit_budget(request: StudyRequest, budget: str | None, workers: int | None) -> StudyRequest:
    """The request with the settings of the largest size that fits a budget, of which a line on stderr tells.

    Args:
        request: The study with its models.
        budget: A time such as 20m; None: the request as it is.
        workers: Steps that are made at once; None: one a core.
    """
    if budget is None:
        return request
    minutes = parse_budget(budget)
    console = Console(stderr=True, soft_wrap=True)
    with TimingProgress(console) as progress:
        choice = choose_size(request, minutes, workers or len(available_cores()), progress)
    console.print(literal(choice.sentence), highlight=False)
    return replace(request, settings=(*choice.settings, *request.settings))
