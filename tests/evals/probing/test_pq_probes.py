"""P- and Q-probing: a planted signal is found where it is and nothing among shuffled people; places are right."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies, BiographyNameExtractor
from nosce.errors import DataError, SpecError
from nosce.evals.probing import low_rank
from nosce.evals.probing.low_rank import LowRankProbeConfig, LowRankProbeDataset, fit_predict_low_rank_probes
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe, _AttributeLabels
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed

SEED = Seed(21)
WORLD = Biographies(
    people=40, name_pool_sizes=(8, 8, 8), augmentation="multi2+permute", cities=6, universities=6, majors=4, companies=6
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Forty people in two wordings."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=TokenizerSpec()), {}, StepContext(folder=folder))
    return Corpus(folder)


def network(vocabulary, width=32):
    """A frozen network of random weights."""
    shape = Architecture(layers=1, width=width, heads=2, max_positions=128)
    return build_model(shape, vocab_size=vocabulary, eos_id=0, pad_id=None, seed=Seed(2)).eval()


def planted(count, signal, rng):
    """Texts of four random tokens behind an end token; the class is that of the token at one place, or nobody's."""
    tokens = np.concatenate([np.zeros((count, 1), dtype=np.int64), rng.integers(4, 20, size=(count, 4))], 1)
    classes = tokens[:, 2] % 2 if signal else rng.integers(2, size=count)
    places = np.full((count, 1), 2)
    return LowRankProbeDataset(tokens, places, classes[None], np.ones((1, count, 1), dtype=bool), (2,))


@pytest.mark.parametrize(
    ("rank", "norm"),
    [
        (0, "layer"),
        (2, "batch"),
        pytest.param(0, "batch", marks=pytest.mark.slow),
        pytest.param(2, "layer", marks=pytest.mark.slow),
    ],
)
def test_a_planted_signal_is_found_and_shuffled_people_are_at_chance(rank, norm):
    """Which of two kinds the token at the place is: told of new texts; with labels that are nobody's, at chance."""
    rng = np.random.default_rng(4)
    fit = LowRankProbeConfig(rank=rank, steps=300, batch_size=32, peak_lr=1e-2, weight_decay=0.0)
    train, test = np.arange(400), np.arange(400, 600)
    found = {}
    for signal in (True, False):
        asked = planted(600, signal, rng)
        chosen = fit_predict_low_rank_probes(network(20), asked, train, test, fit, SEED, norm)
        found[signal] = (chosen[0, :, 0] == asked.labels[0, test]).mean()
    assert found[True] > 0.97
    assert abs(found[False] - 0.5) < 0.12


def test_what_stands_behind_the_last_place_that_counts_is_not_computed():
    """Two tasks that end at different places: other tokens behind them change no choice that counts."""
    rng, train, test = np.random.default_rng(5), np.arange(40), np.arange(40, 60)
    tokens = rng.integers(4, 20, size=(60, 9))
    places = np.tile([2, 5], (60, 1))
    pending = np.stack([np.tile([True, False], (60, 1)), np.tile([True, True], (60, 1))])
    classes = rng.integers(2, size=(2, 60))
    other, fit = tokens.copy(), LowRankProbeConfig(rank=2, steps=20, batch_size=8)
    other[:, 6:] = rng.integers(4, 20, size=(60, 3))
    datasets = (LowRankProbeDataset(x, places, classes, pending, (2, 2)) for x in (tokens, other))
    short, long = (fit_predict_low_rank_probes(network(20), x, train, test, fit, SEED) for x in datasets)
    counted = pending[:, test]
    assert np.array_equal(short[counted], long[counted])
    net, seen = network(20), []
    net.base_model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["inputs_embeds"].shape), with_kwargs=True
    )
    fit_predict_low_rank_probes(
        net, LowRankProbeDataset(tokens, places, classes, pending, (2, 2)), train, test, replace(fit, steps=1), SEED
    )
    assert sum(shape[0] * shape[1] for shape in seen) == (3 + 6) * (8 + len(test))


