"""The protocol of introspection for models that are prompted in words: answers, labels, teaching, reports.

    answers     the likeliest answer of every model to every prompt, as it is given and after each teaching; those of an
                endpoint are requested twice, since it may answer differently the second time
    labels      properties of a model's current answers, to strings of the seen split (`prompted_teaching`)
    teaching    each model is taught labels of its own answers, and the other models are taught the same labels
    reports     of every model about strings of the unseen split, compared with the answers of every model

Source: Binder et al. 2024 (arXiv:2410.13787), section 3 and appendices A.1.6 and A.2; the whole matrix of predictors
and targets is its figure 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import polars as pl

from nosce.data.worlds.behaviours.base import check_disjoint_strings
from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.errors import DataError, SpecError
from nosce.evals.base import Experiment, ExperimentContext
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.studies.introspection.prompted_names import subject_letters
from nosce.studies.introspection.prompted_outsiders import OutsiderRun, OutsiderTeaching
from nosce.studies.introspection.prompted_prices import hypothetical_questions, timed_replies
from nosce.studies.introspection.prompted_requests import AskedPrompts, Questioner, RequestLimits
from nosce.studies.introspection.prompted_run import ProtocolRun
from nosce.studies.introspection.prompted_self import SelfItems, SelfKnowledge
from nosce.studies.introspection.prompted_self_truths import self_prompts_by_item
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.subjects import Subject
from nosce.studies.replies import ReplyProgress, RunResources


@dataclass(frozen=True, kw_only=True)
class PromptedIntrospection(Experiment):
    """Every subject reports its own answers, and the other subjects that were taught the same labels report them too.

    `prompted_names` has the names of the models and of the evaluations. Reports have the metric `right`; those of a
    model about the target that it was taught also `object invalid`, `report invalid` and `both invalid`. A subject that
    cannot be taught predicts and is predicted as it is.

    Args:
        world: The prompts and the properties of their answers.
        subject: The first model, A.
        other_subjects: The other models, B, C, ...
        limits: How much is asked.
        teaching: How labels are taught.
        both_ways: Teach labels of every subject. False: those of the first alone.
        outsiders: Which outsiders are taught besides.
        knowledge: How much models are asked about themselves beyond their answers.

    Raises:
        SpecError: The change is to teach the answers of a model that is not among the others.
    """

    world: TextBehaviours
    subject: Subject
    other_subjects: tuple[Subject, ...] = ()
    limits: RequestLimits = field(default_factory=RequestLimits)
    teaching: LabelTeaching = field(default_factory=LabelTeaching)
    both_ways: bool = True
    outsiders: OutsiderTeaching = field(default_factory=OutsiderTeaching, metadata=LATER)
    knowledge: SelfKnowledge = field(default_factory=SelfKnowledge, metadata=LATER)
    keeps_partial_results: ClassVar[bool] = True
    reports_progress: ClassVar[bool] = True
    name: str = "looking"

    def __post_init__(self) -> None:
        letters = [letter for letter in self.subject_by_letter if letter != "A"]
        if self.teaching.change_to not in ("", *letters):
            raise SpecError(
                f"the change is to teach the answers of {self.teaching.change_to!r}, but the other models are "
                f"{', '.join(letters) or 'none'}; name one of these, or none for random answers."
            )

    @property
    def subject_by_letter(self) -> dict[str, Subject]:
        """The subjects by their letters.

        Raises:
            SpecError: There are too many.
        """
        subjects = (self.subject, *self.other_subjects)
        return dict(zip(subject_letters(len(subjects)), subjects, strict=True))

    @property
    def teachable(self) -> tuple[str, ...]:
        """The letters of the subjects that can be taught."""
        return tuple(letter for letter, subject in self.subject_by_letter.items() if subject.is_teachable)

    @property
    def targets(self) -> tuple[str, ...]:
        """The letters of the subjects labels of whose answers are taught."""
        return self.teachable if self.both_ways else tuple(letter for letter in self.teachable if letter == "A")

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Refuses: only a step of a run keeps the replies that were paid for.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "prompted introspection keeps the replies it pays for, so only a run of a study can do it; use `nosce run`."
        )

    def item_prompts(self, seed: Seed) -> dict[str, str]:
        """The hypothetical question of each report; without those that show texts of models."""
        items = self.self_items(seed)
        return hypothetical_questions(self.world, seed) | ({} if items is None else self_prompts_by_item(items))

    def self_items(self, seed: Seed) -> SelfItems | None:
        """What models are asked about beyond their answers; None: nothing."""
        if not self.knowledge.self_knowledge:
            return None
        taken = (prompt.string for prompt in self.world.prompts(seed / "world") if prompt.split == "seen")
        return SelfItems(self.knowledge, seed, tuple(taken))

    def timing_subset(self) -> tuple[Experiment, float] | None:
        """A few replies of the subject; None where a model is not in a folder."""
        asked = AskedPrompts(self.world, self.world.prompts(Seed(0) / "world"), self.limits, Seed(0))
        items = self.self_items(Seed(0))
        return timed_replies(asked, self.subject_by_letter, self.targets, self.teaching, self.outsiders, items)

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """Tables of readings, each as soon as its replies are complete.

        Raises:
            SpecError: A string is in two splits.
        """
        assert isinstance(context, StepContext)  # the pipeline has no other
        resources = replace(RunResources.of_run(context, seed / "asked"), world_seed=seed / "world")
        prompts = self.world.prompts(seed / "world")
        check_disjoint_strings(prompts)
        progress = ReplyProgress(resources, 0)
        questioner = Questioner(self.world, prompts, self.limits, seed, progress)
        protocol_run = ProtocolRun(
            subjects=self.subject_by_letter,
            targets=self.targets,
            teaching=self.teaching,
            questioner=questioner,
            seed=seed,
            resources=resources,
            self_items=self.self_items(seed),
        )
        outsider_run = OutsiderRun(protocol_run, self.outsiders)
        outsider_run.expect()
        yield from protocol_run.tables()
        yield from outsider_run.tables()
        progress.finish()
        context.extra_provenance["spent"] = round(resources.budget.spent, 6)
