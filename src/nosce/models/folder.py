"""A pretrained model's folder in the Hugging Face layout: which files are read, their digest, and what is refused.

Nothing here imports torch or transformers, so that a folder is looked at when a study is planned. No file is unpickled
and no code of a folder is run.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from nosce.errors import SpecError
from nosce.store.files import ON_WINDOWS, JsonObject, load_json_object
from nosce.store.machine import ANY_SIZE, any_size_allowed, physical_memory

CONFIG_FILE, GENERATION_CONFIG_FILE = "config.json", "generation_config.json"
WEIGHTS_FILE, WEIGHTS_INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
#: Beside the weights: all files from which transformers makes a model, a tokenizer or a chat template.
READ_FILES = (
    CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    "tokenizer*",
    "*token*.json",  # special_tokens_map.json, added_tokens.json
    "*vocab*",
    "*merges*",
    "*.model",  # sentencepiece: tokenizer.model, spiece.model, sentencepiece.bpe.model
    "*.bpe*",
    "*.codes",
    "*.tokenizer",
    "byte_maps.json",
    "emoji.json",
    "normalizer.json",
    "word_*.json",
    "*.tiktoken",
    "*.gguf",
    "chat_template*",
    "additional_chat_templates/*",
    "processor_config.json",  # a chat template may stand in it
    "adapter_*",
)
LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
SETTLED_SECONDS = 2.0  # since a file's last change, beyond which another change has another time on any disk
MAX_JSON_BYTES = 64 << 20  # of config.json or an index; the largest real ones have a few MB


def folder_digest(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files that the loaders of a model and of its tokenizer read.

    A process reads the bytes of a file once, until its size or one of its times changes; a file that has just been
    changed is read each time, since an edit within one tick of the clock would leave both as they are.

    Raises:
        SpecError: A file cannot be read.
    """
    hasher = hashlib.sha256()
    files = {file for pattern in READ_FILES for file in folder.glob(pattern) if file.is_file()}
    try:
        for file in sorted({*files, *weight_files(folder)}):
            hasher.update(os.fsencode(file.relative_to(folder)) + b"\0" + _file_digest(file))
    except OSError as error:
        raise SpecError(f"{file} of a pretrained model cannot be read ({error.strerror}); make it readable.") from None
    return hasher.hexdigest()


def _file_digest(file: Path) -> bytes:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        state = _file_state(stream.fileno())
        if state not in _FILE_DIGESTS:
            digest = hashlib.file_digest(stream, "sha256").digest()
            is_settled = time.time() - state.changed_ns / 1e9 > SETTLED_SECONDS and not ON_WINDOWS
            if state != _file_state(stream.fileno()) or not is_settled:
                return digest
            _FILE_DIGESTS[state] = digest
        return _FILE_DIGESTS[state]


class _FileState(NamedTuple):
    """What an edit changes of a file; nobody can set the time of its last change back, which Windows does not have."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


_FILE_DIGESTS: dict[_FileState, bytes] = {}


def _file_state(descriptor: int) -> _FileState:
    found = os.fstat(descriptor)
    return _FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def check_files(folder: Path) -> None:
    """Check that a folder has a configuration and whole safetensors weights.

    Raises:
        SpecError: A file is missing, broken, pickled, or outside of the folder; or the folder is an adapter's.
    """
    config = read_config(folder)
    if (folder / ADAPTER_CONFIG_FILE).exists():
        raise SpecError(
            f"the folder {folder} holds an adapter ({ADAPTER_CONFIG_FILE}) beside or instead of a model; "
            "merge it into its model (merge_and_unload of peft) and save that."
        )
    shapes = weight_shapes(folder)
    most = max([len(shapes), *(size for shape in shapes.values() for size in shape)])
    for name in LAYER_COUNTS:
        if isinstance(count := config.get(name, 1), int) and count < 1:
            raise SpecError(f"{folder / CONFIG_FILE} says {name}={count}; a model has at least one layer.")
    for name, count in _module_counts(config):
        if count > most:
            raise SpecError(
                f"{folder / CONFIG_FILE} says {name}={count:,}, but the folder's weights are {len(shapes)} tensors; "
                "give the configuration that the weights were saved with."
            )


def read_config(folder: Path) -> JsonObject:
    """The contents of `config.json`.

    Raises:
        SpecError: There is no folder or no such file, or it is not a JSON object.
    """
    if not _is_file(folder / CONFIG_FILE):
        found = "is no folder" if not folder.is_dir() else f"lacks {CONFIG_FILE}"
        raise SpecError(f"{folder} {found}; give the local folder of a model in the Hugging Face layout.")
    config = read_json_object(folder / CONFIG_FILE)
    if (absurd := next(_oversized_numbers(config), None)) is not None:
        raise SpecError(f"{folder / CONFIG_FILE} says {absurd[0]}={absurd[1]}, which no model has; copy it again.")
    return config


def _oversized_numbers(config: JsonObject) -> Iterator[tuple[str, str]]:
    """The whole numbers of a configuration, nested ones too, that torch has no type for.

    A maximal length is none of them: tokenizers write 10^30 for "no limit".
    """
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _oversized_numbers(value)
        elif isinstance(value, int) and abs(value) >= 2**63 and not name.endswith("max_length"):
            yield name, f"{str(value)[:20]}..."


def read_json_object(path: Path) -> JsonObject:
    """The object in a JSON file of a pretrained model.

    Raises:
        SpecError: The file cannot be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise SpecError(f"{path} has more than {MAX_JSON_BYTES >> 20} MB, so it is no model's file; replace it.")
        return load_json_object(path)
    except OSError as error:
        raise SpecError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
    except ValueError as error:
        raise SpecError(f"{path} cannot be used ({error}); copy it again.") from None


