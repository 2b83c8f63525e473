"""What a card will ask: which questions can be asked of the model, at which size, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from nosce.errors import Interrupted, NosceError, UsageError
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.architecture import Pretrained
from nosce.models.sources import ModelSource, parse_models
from nosce.pipeline.budget import (
    BudgetChoice,
    kinds_of_work,
    parse_budget,
    possible_plans,
    price_sizes,
    settings_of_size,
    size_choice,
)
from nosce.pipeline.cards.division import QuestionPrice, choice_path, divide_budget, load_prices, save_prices
from nosce.pipeline.cards.questions import CardQuestion
from nosce.pipeline.command_lines import command_line
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_table import TimingProgress
from nosce.pipeline.preflight import check_model_folders
from nosce.pipeline.size_check import check_size
from nosce.pipeline.study_loading import budget_ladder, takes_models
from nosce.pipeline.time_budget import TimeBudget
from nosce.store.spec import describe
from nosce.store.store import Store

CARD_TIMING_SECONDS = 95.0  # for a plan with the prices of all questions; to start and to print takes some more
TIMING_SHARE = 0.05  # of a budget that is spent, since a question without a price stays at its cheapest size
NO_MODEL_YET = "the study {study} takes no model yet"


@dataclass(frozen=True, kw_only=True)
class CardRequest:
    """What a card is made from.

    Args:
        model: The model, as `--model` takes one.
        others: Other models, which predict the model's answers.
        ladder: Models by size, separated by commas. Empty: the model and the others.
        scale: Name of the scale of all studies.
        settings: Settings as the user gave them, each `key=value` or `study.key=value`.
        settings_by_study: The settings of each study.
        budget: Time for all studies together, e.g. 60m. None: the sizes of the scale.
        questions: The questions of the card.
    """

    model: str
    others: tuple[str, ...] = ()
    ladder: str = ""
    scale: str
    settings: tuple[str, ...] = ()
    settings_by_study: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    budget: str | None = None
    questions: tuple[CardQuestion, ...]

    def study_request(self, question: CardQuestion, size: Sequence[str] = ()) -> StudyRequest:
        """The run of a study that asks a question, at a size."""
        models = {
            "the model": self.model,
            "the model and the others": ",".join((self.model, *self.others)),
            "the ladder": self.ladder or ",".join((self.model, *self.others)),
        }
        settings = self.settings_by_study.get(question.study, ())
        return StudyRequest(
            study=question.study, scale=self.scale, models=models[question.models], settings=(*size, *settings)
        )

    @property
    def command(self) -> str:
        """The command that makes the card; it names no store."""
        words = ["card", self.model, *(word for other in self.others for word in ("--other", other))]
        words += ["--ladder", self.ladder] if self.ladder else []
        words += ["--scale", self.scale]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--budget", self.budget] if self.budget else []
        return command_line(*words)


@dataclass(frozen=True, kw_only=True)
class PlannedQuestion:
    """A question with the run that asks it, or with the reason why it is not asked.

    Args:
        question: The question.
        request: The run. None: the question is not asked.
        plan: The plan of the run.
        reason: Why the question is not asked, as the end of a sentence.
        choice: The size that the budget chose. None: there is no budget.
    """

    question: CardQuestion
    request: StudyRequest | None = None
    plan: Plan | None = None
    reason: str = ""
    choice: BudgetChoice | None = None


@dataclass(frozen=True, kw_only=True)
class CardPlan:
    """What a card will ask.

    Args:
        request: What it is made from.
        model: The model.
        others: The other models.
        ladder: The models by size.
        questions: All questions, in their order.
        budget_minutes: The budget. None: there is none.
    """

    request: CardRequest
    model: ModelSource
    others: tuple[ModelSource, ...]
    ladder: tuple[ModelSource, ...]
    questions: tuple[PlannedQuestion, ...]
    budget_minutes: float | None = None

    def model_name(self, question: CardQuestion) -> str:
        """What the study of a question calls the model; a ladder may have it under another name."""
        if question.models != "the ladder":
            return self.model.name
        same = [source.name for source in self.ladder if _is_same(source.model, self.model.model)]
        return same[0] if same else self.model.name

    @property
    def minutes(self) -> float:
        """What all sizes together are expected to take at least; 0 without a budget."""
        return sum(planned.choice.minutes for planned in self.questions if planned.choice is not None)

    @property
    def n_not_known(self) -> int:
        """Steps whose price is not known."""
        return sum(planned.choice.n_not_known for planned in self.questions if planned.choice is not None)


def plan_card(
    request: CardRequest, store: Store, console: Console, n_workers: int, *, is_dry_run: bool = False
) -> CardPlan:
    """What a card will ask; nothing is made but the record of prices.

    A run goes on with the prices that are recorded. A dry run measures again what is not known.

    A question that cannot be asked of the model loses none of the others.

    Args:
        request: What the card is made from.
        store: The store, which keeps what a budget chose.
        console: Told what is timed.
        n_workers: Steps that are made at once.
        is_dry_run: Price the questions without a budget too, and record no price that is not known.

    Raises:
        UsageError: A model is not there, the budget is no time or too little for every question, or no question can
            be asked.
        SpecError: A folder holds no model.
    """
    minutes = None if request.budget is None else parse_budget(request.budget)
    time_limit = TimeBudget(card_timing_seconds(minutes, is_dry_run=is_dry_run))
    model, others, ladder = _models(request)
    planned = [_planned(request, question, minutes is not None) for question in request.questions]
    _check_any(planned)
    if minutes is not None:
        ladders = {one.question.id: _ladder(request, one.question) for one in planned if one.request is not None}
        models = [*map(_identity, (model, *others, *ladder))]
        asked = describe([models, request.scale, request.settings, ladders, n_workers])
        path = choice_path(store, model.name, asked)
        prices = _kept_prices(path, ladders) or _measured_prices(request, planned, console, n_workers, time_limit)
        if not is_dry_run or all(price.is_known for price in prices.values()):
            save_prices(path, prices)
        planned = list(_with_sizes(request, planned, prices, minutes))
    elif is_dry_run:
        planned = list(_with_scale_prices(planned, console, n_workers, time_limit))
    checked = [_checked(one, store) for one in planned]
    _check_any(checked)
    return CardPlan(
        request=request,
        model=model,
        others=others,
        ladder=ladder,
        questions=tuple(checked),
        budget_minutes=minutes,
    )


def card_timing_seconds(minutes: float | None, *, is_dry_run: bool) -> float:
    """For how long the questions of a card are timed.

    Args:
        minutes: The budget; None: there is none.
        is_dry_run: Is nothing made afterwards? Then the answer comes soon.
    """
    if minutes is None or is_dry_run:
        return CARD_TIMING_SECONDS
    return max(CARD_TIMING_SECONDS, 60 * minutes * TIMING_SHARE)


def _is_same(one: Pretrained | EndpointConfig, other: Pretrained | EndpointConfig) -> bool:
    """Is it the same model, wherever its folder lies?"""
    if isinstance(one, Pretrained) and isinstance(other, Pretrained):
        return one.digest == other.digest
    return one == other


def _models(request: CardRequest) -> tuple[ModelSource, tuple[ModelSource, ...], tuple[ModelSource, ...]]:
    if len(parse_models(request.model)) > 1:
        raise UsageError(f"a card is of one model, and {request.model} are several; give the others with --other.")
    model, *others = named = parse_models(",".join((request.model, *request.others)))
    return model, tuple(others), parse_models(request.ladder) if request.ladder else named


def _identity(source: ModelSource) -> tuple[str, object, float | None]:
    return source.name, source.model, source.size


def _planned(request: CardRequest, question: CardQuestion, has_budget: bool) -> PlannedQuestion:
    """The run of a question at the scale's size, or with a budget at its smallest one."""
    if not takes_models(question.study):
        return PlannedQuestion(question=question, reason=NO_MODEL_YET.format(study=question.study))
    size = _ladder(request, question)[0] if has_budget else ()
    try:
        study_request = request.study_request(question, size)
        plan = study_request.plan()
        check_model_folders(plan.all_steps)
    except Interrupted:
        raise
    except NosceError as error:
        return PlannedQuestion(question=question, reason=str(error).rstrip("."))
    return PlannedQuestion(question=question, request=study_request, plan=plan)


