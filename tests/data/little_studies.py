"""Studies of a dozen people for the tests of the command line; none of them is there to show anything."""

from dataclasses import replace

from nosce import (
    Arm,
    Claim,
    Curves,
    Machine,
    Majority,
    Mean,
    Questions,
    Read,
    Recall,
    Recipe,
    Select,
    Stage,
    Study,
    size,
)
from nosce.data.worlds.biographies.world import Biographies

DOZEN = Biographies(people=12, names=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)
RECIPE = Recipe(steps=6, batch=12, window=80, peak_lr=5e-3, checkpoints=(0.5, 1.0))
ASKING = Stage(name="finetune", recipe=Recipe(steps=4, batch=12, window=64, peak_lr=1e-3))


def one_arm(scale):
    """Everything that a study has, as small as it gets: some six seconds, nearly all of them imports."""
    recalled = Select(readout="recall", stage="pretrain")
    return Study(
        name="little",
        title="A little study",
        question="Does every part fit the next?",
        paper="none",
        scale=scale,
        unit="person",
        arms=(Arm(name="only", world=DOZEN, model=size("2x64"), recipe=RECIPE, stages=(ASKING,)),),
        seeds=(0,),
        reads=(Read(Recall()), Read(Majority()), Read(Questions(), stage="finetune")),
        claims=(
            Claim(id="recalled", text="All is recalled", source="none", measure=Mean(select=recalled), threshold=0.9),
        ),
        figures=(
            Curves(id="recall", title="Recall", caption="Over training.", x_label="steps", y_label="recalled",
                   panels=(("", replace(recalled, step="every")),)),
        ),
    )  # fmt: skip


def _with(scale, **changed):
    study = one_arm(scale)
    return replace(study, arms=(replace(study.arms[0], **changed),))


def nobody(scale):
    """A world of zero people."""
    return _with(scale, world=replace(DOZEN, people=0))


def crowd(scale):
    """A world of more people than its pools have full names for."""
    return _with(scale, world=replace(DOZEN, people=129))


def hopeless(scale):
    """A learning rate at which no loss stays finite."""
    return _with(scale, recipe=replace(RECIPE, peak_lr=1e30))


def broken(scale):
    """A window too short for the texts."""
    return _with(scale, recipe=replace(RECIPE, window=20))


def long(scale):
    """A training of some seconds, and a read-out of many checkpoints, to be killed in their middle.

    A state to go on from is saved several times a second and not every five, so that seconds are enough.
    """
    Machine.__init__.__kwdefaults__["save_seconds"] = 0.2
    recipe = replace(RECIPE, steps=300, checkpoints=tuple(i / 15 for i in range(16)))
    return _with(scale, world=replace(DOZEN, people=40), recipe=recipe)
