"""`nosce explain CLAIM`: the forms of a claim, what was changed from one to the next, and what had been read then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nosce.errors import DamagedError
from nosce.pipeline.claim_age import ClaimChange, claim_ages, claim_changes
from nosce.pipeline.claim_log import ClaimLog, ClaimRegistration, ClaimVersion, planned_readings, planned_versions
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.store import Store


@dataclass(frozen=True, kw_only=True)
class ClaimForm:
    """One form of a claim, as the log has it.

    Args:
        text: The claim in one sentence.
        criterion: When the claim holds, in words.
        registered: Time at which the first run with this form began (UTC).
        commit: Commit of nosce's own code at that time.
        dirty: Whether that code had uncommitted changes.
        seeds_read: Seeds of which readings of the claim's arms were in the store.
        changes: How the form differs from the form before it.
    """

    text: str
    criterion: str
    registered: str
    commit: str | None
    dirty: bool | None
    seeds_read: tuple[int, ...]
    changes: tuple[ClaimChange, ...]


@dataclass(frozen=True, kw_only=True)
class ClaimHistory:
    """All forms of a claim in one study, scale and variant.

    Args:
        claim: Name of the claim.
        study: Name of the study.
        scale: Name of the scale.
        variant: What `--model` and `--set` changed of the study; empty: nothing.
        age: How old the form is that `nosce show` judges, in a few words; None where no plan is finished.
        forms: The forms, in the order of their registration.
    """

    claim: str
    study: str
    scale: str
    variant: str
    age: str | None
    forms: tuple[ClaimForm, ...]


def explain_claim(store: Store, claim: str) -> list[ClaimHistory]:
    """The history of a claim in each study, scale and variant that has a claim of this id; empty where none has."""
    logs = ClaimLog.load_all(store)
    finished = {plan.identity: plan for plan in PlanRecord.load_finished(store)}
    histories = []
    for identity in sorted({*logs, *finished}):
        log, plan = logs.get(identity, ClaimLog()), finished.get(identity)
        age = None if plan is None else _judged_age(store, log, plan, claim)
        forms = _forms(log, claim)
        if forms or age is not None:
            study, scale, variant = identity
            histories.append(ClaimHistory(claim=claim, study=study, scale=scale, variant=variant, age=age, forms=forms))
    return histories


def _judged_age(store: Store, log: ClaimLog, plan: PlanRecord, claim: str) -> str | None:
    """The age of a claim in a finished plan; None where the plan has no such claim."""
    if claim not in {version.id for version in planned_versions(plan, {})}:
        return None
    return claim_ages(log, plan, _times_made(store, plan))[claim].phrase


def _times_made(store: Store, plan: PlanRecord) -> Mapping[str, str]:
    made = {}
    for name in {one.step for one in planned_readings(plan)}:
        try:
            made[name] = str(store.step_record(name).provenance["made"])
        except (DamagedError, KeyError):
            continue  # then the log alone says whether it was there
    return made


def _forms(log: ClaimLog, claim: str) -> tuple[ClaimForm, ...]:
    forms, before = [], None
    for version, registration in log.versions(claim):
        changes = () if before is None else claim_changes(before, version)
        forms.append(_form(version, registration, changes))
        before = version
    return tuple(forms)


def _form(version: ClaimVersion, registration: ClaimRegistration, changes: tuple[ClaimChange, ...]) -> ClaimForm:
    read = {one.seed for one in registration.found if version.arms is None or one.arm in version.arms}
    return ClaimForm(
        text=str(version.description.get("text", "")),
        criterion=version.criterion,
        registered=registration.registered,
        commit=registration.commit,
        dirty=registration.dirty,
        seeds_read=tuple(sorted(read)),
        changes=changes,
    )
