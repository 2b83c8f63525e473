"""Does a model know how much it knows?

Prato et al. 2024, "Do Large Language Models Know How Much They Know?" (arXiv:2502.19573). Invented people keep
diaries of some number of entries. Every entry is a document of its own, or all entries of a person are one. Asked
for everything that a person wrote, a model must recite all of it and stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nosce.data.worlds.base import World
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.templates import DIARY_ATTRIBUTES, DiaryEncodingName
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
from nosce.studies.diaries.best_step import at_best_step
from nosce.studies.diaries.claims import diaries_claims, left_out_claims
from nosce.studies.diaries.config import DiariesConfig, diaries_config
from nosce.studies.diaries.disclosures import DIARIES_DISCLOSURES
from nosce.studies.diaries.figures import diaries_figures, diaries_scaling_curves
from nosce.studies.diaries.further_arms import (
    FRESH_START,
    FURTHER_QUESTIONS,
    TEXT_FIRST,
    diaries_of,
    entry_length_name,
    further_arms,
)
from nosce.studies.diaries.selections import (
    DOCUMENT_RECALL,
    HEADER_FREQUENCIES,
    HEADER_RECALL,
    RECITATION,
    SEEN_RECITATION,
    TEXT_RECALL,
    reading_stage,
    reference_arm,
)
from nosce.study import EXPLORATORY_SEEDS, PRETRAIN, Arm, EvalSpec, Scale, Study


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return replace(diaries_study(diaries_config(scale, settings), scale), disclosures=DIARIES_DISCLOSURES)


def diaries_study(config: DiariesConfig, scale: Scale, title: str = "How much is known") -> Study:
    """The study of a configuration, with a note on the models and claims that it lacks.

    Args:
        config: What is trained and asked.
        scale: Name of the scale.
        title: The study's title.
    """
    arms = (*diaries_arms(config), *further_arms(config))
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
        headline=("count-known", "scattered-recalled"),
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
    """Diaries and stop decisions of every arm; titles, documents and hidden states of some arms."""
    by_name = {arm.name: arm for arm in arms}
    special_arms = [arm for arm in arms if _is_special(config, arm)]
    grid = _grid_cases(config, [arm for arm in arms if arm not in special_arms])
    reference_arms = (reference_arm(config), reference_arm(config, MERGED))
    scorer = _scorer(config, diaries_of(by_name[reference_arms[0]]).encoding)
    return (
        *(EvalSpec(evaluation, arms=names) for one, names in grid for evaluation in _recitation_evals(one)),
        *_special_recitation_evals(config, special_arms),
        *(EvalSpec(_stop_eval(one), arms=names) for one, names in grid),
        *_special_stop_evals(config, special_arms),
        EvalSpec(_stop_eval(scorer, swapped_entries=True, name="retold"), arms=reference_arms),
        *_title_evals(tuple(arm.name for arm in arms if _reads_titles(config, arm))),
        *_document_evals(config, set(by_name)),
        *_text_evals(config),
        *_state_evals(config, scorer, reference_arms),
    )


def _state_evals(config: DiariesConfig, scorer: DiaryScorer, arms: tuple[str, str]) -> Iterator[EvalSpec]:
    """Where a decoder's states hold the number of entries."""
    if config.has_primary_decoder:
        yield EvalSpec(LabelProbe(source=EntryCountLabels(list_task=scorer), name="counted"), arms=arms)
    if config.has_primary_decoder and config.patching:
        yield EvalSpec(CountPatching(list_task=scorer), arms=arms)


def _scorer(config: DiariesConfig, encoding: DiaryEncodingName) -> DiaryScorer:
    return DiaryScorer(world=replace(config.world, encoding=encoding))


def _is_special(config: DiariesConfig, arm: Arm) -> bool:
    """Does an arm need another scorer than the grid's, another stage, or the questions of another corpus?"""
    if arm.name in (TWO_PHASES, HEADER_NUMBER_FIRST, FRESH_START, TEXT_FIRST, *FURTHER_QUESTIONS):
        return True
    further_worlds = [f"{shape} {setup}" for shape in config.extra_worlds for setup in SETUPS]
    return arm.name in (*further_worlds, *(entry_length_name(n) for n in config.entry_lengths))


