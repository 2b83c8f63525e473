"""Where mirrored metrics go: TensorBoard's event files, trackio or wandb, each where it is installed.

Nothing but numbers and the names of trainings is sent: no settings, no environment, no code and no output of the
terminal, so that no key of an endpoint can get into another tool's files.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from nosce.errors import NosceError, UsageError

T = TypeVar("T")
MirrorTool = Literal["tensorboard", "trackio", "wandb"]
PROJECT = "nosce"
SECRETS = ("WANDB_API_KEY", "HF_TOKEN", "TRACKIO_WRITE_TOKEN")  # of the tools; no message repeats them


@dataclass(frozen=True, kw_only=True)
class MetricRun:
    """A training in a tool.

    Attributes:
        add: Sends the numbers of one optimizer step.
        end: Closes the run.
        flush: Writes what was sent so far.
    """

    add: Callable[[int, Mapping[str, float]], None]
    end: Callable[[], None]
    flush: Callable[[], None] = lambda: None


class MetricSink(ABC):
    """A tool that is sent metrics. Each training is a run of the tool, which is begun with its first metrics."""

    def __init__(self) -> None:
        self._runs: dict[str, MetricRun] = {}

    def add(self, run_name: str, step: int, numbers: Mapping[str, float]) -> None:
        """Send the numbers of one optimizer step of a training.

        Raises:
            NosceError: The tool refuses.
        """
        if run_name not in self._runs:
            self._runs[run_name] = _asked(lambda: self.begin(run_name))
        _asked(lambda: self._runs[run_name].add(step, numbers))

    def end(self, run_name: str) -> None:
        """Close the run of a training that is finished."""
        if run_name in self._runs:
            _asked(self._runs.pop(run_name).end)

    def flush(self) -> None:
        """Write what was sent so far."""
        for run in self._runs.values():
            _asked(run.flush)

    def close(self) -> None:
        """Close all runs."""
        for run_name in list(self._runs):
            self.end(run_name)

    @abstractmethod
    def begin(self, run_name: str) -> MetricRun:
        """A run of the tool for a training."""


class TensorBoardSink(MetricSink):
    """Event files below a folder, one folder a training."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def begin(self, run_name: str) -> MetricRun:
        """A writer of event files."""
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(log_dir=str(self._folder / run_name))

        def add(step: int, numbers: Mapping[str, float]) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)

        return MetricRun(add=add, end=writer.close, flush=writer.flush)


class TrackioSink(MetricSink):
    """Runs of trackio's project `nosce`, in its own folder or where its own settings say."""

    def begin(self, run_name: str) -> MetricRun:
        """A run of trackio, without its readings of the machine."""
        trackio = importlib.import_module("trackio")
        run = trackio.init(
            project=PROJECT, name=run_name, resume="never", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        return MetricRun(add=lambda step, numbers: run.log(dict(numbers), step=step), end=run.finish)


class WandbSink(MetricSink):
    """Runs of wandb's project `nosce`; WANDB_MODE=offline needs no network and no key."""

    def begin(self, run_name: str) -> MetricRun:
        """A run of wandb, without what it gathers of code, machine and terminal."""
        wandb = importlib.import_module("wandb")
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        run = wandb.init(project=PROJECT, name=run_name, reinit="create_new", settings=settings)
        return MetricRun(add=lambda step, numbers: run.log(dict(numbers), step=step), end=run.finish)


def open_sink(tool: MirrorTool, folder: Path) -> MetricSink:
    """The tool, after a look whether it is installed.

    Args:
        tool: Name of the tool.
        folder: Where TensorBoard's event files go: a folder that is empty or not there.

    Raises:
        UsageError: The tool is not installed, or the folder is not empty.
    """
    try:
        importlib.import_module(tool)
    except ImportError as error:
        raise UsageError(f"{tool} is not installed; install it with `pip install {tool}`.") from error
    match tool:
        case "tensorboard":
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UsageError(
                    f"{folder} is not an empty folder, and event files would mix with others; name another with --out."
                )
            return TensorBoardSink(folder)
        case "trackio":
            return TrackioSink()
        case "wandb":
            return WandbSink()


def _asked(call: Callable[[], T]) -> T:
    """What a tool gives back. What it prints goes to stderr, and its refusal becomes one sentence without its keys."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except Exception as error:  # libraries of others raise what they like
        lines = str(error).splitlines() or [""]
        text = lines[0].strip().rstrip(".")
        for name in SECRETS:
            if secret := os.environ.get(name):
                text = text.replace(secret, "…")
        sentence = f"the metrics were refused ({type(error).__name__}: {text}); mend that and mirror again."
        raise NosceError(sentence) from None
