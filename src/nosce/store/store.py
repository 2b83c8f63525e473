"""The store: content-addressed folders that are either complete or absent.

    steps/<kind>-<key>/   a finished step: its data, spec.json, provenance.json, manifest.json
    work/<kind>-<key>/    an unfinished step; the next process that makes the step resumes from it
    leases/               which process of which machine makes which step (see `lease.py`)
    plans/                the plans that were run or priced, for `list`, `show`, `report` and `explain`
    claims/               which version of each claim stood when a run began (see `pipeline/claim_log.py`)
    replaced/, damaged/   steps that were made again, and steps that failed their checksums; nosce never deletes them

A step's key is the hash of everything that changes its result (see `spec.py`). A folder under this key therefore holds
the step's result, on whatever machine it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nosce.errors import DamagedError, StoreError, UsageError
from nosce.store import fingerprint as source
from nosce.store.files import (
    SCRATCH,
    JsonObject,
    checksum_tree,
    fsync_path,
    load_json_object,
    verify_manifest,
)
from nosce.store.lease import Lease, hold_lease
from nosce.store.spec import Json, canonical_json
from nosce.store.typecheck import has_type

STORE_FILES = {"spec.json", "provenance.json", "manifest.json"}  # written by the store, not by the step


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A finished step of the store, as its own files describe it.

    Args:
        name: The step's kind and key.
        folder: The step's folder.
        spec: The description that is hashed to the key, from spec.json.
        provenance: The code, versions and machine that made the step, from provenance.json.
    """

    name: str
    folder: Path
    spec: JsonObject
    provenance: JsonObject

    @property
    def digest(self) -> str:
        """Hash of the step's data, independent of code, machine and time."""
        return str(self.provenance["digest"])


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of finished steps, shared by any number of processes.

    Args:
        root: The folder.
    """

    root: Path

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """The store in a folder, which is created if it does not exist.

        Raises:
            UsageError: The path is a file.
            StoreError: The folder is not writable.
        """
        path = Path(root).expanduser().absolute()
        try:
            if path.exists() and not path.is_dir():
                raise UsageError(f"a store was asked for at {path}, but that is a file; name a folder with --store.")
            for part in ("steps", "work", "leases", "plans"):
                (path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_write_error(error, path) from error
        return cls(path)

    def folder(self, name: str) -> Path:
        """The folder of the finished step of this name, whether it exists or not."""
        return self.root / "steps" / name

    def work_folder(self, name: str) -> Path:
        """The folder in which the step of this name is made."""
        return self.root / "work" / name

    def has(self, name: str) -> bool:
        """Is the step finished? Its checksums are verified when the step is used, not here."""
        return (self.folder(name) / "manifest.json").is_file()

    def has_now(self, name: str) -> bool:
        """Is the step finished, as the disk says and not as NFS remembers?

        NFS remembers for up to a minute which names a folder lacks, and forgets it when this machine writes there.
        """
        if not self.has(name):
            probe = self.root / "steps" / f".{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        return self.has(name)

    def step_record(self, name: str) -> StepRecord:
        """The finished step of this name; its data are not verified."""
        folder = self.folder(name)
        try:
            spec = load_json_object(folder / "spec.json")
            provenance = load_json_object(folder / "provenance.json")
            _check_provenance(provenance)
        except ValueError as error:
            raise DamagedError(
                f"{folder} lacks a readable spec.json or provenance.json ({error}); run the study again."
            ) from error
        return StepRecord(name, folder, spec, provenance)

    def step_records(self) -> list[StepRecord]:
        """All finished steps, sorted by name; unreadable folders are left out."""
        records = []
        for folder in sorted((self.root / "steps").iterdir()):
            if self.has(folder.name):
                try:
                    records.append(self.step_record(folder.name))
                except DamagedError:
                    continue
        return records

    def verified(self, name: str) -> Path:
        """The folder of a finished step whose files all match their checksums.

        Raises:
            DamagedError: A file does not match; the sentence names it.
        """
        folder = self.folder(name)
        verify_manifest(folder)
        return folder

    @contextmanager
    def lease(self, name: str) -> Iterator[Lease]:
        """Hold the exclusive right to make a step, among all processes that share the store.

        Raises:
            LeasedError: Another process holds the lease; the sentence names it.
        """
        with ExitStack() as stack:
            try:
                lease = stack.enter_context(hold_lease(self.lease_folder, name))
            except OSError as error:
                raise store_write_error(error, self.lease_folder) from error
            yield lease

    @property
    def lease_folder(self) -> Path:
        """The folder that says which process makes which step."""
        return self.root / "leases"

    def finish(self, name: str, spec: Json, provenance: Mapping[str, object]) -> Path:
        """Turn the work folder of a step into the finished step, atomically by one rename."""
        work, folder = self.work_folder(name), self.folder(name)
        shutil.rmtree(work / SCRATCH, ignore_errors=True)
        checksums: Json = {path: digest for path, digest in checksum_tree(work).items() if path not in STORE_FILES}
        provenance = {**provenance, "digest": hashlib.sha256(canonical_json(checksums).encode()).hexdigest()}
        (work / "spec.json").write_text(json.dumps(spec, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / "provenance.json").write_text(
            json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (work / "manifest.json").write_text(json.dumps(checksum_tree(work), indent=2) + "\n", encoding="utf-8")
        for path in (work, *work.rglob("*")):
            if path.is_file() or path.is_dir():
                fsync_path(path)
        if folder.exists():
            self.set_aside(name, "replaced")
        os.replace(work, folder)
        fsync_path(folder.parent)
        return folder

    def set_aside(self, name: str, category: str) -> Path:
        """Move a finished step to `replaced/` or `damaged/`; it is never deleted."""
        return self.set_aside_path(self.folder(name), category)

    def set_aside_path(self, path: Path, category: str) -> Path:
        """Move a file or folder of the store to `replaced/` or `damaged/`."""
        destination = self.root / category
        destination.mkdir(exist_ok=True)
        target = destination / f"{path.name}-{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:8]}"
        os.replace(path, target)
        fsync_path(destination)
        return target

    def stale_reason(self, record: StepRecord, known: Mapping[str, StepRecord] | None = None) -> str | None:
        """Why a finished step is stale; None if it is not.

        A step is stale if the code that made it has changed since, or if one of its inputs was made again with other
        bytes.

        Args:
            record: The finished step.
            known: Records by step name, which are not read again as inputs.
        """
        return self._stale_reason(record, source.module_hashes(*_roots(record), folders=_folders(record)), known or {})

    def stale_reasons(self, records: Mapping[str, StepRecord]) -> dict[str, str]:
        """The reason of each stale step among finished ones, by name.

        None of these records is read again, and each set of modules is hashed once.
        """
        hashes: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, str]] = {}
        reasons = {}
        for name, record in records.items():
            key = _roots(record), _folders(record)
            if key not in hashes:
                hashes[key] = source.module_hashes(*key[0], folders=key[1])
            if reason := self._stale_reason(record, hashes[key], records):
                reasons[name] = reason
        return reasons

    def _stale_reason(
        self, record: StepRecord, current_hashes: dict[str, str], known: Mapping[str, StepRecord]
    ) -> str | None:
        recorded_hashes = record.provenance.get("modules", {})
        modules = sorted({*recorded_hashes, *current_hashes})
        changed = [m for m in modules if recorded_hashes.get(m) != current_hashes.get(m)]
        if changed:
            return f"made by code that has since changed ({', '.join(changed)})"
        for name, digest in record.provenance.get("inputs", {}).items():
            try:
                if name not in known and not self.has(name):
                    continue
                if (known.get(name) or self.step_record(name)).digest != digest:
                    return f"made from an earlier {name}, which was made again with other bytes"
            except DamagedError:
                return f"made from {name}, which is damaged"
        return None


#: What of a provenance is read again, with its types. Only the digest is always there.
_PROVENANCE_TYPES: JsonObject = {  # annotations, as `typing` types them
    "digest": str,
    "modules": dict[str, str],
    "inputs": dict[str, str],
    "roots": list[str],
    "folders": list[str],
    "versions": dict[str, str],
    "seconds": float,
    "cpu_seconds": float,
    "peak_memory_mib": float | None,
    "threads": int | None,
    "cores": int | None,
    "made": str,
    "commit": str | None,
    "dirty": bool | None,
    "device": str,
    "processor": str,
}


def _check_provenance(provenance: JsonObject) -> None:  # values as `json` types them
    """Raise a ValueError for a provenance that no step has written."""
    if "digest" not in provenance:
        raise ValueError("it has no digest")
    for name, annotation in _PROVENANCE_TYPES.items():
        if name in provenance and not has_type(provenance[name], annotation):
            raise ValueError(f"its {name} is of type {type(provenance[name]).__name__}")


def _roots(record: StepRecord) -> tuple[str, ...]:
    """The modules from which the code of a step is reached."""
    return tuple(record.provenance.get("roots", []))


def _folders(record: StepRecord) -> tuple[str, ...]:
    """The folders of the user's own modules."""
    return tuple(record.provenance.get("folders", []))


def store_write_error(error: OSError, path: str | Path) -> StoreError:
    """A failure to write, as one sentence."""
    location = error.filename or path
    return StoreError(
        f"the disk refused to write {location} ({error.strerror or error}); free some space or name another folder "
        "with --store, then run the same command again: finished steps are kept."
    )
