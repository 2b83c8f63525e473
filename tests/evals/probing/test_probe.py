"""A probe finds what was planted in the states, finds nothing where nothing was, and its controls say which it is."""

import math
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data import packing
from nosce.errors import DataError, SpecError
from nosce.evals.probing import probe as probes
from nosce.evals.probing.probe import (
    PROBE_SPLITS,
    UNKNOWN_LABEL,
    ProbeConfig,
    split_by_entity,
    train_probes,
)
from nosce.models.activations import collect_activations
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed

PEOPLE, WIDTH = 1_500, 16
LINEAR, SMALL = ProbeConfig(), ProbeConfig(hidden_layer_sizes=(32,))
NORMED = ProbeConfig(hidden_layer_sizes=(32, 16), batch_norm=True, peak_lr=0.02, decay_points=40, weight_decay=0.2)
SHAPES = pytest.mark.parametrize(
    "spec",
    [LINEAR, SMALL, ProbeConfig(hidden_layer_sizes=(32, 16)), NORMED],
    ids=["linear", "one", "two", "two with norms"],
)


def drawn(*name, people=PEOPLE, width=WIDTH):
    """One vector a person, as many directions as there are, none larger than another."""
    return (Seed(0) / "states" / "/".join(name)).numpy().normal(size=(people, width))


def turned(states):
    """The same states along other axes, in the precision of activations."""
    turn = np.linalg.qr(drawn("turn", people=states.shape[1], width=states.shape[1]))[0]
    return (states @ turn).astype(np.float32)


LATENT = drawn("latent")
STATES = turned(LATENT)
NAMES = np.array([f"person-{i}" for i in range(PEOPLE)])
SPLIT = split_by_entity(NAMES, Seed(0))
SIGN = (LATENT[:, 0] > 0).astype(int)
COIN = Seed(1).numpy().integers(2, size=PEOPLE)
on_people = partial(
    train_probes, entities=NAMES, splits=SPLIT, seed=Seed(0)
)  # one place a person, states and tasks to come


def one(states, labels, config=LINEAR, **more):
    """What became of a single task."""
    (found,) = on_people(states, {"task": labels}, config=config, **more)
    return found


def chance(n, share=0.5, deviations=3.5):
    """Where the share of right guesses may lie; the seeds are fixed, so that this is no matter of luck."""
    spread = deviations * math.sqrt(share * (1 - share) / n)
    return pytest.approx(share, abs=spread)


def several(people=300, each=5):
    """Whom each of several places is about, and their parts."""
    names = NAMES[:people].repeat(each)
    return names, split_by_entity(names, Seed(0))


# What is planted


@SHAPES
def test_a_planted_label_is_found(spec):
    """The sign of one direction, of which no axis knows, is told of people whom the probe has never met."""
    found = one(STATES, SIGN, spec, controls=False)

    assert found.accuracy > (0.98 if spec is LINEAR else 0.94)
    assert found.majority_correct.mean() == chance(300)
    assert (found.shuffled_correct, found.control_correct, found.selectivity) == (None, None, None)


@SHAPES
def test_a_label_that_is_not_there_ends_at_chance(spec):
    """A coin for each person is guessed as often as a coin is."""
    found = one(STATES, COIN, spec)

    assert found.accuracy == chance(300)
    assert found.shuffled_correct.mean() == chance(300)
    assert found.accuracy == pytest.approx(found.majority_correct.mean(), abs=0.1)


def test_where_labels_are_uneven_chance_is_the_best_constant():
    """A label that one in five has and nobody can see is answered by the other, as the constant does."""
    rare = (Seed(2).numpy().random(PEOPLE) < 0.2).astype(int)
    found = one(STATES, rare, controls=False)

    assert found.majority_correct.mean() == chance(300, 0.8)
    assert np.array_equal(found.majority_correct, rare[found.test_indices] == 0)
    assert found.accuracy == pytest.approx(found.majority_correct.mean(), abs=0.04)


def test_either_but_not_both_needs_a_hidden_layer():
    """The XOR of two directions is nothing to a linear probe, and all to one with hidden units."""
    gap = LATENT.copy()
    gap[:, :2] = np.sign(gap[:, :2]) + 0.2 * gap[:, :2]
    xor = ((gap[:, 0] > 0) ^ (gap[:, 1] > 0)).astype(int)
    linear, one_layer, two = (
        one(turned(gap), xor, spec, controls=False)
        for spec in (LINEAR, SMALL, ProbeConfig(hidden_layer_sizes=(32, 16)))
    )

    assert linear.accuracy == chance(300)
    assert min(one_layer.accuracy, two.accuracy) > 0.98


