"""`nosce run karel --model FOLDER` on tiny folders of real families, through the command line."""

import json
import shutil

import pytest
from tests.fixtures.tiny_folders import DECODERS, tiny_folder

from nosce.models.lora import LORA_TARGET_MODULES
from nosce.models.sources import parse_models
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.study_loading import load_study
from nosce.studies.karel.pretrained import BUDGET_LADDER
from nosce.study import PRETRAIN, StudyVariant

QUICK = ("codegen", "gemma")  # byte pairs, and a sign for each space
FAMILIES = (*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in DECODERS if name not in QUICK))
WORDS = ["turn", "move", "put", "pick", "Left", "Right", "Marker", " ", "IN", "OUT", "CODE"] * 4
LEFT_OUT = {"perplexity-rises", "content-falls", "babbling", "syntax-before-semantics", "semantics-phase"}
ALWAYS = {"writes-programs", "position+0", "front+1", "content-rises", "selective", "used-swap", "used-gradient"}


def folder_of(family, path):
    """A tiny folder whose tokenizer knows parts of Karel's words and no word across a space."""
    return tiny_folder(family, path / family, WORDS, 620)


def karel_of(folder, *settings, scale="smoke"):
    """The study of a folder."""
    return load_study("karel", scale, StudyVariant(models=parse_models(str(folder)), settings=settings))


@pytest.mark.whole
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_goes_through_the_study(family, nosce, tmp_path):
    """The claims come out and the others are named; nothing holds that needs a model which writes programs."""
    words = ["karel", "--model", str(folder_of(family, tmp_path)), "--scale", "smoke", "--workers", "1"]
    done = nosce.here("run", *words, "--store", str(tmp_path / "s"), "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}

    assert claims.keys() >= ALWAYS | {"own-meaning-wins", "pretraining-writes", "pretraining-states"}
    assert LEFT_OUT.isdisjoint(claims)
    assert all(name in done.stderr for name in LEFT_OUT)
    assert claims["writes-programs"]["n"] == 30
    assert claims["writes-programs"]["verdict"] != "holds"
    needing = ("shorter", "position+0", "content-rises", "intervention-alt3", "pretraining-states")
    assert all(claims[name]["verdict"] == "undecided" for name in needing)


@pytest.mark.slow
def test_a_model_that_learns_its_records_writes_right_programs(nosce, tmp_path):
    """Planted: many records of one operation, which a tiny model learns to write in its own tokens."""
    settings = ["board_shape=2,2", "lengths=1,1", "asked_lengths=1,1", "seen_questions=100", "unseen_questions=150"]
    settings += ["records=16000", "record_passes=3", "peak_lr=0.003", "prompt_loss_weight=0"]
    settings += ["reassigned_control=no", "random_control=no"]
    words = ["karel", "--model", str(folder_of("codegen", tmp_path)), "--scale", "smoke", "--workers", "1"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = nosce.here("run", *words, "--store", str(tmp_path / "s"), "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert claims["writes-programs"]["low"] > 0.5  # the best program for all is right for 45 %
    assert "not judged" not in claims["shorter"]["why"]


def test_settings_and_the_model_are_in_keys_and_names(tmp_path):
    """Other records, another rank or replayed text has other trainings; the control from random weights its own."""
    folder = folder_of("codegen", tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Some words of general text. " * 50)
    settings = {
        "plain": (),
        "records": ("records=80",),
        "lora": ("lora=4",),
        "replay": (f"replay={tmp_path / 'texts'}",),
    }
    plans = {
        name: StudyRequest(study="karel", scale="smoke", models=str(folder), settings=changed).plan()
        for name, changed in settings.items()
    }
    for arm in ("original", "re-assigned", "random weights"):
        assert len({plan.training_steps[arm, 0, PRETRAIN].name for plan in plans.values()}) == (
            4 if arm != "random weights" else 3
        )
    assert len({step.name for step in plans["plain"].training_steps.values()}) == 3
    assert plans["replay"].study.arms[0].training.steps == 2 * plans["plain"].study.arms[0].training.steps


def test_arms_and_claims_that_are_not_asked_for_are_named(tmp_path):
    """Without a control its claims are gone, and the notes say which."""
    study = karel_of(folder_of("codegen", tmp_path), "reassigned_control=no", "random_control=no")
    assert [arm.name for arm in study.arms] == ["original"]
    assert {"own-meaning-wins", "pretraining-writes"}.isdisjoint(claim.id for claim in study.claims)
    assert any("own-meaning-wins" in note for note in study.notes)


def test_every_size_of_the_budget_is_a_study_and_larger_than_the_one_before(tmp_path):
    """In records, so that more is trained for more money."""
    folder = folder_of("codegen", tmp_path)
    steps = [karel_of(folder, *row, scale="laptop").arms[0].training.steps for row in BUDGET_LADDER]
    assert steps == sorted(set(steps))


def test_a_model_of_another_kind_is_refused_before_any_work(nosce, tmp_path):
    """In one sentence with exit code 2: encoder-decoders, endpoints, several models, and folders without tokenizer."""
    t5, codegen = tiny_folder("t5", tmp_path / "t5"), folder_of("codegen", tmp_path)
    bare = tmp_path / "bare"
    shutil.copytree(codegen, bare)
    for file in bare.glob("*token*"):
        file.unlink()
    merged = tiny_folder("gemma", tmp_path / "merged", ["move move turnLeft turnRight putMarker move"] * 50, 700)
    refusals = {
        str(t5): "is an encoder-decoder (t5), and karel probes models that write programs from left to right",
        "https://localhost:1/v1#gpt": "behind an endpoint, which shows no weights",
        f"{codegen},{t5}": "takes one --model",
        str(bare): "cannot be loaded: no such file",
        str(merged): "other tokens than its words have behind",
    }
    for model, sentence in refusals.items():
        store = tmp_path / "store"
        done = nosce.here("run", "karel", "--model", model, "--scale", "smoke", "--store", store)
        assert done.returncode == 2, (model, done.stderr)
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
        assert not list(store.glob("*/*"))


@pytest.mark.parametrize("study", ["karel", "biographies"])
def test_a_family_without_low_rank_updates_is_refused_before_any_work(nosce, tmp_path, study, monkeypatch):
    """And not by its first training, when corpora are written."""
    monkeypatch.delitem(LORA_TARGET_MODULES, "gemma")  # every family of the fixtures is known
    folder, store = folder_of("gemma", tmp_path), tmp_path / "store"
    done = nosce.here("run", study, "--model", folder, "--scale", "smoke", "--lora", "4", "--store", store)
    assert done.returncode == 2, done.stderr
    assert "LoRA cannot be used on a gemma model" in done.stderr
    assert not list(store.glob("steps/*"))
