"""How old a claim is beside the readings that judge it: written before the run, or changed after seeds were read.

A seed counts as read once a step of readings of one of the claim's arms is finished: from then on anybody may have
looked. The log of claims says which of these steps were in the store when the claim's form was registered. A step that
was not, but whose own record is older than the registration, was copied in later, and counts as read before too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from nosce.analysis.render.tables import NO_VALUE
from nosce.pipeline.claim_log import (
    UNHASHED_FIELDS,
    ClaimLog,
    ClaimRegistration,
    ClaimVersion,
    FoundReadings,
    planned_readings,
    planned_versions,
)
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.spec import Json, canonical_json, diff_descriptions

AgeStatus = Literal["before", "changed", "added", "unknown", "not run"]
MAX_NAMED = 5  # claims that a sentence names; it counts the others
CRITERION_FIELDS = frozenset({"threshold", "direction"})  # what of a claim's description its criterion says in words
_ARM_FIELD = re.compile(r"\barms?(\[\d+\])*$")  # the end of a path at which a measure names an arm
_NUMBER = re.compile(r"\[(\d+)\]")  # of a part of a list, counted from 0


@dataclass(frozen=True, kw_only=True)
class ClaimChange:
    """One difference between a form of a claim and the form before it.

    Args:
        part: What differs: "text", "criterion", "needs" or "measure", or the name of another field.
        where: The place within this part, e.g. "selection.stage"; empty: all of it.
        before: Its value in the form before.
        after: Its value in this form.
    """

    part: str
    where: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class ClaimAge:
    """When a claim got the form in which it was judged, beside the readings that judge it.

    Args:
        status: "before": no reading of the claim's arms was there. "changed": there were readings, and an earlier form
            of the claim. "added": there were readings, and the study had run without the claim. "unknown": there were
            readings before the first registration, or nothing is registered. "not run": the plan has none of its arms.
        registered: Time at which a run with this form began (UTC); None where none is known.
        commit: Commit of nosce's own code at that time.
        dirty: Whether that code had uncommitted changes.
        seeds_before: Seeds with readings that were there at that time.
        seeds_after: Seeds without.
        seeds_otherwise: Seeds of other forms of the claim's arms that had been read; their readings judge nothing here.
        n_forms: Number of forms of the claim in the log, up to this one.
        changes: How this form differs from the form before it.
    """

    status: AgeStatus
    registered: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    seeds_before: tuple[int, ...] = ()
    seeds_after: tuple[int, ...] = ()
    seeds_otherwise: tuple[int, ...] = ()
    n_forms: int = 0
    changes: tuple[ClaimChange, ...] = ()

    @property
    def phrase(self) -> str:
        """The age in a few words that follow "the claim was", e.g. "changed after seeds 0-2 were read"."""
        later = f" before {name_seeds(self.seeds_after)}" if self.seeds_after else ""
        match self.status:
            case "before" if self.seeds_otherwise:
                seeds = name_seeds(self.seeds_otherwise)
                return f"written before the run, but after {seeds} of another form of its arms {_were(seeds)} read"
            case "before":
                return "written before the run"
            case "changed" | "added":
                seeds = name_seeds(self.seeds_before)
                word = "changed" if self.status == "changed" else "written"
                return f"{word} after {seeds} {_were(seeds)} read{later and f',{later}'}"
            case "unknown" if later and self.seeds_before:
                return f"not known when it was written, but{later} {_were(name_seeds(self.seeds_after))} run"
            case "unknown":
                return "not known when it was written"
            case "not run":
                return "none of its arms was run"

    @property
    def changed_parts(self) -> tuple[str, ...]:
        """What differs from the form before, e.g. ("criterion", "needs")."""
        return tuple(dict.fromkeys(change.part for change in self.changes))

    @property
    def details(self) -> str:
        """The age with what was changed, the time and the commit, for a page."""
        parts = [self.phrase]
        if self.changes and (self.status == "changed" or self.seeds_otherwise):
            parts.append(f"changed: {', '.join(self.changed_parts)}")
        if self.registered:
            parts.append(f"registered {registration_text(self.registered, self.commit, self.dirty)}")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Json]:
        """The object `age` of a claim in `nosce show --json`."""
        fields: dict[str, Json] = {name: _as_json(value) for name, value in vars(self).items() if name != "changes"}
        return {**fields, "phrase": self.phrase, "changes": [asdict(change) for change in self.changes]}


def claim_ages(log: ClaimLog, plan: PlanRecord, made: Mapping[str, str]) -> dict[str, ClaimAge]:
    """The age of each claim of a plan, by id.

    Args:
        log: The log of the plan's study, scale and variant.
        plan: Record of the plan.
        made: When each finished step was made (UTC), by name.
    """
    readings = planned_readings(plan)
    return {version.id: _age(log, version, readings, made) for version in planned_versions(plan, {})}


def _age(log: ClaimLog, version: ClaimVersion, readings: Sequence[FoundReadings], made: Mapping[str, str]) -> ClaimAge:
    own = [one for one in readings if version.arms is None or one.arm in version.arms]
    if not own:
        return ClaimAge(status="not run")
    registration = log.hashes.get(version.hash)
    if registration is None:
        return ClaimAge(status="unknown", seeds_before=_seeds(own))
    was_there = {one.step for one in registration.found}
    before = [one for one in own if one.step in was_there or made.get(one.step, "9") < registration.registered]
    forms = log.versions(version.id)
    place = next((i for i, (form, _) in enumerate(forms) if form.hash == version.hash), 0)
    earlier = forms[place - 1][0] if place else None
    age = ClaimAge(
        status="before",
        registered=registration.registered,
        commit=registration.commit,
        dirty=registration.dirty,
        seeds_before=_seeds(before),
        seeds_after=tuple(sorted({*_seeds(own)} - {*_seeds(before)})),
        n_forms=place + 1,
        changes=() if earlier is None else claim_changes(earlier, forms[place][0]),
    )
    is_sure = log.had_run_before(version.arms, registration) and not (registration.incomplete or log.unreadable)
    if before:
        known_status: AgeStatus = "added" if earlier is None else "changed"
        return replace(age, status=known_status if is_sure else "unknown")
    return replace(age, seeds_otherwise=_seeds_otherwise(version, registration) if is_sure else ())


def _seeds_otherwise(version: ClaimVersion, registration: ClaimRegistration) -> tuple[int, ...]:
    """The seeds of the claim's arms that had been read when none of the readings that judge it were there."""
    return _seeds(one for one in registration.found if version.arms is None or one.arm in version.arms)