def test_the_linear_probe_is_a_logistic_regression():
    """On a noisy problem of three classes it is right as often as scikit-learn's, on the same split."""
    sklearn = pytest.importorskip("sklearn.linear_model")
    noisy = np.argmax(LATENT[:, :3] + drawn("noise")[:, :3], axis=1)
    uneven = turned(LATENT * np.logspace(0, 1, WIDTH))
    ours = one(uneven, noisy, controls=False)
    train, test = SPLIT == "train", SPLIT == "test"
    theirs = sklearn.LogisticRegression(max_iter=1_000).fit(uneven[train], noisy[train])

    assert 0.5 < ours.accuracy < 0.8, "where all are right or all are at chance nothing is compared"
    assert ours.accuracy == pytest.approx(theirs.score(uneven[test], noisy[test]), abs=0.02)


def test_states_may_come_from_disk(tmp_path):
    """Mapped activations are read as they are: at its first token a text's first token is told, its second is not."""
    tokens = [np.array([2 + i % 3, 5 + i % 7], dtype=np.int32) for i in range(90)]
    texts = packing.dataset_from_arrays((text, np.ones(2, dtype=bool)) for text in tokens)
    places = pl.DataFrame({"text": np.arange(90), "token": np.zeros(90, dtype=int)})
    net = build_model(
        Architecture(layers=1, width=32, heads=2, max_positions=8), vocab_size=12, eos_id=0, pad_id=1, seed=Seed(0)
    )
    states = collect_activations(net, texts, places, ["residual.1"], tmp_path, eos_id=0).load_site("residual.1")
    labels = {"first": np.arange(90) % 3, "second": np.arange(90) % 7}
    first, second = train_probes(
        states, labels, NAMES[:90], split_by_entity(NAMES[:90], Seed(0)), LINEAR, Seed(0), controls=False
    )

    assert isinstance(states, np.memmap)
    assert first.accuracy == 1
    assert second.accuracy < 0.5


# What is reported


def test_what_is_reported_belongs_to_the_test_places_in_their_order():
    """Places, and for each of them whether the probe and the constant were right."""
    found = one(STATES, SIGN, control_types=np.arange(PEOPLE) % 50)
    constant = np.bincount(SIGN[SPLIT == "train"]).argmax()

    assert found.task == "task"
    assert np.array_equal(found.test_indices, np.flatnonzero(SPLIT == "test"))
    assert np.array_equal(found.majority_correct, SIGN[found.test_indices] == constant)
    for hits in (found.correct, found.majority_correct, found.shuffled_correct, found.control_correct):
        assert (hits.dtype, hits.shape) == (bool, found.test_indices.shape)
    assert found.accuracy == found.correct.mean()
    assert found.selectivity == pytest.approx(found.accuracy - found.control_correct.mean())


def test_tasks_come_back_in_the_order_asked():
    """However many classes they have, and so whichever are trained in one product."""
    tasks = {"few": SIGN, "many": np.arange(PEOPLE) % 40, "some": np.arange(PEOPLE) % 5, "again": 1 - SIGN}
    found = on_people(STATES, tasks, config=ProbeConfig(max_epochs=3))

    assert [probed.task for probed in found] == list(tasks)
    assert found[0].accuracy > 0.85 < found[3].accuracy
    assert max(found[1].accuracy, found[2].accuracy) < 0.35


@pytest.mark.whole
@SHAPES
def test_equal_seeds_give_equal_results(spec):
    """To the byte, whatever else draws from torch's generator, which itself is left alone."""
    tasks = {"sign": SIGN, "coin": COIN, "many": np.arange(PEOPLE) % 7}

    def run(seed):
        found = on_people(STATES, tasks, config=spec, seed=Seed(seed), control_types=np.arange(PEOPLE) % 50)
        return [
            (p.correct.tobytes(), p.shuffled_correct.tobytes(), p.control_correct.tobytes(), p.best_epoch)
            for p in found
        ]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = run(0)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        again, other = run(0), run(1)

    assert first == again != other


# Controls


def test_shuffled_is_at_chance_where_the_task_is_perfect():
    """Of 24 tasks of which each is told perfectly, those learnt with dealt labels end at one half on average."""
    directions = drawn("directions", people=WIDTH, width=24)
    labels = {str(k): (LATENT @ directions[:, k] > 0).astype(int) for k in range(24)}
    found = on_people(STATES, labels, config=LINEAR)

    assert min(probed.accuracy for probed in found) > 0.94
    # One draw differs from another by more than 300 coins do: a direction learnt from noise is a bit like the true one.
    assert np.mean([probed.shuffled_correct.mean() for probed in found]) == pytest.approx(0.5, abs=0.06)
    assert max(probed.shuffled_correct.mean() for probed in found) < 0.8


