"""Published tables in a folder become a page: the tables here are made up, in the layout of the real ones."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.field_claims import exact_interval, field_verdicts
from nosce.analysis.emergence.published import FILES, published_curves, published_series, share_errors
from nosce.cli.app import app
from nosce.cli.entry import exit_code_of
from nosce.errors import UsageError
from nosce.pipeline.published_page import audit_published, published_json, write_published

SIZES = [2_098_048 * 3**n for n in range(10)]
STEPS = [0, 1, 8, 64, 256, 512, 1024, 2048, 4096]


def gzipped(path, text):
    """Write a file as gzip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)


def bigbench_line(task, size, share):
    """One result file of BIG-bench as a line."""
    entry = {
        "score_dict": {"multiple_choice_grade": share},
        "preferred_score": "multiple_choice_grade",
        "number_of_shots": 3,
        "low_score": 0.25,
        "high_score": 1.0,
        "subtask_description": task,
    }
    model = {"model_family": "BIG-G T=0", "model_name": str(size), "non_embedding_params": size}
    return json.dumps({"scores": [entry], "task": {"task_name": task}, "model": model, "queries": None})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a task that steps and one that rises evenly, over ten sizes; three Pythias, two choices."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    way = np.linspace(0, 1, len(SIZES))
    lines, counts = [], ["task,n_scored"]
    for task, curve in (("steps", 0.3 + 0.5 * (way > 0.5)), ("rises", 0.3 + 0.3 * way)):
        counts.append(f"{task},500")
        for size, share in zip(SIZES, curve, strict=True):
            lines.append(bigbench_line(task, size, round(rng.binomial(500, share) / 500, 4)))
    gzipped(root / FILES[0], "\n".join(lines))
    (root / FILES[1]).write_text("\n".join(counts))
    (root / FILES[2]).write_text("task,wei_appendix_e_class\nsteps,E.2\nrises,E.1\n")
    rows = ["size,non_embedding_params,shots,step,tokens_seen,task,acc,acc_stderr,ppl,ppl_stderr"]
    for number, name in enumerate(("70m", "160m", "410m")):
        for step in STEPS:
            loss = 10 - 0.5 * np.log2(step + 1) - 0.2 * number
            rows.append(
                f"{name},{19_000_000 * 3**number},0,{step},{step * 2_097_152},lambada_openai,{np.exp(-loss / 2):.6f},"
                f"0.005,{np.exp(loss):.6g},0.1"
            )
    gzipped(root / FILES[3], "\n".join(rows))
    rows = ["task,n_questions,model,family,size_b,tokens_t,flops_1e21,acc,tc_brier"]
    for task, asked in (("hellaswag", 10_042), ("arithmetic", 15_023)):
        for number, flops in enumerate(np.geomspace(1, 1_000, 12)):
            brier = 0.7 - 0.04 * number if task == "hellaswag" else 0.7 - 0.5 * (number > 6) - 0.002 * number
            share = 0.25 + 0.75 / (1 + np.exp((brier - 0.42) * 25))
            rows.append(f"{task},{asked},m{number},f,1,1,{flops:.3f},{share:.6f},{brier:.6f}")
    gzipped(root / FILES[4], "\n".join(rows))
    rows = ["model,family,size_b,tokens_t,flops_1e21,mmlu,ipa_transliterate_2_bleu"]
    rows += [f"m{n},f,1,1,{2.0**n},{0.25 + 0.05 * n + rng.normal(0, 0.01):.4f},{10 * n}" for n in range(12)]
    gzipped(root / FILES[5], "\n".join(rows))
    return root


def test_tables_are_read_as_curves_and_series(data):
    """BLEU is no sharp score, step 0 has no logarithm, and models of one number of FLOPs are one."""
    curves = {(curve.table, curve.name): curve.outcomes for curve in published_curves(data)}
    assert curves["lambada", "along training"].n_correct.shape == (3, 8)
    assert curves["bigbench", "steps"].chance == 0.25
    assert curves["bigbench", "steps"].continuous is None
    assert (np.diff(curves["choices", "hellaswag"].continuous[0]) > 0).all()  # a smaller Brier score is better
    names = {(series.table, series.name): series for series in published_series(data)}
    assert ("open models by FLOPs", "mmlu") in names
    assert not any("bleu" in name for _, name in names)
    assert names["Pythia along training", "lambada_openai, 0 examples, 70m"].sizes[0] == 2_097_152
    assert share_errors(np.array([0.0, 0.5]), np.array([100.0, 100.0])) == pytest.approx([0.00702, 0.05], rel=1e-3)


