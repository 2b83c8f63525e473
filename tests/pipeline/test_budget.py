"""A budget takes the largest size that fits, by the price of the smallest; what it chooses are ordinary settings."""

import math
from dataclasses import replace

import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.errors import UsageError
from nosce.pipeline import budget as budgets
from nosce.pipeline.budget import choose_size, parse_budget
from nosce.pipeline.cost import StepCost, estimate_costs
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.study_loading import budget_ladder
from nosce.studies.biographies.pretrained import BUDGET_LADDER


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def request_(folder):
    return StudyRequest(study="biographies", scale="laptop", models=str(folder))


def priced(monkeypatch, seconds):
    """Every step of the smallest size that runs a model takes so many seconds."""

    def estimate(steps, listener=None, budget_seconds=math.inf):
        return [StepCost(step, seconds) for step in steps if step.kind in ("training", "evaluation")]

    monkeypatch.setattr(budgets, "estimate_costs", estimate)


@pytest.mark.parametrize(("text", "minutes"), [("90s", 1.5), ("20m", 20), ("20 min", 20), ("1.5h", 90)])
def test_a_time(text, minutes):
    assert parse_budget(text) == minutes


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0m", "nan h", "1e9h", "20 days"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="is no time; write 90s, 20m or 2h"):
        parse_budget(text)


def test_a_larger_budget_takes_a_larger_size(monkeypatch, request_):
    priced(monkeypatch, 10.0)
    chosen = [choose_size(request_, minutes, 2).settings for minutes in (2, 10, 30, 10_000)]
    places = [BUDGET_LADDER.index(settings) for settings in chosen]
    assert places == sorted(places)
    assert places[0] < places[-1] == len(BUDGET_LADDER) - 1


def test_the_price_of_a_training_grows_with_its_texts(monkeypatch, request_):
    """From the smallest size on: people times exposures, and questions times people."""
    priced(monkeypatch, 60.0)
    small, large = (choose_size(request_, minutes, 1) for minutes in (60, 10_000))
    assert large.minutes > 6 * small.minutes
    assert small.next_minutes > 60 >= small.minutes
    assert small.half_width > large.half_width > 0


@pytest.mark.parametrize("study", ["karel", "diaries"])
def test_arms_that_only_larger_sizes_have_cost_something(monkeypatch, folder, study):
    """As much as the same step of another arm, and not nothing."""
    priced(monkeypatch, 10.0)
    ladder, request = budget_ladder(study), StudyRequest(study=study, scale="laptop", models=str(folder))
    small, large = (replace(request, settings=settings).plan() for settings in (ladder[0], ladder[2]))
    assert len(large.study.arms) > len(small.study.arms)
    minutes, n_not_known = budgets.scaled_minutes(large, budgets.estimate_costs(small.upstream_steps), 1)
    n_priced = sum(step.kind in ("training", "evaluation") for step in large.upstream_steps)
    assert n_not_known == 0
    assert minutes > 10 * n_priced / 60


def test_a_step_without_a_price_anywhere_is_counted(monkeypatch, folder):
    """A control whose evaluation no smaller size has: the minutes are then "at least"."""

    def estimate(steps, listener=None, budget_seconds=math.inf):
        known = [step for step in steps if step.kind == "training" or step.label.endswith("written after pretrain")]
        return [StepCost(step, 10.0) for step in known]

    monkeypatch.setattr(budgets, "estimate_costs", estimate)
    choice = choose_size(StudyRequest(study="karel", scale="laptop", models=str(folder)), 10_000, 2)
    assert choice.n_not_known > 0
    assert "at least" in choice.sentence


def test_the_width_of_an_interval_is_that_of_the_unseen_entities(monkeypatch, folder):
    """Of karel its unseen specifications, however many records are trained on."""
    priced(monkeypatch, 1e-3)
    choice = choose_size(StudyRequest(study="karel", scale="laptop", models=str(folder)), 10_000, 2)
    assert choice.half_width == pytest.approx(1.96 * 0.5 * math.sqrt(2 / 1_000))


def test_too_little_is_refused_with_the_price(monkeypatch, request_):
    priced(monkeypatch, 600.0)
    with pytest.raises(UsageError, match=r"is too little: people=16, exposures=8, the smallest size, takes \d"):
        choose_size(request_, 1, 2)


