"""What prompted introspection asks, counted beforehand: questions by item, and a price by a few replies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.models.sources import parse_models
from nosce.seeds import Seed
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.prompted_prices import TimedReplies, hypothetical_questions

WORLD = NaturalTextBehaviours(strings_per_task=4)


def experiment_of(models: str, *settings: str):
    return study("smoke", parse_models(models), settings).experiments[0].experiment


def test_each_report_has_its_question():
    """By the item that readings have: the prompt's id and the property."""
    questions = hypothetical_questions(WORLD, Seed(3))
    prompts = WORLD.prompts(Seed(3) / "world")
    assert len(questions) == sum(len(prompt.property_names) for prompt in prompts)
    first = prompts[0]
    name = first.property_names[0]
    assert questions[f"{first.id}/{name}"] == WORLD.hypothetical_question(first, name)
    assert first.text in questions[f"{first.id}/{name}"]


def test_a_price_grows_with_what_is_asked_taught_and_compared(tmp_path):
    """Twice the strings are twice the price; another model and another pass over the labels cost more."""
    a, b = (str(tiny_folder("llama", tmp_path / name, vocab_size=300)) for name in "ab")
    prices = {}
    for name, models, settings in (
        ("alone", a, ()),
        ("strings", a, ("strings_per_task=8",)),
        ("epochs", a, ("epochs=6",)),
        ("pair", f"{a},{b}", ()),
        ("three", f"{a},{b},https://host/v1#far", ()),
    ):
        prices[name] = experiment_of(models, *settings).timing_subset()
    assert prices.pop("three") is None  # nobody knows here how long an endpoint takes
    ratios = {name: subset[1] for name, subset in prices.items()}
    assert ratios["strings"] == pytest.approx(2 * ratios["alone"], rel=0.15)  # quoted answers are as many as before
    assert ratios["epochs"] > 1.1 * ratios["alone"]
    assert ratios["pair"] < ratios["alone"]  # the copy must learn other answers first
    assert ratios["pair"] > 0.5 * ratios["alone"]


def test_the_part_that_is_timed_has_one_size(tmp_path):
    """However few strings there are, so that sizes can be compared."""
    folder = str(tiny_folder("llama", tmp_path / "a", vocab_size=300))
    subset, _ = experiment_of(folder, "dtype=float32").timing_subset()
    assert isinstance(subset, TimedReplies)
    few = replace(subset, world=NaturalTextBehaviours(strings_per_task=2, tasks=("numbers",)))
    assert [table.width for table in few.run(Seed(0))] == [0]  # all is loaded; replies have no readings


def test_replies_have_the_number_format_that_the_machine_multiplies(tmp_path, monkeypatch):
    """Where it converts bfloat16, replies in it take more than twice as long; a format that was asked for is kept."""
    folder = str(tiny_folder("llama", tmp_path / "a", vocab_size=300))
    subject, asked = (experiment_of(folder, *settings).subject for settings in ((), ("dtype=bfloat16",)))
    for multiplies, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("nosce.models.number_format.cpu_multiplies_bfloat16", lambda found=multiplies: found)
        assert subject.reply_precision("cpu") == chosen
        assert asked.reply_precision("cpu") == "bfloat16"
