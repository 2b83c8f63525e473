"""Planted readings of A, its sibling and B: what each knows of A is given, and the claims must say so."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from nosce.analysis.figures import BarFigure
from nosce.analysis.stats.intervals import nested_interval
from nosce.analysis.stats.paired import decide
from nosce.records import Verdict
from nosce.seeds import Seed
from nosce.studies.introspection.arms import (
    EXTRA_LAYERS_ABLATION,
    REPORT_STAGE,
    SIBLING_OF_A,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.config import introspection_config
from nosce.studies.introspection.evals import SHARED_BASELINES, SHARED_REPORTS, TARGET_REPORTS
from nosce.studies.introspection.selections import EQUIVALENCE_MARGIN
from nosce.studies.introspection.study import study
from nosce.study import PRETRAIN

SMOKE = study("smoke")
CLAIMS = {claim.id: claim for claim in SMOKE.claims}
N_NEEDED = 120  # readings, whose interval lies above 95 % if all are right
CONSTANT = "constant"  # the best constant, in the place of an arm
#: The task and the ablation that a claim is about, and the rival whose reports it compares with those of A.
ABOUT = {
    "similarity-not-access": ("table", EXTRA_LAYERS_ABLATION, SIBLING_OF_A),
    "similarity-on-noise": ("noise", "", SIBLING_OF_A),
    "no-advantage-where-alike": ("shared", "", B),
}


def row(arm: str, seed: int, string: str, **values: object) -> dict[str, object]:
    plain = {"stage": REPORT_STAGE, "step": 0, "split": "unseen", "metric": "right", "target": "", "answer": ""}
    return {**plain, "arm": arm, "seed": seed, "entity": string, "item": string, "outcome": "right", **values}


def able(predictor: str, ablation: str, knows_its_table: bool) -> list[dict[str, object]]:
    """What every claim needs: the model knows its corpus, a given answer's properties, and what it was taught."""
    rows = []
    for name in ("says/table", "given/initial"):
        known = float(knows_its_table or name != "says/table")
        rows += [
            row(predictor, 0, f"{name} {n}", evaluation="known", stage=PRETRAIN, attribute=name, metric="exact")
            | {"value": known}
            for n in range(N_NEEDED)
        ]
    for target, one in ((A, ablation), (A, ""), (B, "")):
        taught = row(predictor_arm_name(predictor, target, one), 0, "", evaluation=TARGET_REPORTS, split="taught")
        rows += [taught | {"entity": str(n), "attribute": "table/initial", "value": 1.0} for n in range(N_NEEDED)]
    return rows


def planted(
    claim_id: str, shares: Mapping[str, float], n_strings: int, unable: tuple[str, ...] = (), seeds: int = 3
) -> pl.DataFrame:
    """Readings in which a reporter is right in a share of the strings of every seed; who is right more knows more.

    The constant is right first where the models are not, as one that knows nothing of strings.

    Args:
        claim_id: The claim.
        shares: Model or `CONSTANT` -> share of the strings.
        n_strings: Strings a seed.
        unable: Models that do not know their own table.
        seeds: Seeds.
    """
    task, ablation, rival = ABOUT[claim_id]
    shared = task == "shared"
    rows = [one for who in (A, B, rival) for one in able(who, ablation, who not in unable)]
    for seed in range(seeds):
        places = (Seed(0) / "planted" / seed).numpy().permutation(n_strings) / n_strings
        for reporter, share in shares.items():
            arm = A if reporter == CONSTANT else predictor_arm_name(reporter, A, ablation)
            evaluation = SHARED_REPORTS if shared else TARGET_REPORTS
            values: dict[str, object] = {"evaluation": evaluation, "attribute": f"{task}/initial"}
            if reporter == CONSTANT:
                values |= {"evaluation": SHARED_BASELINES if shared else "observers", "metric": "oracle"}
                values["stage"] = PRETRAIN
            rows += [
                row(arm, seed, f"string {n}", **values)
                | {"value": float((1 - place if reporter == CONSTANT else place) < share)}
                for n, place in enumerate(places.tolist())
            ]
    return pl.DataFrame(rows)


def verdict(claim_id: str, shares: Mapping[str, float], n_strings: int = 400, **options: object) -> Verdict:
    unable, seeds = options.get("unable", ()), options.get("seeds", 3)
    assert isinstance(unable, tuple)
    assert isinstance(seeds, int)
    return CLAIMS[claim_id].judge(planted(claim_id, shares, n_strings, unable, seeds), "string")


@pytest.mark.parametrize(
    ("claim_id", "rival_share", "expected"),
    [
        ("similarity-not-access", 0.6, "holds"),
        ("similarity-not-access", 0.4, "fails"),  # access: the sibling knows less
        ("similarity-not-access", 0.8, "fails"),  # and alike is not better either
        ("similarity-on-noise", 0.4, "holds"),
        ("similarity-on-noise", 0.7, "fails"),
        ("no-advantage-where-alike", 0.6, "holds"),
        ("no-advantage-where-alike", 0.4, "fails"),
    ],
)
def test_what_is_planted_comes_out(claim_id, rival_share, expected):
    """A is right in 60 %, and the best constant in 30 %."""
    rival = ABOUT[claim_id][2]
    found = verdict(claim_id, {A: 0.6, rival: rival_share, CONSTANT: 0.3})
    assert (found.verdict, found.estimate) == (expected, pytest.approx(0.6 - rival_share)), found.why