def test_labels_are_dealt_among_people_of_a_part():
    """Each gets another's labels, in any order and from the start again if they are too few; test keeps the truth."""
    names = np.array(["a", "b", "a", "c", "b", "d", "e", "a", "e", "f", "g", "h"])
    parts = np.array(["train"] * 5 + ["validation"] + ["train"] * 3 + ["test", "test", "validation"])
    labels = np.array([10, 20, 11, 30, 21, 40, 50, 12, 51, 60, 70, 80])
    theirs = {name: labels[names == name].tolist() for name in "abce"}
    dealings = set()
    for number in range(20):
        dealt = probes._shuffled_labels(labels, names, parts, Seed(number))
        assert sorted(dealt[parts == "validation"]) == [40, 80]
        assert dealt[parts == "test"].tolist() == [60, 70]
        givers = {}
        for taker in "abce":
            got = dealt[names == taker]
            (givers[taker],) = [g for g, given in theirs.items() if set(got.tolist()) <= set(given)]
            assert len(set(got.tolist())) == min(len(got), len(theirs[givers[taker]]))
        assert sorted(givers.values()) == list("abce")
        dealings.add((*givers.values(), dealt[5]))

    assert len(dealings) > 10
    assert {dealing[-1] for dealing in dealings} == {40, 80}
    assert labels.tolist() == [10, 20, 11, 30, 21, 40, 50, 12, 51, 60, 70, 80]


def test_shuffled_is_at_chance_with_several_places_a_person():
    """All five places of a person have the person's label and states much alike; nothing leaks from part to part."""
    names, parts = several()
    people = drawn("people", people=300)
    states = turned(people.repeat(5, axis=0) + 0.3 * drawn("places"))
    labels = {str(k): (people[:, k] > 0).astype(int).repeat(5) for k in range(12)}
    found = train_probes(states, labels, names, parts, LINEAR, Seed(0))

    assert np.mean([probed.accuracy for probed in found]) > 0.85
    assert np.mean([probed.shuffled_correct.mean() for probed in found]) == pytest.approx(0.5, abs=0.06)


def test_shuffled_is_at_chance_where_a_label_is_a_matter_of_its_place():
    """What every person has at the first place and nobody at the second is dealt out anew too."""
    names, parts = several()
    kinds = np.tile(np.arange(5), 300)
    states = turned(2 * drawn("kinds", people=5)[kinds] + 0.3 * drawn("places"))
    (found,) = train_probes(states, {"odd": kinds % 2}, names, parts, LINEAR, Seed(0))
    assert found.accuracy > 0.98

    assert found.shuffled_correct.mean() < 0.8


def of_kinds(count=40):
    """Places of forty kinds which their states show; what they are about is nobody's."""
    kinds = Seed(3).numpy().integers(count, size=PEOPLE)
    return kinds, turned(np.eye(count)[kinds] + 0.02 * drawn("places", width=count))


def test_what_kinds_tell_has_no_selectivity():
    """A label that goes with the kind alone, and a random one for each kind, are told as well: both perfectly."""
    kinds, states = of_kinds()
    found = one(states, kinds % 2, control_types=kinds)

    assert found.accuracy > 0.98
    assert found.control_correct.mean() > 0.98
    assert found.selectivity == pytest.approx(0, abs=0.02)


def test_what_states_tell_and_kinds_do_not_is_selective():
    """Where states say nothing of the kind the control task cannot be learnt, and the planted one is."""
    kinds = Seed(4).numpy().integers(200, size=PEOPLE)
    found = one(STATES, SIGN, control_types=kinds)

    assert found.accuracy > 0.98
    assert found.control_correct.mean() == chance(300)
    assert found.selectivity > 0.4


def test_a_coin_has_no_selectivity_where_kinds_can_be_memorised():
    """Worse than memory: a probe that can tell kinds apart has learnt nothing of a coin."""
    kinds, states = of_kinds()
    found = one(states, COIN, control_types=kinds)

    assert found.accuracy == chance(300)
    assert found.selectivity < -0.4


