"""Tokenizers on the `tokenizers` library, saved so that transformers loads them with no nosce around.

`word`: one token a word or punctuation mark, the vocabulary being every word of the samples.
`bpe`: byte-level byte-pair encoding trained on the samples, which can spell anything.
`symbols`: one token for each of a list of strings, spaces and line ends among them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from nosce.errors import DataError, SpecError

EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, MASK_TOKEN = "<eos>", "<pad>", "<unk>", "<mask>"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TokenizerKind = Literal["word", "bpe", "symbols"]


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How a tokenizer is made; `vocab_size` bounds a `bpe` one, `symbols` are the tokens of that kind.

    With `has_mask_token` it has a token for what is not shown, as models that see both ways are trained with.
    """

    kind: TokenizerKind = "word"
    vocab_size: int = 2_048
    symbols: tuple[str, ...] = ()
    has_mask_token: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (kinds := get_args(TokenizerKind)):
            raise SpecError(f"TokenizerSpec.kind={self.kind!r} is not a kind we make; take one of {', '.join(kinds)}.")
        if (self.kind == "symbols") != bool(self.symbols):
            raise SpecError(
                f"TokenizerSpec.kind={self.kind!r} was given {len(self.symbols)} symbols; "
                "give them to the kind symbols, and to no other."
            )
        counts = Counter([*self.symbols, "", EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, MASK_TOKEN])
        if wrong := [symbol for symbol in self.symbols if counts[symbol] > 1]:  # it would have two numbers, or none
            raise SpecError(
                f"TokenizerSpec.symbols holds {wrong[0]!r}, which is empty, there twice or a token of every tokenizer; "
                "leave it out."
            )
        if self.kind == "bpe" and self.vocab_size < 300:
            raise SpecError(
                f"TokenizerSpec.vocab_size={self.vocab_size} has no room for merges above the 256 bytes and "
                "3 special tokens; take 300 or more."
            )


def build_tokenizer(spec: TokenizerSpec, samples: Iterable[str]) -> Tokenizer:
    """A tokenizer of the samples; equal samples give equal bytes on disk."""
    special_tokens = [EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, *([MASK_TOKEN] if spec.has_mask_token else [])]
    if spec.kind == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK_TOKEN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        words = {word for text in samples for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
        # Sorted: a set's order changes with the hash seed of the process.
        vocabulary = {
            word: number for number, word in enumerate([*special_tokens, *sorted(words - set(special_tokens))])
        }
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK_TOKEN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.add_special_tokens(special_tokens)
        return tokenizer
    if spec.kind == "symbols":
        vocabulary = {symbol: number for number, symbol in enumerate([*special_tokens, *spec.symbols])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK_TOKEN))
        # The longest symbol first, and what is none of them a character at a time, to be unknown.
        symbol_pattern = "|".join(re.escape(symbol) for symbol in sorted(spec.symbols, key=len, reverse=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{symbol_pattern}|[\s\S]"), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(special_tokens)
        return tokenizer
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    # The space in front makes a name one spelling, whether it opens a text or follows a word.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
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
    (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder, ours or any with a `tokenizer.json`.

    Raises:
        DataError: There is no such file, or it is not a tokenizer's.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise DataError(f"a tokenizer was asked for at {path}, but no such file is there; save one with the model.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path} is not a tokenizer's file ({error}); save the tokenizer again.") from error


def eos_token_id(tokenizer: Tokenizer, folder: Path | None = None) -> int:
    """The id that ends a text; for foreign tokenizers as their `tokenizer_config.json` names it.

    Raises:
        DataError: The tokenizer names no end of text.
    """
    names = [EOS_TOKEN]
    if folder is not None and (settings := folder / TOKENIZER_CONFIG_FILE).is_file():
        configured = json.loads(settings.read_text()).get("eos_token")
        names.insert(0, configured["content"] if isinstance(configured, dict) else configured)
    for name in names:
        if name and (token_id := tokenizer.token_to_id(name)) is not None:
            return int(token_id)
    raise DataError(
        f"the tokenizer in {folder} names no end-of-text token, so a reply could never end; "
        "add eos_token to its tokenizer_config.json."
    )