@pytest.mark.parametrize("claim_id", ABOUT)
def test_few_strings_cannot_tell_and_nothing_is_said(claim_id):
    """The needs are met in three of four strings, and a difference of one string in a dozen is no evidence."""
    found = verdict(claim_id, {A: 1.0, ABOUT[claim_id][2]: 11 / 12, CONSTANT: 0.25}, n_strings=12, seeds=1)
    assert found.verdict == "undecided"
    assert "not judged" not in found.why


@pytest.mark.parametrize("claim_id", ABOUT)
@pytest.mark.parametrize("constant", [0.6, 0.7])
def test_where_a_knows_no_more_than_a_constant_nothing_is_judged(claim_id, constant):
    """A beats its sibling, or equals it, also where neither knows anything."""
    for rival_share in (0.6, 0.2):
        found = verdict(claim_id, {A: 0.6, ABOUT[claim_id][2]: rival_share, CONSTANT: constant})
        assert found.verdict == "undecided"
        assert "not judged, since the share of right reports of A" in found.why
        assert "less that of the best constant, is" in found.why


def test_a_constant_that_a_beats_by_luck_alone_is_a_need_not_met():
    """The point estimate is above 0 by one string in twelve, which says nothing."""
    found = verdict("similarity-on-noise", {A: 0.5, SIBLING_OF_A: 0.0, CONSTANT: 5 / 12}, n_strings=12)
    assert "is 8.3 points [" in found.why
    assert found.verdict == "undecided"


@pytest.mark.parametrize("claim_id", ["similarity-not-access", "similarity-on-noise"])
def test_a_sibling_that_learned_nothing_is_no_rival(claim_id):
    """Its corpus is the same, and it does not know it: A's advantage is one of skill."""
    found = verdict(claim_id, {A: 0.6, SIBLING_OF_A: 0.2, CONSTANT: 0.3}, unable=(SIBLING_OF_A,))
    assert found.verdict == "undecided"
    assert re.search(r"what A' says of its own table is 0\.0% \[[^]]*\] and the whole interval must", found.why)


def test_the_page_says_how_alike_a_and_its_sibling_are_on_noise():
    """A reading of every predictor but A, beside its reports and the best constant."""
    (figure,) = (one for one in SMOKE.figures if one.id == "noise")
    assert isinstance(figure, BarFigure)
    arm = predictor_arm_name(SIBLING_OF_A, A)
    values = {"evaluation": TARGET_REPORTS, "attribute": "noise/initial"}
    readings = [
        row(arm, 0, str(n), metric="agree", **values) | {"value": float(n < 3), "outcome": None} for n in range(10)
    ]
    rows = {(one.tick, one.group): one.value for one in figure.rows(pl.DataFrame(readings), (arm,), "string")}
    assert rows["sibling: same corpus, trained anew", "own answer has A's label"] == pytest.approx(0.3)
    assert ("itself", "own answer has A's label") not in rows
    assert ("itself", "report about A is right") in rows


#: The spread over strings of the paired difference of A and B where all corpora answer alike, from the standard error
#: of the run of 150 strings that is shown in results/: 3.0 points, nearly all of it from strings.
STRING_SPREAD = 0.37


def share_that_holds(n_strings: int, n_seeds: int, n_runs: int = 60) -> float:
    """How often a run without any difference of A and B shows that there is none, within the margin."""
    claim, held = CLAIMS["no-advantage-where-alike"], 0
    rng = (Seed(0) / "power" / n_strings / n_seeds).numpy()
    for _ in range(n_runs):
        differences = rng.normal(0.0, STRING_SPREAD, size=(n_seeds, n_strings))
        names, seeds = [str(n) for n in range(n_strings)] * n_seeds, np.repeat(np.arange(n_seeds), n_strings)
        found = nested_interval(differences.ravel(), names, seeds)
        held += decide(found, claim.threshold, claim.direction) == "holds"
    return held / n_runs


def test_the_claim_about_alike_answers_has_the_strings_that_its_margin_needs():
    """50 strings a seed decide nothing; laptop's 200 do with five seeds (85 %, with three 46 %), gpu's 633 with three.

    With every context asked about, the standard error of laptop's three seeds is 1.5 points, so that an estimate does
    not lie on the threshold of 5 by chance.
    """
    n_unseen = {}
    for scale in ("laptop", "gpu"):
        world = introspection_config(scale).shared_world
        n_unseen[scale] = sum(prompt.split == "unseen" for prompt in world.prompts(Seed(0)))
    assert n_unseen["laptop"] == 200
    assert n_unseen["gpu"] > 600
    assert STRING_SPREAD / (3 * n_unseen["laptop"]) ** 0.5 < EQUIVALENCE_MARGIN / 3
    assert share_that_holds(50, 3) < 0.3
    assert share_that_holds(n_unseen["laptop"], 5) > 0.7
    assert share_that_holds(n_unseen["gpu"], 3, n_runs=30) > 0.65
