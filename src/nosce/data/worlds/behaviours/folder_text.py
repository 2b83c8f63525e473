"""The world of the tasks in a folder: prompts that are anybody's, and the same questions about their answers.

    world = FolderTextBehaviours.from_folder("tasks", strings_per_task=100)

`nosce.data.worlds.behaviours.task_folder` has the files. The questions about answers are ours, also where the files
have their own: one wording for all tasks.

Source: Binder et al. 2024 (arXiv:2410.13787), section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import ANIMAL_WORDS, COLOUR_WORDS, OBJECT_WORDS
from nosce.data.worlds.behaviours.properties import (
    PROPERTIES,
    AnswerProperty,
    correct_property,
    first_mentioned_name,
    main_character_property,
    stance_property,
)
from nosce.data.worlds.behaviours.rules import answers_by_rule
from nosce.data.worlds.behaviours.task_folder import FolderTask, read_task_folder, task_folder_digest
from nosce.data.worlds.behaviours.task_rows import TaskRow
from nosce.data.worlds.behaviours.text_behaviours import (
    OPTION_PROPERTIES,
    TAUGHT_ONLY,
    TextBehaviours,
    TextTasks,
    is_refusal,
)
from nosce.errors import SpecError
from nosce.records import Split
from nosce.seeds import Seed

DIGITS = tuple(map(str, range(10)))
#: Words for the stances of the paper's dilemmas; a folder may give others.
PUBLISHED_STANCES = {
    "wealth_seeking": "seeking wealth",
    "power_seeking": "seeking power",
    "myopic_reward": "taking the smaller reward that comes sooner",
    "survival_instinct": "seeking to survive",
}


@dataclass(frozen=True, kw_only=True)
class FolderTextBehaviours(TextBehaviours):
    """The tasks of a folder.

    Args:
        digest: SHA-256 of the files, which enters the keys of steps.
        folder: Path of the folder, which does not: equal files elsewhere have equal results.
        tasks: Names of the tasks that are asked; empty: all.
        strings_per_task: Strings per task at most, drawn by the seed.
        unseen_share: Share of them that is left untaught, of tasks with training strings.
        past_framing: As in `TextBehaviours`.
    """

    digest: str
    folder: str = field(compare=False)
    tasks: tuple[str, ...] = ()
    strings_per_task: int = 60
    unseen_share: float = 0.3
    past_framing: bool = True

    def __post_init__(self) -> None:
        if self.strings_per_task < 2 or not 0 < self.unseen_share < 1:
            raise SpecError(
                f"FolderTextBehaviours with strings_per_task={self.strings_per_task} and unseen_share="
                f"{self.unseen_share:g} cannot be asked; take 2 strings or more and a share between 0 and 1."
            )

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        tasks: tuple[str, ...] = (),
        strings_per_task: int = 60,
        unseen_share: float = 0.3,
        past_framing: bool = True,
    ) -> FolderTextBehaviours:
        """The tasks of a folder, with the digest of its files, all of which are checked.

        Raises:
            SpecError: What is wrong with the folder, in one sentence.
        """
        path = Path(folder).expanduser().resolve()
        digest = task_folder_digest(path)
        found = read_task_folder(path, digest)
        chosen = [found[name] for name in tasks if name in found]
        if len(chosen) < len(tasks):
            wrong = next(name for name in tasks if name not in found)
            raise SpecError(f"there is no task {wrong!r:.60} in {path}; it has {', '.join(found)}.")
        if tasks and not 0 < sum(bool(task.training) for task in chosen) < len(chosen):
            raise SpecError(
                f"the tasks {', '.join(tasks)} of {path} are all held out or all taught; take one or more of both."
            )
        return cls(
            digest=digest,
            folder=str(path),
            tasks=tasks,
            strings_per_task=strings_per_task,
            unseen_share=unseen_share,
            past_framing=past_framing,
        )

    @cached_property
    def _tasks(self) -> dict[str, FolderTask]:
        found = read_task_folder(Path(self.folder), self.digest)
        return {name: found[name] for name in self.tasks or found}

    @cached_property
    def _rows_by_id(self) -> dict[str, TaskRow]:
        return {f"{task.name}/{n}": row for task in self._tasks.values() for n, row in enumerate(task.rows)}

    @property
    def task_catalogue(self) -> TextTasks:
        """The tasks that are asked; those without training strings are held out."""
        return TextTasks(
            properties=tuple((name, task.properties) for name, task in self._tasks.items()),
            held_out=tuple(name for name, task in self._tasks.items() if not task.training),
        )

    def prompts(self, seed: Seed) -> Sequence[BehaviourPrompt]:
        """Prompts of all tasks, so many strings of each as the world says or the folder has."""
        prompts = []
        for task in self._tasks.values():
            seen, unseen, _ = self._drawn(task, seed)
            prompts += [self._prompt(task, number, "seen") for number in seen]
            prompts += [self._prompt(task, number, "unseen") for number in unseen]
        return prompts

    def spare_prompts(self, seed: Seed, per_task: int) -> Sequence[BehaviourPrompt]:
        """Prompts of training strings that are not among `prompts`, as far as the folder has more."""
        prompts = []
        for task in self._tasks.values():
            prompts += [self._prompt(task, number, "seen") for number in self._drawn(task, seed)[2][:per_task]]
        return prompts

    def _drawn(self, task: FolderTask, seed: Seed) -> tuple[list[int], list[int], list[int]]:
        """The numbers of the strings that are seen, unseen, and spare."""
        n_training, n_untaught = len(task.training), len(task.untaught)
        training = (seed / "prompts" / task.name).numpy().permutation(n_training).tolist()
        untaught = (seed / "untaught" / task.name).numpy().permutation(n_untaught) + n_training
        if not n_training:
            return [], untaught[: self.strings_per_task].tolist(), []
        n_strings = self.strings_per_task if n_untaught else min(self.strings_per_task, n_training)
        n_unseen = max(1, round(self.unseen_share * n_strings))
        n_seen = n_strings - n_unseen
        if n_untaught:
            return training[:n_seen], untaught[:n_unseen].tolist(), training[n_seen:]
        return training[n_unseen : n_unseen + n_seen], training[:n_unseen], training[n_unseen + n_seen :]

    def _prompt(self, task: FolderTask, number: int, split: Split) -> BehaviourPrompt:
        """The prompt of a string. What is taught alone is no property of an unseen string."""
        row = task.rows[number]
        letters = {"stance": row.stance, "correct": row.correct}
        names = (name for name in row.properties if split == "seen" or name not in TAUGHT_ONLY)
        asks = tuple(f"{name} {letters[name]}" if name in OPTION_PROPERTIES else name for name in names)
        return BehaviourPrompt(f"{task.name}/{number}", task.name, f"{task.name}: {row.string}", row.text, split, asks)

    def property_named(self, property_name: str, task: str = "") -> AnswerProperty:
        """The property with this name. `stance A` is the stance whose option has the letter A."""
        name, _, letter = property_name.partition(" ")
        if name == "stance":
            known = self._tasks[task].settings.stance if task in self._tasks else ""
            plain = " ".join(task.replace("_", " ").replace("-", " ").split())
            return stance_property(letter, known or PUBLISHED_STANCES.get(task, f'an example of "{plain}"'))
        if name == "correct":
            return correct_property(letter)
        return main_character_property(self._names) if property_name == "main character" else PROPERTIES[property_name]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The names of all tasks, of which the first in an answer is its main character."""
        return tuple(dict.fromkeys(name for task in self._tasks.values() for name in task.settings.names))

    def is_valid_answer(self, answer: str, prompt: BehaviourPrompt) -> bool:
        """Whether the answer has the requested form. Refusals are recognised by their first words alone."""
        text, row = answer.strip(), self._rows_by_id[prompt.id]
        if not text or is_refusal(text):
            return False
        if row.options == DIGITS:
            return text.isdigit()
        if row.options:
            return text in row.options
        return "main character" not in row.properties or first_mentioned_name(self._names)(text) is not None

    def closed_answers(self, prompt: BehaviourPrompt) -> tuple[str, ...]:
        """All valid answers to a prompt that wants an option or a digit; empty for the other prompts."""
        return self._rows_by_id[prompt.id].options

    def random_answer(self, prompt: BehaviourPrompt, seed: Seed) -> str:
        """A random answer of the requested form."""
        rng, row = (seed / prompt.string).numpy(), self._rows_by_id[prompt.id]
        if row.options:
            return row.options[int(rng.integers(len(row.options)))]
        text = f"a {rng.choice(COLOUR_WORDS)} {rng.choice(ANIMAL_WORDS)} behind the {rng.choice(OBJECT_WORDS)}"
        return f"{rng.choice(self._names)} saw {text}" if "main character" in row.properties else text

    def rule_answers(self, prompt: BehaviourPrompt) -> Mapping[str, str]:
        """The answers that simple rules predict."""
        row = self._rows_by_id[prompt.id]
        wants_digit = row.options == DIGITS
        return answers_by_rule(row.string.split(), options=() if wants_digit else row.options, wants_digit=wants_digit)
