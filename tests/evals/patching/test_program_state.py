"""Edits of program states: a swap at the end is the donor's choice, and the gradient goes where probes read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import nosce.evals.patching.program_state as module
from nosce.data.worlds.karel.language import KAREL_OPERATIONS
from nosce.evals.patching.base import Patch, PatchBatching, capture_states, read_patched
from nosce.evals.patching.program_state import (
    StateEditing,
    _edited_states,
    _gradient_edit,
    _next_word_reader,
    _PrefixEncoder,
)
from nosce.seeds import Seed
from nosce.store.spec import describe

SEED = Seed(41)


@pytest.fixture
def editing(karel_scorer):
    """Edits behind one and behind two words."""
    return StateEditing(
        oracle=karel_scorer,
        features=("direction", "rows"),
        vocabulary=KAREL_OPERATIONS,
        sites=("residual.1", "final"),
        max_pairs=20,
    )


@pytest.fixture
def pairs(editing, karel_corpus):
    """Beginnings of one word."""
    return replace(editing, max_pairs=1000)._pair_prefixes(
        karel_corpus, [q.target for q in karel_corpus.questions], 1, SEED
    )


def test_a_swap_at_the_end_makes_the_donors_choice(karel_corpus, karel_scorer, untrained_model, pairs):
    """What the head reads is put in from the donor, so the next word is the donor's own; one's own changes nothing."""
    assert len(pairs.questions) > 10
    assert all(len(h) == len(d) == 1 for h, d in zip(pairs.host_prefixes, pairs.donor_prefixes, strict=True))
    encoder, batching = _PrefixEncoder(karel_corpus, karel_scorer), PatchBatching(pad=karel_corpus.eos_id)
    prefixes, model = encoder.prefixes_by_role(pairs), untrained_model.eval()
    read = _next_word_reader(model, encoder.first_tokens(pairs.correct_words))
    states = {role: capture_states(model, some, ["final"], batching) for role, some in prefixes.items()}
    alone = {role: read_patched(model, some, read, batching) for role, some in prefixes.items()}
    for role, captured in states.items():
        patched = Patch("final", "last", captured.at("final", "last"))
        swapped = read_patched(model, prefixes["host"], read, batching, patched)
        assert np.array_equal(swapped, alone[role])
    for donor, other in zip(prefixes["donor"], prefixes["other"], strict=True):
        assert donor.tokens.tolist() != other.tokens.tolist()


def test_edits_are_read_at_every_site(
    karel_corpus, karel_scorer, editing, untrained_model, reference_completions, monkeypatch
):
    """Each edit beside its control, on as many pairs as were asked for."""
    # An untrained network would write next to nothing.
    monkeypatch.setattr(module, "generate_completions", lambda *_, **__: reference_completions)
    tables = list(editing.evaluate_checkpoints({0: lambda: untrained_model}, karel_corpus, SEED))
    assert [set(table["attribute"]) for table in tables] == [{"after 1"}, {"after 2"}]
    for table in tables:
        edits = [f"{k}/{site}" for k in ("swap", "other", "gradient", "random") for site in editing.sites]
        counts = dict(table.group_by("metric").len().iter_rows())
        (count,) = set(counts.values())
        assert set(counts) == {"unedited", *edits}
        is_own = bool(karel_scorer.world.target_prefix)  # there some pairs are told apart by no token
        assert 5 < count <= 20 if is_own else count == 20


def test_a_pair_is_told_apart_by_its_next_token(karel_corpus, karel_scorer, pairs):
    """Where words begin alike, a correct word's first token begins no wrong one; beginnings are equally long."""
    encoder = _PrefixEncoder(karel_corpus, karel_scorer)
    hosts, donors = encoder.prefixes_by_role(pairs)["host"], encoder.prefixes_by_role(pairs)["donor"]
    assert [len(host.tokens) for host in hosts] == [len(donor.tokens) for donor in donors]
    from_host = karel_scorer.correct_continuations(pairs.questions, pairs.host_prefixes)
    from_donor = karel_scorer.correct_continuations(pairs.questions, pairs.donor_prefixes)
    for correct, host, donor, tokens in zip(
        pairs.correct_words, from_host, from_donor, encoder.first_tokens(pairs.correct_words), strict=True
    ):
        assert correct <= donor - host
        wrong = {encoder.first_token(word) for word in KAREL_OPERATIONS if word not in donor - host}
        assert not wrong & tokens


def needed(karel_scorer, pairs, questions):
    """Words that are right behind the donors' words under these questions."""
    return karel_scorer.correct_continuations(questions, pairs.donor_prefixes)


