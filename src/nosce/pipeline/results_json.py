"""What a run found as one JSON object: what `nosce show --json` prints and a page's `show.json` holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from nosce.pipeline.claim_age import ClaimAge
from nosce.pipeline.claim_outlook import ClaimOutlook
from nosce.pipeline.results import RunProvenance, RunResults
from nosce.records import Verdict

if TYPE_CHECKING:
    from nosce.store.spec import Json


def results_json(results: RunResults) -> dict[str, Json]:
    """The plan, the answer, the claims with their verdicts, and the provenance; shares are from 0 to 1."""
    plan = results.plan
    return {
        "study": plan.study,
        "scale": plan.scale,
        "variant": plan.variant,
        "title": plan.title,
        "question": plan.question,
        "answer": {"text": results.answer.text, "sure": results.answer.sure, "decided": results.answer.is_decided},
        "paper": plan.paper,
        "seeds": list(plan.seeds),
        "arms": list(plan.arms),
        "part": plan.part or None,
        **({"notes": list(plan.notes)} if plan.notes else {}),
        **({"conclusion": results.conclusion} if results.conclusion else {}),
        **({"disclosures": [asdict(one) for one in plan.disclosures]} if plan.disclosures else {}),
        **({"halves": results.halves.to_json()} if results.halves else {}),
        "claims": [_claim_json(results, verdict) for verdict in results.shown_verdicts],
        **({"left_out": list(results.claims_of_other_arms)} if results.claims_of_other_arms else {}),
        "provenance": _provenance_json(results.provenance, results.stale_steps),
    }


def _claim_json(results: RunResults, verdict: Verdict) -> dict[str, Json]:
    outlook = results.outlooks.get(verdict.id, ClaimOutlook())
    age = results.ages.get(verdict.id, ClaimAge(status="unknown"))
    return {
        **asdict(verdict),
        "this_model_alone": verdict.is_of_one_model,
        "age": age.to_json(),
        **outlook.to_json(),
    }


def _provenance_json(provenance: RunProvenance, stale: dict[str, str]) -> dict[str, Json]:
    threads = provenance.threads
    return {
        "commit": provenance.commit,
        "dirty": provenance.dirty,
        "versions": None if provenance.versions is None else {**provenance.versions},
        "device": provenance.device,
        "processor": provenance.processor,
        "cores": provenance.cores,
        "threads": [*threads] if isinstance(threads, list) else threads,
        "made": provenance.finished_at,
        "peak_memory_mib": provenance.peak_memory_mib,
        "core_minutes": round(provenance.core_minutes, 2),
        "steps": provenance.n_steps,
        "stale": {**stale},
        "command": provenance.command,
    }
