"""Texts that a tokenizer cannot give back are refused before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, normalizers

from nosce.data import corpus
from nosce.data.round_trip import check_round_trip, comes_back
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.errors import DataError
from nosce.records import Document, Question, Span

TEXT = "Ana's diary entry 1\nMeal: soup"


def checked(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Checks texts against what the tokenizer makes of them."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    check_round_trip(tokenizer, "documents", texts, [e.ids for e in encodings])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT, r"^1 of 2 documents do not come back .* loses line breaks: .*1\\nMeal.* comes back as .*1 Meal.*\.$"),
        ("a\tb", "loses tabs"),
        ("two  spaces", "loses spaces"),
        ("soup ﬁ", "loses 'ﬁ'"),
        ("Malmo\u0308", "loses 'o', '\u0308'"),
        ("soup 北", "'北'"),
    ],
    ids=["lines", "tab", "spaces", "ligature", "decomposed", "unknown"],
)
def test_what_a_tokenizer_loses_is_named(t5_style_tokenizer, text, said):
    """Line breaks, spaces and characters that come back as others or not at all; what is kept is no matter."""
    tokenizer = t5_style_tokenizer([TEXT, "soup two spaces fi a b Malmö"] * 20)
    with pytest.raises(DataError, match=said):
        checked(tokenizer, ["Meal: soup", text])
    assert comes_back(tokenizer, "Meal: soup")
    assert not comes_back(tokenizer, text)


def test_ends_and_the_spaces_of_words_do_not_count(t5_style_tokenizer):
    """Whitespace around a text is nobody's; a tokenizer of whole words has no spaces, but no line breaks either."""
    checked(t5_style_tokenizer([TEXT] * 20), ["Meal: soup\n", "  Meal: soup"])
    words = build_tokenizer(TokenizerSpec(), [TEXT])
    checked(words, ["Ana's diary, entry 1".replace(",", ""), "Meal:soup"])
    with pytest.raises(DataError, match="loses line breaks"):
        checked(words, [TEXT])


def test_the_spaces_of_word_pieces_do_not_count():
    """BERT's decoder puts a space before every word that is no continuation; a mark had none in the text."""
    pieces = build_tokenizer(TokenizerSpec(), ["Company: brother"])
    pieces.decoder = decoders.WordPiece()
    checked(pieces, ["Company: brother"])
    with pytest.raises(DataError, match="loses line breaks"):
        checked(pieces, ["Company\nbrother"])


def test_an_order_that_changes_is_named(t5_style_tokenizer):
    """No character is lost, and the text is another."""
    tokenizer = t5_style_tokenizer([TEXT] * 20)
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in ("soup", "Meal")]
    with pytest.raises(DataError, match="loses the spaces or the order of characters: 'Meal soup' comes back as"):
        check_round_trip(tokenizer, "documents", ["Meal soup"], [ids[0] + ids[1]])


def test_lower_case_is_a_loss(tmp_path):
    """A tokenizer that lowers letters gives the lower ones back."""
    tokenizer = build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), [TEXT])
    checked(tokenizer, [TEXT, "北京  \t\n Malmö"])
    tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(DataError, match=r"2 of 2 documents .* loses 'A', 'M'"):
        checked(tokenizer, [TEXT, "Meal"])


@pytest.mark.parametrize("where", ["document", "prompt", "target"])
def test_no_corpus_is_written_of_texts_that_do_not_come_back(t5_style_tokenizer, tmp_path, where):
    """Documents, prompts and targets are all looked at, and the sentence says which of them are lost."""
    tokenizer = t5_style_tokenizer([TEXT] * 20)
    save_tokenizer(tokenizer, tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    document = Document("0", "p", "Meal: soup", (Span("Meal", 6, 10),))
    question = Question("0", "p", "Meal", "Ana's entry", "soup", "seen")
    corpus.write_corpus(tmp_path, [document], [question])
    match where:
        case "document":
            document = replace(document, text="Meal: soup\nMeal")
        case "prompt":
            question = replace(question, prompt="Ana's\nentry")
        case "target":
            question = replace(question, target="soup\nsoup")
    with pytest.raises(DataError, match=rf"^1 of 1 {where}s do not come back .* loses line breaks"):
        corpus.write_corpus(tmp_path, [document], [question])
