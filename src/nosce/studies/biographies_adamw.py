"""The core of the biographies study with the paper's optimizer.

The control of our own shortcut: what is claimed after the fast recipe of `nosce.studies.biographies` must
hold after this one too.
"""

from __future__ import annotations

from nosce.studies import biographies
from nosce.study import Scale, Study


def study(scale: Scale) -> Study:
    """The same arms, claims and figures, trained with AdamW (arXiv:2309.14316, section 2.1)."""
    return biographies.core(scale, optimizer="adamw", name="biographies_adamw")
