"""Reports and observers on corpora of labels: what is planted is found, and what is dealt anew is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import DataError
from nosce.evals.patching.answer import AnswerPatching
from nosce.evals.self_report import ReportMetadata, SelfReportEval
from nosce.evals.text_baselines import TextBaselines
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps import answers, corpus
from nosce.pipeline.steps import report_labels as labels
from nosce.pipeline.steps.answers import AnswersSpec
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.records import Question, Reading, to_table
from nosce.seeds import Seed
from nosce.train import checkpoint, loop
from nosce.train.config import TrainingConfig

SEED = Seed(71)
WORLD = Dispositions(vocabulary_size=8, n_contexts=40, records=6_000, prompts_per_task=20)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, a network that has learnt some of it, its answers, and labels of them."""
    root = tmp_path_factory.mktemp("reports")
    corpus.make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=WORLD.tokenizer), {}, StepContext(folder=root / "corpus"))
    own = Corpus(root / "corpus")
    shape = Architecture(layers=2, width=32, heads=2, max_positions=40)
    net = build_model(shape, vocab_size=own.tokenizer.get_vocab_size(), eos_id=own.eos_id, pad_id=None, seed=SEED)

    def keep(step):
        checkpoint.save_checkpoint(net, own.tokenizer_folder, root / "training" / "checkpoints" / f"{step:07d}")

    recipe = TrainingConfig(steps=250, batch_size=64, optimizer="muon", peak_lr=1e-2)
    loop.train(
        net,
        own.documents,
        EpochSampler(len(own.documents), 64, SEED),
        recipe,
        eos_id=own.eos_id,
        folder=root / "training",
        on_checkpoint=keep,
    )
    spec = AnswersSpec(world=WORLD, world_seed=SEED, seed=SEED / "answers", n_samples=5)
    answers.make(spec, {"corpus": root / "corpus", "training": root / "training"}, StepContext(folder=root / "answers"))
    made = ReportLabelsSpec(world=WORLD, world_seed=SEED, seed=SEED / "labels", n_documents=200)
    inputs = {"corpus": root / "corpus", "answers": root / "answers", "own": root / "answers"}
    labels.make(made, inputs, StepContext(folder=root / "labels"))
    return root, net.eval()


def told(rows, kind=Reading):
    """Readings as a table."""
    return to_table(list(rows), kind)


@pytest.mark.whole
def test_reports_are_scored_against_both_answers_and_their_probabilities(place):
    """One row a question and metric; asked about itself, own answer and target agree; proper scores add up."""
    root, net = place
    found = Corpus(root / "labels")
    rows = told(SelfReportEval().evaluate(net, found, SEED))
    asked = [q for q in found.questions if not ReportMetadata.from_question(q).is_training]
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
    parity = rows.filter(pl.col("attribute") == "table/parity")
    one = {m: parity.filter(metric=m)["value"].to_numpy() for m in ("answer 1", "report 1", "brier", "kl")}
    assert one["brier"] == pytest.approx(2 * (one["answer 1"] - one["report 1"]) ** 2)
    assert (one["kl"] >= -1e-9).all()


@pytest.mark.whole
def test_written_reports_that_are_no_label_are_invalid_and_wrong(place):
    """An untrained network writes whatever; constrained choice still chooses a label."""
    root, _ = place
    found = Corpus(root / "labels")
    shape = Architecture(layers=1, width=16, heads=2, max_positions=40)
    fresh = build_model(shape, vocab_size=found.tokenizer.get_vocab_size(), eos_id=found.eos_id, pad_id=None, seed=SEED)
    rows = told(SelfReportEval().evaluate(fresh, found, SEED))
    free = rows.filter(metric="free")
    assert set(free["outcome"]) >= {"invalid"}
    assert free.filter(outcome="invalid")["value"].max() == 0
    chosen = rows.filter(metric="right")
    assert "invalid" not in set(chosen["outcome"])


@pytest.mark.whole
def test_aloud_asks_about_the_answer_that_was_given(place):
    """The prompt of a spoken report is the question about the model's own answer, and no taught question is asked."""
    root, net = place
    rows = told(SelfReportEval(given_answer=True, name="aloud").evaluate(net, Corpus(root / "labels"), SEED))
    assert set(rows["split"]) == {"seen", "unseen"}
    metadata = {q.id: ReportMetadata.from_question(q) for q in Corpus(root / "labels").questions}
    given = {item: one.given_answer_prompt for item, one in metadata.items() if not one.is_training}
    assert all(text.startswith("given ") for text in given.values())
    parity = rows.filter((pl.col("metric") == "right") & (pl.col("attribute") == "table/parity"))
    assert all(given[item].endswith("; parity =") for item in parity["item"])


def with_labels(place, folder, label):
    """The corpus with other targets, dealt by a function of the question."""
    import shutil

    shutil.copytree(place[0] / "labels", folder)
    found = [replace(q, target=label(q)) for q in Corpus(folder).questions]
    to_table(found, Question).write_parquet(folder / "questions.parquet")
    return Corpus(folder)


@pytest.mark.whole
def test_observers_find_a_planted_rule_and_nothing_in_labels_dealt_anew(place, tmp_path):
    """A label that is the last word's is learnt by the logistic regression; one that is nobody's is at chance."""
    ruled = with_labels(
        place,
        tmp_path / "ruled",
        lambda q: "even" if ReportMetadata.from_question(q).object_prompt.split()[-2] < "cz" else "odd",
    )
    parity = pl.col("attribute").str.ends_with("/parity") & (pl.col("split") == "unseen")
    parity &= pl.col("attribute").str.starts_with("table")
    rows = told(TextBaselines().evaluate(None, ruled, SEED)).filter(parity)
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert share["logistic"] > 0.95
    assert share["constant"] <= share["oracle"] < 0.95
    rng = SEED.numpy()
    dealt = {q.id.removeprefix("taught/"): str(rng.choice(["even", "odd"])) for q in ruled.questions}
    anew = with_labels(place, tmp_path / "anew", lambda q: dealt[q.id.removeprefix("taught/")])
    rows = told(TextBaselines().evaluate(None, anew, SEED)).filter(pl.col("split") == "unseen")
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert abs(share["logistic"] - 0.5) < 0.1
    assert abs(share["nearest"] - 0.5) < 0.1


@pytest.mark.whole
def test_swapping_a_state_by_one_of_the_same_prompt_changes_nothing(place):
    """Embeddings are the same at every answer's place, so no report moves; behind the last block none does either."""
    root, net = place
    (*tables,) = AnswerPatching(tasks=("table",), max_pairs=60).evaluate_checkpoints(
        {250: lambda: net}, Corpus(root / "labels"), SEED
    )
    rows = pl.concat(tables)
    value = {m: part["value"].to_numpy() for (m,), part in rows.group_by("metric", maintain_order=True)}
    assert (value["stays/residual.0"] == 1).all()
    assert (value["moved/residual.0"] == 0).all()
    # Behind the last block nothing else reads the answer's place: the pending answer is the donor's, reports stay.
    assert (value["moved/final"] == 1).all()
    assert (value["stays/final"] == 1).all()
    assert np.isfinite(value["unswapped"]).all()


@pytest.mark.whole
def test_a_question_of_another_kind_is_refused(place):
    """Reports are read of labels alone."""
    root, net = place
    with pytest.raises(DataError, match="not about a model's answer"):
        list(SelfReportEval().evaluate(net, Corpus(root / "corpus"), SEED))
