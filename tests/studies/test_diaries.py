"""The diaries of models from a folder: each arm is written so that its model's tokenizer gives the texts back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from nosce.analysis.needed_rows import selections_in
from nosce.analysis.selection import BestStep
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.text_folder import TextFolder
from nosce.errors import NosceError, SpecError
from nosce.evals.generation import GenerationEval
from nosce.evals.stopping import StopDecision
from nosce.models.architecture import Pretrained
from nosce.pipeline.study_checks import check_references
from nosce.pipeline.study_loading import load_study
from nosce.seeds import Seed
from nosce.studies.diaries.config import ARCHITECTURE_FAMILIES, PAPER_ENCODER_DECODERS, PAPER_MODELS, diaries_config
from nosce.study import StudyVariant


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


def test_without_missing_models_no_model_is_noted(models_folder):
    """All are there: what is left out are arms that the paper has not, and no claim about its models."""
    (note,) = load_study("diaries", "paper").notes
    assert "equal-steps" in note
    assert not any(name in note for name in ("opt-ahead", "flan-t5", "larger-models", "header", "two-phases"))
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


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_each_half_of_the_held_out_diarists_chooses_the_step_for_the_other(scale, monkeypatch):
    """All held-out diarists are asked, at every scale, and none at a step that their own half has chosen."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)
    study = load_study("diaries", scale)
    asked = {one.evaluation.split for one in study.evals if one.evaluation.name in ("written", "stops", "retold")}
    assert asked == {"held out"}
    selections = [one for one, _ in selections_in((*study.claims, *study.figures)) if one.step != "every"]
    chosen = [one for one in selections if isinstance(one.step, BestStep)]
    assert {(one.step.evaluation, one.step.crossed) for one in chosen} == {("written", True)}
    assert {"written", "trained", "stops"} <= {one.evaluation for one in chosen}
    assert {"written", "trained", "stops"}.isdisjoint(one.evaluation for one in selections if one.step == "last")


def test_the_two_halves_are_all_that_is_held_out():
    """Nobody is in both, and together they are a tenth."""
    people = {"validation": set(), "unseen": set()}
    for question in replace(diaries_config("paper").world, n_diarists=400).questions(Seed(0)):
        if question.split in people:
            people[question.split].add(question.entity)
    assert min(map(len, people.values())) > 10
    assert sum(map(len, people.values())) == 40
    assert people["validation"].isdisjoint(people["unseen"])


def selected(claim):
    """All that a claim's measure selects, without its needs."""
    return [one for one, _ in selections_in((claim.measure,)) if one.step != "every"]


@pytest.fixture(scope="module")
def laptop():
    """The study at the scale laptop, its arms and its claims by name."""
    study = load_study("diaries", "laptop")
    return study, {arm.name: arm for arm in study.arms}, {claim.id: claim for claim in study.claims}


def test_what_is_compared_at_equal_steps_takes_equal_steps(laptop):
    """And what is compared in equal passes does not, which is why there are both."""
    _, arms, claims = laptop
    for name in ("more-diarists", "gap-shrinks", "merged-easier"):
        steps = {arms[one.arm].training.steps for one in selected(claims[f"{name}-at-equal-steps"])}
        assert steps == {2_951}
        assert len({arms[one.arm].training.steps for one in selected(claims[name])}) > 1
    counts = {arms[one.arm].world.n_diarists for one in selected(claims["more-diarists-at-equal-steps"])}
    assert counts == {512, 1_024, 2_048}


def test_longer_diaries_are_judged_where_they_are_scattered(laptop):
    """Figure 4 is about scattered documents; merged ones have a claim of their own."""
    _, arms, claims = laptop
    for name, is_merged in (("no-decline", False), ("no-decline-merged", True)):
        assert {arms[one.arm].world.merge_entries for one in selected(claims[name])} == {is_merged}
        assert any("recalled whole" in need.text and need.above == 0.5 for need in claims[name].preconditions)


