"""The biographies study with what it has not: an attribute, an augmentation and a type of question of one's own.

Everybody has a hobby (the attribute). Texts say it forwards, name first, or in half of the arms also backwards, hobby
first (the augmentation). Beside "what is the hobby", a question with yes or no can be asked (the type of question).

    nosce run docs/examples/own_biographies.py:study --scale smoke
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nosce import (
    Arm,
    Bars,
    Claim,
    Difference,
    Document,
    Majority,
    Question,
    Questions,
    Read,
    Recall,
    Recipe,
    Seed,
    Select,
    Span,
    Stage,
    Study,
    size,
)
from nosce.data.worlds.biographies.world import ATTRIBUTES, Biographies, Person, person
from nosce.errors import UsageError
from nosce.studies.biographies.study import SMALL, known

HOBBIES = ("archery", "baking", "chess", "drawing", "fencing", "gardening", "juggling", "knitting", "pottery",
           "sailing", "sculpture", "weaving")  # fmt: skip
WHAT, IS = "hobby", "hobby, yes or no"
ASKING = "asking"


@dataclass(frozen=True, kw_only=True)
class Hobbyists:
    """A population with a seventh attribute; `backwards` adds a text a person in which it stands before the name."""

    population: Biographies = field(default_factory=Biographies)
    backwards: bool = False

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The population's texts, each with one more sentence; the value's span is marked where it is written."""
        for document in self.population.documents(seed):
            index = int(document.about.partition("/")[2])
            who, hobby = person(self.population, index, seed), hobby_of(index, seed)
            text = f"{document.text} The Sundays of {who.name} belong to "
            span = Span(WHAT, len(text), len(text) + len(hobby))
            yield replace(document, text=f"{text}{hobby}.", spans=(*document.spans, span), wordings=())
            if self.backwards and document.id.endswith("/0"):
                text = f"{hobby} fills the Sundays of {who.name}."
                yield Document(f"{document.id}/backwards", document.about, text, (Span(WHAT, 0, len(hobby)),))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The population's, and of everybody two about the hobby."""
        for question in self.population.questions(seed):
            yield question
            if question.facet == "birth_date":  # once a person, whose split all their questions share
                index = int(question.about.partition("/")[2])
                yield from self._about(person(self.population, index, seed), question, seed)

    def _about(self, who: Person, like: Question, seed: Seed) -> Iterator[Question]:
        hobby = hobby_of(who.index, seed)
        yes = bool((seed / "yes" / (who.index // 2)).numpy().integers(2)) != bool(who.index % 2)  # of two people, one
        named = hobby if yes else HOBBIES[(HOBBIES.index(hobby) + 1 + who.index % 11) % len(HOBBIES)]
        yield replace(like, id=f"{WHAT}/{who.index}", facet=WHAT, target=hobby,
                      prompt=f"What do the Sundays of {who.name} belong to? Answer:")  # fmt: skip
        yield replace(like, id=f"{IS}/{who.index}", facet=IS, target="yes" if yes else "no",
                      prompt=f"Do the Sundays of {who.name} belong to {named} ? Answer:")  # fmt: skip

    def samples(self, seed: Seed) -> Iterator[str]:
        """What the tokenizer must spell."""
        yield from self.population.samples(seed)
        yield f"What do Do the Sundays of belong to The fills yes no ? . Answer: {' '.join(HOBBIES)}"


def hobby_of(index: int, seed: Seed) -> str:
    """Facts come from the seed and the person alone, never from a text."""
    return HOBBIES[int((seed / "hobby" / index).numpy().integers(len(HOBBIES)))]


def study(scale: str) -> Study:
    """Two arms that differ in the augmentation alone."""
    if scale == "smoke":
        people, names, model, exposures, asking = 40, (8, 8, 16), size("2x64"), 10, 10
    elif scale == "laptop":
        people, names, model, exposures, asking = SMALL.people, SMALL.names, size("3x128"), 100, 480
    else:
        raise UsageError(f"hobbies has no scale {scale!r}; take smoke or laptop.")
    population = replace(SMALL, people=people, names=names, augmentation="multi2+permute")
    recipe = Recipe(steps=exposures * people // 32, batch=32, optimizer="muon", matrix_lr=0.03, peak_lr=2e-2)
    stage = Stage(name=ASKING, recipe=Recipe(steps=asking, batch=48, peak_lr=3e-4, warmup=20))
    arms = tuple(
        Arm(name=name, world=Hobbyists(population=population, backwards=backwards), model=model, recipe=recipe,
            stages=(stage,))
        for name, backwards in (("forwards", False), ("both ways", True))
    )  # fmt: skip
    asked = Select(readout="questions", split="unseen", stage=ASKING)
    return Study(
        name="hobbies",
        title="A hobby, told both ways",
        question="Does a text that names the hobby first make the hobby easier to ask for?",
        paper="after arXiv:2309.14316",
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0,),
        reads=(Read(Recall(facets=ATTRIBUTES)), Read(Majority()), Read(Questions(), stage=ASKING)),
        claims=(
            Claim(id="both-ways", text="Texts that name the hobby first help to ask for it", source="our guess",
                  measure=Difference(one=replace(asked, arm="both ways", facets=(WHAT,)),
                                     other=replace(asked, arm="forwards", facets=(WHAT,))),
                  threshold=0.0, needs=(known("forwards"), known("both ways"))),
        ),
        figures=(
            Bars(id="hobbies", title="Seven attributes, and a question with yes or no", caption="Unseen people.",
                 y_label="exact match", select=asked, baseline=Select(readout="majority", split="unseen")),
        ),
    )  # fmt: skip
