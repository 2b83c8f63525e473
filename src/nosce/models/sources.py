"""Where a model of one's own lies: a folder, the Hugging Face hub, or an endpoint.

`--model` takes several, separated by commas. Each may be followed by its size, `~/pythia-70m=70M`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nosce.errors import UsageError
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.architecture import Pretrained
from nosce.models.hub import fetch_from_hub

HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
COMMIT_DIGITS = 12  # of a commit in a label
SIZE_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model that a user names.

    Args:
        name: What tables and figures call it.
        model: The model itself.
        size: Number of weights as the user gave it. None: read it from the weights.
    """

    name: str
    model: Pretrained | EndpointConfig
    size: float | None = None

    @property
    def label(self) -> str:
        """The name, and of a model of the hub the beginning of its commit, e.g. "SmolLM2-135M@93efa2f097d5"."""
        _, _, commit = self._hub_source.partition("@")
        return f"{self.name}@{commit[:COMMIT_DIGITS]}" if commit else self.name

    @property
    def note(self) -> str:
        """Where a model of the hub comes from, in one sentence; empty for any other."""
        repository, _, commit = self._hub_source.partition("@")
        return f"{self.name} is {repository} of the Hugging Face hub at the commit {commit}." if commit else ""

    @property
    def _hub_source(self) -> str:
        return self.model.source if isinstance(self.model, Pretrained) else ""

    @property
    def pretrained(self) -> Pretrained:
        """The model in a folder, for what trains it or reads its states.

        Raises:
            UsageError: The model is behind an endpoint.
        """
        if isinstance(self.model, Pretrained):
            return self.model
        raise UsageError(f"the model {self.name} is behind an endpoint, which shows no weights; name a folder.")


def parse_models(text: str) -> tuple[ModelSource, ...]:
    """The models that `--model` names, separated by commas.

    Each is a folder in the Hugging Face layout, an id of the Hugging Face hub (`org/name` or `org/name@revision`), or
    an endpoint (`https://host/v1#name`), whose prices and ways of asking the environment gives
    (`EndpointConfig.from_environment`).

    Raises:
        UsageError: A model is neither, or two have one name, or a variable of the environment is wrong.
        SpecError: A folder holds no model, or an address is not allowed.
    """
    sources = tuple(_parse_model(part.strip()) for part in text.split(",") if part.strip())
    if not sources:
        raise UsageError("--model names no model; give a folder, or an id of the Hugging Face hub.")
    return tuple(_unique_names(sources))


def _parse_model(text: str) -> ModelSource:
    place, size = _split_size(text)
    if re.match(r"https?://", place):
        url, _, name = place.partition("#")
        if not name:
            raise UsageError(f"--model {place} names no model of that endpoint; write {url}#NAME.")
        endpoint = replace(EndpointConfig.from_environment(name), base_url=url)
        return ModelSource(name=name, model=endpoint, size=size)
    folder = Path(place).expanduser()
    if folder.is_dir():
        return ModelSource(name=folder.resolve().name, model=Pretrained.from_folder(folder), size=size)
    if re.fullmatch(rf"{HUB_ID}(@[\w./-]+)?", place) and not place.startswith("."):
        repository, _, revision = place.partition("@")
        snapshot = fetch_from_hub(repository, revision or None)
        model = replace(Pretrained.from_folder(snapshot.folder), source=snapshot.source)
        return ModelSource(name=repository.rpartition("/")[2], model=model, size=size)
    raise UsageError(
        f"--model {place} is no folder and no id of the Hugging Face hub; give a folder with config.json, weights in "
        "safetensors and a tokenizer."
    )


def _split_size(text: str) -> tuple[str, float | None]:
    """A model and the size that follows it after `=`, e.g. 70M."""
    place, separator, size = text.rpartition("=")
    if not separator:
        return text, None
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)([KMBT]?)", size.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UsageError(
            f"--model {text} gives the size {size!r}, which is no number of weights; write e.g. 70M or 1.3B."
        )
    return place.strip(), float(match[1]) * SIZE_FACTORS[match[2].upper()]


def _unique_names(sources: tuple[ModelSource, ...]) -> Iterator[ModelSource]:
    """The models, those of one name told apart by the folder above theirs."""
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) == 1:
            yield source
        elif isinstance(source.model, Pretrained):
            owner = source.model.source.partition("/")[0] or Path(source.model.folder).parent.name
            yield replace(source, name=f"{owner} {source.name}")
        else:
            raise UsageError(f"--model names {source.name} twice; name each model once.")
