"""A limit of time interrupts work anywhere but where an interruption would be lost or leave half of something."""

from __future__ import annotations

import time

import pytest

from nosce.pipeline.time_budget import TimeBudget


class SlowToDelete:
    """An object whose deletion takes a while."""

    def __del__(self) -> None:
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            pass


def test_what_takes_too_long_is_given_up():
    """And what does not is returned."""
    assert TimeBudget(5.0).attempt(lambda: 3) == 3
    assert TimeBudget(0.05).attempt(lambda: time.sleep(5)) is None


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_while_an_object_is_deleted_rings_again_and_prints_nothing(capsys):
    """Python prints an error of `__del__` on the user's terminal and goes on as if there had been none."""

    def delete_and_wait() -> str:
        one = SlowToDelete()
        del one
        time.sleep(5)
        return "waited"

    started = time.monotonic()
    assert TimeBudget(0.1).attempt(delete_and_wait) is None
    assert time.monotonic() - started < 4
    assert "ignored" not in capsys.readouterr().err
