"""Reports and observers on corpora of labels: what is planted is found, and what is dealt anew is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.sampling import Order
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import DataError
from nosce.evals.patching.answer import Swapped
from nosce.evals.self_report import Reports, Told
from nosce.evals.text_baselines import Observers
from nosce.models.architecture import Architecture, build
from nosce.pipeline.context import Job
from nosce.pipeline.steps import answers, corpus
from nosce.pipeline.steps import report_labels as labels
from nosce.pipeline.steps.answers import AnswersSpec
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.report_labels import LabelsSpec
from nosce.records import Question, Reading, to_table
from nosce.seeds import Seed
from nosce.train import checkpoint, loop
from nosce.train.config import Recipe

SEED = Seed(71)
WORLD = Dispositions(words=8, contexts=40, records=6_000, prompts_of=20)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, a network that has learnt some of it, its answers, and labels of them."""
    root = tmp_path_factory.mktemp("reports")
    corpus.make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=WORLD.tokenizer), {}, Job(folder=root / "corpus"))
    own = Corpus(root / "corpus")
    shape = Architecture(layers=2, width=32, heads=2, positions=40)
    net = build(shape, vocabulary=own.tokenizer.get_vocab_size(), end=own.end, pad=None, seed=SEED)

    def keep(step):
        checkpoint.keep(net, own.tokenizer_folder, root / "training" / "checkpoints" / f"{step:07d}")

    recipe = Recipe(steps=250, batch=64, optimizer="muon", peak_lr=1e-2)
    loop.train(net, own.documents, Order(len(own.documents), 64, SEED), recipe, end=own.end, folder=root / "training",
               keep=keep)  # fmt: skip
    spec = AnswersSpec(world=WORLD, world_seed=SEED, seed=SEED / "answers", draws=5)
    answers.make(spec, {"corpus": root / "corpus", "training": root / "training"}, Job(folder=root / "answers"))
    made = LabelsSpec(world=WORLD, world_seed=SEED, seed=SEED / "labels", records=200)
    inputs = {"corpus": root / "corpus", "answers": root / "answers", "own": root / "answers"}
    labels.make(made, inputs, Job(folder=root / "labels"))
    return root, net.eval()


def told(rows, kind=Reading):
    """Readings as a table."""
    return to_table(list(rows), kind)


def test_reports_are_scored_against_both_answers_and_their_probabilities(place):
    """One row a question and metric; asked about itself, own answer and target agree; proper scores add up."""
    root, net = place
    found = Corpus(root / "labels")
    rows = told(Reports().read(net, found, SEED))
    asked = [q for q in found.questions if not Told.of(q).taught]
    right = rows.filter((pl.col("metric") == "right") & (pl.col("split") != "taught"))
    assert len(right) == len(asked)
    own = rows.filter((pl.col("metric") == "own") & (pl.col("split") != "taught"))
    assert own["value"].to_list() == right["value"].to_list()
    assert rows.filter(metric="agree")["value"].min() == 1
    assert rows.filter(pl.col("metric").str.ends_with("differs")).is_empty()
    assert set(rows["split"]) == {"seen", "unseen", "taught"}
    # Probabilities of the likeliest label are no smaller than those of the next, and the Brier score is theirs.
    first, second = (rows.filter(metric=f"answer {k}").select("item", "value") for k in (1, 2))
    both = first.join(second, on="item")
    assert (both["value"] >= both["value_right"]).all()
    assert rows.filter(metric="top")["value"].to_list() == first["value"].to_list()
    parity = rows.filter(pl.col("facet") == "table/parity")
    one = {m: parity.filter(metric=m)["value"].to_numpy() for m in ("answer 1", "report 1", "brier", "kl")}
    assert one["brier"] == pytest.approx(2 * (one["answer 1"] - one["report 1"]) ** 2)
    assert (one["kl"] >= -1e-9).all()


