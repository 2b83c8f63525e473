"""The studies that come with nosce: what they claim and draw is what they read, at every scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.selection import Selection
from nosce.errors import UsageError
from nosce.pipeline.plan import build_plan
from nosce.study import SCALES, Study, builtin_studies, load_study


def known() -> list[tuple[str, str]]:
    """Every study at every scale that it has."""
    found = []
    for name in builtin_studies():
        for scale in SCALES:
            try:
                load_study(name, scale)
            except UsageError:
                continue
            found.append((name, scale))
    return found


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


@pytest.mark.parametrize(("name", "scale"), known())
def test_claims_and_figures_speak_of_what_is_read(name, scale):
    """Every selection names an arm and a read-out of the study; ids are given once; the plan unrolls."""
    study = load_study(name, scale)
    for what in (*study.claims, *study.figures, *study.scaling_curves):
        for select in selects(what):
            assert is_read(study, select), (what.id, select)
    for things in (study.claims, study.figures, study.scaling_curves):
        ids = [thing.id for thing in things]
        assert len(set(ids)) == len(ids)
    assert len(build_plan(study).all_steps) > 4


def test_encoders_and_decoders_see_the_same_facts():
    """Arms of the diaries that differ in family alone learn from one corpus, so from the same texts and questions."""
    plan = build_plan(load_study("diaries", "laptop"))
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
