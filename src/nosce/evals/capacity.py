"""The read-out `Capacity`: how many bits of knowledge about its people does a model hold, by the formula of Part 3.3?

    R = [ N log2(N0 / e^p1) + N log2(S0 / e^p2) ] / P

with N people, P weights, N0 names and S0 combinations of values that there could have been, p1 and p2 the means over
people of the summed negative log-likelihood (nats) of the name's tokens and of the values' tokens. Words that are no
value count for nothing, and neither does a value that another one determines. A person who was never stored costs as
many nats as guessing does, which leaves no bits; one who costs none leaves log2 of all that could have been.

Source: Allen-Zhu and Li 2024 (arXiv:2404.05405), definition 4.3. Pronouns are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import DataError, SpecError
from nosce.evals.probing.pq_probes import Titles
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Bits a person, at every checkpoint, from the first text of each.

    Readings: `name_nats`, `value_nats`, `bits` of a person, and `bits_per_weight`, whose mean over people is R.
    """

    needs_model: ClassVar[bool] = True
    titles: Titles
    names: float  # that there could have been
    values: float  # combinations of values that there could have been, determined ones left out
    determined: tuple[str, ...] = ("company_city",)
    name: str = "capacity"

    def __post_init__(self) -> None:
        if self.names < 1 or self.values < 1:
            raise SpecError(
                f"Capacity of {self.names} names and {self.values} values has none; take 1 or more of each."
            )

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint.

        Raises:
            DataError: A name stands in no text of its person.
        """
        from nosce.models.likelihood import spoken

        people = self._people(corpus)
        spans = [(document, *span) for document, name, values in people.values() for span in (name, *values)]
        split = {q.about: q.split for q in corpus.questions}
        for step, load in checkpoints.items():
            model = load()
            weights = sum(p.numel() for p in model.parameters())
            nats = iter([one.nats for one in spoken(model, corpus.documents, spans, end=corpus.end)])
            rows = []
            for about, (_, _, values) in people.items():
                name = next(nats)
                value = sum(next(nats) for _ in values)
                bits = math.log2(self.names) + math.log2(self.values) - (name + value) / math.log(2)
                told = {"name_nats": name, "value_nats": value, "bits": bits,
                        "bits_per_weight": bits * len(people) / weights}  # fmt: skip
                rows += [(about, split.get(about, ""), metric, number) for metric, number in told.items()]
            yield pl.DataFrame(rows, schema=["about", "split", "metric", "value"], orient="row").with_columns(
                item=pl.col("about"), readout=pl.lit(self.name), facet=pl.lit("all"), step=pl.lit(step, pl.Int64)
            )

    def _people(self, corpus: Corpus) -> dict[str, tuple[int, tuple[int, int], list[tuple[int, int]]]]:
        """Each person's first document, with the tokens of the name and of every value that counts."""
        names = {q.about: self.titles.title(q.prompt, q.facet) for q in corpus.questions}
        spans = {n: part for (n,), part in corpus.spans.group_by("document", maintain_order=True)}
        found: dict[str, tuple[int, tuple[int, int], list[tuple[int, int]]]] = {}
        for number, about in enumerate(corpus.things["about"].to_list()):
            if about in found or about not in names:
                continue
            part = spans[number].filter(~pl.col("facet").is_in(self.determined))
            values = [(int(a), int(b)) for a, b in part.select("start", "stop").iter_rows()]
            found[about] = (number, _name_at(corpus, number, names[about]), values)
        return found


def _name_at(corpus: Corpus, number: int, name: str) -> tuple[int, int]:
    """The tokens of a name's first mention in a document."""
    tokens = corpus.documents.text(number)
    for text in (name, f" {name}"):  # a byte-level tokenizer spells a word otherwise behind a blank
        wanted = np.array(corpus.tokenizer.encode(text, add_special_tokens=False).ids)
        windows = np.lib.stride_tricks.sliding_window_view(tokens, len(wanted))
        places = np.flatnonzero((windows == wanted).all(1))
        if len(places):
            return int(places[0]), int(places[0]) + len(wanted)
    raise DataError(f"the name {name!r} stands in no text of its person; Capacity wants texts that tell names whole.")
