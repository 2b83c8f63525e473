"""`nosce export`: a trained model as a plain Hugging Face folder, with a model card."""

from __future__ import annotations

import shutil
from pathlib import Path

from nosce.errors import NosceError, UsageError
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.store.store import StepRecord, Store
from nosce.study import PRETRAIN


def export_checkpoint(store: Store, request: StudyRequest, arm: str, seed: int | None, folder: Path) -> StepRecord:
    """Copy the final checkpoint of an arm, after its last stage, as a plain Hugging Face folder with a model card.

    Args:
        store: The store.
        request: The study and its scale.
        arm: Name of the arm.
        seed: Training seed; None: the study's first.
        folder: Where to write: an empty folder, or one that does not exist yet.

    Raises:
        UsageError: The study has no such arm or seed, the arm is not trained yet, or the folder is not empty.
    """
    from nosce.pipeline.steps.training import list_checkpoints

    plan = StudyRequest(study=request.study, scale=request.scale, arms=(arm,)).plan()
    if not plan.study.arms:
        raise UsageError(f"{arm} of {request.study} is an experiment and trains no language model; name an arm.")
    chosen_seed = plan.study.seeds[0] if seed is None else seed
    stage = [PRETRAIN, *(stage.name for stage in plan.study.arms[0].stages)][-1]
    label = f"{arm}, seed {chosen_seed}, {stage}"
    step = plan.training_steps.get((arm, chosen_seed, stage))
    if step is None:
        raise UsageError(
            f"{request.study} at scale {request.scale} has no seed {chosen_seed}; take one of {plan.study.seeds}."
        )
    if not store.has(step.name):
        raise UsageError(f"{label} is not trained in {store.root}; run `{request.command} --arms {arm}` first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")
    source = list_checkpoints(store.verified(step.name)).popitem()[1]
    step_record = store.step_record(step.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.iterdir()):
            if file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        (folder / "README.md").write_text(_model_card(plan, label, step_record), encoding="utf-8")
    except OSError as error:
        raise NosceError(
            f"the model could not be written to {folder} ({error.strerror}); name another folder."
        ) from error
    return step_record


def _model_card(plan: Plan, label: str, step_record: StepRecord) -> str:
    study = plan.study
    versions = ", ".join(f"{name} {number}" for name, number in step_record.provenance["versions"].items())
    return (
        f"---\nlicense: apache-2.0\ntags: [nosce, synthetic, {study.name}]\n---\n"
        f"# {study.title}: {label}\n\n{study.question} A model of the study `{study.name}` ({study.paper}) at scale "
        f"`{study.scale}`, trained by nosce on a synthetic world; the people in it do not exist.\n\n"
        f"- step `{step_record.name}`, made {step_record.provenance['made']} at commit "
        f"{step_record.provenance['commit']}\n"
        f"- texts begin with the end-of-text token; load with `AutoModelForCausalLM.from_pretrained` and "
        f"`AutoTokenizer.from_pretrained`\n- {versions}\n"
    )
