"""Loading a folder's model with transformers: every weight from the folder, nothing random, nothing that it asks for.

A folder's configuration says what the model is. What it says about how to load it (attention kernels, number format,
remote code) is not obeyed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nosce.errors import NosceError, SpecError
from nosce.models.folder import CONFIG_FILE, check_memory, read_config, weight_files, weight_shapes
from nosce.store.files import JsonObject

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

#: What a configuration may say about loading, output and classes of texts instead of about the language model.
LOADING_OPTIONS = (
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_experts_implementation_internal",
    "_name_or_path",
    "attn_implementation",
    "auto_map",
    "dtype",
    "experts_implementation",
    "id2label",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torch_dtype",
    "torchscript",
    "use_return_dict",
)
#: Names of probabilities and noise that draw from torch's global generator while a model is in training mode.
RANDOM_NAME = re.compile(r"drop|jitter", re.IGNORECASE)
#: Where the number is used without randomness too: PhiMoE's threshold between experts.
NOT_RANDOM = {"phimoe": {"router_jitter_noise"}}


def folder_config(folder: Path) -> PretrainedConfig:
    """The configuration of a folder's model, without dropout and without its wishes about loading.

    Raises:
        SpecError: transformers knows no such model, its weights are quantized, or a value is impossible.
    """
    config = _config_of(folder)
    _set_randomness(config, {})
    return config


def folder_vocab_size(folder: Path) -> int:
    """The number of tokens that a folder's model has.

    Raises:
        SpecError: As `folder_config`.
    """
    return int(folder_config(folder).get_text_config().vocab_size)


def check_token_ids(folder: Path, ids: Iterable[int]) -> None:
    """Check that a folder's model has all tokens of its texts.

    A tokenizer may have more tokens than its model. Those of CodeLlama 34B and Gemma 3 1B are special tokens that no
    text has, so it is the texts that decide.

    Raises:
        SpecError: It has not.
    """
    n_rows, largest = folder_vocab_size(folder), max(ids, default=0)
    if largest >= n_rows:
        raise SpecError(
            f"the model in {folder} has {n_rows:,} tokens but its tokenizer gives its texts the token number "
            f"{largest:,}, counted from 0; use the tokenizer that the model was trained with."
        )


def folder_dropout(folder: Path) -> dict[str, float]:
    """The probabilities of dropout and the sizes of noise that a folder's configuration has on, by name.

    Raises:
        SpecError: As `folder_config`.
    """
    found: dict[str, float] = {}
    _set_randomness(_config_of(folder), found)
    return found


def load_weights(
    model_class: Any,  # a class of transformers, which mypy does not follow
    folder: Path,
    config: PretrainedConfig,
    *,
    meta: bool = False,
) -> PreTrainedModel:
    """The model of a folder in float32, each of its weights from the folder's files.

    Args:
        model_class: The class of transformers with the head that is wanted.
        folder: The folder.
        config: Its configuration.
        meta: Read names and shapes alone, and leave the weights unallocated.

    Raises:
        SpecError: Weights are missing, of other shapes, or of layers that the configuration does not have.
    """
    import torch

    weight_files(folder)
    options: dict[str, object] = {"device_map": "meta"} if meta else {}
    with plain_errors(f"the model in {folder} cannot be loaded"):
        model, info = model_class.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    _check_loading(folder, model, info)
    switch_off_modules(model)
    return model


# A class of transformers, which mypy does not follow.
def check_weights(model_class: Any, folder: Path, config: PretrainedConfig, *, fits_here: bool = True) -> None:
    """Check that a folder's weights are those of its configuration, and finite, without building the model.

    Args:
        model_class: The class of transformers with the head that is wanted.
        folder: The folder.
        config: Its configuration.
        fits_here: Whether the model must fit in this machine's memory.

    Raises:
        SpecError: The model would not fit in memory, weights do not match, or one is not a finite number.
    """
    import torch

    with plain_errors(f"the model in {folder} cannot be built"), torch.device("meta"):
        empty = model_class.from_config(config)
    stored = weight_shapes(folder)
    for name, tensor in empty.state_dict().items():
        if name in stored and stored[name] != tuple(tensor.shape):
            raise SpecError(
                f"the weight {name!r} in {folder} has the shape {list(stored[name])}, but {CONFIG_FILE} describes "
                f"{list(tensor.shape)}; give the configuration that the weights were saved with."
            )
    if fits_here:
        check_memory(folder, sum(4.0 * tensor.numel() for tensor in (*empty.parameters(), *empty.buffers())))
    load_weights(model_class, folder, config, meta=True)
    _check_finite(folder)


def require_determinism(model: PreTrainedModel, folder: str | Path) -> None:
    """Check that a model says the same twice in training mode, whatever torch's global generator holds.

    Raises:
        SpecError: It does not, so that two trainings of one key would differ.
    """
    import torch

    count = min(16, int(model.config.get_text_config().vocab_size))
    ids = torch.arange(count, device=model.device).view(1, -1).expand(2, -1)
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})
    was_training = model.training
    logits = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in (1, 2, 3):
            torch.manual_seed(seed)
            logits.append(model.train()(**inputs).logits)
    model.train(was_training)
    if not all(torch.equal(logits[0], other) for other in logits[1:]):
        raise SpecError(
            f"the {model.config.model_type} model in {folder} draws random numbers while it is trained, and nosce "
            "does not know how to switch that off, so two equal trainings would differ; take another model."
        )


@contextmanager
def plain_errors(failure: str, advice: str = "replace the folder's files") -> Iterator[None]:
    """Context manager: whatever a library raises about a folder becomes one sentence that begins with `failure`.

    Args:
        failure: What could not be done.
        advice: What to do about it, unless memory was short.

    Raises:
        SpecError: Something was raised that is not an error of nosce, or memory was short.
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # a report of many lines; the sentence says the first of them
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (NosceError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        if _is_memory_error(error):
            raise SpecError(
                f"{failure}: that does not fit in the device's memory; take a smaller batch_size or another device."
            ) from error
        reason = " ".join(str(error).split())[:300].encode("utf-8", "backslashreplace").decode()
        kind = type(error).__name__
        raise SpecError(f"{failure}: transformers says {kind} ({reason}); {advice}.") from error
    finally:
        logging.set_verbosity(verbosity)


def _is_memory_error(error: BaseException) -> bool:
    """Was memory short, on the device or on the machine? Of the CPU and of MPS torch says so in words alone."""
    import torch

    words = ("out of memory", "can't allocate memory", "not enough memory")
    in_words = isinstance(error, RuntimeError) and any(each in str(error).lower() for each in words)
    return in_words or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _config_of(folder: Path) -> PretrainedConfig:
    from transformers import CONFIG_MAPPING

    values = read_config(folder)
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        own_code = " and the folder's own code is not run" if "auto_map" in values else ""
        raise SpecError(
            f"{folder / CONFIG_FILE} says model_type={model_type!r}, which transformers does not have{own_code}; give "
            "the folder of a model that transformers has."
        )
    for part in (values, values.get("text_config")):
        if isinstance(part, dict) and part.get("quantization_config") is not None:
            raise SpecError(
                f"the weights in {folder} are quantized (quantization_config in {CONFIG_FILE}), which is not read; "
                "give the folder of the model in float32, float16 or bfloat16."
            )
    with plain_errors(f"{folder / CONFIG_FILE} does not describe a model"):
        config = CONFIG_MAPPING[model_type].from_dict(_without_options(values))
        vocab_size = config.get_text_config().vocab_size
    if not isinstance(vocab_size, int) or vocab_size < 1:
        raise SpecError(f"{folder / CONFIG_FILE} says vocab_size={vocab_size!r}; it counts tokens.")
    return config


def _without_options(values: JsonObject) -> JsonObject:
    kept = {name: value for name, value in values.items() if name not in LOADING_OPTIONS}
    return {name: _without_options(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _set_randomness(config: PretrainedConfig, found: dict[str, float]) -> None:
    """Set every probability of dropout and every noise of a configuration to 0, and note what it was."""
    from transformers import PretrainedConfig

    left = NOT_RANDOM.get(config.model_type, set())
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            _set_randomness(value, found)
        elif RANDOM_NAME.search(name) and _is_positive(value) and name not in left:
            found[name] = float(value)
    for name in found:
        if name in vars(config):
            setattr(config, name, 0.0)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def switch_off_modules(model: PreTrainedModel) -> None:
    """Set the dropouts that a family has whatever its configuration says to 0."""
    from torch.nn.modules.dropout import _DropoutNd

    left = NOT_RANDOM.get(model.config.model_type, set())
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if RANDOM_NAME.search(name) and isinstance(value, float) and name not in left:
                setattr(module, name, 0.0)


def _check_loading(folder: Path, model: torch.nn.Module, info: JsonObject) -> None:
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        raise SpecError(
            f"the weights in {folder} lack {len(missing)} that {CONFIG_FILE} describes, e.g. {missing[0]!r}; "
            "transformers would draw them at random, so copy the whole model."
        )
    expected = {re.sub(r"\d+", "0", name) for name in model.state_dict()}
    if surplus := [name for name in unexpected if re.sub(r"\d+", "0", name) in expected]:
        raise SpecError(
            f"the weights in {folder} hold {surplus[0]!r}, a layer that {CONFIG_FILE} does not have; give the "
            "configuration that the weights were saved with."
        )
    if info.get("error_msgs") or info.get("mismatched_keys"):
        raise SpecError(f"the weights in {folder} are not those that {CONFIG_FILE} describes; copy the whole model.")


def _check_finite(folder: Path) -> None:
    """Read every stored weight once.

    Raises:
        SpecError: One is not a finite number.
    """
    from safetensors import safe_open

    for file in weight_files(folder):
        if file.suffix != ".safetensors":
            continue
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict
                tensor = opened.get_tensor(name)
                if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
                    raise SpecError(f"the weight {name!r} in {file} is not finite (NaN or infinite); copy it again.")