def weight_files(folder: Path) -> list[Path]:
    """The files from which transformers reads the weights: one, or an index and its shards.

    Raises:
        SpecError: There are none, only pickled ones, or the index names files outside of the folder or missing ones.
    """
    if _is_file(folder / WEIGHTS_FILE):
        return [folder / WEIGHTS_FILE]
    if _is_file(folder / WEIGHTS_INDEX_FILE):
        return [folder / WEIGHTS_INDEX_FILE, *_shards(folder)]
    pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(pattern)]
    found = f"has only pickled ones ({pickled[0]}), which are not read" if pickled else "has none of these"
    raise SpecError(
        f"the weights of a model are {WEIGHTS_FILE} or the shards of {WEIGHTS_INDEX_FILE}, and {folder} {found}; "
        "save the model in the Hugging Face layout, with save_pretrained of transformers."
    )


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each stored tensor by its name, from the headers of the files.

    Raises:
        SpecError: A file is not whole, or does not hold what the index says.
    """
    first, *shards = weight_files(folder)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in shards or [first]:
        shapes |= _header(file)
    if not shapes:
        raise SpecError(f"the weights in {folder} are empty; copy the files again.")
    if shards and (absent := sorted(set(_weight_map(folder)) - set(shapes))):
        raise SpecError(
            f"{first} names the weight {absent[0]!r}, which none of its {len(shards)} shards holds; copy the files "
            "again."
        )
    return shapes


def count_weights(folder: Path) -> int:
    """Number of weights that a folder stores, from the headers of its files; tied weights are stored once.

    Raises:
        SpecError: As `weight_shapes`.
    """
    return sum(math.prod(shape) for shape in weight_shapes(folder).values())


def check_memory(folder: Path, n_bytes: float) -> None:
    """Check that a model of so many bytes fits in this machine's memory, unless `ANY_SIZE` is set.

    Raises:
        SpecError: It does not.
    """
    memory = physical_memory()
    if n_bytes > memory and not any_size_allowed():
        raise SpecError(
            f"the model in {folder} needs {n_bytes / 1e9:,.1f} GB as float32, but this machine has "
            f"{memory / 1e9:,.1f} GB of memory; take a smaller model or a larger machine, or set "
            f"{ANY_SIZE}=1 to try it nonetheless."
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise SpecError(f"{path} cannot be looked at ({error.strerror}); give another folder.") from None


def _weight_map(folder: Path) -> dict[str, str]:
    weight_map = read_json_object(folder / WEIGHTS_INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise SpecError(f"{folder / WEIGHTS_INDEX_FILE} has no weight_map from weights to files; copy it again.")
    return weight_map


def _shards(folder: Path) -> list[Path]:
    names = sorted(set(_weight_map(folder).values()))
    for name in names:
        if Path(name).name != name or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise SpecError(
                f"{folder / WEIGHTS_INDEX_FILE} names the shard {name!r}, which is no *.safetensors file inside the "
                "folder; only those are read."
            )
        if not _is_file(folder / name):
            raise SpecError(f"{folder / WEIGHTS_INDEX_FILE} names the shard {name!r}, which is not there; copy it.")
    return [folder / name for name in names]


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name; the library compares the sizes in the header with the file's."""
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"{file} is not a whole safetensors file ({reason[:200]}); copy it again.") from None


def _module_counts(config: JsonObject) -> Iterator[tuple[str, int]]:
    """The integers of a configuration that say how many layers, blocks or experts are built, one module each."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _module_counts(value)
        elif isinstance(value, int) and any(w in name for w in ("layer", "block", "expert")) and "size" not in name:
            yield name, value
