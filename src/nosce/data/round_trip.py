"""A check that a tokenizer gives texts back: encoded and decoded, each text must be what it was.

Some tokenizers lose text. T5's drops line breaks and rewrites characters (`ﬁ` becomes `fi`), others lower all letters.
A model cannot learn or write what its tokenizer cannot, and a scorer that reads the decoded reply would call every
answer wrong. A corpus is therefore checked, text by text, while it is written and before anything is trained.

Two differences do not count: whitespace at the ends of a text, and spaces where the tokenizer does not keep them. A
tokenizer of whole words has no decoder, and BERT's has the decoder of word pieces: both part words by spaces, wherever
the text had them. Line breaks and tabs always count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders

from nosce.errors import DataError

SHOWN_CHARS = 20  # characters of a text that a message shows on either side of the first lost one
CHARACTER_NAMES = {"\n": "line breaks", "\t": "tabs", " ": "spaces", "\r": "carriage returns"}


def comes_back(tokenizer: Tokenizer, text: str) -> bool:
    """Is the text what it was, once encoded and decoded?"""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return not _lost_indices(tokenizer, [text], [ids])


def check_round_trip(tokenizer: Tokenizer, kind: str, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
    """All texts come back from their tokens. About 10 microseconds a text of 60 words.

    Args:
        tokenizer: The tokenizer.
        kind: What the texts are, in plural, for the message: "documents".
        texts: The texts.
        ids: The tokens of each text.

    Raises:
        DataError: A text does not come back; the message says how many do not, and what is lost.
    """
    lost = _lost_indices(tokenizer, texts, ids)
    if not lost:
        return
    text = texts[lost[0]]
    decoded = tokenizer.decode(list(ids[lost[0]]), skip_special_tokens=False)
    characters = Counter(text.strip()) - Counter(decoded.strip())
    before, after = _excerpts(text.strip(), decoded.strip(), characters)
    raise DataError(
        f"{len(lost):,} of {len(texts):,} {kind} do not come back from the tokenizer, which loses "
        f"{_in_words(characters)}: {before!r} comes back as {after!r}; write the texts so that the tokenizer "
        "keeps them, or take another tokenizer."
    )


def _lost_indices(tokenizer: Tokenizer, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> list[int]:
    drops_spaces = tokenizer.decoder is None or isinstance(tokenizer.decoder, decoders.WordPiece)
    decoded_texts = tokenizer.decode_batch([list(one) for one in ids], skip_special_tokens=False)
    pairs = enumerate(zip(texts, decoded_texts, strict=True))
    return [n for n, (text, decoded) in pairs if not _are_same(text, decoded, drops_spaces)]


def _are_same(text: str, decoded: str, drops_spaces: bool) -> bool:
    if text == decoded or text.strip() == decoded.strip():
        return True
    return drops_spaces and text.strip().replace(" ", "") == decoded.strip().replace(" ", "")


def _in_words(characters: Counter[str]) -> str:
    if not characters:
        return "the spaces or the order of characters"
    return ", ".join(CHARACTER_NAMES.get(character, repr(character)) for character in sorted(characters)[:5])


def _excerpts(text: str, decoded: str, lost: Counter[str]) -> tuple[str, str]:
    """Both texts around the first lost character, or where none is lost around the first that differs."""
    places = [n for n, character in enumerate(text) if character in lost]
    pairs = zip(text, decoded, strict=False)
    places += [n for n, (one, other) in enumerate(pairs) if one != other and not lost]
    start = max(0, (places[0] if places else len(text)) - SHOWN_CHARS)
    return text[start : start + 2 * SHOWN_CHARS], decoded[start : start + 2 * SHOWN_CHARS]
