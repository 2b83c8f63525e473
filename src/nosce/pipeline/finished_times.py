"""The time of steps to do, by finished steps of the same study that differ from them in seeds alone.

Such a step does the same work on other facts, weights and draws, so what it took here is a better price than a few
seconds of timing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

from nosce.errors import DamagedError
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.step import Step
from nosce.store.files import JsonObject
from nosce.store.provenance import cpu_model
from nosce.store.spec import Json, hash_description
from nosce.store.store import Store

SEED_TEXT = re.compile(r"\d+(/[^/]+)+")  # a seed as a description has it, e.g. "10/world"


def finished_seconds(pending: Sequence[Step], store: Store, study: str, scale: str) -> dict[str, float]:
    """Processor seconds of each step to do of which the store has a finished sibling, by the step's name.

    A sibling has the same kind, spec and inputs but for seeds, is of the same study and scale, and was made on a
    processor like this one. Of several the mean is taken.

    Args:
        pending: The steps to do.
        store: The store.
        study: Name of the study.
        scale: Name of the scale.
    """
    here, seconds = cpu_model(), defaultdict[str, list[float]](list)
    seen: set[str] = set()
    for plan in PlanRecord.load_all(store, study, scale):
        descriptions = {name: step.description for name, step in plan.steps.items()}
        signatures: dict[str, str] = {}
        for name in descriptions:
            if name not in seen and store.has(name):
                seen.add(name)
                made = _provenance(store, name)
                if made.get("processor") == here and made.get("device") == "cpu" and "cpu_seconds" in made:
                    seconds[_signature(name, descriptions, signatures)].append(float(made["cpu_seconds"]))
    if not seconds:
        return {}
    descriptions = {step.name: step.description for step in _with_inputs(pending)}
    signatures = {}
    found = {step.name: seconds.get(_signature(step.name, descriptions, signatures)) for step in pending}
    return {name: mean(taken) for name, taken in found.items() if taken}


def _provenance(store: Store, name: str) -> JsonObject:
    """What a step wrote down about itself; of a damaged one nothing."""
    try:
        return store.step_record(name).provenance
    except DamagedError:
        return {}


def finished_note(count: int) -> str:
    """A sentence on how many steps are priced so; "" for none."""
    if not count:
        return ""
    priced = "One step is" if count == 1 else f"{count:,} steps are"
    return f"{priced} priced by what finished steps took here that differ in seeds alone."


def _signature(name: str, descriptions: Mapping[str, Mapping[str, Json]], known: dict[str, str]) -> str:
    """The hash of a step's description without its seeds, and of those of its inputs."""
    if name not in known:
        if name not in descriptions:
            return name
        inputs = descriptions[name].get("inputs")
        roles = inputs.items() if isinstance(inputs, dict) else ()
        behind: dict[str, Json] = {role: _signature(str(given), descriptions, known) for role, given in roles}
        own = {key: _without_seeds(part) for key, part in descriptions[name].items() if key != "inputs"}
        known[name] = hash_description([own, behind])
    return known[name]


def _without_seeds(part: Json) -> Json:
    if isinstance(part, str):
        return SEED_TEXT.sub("seed", part) if SEED_TEXT.fullmatch(part) else part
    if isinstance(part, list):
        return [_without_seeds(entry) for entry in part]
    if isinstance(part, dict):
        return {key: _without_seeds(entry) for key, entry in part.items()}
    return part


def _with_inputs(steps: Sequence[Step]) -> list[Step]:
    """Steps with all that they are made from."""
    found: dict[str, Step] = {}
    waiting = [*steps]
    while waiting:
        step = waiting.pop()
        if step.name not in found:
            found[step.name] = step
            waiting += step.inputs.values()
    return [*found.values()]