def test_a_kinds_label_is_one_of_the_tasks_own():
    """One for all places of a kind, drawn as often as it occurs in training; what is unknown stays so."""
    kinds = Seed(5).numpy().integers(2_000, size=PEOPLE)
    labels = np.where(np.arange(PEOPLE) % 10 == 0, UNKNOWN_LABEL, np.where(np.arange(PEOPLE) % 4 == 1, 7, 3))
    drawn = probes._control_task(labels, kinds, SPLIT, Seed(0))

    assert np.array_equal(drawn == UNKNOWN_LABEL, labels == UNKNOWN_LABEL)
    assert set(drawn[drawn != UNKNOWN_LABEL]) == {3, 7}
    there = labels != UNKNOWN_LABEL
    by_kind = {}
    assert all(by_kind.setdefault(kind, label) == label for kind, label in zip(kinds[there], drawn[there], strict=True))
    known = labels[there & (SPLIT == "train")]
    assert np.mean([label == 7 for label in by_kind.values()]) == chance(len(by_kind), np.mean(known == 7))


def test_kinds_may_be_words():
    """Whatever can be told equal: the tokens themselves, for one."""
    kinds, states = of_kinds()
    numbers = one(states, kinds % 2, control_types=kinds)
    words = one(states, kinds % 2, control_types=np.array([f"word {kind:02d}" for kind in kinds]))

    assert np.array_equal(numbers.control_correct, words.control_correct)


# Unknown labels


@SHAPES
def test_unknown_labels_are_left_out(spec):
    """Most are missing: what those places' states hold changes nothing, and they are not tested."""
    unknown = Seed(6).numpy().random(PEOPLE) < 0.6
    labels = np.where(unknown, UNKNOWN_LABEL, SIGN)
    found = one(STATES, labels, spec, controls=False)
    mixed = np.arange(PEOPLE)
    for part in PROBE_SPLITS:  # among themselves, so that the training places vary as before
        mine = np.flatnonzero(unknown & (part == SPLIT))
        mixed[mine] = Seed(7).numpy().permutation(mine)
    other = one(STATES[mixed], labels, spec, controls=False)

    assert np.array_equal(found.test_indices, np.flatnonzero((SPLIT == "test") & ~unknown))
    assert found.accuracy > 0.9
    assert np.mean(found.correct == other.correct) > 0.99
    assert found.best_epoch == other.best_epoch


def test_the_loss_is_a_mean_over_labelled_places():
    """By hand: of each task its own places alone, none of them where nothing is known."""
    targets = np.array(
        [
            [0, 2, UNKNOWN_LABEL],
            [1, UNKNOWN_LABEL, UNKNOWN_LABEL],
            [1, 1, UNKNOWN_LABEL],
            [0, UNKNOWN_LABEL, UNKNOWN_LABEL],
        ]
    )
    (stack,) = probes._build_stacks(WIDTH, np.array([3, 3, 3]), SMALL, Seed(0))
    inputs, rows = torch.from_numpy(STATES[:4]), torch.tensor([0, 2, 3])
    with torch.no_grad():
        log = stack(inputs).log_softmax(-1)
        nats = probes._nats(stack, inputs, torch.from_numpy(targets), rows)

    expected = [-(log[0, 0, 0] + log[2, 0, 1] + log[3, 0, 0]) / 3, -(log[0, 1, 2] + log[2, 1, 1]) / 2, 0.0]
    assert nats.tolist() == pytest.approx([float(x) for x in expected], rel=1e-5)


def test_unknown_labels_are_left_out_of_the_controls():
    """The constant is the most frequent known label, and the controls are tested at the same places."""
    labels = np.where(np.arange(PEOPLE) % 10 < 7, UNKNOWN_LABEL, SIGN)
    found = one(STATES, labels, control_types=np.arange(PEOPLE) % 50)
    constant = np.bincount(SIGN[(labels != UNKNOWN_LABEL) & (SPLIT == "train")]).argmax()

    assert (labels[found.test_indices] != UNKNOWN_LABEL).all()
    assert np.array_equal(found.majority_correct, SIGN[found.test_indices] == constant)
    assert (
        found.correct.shape == found.shuffled_correct.shape == found.control_correct.shape == found.test_indices.shape
    )
    assert found.accuracy > 0.9


def test_what_one_task_does_not_know_another_may():
    """Two tasks that share no labelled place are trained side by side as if each were alone."""
    even = np.arange(PEOPLE) % 2 == 0
    tasks = {"even": np.where(even, SIGN, UNKNOWN_LABEL), "odd": np.where(even, UNKNOWN_LABEL, 1 - SIGN)}
    together = on_people(STATES, tasks, config=LINEAR, controls=False)

    assert not set(together[0].test_indices) & set(together[1].test_indices)
    assert sorted([*together[0].test_indices, *together[1].test_indices]) == np.flatnonzero(SPLIT == "test").tolist()
    assert min(probed.accuracy for probed in together) > 0.95


