"""The steps of a run that other processes are making: waited for, told of, taken over when their makers are gone."""

from __future__ import annotations

import time
from collections.abc import Callable

from nosce.pipeline.step import Step
from nosce.store.lease import LOST_SECONDS, LeaseWatch, break_lease, duration
from nosce.store.store import Store

TELL_SECONDS = 60.0  # between two lines about a step that is waited for


class LeasedSteps:
    """What a run knows of leases that others hold.

    Args:
        store: The store.
        say: Gets sentences for people.
        retry_seconds: Seconds until a step that another process is making is looked at again.
    """

    def __init__(self, store: Store, say: Callable[[str], None], retry_seconds: float) -> None:
        self.store, self.say, self.retry_seconds = store, say, retry_seconds
        self._watches: dict[str, LeaseWatch] = {}
        self._look_at: dict[str, float] = {}  # when to look again, by this process's monotonic clock
        self._tell_at: dict[str, float] = {}

    def add(self, step: Step, sentence: str) -> None:
        """A worker has found the step leased."""
        now = time.monotonic()
        if step.name not in self._watches:
            self.say(sentence)
            self._watches[step.name] = LeaseWatch(self.store.lease_folder, step.name)
            self._tell_at[step.name] = now + TELL_SECONDS
        self._watches[step.name].look()
        self._look_at[step.name] = now + self.retry_seconds

    def may_start(self, step: Step) -> bool:
        """Might a worker get the step's lease now?"""
        if (watch := self._watches.get(step.name)) is None:
            return True
        if (now := time.monotonic()) < self._look_at[step.name]:
            return False
        self._look_at[step.name] = now + self.retry_seconds
        match watch.look():
            case "held":
                self._tell(step, watch, now)
                return False
            case "lost":
                sentence = f"{step.kind}: {step.label} is taken over from {watch.describe()}"
                if break_lease(self.store.lease_folder, step.name, watch.content):
                    self.say(f"{sentence}.")
        return True

    def _tell(self, step: Step, watch: LeaseWatch, now: float) -> None:
        if now < self._tell_at[step.name]:
            return
        self._tell_at[step.name] = now + TELL_SECONDS
        patience = ""
        if watch.quiet_seconds > LOST_SECONDS / 4 and not watch.is_alive:
            patience = f", and after {duration(LOST_SECONDS)} this run takes it over"
        self.say(f"{step.kind}: {step.label} is still being made by {watch.describe()}{patience}.")
