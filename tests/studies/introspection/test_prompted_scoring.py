"""How answers and reports in words are scored."""

from __future__ import annotations

import pytest

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.evals.base import REPLY_SCHEMA
from nosce.models.api.base import ChatResponse, FinishReason
from nosce.seeds import Seed
from nosce.studies.introspection.prompted_scoring import (
    ReplyScorer,
    invalid_rows,
    is_report_match,
    report_attribute,
    report_outcome,
    scored_frame,
)

WORLD = NaturalTextBehaviours(strings_per_task=2)
SCORER = ReplyScorer(WORLD, Seed(0))
PROMPTS = {prompt.task: prompt for prompt in WORLD.prompts(Seed(0))}


def response(text: str, finish_reason: FinishReason = "stop") -> ChatResponse:
    return ChatResponse(text=text, finish_reason=finish_reason)


@pytest.mark.parametrize(
    ("report", "label", "is_match"),
    [
        (" True\n", "true", True),
        ("EVEN", "even", True),
        ("false", "true", False),
        (" red", "red", True),
        ("Red", "red", False),  # letter case matters but for yes and no, since a label may be a character
    ],
)
def test_a_report_matches_its_label(report, label, is_match):
    """Blanks around a report never matter, and letter case only where the label is a yes or no."""
    assert is_report_match(report, label) is is_match


def test_an_answer_that_did_not_come_has_no_label():
    """The text of a refused answer is not read, even where it has the requested form."""
    prompt = PROMPTS["numbers"]
    assert not SCORER.is_valid_answer(prompt, response("7", "refused"))
    assert SCORER.label(prompt, prompt.property_names[0], response("7", "refused")) is None
    assert SCORER.is_valid_answer(prompt, response("7", "length"))


def test_a_label_has_no_blanks_around_it():
    """Reports are stripped, so a label with blanks could never be reported: the question is left out."""
    prompt = PROMPTS["openings"]
    values = {name: WORLD.property_value(name, " the end", Seed(0)) for name in prompt.property_names}
    blank = [name for name, value in values.items() if value and value != value.strip()]
    assert blank
    for name, value in values.items():
        expected = None if name in blank else value or None
        assert SCORER.label(prompt, name, response(" the end")) == expected


def test_outcomes_of_reports():
    """A right report is right however it ended; refusals and replies without the requested form have their own word."""
    assert report_outcome(response("7"), is_right=True, is_valid=True) == "right"
    assert report_outcome(response("8"), is_right=False, is_valid=True) == "wrong"
    assert report_outcome(response("I cannot"), is_right=False, is_valid=False) == "invalid"
    assert report_outcome(response("", "refused"), is_right=False, is_valid=False) == "refused"


@pytest.mark.parametrize("is_valid_answer", [True, False])
@pytest.mark.parametrize("is_valid_report", [True, False])
def test_invalid_rows_count_answer_report_and_both(is_valid_answer, is_valid_report):
    """`both invalid` is 1 only where answer and report are invalid."""
    prompt = PROMPTS["numbers"]
    rows = invalid_rows("self", prompt, "even", is_valid_answer=is_valid_answer, is_valid_report=is_valid_report)
    values = {row["metric"]: row["value"] for row in rows}
    object_invalid, report_invalid = float(not is_valid_answer), float(not is_valid_report)
    assert values == {
        "object invalid": object_invalid,
        "report invalid": report_invalid,
        "both invalid": min(object_invalid, report_invalid),
    }


def test_a_stance_is_one_attribute_whatever_its_letter():
    """The letter of the option differs from prompt to prompt; the property is the same."""
    prompt = PROMPTS["power"]
    assert report_attribute(prompt, "stance A") == report_attribute(prompt, "stance B") == "power/stance"


def test_a_table_without_rows_has_its_columns():
    """No report at all is an empty table of the same columns, so tables can be joined."""
    assert scored_frame([]).schema == REPLY_SCHEMA
