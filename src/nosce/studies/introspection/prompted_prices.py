"""What prompted introspection asks, counted beforehand: the questions by item, and the price by a few replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import polars as pl

from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.evals.base import Experiment
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.local import LocalChatModel
from nosce.seeds import Seed
from nosce.studies.introspection.part_sizes import expected_parts
from nosce.studies.introspection.prompted_outsiders import OutsiderTeaching, n_outsider_teachings, outsider_parts
from nosce.studies.introspection.prompted_requests import AskedPrompts
from nosce.studies.introspection.prompted_self import SelfItems
from nosce.studies.introspection.prompted_self_run import self_knowledge_parts
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, Subject

ValueT = TypeVar("ValueT")
TIMED_REQUESTS = 16  # of answers and of reports each
ANSWER_TOKENS, REPORT_TOKENS = 24, 8
#: Replies that cost as much as one taught example. SmolLM2 and Gemma 3 together took some 0.17 core-seconds an example
#: and 0.11 a reply (16 strings a task, told apart by the times of progress lines): a reply reads its prompt once and
#: makes its tokens one by one.
REPLIES_PER_EXAMPLE = 1.5


def hypothetical_questions(world: TextBehaviours, seed: Seed) -> dict[str, str]:
    """The question about each property of each prompt's answer, by the item of the readings."""
    questions = {}
    for prompt in world.prompts(seed / "world"):
        for property_name in prompt.property_names:
            questions[f"{prompt.id}/{property_name}"] = world.hypothetical_question(prompt, property_name)
    return questions


@dataclass(frozen=True, kw_only=True)
class TimedReplies(Experiment):
    """A few answers and reports of a model in a folder, whose time alone is wanted; there are no readings.

    Args:
        world: The prompts.
        subject: The model.
        name: Name of the experiment.
    """

    world: TextBehaviours
    subject: LocalSubject
    name: str = "timed replies"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Make the replies on the CPU and forget them."""
        model = LocalChatModel(
            Path(self.subject.model.folder),
            batch_size=self.subject.generation_batch_size,
            dtype=self.subject.reply_precision("cpu"),
        )
        prompts = self.world.prompts(seed / "world")
        model.load()
        yield pl.DataFrame()
        answers = [ChatRequest.from_user(one.text, max_new_tokens=ANSWER_TOKENS) for one in _some(prompts)]
        questions = _some(list(hypothetical_questions(self.world, seed).values()))
        reports = [ChatRequest.from_user(one, max_new_tokens=REPORT_TOKENS) for one in questions]
        complete_all(model, [*answers, *reports])


def timed_replies(
    asked: AskedPrompts,
    subjects: Mapping[str, Subject],
    targets: Sequence[str],
    teaching: LabelTeaching,
    outsiders: OutsiderTeaching,
    self_items: SelfItems | None = None,
) -> tuple[TimedReplies, float] | None:
    """A few replies of the first subject, and how many times as long the whole protocol takes if all rounds are needed.

    None: a model is behind an endpoint, whose time is not this machine's. Other models count as much as the first one.

    Args:
        asked: The prompts, and how much is asked.
        subjects: The subjects by their letters.
        targets: The letters of the subjects that are taught labels of their own answers.
        teaching: How labels are taught.
        outsiders: Which outsiders are taught besides.
        self_items: What models are asked about themselves beyond their answers; None: nothing.
    """
    first, *others = subjects.values()
    if not isinstance(first, LocalSubject) or not all(isinstance(o, LocalSubject | FinetunedSubject) for o in others):
        return None
    n_replies: float = sum(expected_parts(asked, subjects, targets, teaching).values())
    n_replies += sum(outsider_parts(asked, subjects, targets, outsiders).values())
    n_replies += 0 if self_items is None else _n_self_replies(self_items, subjects, targets)
    n_teachings = n_outsider_teachings(len(subjects), len(targets), outsiders)
    n_teachings += len(targets) * (teaching.max_rounds + len(others))
    n_examples = n_teachings * first.epochs * _n_examples(asked, teaching)
    n_examples += sum(isinstance(other, FinetunedSubject) for other in others) * len(asked.seen_prompts)
    if teaching.change and "A" in targets:
        n_changes = len(asked.seen_prompts) if teaching.max_changes is None else teaching.max_changes
        n_examples += len(subjects) * min(n_changes, len(asked.seen_prompts))
    lessons = [one.lesson for one in subjects.values() if isinstance(one, LocalSubject) and one.lesson]
    n_replies += sum(lesson.n_own_answers for lesson in lessons)
    n_examples += sum(lesson.config.n_texts + lesson.n_own_answers for lesson in lessons)
    timed = TimedReplies(world=asked.world, subject=replace(first, lesson=None))
    return timed, (n_replies + REPLIES_PER_EXAMPLE * n_examples) / (2 * TIMED_REQUESTS)


def _n_self_replies(items: SelfItems, subjects: Mapping[str, Subject], targets: Sequence[str]) -> float:
    """The replies about oneself; a long answer counts as many times as it has the tokens of an answer."""
    n_models = len(subjects) + len(targets)
    extra = max(0.0, items.config.max_long_tokens / ANSWER_TOKENS - 1)
    return sum(self_knowledge_parts(items, subjects, targets).values()) + n_models * len(items.briefs) * extra


def _n_examples(asked: AskedPrompts, teaching: LabelTeaching) -> float:
    """The examples of one teaching: labels, quoted answers, and the replay beside them."""
    n_labels = sum(len(prompt.property_names) for prompt in asked.seen_prompts)
    n_labels = n_labels if teaching.max_labels is None else min(n_labels, teaching.max_labels)
    return n_labels * (1 + teaching.given_per_label) / (1 - teaching.replay_share)


def _some(values: Sequence[ValueT]) -> list[ValueT]:
    """So many values from everywhere among all of them, the same ones again where they are fewer."""
    stride = max(1, len(values) // TIMED_REQUESTS)
    return [values[index * stride % len(values)] for index in range(TIMED_REQUESTS)]