# Training together


def many_tasks():
    """Two, three and forty classes, all of them planted."""
    centres = drawn("centres", people=40)
    many = Seed(8).numpy().integers(40, size=PEOPLE)
    states = 2.5 * centres[many] + LATENT
    return turned(states), {"two": (states[:, 0] > 0).astype(int), "many": many, "three": states[:, :3].argmax(1)}


def test_tasks_trained_together_are_as_good_as_alone():
    """Linear probes begin at zero and share nothing: the same answers, controls or not."""
    states, tasks = many_tasks()
    together = on_people(states, tasks, config=LINEAR, controls=False)
    controlled = on_people(states, tasks, config=LINEAR)
    for found, more in zip(together, controlled, strict=True):
        alone = one(states, tasks[found.task], controls=False)
        assert found.accuracy > found.majority_correct.mean() + 0.3
        assert np.mean(found.correct == alone.correct) > 0.99
        assert np.mean(found.correct == more.correct) > 0.99


def test_hidden_layers_trained_together_are_as_good_as_alone():
    """Their first weights are other draws: the same accuracy within noise, however unlike the numbers of classes."""
    states, tasks = many_tasks()
    for found in on_people(states, tasks, config=SMALL, controls=False):
        alone = one(states, tasks[found.task], SMALL, controls=False)
        assert found.accuracy > found.majority_correct.mean() + 0.3
        assert found.accuracy == pytest.approx(alone.accuracy, abs=0.05)


@pytest.mark.parametrize("spec", [LINEAR, SMALL], ids=["linear", "one"])
def test_no_probe_chooses_a_class_its_task_has_not(spec):
    """Tasks of four and five classes share a product, in which the smaller one's fifth answer is never given."""
    labels = np.stack([np.arange(PEOPLE) % 4, np.arange(PEOPLE) % 5])
    assert len(probes._build_stacks(WIDTH, labels.max(1) + 1, spec, Seed(0))) == 1
    heard, _ = probes.fit_probes(
        STATES, labels, SPLIT, ProbeConfig(hidden_layer_sizes=spec.hidden_layer_sizes, max_epochs=1), Seed(0)
    )

    assert [sorted(set(row)) for row in heard.predictions.tolist()] == [list(range(4)), list(range(5))]


def test_products_waste_a_third_at_most():
    """Every probe is in one stack, with none that has less than two thirds of the classes of the largest."""
    classes = Seed(9).numpy().integers(2, 200, size=60)
    stacks = probes._build_stacks(WIDTH, classes, LINEAR, Seed(0))

    assert sorted(np.concatenate([stack.members for stack in stacks])) == list(range(60))
    for stack in stacks:
        assert 1.5 * classes[stack.members].min() >= classes[stack.members].max()


@pytest.mark.parametrize("hidden", [(), (8,), (8, 4)])
def test_each_probe_keeps_its_own_best_epoch(hidden, monkeypatch):
    """Told which validation losses they have, two probes keep the weights of epochs two and four, and stop at six."""
    curves = [[3, 1, 2, 2, 2, 2, 0], [3, 2.5, 2.6, 1, 1, 1, 0]]
    measured, choices = probes._nats, []

    def told(stack, inputs, targets, rows):
        if torch.is_grad_enabled():
            return measured(stack, inputs, targets, rows)
        assert np.array_equal(rows.numpy(), np.flatnonzero(SPLIT == "validation"))
        choices.append(stack(inputs).argmax(-1).numpy())
        return torch.tensor([curve[len(choices) - 1] for curve in curves])

    monkeypatch.setattr(probes, "_nats", told)
    tasks = {"one": COIN, "other": 1 - np.roll(COIN, 1)}
    config = ProbeConfig(hidden_layer_sizes=hidden, patience=2, max_epochs=20)
    found = on_people(STATES, tasks, config=config, controls=False)

    assert len(choices) == 6
    assert [probed.best_epoch for probed in found] == [2, 4]
    for number, probed in enumerate(found):
        right = [choice[probed.test_indices, number] == tasks[probed.task][probed.test_indices] for choice in choices]
        assert np.array_equal(probed.correct, right[probed.best_epoch - 1])
        assert not any(
            np.array_equal(right[k], right[probed.best_epoch - 1]) for k in range(6) if k != probed.best_epoch - 1
        )


def test_training_stops_where_nothing_gets_better():
    """What can only be memorised has its best epoch early, what can be learnt goes on to the last."""
    coin, sign = (one(STATES, labels, controls=False).best_epoch for labels in (COIN, SIGN))

    assert coin < sign <= LINEAR.max_epochs


