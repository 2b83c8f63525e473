"""The loop learns, ends with the same bytes however often it was stopped, and refuses to go on from nonsense."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from nosce.data.masking import WholeWordMasking
from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.errors import TrainingError
from nosce.models import lora as adapters
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, Family, build_model
from nosce.seeds import Seed
from nosce.store.files import SCRATCH
from nosce.train import checkpoint, loop
from nosce.train.config import RuntimeConfig, TrainingConfig

VOCABULARY, END = 30, 0
RECIPE = TrainingConfig(steps=12, batch_size=3, window=40, peak_lr=5e-3, checkpoint_fractions=(0.0, 0.25, 0.5, 1.0))


class Stop(Exception):
    """Something ends the process here."""


def sentences():
    """Four sentences of nine tokens, no two of which begin alike, each with its end."""
    rng = Seed(0).numpy()
    return dataset_from_arrays(
        (np.array([4 + first, *rng.integers(8, VOCABULARY, size=8), END], dtype=np.int32), np.ones(10, dtype=bool))
        for first in range(4)
    )


def model(family="gpt-neox", seed=0):
    shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64)
    return build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(seed))


def uneven():
    """Seven texts of 3 to 15 tokens, of which between none and all carry loss."""
    rng = Seed(1).numpy()
    return dataset_from_arrays(
        (np.append(rng.integers(4, VOCABULARY, size=2 + 2 * n), END).astype(np.int32), np.arange(3 + 2 * n) >= start)
        for n, start in enumerate([0, 5, 1, 9, 8, 0, 13])
    )


def train(folder, recipe=RECIPE, *, net=None, texts=None, order=0, kept=None, progress=lambda *_: None, **more):
    """Train in a folder as the step does; `kept` is called before each checkpoint is written."""
    net = model() if net is None else net
    texts = sentences() if texts is None else texts

    def keep(step):
        if kept is not None:
            kept(step)
        (folder / "none").mkdir(exist_ok=True, parents=True)
        checkpoint.save_checkpoint(net, folder / "none", folder / "checkpoints" / f"{step:07d}")

    loop.train(
        net,
        texts,
        EpochSampler(len(texts), recipe.batch_size, Seed(order)),
        recipe,
        eos_id=END,
        folder=folder,
        on_checkpoint=keep,
        on_progress=progress,
        **more,
    )
    return net


def left(folder: Path) -> dict[str, bytes]:
    """All that a training leaves for others, byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and SCRATCH not in path.relative_to(folder).parts
    }


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def saving_always(monkeypatch):
    """A clock that stands still, so that the loop finds it time to save after every logged step."""
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.0))
    return RuntimeConfig(save_interval_seconds=0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder)
    return left(folder)


@pytest.mark.parametrize("window", [12, None])
@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_four_sentences_are_learnt_by_heart(tmp_path, family, window):
    """The loss falls from chance to what the first tokens, of which any of four may come, must cost."""
    recipe = TrainingConfig(steps=150, batch_size=4, window=window, peak_lr=5e-3, warmup_steps=5)
    train(tmp_path, recipe, net=model(family))
    losses = [line["nats"] for line in metrics(tmp_path)]
    unknowable = np.log(4) / 10  # which of the four comes is drawn anew in every row

    assert losses[0] > 2.5
    assert unknowable * 0.9 < losses[-1] < unknowable + 0.05


def test_two_runs_of_one_seed_leave_the_same_bytes(tmp_path, uninterrupted):
    """Checkpoints and metrics are functions of recipe and seeds."""
    train(tmp_path / "again")
    train(tmp_path / "other", order=1)

    assert left(tmp_path / "again") == uninterrupted
    assert left(tmp_path / "other").keys() == uninterrupted.keys()
    assert left(tmp_path / "other") != uninterrupted


@pytest.mark.parametrize("stop", [1, 3, 7, 12])
def test_a_run_interrupted_after_any_step_ends_with_the_same_bytes(tmp_path, uninterrupted, saving_always, stop):
    """Stopped at a log, before anything of that step was kept or saved, and run again."""

    def progress(done, *_):
        if done == stop:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=progress, runtime=saving_always)
    seen = []
    train(tmp_path, progress=lambda done, *_: seen.append(done), runtime=saving_always)

    assert left(tmp_path) == uninterrupted
    assert seen == list(range(stop, RECIPE.steps + 1)), "it must go on from the last save and not start over"


@pytest.mark.parametrize("stop", RECIPE.checkpoint_steps)
def test_a_run_interrupted_while_keeping_ends_with_the_same_bytes(tmp_path, uninterrupted, saving_always, stop):
    """Stopped just before a checkpoint is written, that of step 0 included, and run again."""

    def kept(step):
        if step == stop:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, kept=kept, runtime=saving_always)
    train(tmp_path, runtime=saving_always)

    assert left(tmp_path) == uninterrupted


