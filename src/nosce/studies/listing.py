"""What `nosce list` prints: the built-in studies and those of one's own, and how far the store has got with each.

It reads the records of plans and looks which steps are there. It verifies no checksum, so that it is quick for a store
of thousands of steps; `nosce show` verifies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table

from nosce.pipeline.plan_choice import fullest_plan
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.store import Store
from nosce.store.text import literal
from nosce.studies.catalog import CATALOG

PAPER_COLUMNS = 100  # width of a terminal from which the table has a column for papers
MAX_NAME_COLUMNS = 24  # of the study's name; a longer one is folded


@dataclass(frozen=True, kw_only=True)
class ScaleState:
    """How far the store has got with a study at one scale.

    Args:
        done: Number of finished steps of the plan.
        total: Number of steps of the plan.
        finished: Whether the store has results.
        part: How much of the study the results are of, e.g. "1 of 2 arms"; "" for the whole study.
    """

    done: int
    total: int
    finished: bool
    part: str

    @classmethod
    def of(cls, plans: Sequence[PlanRecord], store: Store) -> ScaleState:
        """The state of the plans of one study and scale, which come newest first."""
        finished = [plan for plan in plans if store.has(plan.estimates)]
        shown = fullest_plan(finished) if finished else None
        plan = shown if shown is not None and shown.is_whole else fullest_plan(plans)
        return cls(
            done=sum(map(store.has, plan.steps)),
            total=len(plan.steps),
            finished=shown is not None,
            part="" if shown is None else shown.part,
        )

    @property
    def words(self) -> str:
        """The state for people, e.g. "61 of 120 steps" or "(finished)"."""
        if not self.finished:
            return f"{self.done} of {self.total} steps"
        if not self.part:
            return "(finished)"
        progress = "" if self.done == self.total else f"{self.done} of {self.total} steps, "
        return f"({progress}{self.part} finished)"


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A row of `nosce list`.

    Args:
        study: Name of the study.
        question: The study's question.
        paper: The paper whose claims the study tests.
        scales: Names of the scales; of one's own study those that the store has plans of.
        held: The scales of which the store has a plan, with the word "(unfinished)" where it has no results.
        requested_as: What the commands call the study: its name, FILE.py:FUNCTION or package.module:FUNCTION.
        states: How far the store has got, by scale.
    """

    study: str
    question: str
    paper: str
    scales: list[str]
    held: list[str]
    requested_as: str
    states: dict[str, ScaleState] = field(default_factory=dict)

    @property
    def scales_text(self) -> str:
        """The scales; one that the store knows has its state, and a line of its own."""
        lines = []
        for is_known, scales in itertools.groupby(self.scales, key=self.states.__contains__):
            words = [f"{scale} {self.states[scale].words}" if is_known else scale for scale in scales]
            lines.append(("\n" if is_known else ", ").join(words))
        return "\n".join(lines)

    @property
    def question_text(self) -> str:
        """The question, and where a study of one's own is written."""
        return self.question if self.requested_as == self.study else f"{self.question}\n{self.requested_as}"


def list_studies(store: Store) -> list[ListedStudy]:
    """The built-in studies, and below them those of one's own that the store has plans of, by name."""
    plans: dict[tuple[str, str], dict[str, list[PlanRecord]]] = {}
    for plan in PlanRecord.load_all(store):
        plans.setdefault((plan.requested_as, plan.study), {}).setdefault(plan.scale_label, []).append(plan)
    rows = []
    for name, entry in CATALOG.items():
        states = _states(plans.pop((name, name), {}), store)
        rows.append(
            ListedStudy(
                study=name,
                question=entry.question,
                paper=entry.paper,
                scales=list(dict.fromkeys([*entry.scales, *states])),
                held=_held(states),
                requested_as=name,
                states=states,
            )
        )
    for (requested_as, name), by_scale in sorted(plans.items(), key=lambda item: (item[0][1], item[0][0])):
        newest, states = next(iter(by_scale.values()))[0], _states(by_scale, store)
        rows.append(
            ListedStudy(
                study=name,
                question=newest.question,
                paper=newest.paper,
                scales=[*by_scale],
                held=_held(states),
                requested_as=requested_as,
                states=states,
            )
        )
    return rows


def _states(by_scale: Mapping[str, Sequence[PlanRecord]], store: Store) -> dict[str, ScaleState]:
    return {scale: ScaleState.of(plans, store) for scale, plans in by_scale.items()}


def _held(states: Mapping[str, ScaleState]) -> list[str]:
    return [scale if state.finished else f"{scale} (unfinished)" for scale, state in states.items()]


def studies_table(rows: Iterable[ListedStudy], width: int) -> Table:
    """The table of a terminal of some width in columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("study", overflow="fold", max_width=MAX_NAME_COLUMNS)
    table.add_column("question", overflow="fold")
    table.add_column("scales", overflow="fold")
    with_papers = width >= PAPER_COLUMNS
    if with_papers:
        table.add_column("paper", no_wrap=True, overflow="fold")
    for row in rows:
        cells = [row.study, row.question_text, row.scales_text]
        table.add_row(*map(literal, [*cells, row.paper] if with_papers else cells))
    return table
