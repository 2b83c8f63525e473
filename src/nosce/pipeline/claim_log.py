"""The log of claims: which version of each claim stood when a run began, and which readings were there by then.

    claims/<study>-<scale>-<digest>.json

A run that has steps to make writes such a file before the first of them, if one of its claims is not in the log yet in
this form, or if it is the first run of one of its arms. No file is ever changed. A log may therefore be copied, and two
logs of a study become one when their files lie in one folder.

A version is the hash of all that decides a claim: text, threshold and direction, preconditions, and the measure with
the arms that it names. The id, the source and the paper's value are no part of the hash.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from nosce.analysis.claims import Claim
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.commit import git_state
from nosce.store.files import JsonObject, create_exclusively, load_json_object, warn_skipped
from nosce.store.spec import Json, canonical_json, flatten_description, hash_description
from nosce.store.store import Store, store_write_error
from nosce.store.text import LABEL_SIGNS, name_fault
from nosce.store.typecheck import mistyped_fields

FOLDER = "claims"  # of the store
UNHASHED_FIELDS = ("id", "source", "paper_value")  # a citation that is put right changes no claim
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # as the provenance of steps has it; such texts are in the order of time


@dataclass(frozen=True, kw_only=True)
class ClaimVersion:
    """One form of a claim.

    Args:
        id: Name of the claim.
        criterion: When the claim holds, in words.
        description: The claim as `store.spec.describe` describes it.
    """

    id: str
    criterion: str
    description: dict[str, Json]

    @cached_property
    def hash(self) -> str:
        """Hash of all that decides the claim."""
        return hash_description({k: value for k, value in self.description.items() if k not in UNHASHED_FIELDS})

    @cached_property
    def arms(self) -> frozenset[str] | None:
        """Names of the arms at whose readings the claim looks; None: it may look at any."""
        return _arms_in(self.description, named_outside=False) or None


@dataclass(frozen=True, kw_only=True)
class FoundReadings:
    """A step of readings that was finished when a run began.

    Args:
        step: Name of the step.
        arm: Name of the arm or experiment.
        seed: Training seed.
    """

    step: str
    arm: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class ClaimRegistration:
    """One file of the log: what a run brought that was new.

    Args:
        study: Name of the study.
        scale: Name of the scale.
        variant: What `--model` and `--set` changed of the study; empty: nothing.
        registered: Time at which the run began (UTC).
        commit: Commit of nosce's own code; None where neither git nor a wheel tells.
        dirty: Whether that code had uncommitted changes.
        order: Number of the registration; higher than those of all registrations that the run found.
        incomplete: Whether the run found a file of the log that cannot be read. What was in it is not known.
        arms: Names of the arms and experiments that the run planned.
        claims: The versions of claims that were not in the log.
        found: The readings of the study that were in the store, those of other forms of its arms included.
    """

    study: str
    scale: str
    variant: str
    registered: str
    commit: str | None
    dirty: bool | None
    order: int
    incomplete: bool
    arms: tuple[str, ...]
    claims: tuple[ClaimVersion, ...]
    found: tuple[FoundReadings, ...]

    @property
    def identity(self) -> tuple[str, str, str]:
        """Study, scale and variant: each has a log of its own."""
        return self.study, self.scale, self.variant

    @classmethod
    def parse(cls, entries: JsonObject) -> ClaimRegistration:
        """The registration of a file's JSON object.

        Raises:
            ValueError: It is none.
            TypeError, KeyError, AttributeError, RecursionError: Likewise.
        """
        record = cls(
            **{
                **entries,
                "arms": tuple(entries["arms"]),
                "claims": tuple(ClaimVersion(**entry) for entry in entries["claims"]),
                "found": tuple(FoundReadings(**entry) for entry in entries["found"]),
            }
        )
        if mistyped := next(mistyped_fields(record), None):
            raise ValueError(f"its {mistyped[0]} is {mistyped[1]!r:.60} and no {mistyped[2]}")
        time.strptime(record.registered, TIME_FORMAT)
        for version in record.claims:
            if fault := name_fault(version.id, f"{LABEL_SIGNS}/"):
                raise ValueError(f"the name of a claim {fault}")
            flatten_description(version.description)  # what is nested too deeply ends here, not in a command
        return record


@dataclass(frozen=True, kw_only=True)
class ClaimLog:
    """The log of one study, scale and variant.

    Args:
        registrations: The registrations, in their order.
        unreadable: Names of files that may belong to this log and cannot be read.
    """

    registrations: tuple[ClaimRegistration, ...] = ()
    unreadable: tuple[str, ...] = ()

    @classmethod
    def load(cls, store: Store, study: str, scale: str, variant: str) -> ClaimLog:
        """The log of a study; a file that cannot be read is left out, and a line on stderr says so."""
        readable, unreadable = _read_folder(store, f"{study}-{scale}-")
        own = (one for one in readable if one.identity == (study, scale, variant))
        return cls(registrations=_in_order(own), unreadable=tuple(unreadable))

    @classmethod
    def load_all(cls, store: Store) -> dict[tuple[str, str, str], ClaimLog]:
        """The logs of a store by study, scale and variant, sorted by these."""
        readable, unreadable = _read_folder(store, "")
        logs: dict[tuple[str, str, str], ClaimLog] = {}
        for identity in sorted({one.identity for one in readable}):
            prefix = f"{identity[0]}-{identity[1]}-"
            logs[identity] = cls(
                registrations=_in_order(one for one in readable if one.identity == identity),
                unreadable=tuple(name for name in unreadable if name.startswith(prefix)),
            )
        return logs

    @cached_property
    def hashes(self) -> Mapping[str, ClaimRegistration]:
        """The first registration of each version, by the version's hash."""
        first: dict[str, ClaimRegistration] = {}
        for registration in self.registrations:
            for version in registration.claims:
                first.setdefault(version.hash, registration)
        return first

    def versions(self, claim_id: str) -> list[tuple[ClaimVersion, ClaimRegistration]]:
        """The versions of a claim with their first registrations, in their order."""
        found: dict[str, tuple[ClaimVersion, ClaimRegistration]] = {}
        for registration in self.registrations:
            for version in registration.claims:
                if version.id == claim_id:
                    found.setdefault(version.hash, (version, self.hashes[version.hash]))
        return list(found.values())

    def had_run_before(self, arms: frozenset[str] | None, registration: ClaimRegistration) -> bool:
        """Had one of these arms (None: any) been planned before the run of a registration?"""
        earlier = self.registrations[: self.registrations.index(registration)]
        return any(arms is None or not arms.isdisjoint(one.arms) for one in earlier)


