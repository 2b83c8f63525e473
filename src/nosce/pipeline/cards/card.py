"""`nosce card`: run the studies of a card one after the other, and put their answers on one page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nosce.analysis.card import CardAnswer, CardPage
from nosce.analysis.render.card_page import render_card_page
from nosce.errors import Interrupted, NosceError, UsageError
from nosce.models.architecture import Pretrained
from nosce.models.folder import count_weights
from nosce.models.sources import ModelSource
from nosce.pipeline.cards.answers import answer_question, unanswered
from nosce.pipeline.cards.division import DIVISION_RULE
from nosce.pipeline.cards.planning import CardPlan, CardRequest, PlannedQuestion, plan_card
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.devices import DeviceRequest
from nosce.pipeline.local_pool import available_cores
from nosce.pipeline.results import RunProvenance, RunResults
from nosce.pipeline.run import make_steps
from nosce.store.files import write_atomically
from nosce.store.store import Store, store_write_error
from nosce.store.text import json_text, literal

PAGE_FILE, JSON_FILE = "index.html", "card.json"
SMOKE_NOTE = "Scale smoke: every step was run to see that it runs; the sizes are far too small to conclude anything."


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The answers of a model to the questions of its card.

    Args:
        model: Name of the model.
        weights: Number of its weights. None: it is behind an endpoint.
        others: Names of the other models.
        scale: Name of the scale of all studies.
        settings: Settings as the user gave them.
        budget: Time for all studies together, as the user gave it. None: there was no budget.
        planned_minutes: What the sizes that were chosen were expected to take. None: there was no budget.
        answers: The answers, in the order of the questions.
        command: The command that makes the card.
        provenance: Code and machine of the first study that was run, and when the last one was finished.
    """

    model: str
    weights: int | None
    others: tuple[str, ...]
    scale: str
    settings: tuple[str, ...]
    budget: str | None
    planned_minutes: float | None
    answers: tuple[CardAnswer, ...]
    command: str
    provenance: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """Did a study fail?"""
        return any(answer.state == "failed" for answer in self.answers)

    def to_json(self) -> dict[str, object]:
        """The object that `nosce card --json` prints and `card.json` holds."""
        budget = None
        if self.budget is not None:
            budget = {"text": self.budget, "planned_minutes": self.planned_minutes, "rule": DIVISION_RULE}
        return {
            "model": self.model,
            "weights": self.weights,
            "others": list(self.others),
            "scale": self.scale,
            "settings": list(self.settings),
            "budget": budget,
            "questions": [answer.to_json() for answer in self.answers],
            "command": self.command,
            "provenance": dict(self.provenance),
        }

    def page(self) -> str:
        """The card as one HTML page that needs nothing else."""
        notes = [SMOKE_NOTE] if self.scale == "smoke" else []
        return render_card_page(
            CardPage(
                model=self.model,
                facts=tuple(self._facts()),
                notes=tuple(notes),
                rule="" if self.budget is None else DIVISION_RULE,
                answers=self.answers,
                command=self.command,
                provenance=self.provenance,
            )
        )

    def _facts(self) -> list[str]:
        facts = [] if self.weights is None else [f"{self.weights:,} weights"]
        facts += [f"beside {', '.join(self.others)}"] if self.others else []
        facts += [f"scale {self.scale}", *self.settings]
        if self.budget is not None:
            facts.append(f"budget {self.budget}, planned {self.planned_minutes:.1f} minutes")
        return facts

    def write(self, folder: str | Path) -> Path:
        """Write `index.html` and `card.json` into a folder; the path of the page.

        Raises:
            StoreError: The disk refused.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(path / PAGE_FILE, self.page())
            write_atomically(path / JSON_FILE, json_text(self.to_json()) + "\n")
        except OSError as error:
            raise store_write_error(error, path) from error
        return (path / PAGE_FILE).absolute()


def make_card(
    request: CardRequest,
    store: Store,
    console: Console,
    *,
    devices: DeviceRequest | None = None,
    max_cost: float | None = None,
) -> ModelCard:
    """Ask the questions that can be asked, each by the run of its study, and return the answers.

    Raises:
        UsageError: A model is not there, no question can be asked, or the budget is too little for every question.
        SpecError: A folder holds no model.
        Interrupted: The user stopped it; the same command goes on.
    """
    started = time.monotonic()
    devices = devices or DeviceRequest()
    n_workers = devices.workers or len(available_cores())
    plan = plan_card(request, store, console, n_workers)
    answers: list[CardAnswer] = []
    provenances: list[RunProvenance] = []
    for planned in plan.questions:
        try:
            answer, results = _ask(plan, planned, store, console, devices, max_cost)
        except Interrupted:
            n_done = sum(one.state != "not asked" for one in answers)
            n_asked = sum(one.request is not None for one in plan.questions)
            seconds = time.monotonic() - started
            raise Interrupted(
                f"interrupted after {seconds:.0f} s. {n_done} of {n_asked} questions are answered, and what was "
                f"finished is kept; `{in_store(request.command, store)}` goes on from here."
            ) from None
        answers.append(answer)
        provenances += [] if results is None else [results.provenance]
    return ModelCard(
        model=plan.model.name,
        weights=_n_weights(plan.model),
        others=tuple(source.name for source in plan.others),
        scale=request.scale,
        settings=request.settings,
        budget=request.budget,
        planned_minutes=None if plan.budget_minutes is None else round(plan.minutes, 2),
        answers=tuple(answers),
        command=in_store(request.command, store),
        provenance=_provenance(provenances),
    )


def _ask(
    plan: CardPlan,
    planned: PlannedQuestion,
    store: Store,
    console: Console,
    devices: DeviceRequest,
    max_cost: float | None,
) -> tuple[CardAnswer, RunResults | None]:
    """The answer to one question; a study that fails gives one that says so."""
    if planned.request is None:
        return unanswered(planned, "not asked", planned.reason, store), None
    console.print(literal(planned.question.text), highlight=False)
    try:
        run = make_steps(planned.request, store, console, devices=devices, max_cost=max_cost)
        if run.summary.failed:
            name, reason = next(iter(run.summary.failed.items()))
            return unanswered(planned, "failed", f"the step {name} failed: {reason}", store), None
        results = RunResults.load(store, run.record)
        others = [source.name for source in plan.others]
        n_workers = devices.workers or len(available_cores())
        model = plan.model_name(planned.question)
        return answer_question(planned, results, model, others, n_workers), results
    except Interrupted:
        raise
    except NosceError as error:
        return unanswered(planned, "failed", str(error), store), None


def _n_weights(source: ModelSource) -> int | None:
    if not isinstance(source.model, Pretrained):
        return None
    return count_weights(Path(source.model.folder))


def _provenance(provenances: Sequence[RunProvenance]) -> dict[str, str]:
    """Code and machine of the first study, and when the last one was finished; empty without studies."""
    if not provenances:
        return {}
    first, last = provenances[0], max(one.finished_at or "" for one in provenances)
    commit = first.commit or "no checkout"
    versions = (first.versions or {}).items()
    return {
        "commit": f"{commit} (with uncommitted changes)" if first.dirty else commit,
        "machine": f"{first.processor}, {first.device}",
        **({"made": last} if last else {}),
        "versions": ", ".join(f"{name} {number}" for name, number in versions),
    }


def prepare_folder(folder: Path) -> None:
    """Make sure that a card can be written into a folder, before hours of work.

    Raises:
        UsageError: The path is a file.
        StoreError: The disk refused.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"a card was asked for in {folder}, but that is a file; name a folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_write_error(error, folder) from error


