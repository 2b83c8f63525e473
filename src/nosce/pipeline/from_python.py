"""`nosce.run(...)`: a study from a script or a notebook, with its results as an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from nosce.errors import RunError
from nosce.pipeline.command_lines import default_store_root, in_store
from nosce.pipeline.devices import DeviceRequest
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.results import RunResults
from nosce.pipeline.run import make_steps
from nosce.pipeline.seed_choice import parse_seeds
from nosce.store.store import Store


def run(
    study: str,
    *,
    model: str | Path | Sequence[str | Path] = "",
    scale: str = "laptop",
    settings: Mapping[str, object] | None = None,
    seeds: int | str | None = None,
    arms: Sequence[str] = (),
    store: str | Path | None = None,
    workers: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> RunResults:
    """Make what is not done of a study, and return its results.

    Steps are made in processes of their own, which import the main script anew: call this below
    `if __name__ == "__main__":` in a script. A notebook needs nothing.

    Args:
        study: A built-in name, FILE.py:FUNCTION or package.module:FUNCTION.
        model: The model that a built-in study starts from: a folder, an id of the Hugging Face hub, or an endpoint; or
            several of them. Empty: the study's own models from fresh weights.
        scale: Name of the scale.
        settings: Fields of the study's configuration, as `--set` changes them, e.g. `{"people": 50}`.
        seeds: Number of training seeds, or the seeds themselves, e.g. "10-14". None: as the study says.
        arms: Names of the arms. Empty: all.
        store: Folder of the results. None: $NOSCE_STORE, else .nosce/ in the current folder.
        workers: Steps made at once. None: one a core, or one a GPU.
        device: "cpu", "cuda" or one GPU such as "cuda:1". None: "cuda" where there is a GPU.
        quiet: Print no progress; it goes to stderr otherwise.

    Raises:
        RunError: A step failed; what was finished is kept, and the same call goes on.
        UsageError: The study, a model, an arm or a setting is not there.
        SpecError: The study or a model is impossible as it stands.
    """
    n_seeds, chosen_seeds = parse_seeds(None if seeds is None else str(seeds))
    models = [model] if isinstance(model, str | Path) else list(model)
    request = StudyRequest(
        study=study,
        scale=scale,
        n_seeds=n_seeds,
        seeds=chosen_seeds,
        arms=tuple(arms),
        models=",".join(str(one) for one in models if str(one)),
        settings=tuple(f"{key}={setting_text(value)}" for key, value in (settings or {}).items()),
    )
    opened_store = Store.open(Path(store) if store is not None else default_store_root())
    console = Console(stderr=True, soft_wrap=True, quiet=quiet)
    finished = make_steps(request, opened_store, console, devices=DeviceRequest(workers=workers, device=device))
    if finished.summary.failed:
        name, reason = next(iter(finished.summary.failed.items()))
        raise RunError(
            f"{len(finished.summary.failed)} steps of {study} failed, the first {name}: {reason.rstrip('.')}; what was "
            f"finished is kept, and `{in_store(request.command, opened_store)}` goes on from here."
        )
    return RunResults.load(opened_store, finished.record)


def setting_text(value: object) -> str:
    """A value as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(setting_text, value))
    return str(value)
