"""One observation of a claim that a person can read: with the prompt, which readings do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from nosce.analysis.card import ReadableItem
from nosce.analysis.needed_rows import selections_in
from nosce.analysis.selection import BestStep, PhaseStep, Selection
from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.pipeline.cards.questions import arm_name
from nosce.pipeline.plan import Plan
from nosce.pipeline.step import Step
from nosce.pipeline.steps.estimates import EstimatesSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.store.store import Store
from nosce.store.text import printable

MAX_ITEM_TEXT, MAX_ITEM_LINES = 1_200, 24  # of a prompt, an answer or a target


def readable_item(
    plan: Plan, store: Store, readings: pl.DataFrame, claim_ids: Sequence[str], model: str, judged: str
) -> ReadableItem | None:
    """The first observation of the claims that has an answer.

    Observations are taken in the order in which they were asked, which was fixed before any answer, so that nobody
    chooses. One with a prompt comes before one without.

    Args:
        plan: The plan.
        store: The store of its steps.
        readings: All readings of the plan.
        claim_ids: The claims, the most telling first.
        model: Name of the model; where a claim is about several, its answers are shown.
        judged: How an observation was judged.
    """
    without_prompt = None
    for selection in _selections(plan, claim_ids):
        rows = _answered(selection, readings)
        if arm_name(model) in rows["arm"]:
            rows = rows.filter(pl.col("arm") == arm_name(model))
        if rows.is_empty():
            continue
        item = _item(plan, store, rows, judged)
        if item.prompt is not None:
            return item
        without_prompt = without_prompt or item
    return without_prompt


def _selections(plan: Plan, claim_ids: Sequence[str]) -> Iterator[Selection]:
    """What the claims are estimated from, in the order of the claims and of their measures' fields.

    What only chooses the step of a training is no part of an estimate.
    """
    claims = {claim.id: claim for claim in plan.study.claims}
    for claim_id in claim_ids:
        found = [selection for selection, _ in selections_in((claims[claim_id].measure,)) or []]
        chosen = [(one.step, one) for one in found if isinstance(one.step, BestStep | PhaseStep)]
        choosing = [choice for step, one in chosen for choice in step.choosing(one)]
        yield from (selection for selection in reversed(found) if selection not in choosing)


def _answered(selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
    """The selected rows that hold an answer."""
    try:
        return selection.rows(readings).filter(pl.col("answer").is_not_null())
    except DataError:  # a step that is to be chosen by readings that are not there
        return readings.clear()


def _item(plan: Plan, store: Store, rows: pl.DataFrame, judged: str) -> ReadableItem:
    row = rows.row(0, named=True)
    where = f"{row['arm']}, seed {row['seed']}, after {row['step']:,} steps of {row['stage']}"
    if row["stage"] == "experiment":
        where = f"{row['arm']}, seed {row['seed']}"
    outcome = row["outcome"] or ("right" if row["value"] == 1 else f"{row['metric']} = {row['value']:g}")
    prompt = _prompt(plan, store, row["arm"], row["seed"], row["evaluation"], row["item"])
    return ReadableItem(
        prompt=None if prompt is None else _shortened(prompt),
        answer=_shortened(row["answer"]),
        target=None if row["target"] is None else _shortened(row["target"]),
        outcome=outcome,
        judged=judged,
        chosen=f"The first of {len(rows):,} such answers, in an order that was fixed before any of them ({where}).",
    )


def _prompt(plan: Plan, store: Store, arm: str, seed: int, evaluation: str, item: str) -> str | None:
    """What the model was asked; None where no step of the evaluation knows it."""
    for step in _reading_steps(plan, arm, seed):
        if isinstance(step.spec, ExperimentStepSpec):
            prompts = step.spec.experiment.item_prompts(step.spec.seed)
            if item in prompts:
                return prompts[item]
        elif isinstance(step.spec, EvaluationStepSpec) and step.spec.evaluation.name == evaluation:
            for question in Corpus(store.folder(step.inputs["corpus"].name)).questions:
                if question.id == item:
                    return question.prompt
    return None


def _reading_steps(plan: Plan, arm: str, seed: int) -> Iterator[Step]:
    """The steps whose readings are those of an arm and seed."""
    spec = plan.estimates.spec
    assert isinstance(spec, EstimatesSpec)
    for source in spec.sources:
        if (source.arm, source.seed) == (arm, seed):
            yield plan.estimates.inputs[source.input]


def _shortened(text: str) -> str:
    """A text with its control characters spelled out, cut where it is long."""
    if not text.strip():
        return f"(nothing but white space, {len(text):,} characters)" if text else "(nothing)"
    shown = "\n".join(text[:MAX_ITEM_TEXT].split("\n")[:MAX_ITEM_LINES])
    return printable(text if shown == text else f"{shown} ... (cut; {len(text):,} characters in all)")
