"""A recipe keeps what it says, refuses what cannot be trained, and is all that a result depends on."""

import math
from dataclasses import fields, replace
from itertools import pairwise

import pytest

from nosce.errors import SpecError
from nosce.store.spec import describe, flatten_description
from nosce.train.config import LoRA, RuntimeConfig, TrainingConfig


@pytest.mark.parametrize(
    ("checkpoints", "kept"),
    [
        ((1.0,), (200,)),
        ((0.0, 0.5, 1.0), (0, 100, 200)),
        ((1.0, 0.001, 0.0, 1.0), (0, 200)),
        ((0.333, 1.0), (67, 200)),
    ],
)
def test_checkpoints_are_fractions_of_the_steps(checkpoints, kept):
    """Fractions become steps, in order, each once, whether or not 0 is among them."""
    assert TrainingConfig(steps=200, batch_size=1, checkpoint_fractions=checkpoints).checkpoint_steps == kept


@pytest.mark.parametrize("steps", [1, 5, 10, 137, 5_000])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_floor(steps):
    """It is never above the peak, never zero, rises at first and falls from then on, without a jump."""
    recipe = TrainingConfig(steps=steps, batch_size=1, peak_lr=2e-3, warmup_steps=100, min_lr_ratio=0.1)
    rates = [recipe.lr(step) for step in range(steps)]
    top = rates.index(max(rates))

    assert max(rates) == pytest.approx(2e-3)
    assert min(rates) > 0
    assert top <= steps // 10
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps > 100:
        assert rates[-1] == pytest.approx(2e-4, rel=0.01)
        rise = 2e-3 / min(100, steps // 10)
        assert max(abs(a - b) for a, b in pairwise(rates)) <= rise * 1.001


def test_half_way_down_the_cosine_is_half_way_between_peak_and_floor():
    """The fall is a cosine: its middle lies in the middle."""
    recipe = TrainingConfig(steps=1_000, batch_size=1, peak_lr=1.0, warmup_steps=0, min_lr_ratio=0.2)

    assert recipe.lr(500) == pytest.approx(0.6)
    assert recipe.lr(250) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)


def test_a_linear_schedule_falls_by_equal_amounts_to_its_floor():
    """After the warm-up each step takes as much from the rate as the one before; the floor may be zero."""
    recipe = TrainingConfig(
        steps=1_000, batch_size=1, peak_lr=1.0, warmup_steps=100, min_lr_ratio=0.0, lr_schedule="linear"
    )
    rates = [recipe.lr(step) for step in range(1_000)]

    assert rates[99] == rates[100] == 1.0
    assert rates[550] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(1 / 900)
    assert {round(a - b, 9) for a, b in pairwise(rates[100:])} == {round(1 / 900, 9)}


def test_a_schedule_and_parts_of_an_adapter_enter_a_key_only_where_they_are_chosen():
    """Results from before they could be chosen keep their keys."""
    recipe = TrainingConfig(steps=1, batch_size=1)
    assert "lr_schedule" not in describe(recipe)
    assert describe(replace(recipe, lr_schedule="linear"))["lr_schedule"] == "linear"
    assert "query_value_apart" not in describe(LoRA())
    assert describe(LoRA(query_value_apart=True))["query_value_apart"] is True


@pytest.mark.parametrize("steps", [1, 199, 200, 5_000])
def test_metrics_are_logged_some_two_hundred_times(steps):
    """A short run logs every step, a long one about two hundred times."""
    assert min(steps, 200) <= steps / TrainingConfig(steps=steps, batch_size=1).log_every <= 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"window": 1},
        {"checkpoint_fractions": ()},
        {"checkpoint_fractions": (0.5,)},
        {"checkpoint_fractions": (0.5, 1.5, 1.0)},
        {"checkpoint_fractions": (-0.1, 1.0)},
        {"peak_lr": 0.0},
        {"peak_lr": float("nan")},
        {"max_grad_norm": 0.0},
        {"min_lr_ratio": 1.1},
        {"grad_accum_steps": 0},
        {"grad_accum_steps": 3},
        {"muon_lr": 0.0},
        {"muon_lr": -0.02},
        {"muon_momentum": 1.0},
        {"muon_momentum": -0.1},
        {"muon_lr": float("nan")},
        {"max_grad_norm": float("nan")},
        {"optimizer": "mouon"},
        {"dtype": "float16"},
        {"prompt_loss_weight": -0.1},
        {"prompt_loss_weight": 1.1},
        {"prompt_loss_weight": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_when_it_is_written(wrong):
    """The mistake is told in one sentence, with the number that was found and what to take."""
    with pytest.raises(SpecError) as told:
        TrainingConfig(**({"steps": 10, "batch_size": 2} | wrong))
    sentence = str(told.value)

    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert str(next(iter(wrong.values()))) in sentence


@pytest.mark.parametrize(
    "fitting",
    [
        {"grad_accum_steps": 2},
        {"muon_momentum": 0.0},
        {"window": 2},
        {"window": None},
        {"prompt_loss_weight": 0.0},
        {"prompt_loss_weight": 1.0},
    ],
    ids=str,
)
def test_what_can_just_be_trained_is_taken(fitting):
    """As many parts as texts, no momentum, rows of two tokens and no rows at all, nothing and all of what is given."""
    recipe = TrainingConfig(**({"steps": 10, "batch_size": 2} | fitting))

    assert getattr(recipe, next(iter(fitting))) == next(iter(fitting.values()))


def test_texts_see_only_themselves_unless_a_window_is_named():
    """What nobody asked for is not done: no row, one part, AdamW, float32, no loss on what is given."""
    recipe = TrainingConfig(steps=10, batch_size=2)

    assert (recipe.window, recipe.grad_accum_steps, recipe.optimizer, recipe.dtype) == (None, 1, "adamw", "float32")
    assert recipe.prompt_loss_weight == 0


@pytest.mark.parametrize("peak", [1e-3, 0.3])
def test_the_learning_rate_is_the_share_of_its_peak(peak):
    """One schedule for all peaks: a share between nothing and all of it."""
    recipe = TrainingConfig(steps=137, batch_size=1, peak_lr=peak)
    shares = [recipe.lr_multiplier(step) for step in range(137)]

    assert all(0 < share <= 1 for share in shares)
    assert [recipe.lr(step) for step in range(137)] == [peak * share for share in shares]


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"embedding_rank": -1}], ids=str)
def test_an_adapter_of_no_rank_is_refused(wrong):
    """LoRA without a rank would train nothing."""
    with pytest.raises(SpecError, match="updates nothing"):
        LoRA(**wrong)


def test_a_typing_mistake_in_a_recipe_is_no_silent_default():
    """An unknown name is refused by the class itself."""
    with pytest.raises(TypeError):
        TrainingConfig(steps=10, batch_size=2, peek_lr=1e-3)


def test_what_only_changes_the_speed_is_in_no_recipe():
    """TrainingConfig and RuntimeConfig share no field, so nothing of a machine can enter the name of a run."""
    assert not {f.name for f in fields(TrainingConfig)} & {f.name for f in fields(RuntimeConfig)}
    assert set(flatten_description(describe(TrainingConfig(steps=1, batch_size=1)))) >= {
        "steps",
        "batch_size",
        "peak_lr",
        "dtype",
        "window",
        "grad_accum_steps",
        "optimizer",
        "muon_lr",
        "muon_momentum",
    }
