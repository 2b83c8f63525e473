"""Does a model know itself better than another model that studied it?

Binder et al. 2024, "Looking Inward: Language Models Can Learn About Themselves by Introspection" (arXiv:2410.13787).
Small transformers learn corpora that answer the same prompts otherwise. Each is asked about properties of answers: a
model about its own, and another that was taught as many labels of them. What makes the first better may be access, or
likeness, or skill: siblings, observers without dispositions, planted channels and swaps inside the network tell which.
"""

from __future__ import annotations

from nosce.errors import UsageError
from nosce.studies.introspection.arms import introspection_config
from nosce.studies.introspection.claims import introspection_claims
from nosce.studies.introspection.figures import introspection_figures, introspection_scaling_curves
from nosce.studies.introspection.prompted_study import prompted_introspection_study
from nosce.study import Scale, Study

__all__ = ["prompted_introspection_study", "study"]


def study(scale: Scale) -> Study:
    """The study at a scale.

    Raises:
        UsageError: There is no such scale.
    """
    config = introspection_config(scale)
    if config is None:
        raise UsageError(
            f"introspection has no scale {scale!r}; take smoke, laptop or gpu (the paper asked GPT-4 and Llama 70B: "
            "docs/introspection.md says how to ask a local folder or an endpoint)."
        )
    return Study(
        name="introspection",
        title="Know thyself",
        question="Does a model know what it would answer better than another model that studied it?",
        paper="arXiv:2410.13787",
        scale=scale,
        unit="string",
        arms=config.arms,
        seeds=(0,) if scale == "smoke" else (0, 1, 2),
        evals=config.evals,
        claims=introspection_claims(config),
        figures=introspection_figures(config),
        scaling_curves=introspection_scaling_curves(config),
    )
