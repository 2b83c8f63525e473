"""The evaluations of the study biographies: recall, questions, probes, patching, capacity and tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.biographies.hiding import HidingBiographies
from nosce.data.worlds.biographies.manipulation import Manipulation
from nosce.data.worlds.biographies.templates import DAYS
from nosce.data.worlds.biographies.world import (
    PERSON_ATTRIBUTES,
    SENTENCE_PAIRS,
    Biographies,
    BiographyNameExtractor,
)
from nosce.evals.capacity import KnowledgeCapacity
from nosce.evals.patching.name import NamePatching
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
    HIDING_ARMS,
    TASK_STAGE,
    bidirectional_arm_name,
    task_arm_name,
)
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    SINGLE,
    SINGLE_PERMUTE1,
    TWO_AUGMENTATIONS,
    WITH_CELEBRITIES,
    BiographiesConfig,
)
from nosce.study import Arm, EvalSpec

P_PROBE_DOCUMENTS = 5  # texts of a person that P-probing reads: all texts of a person in all rows of the paper
MINORITY_Q_PROBE, MINORITY_P_PROBE = "q-probe minority", "p-probe minority"
CONTROL_P_PROBE = "p-probe control"  # from as many people and texts as the minority's, in a row with extraction
COUPLES_P_PROBE = "p-probe couples"  # with what is read behind a value's partner, and behind another value
TOKEN_RECALL = "recall by words"
HIDDEN_RECALL = "recall without other values"  # in copies of the texts that hide the values before
NAME_EXTRACTOR = BiographyNameExtractor()


def rank0_probe_name(site: str) -> str:
    """The name of a probe without an update of the embedding, at a site."""
    return f"rank-0 probe, {site}"


def q_probe_name(n_people: int) -> str:
    """The name of Q-probing that learns from so many people."""
    return f"q-probe of {n_people}"


def n_value_combinations(world: Biographies) -> float:
    """Possible combinations of values; the company's city follows from the company and is not counted."""
    return float(12 * len(DAYS) * world.years * world.cities * world.universities * world.majors * world.companies)


def biographies_evals(config: BiographiesConfig, arms: tuple[Arm, ...]) -> tuple[EvalSpec, ...]:
    """Every evaluation of the study, each with its arms and its stage."""
    return (
        *_answer_evals(config, arms),
        *_hiding_evals(config),
        *_bidirectional_evals(config),
        *(_state_evals(config) if config.reads_states else ()),
        *(_minority_probe_evals(config) if config.n_celebrities else ()),
        *_task_evals(config),
    )


def _answer_evals(config: BiographiesConfig, arms: tuple[Arm, ...]) -> Iterator[EvalSpec]:
    """Recall inside the biographies, and questions after fine-tuning or mixed training."""
    task_arms = tuple(task_arm_name(task, hints=hints > 0) for task, hints in config.tasks)
    knowledge_arms = tuple(arm.name for arm in arms if arm.name not in (*task_arms, *HIDING_ARMS))
    yield EvalSpec(RecallEval(), arms=knowledge_arms)
    yield EvalSpec(MajorityBaseline(), arms=(*knowledge_arms, *(HIDING_ARMS if config.hides_values else ())))
    yield EvalSpec(QAEval(), stage=FINETUNE_STAGE)
    if mixed_arms := tuple(arm.name for arm in arms if arm.qa_mixture is not None):
        yield EvalSpec(QAEval(), arms=mixed_arms)


def _hiding_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """Recall in the texts of the row, and in the copies that hide the values before, of the arms with copies."""
    if not config.hides_values:
        return
    row = replace(config.world, augmentation=SINGLE)
    yield EvalSpec(RecallEval(), arms=tuple(HIDING_ARMS), question_source=row)
    copies = HidingBiographies(population=row, with_originals=False)
    recall = RecallEval(documents_per_entity=0, name=HIDDEN_RECALL)
    yield EvalSpec(recall, arms=(*HIDING_ARMS, SINGLE), question_source=copies)


def _bidirectional_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """Recall of single words by bidirectional models."""
    if arms := tuple(map(bidirectional_arm_name, config.bidirectional_augmentations)):
        yield EvalSpec(RecallEval(per_token=True, name=TOKEN_RECALL), arms=arms)


