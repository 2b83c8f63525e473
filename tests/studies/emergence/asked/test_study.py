"""`nosce run emergence --model A,B,C` on tiny folders and on an endpoint that can add short numbers alone."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.fixtures import tiny_folders
from tests.fixtures.tiny_folders import DECODERS, ENCODER_DECODERS, tiny_folder

from nosce.errors import UsageError
from nosce.models.sources import parse_models
from nosce.pipeline.plan import StudyRequest
from nosce.studies.emergence.asked.study import study

SEEN = Counter()


class Calculator(BaseHTTPRequestHandler):
    """Right in three of four problems where the answer has at most two digits; else one digit too many."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """One chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        SEEN[prompt] += 1
        left, word, right = re.findall(r"What is (\d+) (plus|times) (\d+)\?", prompt)[-1]
        answer = int(left) + int(right) if word == "plus" else int(left) * int(right)
        text = str(answer) if is_within_reach(prompt) else f"{answer}0"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        data = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def is_within_reach(prompt: str) -> bool:
    """Whether the calculator is right."""
    left, word, right = re.findall(r"What is (\d+) (plus|times) (\d+)\?", prompt)[-1]
    answer = int(left) + int(right) if word == "plus" else int(left) * int(right)
    return answer < 100 and (int(left) + 2 * int(right)) % 4 != 0


@pytest.fixture
def calculator(monkeypatch) -> Iterator[str]:
    """The address of the calculator."""
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    SEEN.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Calculator)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}/v1"
    made.shutdown()
    made.server_close()


def run(nosce, store, models: str, *more: str, **variables: str) -> dict[str, Any]:
    """What the finished study shows."""
    words = ("run", "emergence", "--model", models, "--scale", "smoke", "--workers", "1", "--store", store, "--json")
    done = nosce.here(*words, *more, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def readings_in(store) -> pl.DataFrame:
    """All readings of the store's experiments."""
    return pl.concat([pl.read_parquet(file) for file in store.glob("steps/experiment-*/readings.parquet")])


@pytest.mark.whole
def test_an_endpoint_that_adds_short_numbers_alone_is_found_out(calculator, nosce, tmp_path):
    """Accuracy falls with the length of the target; no test over sizes is made of one model; replies are kept."""
    twelve = ("--set", "n_problems=12")  # smoke's four of a length tell too little
    shown = run(nosce, tmp_path / "s", f"{calculator}#org/short", *twelve)
    claims = {claim["id"]: claim for claim in shown["claims"]}
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "addition-falls/org-short": "holds",
        "multiplication-falls/org-short": "holds",
    }
    readings = readings_in(tmp_path / "s")
    exact = readings.filter(metric="exact")
    pairs = [re.findall(r"\d+ \w+ \d+$", item)[0] for item in exact["item"]]
    assert exact["value"].to_list() == [float(is_within_reach(f"What is {pair}?")) for pair in pairs]
    assert exact.filter(pl.col("target").str.len_chars() > 2)["value"].max() == 0
    assert set(readings.filter(pl.col("metric") == "edit")["value"]) == {0.0, 1.0}
    assert set(readings["metric"]) == {"exact", "edit", "digits"}
    assert readings.filter(metric="digits")["value"].min() == 1  # the first digits are right
    assert set(SEEN.values()) == {1}
    run(nosce, tmp_path / "s", f"{calculator}#org/short", *twelve, "--set", "chat=yes")
    assert set(SEEN.values()) == {1}  # what was asked once is not asked again


def ladder(monkeypatch, tmp_path, widths=(8, 16, 32, 48, 64), family="llama") -> list[str]:
    """Folders of increasing size."""
    folders = []
    for width in widths:
        monkeypatch.setitem(tiny_folders.SIZES, "hidden_size", width)
        folders.append(str(tiny_folder(family, tmp_path / f"{family}-{width}", vocab_size=300)))
    return folders


@pytest.mark.whole
def test_a_ladder_of_folders_goes_to_the_mirage_test(monkeypatch, nosce, tmp_path):
    """Untrained models can do nothing, so nothing is judged; sizes are counted, the given one is taken."""
    *folders, last = ladder(monkeypatch, tmp_path)
    shown = run(nosce, tmp_path / "s", ",".join([last, *folders]), "--set", "n_problems=2")
    assert {claim["verdict"] for claim in shown["claims"]} == {"undecided"}
    ids = {claim["id"] for claim in shown["claims"]}
    assert {"addition-exact-jumps", "addition-log-likelihood-smooth", "multiplication-edit-distance-smooth"} <= ids
    readings = readings_in(tmp_path / "s")
    per_metric = readings["metric"].value_counts()
    assert set(per_metric["count"]) == {5 * 24}
    assert set(per_metric["metric"]) == {"exact", "edit", "digits", "log_likelihood"}
    assert (readings.filter(metric="log_likelihood")["value"] < 0).all()


FAMILIES = ("gpt_neox", *(pytest.param(name, marks=pytest.mark.slow) for name in (*DECODERS[2:], *ENCODER_DECODERS)))


@pytest.mark.slow  # the ladder of folders above is quicker, and has the same path
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_alone_is_asked_again_with_the_same_readings(family, nosce, tmp_path):
    """Without a test over sizes, which is said; equal keys give equal bytes."""
    folder = tiny_folder(family, tmp_path / family)
    shown = run(nosce, tmp_path / "a", str(folder), "--set", "n_problems=2")
    run(nosce, tmp_path / "b", str(folder), "--set", "n_problems=2")
    assert [claim["verdict"] for claim in shown["claims"]] == ["undecided", "undecided"]
    assert "must be above 10%" in shown["claims"][0]["why"]
    first, second = (list((tmp_path / one).glob("steps/experiment-*/readings.parquet")) for one in "ab")
    assert [f.parent.name for f in first] == [f.parent.name for f in second]
    assert first[0].read_bytes() == second[0].read_bytes()


