"""Celebrities and a minority: one population, with varied texts about some people and a single text about the others.

A model is fine-tuned on questions about celebrities alone and evaluated on the minority. In the paper, varied texts
about celebrities change how the model stores what it reads about anyone else.

One document (of a person of the minority) and one question of `Celebrities()` at `Seed(0)`:

    Nedavel Kastock Mundock's passport listed May 7, 2014 as the birth date. She was born and swaddled in Ironbrook, CE.
    She joined lectures at Marchfield Academy each morning. She mastered Library Science as a main subject. She served
    Fluxyx Motors as a loyal employee. The office where she worked stood in Cinderhaven, OV.

    In which town was Nedavel Kastock Mundock born? Answer:  ->  Ironbrook, CE

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 6 and appendix G.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.prose import FreeBiographies, ProseGrammar, ProseRewriter
from nosce.data.worlds.biographies.world import Biographies, person, render_entries
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class Celebrities(World):
    """A population whose first people are the minority and whose others are celebrities.

    The facts are those of `population`, so an arm with another augmentation of the celebrities describes the same
    people.

    Args:
        population: All people, the minority and the celebrities. Its augmentation is that of the minority.
        minority_size: Number of people in the minority. Half of the default population, as in the paper.
        celebrity_augmentation: Augmentation of the texts about celebrities. The paper's is `multi5+permute`.
    """

    population: Biographies = field(default_factory=Biographies)
    minority_size: int = 500
    celebrity_augmentation: str = "multi5+permute"

    def __post_init__(self) -> None:
        _check_minority(type(self).__name__, self.minority_size, self.population)
        replace(self.population, augmentation=self.celebrity_augmentation)  # raises if it does not exist

    @property
    def n_entities(self) -> int:
        """The number of people."""
        return self.population.people

    def downsized(self, max_entities: int) -> Celebrities:
        """The same world with at most `max_entities` people and the same share of minority."""
        population = self.population.downsized(max_entities)
        return replace(
            self, population=population, minority_size=_scaled(self.minority_size, self.population, population)
        )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries, person by person."""
        celebrity_world = replace(self.population, augmentation=self.celebrity_augmentation)
        for index in range(self.population.people):
            world = self.population if index < self.minority_size else celebrity_world
            yield from render_entries(world, person(self.population, index, seed), seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Questions about celebrities are in the seen split, questions about the minority in the unseen split."""
        yield from _split_questions(self.population, self.minority_size, seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of the population."""
        yield from self.population.samples(seed)


@dataclass(frozen=True, kw_only=True)
class FreeCelebrities(World):
    """The same two groups in free prose, as the paper's bioR: one text about each of the minority.

    The minority's texts are those of `FreeBiographies` of this population, with the same rewriter.

    Args:
        population: All people, the minority and the celebrities. Its augmentation is not used.
        minority_size: Number of people in the minority.
        celebrity_entries: Texts about each celebrity. The paper has 5.
        rewriter: Writes the texts.
    """

    population: Biographies = field(default_factory=Biographies)
    minority_size: int = 500
    celebrity_entries: int = 5
    rewriter: ProseRewriter = field(default_factory=ProseGrammar)

    def __post_init__(self) -> None:
        _check_minority(type(self).__name__, self.minority_size, self.population)
        self._texts(self.celebrity_entries)  # raises if there are none

    @property
    def n_entities(self) -> int:
        """The number of people."""
        return self.population.people

    def downsized(self, max_entities: int) -> FreeCelebrities:
        """The same world with at most `max_entities` people and the same share of minority."""
        population = self.population.downsized(max_entities)
        return replace(
            self, population=population, minority_size=_scaled(self.minority_size, self.population, population)
        )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All texts, person by person."""
        yield from self._texts(1).documents_for(0, self.minority_size, seed)
        yield from self._texts(self.celebrity_entries).documents_for(self.minority_size, self.population.people, seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Questions about celebrities are in the seen split, questions about the minority in the unseen split."""
        yield from _split_questions(self.population, self.minority_size, seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of free prose about the population."""
        yield from self._texts(1).samples(seed)

    def _texts(self, entries: int) -> FreeBiographies:
        return FreeBiographies(population=self.population, entries_per_person=entries, rewriter=self.rewriter)


def _check_minority(world: str, minority_size: int, population: Biographies) -> None:
    """Refuse a minority that leaves one group empty."""
    if not 0 < minority_size < population.people:
        raise SpecError(
            f"{world}.minority_size={minority_size} of {population.people} people leaves one group empty; take from 1 "
            "to one less than all people."
        )


def _scaled(minority_size: int, population: Biographies, downsized: Biographies) -> int:
    """The minority's size at the same share of a smaller population, which leaves no group empty."""
    return min(max(1, round(minority_size * downsized.people / population.people)), downsized.people - 1)


def _split_questions(population: Biographies, minority_size: int, seed: Seed) -> Iterator[Question]:
    for question in population.questions(seed):
        index = int(question.entity.partition("/")[2])
        yield replace(question, split="unseen" if index < minority_size else "seen")