def test_the_control_of_a_swap_can_lose(karel_corpus, karel_scorer, editing, pairs):
    """Planted: a model that follows its state says what the state needs. Apart, the control is wrong in every pair.

    Without that, the same words need the same next word under another specification too, so that the control is right.
    """
    every = replace(editing, max_pairs=1000, apart=True)
    apart = every._pair_prefixes(karel_corpus, [q.target for q in karel_corpus.questions], 1, SEED)
    assert 5 < len(apart.questions) < len(pairs.questions)
    hosts = karel_scorer.correct_continuations(apart.questions, apart.host_prefixes)
    donors, others = (needed(karel_scorer, apart, some) for some in (apart.questions, apart.other_questions))
    for host, donor, other, correct in zip(hosts, donors, others, apart.correct_words, strict=True):
        assert correct <= donor
        assert host
        assert other
        assert not donor & host
        assert not correct & other
    assert all(a.entity != b.entity for a, b in zip(apart.questions, apart.other_questions, strict=True))
    control = needed(karel_scorer, pairs, pairs.questions[1:] + pairs.questions[:1])
    alike = [bool(words & other) for words, other in zip(pairs.correct_words, control, strict=True)]
    assert np.mean(alike) > 0.2  # of the pairs that are told by host and donor alone


def test_the_control_has_the_words_of_the_donor_under_its_own_question(karel_corpus, karel_scorer, editing):
    """The prefix that is captured is that of the question whose needs were looked up."""
    every = replace(editing, max_pairs=50, apart=True)
    apart = every._pair_prefixes(karel_corpus, [q.target for q in karel_corpus.questions], 1, SEED)
    encoder = _PrefixEncoder(karel_corpus, karel_scorer)
    other = encoder.prefixes_by_role(apart)["other"]
    assert [one.tokens.tolist() for one in other] == [
        one.tokens.tolist() for one in encoder._encode(apart.other_questions, apart.donor_prefixes)
    ]


def test_words_of_a_reply_are_those_that_stand_in_it(karel_scorer):
    """Whatever they mean in the world; and a reply with control flow has no beginning of operations."""
    reply = karel_scorer.prefix_text(("move", "turnLeft"))
    assert karel_scorer.written_operations(reply) == ("move", "turnLeft")
    changed = replace(karel_scorer, world=replace(karel_scorer.world, meaning="alt3"))
    assert changed.written_operations(reply) == ("move", "turnLeft")
    assert karel_scorer.written_operations("repeat 2 { move }") == ()


def test_edits_that_are_apart_have_a_key_of_their_own(editing):
    """Stored readings of the other pairs stay valid."""
    assert "apart" not in describe(editing)
    assert describe(replace(editing, apart=True))["apart"] is True


def test_a_move_along_the_gradient_ends_where_the_probes_read_the_donor(karel_corpus, karel_scorer, editing, pairs):
    """Wherever the host's state was; and it goes no further than it must, as far as the random control goes."""
    targets = replace(editing, features=("direction",))._donor_features(pairs)
    traces = karel_scorer.trace(
        pairs.questions, [karel_scorer.prefix_text(d) for d in pairs.donor_prefixes], "original"
    )
    assert np.array_equal(targets[0], traces.features()["direction"][:, 0])
    rng = np.random.default_rng(5)
    host = rng.normal(size=(len(pairs.questions), 32)).astype(np.float32)
    weight = torch.from_numpy(rng.normal(size=(32, 4)).astype(np.float32))
    moved = _gradient_edit(host, [lambda x: x @ weight], targets)
    assert np.array_equal((moved @ weight.numpy()).argmax(1), targets[0])
    certain = torch.from_numpy(host @ weight.numpy()).softmax(1).numpy()[np.arange(len(host)), targets[0]] > 0.95
    assert certain.any()
    assert np.array_equal(moved[certain], host[certain])
    assert not np.array_equal(moved[~certain], host[~certain])


def test_the_random_control_moves_as_far_and_elsewhere(karel_corpus, karel_scorer, untrained_model, pairs):
    """Equal distances from the host's states, in directions that do not agree with the gradient's."""
    encoder, batching = _PrefixEncoder(karel_corpus, karel_scorer), PatchBatching(pad=karel_corpus.eos_id)
    states = {
        role: capture_states(untrained_model, some, ["residual.1"], batching)
        for role, some in encoder.prefixes_by_role(pairs).items()
    }
    weight = torch.from_numpy(np.random.default_rng(5).normal(size=(32, 4)).astype(np.float32))
    targets = [np.arange(len(pairs.questions)) % 4]
    edited = _edited_states(states, [lambda x: x @ weight], targets, "residual.1", SEED)
    host = states["host"].at("residual.1", "last")
    gradient, random = edited["gradient"] - host, edited["random"] - host
    assert np.allclose(np.linalg.norm(gradient, axis=1), np.linalg.norm(random, axis=1), rtol=1e-4)
    moved = np.linalg.norm(gradient, axis=1) > 0
    cosine = (gradient * random).sum(1)[moved] / (np.linalg.norm(gradient, axis=1) ** 2)[moved]
    assert abs(cosine.mean()) < 0.2
    assert np.array_equal(edited["swap"], states["donor"].at("residual.1", "last"))
