"""Convert a model in a GGUF file to a folder in the Hugging Face layout.

The weights of most GGUF files are quantised, so they differ slightly from the published ones.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nosce.errors import UsageError
from nosce.models.pretrained import plain_errors

NO_GGUF = "GGUF files are read by the package gguf, which is not installed; give `pip install 'nosce[gguf]'`."


def require_gguf() -> None:
    """Check that the package that reads GGUF files is installed.

    Raises:
        UsageError: It is not.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UsageError(NO_GGUF)


def convert_gguf(file: Path, folder: Path) -> int:
    """Write weights in float32, configuration and tokenizer of a GGUF file to a folder, and return how many weights.

    Raises:
        UsageError: The package gguf is not installed.
        SpecError: transformers cannot make a causal language model and a tokenizer of the file.
    """
    require_gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with plain_errors(f"{file.name} cannot be converted", "take another file"):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        quantised = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        # transformers does not save a model that it read from GGUF, so the weights are copied to a plain model.
        plain_config = {k: v for k, v in quantised.config.to_dict().items() if k != "quantization_config"}
        model = type(quantised)(type(quantised.config)(**plain_config))
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())
