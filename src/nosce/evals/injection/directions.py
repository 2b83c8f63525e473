"""Directions of concepts in the residual stream, by difference of means, and how strongly they are added.

The direction of a concept at a site is the mean state of texts with the concept less the mean state of texts without
it. An injection adds the direction to the residual stream. Its strength is in units of the mean norm of the states
that the direction was found from: at strength 1 it is as long as a state.

Source: Lindsey 2025, "Emergent introspective awareness in large language models" (transformer-circuits.pub), takes the
state of a prompt with the concept's word less the mean over other words; the strength in units of the norm is ours, so
that layers and models can be compared. Letters: N texts, R positions, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nosce.errors import DataError, SpecError
from nosce.evals.patching.base import PatchBatching, PatchExtent, SpanStates, capture_states
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INJECTION_BATCHES = PatchBatching(pad=None, size=500)


@dataclass(frozen=True, kw_only=True)
class InjectionPlace:
    """Where concepts are added while a model is taught to report them.

    Args:
        layer: The number of blocks below the place: the residual stream after so many blocks; 0 is the input of the
            first.
        extent: The last token of the place in the text, or all of its tokens.
    """

    layer: int
    extent: PatchExtent = "last"

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise SpecError(f"a concept cannot be added after {self.layer} blocks; take 0 or more.")

    @property
    def site(self) -> str:
        """The name of `nosce.models.hooks`."""
        return f"residual.{self.layer}"


@dataclass(frozen=True, eq=False)
class ConceptText:
    """A text as tokens, the place whose state is taken, and the concepts that it has.

    Attributes:
        tokens: Shape: (T,).
        span: First position of the place, and last position + 1.
        concepts: The concepts.
    """

    tokens: np.ndarray
    span: tuple[int, int]
    concepts: frozenset[str]


@dataclass(frozen=True, eq=False)
class ConceptDirections:
    """Unit directions of concepts at the sites of one model.

    Attributes:
        units: Site -> concept -> direction of length 1. Shape: (W,), float32.
        norms: Site -> mean length of the states that the directions were found from.
    """

    units: Mapping[str, Mapping[str, np.ndarray]]
    norms: Mapping[str, float]

    @classmethod
    def from_texts(
        cls, model: PreTrainedModel, texts: Sequence[ConceptText], sites: Sequence[str]
    ) -> ConceptDirections:
        """The directions of every concept of some texts, from the states at the last token of each text's place.

        Raises:
            DataError: All texts have a concept, or the texts with a concept have the mean state of the others.
            SpecError: The model has no such site.
        """
        states = capture_states(model, texts, sites, INJECTION_BATCHES)
        return cls.from_states(states, [text.concepts for text in texts])

    @classmethod
    def from_states(cls, states: SpanStates, concepts: Sequence[frozenset[str]]) -> ConceptDirections:
        """The directions from states at the last token of each text's place.

        Args:
            states: The states of N texts.
            concepts: The concepts of each text.

        Raises:
            DataError: All texts have a concept, or the texts with a concept have the mean state of the others.
        """
        units: dict[str, dict[str, np.ndarray]] = {}
        norms: dict[str, float] = {}
        for site in states.by_site:
            values = states.at(site, "last").astype(np.float64)
            norms[site] = float(np.linalg.norm(values, axis=1).mean())
            units[site] = {}
            for concept in sorted(frozenset().union(*concepts)):
                has_concept = np.array([concept in one for one in concepts])
                units[site][concept] = _unit_difference(values, has_concept, concept, site)
        return cls(units, norms)

    def vector(self, site: str, concept: str, strength: float) -> np.ndarray:
        """What an injection of a concept adds. Shape: (W,)."""
        return np.float32(strength * self.norms[site]) * self.units[site][concept]

    def random_vector(self, site: str, strength: float, seed: Seed) -> np.ndarray:
        """A random direction of the same length, which is no concept's. Shape: (W,)."""
        width = len(next(iter(self.units[site].values())))
        drawn = seed.numpy().normal(size=width)
        unit = (drawn / np.linalg.norm(drawn)).astype(np.float32)
        return np.float32(strength * self.norms[site]) * unit


def _unit_difference(values: np.ndarray, has_concept: np.ndarray, concept: str, site: str) -> np.ndarray:
    """The difference of means of states (N, W), with length 1."""
    if has_concept.all():
        raise DataError(f"every text has the concept {concept!r}, so it has no direction; give texts without it.")
    difference = values[has_concept].mean(0) - values[~has_concept].mean(0)
    length = float(np.linalg.norm(difference))
    if not length > 0:
        raise DataError(
            f"the states at {site} are the same with the concept {concept!r} and without it, so it has no direction; "
            "take another place or a later layer."
        )
    unit: np.ndarray = (difference / length).astype(np.float32)
    return unit