def test_an_unknown_price_is_said_and_is_not_zero(monkeypatch, request_):
    priced(monkeypatch, None)
    assert "at least" in choose_size(request_, 10, 2).sentence
    assert "steps is not known" in choose_size(request_, 10, 2).sentence
    assert choose_size(request_, 10_000, 2).settings == BUDGET_LADDER[0]  # no training of a larger size has a price


def test_what_the_budget_chooses_is_not_set_as_well(request_):
    request = StudyRequest(study="biographies", scale="laptop", models=request_.models, settings=("world.people=3",))
    with pytest.raises(UsageError, match="chooses people, and --set gives it too"):
        choose_size(request, 10, 2)


def test_an_arm_that_larger_sizes_alone_have_is_priced(monkeypatch, folder):
    """The smallest size has no control from random weights; its training costs what the other trainings do."""
    priced(monkeypatch, 10.0)
    request = StudyRequest(study="diaries", scale="laptop", models=str(folder))
    ladder = (("n_diarists=12", "random_controls=no"), ("n_diarists=12",))
    without, with_control = budgets.price_sizes(request, ladder, 1)
    assert with_control.minutes > 1.2 * without.minutes
    assert with_control.n_not_known == without.n_not_known == 0


def test_one_evaluation_is_timed_for_all_that_do_the_same(monkeypatch, folder):
    """Diaries of three splits and of two arms are read alike; what reads something else is timed by itself."""
    timed = []

    def estimate(steps, listener=None, budget_seconds=math.inf):
        timed.extend(steps)
        return [StepCost(step, 10.0) for step in steps if step.kind in ("training", "evaluation")]

    monkeypatch.setattr(budgets, "estimate_costs", estimate)
    request = StudyRequest(study="diaries", scale="laptop", models=str(folder))
    (size,) = budgets.price_sizes(request, (("n_diarists=12",),), 1)
    plan = replace(request, settings=("n_diarists=12",)).plan()
    names = [step.spec.evaluation.name for step in timed if step.kind == "evaluation"]
    assert names.count("written") == 1
    assert not {"trained", "validated"} & set(names)
    assert {"stops", "retold", "titles", "counted"} <= set(names)
    n_priced = sum(step.kind in ("training", "evaluation") for step in plan.upstream_steps)
    assert len(names) < n_priced
    assert size.minutes == pytest.approx(10 * n_priced / 60)


def test_an_experiment_grows_with_what_it_asks(monkeypatch, folder):
    """Its price is that of the part by which it is timed, as often as the whole has it."""

    def estimate(steps, listener=None, budget_seconds=math.inf):
        return [StepCost(step, 10.0) for step in steps if step.kind == "experiment"]

    monkeypatch.setattr(budgets, "estimate_costs", estimate)
    for study, sizes in (("emergence", "n_problems"), ("introspection", "strings_per_task")):
        request = StudyRequest(study=study, scale="laptop", models=str(folder))
        ladder = tuple((f"{sizes}={n}",) for n in (10, 20, 40))
        small, middle, large = budgets.price_sizes(request, ladder, 1)
        assert small.minutes == pytest.approx(10 / 60)
        assert 1.5 < middle.minutes / small.minutes < 2.5
        assert large.minutes > 1.5 * middle.minutes


def test_an_experiment_is_timed_on_one_core(folder):
    """As a step of a run has it; on a busy machine several threads wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        request = StudyRequest(study="emergence", scale="smoke", models=str(folder), settings=("n_problems=2",))
        (cost,) = estimate_costs(request.plan().upstream_steps)
        assert cost.seconds > 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("study", "models"), [("biographies", False)])
def test_a_study_without_sizes_is_refused(study, models, folder):
    request = StudyRequest(study=study, scale="laptop", models=str(folder) if models else "")
    with pytest.raises(UsageError, match="has no sizes"):
        choose_size(request, 10, 2)


@pytest.mark.slow
def test_the_command_says_what_it_took(nosce, folder, tmp_path):
    """The choice is a setting of the plan, so that the result is found by its name."""
    words = ["biographies", "--model", folder, "--scale", "smoke", "--store", tmp_path / "s", "--json"]
    done = nosce.here("plan", *words, "--budget", "2h")
    assert done.returncode == 0, done.stderr
    assert "The budget takes people=" in done.stderr
    (record,) = (tmp_path / "s" / "plans").glob("*.json")
    assert '"variant": "llama, people=' in record.read_text(encoding="utf-8")
