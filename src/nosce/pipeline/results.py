"""What a command does with a study and a store: run it, look at it, explain a step of it, export a model.

The store keeps a record of the last plan of each study and scale, so that results can be shown where
the study's own file is no longer at hand.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nosce.errors import NosceError, UsageError
from nosce.pipeline.plan import Plan, build_plan
from nosce.records import Verdict, from_table
from nosce.store.files import write_atomically
from nosce.store.spec import diff_descriptions
from nosce.store.store import StepRecord, Store, store_write_error
from nosce.study import PRETRAIN, load_study


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What was asked for on the command line, enough to plan the same again."""

    study: str
    scale: str
    n_seeds: int | None = None
    arms: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """The plan of the study, narrowed to the arms and seeds asked for."""
        return build_plan(load_study(self.study, self.scale).subset(self.arms, self.n_seeds))

    @property
    def command(self) -> str:
        """The command that makes it."""
        words = ["nosce", "run", self.study, "--scale", self.scale]
        words += ["--seeds", str(self.n_seeds)] if self.n_seeds else []
        words += ["--arms", ",".join(self.arms)] if self.arms else []
        return " ".join(words)


def save_plan_record(store: Store, request: StudyRequest, plan: Plan, *, latest: bool = True) -> None:
    """Write a plan down, so that its results can be shown without its study; `latest` brings it to the front."""
    study = plan.study
    path = store.root / "plans" / f"{study.name}-{study.scale}-{plan.estimates.name[-20:]}.json"
    if path.exists() and not latest:
        return
    record = {
        "study": study.name,
        "scale": study.scale,
        "title": study.title,
        "question": study.question,
        "paper": study.paper,
        "unit": study.unit,
        "seeds": list(study.seeds),
        "arms": [arm.name for arm in study.arms],
        "asked_as": request.study,
        "command": request.command,
        "estimates": plan.estimates.name,
        "steps": {step.name: {"what": step.label, "description": step.description} for step in plan.all_steps},
    }
    try:
        write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise store_write_error(error, path) from error


