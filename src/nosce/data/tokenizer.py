"""Tokenizers on the `tokenizers` library. transformers loads the saved files without nosce.

`word`: one token per word or punctuation mark; the vocabulary is every word of the samples.
`bpe`: byte-level byte-pair encoding trained on the samples, which can encode any text.
`symbols`: one token per string of a list; spaces and line ends may be among them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from nosce.errors import DataError, SpecError
from nosce.store.files import JsonObject, load_json_object

EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, MASK_TOKEN = "<eos>", "<pad>", "<unk>", "<mask>"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_EOS_FILES = (TOKENIZER_CONFIG_FILE, "special_tokens_map.json")
MODEL_EOS_FILES = ("generation_config.json", "config.json")
TokenizerKind = Literal["word", "bpe", "symbols"]


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How to build a tokenizer.

    Args:
        kind: "word", "bpe" or "symbols".
        vocab_size: Most tokens of a `bpe` tokenizer, 300 or more. 2,048 suit the small models of the built-in studies.
        symbols: The tokens of a `symbols` tokenizer; empty for the other kinds.
        has_mask_token: Add a mask token, which the training of a bidirectional model needs.
    """

    kind: TokenizerKind = "word"
    vocab_size: int = 2_048
    symbols: tuple[str, ...] = ()
    has_mask_token: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (kinds := get_args(TokenizerKind)):
            raise SpecError(f"TokenizerSpec.kind={self.kind!r} does not exist; choose from {', '.join(kinds)}.")
        if (self.kind == "symbols") != bool(self.symbols):
            raise SpecError(
                f"TokenizerSpec.kind={self.kind!r} was given {len(self.symbols)} symbols; "
                "give symbols to the kind symbols, and to no other kind."
            )
        counts = Counter([*self.symbols, "", EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, MASK_TOKEN])
        if wrong := [symbol for symbol in self.symbols if counts[symbol] > 1]:  # such a symbol has no single id
            raise SpecError(
                f"TokenizerSpec.symbols holds {wrong[0]!r}, which is empty, repeated or a special token; leave it out."
            )
        if self.kind == "bpe" and self.vocab_size < 300:
            raise SpecError(
                f"TokenizerSpec.vocab_size={self.vocab_size} has no room for merges above the 256 bytes and "
                "3 special tokens; take 300 or more."
            )


def build_tokenizer(spec: TokenizerSpec, samples: Iterable[str]) -> Tokenizer:
    """A tokenizer built from the samples. Equal samples give equal bytes on disk."""
    special_tokens = [EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, *([MASK_TOKEN] if spec.has_mask_token else [])]
    if spec.kind == "word":
        return _word_tokenizer(special_tokens, samples)
    if spec.kind == "symbols":
        return _symbol_tokenizer(special_tokens, spec.symbols)
    return _bpe_tokenizer(special_tokens, samples, spec.vocab_size)


def _word_tokenizer(special_tokens: list[str], samples: Iterable[str]) -> Tokenizer:
    splitter = pre_tokenizers.Whitespace()
    words = {word for text in samples for word, _ in splitter.pre_tokenize_str(text)}
    # Sorted, because the order of a set depends on the hash seed of the process.
    ordered = [*special_tokens, *sorted(words - set(special_tokens))]
    vocabulary = {word: number for number, word in enumerate(ordered)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK_TOKEN))
    tokenizer.pre_tokenizer = splitter
    tokenizer.add_special_tokens(special_tokens)
    return tokenizer


def _symbol_tokenizer(special_tokens: list[str], symbols: tuple[str, ...]) -> Tokenizer:
    vocabulary = {symbol: number for number, symbol in enumerate([*special_tokens, *symbols])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK_TOKEN))
    # The longest symbol first; any other character is a token of its own, which is unknown.
    symbol_pattern = "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{symbol_pattern}|[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special_tokens)
    return tokenizer


