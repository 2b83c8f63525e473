"""The evaluations of the study karel: programs, probes of program states, state editing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.karel.language import KAREL_OPERATIONS
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.world import Karel
from nosce.evals.generation import ConstantBaseline, GenerationEval
from nosce.evals.patching.program_state import StateEditing
from nosce.evals.probing.program_states import PROBE_BASELINES, ProbeGrid, ProgramStateProbe
from nosce.evals.qa import QAEval
from nosce.studies.karel.config import KarelConfig
from nosce.studies.karel.selections import (
    ALTERNATIVE_SEMANTICS,
    ORIGINAL_ARM,
    PROBE_FEATURES,
    PROBE_OFFSETS,
    RANDOM_ARM,
    REASSIGNED_ARM,
    SHARPEST_ALTERNATIVE,
)
from nosce.study import EvalSpec

MAX_OPERATIONS = 14  # of a program that is written; fewer where training programs are short
MAX_EXTRA_OPERATIONS = 4  # operations of a written program beyond the longest training program


def original_evals(config: KarelConfig) -> Iterator[EvalSpec]:
    """Programs, their states, the likelihood of the authors' programs, and baselines."""
    scorer, arms = _scorer(config.world), (ORIGINAL_ARM,)
    yield EvalSpec(GenerationEval(scorer=scorer), arms=arms)
    yield EvalSpec(GenerationEval(scorer=scorer, constrained=False, name="free"), arms=arms)
    yield EvalSpec(ConstantBaseline(scorer=scorer), arms=arms)
    yield EvalSpec(QAEval(split="unseen"), arms=arms)
    for probe in (_claim_probe(config), *_curve_probes(config), *_figure_probes(config)):
        yield EvalSpec(probe, arms=arms)
    editing = StateEditing(
        oracle=scorer,
        features=("direction", "rows", "cols", "front"),
        vocabulary=KAREL_OPERATIONS,
        sites=config.sites[1:],
        apart=True,
    )
    yield EvalSpec(editing, arms=arms)


def reassigned_evals(config: KarelConfig, world: Karel) -> Iterator[EvalSpec]:
    """Programs and their states, by the words' own meaning and by the meaning in the training data."""
    scorer, arms = _scorer(world), (REASSIGNED_ARM,)
    yield EvalSpec(GenerationEval(scorer=scorer), arms=arms)
    grid = replace(_basic_grid(config), meanings=("original", SHARPEST_ALTERNATIVE), baselines=("untrained",))
    yield EvalSpec(replace(_probe(config, grid), tracer=scorer), arms=arms)


def random_control_evals(config: KarelConfig) -> Iterator[EvalSpec]:
    """Programs and their states, for the architecture of a pretrained model that begins from random weights."""
    arms = (RANDOM_ARM,)
    yield EvalSpec(GenerationEval(scorer=_scorer(config.world)), arms=arms)
    fixed_programs = _curve_probes(config)[1]
    yield EvalSpec(replace(fixed_programs, earlier_grid=None), arms=arms)


def other_world_evals(config: KarelConfig, arm: str, world: Karel, meanings: tuple[str, ...]) -> Iterator[EvalSpec]:
    """Programs and their states in another world, with the best constant program and the baselines of probes."""
    scorer = _scorer(world)
    grid = replace(_basic_grid(config), offsets=(0,), meanings=meanings, baselines=("untrained", "bag", "surface"))
    probe = replace(_probe(config, grid), tracer=scorer, max_train_questions=config.figure_probe_train_size)
    for evaluation in (GenerationEval(scorer=scorer), ConstantBaseline(scorer=scorer), probe):
        yield EvalSpec(evaluation, arms=(arm,))


def _scorer(world: Karel) -> KarelScorer:
    longest = world.lengths[1] + MAX_EXTRA_OPERATIONS
    return KarelScorer(world=world, max_operations=min(MAX_OPERATIONS, longest))


def _probe(config: KarelConfig, grid: ProbeGrid) -> ProgramStateProbe:
    return ProgramStateProbe(
        tracer=_scorer(config.world),
        features=PROBE_FEATURES,
        max_epochs=config.probe_epochs,
        final_grid=grid,
        probe_training=config.probe_training,
    )


def _basic_grid(config: KarelConfig) -> ProbeGrid:
    return ProbeGrid(offsets=(0, 1), probe_shapes=((config.probe_width,),))


def _claim_probe(config: KarelConfig) -> ProgramStateProbe:
    """Probes that claims rest on: all training programs, other meanings, baselines, controls and code lengths."""
    grid = replace(
        _basic_grid(config),
        meanings=("original", *ALTERNATIVE_SEMANTICS),
        baselines=PROBE_BASELINES,
        controls=True,
        code_lengths=True,
        baseline_meanings=("original", SHARPEST_ALTERNATIVE),
    )
    return replace(_probe(config, grid), max_walks=4)


def _curve_probes(config: KarelConfig) -> tuple[ProgramStateProbe, ProgramStateProbe]:
    """Probes of every checkpoint: on the programs that it writes, and on one fixed set of programs."""
    grid = _basic_grid(config)
    own_programs = replace(
        _probe(config, grid), earlier_grid=grid, max_train_questions=config.curve_probe_train_size, name="along"
    )
    return own_programs, replace(own_programs, use_reference_programs=True, name="fixed")


def _figure_probes(config: KarelConfig) -> tuple[ProgramStateProbe, ProgramStateProbe]:
    """Probes that only figures show: by depth and offset, and by layer."""
    width, n_questions = config.probe_width, config.figure_probe_train_size
    second_width = config.second_probe_width or 2 * width
    depth_grid = ProbeGrid(offsets=PROBE_OFFSETS, probe_shapes=((), (width,), (width, second_width)))
    layer_grid = ProbeGrid(meanings=("original",), probe_shapes=((width,),), sites=config.sites)
    by_depth = replace(_probe(config, depth_grid), max_train_questions=n_questions, name="grid")
    by_layer = replace(_probe(config, layer_grid), max_train_questions=n_questions, name="layers")
    return by_depth, by_layer
