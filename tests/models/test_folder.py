"""The digest of a model folder changes with every file that a loader reads, and with no other."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nosce.errors import SpecError
from nosce.models.api.local import LocalChatModel
from nosce.models.architecture import Pretrained
from nosce.models.folder import READ_FILES, check_files, folder_digest, read_config


@pytest.fixture
def folder(tmp_path):
    """Files by the names that a folder may have; of them only the configuration and the weights have to be right."""
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    save_file({"a": torch.zeros(3)}, place / "model.safetensors")
    for name in READ:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("before")
    (place / "README.md").write_text("before")
    return place


READ = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/tool_use.jinja",
    "weights.gguf",
)


@pytest.mark.parametrize("name", ["config.json", *READ])
def test_an_edit_within_one_tick_of_the_clock_is_another_model(folder, name):
    """An edit of any file that is read, of equal length and time, changes the digest; undone, the digest is back."""
    before, stat = Pretrained.from_folder(folder), (folder / name).stat()
    text = (folder / name).read_text(encoding="utf-8")
    (folder / name).write_text(text.replace("gpt2", "opt2").replace("before", "behind"))
    os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert (folder / name).stat().st_size == stat.st_size
    assert Pretrained.from_folder(folder).digest != before.digest
    assert LocalChatModel(folder).model_id != f"model {before.digest[:16]}"
    (folder / name).write_text(text)
    assert Pretrained.from_folder(folder) == before


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files whose bytes are read, in order."""
    names, whole = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, how: names.append(Path(file.name).name) or whole(file, how)
    )
    return names


def test_a_settled_file_is_read_once_and_again_after_an_edit_that_keeps_its_length_and_time(
    folder, read_files, monkeypatch
):
    """Weights have gigabytes, and a card looks at its models two dozen times."""
    monkeypatch.setattr("nosce.models.folder.SETTLED_SECONDS", 0.0)
    time.sleep(0.05)
    first = folder_digest(folder)
    n_files = len(read_files)
    assert folder_digest(folder) == first
    assert len(read_files) == n_files > 1
    config, stat = folder / "config.json", (folder / "config.json").stat()
    config.write_text(config.read_text(encoding="utf-8").replace("gpt2", "opt2"), encoding="utf-8")
    os.utime(config, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folder_digest(folder) != first
    assert read_files[n_files:] == ["config.json"]


def test_a_file_that_has_just_changed_is_read_each_time(folder, read_files):
    """Its next edit may fall into the same tick of the clock."""
    (folder / "config.json").touch()
    folder_digest(folder), folder_digest(folder)
    assert read_files.count("config.json") == 2


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "tokenizer.model.v3"])
def test_a_file_that_is_added_is_another_model(folder, name):
    """An adapter changes the digest; the folder of an adapter is refused as well."""
    before = folder_digest(folder)
    (folder / name).write_text("{}")

    assert folder_digest(folder) != before
    if name == "adapter_config.json":
        with pytest.raises(SpecError, match="holds an adapter"):
            Pretrained.from_folder(folder)


def test_a_file_that_is_moved_is_another_model(folder):
    """The same bytes under another name are read by another loader."""
    before = folder_digest(folder)
    (folder / "vocab.json").rename(folder / "vocab.bpe")

    assert folder_digest(folder) != before


@pytest.mark.parametrize(
    ("change", "named"),
    [({"rope_theta": 10**30}, "rope_theta"), ({"text_config": {"router": -(2**63)}}, "router"), ({}, None)],
)
def test_a_number_beyond_64_bits_is_refused_but_for_a_limit_that_means_none(tmp_path, change, named):
    """torch overflowed on it in the training step."""
    config = {"model_type": "llama", "model_max_length": 10**30, **change}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if named is None:
        assert read_config(tmp_path) == config
    else:
        with pytest.raises(SpecError, match=named):
            read_config(tmp_path)


def test_what_is_not_read_changes_nothing(folder):
    """A README, pickled weights and the results of a training are no part of the model; nor is the folder's name."""
    before = Pretrained.from_folder(folder)
    (folder / "README.md").write_text("behind")
    for name in ("pytorch_model.bin", "trainer_state.json", "LICENSE", ".gitattributes"):
        (folder / name).write_text("behind")

    assert Pretrained.from_folder(folder) == before
    assert Pretrained.from_folder(folder.rename(folder.with_name("moved"))).digest == before.digest


def test_each_shard_and_the_index_count(folder):
    """Weights in several files: any of them, and the index."""
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        save_file({f"w{number}": torch.zeros(3)}, folder / f"{number}.safetensors")
    index = {"weight_map": {"w1": "1.safetensors", "w2": "2.safetensors"}}
    digests = set()
    for metadata in ({}, {"total_size": 1}):
        (folder / "model.safetensors.index.json").write_text(json.dumps(index | {"metadata": metadata}))
        digests.add(folder_digest(folder))
    save_file({"w2": torch.ones(3)}, folder / "2.safetensors")

    assert len({*digests, folder_digest(folder)}) == 3
    save_file({"w3": torch.ones(3)}, folder / "2.safetensors")
    with pytest.raises(SpecError, match=r"names the weight 'w2', which none of its 2 shards holds"):
        check_files(folder)


def test_every_file_of_every_tokenizer_of_transformers_counts():
    """The patterns cover the names of vocabularies of all classes of tokenizers that transformers has."""
    from transformers import PreTrainedTokenizerBase
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

    classes = {tokenizer_class_from_name(name) for name in TOKENIZER_MAPPING_NAMES.values() if name}
    names: set[str] = set()
    for one in (PreTrainedTokenizerBase, *filter(None, classes)):  # those of libraries that are not there are dummies
        names.update(*(vars(base).get("vocab_files_names", {}).values() for base in one.__mro__))

    assert len(names) > 5
    assert not {n for n in names if not any(fnmatch.fnmatch(n, pattern) for pattern in READ_FILES)}
