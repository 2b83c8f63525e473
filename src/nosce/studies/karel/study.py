"""Does a model that only reads programs come to hold what they do?

Jin and Rinard 2024, "Emergent Representations of Program Semantics in Language Models Trained on Programs"
(arXiv:2305.11169). A model learns to continue specifications, input and output boards of a small robot, with
programs that nobody has commented. Probes then look in its hidden states for the states of the program it is
writing; the same probes look for what the words would mean otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nosce.analysis.emergence.scaling_curve import scaling_curve_over_training
from nosce.analysis.measures import Selection
from nosce.data.worlds.karel.language import KAREL_OPERATIONS
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.world import Karel
from nosce.errors import UsageError
from nosce.evals.generation import ConstantBaseline, GenerationEval
from nosce.evals.patching.program_state import StateEditing
from nosce.evals.probing.program_states import PROBE_BASELINES, ProbeGrid, ProgramStateProbe
from nosce.evals.qa import QAEval
from nosce.models.architecture import Architecture
from nosce.studies.karel.claims import karel_claims
from nosce.studies.karel.figures import karel_figures
from nosce.studies.karel.selections import (
    ALTERNATIVE_SEMANTICS,
    ORIGINAL_ARM,
    PROBE_FEATURES,
    PROBE_OFFSETS,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
)
from nosce.study import Arm, EvalSpec, Scale, Study
from nosce.train.config import TrainingConfig

# Seen specifications that probes learn from: where they are trained at every checkpoint, and for figures alone.
CURVE_PROBE_TRAIN_SIZE, FIGURE_PROBE_TRAIN_SIZE = 4_000, 8_000
#: Fractions of a training at which it is looked at: one program for all is a matter of its first tenth.
EARLY_CHECKPOINT_FRACTIONS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5, 0.6, 0.7, 0.85, 1.0)


def study(scale: Scale) -> Study:
    """The study at a scale; what it expects of the world is in `claims`."""
    world, model, training, probe_width = _karel_config(scale)
    seeds = (0,) if scale in ("smoke", "paper") else (0, 1, 2)
    # The re-assigned arm learns more slowly (LOG.md): 43 % right where the other is at 95.
    training_factor = 2 if scale == "laptop" else 1
    reassigned_world = replace(world, meaning=SHARPEST_ALTERNATIVE, records=training_factor * world.records)
    reassigned_training = replace(
        training, steps=training_factor * training.steps, checkpoint_fractions=_even_checkpoint_fractions(4)
    )
    arms = (
        Arm(name=ORIGINAL_ARM, world=world, model=model, training=training, tokenizer=world.tokenizer),
        Arm(
            name=REASSIGNED_ARM,
            world=reassigned_world,
            model=model,
            training=reassigned_training,
            tokenizer=world.tokenizer,
        ),
    )
    return Study(
        name="karel",
        title="Meaning in models of programs",
        question="Does a model that only reads programs come to hold what they do?",
        paper="arXiv:2305.11169",
        scale=scale,
        unit="specification",
        arms=arms,
        seeds=seeds,
        evals=tuple(
            read for arm in arms for read in karel_evals(arm, probe_width, epochs=6 if scale == "smoke" else 30)
        ),
        claims=karel_claims(model),
        figures=karel_figures(training.batch_size, model.layers, world.asked_lengths[1], seeds),
        scaling_curves=(
            scaling_curve_over_training(
                "programs",
                "Right programs along training",
                ORIGINAL_ARM,
                training.checkpoint_steps,
                float(training.batch_size),
                Selection(evaluation="written", metric="correct", split="unseen"),
                Selection(evaluation="questions", metric="nats", split="unseen", quantity="nats"),
                x_label="records seen",
            ),
        ),
    )


def karel_evals(arm: Arm, probe_width: int, epochs: int) -> tuple[EvalSpec, ...]:
    """What is asked of an arm's checkpoints: programs, their states, the references' likelihood, a floor."""
    assert isinstance(arm.world, Karel)
    scorer = KarelScorer(world=arm.world, max_operations=min(14, arm.world.lengths[1] + 4))
    one_hidden_layer = (probe_width,)
    common: dict[str, Any] = {"tracer": scorer, "features": PROBE_FEATURES, "max_epochs": epochs}
    probe_shapes = ((), one_hidden_layer, (probe_width, 2 * probe_width))
    basic_grid = ProbeGrid(offsets=(0, 1), probe_shapes=(one_hidden_layer,))
    main_grid = ProbeGrid(
        offsets=(0, 1),
        meanings=("original", *ALTERNATIVE_SEMANTICS),
        probe_shapes=(one_hidden_layer,),
        baselines=PROBE_BASELINES,
        controls=True,
        code_lengths=True,
        baseline_meanings=("original", SHARPEST_ALTERNATIVE),
    )
    arm_names = (arm.name,)
    if arm.name == REASSIGNED_ARM:
        return (
            EvalSpec(GenerationEval(scorer=scorer), arms=arm_names),
            EvalSpec(
                ProgramStateProbe(
                    final_grid=replace(
                        basic_grid, meanings=("original", SHARPEST_ALTERNATIVE), baselines=("untrained",)
                    ),
                    **common,
                ),
                arms=arm_names,
            ),
        )
    layers = tuple(f"residual.{number}" for number in range(arm.model.layers))  # type: ignore[union-attr]
    return (
        EvalSpec(GenerationEval(scorer=scorer), arms=arm_names),
        EvalSpec(GenerationEval(scorer=scorer, constrained=False, name="free"), arms=arm_names),
        EvalSpec(ConstantBaseline(scorer=scorer), arms=arm_names),
        EvalSpec(QAEval(split="unseen"), arms=arm_names),
        EvalSpec(ProgramStateProbe(final_grid=main_grid, max_walks=4, **common), arms=arm_names),
        EvalSpec(
            ProgramStateProbe(
                final_grid=basic_grid,
                earlier_grid=basic_grid,
                max_train_questions=CURVE_PROBE_TRAIN_SIZE,
                name="along",
                **common,
            ),
            arms=arm_names,
        ),
        EvalSpec(
            ProgramStateProbe(
                final_grid=basic_grid,
                earlier_grid=basic_grid,
                max_train_questions=CURVE_PROBE_TRAIN_SIZE,
                use_reference_programs=True,
                name="fixed",
                **common,
            ),
            arms=arm_names,
        ),
        EvalSpec(
            ProgramStateProbe(
                **common,
                final_grid=ProbeGrid(offsets=PROBE_OFFSETS, probe_shapes=probe_shapes),
                max_train_questions=FIGURE_PROBE_TRAIN_SIZE,
                name="grid",
            ),
            arms=arm_names,
        ),
        EvalSpec(
            ProgramStateProbe(
                **common,
                final_grid=ProbeGrid(
                    meanings=("original",), probe_shapes=(one_hidden_layer,), sites=(*layers, "final")
                ),
                max_train_questions=FIGURE_PROBE_TRAIN_SIZE,
                name="layers",
            ),
            arms=arm_names,
        ),
        EvalSpec(
            StateEditing(
                oracle=scorer,
                features=("direction", "rows", "cols", "front"),
                vocabulary=KAREL_OPERATIONS,
                sites=(*layers[1:], "final"),
            ),
            arms=arm_names,
        ),
    )


def _karel_config(scale: Scale) -> tuple[Karel, Architecture, TrainingConfig, int]:
    """World, model, recipe and width of the probes' hidden layers, by scale (the sheet, section 10)."""
    small_world = Karel(board_shape=(3, 3), n_examples=2, n_heldout_examples=3, lengths=(2, 6), asked_lengths=(1, 6))
    base_training = TrainingConfig(
        steps=1, batch_size=128, optimizer="muon", muon_lr=0.02, peak_lr=5e-3, prompt_loss_weight=0.2, dtype="auto"
    )
    match scale:
        case "smoke":
            world = replace(small_world, records=2_560, seen_questions=150, unseen_questions=100)
            return (
                world,
                Architecture.named("2x64"),
                replace(base_training, steps=20, checkpoint_fractions=_even_checkpoint_fractions(5)),
                16,
            )
        case "laptop":
            world = replace(small_world, records=256_000, seen_questions=16_000, unseen_questions=1_000)
            return (
                world,
                Architecture.named("3x96"),
                replace(base_training, steps=2_000, checkpoint_fractions=EARLY_CHECKPOINT_FRACTIONS),
                64,
            )
        case "gpu":
            world = Karel(records=2_560_000, seen_questions=20_000, unseen_questions=5_000)
            training = TrainingConfig(
                steps=10_000,
                batch_size=256,
                peak_lr=6e-4,
                prompt_loss_weight=1.0,
                dtype="bfloat16",
                warmup_steps=500,
                checkpoint_fractions=_even_checkpoint_fractions(20),
            )
            return world, replace(Architecture.named("8x384"), max_positions=512), training, 256
        case "paper":
            world = Karel(records=1_000_000, seen_questions=60_000, unseen_questions=10_000, encoding="official")
            model = Architecture(
                family="codegen", layers=20, width=1_024, heads=16, max_positions=2_048, tie_embeddings=False
            )
            training = TrainingConfig(
                steps=80_000,
                batch_size=39,
                peak_lr=5e-6,
                warmup_steps=6_000,
                weight_decay=0.0,
                min_lr_ratio=0.0,
                window=2_048,
                prompt_loss_weight=1.0,
                dtype="bfloat16",
                max_grad_norm=1e9,
                checkpoint_fractions=_even_checkpoint_fractions(20),
            )
            return world, model, training, 256
    raise UsageError(f"karel has no scale {scale!r}; take smoke, laptop, gpu or paper.")


def _even_checkpoint_fractions(count: int) -> tuple[float, ...]:
    """Fractions of a training at which it is looked at, its beginning included."""
    return tuple(float(f) for f in np.linspace(0, 1, count + 1).round(4))
