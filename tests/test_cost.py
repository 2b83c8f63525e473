"""A price times what it prices: trainings that take different work are not sold for one another."""

from dataclasses import replace

import pytest

from nosce import cost
from nosce.models.families import size
from nosce.plan import unroll
from nosce.read.readouts import Recall
from nosce.study import Arm, Read, Study
from nosce.train.recipe import Recipe
from nosce.worlds.biographies import Biographies

RECIPE = Recipe(steps=10, batch=4)
ARM = Arm(name="one", world=Biographies(people=12, names=(4, 4, 8)), model=size("2x64"), recipe=RECIPE)


def plan(*arms):
    """The plan of arms that differ by what their recipes say."""
    named = tuple(replace(arm, name=f"arm{number}") for number, arm in enumerate(arms))
    return unroll(Study(name="s", title="t", question="q?", paper="p", scale="smoke", unit="person", seeds=(0,),
                        arms=named, reads=(Read(Recall()),), claims=()))  # fmt: skip


def timed(monkeypatch, *arms):
    """The recipes that were timed, and what the trainings were said to take."""
    recipes = []

    def seconds(model, sequences, recipe, vocabulary):
        recipes.append(recipe)
        return float(len(recipes))

    monkeypatch.setattr(cost, "_seconds_per_step", seconds)
    whole = plan(*arms)
    return recipes, cost.price(whole, whole.all)


def changed(**more):
    return replace(ARM, recipe=replace(RECIPE, **more))


@pytest.mark.parametrize(
    "more",
    [
        {"batch": 8},
        {"window": 128},
        {"dtype": "bfloat16"},
        {"optimizer": "muon"},
        {"accumulate": 2},
    ],
    ids=str,
)
def test_recipes_that_take_other_work_are_timed_each(monkeypatch, more):
    """What one step costs is not what another costs that computes something else."""
    recipes, costs = timed(monkeypatch, ARM, changed(**more))

    assert recipes == [ARM.recipe, changed(**more).recipe]
    assert [found.seconds for found in costs] == [10, 20]


@pytest.mark.parametrize("more", [{"peak_lr": 0.1}, {"steps": 20}, {"weight_decay": 0.0}], ids=str)
def test_recipes_that_take_the_same_work_are_timed_once(monkeypatch, more):
    """A learning rate costs nothing, and twice the steps twice the time of one."""
    recipes, costs = timed(monkeypatch, ARM, changed(**more))

    assert recipes == [ARM.recipe]
    assert [found.seconds for found in costs] == [10, 10 * more.get("steps", 10) / 10]


@pytest.mark.parametrize("more", [{}, {"window": 96}, {"optimizer": "muon", "accumulate": 2}, {"dtype": "bfloat16"}],
                         ids=str)  # fmt: skip
def test_every_recipe_can_be_timed(monkeypatch, more):
    """A few real steps of each kind give a positive number of seconds."""
    monkeypatch.setattr(cost, "SECONDS", 0.05)
    whole = plan(changed(**more))
    (found,) = cost.price(whole, whole.all)

    assert 0 < found.seconds < 60
    assert found.tokens == pytest.approx(10 * 4 * 60, rel=0.3)
