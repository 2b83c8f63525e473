"""A plan that cannot fit this machine is refused with its price, before anything of it is tried.

Every bound is a lower one, so that what might fit is never refused:

- memory: 12 bytes a weight in training (the weight, its gradient, one moment), 4 on an accelerator; 4 bytes a text of a
  micro-batch, layer and dimension; 8 bytes an entity of a world;
- disk: 4 bytes a weight of a kept checkpoint, 50 bytes a document;
- time: a millisecond an optimizer step, a microsecond a text, 10^15 floating-point operations a second, and no training
  of more than a year;
- 10,000 layers.

`NOSCE_ANY_SIZE=1` in the environment turns the check off, e.g. for a cluster of larger machines.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nosce.data.worlds.base import World
from nosce.errors import SpecError
from nosce.models.architecture import Architecture, ExtraLayers
from nosce.pipeline.step import Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.store.machine import ANY_SIZE, any_size_allowed, physical_memory
from nosce.store.store import Store

MAX_LAYERS = 10_000
TRUNCATED_LAYERS = 2  # a large model is timed with so many, see `nosce.pipeline.timing`
YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True)
class MachineLimits:
    """What a machine has.

    Args:
        memory_bytes: Physical memory.
        disk_bytes: Free space of the disk of the store.
    """

    memory_bytes: float
    disk_bytes: float

    @classmethod
    def of(cls, store: Store) -> MachineLimits:
        """Those of this machine and of the store's disk."""
        return cls(physical_memory(), shutil.disk_usage(store.root).free)


def check_size(
    pending: Sequence[Step],
    store: Store,
    *,
    device: str = "cpu",
    timed_layers: int | None = None,
    made_here: bool = True,
) -> None:
    """Refuse steps that cannot fit this machine.

    Args:
        pending: The steps to make.
        store: Where they are made.
        device: The device of torch.
        timed_layers: Only ask whether the steps can be priced, which is done with so many layers, a part of a batch,
            and nothing on the disk.
        made_here: Whether this machine makes the steps. Where others do, this machine's memory decides nothing.

    Raises:
        SpecError: What does not fit, how large it is at least, and what there is.
    """
    if any_size_allowed():
        return
    limits = MachineLimits.of(store)
    if not made_here:
        limits = replace(limits, memory_bytes=math.inf)
    disk = 0.0
    for step in pending:
        match step.spec:
            case TrainingSpec() as spec:
                _check_training(step, spec, limits, device, timed_layers)
                disk += 4.0 * _weights(step) * len(spec.training.checkpoint_steps)
            case CorpusSpec() as spec:
                disk += _check_world(spec.world, limits)
            case ReportLabelsSpec() as spec:
                disk += 50.0 * spec.n_documents
            case _:
                pass
    if timed_layers is None and disk > limits.disk_bytes:
        what = f"checkpoints and documents of {len(pending)} steps"
        raise _too_large(what, f"{_gigabytes(disk)} of disk", _gigabytes(limits.disk_bytes))


def _check_training(
    step: Step, spec: TrainingSpec, limits: MachineLimits, device: str, timed_layers: int | None
) -> None:
    config, (layers, width) = spec.training, _shape(step)
    weights = _weights(step, timed_layers)
    if layers > MAX_LAYERS:
        raise _too_large(step.label, f"{layers:,} layers", f"{MAX_LAYERS:,}")
    weight_bytes = 4 if device != "cpu" or spec.adapter is not None else 12
    if weights * weight_bytes > limits.memory_bytes:
        need = f"{_gigabytes(weights * weight_bytes)} of memory for {weights:.2g} weights"
        raise _too_large(step.label, need, _gigabytes(limits.memory_bytes))
    if timed_layers is not None:
        return
    activations = 4.0 * config.batch_size / config.grad_accum_steps * layers * width
    if activations > limits.memory_bytes and device == "cpu":
        need = f"{_gigabytes(activations)} of memory for a micro-batch"
        raise _too_large(step.label, need, _gigabytes(limits.memory_bytes))
    n_texts = float(config.steps) * config.batch_size
    seconds = max(config.steps * 1e-3, n_texts * 1e-6, 6 * weights * n_texts / 1e15)
    if seconds > YEAR_SECONDS:
        need = f"{seconds / YEAR_SECONDS:,.1f} years for {config.steps:,} steps"
        raise _too_large(step.label, need, "one year")


def _check_world(world: World, limits: MachineLimits) -> float:
    """The bytes on disk that the documents of a corpus need at least."""
    n_entities = world.n_entities or 0
    if 8.0 * n_entities > limits.memory_bytes:
        need = f"{_gigabytes(8.0 * n_entities)} of memory for {n_entities:,} entities"
        raise _too_large(f"the world {type(world).__name__}", need, _gigabytes(limits.memory_bytes))
    return 50.0 * n_entities * (world.documents_per_entity or 1)


def _models(step: Step) -> Iterator[object]:
    """The model of a training's first stage and the layers that later stages add."""
    assert isinstance(step.spec, TrainingSpec)
    model = step.spec.model
    if model is not None:
        yield model
    if model is None or isinstance(model, ExtraLayers):
        yield from _models(step.inputs["start"])


def _shape(step: Step) -> tuple[int, int]:
    """Layers and width; zero where the model is a folder's."""
    models = list(_models(step))
    extra = sum(model.layers for model in models if isinstance(model, ExtraLayers))
    base = models[-1]
    return (base.layers + extra, base.width) if isinstance(base, Architecture) else (0, 0)


def _weights(step: Step, timed_layers: int | None = None) -> float:
    """The weights of a training's model at least; those that its pricing holds where `timed_layers` is given."""
    layers, width = _shape(step)
    return 12.0 * min(layers, timed_layers or layers) * width**2


def _too_large(what: str, need: str, limit: str) -> SpecError:
    return SpecError(
        f"{what} needs at least {need}, and there is {limit}; make it smaller, take a larger machine, or set "
        f"{ANY_SIZE}=1 to try it nonetheless."
    )


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"
