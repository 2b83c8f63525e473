"""The claims of the study biographies on planted readings: what must be known of a model before it is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nosce.analysis.bench.claim_bench import _mean_cells, bench_claims, linear_world
from nosce.analysis.bench.planted_readings import Noise, PlantedTable
from nosce.analysis.claims import Claim
from nosce.studies.biographies.arms import bidirectional_arm_name, finetuning_arm_name
from nosce.studies.biographies.claims import augmentation_claims
from nosce.studies.biographies.config import MULTI5_PERMUTE, MULTI5_PERMUTE_FULLNAME, SINGLE
from nosce.studies.biographies.selections import judged_on_few
from nosce.studies.biographies.study import study, variants

MASKED = bidirectional_arm_name(MULTI5_PERMUTE_FULLNAME)
BLIND, RECALLS_NOTHING = 0.05, 0.5


def claims_of(scale="laptop", settings=()):
    """By name; at laptop scale with those of its other half."""
    halves = [*([variants(scale)] if scale == "laptop" else []), study(scale, settings)]
    return {claim.id: claim for half in halves for claim in half.claims}


def verdict(claim: Claim, world="true", noise=None, **means):
    """The verdict on readings of a world, with other means for some cells.

    Args:
        claim: The claim.
        world: "true", "false" or "on the threshold".
        noise: How many seeds and people.
        means: The mean of all cells of an evaluation and arm, e.g. {"recall of single": 0.5}.
    """
    keys, planted, drawn = linear_world(claim, world)
    planted, names = planted.copy(), set()
    for number, (selection, _) in enumerate(keys):
        split = f" {selection.split}" if selection.split else ""
        name = f"{selection.evaluation} of {selection.arm}{split}"
        planted[number] = means.get(name, planted[number])
        names.add(name)
    assert set(means) <= names
    table = PlantedTable([_mean_cells(keys, planted)], noise or replace(drawn, units=400, seed_spread=0.01))
    return claim.judge(table.draw(np.random.default_rng(3)), "person")


@pytest.mark.parametrize("name", ["masked-falls-short", "masked-tells-dates"])
def test_a_bidirectional_model_that_has_words_and_no_values_is_not_judged(name):
    """97 % of the words and 7 % of the values whole: nothing is memorised whole, whatever the words say."""
    claim = claims_of()[name]
    words = {f"recall by words of {MASKED}": 0.97}
    assert verdict(claim, **words).verdict == "holds"
    found = verdict(claim, **words, **{f"recall of {MASKED}": 0.07})
    assert found.verdict == "undecided"
    assert f"attribute recall of {MASKED}" in found.why


@pytest.mark.parametrize("name", ["masked-falls-short", "masked-tells-dates"])
def test_a_bidirectional_model_must_be_seen_to_answer_what_it_was_trained_on(name):
    """One that cannot write a masked answer even there is no control."""
    found = verdict(claims_of()[name], **{f"questions of {MASKED} seen": 0.4})
    assert found.verdict == "undecided"
    assert f"answers to the questions on which {MASKED} was trained" in found.why


def test_recall_must_lie_above_its_threshold_with_its_whole_interval():
    """96 % of thirty people in three seeds may be 93 %."""
    claim, few = claims_of()["extraction-gap"], Noise(seeds=3, units=30)
    found = verdict(claim, noise=few, **{f"recall of {SINGLE}": 0.96})
    assert found.verdict == "undecided"
    assert "the whole interval must lie above 95%" in found.why
    many = Noise(seeds=3, units=2_000, seed_spread=0.001)
    assert verdict(claim, noise=many, **{f"recall of {SINGLE}": 0.98}).verdict == "holds"


def test_a_few_entities_of_ones_own_are_judged_where_they_are_recalled():
    """Of 32 people who are all recalled the interval reaches to 89 %; a few recalled people show nothing."""
    claim = claims_of()["extraction-gap"]
    few, recall = Noise(seeds=1, units=32, seed_spread=0.0), {f"recall of {SINGLE}": 1.0}
    recall |= {f"recall of {MULTI5_PERMUTE}": 1.0}
    assert verdict(claim, noise=few, **recall).verdict == "undecided"
    assert verdict(judged_on_few(claim), noise=few, **recall).verdict == "holds"
    for units, mean in ((8, 1.0), (32, 0.85)):
        found = verdict(judged_on_few(claim), noise=replace(few, units=units), **recall | {f"recall of {SINGLE}": mean})
        assert (found.verdict, f"attribute recall of {SINGLE}" in found.why) == ("undecided", True)
    assert judged_on_few(judged_on_few(claim)) == judged_on_few(claim)


def test_every_need_of_the_study_is_of_an_interval():
    """A point estimate says nothing about what it may be otherwise."""
    for scale in ("smoke", "laptop", "gpu", "paper"):
        needs = [need for claim in claims_of(scale).values() for need in claim.preconditions]
        assert needs
        assert all(need.by_interval for need in needs)


@pytest.mark.whole
@pytest.mark.parametrize("variant", ["full 1e-4", "LoRA 8 embedding 0", "LoRA query value 8 embedding 128"])
def test_each_fine_tuning_has_its_own_needs(variant):
    """One that extracts nothing from five shuffled wordings, or whose row is not memorised, shows nothing."""
    claim = claims_of()["no-recipe-helps"]
    assert verdict(claim).verdict == "holds"
    idle = finetuning_arm_name(MULTI5_PERMUTE, variant)
    found = verdict(claim, **{f"questions of {idle} unseen": 0.02, f"majority of {idle} unseen": 0.02})
    assert (found.verdict, f"what {variant} extracts" in found.why) == ("undecided", True)
    row = finetuning_arm_name(SINGLE, variant)
    found = verdict(claim, **{f"recall of {row}": RECALLS_NOTHING})
    assert (found.verdict, f"attribute recall of {row}" in found.why) == ("undecided", True)


@pytest.mark.parametrize("name", ["single-near-chance", "permute1-no-help", "no-way-back"])
def test_a_fine_tuning_that_never_worked_shows_nothing(name):
    """It answers not even the questions that it was trained on; then no answer to others is no finding."""
    claim = claims_of()[name]
    assert verdict(claim).verdict == "holds"
    arm = claim.measure.selection.arm if name == "no-way-back" else claim.measure.a.arm
    found = verdict(claim, **{f"questions of {arm} seen": 0.05})
    assert (found.verdict, f"answers to the questions on which {arm} was trained" in found.why) == ("undecided", True)


def test_one_wording_is_near_chance_only_where_another_row_is_extracted():
    claim = claims_of()["single-near-chance"]
    idle = {f"questions of {MULTI5_PERMUTE} unseen": 0.02, f"majority of {MULTI5_PERMUTE} unseen": 0.02}
    found = verdict(claim, **idle)
    assert (found.verdict, "what fine-tuning extracts" in found.why) == ("undecided", True)
    assert not any("extracts" in need.text for need in augmentation_claims((SINGLE,))[1].preconditions)


@pytest.mark.parametrize("name", ["text-no-help/single", "written-near-chance"])
def test_given_texts_show_nothing_where_the_fine_tuning_never_worked(name, every_claim):
    claim = every_claim[name]
    assert verdict(claim).verdict == "holds"
    arm = claim.measure.a.arm if name == "written-near-chance" else claim.measure.terms[0][1].arm
    found = verdict(claim, **{f"questions of {arm} seen": 0.05})
    assert (found.verdict, f"answers to the questions on which {arm} was trained" in found.why) == ("undecided", True)


def test_each_size_has_its_own_needs():
    """A larger model that extracts nothing at all, or has memorised nothing, is no test of size."""
    claim = claims_of()["size-no-help"]
    assert verdict(claim).verdict == "holds"
    idle = f"{MULTI5_PERMUTE} 4x256"
    found = verdict(claim, **{f"questions of {idle} unseen": 0.02, f"majority of {idle} unseen": 0.02})
    assert (found.verdict, "what 4x256 extracts" in found.why) == ("undecided", True)
    found = verdict(claim, **{f"recall of {SINGLE} 4x160": RECALLS_NOTHING})
    assert (found.verdict, f"attribute recall of {SINGLE} 4x160" in found.why) == ("undecided", True)


def test_a_blind_probe_shows_nothing():
    """What reads nothing right before a value cannot show that a value is not there earlier."""
    claim = claims_of()["p-probe-single"]
    assert verdict(claim).verdict == "holds"
    found = verdict(claim, **{f"p-probe of {SINGLE}": BLIND})
    assert (found.verdict, "right before each value" in found.why) == ("undecided", True)


def test_values_must_have_been_hidden_with_effect():
    """Where the control recalls as much without the values before, hiding them has changed nothing."""
    claim = claims_of()["hiding-helps"]
    assert verdict(claim).verdict == "holds"
    for name, mean in ((f"{SINGLE} hiding values", RECALLS_NOTHING), (f"{SINGLE} hiding words", 0.99)):
        found = verdict(claim, **{f"recall without other values of {name}": mean})
        assert (found.verdict, "without the values before" in found.why) == ("undecided", True)


#: `p-probe-order` is drawn by tables, which takes long: `tests/analysis/bench` has its kind.
NEW = ("p-probe-staircase", "couples/", "celebrities-", "text-no-help/", "lora-gap/", "size-no-help")
NEW += ("hiding-helps", "written-near-chance", "masked-", "no-recipe-helps", "p-probe-single")
NEW += ("single-near-chance", "permute1-no-help", "no-way-back")


@pytest.fixture(scope="module")
def every_claim(tmp_path_factory):
    """The claims of a study that has all arms, with general text and with written texts."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "text").mkdir()
    (folder / "text" / "a.txt").write_text("The river was high that year. " * 10_000, encoding="utf-8")
    lines = [f'{{"person": {n}, "entry": 0, "text": "?"}}' for n in range(3)]
    (folder / "written.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return claims_of(settings=(f"replay={folder / 'text'}", f"written={folder / 'written.jsonl'}"))


@pytest.mark.whole
def test_new_claims_come_out_as_they_must(every_claim):
    """Each holds in its true world and fails in its false one; none is the opposite of the truth."""
    chosen = [claim for name, claim in every_claim.items() if name.startswith(NEW)]
    assert {one for one in NEW if not any(claim.id.startswith(one) for claim in chosen)} == set()
    for found in bench_claims("biographies", chosen, "person", draws=6, whole_table_draws=0):
        true, false = (found.outcome(world).decisions for world in ("true", "false"))
        assert min(true.get("holds", 0), false.get("fails", 0)) >= 4, found.claim.id
        assert not true.get("fails"), found.claim.id
        assert not false.get("holds"), found.claim.id