@pytest.mark.parametrize("stop", [1, 6, 12])
def test_a_run_interrupted_right_after_a_save_ends_with_the_same_bytes(
    tmp_path, uninterrupted, saving_always, stop, monkeypatch
):
    """Stopped between the save of a step and whatever would have come next, the run's very end included."""
    save = checkpoint.save_training_state

    def and_stop(folder, step, *rest, **options):
        save(folder, step, *rest, **options)
        if step == stop:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_training_state", and_stop)
        with pytest.raises(Stop):
            train(tmp_path, runtime=saving_always)
    seen = []
    train(tmp_path, progress=lambda done, *_: seen.append(done), runtime=saving_always)

    assert left(tmp_path) == uninterrupted
    assert seen == list(range(stop + 1, RECIPE.steps + 1))


def test_a_run_that_never_gets_far_still_ends_with_the_same_bytes(tmp_path, uninterrupted, saving_always):
    """Interrupted after every second step, over and over."""
    for _ in range(RECIPE.steps):
        seen = []

        def progress(done, *_, seen=seen):
            seen.append(done)
            if len(seen) == 2:
                raise Stop

        try:
            train(tmp_path, progress=progress, runtime=saving_always)
        except Stop:
            continue
        break
    else:
        pytest.fail("the run never ended")

    assert left(tmp_path) == uninterrupted


@pytest.mark.parametrize("left_over", [0, 7, 200, -1])
def test_a_state_that_was_cut_short_is_not_gone_on_from(tmp_path, uninterrupted, saving_always, left_over):
    """After a power cut in the middle of a save the run starts over, and ends with the same bytes."""

    def progress(done, *_):
        if done == 7:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=progress, runtime=saving_always)
    state = tmp_path / SCRATCH / checkpoint.TRAINING_STATE_FILE
    state.write_bytes(state.read_bytes()[:left_over])
    seen = []
    train(tmp_path, progress=lambda done, *_: seen.append(done), runtime=saving_always)

    assert left(tmp_path) == uninterrupted
    assert seen[0] == 1


def test_half_a_line_of_metrics_is_written_again(tmp_path, uninterrupted, saving_always):
    """A line that the killed process wrote only in part, or for steps that must be taken again, is replaced."""

    def progress(done, *_):
        if done == 7:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, progress=progress, runtime=saving_always)
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 9, "nats": 1.0}\n{"step": 7, "na')
    train(tmp_path, runtime=saving_always)

    assert left(tmp_path) == uninterrupted


@pytest.mark.parametrize("stop", [1, 3, 7, 12])
@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": "muon"},
        {"optimizer": "muon", "dtype": "bfloat16", "grad_accum_steps": 2},
        {"window": None, "grad_accum_steps": 3},
    ],
    ids=["muon", "muon in bfloat16, two parts", "texts apart, three parts"],
)
def test_a_run_of_another_recipe_ends_with_the_same_bytes_too(tmp_path, saving_always, stop, more):
    """Stopped at a log and run again, whatever the optimizer, the precision, the window and the parts."""
    recipe = replace(RECIPE, **more)

    def progress(done, *_):
        if done == stop:
            raise Stop

    train(tmp_path / "whole", recipe, precision=recipe.dtype)
    with pytest.raises(Stop):
        train(tmp_path / "parts", recipe, progress=progress, precision=recipe.dtype, runtime=saving_always)
    seen = []
    train(
        tmp_path / "parts",
        recipe,
        progress=lambda done, *_: seen.append(done),
        precision=recipe.dtype,
        runtime=saving_always,
    )

    assert left(tmp_path / "parts") == left(tmp_path / "whole")
    assert seen == list(range(stop, recipe.steps + 1))


