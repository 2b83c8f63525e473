"""Families of transformers, built small: likelihood, loss, replies and LoRA against the model's own logits.

`benchmarks/families.py` builds them, measures them, and writes the table of all of them.
"""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "families.py"
SPEC = importlib.util.spec_from_file_location("families", SCRIPT)
families = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(families)

OTHERS = sorted({*families.FAMILIES, *families.VARIANTS} - {*families.REPRESENTATIVE})


def check(family, verdicts):
    with families.quiet():
        line = families.measure(family)
    assert line["verdict"] in verdicts, line


@pytest.mark.parametrize("family", families.REPRESENTATIVE)
def test_a_family_gives_the_models_own_logits_or_is_refused(family):
    """What it takes to be right is in `families.TOLERANCE`; only models that see later tokens are refused here."""
    check(family, {"refused"} if family in families.NOT_CAUSAL else {"right"})


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_every_other_family_is_right_or_refused(family):
    """A family that this machine cannot build small is named with the reason in the benchmark's table."""
    check(family, {"right", "refused", "not built"})
