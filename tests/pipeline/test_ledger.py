"""The ledger: rows from what reports and cards write, of this version and of earlier ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nosce.errors import DataError
from nosce.pipeline.ledger import MAX_TEXT, VerdictCounts, folder_rows, sorted_rows, tell_apart

ROOT = Path(__file__).parents[2]
ODD = "<script>alert(1)</script> \x1b[31m\u202e & {{ 7 * 7 }}"


def claim(verdict, **changed):
    """A claim as this version writes it."""
    return {"verdict": verdict, "is_precondition": False, "this_model_alone": False, "seeds": 3} | changed


def planted(folder, name, under="laptop", *, page=True, file="show.json", **contents):
    """A result in a folder of pages."""
    place = folder / name / under
    place.mkdir(parents=True)
    (place / file).write_text(json.dumps(contents), encoding="utf-8")
    if page:
        (place / "index.html").write_text("<p>", encoding="utf-8")
    return place / file


def only_row(folder):
    (row,), faults = folder_rows(folder)
    assert faults == []
    return row


def test_a_study_has_its_counts_question_seeds_and_date(tmp_path):
    """Preconditions are no findings; the answer without one of the study's own are the counts."""
    claims = [claim("holds")] * 8 + [claim("fails")] * 3 + [claim("undecided")] * 3
    planted(
        tmp_path,
        "birds",
        title="Do birds know?",
        question="Do they?",
        paper="arXiv:2309.14316",
        scale="laptop",
        variant="smollm2, people=50",
        part=None,
        seeds=[0, 1, 2],
        claims=[*claims, claim("holds", is_precondition=True)],
        provenance={"made": "2026-11-23T08:06:07Z", "stale": {}, "steps": 12},
    )
    row = only_row(tmp_path)
    assert (row.kind, row.name, row.scale, row.settings) == ("study", "birds", "laptop", "smollm2, people=50")
    assert row.findings == VerdictCounts(holds=8, fails=3, undecided=3)
    assert row.answer == "8 of 14 findings hold, 3 fail, 3 are open."
    assert (row.seeds, row.made, row.part) == ("3 seeds (0-2)", "2026-11-23", "")
    assert (row.href, row.notices) == ("./birds/laptop/index.html", ())
    assert row.paper_href == "https://arxiv.org/abs/2309.14316"


@pytest.mark.parametrize(
    "written", [{"answer": {"text": "They do.", "sure": "", "decided": True}}, {"conclusion": "They do."}]
)
def test_the_studys_own_answer_stands_before_the_counts(tmp_path, written):
    planted(tmp_path, "birds", claims=[claim("holds")], **written)
    assert only_row(tmp_path).answer == "They do."


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((1, 0, 0), "1 of 1 finding holds."),
        ((0, 1, 1), "0 of 2 findings hold, 1 fails, 1 is open."),
        ((2, 0, 2), "2 of 4 findings hold, 2 are open."),
        ((0, 0, 0), ""),
    ],
)
def test_counts_are_told_in_a_sentence(counts, told):
    assert VerdictCounts(holds=counts[0], fails=counts[1], undecided=counts[2]).sentence == told


def test_decisions_of_one_model_are_counted_apart(tmp_path):
    """They say nothing of other trainings, whichever version of the file tells it."""
    alone = [claim("holds", this_model_alone=True, seeds=1), claim("fails", this_model_alone=True, seeds=1)]
    planted(tmp_path, "a", seeds=[0, 1], claims=[claim("holds"), claim("undecided"), *alone])
    planted(tmp_path, "b", seeds=[7], claims=[{"verdict": "fails"}, {"verdict": "undecided"}])
    (a, b), _ = folder_rows(tmp_path)
    assert (a.findings, a.of_one_model) == (VerdictCounts(holds=1, undecided=1), VerdictCounts(holds=1, fails=1))
    assert a.answer == "1 of 2 findings holds, 1 is open. Of this model alone: 1 of 2 findings holds, 1 fails."
    assert (b.findings, b.of_one_model) == (VerdictCounts(), VerdictCounts(fails=1, undecided=1))
    assert b.seeds == "seed 7"


def test_two_results_of_one_title_are_told_apart(tmp_path):
    """By what differs: the study's folder, then scale, settings, part and place; no two tags are equal."""
    same = {"title": "Memorised", "claims": []}
    planted(tmp_path, "people", "laptop", scale="laptop", **same)
    planted(tmp_path, "people", "laptop-big", scale="laptop", variant="people=800", **same)
    planted(tmp_path, "people", "smoke", scale="smoke", **same)
    planted(tmp_path, "packed", "laptop", scale="laptop", title="  memorised ", claims=[])
    planted(tmp_path, "birds", "laptop", scale="laptop", title="Birds", claims=[])
    tags = {(row.name, row.href): row.tag for row in tell_apart(folder_rows(tmp_path)[0])}
    assert tags == {
        ("people", "./people/laptop/index.html"): "people, laptop",
        ("people", "./people/laptop-big/index.html"): "people, laptop, people=800",
        ("people", "./people/smoke/index.html"): "people, smoke",
        ("packed", "./packed/laptop/index.html"): "packed, laptop",
        ("birds", "./birds/laptop/index.html"): "",
    }


