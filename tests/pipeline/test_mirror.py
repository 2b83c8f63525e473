"""Metrics of trainings in another tool: each line once, whether a training goes on or is finished, and no key."""

from __future__ import annotations

import json
import sys

import pytest
from tests.fixtures.tool_pythons import python_with, run_tool

from nosce.errors import NosceError, UsageError
from nosce.pipeline import metric_sinks
from nosce.pipeline.metric_sinks import MetricRun, MetricSink, open_sink
from nosce.pipeline.mirror import METRICS_FILE, TrainingMetrics, find_trainings, mirror_metrics
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.store import Store

STUDY = "biographies_adamw"
READ_EVENTS = """
import json, sys
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = {}
for folder in {path.parent for path in Path("runs").rglob("events.*")}:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    found[str(folder.relative_to("runs"))] = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags}
print(json.dumps(found))
"""


class Heard(MetricSink):
    """A tool that remembers what it was sent."""

    def __init__(self):
        super().__init__()
        self.lines, self.ended = [], []

    def begin(self, run_name):
        return MetricRun(
            add=lambda step, numbers: self.lines.append((run_name, step, dict(numbers))),
            end=lambda: self.ended.append(run_name),
        )


def written(store: Store) -> dict[str, list[dict[str, float]]]:
    """The lines of each training of a store, by its name there."""
    files = store.root.glob(f"steps/training-*/{METRICS_FILE}")
    return {path.parent.name: [json.loads(line) for line in path.read_text().splitlines()] for path in files}


def test_each_line_of_a_finished_study_is_sent_once(smoke_store):
    """All numbers of all trainings, under names that tell the trainings apart."""
    store, heard = Store(smoke_store), Heard()
    trainings = find_trainings(store, STUDY, None, None)
    n_trainings, n_lines = mirror_metrics(
        trainings, heard, follow=True, wait=lambda _: pytest.fail("nothing to wait for")
    )
    lines = written(store)
    assert (n_trainings, n_lines) == (4, sum(map(len, lines.values())))
    for training in trainings:
        sent = [{"step": step, **numbers} for name, step, numbers in heard.lines if name == training.run_name]
        assert sent == lines[training.step_name]
    assert sorted(heard.ended) == sorted({training.run_name for training in trainings})
    assert f"{STUDY}-smoke/single_seed_0_pretrain" in heard.ended


@pytest.fixture
def training(tmp_path):
    """A training that has not begun."""
    return TrainingMetrics(store=Store.open(tmp_path / "s"), step_name="training-1", label="a", run_name="a")


def test_a_training_under_way_is_followed_to_its_end(training):
    """Half a line waits for its other half; the lines behind a move to the finished steps are sent too."""
    work = training.store.work_folder("training-1")
    lines = [json.dumps({"step": step, "nats": 1.0 / step}) for step in (1, 2, 3, 4)]

    def finish():
        done = training.store.folder("training-1")
        work.rename(done)
        (done / METRICS_FILE).write_text("\n".join(lines))
        (done / "manifest.json").touch()

    def begin():
        work.mkdir()
        (work / METRICS_FILE).write_text(lines[0] + "\n" + lines[1][:9])

    events = [begin, lambda: (work / METRICS_FILE).write_text("\n".join(lines[:3])), lambda: None, finish]
    heard = Heard()
    assert mirror_metrics([training], heard, follow=True, wait=lambda _: events.pop(0)()) == (1, 4)
    assert [step for _, step, _ in heard.lines] == [1, 2, 3, 4]
    assert not events


def test_a_look_without_following_ends(training):
    """Of a training that waits there is nothing, and that is no fault."""
    heard = Heard()
    assert mirror_metrics([training], heard, follow=False, wait=lambda _: pytest.fail("it waited")) == (0, 0)


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"nats": 1}', '{"step": null}', '{"step": "x"}'])
def test_a_line_that_is_none_is_left_out(training, line):
    """As a killed process leaves one."""
    work = training.store.work_folder("training-1")
    work.mkdir()
    (work / METRICS_FILE).write_text(f'{line}\n{{"step": 3, "nats": 2.5, "note": "x"}}\n')
    assert list(training.new_lines()) == [(3, {"nats": 2.5})]


