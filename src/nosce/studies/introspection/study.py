"""Does a model know itself better than another model that studied it?

Binder et al. 2024, "Looking Inward: Language Models Can Learn About Themselves by Introspection" (arXiv:2410.13787).
Small transformers learn corpora that answer the same prompts differently. Each model is asked about properties of
answers: a model about its own answers, and another model that was taught as many labels of these answers. The first may
be better through access to itself, through likeness or through skill. Sibling models, models without dispositions,
planted channels and patching inside the network tell these apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from nosce.studies.introspection.arms import introspection_arms
from nosce.studies.introspection.claims import introspection_claims
from nosce.studies.introspection.config import INTROSPECTION_PAPER, introspection_config
from nosce.studies.introspection.disclosures import INTROSPECTION_DISCLOSURES
from nosce.studies.introspection.evals import introspection_evals
from nosce.studies.introspection.figures import introspection_figures, introspection_scaling_curves
from nosce.studies.introspection.injected_small import small_injection_claims, small_injection_figures
from nosce.studies.introspection.prompted_study import prompted_introspection_study
from nosce.study import EXPLORATORY_SEEDS, Scale, Study

__all__ = ["prompted_introspection_study", "study"]


def study(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The study at a scale, with the fields of its configuration that `settings` change.

    Raises:
        UsageError: The study has no such scale or field.
    """
    config = introspection_config(scale, settings)
    arms = introspection_arms(config)
    whole = Study(
        name="introspection",
        title="Know thyself",
        question="Does a model know what it would answer better than another model that studied it?",
        paper=INTROSPECTION_PAPER,
        scale=scale,
        unit="string",
        arms=arms,
        seeds=config.seeds,
        exploratory_seeds=EXPLORATORY_SEEDS,
        evals=introspection_evals(config, arms),
        headline=("self-beats-cross-A", "similarity-not-access"),
        claims=(*introspection_claims(config), *small_injection_claims(config)),
        figures=(*introspection_figures(config), *small_injection_figures(config)),
        scaling_curves=introspection_scaling_curves(config),
        disclosures=INTROSPECTION_DISCLOSURES,
    )
    return whole.without_unread_evals() if scale == "laptop" else whole
