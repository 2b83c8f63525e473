"""What a person sees of a step that trains, that asks a model in words, or that does neither."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from nosce.pipeline import progress as progress_module
from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.local_pool import StepEvent
from nosce.pipeline.progress import ConsoleProgress
from nosce.pipeline.step import Step

CLOCK = [0.0]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time goes on when a test says so."""
    CLOCK[0] = 1_000.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: CLOCK[0])


class NamedStep(Step):
    """A step whose name is not hashed."""

    name = "experiment-1"  # type: ignore[assignment]


def a_step(kind="experiment", label="m, seed 0"):
    return NamedStep(kind=kind, spec=None, label=label)


def lines(step, *reports, seconds=20.0):
    """What is printed of these reports, so many seconds apart, and of the end of the step."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with ConsoleProgress(console, 3) as listener:
        listener.on_start(step)
        for report in reports:
            CLOCK[0] += seconds
            listener.on_event(step, StepEvent("progress", step.name, report))
        listener.on_event(step, StepEvent("made", step.name))
    return console.file.getvalue().splitlines()


def replies(done, total=400, cached=0, **more):
    return StepProgress(done=done, total=total, unit="replies", cached=cached, **more)


def test_replies_are_told_with_those_of_the_cache_and_the_time_left():
    """What is found takes no time, so that the time left is that of the replies to come."""
    told = lines(a_step(), replies(80, cached=80), replies(120, cached=80, spent=0.125), replies(400, cached=80))
    assert told == [
        "[0/3] experiment: m, seed 0: 80 of 400 replies, 80 from the cache",
        "[0/3] experiment: m, seed 0: 120 of 400 replies, 80 from the cache, 0.125 spent, 140 s left".replace(
            "140 s", "2 min"
        ),
        "[0/3] experiment: m, seed 0: 400 of 400 replies, 80 from the cache, 0 s left",
        "[1/3] experiment: m, seed 0 (400 of 400 replies, 80 from the cache; 60 s)",
    ]


def test_replies_that_are_all_in_the_cache_say_so_and_promise_no_time():
    told = lines(a_step(), replies(200, cached=200), replies(400, cached=400))
    assert told[-1] == "[1/3] experiment: m, seed 0 (400 of 400 replies, 400 from the cache; 40 s)"
    assert not any("left" in line for line in told)


def test_a_training_has_speed_and_loss_and_nothing_else_has():
    """Where nothing is trained there is no loss, not even one that is no number."""
    seen = []
    context = StepContext(folder=None, progress=seen.append)
    context.training_progress(1_000, 4_000, 12_345.0, 1.25)
    context.training_progress(2_000, 4_000, 12_345.0, 1.125)
    told = lines(a_step("training", "a, seed 0, pretrain"), *seen)
    assert told[1] == (
        "[0/3] training: a, seed 0, pretrain: 2,000 of 4,000 steps, 12,345 loss tokens/s, loss 1.125, 40 s left"
    )
    assert told[2] == "[1/3] training: a, seed 0, pretrain (40 s)"
    others = [
        replies(3),
        StepProgress(done=3, total=None, unit="tables"),
        StepProgress(done=1, total=2, unit="figures"),
    ]
    told = lines(a_step(), *others, StepProgress(done=2, total=9, unit="steps", loss=float("nan")))
    assert "3 tables" in told[1]
    assert not re.search("loss|nan|tokens|None", "\n".join(told))


def test_a_training_within_an_experiment_does_not_spoil_the_time_of_its_replies():
    """Steps and replies are paced apart, and the last line tells of the replies."""
    told = lines(
        a_step(), replies(90), StepProgress(done=10, total=20, unit="steps", loss=2.0), replies(100), replies(200)
    )
    assert "left" not in told[2]
    assert told[3].endswith("200 of 400 replies, 40 s left")
    assert told[4].endswith("(200 of 400 replies; 80 s)")


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_of_any_width_cuts_nothing(width):
    """The label of a step and how far it is, with large numbers, are there whole, and no line is too long."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    step = a_step("experiment", "multi5+permute+fullname, seed 2, pretrain")
    with ConsoleProgress(console, 17) as listener:
        listener.on_start(step)
        for report in (replies(1_000, 24_000), replies(12_345, 24_000, 900, spent=1.25)):
            CLOCK[0] += 20
            listener.on_event(step, StepEvent("progress", step.name, report))
        shown = Console(file=io.StringIO(), width=width, color_system=None)
        shown.print(listener._progress.make_tasks_table(listener._progress.tasks))
    text = shown.file.getvalue()
    words = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "all steps" in words
    assert "0 of 17" in words
    assert "51 %" in words
    assert re.search(r"\b22 s\b", words)  # of the 11,655 replies to come, after 10,445 in 20 seconds
    if width >= 80:
        assert "experiment: multi5+permute+fullname, seed 2, pretrain" in text
        assert "12,345 of 24,000 replies, 900 from the cache, 1.25 spent" in text


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5_999, "100 min"), (9_000, "2.5 h"), (None, "")]
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert progress_module._format_left(seconds) == said
