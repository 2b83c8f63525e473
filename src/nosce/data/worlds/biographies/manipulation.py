"""Tasks on knowledge that was learnt as biographies: part of it, classes of it, comparisons, and the way back.

What is taught is a task, with people of the seen half; what is asked is the same of the others. An answer may be led up
to by a hint: the attribute itself, written before it. Without one the model has to do it in its head.

    birth_year      the year alone                          birth_day     the day of the month alone
    month_even      is the birth month's number even?       major_fifth   a made-up number of the major, modulo 5
    earlier         of two people, who was born in the earlier month?
    whose           given date and place of birth, which name?

Source: Allen-Zhu and Li 2023 (arXiv:2309.14402), sections 3 to 6, as the sheet for arXiv:2309.14316 has them (9.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, get_args

from nosce.data.worlds.biographies.templates import MAJORS, MONTHS
from nosce.data.worlds.biographies.world import Biographies, Person, person, shuffled
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed

Task = Literal["birth_year", "birth_day", "month_even", "major_fifth", "earlier", "whose"]
TASKS: tuple[Task, ...] = get_args(Task)
HINTED: tuple[Task, ...] = ("month_even", "major_fifth", "earlier")  # what an attribute leads up to
LUCK = 100  # made-up numbers of majors lie below this

LED = "Hint and answer:"
PROMPTS: dict[Task, str] = {
    "birth_year": "In which year was {name} born? Answer:",
    "birth_day": "On which day of the month was {name} born? Answer:",
    "month_even": "Was {name} born in an even month? Answer:",
    "major_fifth": "Which number of five has the subject of {name} ? Answer:",
    "earlier": "Was {name} born in an earlier month than {other} ? Answer:",
    "whose": "Who was born on {birth_date} in {birth_city} ? Answer:",
}


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """One task on a population; its documents are questions with answers about the seen half.

    `hints` is the share of them that are led up to. Questions have the facet `<task>`, and `<task>/hint` where they ask
    for a reply that begins with the attribute.
    """

    population: Biographies = field(default_factory=Biographies)
    task: Task = "month_even"
    hints: float = 0.0
    pairs: int = 4  # people whom each is compared with

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise SpecError(f"Manipulation.task={self.task!r} is none that exists; take one of {', '.join(TASKS)}.")
        if not 0 <= self.hints <= 1 or (self.hints and self.task not in HINTED):
            raise SpecError(
                f"Manipulation.hints={self.hints} for {self.task!r} cannot be given; take a share, and of "
                f"{', '.join(HINTED)} alone."
            )
        if not 1 <= self.pairs < self.population.people // 2:
            raise SpecError(f"Manipulation.pairs={self.pairs} is more than there are others; take fewer.")

    @property
    def things(self) -> int:
        """How many people there are."""
        return self.population.people

    def fewer(self, most: int) -> Manipulation:
        """The same of no more than so many people, but enough to be compared."""
        return replace(self, population=self.population.fewer(max(most, 2 * self.pairs + 2)))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Of everybody, without a hint and where there is one with it; splits are those of the population."""
        for number, (who, others) in enumerate(_asked(self, seed)):
            split: Split = "seen" if _seen(self.population, who.index, seed) else "unseen"
            for led in (False, True) if self.hints else (False,):
                facet = f"{self.task}/hint" if led else self.task
                prompt, target = self.case(who, others, seed, led=led)
                yield Question(f"{facet}/{number}", f"person/{who.index}", facet, prompt, target, split)

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Questions about the seen half with their answers, each led up to with the probability `hints`."""
        for number, (who, others) in enumerate(_asked(self, seed)):
            if _seen(self.population, who.index, seed):
                led = bool((seed / "hint" / number).numpy().random() < self.hints)
                prompt, target = self.case(who, others, seed, led=led)
                yield Document(f"task/{number}", f"person/{who.index}", f"{prompt} {target}", (), given=len(prompt))

    def case(self, who: Person, others: Sequence[Person], seed: Seed, *, led: bool) -> tuple[str, str]:
        """A question and its reply; one that is to be led up to says so."""
        values = who.values
        month, day, year = values["birth_date"].replace(",", "").split()
        names = {"name": who.name, "other": others[0].name if others else "", **values}
        prompt = PROMPTS[self.task].format(**names)
        number = MONTHS.index(month) + 1
        match self.task:
            case "birth_year":
                return prompt, year
            case "birth_day":
                return prompt, day
            case "whose":
                return prompt, who.name
            case "month_even":
                hint, answer = month, _yes(number % 2 == 0)
            case "major_fifth":
                hint, answer = values["major"], str(luck(values["major"], seed) % 5 + 1)
            case "earlier":
                theirs = others[0].values["birth_date"].split()[0]
                hint, answer = f"{month} {theirs}", _yes(number < MONTHS.index(theirs) + 1)
        return (prompt.replace("Answer:", LED), f"{hint} ; {answer}") if led else (prompt, answer)

    def samples(self, seed: Seed) -> Iterator[str]:
        """Words of the population and of the tasks; a corpus that is to know them too must have them among its own."""
        yield from self.population.samples(seed)
        yield from words()


def words() -> Iterator[str]:
    """Every word of the tasks that biographies have not: for the tokenizer of an arm that is taught them later."""
    blank = {"name": "", "other": "", "birth_date": "", "birth_city": ""}
    yield from (prompt.format(**blank) for prompt in PROMPTS.values())
    yield f"yes no ; 1 2 3 4 5 {LED}"


def luck(major: str, seed: Seed) -> int:
    """The made-up number of a major, 0 to 99."""
    order = (seed / "luck").numpy().permutation(LUCK)
    return int(order[MAJORS.index(major) % LUCK])


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _seen(world: Biographies, index: int, seed: Seed) -> bool:
    """Is a person of the half that may be taught, as in the population's own questions?"""
    return shuffled(index, world.people, seed / "split") < (world.people + 1) // 2


@lru_cache(maxsize=4)
def _asked(world: Manipulation, seed: Seed) -> tuple[tuple[Person, tuple[Person, ...]], ...]:
    """Everybody, and in a comparison with whom: people of the same half, none of them born in the same month."""
    everybody = [person(world.population, index, seed) for index in range(world.population.people)]
    if world.task != "earlier":
        return tuple((who, ()) for who in everybody)
    halves = {seen: [p for p in everybody if _seen(world.population, p.index, seed) == seen] for seen in (True, False)}
    found: list[tuple[Person, tuple[Person, ...]]] = []
    for who in everybody:
        month = who.values["birth_date"].split()[0]
        others = [p for p in halves[_seen(world.population, who.index, seed)]
                  if p.values["birth_date"].split()[0] != month]  # fmt: skip
        chosen = (seed / "pairs" / who.index).numpy().permutation(len(others))[: world.pairs]
        found += [(who, (others[place],)) for place in chosen.tolist()]
    return tuple(found)