def planned_versions(plan: PlanRecord, criteria: Mapping[str, str]) -> list[ClaimVersion]:
    """The claims of a plan as its estimates judge them.

    Args:
        plan: Record of the plan.
        criteria: The criterion of each claim in words, by id.
    """
    spec = plan.steps[plan.estimates].description.get("spec")
    claims = spec.get("claims") if isinstance(spec, dict) else None
    versions = []
    for entry in claims if isinstance(claims, list) else []:
        if isinstance(entry, dict):
            id_ = str(entry.get("id"))
            versions.append(ClaimVersion(id=id_, criterion=criteria.get(id_, ""), description=entry))
    return versions


def planned_readings(plan: PlanRecord) -> list[FoundReadings]:
    """The steps of readings that the estimates of a plan gather, whether they are finished or not."""
    estimates = plan.steps[plan.estimates].description
    spec, inputs = estimates.get("spec"), estimates.get("inputs")
    sources = spec.get("sources") if isinstance(spec, dict) else None
    readings = []
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict) and isinstance(inputs, dict):
            step, arm, seed = inputs.get(str(source.get("input"))), source.get("arm"), source.get("seed")
            if isinstance(step, str) and isinstance(arm, str) and isinstance(seed, int):
                readings.append(FoundReadings(step=step, arm=arm, seed=seed))
    return readings


def register_claims(store: Store, plan: PlanRecord, claims: Sequence[Claim]) -> ClaimRegistration | None:
    """Write what a run brings that is not in the log yet; None where it brings nothing.

    Claims that look at none of the plan's arms are left to the run that plans one of these.

    Args:
        store: The store.
        plan: Record of the plan that is about to be made.
        claims: The claims of the plan.

    Raises:
        StoreError: The disk refused.
    """
    log = ClaimLog.load(store, *plan.identity)
    versions = planned_versions(plan, {claim.id: claim.criterion for claim in claims})
    touched = [version for version in versions if version.arms is None or not version.arms.isdisjoint(plan.arms)]
    news = [version for version in touched if version.hash not in log.hashes]
    known_arms = {arm for registration in log.registrations for arm in registration.arms}
    if not news and known_arms.issuperset(plan.arms):
        return None
    registration = ClaimRegistration(
        study=plan.study,
        scale=plan.scale,
        variant=plan.variant,
        registered=time.strftime(TIME_FORMAT, time.gmtime()),
        **git_state(),
        order=1 + max((one.order for one in log.registrations), default=0),
        incomplete=bool(log.unreadable),
        arms=plan.arms,
        claims=tuple(news),
        found=tuple(_finished_readings(store, plan)),
    )
    _write(store, registration, log.unreadable)
    return registration