def test_test_places_are_not_learnt_from():
    """With all test labels and states exchanged, the same is answered at all other places."""
    test = SPLIT == "test"
    config = ProbeConfig(max_epochs=4)
    heard, epochs = probes.fit_probes(STATES, SIGN[None], SPLIT, config, Seed(0))
    states, labels = np.where(test[:, None], 100 * STATES[::-1], STATES), np.where(test, 1 - SIGN, SIGN)
    other, others = probes.fit_probes(states, labels[None], SPLIT, config, Seed(0))

    assert np.array_equal(heard.predictions[:, ~test], other.predictions[:, ~test])
    assert np.array_equal(heard.confidence[:, ~test], other.confidence[:, ~test])
    assert np.array_equal(epochs, others)


# Whitening


def stretched(by):
    """One direction made larger, and everything far from zero: as residual streams are."""
    states = LATENT.copy()
    states[:, 3] *= by
    return turned(states) + np.float32(by)


@pytest.mark.parametrize(
    "by",
    [
        1e-3,
        1e2,
        1e3,
        1e4,
    ],
)
def test_one_large_direction_changes_nothing_much(by):
    """A direction that varies far more or less than the others, and an offset, cost a linear probe next to nothing."""
    plain, large = (one(states, SIGN, controls=False) for states in (STATES, stretched(by)))

    assert large.accuracy == pytest.approx(plain.accuracy, abs=0.02)


def test_white_states_vary_alike_in_all_directions():
    """Over the training places alone: mean nought, variance one, nothing in common."""
    train = np.flatnonzero(SPLIT == "train")
    states = turned(LATENT * np.logspace(0, 1.5, WIDTH)) + 5
    white = probes._whiten(states, train)[train].astype(float)

    assert probes._whiten(states, train).dtype == np.float32
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(white.T @ white / len(train), np.eye(WIDTH), atol=2e-3)


def test_directions_that_do_not_vary_are_not_blown_up():
    """From constant states a probe learns the best constant; copies of a direction do not disturb what is there."""
    flat = one(np.full((PEOPLE, WIDTH), 0.1, dtype=np.float32), (LATENT[:, 0] > 1).astype(int), controls=False)
    twice = np.concatenate([STATES, STATES, np.ones((PEOPLE, 3), dtype=np.float32)], axis=1)

    assert np.array_equal(flat.correct, flat.majority_correct)
    assert np.isfinite(probes._whiten(twice, np.flatnonzero(SPLIT == "train"))).all()
    assert one(twice, SIGN, controls=False).accuracy > 0.96


# Splitting


def test_a_split_never_divides_an_entity():
    """All places of a person are in one part, however many there are."""
    names = NAMES[Seed(0).numpy().integers(100, size=2_000)]
    parts = split_by_entity(names, Seed(0))

    assert set(parts) == set(PROBE_SPLITS)
    assert all(len(set(parts[names == name])) == 1 for name in set(names))


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.25, 0.5), (0.01, 0.01), (0.3, 0.69)])
def test_a_split_has_the_shares_asked_for(validation, test):
    """Counted in people, not in places."""
    names = NAMES[:400].repeat(Seed(0).numpy().integers(1, 9, size=400))
    parts = split_by_entity(names, Seed(0), validation=validation, test=test)
    people = {part: len(set(names[parts == part])) for part in PROBE_SPLITS}

    assert people["validation"] == round(400 * validation)
    assert people["test"] == round(400 * test)
    assert sum(people.values()) == 400


def test_a_split_depends_on_names_and_seed_alone():
    """Not on how often or in what order they come; another seed tests others."""
    parts = dict(zip(NAMES, SPLIT, strict=True))
    order = Seed(1).numpy().integers(PEOPLE, size=4 * PEOPLE)
    again = [*NAMES[order], *NAMES]

    assert split_by_entity(again, Seed(0)).tolist() == [parts[name] for name in again]
    assert np.mean(split_by_entity(NAMES, Seed(1)) == SPLIT) < 0.7


@pytest.mark.parametrize(
    ("people", "shares"),
    [
        (0, {}),
        (1, {}),
        (4, {}),
        (10, {"validation": 0.0}),
        (10, {"test": 0.0}),
        (10, {"test": 0.9}),
        (10, {"test": -1}),
    ],
)
def test_a_split_that_leaves_a_part_empty_is_refused(people, shares):
    """The sentence says how many there are and what was asked."""
    with pytest.raises(SpecError, match=rf"^{people} entities cannot be split into \d+%, -?\d+% and a rest\.$"):
        split_by_entity(NAMES[:people].repeat(3), Seed(0), **shares)


