"""The study biographies on facts of one's own: `nosce run biographies --facts products.csv`.

A small model with fresh weights memorises the texts about a table's entities. It is fine-tuned on questions about half
of them, and is asked about the others. With `--model` a pretrained model does the same (`pretrained.py`).

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 and 4. Sizes and rates are this study's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from nosce.analysis.claims import Claim
from nosce.analysis.conclusion import ArmConclusion
from nosce.analysis.figures import Figure
from nosce.analysis.measures import Mean
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Augmentation
from nosce.data.worlds.facts import Facts, check_facts, facts_from_table
from nosce.errors import UsageError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import Architecture
from nosce.seeds import Seed
from nosce.studies.biographies.arms import FINETUNE_STAGE
from nosce.studies.biographies.claims import augmentation_claims
from nosce.studies.biographies.config import TWO_AUGMENTATIONS
from nosce.studies.biographies.figures import augmentation_figures, recall_scaling_curves
from nosce.studies.biographies.selections import extraction_accuracy, judged_on_few, recall_precondition
from nosce.studies.biographies.trainings import long_finetuning, long_pretraining, short_finetuning, short_pretraining
from nosce.studies.configs import config_for_scale
from nosce.study import Arm, EvalSpec, Scale, Stage, Study
from nosce.train.config import TrainingConfig

FACTS_TITLE = "Your facts: memorised is not extractable"
FACTS_QUESTION = "In which texts do these facts become knowledge that a model can be asked for?"
FACTS_PAPER = "arXiv:2309.14316"
UNIT = "entity"
LEFT_OUT_CLAIMS = ("gap-on-four",)  # on attributes of the study's invented people
LEFT_OUT_NOTE = (
    "Left out: the claims on the paper's own attributes, and probes and patching, which are made for invented people."
)
FACTS_KEYS = ("facts", "wordings", "name_column", "columns")
SHOWN_FIELDS = ("text", "title", "caption", "x_label", "y_label")  # of claims and figures
WORDS = (("people", "entities"), ("person", "entity"), ("biographies", "texts"))
#: Exact answers about people never asked about, mean of six attributes (arXiv:2309.14316, Figure 3).
PAPER_EXTRACTION = {
    "single": 0.097,
    "single+fullname": 0.489,
    "single+permute1": 0.044,
    "single+permute5": 0.70,
    "multi5": 0.41,
    "multi5+permute": 0.966,
}

PartT = TypeVar("PartT", Claim, Figure)


@dataclass(frozen=True, kw_only=True)
class OwnFactsConfig:
    """What the study trains on a user's facts, with fresh weights.

    Args:
        facts: The table of facts, one row an entity: .csv, .tsv, .jsonl or .parquet.
        wordings: A file of wordings, a sentence a line. Empty: generic ones.
        name_column: The column of the names. Empty: it is looked for.
        columns: The columns of facts. Empty: all but the names.
        seeds: Training seeds; each has its own half of the entities, weights and order of texts.
        augmentations: Rows of the paper's table, an arm each.
        architecture: The model's family and size: layers x width.
        tokenizer: How texts are cut into tokens.
        pretraining: The training on texts; its steps follow from `exposures`.
        exposures: How often it shows each entity, in any of the entity's texts.
        min_steps: Fewest steps of it, so that a small table is memorised as well.
        finetuning: The training on questions about half of the entities.
    """

    facts: str = ""
    wordings: str = ""
    name_column: str = ""
    columns: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    augmentations: tuple[str, ...] = TWO_AUGMENTATIONS
    architecture: Architecture
    tokenizer: TokenizerSpec = field(default_factory=lambda: TokenizerSpec(kind="bpe"))
    pretraining: TrainingConfig
    exposures: int
    min_steps: int
    finetuning: TrainingConfig


def names_facts(settings: Sequence[str]) -> bool:
    """Does a setting name a table of facts?"""
    return any(setting.partition("=")[0].strip() == "facts" for setting in settings)


def own_facts_study(scale: Scale, settings: Sequence[str]) -> Study:
    """The study of a user's facts with fresh weights.

    Raises:
        UsageError: There is no such scale or field.
        SpecError: The table or the wordings cannot be used.
    """
    config = config_for_scale("biographies --facts", OWN_FACTS_CONFIGS, scale, settings)
    world, notes = read_facts(
        config.facts, config.wordings, config.name_column, config.columns, config.augmentations, config.seeds
    )
    n_texts = config.exposures * world.n_entities
    steps = max(config.min_steps, round(n_texts / config.pretraining.batch_size))
    training = replace(config.pretraining, steps=steps)
    arms: list[Arm] = []
    for augmentation in config.augmentations:
        arm = Arm(
            name=augmentation,
            world=replace(world, augmentation=augmentation),
            model=config.architecture,
            training=training,
            stages=(Stage(name=FINETUNE_STAGE, training=config.finetuning),),
            tokenizer=config.tokenizer,
        )
        arms.append(arm)
    exposures_per_step = training.batch_size / world.n_entities
    return facts_study(scale, tuple(arms), config.seeds, exposures_per_step, notes, FACTS_TITLE)


def facts_study(
    scale: Scale,
    arms: tuple[Arm, ...],
    seeds: tuple[int, ...],
    exposures_per_step: float,
    notes: tuple[str, ...],
    title: str,
) -> Study:
    """The study of these arms: what is asked of each, claims, figures and the answer.

    Args:
        scale: Name of the scale.
        arms: The rows, each with the stage of questions.
        seeds: Training seeds.
        exposures_per_step: Exposures of each entity in a step of the first training.
        notes: Sentences on what was found in the user's files.
        title: The study's title.
    """
    rows = tuple(arm.name for arm in arms)
    claims = [claim for claim in augmentation_claims(rows) if claim.id not in LEFT_OUT_CLAIMS]
    figures = augmentation_figures(rows, exposures_per_step)
    return Study(
        name="biographies",
        title=title,
        question=FACTS_QUESTION,
        paper=FACTS_PAPER,
        scale=scale,
        unit=UNIT,
        arms=arms,
        seeds=seeds,
        evals=(EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage=FINETUNE_STAGE)),
        claims=(*map(judged_on_few, map(of_entities, claims)), *map(extractable_claim, rows)),
        figures=tuple(map(of_entities, figures)),
        scaling_curves=recall_scaling_curves(rows, arms[0].training.checkpoint_steps, exposures_per_step),
        notes=(*notes, LEFT_OUT_NOTE),
        conclusion=ArmConclusion(
            claims=tuple((row, extractable_claim(row).id) for row in rows),
            effect="makes the facts extractable",
            answers="of the answers about entities never asked about are exact",
        ),
    )


def read_facts(
    facts: str,
    wordings: str,
    name_column: str,
    columns: tuple[str, ...],
    augmentations: tuple[str, ...],
    seeds: tuple[int, ...],
) -> tuple[Facts, tuple[str, ...]]:
    """The world of a user's files with as many wordings as the rows need, and sentences on it.

    Raises:
        SpecError: The table or the wordings cannot be used.
    """
    parsed = [Augmentation.parse(augmentation) for augmentation in augmentations]
    n_wordings = max((one.entries_per_person for one in parsed if one.redraw_templates), default=1)
    world, notes = facts_from_table(
        facts, wordings, name_column=name_column, attributes=columns, n_wordings=max(2, n_wordings)
    )
    for seed in seeds:
        check_facts(world, Seed(seed) / "world")
    return world, notes


def refuse_without_facts(settings: Sequence[str]) -> None:
    """Refuse settings that mean nothing without a table.

    Raises:
        UsageError: One is there.
    """
    keys = [setting.partition("=")[0].strip() for setting in settings]
    lonely = [key for key in FACTS_KEYS if key in keys]
    if lonely and "facts" not in lonely:
        raise UsageError(f"{lonely[0]} belongs to a table of facts; give --facts TABLE as well.")


def extractable_claim(row: str) -> Claim:
    """Most questions about entities that were never asked about are answered; a guess is right less often."""
    claim = Claim(
        id=f"extractable/{row}",
        text=f"{row}: more than half of the answers about entities never asked about are exact",
        source="Figure 3, mean of six" if row in PAPER_EXTRACTION else "design of this study",
        measure=Mean(selection=extraction_accuracy(row)),
        threshold=0.5,
        paper_value=PAPER_EXTRACTION.get(row),
        preconditions=(recall_precondition(row),),
    )
    return judged_on_few(claim)


def of_entities(part: PartT) -> PartT:
    """A claim or a figure of the study that speaks of entities and texts in place of people and biographies."""
    changes: dict[str, object] = {}
    for name, value in _fields(part):
        if name in SHOWN_FIELDS and isinstance(value, str):
            changes[name] = _reworded(value)
        if name == "panels" and isinstance(value, tuple):
            changes[name] = tuple((_reworded(str(panel)), selection) for panel, selection in value)
    return replace(part, **changes)  # type: ignore[arg-type]  # of the fields named above


def _fields(part: object) -> Iterator[tuple[str, object]]:
    assert dataclasses.is_dataclass(part)
    yield from ((one.name, getattr(part, one.name)) for one in dataclasses.fields(part))


def _reworded(text: str) -> str:
    for old, new in WORDS:
        text = text.replace(old, new)
    return text


def _laptop_config() -> OwnFactsConfig:
    """3 layers of width 128: some hundred entities in minutes on two cores."""
    return OwnFactsConfig(
        architecture=replace(Architecture.named("3x128"), max_positions=2_048),
        pretraining=short_pretraining("muon"),
        exposures=100,
        min_steps=500,
        finetuning=short_finetuning(600),
    )


def _smoke_config() -> OwnFactsConfig:
    """Every step, without a result."""
    return replace(
        _laptop_config(),
        architecture=replace(Architecture.named("2x64"), max_positions=2_048),
        exposures=2,
        min_steps=6,
        finetuning=short_finetuning(6),
    )


def _gpu_config() -> OwnFactsConfig:
    """6 layers of width 384: some ten thousand entities on one GPU."""
    return replace(
        _laptop_config(),
        seeds=(0, 1, 2),
        architecture=replace(Architecture.named("6x384"), max_positions=2_048),
        tokenizer=TokenizerSpec(kind="bpe", vocab_size=8_192),
        pretraining=replace(long_pretraining(batch_size=168), window=None),
        exposures=540,
        min_steps=2_000,
        finetuning=long_finetuning(10_000),
    )


OWN_FACTS_CONFIGS: Mapping[Scale, Callable[[], OwnFactsConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
