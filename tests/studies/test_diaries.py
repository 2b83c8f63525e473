"""The diaries of models from a folder: each arm is written so that its model's tokenizer gives the texts back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.errors import NosceError
from nosce.evals.generation import GenerationEval
from nosce.evals.stopping import StopDecision
from nosce.models.architecture import Pretrained
from nosce.studies.diaries.config import ARCHITECTURE_FAMILIES, PAPER_ENCODER_DECODERS, PAPER_MODELS
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