# What is refused


def known_to_the_probe():
    """Names of which one is both trained on and tested, and this one."""
    names = NAMES.copy()
    trained, tested = (np.flatnonzero(part == SPLIT)[0] for part in ("train", "test"))
    names[tested] = names[trained]
    return names, names[trained]


def test_an_entity_in_two_parts_is_refused():
    """The sentence names who would be tested by a probe that knows them."""
    names, both = known_to_the_probe()
    with pytest.raises(DataError, match=rf"{both}.* is in two splits, .*; split by entity\.$"):
        train_probes(STATES, {"task": SIGN}, names, SPLIT, LINEAR, Seed(0))


def test_an_entity_in_two_parts_is_called_by_its_name():
    """And not by what numpy makes of it."""
    names, both = known_to_the_probe()
    with pytest.raises(DataError, match=rf"^'{both}' is in two splits"):
        train_probes(STATES, {"task": SIGN}, names, SPLIT, LINEAR, Seed(0))


def test_an_unknown_part_is_refused():
    """Parts have three names."""
    parts = np.where(SPLIT == "validation", "dev", SPLIT)
    with pytest.raises(DataError, match=r"the splits \['dev'\]; name them train, validation, test"):
        on_people(STATES, {"task": SIGN}, config=LINEAR, splits=parts)


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ({"test"}, "has 2 classes to train on, 2 to validate and 0 to test"),
        ({"validation"}, "has 2 classes to train on, 0 to validate and 2 to test"),
        ({"train"}, "has 0 classes to train on"),
        ({*PROBE_SPLITS}, "has 0 classes to train on, 0 to validate and 0 to test"),
    ],
)
@pytest.mark.parametrize("how", ["labels", "places"])
def test_a_task_without_labels_in_a_part_is_refused(without, said, how):
    """Nobody there, or nobody whose label is known: the sentence names the task and counts what is there."""
    gone = np.isin(SPLIT, list(without))
    if how == "places" and len(without) == 1:
        one_of = partial(train_probes, STATES[~gone], {"fine": SIGN[~gone]}, NAMES[~gone], SPLIT[~gone])
    else:
        one_of = partial(
            train_probes, STATES, {"coin": COIN, "fine": np.where(gone, UNKNOWN_LABEL, SIGN)}, NAMES, SPLIT
        )
    with pytest.raises(DataError, match=f"task 'fine' {said}.*it needs two, one and one"):
        one_of(LINEAR, Seed(0))


def test_a_task_of_one_class_is_refused():
    """Where all who are trained on have the same label there is nothing to learn."""
    labels = np.where(SPLIT == "train", 0, SIGN)
    with pytest.raises(DataError, match="task 'task' has 1 classes to train on"):
        one(STATES, labels)


@pytest.mark.parametrize("hidden", [(0,), (-1,), (8, 0), (8, 8, 8)])
def test_a_probe_of_an_impossible_shape_is_refused(hidden):
    """None, one or two hidden layers of at least one unit."""
    with pytest.raises(
        SpecError, match=r"ProbeConfig\.hidden_layer_sizes=.* is not none, one or two widths of 1 or more"
    ):
        ProbeConfig(hidden_layer_sizes=hidden)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"max_epochs": 0}, {"patience": 0}, {"peak_lr": 0.0}, {"peak_lr": -1.0}, {"peak_lr": math.nan}],
)
def test_an_impossible_training_is_refused(wrong):
    """Before anything is read."""
    with pytest.raises(SpecError, match="wants a positive learning rate, and batch, epochs and patience of 1 or more"):
        ProbeConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"weight_decay": -0.1}, {"weight_decay": math.nan}, {"peak_lr": math.inf}])
def test_other_impossible_trainings_are_refused_too(wrong):
    """A negative decay is refused by torch in the middle of a study, without a sentence; the others train nothing."""
    with pytest.raises(SpecError):
        ProbeConfig(**wrong)


def test_the_learning_rate_is_the_shapes_own_unless_given():
    """Four times smaller with hidden layers."""
    assert (ProbeConfig().lr, ProbeConfig(hidden_layer_sizes=(8,)).lr) == (0.02, 0.005)
    assert (ProbeConfig(peak_lr=0.1).lr, ProbeConfig(hidden_layer_sizes=(8,), peak_lr=0.1).lr) == (0.1, 0.1)


@pytest.mark.parametrize("part", PROBE_SPLITS)
def test_states_that_are_not_finite_are_refused(part):
    """Unreadable is not wrong: in validation and test silently scored, in training numpy's error without a sentence."""
    states = STATES.copy()
    states[np.flatnonzero(part == SPLIT)[0], 3] = np.nan
    with pytest.raises(DataError):
        one(states, SIGN, ProbeConfig(max_epochs=1), controls=False)


