"""Injected states of folders: `nosce run introspection --model FOLDER --set injected=yes`."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.errors import DataError, SpecError, UsageError
from nosce.evals.injection.chat import NEUTRAL_EXCHANGES, TAUGHT_EXCHANGES, TESTED_EXCHANGES
from nosce.evals.injection.directions import InjectionPlace
from nosce.evals.injection.readings import TRIAL_KINDS
from nosce.models.sources import parse_models
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.injected_states import ChatInjectionConfig, FolderReader, InjectedStates
from nosce.studies.introspection.injected_teaching import report_dataset, taught_reports
from nosce.studies.introspection.injected_words import CONCEPT_WORDS, concept_words

FAMILIES = (
    "llama",
    "gpt_neox",
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("opt", "codegen", "gemma", "qwen2")),
)
SAMPLES = [prompt.text for prompt in NaturalTextBehaviours(strings_per_task=4).prompts(Seed(0))]
WORDS = "bread\nCandle\n\ndesert\nengine\nforest\n"
SMALL = ("injected=yes", "dtype=float32", "epochs=1", "lora=2")


def experiment_of(folder, *settings):
    """The experiment of injected states of a folder."""
    made = study("smoke", parse_models(str(folder)), (*SMALL, *settings))
    (found,) = (one.experiment for one in made.experiments if isinstance(one.experiment, InjectedStates))
    return found


@pytest.mark.whole
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_asked_and_taught_with_equal_bytes(family, tmp_path):
    """Both evaluations have all kinds of trials; a second run in the same place finds the taught folder again."""
    folder = tiny_folder(family, tmp_path / family, SAMPLES, 800)
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf-8")
    experiment = experiment_of(folder, f"concepts={tmp_path / 'words.txt'}", "n_reports=8")
    context = StepContext(folder=tmp_path / "step")
    first, second = (pl.concat(list(experiment.run_with_context(Seed(1), context))) for _ in range(2))
    assert first.equals(second)
    (taught,) = (tmp_path / "step" / "taught").iterdir()
    assert (taught / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()
    assert not list((tmp_path / "step" / "teaching").glob("*"))
    for evaluation in ("injected A", "injected A taught"):
        rows = first.filter(evaluation=evaluation)
        assert {one.partition("/")[0] for one in rows["attribute"].unique()} == set(TRIAL_KINDS)
        assert set(rows["entity"]) == {"bread", "candle", "desert", "engine", "forest"}
        assert sorted(rows.group_by("split").agg(pl.col("entity").n_unique())["entity"]) == [2, 3]


@pytest.mark.whole
def test_the_command_injects_and_nothing_holds_of_an_untrained_model(nosce, tmp_path):
    """Its replies have no form, and every claim says so."""
    folder = tiny_folder("llama", tmp_path / "llama", SAMPLES, 800)
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf-8")
    words = ["run", "introspection", "--model", folder, "--scale", "smoke", "--workers", "1", "--arms", "injected A"]
    words += [part for one in (*SMALL, f"concepts={tmp_path / 'words.txt'}") for part in ("--set", one)]
    done = nosce.here(*words, "--store", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    injected = {name: claim for name, claim in claims.items() if "injected" in name or "random" in name}
    assert len(injected) == 8
    assert {claim["verdict"] for claim in injected.values()} == {"undecided"}
    assert "the share of valid replies of taught A" in claims["injected-detected-A"]["why"]
    assert claims["injected-named-A"]["unit"] == "concept"


def test_ordinary_studies_do_not_become_dearer(tmp_path):
    """Without the field there is no experiment, claim or figure of injected states."""
    folder = tiny_folder("llama", tmp_path / "m")
    for scale in ("smoke", "laptop", "gpu", "paper"):
        made = study(scale, parse_models(str(folder)))
        assert len(made.experiments) == 1
        assert not [claim.id for claim in made.claims if "injected" in claim.id]


def test_models_without_a_decoders_weights_are_named_in_one_sentence(tmp_path):
    """An endpoint and an encoder-decoder are left out; folders with decoders take part, each with its letter."""
    llama, t5 = (tiny_folder(family, tmp_path / family) for family in ("llama", "t5"))
    made = study("smoke", parse_models(f"https://host/v1#far,{llama},{t5}"), ("injected=yes",))
    assert [one.name for one in made.experiments][1:] == ["injected B"]
    (note,) = made.notes
    assert note == (
        "Injected states need the weights of a decoder in a folder, so A (far), C (t5) had no part in them."
    )
    assert "injected-detected-B" in [claim.id for claim in made.claims]
    assert "injected-strengths-b" in [figure.id for figure in made.figures]
    untaught = study("smoke", parse_models(str(llama)), ("injected=yes", "n_reports=0"))
    ids = [claim.id for claim in untaught.claims if "injected" in claim.id]
    assert ids == ["before-injected-detected-A", "injected-latent-A"]


def test_concepts_come_from_a_file_of_words(tmp_path):
    """One a line, in small letters; they are part of the experiment, so other words are another step."""
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    assert concept_words(str(path)) == ("bread", "candle", "desert", "engine", "forest")
    assert concept_words("") == CONCEPT_WORDS
    assert len(set(CONCEPT_WORDS)) == 20
    neutral = " ".join(map(" ".join, NEUTRAL_EXCHANGES)).lower().split()
    assert not set(CONCEPT_WORDS) & set(neutral)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bread\ncandle\nthe garden\nengine\n", "'the garden', which is not one word"),
        ("bread\ncandle\nBread\nengine\n", "'bread', which is not one word, stands twice"),
        ("bread\ncandle\nnone\nengine\n", "'none', which"),
        ("bread\ncandle\nweek\nengine\n", "'week', which"),
        ("bread\ncandle\n", "has 2 words; write 4 or more"),
        (None, "cannot be read"),
    ],
)
def test_words_that_cannot_be_concepts_are_refused_before_any_work(text, message, tmp_path):
    """A user's mistake is one sentence."""
    path = tmp_path / "words.txt"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        concept_words(str(path))


