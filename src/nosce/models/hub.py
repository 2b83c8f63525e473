"""A model of the Hugging Face hub as a local folder, at one commit.

A branch such as `main` moves, so the revision that a user names is looked up first; what is fetched, and what results
are named by, is the commit. Weights in safetensors, the configuration and the tokenizer are fetched, and nothing else:
no pickle, no code, no second copy of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from nosce.errors import UsageError
from nosce.models.folder import ADAPTER_CONFIG_FILE, CONFIG_FILE, READ_FILES, WEIGHTS_FILE, WEIGHTS_INDEX_FILE

HUB_SECONDS = 10  # after which the hub counts as out of reach
#: Patterns of `READ_FILES` that are weights in another form, or an adapter's.
NOT_FETCHED = ("*.gguf", "adapter_*")


@dataclass(frozen=True, kw_only=True)
class HubSnapshot:
    """The files of a model of the hub at a commit.

    Args:
        repository: The model's id, e.g. `org/name`.
        commit: The commit, 40 hexadecimal digits.
        folder: Where its files lie.
    """

    repository: str
    commit: str
    folder: Path

    @property
    def source(self) -> str:
        """Id and commit as `--model` takes them."""
        return f"{self.repository}@{self.commit}"


def fetch_from_hub(repository: str, revision: str | None) -> HubSnapshot:
    """The files of a model at the commit that its revision means now, or did when the hub was last reached.

    Args:
        repository: The model's id.
        revision: A branch, a tag or a commit. None: the hub's default branch.

    Raises:
        UsageError: There is no such model, it has no weights in safetensors, it needs an account, or there is no
            network and no copy.
    """
    what = repository if revision is None else f"{repository}@{revision}"
    names = _list_files(repository, revision, what)
    if names is None:
        return _local_snapshot(repository, revision, what)
    if not {WEIGHTS_FILE, WEIGHTS_INDEX_FILE} & set(names):
        pickled = next((name for name in names if name.endswith((".bin", ".pt", ".pth"))), None)
        found = f"only pickled ones ({pickled}), which are not read" if pickled else "none"
        raise _refusal(what, f"weights in safetensors are wanted, and it has {found}")
    if CONFIG_FILE not in names:
        raise _refusal(what, f"it has no {CONFIG_FILE}, so it is no model of transformers")
    try:
        folder = _download(repository, revision, names)
    except Exception as error:  # whatever its HTTP client raises when the network goes away
        reason = type(error.__cause__ or error).__name__
        raise _refusal(what, f"its files could not be downloaded ({reason})") from None
    return HubSnapshot(repository=repository, commit=folder.name, folder=folder)


def _list_files(repository: str, revision: str | None, what: str) -> list[str] | None:
    """The files of a model at a revision; None where the hub is out of reach.

    Raises:
        UsageError: The hub does not give it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(repository, revision=revision, timeout=HUB_SECONDS)
    except GatedRepoError:
        reason = "its owner wants its users to log in and agree to terms"
    except RevisionNotFoundError:
        reason = "the Hugging Face hub has the model, but not this revision"
    except RepositoryNotFoundError:
        reason = "the Hugging Face hub has no such model, or only for those who log in"
    except Exception:  # whatever its HTTP client raises without a network
        return None
    else:
        return [file.rfilename for file in info.siblings or ()]
    raise _refusal(what, reason)


def _download(repository: str, revision: str | None, names: Sequence[str]) -> Path:
    """The folder of the commit that the revision means, with the files that are read.

    The configuration is fetched by the revision, which the cache then knows without a network, too; all others by its
    commit, so that they belong together.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    config_file = Path(hf_hub_download(repository, CONFIG_FILE, revision=revision))
    commit = config_file.parent.name
    wanted = [name for name in names if _is_read(name)]
    if WEIGHTS_FILE in names:
        wanted.append(WEIGHTS_FILE)
    else:
        index = Path(hf_hub_download(repository, WEIGHTS_INDEX_FILE, revision=commit))
        wanted += [WEIGHTS_INDEX_FILE, *_shards_of(index, names)]
    return Path(snapshot_download(repository, revision=commit, allow_patterns=list(map(_escaped, wanted))))


def _local_snapshot(repository: str, revision: str | None, what: str) -> HubSnapshot:
    """What an earlier fetch left; whether its weights are whole is looked at as in any folder."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        config_file = Path(hf_hub_download(repository, CONFIG_FILE, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise _refusal(what, "the Hugging Face hub cannot be reached, and no copy of the model is here") from None
    return HubSnapshot(repository=repository, commit=config_file.parent.name, folder=config_file.parent)


def _is_read(name: str) -> bool:
    """Is a file one that makes a model or a tokenizer, apart from weights?"""
    if name == ADAPTER_CONFIG_FILE:  # so that an adapter is called one
        return True
    return _matches(name, READ_FILES) and not _matches(name, NOT_FETCHED)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Does a path match a pattern, folder by folder?"""
    return any(name.count("/") == pattern.count("/") and fnmatch(name, pattern) for pattern in patterns)


def _shards_of(index: Path, names: Sequence[str]) -> list[str]:
    """The shards that an index names; an index that is broken is refused where the folder is looked at."""
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return sorted({name for name in weight_map.values() if name in names and name.endswith(".safetensors")})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _escaped(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _refusal(what: str, reason: str) -> UsageError:
    return UsageError(f"--model {what} cannot be fetched: {reason}; name a folder that holds it.")
