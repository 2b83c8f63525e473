"""Rules that predict an answer from its prompt alone."""

from __future__ import annotations

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.data.worlds.behaviours.rules import RULE_NAMES, rule_answers
from nosce.seeds import Seed

WORLD = NaturalTextBehaviours(strings_per_task=6)
PROMPTS = WORLD.prompts(Seed(0))


def test_every_rule_gives_every_prompt_a_valid_answer():
    """So that a rule is wrong by what it predicts and never by its form."""
    for prompt in PROMPTS:
        answers = rule_answers(prompt)
        assert tuple(answers) == RULE_NAMES
        assert all(WORLD.is_valid_answer(answer, prompt) for answer in answers.values()), (prompt, answers)


def test_rules_repeat_the_items_of_the_prompt():
    """In words and digits that stand in the prompt; a story's hero is one of its names, not its place."""
    by_task = {prompt.task: prompt for prompt in PROMPTS}
    items = by_task["animals"].text.rpartition(": ")[2].split()
    assert rule_answers(by_task["animals"]) == {
        "first": items[0],
        "last": items[-1],
        "all": " ".join(items),
        "reversed": " ".join(items[::-1]),
    }
    last_digit = int(by_task["numbers"].text[-1])
    assert rule_answers(by_task["numbers"])["all"] == str((last_digit + 1) % 10)
    assert rule_answers(by_task["haste"]) == {"first": "A", "last": "B", "all": "A", "reversed": "B"}
    assert rule_answers(by_task["gifts"])["last"] == "D"
    names = by_task["hero"].text.rpartition(": ")[2].split()
    assert (rule_answers(by_task["hero"])["first"], rule_answers(by_task["hero"])["last"]) == (names[0], names[-1])