@pytest.mark.parametrize(
    "setting",
    [
        "depth=1",
        "untaught_share=0",
        "strengths=0,4",
        "taught_strengths=-1",
        "exchanges_per_concept=0",
        "n_reports=-1",
    ],
)
def test_what_cannot_be_injected_is_refused(setting, tmp_path):
    """No place, no strength, nothing that is not taught."""
    with pytest.raises(SpecError, match=setting.partition("=")[0]):
        experiment_of(tiny_folder("llama", tmp_path / "m"), setting)


def test_places_lie_between_two_blocks():
    """The last token of a request knows no concept below the first, and nothing reads what the last one wrote."""
    config = ChatInjectionConfig()
    assert [place.layer for place in config.places(30)] == [15, 7, 22]
    assert [place.layer for place in config.places(2)] == [1]
    assert replace(config, taught_strengths=(3.0,)).tested_strengths == (0.5, 1.0, 2.0, 3.0, 4.0)
    assert config.grid(30)[:5] == [("residual.15", s) for s in config.strengths] + [("residual.7", 1.0)]
    with pytest.raises(SpecError, match="one block"):
        config.places(1)


def test_only_a_run_injects(tmp_path):
    """The taught model needs a place."""
    with pytest.raises(DataError, match="only a run of a study"):
        next(experiment_of(tiny_folder("llama", tmp_path / "m")).run(Seed(0)))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny folder's experiment, its trials and its directions."""
    folder = tiny_folder("llama", tmp_path_factory.mktemp("tiny") / "llama", SAMPLES, 800)
    experiment = experiment_of(folder, "n_reports=200")
    context = StepContext(folder=tmp_path_factory.mktemp("step"))
    base = FolderReader.load(experiment.subject, "whole", context)
    trials = experiment.trials(base.tokenizer, Seed(3))
    return experiment, base, trials, trials.directions(base.reader)


def test_reports_are_taught_on_taught_concepts_and_exchanges_alone(prepared):
    """What is right follows from what was done; the tests have other exchanges."""
    experiment, base, trials, directions = prepared
    place = InjectionPlace(layer=1, extent="whole")
    reports = list(taught_reports(experiment.config, trials, directions, place, Seed(4)))
    seen = {word for word, split in trials.splits.items() if split == "seen"}
    assert len(seen) == 12
    assert not set(TAUGHT_EXCHANGES) & set(TESTED_EXCHANGES)
    concept_vectors = {
        directions.vector(place.site, word, strength).tobytes(): word
        for word in trials.words
        for strength in experiment.config.taught_strengths
    }
    replies = {"injected": set(), "nothing": set()}
    for one in reports:
        text = base.tokenizer.decode(one.row.tokens)
        if "Somebody said" in text:
            assert one.vector is None
            assert one.reply in seen
            continue
        assert not any(answer in text for _, answer in TESTED_EXCHANGES)
        injected = None if one.vector is None else concept_vectors.get(one.vector.tobytes())
        assert injected is None or injected in seen
        replies["nothing" if injected is None else "injected"].add(one.reply)
        assert one.reply in ({"no", "none"} if injected is None else {"yes", injected})
    assert replies["nothing"] == {"no", "none"}
    assert {"yes"} < replies["injected"] <= {"yes", *seen}
    dataset = report_dataset(reports, base.tokenizer, 0, place)
    for index, one in enumerate(reports):
        marked = dataset.additions.of_token[dataset.offsets[index] : dataset.offsets[index + 1]] >= 0
        expected = np.zeros(len(marked), dtype=bool)
        if one.vector is not None:
            expected[slice(*one.row.span)] = True
        assert (marked == expected).all()
        assert not dataset.text_loss_mask(index)[: len(one.row.tokens)].any()


def test_the_number_of_replies_is_known_beforehand(prepared):
    """So that a run can say how far it is."""
    _, base, trials, directions = prepared
    small = replace(trials, words=trials.words[:4], grid=trials.grid[:1])
    asked = [
        (t.whether is not None) + (t.which is not None) for part in small.run(base.reader, directions) for t in part
    ]
    assert sum(asked) == small.n_replies
