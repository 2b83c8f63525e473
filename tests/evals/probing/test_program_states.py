"""Probes of program states: aligned to the operation, blind where nothing is, and floored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.corpus import Corpus
from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel.interpreter import Board, execute_program
from nosce.data.worlds.karel.language import KAREL_OPERATIONS
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.evals.generation import Completion, ConstantBaseline, GenerationEval
from nosce.evals.patching.program_state import StateEditing
from nosce.evals.probing.program_states import ProbeGrid, ProgramStateProbe
from nosce.evals.probing.programs import ProgramDataset
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed

SEED = Seed(41)
FEATURES = (("direction", ("direction",)), ("position", ("rows", "cols")), ("front", ("front",)))


@pytest.fixture(scope="module", params=["lean", "official"])
def corpus(request, tmp_path_factory) -> Corpus:
    """Specifications of a small world."""
    folder = tmp_path_factory.mktemp(request.param)
    world = Karel(
        board_shape=(3, 3),
        n_examples=2,
        n_heldout_examples=1,
        records=20,
        lengths=(2, 6),
        asked_lengths=(3, 6),
        seen_questions=240,
        unseen_questions=120,
        encoding=request.param,
    )
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), folder / "tokenizer")
    corpora.write_corpus(folder, world.documents(SEED), world.questions(SEED))
    return Corpus(folder)


@pytest.fixture(scope="module")
def judge(corpus) -> KarelScorer:
    """The world's interpreter; the encoding is told by the texts."""
    encoding = "official" if "Examples" in corpus.questions[0].prompt else "lean"
    return KarelScorer(
        world=Karel(board_shape=(3, 3), n_examples=2, n_heldout_examples=1, encoding=encoding), max_operations=8
    )


@pytest.fixture(scope="module")
def told(corpus, judge) -> ProgramDataset:
    """The reference programs, as if a model had written them."""
    ids = [
        np.array(e.ids)
        for e in corpus.tokenizer.encode_batch([q.target for q in corpus.questions], add_special_tokens=False)
    ]
    return ProgramDataset.from_completions(
        judge, corpus, corpus.questions, [Completion(i, q.target) for i, q in zip(ids, corpus.questions, strict=True)]
    )


@pytest.fixture(scope="module")
def model(corpus):
    """A network that was never trained."""
    shape = Architecture(layers=2, width=32, heads=2, max_positions=512)
    return build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED
    )


def test_a_place_is_just_before_its_operation(told, corpus, judge):
    """The next token behind a place is the operation of its number."""
    for text, number, token in list(zip(told.program_index, told.operation_number, told.position, strict=True))[:300]:
        program = judge.world.record_encoding.parse_reply(told.replies[text])
        following = corpus.tokenizer.decode([int(told.tokens[text][token + 1])])
        assert following.strip() == judge.world.record_encoding.format_program((program[number - 1],)).strip()


def test_labels_are_the_states_behind_the_operations(told, judge):
    """At every offset, by the readable interpreter; the first and the last state are left out."""
    labels = {offset: told.labels(["direction", "rows"], [offset], "original") for offset in (-1, 0, 2)}
    for place in range(0, len(told.program_index), 7):
        text, operation_number = told.program_index[place], told.operation_number[place]
        board = judge._board(told.questions[text])
        start, program = board.robot, judge.world.record_encoding.parse_reply(told.replies[text])
        states = [
            (board.direction, board.robot[0]),
            *((board.direction, board.robot[0]) for _ in execute_program(board, program)),
        ]
        for offset, found in labels.items():
            behind = operation_number + offset
            if 1 <= behind < len(program):
                direction, row = states[behind]
                assert found[f"direction {offset}"][place] == direction
                assert found[f"rows {offset}"][place] == row - start[0] + 2
            else:
                assert found[f"direction {offset}"][place] == found[f"rows {offset}"][place] == -1


