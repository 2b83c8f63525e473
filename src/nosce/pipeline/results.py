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
from nosce.pipeline.plan import Plan, unroll
from nosce.records import Verdict, from_table
from nosce.store.files import write_atomically
from nosce.store.spec import differences
from nosce.store.store import Made, Store, refused
from nosce.study import PRETRAIN, load


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line, enough to plan the same again."""

    study: str
    scale: str
    seeds: int | None = None
    arms: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """The plan of the study, narrowed to the arms and seeds asked for."""
        return unroll(load(self.study, self.scale).narrowed(self.arms, self.seeds))

    @property
    def command(self) -> str:
        """The command that makes it."""
        words = ["nosce", "run", self.study, "--scale", self.scale]
        words += ["--seeds", str(self.seeds)] if self.seeds else []
        words += ["--arms", ",".join(self.arms)] if self.arms else []
        return " ".join(words)


def remember(store: Store, request: Request, plan: Plan, *, latest: bool = True) -> None:
    """Write a plan down, so that its results can be shown without its study; `latest` brings it to the front."""
    study = plan.study
    path = store.root / "plans" / f"{study.name}-{study.scale}-{plan.last.name[-20:]}.json"
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
        "estimates": plan.last.name,
        "steps": {step.name: {"what": step.what, "description": step.description} for step in plan.all},
    }
    try:
        write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise refused(error, path) from error


def plans(store: Store) -> list[dict[str, Any]]:
    """The remembered plans, the one run last first."""
    paths = sorted((store.root / "plans").glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return [json.loads(path.read_text()) for path in paths]


def finished(store: Store) -> list[dict[str, Any]]:
    """The plans whose estimates are there: of each study and scale the one run last, by name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in plans(store):
        if store.has(plan["estimates"]):
            found.setdefault((plan["study"], plan["scale"]), plan)
    return [found[key] for key in sorted(found)]


def remembered(store: Store, study: str, scale: str | None) -> dict[str, Any]:
    """The finished plan of a study that was run last, at a scale or at any.

    Raises:
        UsageError: Nothing of the kind has been run in this store, or not to its end.
    """
    found = [p for p in plans(store) if study in (p["study"], p["asked_as"]) and scale in (None, p["scale"])]
    done = [p for p in found if store.has(p["estimates"])]
    if done:
        return done[0]
    at = f" at scale {scale}" if scale else ""
    if found:
        raise UsageError(f"{study}{at} is not finished in {store.root}; go on with `{found[0]['command']}`.")
    command = f"nosce run {study}" + (f" --scale {scale}" if scale else "")
    raise UsageError(f"nothing of {study!r}{at} is in {store.root}; make it with `{command}`.")


