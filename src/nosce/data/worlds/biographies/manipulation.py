"""Manipulation of knowledge that was learnt from biographies: parts of a value, classes, comparisons, inverse search.

The documents teach a task with people of the seen half; the questions ask for the same about the others. A hint, which
is the attribute itself, may precede an answer. Without a hint, the model must look the attribute up internally.

    birth_year      the year alone                          birth_day     the day of the month alone
    month_even      is the birth month's number even?       major_fifth   a made-up number of the major, modulo 5
    earlier         of two people, who was born in the earlier month?
    whose           given date and place of birth, which name?

One document and one question of `Manipulation()` at `Seed(0)`:

    Was Oravel Brinick Invershaw born in an even month? Answer: yes
    Was Nedavel Kastock Mundock born in an even month? Answer:  ->  no

Source: Allen-Zhu and Li 2023 (arXiv:2309.14402), sections 3 to 6.
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
HINTABLE_TASKS: tuple[ManipulationTask, ...] = (
    "month_even",
    "major_fifth",
    "earlier",
)  # an attribute is a step to them
MAJOR_NUMBER_LIMIT = 100  # made-up numbers of majors are below it

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
    """One task on a population. Its documents are questions with answers about the seen half of the people.

    A question has the attribute `<task>`, or `<task>/hint` if its reply must begin with the hint.

    Args:
        population: The people; their biographies are another corpus.
        task: The task, from `MANIPULATION_TASKS`.
        hint_share: Share of the documents with a hint, 0 to 1. Only for the tasks in `HINTABLE_TASKS`. The paper trains
            with 0.5.
        comparisons_per_person: Number of people that each person is compared with in the task `earlier`. Four give
            enough pairs to learn the order of months.
    """

    population: Biographies = field(default_factory=Biographies)
    task: ManipulationTask = "month_even"
    hint_share: float = 0.0
    comparisons_per_person: int = 4

    def __post_init__(self) -> None:
        if self.task not in MANIPULATION_TASKS:
            raise SpecError(
                f"Manipulation.task={self.task!r} does not exist; choose from {', '.join(MANIPULATION_TASKS)}."
            )
        if not 0 <= self.hint_share <= 1 or (self.hint_share and self.task not in HINTABLE_TASKS):
            raise SpecError(
                f"Manipulation.hint_share={self.hint_share} is impossible for the task {self.task!r}; take a share "
                f"from 0 to 1, above 0 only for {', '.join(HINTABLE_TASKS)}."
            )
        if not 1 <= self.comparisons_per_person < self.population.people // 2:
            raise SpecError(
                f"Manipulation.comparisons_per_person={self.comparisons_per_person} does not fit half of "
                f"{self.population.people} people; take 1 or more, below that half."
            )

    @property
    def n_entities(self) -> int:
        """The number of people."""
        return self.population.people

    def downsized(self, max_entities: int) -> Manipulation:
        """The same world with at most `max_entities` people, but enough for the comparisons."""
        return replace(
            self, population=self.population.downsized(max(max_entities, 2 * self.comparisons_per_person + 2))
        )

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Questions about all people, without a hint and, if documents have hints, also with one. Splits are the
        population's.
        """
        for number, (subject, others) in enumerate(_subjects_with_comparisons(self, seed)):
            split: Split = "seen" if _is_seen(self.population, subject.index, seed) else "unseen"
            for with_hint in (False, True) if self.hint_share else (False,):
                attribute = f"{self.task}/hint" if with_hint else self.task
                prompt, target = self.prompt_and_target(subject, others, seed, with_hint=with_hint)
                yield Question(f"{attribute}/{number}", f"person/{subject.index}", attribute, prompt, target, split)

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Questions about the seen half with their answers, each with a hint with probability `hint_share`."""
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
        """A question and its reply. The prompt says whether the reply must begin with the hint."""
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
                other_month = _birth_month(others[0])
                hint, answer = f"{month} {other_month}", _yes_or_no(number < MONTHS.index(other_month) + 1)
        return (prompt.replace("Answer:", HINT_CUE), f"{hint} ; {answer}") if with_hint else (prompt, answer)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The words of the population and of the tasks. The biographies' corpus needs the task words among its samples
        too.
        """
        yield from self.population.samples(seed)
        yield from task_vocabulary()


def task_vocabulary() -> Iterator[str]:
    """Every word of the tasks that biographies lack, for the tokenizer of an arm that learns a task later."""
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
    """Whether a person is in the seen half, as in the population's own questions."""
    return permuted_index(index, world.people, seed / "split") < (world.people + 1) // 2


@lru_cache(maxsize=4)
def _subjects_with_comparisons(world: Manipulation, seed: Seed) -> tuple[tuple[Person, tuple[Person, ...]], ...]:
    """Each person with the people to compare with: of the same half, born in another month. One pair per comparison."""
    people = [person(world.population, index, seed) for index in range(world.population.people)]
    if world.task != "earlier":
        return tuple((subject, ()) for subject in people)
    people_by_half: dict[bool, list[Person]] = {True: [], False: []}
    for one in people:
        people_by_half[_is_seen(world.population, one.index, seed)].append(one)
    subjects: list[tuple[Person, tuple[Person, ...]]] = []
    for subject in people:
        same_half = people_by_half[_is_seen(world.population, subject.index, seed)]
        others = [other for other in same_half if _birth_month(other) != _birth_month(subject)]
        order = (seed / "pairs" / subject.index).numpy().permutation(len(others))
        subjects += [(subject, (others[index],)) for index in order[: world.comparisons_per_person].tolist()]
    return tuple(subjects)


def _birth_month(subject: Person) -> str:
    return subject.values["birth_date"].split()[0]
