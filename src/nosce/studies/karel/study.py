"""Does a model that only reads programs come to represent what they do?

Jin and Rinard 2024, "Emergent Representations of Program Semantics in Language Models Trained on Programs"
(arXiv:2305.11169). A model learns to continue specifications, which are input and output boards of a small robot,
with programs that carry no comments. Probes then look in its hidden states for the states of the program that it is
writing; the same probes look for what the words would mean otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, scaling_curve_over_training
from nosce.analysis.selection import Selection
from nosce.studies.karel.claims import karel_claims
from nosce.studies.karel.config import KarelConfig, even_checkpoint_fractions, karel_config
from nosce.studies.karel.evals import original_evals, reassigned_evals
from nosce.studies.karel.figures import karel_figures
from nosce.studies.karel.selections import ORIGINAL_ARM, REASSIGNED_ARM, SHARPEST_ALTERNATIVE
from nosce.study import Arm, Scale, Study


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    config = karel_config(scale, settings)
    reassigned_world = replace(
        config.world,
        meaning=SHARPEST_ALTERNATIVE,
        records=config.reassigned_training_factor * config.world.records,
    )
    reassigned_training = replace(
        config.training,
        steps=config.reassigned_training_factor * config.training.steps,
        checkpoint_fractions=even_checkpoint_fractions(4),
    )
    original_arm = Arm(
        name=ORIGINAL_ARM,
        world=config.world,
        model=config.architecture,
        training=config.training,
        tokenizer=config.world.tokenizer,
    )
    reassigned_arm = replace(original_arm, name=REASSIGNED_ARM, world=reassigned_world, training=reassigned_training)
    whole = Study(
        name="karel",
        title="Meaning in models of programs",
        question="Does a model that only reads programs come to represent what they do?",
        paper="arXiv:2305.11169",
        scale=scale,
        unit="specification",
        arms=(original_arm, reassigned_arm),
        seeds=config.seeds,
        evals=(*original_evals(config), *reassigned_evals(config, reassigned_world)),
        claims=karel_claims(config),
        figures=karel_figures(config),
        scaling_curves=(_training_curve(config),),
    )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _training_curve(config: KarelConfig) -> ScalingCurveSpec:
    """Right programs over training, against the likelihood of the authors' programs."""
    return scaling_curve_over_training(
        "programs",
        "Right programs along training",
        ORIGINAL_ARM,
        config.training.checkpoint_steps,
        float(config.training.batch_size),
        Selection(evaluation="written", metric="correct", split="unseen"),
        Selection(evaluation="questions", metric="nats", split="unseen", quantity="nats"),
        x_label="records seen",
    )
