"""The diaries of models from a folder: each arm is written so that its model's tokenizer gives the texts back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.errors import NosceError, SpecError
from nosce.evals.generation import GenerationEval
from nosce.evals.stopping import StopDecision
from nosce.models.architecture import Pretrained
from nosce.pipeline.study_checks import check_references
from nosce.seeds import Seed
from nosce.studies.diaries.config import ARCHITECTURE_FAMILIES, PAPER_ENCODER_DECODERS, PAPER_MODELS, diaries_config
from nosce.study import load_study


@pytest.fixture
def models_folder(tmp_path, monkeypatch, t5_style_tokenizer):
    """A folder for each of the paper's models, with a tokenizer of its kind and no weights worth a name."""
    for family, sizes in PAPER_MODELS.items():
        for name, *_ in sizes.values():
            folder = tmp_path / name
            if family in PAPER_ENCODER_DECODERS:
                tokenizer = t5_style_tokenizer(["Ana's diary entry 1 ; Meal: soup"] * 9)
            else:
                tokenizer = build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), ["soup"])
            save_tokenizer(tokenizer, folder)
            config = {"model_type": ARCHITECTURE_FAMILIES[family].replace("-", "_")}
            (folder / "config.json").write_text(json.dumps(config))
            save_file({"weight": np.zeros(1_000, dtype=np.float32)}, folder / "model.safetensors")
    monkeypatch.setenv("NOSCE_MODELS", str(tmp_path))
    return tmp_path


def test_an_arm_is_written_as_its_tokenizer_can_carry_it(models_folder):
    """The pretrained encoder-decoders, whose tokenizer drops line breaks, read one line; the others the paper's."""
    study = load_study("diaries", "paper")
    for arm in study.arms:
        assert isinstance(arm.model, Pretrained)
        assert arm.world.encoding == ("one line" if "flan-t5" in arm.model.folder else "paper"), arm.name
    encodings = {arm.name: arm.world.encoding for arm in study.arms}
    scored = {"written": set(), "stops": set()}
    for one in study.evals:
        if isinstance(one.evaluation, GenerationEval | StopDecision) and one.evaluation.name in scored:
            reader = one.evaluation.scorer if isinstance(one.evaluation, GenerationEval) else one.evaluation.list_task
            assert isinstance(reader, DiaryScorer)
            assert {encodings[name] for name in one.arms} == {reader.world.encoding}
            assert not scored[one.evaluation.name] & set(one.arms)
            scored[one.evaluation.name] |= set(one.arms)
    assert scored["written"] == set(encodings)


def test_without_a_folder_every_arm_has_the_papers_lines(monkeypatch):
    """Models from scratch have byte pairs of their own, which keep line breaks."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)
    assert {arm.world.encoding for arm in load_study("diaries", "paper").arms} == {"paper"}


def test_a_folder_without_tokenizer_is_refused_when_the_study_is_read(models_folder):
    """Before a corpus is written."""
    (models_folder / "flan-t5-small" / "tokenizer.json").unlink()
    with pytest.raises(NosceError, match=r"flan-t5-small.*tokenizer.*\.$"):
        load_study("diaries", "paper")


def test_of_the_papers_models_those_that_are_there_are_planned(models_folder):
    """What is missing is named, and so are the claims that need it; two of twelve models make a study."""
    for sizes in PAPER_MODELS.values():
        for name, *_ in sizes.values():
            if name not in ("pythia-160m", "opt-125m"):
                shutil.rmtree(models_folder / name)
    study = load_study("diaries", "paper")
    check_references(study)
    assert {Path(arm.model.folder).name for arm in study.arms} == {"pythia-160m", "opt-125m"}
    models, claims = study.notes
    assert all(name in models for name in ("flan-t5-xl", "opt-350m"))
    assert "pythia-160m" not in models
    left_out = {"larger-models", "count-random-when-small", "flan-t5-merged", "header-repeated"}
    assert left_out.isdisjoint(claim.id for claim in study.claims)
    assert all(name in claims for name in left_out)
    assert "more-diarists" in {claim.id for claim in study.claims}


def test_encoder_decoders_alone_make_a_study(models_folder):
    """Without a decoder nothing is read of hidden states."""
    for family in ("opt", "pythia"):
        for name, *_ in PAPER_MODELS[family].values():
            shutil.rmtree(models_folder / name)
    study = load_study("diaries", "paper")
    check_references(study)
    assert {"flan-t5-merged", "header-repeated", "larger-models"} <= {claim.id for claim in study.claims}
    assert {"counted", "patched"}.isdisjoint(spec.evaluation.name for spec in study.evals)


def test_a_folder_with_none_of_the_papers_models_is_refused(tmp_path, monkeypatch):
    """One sentence says which names are looked for."""
    monkeypatch.setenv("NOSCE_MODELS", str(tmp_path))
    with pytest.raises(SpecError, match=r"none of the paper's models.*pythia-160m.*\.$"):
        load_study("diaries", "paper")


def test_without_missing_models_nothing_is_noted(models_folder):
    """All twelve are there: no claim is left out."""
    assert load_study("diaries", "paper").notes == ()
    assert load_study("diaries", "laptop").notes == ()


def test_the_papers_models_have_the_rates_of_their_sizes(monkeypatch):
    """EpiK-Eval's rates: the larger an OPT, the lower; one for all T5. In no other scale has a size its own."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)
    rates = {}
    for arm in load_study("diaries", "paper").arms:
        family, size, *_ = arm.name.split()
        if family in PAPER_MODELS and size in PAPER_MODELS[family]:
            rates.setdefault(family, {}).setdefault(size, set()).add(arm.training.peak_lr)
    by_size = {"tiny": {6e-5}, "small": {6e-5}, "base": {3e-5}, "large": {2e-5}, "xl": {1.6e-5}}
    t5 = {size: {1e-4} for size in by_size if size != "tiny"}
    assert rates == {"opt": by_size, "pythia": by_size, "flan-t5": t5}
    assert not any(diaries_config(scale).peak_lrs for scale in ("smoke", "laptop", "gpu"))


@pytest.mark.parametrize(("family", "low", "high"), [("opt", 6.5e6, 7.6e6), ("pythia", 18e6, 28e6)])
def test_the_papers_smallest_decoders_are_as_large_as_it_says(family, low, high, monkeypatch):
    """OPT's 7 million weights with the vocabulary that is trained; Pythia's shape, which has 70 with its own."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)
    model = diaries_config("paper").model(family, "tiny")
    vocabulary = Diaries().tokenizer.vocab_size
    positions = model.max_positions * model.width if family == "opt" else 0
    assert low < model.parameter_count(vocabulary) + positions < high


def test_the_best_checkpoint_is_taken_by_diarists_that_are_not_tested(monkeypatch):
    """Half of the held-out diarists choose, and the other half are asked."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)
    config = diaries_config("paper")
    assert config.best_checkpoint
    people = {"validation": set(), "unseen": set()}
    for question in replace(config.world, n_diarists=400).questions(Seed(0)):
        if question.split in people:
            people[question.split].add(question.entity)
    assert min(map(len, people.values())) > 10
    assert sum(map(len, people.values())) == 40  # a tenth
    assert people["validation"].isdisjoint(people["unseen"])
