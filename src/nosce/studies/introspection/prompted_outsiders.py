"""Graded outsiders of introspection in words: siblings of a target, and outsiders that are taught more labels.

    A* sibling 1        A, taught the labels that A* was taught last, with another seed: as alike as can be, and not A*
    B for A x1/8, x4    B, taught an eighth of these labels, or four times as many

A sibling tells what similarity alone knows. More labels tell how much of a model can be learnt from outside. A further
checkpoint of a model is an outsider too: give its folder as a further model.

Source: ours. Song et al. 2025 (arXiv:2503.07513) find that models predict each other the better the more alike they
are; Binder et al. 2024 (arXiv:2410.13787), appendix A.2.7, has outsiders with more labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt, check_disjoint_strings
from nosce.errors import SpecError
from nosce.models.api.finetune import ChatExample
from nosce.studies.introspection.prompted_draws import mode_answers
from nosce.studies.introspection.prompted_names import (
    curve_name,
    labels_name,
    sibling_name,
    taught_name,
    tested_name,
)
from nosce.studies.introspection.prompted_requests import (
    MAX_GIVEN_QUESTIONS,
    AskedPrompts,
    Case,
    ModelReplies,
    Questioner,
)
from nosce.studies.introspection.prompted_run import ProtocolRun
from nosce.studies.introspection.prompted_scoring import scored_frame
from nosce.studies.introspection.prompted_teaching import ExampleMaker
from nosce.studies.introspection.subjects import Subject

#: How many times as many labels as the target outsiders are taught; once as many is the protocol's own teaching.
LABEL_MULTIPLES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0)
MAX_SIBLINGS = 20


@dataclass(frozen=True, kw_only=True)
class OutsiderTeaching:
    """Which outsiders are taught besides the other models.

    Args:
        siblings: Siblings of every target: the same model, taught the same labels with another seed.
        label_curve: Teach every other model fewer and more labels than the target, from an eighth to four times.
    """

    siblings: int = 0
    label_curve: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.siblings <= MAX_SIBLINGS:
            raise SpecError(f"siblings={self.siblings} cannot be taught; take 0 to {MAX_SIBLINGS}.")

    @property
    def extra_multiples(self) -> tuple[float, ...]:
        """The multiples of the labels that are taught besides once as many."""
        return tuple(multiple for multiple in LABEL_MULTIPLES if multiple != 1) if self.label_curve else ()


def spare_prompts(asked: AskedPrompts, outsiders: OutsiderTeaching) -> Sequence[BehaviourPrompt]:
    """Further prompts of training tasks, from which more labels come than a target is taught; none without a curve.

    Raises:
        SpecError: A string is in two splits.
    """
    if not outsiders.label_curve:
        return ()
    per_task: dict[str, int] = {}
    for prompt in asked.seen_prompts:
        per_task[prompt.task] = per_task.get(prompt.task, 0) + 1
    # A third more than labels are wanted, since not every answer has one.
    n_more = round(4 / 3 * (max(LABEL_MULTIPLES) - 1) * max(per_task.values(), default=0))
    spare = asked.world.spare_prompts(asked.seed / "world", n_more)
    check_disjoint_strings([*asked.prompts, *spare])
    return spare


def outsider_parts(
    asked: AskedPrompts, subjects: Mapping[str, Subject], targets: Sequence[str], outsiders: OutsiderTeaching
) -> dict[str, int]:
    """The number of requests of each part; see `part_sizes.expected_parts`."""
    n_unseen, n_reports, n_spare = (
        len(asked.unseen_prompts),
        len(asked.unseen_cases),
        len(spare_prompts(asked, outsiders)),
    )
    given = min(MAX_GIVEN_QUESTIONS, n_reports)
    parts: dict[str, int] = {}
    for letter in targets:
        n_draws = asked.limits.draws_of(is_deterministic=subjects[letter].is_deterministic)
        for number in range(1, outsiders.siblings + 1):
            name = sibling_name(letter, number)
            parts |= {f"{name} answers": n_unseen * n_draws, f"{name} reports": n_reports, f"{name} given": given}
        others = [other for other, subject in subjects.items() if other != letter and subject.is_teachable]
        if outsiders.label_curve and others:
            parts[f"{tested_name(letter, targets)} spare answers"] = n_spare * n_draws
        for other in others:
            for multiple in outsiders.extra_multiples:
                name = curve_name(other, letter, multiple)
                parts |= {f"{name} reports": n_reports, f"{name} given": given}
    return parts


def n_outsider_teachings(n_subjects: int, n_targets: int, outsiders: OutsiderTeaching) -> float:
    """How many times as many examples outsiders are taught as one predictor is."""
    return n_targets * (outsiders.siblings + (n_subjects - 1) * sum(outsiders.extra_multiples))


@dataclass(frozen=True, eq=False)
class OutsiderRun:
    """Teaches outsiders after the protocol, and compares their reports with the answers of the tested models.

    Args:
        protocol: The protocol's run.
        outsiders: Which outsiders are taught.
    """

    protocol: ProtocolRun
    outsiders: OutsiderTeaching

    def expect(self) -> None:
        """Count the requests that will come."""
        questioner = self.protocol.questioner
        parts = outsider_parts(questioner, self.protocol.subjects, self.protocol.targets, self.outsiders)
        for part, n_requests in parts.items():
            questioner.expect(part, n_requests)

    def tables(self) -> Iterator[pl.DataFrame]:
        """Tables of readings; none of a target that was taught nothing."""
        for target in self.protocol.targets:
            if (target, target) not in self.protocol.taught:
                continue
            for number in range(1, self.outsiders.siblings + 1):
                yield from self._sibling(target, number)
            if self.outsiders.label_curve:
                yield from self._curves(target)

    def _sibling(self, target: str, number: int) -> Iterator[pl.DataFrame]:
        """The target's subject, taught the same labels with another seed and in another order."""
        protocol, name = self.protocol, sibling_name(target, number)
        base, own = protocol.bases[target], protocol.taught[target, target]
        maker = ExampleMaker(protocol.teaching, protocol.questioner, protocol.seed / f"sibling {number}")
        examples = maker.examples(own.labels, base.answers)
        replies = self._taught(name, protocol.subjects[target], examples, sibling=number, asks_answers=True)
        if replies is not None:
            tables = protocol.reading_tables
            yield tables.given(replies)
            yield tables.reports(replies, own.replies, counts_invalid=True)
            yield tables.reports(replies, replies, counts_invalid=False)
            yield tables.unlike(own.replies, replies)

    def _curves(self, target: str) -> Iterator[pl.DataFrame]:
        """Every other model, taught fewer and more labels of the target than the target itself."""
        protocol = self.protocol
        others = [one for one, about in protocol.taught if about == target != one]
        own = protocol.taught[target, target]
        yield _label_count(own.replies.name, len(own.labels))
        if not others:
            return
        labels, maker = self._labels(target)
        for predictor in others:
            yield _label_count(taught_name(predictor, target), len(own.labels))
            for multiple in self.outsiders.extra_multiples:
                name, n_labels = curve_name(predictor, target, multiple), max(1, round(multiple * len(own.labels)))
                if n_labels > len(labels):  # the folder of tasks has no more strings
                    protocol.questioner.expect_nothing_of([name])
                    continue
                examples = maker.examples(dict(labels[:n_labels]), protocol.bases[predictor].answers)
                replies = self._taught(name, protocol.subjects[predictor], examples)
                if replies is not None:
                    yield _label_count(name, n_labels)
                    yield protocol.reading_tables.given(replies)
                    yield protocol.reading_tables.reports(replies, own.replies, counts_invalid=True)

    def _labels(self, target: str) -> tuple[list[tuple[Case, str]], ExampleMaker]:
        """The labels that the target was taught, then others of its answers, and what makes examples of them all."""
        protocol, own = self.protocol, self.protocol.taught[target, target]
        questioner, spare = protocol.questioner, self._spare
        model = own.subject.chat_model(protocol.resources)
        n_draws = questioner.limits.draws_of(is_deterministic=own.subject.is_deterministic)
        part = f"{own.replies.name} spare"
        answers = mode_answers(questioner.ask_draws(part, model, spare.prompts, n_draws, top_logprobs=0))
        all_prompts = [*questioner.prompts, *spare.prompts]
        everything = replace(spare, prompts=all_prompts)
        more = ExampleMaker(protocol.teaching, spare, protocol.seed / "spare").seen_cases
        labels = dict(own.labels)
        for case in (*protocol.example_maker.seen_cases, *more):
            label = everything.label(case, {**own.replies.answers, **answers})
            if case not in labels and label is not None:
                labels[case] = label
        return list(labels.items()), ExampleMaker(protocol.teaching, everything, protocol.seed)

    @cached_property
    def _spare(self) -> Questioner:
        """Asks about the spare prompts, in the count of all requests."""
        questioner = self.protocol.questioner
        return replace(questioner, prompts=spare_prompts(questioner, self.outsiders))

    def _taught(
        self,
        name: str,
        subject: Subject,
        examples: Sequence[ChatExample],
        *,
        sibling: int = 0,
        asks_answers: bool = False,
    ) -> ModelReplies | None:
        """What a subject replies after it was taught; None where it cannot be taught."""
        protocol, questioner = self.protocol, self.protocol.questioner
        taught = subject.finetune(examples, replace(protocol.resources, sibling=sibling))
        if taught is None:
            questioner.expect_nothing_of([name])
            return None
        model, answers = taught.chat_model(protocol.resources), {}
        if asks_answers:
            n_draws = questioner.limits.draws_of(is_deterministic=taught.is_deterministic)
            answers = mode_answers(questioner.ask_draws(name, model, questioner.unseen_prompts, n_draws))
        reports = questioner.ask_reports(name, model)
        given = questioner.ask_given(name, model, protocol.bases["A"].answers)
        return ModelReplies(name=name, answers=answers, reports=reports, given=given)


def _label_count(name: str, n_labels: int) -> pl.DataFrame:
    """How many labels a model was taught."""
    row = {"evaluation": labels_name(name), "split": "seen", "item": "labels", "entity": "labels", "attribute": "all"}
    return scored_frame([{**row, "metric": "labels", "value": float(n_labels)}])
