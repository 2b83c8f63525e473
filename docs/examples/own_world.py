"""A world of one's own: countries that do not exist, told of in one text or in several.

Does a fact that was read in five wordings answer a question better than one that was read in one?
The question is that of the built-in study `biographies`; the world is ours and has 60 countries.

    nosce run docs/examples/own_world.py:study --scale smoke
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nosce import (
    Architecture,
    Arm,
    ArmBarFigure,
    Claim,
    Difference,
    Document,
    EvalSpec,
    MajorityBaseline,
    Mean,
    Precondition,
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
from nosce.errors import SpecError, UsageError

NAMES = tuple(
    start + end
    for start in ("Ost", "Bel", "Cor", "Dram", "Fen", "Gal", "Hesk", "Jor", "Kel", "Lum")
    for end in ("ania", "avia", "onia", "istan", "land", "mark", "ora", "ule")
)
VALUES = {
    "capital": ("Velmora", "Tarnish", "Quillon", "Pareth", "Sundal", "Irrin", "Wexley", "Otterby", "Myrrow", "Zelk"),
    "export": ("amber", "copper", "figs", "glass", "honey", "linen", "olives", "pepper", "salt", "tin"),
}
WORDINGS = {
    "capital": (
        "The capital of {name} is {value}.",
        "{name} is governed from {value}.",
        "All ministers of {name} live in {value}.",
        "In {name} every road begins in {value}.",
        "The parliament of {name} meets in {value} each spring.",
        "Nobody visits {name} without seeing {value} first.",
    ),
    "export": (
        "Ships leave {name} laden with {value}.",
        "{name} is rich because of {value}.",
        "The markets of {name} smell of {value}.",
        "Merchants come to {name} for {value}.",
        "What {name} sells abroad is {value} above all.",
        "The farmers of {name} pay their taxes in {value} or not at all.",
    ),
}
PROMPTS = {"capital": "Which town is the capital of {name}?", "export": "Which good does {name} export?"}


@dataclass(frozen=True, kw_only=True)
class Atlas(World):
    """Countries and how often each is written about; equal fields and seeds give equal bytes."""

    countries: int = 60
    texts: int = 1  # about each country, each in wordings and an order of its own

    def __post_init__(self) -> None:
        if not 2 <= self.countries <= len(NAMES) or self.texts < 1:
            raise SpecError(
                f"Atlas of {self.countries} countries with {self.texts} texts each cannot be written; "
                f"take 2 to {len(NAMES)} countries and at least one text."
            )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The texts, country by country."""
        for land in lands(self, seed):
            for number in range(self.texts):
                yield written(land, number, seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """One question a fact; those about the first half of the countries may be trained on."""
        for land in lands(self, seed):
            for attribute, prompt in PROMPTS.items():
                yield Question(
                    id=f"{attribute}/{land.index}",
                    entity=f"country/{land.index}",
                    attribute=attribute,
                    prompt=prompt.format(name=land.name),
                    target=land.values[attribute],
                    split="seen" if 2 * land.index < self.countries else "unseen",
                )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word that any atlas can use, so that all of them share one tokenizer."""
        yield from NAMES
        for attribute, wordings in WORDINGS.items():
            yield from (wording.format(name="", value="") for wording in (*wordings, PROMPTS[attribute]))
            yield from VALUES[attribute]


@dataclass(frozen=True, slots=True)
class Land:
    """The facts of one country, from which texts and answers are both made."""

    index: int
    name: str
    values: dict[str, str]  # by attribute


def lands(world: Atlas, seed: Seed) -> Iterator[Land]:
    """The facts. They do not look at `texts`, so arms that differ in it tell of the same countries."""
    names = (seed / "names").numpy().permutation(len(NAMES))  # no name twice
    for index in range(world.countries):
        rng = (seed / "land" / index).numpy()
        values = {attribute: pool[rng.integers(len(pool))] for attribute, pool in VALUES.items()}
        yield Land(index, NAMES[names[index]], values)


def written(land: Land, number: int, seed: Seed) -> Document:
    """One text: a sentence a fact in any order, with the characters at which each value stands."""
    rng = (seed / "text" / land.index / number).numpy()
    text, spans, wordings = "", [], []
    for place in rng.permutation(len(WORDINGS)):
        attribute = tuple(WORDINGS)[place]
        wording = int(rng.integers(len(WORDINGS[attribute])))
        before, after = WORDINGS[attribute][wording].split("{value}")
        text += " " * bool(text) + before.format(name=land.name)
        spans.append(Span(attribute, len(text), len(text) + len(land.values[attribute])))
        wordings.append(f"{attribute}#{wording}")
        text += land.values[attribute] + after.format(name=land.name)
    return Document(f"{land.index}/{number}", f"country/{land.index}", text, tuple(spans), tuple(wordings))


def study(scale: str) -> Study:
    """One text a country against five, every country met equally often in both arms."""
    if scale != "smoke":
        raise UsageError(f"the atlas has no scale {scale!r}; take smoke.")
    exposures, batch = 100, 20
    recipe = TrainingConfig(steps=exposures * Atlas().countries // batch, batch_size=batch, window=48, peak_lr=5e-3)
    asking = Stage(name="asking", training=TrainingConfig(steps=60, batch_size=20, window=48, peak_lr=1e-3))
    return Study(
        name="atlas",
        title="One text or five",
        question="Can a model be asked about a country that it read about in a single text?",
        paper="none, an example",
        scale=scale,
        unit="country",
        arms=tuple(
            Arm(
                name=name, world=Atlas(texts=texts), model=Architecture.named("2x64"), training=recipe, stages=(asking,)
            )
            for name, texts in (("one", 1), ("five", 5))
        ),
        seeds=(0,),
        evals=(EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage="asking")),
        claims=(
            Claim(
                id="five-helps",
                text="Unseen countries are answered better after five texts than after one",
                source="our guess",
                measure=Difference(a=asked("five"), b=asked("one")),
                threshold=0.0,
                preconditions=(known("one"), known("five")),
            ),
        ),
        figures=(
            ArmBarFigure(
                id="accuracy",
                title="Questions about unseen countries",
                caption="Exact match after fine-tuning on questions about the other half of the countries.",
                y_label="exact match",
                selection=Selection(evaluation="questions", split="unseen", stage="asking"),
                baseline=Selection(evaluation="majority", split="unseen"),
            ),
        ),
    )


def asked(arm: str) -> Selection:
    """Exact answers about countries whose questions were never trained on."""
    return Selection(evaluation="questions", arm=arm, split="unseen", stage="asking")


def known(arm: str) -> Precondition:
    """Nobody can be asked for what was never stored."""
    recall = Mean(selection=Selection(evaluation="recall", arm=arm, stage="pretrain"))
    return Precondition(text=f"recall inside the texts of {arm}", measure=recall, above=0.9)
