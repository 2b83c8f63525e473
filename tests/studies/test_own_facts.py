"""`nosce run biographies --facts TABLE`, with fresh weights and with models of one's own."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.analysis.conclusion import ArmConclusion
from nosce.errors import SpecError, UsageError
from nosce.pipeline.plan import StudyRequest
from nosce.records import Reading, to_table
from nosce.studies.biographies.arms import FINETUNE_STAGE
from nosce.studies.biographies.own_facts import extractable_claim
from nosce.study import PRETRAIN

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests" / "fixtures" / "facts"
TABLE, WORDINGS = FACTS / "products.csv", FACTS / "products.txt"
CLAIMS = ["memorised/single", "memorised/multi5+permute", "extraction-gap", "single-near-chance"]
CLAIMS += ["extractable/single", "extractable/multi5+permute"]


def checked(done) -> dict:
    """What a run printed, after a look at claims and answer: an untrained model has memorised nothing."""
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    claims = {claim["id"]: claim for claim in contents["claims"]}
    assert list(claims) == CLAIMS
    assert {claim["n"] for claim in contents["claims"]} == {20, 40}
    assert not {claim["verdict"] for claim in claims.values()} & {"holds"}
    assert contents["conclusion"].startswith("It is not decided which of the arms tried (single, multi5+permute)")
    assert not re.search("people|person|biographies", " ".join(claim["text"] for claim in claims.values()))
    return contents


@pytest.mark.whole
def test_the_page_for_a_hurry_runs_without_a_model(nosce, tmp_path):
    """The commands of docs/your-facts.md that name no model, at scale smoke, from a folder with the two files."""
    (tmp_path / "products.csv").write_bytes(TABLE.read_bytes())
    (tmp_path / "products.txt").write_bytes(WORDINGS.read_bytes())
    page = (ROOT / "docs" / "your-facts.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^    nosce (run .+)$", page, re.MULTILINE)]
    commands = [words for words in commands if "--model" not in words]
    assert len(commands) == 2
    words = [*commands[1], "--scale", "smoke", "--store", tmp_path / "s", "--workers", "1"]
    contents = checked(nosce.here(*words, "--json", cwd=tmp_path))
    assert "40 entities with 198 facts" in contents["notes"][0]
    assert "column 'product'" in contents["notes"][0]
    shown = nosce.here("show", "biographies", "--store", tmp_path / "s")
    assert "Answer: It is not decided" in shown.stdout
    made = nosce.here("report", "--store", tmp_path / "s", "--out", tmp_path / "report")
    assert made.returncode == 0, made.stderr
    (html,) = (tmp_path / "report").glob("biographies/*/index.html")
    assert '<p class="answer">It is not decided' in html.read_text(encoding="utf-8")
    again = nosce(*words, cwd=tmp_path)
    assert "Nothing to do" in again.stdout


@pytest.mark.whole
@pytest.mark.parametrize(
    "family", ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt_neox", "gemma"))]
)
def test_a_model_of_ones_own_learns_the_facts(family, nosce, tmp_path):
    """With its own tokenizer, in which no umlaut and no Japanese sign is one token."""
    folder = tiny_folder(family, tmp_path / family)
    words = ["biographies", "--facts", TABLE, "--model", folder, "--scale", "smoke", "--workers", "1"]
    checked(nosce.here("run", *words, "--store", tmp_path / "s", "--json"))


def request(*settings: str, models: str = "") -> StudyRequest:
    """A request of the products at scale smoke."""
    return StudyRequest(study="biographies", scale="smoke", models=models, settings=settings)


def test_a_changed_file_is_a_changed_key(tmp_path):
    """Of the table and of the wordings; the path of an unchanged table is none."""
    table, wordings = tmp_path / "t.csv", tmp_path / "w.txt"
    table.write_bytes(TABLE.read_bytes())
    wordings.write_bytes(WORDINGS.read_bytes())

    def training() -> str:
        plan = request(f"facts={table}", f"wordings={wordings}").plan()
        return plan.training_steps["single", 0, PRETRAIN].name

    first = training()
    assert request(f"facts={TABLE}", f"wordings={WORDINGS}").plan().training_steps["single", 0, PRETRAIN].name == first
    table.write_text(table.read_text(encoding="utf-8").replace("Porto", "Lisboa"), encoding="utf-8")
    second = training()
    wordings.write_text(wordings.read_text(encoding="utf-8") + "{name} goes for {price} euros.\n", encoding="utf-8")
    assert len({first, second, training()}) == 3


def test_rows_fields_and_seeds_are_the_users(tmp_path):
    """Other rows, columns and names; each row has its claim and its place in the answer."""
    rows = "augmentations=single,single+fullname,multi3+permute"
    study = request(f"facts={TABLE}", rows, "columns=color,price", "seeds=0,1").plan().study
    assert [arm.name for arm in study.arms] == rows.partition("=")[2].split(",")
    assert {"extractable/multi3+permute", "fullname-helps"} <= {claim.id for claim in study.claims}
    assert study.conclusion is not None
    assert len(study.conclusion.claims) == 3
    assert study.seeds == (0, 1)
    assert "on color, price" in study.notes[0]


def test_settings_that_mean_nothing_are_refused(nosce, tmp_path):
    """In one sentence, with exit code 2, before a store is made."""
    folder = tiny_folder("llama", tmp_path / "one")
    with pytest.raises(UsageError, match="leave out settings of world"):
        request(f"facts={TABLE}", "people=10", models=str(folder)).plan()
    with pytest.raises(UsageError, match="give --facts TABLE as well"):
        request("name_column=product", models=str(folder)).plan()
    with pytest.raises(SpecError, match="no column 'sku'"):
        request(f"facts={TABLE}", "name_column=sku").plan()
    with pytest.raises(UsageError, match="no field"):
        request(f"facts={TABLE}", "people=10").plan()
    store = tmp_path / "s"
    for words in (["--wordings", WORDINGS], ["--facts", tmp_path / "none.csv"], ["--facts", WORDINGS]):
        for command in ("run", "plan"):
            done = nosce.here(command, "biographies", *words, "--scale", "smoke", "--store", store)
            assert done.returncode == 2
            assert len(done.stderr.strip().splitlines()) == 1
            assert "Traceback" not in done.stderr
    assert not list(store.glob("steps/*"))


def planted_readings(row: str, recall: float, exact: float) -> pl.DataFrame:
    """Twenty entities with five questions each: recall inside the texts, and answers of the unseen half."""
    shared = {"study": "biographies", "scale": "smoke", "arm": row, "seed": 0, "step": 9, "metric": "exact"}
    shared |= {"outcome": None, "answer": None, "target": None}
    readings = []
    for number in range(100):
        entity = {"entity": f"entity/{number % 20}", "item": str(number), "attribute": "color", "split": "unseen"}
        for evaluation, stage, share in (("recall", PRETRAIN, recall), ("questions", FINETUNE_STAGE, exact)):
            value = float(number < 100 * share)
            readings.append(Reading(**shared, **entity, evaluation=evaluation, stage=stage, value=value))
    return to_table(readings, Reading)


@pytest.mark.parametrize(
    ("recall", "exact", "word"),
    [(1.0, 0.9, "holds"), (1.0, 0.05, "fails"), (1.0, 0.5, "undecided"), (0.5, 0.05, "undecided")],
)
def test_a_row_is_judged_where_it_was_memorised(recall, exact, word):
    """A row that answers as a guess would fails; one whose texts were not memorised says nothing."""
    verdict = extractable_claim("single").judge(planted_readings("single", recall, exact), "entity")
    assert verdict.verdict == word
    conclusion = ArmConclusion(claims=(("single", verdict.id),), effect="makes the facts extractable", answers="")
    start = {"holds": "single makes", "fails": "None of the arms", "undecided": "It is not decided"}[word]
    assert conclusion.sentence([verdict], {}).startswith(start)
