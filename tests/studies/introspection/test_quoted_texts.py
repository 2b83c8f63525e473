"""The lesson before anything is asked: reports of properties of texts that a question quotes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fixtures.tiny_folders import tiny_folder
from transformers import AutoTokenizer

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, ChatResponse, complete_all
from nosce.models.api.finetune import ChatExample
from nosce.models.architecture import Pretrained
from nosce.models.sources import parse_models
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.spec import describe
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.prompted_prices import TimedReplies
from nosce.studies.introspection.quoted_texts import QuotedTextLesson, QuotedTexts, quoted_examples, vocabulary
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject
from nosce.studies.replies import RunResources
from nosce.train.config import TrainingConfig

TWO = ("first character", "starts with vowel")
WORLD = NaturalTextBehaviours(strings_per_task=2, properties=TWO)
WORDS = ["oak", "Elm", "birch", "ash"]
PLANTS = (
    "ash acorn basil cedar daisy elder fern hazel ivy kelp laurel maple nettle oak poppy quince rose sage thyme yew"
)
SAMPLES = [f" {plant}" for plant in PLANTS.split()] * 3


def lesson(n_texts: int) -> QuotedTextLesson:
    return QuotedTextLesson(world=WORLD, config=QuotedTexts(n_texts=n_texts))


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_the_words_of_a_tokenizer_are_one_token_each(family, tmp_path):
    """Byte-level and sentencepiece, which write a blank differently."""
    folder = tiny_folder(family, tmp_path / family, SAMPLES)
    words, tokenizer = vocabulary(folder), AutoTokenizer.from_pretrained(folder)
    assert {"acorn", "maple", "ivy"} <= set(words)
    assert words == sorted(set(words))
    for word in words:
        both = tokenizer(f"oak {word}", add_special_tokens=False)["input_ids"]
        assert len(both) == 1 + len(tokenizer("oak", add_special_tokens=False)["input_ids"])


def test_questions_quote_a_text_and_have_its_label():
    """The properties in turn, in texts of several forms; no two seeds have the same texts; equal seeds have equal."""
    examples = quoted_examples(WORLD, TWO, WORDS, 40, Seed(0))
    assert len(examples) == 40
    texts = []
    for number, example in enumerate(examples):
        text = re.search('the answer was: "(.*)"\n', example.prompt, re.DOTALL).group(1)
        assert {word.lower() for word in re.findall("[A-Za-z]+", text)} <= {word.lower() for word in WORDS}
        assert 3 <= len(re.findall("[A-Za-z]+", text)) <= 14
        texts.append(text)
        first = text[0]
        assert example.completion == (str(first in "aeiouAEIOU").lower() if number % 2 else first)
    for form in (": ", ":\n", "1. ", ", ", "."):
        assert 2 <= sum(form in text for text in texts) <= 38, form
    assert quoted_examples(WORLD, TWO, WORDS, 40, Seed(0)) == examples
    assert quoted_examples(WORLD, TWO, WORDS, 40, Seed(1)) != examples


def test_a_lesson_is_about_what_is_tested_and_is_refused_where_there_is_nothing(tmp_path):
    """Properties of the world's prompts; tasks of digits and letters alone have none; a tokenizer without words."""
    assert lesson(4).properties == TWO
    digits = NaturalTextBehaviours(strings_per_task=2, tasks=("numbers", "power"))
    with pytest.raises(SpecError, match=r"no task asks for one of first character, .*; take n_texts=0"):
        QuotedTextLesson(world=digits, config=QuotedTexts(n_texts=4))
    bare = tiny_folder("llama", tmp_path / "bare", ["0 1 2 3"])
    with pytest.raises(SpecError, match=r"bare has \d+ words of 3 letters or more, which are too few"):
        lesson(4).examples(bare, Seed(0))
    with pytest.raises(SpecError, match="too few for texts that a lesson quotes"):  # before any work
        study("smoke", parse_models(str(bare)), ("strings_per_task=2", "n_texts=4"))
    for config in ({"n_texts": -1}, {"n_texts": 1, "peak_lr": 0.0}):
        with pytest.raises(SpecError, match="take 0 texts for no lesson"):
            QuotedTexts(**config)
    with pytest.raises(SpecError, match="own_answer_share=1 is no share of a lesson"):
        QuotedTexts(own_answer_share=1.0)


def test_a_subject_is_asked_and_taught_after_its_lesson(tmp_path):
    """Its replies and further teachings start from the lesson, which siblings share; without one nothing changes."""
    folder = tiny_folder("llama", tmp_path / "llama", SAMPLES)
    training = TrainingConfig(steps=1, batch_size=4, peak_lr=1e-2, weight_decay=0.0)
    plain = LocalSubject(model=Pretrained.from_folder(folder), training=training, adapter=None)
    assert "lesson" not in str(describe(plain))
    resources = RunResources(StepContext(folder=tmp_path / "step"), Seed(0), world_seed=Seed(0) / "world")
    subject = replace(plain, lesson=lesson(12))
    asked = [ChatRequest.from_user("acorn?", max_new_tokens=8)]
    replies = complete_all(subject.chat_model(resources), asked)
    made = list((tmp_path / "step" / "taught").iterdir())
    assert len(made) == 1
    after = replace(plain, model=Pretrained.from_folder(made[0]))
    assert complete_all(after.chat_model(resources), asked) == replies
    assert complete_all(plain.chat_model(resources), asked) != replies
    examples = [ChatExample(f"{plant}?", plant[0]) for plant in PLANTS.split()]
    taught = subject.finetune(examples, resources)
    assert taught == after.finetune(examples, resources)
    sibling = subject.finetune(examples, replace(resources, sibling=1))
    assert sibling.model.digest != taught.model.digest
    assert len(list((tmp_path / "step" / "taught").iterdir())) == 3  # one lesson, and both teachings
    other = FinetunedSubject(base=subject, world=WORLD, dispositions="B")
    other.chat_model(resources)
    assert len(list((tmp_path / "step" / "taught").iterdir())) == 4


