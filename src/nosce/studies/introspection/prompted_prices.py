"""What prompted introspection asks, counted beforehand: the questions by item, and the price by a few replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.evals.base import Experiment
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.local import LocalChatModel
from nosce.seeds import Seed
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, Subject

ValueT = TypeVar("ValueT")
TIMED_REQUESTS = 16  # of answers and of reports each
ANSWER_TOKENS, REPORT_TOKENS = 24, 8
#: Replies that cost as much as one taught example: a forward and a backward pass of a prompt take three forward ones,
#: and a reply takes one and its tokens.
REPLIES_PER_EXAMPLE = 3


def hypothetical_questions(world: NaturalTextBehaviours, seed: Seed) -> dict[str, str]:
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

    world: NaturalTextBehaviours
    subject: LocalSubject
    name: str = "timed replies"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Make the replies on the CPU and forget them."""
        model = LocalChatModel(
            Path(self.subject.model.folder), batch_size=self.subject.generation_batch_size, dtype=self.subject.dtype
        )
        prompts = self.world.prompts(seed / "world")
        answers = [ChatRequest.from_user(one.text, max_new_tokens=ANSWER_TOKENS) for one in _some(prompts)]
        questions = _some(list(hypothetical_questions(self.world, seed).values()))
        reports = [ChatRequest.from_user(one, max_new_tokens=REPORT_TOKENS) for one in questions]
        complete_all(model, [*answers, *reports])
        yield from ()


def timed_replies(
    world: NaturalTextBehaviours, subject: Subject, others: Sequence[Subject]
) -> tuple[TimedReplies, float] | None:
    """A few replies of the subject, and how many times as long the whole protocol takes.

    None: a model is behind an endpoint, whose time is not this machine's. Other models count as much as the subject.
    """
    if not isinstance(subject, LocalSubject) or not all(isinstance(o, LocalSubject | FinetunedSubject) for o in others):
        return None
    prompts = world.prompts(Seed(0) / "world")
    n_reports, n_labels = (_n_questions(prompts, split) for split in ("unseen", "seen"))
    n_taught = REPLIES_PER_EXAMPLE * subject.epochs * n_labels
    n_before, n_each = len(prompts) + n_reports, len(prompts) + 2 * n_reports + n_taught
    n_first = sum(isinstance(other, FinetunedSubject) for other in others) * REPLIES_PER_EXAMPLE * len(prompts)
    n_timed = 2 * TIMED_REQUESTS
    return TimedReplies(world=world, subject=subject), (n_before + n_first + (1 + len(others)) * n_each) / n_timed


def _n_questions(prompts: Sequence[BehaviourPrompt], split: str) -> int:
    return sum(len(prompt.property_names) for prompt in prompts if prompt.split == split)


def _some(values: Sequence[ValueT]) -> list[ValueT]:
    """So many values from everywhere among all of them, the same ones again where they are fewer."""
    stride = max(1, len(values) // TIMED_REQUESTS)
    return [values[index * stride % len(values)] for index in range(TIMED_REQUESTS)]