def _bpe_tokenizer(special_tokens: list[str], samples: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    # With the space in front, a name has one spelling, whether it begins a text or follows a word.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(samples, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the two files that `AutoTokenizer.from_pretrained(folder)` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS_TOKEN,
        "bos_token": EOS_TOKEN,
        "pad_token": PAD_TOKEN,
        "unk_token": UNK_TOKEN,
        "clean_up_tokenization_spaces": False,
    }
    if tokenizer.token_to_id(MASK_TOKEN) is not None:
        settings["mask_token"] = MASK_TOKEN
    (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder, from nosce or any other source with a `tokenizer.json`.

    Settings of the file that would change texts without a word are switched off: padding and truncation, with which
    padding is learnt as text and long texts are cut, and the dropout of merges, with which equal texts get other
    tokens. The space that a byte-level tokenizer puts in front of a text is no part of a decoded text.

    Raises:
        DataError: The file does not exist, or it is no tokenizer's file.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise DataError(f"the tokenizer {path} cannot be loaded: no such file; save the tokenizer with the model.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(f"{path} is not a tokenizer's file ({error}); save the tokenizer again.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    _decode_without_prefix_space(tokenizer)
    return tokenizer


def _decode_without_prefix_space(tokenizer: Tokenizer) -> None:
    """Let the tokenizer's decoder remove a space that its encoder puts in front of every text."""
    decoded = tokenizer.decode(tokenizer.encode("a", add_special_tokens=False).ids, skip_special_tokens=False)
    if tokenizer.decoder is not None and decoded == " a":
        strip = decoders.Strip(content=" ", left=1, right=0)
        tokenizer.decoder = decoders.Sequence([tokenizer.decoder, strip])


def eos_token_id(tokenizer: Tokenizer, folder: Path | None = None) -> int:
    """The id of the end-of-text token; for other sources' tokenizers, the one that their folder names.

    It is looked for in `tokenizer_config.json` and `special_tokens_map.json`; if both are silent, in the model's
    `generation_config.json` and `config.json`, of whose ids the first is taken.

    Raises:
        DataError: The tokenizer has no end-of-text token, or a file cannot be used.
    """
    for token_id in (*(() if folder is None else _named_eos_ids(tokenizer, folder)), tokenizer.token_to_id(EOS_TOKEN)):
        if token_id is not None:
            return int(token_id)
    raise DataError(
        f"the tokenizer in {folder} has no end-of-text token, so a reply could never end; "
        "add eos_token to its tokenizer_config.json."
    )


def _named_eos_ids(tokenizer: Tokenizer, folder: Path) -> Iterator[int | None]:
    """The id that each file of a folder gives the end token, if it names one that the tokenizer has."""
    for name in TOKENIZER_EOS_FILES:
        if token := read_special_token(folder / name, "eos_token"):
            yield tokenizer.token_to_id(token)
    for name in MODEL_EOS_FILES:
        settings = read_settings(folder / name)
        for part in (settings, settings.get("text_config")):
            token_ids = part.get("eos_token_id") if isinstance(part, dict) else None
            first = (token_ids or [None])[0] if isinstance(token_ids, list) else token_ids
            yield first if _is_token_id(tokenizer, first) else None


def _is_token_id(tokenizer: Tokenizer, value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 32 and tokenizer.id_to_token(value) is not None


def read_settings(path: Path) -> JsonObject:
    """The settings in a JSON file of a tokenizer or a model; none where there is no such file.

    Raises:
        DataError: The file cannot be read, or holds no JSON object.
    """
    try:
        return load_json_object(path) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path} cannot be used ({error}); copy it again.") from None


def read_special_token(path: Path, name: str) -> str | None:
    """The text of a special token that a settings file names, in either of the two ways in use.

    Raises:
        DataError: The file cannot be read, or the setting is no token.
    """
    value = read_settings(path).get(name)
    token = value.get("content", value) if isinstance(value, dict) else value
    if token is None or isinstance(token, str):
        return token
    raise DataError(f"{path} says {name}={token!r}, which is no token; give its text.")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a model folder's tokenizer, and name its end token where only other files of the folder do.

    Raises:
        DataError: The folder has no tokenizer, or no end-of-text token.
    """
    tokenizer = load_tokenizer(source)
    eos_id = eos_token_id(tokenizer, source)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    path = folder / TOKENIZER_CONFIG_FILE
    named = read_special_token(path, "eos_token")
    if named is None or tokenizer.token_to_id(named) != eos_id:
        settings = read_settings(path) | {"eos_token": tokenizer.id_to_token(eos_id)}
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
