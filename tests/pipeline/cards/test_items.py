"""The observation that a card shows: one of the estimate itself, with the prompt that its step asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.corpus import Corpus
from nosce.pipeline.cards import items
from nosce.pipeline.cards.items import MAX_ITEM_LINES, MAX_ITEM_TEXT, readable_item
from nosce.pipeline.plan import StudyRequest
from nosce.records import Question, Reading, to_table
from nosce.store.store import Store

ARM = "decoder-only llama 16 scattered"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tiny_folder("llama", tmp_path_factory.mktemp("models") / "llama")
    return StudyRequest(study="diaries", scale="smoke", models=str(folder)).plan()


def reading(
    evaluation: str, item: str, answer: str | None, step: int, metric: str = "exact", arm: str = ARM
) -> Reading:
    return Reading(
        study="diaries",
        scale="smoke",
        arm=arm,
        seed=0,
        stage="pretrain",
        step=step,
        evaluation=evaluation,
        split="unseen",
        item=item,
        entity=item,
        attribute="recall/1",
        metric=metric,
        value=0.0,
        outcome="wrong",
        answer=answer,
        target="the diary",
    )


def shown(plan, tmp_path, readings, monkeypatch, *claims: str):
    """The item, where every corpus asks for the diary of Ada."""
    question = Question(id="q", entity="e", attribute="a", prompt="Ada's diary?", target="t", split="unseen")
    monkeypatch.setattr(items, "Corpus", lambda folder: replace_questions(folder, [question]))
    table = to_table(readings, Reading)
    return readable_item(plan, Store.open(tmp_path / "s"), table, claims, "llama", "By its entries.")


def replace_questions(folder, questions):
    corpus = Corpus(folder)
    corpus.__dict__["questions"] = questions
    return corpus


def choosing(step: int, value: float) -> Reading:
    """How the other half of the held-out people fares after a step, without a word of theirs."""
    return replace(reading("written", "v", None, step), split="validation", value=value)


def test_an_answer_at_another_step_is_not_shown(plan, tmp_path, monkeypatch):
    """The step is chosen by the other half of the held-out people, and the answer shown is one at it."""
    readings = [
        choosing(1, 0.0),
        choosing(2, 1.0),
        reading("written", "q", "at another step", 1),
        reading("written", "q", None, 2),
        reading("written", "q", "the answer", 2),
        reading("written", "q2", "a later answer", 2),
    ]
    item = shown(plan, tmp_path, readings, monkeypatch, "scattered-recalled")
    assert (item.answer, item.prompt, item.outcome) == ("the answer", "Ada's diary?", "wrong")
    assert item.chosen.startswith("The first of 2 such answers")
    assert "after 2 steps" in item.chosen


def test_an_answer_whose_prompt_is_known_comes_first(plan, tmp_path, monkeypatch):
    """Another claim has it; without any prompt the answer is shown without."""
    other_half = choosing(2, 1.0)
    counted = reading("written", "gone", "no prompt", 2, metric="count")
    whole = reading("written", "q", "with its prompt", 2)
    both = shown(plan, tmp_path, [other_half, counted, whole], monkeypatch, "count-known", "scattered-recalled")
    assert both.answer == "with its prompt"
    alone = shown(plan, tmp_path, [other_half, counted], monkeypatch, "count-known", "scattered-recalled")
    assert (alone.answer, alone.prompt) == ("no prompt", None)
    assert shown(plan, tmp_path, [], monkeypatch, "count-known") is None


@pytest.mark.parametrize(
    ("text", "start", "n_lines"),
    [
        ("", "(nothing)", 1),
        (" \n\n ", "(nothing but white space, 4 characters)", 1),
        ("\x1b[31mred", "\\x1b[31mred", 1),
        ("a\n" * 500, "a\n", MAX_ITEM_LINES),
        ("a" * 5_000, "a" * MAX_ITEM_TEXT + " ... (cut; 5,000 characters in all)", 1),
    ],
)
def test_a_long_or_empty_answer_is_said_in_a_few_lines(plan, tmp_path, monkeypatch, text, start, n_lines):
    other_half = choosing(2, 1.0)
    item = shown(plan, tmp_path, [other_half, reading("written", "q", text, 2)], monkeypatch, "scattered-recalled")
    assert item.answer.startswith(start)
    assert item.answer.count("\n") + 1 == n_lines