def claim_changes(before: ClaimVersion, after: ClaimVersion) -> tuple[ClaimChange, ...]:
    """How a form of a claim differs from the form before it, field by field."""
    changes = []
    hidden = {*UNHASHED_FIELDS, "preconditions"}
    if before.criterion != after.criterion:
        changes.append(ClaimChange(part="criterion", where="", before=before.criterion, after=after.criterion))
        hidden |= CRITERION_FIELDS
    visible = ({k: v for k, v in version.description.items() if k not in hidden} for version in (before, after))
    for path, old, new in diff_descriptions(*visible):
        field = re.split(r"[.[]", path, maxsplit=1)[0]
        part = "criterion" if field in CRITERION_FIELDS else "arms" if _ARM_FIELD.search(path) else field
        where = path if field in CRITERION_FIELDS else path.removeprefix(field).lstrip(".")
        changes.append(ClaimChange(part=part, where=_in_words(where), before=_value_text(old), after=_value_text(new)))
    changes += _changed_needs(_needs(before), _needs(after))
    return tuple(change for change in changes if change.before != change.after) or tuple(changes)


def _needs(version: ClaimVersion) -> dict[str, Json]:
    """The preconditions of a claim by their texts."""
    needs = version.description.get("preconditions")
    found: dict[str, Json] = {}
    for number, need in enumerate(needs if isinstance(needs, list) else [], 1):
        text = str(need.get("text")) if isinstance(need, dict) else str(number)
        found[f"{text} ({number})" if text in found else text] = need
    return found


