"""Model folders in the Hugging Face layout that are broken in a named way, from whole ones that transformers wrote.

`FAULTS` holds the ways by name; each changes a copy of a whole folder and says what should become of it. `random_fault`
draws another from a seed: bytes that are changed, files that are cut, values of a configuration that are exchanged.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec

Expected = Literal["refused", "ok", "either"]
FAMILIES = ("gpt2", "llama", "mixtral")
MARK = "stranger_was_here"  # a file that a folder's code or pickle would write in the current folder
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@dataclass(frozen=True)
class Fault:
    """A way to break a folder.

    Args:
        change: Breaks the folder at a path.
        arm: What should become of a study whose arm starts from the folder.
        chat: What should become of a question to the folder.
    """

    change: Callable[[Path], None]
    arm: Expected = "refused"
    chat: Expected = "refused"


def whole_folder(family: str, folder: Path) -> None:
    """Write a model of two narrow layers and a byte-level tokenizer with a chat template."""
    text = "The quick brown fox jumps over the lazy dog. " * 20
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), [text]), folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 1024}
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_layer=2, n_embd=16, n_head=2, n_positions=1024, vocab_size=len(tokenizer), **ids
        )
    elif family == "llama":
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            intermediate_size=32,
            num_key_value_heads=2,
            attention_dropout=0.1,
            **sizes,
            **ids,
        )
    else:
        config = transformers.MixtralConfig(
            vocab_size=len(tokenizer),
            intermediate_size=32,
            num_key_value_heads=2,
            num_local_experts=2,
            router_jitter_noise=0.1,
            attention_dropout=0.1,
            **sizes,
            **ids,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def broken_copy(whole: Path, fault: Fault, folder: Path) -> Path:
    """A copy of a whole folder with a fault."""
    shutil.copytree(whole, folder)
    fault.change(folder)
    return folder


def _write(name: str, contents: bytes, folder: Path) -> None:
    (folder / name).write_bytes(contents)


def _cut(name: str, share: float, folder: Path) -> None:
    contents = (folder / name).read_bytes()
    (folder / name).write_bytes(contents[: int(share * len(contents))])


def _remove(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)


def _replace_by(name: str, make: Callable[[Path], object], folder: Path) -> None:
    _remove(name, folder)
    make(folder / name)


def _set(values: dict[str, Any], folder: Path, name: str = "config.json") -> None:
    """Set values of a JSON file; "layers", "width", "heads" and "positions" are what the family calls them."""
    known = json.loads((folder / name).read_text(encoding="utf-8"))
    for key, value in values.items():
        known[_family_name(key, known)] = value
    (folder / name).write_text(json.dumps(known))


def _family_name(key: str, config: dict[str, Any]) -> str:
    names = {
        "layers": ("num_hidden_layers", "n_layer"),
        "width": ("hidden_size", "n_embd"),
        "heads": ("num_attention_heads", "n_head"),
        "positions": ("max_position_embeddings", "n_positions"),
        "activation": ("hidden_act", "activation_function"),
    }
    return next((name for name in names.get(key, ()) if name in config), key)


def _drop(key: str, folder: Path, name: str = "config.json") -> None:
    known = json.loads((folder / name).read_text(encoding="utf-8"))
    known.pop(_family_name(key, known), None)
    (folder / name).write_text(json.dumps(known))


def _weights(change: Callable[[dict[str, torch.Tensor]], object], folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors) or tensors
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _fill(value: float, tensors: dict[str, torch.Tensor]) -> None:
    tensors[max(tensors)].view(-1)[0] = value


def _cast(dtype: torch.dtype, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def _shard(folder: Path, *, change: Callable[[dict[str, Any], Path], object] = lambda index, folder: None) -> None:
    """Split the weights in two files with an index, and break these."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    _remove("model.safetensors", folder)
    index: Any = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    index = change(index, folder) or index
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _move_shard(target: str, index: dict[str, Any], folder: Path) -> None:
    """The index names a place outside of the folder, and there is a whole file there."""
    shard = "model-00001-of-00002.safetensors"
    place = Path(target) if Path(target).is_absolute() else folder / target
    if target.endswith(".safetensors") and not place.exists():
        shutil.copyfile(folder / shard, place)
    names = index["weight_map"]
    index["weight_map"] = {name: target if file == shard else file for name, file in names.items()}


