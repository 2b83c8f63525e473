"""The key is found however an endpoint writes it, and ordinary messages are left alone."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from nosce.models.api.redaction import NOT_SHOWN, REPLY_PART_LENGTH, Redactor

KEY = 'sk-/+"very&secret"=0123456789abc'
FORMS = {
    "plain": KEY,
    "in capitals": KEY.upper(),
    "a part": KEY[5:20],
    "quoted": quote(KEY, safe=""),
    "quoted twice": quote(quote(KEY, safe=""), safe=""),
    "as a form": quote_plus(KEY),
    "as JSON": json.dumps(KEY),
    "escaped": "".join(f"\\u{ord(character):04x}" for character in KEY),
    "as HTML": KEY.replace("&", "&amp;").replace('"', "&quot;"),
    "in hexadecimal": KEY.encode().hex(),
    "in URL-safe base64": base64.urlsafe_b64encode(KEY.encode()).decode(),
    **{f"in base64 after {n}": base64.b64encode(b"u" * n + b":" + KEY.encode()).decode() for n in range(4)},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_key_is_found(form):
    """In the middle of a message, and beyond where it would be cut."""
    assert Redactor(KEY).message(f"no such route; headers: [{form}]") == NOT_SHOWN
    assert Redactor(KEY).message("x" * 190 + f" {form}") == NOT_SHOWN


def test_other_messages_are_shown():
    redactor = Redactor(KEY)
    for said in ("the model m does not exist", "You exceeded your quota", "base64 aGVsbG8gd29ybGQhIQ== is hello"):
        assert redactor.message(said) == said
    assert redactor.message("two\nlines") == "two"
    assert redactor.message("a\x1b[31mb" + "x" * 500) == "a [31mb" + "x" * 193
    assert KEY not in repr(redactor)


def test_a_short_key_is_a_word():
    """A server of one's own wants any key; a message with the word is not withheld, but the word is."""
    assert Redactor("EMPTY").message("the list is EMPTY now") == "the list is [key] now"
    assert not Redactor("").is_in("anything")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_key_is_found_in_a_reply(form):
    """Also 16 characters of it, but no fewer, which may be words; and the whole key where the whole is looked for."""
    redactor = Redactor(KEY)
    assert redactor.is_in(f"You said {form}.", part_length=REPLY_PART_LENGTH) is (len(form) >= 16)
    assert redactor.is_in(f"You said {form}.", part_length=len(KEY)) is (len(form) >= len(KEY))


def test_few_characters_of_a_key_in_a_reply_are_words():
    """In an endpoint's message they are searched for all the same."""
    redactor = Redactor("sk-no-key-required")
    assert not redactor.is_in("no-key-required", part_length=REPLY_PART_LENGTH)
    assert redactor.is_in("sk-no-key-requir", part_length=REPLY_PART_LENGTH)
    assert redactor.message("a key is required") == NOT_SHOWN
    assert Redactor("localhost").is_in("http://localhost:1", part_length=REPLY_PART_LENGTH)  # a short key: the whole


@pytest.mark.parametrize("length", range(16, 22))
@pytest.mark.parametrize("n", range(4))
def test_the_end_of_a_key_in_base64_is_read(length, n):
    """Also where the last group is not whole, and where its padding was left out."""
    key = KEY[-length:]
    form = base64.b64encode(b"u" * n + key.encode()).decode()
    for text in (form, form.rstrip("=")):
        assert Redactor(key).is_in(f"You said {text}.", part_length=length)