def _ladder(request: CardRequest, question: CardQuestion) -> tuple[tuple[str, ...], ...]:
    """The sizes of a question's study; one alone where the user has set it, or where the study has none."""
    ladder = budget_ladder(question.study)
    if not ladder or settings_of_size(request.study_request(question), ladder):
        return ((),)
    return ladder


def _check_any(planned: Iterable[PlannedQuestion]) -> None:
    """Raise where no question can be asked, with the first reason that the model or the user gave."""
    planned = list(planned)
    if not any(one.request for one in planned):
        own = [one.reason for one in planned if takes_models(one.question.study)]
        raise UsageError(f"no question of the card can be asked: {(own or [planned[0].reason])[0]}.")


def _with_scale_prices(
    planned: Sequence[PlannedQuestion], console: Console, n_workers: int, time_limit: TimeBudget
) -> Iterable[PlannedQuestion]:
    """The questions with the prices of the sizes that they have without a budget."""
    plans = {one.question.id: (one.request, ((),)) for one in planned if one.request is not None}
    prices = _timed(plans, _shortest_first(planned), console, n_workers, time_limit)
    for one in planned:
        sizes = prices[one.question.id].sizes if one.question.id in prices else ()
        yield replace(one, choice=size_choice(sizes, 0)) if sizes else one


