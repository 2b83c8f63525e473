"""Celebrities and a minority: one population, of whom some are told of in many ways and others in one.

A model is fine-tuned on questions about celebrities alone and asked about the minority, each of whom it met in one text
as the paper's minority is. What it learnt from the celebrities is how to store what it reads of anybody.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 6 and appendix G.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import Biographies, person, render_entries
from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class Celebrities(World):
    """The first people are the minority, all others celebrities; `population` says how the minority is told of.

    The number of people is that of both together. Facts are those of the population, so that an arm without
    celebrities' augmentation tells of the same people.
    """

    population: Biographies = field(default_factory=Biographies)
    minority_size: int = 500
    celebrity_augmentation: str = "multi5+permute"  # of the celebrities

    def __post_init__(self) -> None:
        if not 0 < self.minority_size < self.population.people:
            raise SpecError(
                f"Celebrities of {self.population.people} people, {self.minority_size} of them the minority, leave one "
                "group empty; take a minority between."
            )
        replace(self.population, augmentation=self.celebrity_augmentation)  # refuses what is none

    @property
    def n_entities(self) -> int:
        """How many people there are."""
        return self.population.people

    def downsized(self, max_entities: int) -> Celebrities:
        """The same of no more than so many people, of whom as large a share is the minority."""
        population = self.population.downsized(max_entities)
        scaled_minority = round(self.minority_size * population.people / self.population.people)
        return replace(self, population=population, minority_size=min(max(1, scaled_minority), population.people - 1))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All entries, person by person."""
        celebrity_world = replace(self.population, augmentation=self.celebrity_augmentation)
        for index in range(self.population.people):
            world = self.population if index < self.minority_size else celebrity_world
            yield from render_entries(world, person(self.population, index, seed), seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Those about celebrities may be trained on, those about the minority may not."""
        for question in self.population.questions(seed):
            index = int(question.entity.partition("/")[2])
            yield replace(question, split="unseen" if index < self.minority_size else "seen")

    def samples(self, seed: Seed) -> Iterator[str]:
        """Those of the population."""
        yield from self.population.samples(seed)
