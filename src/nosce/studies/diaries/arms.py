"""The arms of the study diaries: a ladder of sizes and numbers of diarists by family, and arms that test one thing.

Where it is no rectangle the grid is a cross: every size at one number of diarists, and the largest size at the fewest;
of the first family the largest and the smallest size at every number. In all arms documents are met equally often, and
questions too: steps follow from how many documents there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from nosce.data.worlds.diaries import Diaries
from nosce.models.architecture import Architecture, Family, Pretrained, size
from nosce.study import Arm, Stage
from nosce.train.config import Mix, Recipe

SCATTERED, MERGED = "scattered", "merged"  # a document an entry, or one a diarist
SETUPS = (SCATTERED, MERGED)
#: The paper's families by the shapes that they are built from.
SHAPES: dict[str, Family] = {"pythia": "gpt-neox", "opt": "opt", "flan-t5": "t5"}
ENCODERS = ("flan-t5",)
#: Arms beside the grid, each differing in one thing from the scattered one of the largest size at the middle.
MASKED, NUMBER_FIRST, PHASES = "header masked", "number first", "two phases"
REPEATED, NAMED = "header repeated", "header learnt"  # by an encoder-decoder, given it too, or the name alone
ASKED = "questions"  # the second stage of the arm in two phases


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is trained at a scale; arms have names such as `pythia 3x128 2048 merged`."""

    world: Diaries
    recipe: Recipe  # whose steps follow from the passes
    passes: float  # over every document
    asked: float  # over every question that is trained on
    after: float  # share of the steps before the first question
    families: tuple[str, ...]  # of SHAPES; the first has all seeds, the others few
    sizes: Mapping[str, tuple[str, ...]]  # by family the rungs of its ladder, smallest first
    diarists: tuple[int, ...]
    middle: int  # number of diarists at which all sizes are trained
    further: tuple[int, ...] = ()  # numbers at which the first family's smallest size is trained too, scattered alone
    few: int | None = 1  # seeds of the other families' arms; None: all
    puzzle: bool = True
    whole: bool = False  # the rectangle in place of the cross
    beside: Mapping[str, Diaries] = field(default_factory=dict)  # other shapes of diaries, by name, with their number
    models: Mapping[str, Architecture | Pretrained] = field(default_factory=dict)  # `<family> <rung>`, if no rung's

    @property
    def first(self) -> tuple[str, str, str]:
        """The first family, its smallest size and its largest."""
        sizes = self.sizes[self.families[0]]
        return self.families[0], sizes[0], sizes[-1]

    def cells(self, family: str) -> list[tuple[str, int]]:
        """Sizes and numbers of diarists that are trained of a family."""
        if self.whole:
            return [(rung, count) for rung in self.sizes[family] for count in self.diarists]
        cells = [(rung, self.middle) for rung in self.sizes[family]]
        if family != self.families[0]:
            return list(dict.fromkeys([*cells, (self.sizes[family][-1], self.diarists[0])]))
        cells += [(rung, count) for rung in reversed(self.first[1:]) for count in self.diarists]
        return list(dict.fromkeys(cells))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, those of the first family first."""
        found = [
            self._arm(name(family, rung, count, setup), family, rung, self._told(count, setup))
            for family in self.families
            for rung, count in self.cells(family)
            for setup in SETUPS
        ]
        family, rung, _ = self.first
        found += [self._arm(name(family, rung, count, SCATTERED), family, rung, self._told(count, SCATTERED))
                  for count in self.further]  # fmt: skip
        return (*found, *self._shapes(), *(self._puzzle() if self.puzzle else ()))

    def _told(self, count: int, setup: str) -> Diaries:
        return replace(self.world, diarists=count, merged=setup == MERGED)

    def _shapes(self) -> Iterator[Arm]:
        """Two arms for each other shape of diaries."""
        for shape, world in self.beside.items():
            for setup in SETUPS:
                told = replace(world, merged=setup == MERGED)
                family, _, rung = self.first
                yield replace(self._arm(f"{shape} {setup}", family, rung, told), seeds=self.few)

    def _puzzle(self) -> Iterator[Arm]:
        """Arms that differ in one thing (the sheet, section 7.2), and the two-phase schedule."""
        (family, _, rung), world = self.first, self._told(self.middle, SCATTERED)
        plain = self._arm("", family, rung, world)
        yield replace(plain, name=MASKED, recipe=replace(plain.recipe, given_weight=0.0))
        yield self._arm(NUMBER_FIRST, family, rung, replace(world, header="number first"))
        documents, questions = self._texts(world)
        first = replace(plain.recipe, steps=self._steps(documents))
        then = Stage(name=ASKED, recipe=replace(plain.recipe, steps=self._steps(questions)))
        yield replace(plain, name=PHASES, mix=None, recipe=first, stages=(then,))
        for other in (f for f in self.families if f in ENCODERS):
            largest = self.sizes[other][-1]
            yield replace(self._arm(REPEATED, other, largest, replace(world, repeated=True)), seeds=None)
            yield replace(self._arm(NAMED, other, largest, replace(world, repeated="name")), seeds=None)

    def _texts(self, world: Diaries) -> tuple[float, float]:
        """How many documents and how many questions a training meets."""
        each = 1.0 if world.merged else fmean(world.entries)
        return self.passes * world.diarists * each, self.asked * world.diarists * world.trained

    def _steps(self, texts: float) -> int:
        return max(1, round(texts / self.recipe.batch))

    def _arm(self, name: str, family: str, rung: str, world: Diaries) -> Arm:
        documents, questions = self._texts(world)
        share = questions / ((1 - self.after) * (documents + questions))
        recipe = replace(self.recipe, steps=self._steps(documents + questions),
                         given_weight=0.0 if family in ENCODERS else self.recipe.given_weight)  # fmt: skip
        model = self.models.get(f"{family} {rung}") or size(rung, SHAPES[family])
        largest = rung == self.sizes[family][-1] and world.diarists == self.middle
        named = family in ENCODERS and largest  # by a claim
        carries = family == self.families[0] or named
        mix = Mix(questions=round(share, 4), after=self.after)
        return Arm(name=name, world=world, model=model, recipe=recipe, tokenizer=world.tokenizer, mix=mix,
                   seeds=None if carries else self.few)  # fmt: skip


def name(family: str, rung: str, diarists: int, setup: str) -> str:
    """The name of an arm of the grid."""
    return f"{family} {rung} {diarists} {setup}"