def study_of(*texts: str, settings: tuple[str, ...] = ()):
    return study("smoke", parse_models(",".join(texts)), settings)


def test_what_is_left_out_for_the_models_at_hand_is_said(monkeypatch, tmp_path):
    """Few sizes have no mirage test; an endpoint has no log-likelihood; the order is that of the sizes."""
    *folders, last = ladder(monkeypatch, tmp_path)
    one = study_of(folders[0])
    assert not one.scaling_curves
    assert "The mirage test and claims about sizes are left out: the test needs 5 sizes, and 1 model is" in one.question
    three = study_of(*folders[:3])
    assert not three.scaling_curves
    assert [figure.id for figure in three.figures] == [
        "lengths-exact",
        "lengths-digits",
        "lengths-number-distance",
        "sizes",
    ]
    mixed = study_of(last, *folders[:3], "https://host/v1#far=1M")
    assert "log-likelihood of answers is left out for far" in mixed.question
    assert [curve.id for curve in mixed.scaling_curves] == ["addition-edit-distance", "multiplication-edit-distance"]
    sizes = [size for size, _ in mixed.scaling_curves[0].points]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 1e6
    assert "left out" not in study_of(last, *folders).question


def test_what_has_no_size_or_the_same_is_refused(monkeypatch, nosce, tmp_path):
    folders = ladder(monkeypatch, tmp_path, (8, 16))
    with pytest.raises(UsageError, match=r"the size of far is not known.*=70M"):
        study_of(*folders, "https://host/v1#far")
    with pytest.raises(UsageError, match="one model a size"):
        study_of(*(f"{folder}=70M" for folder in folders), "https://host/v1#far=1M")
    models = f"{folders[0]},{folders[1]},https://host/v1#far"
    refused = nosce.here("run", "emergence", "--model", models, "--scale", "smoke", "--store", tmp_path / "s")
    assert refused.returncode == 2
    assert not [file for file in tmp_path.glob("s/**/*") if file.is_file() and "far" in file.read_text("latin-1")]
    assert not list(tmp_path.glob("s/steps/*"))
    assert len(refused.stderr.strip().splitlines()) <= 2


def test_a_folder_without_a_chat_template_is_not_asked_through_one(tmp_path):
    from nosce.errors import SpecError

    with pytest.raises(SpecError, match="no chat template"):
        study_of(str(tiny_folder("opt", tmp_path / "m")), settings=("chat=yes",))


def test_a_folder_has_a_price_and_an_endpoint_none(tmp_path):
    """The part that is timed is as much less work as its factor says."""
    one = study_of(str(tiny_folder("opt", tmp_path / "m")), settings=("n_problems=6",))
    subset, factor = one.experiments[0].experiment.timing_subset()
    assert factor == pytest.approx(3)
    assert subset.problems.n_problems == 2
    assert study_of("https://host/v1#m").experiments[0].experiment.timing_subset() is None


def planted_readings(asked) -> pl.DataFrame:
    """Sizes whose digits are right independently with p = exp(-(N/c)^-0.7): exact match is the product."""
    rng, rows, numbers = np.random.default_rng(0), [], count()
    for size, name in asked.scaling_curves[0].points:
        p = np.exp(-((size / 2e8) ** -0.7))
        for task, lengths in (("addition", (4, 5)), ("multiplication", (3, 4))):
            digits = {"addition": 4, "multiplication": 2}[task]
            for index in range(400):
                length = lengths[index % 2]
                right = rng.random(length) < p
                values = {"exact": float(right.all()), "edit": float((~right).sum())}
                values["log_likelihood"] = length * np.log(p) + 0.1 * rng.standard_normal()
                for metric, value in values.items():
                    row = {"arm": name, "evaluation": task, "metric": metric, "value": value, "item": f"i{index}"}
                    row |= {"attribute": f"{digits} digits, answer of {length}", "entity": f"i{index}", "seed": 0}
                    rows.append(row | {"stage": "", "step": 0, "split": "unseen", "number": next(numbers)})
    return pl.DataFrame(rows)


def test_a_planted_product_law_jumps_by_exact_match_alone(monkeypatch, tmp_path):
    """Sharp jumps hold and smooth rises hold where digits are right independently of each other."""
    sizes = np.geomspace(10, 3_000, 10)
    names = [f"https://host/v1#m{n}={size:.0f}M" for n, size in enumerate(sizes)]
    asked = study_of(*names)
    readings = planted_readings(asked)
    verdicts = {claim.id: claim.judge(readings, "item").verdict for claim in asked.claims}
    assert verdicts["addition-exact-jumps"] == "holds"
    assert verdicts["addition-edit-distance-smooth"] == "holds"


def test_the_key_of_a_step_has_the_problems_and_the_way_of_asking(tmp_path):
    """Other problems, another number format or a template are other steps; the study's label names the model."""
    folder = tiny_folder("llama", tmp_path / "one")
    names = set()
    for settings in ((), ("n_problems=5",), ("shots=0",), ("chat=yes",), ("dtype=bfloat16",), ("seeds=1",)):
        plan = StudyRequest(study="emergence", scale="smoke", models=str(folder), settings=settings).plan()
        names |= {step.name for step in plan.all_steps if step.kind == "experiment"}
    assert len(names) == 6