def _changed_needs(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[ClaimChange]:
    for text in dict.fromkeys((*before, *after)):
        old, new = before.get(text), after.get(text)
        if old is None or new is None:
            yield ClaimChange(part="needs", where=text, before=_bounds_text(old), after=_bounds_text(new))
            continue
        for path, old_value, new_value in diff_descriptions(old, new):
            where = f"{text}, {_in_words(path)}"
            yield ClaimChange(part="needs", where=where, before=_value_text(old_value), after=_value_text(new_value))


def _bounds_text(need: Json) -> str:
    """What a precondition demands, e.g. "above 0.5"; a dash where there is none."""
    if not isinstance(need, dict):
        return NO_VALUE
    numbers = {name: value for name, value in need.items() if name not in ("type", "text", "measure")}
    return ", ".join(f"{name} {_value_text(value)}" for name, value in numbers.items()) or "there"


def _in_words(path: str) -> str:
    """The path of a value, e.g. "terms 2, arm" for `terms[1].arm`."""
    return _NUMBER.sub(lambda found: f" {int(found[1]) + 1}", path).replace(".", ", ").strip()


def age_sentences(ages: Mapping[str, ClaimAge]) -> list[str]:
    """What the terminal says below the claims: how many were written before the run, and which were not."""
    by_phrase: dict[str, list[str]] = {}
    for claim_id, age in ages.items():
        if age.status != "not run":
            by_phrase.setdefault(age.phrase, []).append(claim_id)
    n_claims = sum(map(len, by_phrase.values()))
    return [_age_sentence(ages[ids[0]], phrase, ids, n_claims) for phrase, ids in by_phrase.items()]


def _age_sentence(age: ClaimAge, phrase: str, ids: Sequence[str], n_claims: int) -> str:
    if age.status == "unknown":
        all_claims = "the claim" if n_claims == 1 else f"the {n_claims} claims"
        whose = all_claims if len(ids) == n_claims else f"{len(ids)} of {n_claims} claims"
        if not age.seeds_after:
            return f"When {whose} {'was' if len(ids) == 1 else 'were'} written is not known."
        seeds = name_seeds(age.seeds_before)
        return (
            f"Whether {whose} {'was' if len(ids) == 1 else 'were'} written before {seeds} {_were(seeds)} read is not "
            f"known; {name_seeds(age.seeds_after)} {_were(name_seeds(age.seeds_after))} run later."
        )
    if phrase == "written before the run":
        if len(ids) == n_claims:
            return f"{'The claim was' if n_claims == 1 else f'All {n_claims} claims were'} {phrase}."
        return f"{len(ids)} of {n_claims} claims {'was' if len(ids) == 1 else 'were'} {phrase}."
    named = ", ".join(ids[:MAX_NAMED]) + (f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else "")
    how = f" (`nosce explain {ids[0]}`)" if age.changes else ""
    return f"{named} {'was' if len(ids) == 1 else 'were'} {phrase}{how}."


def registration_text(registered: str, commit: str | None, dirty: bool | None) -> str:
    """Time and commit of a registration, e.g. "2026-11-27T16:50:00Z, commit 87388d4e5a"."""
    code = "no commit known" if commit is None else f"commit {commit[:10]}"
    return f"{registered}, {code}{' with uncommitted changes' if dirty else ''}"


def name_seeds(seeds: Iterable[int]) -> str:
    """Seeds in words, e.g. "seed 0" or "seeds 0-2, 10"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    names = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{'seed' if len(runs) == 1 and len(runs[0]) == 1 else 'seeds'} {', '.join(names)}"


def _were(seeds: str) -> str:
    return "were" if seeds.startswith("seeds") else "was"


def _seeds(readings: Iterable[FoundReadings]) -> tuple[int, ...]:
    return tuple(sorted({one.seed for one in readings}))


def _value_text(value: Json) -> str:
    """A value of a description as text; a value that is not there is a dash."""
    if value is None:
        return NO_VALUE
    return value if isinstance(value, str) else canonical_json(value)


def _as_json(value: object) -> Json:
    return [*value] if isinstance(value, tuple) else value  # type: ignore[return-value]