def test_planted_states_are_read_and_noise_is_not(told):
    """Hidden states that hold the label give it; random ones give no more than the constant."""
    labels = told.labels(["direction"], [0], "original")["direction 0"]
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(len(labels), 16)).astype(np.float32)
    planted = noise.copy()
    planted[:, :4] += 6 * np.eye(4, dtype=np.float32)[np.maximum(labels, 0)]
    tested = told.is_test & (labels >= 0)
    good = told.probe_predictions(planted, {"d": labels}, (16,), 30, SEED)["d"].correct[tested].mean()
    none = told.probe_predictions(noise, {"d": labels}, (16,), 30, SEED)["d"].correct[tested].mean()
    assert good > 0.95
    assert none < 0.4


def test_the_surface_gives_direction_and_the_bag_too(told):
    """Direction is start and counts, so even these few programs give some of it."""
    labels = told.labels(["direction"], [-1], "original")["direction -1"]
    tested = told.is_test & (labels >= 0)
    for inputs in (told.bag, told.surface):
        assert told.probe_predictions(inputs, {"d": labels}, (64,), 60, SEED)["d"].correct[tested].mean() > 0.34


def test_a_bag_forgets_order_and_knows_the_predicted_operation(told):
    """Its counts are those of all operations up to the place's own."""
    kinds = told._one_hot_operations.shape[-1]
    assert (told.bag.sum(1) == 2 + kinds).all()  # two features of the start, and one count of each kind
    counts = np.cumsum(told._one_hot_operations, 1)[told.program_index, told.operation_number - 1]
    assert np.array_equal(counts.sum(1), told.operation_number)


def test_tasks_that_are_all_alike_are_left_out(told):
    """A constant label can be learnt from by nobody."""
    alike = np.zeros(len(told.program_index), dtype=np.int64)
    assert told.probe_predictions(told.bag, {"same": alike}, (), 5, SEED) == {}


def test_readings_of_states_have_their_floors(corpus, judge, model):
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
        tracer=judge, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=3, max_walks=2
    )
    table, *walks = list(evaluation.evaluate_checkpoints({0: lambda: model, 9: lambda: model}, corpus, SEED))
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
    unseen = {q.entity for q in corpus.questions_in("unseen")}
    assert set(table.filter(~pl.col("metric").str.contains("bits"))["entity"]) <= unseen
    now = table.filter(attribute="position +0").group_by("metric").len()
    assert now.filter(~pl.col("metric").str.contains("bits"))["len"].n_unique() == 1
    assert not table.select("metric", "attribute", "item").is_duplicated().any()
    assert len(walks) == 2
    assert all(len(walk.frames) == 7 for walk in walks)


def test_a_trained_model_equal_to_the_untrained_reads_alike(corpus, judge, model):
    """The floor is the same probe on the same texts: with the same network nothing is above it."""
    grid = ProbeGrid(offsets=(0,), probe_shapes=((8,),), baselines=("untrained",))
    evaluation = ProgramStateProbe(
        tracer=judge, features=FEATURES, final_grid=grid, use_reference_programs=True, max_epochs=10
    )
    (table,) = evaluation.evaluate_checkpoints({0: lambda: model, 9: lambda: model}, corpus, SEED)
    means = table.filter(attribute="position +0").group_by("metric").agg(pl.col("value").mean())
    found = dict(means.rows())
    assert abs(found["original/mean/1"] - found["original/untrained/1"]) < 0.08


def test_written_programs_are_judged_and_the_constant_is_the_best_of_the_often_written(corpus, judge, model):
    """Every unseen specification has a reply under the grammar that can be read."""
    rows = list(GenerationEval(scorer=judge).evaluate(model, corpus, SEED))
    correct = [row for row in rows if row.metric == "correct"]
    assert len(correct) == 120
    assert all(row.outcome in ("right", "wrong") for row in correct)
    free = [
        row
        for row in GenerationEval(scorer=judge, constrained=False).evaluate(model, corpus, SEED)
        if row.metric == "correct"
    ]
    assert any(row.outcome == "unreadable" for row in free)
    constant = list(ConstantBaseline(scorer=judge, n_candidates=10).evaluate(None, corpus, SEED))
    assert len({row.answer for row in constant}) == 1
    assert len(constant) == 120


