"""A tokenizer's files for use without nosce: with the opening end token, and with the spaces of decoded texts.

nosce puts an end token in front of every text by itself, and its word tokenizer has no decoder. A program that knows
only the files would ask a model without the opening token that all its training texts had, and would read
"Elmbrook , AV" where the answer is "Elmbrook, AV". `save_plain_tokenizer` writes both into `tokenizer.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Encoding, Regex, Tokenizer, decoders, processors

from nosce.data.tokenizer import (
    PAD_TOKEN,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    eos_token_id,
    load_tokenizer,
    read_settings,
    read_special_token,
)
from nosce.store.files import JsonObject

NO_SPACE_MARK = "\ue000"  # stands in a decoded text where no space may follow; no text has it
KEPT_TOKENS = ("pad_token", "unk_token", "mask_token")
KEPT_SETTINGS = ("chat_template", "model_max_length")


def save_plain_tokenizer(source: Path, folder: Path, texts: Sequence[str], *, opens_with_eos: bool) -> Tokenizer:
    """Write `tokenizer.json` and `tokenizer_config.json` for `AutoTokenizer.from_pretrained(folder)`.

    Args:
        source: The folder of a checkpoint or a corpus's tokenizer.
        folder: Where to write.
        texts: Texts that show where a word tokenizer's marks have spaces.
        opens_with_eos: Whether the model reads an end token in front of each text, as all but encoder-decoders do.

    Returns:
        The tokenizer as written.
    """
    tokenizer = load_tokenizer(source)
    eos_id = eos_token_id(tokenizer, source)
    eos_token = str(tokenizer.id_to_token(eos_id))
    if tokenizer.decoder is None:
        tokenizer.decoder = word_decoder(tokenizer, texts)
    opening = [eos_token] if opens_with_eos else []
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*opening, "$A"], pair=[*opening, "$A", "$B:1"], special_tokens=[(eos_token, eos_id)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    settings = _settings(source, tokenizer, eos_token) | ({"bos_token": eos_token} if opens_with_eos else {})
    (folder / TOKENIZER_CONFIG_FILE).write_text(
        json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return tokenizer


def _settings(source: Path, tokenizer: Tokenizer, eos_token: str) -> JsonObject:
    """The settings of the source that are still true; a class of its own could write the opening token otherwise."""
    path = source / TOKENIZER_CONFIG_FILE
    found = read_settings(path)
    settings = {name: found[name] for name in KEPT_SETTINGS if found.get(name) is not None}
    for name in KEPT_TOKENS:
        token = read_special_token(path, name)
        if token is not None and tokenizer.token_to_id(token) is not None:
            settings[name] = token
    pad_token = PAD_TOKEN if tokenizer.token_to_id(PAD_TOKEN) is not None else eos_token
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": eos_token,
        "pad_token": pad_token,
        **settings,
    }


def word_decoder(tokenizer: Tokenizer, texts: Iterable[str]) -> decoders.Decoder:
    """A decoder that parts words by spaces, and leaves them out beside marks that never have them in the texts.

    A mark with spaces in some texts and none in others, such as a quotation mark, keeps both of its spaces.
    """
    encodings = ((text, tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    no_space_before, no_space_after = _marks_without_spaces(encodings)
    steps: list[decoders.Decoder] = [decoders.WordPiece(prefix=NO_SPACE_MARK, cleanup=False)]
    for mark in no_space_before:
        steps.append(decoders.Replace(Regex(f"^ {re.escape(mark)}$"), mark))
    for mark in no_space_after:
        for space in ("", " "):
            steps.append(decoders.Replace(Regex(f"^{space}{re.escape(mark)}$"), f"{space}{mark}{NO_SPACE_MARK}"))
    steps += [decoders.Fuse(), decoders.Replace(f"{NO_SPACE_MARK} ", ""), decoders.Replace(NO_SPACE_MARK, "")]
    return decoders.Sequence(steps)


def _marks_without_spaces(encodings: Iterable[tuple[str, Encoding]]) -> tuple[list[str], list[str]]:
    """The marks that never have a space before them, and those that never have one after them."""
    before: dict[str, bool] = {}
    after: dict[str, bool] = {}
    for text, encoding in encodings:
        pieces = [text[first:last] for first, last in encoding.offsets]
        spans = encoding.offsets
        for left, right, (_, end), (start, _) in zip(pieces, pieces[1:], spans, spans[1:], strict=False):
            glued = start == end
            after[left] = after.get(left, True) and glued
            before[right] = before.get(right, True) and glued
    no_before, no_after = (sorted(p for p in side if side[p] and _is_mark(p)) for side in (before, after))
    return no_before, no_after


def _is_mark(piece: str) -> bool:
    return re.search(r"\w", piece) is None
