"""Did that ability really appear all at once?

Schaeffer, Miranda and Koyejo 2023, "Are Emergent Abilities of Large Language Models a Mirage?" (arXiv:2304.15004). A
score that requires every part of an answer to be right may jump where each part improves smoothly. Two ladders of small
transformers do arithmetic: on one ladder the jump comes from the metric, on the other it does not. Small networks that
read images are measured in the same way. All curves go to the mirage test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nosce.evals.item_scores import ItemScores
from nosce.evals.qa import MajorityBaseline
from nosce.studies.emergence.arms import ladder_arms, size_ladder, vision_runs
from nosce.studies.emergence.claims import emergence_claims
from nosce.studies.emergence.config import EmergenceConfig, emergence_config
from nosce.studies.emergence.figures import emergence_figures
from nosce.study import EvalSpec, Scale, Study


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    config = emergence_config(scale, settings)
    runs = vision_runs(config)
    ladders = (size_ladder(config.products), size_ladder(config.sums))
    vision_ladders = tuple(run.ladder for run in runs)
    whole = Study(
        name="emergence",
        title="All at once",
        question="Did that ability really appear all at once, or does the metric jump?",
        paper="arXiv:2304.15004",
        scale=scale,
        unit="item",
        arms=(*ladder_arms(config.products), *ladder_arms(config.sums)),
        experiments=tuple(experiment for run in runs for experiment in run.experiments),
        seeds=config.seeds,
        exploratory_seeds=(0, 1, 2, 3, 4),
        evals=(EvalSpec(ItemScores(per_position=True)), EvalSpec(MajorityBaseline())),
        claims=emergence_claims(ladders, vision_ladders),
        figures=emergence_figures(ladders, vision_ladders),
        notes=tuple(_notes(config)),
        scaling_curves=(
            *(curve for ladder in ladders for curve in ladder.scaling_curves),
            *(ladder.curve_by_size for ladder in vision_ladders),
        ),
    )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _notes(config: EmergenceConfig) -> Iterator[str]:
    """What a scale has in place of the paper's images."""
    if config.classifier == "lenet" and not config.images_folder:
        yield (
            "Scikit-learn's digits stand for CIFAR-100, MNIST and Omniglot, whose published files "
            "`--set images_folder=FOLDER` names."
        )
