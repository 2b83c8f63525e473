"""The tokens that end a reply of a pretrained model, the same for teaching and for asking.

A folder names an end token up to four times: in its tokenizer, its generation configuration, its configuration, and
the part of the configuration that describes the language model of a model that also sees. They may disagree. What is
taught ends with the tokenizer's, and every one of them ends a reply.

The configurations are read as the files hold them. The classes of transformers fill in an end token of their own where
a file names none (LlamaConfig: 2), and in this folder's vocabulary that may be any word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.errors import SpecError
from nosce.models.folder import CONFIG_FILE, GENERATION_CONFIG_FILE, read_json_object
from nosce.models.pretrained import folder_vocab_size

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def end_token_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All tokens that end a reply; the first is the one to teach. Tokens that the model does not have are left out.

    Args:
        folder: The folder of the model.
        tokenizer: The tokenizer of the same folder.

    Raises:
        SpecError: None of them names an end token, or a file names one that is no token id.
    """
    own = tokenizer.eos_token_id
    n_rows = folder_vocab_size(folder)
    named = [*([] if own is None else [int(own)]), *_ids_in_files(folder)]
    ends = [one for one in dict.fromkeys(named) if one < n_rows]
    if not ends:
        found = f"none that is below its {n_rows:,} tokens" if named else "none"
        raise SpecError(
            f"the model in {folder} has no end token, so no reply of it could end (its files name {found}); add "
            "eos_token to its tokenizer_config.json or eos_token_id to its generation_config.json."
        )
    return ends


def _ids_in_files(folder: Path) -> Iterator[int]:
    for name in (GENERATION_CONFIG_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            continue
        values = read_json_object(folder / name)
        for part in (values, values.get("text_config")):
            named = part.get("eos_token_id") if isinstance(part, dict) else None
            for one in named if isinstance(named, list) else [] if named is None else [named]:
                if type(one) is not int or one < 0:  # True is an int
                    raise SpecError(f"{folder / name} says eos_token_id={named!r}, which is no token's id; correct it.")
                yield one