def _pickled(folder: Path, *, alone: bool) -> None:
    """Weights as a pickle that writes a file when it is read."""

    class Stranger:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"touch {MARK}",))

    torch.save({"weight": Stranger()}, folder / "pytorch_model.bin")
    if alone:
        _remove("model.safetensors", folder)


def _remote_code(values: dict[str, Any], folder: Path) -> None:
    _set(values | {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}}, folder)
    (folder / "own.py").write_text(f"open({MARK!r}, 'w')\n")


def _header(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    """Change the JSON header of the weights and nothing behind it."""
    contents = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", contents[:8])[0]
    header = json.loads(contents[8 : 8 + length])
    header = change(header) or header
    written = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(written)) + written + contents[8 + length :])


def _entry(values: dict[str, Any], header: dict[str, Any]) -> None:
    header[max(name for name in header if name != "__metadata__")].update(values)


def _more_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    first = 1 + max(token["id"] for token in tokenizer["added_tokens"] or [{"id": 299}])
    first = max(first, len(tokenizer["model"]["vocab"]))
    for number in range(5):
        special = {"id": first + number, "content": f"<new{number}>", "special": True}
        special |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        tokenizer["added_tokens"].append(special)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def _template(text: str, folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(text)


_CONFIG, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
_ODD_CONTENTS = {
    "empty": b"",
    "spaces": b"  \n",
    "null": b"null",
    "list": b"[1, 2]",
    "string": b'"model"',
    "binary": bytes(range(256)) * 40,
    "deep": b"[" * 100_000,
    "utf16": '{"model_type": "gpt2"}'.encode("utf-16"),
    "html": b"<!DOCTYPE html><html>Not found</html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
}
_LINKS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}
_REFUSED_VALUES: dict[str, dict[str, Any]] = {
    "model_type unknown": {"model_type": "no_such_model"},
    "model_type a number": {"model_type": 7},
    "model_type a list": {"model_type": ["gpt2"]},
    "model_type a surrogate": {"model_type": "\ud800"},
    "model_type of images": {"model_type": "resnet"},
    "model_type of an encoder": {"model_type": "bert"},
    "model_type of another": {"model_type": "bloom"},
    "encoder-decoder": {"is_encoder_decoder": True},
    "a million layers": {"layers": 1_000_000},
    "a billion layers": {"layers": 10**9},
    "a layer too many": {"layers": 3},
    "a layer too few": {"layers": 1},
    "no layers": {"layers": 0},
    "layers a string": {"layers": "2"},
    "layers null": {"layers": None},
    "layers negative": {"layers": -1},
    "width huge": {"width": 10**9},
    "width beyond 64 bits": {"width": 10**30},
    "width negative": {"width": -16},
    "width zero": {"width": 0},
    "width a float": {"width": 16.5},
    "width a string": {"width": "wide"},
    "width doubled": {"width": 32},
    "heads zero": {"heads": 0},
    "heads three": {"heads": 3},
    "heads a string": {"heads": "2"},
    "heads huge": {"heads": 10**9},
    "heads a list": {"heads": [2]},
    "vocabulary huge": {"vocab_size": 10**12},
    "vocabulary smaller": {"vocab_size": 20},
    "vocabulary a string": {"vocab_size": "300"},
    "vocabulary zero": {"vocab_size": 0},
    "activation unknown": {"activation": "no_such_activation"},
    "activation null": {"activation": None},
    "quantized by bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "quantized by gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "quantized oddly": {"quantization_config": "yes"},
}
_OTHER_VALUES: dict[str, tuple[dict[str, Any], Expected]] = {
    "attention of a stranger": ({"_attn_implementation": "evil/kernel"}, "ok"),
    "attention that is not installed": ({"attn_implementation": "flash_attention_2"}, "ok"),
    "dtype odd": ({"torch_dtype": "float99"}, "ok"),
    "dtype a number": ({"dtype": 17}, "ok"),
    "architectures nonsense": ({"architectures": ["Nonsense"]}, "ok"),
    "outputs as tuples": ({"return_dict": False, "output_attentions": True, "output_hidden_states": True}, "ok"),
    "a billion labels": ({"num_labels": 10**9}, "ok"),
    "heads of dropout": ({"attn_pdrop": 0.9, "attention_dropout": 0.9}, "ok"),
    "dropout a string": ({"attn_pdrop": "much", "attention_dropout": "much"}, "refused"),
    "positions huge": ({"positions": 10**9}, "either"),
    "positions beyond 64 bits": ({"positions": 10**30}, "either"),
    "positions zero": ({"positions": 0}, "either"),
    "positions a string": ({"positions": "many"}, "refused"),
    "initializer a string": ({"initializer_range": "x"}, "either"),
    "end token out of range": ({"eos_token_id": 10**9}, "either"),
    "end token a string": ({"eos_token_id": "</s>"}, "either"),
    "end token negative": ({"eos_token_id": -5}, "either"),
    "a pad token out of range": ({"pad_token_id": 10_000}, "either"),
    "untied": ({"tie_word_embeddings": False}, "either"),
    "tied a string": ({"tie_word_embeddings": "x"}, "either"),
    "rope odd": ({"rope_scaling": {"rope_type": "no_such_rope", "factor": "x"}}, "either"),
    "rope a list": ({"rope_parameters": [1]}, "either"),
    "layer types odd": ({"layer_types": ["no_such_layer", 5]}, "either"),
    "text config a list": ({"text_config": [1]}, "either"),
    "generation in the configuration": ({"temperature": -1, "num_beams": "x"}, "either"),
    "a version of the future": ({"transformers_version": "99.0.0"}, "ok"),
    "a version that is none": ({"transformers_version": 5}, "either"),
    "million experts": ({"num_local_experts": 1_000_000}, "either"),
    "experts a string": ({"num_local_experts": "two"}, "either"),
}

