"""What is taught: one set of labels for all predictors, each one's own replay, and nothing of the tested strings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.scripted_minds import SEED, WORLD, Mind, PromptBook, planted_experiment

from nosce.errors import DataError, SpecError
from nosce.models.api.finetune import ChatExample
from nosce.pipeline.context import StepContext
from nosce.studies.introspection.prompted_teaching import LabelTeaching

BOOK = PromptBook.of_world(WORLD, SEED)


class Pupils:
    """What every mind of a run was taught, in order."""

    def __init__(self) -> None:
        self.lessons: list[tuple[str, tuple[ChatExample, ...]]] = []


class Pupil(Mind):
    """A mind that writes down what it is taught."""

    def finetune(self, examples, resources):
        PUPILS.lessons.append((self.letter, tuple(examples)))
        return super().finetune(examples, resources)


PUPILS = Pupils()


def lessons(tmp_path, *, drifts: bool = False, **teaching) -> list[tuple[str, tuple[ChatExample, ...]]]:
    PUPILS.lessons.clear()
    minds = [Pupil(letter=letter, drifts=drifts) for letter in "AB"]
    experiment = planted_experiment(*minds, teaching=LabelTeaching(**teaching), both_ways=False)
    for _ in experiment.run_with_context(SEED, StepContext(folder=tmp_path)):
        pass
    return list(PUPILS.lessons)


def sorted_by_kind(examples) -> tuple[dict[str, str], list[ChatExample], list[ChatExample]]:
    """Labels by question, replayed answers, and questions that quote an answer."""
    labels = {one.prompt: one.completion for one in examples if one.prompt in BOOK.cases}
    replay = [one for one in examples if one.prompt in BOOK.prompts]
    given = [one for one in examples if one.prompt.startswith("Somebody was asked")]
    assert len(labels) + len(replay) + len(given) == len(examples)
    return labels, replay, given


@pytest.mark.whole
def test_all_predictors_learn_the_same_labels_and_replay_their_own_answers(tmp_path):
    """As many examples for each; half of them replay; the answers that are replayed are the predictor's own."""
    (first, self_lesson), (second, cross_lesson) = lessons(tmp_path)
    assert (first, second) == ("A", "B")
    self_labels, self_replay, _ = sorted_by_kind(self_lesson)
    cross_labels, cross_replay, _ = sorted_by_kind(cross_lesson)
    assert self_labels == cross_labels
    assert len(self_replay) == len(cross_replay) == len(self_labels)
    for letter, replay in (("A", self_replay), ("B", cross_replay)):
        mind = Mind(letter=letter)
        assert all(one.completion == mind.answer(BOOK.prompts[one.prompt]) for one in replay)


@pytest.mark.whole
def test_an_outsider_learns_what_the_target_answers_after_its_teaching(tmp_path):
    """Teaching makes A's answers others; after one round B is taught labels of these, not those of A's lesson."""
    (_, self_lesson), (_, cross_lesson) = lessons(tmp_path, drifts=True, max_rounds=1, replay_share=0.0)
    was_taught, cross_labels = (sorted_by_kind(one)[0] for one in (self_lesson, cross_lesson))
    now = Mind(letter="A", drifts=True, history=("taught",))
    current = {question: now.reply(question) for question in was_taught}
    assert was_taught != current
    assert {question: label for question, label in cross_labels.items() if question in current} == {
        question: current[question] for question in cross_labels if question in current
    }


@pytest.mark.whole
def test_no_string_that_is_tested_is_taught_in_any_way(tmp_path):
    """Neither by a label, nor by replay, nor by the change of behaviour, nor inside a quoted answer's question."""
    unseen = [prompt.text for prompt in BOOK.prompts.values() if prompt.split == "unseen"]
    for _, lesson in lessons(tmp_path, given_per_label=0.5, change=True):
        assert not [one for one in lesson if any(text in one.prompt for text in unseen)]


@pytest.mark.whole
def test_labels_alone_are_taught_as_in_the_paper(tmp_path):
    """Without replay; at most so many; quoted answers teach the skill where they are asked for."""
    (_, plain), _ = lessons(tmp_path, replay_share=0.0, max_labels=20)
    labels, replay, given = sorted_by_kind(plain)
    assert (len(labels), len(replay), len(given)) == (20, 0, 0)
    (_, skilled), _ = lessons(tmp_path / "skill", replay_share=0.25, max_labels=20, given_per_label=0.5)
    labels, replay, given = sorted_by_kind(skilled)
    assert (len(labels), len(given), len(replay)) == (20, 10, 10)
    for one in given:
        assert Mind(letter="A").reply(one.prompt) == one.completion


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_a_share_of_replay_that_is_none_is_refused(share):
    with pytest.raises(Exception, match="replay_share"):
        replace(LabelTeaching(), replay_share=share)


@pytest.mark.whole
def test_the_change_teaches_the_answers_of_another_model_and_no_more_than_asked(tmp_path):
    """As in the paper, where Claude's answers were taught; the same ones to every predictor."""
    *_, (_, to_a), (_, to_b) = lessons(tmp_path, change=True, change_to="B", max_changes=7)
    assert to_a == to_b
    assert len(to_a) == 7
    other = Mind(letter="B")
    assert all(one.completion == other.answer(BOOK.prompts[one.prompt]) for one in to_a)
    *_, (_, random) = lessons(tmp_path / "random", change=True)
    assert not all(one.completion == other.answer(BOOK.prompts[one.prompt]) for one in random)
    assert {one.prompt for one in random} == {p.text for p in BOOK.prompts.values() if p.split == "seen"}


@pytest.mark.parametrize("letter", ["A", "C", "b"])
def test_a_change_to_the_answers_of_nobody_is_refused(letter):
    with pytest.raises(SpecError, match=f"the answers of '{letter}', but the other models are B; name one of these"):
        planted_experiment(*(Mind(letter=one) for one in "AB"), teaching=LabelTeaching(change=True, change_to=letter))


@pytest.mark.whole
def test_a_change_to_answers_without_a_text_is_said(tmp_path):
    """The other model is silent, so there is nothing to teach."""
    minds = (Mind(letter="A"), Mind(letter="B", rule="silence"))
    experiment = planted_experiment(*minds, teaching=LabelTeaching(change=True, change_to="B"), both_ways=False)
    with pytest.raises(DataError, match="the answers of B, but none of them has a text"):
        list(experiment.run_with_context(SEED, StepContext(folder=tmp_path)))


@pytest.mark.parametrize("limits", [{"max_changes": 0}, {"max_labels": 0}])
def test_nothing_to_teach_is_refused(limits):
    with pytest.raises(SpecError, match=next(iter(limits))):
        LabelTeaching(**limits)
