"""Planted reports come out as planted: one reads the direction aloud, one only senses length, one is deaf."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from nosce.errors import DataError
from nosce.evals.injection.evaluation import InjectionEval, corpus_directions
from nosce.evals.injection.readings import trial_attribute
from nosce.evals.patching.base import Patch, PatchBatching, read_patched
from nosce.models.architecture import Architecture, build_model
from nosce.records import Reading, fill_columns
from nosce.seeds import Seed
from nosce.studies.introspection.injected_claims import injection_claims
from nosce.studies.introspection.injected_selections import InjectedReadings

SITE, STRENGTH = "residual.1", 2.0
EVALUATION = InjectionEval(strengths=(STRENGTH,), layers=(1,))


@pytest.fixture(scope="module")
def readings(injection_corpus, planted_reporter):
    """Rule -> readings of a network with that rule."""

    def of(rule):
        checkpoints = {0: lambda: planted_reporter(rule)}
        return pl.concat(list(EVALUATION.evaluate_checkpoints(checkpoints, injection_corpus, Seed(3))))

    return {rule: of(rule) for rule in ("reads", "senses", "deaf", "always")}


def share(table, metric, kind, split="unseen"):
    attribute = trial_attribute(kind, SITE, STRENGTH)
    return table.filter(metric=metric, attribute=attribute, split=split)["value"].mean()


def test_who_reads_the_direction_aloud_detects_and_names_it(readings):
    """And is silent about a random direction, about nothing, and about a word in the line."""
    table = readings["reads"]
    assert (
        share(table, "yes", "concept") == share(table, "names", "concept") == share(table, "reported", "concept") == 1
    )
    for kind in ("random", "none", "prompt"):
        assert share(table, "yes", kind) == share(table, "names any", kind) == 0
    assert share(table, "names", "read") == 1
    assert share(table, "constant", "concept") == pytest.approx(1 / 11)  # of 32 words 11 are not taught


def test_who_senses_length_alone_is_given_away_by_random_directions(readings):
    """It detects every concept, and every random direction too."""
    table = readings["senses"]
    assert share(table, "yes", "concept") == share(table, "yes", "random") == 1
    assert share(table, "yes", "none") == share(table, "yes", "prompt") == 0


def test_who_is_deaf_denies_everything_and_its_probabilities_may_tell(readings):
    """The text says no; where the probability of yes rises, more so with a concept, the shift says so."""
    table = readings["deaf"]
    for kind in ("concept", "random", "none", "prompt"):
        assert share(table, "yes", kind) == 0
    assert share(table, "shift", "concept") == 1
    assert share(table, "shift", "random") < 1


def verdicts(readings, after, before="deaf"):
    """The verdicts on a network with the rule `after`, which was deaf before it was taught."""
    tables = []
    for name, rule in (("before", before), ("after", after)):
        tables.append(fill_columns(readings[rule].with_columns(arm=pl.lit(name)), Reading, stage="inject", seed=0))
    made = {}
    for name in ("before", "after"):
        made[name] = InjectedReadings(evaluation="injected", site=SITE, strengths=(STRENGTH,), arm=name)
    claims = injection_claims(made["before"], made["after"], before_name="untaught A", after_name="taught A")
    return {claim.id: claim.judge(pl.concat(tables), "string") for claim in claims}


def test_the_claims_about_a_reader_hold(readings):
    """Each of them, over concepts."""
    found = verdicts(readings, "reads")
    held = {
        "injected-detected",
        "injected-not-random",
        "injected-not-prompt",
        "injected-named",
        "injected-teaching-helps",
    }
    assert {name for name in held if found[name].verdict != "holds"} == set()
    assert found["before-injected-detected"].verdict != "holds"
    assert found["injected-latent"].verdict == "holds"
    assert {verdict.unit for verdict in found.values()} == {"concept"}


def test_false_alarms_and_random_directions_keep_the_claims_from_holding(readings):
    """Who always says yes detects nothing above its false alarms; who senses length names nothing, detects noise."""
    found = verdicts(readings, "always")
    for name in ("injected-detected", "injected-not-random", "injected-not-prompt", "injected-named"):
        assert found[name].verdict != "holds", name
    assert found["injected-detected"].estimate == found["injected-not-prompt"].estimate == 0
    assert found["random-not-named"].verdict == "fails"
    found = verdicts(readings, "senses")
    assert found["injected-detected"].verdict == "holds"
    assert found["injected-not-random"].estimate == 0
    assert "holds" not in (found["injected-not-random"].verdict, found["injected-named"].verdict)


def test_claims_about_a_model_that_learnt_nothing_are_not_judged(readings):
    """What was taught must be known before what was not taught is asked for."""
    found = verdicts(readings, "deaf")
    assert found["injected-detected"].verdict == "undecided"
    assert "taught concepts that taught A detects is 0.0%" in found["injected-detected"].why


@pytest.mark.parametrize("family", ["gpt-neox", "opt", "codegen"])
def test_an_injection_of_strength_0_changes_no_byte_of_the_logits(injection_corpus, family):
    """At every place, with equal bytes; at strength 1 something changes."""
    net = build_model(
        Architecture(family=family, layers=2, width=32, heads=4, max_positions=40),
        vocab_size=injection_corpus.tokenizer.get_vocab_size(),
        eos_id=injection_corpus.eos_id,
        pad_id=1,
        seed=Seed(0),
    ).eval()
    sites = ["residual.0", "residual.1"]
    directions = corpus_directions(net, injection_corpus, sites)
    examples = [_Example(np.array([0, 5, 6, 7, 8, 9]), (2, 4)), _Example(np.array([0, 9, 8, 7]), (1, 2))]

    def logits(batch, hidden):
        return net.get_output_embeddings()(hidden[:, -1]).numpy()

    def read(patched=None):
        return read_patched(net, examples, logits, PatchBatching(pad=None), patched)

    plain = read()
    for site in sites:
        for extent, count in (("last", 2), ("whole", 3)):
            for strength, is_same in ((0.0, True), (1.0, False)):
                vectors = np.stack([directions.vector(site, "first=acorn", strength)] * count)
                assert (read(Patch(site, extent, vectors, adds=True)).tobytes() == plain.tobytes()) is is_same


class _Example:
    def __init__(self, tokens, span):
        self.tokens, self.span = tokens, span


def test_a_corpus_of_other_questions_is_refused(numbered_corpus, planted_reporter):
    """In one sentence that says what to take."""
    with pytest.raises(DataError, match="take a corpus of InjectionReports"), torch.no_grad():
        list(EVALUATION.evaluate_checkpoints({0: lambda: planted_reporter("deaf")}, numbered_corpus, Seed(0)))
