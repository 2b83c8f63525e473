"""The end tokens of a folder are those that its files name, and none that a class of transformers has by default."""

from __future__ import annotations

import json

import pytest
import transformers

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.models.end_tokens import end_token_ids
from nosce.models.folder_tokenizer import load_folder_tokenizer


@pytest.fixture
def folder(tmp_path):
    """The files of a Llama without weights; its end token is 1, and 2 is the end of LlamaConfig by default."""
    words = tokenizers.build_tokenizer(TokenizerSpec(), ["a b c d e"])
    tokenizers.save_tokenizer(words, tmp_path)
    write(tmp_path, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", eos_token="<pad>")
    write(tmp_path, "config.json", model_type="llama", vocab_size=8)
    return tmp_path


def write(folder, name, **values):
    (folder / name).write_text(json.dumps(values))


def ends(folder):
    return end_token_ids(folder, load_folder_tokenizer(folder))


def test_a_default_of_a_class_ends_no_reply(folder):
    """LlamaConfig has 2 by default, which is another token here."""
    assert transformers.LlamaConfig().eos_token_id == 2
    assert ends(folder) == [1]


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [3, 1]}, {}, [1, 3]),
        ({"eos_token_id": None}, {"eos_token_id": 4}, [1, 4]),
        ({}, {"text_config": {"eos_token_id": [5], "vocab_size": 8}}, [1, 5]),
        ({"eos_token_id": 3}, {"eos_token_id": 4, "text_config": {"eos_token_id": 5, "vocab_size": 8}}, [1, 3, 4, 5]),
        ({"eos_token_id": [3, 8]}, {}, [1, 3]),  # the model has no token 8 to say
    ],
)
def test_every_file_is_asked(folder, generation, config, expected):
    """The tokenizer's first; a model that also sees has no end of its own, but its language model has."""
    write(folder, "generation_config.json", **generation)
    family = "gemma3" if "text_config" in config else "llama"
    write(folder, "config.json", **({"model_type": family, "vocab_size": 8} | config))
    assert ends(folder) == expected


@pytest.mark.parametrize("wrong", ["</s>", 1.5, True, -1, ["</s>"], {"id": 1}])
def test_an_end_that_is_no_token_id_is_refused(folder, wrong):
    """One sentence that names the file and what it says."""
    write(folder, "generation_config.json", eos_token_id=wrong)
    with pytest.raises(SpecError, match=r"generation_config\.json says eos_token_id=.* which is no token"):
        ends(folder)


def test_a_folder_without_an_end_is_refused(folder):
    """Not even its class's default is taken."""
    write(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(SpecError, match=r"has no end token, .*add eos_token to its tokenizer_config\.json"):
        ends(folder)
