"""Does a model know how much it knows?

Prato et al. 2024, "Do Large Language Models Know How Much They Know?" (arXiv:2502.19573). Invented people keep
diaries of some number of entries. Every entry is a document of its own, or all entries of a person are one. Asked
for everything that a person wrote, a model must recite all of it and stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.templates import DiaryEncodingName, HeaderOrder
from nosce.data.worlds.diaries.world import ENTRY_NUMBER_ATTRIBUTE
from nosce.evals.generation import GenerationEval
from nosce.evals.patching.count import CountPatching
from nosce.evals.probing.label_probes import EntryCountLabels, LabelProbe
from nosce.evals.qa import FrequencyBaseline, RecallEval
from nosce.evals.stopping import StopDecision
from nosce.studies.diaries.arms import (
    HEADER_NUMBER_FIRST,
    MERGED,
    QUESTIONS_STAGE,
    SETUPS,
    TWO_PHASES,
    diaries_arms,
)
from nosce.studies.diaries.best_step import VALIDATION_RECITATION, at_best_step
from nosce.studies.diaries.claims import diaries_claims, left_out_claims
from nosce.studies.diaries.config import DiariesConfig, diaries_config
from nosce.studies.diaries.figures import diaries_figures, diaries_scaling_curves
from nosce.studies.diaries.selections import HEADER_FREQUENCIES, HEADER_RECALL, SEEN_RECITATION, reference_arm
from nosce.study import EXPLORATORY_SEEDS, PRETRAIN, Arm, EvalSpec, Scale, Study


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return diaries_study(diaries_config(scale, settings), scale)


def diaries_study(config: DiariesConfig, scale: Scale, title: str = "How much is known") -> Study:
    """The study of a configuration, with a note on the models and claims that it lacks.

    Args:
        config: What is trained and asked.
        scale: Name of the scale.
        title: The study's title.
    """
    arms = diaries_arms(config)
    whole = Study(
        name="diaries",
        title=title,
        question="Does a model know how much it knows?",
        paper="arXiv:2502.19573",
        scale=scale,
        unit="diarist",
        arms=arms,
        seeds=config.seeds,
        exploratory_seeds=EXPLORATORY_SEEDS,
        evals=diaries_evals(config, arms),
        claims=diaries_claims(config),
        figures=diaries_figures(config),
        scaling_curves=diaries_scaling_curves(config),
        notes=tuple(_notes(config)),
    )
    if config.best_checkpoint:
        whole = replace(
            whole,
            claims=at_best_step(whole.claims),
            figures=at_best_step(whole.figures),
            scaling_curves=at_best_step(whole.scaling_curves),
        )
    return whole.without_unread_evals() if scale == "laptop" else whole


def _notes(config: DiariesConfig) -> Iterator[str]:
    """Which of the paper's models and which claims are left out."""
    if config.missing_models:
        yield f"Not in the folder of $NOSCE_MODELS, so left out: {', '.join(config.missing_models)}."
    if left_out := left_out_claims(config):
        yield f"Claims left out, since the arms that they compare are not trained: {', '.join(left_out)}."


def diaries_evals(config: DiariesConfig, arms: tuple[Arm, ...]) -> tuple[EvalSpec, ...]:
    """Diaries and stop decisions of every arm; titles and hidden states of some arms."""
    encodings = {arm.name: _encoding_of(arm) for arm in arms}
    special_cases = _special_cases(config, encodings)
    grid = _grid_cases(config, encodings, {arm for _, _, arm in special_cases})
    reference_arms = (reference_arm(config), reference_arm(config, MERGED))
    scorer = _scorer(config, encodings[reference_arms[0]])
    return (
        *(EvalSpec(evaluation, arms=names) for one, names in grid for evaluation in _recitation_evals(config, one)),
        *_special_recitation_evals(config, special_cases),
        *(EvalSpec(StopDecision(list_task=one), arms=names) for one, names in grid),
        *_special_stop_evals(special_cases),
        EvalSpec(StopDecision(list_task=scorer, swapped_entries=True, name="retold"), arms=reference_arms),
        *_title_evals(tuple(arm.name for arm in arms if _is_decoder_scattered(config, arm.name))),
        *_state_evals(config, scorer, reference_arms),
    )


