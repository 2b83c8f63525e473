"""Readings of program states: every source has its floor, and a trained network that knows no more reads no more."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.tokenizer import build_tokenizer, save_tokenizer
from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel.interpreter import Board
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.evals.generation import Completion, ConstantBaseline, GenerationEval
from nosce.evals.probing import probe
from nosce.evals.probing.program_states import ProbeGrid, ProgramStateProbe
from nosce.evals.probing.programs import ProbeTraining, ProgramDataset
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.store.spec import describe

SEED = Seed(41)
FEATURES = (("direction", ("direction",)), ("position", ("rows", "cols")), ("front", ("front",)))


@pytest.mark.whole
def test_readings_of_states_have_their_floors(karel_corpus, karel_scorer, untrained_model):
    """Each metric that was asked for, one row a place, all about unseen specifications."""
    grid = ProbeGrid(
        offsets=(0, 1),
        meanings=("original", "alt3"),
        probe_shapes=((), (8,)),
        sites=("mean", "residual.1"),
        baselines=("untrained", "bag", "surface", "present"),
        controls=True,
        code_lengths=True,
        baseline_meanings=("original", "alt3"),
    )
    evaluation = ProgramStateProbe(
        tracer=karel_scorer, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=3, max_walks=2
    )
    table, *walks = list(
        evaluation.evaluate_checkpoints({0: lambda: untrained_model, 9: lambda: untrained_model}, karel_corpus, SEED)
    )
    assert set(table["step"]) == {9}
    sources = {
        "constant",
        "mean/0",
        "mean/1",
        "residual.1/0",
        "residual.1/1",
        "untrained/1",
        "bag/1",
        "surface/1",
        "shuffled/1",
        "memorised/1",
        "bits/1",
    }
    assert {f"original/{s}" for s in (*sources, "present/1")} | {f"alt3/{s}" for s in sources} == set(table["metric"])
    unseen = {q.entity for q in karel_corpus.questions_in("unseen")}
    assert set(table.filter(~pl.col("metric").str.contains("bits"))["entity"]) <= unseen
    now = table.filter(attribute="position +0").group_by("metric").len()
    assert now.filter(~pl.col("metric").str.contains("bits"))["len"].n_unique() == 1
    assert not table.select("metric", "attribute", "item").is_duplicated().any()
    assert len(walks) == 2
    assert all(len(walk.frames) == 7 for walk in walks)


def test_a_trained_model_equal_to_the_untrained_reads_alike(karel_corpus, karel_scorer, untrained_model):
    """The floor is the same probe on the same texts: with the same network nothing is above it."""
    grid = ProbeGrid(offsets=(0,), probe_shapes=((8,),), baselines=("untrained",))
    evaluation = ProgramStateProbe(
        tracer=karel_scorer, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=10
    )
    (table,) = evaluation.evaluate_checkpoints(
        {0: lambda: untrained_model, 9: lambda: untrained_model}, karel_corpus, SEED
    )
    means = table.filter(attribute="position +0").group_by("metric").agg(pl.col("value").mean())
    found = dict(means.rows())
    assert abs(found["original/mean/1"] - found["original/untrained/1"]) < 0.08


def test_written_programs_are_judged_and_the_constant_is_the_best_of_the_often_written(
    karel_corpus, karel_scorer, untrained_model
):
    """Every unseen specification has a reply under the grammar that can be read."""
    rows = list(GenerationEval(scorer=karel_scorer).evaluate(untrained_model, karel_corpus, SEED))
    correct = [row for row in rows if row.metric == "correct"]
    assert len(correct) == 120
    assert all(row.outcome in ("right", "wrong") for row in correct)
    free = GenerationEval(scorer=karel_scorer, constrained=False).evaluate(untrained_model, karel_corpus, SEED)
    assert any(row.outcome == "unreadable" for row in free if row.metric == "correct")
    constant = list(ConstantBaseline(scorer=karel_scorer, n_candidates=10).evaluate(None, karel_corpus, SEED))
    assert len({row.answer for row in constant}) == 1
    assert len(constant) == 120


def test_boards_are_read_from_the_prompt(karel_scorer, karel_corpus):
    """The interpreter needs nothing but the question."""
    board = karel_scorer._board(karel_corpus.questions[0])
    assert isinstance(board, Board)
    assert (board.rows, board.cols) == (5, 5)


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    """Specifications whose programs have loops and branches, their interpreter, and an untrained network."""
    world = Karel(
        board_shape=(3, 3),
        n_examples=2,
        n_heldout_examples=1,
        records=20,
        lengths=(2, 6),
        asked_lengths=(3, 6),
        seen_questions=400,
        unseen_questions=150,
        control_flow=True,
    )
    folder = tmp_path_factory.mktemp("loops")
    save_tokenizer(build_tokenizer(world.tokenizer, world.samples(SEED)), folder / "tokenizer")
    write_corpus(folder, world.documents(SEED), world.questions(SEED))
    corpus, shape = Corpus(folder), Architecture(layers=1, width=16, heads=2, max_positions=128)
    size = corpus.tokenizer.get_vocab_size()
    return (
        corpus,
        KarelScorer(world=world),
        build_model(shape, vocab_size=size, eos_id=corpus.eos_id, pad_id=None, seed=SEED),
    )


@pytest.mark.whole
def test_states_behind_a_block_are_read_by_themselves(loops):
    """Every source has rows of the same places behind a loop or branch; the constant there is one of its own."""
    corpus, scorer, model = loops
    grid = ProbeGrid(offsets=(0,), probe_shapes=((16,),), baselines=("bag", "surface", "untrained"))
    evaluation = ProgramStateProbe(
        tracer=scorer, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=20
    )
    (table,) = evaluation.evaluate_checkpoints({0: lambda: model}, corpus, SEED)
    for feature, _ in FEATURES:
        behind, everywhere = (table.filter(attribute=f"{feature} +0{suffix}") for suffix in (" behind a block", ""))
        items = {key[0]: set(rows["item"]) for key, rows in behind.group_by("metric")}
        assert set(items) == {f"original/{s}" for s in ("constant", "mean/1", "bag/1", "surface/1", "untrained/1")}
        assert len(set(map(frozenset, items.values()))) == 1
        assert set(behind["item"]) < set(everywhere["item"])
    means = dict(table.filter(attribute="direction +0", metric="original/bag/1").select("item", "value").rows())
    inside = set(table.filter(attribute="direction +0 behind a block")["item"])
    right = {where: fmean(v for item, v in means.items() if (item in inside) == where) for where in (True, False)}
    assert right[True] < right[False] - 0.05  # without blocks direction is the start's and the turns


def test_a_state_that_no_run_reaches_has_no_label(loops):
    """A loop that does not end on the board leaves what is written behind it without states."""
    corpus, scorer, _ = loops
    reply = "move while noMarkersPresent { turnLeft } move move"
    tokens = np.array(corpus.tokenizer.encode(reply, add_special_tokens=False).ids)
    # No marker is anywhere on the first board, so that the loop never ends.
    clear = [q for q in corpus.questions if not set(q.prompt.split("OUT")[0]) & set("123456789")]
    questions = [next(q for q in clear if q.split == split) for split in ("seen", "unseen")]
    programs = ProgramDataset.from_completions(scorer, corpus, questions, [Completion(tokens, reply)] * 2)
    labels = programs.labels(("direction",), (0,), "original", include_final=True)["direction 0"]
    for program in range(2):
        mine = labels[programs.program_index == program]
        assert mine[0] >= 0
        assert mine[1:].tolist() == [-1, -1, -1]


def test_probes_may_be_trained_as_in_the_released_code(karel_corpus, karel_scorer, untrained_model, monkeypatch):
    """Rate, batch, decay and norms reach every probe, and the choice is in a key only where it is made."""
    seen = []
    train = probe.fit_probes
    monkeypatch.setattr(probe, "fit_probes", lambda *a, **k: seen.append(a[3]) or train(*a, **k))
    grid = ProbeGrid(offsets=(0,), probe_shapes=((8, 16),))
    ours = ProgramStateProbe(
        tracer=karel_scorer, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=1
    )
    theirs = replace(ours, probe_training=ProbeTraining())
    for evaluation in (ours, theirs):
        list(evaluation.evaluate_checkpoints({0: lambda: untrained_model}, karel_corpus, Seed(0)))
    assert {(c.lr, c.decay_points, c.batch_size, c.batch_norm) for c in seen} == {
        (0.005, 0, 512, False),
        (0.02, 150, 1_024, True),
    }
    assert {c.weight_decay for c in seen} == {0.2}
    assert "probe_training" not in describe(ours)
    assert describe(theirs)["probe_training"]["decay_points"] == 150
