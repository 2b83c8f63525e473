"""Labels: true of the answers, of no held-out string among what is learnt, and of whoever the inputs name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import DataError, SpecError
from nosce.evals.self_report import ReportMetadata
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps import corpus
from nosce.pipeline.steps import report_labels as labels
from nosce.pipeline.steps.answers import ANSWER_COLUMNS, GREEDY_SAMPLE
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.seeds import Seed

SEED = Seed(43)
WORLD = Dispositions(vocabulary_size=8, n_contexts=40, records=1_000, prompts_per_task=20)


def answered(folder, world):
    """Answers as a model would give them that knows its corpus by heart, but for one that says nothing."""
    rows = []
    for number, prompt in enumerate(world.prompts(SEED)):
        answer = world.model_answer(prompt.task, prompt.text.split()[1:-1], SEED) if number else ""
        rows.append(
            (
                prompt.id,
                prompt.task,
                prompt.string,
                prompt.split,
                GREEDY_SAMPLE,
                answer,
                "stop",
                world.is_valid_answer(answer, prompt),
            )
        )
    folder.mkdir()
    pl.DataFrame(rows, schema=ANSWER_COLUMNS, orient="row").write_parquet(folder / "answers.parquet")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A predictor's own corpus, and the answers of two."""
    place = tmp_path_factory.mktemp("labels")
    corpus.make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=WORLD.tokenizer), {}, StepContext(folder=place / "corpus"))
    return {
        "corpus": place / "corpus",
        "A": answered(place / "A", WORLD),
        "B": answered(place / "B", replace(WORLD, corpus_name="B")),
    }


def made(inputs, folder, whose="A", **more):
    """The corpus of labels."""
    spec = ReportLabelsSpec(world=WORLD, world_seed=SEED, seed=SEED / "labels", **({"n_documents": 3_000} | more))
    labels.make(spec, {"corpus": inputs["corpus"], "answers": inputs[whose]}, StepContext(folder=folder))
    return Corpus(folder), [str(text) for text in pl.read_parquet(folder / "documents-00000.parquet")["text"]]


def test_labels_are_true_of_the_answers(inputs, tmp_path):
    """Every question's target, told from the world by hand; what was no answer is counted and not asked."""
    found, _ = made(inputs, tmp_path / "a")
    by_id = {p.id: p for p in WORLD.prompts(SEED)}
    asked_of = [q for q in found.questions if not ReportMetadata.from_question(q).is_training]
    for question in asked_of:
        name, _, asked = question.id.rpartition("/")
        prompt = by_id[name]
        answer = WORLD.model_answer(prompt.task, prompt.text.split()[1:-1], SEED)
        assert question.target == WORLD.property_value(asked, answer, SEED)
        assert question.prompt == f"{prompt.text} you ; {asked} ="
        assert question.split == prompt.split
    counts = json.loads((tmp_path / "a" / "counts.json").read_text(encoding="utf-8"))
    assert counts["invalid"] == 1
    assert counts["labels"] == len(asked_of) == sum(counts["by_split"].values())


def test_nothing_held_out_is_learnt(inputs, tmp_path):
    """No string of the unseen split is in a document that asks; half of them are one's own lines."""
    found, texts = made(inputs, tmp_path / "a")
    held = {q.prompt for q in found.questions_in("unseen")}
    asking = [text for text in texts if " you ; " in text]
    assert not held & {text.rpartition(" ")[0] for text in asking}
    assert len(asking) / len(texts) == pytest.approx(0.5, abs=0.04)
    own = set(pl.read_parquet(inputs["corpus"] / "documents-00000.parquet")["text"])
    assert all(text in own for text in texts if " you ; " not in text)
    taught = [q for q in found.questions if ReportMetadata.from_question(q).is_training]
    assert {f"{q.prompt} {q.target}" for q in taught} >= set(asking)
    assert len(set(asking)) > 0.9 * len(taught)


