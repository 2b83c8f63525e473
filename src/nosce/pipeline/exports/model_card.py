"""The card of an exported model: what the hub reads of a folder's README.md, and a page for people.

The metadata are written by huggingface_hub, so that they have the form that the hub checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from nosce.models.architecture import ENCODER_FAMILIES
from nosce.pipeline.exports.target import ExportTarget
from nosce.store.files import JsonObject

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

#: What the hub calls the licence of a folder whose owner has named none: nosce chooses none for anybody.
UNKNOWN_LICENSE = "unknown"
PIPELINE_TAGS = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
}
OPENING_SENTENCE = (
    "texts begin with the end-of-text token: the tokenizer puts it there unless `add_special_tokens=False`; in "
    "TransformerLens take `prepend_bos=True`, in lm-evaluation-harness `add_bos_token=True`"
)
ADAPTER_SENTENCE = (
    "`adapter/` holds the low-rank updates alone: `PeftModel.from_pretrained(base, 'adapter')`, where the base is the "
    "exported model of the stage before (`nosce export` with `--stage` writes it), or the pretrained model if there "
    "was none"
)


def model_card(target: ExportTarget, config: JsonObject, license_: str, *, has_adapter: bool) -> str:
    """The README.md of an exported model.

    Args:
        target: The checkpoint.
        config: The model's configuration.
        license_: Identifier of a licence as the hub writes it.
        has_adapter: Whether the low-rank updates lie beside the model.
    """
    from huggingface_hub import ModelCardData

    study, record = target.study, target.step_record
    opening = "the encoder reads the question; nothing is added to a text"
    pipeline_tag = PIPELINE_TAGS[model_class(config)]
    metadata = ModelCardData(
        license=license_,
        library_name="transformers",
        pipeline_tag=pipeline_tag,
        tags=["nosce", "synthetic", study.name],
        model_name=f"{study.name}: {target.label}",
        eval_results=_results(target, pipeline_tag) or None,
    )
    lines = [
        made_sentence(target),
        f"load with `{model_class(config)}.from_pretrained` and `AutoTokenizer.from_pretrained`",
        opening if config["is_encoder_decoder"] else OPENING_SENTENCE,
        *([ADAPTER_SENTENCE] if has_adapter else []),
        ", ".join(f"{name} {number}" for name, number in record.provenance["versions"].items()),
    ]
    return (
        f"---\n{metadata.to_yaml()}\n---\n"
        f"# {study.title}: {target.label}\n\n{study.question} A model of the study `{study.name}` ({study.paper}) at "
        f"scale `{study.scale}`, trained by nosce on a synthetic world; the people in it do not exist.\n\n"
        + "".join(f"- {line}\n" for line in lines)
        + license_sentence(license_)
    )


def model_class(config: JsonObject) -> str:
    """The class of transformers that loads a model of this configuration."""
    if config["is_encoder_decoder"]:
        return "AutoModelForSeq2SeqLM"
    return "AutoModelForMaskedLM" if config["model_type"] in ENCODER_FAMILIES else "AutoModelForCausalLM"


def made_sentence(target: ExportTarget) -> str:
    """Which step of the store the folder is of, and the code that made it."""
    provenance = target.step_record.provenance
    return f"step `{target.step.name}`, made {provenance['made']} at commit {provenance['commit']}"


def license_sentence(license_: str) -> str:
    """A paragraph for the owner of a folder without a licence; "" where one is named."""
    if license_ != UNKNOWN_LICENSE:
        return ""
    return "\nThe licence is not named yet: whoever publishes this folder chooses it (option `--license`).\n"


def _results(target: ExportTarget, task_type: str) -> list[EvalResult]:
    """The share of right answers by evaluation, metric and split, for the hub's table of results."""
    from huggingface_hub import EvalResult

    results = []
    for step in target.evaluation_steps():
        judged = target.readings(step).filter(pl.col("outcome").is_not_null() & pl.col("value").is_not_null())
        shares = judged.group_by("evaluation", "split", "metric", maintain_order=True).agg(pl.col("value").mean())
        for evaluation, split, metric, value in shares.iter_rows():
            name = f"{target.study.title}: {evaluation}" + (f", {split}" if split else "")
            results.append(
                EvalResult(
                    task_type=task_type,
                    dataset_type=f"nosce-{target.study.name}",
                    dataset_name=name,
                    dataset_config=evaluation,
                    dataset_split=split or None,
                    metric_type="exact_match" if metric == "exact" else "accuracy",
                    metric_name=metric,
                    metric_value=round(value, 6),
                )
            )
    return results
