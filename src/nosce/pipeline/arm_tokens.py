"""How many tokens of text each arm of a finished plan was trained on before any question."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.data.corpus import Corpus
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.spec import Json
from nosce.store.store import Store
from nosce.study import PRETRAIN


def tokens_by_arm(store: Store, plan: PlanRecord) -> dict[str, float]:
    """Tokens of the first training of each arm, of its first seed: texts that are read, times their mean length.

    An arm whose steps are not in the store any more is left out.
    """
    tokens: dict[str, float] = {}
    for arm, evaluation in _evaluations(plan):
        if arm not in tokens and (count := _training_tokens(store, plan, evaluation)) is not None:
            tokens[arm] = count
    return tokens


def _evaluations(plan: PlanRecord) -> Iterator[tuple[str, str]]:
    """Each arm with the steps of its evaluations after the first training."""
    description = plan.steps[plan.estimates].description
    inputs = _object(description["inputs"])
    sources = _object(description["spec"])["sources"]
    assert isinstance(sources, list)
    for source in map(_object, sources):
        if source["stage"] == PRETRAIN:
            yield str(source["arm"]), str(inputs[str(source["input"])])


def _training_tokens(store: Store, plan: PlanRecord, evaluation: str) -> float | None:
    """Tokens of the training whose checkpoints an evaluation reads; None where it reads none, or a step is gone."""
    training = _inputs(plan, evaluation).get("training")
    corpus = _inputs(plan, training).get("corpus") if training else None
    if training is None or corpus is None or not store.has(corpus):
        return None
    config = _object(_object(plan.steps[training].description["spec"])["training"])
    steps, batch_size = config["steps"], config["batch_size"]
    assert isinstance(steps, int)
    assert isinstance(batch_size, int)
    return float(steps * batch_size * Corpus(store.folder(corpus)).documents.lengths.mean())


def _inputs(plan: PlanRecord, step: str) -> dict[str, str]:
    return {role: str(name) for role, name in _object(plan.steps[step].description["inputs"]).items()}


def _object(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value
