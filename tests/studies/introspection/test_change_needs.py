"""Claims about a change of behaviour need reports that the changed model would write."""

from __future__ import annotations

import polars as pl
import pytest

from nosce.studies.introspection.arms import CHANGE_STAGE, CHOICE_TASKS, A, B, predictor_arm_name
from nosce.studies.introspection.study import study

ARMS = (predictor_arm_name(A, A), predictor_arm_name(B, A))


def changed_readings(invalid_share: float) -> pl.DataFrame:
    """Reports of choices that changed: the likeliest label is the new one, and so many written reports are no label."""
    rows = []
    for arm in ARMS:
        for n in range(40):
            row = {"arm": arm, "seed": 0, "stage": CHANGE_STAGE, "step": 0, "split": "unseen", "evaluation": "changed"}
            row |= {"attribute": f"{CHOICE_TASKS[0]}/stance", "entity": f"string {n}", "item": f"{n}/stance"}
            row |= {"target": f"label {n % 2}", "answer": ""}
            outcome = "invalid" if n < 40 * invalid_share else "right"
            rows.append(row | {"metric": "free", "value": float(outcome == "right"), "outcome": outcome})
            rows.append(row | {"metric": "right/differs", "value": 1.0, "outcome": "right"})
            rows.append(row | {"metric": "own/differs", "value": 0.0, "outcome": "wrong"})
    return pl.DataFrame(rows)


@pytest.mark.parametrize("claim_id", ["follows-change", "follows-more-than-cross"])
def test_a_change_after_which_most_reports_are_invalid_is_not_judged(claim_id):
    """65 % of the written reports were invalid in the run that is shown in results/."""
    claims = {claim.id: claim for claim in study("smoke").claims}
    verdict = claims[claim_id].judge(changed_readings(0.65), "string")
    assert verdict.verdict == "undecided"
    assert f"the share of valid reports of {ARMS[0]} after the change is 35.0% [" in verdict.why
    assert "the whole interval must lie above 90%" in verdict.why
    assert "after the change" not in claims[claim_id].judge(changed_readings(0.0), "string").why