def card_plan_json(plan: CardPlan) -> dict[str, object]:
    """What `nosce card --dry-run --json` prints."""
    return {
        "model": plan.model.name,
        "others": [source.name for source in plan.others],
        "budget_minutes": plan.budget_minutes,
        "planned_minutes": None if plan.budget_minutes is None else plan.minutes,
        "not_known": plan.n_not_known,
        "rule": None if plan.budget_minutes is None else DIVISION_RULE,
        "questions": [_planned_json(planned) for planned in plan.questions],
    }


def _planned_json(planned: PlannedQuestion) -> dict[str, object]:
    choice = planned.choice
    size = None if planned.request is None else list(planned.request.settings)
    next_minutes = None if choice is None or not choice.next_settings else choice.next_minutes
    return {
        "id": planned.question.id,
        "question": planned.question.text,
        "study": planned.question.study,
        "asked": planned.request is not None,
        "reason": planned.reason or None,
        "size": size,
        "steps": None if planned.plan is None else len(planned.plan.all_steps),
        "minutes": None if choice is None else choice.minutes,
        "not_known": None if choice is None else choice.n_not_known,
        "half_width": None if choice is None else choice.half_width,
        "next_size": list(choice.next_settings) if choice is not None and choice.next_settings else None,
        "next_minutes": next_minutes,
        "command": None if planned.request is None else planned.request.command,
    }