def test_more_states_than_places_are_refused():
    """Two tables that do not belong together are a mistake, also where the longer one could be cut."""
    with pytest.raises(DataError):
        one(np.concatenate([STATES[:7], STATES]), SIGN, ProbeConfig(max_epochs=1), controls=False)


def test_no_task_at_all_is_refused():
    """Or gives no result; but not numpy's error."""
    with pytest.raises(DataError):
        on_people(STATES, {}, config=LINEAR)


def test_a_probe_says_how_sure_it_is():
    """The probability of its first choice: high where the label is planted, about chance where there is nothing."""
    rng = np.random.default_rng(14)
    people, labels = np.array([f"p{n}" for n in range(800)]), rng.integers(4, size=800)
    states = rng.normal(size=(800, 8)).astype(np.float32)
    parts = split_by_entity(people, Seed(2) / "sure")
    [none] = train_probes(states, {"x": labels}, people, parts, ProbeConfig(max_epochs=5), Seed(2), controls=False)
    states[:, :4] += 8 * np.eye(4, dtype=np.float32)[labels]
    [sure] = train_probes(states, {"x": labels}, people, parts, ProbeConfig(max_epochs=20), Seed(2), controls=False)
    assert sure.confidence.mean() > 0.8 > 0.5 > none.confidence.mean() > 0.25
    assert np.array_equal(sure.correct, sure.predictions == labels[sure.test_indices])


def test_norms_are_batch_norms_of_each_probe():
    """In training by the batch, in prediction by what was seen; the same numbers as torch's, probe by probe."""
    ours = probes._ProbeNorm(2, 5)
    theirs = [torch.nn.BatchNorm1d(5) for _ in range(2)]
    for number in range(3):
        states = torch.from_numpy(drawn(f"norm {number}", people=14, width=5).astype(np.float32)).view(2, 7, 5)
        heard = torch.stack([norm(part) for norm, part in zip(theirs, states, strict=True)])
        torch.testing.assert_close(ours(states, torch.ones(7, 2, dtype=bool)), heard)
    for norm in theirs:
        norm.running_var *= 6 / 7  # torch corrects its running variance for the batch's size
    unbiased_first = 0.9**3  # the share of the first value, which has no correction
    for norm in theirs:
        norm.running_var += unbiased_first * (1 - 6 / 7)
        norm.eval()
    with torch.no_grad():
        heard = torch.stack([norm(part) for norm, part in zip(theirs, states, strict=True)])
        torch.testing.assert_close(ours(states, torch.ones(7, 2, dtype=bool)), heard)


def test_the_norms_of_the_best_epoch_are_kept_with_its_weights():
    """Weights of one epoch with the statistics of another would be no probe at all."""
    found = one(STATES, SIGN, ProbeConfig(**{**vars(NORMED), "max_epochs": 30}))
    assert found.accuracy > 0.9
    stack = probes._build_stacks(WIDTH, np.array([2]), NORMED, Seed(0))[0]
    best = [tensor.clone() for tensor in stack.tensors()]
    for tensor in stack.tensors():
        tensor.data.add_(1)
    stack.copy_weights_into(best, torch.tensor([True]))
    assert all(torch.equal(kept, now) for kept, now in zip(best, stack.tensors(), strict=True))
    assert len(best) == 6 + 8  # three matrices with biases; two norms of scale, shift, mean and variance


def test_a_rate_that_falls_by_a_twentieth_at_points():
    """0.02 times 0.95 at each of 150 points, and linearly where no points are named."""
    stepwise = ProbeConfig(peak_lr=0.02, decay_points=150)
    assert stepwise.lr_at(0) == stepwise.lr_at(0.9 / 150) == 0.02
    assert stepwise.lr_at(1.01 / 150) == pytest.approx(0.019)
    assert stepwise.lr_at(0.5) == pytest.approx(0.02 * 0.95**75)
    assert ProbeConfig(peak_lr=0.02).lr_at(0.25) == pytest.approx(0.015)


def test_with_norms_only_matrices_decay():
    """Biases and norms have no decay, as in the released code."""
    stacks = probes._build_stacks(WIDTH, np.array([2, 3]), NORMED, Seed(0))
    decayed, kept = probes._optimizer(stacks, NORMED).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.2, 0.0)
    assert {p.shape[-2] for p in decayed["params"]} == {WIDTH, 32, 16}
    assert all(1 in p.shape for p in kept["params"])
