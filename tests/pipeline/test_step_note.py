"""A step's progress in the note of its lease: written whole, read with care."""

from __future__ import annotations

import json
from functools import partial

import pytest

from nosce.pipeline import run_step as running
from nosce.pipeline.context import StepProgress
from nosce.pipeline.step_clock import StepClock
from nosce.pipeline.step_note import StepNote, metrics_note, note_text, parse_note


def test_a_note_says_what_the_report_says():
    progress = StepProgress(
        done=1_200, total=3_000, unit="steps", cached=3, tokens_per_second=5_100.4, loss=1.2344, spent=0.5
    )
    note = parse_note(note_text(progress))
    assert note.words == "1,200 of 3,000 steps, 40 %; 3 from the cache; loss 1.234; 5,100 loss tokens/s; 0.5000 spent"
    assert vars(note) == {name: getattr(progress, name) for name in StepProgress.__dataclass_fields__}


def test_a_loss_that_is_no_number_is_null():
    """The note is JSON, also of a training that breaks."""
    text = note_text(StepProgress(done=1, total=None, unit="steps", loss=float("nan"), tokens_per_second=float("inf")))
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None
    assert parse_note(text).words == "1 steps"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "[]",
        "[" * 100_000,
        '{"done": 1',
        '{"done": 1}',
        '{"done": "1", "total": 2, "unit": "x"}',
        '{"done": 1.5, "total": 2, "unit": "x"}',
        '{"done": 1, "total": 2, "unit": "x", "loss": NaN}',
    ],
)
def test_another_text_is_no_note(text):
    assert parse_note(text) is None


def test_a_later_version_may_write_more():
    assert parse_note('{"done": 1, "total": 2, "unit": "x", "later": 3}') == StepNote(done=1, total=2, unit="x")


def test_a_training_without_notes_is_told_of_by_its_metrics(tmp_path):
    """The last whole line counts; a line that is being written does not."""
    assert metrics_note(tmp_path) is None
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 4, "nats": 2.5}\n{"step": 8, "nats": 2.25}\n{"step": 12, "na')
    assert metrics_note(tmp_path) == StepNote(done=8, total=None, unit="steps", loss=2.25)
    file.write_text("\n".join('{"step": 4, "nats": 2.5, "lr": 0.019470584137307338}' for _ in range(500)) + "\n")
    assert metrics_note(tmp_path).done == 4
    file.write_text("no json\n")
    assert metrics_note(tmp_path) is None


def test_a_step_writes_its_reports_into_the_note_of_its_lease(monkeypatch, tmp_path):
    """Whoever reads the store reads what the step's own terminal shows."""
    said = []

    class Lease:
        note = staticmethod(str)

        def check(self):
            said.append(self.note())

    lease, told = Lease(), []
    report = partial(running.report_progress, lease, told.append, StepClock(tmp_path / "spent"))
    for done in (1, 2):
        report(StepProgress(done=done, total=2, unit="texts"))
    assert [parse_note(text) for text in (*said[1:], lease.note())] == [
        StepNote(done=1, total=2, unit="texts"),
        StepNote(done=2, total=2, unit="texts"),
    ]
    assert [progress.done for progress in told] == [1, 2]
