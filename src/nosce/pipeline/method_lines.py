"""The method of a run in ten lines: its sizes from the record of its plan, and the paper's beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from nosce.analysis.render.tables import format_value
from nosce.pipeline.claim_age import name_seeds
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.spec import Json
from nosce.study import PRETRAIN

MAX_LINES = 12
MAX_NAMES = 4  # conditions and evaluations that a line names
MAX_WORLD_LINES = 3
MIN_WORLD_SIZE = 100  # of a whole number of a world that counts as one of its sizes
PAPER_SIZES = "paper_sizes.csv"  # the papers' sizes; docs/paper-scale.md says where each stands


@dataclass(frozen=True, kw_only=True)
class MethodLine:
    """One size of a run.

    Args:
        name: What it is, e.g. "optimizer steps".
        here: Its value in this run; a range where conditions differ.
        paper: Its value in the paper; "" where it is not known.
    """

    name: str
    here: str
    paper: str = ""


def method_lines(plan: PlanRecord) -> tuple[MethodLine, ...]:
    """The method of a plan's run, in at most a dozen lines; the paper's sizes are those of the built-in study alone."""
    is_of_the_paper = plan.requested_as == plan.study and not plan.models
    paper = paper_sizes(plan.study) if is_of_the_paper else {}
    lines = [MethodLine(name=name, here=here, paper=paper.get(name, "")) for name, here in _sizes(plan) if here]
    return tuple(lines[:MAX_LINES])


def paper_sizes(study: str) -> dict[str, str]:
    """The paper's sizes of a built-in study, by the name of their line; {} for any other."""
    with resources.files("nosce.studies").joinpath(PAPER_SIZES).open(encoding="utf-8") as file:
        return {row["line"]: row["paper"] for row in csv.DictReader(file) if row["study"] == study}


def _sizes(plan: PlanRecord) -> Iterator[tuple[str, str]]:
    """Each line's name and its value here, "" where the plan has none."""
    trainings = _trainings(plan)
    first = trainings.get(PRETRAIN, [])
    configs = [config for spec in first if isinstance(config := spec.get("training"), dict)]
    yield "conditions", f"{len(plan.arms)}: {_some(plan.arms)}"
    yield "training seeds", f"{len(plan.seeds)} ({name_seeds(plan.seeds)})"
    yield from _world_sizes(_specs(plan, "corpus", "world"))
    yield "model", _some(dict.fromkeys(filter(None, (_model_text(spec.get("model")) for spec in first))))
    yield "vocabulary", _values(spec.get("vocab_size") for spec in _specs(plan, "corpus", "tokenizer"))
    yield "optimizer steps", _values(config.get("steps") for config in configs)
    yield "texts a step", _values(config.get("batch_size") for config in configs)
    yield "learning rate", _values(config.get("peak_lr") for config in configs)
    yield "checkpoints", _values(_count(config.get("checkpoint_fractions")) for config in configs)
    for stage, specs in trainings.items():
        if stage != PRETRAIN:
            stages = [config for spec in specs if isinstance(config := spec.get("training"), dict)]
            yield f"steps of {stage}", _values(config.get("steps") for config in stages)
    evaluations = [str(spec.get("name")) for spec in _specs(plan, "evaluation", "evaluation")]
    names = sorted({*evaluations})
    yield "evaluations", f"{len(names)}: {_some(names)}" if names else ""


def _specs(plan: PlanRecord, kind: str, part: str) -> list[dict[str, Json]]:
    """A part of the spec of each step of a kind."""
    found = []
    for name, step in plan.steps.items():
        spec = step.description.get("spec") if name.startswith(f"{kind}-") else None
        if isinstance(spec, dict) and isinstance(one := spec.get(part), dict):
            found.append(one)
    return found


def _trainings(plan: PlanRecord) -> dict[str, list[dict[str, Json]]]:
    """The specs of all trainings by their stage, the end of a step's label."""
    found: dict[str, list[dict[str, Json]]] = {}
    for name, step in plan.steps.items():
        spec = step.description.get("spec") if name.startswith("training-") else None
        if isinstance(spec, dict):
            found.setdefault(step.label.rpartition(", ")[2], []).append(spec)
    return found


def _world_sizes(worlds: Sequence[dict[str, Json]]) -> Iterator[tuple[str, str]]:
    """The largest whole numbers of the first world, each over all worlds of its type."""
    alike = [world for world in worlds if world.get("type") == worlds[0].get("type")]
    sizes = {name: value for name, value in (alike[0] if alike else {}).items() if type(value) is int}
    largest = sorted((value, name) for name, value in sizes.items() if value >= MIN_WORLD_SIZE)[-MAX_WORLD_LINES:]
    for _, name in reversed(largest):
        yield name.replace("_", " "), _values(world.get(name) for world in alike)


def _model_text(model: Json) -> str:
    """A model in a few words: layers and width, or the name of a pretrained one."""
    if not isinstance(model, dict):
        return ""
    if "layers" in model and "width" in model:
        return f"{model['layers']}x{model['width']}, {model.get('heads')} heads, {model.get('family')}"
    return str(model.get("name") or model.get("label") or model.get("type") or "")


def _count(values: Json) -> Json:
    return len(values) if isinstance(values, list) else None


def _values(values: Iterable[Json]) -> str:
    """The one value, or the range of several numbers; "" where there is none."""
    numbers = sorted({value for value in values if isinstance(value, int | float) and not isinstance(value, bool)})
    if not numbers:
        return ""
    texts = [format_value(number) if isinstance(number, int) else f"{number:g}" for number in numbers]
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def _some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - MAX_NAMES
    return ", ".join(listed[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
