"""`--model org/name[@revision]` against a server with the hub's layout, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers
from tests.fixtures import fake_hub
from tests.fixtures.fake_hub import COMMITS, GATED_ID, MODEL_ID
from tests.fixtures.tiny_folders import tiny_folder

from nosce.models.architecture import Pretrained

OLD, NEW = COMMITS
PICKLED = "only pickled ones (pytorch_model.bin), which are not read"
NEVER_FETCHED = ("pytorch_model.bin", "modeling_small.py", "consolidated.safetensors", "model.gguf", "README.md")


class Hub:
    """The server's process and what it was asked for."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.log, self.root = folder.parent / "hub.log", folder
        words = [sys.executable, fake_hub.__file__, str(folder), str(self.log)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.variables = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}

    @property
    def requests(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def hub(tmp_path):
    """A hub with a model whose main branch has other weights than an older commit, and files that nobody wants."""
    root = tmp_path / "hub"
    tiny_folder("llama", root / OLD)
    tiny_folder("llama", root / NEW, ["Other words make another tokenizer."] * 4)
    for commit in COMMITS:
        for name in NEVER_FETCHED:
            (root / commit / name).write_bytes(b"no")
        (root / commit / "onnx").mkdir()
        shutil.copyfile(root / commit / "model.safetensors", root / commit / "onnx" / "model.safetensors")
    started = Hub(root, tmp_path / "home")
    yield started
    started.stop()


PARSED = """
import json, sys
from nosce.models.sources import parse_models
(source,) = parse_models(sys.argv[1])
print(json.dumps([source.label, source.model.source, source.model.digest]))
"""


def parsed(hub, model, **variables):
    """The label, source and digest of a model of the hub, in a process that begins with these variables."""
    done = subprocess.run(
        [sys.executable, "-c", PARSED, model],
        capture_output=True,
        text=True,
        env=os.environ | hub.variables | variables,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal_of(nosce, hub, model, tmp_path, **variables):
    """The one line that the command says of a model, with exit code 2 and nothing in its store."""
    words = ["run", "biographies", "--model", model, "--scale", "smoke", "--store", tmp_path / "s"]
    done = nosce(*words, **(hub.variables | variables))
    assert (done.returncode, done.stdout) == (2, "")
    assert not list((tmp_path / "s").glob("*/*"))
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.whole
def test_a_model_of_the_hub_goes_through_a_study(nosce, hub, tmp_path):
    """At the commit that main means now, which claims, page and specs name; nothing else is fetched."""
    store = tmp_path / "s"
    words = [
        "biographies",
        "--model",
        MODEL_ID,
        "--scale",
        "smoke",
        "--arms",
        "single",
        "--workers",
        "1",
        "--store",
        str(store),
    ]
    done = nosce("run", *words, "--json", **hub.variables)
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    assert contents["variant"] == f"small@{NEW[:12]}"
    assert contents["notes"] == [f"small is {MODEL_ID} of the Hugging Face hub at the commit {NEW}."]
    specs = [path.read_text() for path in store.glob("steps/*/spec.json")]
    of_folders = [spec for spec in specs if '"digest"' in spec]
    assert len(of_folders) == 2  # the corpus and the first training
    assert all(f"{MODEL_ID}@{NEW}" in spec for spec in of_folders)
    asked = " ".join(hub.requests)
    assert f"/cdn/{NEW}/model.safetensors" in asked
    assert not [
        name for name in (*NEVER_FETCHED, "onnx/model.safetensors") if f"/{name}" in asked.replace("/tree/", " ")
    ]

    report = nosce.here("report", "--out", tmp_path / "report", "--store", store)
    assert report.returncode == 0, report.stderr
    pages = "".join(page.read_text() for page in (tmp_path / "report").rglob("*.html"))
    assert f"at the commit {NEW}" in pages


@pytest.mark.whole
def test_a_revision_is_the_commit_that_it_means(hub):
    """Other commits are other models, whose label and digest differ."""
    newest, by_branch, old = (parsed(hub, name) for name in (MODEL_ID, f"{MODEL_ID}@main", f"{MODEL_ID}@{OLD}"))
    assert newest[:2] == [f"small@{NEW[:12]}", f"{MODEL_ID}@{NEW}"]
    assert newest == by_branch
    assert old[:2] == [f"small@{OLD[:12]}", f"{MODEL_ID}@{OLD}"]
    (hub.root / OLD / "model.gguf").unlink()  # which is not fetched
    assert old[2] == Pretrained.from_folder(hub.root / OLD).digest != newest[2]


def test_shards_are_fetched_as_their_index_names_them(hub):
    """A model in several files, beside a copy of its weights that its index does not name."""
    folder = hub.root / NEW
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    shards = {shard.name for shard in folder.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert parsed(hub, MODEL_ID)[1] == f"{MODEL_ID}@{NEW}"
    assert shards == {line.rpartition("/")[2] for line in hub.requests if line.startswith(f"GET /cdn/{NEW}")}


@pytest.mark.whole
def test_what_the_hub_does_not_give_is_one_sentence(nosce, hub, tmp_path):
    """Before any work, and of pickled weights before a download."""
    (hub.root / NEW / "model.safetensors").unlink()
    reasons = {
        "someone/other": "the Hugging Face hub has no such model, or only for those who log in",
        f"{MODEL_ID}@v9": "the Hugging Face hub has the model, but not this revision",
        GATED_ID: "its owner wants its users to log in and agree to terms",
        MODEL_ID: f"weights in safetensors are wanted, and it has {PICKLED}",
    }
    for model, reason in reasons.items():
        line = refusal_of(nosce, hub, model, tmp_path)
        assert line == f"nosce: --model {model} cannot be fetched: {reason}; name a folder that holds it."
    assert not [line for line in hub.requests if "/resolve/" in line]


@pytest.mark.whole
def test_without_a_network_a_copy_is_used_and_otherwise_a_sentence_says_so(nosce, hub, tmp_path):
    """The copy keeps its commit. A server that is gone, and the hub's own word for staying offline."""
    before = parsed(hub, MODEL_ID)
    hub.stop()
    for offline in ("0", "1"):
        assert parsed(hub, MODEL_ID, HF_HUB_OFFLINE=offline) == before
        started = time.monotonic()
        line = refusal_of(nosce, hub, f"{MODEL_ID}@{OLD}", tmp_path, HF_HUB_OFFLINE=offline)
        assert line.endswith("cannot be reached, and no copy of the model is here; name a folder that holds it.")
        assert time.monotonic() - started < 60  # most of it imports, on a machine with other work
