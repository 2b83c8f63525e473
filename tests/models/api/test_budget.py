"""Budgets: a ledger that processes and restarts share, in which nothing that may be billed is forgotten."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from nosce.errors import SpecError
from nosce.models.api.budget import Budget


def test_a_restart_counts_what_was_spent_before(tmp_path):
    ledger = tmp_path / "replies" / "costs.jsonl"
    first = Budget(10.0, ledger, "step a")
    first.settle(first.reserve(4.0, 10.0), 3.0)
    second = Budget(10.0, ledger, "step b")
    assert second.reserve(8.0, 10.0) is None
    held = second.reserve(7.0, 10.0)
    assert held is not None
    assert first.reserve(0.5, 10.0) is None  # another process's reservation counts too
    second.settle(held, 1.0)
    assert (first.spent, second.spent, first.spent_by_all, first.reserved) == (3.0, 1.0, 4.0, 0.0)


def test_what_a_dead_process_reserved_counts_in_full(tmp_path):
    """The endpoint may bill a request whose reply nobody has read."""
    ledger = tmp_path / "costs.jsonl"
    program = (
        "import os, sys, pathlib; from nosce.models.api.budget import Budget\n"
        "Budget(5.0, pathlib.Path(sys.argv[1])).reserve(2.0, 5.0)\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(ledger)], timeout=60).returncode == 9
    budget = Budget(5.0, ledger)
    assert (budget.reserved, budget.spent_by_all) == (2.0, 0.0)
    assert budget.reserve(3.5, 5.0) is None


@pytest.mark.parametrize(
    "damage", ["", "null", "[]", '{"id": "x"}', '{"id": "x", "purpose": "", "cost": NaN}', "\xff{"]
)
def test_a_damaged_line_costs_nothing_else(tmp_path, damage):
    """Neither the lines before it nor those after it."""
    ledger = tmp_path / "costs.jsonl"
    budget = Budget(None, ledger)
    budget.settle(budget.reserve(1.0, None), 1.0)
    with ledger.open("a") as file:
        file.write(damage)  # without an end of line, as a process leaves it that dies
    again = Budget(None, ledger)
    again.settle(again.reserve(2.0, None), 2.0)
    assert Budget(None, ledger).spent_by_all == 3.0


def test_requests_without_a_price_leave_no_ledger(tmp_path):
    budget = Budget(None, tmp_path / "costs.jsonl")
    budget.settle(budget.reserve(0.0, None), 0.0)
    assert not list(tmp_path.iterdir())


def test_an_endpoint_has_a_limit_of_its_own_beside_that_of_the_run(tmp_path):
    """What one endpoint costs is not counted against another's limit, and both count against the run's."""
    ledger = tmp_path / "costs.jsonl"
    budget = Budget(10.0, ledger, "step")
    budget.settle(budget.reserve(3.0, 10.0, payee="one", payee_limit=4.0), 3.0)
    assert budget.reserve(2.0, 10.0, payee="one", payee_limit=4.0) is None
    held = Budget(10.0, ledger, "step").reserve(4.0, 10.0, payee="other", payee_limit=4.0)  # another process
    assert held is not None
    assert budget.reserve(0.5, 10.0, payee="other", payee_limit=4.0) is None
    assert budget.reserve(3.5, 10.0, payee="third") is None
    assert (budget.spent_on("one"), budget.spent_on("other"), budget.spent_by_all) == (3.0, 4.0, 3.0)
    with ledger.open("a") as file:
        file.write('{"id": "x", "purpose": "step", "cost": 1.0}\n')  # as earlier versions wrote it
    assert Budget(10.0, ledger, "step").spent_by_all == 4.0


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf, -1.0, -0.01])
def test_a_limit_that_is_no_amount_is_refused(limit):
    with pytest.raises(SpecError, match="no amount of money"):
        Budget(limit)