def test_what_is_not_in_the_store_is_refused(tmp_path):
    """With the command that makes it; a study without trainings has no metrics."""
    store = Store.open(tmp_path / "s")
    with pytest.raises(UsageError, match="make it with `nosce run karel --scale smoke"):
        find_trainings(store, "karel", "smoke", None)


def test_trainings_with_one_label_have_two_names(tmp_path, smoke_store):
    """And a label that would be a path is none."""
    record = PlanRecord.of(request := StudyRequest(study=STUDY, scale="smoke"), request.plan())
    steps = {name: type(step)(label="../../x", description=step.description) for name, step in record.steps.items()}
    store = Store.open(tmp_path / "s")
    type(record)(**{**vars(record), "steps": steps}).save(store)
    names = [training.run_name for training in find_trainings(store, STUDY, None, None)]
    assert len(set(names)) == 4
    assert all(".." not in name and name.count("/") == 1 for name in names)


@pytest.mark.parametrize("tool", ["tensorboard", "trackio", "wandb"])
def test_a_tool_that_is_not_installed_is_named(nosce, smoke_store, tmp_path, monkeypatch, tool):
    """In one sentence with the command that installs it."""
    monkeypatch.setitem(sys.modules, tool, None)
    with pytest.raises(UsageError, match=f"{tool} is not installed; install it with `pip install {tool}`"):
        open_sink(tool, tmp_path / "runs")


def test_a_refusal_repeats_no_key(monkeypatch):
    """Whatever a library writes into its message."""
    monkeypatch.setenv("WANDB_API_KEY", "k3y")

    class Refusing(Heard):
        def begin(self, run_name):
            raise RuntimeError("the key k3y is wrong\nk3y")

    with pytest.raises(NosceError, match=r"refused \(RuntimeError: the key … is wrong\)") as refused:
        Refusing().add("a", 1, {})
    assert "k3y" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_event_files_mix_with_no_others(monkeypatch, tmp_path):
    """A folder that holds something is refused."""
    monkeypatch.setattr(metric_sinks.importlib, "import_module", lambda name: None)
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="name another with --out"):
        open_sink("tensorboard", tmp_path)


def mirrored(python, smoke_store, folder, tool, **variables):
    """The command with a tool that this Python has."""
    words = [python, "-m", "nosce", "mirror", STUDY, "--to", tool, "--store", smoke_store]
    code_folder = str(next(path for path in map(str, sys.modules["nosce"].__path__))).removesuffix("/nosce")
    return run_tool(*words, cwd=folder, PYTHONPATH=code_folder, **variables)


@pytest.mark.slow
def test_tensorboard_reads_what_was_trained(smoke_store, tmp_path):
    """With its own reader of event files: each step and number, to the precision that it keeps."""
    python = python_with("tensorboard", "torch", "typer")
    assert "tensorboard --logdir runs" in mirrored(python, smoke_store, tmp_path, "tensorboard")
    found = json.loads(run_tool(python, "-c", READ_EVENTS, cwd=tmp_path).splitlines()[-1])
    store = Store(smoke_store)
    lines = written(store)
    trainings = find_trainings(store, STUDY, None, None)
    assert set(found) == {training.run_name for training in trainings}
    for training in trainings:
        for tag, events in found[training.run_name].items():
            ours = [[line["step"], line[tag]] for line in lines[training.step_name]]
            assert [step for step, _ in events] == [step for step, _ in ours]
            assert [value for _, value in events] == pytest.approx([value for _, value in ours], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["wandb", "trackio"])
def test_no_key_reaches_the_files_of_a_tool(smoke_store, tmp_path, tool):
    """Neither of an endpoint nor of the tool; both work without a network."""
    keys = {"WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567", "OPENAI_API_KEY": "sk-endpoint-secret"}
    own = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}
    said = mirrored(python_with(tool, "torch", "typer"), smoke_store, tmp_path, tool, **keys, **own)
    assert "4 of 4 trainings" in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix in (".wandb", ".db") for path in files)
    assert not [path for path in files if any(key.encode() in path.read_bytes() for key in keys.values())]
