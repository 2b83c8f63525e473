"""Documents that are read with injected states: the vectors that a training adds, from the model that it starts from.

A document's spans say which concept is injected at which of its tokens, and how strongly
(`nosce.data.worlds.behaviours.injections.injected_concept`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nosce.data.corpus import Corpus
from nosce.data.packing import StateAdditions, TokenDataset
from nosce.data.worlds.behaviours.injections import RANDOM_CONCEPT, injected_concept
from nosce.errors import DataError
from nosce.evals.injection.directions import ConceptDirections, InjectionPlace
from nosce.evals.injection.evaluation import corpus_directions
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def with_injections(
    documents: TokenDataset, corpus: Corpus, model: PreTrainedModel, place: InjectionPlace, seed: Seed
) -> TokenDataset:
    """The documents, with what their spans say is injected.

    Args:
        documents: The documents of the corpus.
        corpus: A corpus of `InjectionReports`.
        model: The model before the training, in which the directions are found.
        place: Where concepts are injected.
        seed: For random directions.

    Raises:
        DataError: No document has an injection, or the corpus has no texts to find directions from.
        SpecError: The model has no such place.
    """
    from nosce.models.logits import eval_mode

    with eval_mode(model):
        directions = corpus_directions(model, corpus, [place.site])
    vectors: list[np.ndarray] = []
    index_of: dict[str, int] = {}
    of_token = np.full(len(documents.tokens), -1, dtype=np.int32)
    for document, attribute, start, stop in corpus.spans.select("document", "attribute", "start", "stop").iter_rows():
        if (injected := injected_concept(attribute)) is None:
            continue
        if attribute not in index_of:
            index_of[attribute] = len(vectors)
            vectors.append(_vector(directions, place, *injected, seed))
        first = documents.offsets[document] + (stop - 1 if place.extent == "last" else start)
        of_token[first : documents.offsets[document] + stop] = index_of[attribute]
    if not vectors:
        raise DataError(f"no document of {corpus.folder} has an injection; take a corpus of InjectionReports.")
    return replace(documents, additions=StateAdditions(place.site, np.stack(vectors), of_token))


def _vector(
    directions: ConceptDirections, place: InjectionPlace, concept: str, strength: float, seed: Seed
) -> np.ndarray:
    kind, _, name = concept.partition("/")
    if kind == RANDOM_CONCEPT:
        return directions.random_vector(place.site, strength, seed / RANDOM_CONCEPT / name.replace("/", " "))
    return directions.vector(place.site, concept, strength)