FAULTS: dict[str, Fault] = {"nothing": Fault(lambda folder: None, "ok", "ok")}
for _name, _contents in _ODD_CONTENTS.items():
    FAULTS[f"config {_name}"] = Fault(partial(_write, _CONFIG, _contents))
    FAULTS[f"weights {_name}"] = Fault(partial(_write, _WEIGHTS, _contents))
    FAULTS[f"tokenizer {_name}"] = Fault(partial(_write, _TOKENIZER, _contents))
    FAULTS[f"tokenizer_config {_name}"] = Fault(partial(_write, "tokenizer_config.json", _contents), "either", "either")
    FAULTS[f"generation_config {_name}"] = Fault(
        partial(_write, "generation_config.json", _contents), "either", "either"
    )
    FAULTS[f"index {_name}"] = Fault(
        lambda folder, contents=_contents: (  # type: ignore[misc]
            _shard(folder),
            _write("model.safetensors.index.json", contents, folder),
        )
    )
for _name, _make in _LINKS.items():
    for _file in (_CONFIG, _WEIGHTS, _TOKENIZER):
        FAULTS[f"{_file} {_name}"] = Fault(partial(_replace_by, _file, _make))
for _name, _values in _REFUSED_VALUES.items():
    FAULTS[_name] = Fault(partial(_set, _values))
for _name, (_values, _expected) in _OTHER_VALUES.items():
    FAULTS[_name] = Fault(partial(_set, _values), _expected, _expected)
for _name in (_CONFIG, _WEIGHTS, _TOKENIZER):
    FAULTS[f"{_name} missing"] = Fault(partial(_remove, _name))
    FAULTS[f"{_name} cut in half"] = Fault(partial(_cut, _name, 0.5))
    FAULTS[f"{_name} cut at its end"] = Fault(partial(_cut, _name, 0.99))
for _key in ("model_type", "vocab_size", "width", "layers", "heads", "positions", "activation"):
    FAULTS[f"config without {_key}"] = Fault(partial(_drop, _key), *(("either",) * 2))
