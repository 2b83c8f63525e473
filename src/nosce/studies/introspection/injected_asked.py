"""Injected states as a part of the study of models of one's own: which models take part, their claims and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nosce.models.folder import read_config
from nosce.studies.introspection.injected_claims import injection_claims
from nosce.studies.introspection.injected_figures import InjectedSeries, injection_figures
from nosce.studies.introspection.injected_selections import InjectedReadings
from nosce.studies.introspection.injected_states import ChatInjectionConfig, InjectedStates
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, Subject
from nosce.study import ExperimentSpec, Study


def with_injected_states(
    study: Study, subjects: Mapping[str, Subject], words: tuple[str, ...], config: ChatInjectionConfig
) -> Study:
    """The study with injected states of every subject in a folder with a decoder; the others are named in a note.

    Args:
        study: The study of models that are prompted in words.
        subjects: Its subjects by their letters.
        words: The concepts.
        config: How concepts are injected.
    """
    left_out = []
    for letter, subject in subjects.items():
        if isinstance(subject, FinetunedSubject):  # no model of the user's
            continue
        if not isinstance(subject, LocalSubject) or read_config(Path(subject.model.folder)).get("is_encoder_decoder"):
            left_out.append(f"{letter} ({subject.name})")
            continue
        experiment = InjectedStates(subject=subject, letter=letter, words=words, config=config)
        study = _with_experiment(study, experiment)
    if left_out:
        note = (
            f"Injected states need the weights of a decoder in a folder, so {', '.join(left_out)} had no part in them."
        )
        study = replace(study, notes=(*study.notes, note))
    return study


def _with_experiment(study: Study, experiment: InjectedStates) -> Study:
    letter, config = experiment.letter, experiment.config
    places = config.places(experiment.n_layers)
    before = InjectedReadings(
        evaluation=f"injected {letter}",
        site=places[0].site,
        strengths=config.taught_strengths,
        arm=f"injected {letter}",
    )
    after = replace(before, evaluation=f"{before.evaluation} taught") if config.n_reports else None
    names = {"before_name": f"untaught {letter}", "after_name": f"taught {letter}"}
    panels = {"untaught": before} | ({} if after is None else {"taught": after})
    layers = {place.layer: place.site for place in sorted(places, key=lambda one: one.layer)}
    series = InjectedSeries(
        panels=panels, strengths=config.tested_strengths, sites=layers, suffix=f"-{letter.lower()}", title=f" {letter}"
    )
    return replace(
        study,
        experiments=(*study.experiments, ExperimentSpec(name=f"injected {letter}", experiment=experiment)),
        claims=(*study.claims, *injection_claims(before, after, suffix=f"-{letter}", **names)),
        figures=(*study.figures, *injection_figures(series)),
    )
