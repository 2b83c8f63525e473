"""An item says what the readings, the corpora and the ledger say, and nothing else."""

from __future__ import annotations

import polars as pl
import pytest

from nosce.data.corpus import Corpus
from nosce.errors import UsageError
from nosce.pipeline.items.building import ReadingCell, RowGroup, build_readings
from nosce.pipeline.items.reader import ItemReader
from nosce.records import read_table

COLUMNS = ["arm", "stage", "step", "evaluation", "split", "item", "attribute", "metric", "value", "outcome", "answer"]


def rows_of(item) -> set[tuple]:
    """An item's readings as rows."""
    return {
        (one.arm, one.stage, point.step, one.evaluation, one.split, one.item, one.attribute, *cell)
        for one in item.readings
        for point in one.checkpoints
        for cell in zip(one.metrics, point.values, point.outcomes, point.answers, strict=True)
    }


def test_an_items_answers_are_the_readings(results, reader):
    """Every row of the table about these people, with value, outcome and answer; and no row more."""
    entries = reader.entries[:3]
    table = read_table(results.folder / "readings.parquet")
    for entry, item in zip(entries, reader.items(entries), strict=True):
        own = table.filter((pl.col("entity") == entry.entity) & (pl.col("seed") == entry.seed))
        assert rows_of(item) == set(own.select(COLUMNS).iter_rows())
        assert {one.target for one in item.readings} == set(own["target"])


def test_exposures_are_those_of_the_ledger_and_of_the_documents(results, reader):
    """Facts equal the ledger's rows; texts, each as often as it was trained on, give the same numbers."""
    (item,) = reader.items(reader.find("person/3@0"))
    assert {arm for training in item.training for arm in training.arms} == set(results.plan.arms)
    for training in item.training:
        source = next(one for one in reader.sources.ledgers if set(one.arms) <= set(training.arms))
        ledger = read_table(results.store.folder(source.step) / "exposure.parquet").filter(entity="person/3")
        facts = {(fact.attribute, fact.wording): fact.exposures for fact in training.facts}
        assert facts == {(row[0], row[1]): row[2] for row in ledger.drop("entity").iter_rows()}
        assert sum(facts.values()) > 0
        spans = Corpus(results.store.folder(source.corpus)).spans
        index = Corpus(results.store.folder(source.corpus)).document_index.with_row_index("document")
        counts = {document.id: document.exposures for document in training.documents}
        assert len(counts) == training.n_documents
        joined = spans.join(index.with_columns(pl.col("document").cast(pl.Int64)), on="document")
        own = joined.filter(entity="person/3").with_columns(
            n=pl.col("id").replace_strict(counts, return_dtype=pl.Int64)
        )
        assert dict(own.group_by("attribute").agg(pl.col("n").sum()).iter_rows()) == {
            name: sum(count for (attribute, _), count in facts.items() if attribute == name)
            for name in {attribute for attribute, _ in facts}
        }


def test_prompts_are_the_questions_and_the_beginnings_of_documents(results, reader):
    """A question is asked with its own prompt; a value is recalled behind the text that ends where it begins."""
    (item,) = reader.items(reader.find("person/3@0"))
    kinds = set()
    for one in item.readings:
        source = reader.source_of(one.arm, 0, one.stage, one.evaluation)
        corpus = Corpus(results.store.folder(source.corpus))
        kinds.add(source.type)
        if source.type == "RecallEval":
            texts = [document.text for training in item.training for document in training.documents]
            (text,) = {text for text in texts if text.startswith(one.prompt)}
            value = text[len(one.prompt) :].replace(" ", "")
            assert value.startswith(one.target.replace(" ", ""))
        else:
            (question,) = (question for question in corpus.questions if question.id == one.item)
            assert (one.prompt, one.prompt_note) == (question.prompt, "")
    assert {"RecallEval", "QAEval", "MajorityBaseline"} <= kinds


