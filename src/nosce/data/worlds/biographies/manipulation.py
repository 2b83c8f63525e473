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

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.templates import MAJORS, MONTHS
from nosce.data.worlds.biographies.world import Biographies, Person, permuted_index, person
from nosce.errors import SpecError
from nosce.records import Document, Question, Split
from nosce.seeds import Seed

ManipulationTask = Literal["birth_year", "birth_day", "month_even", "major_fifth", "earlier", "whose"]
MANIPULATION_TASKS: tuple[ManipulationTask, ...] = get_args(ManipulationTask)
HINTABLE_TASKS: tuple[ManipulationTask, ...] = ("month_even", "major_fifth", "earlier")  # what an attribute leads up to
MAJOR_NUMBER_LIMIT = 100  # made-up numbers of majors lie below this

HINT_CUE = "Hint and answer:"
TASK_PROMPTS: dict[ManipulationTask, str] = {
    "birth_year": "In which year was {name} born? Answer:",
    "birth_day": "On which day of the month was {name} born? Answer:",
    "month_even": "Was {name} born in an even month? Answer:",
    "major_fifth": "Which number of five has the subject of {name} ? Answer:",
    "earlier": "Was {name} born in an earlier month than {other} ? Answer:",
    "whose": "Who was born on {birth_date} in {birth_city} ? Answer:",
}


@dataclass(frozen=True, kw_only=True)
class Manipulation(World):
    """One task on a population; its documents are questions with answers about the seen half.

    `hint_share` of them are led up to. Questions have the attribute `<task>`, and `<task>/hint` where they ask
    for a reply that begins with the attribute.
    """

    population: Biographies = field(default_factory=Biographies)
    task: ManipulationTask = "month_even"
    hint_share: float = 0.0
    comparisons_per_person: int = 4  # people whom each is compared with

    def __post_init__(self) -> None:
        if self.task not in MANIPULATION_TASKS:
            raise SpecError(
                f"Manipulation.task={self.task!r} is none that exists; take one of {', '.join(MANIPULATION_TASKS)}."
            )
        if not 0 <= self.hint_share <= 1 or (self.hint_share and self.task not in HINTABLE_TASKS):
            raise SpecError(
                f"Manipulation.hint_share={self.hint_share} for {self.task!r} cannot be given; take a share, and of "
                f"{', '.join(HINTABLE_TASKS)} alone."
            )
        if not 1 <= self.comparisons_per_person < self.population.people // 2:
            raise SpecError(
                f"Manipulation.comparisons_per_person={self.comparisons_per_person} is more than there are others; "
                "take fewer."
            )

    @property
    def n_entities(self) -> int:
        """How many people there are."""
        return self.population.people

    def downsized(self, max_entities: int) -> Manipulation:
        """The same of no more than so many people, but enough to be compared."""
        return replace(
            self, population=self.population.downsized(max(max_entities, 2 * self.comparisons_per_person + 2))
        )

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Of everybody, without a hint and where there is one with it; splits are those of the population."""
        for number, (subject, others) in enumerate(_subjects_with_comparisons(self, seed)):
            split: Split = "seen" if _is_seen(self.population, subject.index, seed) else "unseen"
            for with_hint in (False, True) if self.hint_share else (False,):
                attribute = f"{self.task}/hint" if with_hint else self.task
                prompt, target = self.prompt_and_target(subject, others, seed, with_hint=with_hint)
                yield Question(f"{attribute}/{number}", f"person/{subject.index}", attribute, prompt, target, split)

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Questions about the seen half with their answers, each led up to with the probability `hint_share`."""
        for number, (subject, others) in enumerate(_subjects_with_comparisons(self, seed)):
            if _is_seen(self.population, subject.index, seed):
                with_hint = bool((seed / "hint" / number).numpy().random() < self.hint_share)
                prompt, target = self.prompt_and_target(subject, others, seed, with_hint=with_hint)
                yield Document(
                    f"task/{number}", f"person/{subject.index}", f"{prompt} {target}", (), prompt_chars=len(prompt)
                )

    def prompt_and_target(
        self, subject: Person, others: Sequence[Person], seed: Seed, *, with_hint: bool
    ) -> tuple[str, str]:
        """A question and its reply; one that is to be led up to says so."""
        values = subject.values
        month, day, year = values["birth_date"].replace(",", "").split()
        names = {"name": subject.name, "other": others[0].name if others else "", **values}
        prompt = TASK_PROMPTS[self.task].format(**names)
        number = MONTHS.index(month) + 1
        match self.task:
            case "birth_year":
                return prompt, year
            case "birth_day":
                return prompt, day
            case "whose":
                return prompt, subject.name
            case "month_even":
                hint, answer = month, _yes_or_no(number % 2 == 0)
            case "major_fifth":
                hint, answer = values["major"], str(major_number(values["major"], seed) % 5 + 1)
            case "earlier":
                other_month = others[0].values["birth_date"].split()[0]
                hint, answer = f"{month} {other_month}", _yes_or_no(number < MONTHS.index(other_month) + 1)
        return (prompt.replace("Answer:", HINT_CUE), f"{hint} ; {answer}") if with_hint else (prompt, answer)

    def samples(self, seed: Seed) -> Iterator[str]:
        """Words of the population and of the tasks; a corpus that is to know them too must have them among its own."""
        yield from self.population.samples(seed)
        yield from task_vocabulary()


def task_vocabulary() -> Iterator[str]:
    """Every word of the tasks that biographies have not: for the tokenizer of an arm that is taught them later."""
    blank = {"name": "", "other": "", "birth_date": "", "birth_city": ""}
    yield from (prompt.format(**blank) for prompt in TASK_PROMPTS.values())
    yield f"yes no ; 1 2 3 4 5 {HINT_CUE}"


def major_number(major: str, seed: Seed) -> int:
    """The made-up number of a major, 0 to 99."""
    order = (seed / "luck").numpy().permutation(MAJOR_NUMBER_LIMIT)
    return int(order[MAJORS.index(major) % MAJOR_NUMBER_LIMIT])


def _yes_or_no(holds: bool) -> str:
    return "yes" if holds else "no"


def _is_seen(world: Biographies, index: int, seed: Seed) -> bool:
    """Is a person of the half that may be taught, as in the population's own questions?"""
    return permuted_index(index, world.people, seed / "split") < (world.people + 1) // 2


@lru_cache(maxsize=4)
def _subjects_with_comparisons(world: Manipulation, seed: Seed) -> tuple[tuple[Person, tuple[Person, ...]], ...]:
    """Everybody, and in a comparison with whom: people of the same half, none of them born in the same month."""
    everybody = [person(world.population, index, seed) for index in range(world.population.people)]
    if world.task != "earlier":
        return tuple((subject, ()) for subject in everybody)
    people_by_split = {
        seen: [p for p in everybody if _is_seen(world.population, p.index, seed) == seen] for seen in (True, False)
    }
    subjects: list[tuple[Person, tuple[Person, ...]]] = []
    for subject in everybody:
        month = subject.values["birth_date"].split()[0]
        others = [
            p
            for p in people_by_split[_is_seen(world.population, subject.index, seed)]
            if p.values["birth_date"].split()[0] != month
        ]
        other_indices = (
            (seed / "pairs" / subject.index).numpy().permutation(len(others))[: world.comparisons_per_person]
        )
        subjects += [(subject, (others[place],)) for place in other_indices.tolist()]
    return tuple(subjects)
