"""The read-out `Unanswered`: how many prompts got no valid answer, so that nothing could be asked about it.

The protocol counts three things: answers that are none, reports that are none, and both. Where what is asked is what is
so of an answer, nothing is asked about one that is none; the first is counted here, the second by outcomes of
`nosce.evals.self_report`, and the third is empty.

Source: Binder et al. 2024 (arXiv:2410.13787), as the sheet has it (section 3).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.qa import blank
from nosce.records import Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COUNTS = "counts.json"


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """One reading a prompt of a corpus of labels: metric `invalid`, whether its likeliest answer is none.

    A corpus says how many prompts had none and not which, so that these are numbered.
    """

    needs_model: ClassVar[bool] = False
    name: str = "unanswered"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """0 or 1 of every prompt.

        Raises:
            DataError: The corpus is none of labels.
        """
        file = corpus.folder / COUNTS
        if not file.exists():
            raise DataError(
                "Unanswered was asked of a corpus that is none of labels; read it about somebody's answers."
            )
        invalid = int(json.loads(file.read_text())["invalid"])
        answered = {q.id.rpartition("/")[0]: q.about for q in corpus.questions if not q.id.startswith("taught/")}
        prompts = [(item, about, 0.0) for item, about in answered.items()]
        prompts += [(name, name, 1.0) for name in (f"invalid/{number}" for number in range(invalid))]
        for item, about, value in prompts:
            yield blank(readout=self.name, split="", item=item, about=about, facet="all", metric="invalid",
                        value=value, outcome=None, answer=None, target=None)  # fmt: skip
