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
from nosce.pipeline.cost import StepCost, TimingListener, estimate_costs, makespan_minutes
from nosce.pipeline.local_pool import available_cores
from nosce.pipeline.plan import Plan, Step, StudyRequest
from nosce.pipeline.plan_table import TimingProgress
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.store.text import literal
from nosce.study import budget_ladder

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
    sizes = dict(_possible_plans(request, ladder))
    ladder, plans = tuple(sizes), list(sizes.values())
    smallest = plans[0].upstream_steps
    costs = estimate_costs(smallest, listener, TIMING_SECONDS)
    priced_steps = [list(_priced_steps(plan, costs)) for plan in plans]
    pairs = zip(plans, priced_steps, strict=True)
    prices = [makespan_minutes(plan.upstream_steps, priced, n_workers) for plan, priced in pairs]
    fitting = [index for index, price in enumerate(prices) if price <= minutes]
    if any(cost.seconds is None for cost in priced_steps[0] if isinstance(cost.step.spec, TrainingSpec)):
        fitting = fitting[:1]  # no size can be told from another, and what is not known is not nothing
    if not fitting:
        raise UsageError(
            f"--budget {minutes:g}m is too little: {', '.join(ladder[0])}, the smallest size, takes {prices[0]:.1f} "
            "minutes here; allow more."
        )
    index = fitting[-1]
    is_last = index == len(ladder) - 1
    return BudgetChoice(
        settings=ladder[index],
        minutes=prices[index],
        n_not_known=sum(cost.seconds is None for cost in priced_steps[index]),
        half_width=_half_width(plans[index]),
        next_settings=() if is_last else ladder[index + 1],
        next_minutes=math.nan if is_last else prices[index + 1],
    )


def _possible_plans(request: StudyRequest, ladder: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], Plan]]:
    """The plans of the sizes that the scale has room for: a small world has not names for many people."""
    for settings in ladder:
        try:
            yield settings, replace(request, settings=(*settings, *request.settings)).plan()
        except SpecError:
            if settings == ladder[0]:  # then it is no matter of size
                raise


def _check_settings(request: StudyRequest, ladder: Sequence[Sequence[str]]) -> None:
    chosen = {setting.partition("=")[0] for settings in ladder for setting in settings}
    given = {setting.partition("=")[0].strip().rpartition(".")[2] for setting in request.settings}
    if both := sorted(chosen & given):
        raise UsageError(f"--budget chooses {both[0]}, and --set gives it too; leave one of the two out.")


def _priced_steps(plan: Plan, costs: Sequence[StepCost]) -> Iterator[StepCost]:
    """The price of each step of a size that runs a model, from those of the smallest size.

    A step of an arm that only larger sizes have costs what the same step of another arm does. One without such a step
    has no price.
    """
    by_label = {(cost.step.kind, cost.step.label): cost for cost in costs}
    by_work = {_work(cost.step): cost for cost in reversed(costs)}
    priced_kinds = {cost.step.kind for cost in costs}
    for step in plan.upstream_steps:
        cost = by_label.get((step.kind, step.label)) or by_work.get(_work(step))
        if cost is not None:
            seconds = None if cost.seconds is None else cost.seconds * _growth(cost.step, step)
            yield replace(cost, step=step, seconds=seconds)
        elif step.kind in priced_kinds:
            yield StepCost(step, None)


def _work(step: Step) -> tuple[str, str]:
    """What a step does, whichever arm it is of."""
    return step.kind, step.spec.evaluation.name if isinstance(step.spec, EvaluationStepSpec) else ""


def _growth(small: Step, large: Step) -> float:
    """How many times as long a step takes as its smaller version."""
    if isinstance(small.spec, TrainingSpec) and isinstance(large.spec, TrainingSpec):
        return _n_texts(large.spec) / _n_texts(small.spec)
    if isinstance(small.spec, EvaluationStepSpec) and small.spec.evaluation.timing_subset() is not None:
        return 1.0
    count = _n_questions if isinstance(small.spec, EvaluationStepSpec) else _n_entities
    before, after = count(small), count(large)
    return after / before if before and after else 1.0


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