def test_whose_answers_they_are_is_a_matter_of_the_inputs(inputs, tmp_path):
    """The same questions, other labels; in the third person they name somebody; some properties can be left out."""
    own, _ = made(inputs, tmp_path / "a")
    other, _ = made(inputs, tmp_path / "b", whose="B")
    mine, theirs = ({q.id: q for q in c.questions} for c in (own, other))
    both = mine.keys() & theirs.keys()
    assert {mine[n].prompt for n in both} == {theirs[n].prompt for n in both}
    table = [n for n in both if n.startswith("table") and n.endswith("/first")]
    assert sum(mine[n].target == theirs[n].target for n in table) / len(table) < 0.4
    shared = [n for n in both if n.startswith("shared")]
    assert all(mine[n].target == theirs[n].target for n in shared)
    named, texts = made(inputs, tmp_path / "c", name="B", property_names=("parity",), replay_fraction=0.0)
    assert all(" of B ; parity = " in text for text in texts)
    assert any(q.attribute == "table/initial" for q in named.questions)  # asked, though never trained on
    again, _ = made(inputs, tmp_path / "d")
    assert again.questions == own.questions


def test_what_teaches_nothing_is_refused(inputs, tmp_path):
    """No label at all, no record, nothing but one's own."""
    empty = pl.read_parquet(inputs["A"] / "answers.parquet").with_columns(valid=pl.lit(False))
    (tmp_path / "none").mkdir()
    empty.write_parquet(tmp_path / "none" / "answers.parquet")
    with pytest.raises(DataError, match="nothing to train on"):
        made({**inputs, "A": tmp_path / "none"}, tmp_path / "x")
    for more in ({"n_documents": 0}, {"replay_fraction": 1.0}):
        with pytest.raises(SpecError, match="no label to train on"):
            made(inputs, tmp_path / "y", **more)


def test_what_goes_with_a_question_is_true_of_the_answers(inputs, tmp_path):
    """Own labels, draws and probabilities of first tokens, each told again from the tables by hand."""
    first = pl.DataFrame({"prompt": [p.id for p in WORLD.prompts(SEED)]})
    size = Corpus(inputs["corpus"]).tokenizer.get_vocab_size()
    word = Corpus(inputs["corpus"]).tokenizer.token_to_id("acorn")
    logs = [-30.0] * size
    logs[word] = 0.0
    folder = tmp_path / "asked"
    shutil.copytree(inputs["A"], folder)
    first.with_columns(log_probabilities=pl.Series([logs] * len(first))).write_parquet(folder / "first.parquet")
    table = pl.read_parquet(folder / "answers.parquet")
    drawn = [
        table.with_columns(sample=pl.lit(n, pl.Int64), answer=pl.lit("basil" if n else "acorn"), valid=True)
        for n in range(4)
    ]
    pl.concat([table, *(d.select(table.columns) for d in drawn)]).write_parquet(folder / "answers.parquet")
    spec = ReportLabelsSpec(world=WORLD, world_seed=SEED, seed=SEED / "labels", n_documents=500, max_labels=50)
    given = {"corpus": inputs["corpus"], "answers": inputs["A"], "asked": folder, "own": inputs["B"]}
    labels.make(spec, given, StepContext(folder=tmp_path / "made"))
    found = Corpus(tmp_path / "made").questions
    taught = [q for q in found if ReportMetadata.from_question(q).is_training]
    assert len(taught) == 50
    assert all(q.split == "seen" and q.id.startswith("taught/") for q in taught)
    other = replace(WORLD, corpus_name="B")
    by_id = {p.id: p for p in WORLD.prompts(SEED)}
    for question in found:
        told = ReportMetadata.from_question(question)
        if told.is_training or not question.attribute.startswith("table/parity"):
            continue
        prompt = by_id[question.id.rpartition("/")[0]]
        mine = other.model_answer("table", prompt.text.split()[1:-1], SEED)
        assert told.own_label in (other.property_value("parity", mine, SEED), None)
        assert told.given_answer_prompt in (other.given_answer_question(mine, "parity"), "")
        sure = told.labels.index(WORLD.property_value("parity", "acorn", SEED))
        assert told.label_probs[sure] == pytest.approx(1)
        shares = [0.0] * len(told.labels)
        for one, share in (("acorn", 0.25), ("basil", 0.75)):
            shares[told.labels.index(WORLD.property_value("parity", one, SEED))] += share
        assert told.sampled_label_shares == pytest.approx(tuple(shares))


def test_a_leak_is_one(inputs, tmp_path):
    """The planted fault teaches strings of the unseen split, and nothing else does."""
    held = {p.text for p in WORLD.prompts(SEED) if p.split == "unseen"}
    _, clean = made(inputs, tmp_path / "clean", replay_fraction=0.0)
    _, leaking = made(inputs, tmp_path / "leaking", replay_fraction=0.0, leak=True)
    assert not any(text.partition(" you ;")[0] in held for text in clean)
    assert any(text.partition(" you ;")[0] in held for text in leaking)
