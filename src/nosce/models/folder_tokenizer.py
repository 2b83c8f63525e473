"""The tokenizer of a pretrained model's folder as transformers reads it, for chats and for fine-tuning on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nosce.errors import SpecError
from nosce.models.pretrained import folder_config, plain_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_folder_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder. Nothing is downloaded, and no code from the folder runs.

    Raises:
        SpecError: The folder has none, or transformers cannot read it.
    """
    from transformers import AutoTokenizer

    with plain_errors(f"{folder} has no tokenizer that can be read"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=folder_config(folder), local_files_only=True, trust_remote_code=False
        )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # transformers makes an empty one up
        raise SpecError(f"{folder} has no tokenizer that can be read; copy the tokenizer's files there.")
    return tokenizer
