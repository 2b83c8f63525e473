"""The studies that come with nosce: what they claim and draw is what they read, at every scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from tests.fixtures.built_in_studies import built_in_study
from tests.fixtures.scripted_minds import Mind, planted_experiment
from tests.fixtures.self_minds import SelfMind, self_parties

from nosce.analysis.claims import Claim
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.selection import Selection
from nosce.pipeline.plan import build_plan
from nosce.pipeline.study_loading import builtin_studies
from nosce.studies.catalog import CATALOG
from nosce.studies.emergence.asked.claims import asked_claims
from nosce.studies.emergence.asked.problems import WordProblems
from nosce.studies.emergence.asked.sizes import AskedLadder
from nosce.studies.introspection.prompted_self_claims import self_knowledge_claims
from nosce.studies.introspection.prompted_study import prompted_introspection_study
from nosce.study import Study

#: Every study at every scale that it has; test_catalog.py looks whether the catalog forgets one.
KNOWN = [(name, scale) for name, entry in CATALOG.items() for scale in entry.scales]


def selects(thing: Any) -> Iterator[Selection]:
    """All selections anywhere inside."""
    if isinstance(thing, Selection):
        yield thing
    elif isinstance(thing, ScalingCurveSpec):
        for _, arm in thing.points:
            yield from (replace(select, arm=arm) for select in (thing.sharp, *thing.continuous))
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from selects(getattr(thing, field.name))
    elif isinstance(thing, tuple | list):
        for part in thing:
            yield from selects(part)


def is_read(study: Study, select: Selection) -> bool:
    """Is there a read-out that makes such readings?"""
    arms = {select.arm} if select.arm else {arm.name for arm in study.arms}
    tried = {(trial.name, trial.experiment.name) for trial in study.experiments}
    if select.arm and (select.arm, select.evaluation) in tried:
        return True
    return any(
        read.evaluation.name == select.evaluation
        and (select.stage is None or read.stage == select.stage or not read.evaluation.needs_model)
        and (not read.arms or arms & set(read.arms))
        for read in study.evals
    ) and arms <= {arm.name for arm in study.arms}


@pytest.mark.parametrize(("name", "scale"), KNOWN)
def test_claims_and_figures_speak_of_what_is_read(name, scale):
    """Every selection names an arm and a read-out of the study; ids are given once; the plan unrolls."""
    study = built_in_study(name, scale)
    for what in (*study.claims, *study.figures, *study.scaling_curves):
        for select in selects(what):
            assert is_read(study, select), (what.id, select)
    for things in (study.claims, study.figures, study.scaling_curves):
        ids = [thing.id for thing in things]
        assert len(set(ids)) == len(ids)
    assert len(build_plan(study).all_steps) > 4


def test_encoders_and_decoders_see_the_same_facts():
    """Arms of the diaries that differ in family alone learn from one corpus, so from the same texts and questions."""
    plan = build_plan(built_in_study("diaries", "laptop"))
    corpora = {step.label: step.inputs["corpus"].name for step in plan.upstream_steps if step.kind == "training"}
    for cell in ("2x64 2048 scattered", "2x64 2048 merged"):
        cells = {family: corpora[f"{family} {cell}, seed 0, pretrain"] for family in ("pythia", "opt", "flan-t5")}
        assert len(set(cells.values())) == 1, cells


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in builtin_studies() if "_" not in n])
def test_a_study_runs_at_smoke_scale_to_its_page(name, nosce, tmp_path):
    """Every step, every claim and every figure, in one run."""
    done = nosce("run", name, "--scale", "smoke", "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    page = nosce("report", "--out", tmp_path / "site", "--store", tmp_path / "store")
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "site" / name / "smoke" / "index.html").stat().st_size > 10_000


ROWS_OF_THE_CORE = {"memorised/multi5", "memorised/single+permute1"}
GAPS_OF_THE_CORE = {"permute1-no-help", "rewording-alone-helps", "shuffling-on-top-helps"}
#: What the scale smoke leaves out of a study, since it trains one arm of each kind: claims and figures of other arms.
LEFT_OUT_AT_SMOKE = {
    "biographies": {
        *("memorised/single+fullname", "memorised/single+permute5", "fullname-helps", "orders-help"),
        *(
            f"celebrities-help/{texts}"
            for texts in ("single", "single+permute1+fullname", "prose 1", "prose 1+fullname")
        ),
        *("minorities", "couples/couple5"),
    },
    "biographies_variants": ROWS_OF_THE_CORE | GAPS_OF_THE_CORE | {"lora-gap/8", "lora-gap/16"},
    "biographies_adamw": ROWS_OF_THE_CORE | GAPS_OF_THE_CORE,
    "biographies_packed": ROWS_OF_THE_CORE | GAPS_OF_THE_CORE,
    "diaries": {
        *("shapes", "paper-shape-scattered", "paper-shape-merged", "opt-ahead"),
        *("equal-steps", *(f"{name}-at-equal-steps" for name in ("more-diarists", "gap-shrinks", "merged-easier"))),
        *("flan-t5-counts-with-more", "flan-t5-more-diarists"),
        *("entry-lengths", "longer-entries-count", "longer-entries-whole"),
        *("never-read", "empty-known", "empty-told", "gaps-known", "gaps-whole"),
        *("number-told", "number-told-better", "number-agrees", "number-asked-helps"),
    },
    "introspection": {"left-out-property", "slot-is-needed"},
    "karel": {
        *(f"boards-{name}" for name in ("front", "intervention-alt3", "position", "writes")),
        *("loops", *(f"loops-{name}" for name in ("direction", "front", "position", "writes"))),
    },
}

#: Classes of arms that the scale smoke leaves out.
KINDS_LEFT_OUT_AT_SMOKE = {"introspection": {"LoRA"}, "biographies": {"FreeCelebrities"}}
#: What a study has at the scale smoke and another one at the scale laptop.
ELSEWHERE_AT_LAPTOP = {"biographies": "biographies_variants"}


def kinds(thing: Any) -> set[type]:
    """The classes of all dataclasses anywhere inside."""
    if isinstance(thing, tuple | list):
        return {kind for part in thing for kind in kinds(part)}
    if not is_dataclass(thing):
        return set()
    return {type(thing)}.union(*(kinds(getattr(thing, field.name)) for field in fields(thing)))


@pytest.mark.parametrize("name", builtin_studies())
def test_smoke_scale_has_one_of_each_kind(name):
    """Every class of world, training, evaluation, measure and figure of the scale laptop; what is left out has a name.

    The study biographies trains the low-rank updates that introspection leaves out at this scale.
    """
    smoke, laptop = built_in_study(name, "smoke"), built_in_study(name, "laptop")
    missing = {kind.__name__ for kind in kinds(laptop) - kinds(smoke)}
    assert missing == KINDS_LEFT_OUT_AT_SMOKE.get(name, set())
    ids = [{part.id for part in (*study.claims, *study.figures)} for study in (laptop, smoke)]
    assert ids[0] - ids[1] == LEFT_OUT_AT_SMOKE.get(name, set())
    if other := ELSEWHERE_AT_LAPTOP.get(name):
        ids[0] |= {part.id for study in [built_in_study(other, "laptop")] for part in (*study.claims, *study.figures)}
    assert ids[1] <= ids[0]


def needs_by_estimate(claims: Iterable[Claim]) -> set[str]:
    """What is needed of estimates alone, with no threshold that the interval of the same measure must exceed."""
    needs = {need for claim in claims for need in claim.preconditions}
    assert needs
    with_interval = {need.measure for need in needs if need.by_interval}
    return {need.text for need in needs if need.measure not in with_interval}


@pytest.mark.parametrize("name", builtin_studies())
def test_needs_compare_intervals(name):
    """A need that chance may meet is none; where units are few, the interval has a threshold of its own."""
    assert needs_by_estimate(built_in_study(name, "laptop").claims) == set()


def test_needs_of_models_that_are_asked_in_words_compare_intervals():
    """Of introspection with all its parts, of self-knowledge, and of arithmetic."""
    minds = (Mind(letter="A"), Mind(letter="B"))
    introspection = prompted_introspection_study(planted_experiment(*minds), scale="smoke")
    assert needs_by_estimate(introspection.claims) == set()
    parties = self_parties(SelfMind(letter="A"), SelfMind(letter="B"))
    assert needs_by_estimate(self_knowledge_claims(parties)) == set()
    ladder = AskedLadder(names=tuple("abcde"), sizes=(1.0, 2.0, 3.0, 4.0, 5.0))
    assert needs_by_estimate(asked_claims(WordProblems(n_problems=4), ladder)) == set()


def test_smoke_scale_is_small():
    """As many steps as are made within a minute on two cores."""
    n_steps = {name: len(build_plan(built_in_study(name, "smoke")).all_steps) for name in builtin_studies()}
    assert max(n_steps.values()) <= 200, n_steps
