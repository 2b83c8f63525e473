"""The study biographies on a pretrained model of one's own.

nosce run biographies --model ./smollm2 --set people=24

The arms continue the training of the model, with its own tokenizer, on the rows of the paper's table, then on
questions about half of the people. Claims are the study's; the paper trained from scratch alone, so that its values
stand beside the estimates as what a model without other knowledge does.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 4 and 5. Sizes and rates are this study's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies
from nosce.data.worlds.chat import ChatMarks, ChatQuestions
from nosce.data.worlds.facts import Facts
from nosce.errors import UsageError
from nosce.evals.patching.name import NamePatching
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.evals.probing.pq_probes import NameExtractor, NameProbe, PositionProbe
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.sources import ModelSource
from nosce.studies.biographies.arms import FINETUNE_STAGE
from nosce.studies.biographies.claims import augmentation_claims
from nosce.studies.biographies.config import SMALL_BIOGRAPHIES, TWO_AUGMENTATIONS
from nosce.studies.biographies.evals import NAME_EXTRACTOR, P_PROBE_DOCUMENTS
from nosce.studies.biographies.figures import augmentation_figures, recall_scaling_curves
from nosce.studies.biographies.own_facts import FACTS_TITLE, facts_study, read_facts, refuse_without_facts
from nosce.studies.biographies.probe_claims import probe_claims
from nosce.studies.biographies.selections import judged_on_few
from nosce.studies.biographies.study import BIOGRAPHIES_PAPER, BIOGRAPHIES_QUESTION, BIOGRAPHIES_TITLE
from nosce.studies.configs import config_for_scale
from nosce.studies.models import chat_marks, continued_training, low_rank_update, one_model, steps_for, with_replay
from nosce.study import Arm, EvalSpec, Scale, Stage, Study
from nosce.train.config import LoRA, TrainingConfig

#: Sizes by what they cost, the cheapest first, from which `--budget` takes the largest that fits. A person is shown 32
#: times or more from the second on: SmolLM2 recalled 21 % of the values of five wordings after 10 exposures, 85 to 88 %
#: after 20 to 24, all after 48 (LOG.md), and no claim is judged of values that are not recalled.
BUDGET_LADDER: tuple[tuple[str, ...], ...] = (
    ("people=16", "exposures=8"),
    ("people=16", "exposures=32"),
    ("people=24", "exposures=40"),
    ("people=40", "exposures=48"),
    ("people=80", "exposures=48"),
    ("people=120", "exposures=48"),
    ("people=400", "exposures=48"),
)


@dataclass(frozen=True, kw_only=True)
class PretrainedBiographiesConfig:
    """What the study trains and asks of a pretrained model.

    Args:
        seeds: Training seeds; each has its own people and order of texts.
        world: The invented people and their biographies; arms change the wording alone.
        augmentations: Rows of the paper's table, an arm each.
        exposures: How often the continued training shows each person, in any of the person's texts.
        pretraining: The continued training on biographies; its steps follow from `exposures`.
        question_passes: How often fine-tuning shows each question about the seen half of the people.
        finetuning: The training on questions; its steps follow from `question_passes`.
        lora: Rank of the low-rank update that both trainings train. 0: all weights are trained.
        chat: Ask through the model's chat template.
        replay: Folder of general text whose pieces stand among the biographies. Empty: none.
        replay_share: Share of the texts that are such pieces.
        patched_pairs: Pairs of questions whose names are exchanged inside the network, at every layer.
        facts: A table of facts to tell in place of the invented people's. Empty: none.
        wordings: A file of wordings for it. Empty: generic ones.
        name_column: The table's column of names. Empty: it is looked for.
        columns: The table's columns of facts. Empty: all but the names.
        probe_config: Training of the linear probes; the network and its embedding stay as they are.
    """

    seeds: tuple[int, ...] = (0,)
    world: Biographies
    augmentations: tuple[str, ...] = TWO_AUGMENTATIONS
    exposures: int
    pretraining: TrainingConfig
    question_passes: int
    finetuning: TrainingConfig
    lora: int = 0
    chat: bool = False
    replay: str = ""
    replay_share: float = 0.5
    patched_pairs: int = 12
    facts: str = ""
    wordings: str = ""
    name_column: str = ""
    columns: tuple[str, ...] = ()
    probe_config: LowRankProbeConfig

    @property
    def exposures_per_step(self) -> float:
        """Exposures of each person in one step of a row's training."""
        return self.exposures_of(self.world.people)

    def exposures_of(self, n_entities: int) -> float:
        """Exposures of each of so many entities in one step of a row's training."""
        return self.pretraining.batch_size * self.facts_share / n_entities

    @property
    def facts_share(self) -> float:
        """Share of the texts of training that are biographies."""
        return 1 - self.replay_share if self.replay else 1.0

    @property
    def adapter(self) -> LoRA | None:
        """The low-rank update, if one is trained."""
        return low_rank_update(self.lora)


