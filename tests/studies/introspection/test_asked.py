"""`nosce run introspection --model SELF,OTHER`: which models it takes, and what it never calls true."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, PROPERTIES_BY_TASK, NaturalTextBehaviours
from nosce.errors import SpecError
from nosce.models.sources import parse_models
from nosce.seeds import Seed
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, RemoteSubject

FAMILIES = ("gpt_neox", *(pytest.param(name, marks=pytest.mark.slow) for name in ("opt", "codegen", "t5")))
SAMPLES = [prompt.text for prompt in NaturalTextBehaviours(strings_per_task=4).prompts(Seed(0))]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_goes_through_the_protocol_and_nothing_holds(family, nosce, tmp_path):
    """Held against itself after other answers; an untrained model's reports are no answers, and the claims say so."""
    folder = tiny_folder(family, tmp_path / family, SAMPLES, 800)
    words = ("run", "introspection", "--model", folder, "--scale", "smoke", "--workers", "1", "--set", "epochs=1")
    small = ("--set", "n_samples=0", "--set", "max_labels=4", "--set", "dtype=float32")
    done = nosce(*words, *small, "--store", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    claims = {claim["id"]: claim for claim in contents["claims"]}
    assert {"training-helps", "self-beats-oracle", "self-beats-cross-1"} <= set(claims)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}
    shown = nosce("show", "introspection", "--store", tmp_path / "s", "--json")
    assert json.loads(shown.stdout)["claims"] == contents["claims"]


def experiment_of(*models: str, settings: tuple[str, ...] = ()):
    return study("smoke", parse_models(",".join(models)), settings).experiments[0].experiment


def test_the_first_model_is_the_subject_and_the_others_predict_it(tmp_path):
    """Folders and endpoints in any order; an endpoint is asked twice; without teaching nobody else is asked."""
    a, b = (str(tiny_folder("llama", tmp_path / name, vocab_size=300 + n)) for n, name in enumerate("ab"))
    alone = experiment_of(a)
    assert isinstance(alone.subject, LocalSubject)
    assert [type(other) for other in alone.other_subjects] == [FinetunedSubject]
    pair = experiment_of(b, a, settings=("lora=4", "epochs=2", "strings_per_task=3", "tasks=towns,things"))
    assert (pair.subject.name, *(other.name for other in pair.other_subjects)) == ("b", "a")
    assert (pair.subject.adapter.rank, pair.subject.epochs, pair.world.strings_per_task) == (4, 2, 3)
    assert pair.world.tasks == ("towns", "things")
    assert not pair.repeat_answers
    far = experiment_of("https://host/v1#far", a)
    assert isinstance(far.subject, RemoteSubject)
    assert far.repeat_answers
    assert [type(other) for other in far.other_subjects] == [LocalSubject]
    assert experiment_of("https://host/v1#far", a, settings=("teach=no",)).other_subjects == ()
    mixed = experiment_of(a, b, "https://host/v1#far", settings=("teach=no",))
    assert [other.name for other in mixed.other_subjects] == ["b"]


def test_a_model_that_cannot_be_taught_is_refused_before_any_work(nosce, tmp_path):
    """A family whose matrices are not known, and a folder without a tokenizer."""
    folder = tiny_folder("gemma", tmp_path / "gemma")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    refused = nosce("run", "introspection", "--model", folder, "--scale", "smoke", "--store", tmp_path / "s")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    other = tiny_folder("llama", tmp_path / "x")
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(config | {"model_type": "olmo"}), encoding="utf-8")
    with pytest.raises(SpecError, match="cannot be taught by low-rank updates"):
        experiment_of(str(other))


def planted_readings(valid_shares: dict[str, float], right_shares: dict[str, float]) -> pl.DataFrame:
    """Reports on held-out tasks of which such shares are valid and right, by evaluation."""
    rows = []
    for evaluation, right_share in right_shares.items():
        n_valid, n_right = (round(40 * share) for share in (valid_shares[evaluation], right_share))
        for task in HELD_OUT_TEXT_TASKS:
            for name in PROPERTIES_BY_TASK[task]:
                for n in range(40):
                    base = {"arm": "m", "seed": 0, "stage": "", "step": 0, "split": "unseen", "evaluation": evaluation}
                    base |= {"attribute": f"{task}/{name}", "entity": f"{task} {n}", "item": f"{task}/{n}/{name}"}
                    base |= {"target": f"label {n % 4}", "outcome": None, "answer": ""}
                    rows.append(base | {"metric": "right", "value": float((n * 7) % 40 < n_right)})
                    rows.append(base | {"metric": "report invalid", "value": float((n * 7) % 40 >= n_valid)})
    return pl.DataFrame(rows, infer_schema_length=None)


def judged(tmp_path, valid: dict[str, float]):
    """The verdict on teaching where it plainly helps, by how many reports are valid."""
    asked = study("smoke", parse_models(str(tiny_folder("llama", tmp_path / "m"))), ())
    readings = planted_readings(valid, {"before": 0.0, "self": 0.6})
    claims = {claim.id: claim for claim in asked.claims}
    assert all(claim.preconditions for claim in asked.claims)
    return claims["training-helps"].judge(readings, "string")


@pytest.mark.parametrize(("when", "words"), [("before", "before teaching"), ("self", "after teaching")])
def test_nothing_holds_where_most_reports_are_no_answers(when, words, tmp_path):
    """Teaching the form alone raises accuracy from 0; that says nothing of self-knowledge, and is not judged."""
    verdict = judged(tmp_path, {"before": 1.0, "self": 1.0, when: 0.7})
    assert verdict.verdict == "undecided"
    assert verdict.why.startswith("not judged")
    assert f"the share of valid reports ({words}) is 70.0% and must be above 90%" in verdict.why


def test_where_reports_are_valid_the_claim_is_judged_as_before(tmp_path):
    assert judged(tmp_path, {"before": 0.95, "self": 1.0}).verdict == "holds"
