"""Where a result comes from: the commit of a checkout, and of a wheel without one."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nosce.store import provenance
from nosce.store.commit import git_state

ROOT = Path(__file__).parents[2]
COMMIT_FILE = "nosce/store/_commit.json"
in_a_checkout = pytest.mark.skipif(git_state()["commit"] is None, reason="the tests run outside of a checkout")


def run(*words: object, cwd: Path | None = None) -> str:
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def state_in(folder: Path) -> dict:
    """What the copy of nosce in a folder says of its commit; the module needs no library."""
    code = "import json, nosce.store.commit as p; print(json.dumps({**p.git_state(), 'file': p.__file__}))"
    state = json.loads(run(sys.executable, "-c", code, cwd=folder))
    assert Path(state.pop("file")).is_relative_to(folder)
    return state


@pytest.fixture
def installed(tmp_path):
    """A copy of the package as an installation has it: without git."""
    return shutil.copytree(ROOT / "src", tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))


@in_a_checkout
def test_a_checkout_is_asked_itself():
    """The commit is the checkout's, even where a wheel was once built from it."""
    assert git_state()["commit"] == run("git", "rev-parse", "HEAD", cwd=ROOT)


def test_without_git_and_without_a_record_the_commit_is_null(installed):
    """A commit that nobody knows is not guessed."""
    assert state_in(installed) == {"commit": None, "dirty": None}


def test_an_installation_says_what_its_wheel_recorded(installed):
    """The recorded commit stands in for the checkout."""
    (installed / COMMIT_FILE).write_text('{"commit": "abc", "dirty": true}')
    assert state_in(installed) == {"commit": "abc", "dirty": True}


def test_the_commit_of_a_repository_around_an_installation_is_not_taken(installed):
    """A virtual environment often lies within its owner's repository, whose commit is not nosce's."""
    run("git", "init", "-q", installed.parent)
    run(
        *("git", "-C", installed.parent, "-c", "user.name=a", "-c", "user.email=a@b"),
        "commit",
        "--allow-empty",
        "-qm",
        "x",
    )
    assert state_in(installed) == {"commit": None, "dirty": None}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """A Python with pip and hatchling: this one, or a scratch environment."""
    if importlib.util.find_spec("hatchling") and importlib.util.find_spec("pip"):
        return sys.executable
    folder = tmp_path_factory.mktemp("builder")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    try:
        run(python, "-m", "pip", "install", "-q", "hatchling")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"hatchling cannot be installed here: {error.stderr.splitlines()[-1]}")
    return python


def wheel_of(builder: Path, source: Path, folder: Path) -> Path:
    run(builder, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source)
    (wheel,) = folder.glob("nosce-*.whl")
    return wheel


@in_a_checkout
@pytest.mark.slow
def test_a_wheel_knows_its_commit(builder, tmp_path):
    """Built from the checkout, or from an sdist of it, and unpacked elsewhere, nosce says which commit it is."""
    code = "import hatchling.build as b, sys; print(b.build_sdist(sys.argv[1]))"
    sdist = tmp_path / run(builder, "-c", code, tmp_path, cwd=ROOT)
    for name, source in (("checkout", ROOT), ("sdist", sdist)):
        with zipfile.ZipFile(wheel_of(builder, source, tmp_path / name)) as wheel:
            assert wheel.namelist().count(COMMIT_FILE) == 1
            wheel.extractall(tmp_path / name / "site")
        assert state_in(tmp_path / name / "site") == git_state()
    assert not (ROOT / "src" / COMMIT_FILE).exists()


def test_the_processor_has_a_name():
    """What the system calls it, which is more than the architecture wherever the system tells it."""
    assert provenance.cpu_model()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    if "model name" in lines:
        assert f": {provenance.cpu_model()}\n" in lines


def test_a_processor_without_a_name_is_its_architecture(monkeypatch):
    """ARM processors tell Linux no name."""
    monkeypatch.setattr(provenance, "_cpu_brand", lambda: "")
    assert provenance.cpu_model.__wrapped__() == platform.machine()


def test_memory_is_that_of_the_block():
    """A block that takes 200 MiB needed them, and the small block after it did not."""
    import numpy as np

    with provenance.record_provenance() as large:
        np.ones(200 * 2**20, dtype=np.uint8).sum()
    with provenance.record_provenance() as small:
        pass

    assert large["peak_memory_mib"] > 200
    assert small["peak_memory_mib"] is None or small["peak_memory_mib"] < large["peak_memory_mib"] - 150


@pytest.mark.parametrize(("after", "expected"), [(300.0, 300.0), (250.0, None), (None, None)])
def test_an_earlier_peak_is_not_taken_for_the_blocks(monkeypatch, after, expected):
    """Where the system forgets no peak, a peak that did not rise says nothing of the block."""
    monkeypatch.setattr(provenance, "_reset_peak", lambda: False)
    peaks = iter([250.0, after])
    monkeypatch.setattr(provenance, "_peak_mib", lambda: next(peaks))
    with provenance.record_provenance() as record:
        pass
    assert record["peak_memory_mib"] == expected