def test_wrong_items_are_those_with_a_wrong_answer_after_the_last_checkpoint(results, reader):
    """Counted again from the table: `exact` of questions and recalled values, and no baseline."""
    table = read_table(results.folder / "readings.parquet").filter(pl.col("evaluation") != "majority")
    last = table.filter(pl.col("step") == pl.col("step").max().over("arm", "seed", "stage", "evaluation"))
    wrong = last.filter((pl.col("metric") == "exact") & (pl.col("outcome") == "wrong"))
    counts = {(row[0], row[1]): row[2] for row in wrong.group_by("entity", "seed").len().iter_rows()}
    assert {(entry.entity, entry.seed): entry.n_wrong for entry in reader.wrong} == counts
    for _ in range(5):
        (entry,) = reader.find("wrong")
        assert counts[entry.entity, entry.seed] == entry.n_wrong
        (item,) = reader.items((entry,))
        arms = {one.arm for one in item.readings if one.kind == "asked" and one.outcome(one.checkpoints[-1]) == "wrong"}
        assert arms == set(entry.wrong_arms)


def test_names_find_one_item_or_those_of_all_seeds(reader):
    """In the order of their numbers, so that 2 comes before 10."""
    names = [entry.entity for entry in reader.entries if entry.seed == 0]
    assert names.index("person/2") < names.index("person/10")
    assert [entry.name for entry in reader.find("person/2@0")] == ["person/2@0"]
    assert {entry.entity for entry in reader.find("person/2")} == {"person/2"}
    assert reader.find("random")[0] in reader.entries


@pytest.mark.parametrize("name", ["person/999999", "person/2@77", "", "<b>"])
def test_an_unknown_item_is_refused_in_a_sentence_that_names_some(reader, name):
    with pytest.raises(UsageError, match=r"^biographies_adamw at scale smoke has no item .*person/0, person/1.*\.$"):
        reader.find(name)


def test_what_there_is_no_reading_of_is_said(reader, planted):
    """Of the study, or of one item in a study that read others."""
    (item,) = reader.items(reader.find("person/0@0"))
    assert "No probe was run in this study." in item.absent
    assert "No hidden state was patched in this study." in item.absent
    first, third = ItemReader(planted).items(
        ItemReader(planted).find("person/0@0") + ItemReader(planted).find("person/2@0")
    )
    assert not any("probe" in sentence or "patch" in sentence for sentence in first.absent)
    assert "No probe read this item." in third.absent
    assert "No patching read this item." in third.absent


def test_patches_and_probes_are_told_apart(planted):
    """An answer that follows a state is a change; one that stays is none; of others nothing is said."""
    reader = ItemReader(planted)
    patched = {entry.entity: entry.patched for entry in reader.entries if entry.seed == 0}
    assert (patched["person/0"], patched["person/1"], patched["person/2"]) == (True, False, None)
    (item,) = reader.items(reader.find("person/0@0"))
    kinds = {one.evaluation: one.kind for one in item.readings}
    assert (kinds["renamed"], kinds["q-probe"], kinds["majority"]) == ("patch", "probe", "baseline")
    (renamed,) = (one for one in item.readings if one.evaluation == "renamed")
    assert "university" in renamed.item
    assert renamed.prompt is not None
    assert renamed.prompt_note


def test_token_probabilities_come_from_the_nats_of_each_token():
    """Of as many tokens as have theirs from the first on; a metric that was not taken is none, and no zero."""
    group = RowGroup(0, "unseen")
    for step, metric, value in (
        (1, "exact", 1.0),
        (1, "nats", 0.7),
        (2, "nats 1", 0.0),
        (2, "nats 2", 0.6931471805599453),
    ):
        group.add(step, metric, ReadingCell(value), "7")
    one = build_readings(
        group,
        arm="a",
        stage="pretrain",
        evaluation="e",
        kind="asked",
        item="i",
        attribute="",
        prompt=None,
        prompt_note="",
        judged="exact",
        texts=None,
    )
    first, second = one.checkpoints
    assert first.token_probabilities == ()
    assert first.probability == pytest.approx(0.4966, abs=1e-4)
    assert second.token_probabilities == pytest.approx((1.0, 0.5))
    assert second.probability is None
    assert second.values == (None, None, 0.0, 0.6931471805599453)
