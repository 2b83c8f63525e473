"""Does a model that only reads programs come to represent what they do?

Jin and Rinard 2024, "Emergent Representations of Program Semantics in Language Models Trained on Programs"
(arXiv:2305.11169). A model learns to continue specifications, which are input and output boards of a small robot,
with programs that carry no comments. Probes then look in its hidden states for the states of the program that it is
writing; the same probes look for what the words would mean otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, scaling_curve_over_training
from nosce.analysis.selection import Selection
from nosce.data.worlds.base import World
from nosce.data.worlds.karel.world import Karel
from nosce.models.architecture import Pretrained
from nosce.studies.karel.claims import karel_claims
from nosce.studies.karel.config import KarelConfig, even_checkpoint_fractions, karel_config
from nosce.studies.karel.disclosures import KAREL_DISCLOSURES
from nosce.studies.karel.evals import original_evals, other_world_evals, random_control_evals, reassigned_evals
from nosce.studies.karel.figures import karel_figures
from nosce.studies.karel.selections import (
    BOARDS_ARM,
    LOOPS_ARM,
    ORIGINAL_ARM,
    RANDOM_ARM,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
)
from nosce.studies.karel.training_claims import FRESH_WEIGHTS_CLAIMS
from nosce.study import EXPLORATORY_SEEDS, Arm, EvalSpec, Scale, Study

KAREL_TITLE = "Meaning in models of programs"


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return replace(karel_study(karel_config(scale, settings), scale), disclosures=KAREL_DISCLOSURES)


def karel_study(
    config: KarelConfig, scale: Scale, *, title: str = KAREL_TITLE, replayed: Callable[[Karel], World] | None = None
) -> Study:
    """The study of a configuration.

    Args:
        config: What is trained and probed.
        scale: Name of the scale.
        title: The study's title.
        replayed: Mixes general text into a world's documents. None: none.
    """
    arms = tuple(_arms(config, replayed))
    whole = Study(
        name="karel",
        title=title,
        question="Does a model that only reads programs come to represent what they do?",
        paper="arXiv:2305.11169",
        scale=scale,
        unit="specification",
        arms=arms,
        seeds=config.seeds,
        exploratory_seeds=EXPLORATORY_SEEDS,
        evals=tuple(_evals(config)),
        claims=karel_claims(config),
        headline=("position+0", "intervention-alt3"),
        figures=karel_figures(config),
        scaling_curves=(_training_curve(config),),
        notes=tuple(_notes(config)),
    )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _arms(config: KarelConfig, replayed: Callable[[Karel], World] | None) -> Iterator[Arm]:
    """The arm of the words' own meanings, and its controls."""
    original_arm = Arm(
        name=ORIGINAL_ARM,
        world=config.world if replayed is None else replayed(config.world),
        model=config.architecture,
        training=config.training,
        adapter=config.adapter,
        tokenizer=config.world.tokenizer,
    )
    yield original_arm
    if config.reassigned_control:
        world = _reassigned_world(config)
        training = replace(config.training, steps=config.reassigned_training_factor * config.training.steps)
        if not config.is_pretrained:
            training = replace(training, checkpoint_fractions=even_checkpoint_fractions(4))
        yield replace(
            original_arm,
            name=REASSIGNED_ARM,
            world=world if replayed is None else replayed(world),
            training=training,
        )
    if config.random_control and isinstance(config.architecture, Pretrained):
        fresh = replace(config.architecture, random_weights=True)
        yield replace(original_arm, name=RANDOM_ARM, model=fresh, adapter=None)
    if config.loops_arm:
        yield _other_world_arm(original_arm, LOOPS_ARM, config.loops_world)
    if config.boards_arm:
        boards_arm = _other_world_arm(original_arm, BOARDS_ARM, config.boards_world)
        yield replace(boards_arm, n_seeds=config.boards_seeds)


def _other_world_arm(original_arm: Arm, name: str, world: Karel) -> Arm:
    """The same model and training in another world, whose documents are shown once."""
    training = original_arm.training
    steps = max(1, world.records // training.batch_size)
    training = replace(training, steps=steps, checkpoint_fractions=even_checkpoint_fractions(2))
    return replace(original_arm, name=name, world=world, training=training, tokenizer=world.tokenizer)


def _reassigned_world(config: KarelConfig) -> Karel:
    records = config.reassigned_training_factor * config.world.records
    return replace(config.world, meaning=SHARPEST_ALTERNATIVE, records=records)


def _evals(config: KarelConfig) -> Iterator[EvalSpec]:
    yield from original_evals(config)
    if config.reassigned_control:
        yield from reassigned_evals(config, _reassigned_world(config))
    if config.random_control:
        yield from random_control_evals(config)
    if config.loops_arm:
        yield from other_world_evals(config, LOOPS_ARM, config.loops_world, ("original",))
    if config.boards_arm:
        yield from other_world_evals(config, BOARDS_ARM, config.boards_world, ("original", SHARPEST_ALTERNATIVE))


def _notes(config: KarelConfig) -> Iterator[str]:
    """Which claims of the study are left out, and why."""
    if config.is_pretrained:
        about_phases = ", ".join(name for name in FRESH_WEIGHTS_CLAIMS if name != "perplexity-rises")
        yield (
            "Left out: perplexity-rises, which counts nats a token where a model has tokens of its own; "
            f"{about_phases}, which are about training from random weights."
        )
    if not config.reassigned_control:
        yield "Left out: own-meaning-wins, which takes a training on re-assigned words (reassigned_control=yes)."
    if not config.is_pretrained:
        for field, is_made, claims in (
            ("loops_arm", config.loops_arm, "loops-*, which take programs with loops and branches"),
            ("boards_arm", config.boards_arm, "boards-*, which take boards of 8 x 8"),
        ):
            if not is_made:
                yield f"Left out: {claims} ({field}=yes)."
    if config.is_pretrained:
        yield '"Untrained" is the model before this training.'


def _training_curve(config: KarelConfig) -> ScalingCurveSpec:
    """Right programs over training, against the likelihood of the authors' programs."""
    return scaling_curve_over_training(
        "programs",
        "Right programs along training",
        ORIGINAL_ARM,
        config.training.checkpoint_steps,
        config.records_per_step,
        Selection(evaluation="written", metric="correct", split="unseen"),
        Selection(evaluation="questions", metric="nats", split="unseen", quantity="nats"),
        x_label="records seen",
    )