def load_plan_records(store: Store) -> list[dict[str, Any]]:
    """The remembered plans, the one run last first."""
    paths = sorted((store.root / "plans").glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return [json.loads(path.read_text()) for path in paths]


def finished_plans(store: Store) -> list[dict[str, Any]]:
    """The plans whose estimates are there: of each study and scale the one run last, by name."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for plan_record in load_plan_records(store):
        if store.has(plan_record["estimates"]):
            latest.setdefault((plan_record["study"], plan_record["scale"]), plan_record)
    return [latest[key] for key in sorted(latest)]


def find_finished_plan(store: Store, study: str, scale: str | None) -> dict[str, Any]:
    """The finished plan of a study that was run last, at a scale or at any.

    Raises:
        UsageError: Nothing of the kind has been run in this store, or not to its end.
    """
    matching = [
        p for p in load_plan_records(store) if study in (p["study"], p["asked_as"]) and scale in (None, p["scale"])
    ]
    completed = [p for p in matching if store.has(p["estimates"])]
    if completed:
        return completed[0]
    at_scale = f" at scale {scale}" if scale else ""
    if matching:
        raise UsageError(f"{study}{at_scale} is not finished in {store.root}; go on with `{matching[0]['command']}`.")
    command = f"nosce run {study}" + (f" --scale {scale}" if scale else "")
    raise UsageError(f"nothing of {study!r}{at_scale} is in {store.root}; make it with `{command}`.")


def load_audits(store: Store, plan_record: dict[str, Any]) -> list[dict[str, Any]]:
    """What the mirage test said of a remembered plan's scaling curves; estimates of older nosces have none."""
    file = store.verified(plan_record["estimates"]) / "audits.json"
    return json.loads(file.read_text()) if file.exists() else []


def load_verdicts(store: Store, plan_record: dict[str, Any]) -> list[Verdict]:
    """The verdicts of a remembered plan, from verified bytes."""
    folder = store.verified(plan_record["estimates"])
    return from_table(pl.read_parquet(folder / "verdicts.parquet"), Verdict)


def stale_steps(store: Store, plan_record: dict[str, Any]) -> dict[str, str]:
    """Why which finished steps of a plan are stale."""
    reasons = {}
    for name in plan_record["steps"]:
        if store.has(name) and (reason := store.stale_reason(store.step_record(name))):
            reasons[name] = reason
    return reasons


def summarize_provenance(store: Store, plan_record: dict[str, Any]) -> dict[str, Any]:
    """Where a plan's numbers come from: code and machine of its estimates, time over all its steps."""
    step_records = [store.step_record(name) for name in plan_record["steps"] if store.has(name)]
    estimates_provenance = store.step_record(plan_record["estimates"]).provenance
    keys = ("commit", "dirty", "versions", "device", "processor", "cores", "threads", "made", "peak_memory_mib")
    return {
        **{key: estimates_provenance.get(key) for key in keys},
        "threads": _common_value(m.provenance.get("threads") for m in step_records),
        "peak_memory_mib": max((m.provenance.get("peak_memory_mib") or 0.0 for m in step_records), default=None),
        "core_minutes": round(sum(m.provenance.get("cpu_seconds", 0.0) for m in step_records) / 60, 2),
        "steps": len(plan_record["steps"]),
        "stale": stale_steps(store, plan_record),
        "command": plan_record["command"],
    }


def _common_value(values: Any) -> Any:
    distinct = sorted({value for value in values if value is not None})
    return distinct[0] if len(distinct) == 1 else (distinct or None)


def results_json(store: Store, plan_record: dict[str, Any]) -> dict[str, Any]:
    """What `nosce show --json` prints: the claims with their verdicts, and the provenance."""
    claims = []
    for v in load_verdicts(store, plan_record):
        claims.append(
            {
                "id": v.id,
                "text": v.text,
                "source": v.source,
                "criterion": v.criterion,
                "paper_value": v.paper_value,
                "estimate": v.estimate,
                "low": v.low,
                "high": v.high,
                "n": v.n,
                "unit": v.unit,
                "verdict": v.verdict,
                "why": v.why,
            }
        )
    return {
        "study": plan_record["study"],
        "scale": plan_record["scale"],
        "title": plan_record["title"],
        "question": plan_record["question"],
        "paper": plan_record["paper"],
        "seeds": plan_record["seeds"],
        "claims": claims,
        "provenance": summarize_provenance(store, plan_record),
    }


@dataclass(frozen=True, kw_only=True)
class StepExplanation:
    """What a step's key is made of, and how it differs from the nearest step of its kind."""

    name: str
    description: dict[str, Any]
    state: str
    nearest_step: str | None
    differing_fields: list[tuple[str, Any, Any]]  # path, here, there


def explain_step(store: Store, prefix: str) -> StepExplanation:
    """Explain a step of the store or of a remembered plan, named by the beginning of its name or key.

    Raises:
        UsageError: No step, or more than one, begins like this.
    """
    planned_specs = {
        name: step["description"] for plan in load_plan_records(store) for name, step in plan["steps"].items()
    }
    stored_specs = {made.name: made.spec for made in store.step_records()}
    descriptions = {**planned_specs, **stored_specs}
    matches = [n for n in descriptions if n.startswith(prefix) or n.rpartition("-")[2].startswith(prefix)]
    if len(matches) != 1:
        match_count = f"{len(matches)} steps begin" if matches else "no step begins"
        raise UsageError(
            f"{match_count} with {prefix!r} in {store.root}; give more of one name as `nosce plan` prints it."
        )
    name = matches[0]
    resolved = {n: _inline_inputs(n, descriptions) for n in descriptions if n.split("-")[0] == name.split("-")[0]}
    differences_by_step = {
        n: diff_descriptions(resolved[name], resolved[n]) for n in stored_specs if n in resolved and n != name
    }
    neighbour = min(differences_by_step, key=lambda n: (len(differences_by_step[n]), n), default=None)
    return StepExplanation(
        name=name,
        description=descriptions[name],
        state=_step_state(store, name),
        nearest_step=neighbour,
        differing_fields=differences_by_step[neighbour] if neighbour else [],
    )


def _inline_inputs(name: str, descriptions: dict[str, Any], depth: int = 4) -> Any:
    """A description with those of its inputs in place of their names, so that differences show their cause."""
    description = descriptions.get(name)
    if description is None or depth == 0:
        return name
    inputs = {role: _inline_inputs(given, descriptions, depth - 1) for role, given in description["inputs"].items()}
    return {**description, "inputs": inputs}


def _step_state(store: Store, name: str) -> str:
    if not store.has(name):
        return "to do"
    reason = store.stale_reason(store.step_record(name))
    return f"stale: {reason}" if reason else "done"


def export_checkpoint(store: Store, request: StudyRequest, arm: str, seed: int | None, folder: Path) -> StepRecord:
    """Copy the final checkpoint of an arm, after its last stage, as a plain Hugging Face folder with a card.

    Raises:
        UsageError: The arm is not there, not trained yet, or the folder is not empty.
    """
    from nosce.pipeline.steps.training import list_checkpoints

    plan = StudyRequest(study=request.study, scale=request.scale, arms=(arm,)).plan()
    chosen_seed = plan.study.seeds[0] if seed is None else seed
    stage = [PRETRAIN, *(s.name for s in plan.study.arms[0].stages)][-1]
    label = f"{arm}, seed {chosen_seed}, {stage}"
    step = next((s for s in plan.upstream_steps if s.label == label and s.kind == "training"), None)
    if step is None:
        raise UsageError(
            f"{request.study} at scale {request.scale} has no seed {chosen_seed}; take one of {plan.study.seeds}."
        )
    if not store.has(step.name):
        raise UsageError(f"{label} is not trained in {store.root}; run `{request.command} --arms {arm}` first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")
    source = list_checkpoints(store.verified(step.name)).popitem()[1]
    step_record = store.step_record(step.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.iterdir()):
            if file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        (folder / "README.md").write_text(_model_card(plan, label, step_record))
    except OSError as error:
        raise NosceError(
            f"the model could not be written to {folder} ({error.strerror}); name another folder."
        ) from error
    return step_record


def _model_card(plan: Plan, label: str, step_record: StepRecord) -> str:
    study = plan.study
    versions = ", ".join(f"{name} {number}" for name, number in step_record.provenance["versions"].items())
    return (
        f"---\nlicense: apache-2.0\ntags: [nosce, synthetic, {study.name}]\n---\n"
        f"# {study.title}: {label}\n\n{study.question} A model of the study `{study.name}` ({study.paper}) at scale "
        f"`{study.scale}`, trained by nosce on a synthetic world; the people in it do not exist.\n\n"
        f"- step `{step_record.name}`, made {step_record.provenance['made']} at commit "
        f"{step_record.provenance['commit']}\n"
        f"- texts begin with the end-of-text token; load with `AutoModelForCausalLM.from_pretrained` and "
        f"`AutoTokenizer.from_pretrained`\n- {versions}\n"
    )
