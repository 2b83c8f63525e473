"""The claims and figures of injected states in the study of small models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.claims import Claim
from nosce.analysis.figures import Figure
from nosce.studies.introspection.arms import FORM_ARM, INJECTED_ARM, INJECTION_STAGE
from nosce.studies.introspection.config import IntrospectionConfig
from nosce.studies.introspection.injected_claims import injection_claims
from nosce.studies.introspection.injected_figures import InjectedSeries, injection_figures
from nosce.studies.introspection.injected_selections import InjectedReadings


def small_injection_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    """The claims about A, which was taught to report injected concepts.

    Untaught, A does not know the questions. What is held against it is A that was taught to answer them on texts
    without an injection.
    """
    before, after = _readings(config, FORM_ARM), _readings(config, INJECTED_ARM)
    yield from injection_claims(before, after, before_name="A, taught the form alone,", after_name="taught A")


def small_injection_figures(config: IntrospectionConfig) -> Iterator[Figure]:
    """The figures of A before and after teaching."""
    panels = {
        "untaught": replace(_readings(config, INJECTED_ARM), step=0),
        "taught the form alone": _readings(config, FORM_ARM),
        "taught": _readings(config, INJECTED_ARM),
    }
    sites = {layer: f"residual.{layer}" for layer in range(config.architecture.layers)}
    yield from injection_figures(
        InjectedSeries(panels=panels, strengths=config.injection.tested_strengths, sites=sites)
    )


def _readings(config: IntrospectionConfig, arm: str) -> InjectedReadings:
    return InjectedReadings(
        evaluation="injected",
        site=f"residual.{config.injection.layer}",
        strengths=config.injection.taught_strengths,
        arm=arm,
        stage=INJECTION_STAGE,
    )
