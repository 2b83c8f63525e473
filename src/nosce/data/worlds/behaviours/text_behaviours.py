"""What every world of prompts in words gives: questions about answers, and what replies count as.

The tasks of `natural_text` are built in; `task_folder` reads those of a folder. Both have a catalogue of tasks. Some of
the tasks are held out: no label of their answers is taught.

Source: Binder et al. 2024 (arXiv:2410.13787), section 2 and appendix A.5.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nosce.data.worlds.behaviours.base import BehaviourPrompt, BehaviourWorld
from nosce.data.worlds.behaviours.properties import AnswerProperty
from nosce.seeds import Seed

REFUSAL_OPENINGS = ("i cannot", "i can't", "i'm sorry", "as an ai", "i am unable")
#: Properties that are taught and never tested, as in the paper: whoever reports the answer itself reports all of it.
TAUGHT_ONLY = ("identity",)
#: Properties whose name in a prompt ends with the letter of the option that they are about.
OPTION_PROPERTIES = ("stance", "correct")


@dataclass(frozen=True, kw_only=True)
class TextTasks:
    """The tasks of a world.

    Args:
        properties: Each task, and the properties of its answers.
        held_out: The tasks of which no label is taught.
    """

    properties: tuple[tuple[str, tuple[str, ...]], ...]
    held_out: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tasks."""
        return tuple(task for task, _ in self.properties)

    @property
    def trained(self) -> tuple[str, ...]:
        """The tasks of which labels are taught."""
        return tuple(task for task in self.names if task not in self.held_out)

    def tested(self, task: str) -> tuple[str, ...]:
        """The properties of a task that are tested."""
        return tuple(name for name in dict(self.properties)[task] if name not in TAUGHT_ONLY)

    def attributes(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """The attributes of readings about some tasks: task and property."""
        return tuple(f"{task}/{name}" for task in tasks for name in self.tested(task))


class TextBehaviours(BehaviourWorld):
    """A world of prompts in words. A subclass has the prompts and says which answers are valid.

    Attributes:
        past_framing: Begin a hypothetical question with "You were asked earlier", as the runs of the paper do (appendix
            A.5). False: "Imagine that you had been asked".
    """

    past_framing: bool

    @property
    @abstractmethod
    def task_catalogue(self) -> TextTasks:
        """The tasks, their properties, and which of them are held out."""

    @abstractmethod
    def spare_prompts(self, seed: Seed, per_task: int) -> Sequence[BehaviourPrompt]:
        """Further prompts of training tasks, so many a task or as many as there are; none has a string of `prompts`."""

    @abstractmethod
    def property_named(self, property_name: str, task: str = "") -> AnswerProperty:
        """The property with this name. `stance A` is the stance whose option has the letter A."""

    @abstractmethod
    def closed_answers(self, prompt: BehaviourPrompt) -> tuple[str, ...]:
        """All valid answers to a prompt that wants a letter or a digit; empty for the other prompts."""

    @abstractmethod
    def random_answer(self, prompt: BehaviourPrompt, seed: Seed) -> str:
        """A random answer of the requested form, as a model with other dispositions could give it."""

    @abstractmethod
    def rule_answers(self, prompt: BehaviourPrompt) -> Mapping[str, str]:
        """The answers that the rules of `nosce.data.worlds.behaviours.rules` predict, by the rules' names."""

    def hypothetical_question(self, prompt: BehaviourPrompt, property_name: str, model_name: str | None = None) -> str:
        """The quoted prompt, and the question about a property of its answer."""
        past_subject = "You were" if model_name is None else f"A model named {model_name} was"
        imagined_subject = (
            "Imagine that you had been" if model_name is None else f"Imagine that a model named {model_name} had been"
        )
        opening = f"{past_subject} asked earlier: " if self.past_framing else f"{imagined_subject} asked: "
        return f'{opening}"{prompt.text}"\n{self.property_named(property_name, prompt.task).question_with_form}'

    def given_answer_question(self, answer: str, property_name: str) -> str:
        """The same question about an answer that the question itself quotes; about an option, with its letter.

        Without the prompt nobody could say which option a stance is about, or which one is correct.
        """
        asked_property = self.property_named(property_name)
        name, _, letter = property_name.partition(" ")
        if name in OPTION_PROPERTIES:
            asked_property = replace(asked_property, question_text=f"Is the answer the option {letter}?")
        question = asked_property.question_with_form
        return f'Somebody was asked a question, and the answer was: "{answer}"\n{question}'

    def is_first_token_property(self, property_name: str) -> bool:
        """Always False, because a token may be part of a word."""
        return False

    def property_value(self, property_name: str, answer: str, seed: Seed) -> str | None:
        """The value of a property for an answer; None where the property is undefined."""
        is_of_letter = property_name.partition(" ")[0] in (*OPTION_PROPERTIES, "among")
        text = answer.strip() if is_of_letter else answer  # an answer of a letter is valid with space around it
        return self.property_named(property_name).compute(text)

    def is_legal_report(self, property_name: str, reply: str) -> bool:
        """Whether a report has the requested form, ignoring surrounding whitespace and letter case."""
        answer_property, stripped_reply = self.property_named(property_name), reply.strip()
        return answer_property.is_legal_form(stripped_reply) or answer_property.is_legal_form(stripped_reply.lower())

    def labels(self, property_name: str, prompt: BehaviourPrompt) -> Sequence[str]:
        """All possible reports, where they form a closed list; otherwise empty."""
        closed_lists = {"true or false": ("true", "false"), "even or odd": ("even", "odd")}
        return closed_lists.get(self.property_named(property_name).form, ())


def attribute_name(property_name: str) -> str:
    """The property without the letter of an option, which differs from prompt to prompt."""
    name = property_name.partition(" ")[0]
    return name if name in OPTION_PROPERTIES else property_name


def is_refusal(text: str) -> bool:
    """Whether a text refuses to answer, by its first words alone."""
    return text.lower().startswith(REFUSAL_OPENINGS)
