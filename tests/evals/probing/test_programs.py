"""Programs with their states: places are aligned to operations, labels are the interpreter's, and probes read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nosce.data.worlds.karel.interpreter import execute_program
from nosce.evals.generation import Completion
from nosce.evals.probing.programs import ORIGINAL_MEANING, ProgramDataset
from nosce.seeds import Seed

SEED = Seed(41)


@pytest.fixture
def programs(karel_programs) -> ProgramDataset:
    """The reference programs of the small world."""
    return karel_programs


@pytest.fixture
def direction(programs):
    """Labels of the state behind the predicted operation, states that hold them, and states of noise."""
    labels = programs.labels(["direction"], [0], ORIGINAL_MEANING)["direction 0"]
    noise = np.random.default_rng(3).normal(size=(len(labels), 16)).astype(np.float32)
    planted = noise.copy()
    planted[:, :4] += 6 * np.eye(4, dtype=np.float32)[np.maximum(labels, 0)]
    return labels, planted, noise


def test_a_place_is_just_before_its_operation(programs, karel_corpus, karel_scorer):
    """The next token behind a place is the operation of its number."""
    for text, number, token in list(
        zip(programs.program_index, programs.operation_number, programs.position, strict=True)
    )[:300]:
        program = karel_scorer.world.record_encoding.parse_reply(programs.replies[text])
        following = karel_corpus.tokenizer.decode([int(programs.tokens[text][token + 1])])
        operation = karel_scorer.world.record_encoding.format_program((program[number - 1],)).strip()
        if karel_scorer.world.target_prefix:  # a tokenizer made for other texts: the token that tells the operation
            assert following.strip() in operation
        else:
            assert following.strip() == operation


def test_labels_are_the_states_behind_the_operations(programs, karel_scorer):
    """At every offset, by the readable interpreter; the first and the last state are left out."""
    labels = {offset: programs.labels(["direction", "rows"], [offset], "original") for offset in (-1, 0, 2)}
    for place in range(0, len(programs.program_index), 7):
        text, operation_number = programs.program_index[place], programs.operation_number[place]
        board = karel_scorer._board(programs.questions[text])
        start, program = board.robot, karel_scorer.world.record_encoding.parse_reply(programs.replies[text])
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


def test_planted_states_are_read_and_noise_is_not(programs, direction):
    """Hidden states that hold the label give it; random ones give no more than the constant."""
    labels, planted, noise = direction
    tested = programs.is_test & (labels >= 0)
    good = programs.probe_predictions(planted, {"d": labels}, (16,), 30, SEED)["d"].correct[tested].mean()
    none = programs.probe_predictions(noise, {"d": labels}, (16,), 30, SEED)["d"].correct[tested].mean()
    assert good > 0.95
    assert none < 0.4


def test_the_surface_gives_direction_and_the_bag_too(programs):
    """Direction is start and counts, so even these few programs give some of it."""
    labels = programs.labels(["direction"], [-1], "original")["direction -1"]
    tested = programs.is_test & (labels >= 0)
    for inputs in (programs.bag, programs.surface):
        assert programs.probe_predictions(inputs, {"d": labels}, (64,), 60, SEED)["d"].correct[tested].mean() > 0.34


def test_a_bag_forgets_order_and_knows_the_predicted_operation(programs):
    """Its counts are those of all operations up to the place's own."""
    kinds = programs._one_hot_operations.shape[-1]
    assert (programs.bag.sum(1) == 2 + kinds).all()  # two features of the start, and one count of each kind
    counts = np.cumsum(programs._one_hot_operations, 1)[programs.program_index, programs.operation_number - 1]
    assert np.array_equal(counts.sum(1), programs.operation_number)


def test_tasks_that_are_all_alike_are_left_out(programs):
    """A constant label teaches nothing."""
    alike = np.zeros(len(programs.program_index), dtype=np.int64)
    assert programs.probe_predictions(programs.bag, {"same": alike}, (), 5, SEED) == {}


def test_controls_of_planted_states_are_at_chance(programs, direction):
    """The same states, taught labels shuffled among specifications, read unseen ones no better than noise does."""
    labels, planted, _ = direction
    controls = programs.control_predictions(planted, {"d": labels}, (16,), 30, SEED)
    tested = programs.is_test & (labels >= 0)
    assert set(controls) == {"shuffled", "memorised"}
    assert controls["shuffled"]["d"].correct[tested].mean() < 0.4


def test_planted_states_save_bits_and_noise_saves_none(programs, direction):
    """Of about two bits a label; where there is no label nothing can be saved."""
    labels, planted, noise = direction
    saved, wasted = (programs.bits_saved(states, {"d": labels}, (), 20, SEED)["d"] for states in (planted, noise))
    assert np.nanmean(saved) > 1
    assert np.nanmean(wasted) < 0.1
    assert np.isnan(saved[labels < 0]).all()


def test_hidden_states_are_those_that_predict_the_operation(programs, karel_corpus, untrained_model):
    """Behind an end token, at the place before the operation; "mean" is over the embeddings and all layers."""
    end = karel_corpus.eos_id
    states = programs.hidden_states(untrained_model, ["residual.1", "mean"], end)
    first, mean = states["residual.1"], states["mean"]
    for text in (0, 7):
        with torch.no_grad():
            tokens = torch.tensor([[end, *programs.tokens[text].tolist()]])
            layers = untrained_model(input_ids=tokens, output_hidden_states=True).hidden_states
        rows = np.flatnonzero(programs.program_index == text)
        positions = programs.position[rows] + 1
        assert np.allclose(first[rows], layers[1][0, positions].numpy(), atol=1e-5)
        assert np.allclose(mean[rows], torch.stack(layers)[:, 0, positions].mean(0).numpy(), atol=1e-5)


def test_all_sites_are_read_in_one_pass(programs, karel_corpus, untrained_model):
    """A network of thirty blocks, read at each of them, runs as often as at one; the numbers are the same."""
    end, passes = karel_corpus.eos_id, []
    with untrained_model.get_input_embeddings().register_forward_hook(lambda *_: passes.append(1)):
        alone = programs.hidden_states(untrained_model, ["residual.1"], end)
        n_passes = len(passes)
        together = programs.hidden_states(untrained_model, ["residual.0", "residual.1", "mean", "final"], end)
    assert len(passes) == 2 * n_passes
    assert np.array_equal(together["residual.1"], alone["residual.1"])


def test_replies_without_states_are_left_out(karel_corpus, karel_scorer, reference_completions):
    """Unreadable replies and programs of one operation; None where a split is then empty."""
    questions = karel_corpus.questions
    one = karel_corpus.tokenizer.encode(karel_scorer.prefix_text(("move",)), add_special_tokens=False).ids
    short = Completion(np.array(one), karel_scorer.prefix_text(("move",)))
    kept = [c if index % 2 else short for index, c in enumerate(reference_completions)]
    programs = ProgramDataset.from_completions(karel_scorer, karel_corpus, questions, kept)
    assert [q.id for q in programs.questions] == [q.id for q in questions[1::2]]
    assert ProgramDataset.from_completions(karel_scorer, karel_corpus, questions, [short] * len(questions)) is None
