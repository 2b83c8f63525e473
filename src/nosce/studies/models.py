"""What the studies on models of one's own share."""

from __future__ import annotations

from nosce.errors import UsageError
from nosce.models.sources import ModelSource


def one_model(models: tuple[ModelSource, ...], study: str) -> ModelSource:
    """The one model of a study that trains one.

    Raises:
        UsageError: There are several.
    """
    if len(models) > 1:
        names = ", ".join(source.name for source in models)
        raise UsageError(f"{study} takes one --model, and {names} were given; run it once for each.")
    return models[0]
