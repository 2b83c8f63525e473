"""How many people must there be before a probe sees what can be asked for? One arm of the study biographies, by people.

    nosce run benchmarks/people.py:study --scale laptop --store SOMEWHERE
    nosce report --out SITE --store SOMEWHERE     # SITE/people/laptop/figures/people.csv is benchmarks/people.csv

Five shuffled wordings, everybody met 64 times, one training seed of a world that no study reports. Probes learn from
half of the people and are all fitted alike; pools of names and steps of fine-tuning grow with the people.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.figures import Point, Rungs
from nosce.analysis.measures import Mean
from nosce.data.worlds.biographies.world import Names
from nosce.errors import UsageError
from nosce.evals.probing.low_rank import Fit
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import Questions, Recall
from nosce.models.architecture import size
from nosce.studies.biographies.arms import BEST, ENTRIES, FINETUNE, OPTIMIZERS, SMALL, Population, asked_in
from nosce.studies.biographies.selections import asked, at_first, at_first_guessed, from_name, recalled
from nosce.study import Arm, Read, Scale, Study
from nosce.train.config import Recipe

SEED = 2_003
OFTEN = 64  # meetings of each person
#: People, with steps of fine-tuning and the pools of names, which grow as the root (the sheet, section 11.1).
WORLDS = {400: (480, (20, 20, 40)), 800: (720, (28, 28, 56)), 1_600: (960, (40, 40, 80))}
LINES = {"asked about unseen people": asked, "P-probe, first place": at_first, "Q-probe, the name alone": from_name,
         "most frequent class, first place": at_first_guessed, "recalled in the texts": recalled}  # fmt: skip


def study(scale: Scale) -> Study:
    """One arm by people, with what can be read and asked."""
    if scale != "laptop":
        raise UsageError(f"people has no scale {scale!r}; take laptop.")
    arms = {people: _arm(people) for people in WORLDS}
    points = tuple(Point(float(people), group, Mean(select=what(arm.name)))
                   for group, what in LINES.items() for people, arm in arms.items())  # fmt: skip
    figure = Rungs(
        id="people", title="What is read, and what can be asked, by how many people there are",
        caption=f"{BEST}; questions whole, probes by first tokens. Probes learn from half of the people. "
        "Intervals over people of one training seed.", x_label="people", y_label="accuracy",
        points=points, x_scale="log",
    )  # fmt: skip
    probes = (NameProbe(fit=Fit(rank=16, steps=200, batch=32, peak_lr=1e-2), titles=Names()),
              PositionProbe(fit=Fit(rank=2, steps=150, batch=16, peak_lr=1e-2), documents=ENTRIES))  # fmt: skip
    return Study(
        name="people", title="People for a probe", question="How many people does a probe want?",
        paper="arXiv:2309.14316", scale=scale, unit="person", arms=tuple(arms.values()), seeds=(SEED,),
        reads=(Read(Recall()), Read(Questions(), stage=FINETUNE), *map(Read, probes)), claims=(), figures=(figure,),
    )  # fmt: skip


def _arm(people: int) -> Arm:
    steps, names = WORLDS[people]
    pretrain = Recipe(steps=1, dtype="auto", checkpoints=(1.0,), **OPTIMIZERS["muon"])
    population = Population(world=replace(SMALL, people=people, names=names), shape=size("3x128"), pretrain=pretrain,
                            exposures=OFTEN, asking=asked_in(steps, 3e-4))  # fmt: skip
    return replace(population.row(BEST), name=f"{people} people")
