"""`nosce explain`: what a step's key is made of, and how the step differs from its nearest neighbour in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nosce.errors import UsageError
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.lease import describe_lease
from nosce.store.spec import Json, diff_descriptions
from nosce.store.store import StepRecord, Store


@dataclass(frozen=True, kw_only=True)
class StepExplanation:
    """What a step's key is made of, and how the step differs from the nearest finished step of its kind.

    Args:
        name: Name of the step.
        description: What the key is the hash of.
        state: "done", "to do", or "stale: " with the reason.
        maker: Who makes the step now, and the last sign of life; None where nobody does.
        nearest_step: The finished step of the same kind with the fewest differences; None where there is no other.
        differing_fields: Path, value here and value there of each difference.
    """

    name: str
    description: dict[str, Json]
    state: str
    maker: str | None
    nearest_step: str | None
    differing_fields: list[tuple[str, Json, Json]]


def explain_step(store: Store, prefix: str) -> StepExplanation:
    """Explain a step of the store or of a recorded plan.

    Args:
        store: The store.
        prefix: The beginning of the step's name or key.

    Raises:
        UsageError: No step, or more than one, begins with the prefix.
    """
    planned = {name: step.description for plan in PlanRecord.load_all(store) for name, step in plan.steps.items()}
    records = {record.name: record for record in store.step_records()}
    descriptions = {**planned, **{name: record.spec for name, record in records.items()}}
    matches = [name for name in descriptions if name.startswith(prefix) or _key(name).startswith(prefix)]
    if len(matches) != 1:
        if not matches:
            raise UsageError(
                f"no step begins with {prefix!r} in {store.root}, and no claim has this id; give the beginning of a "
                "name as `nosce plan` prints it, or an id as `nosce show` does."
            )
        raise UsageError(
            f"{len(matches)} steps begin with {prefix!r} in {store.root}; give more of one name as `nosce plan` prints "
            "it."
        )
    name = matches[0]
    resolved = {n: _inline_inputs(n, descriptions) for n in descriptions if n.split("-")[0] == name.split("-")[0]}
    other_steps = [n for n in records if n in resolved and n != name]
    differences_by_step = {n: diff_descriptions(resolved[name], resolved[n]) for n in other_steps}
    nearest = min(differences_by_step, key=lambda n: (len(differences_by_step[n]), n), default=None)
    return StepExplanation(
        name=name,
        description=descriptions[name],
        state=_step_state(store, name, records),
        maker=describe_lease(store.lease_folder, name),
        nearest_step=nearest,
        differing_fields=differences_by_step[nearest] if nearest else [],
    )


def _key(name: str) -> str:
    return name.rpartition("-")[2]


def _inline_inputs(name: str, descriptions: Mapping[str, dict[str, Json]], depth: int = 4) -> Json:
    """A description with those of its inputs in place of their names, so that differences show their cause."""
    description = descriptions.get(name)
    if description is None or depth == 0:
        return name
    names = description.get("inputs")
    if not isinstance(names, dict):  # another program wrote it
        return description
    inputs = {role: _inline_inputs(str(given), descriptions, depth - 1) for role, given in names.items()}
    return {**description, "inputs": inputs}


def _step_state(store: Store, name: str, records: Mapping[str, StepRecord]) -> str:
    if name not in records and not store.has(name):
        return "to do"
    record = records.get(name) or store.step_record(name)  # raises where the record cannot be read
    reason = store.stale_reason(record, records)
    return f"stale: {reason}" if reason else "done"
