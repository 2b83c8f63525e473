"""Did that ability really appear all at once?

Schaeffer, Miranda and Koyejo 2023, "Are Emergent Abilities of Large Language Models a Mirage?" (arXiv:2304.15004). A
score that requires every part of an answer to be right may jump where each part improves smoothly. Two ladders of small
transformers do arithmetic: on one ladder the jump comes from the metric, on the other it does not. Small networks that
read images are measured in the same way. All curves go to the mirage test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nosce.evals.fresh_questions import FreshQuestions
from nosce.evals.item_scores import ItemScores
from nosce.evals.qa import MajorityBaseline
from nosce.studies.emergence.arms import ladder_arms, length_runs, size_ladder, transfer_runs, vision_runs
from nosce.studies.emergence.claims import emergence_claims
from nosce.studies.emergence.config import EmergenceConfig, emergence_config
from nosce.studies.emergence.disclosures import EMERGENCE_DISCLOSURES
from nosce.studies.emergence.figures import emergence_figures
from nosce.studies.emergence.selections import FRESH_EVAL, LengthRuns
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
    lengths, transfer = length_runs(config), transfer_runs(config)
    further_ladders = [*([config.lengths] if lengths else []), *([config.together] if transfer else [])]
    whole = Study(
        name="emergence",
        title="All at once",
        question="Did that ability really appear all at once, or does the metric jump?",
        paper="arXiv:2304.15004",
        scale=scale,
        unit="item",
        arms=tuple(arm for one in (config.products, config.sums, *further_ladders) for arm in ladder_arms(one)),
        experiments=tuple(experiment for run in runs for experiment in run.experiments),
        seeds=config.seeds,
        exploratory_seeds=(0, 1, 2, 3, 4),
        evals=(EvalSpec(ItemScores(per_position=True)), EvalSpec(MajorityBaseline()), *_fresh_evals(config, lengths)),
        headline=("products-exact-jumps", "products-log-likelihood-smooth"),
        claims=emergence_claims(ladders, vision_ladders, lengths, transfer),
        figures=emergence_figures(ladders, vision_ladders, lengths, transfer),
        notes=tuple(_notes(config)),
        disclosures=EMERGENCE_DISCLOSURES,
        scaling_curves=(
            *(curve for ladder in ladders for curve in ladder.scaling_curves),
            *(ladder.curve_by_size for ladder in vision_ladders),
            *(curve for ladder in vision_ladders if (curve := ladder.per_image_curve) is not None),
            *([transfer.ladder.curve_by_size()] if transfer else []),
        ),
    )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _fresh_evals(config: EmergenceConfig, lengths: LengthRuns | None) -> Iterator[EvalSpec]:
    """Problems drawn anew, of the smallest size alone: the larger ones do not need as many."""
    if lengths is not None:
        evaluation = FreshQuestions(world=config.lengths.world, n_questions=config.n_fresh_problems, name=FRESH_EVAL)
        yield EvalSpec(evaluation, arms=(lengths.smallest_arm,))


def _notes(config: EmergenceConfig) -> Iterator[str]:
    """What a scale has in place of the paper's images."""
    if config.classifier == "lenet" and not config.images_folder:
        yield (
            "Scikit-learn's digits stand for CIFAR-100, MNIST and Omniglot, whose published files "
            "`--set images_folder=FOLDER` names."
        )
