"""Tables in the layouts that people have: each gives the verdict of its data, or one sentence that asks or refuses."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.audit import audit_tables
from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.analysis.emergence.table import parse_outcomes
from nosce.errors import UsageError

TABLES = Path(__file__).parents[3] / "data" / "tables"
NAMED = {"size": "N", "sharp": "hit_or_miss", "continuous": "quality", "item": "which"}
JUMP_ALONE = "under-resolved"  # a jump with no continuous score to hold it against
#: Layouts of one power law item by item: the file, and what has to be said.
ITEMS = {
    "items_plain.csv": {},
    "items_spaced_headers.csv": {},
    "items_excel_semicolons.csv": {},
    "items_utf16.tsv": {},
    "items_sizes_with_letters.csv": {},
    "items_thousands.csv": {},
    "items_truths.csv": {},
    "items_nll.csv": {},
    "items_own_names.csv": NAMED,
    "items_packed.csv.gz": {},
    "items_shuffled_with_more.csv": {},
    "items_records.json": {},
    "items_nested.json": {},
    "items_split.json": {},
    "items_pandas.json": {},
    "items.parquet": {},
    "items.jsonl": {},
    "items.xlsx": {},
}
#: File, what is said, and the verdict of its data.
VERDICTS = [
    *((name, said, "metric") for name, said in ITEMS.items()),
    ("items_wide.csv", {}, JUMP_ALONE),
    ("items_without_names.csv", {}, "under-resolved"),
    ("seeds_crossed.csv", {}, "metric"),
    ("seeds_nested.csv", {}, "metric"),
    ("seeds_with_own_items.csv", {}, "metric"),
    ("series.csv", {}, "under-resolved"),
    ("seeds_of_counts.csv", {}, "under-resolved"),
    ("counts.csv", {}, "break"),
    ("counts_correct_total.csv", {}, "break"),
    ("acc_n.csv", {}, "break"),
    ("acc_stderr.csv", {}, "break"),
    ("acc_alone.csv", {"n": "500"}, JUMP_ALONE),
    ("percent_signs.csv", {}, "break"),
    ("percent_header.csv", {}, "break"),
    ("percent_open.csv", {"percent": True}, "break"),
    ("params_in_billions.csv", {}, "break"),
    ("sizes_in_names.csv", {}, "break"),
    ("one_name_without_size.csv", {"model_sizes": {"toy-small": 1e5}}, "break"),
    ("params_and_tokens.csv", {"size": "tokens"}, "break"),
    ("constant_tokens.csv", {}, "break"),
    ("two_sharp_scores.csv", {"sharp": "exact_match"}, JUMP_ALONE),
    ("a_row_a_metric.csv", {}, "break"),
    ("multiple_choice.csv", {"chance": "25%"}, JUMP_ALONE),
    ("multiple_choice_options.csv", {}, JUMP_ALONE),
    ("perplexity.csv", {}, "break"),
    ("decimal_open.csv", {"decimal": "point"}, JUMP_ALONE),
    ("four_sizes.csv", {}, "under-resolved"),
    ("score.csv", {}, JUMP_ALONE),
    ("law.csv", {}, "under-resolved"),  # of means alone a link is not tried
    ("even.csv", {}, "no jump"),
    ("noise.csv", {}, "no jump"),
    ("helm", {"continuous": "target_logprob"}, "under-resolved"),
    ("leaderboard", {}, "under-resolved"),
    ("bigbench", {"n": "500"}, "under-resolved"),
    ("lm_eval", {"task": "sums_ll"}, "break"),
    ("lm_eval", {"task": "sums_gen"}, JUMP_ALONE),
]
GUESSES = (("grade.csv", {}), ("grade.csv", {"chance": "0.25"}), ("counts.csv", {}))
#: File, what is said, and the sentence.
SENTENCES = [
    ("acc_alone.csv", {}, "neither of how many items nor a standard error.*`nosce audit .*acc_alone.csv --n 500`"),
    ("percent_open.csv", {}, "goes up to 76.8; if it is in percent, say so: `nosce audit .* --percent`"),
    ("one_name_without_size.csv", {}, "'toy-small' has none in its name: .*--size toy-small=1.3B"),
    ("params_and_tokens.csv", {}, "`params` and `tokens` .* may each be the size.*--size params`"),
    ("two_sharp_scores.csv", {}, "`acc` and `exact_match` .* may each be the sharp score.*--sharp acc`"),
    ("multiple_choice.csv", {}, "multiple choice.*does not say what guessing gets.*--chance 0.25`"),
    ("decimal_open.csv", {}, "may be 1300 or 1.3.*--decimal comma`"),
    ("missing.csv", {}, "row 4 has 'N/A' in 'acc'.*missing is not zero"),
    ("items_late_key.jsonl", {}, "row 1 has 'None' in 'continuous'.*missing is not zero"),
    ("twice.csv", {}, "the column 'acc' twice"),
    ("two_numbers.csv", {}, "`n` and `count` .* may each be the number of items.*--n n`"),
    ("mixed_percent.csv", {}, "percent signs and '0.2' without one"),
    ("mixed_commas.csv", {}, "writes '0,5' and '1,000,000'"),
    ("point_and_comma.csv", {}, r"writes '-0,5' and '0\.0'"),
    ("no_size.csv", {}, "none of the columns .* is plainly the size.*--size COLUMN`"),
    ("several_rows.csv", {}, "several rows for the size 100000.*--seed COLUMN`.*--item COLUMN`"),
    ("hostile_header.csv", {}, "is plainly the sharp score"),
    ("empty.csv", {}, "no rows"),
    ("no_table.json", {}, "holds no table"),
    ("score_of_seven.csv", {"percent": False}, "goes up to 7"),
    ("score_of_seven.csv", {"size": "nope"}, "--size nope names no column"),
    ("tasks.csv", {"task": "nope"}, "--task nope is none of `task`: 'law', 'break', 'noise'"),
    ("bigbench", {}, "do not say how many items.*--n 500`"),
    ("helm", {"sharp": "bleu"}, "has no metric bleu.*, but .*exact_match"),
    ("leaderboard", {"sharp": "bleu"}, "name one with --sharp"),
    ("lm_eval", {"sharp": "bleu"}, "no sharp score 'bleu'"),
    ("makers", {}, "holds no results of lm-evaluation-harness"),
]


def needs(name: str) -> None:
    """Skip what needs an extra that is not installed."""
    if name.endswith(".xlsx") and find_spec("fastexcel") is None:
        pytest.skip("needs nosce[excel]")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("name", "said", "verdict"), VERDICTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_table_has_the_verdict_of_its_data(name, said, verdict):
    """Whatever its layout; and its columns are said."""
    needs(name)
    (audit,) = audit_tables([TABLES / name], ColumnChoice(**said), resamples=300)
    assert audit.verdict == verdict, audit.answer
    assert "size = `" in audit.scores.columns_text
    assert "sharp = `" in audit.scores.columns_text
    assert all(len(line) <= 80 for line in audit.answer.lines), audit.answer.lines


@pytest.mark.parametrize(("name", "said", "sentence"), SENTENCES)
def test_what_is_open_or_wrong_is_one_sentence(name, said, sentence):
    """With the command that settles it, or the row to mend."""
    with pytest.raises(UsageError) as told:
        read_tasks(TABLES / name, ColumnChoice(**said))
    assert re.search(sentence, str(told.value)), told.value
    assert "\n" not in str(told.value)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("name", ITEMS)
def test_layouts_of_the_same_items_give_the_same_outcomes(name):
    """To the last item: sizes, right and wrong, and the log-likelihood with its sign."""
    needs(name)
    plain, other = (read_tasks(TABLES / n, ColumnChoice(**ITEMS[n]))[0] for n in ("items_plain.csv", name))
    expected = parse_outcomes(plain.table)
    found = parse_outcomes(other.table, lower_is_better=other.lower_is_better)
    assert np.array_equal(found.sharp, expected.sharp)
    assert np.allclose(found.continuous, expected.continuous, atol=1e-9)
    assert np.allclose(found.sizes, expected.sizes, rtol=1e-3)  # "464.2k"


@pytest.mark.parametrize("name", ["acc_n.csv", "percent_signs.csv", "percent_header.csv", "params_in_billions.csv"])
def test_layouts_of_the_same_means_give_the_same_counts(name):
    """Shares, percents and sizes in billions are the counts that they were made from."""
    counts, other = (parse_outcomes(read_tasks(TABLES / n, ColumnChoice())[0].table) for n in ("counts.csv", name))
    assert np.array_equal(other.n_correct, counts.n_correct)
    assert np.array_equal(other.n_total, counts.n_total)
    assert np.allclose(other.sizes, counts.sizes)


def test_a_standard_error_tells_how_many_items():
    """500 of a share's standard error (n - 1 below the line), and those of 0 and 1 take the others' number."""
    outcomes = parse_outcomes(read_tasks(TABLES / "acc_stderr.csv", ColumnChoice())[0].table)
    assert np.all(np.abs(outcomes.n_total - 499) <= 1)
    assert outcomes.continuous_stderr is not None
    assert (outcomes.continuous_stderr > 0).all()


def test_a_size_with_one_answer_has_the_spread_of_the_other_sizes(tmp_path):
    """One answer has no spread of its own, which is no spread of 0."""
    answers = {1: 4, 10: 1, 100: 4, 1000: 4, 10000: 4}
    rows = [(size, item % 2, item + size) for size, count in answers.items() for item in range(count)]
    path = tmp_path / "table.csv"
    pl.DataFrame(rows, schema=["size", "sharp", "continuous"], orient="row").write_csv(path)
    found = parse_outcomes(read_tasks(path, ColumnChoice())[0].table).continuous_stderr
    assert found[0, 1] == pytest.approx(2 * found[0, 0])


@pytest.mark.whole
def test_several_tasks_have_a_verdict_each():
    """Of a law, a break and noise; the noise is none, and q knows of all three."""
    audits = audit_tables([TABLES / "tasks.csv"], ColumnChoice(), resamples=300)
    assert [(one.scores.task, one.verdict) for one in audits] == [
        ("law", "under-resolved"),
        ("break", "break"),
        ("noise", "no jump"),
    ]
    assert all(one.q >= one.result.p_linear for one in audits)
    alone = audit_tables([TABLES / "tasks.csv"], ColumnChoice(task="break"), resamples=300)
    assert [(one.verdict, one.q) for one in alone] == [("break", None)]


def test_a_task_without_the_continuous_score_is_audited_without_it():
    """Where the user has not named it; the break has it, and the law and the noise have not."""
    path = TABLES / "tasks_with_some_scores.csv"
    tasks = {one.task: one for one in read_tasks(path, ColumnChoice())}
    assert ["continuous" in one.names for one in tasks.values()] == [False, True, False]
    assert "`logprob` has no value here, so none is taken." in tasks["law"].notes
    with pytest.raises(UsageError, match="missing is not zero"):
        read_tasks(path, ColumnChoice(continuous="logprob"))


def test_a_score_as_of_guessing_is_pointed_out():
    """Of 500 items a quarter right, where nothing says that it is multiple choice."""
    audits = [audit_tables([TABLES / name], ColumnChoice(**said), resamples=100)[0] for name, said in GUESSES]
    assert ["--chance 0.25" in " ".join(one.notes) for one in audits] == [True, False, False]


def test_a_chance_level_is_that_of_the_options():
    """1 over their number, or as the user says."""
    found = [
        parse_outcomes(read_tasks(TABLES / name, ColumnChoice(**said))[0].table).chance
        for name, said in (("multiple_choice_options.csv", {}), ("multiple_choice.csv", {"chance": "0.2"}))
    ]
    assert found == pytest.approx([0.25, 0.2])


def test_a_workbook_that_is_damaged_is_a_sentence(tmp_path):
    """Whatever its reader calls it."""
    needs("items.xlsx")
    content = (TABLES / "items.xlsx").read_bytes()
    for place in range(400, 6_000, 800):
        (tmp_path / "t.xlsx").write_bytes(content[:place] + b"\0\xff\0\xff" + content[place + 4 :])
        try:
            read_tasks(tmp_path / "t.xlsx", ColumnChoice())
        except UsageError as told:
            assert "cannot be read as xlsx" in str(told) or "t.xlsx" in str(told)  # noqa: PT017


def test_a_workbook_without_its_reader_is_a_sentence(monkeypatch):
    """That names the extra."""
    import nosce.records as records

    def lacking(*_, **__):
        raise ModuleNotFoundError("fastexcel")

    monkeypatch.setattr(records.pl, "read_excel", lacking)
    with pytest.raises(UsageError, match=r"pip install 'nosce\[excel\]'"):
        read_tasks(TABLES / "items.xlsx", ColumnChoice())


MEANS = {"params": [1e6 * 2**n for n in range(8)], "acc": [0.1, 0.1, 0.1, 0.2, 0.5, 0.8, 0.9, 0.9], "n": [500] * 8}


def written(tmp_path: Path, **columns: object) -> Path:
    path = tmp_path / "t.csv"
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.mark.parametrize(
    "header", ["mean_nll", "Mean NLL", "avg loss", "val_loss", "loss (nats)", "token error rate", "average_brier"]
)
def test_a_score_that_falls_is_turned_round(tmp_path, header):
    """Whatever stands beside the word that says so."""
    falls = [9.0, 8.5, 8.0, 7.0, 5.0, 3.0, 2.5, 2.0]
    path = written(tmp_path, **MEANS, **{header: falls})
    (task,) = read_tasks(path, ColumnChoice(continuous=header, chance="0.1"))
    assert task.lower_is_better
    for rising in ("logprob", "negative loss", "neg_brier"):
        path = written(tmp_path, **MEANS, **{rising: falls})
        (rises,) = read_tasks(path, ColumnChoice(continuous=rising, chance="0.1"))
        assert not rises.lower_is_better


def test_a_mean_perplexity_is_taken_on_its_log_scale(tmp_path):
    path = written(tmp_path, **MEANS, mean_ppl=[float(np.exp(9 - n)) for n in range(8)])
    (task,) = read_tasks(path, ColumnChoice())
    assert np.allclose(task.table["continuous"].to_numpy(), 9 - np.arange(8))


@pytest.mark.parametrize(
    ("columns", "said", "sentence"),
    [
        (
            {"error_rate": MEANS["acc"], "n": [500] * 8},
            {"sharp": "error_rate"},
            "falls as a model gets better; give one that rises",
        ),
        ({"acc": MEANS["acc"], "stderr": [1.5] * 8}, {}, "a standard error of 1.5, and that of a share is at most 0.5"),
        ({"correct": [0, 0, 0, 0, 0, 0, 1, 1], "total": [50] * 8}, {}, "0 and 1 alone beside `total`"),
        ({"mean_acc_norm": MEANS["acc"], "n": [500] * 8}, {}, "a score of multiple choice"),
    ],
)
def test_what_may_be_read_in_two_ways_is_asked_back(tmp_path, columns, said, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        list(read_tasks(written(tmp_path, params=MEANS["params"], **columns), ColumnChoice(**said)))


def test_answers_of_two_models_are_not_those_of_one(tmp_path):
    """Two models of one size, a row an answer: one of them, or both as trainings, but not both as one."""
    models = [f"{name}-{size}m" for size in (1, 2, 4, 8, 16, 32) for name in ("plain", "deduped")]
    rows = {"model": [name for name in models for _ in range(20)], "correct": [0, 1] * 10 * len(models)}
    path = written(tmp_path, params=[1e6 * int(name.split("-")[1][:-1]) for name in rows["model"]], **rows)
    with pytest.raises(UsageError, match=r"several rows for the size 1e\+06 .* --seed model"):
        list(read_tasks(path, ColumnChoice()))
    (task,) = read_tasks(path, ColumnChoice(seed="model"))
    assert task.table["asked"].to_list() == [20.0] * 12


def test_the_unit_of_a_header_holds_for_large_numbers_too(tmp_path):
    """12,000 million; numbers that are all sizes already have none."""
    sizes = [70, 160, 410, 1_000, 1_400, 2_800, 6_900, 12_000]
    columns = {"acc": MEANS["acc"], "n": MEANS["n"]}
    (task,) = read_tasks(written(tmp_path, **{"Params (M)": sizes}, **columns), ColumnChoice())
    assert task.table["size"].to_list() == [1e6 * size for size in sizes]
    (whole,) = read_tasks(
        written(tmp_path, **{"Params (M)": [size * 10**6 for size in sizes]}, **columns), ColumnChoice()
    )
    assert whole.table["size"].to_list() == task.table["size"].to_list()
