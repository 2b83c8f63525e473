"""The biographies study with what it has not: an attribute, an augmentation and a type of question of one's own.

Everybody has a hobby (the attribute). Texts say it forwards, name first, or in half of the arms also backwards, hobby
first (the augmentation). Beside "what is the hobby", a question with yes or no can be asked (the type of question).

    nosce run docs/examples/own_biographies.py:study --scale smoke
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nosce import (
    Architecture,
    Arm,
    ArmBarFigure,
    Claim,
    Difference,
    Document,
    EvalSpec,
    MajorityBaseline,
    QAEval,
    Question,
    RecallEval,
    Seed,
    Selection,
    Span,
    Stage,
    Study,
    TrainingConfig,
    World,
)
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies, Person, person
from nosce.errors import UsageError
from nosce.studies.biographies.study import SMALL_BIOGRAPHIES, recall_precondition

HOBBIES = (
    "archery",
    "baking",
    "chess",
    "drawing",
    "fencing",
    "gardening",
    "juggling",
    "knitting",
    "pottery",
    "sailing",
    "sculpture",
    "weaving",
)
WHAT, IS = "hobby", "hobby, yes or no"
ASKING = "asking"


@dataclass(frozen=True, kw_only=True)
class Hobbyists(World):
    """A population with a seventh attribute; `backwards` adds a text a person in which it stands before the name."""

    population: Biographies = field(default_factory=Biographies)
    backwards: bool = False

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The population's texts, each with one more sentence; the value's span is marked where it is written."""
        for document in self.population.documents(seed):
            index = int(document.entity.partition("/")[2])
            who, hobby = person(self.population, index, seed), hobby_of(index, seed)
            text = f"{document.text} The Sundays of {who.name} belong to "
            span = Span(WHAT, len(text), len(text) + len(hobby))
            yield replace(document, text=f"{text}{hobby}.", spans=(*document.spans, span), wordings=())
            if self.backwards and document.id.endswith("/0"):
                text = f"{hobby} fills the Sundays of {who.name}."
                yield Document(f"{document.id}/backwards", document.entity, text, (Span(WHAT, 0, len(hobby)),))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The population's, and of everybody two about the hobby."""
        for question in self.population.questions(seed):
            yield question
            if question.attribute == "birth_date":  # once a person, whose split all their questions share
                index = int(question.entity.partition("/")[2])
                yield from self._about(person(self.population, index, seed), question, seed)

    def _about(self, who: Person, like: Question, seed: Seed) -> Iterator[Question]:
        hobby = hobby_of(who.index, seed)
        yes = bool((seed / "yes" / (who.index // 2)).numpy().integers(2)) != bool(who.index % 2)  # of two people, one
        named = hobby if yes else HOBBIES[(HOBBIES.index(hobby) + 1 + who.index % 11) % len(HOBBIES)]
        yield replace(
            like,
            id=f"{WHAT}/{who.index}",
            attribute=WHAT,
            target=hobby,
            prompt=f"What do the Sundays of {who.name} belong to? Answer:",
        )
        yield replace(
            like,
            id=f"{IS}/{who.index}",
            attribute=IS,
            target="yes" if yes else "no",
            prompt=f"Do the Sundays of {who.name} belong to {named} ? Answer:",
        )

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
        people, names, model, exposures, asking = 40, (8, 8, 16), Architecture.named("2x64"), 10, 10
    elif scale == "laptop":
        people, names, model, exposures, asking = (
            SMALL_BIOGRAPHIES.people,
            SMALL_BIOGRAPHIES.name_pool_sizes,
            Architecture.named("3x128"),
            100,
            480,
        )
    else:
        raise UsageError(f"hobbies has no scale {scale!r}; take smoke or laptop.")
    population = replace(SMALL_BIOGRAPHIES, people=people, name_pool_sizes=names, augmentation="multi2+permute")
    recipe = TrainingConfig(steps=exposures * people // 32, batch_size=32, optimizer="muon", muon_lr=0.03, peak_lr=2e-2)
    stage = Stage(name=ASKING, training=TrainingConfig(steps=asking, batch_size=48, peak_lr=3e-4, warmup_steps=20))
    arms = tuple(
        Arm(
            name=name,
            world=Hobbyists(population=population, backwards=backwards),
            model=model,
            training=recipe,
            stages=(stage,),
        )
        for name, backwards in (("forwards", False), ("both ways", True))
    )
    asked = Selection(evaluation="questions", split="unseen", stage=ASKING)
    return Study(
        name="hobbies",
        title="A hobby, told both ways",
        question="Does a text that names the hobby first make the hobby easier to ask for?",
        paper="after arXiv:2309.14316",
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0,),
        evals=(
            EvalSpec(RecallEval(attributes=PERSON_ATTRIBUTES)),
            EvalSpec(MajorityBaseline()),
            EvalSpec(QAEval(), stage=ASKING),
        ),
        claims=(
            Claim(
                id="both-ways",
                text="Texts that name the hobby first help to ask for it",
                source="our guess",
                measure=Difference(
                    a=replace(asked, arm="both ways", attributes=(WHAT,)),
                    b=replace(asked, arm="forwards", attributes=(WHAT,)),
                ),
                threshold=0.0,
                preconditions=(recall_precondition("forwards"), recall_precondition("both ways")),
            ),
        ),
        figures=(
            ArmBarFigure(
                id="hobbies",
                title="Seven attributes, and a question with yes or no",
                caption="Unseen people.",
                y_label="exact match",
                selection=asked,
                baseline=Selection(evaluation="majority", split="unseen"),
            ),
        ),
    )
