"""Published readings: small, exact, and enough to judge every claim and draw every figure again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests import conftest

from nosce.errors import DamagedError, DataError, UsageError
from nosce.pipeline import published_readings
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.published_readings import MAX_BYTES, check_readings_size, readings_bytes
from nosce.pipeline.recompute import find_pages, recompute_page
from nosce.pipeline.results import RunResults
from nosce.store.store import Store

FILE = Path(conftest.__file__).parent / "fixtures" / "look_studies.py"
REPOSITORY = Path(conftest.__file__).parents[1]


def site_of(store: Path, site: Path) -> Path:
    ended = conftest.Nosce().here("report", "--readings", "--out", site, "--store", store)
    assert ended.returncode == 0, ended.stderr
    return site


@pytest.fixture(scope="module")
def looked(tmp_path_factory) -> Path:
    """The site of a study with looks, an exploratory half and a figure."""
    store = tmp_path_factory.mktemp("published") / "store"
    nosce = conftest.Nosce()
    for words in ((), ("--until-decided", "--max-seeds", "5")):
        ended = nosce.here("run", f"{FILE}:drawn", "--scale", "smoke", "--workers", "1", "--store", store, *words)
        assert ended.returncode == 0, ended.stderr
    return site_of(store, store.parent / "site")


@pytest.fixture
def copied(looked, tmp_path) -> Path:
    """A copy of the page, to be changed."""
    shutil.copytree(looked / "worn" / "smoke", tmp_path / "page")
    return tmp_path / "page"


@pytest.mark.whole
def test_verdicts_looks_prices_halves_and_figures_come_out_again(nosce, looked):
    """From the site alone, every number of the page."""
    page = recompute_page(looked / "worn" / "smoke")
    assert page.differences == ()
    assert (page.claims, page.figures) == (5, 1)
    ended = nosce.here("recompute", looked)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "worn, smoke: 5 claims and 1 figures from" in ended.stdout
    assert ended.stdout.rstrip().endswith("equal.")
    (told,) = json.loads(nosce.here("recompute", looked, "--json").stdout)
    assert told["differences"] == []


@pytest.mark.whole
def test_a_study_of_trained_models_comes_out_again(smoke_store, tmp_path):
    """Readings of models: exact answers, likelihoods, figures and a mirage test."""
    site = site_of(smoke_store, tmp_path / "site")
    page = recompute_page(site / "biographies_adamw" / "smoke")
    assert page.differences == ()
    assert page.claims
    assert page.figures
    (index,) = site.glob("biographies_adamw/smoke/readings/readings.json")
    files = json.loads(index.read_text())["files"]
    recall = pl.read_parquet(index.parent / next(file["name"] for file in files if file["evaluation"] == "recall"))
    assert {"arm", "seed", "step", "item", "entity", "value", "answer", "target"} <= set(recall.columns)
    assert recall["target"].null_count() < len(recall)
    stored = max(smoke_store.glob("steps/estimates-*/readings.parquet"), key=lambda path: path.stat().st_mtime)
    assert sum(file["bytes"] for file in files) < stored.stat().st_size


@pytest.mark.whole
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("verdict", "fails", "claim clear: verdict is 'holds' and not 'fails'"),
        ("estimate", 0.123, "claim clear: estimate is"),
        ("low", None, "claim clear: low is"),
        ("criterion", "always", "claim clear: criterion is"),
    ],
)
def test_another_verdict_is_found(nosce, copied, key, value, told):
    shown = json.loads((copied / "show.json").read_text())
    shown["claims"][0][key] = value
    (copied / "show.json").write_text(json.dumps(shown))
    ended = nosce.here("recompute", copied)
    assert ended.returncode == 1
    assert told in ended.stdout
    assert "different" in ended.stdout


@pytest.mark.whole
def test_another_look_price_half_or_figure_is_found(copied):
    shown = json.loads((copied / "show.json").read_text())
    shown["claims"][0]["look"]["seeds"] = 12
    next(claim for claim in shown["claims"] if claim["price"])["price"]["seeds"] = 99
    shown["halves"]["claims"][0]["exploratory"] = "fails"
    (copied / "show.json").write_text(json.dumps(shown))
    figure = copied / "figures" / "shares.csv"
    figure.write_text(figure.read_text().replace("0.9", "0.8"))

    found = "\n".join(recompute_page(copied).differences)
    assert "clear, look: seeds is 3 and not 12" in found
    assert "price: seeds is" in found
    assert "clear, exploratory half: exploratory is 'holds' and not 'fails'" in found
    assert "figure shares: the column value differs" in found


@pytest.mark.whole
def test_a_changed_file_of_readings_is_refused(copied):
    file = next((copied / "readings").glob("*.parquet"))
    table = pl.read_parquet(file)
    table.with_columns(value=1 - pl.col("value")).write_parquet(file)
    with pytest.raises(DamagedError, match=r"is not the file that readings\.json names"):
        recompute_page(copied)


@pytest.mark.whole
def test_a_name_that_leads_elsewhere_is_refused(copied):
    index = copied / "readings" / "readings.json"
    contents = json.loads(index.read_text())
    contents["files"][0]["name"] = "../../../etc/passwd"
    index.write_text(json.dumps(contents))
    with pytest.raises(DamagedError, match="the name of a file of readings"):
        recompute_page(copied)


@pytest.mark.whole
def test_other_claims_by_now_are_said(copied):
    shown = json.loads((copied / "show.json").read_text())
    shown["claims"][0]["id"] = "gone"
    (copied / "show.json").write_text(json.dumps(shown))
    with pytest.raises(DataError, match="stands on the page or in the study 'worn', but not in both"):
        recompute_page(copied)


@pytest.mark.whole
def test_a_page_of_some_arms_comes_out_again(tmp_path):
    """Claims of other arms are left out of the page, and are no claims that the study has lost."""
    words = ("--scale", "smoke", "--arms", "clear", "--workers", "1", "--store", tmp_path / "store")
    ended = conftest.Nosce().here("run", f"{FILE}:drawn", *words)
    assert ended.returncode == 0, ended.stderr
    page = recompute_page(site_of(tmp_path / "store", tmp_path / "site") / "worn" / "smoke")
    assert page.differences == ()


@pytest.mark.whole
def test_the_table_of_readings_is_of_confirmatory_seeds(looked):
    """Verdicts rest on them; those that were read while claims were made are counted apart."""
    store = Store.open(looked.parent / "store")
    results = RunResults.load(store, PlanRecord.find_finished(store, "worn", "smoke"))
    assert results.halves is not None
    by_arm = {row["arm"]: row["seeds"] for row in results.readings_summary().iter_rows(named=True)}
    assert (by_arm["clear"], by_arm["single"]) == (3, 1)


def test_a_folder_without_readings_is_the_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="nosce report --readings"):
        find_pages(tmp_path)


@pytest.mark.whole
def test_readings_of_a_report_before_are_not_left_behind(looked, tmp_path):
    """A site that is written again has the files of its index and no others."""
    folder = looked / "worn" / "smoke" / "readings"
    (folder / "99-old.parquet").write_bytes(b"old")
    site_of(looked.parent / "store", looked)
    names = {file["name"] for file in json.loads((folder / "readings.json").read_text())["files"]}
    assert {file.name for file in folder.glob("*.parquet")} == names


@pytest.mark.whole
def test_too_many_readings_are_refused(looked, monkeypatch):
    check_readings_size(looked)
    monkeypatch.setattr(published_readings, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"the readings below .* those of worn/smoke; at most"):
        check_readings_size(looked)


def test_the_committed_readings_are_within_the_limit():
    """`results/` has at most 30 MB of readings, whatever was run."""
    assert MAX_BYTES == 30_000_000
    assert sum(readings_bytes(REPOSITORY / "results").values()) <= MAX_BYTES


@pytest.mark.slow
def test_the_committed_results_come_out_again():
    """Every verdict and figure of `results/`, where its readings lie beside it."""
    for index in sorted((REPOSITORY / "results").glob("*/*/readings/readings.json")):
        page = recompute_page(index.parents[1])
        assert page.differences == (), page.page
