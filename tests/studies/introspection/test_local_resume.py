"""A folder that is asked and taught, killed at any moment: weights, readings and claims are those of a whole run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext, StepProgress
from nosce.seeds import Seed
from nosce.store.files import SCRATCH
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject
from nosce.train.config import LoRA, RuntimeConfig, TrainingConfig

WORLD = NaturalTextBehaviours(strings_per_task=4, tasks=("towns", "things", "numbers"))
SAMPLES = [prompt.text for prompt in WORLD.prompts(Seed(0))]


class Killed(BaseException):
    """In the place of a signal, inside this process."""


def experiment(folder: Path) -> PromptedIntrospection:
    """A folder, and itself after other answers; rounds, samples and a change of behaviour."""
    subject = LocalSubject(
        model=Pretrained.from_folder(folder),
        training=TrainingConfig(steps=1, batch_size=4, peak_lr=5e-3, weight_decay=0.0),
        adapter=LoRA(rank=4, embedding_rank=0),
        epochs=2,
        generation_batch_size=5,
        dtype="bfloat16",
    )
    return PromptedIntrospection(
        world=WORLD,
        subject=subject,
        other_subjects=(FinetunedSubject(base=subject, world=WORLD, dispositions="B"),),
        limits=RequestLimits(max_answer_tokens=6, max_report_tokens=3, n_samples=1, n_sampled_prompts=2),
        teaching=LabelTeaching(max_rounds=2, max_labels=6, change=True),
    )


def run(folder: Path, place: Path, killed_at: int | None = None) -> pl.DataFrame | None:
    """The readings; None where the run was killed at a report."""
    reports: list[StepProgress] = []

    def report(progress: StepProgress) -> None:
        reports.append(progress)
        if len(reports) == killed_at:
            raise Killed

    step = place / "step"
    (step / SCRATCH).mkdir(parents=True, exist_ok=True)
    runtime = RuntimeConfig(save_interval_seconds=0.0)  # the state of every step of a training is saved
    context = StepContext(folder=step, store_root=place, runtime=runtime, progress=report)
    try:
        tables = list(experiment(folder).run_with_context(Seed(0), context))
    except Killed:
        return None
    assert context.extra_provenance["precision"] == "float32"
    return pl.concat([t.with_columns(pl.col("value").cast(pl.Float64)) for t in tables], how="diagonal_relaxed")


def contents(step: Path) -> dict[str, bytes]:
    """Every byte that a finished step would keep."""
    kept = (path for path in sorted(step.rglob("*")) if path.is_file() and SCRATCH not in path.relative_to(step).parts)
    return {str(path.relative_to(step)): path.read_bytes() for path in kept}


def replies(place: Path) -> dict[str, dict[str, object]]:
    """Every reply that was kept, by its file and key."""
    lines = {f.name: map(json.loads, f.read_text(encoding="utf-8").splitlines()) for f in place.glob("replies/*.jsonl")}
    return {name: {line["key"]: line["reply"] for line in found} for name, found in lines.items()}


@pytest.mark.whole
def test_a_run_that_is_stopped_at_any_report_ends_as_a_whole_one(tmp_path):
    """In the middle of a batch of replies, of a training and of samples: to the last digit of every probability."""
    folder = tiny_folder("qwen2", tmp_path / "model", SAMPLES, 800)
    whole = run(folder, tmp_path / "whole")
    assert whole is not None
    assert len(contents(tmp_path / "whole" / "step")) > 20
    for moment in (3, 17, 60, 40, 25, 70, 9, 33, 120):
        run(folder, tmp_path / "parts", moment)
    parts = run(folder, tmp_path / "parts")
    assert parts is not None
    assert contents(tmp_path / "parts" / "step") == contents(tmp_path / "whole" / "step")
    assert replies(tmp_path / "parts") == replies(tmp_path / "whole")
    assert parts.equals(whole)


def killed_when(process, happened: Callable[[], bool], seconds: float = 240.0) -> bool:
    """Send SIGKILL to the command and all its workers once something has happened; False where it ended before."""
    limit = time.monotonic() + seconds
    while not happened():
        if process.poll() is not None:
            return False
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


@pytest.mark.slow
def test_a_command_that_is_killed_amid_teaching_and_replies_ends_with_the_same_bytes(nosce, tmp_path):
    """Two folders, each taught its own labels and the other's, and the change; SIGKILL to the whole process group."""
    folders = [tiny_folder(family, tmp_path / family, SAMPLES, 800) for family in ("qwen2", "gpt_neox")]
    words = ("run", "introspection", "--model", ",".join(map(str, folders)), "--scale", "smoke", "--workers", "1")
    settings = (
        "tasks=towns,things,numbers",
        "n_sampled_prompts=2",
        "max_labels=6",
        "epochs=2",
        "training.batch_size=4",
    )
    words += tuple(word for setting in settings for word in ("--set", setting))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = nosce(*words, "--store", whole)
    assert done.returncode == 0, done.stderr

    def taught() -> int:
        return len(list(parts.glob("work/*/taught/*")))

    def teaching() -> int:
        return len(list(parts.glob(f"work/*/{SCRATCH}/teaching/*/metrics.jsonl"))) + taught()

    def kept() -> int:
        return sum(path.read_bytes().count(b"\n") for path in parts.glob("replies/*.jsonl"))

    killed = 0
    for moment in (11, 1, 90, 2, 160, 3, 300, 5):
        seen = teaching if moment < 10 else kept
        process = nosce.start(*words, "--store", parts)
        killed += killed_when(process, lambda seen=seen, moment=moment: seen() >= moment)
    assert killed >= 4
    done = nosce(*words, "--store", parts)
    assert done.returncode == 0, done.stderr
    experiments = [next(store.glob("steps/experiment-*")) for store in (whole, parts)]
    bytes_of = [contents(one) for one in experiments]
    assert {name for name in bytes_of[0] if name.endswith(".safetensors")}
    for found in bytes_of:
        for name in ("provenance.json", "manifest.json"):  # when and where it was made
            found.pop(name)
    assert bytes_of[0] == bytes_of[1]
    shown = [json.loads(nosce.here("show", "introspection", "--store", one, "--json").stdout) for one in (whole, parts)]
    assert json.dumps(shown[0]["claims"]) == json.dumps(shown[1]["claims"])
