"""What `nosce list` says of each built-in study, written down so that listing studies imports none of them.

`tests/studies/test_catalog.py` holds these against the studies themselves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A built-in study in brief.

    Args:
        question: The study's question.
        paper: The paper whose claims the study tests.
        scales: Names of the study's scales.
    """

    question: str
    paper: str
    scales: tuple[str, ...]


_MEMORISED = "Can a model be asked for what it has memorised?"

CATALOG = {
    "biographies": CatalogEntry(
        question=_MEMORISED, paper="arXiv:2309.14316", scales=("smoke", "laptop", "gpu", "paper", "demo")
    ),
    "biographies_adamw": CatalogEntry(
        question=_MEMORISED, paper="arXiv:2309.14316", scales=("smoke", "laptop", "demo")
    ),
    "biographies_packed": CatalogEntry(
        question=_MEMORISED, paper="arXiv:2309.14316", scales=("smoke", "laptop", "demo")
    ),
    "biographies_variants": CatalogEntry(
        question="Does another training make memorised facts extractable?",
        paper="arXiv:2309.14316",
        scales=("smoke", "laptop"),
    ),
    "diaries": CatalogEntry(
        question="Does a model know how much it knows?",
        paper="arXiv:2502.19573",
        scales=("smoke", "laptop", "gpu", "paper"),
    ),
    "emergence": CatalogEntry(
        question="Did that ability really appear all at once, or does the metric jump?",
        paper="arXiv:2304.15004",
        scales=("smoke", "laptop", "gpu", "paper"),
    ),
    "introspection": CatalogEntry(
        question="Does a model know what it would answer better than another model that studied it?",
        paper="arXiv:2410.13787",
        scales=("smoke", "laptop", "gpu"),
    ),
    "karel": CatalogEntry(
        question="Does a model that only reads programs come to represent what they do?",
        paper="arXiv:2305.11169",
        scales=("smoke", "laptop", "gpu", "paper"),
    ),
}