FAULTS |= {
    "config of 70 MB": Fault(lambda folder: os.truncate(folder / _CONFIG, 70_000_000)),
    "code of its own": Fault(partial(_remote_code, {}), "ok", "ok"),
    "code of its own for an unknown model": Fault(partial(_remote_code, {"model_type": "own"})),
    "weights not finite": Fault(partial(_weights, partial(_fill, float("nan")))),
    "weights infinite": Fault(partial(_weights, partial(_fill, float("inf")))),
    "a weight too few": Fault(partial(_weights, lambda tensors: tensors.pop(min(tensors)) is None and None)),
    "no weights": Fault(partial(_weights, lambda tensors: tensors.clear())),
    "a weight too many": Fault(partial(_weights, lambda tensors: tensors.update(more=torch.ones(2))), "ok", "ok"),
    "weights of float16": Fault(partial(_weights, partial(_cast, torch.float16)), "ok", "ok"),
    "weights of bfloat16": Fault(partial(_weights, partial(_cast, torch.bfloat16)), "ok", "ok"),
    "weights of whole numbers": Fault(partial(_weights, partial(_cast, torch.int64)), "either", "either"),
    "weights of one byte": Fault(partial(_weights, partial(_cast, torch.float8_e4m3fn)), "either", "either"),
    "a weight transposed": Fault(
        partial(_weights, lambda tensors: tensors.update({(n := min(tensors)): tensors[n].reshape(-1)[:5].clone()}))
    ),
    "weights with a tail": Fault(lambda folder: _write(_WEIGHTS, (folder / _WEIGHTS).read_bytes() + b"x" * 9, folder)),
    "a header of 2**62 bytes": Fault(partial(_write, _WEIGHTS, struct.pack("<Q", 2**62) + b"{}")),
    "a header of other offsets": Fault(partial(_header, partial(_entry, {"data_offsets": [0, 4]}))),
    "a header of a huge shape": Fault(partial(_header, partial(_entry, {"shape": [2**40, 2**40]}))),
    "a header of negative shapes": Fault(partial(_header, partial(_entry, {"shape": [-1]}))),
    "a header of an unknown type": Fault(partial(_header, partial(_entry, {"dtype": "F7"}))),
    "pickled weights alone": Fault(partial(_pickled, alone=True)),
    "pickled weights beside": Fault(partial(_pickled, alone=False), "ok", "ok"),
    "shards": Fault(_shard, "ok", "ok"),
    "a shard missing": Fault(
        partial(_shard, change=lambda index, folder: _remove("model-00001-of-00002.safetensors", folder))
    ),
    "a shard cut": Fault(
        partial(_shard, change=lambda index, folder: _cut("model-00002-of-00002.safetensors", 0.7, folder))
    ),
    "a shard without a weight": Fault(
        partial(
            _shard, change=lambda index, folder: index["weight_map"].update(absent="model-00001-of-00002.safetensors")
        )
    ),
    "an index without a map": Fault(partial(_shard, change=lambda index, folder: {"metadata": {}})),
    "an index with a list": Fault(partial(_shard, change=lambda index, folder: {"weight_map": ["model.safetensors"]})),
    "an index with numbers": Fault(partial(_shard, change=lambda index, folder: {"weight_map": {"a": 3}})),
    "an empty index": Fault(partial(_shard, change=lambda index, folder: {"weight_map": {}})),
    "a shard outside": Fault(partial(_shard, change=partial(_move_shard, "../outside.safetensors"))),
    "a shard far outside": Fault(partial(_shard, change=partial(_move_shard, "../../x"))),
    "a shard at a root": Fault(partial(_shard, change=partial(_move_shard, "/etc/hostname"))),
    "a pickled shard": Fault(partial(_shard, change=partial(_move_shard, "pytorch_model.bin"))),
    "an adapter": Fault(
        lambda folder: _write(
            "adapter_config.json", b'{"peft_type": "LORA", "base_model_name_or_path": "../x"}', folder
        )
    ),
    "an adapter's file": Fault(lambda folder: _write("adapter_config.json", b"", folder)),
    "more tokens than rows": Fault(_more_tokens, "ok", "ok"),  # no text has them
    "a template with a token beyond the rows": Fault(
        lambda folder: (_more_tokens(folder), _template("<new4>" + TEMPLATE, folder)),  # type: ignore[arg-type,return-value]
        "ok",
        "refused",
    ),
    "no end token": Fault(partial(_drop, "eos_token", name="tokenizer_config.json"), "either", "either"),
    "an end token that is none": Fault(
        partial(_set, {"eos_token": "<no such>"}, name="tokenizer_config.json"), "either", "either"
    ),
    "an end token of a number": Fault(
        partial(_set, {"eos_token": 5}, name="tokenizer_config.json"), "either", "either"
    ),
    "a tokenizer of its own code": Fault(
        partial(
            _set,
            {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}},
            name="tokenizer_config.json",
        ),
        "either",
        "either",
    ),
    "an unknown tokenizer": Fault(
        partial(_set, {"tokenizer_class": "NoSuchTokenizer"}, name="tokenizer_config.json"), "either", "either"
    ),
    "a tokenizer of an unknown model": Fault(partial(_set, {"model": {"type": "NoSuch"}}, name=_TOKENIZER)),
    "a vocabulary of strings": Fault(
        partial(_set, {"model": {"type": "WordLevel", "vocab": {"a": "b"}, "unk_token": "a"}}, name=_TOKENIZER)
    ),
    "a template cut short": Fault(partial(_template, "{% for m in messages %}{{ m"), "ok", "refused"),
    "a template that raises": Fault(partial(_template, "{{ raise_exception('no') }}"), "ok", "refused"),
    "a template of unknown names": Fault(partial(_template, "{{ nobody.knows.this }}"), "ok", "refused"),
    "a template that looks around": Fault(
        partial(_template, "{{ messages.__class__.__mro__[1].__subclasses__() }}"), "ok", "refused"
    ),
    "a template that divides by zero": Fault(partial(_template, "{{ 1 / 0 }}"), "ok", "refused"),
    "a template of bytes": Fault(
        lambda folder: _write("chat_template.jinja", b"\xff\xfe\x00", folder), "ok", "refused"
    ),
    "an empty template": Fault(partial(_template, ""), "ok", "either"),
    "generation of words": Fault(
        partial(_set, {"max_length": "x", "num_beams": -1}, name="generation_config.json"), "either", "either"
    ),
    "generation of end tokens": Fault(
        partial(_set, {"eos_token_id": [10**9, -1]}, name="generation_config.json"), "either", "either"
    ),
    "generation by a stranger": Fault(
        partial(_set, {"cache_implementation": "evil", "num_beams": 3}, name="generation_config.json"),
        "either",
        "either",
    ),
    "no folder": Fault(lambda folder: shutil.rmtree(folder)),
    "a file for a folder": Fault(lambda folder: (shutil.rmtree(folder), folder.write_text("x"))),  # type: ignore[misc]
    "an empty folder": Fault(lambda folder: (shutil.rmtree(folder), folder.mkdir())),  # type: ignore[misc]
}