@pytest.mark.parametrize("given_weight", [0.0, 0.3])
@pytest.mark.parametrize("window", [40, None])
def test_it_does_not_matter_in_how_many_parts_a_step_is_computed(tmp_path, window, given_weight):
    """One part, two or three: each step has the same loss, gradient and counted tokens, and weights end alike."""
    nets, lines = [], []
    for parts in (1, 2, 3):
        recipe = TrainingConfig(
            steps=8,
            batch_size=5,
            window=window,
            peak_lr=2e-3,
            warmup_steps=2,
            grad_accum_steps=parts,
            prompt_loss_weight=given_weight,
        )
        nets.append(train(tmp_path / str(parts), recipe, texts=uneven()))
        lines.append(metrics(tmp_path / str(parts)))

    for whole, *others in zip(*lines, strict=True):
        for other in others:
            assert other["counted"] == whole["counted"]
            assert other["nats"] == pytest.approx(whole["nats"], rel=1e-5)
            assert other["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-4)
    assert len({line["counted"] for line in lines[0]}) > 2, "parts must weigh differently, or the test says little"
    for other in nets[1:]:
        for one, two in zip(nets[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, atol=2e-5, rtol=0)


def test_what_is_given_is_learnt_by_its_weight(tmp_path):
    """All of it counts at weight 1, none at 0; in between the model learns of it, and less than of the rest."""
    texts = sentences()
    given = replace(texts, loss_mask=np.tile(np.arange(10) >= 5, 4))  # the first half of every sentence
    ends, logs = {}, {}
    for weight in (0.0, 0.1, 1.0):
        recipe = TrainingConfig(steps=40, batch_size=4, peak_lr=5e-3, warmup_steps=5, prompt_loss_weight=weight)
        net = train(tmp_path / str(weight), recipe, texts=given)
        logs[weight] = metrics(tmp_path / str(weight))
        with torch.no_grad():
            said = net(input_ids=torch.tensor([[END, *texts.text_tokens(0)[:4]]])).logits[0, 1:].log_softmax(-1)
        ends[weight] = -said[np.arange(4), texts.text_tokens(0)[1:5]].mean().item()
    train(tmp_path / "every", TrainingConfig(steps=40, batch_size=4, peak_lr=5e-3, warmup_steps=5), texts=texts)

    for one, other in zip(logs[1.0], metrics(tmp_path / "every"), strict=True):
        assert one["nats"] == pytest.approx(other["nats"], rel=1e-3)
        assert one["counted"] == other["counted"] == 40
    assert {line["counted"] for line in logs[0.0]} == {20}
    answers, every = 20 * logs[0.0][0]["nats"], 40 * logs[1.0][0]["nats"]  # before anything is learnt, all at once
    assert logs[0.1][0]["nats"] == pytest.approx((answers + 0.1 * (every - answers)) / (20 + 0.1 * 20), rel=1e-5)
    assert ends[1.0] < ends[0.1] - 0.1 < ends[0.0] - 1


def test_muon_learns_what_adamw_learns(tmp_path):
    """Four sentences are learnt by heart with Muon as well, and by another way."""
    losses = {}
    for optimizer in ("adamw", "muon"):
        recipe = TrainingConfig(steps=100, batch_size=4, peak_lr=5e-3, warmup_steps=5, optimizer=optimizer)
        train(tmp_path / optimizer, recipe)
        losses[optimizer] = [line["nats"] for line in metrics(tmp_path / optimizer)]

    assert max(curve[-1] for curve in losses.values()) < np.log(4) / 10 + 0.05
    assert losses["adamw"][0] == losses["muon"][0]
    assert losses["adamw"][10] != losses["muon"][10]


@pytest.mark.parametrize("stop", [1, 4, 5, 6, 9, 11])
def test_a_kill_costs_less_than_a_minute_however_long_a_line_of_metrics_takes(tmp_path, monkeypatch, stop):
    """A step takes 15 seconds and a line of metrics five steps: a killed run goes on from a step of the last minute.

    Checkpoints and metrics are those of an undisturbed run, though the state was saved between two lines.
    """
    monkeypatch.setattr(TrainingConfig, "log_every", property(lambda _: 5))
    train(tmp_path / "whole")
    now, taken = [0.0], []
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    batch_indices = EpochSampler.batch_indices

    def slowly(sampler, step):
        if step == stop and stop not in taken:
            taken.append(stop)
            raise Stop
        now[0] += 15.0
        taken.append(step)
        return batch_indices(sampler, step)

    monkeypatch.setattr(EpochSampler, "batch_indices", slowly)
    with pytest.raises(Stop):
        train(tmp_path / "parts")
    resumed_at = len(taken)
    train(tmp_path / "parts")

    assert (stop - taken[resumed_at]) * 15 < 60
    assert taken[resumed_at:] == list(range(taken[resumed_at], RECIPE.steps))
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


def test_saving_takes_little_time_by_default(tmp_path):
    """A run of a moment saves nothing for resuming, since that would cost more than it could save."""
    train(tmp_path)

    assert not (tmp_path / SCRATCH / checkpoint.TRAINING_STATE_FILE).exists()


def test_weights_are_kept_at_the_stated_steps(tmp_path):
    """At each of them once and in order, first the untouched weights of step 0, last the final ones."""
    steps = []
    net = train(tmp_path, kept=steps.append)
    first, last = (checkpoint.load_checkpoint(tmp_path / "checkpoints" / f"{step:07d}") for step in (0, RECIPE.steps))

    assert tuple(steps) == RECIPE.checkpoint_steps == (0, 3, 6, 12)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), model().parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), net.parameters(), strict=True))
    assert not torch.equal(first.get_input_embeddings().weight, last.get_input_embeddings().weight)