@pytest.mark.whole
def test_the_page_tells_what_the_tables_say(data, tmp_path):
    """A planted step has a small q, a metric's jump and a break are told apart, and all numbers lie beside the page."""
    audit, provenance = audit_published(data)
    page = write_published(audit, provenance, tmp_path)
    html = page.read_text(encoding="utf-8")
    assert "The field's own curves" in html.replace("&#39;", "'")
    table = pl.read_csv(tmp_path / "audits" / "published" / "census.csv")
    assert table.filter(pl.col("series") == "steps")["q"].item() < 0.05
    assert table.filter(pl.col("series") == "rises")["q"].item() > 0.05
    shown = pl.read_csv(tmp_path / "audits" / "published" / "audits.csv")
    verdicts = dict(shown.filter(pl.col("table") == "choices").select("curve", "verdict").iter_rows())
    assert verdicts == {"hellaswag": "metric", "arithmetic": "break"}
    contents = json.loads((page.parent / "show.json").read_text(encoding="utf-8"))
    assert contents == json.loads(json.dumps(published_json(audit)))
    by_claim = {claim["id"]: claim["verdict"] for claim in contents["claims"]}
    assert by_claim["some-metric"] == "holds"
    assert by_claim["few-metrics"] == "undecided"
    assert "./audits/published/index.html" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_folder_without_the_tables_is_refused(tmp_path, capsys):
    """In one sentence with what is missing, before any work."""
    with pytest.raises(UsageError, match=r"lacks bigbench/scores_BIG-G_T0.jsonl.gz, .*name the folder"):
        audit_published(tmp_path)
    assert exit_code_of(lambda: app(["published", str(tmp_path)], standalone_mode=False)) == 2
    assert "lacks bigbench" in capsys.readouterr().err


def verdicts_of(choices, p_values, emergence=12.0):
    """The claims by id, for a census of BIG-bench with these p-values as q-values too."""
    rows = [
        {"table": "BIG-bench", "task": task, "series": task, "p": p, "q": p, "emergence": emergence}
        for task, p in p_values.items()
    ]
    classes = {task: "E.2" if task.startswith("e") else "E.1" for task in p_values}
    return {verdict.id: verdict for verdict in field_verdicts(pl.DataFrame(rows), choices, classes)}


def test_claims_follow_their_criteria():
    """Each side of each criterion, and the intervals."""
    steps = {f"e{n}": 0.001 for n in range(20)} | {f"o{n}": 0.5 for n in range(20)}
    found = verdicts_of({"a": "break", "b": "break", "c": "metric"}, steps)
    assert found["brier-smooth"].verdict == "fails"
    assert found["some-metric"].verdict == "holds"
    assert found["labels"].verdict == "holds"
    assert found["rare-in-bigbench"].verdict == "fails"
    assert found["score-means-step"].verdict == "undecided"
    none = verdicts_of({"a": "metric", "b": "metric", "c": "metric"}, {f"o{n}": 0.5 for n in range(60)} | {"e0": 0.5})
    assert none["brier-smooth"].verdict == "holds"
    assert none["rare-in-bigbench"].verdict == "holds"
    assert none["score-means-step"].verdict == "fails"
    assert none["labels"].verdict == "undecided"
    assert verdicts_of({"a": "no jump"}, {"e0": 0.5, "o0": 0.5})["some-metric"].verdict == "fails"
    assert found["concentration"].low < 0 < found["concentration"].high
    assert exact_interval(0, 24) == pytest.approx((0, 0.1425), abs=1e-3)
    assert exact_interval(0, 0) == (0.0, 1.0)
