"""`nosce export`: a trained model as a plain Hugging Face folder, with a model card.

Plain transformers, and what is built on it, asks the exported model as nosce does: the tokenizer puts the opening end
token in front of a text, generation is greedy and ends at the end token, and decoded replies have their spaces.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from nosce.data.corpus import Corpus
from nosce.data.plain_tokenizer import save_plain_tokenizer
from nosce.data.tokenizer import read_settings
from nosce.errors import NosceError, UsageError
from nosce.models.architecture import ENCODER_FAMILIES
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_choice import match_name
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.step import Step
from nosce.pipeline.study_loading import load_study
from nosce.records import read_table
from nosce.store.files import JsonObject
from nosce.store.store import StepRecord, Store
from nosce.study import PRETRAIN, first_seeds

SAMPLE_DOCUMENTS = 2_000  # documents that show where a word tokenizer's marks have spaces
ADAPTER_FOLDER = "adapter"  # below the exported folder: the low-rank updates alone
OPENING_SENTENCE = (
    "texts begin with the end-of-text token: the tokenizer puts it there unless `add_special_tokens=False`; in "
    "TransformerLens take `prepend_bos=True`, in lm-evaluation-harness `add_bos_token=True`"
)
ADAPTER_SENTENCE = (
    "`adapter/` holds the low-rank updates alone: `PeftModel.from_pretrained(base, 'adapter')`, where the base is the "
    "exported model of the stage before (`nosce export` with `--stage` writes it), or the pretrained model if there "
    "was none"
)


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


def export_checkpoint(
    store: Store,
    request: StudyRequest,
    arm: str,
    seed: int | None,
    folder: Path,
    *,
    stage: str | None = None,
    checkpoint_step: int | None = None,
) -> StepRecord:
    """Write a checkpoint of an arm as a plain Hugging Face folder with a model card.

    The low-rank updates of a stage that trained an adapter are also written by themselves, into `adapter/`.

    Args:
        store: The store.
        request: The study and its scale.
        arm: Name of the arm. Capitals, spaces and hyphens of this name and of the stage's need not be right.
        seed: Training seed; None: the study's first.
        folder: Where to write: an empty folder, or one that does not exist yet.
        stage: "pretrain" or the name of a later stage; None: the last.
        checkpoint_step: Optimizer steps of the checkpoint within its stage; None: the last one.

    Raises:
        UsageError: The study has no such arm, seed, stage or checkpoint, the arm is not trained yet, or the folder is
            not empty.
    """
    from nosce.pipeline.steps.training import list_checkpoints

    study = load_study(request.study, request.scale, request.variant)
    arm = match_name(arm, study.condition_names, f"study {study.name!r} has no arm")
    request = replace(request, arms=(arm,))
    plan = request.plan()
    step, label = _training_step(plan, request, arm, seed, stage)
    if not store.has(step.name):
        command = in_store(request.command, store)
        raise UsageError(f"{label} is not trained in {store.root}; run `{command}` first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")
    training_folder = store.verified(step.name)
    checkpoints = list_checkpoints(training_folder)
    chosen = max(checkpoints) if checkpoint_step is None else checkpoint_step
    if chosen not in checkpoints:
        raise UsageError(f"{label} has no checkpoint of step {chosen}; take one of {', '.join(map(str, checkpoints))}.")
    step_record = store.step_record(step.name)
    corpus = Corpus(store.verified(step.inputs["corpus"].name))
    try:
        config = write_plain_model(checkpoints[chosen], folder, corpus)
        has_adapter = _write_adapter(training_folder, chosen, folder)
        card = _model_card(plan, f"{label}, step {chosen}", step_record, config, has_adapter)
        (folder / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise NosceError(
            f"the model could not be written to {folder} ({error.strerror}); name another folder."
        ) from error
    return step_record


def _training_step(
    plan: Plan, request: StudyRequest, arm: str, seed: int | None, stage: str | None
) -> tuple[Step, str]:
    """The training of an arm, seed and stage, and its name for people."""
    if not plan.study.arms:
        raise UsageError(f"{arm} of {request.study} is an experiment and trains no language model; name an arm.")
    stages = [PRETRAIN, *(one.name for one in plan.study.arms[0].stages)]
    chosen_stage = stages[-1] if stage is None else match_name(stage, stages, f"{arm} of {request.study} has no stage")
    chosen_seed = plan.study.seeds[0] if seed is None else seed
    step = plan.training_steps.get((arm, chosen_seed, chosen_stage))
    if step is None:
        seeds = [str(a_seed) for name, a_seed, a_stage in plan.training_steps if (name, a_stage) == (arm, chosen_stage)]
        raise UsageError(
            f"{arm} of {request.study} at scale {request.scale} has no seed {chosen_seed}; take one of "
            f"{', '.join(seeds)}."
        )
    return step, f"{arm}, seed {chosen_seed}, {chosen_stage}"


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


def _model_card(plan: Plan, label: str, step_record: StepRecord, config: JsonObject, has_adapter: bool) -> str:
    """What is in the folder, in the layout of the hub; without a licence, which is its owner's to choose."""
    study = plan.study
    versions = ", ".join(f"{name} {number}" for name, number in step_record.provenance["versions"].items())
    model_class, opening = "AutoModelForCausalLM", OPENING_SENTENCE
    if config["is_encoder_decoder"]:
        model_class, opening = "AutoModelForSeq2SeqLM", "the encoder reads the question; nothing is added to a text"
    elif config["model_type"] in ENCODER_FAMILIES:
        model_class = "AutoModelForMaskedLM"
    lines = [
        f"step `{step_record.name}`, made {step_record.provenance['made']} at commit "
        f"{step_record.provenance['commit']}",
        f"load with `{model_class}.from_pretrained` and `AutoTokenizer.from_pretrained`",
        opening,
        *([ADAPTER_SENTENCE] if has_adapter else []),
        versions,
    ]
    return (
        f"---\ntags: [nosce, synthetic, {study.name}]\n---\n"
        f"# {study.title}: {label}\n\n{study.question} A model of the study `{study.name}` ({study.paper}) at scale "
        f"`{study.scale}`, trained by nosce on a synthetic world; the people in it do not exist.\n\n"
        + "".join(f"- {line}\n" for line in lines)
    )
