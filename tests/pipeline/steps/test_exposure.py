"""The exposure ledger says without counting what counting would have said."""

from collections import Counter
from dataclasses import replace

import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler
from nosce.data.tokenizer import TokenizerSpec
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.corpus import make as make_corpus
from nosce.pipeline.steps.exposure import ExposureSpec, count_exposures, make, summarize_exposures
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig

ORDER = Seed(0) / "order"


@pytest.fixture(scope="module")
def told(tmp_path_factory, dozen):
    """The corpus of the dozen in five entries each: sixty texts."""
    folder = tmp_path_factory.mktemp("told") / "corpus"
    world = replace(dozen, augmentation="multi5+permute")
    make_corpus(
        CorpusSpec(world=world, seed=Seed(0) / "world", tokenizer=TokenizerSpec()), {}, StepContext(folder=folder)
    )
    return Corpus(folder)


def counted(corpus, order, steps):
    """The ledger as somebody would keep it who watched the training."""
    entity = corpus.document_index["entity"].to_list()
    facts = [
        (number, entity[number], attribute, wording)
        for number, attribute, wording in corpus.spans.select("document", "attribute", "wording").rows()
    ]
    met = Counter(int(text) for step in range(steps) for text in order.batch_indices(step))
    times = Counter()
    for number, who, attribute, wording in facts:
        times[who, attribute, wording] += met[number]
    return [(*fact, times[fact]) for fact in sorted(set(times))]


@pytest.mark.parametrize("steps", [0, 1, 5, 8, 9, 40])
def test_the_ledger_is_what_counting_gives(told, steps):
    """Exposures of every fact in every wording are those of a brute-force count, within an epoch and across."""
    order = EpochSampler(60, 7, ORDER)
    ledger = count_exposures(told, order, steps)

    assert ledger.columns == ["entity", "attribute", "wording", "exposures"]
    assert ledger.rows() == counted(told, order, steps)


def test_facts_never_met_are_kept(told):
    """Missing is not zero: what was not trained on has rows that say 0."""
    ledger = count_exposures(told, EpochSampler(60, 1, ORDER), 3)
    facts = ledger.group_by("entity", "attribute").agg(pl.col("exposures").sum())

    assert len(facts) == 12 * 6
    assert len(facts.filter(pl.col("exposures") == 0)) >= 9 * 6
    assert ledger.null_count().sum_horizontal().item() == 0


def test_whole_epochs_meet_every_fact_alike(told):
    """After three epochs of five entries every fact was met fifteen times, however many wordings it has."""
    ledger = count_exposures(told, EpochSampler(60, 20, ORDER), 9)
    facts = ledger.group_by("entity", "attribute").agg(pl.col("exposures").sum(), wordings=pl.len())

    assert set(facts["exposures"]) == {15}
    assert facts["wordings"].min() >= 1
    assert facts["wordings"].max() == 5


def test_the_summary_is_of_the_ledger(told):
    """Least, mean and most of each facet are those of its facts; a wording that was not met is none."""
    ledger = count_exposures(told, EpochSampler(60, 7, ORDER), 5)
    for row in summarize_exposures(ledger).rows(named=True):
        times, wordings = Counter(), Counter()
        for who, attribute, _, exposures in ledger.rows():
            if attribute == row["attribute"]:
                times[who] += exposures
                wordings[who] += exposures > 0
        assert row["facts"] == len(times) == 12
        assert (row["least_exposures"], row["most_exposures"]) == (min(times.values()), max(times.values()))
        assert row["mean_exposures"] == pytest.approx(sum(times.values()) / 12)
        assert row["mean_wordings"] == pytest.approx(sum(wordings.values()) / 12)
        assert row["most_wordings"] == max(wordings.values())


def test_the_step_writes_the_ledger_of_the_whole_training(told, tmp_path):
    """What lies in the folder is the ledger after the recipe's last step, in the order that will be trained in."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "half of it").touch()
    spec = ExposureSpec(training=TrainingConfig(steps=11, batch_size=7), sampler_seed=ORDER)
    make(spec, {"corpus": told.folder}, StepContext(folder=tmp_path / "ledger"))

    assert [path.name for path in (tmp_path / "ledger").iterdir()] == ["exposure.parquet"]
    assert pl.read_parquet(tmp_path / "ledger" / "exposure.parquet").equals(
        count_exposures(told, EpochSampler(60, 7, ORDER), 11)
    )
