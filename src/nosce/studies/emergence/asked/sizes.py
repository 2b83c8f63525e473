"""The models of a ladder by their numbers of weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nosce.analysis.emergence.test import MIN_SIZES
from nosce.errors import UsageError
from nosce.models.architecture import Pretrained
from nosce.models.folder import weight_shapes
from nosce.models.sources import ModelSource

MIN_LADDER = 3  # models that are shown as a ladder


@dataclass(frozen=True, kw_only=True)
class AskedLadder:
    """The models that are asked.

    Args:
        names: Names of the models, of a ladder the smallest first.
        sizes: Number of weights of each; none where the models are too few for a ladder.
        without_likelihood: Names of the models behind endpoints.
        size_label: What the sizes are.
    """

    names: tuple[str, ...]
    sizes: tuple[float, ...] = ()
    without_likelihood: tuple[str, ...] = ()
    size_label: str = "weights"

    @property
    def points(self) -> tuple[tuple[float, str], ...]:
        """Size and name of each model of a ladder."""
        return tuple(zip(self.sizes, self.names, strict=True)) if self.sizes else ()

    @property
    def is_tested(self) -> bool:
        """Whether there are enough sizes for the mirage test."""
        return len(self.sizes) >= MIN_SIZES

    @property
    def left_out(self) -> str:
        """What the study leaves out for these models, in sentences; "" where it leaves out nothing."""
        notes = []
        if not self.is_tested:
            count = f"{len(self.names)} model" + ("s" if len(self.names) > 1 else "")
            notes.append(
                f"The mirage test and claims about sizes are left out: the test needs {MIN_SIZES} sizes, and {count} "
                f"{'is' if len(self.names) == 1 else 'are'} here."
            )
        if self.without_likelihood:
            names = ", ".join(self.without_likelihood)
            notes.append(
                f"The log-likelihood of answers is left out for {names}: an endpoint gives the log-probability of its "
                "own replies alone."
            )
        return " ".join(notes)


def asked_ladder(models: Sequence[ModelSource], names: Sequence[str]) -> AskedLadder:
    """The models as a ladder, the smallest first; fewer than `MIN_LADDER` have no sizes.

    Raises:
        UsageError: An endpoint of a ladder has no size, or two of its models have the same.
        SpecError: The weights of a folder cannot be counted.
    """
    remote = {name for name, source in zip(names, models, strict=True) if not isinstance(source.model, Pretrained)}
    if len(models) < MIN_LADDER:
        return AskedLadder(names=tuple(names), without_likelihood=tuple(n for n in names if n in remote))
    sized = sorted((model_size(source), name) for source, name in zip(models, names, strict=True))
    for (size, name), (next_size, next_name) in itertools.pairwise(sized):
        if size == next_size:
            raise UsageError(
                f"{name} and {next_name} both have {size:,.0f} weights, and a ladder has one model a size; leave one "
                "out, or give other sizes, e.g. folder=70M."
            )
    ordered = tuple(name for _, name in sized)
    sizes = tuple(size for size, _ in sized)
    return AskedLadder(names=ordered, sizes=sizes, without_likelihood=tuple(n for n in ordered if n in remote))


def model_size(source: ModelSource) -> float:
    """Number of weights: as the user gave it, or else from the headers of the folder's safetensors files.

    Tied embeddings count once, as they are stored.

    Raises:
        UsageError: The model is behind an endpoint, and no size was given.
        SpecError: The files are not whole.
    """
    if source.size is not None:
        return source.size
    if not isinstance(source.model, Pretrained):
        raise UsageError(
            f"the size of {source.name} is not known, since an endpoint shows no weights; write its number of weights "
            "behind it, e.g. https://host/v1#name=70M."
        )
    return float(sum(math.prod(shape) for shape in weight_shapes(Path(source.model.folder)).values()))