def test_written_reports_that_are_no_label_are_invalid_and_wrong(place):
    """An untrained network writes whatever; constrained choice still chooses a label."""
    root, _ = place
    found = Corpus(root / "labels")
    shape = Architecture(layers=1, width=16, heads=2, positions=40)
    fresh = build(shape, vocabulary=found.tokenizer.get_vocab_size(), end=found.end, pad=None, seed=SEED)
    rows = told(Reports().read(fresh, found, SEED))
    free = rows.filter(metric="free")
    assert set(free["outcome"]) >= {"invalid"}
    assert free.filter(outcome="invalid")["value"].max() == 0
    chosen = rows.filter(metric="right")
    assert "invalid" not in set(chosen["outcome"])


def test_aloud_asks_about_the_answer_that_was_given(place):
    """The prompt of a spoken report is the question about the model's own answer, and no taught question is asked."""
    root, net = place
    rows = told(Reports(aloud=True, name="aloud").read(net, Corpus(root / "labels"), SEED))
    assert set(rows["split"]) == {"seen", "unseen"}
    aloud = [Told.of(q).aloud for q in Corpus(root / "labels").questions if not Told.of(q).taught]
    assert all(text.startswith("given ") for text in aloud)
    given = {q.id: Told.of(q).aloud for q in Corpus(root / "labels").questions if not Told.of(q).taught}
    parity = rows.filter((pl.col("metric") == "right") & (pl.col("facet") == "table/parity"))
    assert all(given[item].endswith("; parity =") for item in parity["item"])


def with_labels(place, folder, label):
    """The corpus with other targets, dealt by a function of the question."""
    import shutil

    shutil.copytree(place[0] / "labels", folder)
    found = [replace(q, target=label(q)) for q in Corpus(folder).questions]
    to_table(found, Question).write_parquet(folder / "questions.parquet")
    return Corpus(folder)


def test_observers_find_a_planted_rule_and_nothing_in_labels_dealt_anew(place, tmp_path):
    """A label that is the last word's is learnt by the logistic regression; one that is nobody's is at chance."""
    ruled = with_labels(place, tmp_path / "ruled",
                        lambda q: "even" if Told.of(q).asked.split()[-2] < "cz" else "odd")  # fmt: skip
    parity = pl.col("facet").str.ends_with("/parity") & (pl.col("split") == "unseen")
    parity &= pl.col("facet").str.starts_with("table")
    rows = told(Observers().read(None, ruled, SEED)).filter(parity)
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert share["logistic"] > 0.95
    assert share["constant"] <= share["oracle"] < 0.95
    rng = SEED.numpy()
    dealt = {q.id.removeprefix("taught/"): str(rng.choice(["even", "odd"])) for q in ruled.questions}
    anew = with_labels(place, tmp_path / "anew", lambda q: dealt[q.id.removeprefix("taught/")])
    rows = told(Observers().read(None, anew, SEED)).filter(pl.col("split") == "unseen")
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert abs(share["logistic"] - 0.5) < 0.1
    assert abs(share["nearest"] - 0.5) < 0.1


def test_swapping_a_state_by_one_of_the_same_prompt_changes_nothing(place):
    """Embeddings are the same at every answer's place, so no report moves; behind the last block none does either."""
    root, net = place
    (*tables,) = Swapped(tasks=("table",), pairs=60).read_all({250: lambda: net}, Corpus(root / "labels"), SEED)
    rows = pl.concat(tables)
    value = {m: part["value"].to_numpy() for (m,), part in rows.group_by("metric", maintain_order=True)}
    assert (value["stays/residual.0"] == 1).all()
    assert (value["moved/residual.0"] == 0).all()
    # Behind the last block nothing else reads the answer's place: the pending answer is the donor's, reports stay.
    assert (value["moved/final"] == 1).all()
    assert (value["stays/final"] == 1).all()
    assert np.isfinite(value["unswapped"]).all()


def test_a_question_of_another_kind_is_refused(place):
    """Reports are read of labels alone."""
    root, net = place
    with pytest.raises(DataError, match="not about somebody's answer"):
        list(Reports().read(net, Corpus(root / "corpus"), SEED))