def _state_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """What probes and exchanged states of the name show, and what a weight holds."""
    yield from _probe_evals(config)
    yield from _few_people_probe_evals(config)
    yield from _layer_probe_evals(config)
    yield EvalSpec(NamePatching(name_extractor=NAME_EXTRACTOR), stage=FINETUNE_STAGE, arms=TWO_AUGMENTATIONS)
    yield _capacity_eval(config)


def _probe_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """P-probing and Q-probing of the rows."""
    bidirectional_arms = tuple(map(bidirectional_arm_name, config.bidirectional_augmentations))
    p_probe = PositionProbe(config=config.p_probe_config, documents_per_entity=P_PROBE_DOCUMENTS)
    q_probe = NameProbe(config=config.q_probe_config, name_extractor=NAME_EXTRACTOR)
    yield EvalSpec(p_probe, arms=config.augmentations)
    if config.coupled_augmentations:
        yield _couples_eval(config, p_probe)
    yield EvalSpec(q_probe, arms=(*config.augmentations, *bidirectional_arms))


def _couples_eval(config: BiographiesConfig, p_probe: PositionProbe) -> EvalSpec:
    """P-probing behind the value of a neighbouring sentence, and behind another value."""
    pairs = tuple((PERSON_ATTRIBUTES[a], PERSON_ATTRIBUTES[b]) for a, b in SENTENCE_PAIRS)
    return EvalSpec(replace(p_probe, name=COUPLES_P_PROBE, pairs=pairs), arms=config.coupled_augmentations)


def _minority_probe_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """Probes of the minority, alone and among celebrities, and their control."""
    arms = (SINGLE_PERMUTE1, WITH_CELEBRITIES)
    minority = replace(config.world, people=config.n_minority, augmentation=SINGLE_PERMUTE1)
    q_probe = NameProbe(config=config.q_probe_config, name_extractor=NAME_EXTRACTOR, name=MINORITY_Q_PROBE)
    yield EvalSpec(q_probe, arms=arms, question_source=minority)
    p_probe = PositionProbe(config=config.p_probe_config, name=MINORITY_P_PROBE)
    yield EvalSpec(p_probe, arms=arms, question_source=minority)
    control = PositionProbe(config=config.p_probe_config, name=CONTROL_P_PROBE)
    control_world = replace(minority, augmentation=MULTI5_PERMUTE)
    yield EvalSpec(control, arms=(MULTI5_PERMUTE,), question_source=control_world)


def _few_people_probe_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """Q-probing that learns from fewer people."""
    for n_people in config.q_probe_train_sizes:
        probe = NameProbe(config=config.q_probe_config, name_extractor=NAME_EXTRACTOR, name=q_probe_name(n_people))
        world = replace(config.world, people=2 * n_people, augmentation=MULTI5_PERMUTE)
        yield EvalSpec(probe, arms=(MULTI5_PERMUTE,), question_source=world)


def _layer_probe_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    """Probes of rank 0 by layer."""
    rank0_config = replace(config.q_probe_config, rank=0)
    for site in (*(f"residual.{layer}" for layer in range(config.architecture.layers)), "final"):
        probe = NameProbe(config=rank0_config, name_extractor=NAME_EXTRACTOR, site=site, name=rank0_probe_name(site))
        yield EvalSpec(probe, arms=TWO_AUGMENTATIONS)


def _capacity_eval(config: BiographiesConfig) -> EvalSpec:
    capacity = KnowledgeCapacity(
        name_extractor=NAME_EXTRACTOR,
        n_possible_names=math.prod(config.world.name_pool_sizes),
        n_possible_values=n_value_combinations(config.world),
    )
    return EvalSpec(capacity, arms=config.augmentations)


def _task_evals(config: BiographiesConfig) -> Iterator[EvalSpec]:
    for task, hints in config.tasks:
        task_world = Manipulation(population=config.world, task=task, hint_share=hints)
        arms = (task_arm_name(task, hints=hints > 0),)
        yield EvalSpec(QAEval(), stage=TASK_STAGE, arms=arms, question_source=task_world)
        yield EvalSpec(MajorityBaseline(), stage=TASK_STAGE, arms=arms, question_source=task_world)
