"""`nosce export`: a trained model as a plain Hugging Face folder with a model card, or in another tool's form.

Plain transformers, and what is built on it, asks the exported model as nosce does: the tokenizer puts the opening end
token in front of a text, generation is greedy and ends at the end token, and decoded replies have their spaces.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from nosce.data.corpus import Corpus
from nosce.data.plain_tokenizer import save_plain_tokenizer
from nosce.data.tokenizer import read_settings
from nosce.errors import NosceError, UsageError
from nosce.models.architecture import ENCODER_FAMILIES
from nosce.pipeline.exports.dataset import write_dataset
from nosce.pipeline.exports.inspect_log import write_inspect_task
from nosce.pipeline.exports.lm_eval import write_lm_eval_tasks
from nosce.pipeline.exports.model_card import UNKNOWN_LICENSE, model_card, model_class
from nosce.pipeline.exports.target import ExportTarget, check_folder
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.study_loading import load_study
from nosce.records import read_table
from nosce.store.files import JsonObject
from nosce.store.store import Store
from nosce.study import first_seeds

SAMPLE_DOCUMENTS = 2_000  # documents that show where a word tokenizer's marks have spaces
ADAPTER_FOLDER = "adapter"  # below the exported folder: the low-rank updates alone
ExportForm = Literal["hf", "dataset", "lm-eval", "inspect"]


def find_study(store: Store, study: str, scale: str | None, variant: str | None = None) -> StudyRequest:
    """The study and scale that `nosce show` shows under a name, with as many seeds as were run.

    Args:
        store: The store.
        study: The study's name, or the name that the command line gave it.
        scale: Name of the scale; None: the scale that was run last, or "laptop" where none was.
        variant: What `--model` and `--set` change; None: the study as it is, or else what was run last.
    """
    named = [record for record in PlanRecord.load_all(store) if study in (record.study, record.requested_as)]
    at_scale = [record for record in named if scale in (None, record.scale) and variant in (None, record.variant)]
    if variant is None:
        at_scale = [record for record in at_scale if not record.variant] or at_scale
    finished = [record for record in at_scale if store.has(record.estimates)]
    if not (found := finished or at_scale):
        return StudyRequest(study=named[0].requested_as if named else study, scale=scale or "laptop")
    newest = found[0]
    same = [record for record in at_scale if record.identity == newest.identity]
    widest = max(same, key=lambda record: len(record.seeds))
    request = StudyRequest(
        study=newest.requested_as, scale=newest.scale, models=newest.models, settings=newest.settings
    )
    own_seeds = load_study(request.study, request.scale, request.variant).seeds
    if {*widest.seeds} <= {*own_seeds}:
        return request
    if widest.seeds == first_seeds(own_seeds, len(widest.seeds)):
        return replace(request, n_seeds=len(widest.seeds))
    return replace(request, seeds=widest.seeds)


def export_checkpoint(target: ExportTarget, folder: Path, form: ExportForm, license_: str) -> str:
    """Write a checkpoint of an arm, its texts or its questions in the form that another tool opens.

    Args:
        target: The checkpoint.
        folder: Where to write: an empty folder, or one that does not exist yet.
        form: "hf", a Hugging Face model with a model card; "dataset", a folder for `datasets`; "lm-eval", tasks of
            lm-evaluation-harness; "inspect", a task and logs of Inspect.
        license_: Identifier of the licence as the hub writes it, e.g. "cc-by-4.0"; "unknown" names none.

    Returns:
        A sentence on what was written and how it is opened.

    Raises:
        UsageError: The folder is not empty, or the arm has nothing of this form.
        NosceError: The disk refuses.
    """
    check_folder(folder)
    _check_license(form, license_)
    match form:
        case "hf":
            return _write_model(target, folder, license_)
        case "dataset":
            return write_dataset(target, folder, license_)
        case "lm-eval":
            return write_lm_eval_tasks(target, folder)
        case "inspect":
            return write_inspect_task(target, folder)


def _check_license(form: ExportForm, license_: str) -> None:
    if license_ != UNKNOWN_LICENSE and form not in ("hf", "dataset"):
        raise UsageError(f"--license is for the card of a model or a dataset, and --as {form} has none; leave it out.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}", license_):
        raise UsageError(
            f"--license {license_} is no identifier as the hub writes it; take one such as cc-by-4.0 or apache-2.0."
        )


def _write_model(target: ExportTarget, folder: Path, license_: str) -> str:
    """The model in the Hugging Face layout, with the low-rank updates beside it if its stage trained an adapter."""
    try:
        config = write_plain_model(target.checkpoint_folder, folder, target.corpus)
        has_adapter = _write_adapter(target.training_folder, target.checkpoint_step, folder)
        card = model_card(target, config, license_, has_adapter=has_adapter)
        (folder / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise NosceError(
            f"the model could not be written to {folder} ({error.strerror}); name another folder."
        ) from error
    return (
        f"{target.step.name} is now in {folder}, for {model_class(config)}.from_pretrained and "
        "AutoTokenizer.from_pretrained."
    )


def write_plain_model(source: Path, folder: Path, corpus: Corpus) -> JsonObject:
    """Write weights, configurations and tokenizer of a checkpoint, for transformers without nosce.

    Args:
        source: The checkpoint.
        folder: Where to write.
        corpus: The texts that the model was trained on.

    Returns:
        The model's configuration.
    """
    config = read_settings(source / "config.json")
    config.setdefault("is_encoder_decoder", False)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors" or file.name.endswith(".safetensors.index.json"):
            shutil.copyfile(file, folder / file.name)
    tokenizer = save_plain_tokenizer(
        source, folder, _sample_texts(corpus), opens_with_eos=not config["is_encoder_decoder"]
    )
    pad_id = tokenizer.token_to_id(read_settings(folder / "tokenizer_config.json")["pad_token"])
    special_ids = {"bos_token_id": corpus.eos_id, "eos_token_id": corpus.eos_id, "pad_token_id": pad_id}
    if isinstance(config.get("text_config"), dict):  # a language model inside a model that also sees
        config["text_config"] |= special_ids
    (folder / "config.json").write_text(json.dumps(config | special_ids, indent=2) + "\n", encoding="utf-8")
    if config["model_type"] not in ENCODER_FAMILIES:
        # Nothing else: a pretrained model's settings for sampling or against repetition would change its answers.
        if config["is_encoder_decoder"]:
            special_ids["decoder_start_token_id"] = config["decoder_start_token_id"]
        (folder / "generation_config.json").write_text(json.dumps(special_ids, indent=2) + "\n", encoding="utf-8")
    return config


def _sample_texts(corpus: Corpus) -> list[str]:
    """Questions, their targets and the first documents."""
    texts = [text for question in corpus.questions for text in (question.prompt, question.target)]
    first_part = min(corpus.folder.glob("documents-*.parquet"))
    return [*texts, *read_table(first_part, columns=["text"])["text"].head(SAMPLE_DOCUMENTS)]


def _write_adapter(training_folder: Path, checkpoint_step: int, folder: Path) -> bool:
    """The low-rank updates of a checkpoint, where its training had any."""
    from nosce.pipeline.steps.training import adapter_folder

    source = adapter_folder(training_folder, checkpoint_step)
    if source.is_dir():
        shutil.copytree(source, folder / ADAPTER_FOLDER)
    return source.is_dir()
