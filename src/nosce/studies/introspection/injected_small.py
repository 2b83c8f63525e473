"""The claims and figures of injected states in the study of small models."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim
from nosce.analysis.figures import Figure
from nosce.studies.introspection.arms import INJECTED_ARM, INJECTION_STAGE, A
from nosce.studies.introspection.config import IntrospectionConfig
from nosce.studies.introspection.injected_claims import injection_claims
from nosce.studies.introspection.injected_figures import InjectedSeries, injection_figures
from nosce.studies.introspection.injected_selections import InjectedReadings


def small_injection_claims(config: IntrospectionConfig) -> Iterator[Claim]:
    """The claims about A, which was taught to report injected concepts."""
    yield from injection_claims(_readings(config, before=True), _readings(config, before=False), name=A)


def small_injection_figures(config: IntrospectionConfig) -> Iterator[Figure]:
    """The figures of A before and after teaching."""
    panels = {"before teaching": _readings(config, before=True), "after teaching": _readings(config, before=False)}
    sites = [f"residual.{layer}" for layer in range(config.architecture.layers)]
    yield from injection_figures(InjectedSeries(panels=panels, strengths=config.injection.strengths, sites=sites))


def _readings(config: IntrospectionConfig, *, before: bool) -> InjectedReadings:
    return InjectedReadings(
        evaluation="injected",
        site=f"residual.{config.injection.layer}",
        strengths=config.injection.taught_strengths,
        arm=INJECTED_ARM,
        stage=INJECTION_STAGE,
        step=0 if before else "last",
    )
