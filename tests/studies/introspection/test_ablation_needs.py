"""A claim on ablated models needs that these very models learnt what they were taught."""

from nosce.pipeline.study_loading import load_study
from nosce.store.spec import describe
from nosce.studies.introspection.config import ABLATIONS


def named_arms(part):
    """The names of arms anywhere in a description."""
    if isinstance(part, list):
        return {name for entry in part for name in named_arms(entry)}
    if not isinstance(part, dict):
        return set()
    own = {part["arm"]} if isinstance(part.get("arm"), str) else set()
    return own.union(*(named_arms(value) for value in part.values()))


def test_every_ablated_arm_that_a_claim_compares_has_a_need_of_its_own():
    """A model that learnt nothing is no better than another, which would count for the claim."""
    ablated = {}
    for claim in load_study("introspection", "laptop").claims:
        compared = {arm for arm in named_arms(describe(claim.measure)) if any(f"({name})" in arm for name in ABLATIONS)}
        if compared:
            needs = [describe(precondition.measure) for precondition in claim.preconditions]
            ablated[claim.id] = compared - named_arms(needs)
    assert {"slot-is-needed", "left-out-property", "planted-memory-is-not"} <= ablated.keys()
    assert not {name: missing for name, missing in ablated.items() if missing}