def test_equal_results_at_two_places_are_told_apart_by_the_place(tmp_path):
    planted(tmp_path, "people", title="Memorised", claims=[])
    rows = [*folder_rows(tmp_path, source="published", at="./results")[0], *folder_rows(tmp_path, source="yours")[0]]
    assert [row.tag for row in tell_apart(sorted_rows(rows))] == ["published", "yours"]
    assert rows[0].href == "./results/people/laptop/index.html"


def test_hostile_text_is_cut_and_its_control_characters_are_spelled_out(tmp_path):
    """What a file says of where it lies is not believed; a link begins with the index's own folder."""
    planted(tmp_path, "odd name%", title=ODD, question="y" * 5_000, study="javascript:alert(1)//", claims=[])
    row = only_row(tmp_path)
    assert "\x1b" not in row.title
    assert "\u202e" not in row.title
    assert len(row.question) == MAX_TEXT
    assert row.href == "./odd%20name%25/laptop/index.html"
    assert row.name == "odd name%"


@pytest.mark.parametrize(
    ("paper", "href"),
    [("arXiv:2309.14316", "https://arxiv.org/abs/2309.14316"), ("javascript:alert(1)", ""), ("arXiv:../x", "")],
)
def test_only_a_number_of_arxiv_becomes_an_address(tmp_path, paper, href):
    planted(tmp_path, "birds", paper=paper, claims=[])
    assert only_row(tmp_path).paper_href == href


def test_an_earlier_format_is_read_and_said_to_be_one(tmp_path):
    """Claims without a mark for preconditions, steps of other code, and a page that is missing."""
    provenance = {"stale": {"corpus-1": "changed"}, "steps": 61, "made": 7}
    planted(tmp_path, "birds", page=False, claims=[{"verdict": "holds"}], provenance=provenance, seeds="three")
    row = only_row(tmp_path)
    assert row.notices == (
        "Made by older code: 1 of 61 steps; preconditions are not marked and count as findings.",
        "Its page is not there.",
    )
    assert (row.href, row.made, row.seeds, row.scale) == ("", "", "", "laptop")


def test_a_card_tells_how_its_questions_are_answered(tmp_path):
    """Its claims are of one model; earlier versions had other words for verdicts."""
    questions = [
        {
            "question": "Can it be asked?",
            "answer": "yes, this model alone",
            "seeds": 1,
            "claims": [claim("holds, this model alone", seeds=1), claim("undecided", seeds=1)],
        },
        {"question": "Does it know?", "answer": "undecided", "seeds": 1, "claims": []},
        {"question": "Does it jump?", "answer": "not asked", "seeds": 0, "claims": []},
    ]
    planted(tmp_path, "cards", "tiny", file="card.json", model="tiny", settings=["a=1"], questions=questions)
    row = only_row(tmp_path)
    assert (row.kind, row.name, row.title, row.settings) == ("card", "tiny", "Card of tiny", "a=1")
    assert row.answer == ("Can it be asked? Yes, this model alone. Questions left open: 1 not asked, 1 undecided.")
    assert (row.findings, row.of_one_model) == (VerdictCounts(), VerdictCounts(holds=1, undecided=1))
    assert (row.href, row.notices) == ("./cards/tiny/index.html", ())
    questions[0]["claims"] = [claim("true of one seed", seeds=1)]
    planted(tmp_path / "other", "cards", "tiny", file="card.json", model="tiny", questions=questions)
    earlier = only_row(tmp_path / "other")
    assert earlier.of_one_model == VerdictCounts(holds=1)
    assert "older code" in earlier.notices[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "it holds no JSON object"),
        ("{", "it is no JSON"),
        ("{}", "its claims are no list of objects"),
        ('{"claims": [3]}', "its claims are no list of objects"),
        ('{"claims": [{"verdict": "maybe"}]}', "'maybe' is no verdict"),
        ('{"claims": [{"verdict": ["holds"]}]}', "is no verdict"),
    ],
)
def test_a_file_that_is_no_result_is_named(tmp_path, text, said):
    """No verdict is lost silently: a word that is none refuses the file."""
    file = planted(tmp_path, "birds", claims=[])
    file.write_text(text, encoding="utf-8")
    planted(tmp_path, "fish", claims=[])
    rows, (fault,) = folder_rows(tmp_path)
    assert [row.name for row in rows] == ["fish"]
    assert isinstance(fault, DataError)
    assert re.match(rf"{re.escape(str(file))} is not what a report writes \(.*{re.escape(said)}.*\); move", str(fault))


def test_every_published_result_has_a_row():
    """The committed results, whatever version wrote them: each is counted whole, has a page, and a name of its own."""
    rows, faults = folder_rows(ROOT / "results")
    files = [*ROOT.glob("results/*/*/show.json"), *ROOT.glob("results/*/*/card.json")]
    assert faults == []
    assert len(rows) == len(files) >= 3
    names = [(row.title.casefold(), row.tag) for row in tell_apart(rows)]
    assert len({*names}) == len(names)
    for row in rows:
        assert row.href, row
        assert row.answer, row
        assert (ROOT / "results" / row.href.replace("%20", " ")).is_file()
        assert row.findings.total + row.of_one_model.total > 0, row