def _finished_readings(store: Store, plan: PlanRecord) -> Iterator[FoundReadings]:
    """The readings of a study that are there, of this plan and of every other plan of the study.

    Readings that finished estimates were made from count too where their own step was set aside or cleared away.
    """
    others = PlanRecord.load_all(store, plan.study, plan.scale, but=plan.estimates)
    seen: set[FoundReadings] = set()
    for record in (plan, *(one for one in others if one.identity == plan.identity)):
        is_gathered = store.has(record.estimates)
        for one in planned_readings(record):
            if one not in seen and (is_gathered or store.has(one.step)):
                seen.add(one)
                yield one


def _write(store: Store, registration: ClaimRegistration, unreadable: Sequence[str]) -> None:
    """Write a file of the log. Of several processes that bring the same, one writes it."""
    hashes = sorted([version.id, version.hash] for version in registration.claims)
    named_by: Json = [*registration.identity, sorted(registration.arms), hashes, sorted(unreadable)]  # type: ignore[list-item]
    digest = hashlib.sha256(canonical_json(named_by).encode()).hexdigest()
    path = store.root / FOLDER / f"{registration.study}-{registration.scale}-{digest[:20]}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        create_exclusively(path, _file_text(registration))
    except OSError as error:
        raise store_write_error(error, path) from error


def _file_text(registration: ClaimRegistration) -> str:
    """JSON with a line for each field, each claim and each step: the file may be looked at, and is written quickly."""
    lines = []
    for name, value in vars(registration).items():
        if name in ("claims", "found"):
            entries = [json.dumps(_fields(entry), ensure_ascii=False) for entry in value]
            lines.append(f"{json.dumps(name)}: [\n" + ",\n".join(entries) + "\n]")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _fields(entry: ClaimVersion | FoundReadings) -> dict[str, object]:
    """The fields of an entry without what was computed from them."""
    return {field.name: vars(entry)[field.name] for field in fields(entry)}


def _read_folder(store: Store, prefix: str) -> tuple[list[ClaimRegistration], list[str]]:
    """The registrations in the files whose names begin so, and the names of those that cannot be read."""
    readable, unreadable = [], []
    folder = store.root / FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path.name.startswith(prefix):
            try:
                readable.append(ClaimRegistration.parse(load_json_object(path)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                reason = str(error) if isinstance(error, ValueError) else f"it registers no claims ({error})"
                warn_skipped(path, reason)
                unreadable.append(path.name)
    return readable, unreadable


def _in_order(registrations: Iterable[ClaimRegistration]) -> tuple[ClaimRegistration, ...]:
    """In the order in which runs found each other's registrations; clocks order those that were made side by side."""
    return tuple(sorted(registrations, key=lambda one: (one.order, one.registered, one.commit or "")))


def _arms_in(part: Json, *, named_outside: bool) -> frozenset[str] | None:
    """The arms that a part of a claim's description names; None where it may look at readings of any arm.

    Args:
        part: The description.
        named_outside: Whether a part around this one has a list of arms, from which a selection without an arm takes
            its readings.
    """
    if isinstance(part, list):
        return _union(_arms_in(entry, named_outside=named_outside) for entry in part)
    if not isinstance(part, dict):
        return frozenset()
    if ":" in str(part.get("type", "")):  # a class of somebody else, which may look at anything
        return None
    listed, arm = part.get("arms"), part.get("arm")
    own = [*(listed if isinstance(listed, list) else []), arm]
    names = frozenset(name for name in own if isinstance(name, str))
    is_open = part.get("type") == "Selection" and arm is None and not named_outside
    if is_open:
        return None
    inner = _union(_arms_in(value, named_outside=named_outside or bool(listed)) for value in part.values())
    return None if inner is None else names | inner


def _union(parts: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    names: frozenset[str] = frozenset()
    for part in parts:
        if part is None:
            return None
        names |= part
    return names