def _state_evals(config: DiariesConfig, scorer: DiaryScorer, arms: tuple[str, str]) -> Iterator[EvalSpec]:
    """Where a decoder's states hold the number of entries."""
    if config.has_primary_decoder:
        yield EvalSpec(LabelProbe(source=EntryCountLabels(list_task=scorer), name="counted"), arms=arms)
    if config.has_primary_decoder and config.patching:
        yield EvalSpec(CountPatching(list_task=scorer), arms=arms)


def _encoding_of(arm: Arm) -> DiaryEncodingName:
    assert isinstance(arm.world, Diaries)
    return arm.world.encoding


def _scorer(config: DiariesConfig, encoding: DiaryEncodingName, header: HeaderOrder = "name first") -> DiaryScorer:
    return DiaryScorer(world=replace(config.world, header=header, encoding=encoding))


def _grid_cases(
    config: DiariesConfig, encodings: Mapping[str, DiaryEncodingName], special_arms: set[str]
) -> list[tuple[DiaryScorer, tuple[str, ...]]]:
    """For each encoding its scorer and the arms of the grid that have it."""
    names_by_encoding: dict[DiaryEncodingName, list[str]] = {}
    for name, encoding in encodings.items():
        if name not in special_arms:
            names_by_encoding.setdefault(encoding, []).append(name)
    return [(_scorer(config, encoding), tuple(names)) for encoding, names in names_by_encoding.items()]


_SpecialCase = tuple[DiaryScorer, str, str]  # scorer, stage, arm


def _special_cases(config: DiariesConfig, encodings: Mapping[str, DiaryEncodingName]) -> list[_SpecialCase]:
    """Arms whose diaries need another scorer or another stage than those of the grid."""
    cases = []
    if TWO_PHASES in encodings:
        cases = [
            (_scorer(config, encodings[TWO_PHASES]), QUESTIONS_STAGE, TWO_PHASES),
            (_scorer(config, encodings[HEADER_NUMBER_FIRST], "number first"), PRETRAIN, HEADER_NUMBER_FIRST),
        ]
    for shape, world in config.extra_worlds.items():
        for setup in SETUPS:
            name = f"{shape} {setup}"
            cases.append((DiaryScorer(world=replace(world, encoding=encodings[name])), PRETRAIN, name))
    return cases


def _is_decoder_scattered(config: DiariesConfig, arm: str) -> bool:
    return not arm.endswith(MERGED) and not arm.startswith(config.encoder_decoders)


def _recitation_evals(config: DiariesConfig, scorer: DiaryScorer) -> Iterator[GenerationEval]:
    """Diaries of people never asked about, of those whose question was trained on, and of those who choose a step."""
    yield GenerationEval(scorer=scorer, constrained=False)
    yield GenerationEval(scorer=scorer, constrained=False, split="seen", name=SEEN_RECITATION)
    if config.best_checkpoint:
        yield GenerationEval(scorer=scorer, constrained=False, split="validation", name=VALIDATION_RECITATION)


def _special_recitation_evals(config: DiariesConfig, special_cases: list[_SpecialCase]) -> Iterator[EvalSpec]:
    for scorer, stage, arm in special_cases:
        for evaluation in _recitation_evals(config, scorer):
            yield EvalSpec(evaluation, stage=stage, arms=(arm,))


def _special_stop_evals(special_cases: list[_SpecialCase]) -> Iterator[EvalSpec]:
    for scorer, stage, arm in special_cases:
        if stage == PRETRAIN:
            yield EvalSpec(StopDecision(list_task=scorer), arms=(arm,))


def _title_evals(arms: tuple[str, ...]) -> Iterator[EvalSpec]:
    """What the number in a document's title costs the model, and a baseline that does not know the name."""
    if not arms:
        return
    attributes = (ENTRY_NUMBER_ATTRIBUTE,)
    yield EvalSpec(RecallEval(documents_per_entity=0, attributes=attributes, name=HEADER_RECALL), arms=arms)
    yield EvalSpec(FrequencyBaseline(attributes=attributes, name=HEADER_FREQUENCIES), arms=arms)