def audits(store: Store, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """What the mirage test said of a remembered plan's scaling curves; estimates of older nosces have none."""
    file = store.verified(plan["estimates"]) / "audits.json"
    return json.loads(file.read_text()) if file.exists() else []


def verdicts(store: Store, plan: dict[str, Any]) -> list[Verdict]:
    """The verdicts of a remembered plan, from verified bytes."""
    folder = store.verified(plan["estimates"])
    return from_table(pl.read_parquet(folder / "verdicts.parquet"), Verdict)


def stale(store: Store, plan: dict[str, Any]) -> dict[str, str]:
    """Why which finished steps of a plan are stale."""
    found = {}
    for name in plan["steps"]:
        if store.has(name) and (why := store.stale(store.made(name))):
            found[name] = why
    return found


def provenance(store: Store, plan: dict[str, Any]) -> dict[str, Any]:
    """Where a plan's numbers come from: code and machine of its estimates, time over all its steps."""
    made = [store.made(name) for name in plan["steps"] if store.has(name)]
    last = store.made(plan["estimates"]).provenance
    keys = ("commit", "dirty", "versions", "device", "processor", "cores", "threads", "made", "peak_memory_mib")
    return {
        **{key: last.get(key) for key in keys},
        "threads": _common(m.provenance.get("threads") for m in made),
        "peak_memory_mib": max((m.provenance.get("peak_memory_mib") or 0.0 for m in made), default=None),
        "core_minutes": round(sum(m.provenance.get("cpu_seconds", 0.0) for m in made) / 60, 2),
        "steps": len(plan["steps"]),
        "stale": stale(store, plan),
        "command": plan["command"],
    }


def _common(values: Any) -> Any:
    found = sorted({value for value in values if value is not None})
    return found[0] if len(found) == 1 else (found or None)


def shown(store: Store, plan: dict[str, Any]) -> dict[str, Any]:
    """What `nosce show --json` prints: the claims with their verdicts, and the provenance."""
    claims = []
    for v in verdicts(store, plan):
        claims.append({"id": v.id, "text": v.text, "source": v.source, "criterion": v.criterion,
                       "paper_value": v.paper_value, "estimate": v.estimate, "low": v.low, "high": v.high, "n": v.n,
                       "unit": v.unit, "verdict": v.verdict, "why": v.why})  # fmt: skip
    return {"study": plan["study"], "scale": plan["scale"], "title": plan["title"], "question": plan["question"],
            "paper": plan["paper"], "seeds": plan["seeds"],
            "claims": claims, "provenance": provenance(store, plan)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a step's key is made of, and how it differs from the nearest step of its kind."""

    name: str
    description: dict[str, Any]
    state: str
    neighbour: str | None
    different: list[tuple[str, Any, Any]]  # path, here, there


def explain(store: Store, prefix: str) -> Explanation:
    """Explain a step of the store or of a remembered plan, named by the beginning of its name or key.

    Raises:
        UsageError: No step, or more than one, begins like this.
    """
    planned = {name: step["description"] for plan in plans(store) for name, step in plan["steps"].items()}
    described = {made.name: made.spec for made in store.all()}
    everything = {**planned, **described}
    found = [n for n in everything if n.startswith(prefix) or n.rpartition("-")[2].startswith(prefix)]
    if len(found) != 1:
        which = f"{len(found)} steps begin" if found else "no step begins"
        raise UsageError(
            f"{which} with {prefix!r} in {store.root}; give more of one name as `nosce run --dry-run` prints it."
        )
    name = found[0]
    whole = {n: _resolved(n, everything) for n in everything if n.split("-")[0] == name.split("-")[0]}
    others = {n: differences(whole[name], whole[n]) for n in described if n in whole and n != name}
    neighbour = min(others, key=lambda n: (len(others[n]), n), default=None)
    return Explanation(name=name, description=everything[name], state=_state(store, name), neighbour=neighbour,
                       different=others[neighbour] if neighbour else [])  # fmt: skip


def _resolved(name: str, everything: dict[str, Any], depth: int = 4) -> Any:
    """A description with those of its inputs in place of their names, so that differences show their cause."""
    description = everything.get(name)
    if description is None or depth == 0:
        return name
    inputs = {role: _resolved(given, everything, depth - 1) for role, given in description["inputs"].items()}
    return {**description, "inputs": inputs}


def _state(store: Store, name: str) -> str:
    if not store.has(name):
        return "to do"
    why = store.stale(store.made(name))
    return f"stale: {why}" if why else "done"


def export(store: Store, request: Request, arm: str, seed: int | None, folder: Path) -> Made:
    """Copy the final checkpoint of an arm, after its last stage, as a plain Hugging Face folder with a card.

    Raises:
        UsageError: The arm is not there, not trained yet, or the folder is not empty.
    """
    from nosce.pipeline.steps.training import checkpoints

    plan = Request(study=request.study, scale=request.scale, arms=(arm,)).plan()
    chosen = plan.study.seeds[0] if seed is None else seed
    stage = [PRETRAIN, *(s.name for s in plan.study.arms[0].stages)][-1]
    wanted = f"{arm}, seed {chosen}, {stage}"
    step = next((s for s in plan.steps if s.what == wanted and s.kind == "training"), None)
    if step is None:
        raise UsageError(
            f"{request.study} at scale {request.scale} has no seed {chosen}; take one of {plan.study.seeds}."
        )
    if not store.has(step.name):
        raise UsageError(f"{wanted} is not trained in {store.root}; run `{request.command} --arms {arm}` first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")
    source = checkpoints(store.verified(step.name)).popitem()[1]
    made = store.made(step.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.iterdir()):
            if file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        (folder / "README.md").write_text(_card(plan, wanted, made))
    except OSError as error:
        raise NosceError(
            f"the model could not be written to {folder} ({error.strerror}); name another folder."
        ) from error
    return made


def _card(plan: Plan, what: str, made: Made) -> str:
    study = plan.study
    versions = ", ".join(f"{name} {number}" for name, number in made.provenance["versions"].items())
    return (
        f"---\nlicense: apache-2.0\ntags: [nosce, synthetic, {study.name}]\n---\n"
        f"# {study.title}: {what}\n\n{study.question} A model of the study `{study.name}` ({study.paper}) at scale "
        f"`{study.scale}`, trained by nosce on a synthetic world; the people in it do not exist.\n\n"
        f"- step `{made.name}`, made {made.provenance['made']} at commit {made.provenance['commit']}\n"
        f"- texts begin with the end-of-text token; load with `AutoModelForCausalLM.from_pretrained` and "
        f"`AutoTokenizer.from_pretrained`\n- {versions}\n"
    )
