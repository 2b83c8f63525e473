"""`nosce run introspection --model SELF,OTHER`: which models it takes, and what it never calls true."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, NaturalTextBehaviours
from nosce.data.worlds.behaviours.text_behaviours import attribute_name
from nosce.errors import SpecError
from nosce.models.sources import parse_models
from nosce.seeds import Seed
from nosce.studies.introspection.asked import PROMPTED_INTROSPECTION_CONFIGS, study
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, RemoteSubject

FAMILIES = (
    "gpt_neox",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("opt", "codegen", "t5", "gemma", "qwen2")),
)
SAMPLES = [prompt.text for prompt in NaturalTextBehaviours(strings_per_task=4).prompts(Seed(0))]


@pytest.mark.whole
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_goes_through_the_protocol_and_nothing_holds(family, nosce, tmp_path):
    """Held against itself after other answers; an untrained model's reports are no answers, and the claims say so."""
    folder = tiny_folder(family, tmp_path / family, SAMPLES, 800)
    words = ("run", "introspection", "--model", folder, "--scale", "smoke", "--workers", "1", "--set", "epochs=1")
    small = ("--set", "n_samples=0", "--set", "max_labels=4", "--set", "dtype=float32", "--set", "max_rounds=1")
    small += ("--set", "tasks=towns,things,haste", "--set", "both_ways=no")
    done = nosce.here(*words, *small, "--store", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    claims = {claim["id"]: claim for claim in contents["claims"]}
    assert {"training-helps-A", "self-beats-constant-A", "self-beats-cross-A-B", "follows-change"} <= set(claims)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}
    shown = nosce.here("show", "introspection", "--store", tmp_path / "s", "--json")
    assert json.loads(shown.stdout)["claims"] == contents["claims"]


@pytest.mark.slow
def test_two_folders_are_held_against_each_other_in_both_directions(nosce, tmp_path):
    """Every part of the protocol, samples and the change of behaviour included; a second command makes nothing."""
    folders = [tiny_folder(family, tmp_path / family, SAMPLES, 800) for family in ("qwen2", "gpt_neox")]
    words = ("run", "introspection", "--model", ",".join(map(str, folders)), "--scale", "smoke", "--workers", "1")
    small = ("--set", "epochs=1", "--set", "n_sampled_prompts=4", "--set", "tasks=towns,numbers,things,haste")
    done = nosce.here(*words, *small, "--store", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    claims = {claim["id"] for claim in contents["claims"]}
    assert {"training-helps-B", "self-beats-cross-B-A", "crossed-matched-A-B", "calibrated-likely-B-A"} <= claims
    again = nosce(*words, *small, "--store", tmp_path / "s", "--json")
    assert json.loads(again.stdout)["claims"] == contents["claims"]
    assert "Nothing to do: all 2 steps are there" in again.stderr
    page = nosce.here("report", "--store", tmp_path / "s", "--out", tmp_path / "page")
    assert page.returncode == 0, page.stderr
    (html,) = tmp_path.glob("page/introspection/*/index.html")
    assert "not judged, since the share of valid reports of B*" in html.read_text(encoding="utf-8")


def experiment_of(*models: str, settings: tuple[str, ...] = ()):
    return study("smoke", parse_models(",".join(models)), settings).experiments[0].experiment


def test_the_first_model_is_the_subject_and_the_others_predict_it(tmp_path):
    """Folders and endpoints in any order; endpoints without teaching are asked too, and are taught nothing."""
    a, b = (str(tiny_folder("llama", tmp_path / name, vocab_size=300 + n)) for n, name in enumerate("ab"))
    alone = experiment_of(a)
    assert isinstance(alone.subject, LocalSubject)
    assert [type(other) for other in alone.other_subjects] == [FinetunedSubject]
    pair = experiment_of(b, a, settings=("lora=4", "epochs=2", "strings_per_task=3", "tasks=towns,things"))
    assert (pair.subject.name, *(other.name for other in pair.other_subjects)) == ("b", "a")
    assert (pair.subject.adapter.rank, pair.subject.epochs, pair.world.strings_per_task) == (4, 2, 3)
    assert pair.world.tasks == ("towns", "things")
    assert (pair.targets, pair.teachable) == (("A", "B"), ("A", "B"))
    assert experiment_of(b, a, settings=("both_ways=no",)).targets == ("A",)
    far = experiment_of("https://host/v1#far", a)
    assert isinstance(far.subject, RemoteSubject)
    assert [type(other) for other in far.other_subjects] == [LocalSubject]
    untaught = experiment_of("https://host/v1#far", a, settings=("teach=no",))
    assert (untaught.teachable, untaught.targets) == (("B",), ("B",))
    mixed = experiment_of(a, b, "https://host/v1#far", settings=("teach=no",))
    assert [other.name for other in mixed.other_subjects] == ["b", "far"]
    assert mixed.teachable == ("A", "B")


@pytest.mark.parametrize("setting", ["max_rounds=0", "replay_share=1", "stable_share=0", "max_labels=0", "skill=1"])
def test_what_cannot_be_taught_or_needed_is_refused(setting, tmp_path):
    """No round, nothing but replay, a need that nothing meets."""
    with pytest.raises(SpecError, match=setting.split("=")[0]):
        experiment_of(str(tiny_folder("llama", tmp_path / "m")), settings=(setting,))


def test_a_model_that_cannot_be_taught_is_refused_before_any_work(nosce, tmp_path):
    """A family whose matrices are not known, and a folder without a tokenizer."""
    folder = tiny_folder("gemma", tmp_path / "gemma")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    refused = nosce.here("run", "introspection", "--model", folder, "--scale", "smoke", "--store", tmp_path / "s")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    other = tiny_folder("llama", tmp_path / "x")
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(config | {"model_type": "helium"}), encoding="utf-8")
    with pytest.raises(SpecError, match="cannot be taught by low-rank updates"):
        experiment_of(str(other))


def test_the_scale_of_the_paper_teaches_thirty_thousand_labels():
    """A thousand strings for each of 32 pairs; 28 pairs are tested; the mode of five draws for an endpoint."""
    config = PROMPTED_INTROSPECTION_CONFIGS["paper"]()
    prompts = config.world.prompts(Seed(0) / "world")
    pairs = Counter((p.task, attribute_name(one), p.split) for p in prompts for one in p.property_names)
    taught = [n for (_, _, split), n in pairs.items() if split == "seen"]
    assert len(taught) == 32
    assert min(taught) >= 1_000
    assert config.labels.max_labels == 30_000
    held_out = {(task, one): n for (task, one, _), n in pairs.items() if task in HELD_OUT_TEXT_TASKS}
    assert len(held_out) == 28
    assert min(held_out.values()) >= 1_000
    assert config.limits.n_answer_draws == 5
    assert PROMPTED_INTROSPECTION_CONFIGS["laptop"]().limits.n_answer_draws == 1
