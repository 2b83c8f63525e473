"""The entry point: run a command, turn our errors into one sentence and an exit code.

0 done (whatever the verdicts), 1 a step failed, 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

import typer

from nosce.cli import (
    audit_command,
    card_command,
    fetch_command,
    mirror_command,
    power_command,
    published_command,
    study_commands,
    tool_commands,
    view_command,
)
from nosce.cli.app import app
from nosce.cli.output import print_error
from nosce.errors import NosceError, SpecError, UsageError
from nosce.store.text import printable

#: Modules whose import adds their commands to the application, in the order of its help.
COMMANDS = (
    study_commands,
    view_command,
    card_command,
    tool_commands,
    audit_command,
    power_command,
    published_command,
    fetch_command,
    mirror_command,
)
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # of a process that SIGPIPE ends


def _raise_interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point: one sentence for our errors, a traceback for everything else."""
    signal.signal(signal.SIGTERM, _raise_interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal's encoding lacks is spelled out
            stream.reconfigure(errors="backslashreplace")
    code = exit_code_of(lambda: app(standalone_mode=False))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _close_broken_pipe()
    sys.exit(code)


def _close_broken_pipe() -> int:
    """Nobody reads on, e.g. in `nosce list --json | head`: what is left is dropped without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def exit_code_of(call: Callable[[], object]) -> int:
    """The exit code of a command; what it raises is said in one sentence on stderr.

    Raises:
        Exception: What is no error of ours, whose traceback is wanted.
    """
    started = time.monotonic()
    try:
        code = call()
        if code == EXIT_INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            print_error(_interrupt_message(started))
        return code if isinstance(code, int) else 0
    except NosceError as error:
        print_error(str(error))
        return 2 if isinstance(error, UsageError | SpecError) else error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print_error(_interrupt_message(started))
        return EXIT_INTERRUPTED
    except typer.Exit as exit_:
        return exit_.exit_code
    except BrokenPipeError:
        return _close_broken_pipe()
    except OSError as error:  # e.g. a path longer than the system allows, wherever it was looked at
        where = f"{error.filename}: " if error.filename else ""
        print_error(f"the system refused {where}{error.strerror or error}; look at the path and the disk.")
        return 1
    except Exception as error:
        if _is_usage_error(error):
            error.message = printable(error.message)  # type: ignore[attr-defined]
            error.show()  # type: ignore[attr-defined]  # of click
            return 2
        raise


def _interrupt_message(started: float) -> str:
    return f"interrupted after {time.monotonic() - started:.0f} s."


def _is_usage_error(error: Exception) -> bool:
    """Is the error click's own complaint about options?  Typer brings a copy of click whose classes are private."""
    return hasattr(error, "show") and hasattr(error, "exit_code")
