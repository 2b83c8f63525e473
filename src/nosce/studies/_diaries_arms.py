"""The arms of the study diaries: a ladder of sizes and numbers of diarists by family, and arms that test one thing.

Where it is no rectangle the grid is a cross: every size at one number of diarists, and every number at the smallest and
at one larger size, each scattered and merged. Steps follow the number of diarists, so that all of them are
met equally often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from nosce.models.families import Architecture, Family, Pretrained, size
from nosce.study import Arm, Stage
from nosce.train.recipe import Mix, Recipe
from nosce.worlds.diaries import Diaries

SCATTERED, MERGED = "scattered", "merged"  # a document an entry, or one a diarist
SETUPS = (SCATTERED, MERGED)
#: The paper's families by the shapes that they are built from.
SHAPES: dict[str, Family] = {"pythia": "gpt-neox", "opt": "opt", "flan-t5": "t5"}
ENCODERS = ("flan-t5",)
#: Arms beside the grid, at its middle: see `Grid.extra`.
MASKED, NUMBER_FIRST, REPEATED, PHASES = "header masked", "number first", "header repeated", "two phases"
LONG = {setup: f"long diaries {setup}" for setup in SETUPS}  # of the paper's shape: see `Grid.long`
ASKED = "questions"  # the second stage of the arm in two phases


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is trained at a scale; arms have names such as `pythia 3x128 2048 merged`."""

    world: Diaries
    recipe: Recipe  # its steps are those of the middle number of diarists
    mix: Mix
    families: tuple[str, ...]  # of SHAPES; the first has the most seeds
    sizes: tuple[str, ...]  # rungs of the ladder, smallest first
    diarists: tuple[int, ...]
    middle: int  # number of diarists at which all sizes are trained
    largest: str  # size at which all numbers are
    few: int | None = 1  # seeds of arms that carry no claim; None: all
    puzzle: bool = True
    whole: bool = False  # the rectangle in place of the cross
    long: Diaries | None = None  # a world of longer diaries, for two arms of the first family at the middle
    models: dict[str, Architecture | Pretrained] = field(default_factory=dict)  # `<family> <rung>`, not the ladder's

    def cells(self, family: str) -> list[tuple[str, int]]:
        """Sizes and numbers of diarists that are trained of a family."""
        if self.whole:
            return [(rung, count) for rung in self.sizes for count in self.diarists]
        cells = [(rung, self.middle) for rung in self.sizes]
        cells += [(rung, count) for rung in dict.fromkeys((self.sizes[0], self.largest)) for count in self.diarists]
        return list(dict.fromkeys(cells))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, those of the first family first."""
        found = []
        for family in self.families:
            for rung, count in self.cells(family):
                for setup in SETUPS:
                    found.append(self._arm(name(family, rung, count, setup), family, rung, count, setup == MERGED))
        return (*found, *self._longer(), *(self._puzzle() if self.puzzle else ()))

    def _longer(self) -> Iterator[Arm]:
        """Two arms of longer diaries."""
        if self.long is None:
            return
        for setup in SETUPS:
            arm = self._arm(LONG[setup], self.families[0], self.largest, self.middle, setup == MERGED)
            world = replace(self.long, diarists=self.middle, merged=setup == MERGED)
            yield replace(arm, world=world, tokenizer=world.tokenizer)

    def _puzzle(self) -> list[Arm]:
        """Arms that differ in one thing from the scattered one at the middle (the sheet, section 7.2)."""
        causal, rung = self.families[0], self.largest
        plain = self._arm("", causal, rung, self.middle, merged=False)
        found = [
            replace(plain, name=MASKED, recipe=replace(plain.recipe, given_weight=0.0)),
            self._arm(NUMBER_FIRST, causal, rung, self.middle, merged=False, header="number first"),
            replace(plain, name=PHASES, mix=None, recipe=self._documents_first(plain.recipe),
                    stages=(Stage(name=ASKED, recipe=self._then_questions(plain.recipe)),)),
        ]  # fmt: skip
        encoders = [family for family in self.families if family in ENCODERS]
        found += [self._arm(REPEATED, family, rung, self.middle, merged=False, repeated=True) for family in encoders]
        return found

    def _documents_first(self, recipe: Recipe) -> Recipe:
        """As many documents as the mixture has, without the questions."""
        share = self.mix.questions * (1 - self.mix.after)
        return replace(recipe, steps=max(1, round(recipe.steps * (1 - share))))

    def _then_questions(self, recipe: Recipe) -> Recipe:
        """As many questions as the mixture has, without the documents."""
        share = self.mix.questions * (1 - self.mix.after)
        return replace(recipe, steps=max(1, round(recipe.steps * share)))

    def _arm(self, name: str, family: str, rung: str, count: int, merged: bool, **world: object) -> Arm:
        told = replace(self.world, diarists=count, merged=merged, **world)  # type: ignore[arg-type]
        steps = max(1, round(self.recipe.steps * count / self.middle))
        encoder = family in ENCODERS
        recipe = replace(self.recipe, steps=steps, given_weight=0.0 if encoder else self.recipe.given_weight)
        model = self.models.get(f"{family} {rung}") or size(rung, SHAPES[family])
        most = family == self.families[0] or (rung == self.largest and count == self.middle)
        return Arm(name=name, world=told, model=model, recipe=recipe, tokenizer=told.tokenizer, mix=self.mix,
                   seeds=None if most else self.few)  # fmt: skip


def name(family: str, rung: str, diarists: int, setup: str) -> str:
    """The name of an arm of the grid."""
    return f"{family} {rung} {diarists} {setup}"