@dataclass(frozen=True, kw_only=True)
class ChatNameExtractor:
    """Takes the name out of a prompt between the marks of a chat.

    Args:
        inner: Takes the name out of the message.
        marks: The marks.
    """

    inner: NameExtractor
    marks: ChatMarks

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The name in a question for an attribute."""
        return self.inner.extract_name(self.marks.unwrap(prompt), attribute)


def study(scale: Scale, models: tuple[ModelSource, ...], settings: Sequence[str] = ()) -> Study:
    """The study of one model at a scale.

    Raises:
        UsageError: There is no such scale or field, or the models are several or behind an endpoint.
    """
    config = pretrained_config(scale, settings)
    source = one_model(models, "biographies")
    marks = chat_marks(source.pretrained) if config.chat else None
    refuse_without_facts(settings)
    if config.facts:
        return _own_facts_study(config, source, marks, scale)
    arms = tuple(_arm(config, config.world, source, augmentation, marks) for augmentation in config.augmentations)
    return Study(
        name="biographies",
        title=f"{BIOGRAPHIES_TITLE}: {source.name}",
        question=BIOGRAPHIES_QUESTION,
        paper=BIOGRAPHIES_PAPER,
        scale=scale,
        unit="person",
        arms=arms,
        seeds=config.seeds,
        evals=_evals(config, marks),
        claims=tuple(
            map(judged_on_few, (*augmentation_claims(config.augmentations), *probe_claims(config.augmentations)))
        ),
        figures=augmentation_figures(config.augmentations, config.exposures_per_step),
        scaling_curves=recall_scaling_curves(
            config.augmentations, arms[0].training.checkpoint_steps, config.exposures_per_step
        ),
    )


def _own_facts_study(
    config: PretrainedBiographiesConfig, source: ModelSource, marks: ChatMarks | None, scale: Scale
) -> Study:
    """The rows on a user's own facts; probes and patching, which are made for people, are left out."""
    default = PRETRAINED_BIOGRAPHIES_CONFIGS[scale]()
    if (config.world, config.probe_config) != (default.world, default.probe_config):
        raise UsageError("--facts brings facts of its own and no probes; leave out settings of world and probe_config.")
    world, notes = read_facts(
        config.facts, config.wordings, config.name_column, config.columns, config.augmentations, config.seeds
    )
    arms = tuple(_arm(config, world, source, augmentation, marks) for augmentation in config.augmentations)
    title = f"{FACTS_TITLE}: {source.name}"
    return facts_study(scale, arms, config.seeds, config.exposures_of(world.n_entities), notes, title)


def pretrained_config(scale: str, settings: Sequence[str] = ()) -> PretrainedBiographiesConfig:
    """The configuration of the study on a pretrained model at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return config_for_scale("biographies --model", PRETRAINED_BIOGRAPHIES_CONFIGS, scale, settings)


def _arm(
    config: PretrainedBiographiesConfig,
    facts: Biographies | Facts,
    source: ModelSource,
    augmentation: str,
    marks: ChatMarks | None,
) -> Arm:
    told = replace(facts, augmentation=augmentation)
    world = with_replay(told, config.replay, config.replay_share, told.n_entities * told.documents_per_entity)
    n_questions = len(PERSON_ATTRIBUTES) * (told.n_entities // 2)
    if isinstance(told, Facts):  # some have no value
        n_questions = told.n_questions // 2
    finetuning = steps_for(config.finetuning, config.question_passes * n_questions)
    return Arm(
        name=augmentation,
        world=world if marks is None else ChatQuestions(world=world, marks=marks),
        model=source.pretrained,
        training=steps_for(config.pretraining, config.exposures * told.n_entities / config.facts_share),
        adapter=config.adapter,
        stages=(Stage(name=FINETUNE_STAGE, training=finetuning, adapter=config.adapter),),
    )


def _evals(config: PretrainedBiographiesConfig, marks: ChatMarks | None) -> tuple[EvalSpec, ...]:
    names: NameExtractor = NAME_EXTRACTOR if marks is None else ChatNameExtractor(inner=NAME_EXTRACTOR, marks=marks)
    p_probe = PositionProbe(config=config.probe_config, documents_per_entity=P_PROBE_DOCUMENTS)
    return (
        EvalSpec(RecallEval()),
        EvalSpec(MajorityBaseline()),
        EvalSpec(QAEval(), stage=FINETUNE_STAGE),
        EvalSpec(p_probe),
        EvalSpec(NameProbe(config=config.probe_config, name_extractor=names)),
        EvalSpec(NamePatching(name_extractor=names, max_pairs=config.patched_pairs), stage=FINETUNE_STAGE),
    )


def _laptop_config() -> PretrainedBiographiesConfig:
    """32 people, each shown 30 times: a model of 135 M weights in a quarter of an hour on two cores.

    The rates are those that `benchmarks/pretrained_rates.py` took for SmolLM2-135M (pretrained_rates.csv beside it).
    """
    return PretrainedBiographiesConfig(
        world=replace(SMALL_BIOGRAPHIES, people=32),
        exposures=30,
        pretraining=continued_training(8, 6e-4, 0.0, 0.5),
        question_passes=5,
        finetuning=continued_training(16, 1e-4, 0.0, 0.5),
        probe_config=LowRankProbeConfig(rank=0, steps=200, batch_size=16, peak_lr=1e-2),
    )


def _smoke_config() -> PretrainedBiographiesConfig:
    """Every arm and evaluation, without a result."""
    config = _laptop_config()
    return replace(
        config,
        world=replace(config.world, people=8, name_pool_sizes=(4, 4, 8)),
        exposures=2,
        question_passes=1,
        probe_config=replace(config.probe_config, steps=4, batch_size=4),
    )


def _gpu_config() -> PretrainedBiographiesConfig:
    """400 people and three seeds: a model of a billion weights on one GPU."""
    config = _laptop_config()
    return replace(
        config,
        seeds=(0, 1, 2),
        world=SMALL_BIOGRAPHIES,
        exposures=40,
        pretraining=replace(config.pretraining, batch_size=32),
        finetuning=replace(config.finetuning, batch_size=48),
    )


PRETRAINED_BIOGRAPHIES_CONFIGS: Mapping[Scale, Callable[[], PretrainedBiographiesConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
