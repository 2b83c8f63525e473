"""One run of introspection in words: the models are asked and taught one after another, and then compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.models.api.base import ChatModel, ChatResponse
from nosce.seeds import Seed
from nosce.studies.introspection.part_sizes import expected_parts
from nosce.studies.introspection.prompted_calibration import calibration_tables
from nosce.studies.introspection.prompted_draws import draw_table, mode_answers
from nosce.studies.introspection.prompted_names import changed_name, taught_name, tested_name
from nosce.studies.introspection.prompted_requests import Case, ModelReplies, Questioner
from nosce.studies.introspection.prompted_self import SelfItems
from nosce.studies.introspection.prompted_self_run import SelfKnowledgeRun, self_knowledge_parts
from nosce.studies.introspection.prompted_tables import ReadingTables
from nosce.studies.introspection.prompted_teaching import ExampleMaker, LabelTeaching
from nosce.studies.introspection.subjects import Subject
from nosce.studies.replies import RunResources


@dataclass(frozen=True, eq=False)
class TaughtModel:
    """A subject that was taught labels.

    Args:
        subject: The subject after teaching.
        labels: The labels that it was taught last.
        replies: What it replied.
    """

    subject: Subject
    labels: Mapping[Case, str]
    replies: ModelReplies


@dataclass(frozen=True, eq=False, kw_only=True)
class ProtocolRun:
    """A run of the protocol; `tables` does it.

    Args:
        subjects: The subjects by their letters.
        targets: The letters of the subjects that are taught labels of their own answers.
        teaching: How labels are taught.
        questioner: Asks models.
        seed: For orders.
        resources: Where replies and taught models are kept.
        self_items: What models are asked about themselves beyond their answers; None: nothing.
        bases: The replies of the subjects as they are given; filled by the run.
        taught: The taught models by predictor and target; filled by the run.
    """

    subjects: Mapping[str, Subject]
    targets: Sequence[str]
    teaching: LabelTeaching
    questioner: Questioner
    seed: Seed
    resources: RunResources
    self_items: SelfItems | None = None
    bases: dict[str, ModelReplies] = field(default_factory=dict)
    taught: dict[tuple[str, str], TaughtModel] = field(default_factory=dict)

    @cached_property
    def reading_tables(self) -> ReadingTables:
        """Makes the readings."""
        return ReadingTables(self.questioner)

    @cached_property
    def example_maker(self) -> ExampleMaker:
        """Makes what is taught."""
        return ExampleMaker(self.teaching, self.questioner, self.seed)

    @property
    def tested(self) -> dict[str, ModelReplies]:
        """The model that is tested in each subject's place: taught its own labels, or else as it is given."""
        found = dict(self.bases)
        for letter in self.targets:
            if (letter, letter) in self.taught:
                found[letter] = self.taught[letter, letter].replies
        return found

    def tables(self) -> Iterator[pl.DataFrame]:
        """Tables of readings, each as soon as its replies are complete.

        Where no answer has the form that was asked for, nothing is taught, and no claim about teaching is judged.
        """
        parts = expected_parts(self.questioner, self.subjects, self.targets, self.teaching)
        parts |= {} if self.self_items is None else self_knowledge_parts(self.self_items, self.subjects, self.targets)
        for part, n_requests in parts.items():
            self.questioner.expect(part, n_requests)
        for letter, subject in self.subjects.items():
            yield from self._ask_base(letter, subject)
        for letter in self.targets:
            yield from self._teach_target(letter)
        for target in self.targets:
            for predictor, subject in self.subjects.items():
                if predictor != target and subject.is_teachable and (target, target) in self.taught:
                    yield from self._teach_predictor(predictor, target)
        yield from self._comparisons()
        if self.self_items is not None:
            yield from self._self_knowledge(self.self_items)
        if self.teaching.change and ("A", "A") in self.taught:
            yield from self._change()

    def _ask_base(self, letter: str, subject: Subject) -> Iterator[pl.DataFrame]:
        """A subject as it is given."""
        model, prompts, top_logprobs = subject.chat_model(self.resources), self.questioner.prompts, subject.top_logprobs
        draws = self._draws(letter, subject, model, prompts, top_logprobs)
        second = draws[1] if len(draws) > 1 else {}
        if not subject.is_deterministic and not second:
            second = self.questioner.ask_answers(letter, model, prompts, top_logprobs=top_logprobs, sample_index=1)
        self.bases[letter] = ModelReplies(name=letter, answers=mode_answers(draws))
        self.bases[letter] = self._ask_rest(self.bases[letter], model, top_logprobs)
        yield self.reading_tables.again(ModelReplies(name=letter, answers=draws[0]), second)
        yield draw_table(self.questioner, letter, draws)
        yield from self._own_tables(self.bases[letter])

    def _draws(
        self, name: str, subject: Subject, model: ChatModel, prompts: Sequence[BehaviourPrompt], top_logprobs: int
    ) -> list[dict[str, ChatResponse]]:
        """Draws of a subject's likeliest answers: one where it always gives the same."""
        n_draws = self.questioner.limits.draws_of(is_deterministic=subject.is_deterministic)
        return self.questioner.ask_draws(name, model, prompts, n_draws, top_logprobs=top_logprobs)

    def _ask_rest(self, replies: ModelReplies, model: ChatModel, top_logprobs: int) -> ModelReplies:
        """The answers of a model, and now its reports and samples. The answers that are quoted are those of A."""
        name = replies.name
        reports = self.questioner.ask_reports(name, model, top_logprobs=top_logprobs)
        given = self.questioner.ask_given(name, model, self.bases["A"].answers)
        replies = replace(replies, reports=reports, given=given)
        if not self.questioner.limits.n_samples:
            return replies
        if name in [tested_name(letter, self.targets) for letter in self.subjects]:
            replies = replace(replies, sampled_answers=self.questioner.sample_answers(name, model))
        return replace(replies, sampled_reports=self.questioner.sample_reports(name, model))

    def _own_tables(self, replies: ModelReplies) -> Iterator[pl.DataFrame]:
        """How valid a model's answers are, and how well it reports answers that it can read."""
        yield self.reading_tables.validity(replies)
        yield self.reading_tables.given(replies)

    def _teach_target(self, letter: str) -> Iterator[pl.DataFrame]:
        """Teach a subject labels of its current answers until they are stable.

        Each round starts from the subject as it was given, so that all predictors learn from one set of labels. A
        subject whose answers have no label is no target.
        """
        name, base, subject = taught_name(letter, letter), self.bases[letter], self.subjects[letter]
        labels, taught = self.example_maker.labels(base.answers), None
        for number in range(1, self.teaching.max_rounds + 1):
            examples = self.example_maker.examples(labels, base.answers)
            next_subject = subject.finetune(examples, self.resources) if labels else None
            if next_subject is None:
                break
            taught = self._taught_round(letter, number, next_subject, labels)
            current = {case: self.questioner.label(case, taught.replies.answers) for case in labels}
            yield self.reading_tables.drift(name, f"round {number}", dict(labels), taught.replies)
            kept = sum(current[case] == label for case, label in labels.items())
            if kept >= self.teaching.stable_share * len(labels):
                break
            labels = self.example_maker.labels(taught.replies.answers)
        for number in range(1, self.teaching.max_rounds + 1):
            self.questioner.expect(f"{name} round {number} answers", 0)
        if taught is None:
            self.questioner.expect_nothing_of([taught_name(one, letter) for one in self.subjects])
            return
        model = taught.subject.chat_model(self.resources)
        replies = self._ask_rest(taught.replies, model, subject.top_logprobs)
        # What others are taught about this target, and what baselines learn from: its answers as they are now.
        self.taught[letter, letter] = replace(
            taught, replies=replies, labels=self.example_maker.labels(replies.answers)
        )
        yield from self._own_tables(replies)
        cases = [*self.example_maker.seen_cases, *self.questioner.unseen_cases]
        before = {case: self.questioner.label(case, base.answers) for case in cases}
        yield self.reading_tables.drift(name, "same", before, replies)

    def _taught_round(self, letter: str, number: int, next_subject: Subject, labels: Mapping[Case, str]) -> TaughtModel:
        """The subject after one round, with its answers."""
        name, model = taught_name(letter, letter), next_subject.chat_model(self.resources)
        part, prompts = f"{name} round {number}", self.questioner.prompts
        answers = mode_answers(self._draws(part, next_subject, model, prompts, next_subject.top_logprobs))
        return TaughtModel(next_subject, labels, ModelReplies(name=name, answers=answers))

    def _teach_predictor(self, predictor: str, target: str) -> Iterator[pl.DataFrame]:
        """Teach a subject labels of another one's answers, as this answers after its own teaching."""
        name, labels = taught_name(predictor, target), self.taught[target, target].labels
        examples = self.example_maker.examples(labels, self.bases[predictor].answers)
        subject = self.subjects[predictor].finetune(examples, self.resources) if labels else None
        if subject is None:
            self.questioner.expect_nothing_of([name])
            return
        model = subject.chat_model(self.resources)
        answers = mode_answers(self._draws(name, subject, model, self.questioner.unseen_prompts, subject.top_logprobs))
        replies = self._ask_rest(ModelReplies(name=name, answers=answers), model, subject.top_logprobs)
        self.taught[predictor, target] = TaughtModel(subject, labels, replies)
        yield from self._own_tables(replies)

    def _comparisons(self) -> Iterator[pl.DataFrame]:
        """Every predictor with every target, how unlike the models are, and what baselines predict."""
        tested, tables = self.tested, self.reading_tables
        targets = list({one.name: one for one in (*self.bases.values(), *tested.values())}.values())
        main_targets = [(base, base) for base in self.bases.values()]
        main_targets += [(one.replies, tested[target]) for (_, target), one in self.taught.items()]
        for predictor, main_target in main_targets:
            own = [] if predictor.name in [one.name for one in targets] else [predictor]
            for target in (*targets, *own):
                yield tables.reports(predictor, target, counts_invalid=target is main_target)
            for target in {one.name: one for one in (main_target, *tested.values())}.values():
                yield from calibration_tables(self.questioner, predictor, target)
        for letter, target in tested.items():
            rivals = [base for other, base in self.bases.items() if other != letter]
            rivals += [one.replies for (_, about), one in self.taught.items() if about == letter]
            for rival in (self.bases[letter], *rivals):
                if rival.name != target.name:
                    yield tables.unlike(target, rival)
            if target.name != letter:
                yield from (tables.unlike(self.bases[letter], self.bases[o]) for o in self.bases if o != letter)
            base_labels = self.example_maker.labels(self.bases[letter].answers)
            yield from tables.observers(base_labels, letter, self.bases[letter])
            if target.name != letter:
                yield from tables.observers(base_labels, letter, target)
                yield from tables.observers(self.taught[letter, letter].labels, target.name, target)
        for (letter, about), one in self.taught.items():
            if letter != about:  # whether its own answers vary, which it is asked about too
                yield from tables.observers(self.example_maker.labels(self.bases[letter].answers), letter, one.replies)

    def _self_knowledge(self, items: SelfItems) -> Iterator[pl.DataFrame]:
        """What the models, as they are given and as they are tested, know of themselves beyond their answers."""
        tested = {letter: (letter, subject) for letter, subject in self.subjects.items()}
        for (predictor, target), taught in self.taught.items():
            if predictor == target:
                tested[target] = (taught.replies.name, taught.subject)
        run = SelfKnowledgeRun(
            items=items, bases=self.subjects, tested=tested, questioner=self.questioner, resources=self.resources
        )
        yield from run.tables()

    def _change(self) -> Iterator[pl.DataFrame]:
        """Teach the tested model and its predictors other answers, and ask for reports again (section 3.4)."""
        before, other = self.taught["A", "A"], self.bases.get(self.teaching.change_to)
        examples = self.example_maker.other_answers(None if other is None else other.answers)
        after: ModelReplies | None = None
        for (predictor, target), taught in self.taught.items():
            if target != "A":
                continue
            name = changed_name(taught.replies.name)
            subject = taught.subject.finetune(examples, self.resources)
            if subject is None:
                self.questioner.expect_nothing_of([name])
                continue
            model = subject.chat_model(self.resources)
            answers = {}
            if predictor == "A":
                answers = mode_answers(self._draws(name, subject, model, self.questioner.unseen_prompts, 0))
            replies = ModelReplies(name=name, answers=answers, reports=self.questioner.ask_reports(name, model))
            after = replies if predictor == "A" else after
            if after is not None:
                yield self.reading_tables.changed(replies, before.replies, after)