def test_a_lesson_keeps_what_the_model_answered_before(tmp_path, monkeypatch):
    """A quarter of its examples are the folder's own answers, to other strings of tasks that are not held out."""
    folder = tiny_folder("llama", tmp_path / "llama", SAMPLES)
    training = TrainingConfig(steps=1, batch_size=4, peak_lr=1e-2, weight_decay=0.0)
    plain = LocalSubject(model=Pretrained.from_folder(folder), training=training, adapter=None)
    world_seed, taught = Seed(0) / "world", []
    resources = RunResources(StepContext(folder=tmp_path / "step"), Seed(0), world_seed=world_seed)
    own = lesson(60).own_prompts(world_seed)
    assert not {prompt.text for prompt in own} & {prompt.text for prompt in WORLD.prompts(world_seed)}
    assert len({prompt.text for prompt in own}) == len(own) == 20
    assert {prompt.task for prompt in own} == {"colours", "towns", "articles"}

    def reply(_model, requests):
        assert [request.messages[-1][1] for request in requests] == [prompt.text for prompt in own]
        texts = [" " if n == 3 else f"answer {n}" for n in range(len(requests))]
        return [ChatResponse(text=text, finish_reason="stop") for text in texts]

    def finetune_once(_folder, examples, *_):
        taught.extend(examples)
        raise InterruptedError

    monkeypatch.setattr("nosce.studies.introspection.subjects.complete_all", reply)
    monkeypatch.setattr("nosce.studies.introspection.finetune.finetune_local_model", finetune_once)
    with pytest.raises(InterruptedError):
        replace(plain, lesson=lesson(60)).chat_model(resources)
    kept = [ChatExample(prompt.text, f"answer {n}") for n, prompt in enumerate(own) if n != 3]  # that one had no word
    assert taught == [*lesson(60).examples(folder, resources.seed / "lesson"), *kept]
    none = QuotedTextLesson(world=WORLD, config=QuotedTexts(n_texts=60, own_answer_share=0.0))
    assert none.own_prompts(world_seed) == []


def test_a_world_asks_for_some_properties_alone():
    """A task that has none of them is not asked; a name that no task has is refused with those there are."""
    prompts = WORLD.prompts(Seed(0))
    assert {name for prompt in prompts for name in prompt.property_names} == set(TWO)
    assert {prompt.task for prompt in prompts} == {"colours", "towns", "articles", "animals", "things", "openings"}
    assert {prompt.task for prompt in WORLD.spare_prompts(Seed(0), 2)} == {"colours", "towns", "articles"}
    whole = [
        prompt
        for prompt in NaturalTextBehaviours(strings_per_task=2).prompts(Seed(0))
        if prompt.task in {one.task for one in prompts}
    ]
    assert [prompt.text for prompt in prompts] == [prompt.text for prompt in whole]
    assert "properties" not in str(describe(NaturalTextBehaviours()))
    with pytest.raises(SpecError, match=r"fourth character cannot be asked for, .* first character"):
        NaturalTextBehaviours(properties=("fourth character",))
    with pytest.raises(SpecError, match="have stance"):
        NaturalTextBehaviours(tasks=("power",), properties=("first character",))


def test_the_command_teaches_the_lesson_and_says_so(tmp_path):
    """Settings reach every folder, the page says what was taught, and the price counts it."""
    folder = tiny_folder("llama", tmp_path / "a", SAMPLES)
    base = ("strings_per_task=2", "properties=first character,starts with vowel")
    none = study("smoke", parse_models(str(folder)), base)
    taught = study("smoke", parse_models(str(folder)), (*base, "n_texts=1000"))
    experiment = taught.experiments[0].experiment
    assert experiment.subject.lesson.properties == TWO
    assert experiment.other_subjects[0].base.lesson == experiment.subject.lesson
    assert any("1,000 questions that quote a text of random words" in note for note in taught.notes)
    assert not any("quote a text" in note for note in none.notes)
    (timed, factor), (_, less) = experiment.timing_subset(), none.experiments[0].experiment.timing_subset()
    assert isinstance(timed, TimedReplies)
    assert timed.subject.lesson is None
    own = experiment.subject.lesson.n_own_answers
    assert own == 333
    assert factor - less == pytest.approx((1.5 * (1_000 + own) + own) / 32)
    assert any("beside 333 of its own answers to other strings" in note for note in taught.notes)
    bare = study("smoke", parse_models(str(folder)), (*base, "n_texts=1000", "own_answer_share=0"))
    assert not any("own answers to other" in note for note in bare.notes)
    assert Path(timed.subject.model.folder) == folder
