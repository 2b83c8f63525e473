"""`nosce run biographies --model FOLDER` on tiny folders of real families, through the command line."""

import json

import pytest
from tests.fixtures.tiny_folders import DECODERS, tiny_folder

from nosce.pipeline.plan import StudyRequest
from nosce.study import PRETRAIN

FAMILIES = (DECODERS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in DECODERS[1:]))


@pytest.mark.whole
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_goes_through_the_study(family, nosce, tmp_path):
    """Claims come out, all with their n, and nothing holds whose need is not met by an untrained model."""
    folder = tiny_folder(family, tmp_path / family)
    words = ["biographies", "--model", str(folder), "--scale", "smoke", "--workers", "1"]
    done = nosce.here("run", *words, "--store", str(tmp_path / "s"), "--json")
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    claims = {claim["id"]: claim for claim in contents["claims"]}

    ids = {"memorised/single", "memorised/multi5+permute", "extraction-gap", "p-probe-moves", "q-probe-gap"}
    assert ids <= set(claims)
    assert claims["memorised/single"]["verdict"] != "holds"
    assert claims["extraction-gap"]["verdict"] == "undecided"
    assert all(claim["n"] for claim in claims.values())


def request(folder, **more):
    return StudyRequest(study="biographies", scale="smoke", models=str(folder), **more)


def test_settings_and_the_model_are_in_keys_and_names(tmp_path):
    """Another model, tokenizer file, number of people or rank has other trainings; the study's label says which."""
    folder = tiny_folder("llama", tmp_path / "one")
    plans = {
        "plain": request(folder).plan(),
        "people": request(folder, settings=("people=10",)).plan(),
        "lora": request(folder, settings=("lora=4",)).plan(),
        "chat": request(folder, settings=("chat=yes",)).plan(),
    }
    trainings = {name: plan.training_steps["single", 0, PRETRAIN].name for name, plan in plans.items()}
    answers = {name: plan.training_steps["single", 0, "finetune"].name for name, plan in plans.items()}

    assert len(set(trainings.values())) == len(set(answers.values())) == 4
    assert plans["people"].study.variant == "one, people=10"
    assert request(folder, settings=("lora=4",)).command.endswith(f"--model {folder} --set lora=4")
