"""Studies and their files: what cannot be run is refused in one sentence before any step is made."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.errors import NosceError, SpecError, UsageError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import Architecture
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.study_checks import check_references
from nosce.pipeline.study_loading import load_study
from nosce.studies import BUILT_IN
from nosce.study import SCALES, EvalSpec
from nosce.train.config import LoRA, TrainingConfig

FILE = Path(__file__).parent / "fixtures" / "little_studies.py"


@pytest.fixture
def study():
    """The little study of one arm."""
    return load_study(f"{FILE}:one_arm", "smoke")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("scale", SCALES)
def test_the_studies_of_nosce_pass(name, scale):
    """Every name of theirs is allowed, every type is right, and every claim names what is there."""
    with suppress(UsageError):  # a study has not every scale
        check_references(built_in_study(name, scale))


NAMES = ["", ".", "..", "../up", "/etc/passwd", "a/b", "\x1b[31m", "x" * 101, " a", 7, None]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_no_name_of_a_study_leads_out_of_its_folder(study, name):
    """The study, its scale and its figures become files; arms, stages and claims reach the terminal."""
    arm, claim, figure = study.arms[0], study.claims[0], study.figures[0]
    for change in (
        {"name": name},
        {"scale": name},
        {"figures": (replace(figure, id=name),)},
        {"arms": (replace(arm, name=name),)},
        {"arms": (replace(arm, stages=(replace(arm.stages[0], name=name),)),)},
        *([{"claims": (replace(claim, id=name),)}] if "/" not in str(name) else []),
    ):
        with pytest.raises(SpecError) as refused:
            replace(study, **change)
        assert str(refused.value).isprintable()


def test_one_id_of_two_claims_or_figures_is_refused(study):
    """The second would be written over the first."""
    for part in ("claims", "figures"):
        with pytest.raises(SpecError, match="stands twice"):
            replace(study, **{part: 2 * getattr(study, part)})


@pytest.mark.parametrize("seeds", [(-1,), (0.5,), ("0",), (True,), (2**31,), (10**30,), tuple(range(1_001)), 3, None])
def test_seeds_are_small_whole_numbers(study, seeds):
    """Not negative, no fractions, no words, and not thousands of them."""
    with pytest.raises(SpecError):
        replace(study, seeds=seeds)
    with pytest.raises(UsageError, match="at most 1,000"):
        study.subset(n_seeds=10**9)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"evaluation": "recal"}, "evaluation 'recal', but it has"),
        ({"arm": "other"}, "arm 'other', but it has 'only'"),
        ({"stage": "later"}, "stage 'later'"),
    ],
)
def test_a_claim_or_figure_names_what_is_there(study, change, told):
    """Else it would be undecided after the training."""
    selection = replace(Selection(evaluation="recall", stage="pretrain"), **change)
    claim = replace(study.claims[0], measure=Mean(selection=selection))
    figure = replace(study.figures[0], panels=(("", selection),))
    for changed in (replace(study, claims=(claim,)), replace(study, figures=(figure,))):
        with pytest.raises(SpecError, match=told):
            check_references(changed)
    check_references(study)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainingConfig(steps="10", batch_size=2),
        lambda: TrainingConfig(steps=10.5, batch_size=2),
        lambda: TrainingConfig(steps=10, batch_size=2, weight_decay=-0.1),
        lambda: TrainingConfig(steps=10, batch_size=2, weight_decay=float("nan")),
        lambda: TrainingConfig(steps=10, batch_size=2, warmup_steps=-1),
        lambda: TrainingConfig(steps=10, batch_size=2, betas=(0.9, 1.0)),
        lambda: TrainingConfig(steps=10, batch_size=2, betas=(0.9,)),
        lambda: TrainingConfig(steps=10, batch_size=2, epsilon=0.0),
        lambda: TrainingConfig(steps=10, batch_size=2, peak_lr=float("inf")),
        lambda: TrainingConfig(steps=10, batch_size=2, checkpoint_fractions=1.0),
        lambda: LoRA(rank=2.5),
        lambda: LoRA(alpha=-1),
        lambda: Architecture(layers=2, width="64", heads=2),
        lambda: Architecture(layers=2, width=64, heads=2, max_positions=0),
        lambda: Architecture(layers=True, width=64, heads=2),
    ],
)
def test_a_setting_of_a_wrong_type_or_range_is_refused_where_it_is_made(make):
    """In one sentence, with its name."""
    with pytest.raises(SpecError) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_step_is_planned_only_for_a_sound_study(tmp_path, monkeypatch):
    """`StudyRequest.plan` checks the whole study, also where only one arm was asked for."""
    file = tmp_path / "names_nothing.py"
    file.write_text(
        FILE.read_text(encoding="utf-8")
        + "\n\ndef other(scale):\n    study = one_arm(scale)\n    claim = study.claims[0]\n"
        "    wrong = replace(claim, measure=Mean(selection=Selection(evaluation='recall', arm='x')))\n"
        "    return replace(study, claims=(wrong,))\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(NosceError, match="names the arm 'x'"):
        StudyRequest(study=f"{file}:other", scale="smoke", arms=("only",)).plan()
    assert importlib.util.find_spec("names_nothing") is not None


def test_what_no_claim_or_figure_reads_is_not_planned(study):
    """Evaluations and their arms are left out where no selection could have a reading of them, and nothing else."""
    arms = tuple(replace(study.arms[0], name=name) for name in ("a", "b", "c"))
    recall, asked, unread = RecallEval(), QAEval(), MajorityBaseline()
    measures = (
        Mean(selection=Selection(evaluation=recall.name, metric="exact", arm="b")),
        Mean(selection=Selection(evaluation=asked.name)),
        Mean(selection=Selection(evaluation=unread.name, stage="another")),
    )
    claims = tuple(replace(study.claims[0], id=str(n), measure=measure) for n, measure in enumerate(measures))
    evals = EvalSpec(recall), EvalSpec(asked, arms=("a", "c")), EvalSpec(unread)
    whole = replace(study, arms=arms, evals=evals, claims=claims, figures=(), scaling_curves=())
    assert whole.without_unread_evals().evals == (EvalSpec(recall, arms=("b",)), EvalSpec(asked, arms=("a", "c")))

    class Own(Mean):
        """A measure of somebody's own, which may look at any reading."""

    own = replace(claims[0], measure=Own(selection=measures[0].selection))
    assert replace(whole, claims=(own,)).without_unread_evals().evals == evals


@pytest.mark.parametrize("name", ["biographies", "karel", "diaries", "emergence", "introspection"])
def test_laptop_studies_plan_only_what_is_read(name):
    """No evaluation of a laptop study is made for nothing."""
    laptop = built_in_study(name, "laptop")
    assert laptop.without_unread_evals() == laptop
