"""What the study emergence asks models of one's own at each scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nosce.studies.configs import config_for_scale
from nosce.studies.emergence.asked.problems import WordProblems
from nosce.study import Scale

#: Sizes by what they cost, the cheapest first, from which `--budget` takes the largest that fits.
BUDGET_LADDER: tuple[tuple[str, ...], ...] = tuple((f"n_problems={n}",) for n in (10, 30, 100, 300, 1_000))


@dataclass(frozen=True, kw_only=True)
class AskedEmergenceConfig:
    """What the study asks every model.

    Args:
        seeds: Seeds; each has its own problems and examples.
        problems: The sums and products.
        chat: Ask folders through their chat templates. Endpoints always ask through their own.
        max_new_tokens: Most tokens of a reply.
        dtype: Number format of the weights of folders.
        generation_batch_size: Replies of a folder that are generated side by side.
        size_label: What the sizes of a ladder are; of checkpoints whose steps are given e.g. "steps of training".
    """

    seeds: tuple[int, ...] = (0,)
    problems: WordProblems
    chat: bool = False
    max_new_tokens: int = 12
    dtype: Literal["float32", "bfloat16"] = "float32"
    generation_batch_size: int = 16
    size_label: str = "weights"


def asked_emergence_config(scale: str, settings: Sequence[str] = ()) -> AskedEmergenceConfig:
    """The configuration of the study on models of one's own at a scale, with the fields that `--set` changes.

    Raises:
        UsageError: The study has no such scale or field.
    """
    return config_for_scale("emergence --model", ASKED_EMERGENCE_CONFIGS, scale, settings)


def _smoke_config() -> AskedEmergenceConfig:
    """Four problems of each kind, without a result."""
    return AskedEmergenceConfig(problems=WordProblems(n_problems=4))


def _laptop_config() -> AskedEmergenceConfig:
    """100 problems of each kind: a model of 135 M weights in minutes on two cores."""
    return AskedEmergenceConfig(problems=WordProblems(n_problems=100))


def _gpu_config() -> AskedEmergenceConfig:
    """1,000 problems of each kind on one GPU."""
    config = _laptop_config()
    problems = replace(config.problems, n_problems=1_000)
    return replace(config, problems=problems, dtype="bfloat16", generation_batch_size=128)


ASKED_EMERGENCE_CONFIGS: Mapping[Scale, Callable[[], AskedEmergenceConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
}