def test_metrics_tell_of_every_logged_step(tmp_path):
    """One line a step for a short run: loss, learning rate, gradient norm and the tokens that counted."""
    train(tmp_path)
    lines = metrics(tmp_path)

    assert [line["step"] for line in lines] == list(range(1, RECIPE.steps + 1))
    assert [line["lr"] for line in lines] == [RECIPE.lr(step) for step in range(RECIPE.steps)]
    assert all(line["counted"] == 30 for line in lines)
    assert all(line["gradient_norm"] > 0 for line in lines)


@pytest.mark.parametrize("harm", ["peak_lr", "weights"])
def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path, harm):
    """An absurd learning rate or a broken start ends in one sentence that says what to change, and keeps nothing."""
    recipe, net = RECIPE, model()
    if harm == "peak_lr":
        recipe = TrainingConfig(
            steps=12, batch_size=3, window=40, peak_lr=1e20, max_grad_norm=1e9, checkpoint_fractions=(1.0,)
        )
    else:
        recipe = TrainingConfig(steps=12, batch_size=3, window=40)
        with torch.no_grad():
            net.get_input_embeddings().weight[5] = float("nan")
    with pytest.raises(TrainingError, match=r"lower peak_lr \(it is .*or raise warmup_steps\.$") as told:
        train(tmp_path, recipe, net=net)

    assert "\n" not in str(told.value)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`")
@pytest.mark.filterwarnings("ignore:Input and output embeddings are no longer tied")
def test_adapters_are_trained_by_the_same_loop_and_resumed_as_well(tmp_path, saving_always):
    """The loss falls, only adapters move, and a stopped run ends with the weights of one that was not."""
    recipe = TrainingConfig(steps=40, batch_size=4, window=12, peak_lr=3e-2, warmup_steps=2)

    def run(folder, stop=None):
        adapted = adapters.add_lora(model(), 4, 8, 2.0, Seed(1))

        def progress(done, *_):
            if done == stop:
                raise Stop

        texts, net = sentences(), adapted.get_base_model()
        loop.train(
            net,
            texts,
            EpochSampler(4, 4, Seed(0)),
            recipe,
            eos_id=END,
            folder=folder,
            on_checkpoint=lambda _: None,
            on_progress=progress,
            runtime=saving_always,
        )
        return adapted

    whole = run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "parts", stop=23)
    parts = run(tmp_path / "parts")
    lines = metrics(tmp_path / "whole")

    assert lines[-1]["nats"] < lines[0]["nats"] - 0.3
    assert left(tmp_path / "parts") == left(tmp_path / "whole")
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other), name
    untouched = dict(model().named_parameters())
    for name, weight in whole.get_base_model().named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, untouched[name.replace(".base_layer", "")]), name


def test_bfloat16_activations_keep_float32_weights(tmp_path):
    """In bfloat16 the loss falls nearly as it does in float32, and what is kept is float32."""
    losses = {}
    for dtype in ("float32", "bfloat16"):
        recipe = TrainingConfig(steps=60, batch_size=4, window=12, peak_lr=5e-3, warmup_steps=5, dtype=dtype)
        net = train(tmp_path / dtype, recipe, precision=dtype)
        losses[dtype] = metrics(tmp_path / dtype)[-1]["nats"]
        assert {p.dtype for p in net.parameters()} == {torch.float32}

    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.1)
    assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", get_args(Family))
def test_gradient_checkpointing_changes_no_number(tmp_path, family, precision):
    """What is computed twice is computed alike: to the bit, where a gradient does not come from two places (T5)."""
    recipe = replace(RECIPE, steps=3, window=None)
    texts = sentences()
    if family == "t5":  # which reads the tokens without loss
        texts = replace(texts, loss_mask=np.arange(len(texts.tokens)) % 10 >= 4)
    masking = None
    if family == "modernbert":
        masking = WholeWordMasking(3, np.ones(VOCABULARY, dtype=bool), np.arange(4, VOCABULARY), Seed(0))
    for name, checkpointing in (("kept", False), ("again", True)):
        runtime = RuntimeConfig(gradient_checkpointing=checkpointing)
        net = model(family)
        train(tmp_path / name, recipe, net=net, texts=texts, precision=precision, runtime=runtime, masking=masking)
    kept, again = metrics(tmp_path / "kept"), metrics(tmp_path / "again")
    assert len(kept) == len(again) == 3
    for before, after in zip(kept, again, strict=True):
        rounding = {"float32": 1e-5, "bfloat16": 1e-2}[precision]
        assert after == (pytest.approx(before, rel=rounding) if family == "t5" else before)