def _grid_cases(config: DiariesConfig, arms: list[Arm]) -> list[tuple[DiaryScorer, tuple[str, ...]]]:
    """For each encoding its scorer and the arms of the grid that have it."""
    names_by_encoding: dict[DiaryEncodingName, list[str]] = {}
    for arm in arms:
        names_by_encoding.setdefault(diaries_of(arm).encoding, []).append(arm.name)
    return [(_scorer(config, encoding), tuple(names)) for encoding, names in names_by_encoding.items()]


def _special_scorer(config: DiariesConfig, arm: Arm) -> DiaryScorer:
    """The scorer of an arm's own diaries; of what the grid has too, the grid's."""
    world = diaries_of(arm)
    if world.header != "name first" or arm.name == TWO_PHASES:
        return DiaryScorer(world=replace(config.world, header=world.header, encoding=world.encoding))
    return DiaryScorer(world=replace(world, merge_entries=False))


def _reads_titles(config: DiariesConfig, arm: Arm) -> bool:
    """Is the arm a decoder-only one with scattered documents, at a stage that reads the titles of its own corpus?"""
    is_encoder_decoder = arm.name.startswith(config.encoder_decoders)
    return not diaries_of(arm).merge_entries and not is_encoder_decoder and arm.name != TEXT_FIRST


def _recitation_evals(scorer: DiaryScorer) -> Iterator[GenerationEval]:
    """Diaries of all people never asked about, and of those whose question was trained on."""
    yield GenerationEval(scorer=scorer, constrained=False, split="held out", name=RECITATION)
    yield GenerationEval(scorer=scorer, constrained=False, split="seen", name=SEEN_RECITATION)


def _stop_eval(scorer: DiaryScorer, *, swapped_entries: bool = False, name: str = "stops") -> StopDecision:
    return StopDecision(list_task=scorer, split="held out", swapped_entries=swapped_entries, name=name)


def _special_recitation_evals(config: DiariesConfig, arms: list[Arm]) -> Iterator[EvalSpec]:
    for arm in arms:
        asked = arm.stages[-1].data if arm.name == TEXT_FIRST else None
        assert asked is None or isinstance(asked, World)
        for evaluation in _recitation_evals(_special_scorer(config, arm)):
            yield EvalSpec(evaluation, stage=reading_stage(arm.name), arms=(arm.name,), question_source=asked)


def _special_stop_evals(config: DiariesConfig, arms: list[Arm]) -> Iterator[EvalSpec]:
    for arm in arms:
        if reading_stage(arm.name) == PRETRAIN:
            yield EvalSpec(_stop_eval(_special_scorer(config, arm)), arms=(arm.name,))


def _document_evals(config: DiariesConfig, arms: set[str]) -> Iterator[EvalSpec]:
    """What is recalled inside documents, at the end of each of two phases and of one training."""
    if TWO_PHASES not in arms:
        return
    attributes = (ENTRY_NUMBER_ATTRIBUTE, *DIARY_ATTRIBUTES[: config.world.n_attributes])
    recall = RecallEval(documents_per_entity=1, attributes=attributes, name=DOCUMENT_RECALL)
    yield EvalSpec(recall, arms=(reference_arm(config), TWO_PHASES))
    yield EvalSpec(recall, stage=QUESTIONS_STAGE, arms=(TWO_PHASES,))


def _text_evals(config: DiariesConfig) -> Iterator[EvalSpec]:
    """What is recalled of the general text before the diaries; text of a folder marks no values."""
    if config.text_steps and not config.text_folder:
        yield EvalSpec(RecallEval(name=TEXT_RECALL), arms=(TEXT_FIRST,))


def _title_evals(arms: tuple[str, ...]) -> Iterator[EvalSpec]:
    """What the number in a document's title costs the model, and a baseline that does not know the name."""
    if not arms:
        return
    attributes = (ENTRY_NUMBER_ATTRIBUTE,)
    yield EvalSpec(RecallEval(documents_per_entity=0, attributes=attributes, name=HEADER_RECALL), arms=arms)
    yield EvalSpec(FrequencyBaseline(attributes=attributes, name=HEADER_FREQUENCIES), arms=arms)
