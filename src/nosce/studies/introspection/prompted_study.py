"""The study introspection for models that are prompted in words: local folders or endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from nosce.evals.base import Experiment
from nosce.studies.introspection.config import INTROSPECTION_PAPER
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.prompted_claims import prompted_claims
from nosce.studies.introspection.prompted_figures import prompted_figures
from nosce.studies.introspection.prompted_names import taught_name
from nosce.studies.introspection.prompted_needs import ClaimNeeds
from nosce.studies.introspection.prompted_outsider_claims import outsider_claims, outsider_figures
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_tasks import for_tasks
from nosce.study import ExperimentSpec, Study

QUESTION = "Does a model know what it would answer better than another that saw as many of its answers?"


def prompted_introspection_study(
    introspection: PromptedIntrospection,
    *,
    scale: str,
    seeds: tuple[int, ...] = (0,),
    title: str = "Know thyself, asked",
    needs: ClaimNeeds | None = None,
    names: Mapping[str, str] | None = None,
) -> Study:
    """A study of models that are prompted in words, each of them both target and predictor.

    Each seed has its own strings, order of training labels, and samples.

    Args:
        introspection: The protocol, with its models.
        scale: Name of the scale.
        seeds: The seeds.
        title: The title, to which the models' letters and names are added.
        needs: What must hold before a claim is judged. None: what `ClaimNeeds` has by default.
        names: Letter -> the model's name in the title. None: the subjects' own names.
    """
    subjects = introspection.subject_by_letter
    named = {letter: subject.name for letter, subject in subjects.items()} | dict(names or {})
    parties = PromptedParties(
        letters=tuple(subjects),
        teachable=introspection.teachable,
        targets=introspection.targets,
        with_logprobs=tuple(letter for letter, subject in subjects.items() if subject.top_logprobs),
        has_samples=introspection.limits.n_samples > 0,
        has_change=introspection.teaching.change,
        needs=needs or ClaimNeeds(),
        tasks=introspection.world.task_catalogue,
        knowledge=introspection.knowledge,
    )
    experiment: Experiment = introspection
    outsiders = introspection.outsiders
    figures = prompted_figures(parties, max_rounds=introspection.teaching.max_rounds)
    return Study(
        name=f"introspection-{introspection.subject.name}".replace("/", "-").lower(),
        title=f"{title}: {', '.join(f'{letter} is {name}' for letter, name in named.items())}",
        question=f"{QUESTION} {_explained(parties)}".strip(),
        paper=INTROSPECTION_PAPER,
        scale=scale,
        unit="string",
        arms=(),
        experiments=(ExperimentSpec(name=_plain_name(introspection.subject.name), experiment=experiment),),
        seeds=seeds,
        evals=(),
        claims=for_tasks((*prompted_claims(parties), *outsider_claims(parties, outsiders)), parties.tasks),
        figures=for_tasks((*figures, *outsider_figures(parties, outsiders)), parties.tasks),
    )


def _plain_name(name: str) -> str:
    """The name of a model as that of an experiment, which holds no "/": most servers call a model "org/name"."""
    return name.strip("/").replace("/", "-") or "model"


def _explained(parties: PromptedParties) -> str:
    """What the names of taught models mean; empty where none is taught."""
    if not parties.targets:
        return ""
    target = parties.targets[0]
    words = f"{parties.tested(target)} is {target} after it was taught labels of its own answers"
    taught_others = parties.taught_others(target)
    if taught_others:
        words += f", and {taught_name(taught_others[0], target)} is {taught_others[0]} after it was taught the same"
    return f"{words}."