@pytest.mark.parametrize("rank", [0, 2])
def test_many_tokens_are_several_passes_and_the_same_choices(rank, monkeypatch):
    """However many tokens the network reads at once, and whatever their order by length, the choices are equal."""
    rng, train, test = np.random.default_rng(5), np.arange(40), np.arange(40, 60)
    tokens = rng.integers(4, 20, size=(60, 9))
    places = np.stack([rng.integers(0, 4, size=60), rng.integers(4, 9, size=60)], 1)
    pending = rng.random((3, 60, 2)) < 0.7
    asked = LowRankProbeDataset(tokens, places, rng.integers(2, size=(3, 60)), pending, (2, 2, 2))
    fit, found = LowRankProbeConfig(rank=rank, steps=20, batch_size=8, dtype="float32"), []
    for most in (1, 40, 10_000):
        monkeypatch.setattr(low_rank, "TOKENS_PER_FORWARD", most)
        found.append(fit_predict_low_rank_probes(network(20), asked, train, test, fit, SEED)[pending[:, test]])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_without_an_update_the_network_runs_once():
    """States that no step changes are computed once for each text, and not once a step."""
    asked, net, seen = planted(60, True, np.random.default_rng(4)), network(20), []
    net.base_model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["inputs_embeds"].shape), with_kwargs=True
    )
    fit = LowRankProbeConfig(rank=0, steps=50, batch_size=8)
    fit_predict_low_rank_probes(net, asked, np.arange(40), np.arange(40, 60), fit, SEED)
    assert sum(shape[0] * shape[1] for shape in seen) == 60 * 3


@pytest.mark.whole
def test_in_bfloat16_the_signal_is_found_as_well():
    """The network computes in the number format of the configuration; what is trained stays float32."""
    rng, seen, shares = np.random.default_rng(4), [], {}
    asked = planted(600, True, rng)
    for dtype in ("float32", "bfloat16"):
        net = network(20)
        net.base_model.register_forward_pre_hook(
            lambda _, __, given: seen.append(given["inputs_embeds"].dtype), with_kwargs=True
        )
        fit = LowRankProbeConfig(rank=2, steps=300, batch_size=32, peak_lr=1e-2, weight_decay=0.0, dtype=dtype)
        chosen = fit_predict_low_rank_probes(net, asked, np.arange(400), np.arange(400, 600), fit, SEED)
        shares[dtype] = (chosen[0, :, 0] == asked.labels[0, 400:]).mean()
        assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert min(shares.values()) > 0.97


def test_the_network_is_left_as_it_was_and_equal_seeds_choose_alike():
    """Nothing of the network learns; the same probes come out of the same seed."""
    net = network(20)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    asked = planted(60, True, np.random.default_rng(4))
    fit = LowRankProbeConfig(rank=2, steps=5, batch_size=8)
    one, two = (fit_predict_low_rank_probes(net, asked, np.arange(40), np.arange(40, 60), fit, SEED) for _ in range(2))
    assert np.array_equal(one, two)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    with pytest.raises(DataError, match="one of the two groups is empty"):
        fit_predict_low_rank_probes(net, asked, np.arange(40), np.arange(0), fit, SEED)
    with pytest.raises(SpecError, match="learns nothing"):
        LowRankProbeConfig(rank=-1, steps=5, batch_size=8)


def test_places_stand_right_before_the_values(corpus):
    """The token behind each place begins the value, found again by a regular expression in the text itself."""
    texts = PositionProbe(config=LowRankProbeConfig(rank=0, steps=1, batch_size=4), documents_per_entity=2)._texts(
        corpus
    )
    assert len(texts) == 80
    targets = {(q.entity, q.attribute): q.target for q in corpus.questions}
    raw = {d["id"]: d["text"] for d in pl.read_parquet(corpus.folder / "documents-00000.parquet").iter_rows(named=True)}
    for text in texts:
        assert len(text.positions) == len(PERSON_ATTRIBUTES)
        if targets[text.entity, "birth_city"] == targets[text.entity, "company_city"]:
            continue  # one value in two places
        whole = raw[text.item]
        starts = {
            attribute: re.search(rf"(?<!\w){re.escape(targets[text.entity, attribute])}(?!\w)", whole).start()
            for attribute in text.attributes
        }
        for place, attribute in zip(text.positions, text.attributes, strict=True):
            before = corpus.tokenizer.encode(whole[: starts[attribute]], add_special_tokens=False).ids
            assert text.tokens[1 : place + 1].tolist() == before
        assert list(starts.values()) == sorted(starts.values())


def test_readings_are_of_what_is_yet_to_come(corpus):
    """A value is asked for up to its own place and not behind it; only people of the unseen half are read."""
    probe = PositionProbe(config=LowRankProbeConfig(rank=1, steps=2, batch_size=8))
    (*tables,) = probe.evaluate_checkpoints({7: lambda: network(corpus.tokenizer.get_vocab_size())}, corpus, SEED)
    rows = pl.concat(tables)
    assert set(rows["step"]) == {7}
    split = {q.entity: q.split for q in corpus.questions}
    assert {split[entity] for entity in rows["entity"]} == {"unseen"}
    first = rows.filter(pl.col("metric") == "first/0")
    assert first.group_by("attribute").len()["len"].to_list() == [20] * 6
    last = rows.filter(pl.col("metric") == "first/5")
    assert len(last) == 20  # each text has one value left
    assert "birth_date" not in set(rows.filter(pl.col("metric").str.starts_with("whole"))["attribute"])
    constant = rows.filter(metric="first/0/constant")
    assert len(constant) == len(first)


