"""The study emergence on models of one's own.

nosce run emergence --model ./small,./middle,./large

Sums and products are asked in words, behind a few examples, of models in folders or behind endpoints. Nothing is
trained. Five or more sizes go to the mirage test.

Source: Schaeffer, Miranda and Koyejo 2023 (arXiv:2304.15004), section 3, which asked four sizes of GPT-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nosce.models.architecture import Pretrained
from nosce.models.sources import ModelSource
from nosce.studies.emergence.asked.claims import asked_claims
from nosce.studies.emergence.asked.config import AskedEmergenceConfig, asked_emergence_config
from nosce.studies.emergence.asked.experiment import AskedArithmetic
from nosce.studies.emergence.asked.figures import asked_figures
from nosce.studies.emergence.asked.selections import asked_curves
from nosce.studies.emergence.asked.sizes import asked_ladder
from nosce.studies.models import chat_marks
from nosce.study import ExperimentSpec, Scale, Study

ASKED_QUESTION = "Does exact match jump where other scores of the same replies rise smoothly?"


def study(scale: Scale, models: tuple[ModelSource, ...], settings: Sequence[str] = ()) -> Study:
    """The study of one model or several at a scale.

    Raises:
        UsageError: There is no such scale or field, or an endpoint of a ladder has no size.
        SpecError: A folder's model cannot be asked.
    """
    config = asked_emergence_config(scale, settings)
    for source in models:
        if isinstance(source.model, Pretrained):
            _check_folder(source.model, config)
    names = [source.name.replace("/", "-") for source in models]
    ladder = replace(asked_ladder(models, names), size_label=config.size_label)
    by_name = dict(zip(names, models, strict=True))
    return Study(
        name="emergence",
        title=f"All at once, asked: {', '.join(ladder.names)}",
        question=f"{ASKED_QUESTION} {ladder.left_out}".strip(),
        paper="arXiv:2304.15004",
        scale=scale,
        unit="item",
        arms=(),
        experiments=tuple(_experiment(by_name[name], name, config) for name in ladder.names),
        seeds=config.seeds,
        evals=(),
        claims=asked_claims(config.problems, ladder),
        figures=tuple(asked_figures(config.problems, ladder)),
        scaling_curves=asked_curves(config.problems, ladder),
    )


def _check_folder(model: Pretrained, config: AskedEmergenceConfig) -> None:
    from nosce.models.api.local import check_chat_folder

    check_chat_folder(Path(model.folder))
    if config.chat:
        chat_marks(model)


def _experiment(source: ModelSource, name: str, config: AskedEmergenceConfig) -> ExperimentSpec:
    experiment = AskedArithmetic(
        problems=config.problems,
        model=source.model,
        chat=config.chat,
        max_new_tokens=config.max_new_tokens,
        dtype=config.dtype,
        generation_batch_size=config.generation_batch_size,
    )
    return ExperimentSpec(name=name, experiment=experiment)