def _kept_prices(path: Path, ladders: Mapping[str, object]) -> dict[str, QuestionPrice] | None:
    """The prices that the store remembers of these questions."""
    kept = load_prices(path)
    return kept if kept is not None and set(kept) == set(ladders) else None


def _measured_prices(
    request: CardRequest,
    planned: Sequence[PlannedQuestion],
    console: Console,
    n_workers: int,
    time_limit: TimeBudget,
) -> dict[str, QuestionPrice]:
    """The price of every size of the questions that can be asked."""
    asked = [one.question for one in planned if one.request is not None]
    plans = {one.id: (request.study_request(one), _ladder(request, one)) for one in asked}
    return _timed(plans, _shortest_first(planned), console, n_workers, time_limit)


def _shortest_first(planned: Sequence[PlannedQuestion]) -> list[str]:
    """The questions that can be asked, those with the fewest kinds of work first: they leave their time to others."""
    asked = [(len(kinds_of_work(one.plan)), one.question.id) for one in planned if one.plan is not None]
    return [question for _, question in sorted(asked)]


def _timed(
    plans: Mapping[str, tuple[StudyRequest, tuple[tuple[str, ...], ...]]],
    order: Sequence[str],
    console: Console,
    n_workers: int,
    time_limit: TimeBudget,
) -> dict[str, QuestionPrice]:
    """The prices of the sizes of each question; each has its share of the time that is left."""
    prices = {}
    with TimingProgress(console) as progress:
        for index, question in enumerate(order):
            study_request, ladder = plans[question]
            seconds = time_limit.remaining / (len(order) - index)
            try:
                sizes = price_sizes(study_request, ladder, n_workers, progress, seconds)
                prices[question] = QuestionPrice(id=question, sizes=sizes)
            except Interrupted:
                raise
            except NosceError as error:
                prices[question] = QuestionPrice(id=question, reason=str(error).rstrip("."))
    return prices


def _with_sizes(
    request: CardRequest, planned: Sequence[PlannedQuestion], prices: Mapping[str, QuestionPrice], minutes: float
) -> Iterable[PlannedQuestion]:
    """The questions at the sizes that the budget gives them."""
    priced = [price for price in prices.values() if price.sizes]
    chosen = divide_budget(priced, minutes)
    if priced and not chosen:
        cheapest = min(price.sizes[0].minutes for price in priced)
        raise UsageError(
            f"--budget {request.budget} is too little: the cheapest question takes {cheapest:.1f} minutes here; allow "
            "more."
        )
    for one in planned:
        price = prices.get(one.question.id)
        if one.request is None or price is None:
            yield one
        elif one.question.id in chosen:
            choice = size_choice(price.sizes, chosen[one.question.id])
            yield replace(one, request=request.study_request(one.question, choice.settings), plan=None, choice=choice)
        else:
            yield PlannedQuestion(question=one.question, reason=price.reason or _too_dear(price, request.budget))


def _too_dear(price: QuestionPrice, budget: str | None) -> str:
    size = price.sizes[0]
    words = f" ({', '.join(size.settings)})" if size.settings else ""
    return (
        f"the budget of {budget} did not suffice: its cheapest size{words} takes about {size.minutes:.1f} minutes "
        "here, and the other questions left less"
    )


def _checked(planned: PlannedQuestion, store: Store) -> PlannedQuestion:
    """The question with the plan of its size, or with the reason why this machine cannot make it."""
    if planned.request is None:
        return planned
    try:
        plan = planned.plan or planned.request.plan()
        check_size([step for step in plan.all_steps if not store.has(step.name)], store)
    except NosceError as error:
        return PlannedQuestion(question=planned.question, reason=str(error).rstrip("."))
    return replace(planned, plan=plan)


def larger_sizes(planned: PlannedQuestion) -> list[tuple[tuple[str, ...], Plan]]:
    """The sizes of a question's study in place of the one that was run, the cheapest first."""
    assert planned.request is not None
    ladder = budget_ladder(planned.question.study)
    fields = {setting.partition("=")[0] for size in ladder for setting in size}
    kept = [one for one in planned.request.settings if one.partition("=")[0].rpartition(".")[2] not in fields]
    if not ladder:
        return []
    try:
        return list(possible_plans(replace(planned.request, settings=tuple(kept)), ladder))
    except NosceError:  # the scale has not even room for the smallest
        return []