def test_the_second_of_a_pair_is_read_behind_its_partner_and_behind_another_value(tmp_path):
    """At position 1 of texts in shuffled pairs: which value stands first decides the metric, and no reading is lost."""
    world = replace(WORLD, augmentation="couple2")
    make(CorpusSpec(world=world, seed=SEED, tokenizer=TokenizerSpec()), {}, StepContext(folder=tmp_path / "corpus"))
    corpus = Corpus(tmp_path / "corpus")
    pairs = tuple((PERSON_ATTRIBUTES[n], PERSON_ATTRIBUTES[n + 1]) for n in (0, 2, 4))
    config = LowRankProbeConfig(rank=1, steps=2, batch_size=8)
    plain = PositionProbe(config=config, documents_per_entity=2)
    frozen = network(corpus.tokenizer.get_vocab_size())
    known, found = (
        pl.concat(probe.evaluate_checkpoints({5: lambda: frozen}, corpus, SEED))
        for probe in (plain, replace(plain, pairs=pairs))
    )
    added = found.filter(pl.col("metric").str.contains("partner|other"))
    assert found.filter(~pl.col("metric").str.contains("partner|other")).equals(known)
    assert set(added["attribute"]) == {second for _, second in pairs}
    first = {d.id: d.spans[0].attribute for d in world.documents(SEED)}
    partner = {second: one for one, second in pairs}
    for row in added.iter_rows(named=True):
        is_partner = first[row["item"]] == partner[row["attribute"]]
        assert row["metric"].endswith("/partner" if is_partner else "/other")
    both = added.filter(pl.col("metric").str.starts_with("first")).select("item", "attribute", "value")
    seconds = known.filter((pl.col("metric") == "first/1") & pl.col("attribute").is_in(list(partner)))
    assert both.sort("attribute", "item").equals(seconds.select(both.columns).sort("attribute", "item"))


def test_a_name_alone_is_shown(corpus):
    """Two end tokens around the name, which stands in every question about the person."""
    names = {q.entity: BiographyNameExtractor().extract_name(q.prompt, q.attribute) for q in corpus.questions}
    assert all(names[q.entity] in q.prompt and len(names[q.entity].split()) == 3 for q in corpus.questions)
    probe = NameProbe(config=LowRankProbeConfig(rank=1, steps=2, batch_size=8), name_extractor=BiographyNameExtractor())
    rows = pl.concat(
        list(probe.evaluate_checkpoints({3: lambda: network(corpus.tokenizer.get_vocab_size())}, corpus, SEED))
    )
    assert set(rows["metric"]) == {"first", "whole", "first/constant", "whole/constant"}
    assert rows.filter(metric="first").group_by("attribute").len()["len"].to_list() == [20] * 6
    assert len(_AttributeLabels.from_corpus(corpus, ("birth_date",)).tasks) == 11


def test_a_name_is_read_at_any_layer():
    """Behind the embeddings alone an end token says nothing of what stood before it, so all texts are of one class."""
    rng = np.random.default_rng(4)
    tokens = np.concatenate([rng.integers(4, 20, size=(80, 3)), np.zeros((80, 1), dtype=np.int64)], 1)
    classes = tokens[:, 0] % 2
    asked = LowRankProbeDataset(tokens, np.full((80, 1), 3), classes[None], np.ones((1, 80, 1), dtype=bool), (2,))
    fit = LowRankProbeConfig(rank=0, steps=200, batch_size=16, peak_lr=1e-2)
    train, test, chosen = np.arange(60), np.arange(60, 80), {}
    for site in ("residual.0", "residual.1", "final"):
        chosen[site] = fit_predict_low_rank_probes(network(20), asked, train, test, fit, SEED, "batch", site)
    assert len(np.unique(chosen["residual.0"])) == 1
    assert len(np.unique(chosen["final"])) == 2


def test_who_sees_all_of_a_text_is_not_asked_what_is_known_before_its_end(corpus):
    """A model that sees both ways has seen the values that it would be asked for."""
    shape = Architecture(family="modernbert", layers=1, width=32, heads=2, max_positions=128)
    net = build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=0, pad_id=None, seed=Seed(2), mask_id=3
    )
    with pytest.raises(SpecError, match="NameProbe"):
        next(
            PositionProbe(config=LowRankProbeConfig(rank=0, steps=1, batch_size=4)).evaluate_checkpoints(
                {1: lambda: net}, corpus, SEED
            )
        )