def test_a_swap_at_the_end_makes_the_donors_choice(corpus, judge, model):
    """What the head reads is put in from the donor, so the next word is the donor's own."""
    from nosce.evals.patching.program_state import _PrefixRuns

    edits = StateEditing(
        oracle=judge,
        features=("direction", "rows", "cols"),
        vocabulary=KAREL_OPERATIONS,
        sites=("residual.1", "final"),
        prefix_lengths=(1,),
    )
    replies = [q.target for q in corpus.questions]
    pairs = edits._pair_prefixes(corpus, replies, 1, SEED)
    assert len(pairs.questions) > 10
    for host, donor in zip(pairs.host_prefixes, pairs.donor_prefixes, strict=True):
        assert len(host) == len(donor) == 1
    runs = _PrefixRuns(model, corpus, judge, pairs)
    swapped = runs.right("final", runs.states("final", "donor"))
    as_donor = replace(runs, pairs=replace(pairs, host_prefixes=pairs.donor_prefixes)).right(None, None)
    assert np.array_equal(swapped, as_donor)
    assert np.array_equal(runs.right("final", runs.states("final", "host")), runs.right(None, None))


def test_edits_are_read_at_every_site(corpus, judge, model, monkeypatch):
    """Each edit beside its control, on as many pairs as were asked for."""
    import nosce.evals.patching.program_state as module

    ids = [
        np.array(e.ids)
        for e in corpus.tokenizer.encode_batch([q.target for q in corpus.questions], add_special_tokens=False)
    ]
    told = [Completion(i, q.target) for i, q in zip(ids, corpus.questions, strict=True)]
    monkeypatch.setattr(
        module, "generate_completions", lambda *_, **__: told
    )  # an untrained network would write next to nothing
    edits = StateEditing(
        oracle=judge,
        features=("direction", "rows"),
        vocabulary=KAREL_OPERATIONS,
        sites=("residual.1",),
        prefix_lengths=(1, 2),
        max_pairs=20,
    )
    tables = list(edits.evaluate_checkpoints({0: lambda: model}, corpus, SEED))
    assert [set(table["attribute"]) for table in tables] == [{"after 1"}, {"after 2"}]
    for table in tables:
        kinds = {"unedited", *(f"{k}/residual.1" for k in ("swap", "other", "gradient", "random"))}
        assert dict(table.group_by("metric").len().iter_rows()) == dict.fromkeys(kinds, 20)


def test_a_move_along_the_gradient_ends_where_the_probes_read_the_donor(corpus, judge, model):
    """Wherever the host's state was; and it goes no further than it must."""
    from nosce.evals.patching.program_state import _PrefixRuns

    edits = StateEditing(
        oracle=judge, features=("direction",), vocabulary=KAREL_OPERATIONS, sites=("final",), prefix_lengths=(2,)
    )
    pairs = edits._pair_prefixes(corpus, [q.target for q in corpus.questions], 2, SEED)
    runs = _PrefixRuns(model, corpus, judge, pairs)
    host = runs.states("final", "host")
    weight = torch.from_numpy(np.random.default_rng(5).normal(size=(host.shape[1], 4)).astype(np.float32))
    moved = edits._gradient_edit(runs, [lambda x: x @ weight], host)
    donors = judge.trace(pairs.questions, [judge.prefix_text(d) for d in pairs.donor_prefixes], "original")
    wanted = donors.features()["direction"][:, 1]
    assert np.array_equal((moved @ weight.numpy()).argmax(1), wanted)
    there = torch.from_numpy(host @ weight.numpy()).softmax(1).numpy()[np.arange(len(host)), wanted] > 0.95
    assert np.array_equal(moved[there], host[there])


def test_boards_are_read_from_the_prompt(judge, corpus):
    """The judge needs nothing but the question."""
    board = judge._board(corpus.questions[0])
    assert isinstance(board, Board)
    assert (board.rows, board.cols) == (5, 5)
