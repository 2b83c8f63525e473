"""`nosce export --as inspect`: the questions of a checkpoint as an Inspect task, and its answers as Inspect logs.

task.py           the task `questions`, with the split as a parameter
questions.jsonl   the questions of all splits
nosce.json        our numbers
logs/*.json       one log for each evaluation and split, which `inspect view` and `read_eval_log` open

task.py is the same text for every study: whatever a study says stands in the JSON files, and never in code.
Source: inspect_ai, "Eval Logs" (the JSON form, version 2).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from nosce.pipeline.exports.asked import ANSWER_NOTE, AskedQuestion, AskedSet, asked_sets, task_name
from nosce.pipeline.exports.target import ExportTarget, write_files
from nosce.store.provenance import package_versions

LOG_VERSION = 2
SCORER = "exact_text"
LETTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # of Inspect's names
TASK_CODE = '''"""Questions of a nosce study as an Inspect task. A right reply is the target, character by character."""

import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer, stderr
from inspect_ai.solver import generate

FOLDER = Path(__file__).parent


@scorer(metrics=[accuracy(), stderr()])
def exact_text():
    """Right is a reply that equals the target."""

    async def score(state, target):
        reply = state.output.completion
        return Score(value=CORRECT if reply == target.text else INCORRECT, answer=reply)

    return score


@task
def questions(evaluation: str | None = None, split: str | None = None):
    """The questions of one evaluation and split, or of all."""
    lines = (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if evaluation in (None, row["evaluation"]) and split in (None, row["split"])]
    longest = max(one["max_new_tokens"] for one in json.loads((FOLDER / "nosce.json").read_text())["tasks"])
    samples = [
        Sample(
            id=f"{row['evaluation']}/{row['split']}/{row['id']}",
            input=row["prompt"],
            target=row["target"],
            metadata={name: row[name] for name in ("entity", "attribute", "evaluation", "split")},
        )
        for row in rows
    ]
    return Task(
        dataset=samples,
        solver=generate(),
        scorer=exact_text(),
        config=GenerateConfig(temperature=0.0, max_tokens=longest),
    )
'''
RUN_COMMAND = (
    "inspect eval task.py --model hf/local -M model_path=MODEL -M do_sample=false "
    """-M 'chat_template="{{ messages[0].content }}"'"""
)


class InspectLog(TypedDict):
    """An `EvalLog` of Inspect as JSON."""

    version: int
    status: str
    eval: dict[str, object]
    plan: dict[str, object]
    results: dict[str, object]
    stats: dict[str, object]
    samples: list[dict[str, object]]


def write_inspect_task(target: ExportTarget, folder: Path) -> str:
    """Write the task and the logs.

    Args:
        target: The checkpoint.
        folder: Where to write.

    Returns:
        A sentence on what was written.

    Raises:
        UsageError: The checkpoint was asked no questions with exact answers.
        NosceError: The disk refuses.
    """
    sets = asked_sets(target)
    files = {
        "task.py": TASK_CODE,
        "questions.jsonl": "".join(one.lines() for one in sets),
        "nosce.json": json.dumps({"tasks": [one.numbers() for one in sets]}, indent=2) + "\n",
        "README.md": _read_me(target, sets),
    }
    for one in sets:
        log = inspect_log(target, one)
        name = f"{task_name(target)}-{one.short_name}".replace("_", "-")
        name = f"{_made(one).replace(':', '-').replace('+', '-')}_{name}_{log['eval']['task_id']}"
        files[f"logs/{name}.json"] = json.dumps(log, indent=1) + "\n"
    write_files(folder, files)
    return f"a task and the logs of {target.label} are now in {folder}; there, `inspect view` shows the logs."


def inspect_log(target: ExportTarget, asked: AskedSet) -> InspectLog:
    """The answers of one evaluation and split as an `EvalLog` of Inspect."""
    made = _made(asked)
    return InspectLog(
        version=LOG_VERSION,
        status="success",
        eval=_spec(target, asked),
        plan={"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": {}},
        results=_results(asked),
        stats={"started_at": made, "completed_at": made, "model_usage": {}},
        samples=[_sample(item, asked, _model_name(target)) for item in asked.items],
    )


def _made(asked: AskedSet) -> str:
    """When the evaluation was made, as Inspect writes times: 2026-11-27T14:30:55+00:00."""
    return datetime.fromisoformat(str(asked.step_record.provenance["made"])).isoformat()


def _model_name(target: ExportTarget) -> str:
    """The checkpoint in words: it is what `inspect view` shows beside each log."""
    return "nosce/" + re.sub(r"[^\w.+=-]+", "-", target.label)


def _spec(target: ExportTarget, asked: AskedSet) -> dict[str, object]:
    """What was asked of which model: an `EvalSpec` of Inspect."""
    names = (target.step.name, str(target.checkpoint_step), asked.step_record.name, asked.split)
    ids = {kind: _inspect_id(kind, *names) for kind in ("eval_id", "run_id", "task_id")}
    where = {"study": target.study.name, "scale": target.study.scale, "arm": target.arm, "stage": target.stage}
    return {
        **ids,
        "created": _made(asked),
        "task": f"{task_name(target)}_{asked.short_name}",
        "task_version": 0,
        "task_file": "task.py",
        "task_args": {"evaluation": asked.evaluation, "split": asked.split},
        "dataset": {
            "name": f"{target.study.name}, {target.study.scale}: {target.label}",
            "samples": len(asked.items),
            "sample_ids": [_sample_id(item, asked) for item in asked.items],
            "shuffled": False,
        },
        "model": _model_name(target),
        "config": {"epochs": 1},
        "packages": {"nosce": package_versions()["nosce"]},
        "metadata": where | {"seed": target.seed, "step": target.checkpoint_step, "answers": ANSWER_NOTE},
    }


def _results(asked: AskedSet) -> dict[str, object]:
    n, share = len(asked.items), asked.accuracy
    # Inspect's `stderr`: by the sample's standard deviation, with n - 1.
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else 0.0
    values = {"accuracy": share, "stderr": error}
    metrics = {name: {"name": name, "value": value, "params": {}} for name, value in values.items()}
    score = {"name": SCORER, "scorer": SCORER, "params": {}, "scored_samples": n, "metrics": metrics}
    return {"total_samples": n, "completed_samples": n, "scores": [score]}


def _sample_id(item: AskedQuestion, asked: AskedSet) -> str:
    return f"{asked.evaluation}/{asked.split}/{item.question.id}"


def _sample(item: AskedQuestion, asked: AskedSet, model: str) -> dict[str, object]:
    question = item.question
    reply = {"role": "assistant", "content": item.answer, "source": "generate", "model": model}
    score = {"value": "C" if item.correct else "I", "answer": item.answer, "explanation": ANSWER_NOTE}
    return {
        "id": _sample_id(item, asked),
        "epoch": 1,
        "input": question.prompt,
        "target": question.target,
        "messages": [{"role": "user", "content": question.prompt}, reply],
        "output": {"model": model, "choices": [{"message": reply, "stop_reason": "stop"}]},
        "scores": {SCORER: score},
        "metadata": {
            "entity": question.entity,
            "attribute": question.attribute,
            "evaluation": asked.evaluation,
            "split": asked.split,
        },
    }


def _inspect_id(*parts: str) -> str:
    """A name of 22 letters and digits as Inspect gives them, the same for the same parts."""
    number, text = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()), ""
    while len(text) < 22:
        number, place = divmod(number, len(LETTERS))
        text += LETTERS[place]
    return text


def _read_me(target: ExportTarget, sets: list[AskedSet]) -> str:
    rows = "".join(f"| {one.evaluation} | {one.split} | {len(one.items):,} | {one.accuracy:.4f} |\n" for one in sets)
    return (
        f"# {target.study.title}: {target.label}\n\nAn Inspect task from the study `{target.study.name}` at scale "
        f"`{target.study.scale}`, and nosce's answers as logs: `inspect view --log-dir logs`. {ANSWER_NOTE}\n\nTo ask "
        "again, write the model with `nosce export` into a folder, put that folder in the place of MODEL, and run "
        f"here:\n\n    {RUN_COMMAND}\n\nA split alone: `-T split=unseen`.\n\n"
        f"| evaluation | split | questions | exact match |\n|---|---|---|---|\n{rows}"
    )