_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    3,
    10**6,
    10**12,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [1],
    {},
    {"a": 1},
    [[[]]],
)


def random_fault(seed: int) -> Fault:
    """A fault drawn from a seed, of which only a sentence or success is expected."""
    rng = np.random.default_rng(seed)

    def change(folder: Path) -> None:
        kind = rng.integers(4)
        if kind == 0:  # a value of a configuration
            name = str(rng.choice(["config.json", "config.json", "tokenizer_config.json", "generation_config.json"]))
            known = json.loads((folder / name).read_text(encoding="utf-8"))
            key = sorted(known)[rng.integers(len(known))]
            _set({key: _ODD_VALUES[rng.integers(len(_ODD_VALUES))]}, folder, name)
            return
        files = sorted(file.name for file in folder.iterdir())
        name = files[rng.integers(len(files))]
        contents = bytearray((folder / name).read_bytes())
        if kind == 1:
            contents = contents[: rng.integers(len(contents))]
        elif kind == 2:
            for place in rng.integers(len(contents), size=rng.integers(1, 20)):
                contents[place] = rng.integers(256)
        else:
            place = int(rng.integers(len(contents)))
            contents[place:place] = rng.bytes(int(rng.integers(1, 50)))
        (folder / name).write_bytes(bytes(contents))

    return Fault(change, "either", "either")