def test_content_and_number_are_compared_where_neither_is_saturated(laptop):
    """Neither at the largest size nor at the smallest, and only while the number leaves room."""
    _, _, claims = laptop
    claim = claims["content-before-count"]
    sizes = {one.arm.split()[1] for one in selected(claim)}
    assert sizes == {"2x48", "2x64", "3x64"}
    assert sum("room above the count" in need.text for need in claim.preconditions) == 3


def test_what_is_compared_has_equal_seeds(laptop):
    """A claim about several arms reads all seeds of each, but for the paper's shape, of which there is one training."""
    _, arms, claims = laptop
    for claim in claims.values():
        seeds = {arms[one.arm].n_seeds for one in selected(claim) if one.arm}
        assert len(seeds) <= 1, claim.id
        assert seeds <= {None} or claim.id.startswith("paper-shape"), claim.id


def test_an_arm_with_further_questions_is_scored_by_its_own_world(laptop):
    """People without entries, skipped numbers and asked numbers: the scorer knows them, and the training has them."""
    study, arms, _ = laptop
    reference = arms["pythia 3x96 2048 scattered"].world
    changed = {"people without entries": "people_without_entries", "skipped numbers": "gap_share"}
    for name, field in (changed | {"number asked": "ask_entry_count"}).items():
        world = arms[name].world
        assert getattr(world, field)
        assert replace(world, **{field: getattr(reference, field)}) == reference
        scorers = [e.evaluation.scorer for e in study.evals if e.arms == (name,) and e.evaluation.name == "written"]
        assert [one.world for one in scorers] == [world]
    questions = {name: arms[name].qa_mixture.qa_fraction * arms[name].training.steps for name in arms if "ask" in name}
    plain = arms["pythia 3x96 2048 scattered"]
    assert questions["number asked"] == pytest.approx(2 * plain.qa_mixture.qa_fraction * plain.training.steps, rel=0.01)


def test_the_arm_that_reads_text_first_differs_from_its_control_in_the_start_alone(laptop):
    """One model, one tokenizer, one training on diaries, and the same questions about the same people."""
    study, arms, _ = laptop
    fresh, first = arms["fresh start"], arms["text first"]
    (stage,) = first.stages
    assert (stage.training, stage.qa_mixture, stage.data) == (fresh.training, fresh.qa_mixture, fresh.world)
    assert first.model == fresh.model
    words = [set(build_tokenizer(arm.tokenizer, arm.world.samples(Seed(0))).get_vocab()) for arm in (fresh, first)]
    assert words[0] == words[1]
    asked = {e.question_source for e in study.evals if e.arms == ("text first",) and e.stage == stage.name}
    assert asked == {fresh.world}


def test_general_text_of_ones_own_takes_the_place_of_biographies(tmp_path):
    """Its values are not marked, so that nothing is required of them; two folders have two keys."""
    (tmp_path / "a.txt").write_text("Rivers carry sand to the sea . " * 200, encoding="utf-8")
    study = load_study("diaries", "smoke", StudyVariant(settings=(f"text_folder={tmp_path}",)))
    check_references(study)
    (first,) = (arm for arm in study.arms if arm.name == "text first")
    assert isinstance(first.world.world, TextFolder)
    (claim,) = (claim for claim in study.claims if claim.id == "fresh-start-better")
    assert not any("general text" in need.text for need in claim.preconditions)
    assert "text" not in {spec.evaluation.name for spec in study.evals}


def test_too_few_diarists_for_an_encoder_decoder_are_refused():
    """More than the reference number, or none."""
    with pytest.raises(SpecError, match=r"encoder_decoder_diarists=100 is not more than the 2048.*\.$"):
        load_study("diaries", "laptop", StudyVariant(settings=("encoder_decoder_diarists=100",)))


@pytest.mark.parametrize("claim_id", ["gaps-whole", "longer-entries-whole", "longer-entries-count", "no-decline"])
def test_nothing_is_recalled_as_often_where_nothing_is_recalled(claim_id):
    """Two zeros are alike: a claim of "as often" needs something that could be less."""
    claim = next(claim for claim in load_study("diaries", "laptop").claims if claim.id == claim_id)
    assert any("recalled" in need.text or "shortest" in need.text for need in claim.preconditions)
    assert any(0.2 <= need.above < 0.9 and need.by_interval for need in claim.preconditions)
