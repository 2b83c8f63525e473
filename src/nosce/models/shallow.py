"""A folder's model with fewer layers and random weights: what it computes is nothing, how long that takes is the price.

Nothing is read but the configuration and the headers of the weights.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.errors import SpecError
from nosce.models.architecture import auto_class, random_model
from nosce.models.pretrained import folder_config, plain_errors
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def folder_num_layers(folder: Path) -> int:
    """Number of blocks of a folder's decoder; 0 where no model with fewer blocks can be made of its configuration."""
    config = folder_config(folder)
    n_layers = config.get_text_config(decoder=True).num_hidden_layers
    if config.is_encoder_decoder or not isinstance(n_layers, int):
        return 0
    try:
        is_smaller = count_folder_parameters(folder, 1) < count_folder_parameters(folder, n_layers)
    except SpecError:  # e.g. a configuration that lists its layers in a way of its own
        return 0
    return n_layers if is_smaller else 0


@cache
def count_folder_parameters(folder: Path, layers: int) -> int:
    """Number of weights of a folder's model with so many blocks; weights that are tied count once.

    Raises:
        SpecError: transformers makes no such model.
    """
    import torch

    with plain_errors(f"the model in {folder} cannot be made with {layers} layers"), torch.device("meta"):
        config = _with_layers(folder, layers)
        return sum(tensor.numel() for tensor in auto_class(config.to_dict()).from_config(config).parameters())


def build_folder_model(folder: Path, layers: int, seed: Seed) -> PreTrainedModel:
    """A folder's model with so many blocks, with random weights.

    Raises:
        SpecError: transformers makes no such model.
    """
    import torch

    with plain_errors(f"the model in {folder} cannot be made with {layers} layers"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        config = _with_layers(folder, layers)
        return random_model(config)


def _with_layers(folder: Path, layers: int) -> PretrainedConfig:
    """The folder's configuration with fewer blocks, and lists of something for each block cut to as many."""
    config = folder_config(folder)
    text_config = config.get_text_config(decoder=True)
    n_layers = text_config.num_hidden_layers
    text_config.num_hidden_layers = layers
    for name, value in vars(text_config).items():
        if isinstance(value, list) and len(value) == n_layers:
            setattr(text_config, name, value[:layers])
    return config
