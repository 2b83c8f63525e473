"""Does a model know itself better than another model that studied it?

Binder et al. 2024, "Looking Inward: Language Models Can Learn About Themselves by Introspection" (arXiv:2410.13787).
Small transformers learn corpora that answer the same prompts otherwise. Each is asked about properties of answers: a
model about its own, and another that was taught as many labels of them. What makes the first better may be access, or
likeness, or skill: siblings, observers without dispositions, planted channels and swaps inside the network tell which.
"""

from __future__ import annotations

from nosce.errors import UsageError
from nosce.studies.introspection.arms import bench_of
from nosce.studies.introspection.claims import claims
from nosce.studies.introspection.figures import figures, scalings
from nosce.studies.introspection.prompted_study import asked
from nosce.study import Scale, Study

__all__ = ["asked", "study"]


def study(scale: Scale) -> Study:
    """The study at a scale.

    Raises:
        UsageError: There is no such scale.
    """
    bench = bench_of(scale)
    if bench is None:
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
        arms=bench.arms,
        seeds=(0,) if scale == "smoke" else (0, 1, 2),
        reads=bench.reads,
        claims=claims(bench),
        figures=figures(bench),
        scalings=scalings(bench),
    )
