"""The money that a run may spend on endpoints: reserved before a request is sent, and counted when its reply is there.

A run may be several steps in several processes, and may be interrupted. They share a ledger, a file that is only
appended to. A process that dies leaves its reservations, which count in full, since the endpoint may bill them.
"""

from __future__ import annotations

import json
import math
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from nosce.errors import SpecError, StoreError


@dataclass(frozen=True)
class Reservation:
    """The highest possible cost of a request that is under way, and the endpoint that it will be paid to."""

    id: str
    cost: float
    payee: str = ""


@dataclass(eq=False)
class Budget:
    """The money that all requests of a run share, to one endpoint or several.

    Args:
        max_cost: Most that may be spent on all endpoints together. None: the limit of each `EndpointConfig` alone.
        ledger: File with the costs of the whole run, shared by its processes and kept between restarts. None: the
            costs are those of this object.
        purpose: Name of what the money of this object is spent on, e.g. a step.
    """

    max_cost: float | None = None
    ledger: Path | None = None
    purpose: str = ""
    _open: dict[str, float] = field(default_factory=dict, init=False)  # reservations by their ids
    _settled: set[str] = field(default_factory=set, init=False)  # ids of finished requests
    _sums: dict[str, float] = field(default_factory=dict, init=False)  # costs of finished requests, by purpose
    _paid: dict[str, float] = field(default_factory=dict, init=False)  # costs of finished requests, by payee
    _payees: dict[str, str] = field(default_factory=dict, init=False)  # of reservations, by their ids
    _offset: int = field(default=0, init=False)  # bytes of the ledger that were read
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        check_max_cost(self.max_cost, "Budget.max_cost")

    @property
    def spent(self) -> float:
        """Cost of the finished requests of this purpose, those of earlier processes included."""
        with self._lock:
            self._read()
            return self._sums.get(self.purpose, 0.0)

    @property
    def spent_by_all(self) -> float:
        """Cost of all finished requests of the run."""
        with self._lock:
            self._read()
            return math.fsum(self._sums.values())

    @property
    def reserved(self) -> float:
        """Highest possible cost of all requests of the run that are under way, or were when their process died."""
        with self._lock:
            self._read()
            return math.fsum(self._open.values())

    def spent_on(self, payee: str) -> float:
        """Cost of all requests of the run to an endpoint, those under way at their highest."""
        with self._lock:
            self._read()
            return self._spent_on(payee)

    def _spent_on(self, payee: str) -> float:
        under_way = [cost for name, cost in self._open.items() if self._payees.get(name, "") == payee]
        return math.fsum((self._paid.get(payee, 0.0), *under_way))

    def reserve(
        self, cost: float, limit: float | None, *, payee: str = "", payee_limit: float | None = None
    ) -> Reservation | None:
        """Reserve the highest possible cost of a request; None if a limit does not allow it.

        Args:
            cost: The highest possible cost.
            limit: Most that the run may spend. None: no limit.
            payee: The endpoint.
            payee_limit: Most that the run may spend on this endpoint. None: no limit.

        Raises:
            StoreError: The ledger cannot be written.
        """
        with self._lock, self._exclusively(cost):
            self._read()
            if limit is not None and math.fsum((*self._sums.values(), *self._open.values(), cost)) > limit:
                return None
            if payee_limit is not None and math.fsum((self._spent_on(payee), cost)) > payee_limit:
                return None
            reservation = Reservation(uuid.uuid4().hex, cost, payee)
            self._open[reservation.id], self._payees[reservation.id] = cost, payee
            self._append(reservation, "reserved", cost)
            return reservation

    def settle(self, reservation: Reservation, cost: float) -> None:
        """Replace a reservation by what the request has cost.

        Raises:
            StoreError: The ledger cannot be written.
        """
        with self._lock, self._exclusively(reservation.cost):
            self._count(reservation.id, self.purpose, reservation.payee, cost)
            self._append(reservation, "cost", cost)

    @contextmanager
    def _exclusively(self, cost: float) -> Iterator[None]:
        """The only process that writes the ledger; a request without a price is not in it."""
        if self.ledger is None or not cost:
            yield
            return
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.ledger.with_name(f"{self.ledger.name}.lock")).acquire(poll_interval=0.005):
            yield

    def _append(self, reservation: Reservation, column: str, cost: float) -> None:
        """A line about a request; a request without a price leaves none."""
        if self.ledger is None or not reservation.cost:
            return
        entry = {"id": reservation.id, "purpose": self.purpose, "payee": reservation.payee, column: cost}
        line = json.dumps(entry, allow_nan=False)
        try:
            with self.ledger.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else f"\n{line}"  # after a line that was cut short
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise StoreError(
                f"a cost cannot be written to {self.ledger} ({error.strerror}); free some space."
            ) from error

    def _read(self) -> None:
        """Take in what other processes have appended."""
        if self.ledger is None or not self.ledger.exists():
            return
        with self.ledger.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            name, purpose = str(entry["id"]), str(entry["purpose"])
            payee = str(entry.get("payee", ""))  # earlier versions wrote none
            if "cost" in entry:
                self._count(name, purpose, payee, _known_cost(entry["cost"]))
            elif name not in self._settled:
                self._open[name], self._payees[name] = _known_cost(entry["reserved"]), payee
        except (ValueError, KeyError, TypeError):
            return  # a process died while it wrote the line; before a request is sent its line is whole

    def _count(self, name: str, purpose: str, payee: str, cost: float) -> None:
        """Count a finished request, once: this process reads its own lines too."""
        self._open.pop(name, None)
        self._payees.pop(name, None)
        if name not in self._settled:
            self._settled.add(name)
            self._sums[purpose] = self._sums.get(purpose, 0.0) + cost
            self._paid[payee] = self._paid.get(payee, 0.0) + cost


def _known_cost(value: object) -> float:
    cost = float(str(value))
    if not (math.isfinite(cost) and cost >= 0):
        raise ValueError(value)
    return cost


def check_max_cost(max_cost: float | None, name: str) -> None:
    """Refuse a limit that limits nothing, or forbids what it does not mean to.

    Raises:
        SpecError: The limit is negative, infinite or not a number.
    """
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise SpecError(f"{name} is {max_cost}, which is no amount of money; give 0 or more, or leave it out.")
