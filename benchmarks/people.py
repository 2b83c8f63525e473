"""How many people must there be before a probe sees what can be asked for? One arm of the study biographies, by people.

    nosce run benchmarks/people.py:study --scale laptop --store SOMEWHERE
    nosce report --out SITE --store SOMEWHERE     # SITE/people/laptop/figures/people.csv is benchmarks/people.csv

Five shuffled wordings, everybody met 64 times, one training seed of a world that no study reports. Probes learn from
half of the people and are all fitted alike; pools of names and steps of fine-tuning grow with the people.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.figures import LineFigure, LinePoint
from nosce.analysis.measures import Mean
from nosce.data.worlds.biographies.world import BiographyNameExtractor
from nosce.errors import UsageError
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import QAEval, RecallEval
from nosce.models.architecture import Architecture
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
    augmentation_arm,
)
from nosce.studies.biographies.config import MULTI5_PERMUTE, SMALL_BIOGRAPHIES, BiographiesBaseConfig
from nosce.studies.biographies.evals import (
    P_PROBE_DOCUMENTS,
)
from nosce.studies.biographies.selections import (
    extraction_accuracy,
    p_probe_accuracy,
    p_probe_majority_accuracy,
    q_probe_accuracy,
    recall_accuracy,
)
from nosce.studies.biographies.trainings import OPTIMIZER_SETTINGS, short_finetuning
from nosce.study import Arm, EvalSpec, Scale, Study
from nosce.train.config import TrainingConfig

SEED = 2_003
OFTEN = 64  # meetings of each person
#: People, with steps of fine-tuning and the pools of names, which grow as the root (the sheet, section 11.1).
WORLDS = {400: (480, (20, 20, 40)), 800: (720, (28, 28, 56)), 1_600: (960, (40, 40, 80))}
LINES = {
    "asked about unseen people": extraction_accuracy,
    "P-probe, first place": p_probe_accuracy,
    "Q-probe, the name alone": q_probe_accuracy,
    "most frequent class, first place": p_probe_majority_accuracy,
    "recalled in the texts": recall_accuracy,
}


def study(scale: Scale) -> Study:
    """One arm by people, with what can be read and asked."""
    if scale != "laptop":
        raise UsageError(f"people has no scale {scale!r}; take laptop.")
    arms = {people: _arm(people) for people in WORLDS}
    points = tuple(
        LinePoint(float(people), group, Mean(selection=what(arm.name)))
        for group, what in LINES.items()
        for people, arm in arms.items()
    )
    figure = LineFigure(
        id="people",
        title="What is read, and what can be asked, by how many people there are",
        caption=f"{MULTI5_PERMUTE}; questions whole, probes by first tokens. Probes learn from half of the people. "
        "Intervals over people of one training seed.",
        x_label="people",
        y_label="accuracy",
        points=points,
        x_scale="log",
    )
    probes = (
        NameProbe(
            config=LowRankProbeConfig(rank=16, steps=200, batch_size=32, peak_lr=1e-2),
            name_extractor=BiographyNameExtractor(),
        ),
        PositionProbe(
            config=LowRankProbeConfig(rank=2, steps=150, batch_size=16, peak_lr=1e-2),
            documents_per_entity=P_PROBE_DOCUMENTS,
        ),
    )
    return Study(
        name="people",
        title="People for a probe",
        question="How many people does a probe want?",
        paper="arXiv:2309.14316",
        scale=scale,
        unit="person",
        arms=tuple(arms.values()),
        seeds=(SEED,),
        evals=(EvalSpec(RecallEval()), EvalSpec(QAEval(), stage=FINETUNE_STAGE), *map(EvalSpec, probes)),
        claims=(),
        figures=(figure,),
    )


def _arm(people: int) -> Arm:
    steps, names = WORLDS[people]
    pretrain = TrainingConfig(steps=1, dtype="auto", checkpoint_fractions=(1.0,), **OPTIMIZER_SETTINGS["muon"])
    population = BiographiesBaseConfig(
        world=replace(SMALL_BIOGRAPHIES, people=people, name_pool_sizes=names),
        architecture=Architecture.named("3x128"),
        pretraining=pretrain,
        exposures=OFTEN,
        finetuning=short_finetuning(steps),
    )
    return replace(augmentation_arm(population, MULTI5_PERMUTE), name=f"{people} people")
