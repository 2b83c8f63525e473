"""The mirage test on truths that were planted, on published numbers, and on too little."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.scores import ContinuousOutcomes, CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.simulation import (
    ALLOWED_VERDICTS,
    EXPECTED_VERDICTS,
    GROUND_TRUTHS,
    simulate_outcomes,
)
from nosce.analysis.emergence.test import independent_counts, mirage_test, mirage_test_series, mirage_verdict
from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

PYTHIA, TEXTS = Path(__file__).parents[2] / "fixtures" / "pythia_lambada.csv", 5_153


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("truth", GROUND_TRUTHS)
def test_a_planted_truth_is_never_mistaken_for_another(truth, number):
    """It may abstain; benchmarks/mirage.py says how often."""
    scores = simulate_outcomes(truth, sizes=8, items=600, seeds=3, seed=Seed(100 + number))
    found = mirage_test(scores, Seed(0), resamples=300)
    assert found.verdict in (*ALLOWED_VERDICTS[truth], "under-resolved"), (found.verdict, found.frequencies)
    assert sum(found.frequencies.values()) == pytest.approx(1)


@pytest.mark.parametrize("truth", GROUND_TRUTHS)
def test_each_of_nine_truths_gets_its_verdict(truth):
    """Nine of nine: the commonest verdict of five worlds of laws that jump, eight sizes and 1,000 items."""
    seeds = 5 if truth == "seed mixture" else 1
    found = Counter(
        mirage_verdict(
            simulate_outcomes(truth, sizes=8, items=1_000, seeds=seeds, seed=Seed(number), exponents=(1.0, 1.4)),
            Seed(0),
            resamples=100,
        )
        for number in range(3_000, 3_005)
    )
    assert found.most_common(1)[0][0] == EXPECTED_VERDICTS[truth], found


@pytest.mark.parametrize("items", [1_000, 10_000])
def test_five_sizes_do_not_take_a_break_for_the_metric_s(items):
    """With many items a break beside a size looks explained by the metric; with five sizes that is never said."""
    worlds = [
        simulate_outcomes("planted break", sizes=5, items=items, seeds=1, seed=Seed(n)) for n in range(1_000, 1_020)
    ]
    assert "metric" not in {mirage_verdict(world, Seed(0), resamples=100) for world in worlds}
    law = simulate_outcomes("power law", sizes=5, items=1_000, seeds=1, seed=Seed(1_000), exponents=(1.0, 1.4))
    assert "at least 6" in mirage_test(law, Seed(0), resamples=200).why


@pytest.mark.whole
def test_the_verdict_alone_is_that_of_the_whole_test():
    """For items, for counts, and for too few sizes."""
    world = simulate_outcomes("planted break", sizes=8, items=300, seeds=1, seed=Seed(8))
    counts = CountOutcomes(world.sizes, *world.counts, continuous=world.means()[1])
    few = simulate_outcomes("power law", sizes=4, items=100, seeds=1, seed=Seed(2))
    for scores in (world, counts, few):
        assert mirage_verdict(scores, Seed(1), resamples=200) == mirage_test(scores, Seed(1), resamples=200).verdict


def test_the_metric_is_found_out_and_a_break_stays():
    """The two truths that matter, said as such."""
    smooth = [
        mirage_test(simulate_outcomes("power law", sizes=8, items=1_000, seeds=1, seed=Seed(n)), Seed(0), resamples=300)
        for n in range(5)
    ]
    broken = [
        mirage_test(
            simulate_outcomes("planted break", sizes=8, items=1_000, seeds=1, seed=Seed(n)), Seed(0), resamples=300
        )
        for n in range(5)
    ]
    assert sum(one.verdict == "metric" for one in smooth) >= 3
    assert sum(one.verdict == "break" for one in broken) >= 3
    assert all(max(map(abs, one.product_residual)) < 0.06 for one in smooth)


def test_too_little_is_said_to_be_too_little():
    """Four sizes of a hundred items decide nothing."""
    found = mirage_test(
        simulate_outcomes("power law", sizes=4, items=100, seeds=1, seed=Seed(2)), Seed(0), resamples=300
    )
    assert found.verdict == "under-resolved"
    assert "4 sizes are too few" in found.why
    assert found.detection_limit == pytest.approx(0.0362, abs=1e-4)  # the sheet, section 2a


def test_the_same_answers_again_are_no_further_answers():
    """Five epochs of equal answers are worth one; five trainings that answer as coins do are worth five."""
    rng = np.random.default_rng(0)
    sizes, shares = 10.0 ** np.arange(6), np.linspace(0.1, 0.9, 6)[None, :, None]
    once = (rng.random((1, 6, 200)) < shares).astype(float)
    again = ItemOutcomes(sizes, np.repeat(once, 5, axis=0), None)
    right, asked = independent_counts(again)
    assert asked.tolist() == [200] * 6
    assert right.tolist() == once.sum(2)[0].tolist()
    coins = ItemOutcomes(sizes, (rng.random((5, 6, 200)) < shares).astype(float), None)
    assert 800 < independent_counts(coins)[1].mean() <= 1_000
    one, five = (mirage_test(scores, Seed(0), resamples=50) for scores in (ItemOutcomes(sizes, once, None), again))
    assert one.p_linear == five.p_linear
    nothing = ItemOutcomes(sizes, np.zeros((5, 6, 100)), None)
    assert mirage_test(nothing, Seed(0), resamples=50).detection_limit == pytest.approx(0.0362, abs=1e-4)


def test_a_handful_of_answers_is_no_jump():
    """None of five right, then all of five: no resampling differs, and nothing is known."""
    right, asked = np.array([[0, 0, 0, 0, 5, 5, 5, 5]]), np.full((1, 8), 5)
    few = CountOutcomes(10.0 ** np.arange(8), right, asked, continuous=None)
    found = mirage_test(few, Seed(0), resamples=100)
    assert (found.verdict, found.why) == (
        "under-resolved",
        "5 answers at a size are too few to see a rise; at least 10",
    )
    assert mirage_verdict(few, Seed(0), resamples=100) == "under-resolved"
    enough = CountOutcomes(few.sizes, 10 * right, 10 * asked, continuous=None)
    assert "jump" in mirage_test(enough, Seed(0), resamples=100).why


def test_shuffled_scores_do_not_explain_a_jump():
    """The same numbers, dealt to other sizes item by item: no link holds."""
    scores = simulate_outcomes("power law", sizes=8, items=800, seeds=1, seed=Seed(3))
    dealt = Seed(4).numpy().permuted(scores.continuous, axis=1)
    found = mirage_test(ItemOutcomes(sizes=scores.sizes, sharp=scores.sharp, continuous=dealt), Seed(0), resamples=300)
    assert found.verdict != "metric"
    assert max(map(abs, found.residual)) > 0.3


def test_equal_seeds_give_equal_audits_and_items_may_come_in_any_order():
    """The verdict is of the table, not of its order."""
    scores = simulate_outcomes("dependent steps", sizes=8, items=500, seeds=1, seed=Seed(5))
    assert mirage_test(scores, Seed(1), resamples=200) == mirage_test(scores, Seed(1), resamples=200)
    order = Seed(6).numpy().permutation(500)
    other = ItemOutcomes(
        sizes=scores.sizes,
        sharp=scores.sharp[:, :, order],
        continuous=scores.continuous[:, :, order],
        log_likelihood=True,
    )
    one, two = mirage_test(scores, Seed(1), resamples=500), mirage_test(other, Seed(1), resamples=500)
    assert one.verdict == two.verdict
    assert one.sharp_window_share == pytest.approx(two.sharp_window_share)


#: The sheet for arXiv:2304.15004, section 4d: test loss by training set size, 4-digit addition.
SET = "160 192 256 320 384 448 480 512 544 576 608 640 672 736 800 864 928"
LOSS = (
    "2.1381 2.1181 2.0896 2.0699 2.0540 2.0384 2.0281 2.0050 1.9558 1.8631 1.7089 1.5064 1.2975 0.9656 0.7586 "
    "0.6477 0.5570"
)


def test_a_break_in_a_continuous_loss_is_a_break():
    """A test that calls everything a mirage fails here; a power law through the same ends does not break."""
    sizes, loss = (np.array([float(n) for n in row.split()]) for row in (SET, LOSS))
    assert mirage_test_series(ContinuousOutcomes(sizes, -loss[None]))[0] == "break"
    steep = np.log(loss[0] / loss[-1]) / np.log(sizes[-1] / sizes[0])
    law = loss[0] * (sizes / sizes[0]) ** -steep
    assert mirage_test_series(ContinuousOutcomes(sizes, -law[None]))[0] == "no jump"
    assert mirage_test_series(ContinuousOutcomes(sizes[:4], -loss[None, :4]))[0] == "under-resolved"


#: Section 8, measured: an autoencoder of digits by width, error per pixel and share of 500 images below 0.5.
WIDTHS, ERRORS = (1, 2, 4, 6, 8, 12, 16, 24, 32), (0.0703, 0.055, 0.0419, 0.0321, 0.0257, 0.0174, 0.0122, 0.0062, 0.003)
SHARES = (0, 0, 0, 0, 0.014, 0.064, 0.192, 0.790, 0.976)


def test_a_threshold_on_a_smooth_error_is_the_metric_s():
    """The digits series of the sheet, as counts."""
    asked = np.full((1, 9), 500.0)
    counts = CountOutcomes(
        sizes=np.array(WIDTHS, dtype=float),
        n_correct=np.round(np.array([SHARES]) * 500),
        n_total=asked,
        continuous=-np.array([ERRORS]),
    )
    found = mirage_test(counts, Seed(0), resamples=500)
    assert found.verdict == "metric", (found.why, found.residual)


@pytest.mark.whole
def test_lambada_is_the_metric_s_along_the_loss_and_none_along_tokens():
    """Of one table: along tokens the log-likelihood rises nearly as a break does, along itself it cannot."""
    table = (
        pl.read_csv(PYTHIA)
        .filter(pl.col("step") > 0)
        .with_columns(loss=pl.col("ppl").log(), right=pl.col("acc") * TEXTS)
    )
    each = table.group_by(pl.col("loss").floor().alias("nat")).agg(
        pl.col("loss").mean(), pl.col("right").sum(), pl.len()
    )
    each = each.sort("loss", descending=True)
    loss, asked = each["loss"].to_numpy(), each["len"].to_numpy()[None] * float(TEXTS)
    along = CountOutcomes(
        sizes=np.exp(-loss), n_correct=each["right"].to_numpy().round()[None], n_total=asked, continuous=-loss[None]
    )
    assert mirage_test(along, Seed(0), resamples=300).verdict == "metric"
    shape = (table["size"].n_unique(), table["step"].n_unique())
    right, smooth = (
        table.sort("non_embedding_params", "step")[name].to_numpy().reshape(shape) for name in ("right", "loss")
    )
    tokens = table["tokens_seen"].unique().sort().to_numpy().astype(float)
    trained = CountOutcomes(
        sizes=tokens, n_correct=right.round(), n_total=np.full(shape, float(TEXTS)), continuous=-smooth
    )
    found = mirage_test(trained, Seed(0), resamples=300)
    assert found.verdict == "under-resolved"
    assert "too steep for a smooth law, too even for a break" in found.why


def test_the_link_of_counts_begins_at_chance():
    """Multiple choice of four: accuracy jumps from a quarter on, smoothly in the error; nobody falls below guessing."""
    error = 0.7 - 0.04 * np.arange(12)
    share = 0.25 + 0.75 / (1 + np.exp((error - 0.42) * 25))
    sizes, asked = np.geomspace(1, 1_000, 12), np.full((1, 12), 2_000.0)
    right = np.round(share * 2_000)[None]
    told, untold = (
        mirage_test(CountOutcomes(sizes, right, asked, -error[None], chance=chance), Seed(0), resamples=200)
        for chance in (0.25, 0.0)
    )
    assert told.verdict == "metric"
    assert max(map(abs, told.residual)) < 0.01
    assert untold.verdict == "unexplained"


def test_counts_without_a_continuous_score_can_only_jump_or_not():
    """What is left to say is that there is nothing to hold it against."""
    sizes = 10.0 ** np.arange(5, 13)
    right = np.array([[0, 0, 1, 0, 1, 480, 490, 495.0]])
    found = mirage_test(
        CountOutcomes(sizes=sizes, n_correct=right, n_total=np.full((1, 8), 500.0), continuous=None),
        Seed(0),
        resamples=200,
    )
    assert found.verdict == "under-resolved"
    assert "no continuous score" in found.why
    assert found.p_linear < 0.01
    assert found.n_chance_sizes == 3


def test_what_cannot_be_audited_is_told():
    """One size, sizes that fall, truths that are none."""
    scores = simulate_outcomes("power law", sizes=5, items=50, seeds=1, seed=Seed(0))
    for sizes in (scores.sizes[::-1], scores.sizes[:1]):
        with pytest.raises(DataError, match="at least two sizes"):
            mirage_test(ItemOutcomes(sizes=sizes, sharp=scores.sharp, continuous=None), Seed(0))
    with pytest.raises(SpecError, match="cannot be drawn"):
        simulate_outcomes("nonsense", sizes=5, items=5, seeds=1, seed=Seed(0))
