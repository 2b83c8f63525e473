"""The command line as its users meet it: exit codes, one sentence for a mistake, and nothing lost."""

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html import escape
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from nosce import cli as nosce_cli
from nosce.cli import app
from nosce.pipeline.steps.training import list_checkpoints
from nosce.store.store import Store
from nosce.train import checkpoint

SMOKE = ("biographies_adamw", "--scale", "smoke")
CLAIM = ["id", "text", "source", "criterion", "paper_value", "estimate", "low", "high", "n", "unit", "verdict"]


def one_sentence(ended, code, *words):
    """Did a command end with this code and one line on stderr that says these words?"""
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("nosce: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.rstrip().endswith(".")
    for word in words:
        assert str(word) in ended.stderr
    return True


def contents(store):
    """The bytes of every finished step of a store."""
    return {path: path.read_bytes() for path in sorted((store / "steps").rglob("*")) if path.is_file()}


def made(ended):
    """How many steps a run said that it made."""
    found = re.search(r"^(\d+) steps? made in", ended.stdout, re.MULTILINE)
    return int(found[1]) if found else 0


def copied(store, tmp_path):
    return Path(shutil.copytree(store, tmp_path / "copy"))


def flip(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


# --- what was asked for is not there ---


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "biography"), ("no study 'biography'", "biographies_adamw")),
        (("run", "biographies_adamw", "--scale", "huge"), ("no scale 'huge'", "smoke")),
        (("run", *SMOKE, "--arms", "single,double"), ("no arm 'double'", "multi5+permute")),
        (("run", *SMOKE, "--seeds", "0"), ("--seeds 0", "1 or more")),
        (("run", *SMOKE, "--workers", "0"), ("--workers 0", "1 or more")),
        (("run", "nowhere.py:study", "--scale", "smoke"), ("nowhere.py", "FILE.py:FUNCTION")),
        (("show", "biographies_adamw", "--scale", "paper"), ("nothing of 'biographies_adamw' at", "nosce run")),
        (("show", "biography"), ("nothing of 'biography'",)),
        (("explain", "zzz"), ("no step begins with 'zzz'",)),
        (("explain", "training"), ("4 steps begin with 'training'",)),
        (("export", "biographies_adamw", "double", "new", "--scale", "smoke"), ("no arm 'double'",)),
        (("export", "biographies_adamw", "single", "new", "--scale", "smoke", "--seed", "7"), ("no seed 7",)),
        (("export", "biographies_adamw", "single", "new", "--scale", "demo"), ("is not trained", "nosce run")),
        (("export", "biographies_adamw", "single", ".", "--scale", "smoke"), ("not an empty folder",)),
        (("export", "emergence", "reconstruction 1", "new", "--scale", "smoke"), ("is an experiment",)),
    ],
    ids=[
        "study",
        "scale",
        "arm",
        "seeds",
        "workers",
        "file",
        "scale not run",
        "study not run",
        "step",
        "steps",
        "arm to export",
        "seed to export",
        "not trained",
        "not empty",
        "no model",
    ],
)
def test_what_is_not_there_is_the_users_mistake(nosce, smoke_store, tmp_path, words, told):
    """An unknown study, scale, arm, seed, step or file ends with 2 and says what there is; the store stays as it is."""
    (tmp_path / "something").touch()
    before = contents(smoke_store)
    ended = nosce.here(*words, "--store", smoke_store, cwd=tmp_path)

    assert one_sentence(ended, 2, *told)
    assert ended.stdout == ""
    assert contents(smoke_store) == before
    assert not (tmp_path / "new").exists()


def test_options_that_do_not_exist_are_the_users_mistake(nosce, tmp_path):
    """The command line library's own complaint ends with 2 as well, and without a traceback."""
    ended = nosce("run", *SMOKE, "--speed", "9", cwd=tmp_path)

    assert ended.returncode == 2
    assert "--speed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_without_the_function_is_the_users_mistake(nosce, little, tmp_path):
    """The file is there, but not what was named in it."""
    assert one_sentence(nosce.here("run", little("no_arm"), "--store", tmp_path / "s"), 2, "no function 'no_arm'")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("nobody", ("Biographies.people=0", "take 2 or more")),
        ("crowd", ("Biographies.people=129", "128 full names", "lower people")),
    ],
)
def test_a_world_that_cannot_be_is_refused_before_anything_is_made(nosce, little, tmp_path, function, told):
    """Zero people, or more people than there are names for, end with 2 and leave the store empty."""
    ended = nosce.here("run", little(function), "--scale", "smoke", "--store", tmp_path / "s")

    assert one_sentence(ended, 2, *told)
    assert not contents(tmp_path / "s")


# --- the disk refuses ---


def test_a_store_that_is_a_file_is_refused_and_left_alone(nosce, tmp_path):
    """The sentence names the path; the file is what it was."""
    (tmp_path / "file").write_text("my notes")
    ended = nosce.here("run", *SMOKE, "--store", tmp_path / "file")

    assert one_sentence(ended, ended.returncode, tmp_path / "file", "that is a file", "--store")
    assert ended.returncode != 0
    assert (tmp_path / "file").read_text(encoding="utf-8") == "my notes"


def test_a_store_that_is_a_file_is_the_users_mistake(nosce, tmp_path):
    """Whoever names a file as the store made a mistake in the command, so the code is 2."""
    (tmp_path / "file").touch()

    assert nosce.here("list", "--store", tmp_path / "file").returncode == 2


@pytest.mark.parametrize("words", [("run", *SMOKE), ("list",), ("doctor",), ("report",)], ids=lambda words: words[0])
def test_a_disk_that_cannot_be_written_is_told_in_one_sentence(nosce, tmp_path, words):
    """A store below /proc, which takes no folders from anybody, ends with 1 and says what to do."""
    ended = (nosce if words[0] == "run" else nosce.here)(*words, "--store", "/proc/nosce", cwd=tmp_path)

    assert one_sentence(ended, 1, "/proc/nosce", "--store")


@pytest.fixture(scope="module")
def full_disk(once, nosce, little):
    """A run on a disk that takes no file above 300 kB, so that corpora fit and weights do not."""

    def make(folder):
        words = ["run", little("one_arm"), "--scale", "smoke", "--workers", "1", "--store", str(folder)]
        full = nosce(*words, largest_file=300_000)
        return words, full.returncode, full.stdout, full.stderr

    return subprocess.CompletedProcess(*once("full-disk", make))


@pytest.mark.whole
def test_a_full_disk_ends_with_one_and_loses_nothing(full_disk, nosce, tmp_path):
    """The step that did not fit is named, what was finished is kept, and with room the same command goes on."""
    *words, kept = full_disk.args
    store = copied(Path(kept), tmp_path)
    before = contents(store)

    assert full_disk.returncode == 1
    assert "Traceback" not in full_disk.stderr + full_disk.stdout
    assert re.match(r"nosce: training-\w{20} \(only, seed 0, pretrain\) failed: ", full_disk.stderr)
    assert "What was finished is kept; `nosce run" in full_disk.stderr
    assert any("corpus-" in str(path) for path in before)
    with_room = nosce.here(*words, store)
    after = contents(store)
    assert with_room.returncode == 0, with_room.stderr
    assert before.items() <= after.items()
    assert made(with_room) == 9 - len({path.relative_to(store / "steps").parts[0] for path in before})


@pytest.mark.whole
def test_a_full_disk_is_told_as_such(full_disk):
    """Weights that did not fit are told as what they are, with what to do, and not as a fault of the program."""
    assert "free some space or name another folder" in full_disk.stderr


def test_a_disk_that_is_full_from_the_start_is_told_as_such(nosce, tmp_path):
    """Where not even the plan can be written nothing is begun."""
    ended = nosce("run", *SMOKE, "--store", tmp_path / "s", largest_file=1_000)

    assert one_sentence(ended, 1, "free some space", "finished steps are kept")


# --- damage ---


@pytest.mark.parametrize("cleared", [True, False], ids=["readings to be made", "all finished"])
def test_a_damaged_checkpoint_is_never_used_and_made_again(nosce, little, little_store, tmp_path, cleared):
    """One flipped byte of the weights: the run says so, sets the step aside, makes it again, and ends with 0.

    The new weights and readings are those of the undamaged store, byte for byte.
    """
    store = copied(little_store, tmp_path)
    weights = sorted((store / "steps").glob("training-*/checkpoints/*/model.safetensors"))[0]
    if cleared:
        for step in [*(store / "steps").glob("evaluation-*"), *(store / "steps").glob("estimates-*")]:
            shutil.rmtree(step)
    flip(weights)
    ended = nosce.here("run", little("one_arm"), "--scale", "smoke", "--store", store)

    assert ended.returncode == 0, ended.stderr
    assert "differs from its checksums in checkpoints/" in ended.stdout
    assert len(list((store / "damaged").iterdir())) == 1
    assert results(store) == results(little_store)


def results(store):
    """Final weights and readings of a store, as bytes."""
    found = [*store.glob("steps/*/checkpoints/*/*.safetensors"), *store.glob("steps/*/readings.parquet")]
    return {path.relative_to(store): path.read_bytes() for path in found}


def test_damage_is_told_by_whoever_looks_at_it(nosce, little, little_store, tmp_path):
    """`show` refuses numbers that do not match their checksum."""
    store = copied(little_store, tmp_path)
    flip(next((store / "steps").glob("estimates-*/verdicts.parquet")))

    assert one_sentence(nosce.here("show", little("one_arm"), "--store", store), 1, "verdicts.parquet", "nosce run")


def test_rerun_stale_copes_with_papers_that_cannot_be_read(nosce, little, little_store, tmp_path):
    """With --rerun-stale too a step whose provenance is broken is set aside and made again."""
    store = copied(little_store, tmp_path)
    next((store / "steps").glob("exposure-*/provenance.json")).write_text("{")
    ended = nosce.here("run", little("one_arm"), "--scale", "smoke", "--store", store, "--rerun-stale")

    assert ended.returncode == 0, ended.stderr
    assert made(ended) >= 1


# --- failures and interrupts ---


@pytest.mark.parametrize(
    ("function", "kind", "advice"),
    [
        pytest.param("hopeless", "training", "lower peak_lr (it is 1e+30)", marks=pytest.mark.slow),
        ("broken", "leakage", "set window to"),
    ],
    ids=["training", "leakage"],
)
def test_a_step_that_fails_ends_with_one_and_says_how_to_go_on(nosce, little, tmp_path, function, kind, advice):
    """Which step, why, what to change, and the command that goes on; what hangs on it is not tried."""
    ended = nosce.here("run", little(function), "--scale", "smoke", "--workers", "1", "--store", tmp_path / "s")

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"nosce: {kind}-")
    assert ended.stderr.count("failed: ") == 1
    assert advice in ended.stderr
    command = f"nosce run {little(function)} --scale smoke --store {tmp_path / 's'}"
    assert f"`{command}` goes on from here." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert any((tmp_path / "s" / "steps").glob("corpus-*"))


def until(happened, process, seconds=120.0):
    """Wait until something has happened; it must before the process ends."""
    limit = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


@pytest.fixture(scope="module", params=["leakage", "training"])
def interrupted(request, once, nosce, little):
    """A run that met Ctrl-C, which reaches the whole group, while it was making a step of this kind."""

    def make(folder):
        words = ["run", little("one_arm"), "--scale", "smoke", "--workers", "1", "--store", str(folder)]
        process = nosce.start(*words)
        until(lambda: any(folder.glob(f"work/{request.param}-*")), process)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        return words, process.returncode, stdout, stderr, alive(process.pid)

    *ended, left = once(f"interrupted-{request.param}", make)
    return subprocess.CompletedProcess(*ended), left


def alive(group, seconds=10.0):
    """Is somebody of a process group still there, after the workers' helpers were given a moment to end?"""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.whole
def test_an_interrupt_ends_with_130_and_leaves_nobody_behind(interrupted):
    """Within moments of Ctrl-C no process of the run is left."""
    ended, left = interrupted

    assert ended.returncode == 130
    assert not left


@pytest.mark.whole
def test_an_interrupt_is_told_in_one_sentence(interrupted):
    """After Ctrl-C a person reads that the same command goes on, and no traceback."""
    ended, _ = interrupted

    assert "interrupted" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.whole
@pytest.mark.parametrize("interrupted", ["training"], indirect=True)
def test_an_interrupted_run_is_gone_on_with(interrupted, nosce, little_store):
    """The same command ends with 0 and with the bytes of a run that was never interrupted."""
    words = interrupted[0].args
    ended = nosce.here(*words)

    assert ended.returncode == 0, ended.stderr
    assert results(Path(words[-1])) == results(little_store)


@pytest.mark.whole
def test_two_runs_at_once_share_the_work(nosce, little, little_store, tmp_path):
    """Started together on one store both end with 0 and show the same; each step was made by one of them."""
    words = ("run", little("one_arm"), "--scale", "smoke", "--workers", "1", "--store", tmp_path / "s")
    both = [nosce.start(*words), nosce.start(*words)]
    ended = []
    for process in both:
        stdout, stderr = process.communicate(timeout=200)
        ended.append(subprocess.CompletedProcess(words, process.returncode, stdout, stderr))

    assert [e.returncode for e in ended] == [0, 0], [e.stderr for e in ended]
    assert "Traceback" not in ended[0].stderr + ended[1].stderr
    assert sum(map(made, ended)) == len(list((tmp_path / "s" / "steps").iterdir())) == 9
    assert not any((tmp_path / "s" / place).exists() for place in ("replaced", "damaged"))
    assert results(tmp_path / "s") == results(little_store)


# --- what a person sees ---


def test_a_run_tells_of_each_step_in_plain_lines(smoke):
    """Where nobody looks at a terminal there are lines and no control codes: every step once, counted up."""
    store, said = smoke
    steps = len(list((store / "steps").iterdir()))

    assert "\x1b" not in said
    assert "\r" not in said
    done = [int(n) for n in re.findall(rf"^\[(\d+)/{steps}\] \w+: .* \(\d+ s\)$", said, re.MULTILINE)]
    assert done == list(range(1, steps + 1))
    assert f"{steps} steps made in" in said
    assert "extraction-gap" in said


@pytest.mark.whole
def test_running_again_does_nothing_and_says_so(nosce, smoke):
    """The second run makes nothing, changes no byte and prints the same claims."""
    store, first = smoke
    before = contents(store)
    ended = nosce("run", *SMOKE, "--store", store)

    assert ended.returncode == 0
    assert re.search(r"^Nothing to do: all \d+ steps are there \(\d\.\d s\)\.$", ended.stdout, re.MULTILINE)
    assert ended.stdout.partition("claims\n")[2] == first.partition("claims\n")[2]
    assert contents(store) == before


@pytest.mark.whole
@pytest.mark.parametrize(
    "words",
    [("run", *SMOKE), ("show", "biographies_adamw"), ("list",), ("explain", "corpus-"), ("report", "--out", "site")],
    ids=lambda words: words[0],
)
def test_what_makes_nothing_is_quick_because_it_imports_no_torch(nosce, smoke_store, tmp_path, words):
    """Looking at results costs no seconds of imports."""
    code = (
        "import sys\n"
        "from nosce.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'peft'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words, "--store", str(smoke_store)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=nosce.surroundings(),
        timeout=100,
    )

    assert ended.returncode in (0, 2)
    assert "heavy: []" in ended.stderr


def test_the_terminal_and_the_json_give_the_same_answer(nosce, smoke_store):
    """The sentence that the page begins with ends the table."""
    words = ("show", "biographies_adamw", "--store", smoke_store)
    answer = json.loads(nosce.here(*words, "--json").stdout)["answer"]["text"]
    assert answer
    assert f"Answer: {answer}" in nosce.here(*words).stdout.splitlines()


def test_show_prints_the_contract_and_nothing_else(nosce, smoke_store):
    """`show --json` is one JSON object with the agreed keys, for programs that nobody will tell of a change."""
    ended = nosce.here("show", "biographies_adamw", "--json", "--store", smoke_store)
    shown = json.loads(ended.stdout)

    assert ended.returncode == 0
    assert ended.stderr == ""
    head = ["study", "scale", "variant", "title", "question", "answer", "paper", "seeds", "arms", "part"]
    assert list(shown) == [*head, "claims", "provenance"]
    assert (shown["study"], shown["scale"], shown["seeds"]) == ("biographies_adamw", "smoke", [0])
    assert (shown["arms"], shown["part"]) == (["single", "multi5+permute"], None)
    assert shown["claims"]
    for claim in shown["claims"]:
        of_seeds = ["seeds", "seed_groups", "this_model_alone"]
        assert list(claim) == [*CLAIM, "why", "is_difference", "is_precondition", *of_seeds, "age", "price"]
        assert claim["this_model_alone"] == (claim["verdict"] != "undecided")  # one seed
        assert (claim["price"] is None) == (claim["verdict"] != "undecided")
        assert claim["age"]["status"] == "before"
        assert claim["verdict"] in ("holds", "fails", "undecided")
        assert claim["n"] == 40 or claim["estimate"] is None or claim["n"] == 20
    assert {"commit", "dirty", "versions", "device", "threads", "command", "stale"} <= set(shown["provenance"])
    assert shown["provenance"]["command"] == "nosce run biographies_adamw --scale smoke"


def test_run_prints_the_same_json_and_nothing_else(nosce, smoke_store):
    """`run --json` ends with what `show --json` prints; what a person would read goes to stderr."""
    ran = nosce.here("run", *SMOKE, "--json", "--store", smoke_store)
    shown = nosce.here("show", "biographies_adamw", "--json", "--store", smoke_store)

    assert json.loads(ran.stdout) == json.loads(shown.stdout)
    assert "Nothing to do" in ran.stderr


@pytest.mark.whole
def test_colour_is_left_out_where_it_is_not_wanted(nosce, smoke_store):
    """With NO_COLOR a terminal gets no colours, and the verdicts are still there as words and signs."""
    colours = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")
    bright = nosce("show", "biographies_adamw", "--store", smoke_store, FORCE_COLOR="1")
    plain = nosce("show", "biographies_adamw", "--store", smoke_store, FORCE_COLOR="1", NO_COLOR="1")
    piped = nosce("show", "biographies_adamw", "--store", smoke_store)

    assert colours.search(bright.stdout)
    assert not colours.search(plain.stdout)
    assert "\x1b" not in piped.stdout
    for said in (bright, plain, piped):
        assert "✗" in said.stdout
        assert "undecided" in said.stdout


@pytest.mark.whole
def test_a_dry_run_prices_what_is_to_do_and_makes_nothing(nosce, little, little_store, tmp_path):
    """Totals of steps, tokens, FLOPs, disk and minutes are printed, per step and in all; no step is there after.

    The price is close to what the same study then cost: disk within a fifth, tokens within a quarter.
    """
    ended = nosce.here("run", little("one_arm"), "--scale", "smoke", "--dry-run", "--json", "--store", tmp_path / "s")
    priced = json.loads(ended.stdout)
    trainings = [step for step in priced["steps"] if step["kind"] == "training"]

    assert ended.returncode == 0
    assert not list((tmp_path / "s" / "steps").iterdir())
    assert not list((tmp_path / "s" / "work").iterdir())
    assert set(priced["total"]) == {
        "steps",
        "to_do",
        "tokens",
        "flops",
        "disk_bytes",
        "minutes",
        "not_known",
        "workers",
    }
    assert priced["total"]["steps"] == priced["total"]["to_do"] == len(priced["steps"]) == 9
    assert len(trainings) == 2
    for name in ("tokens", "flops", "disk_bytes"):
        assert priced["total"][name] == pytest.approx(sum(step[name] for step in trainings))
        assert priced["total"][name] > 0
    assert 0 < priced["total"]["minutes"] < 5
    for step in trainings:
        paid = little_store / "steps" / step["name"]
        weights = sum(file.stat().st_size for file in paid.glob("checkpoints/*/model.safetensors"))
        assert step["disk_bytes"] == pytest.approx(weights, rel=0.2)
        lines = [json.loads(line) for line in (paid / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        if "documents" in (paid / "spec.json").read_text(encoding="utf-8"):  # of questions only the answers are counted
            assert step["tokens"] == pytest.approx(sum(line["counted"] for line in lines), rel=0.25)


@pytest.mark.parametrize("words", [("plan", *SMOKE), ("run", *SMOKE, "--dry-run")], ids=["plan", "run --dry-run"])
def test_a_plan_of_what_is_finished_has_nothing_to_price(nosce, smoke_store, words):
    """All is done, nothing costs anything, and the totals say so in words."""
    ended = nosce.here(*words, "--store", smoke_store)
    steps = len(list((smoke_store / "steps").iterdir()))

    assert ended.returncode == 0
    assert re.search(
        rf"^0 of {steps} steps to do: 0 tokens, 0 FLOPs, 0 MB of checkpoints, 0\.0 minutes", ended.stdout, re.MULTILINE
    )
    assert ended.stdout.count("done") == steps


def test_list_names_the_studies_and_what_the_store_holds(nosce, smoke_store, tmp_path):
    """Each study with its question and scales, and the scales that are finished here."""
    here = json.loads(nosce.here("list", "--json", "--store", smoke_store).stdout)
    elsewhere = json.loads(nosce.here("list", "--json", "--store", tmp_path / "s").stdout)
    (biographies,) = [row for row in here if row["study"] == "biographies_adamw"]

    assert biographies["held"] == ["smoke"]
    assert {"smoke", "demo", "laptop"} <= set(biographies["scales"])
    assert biographies["question"].endswith("?")
    assert [row["held"] for row in elsewhere] == [[]] * len(elsewhere)
    assert "biographies_adamw" in nosce.here("list", "--store", smoke_store).stdout


def test_list_fits_eighty_columns_and_cuts_nothing(nosce, smoke_store):
    """Each study has its whole name and question and every scale; a scale says whether the store has its results."""
    ended = nosce.here("list", "--store", smoke_store, COLUMNS="80")
    rows = json.loads(nosce.here("list", "--json", "--store", smoke_store).stdout)
    *table, _ = ended.stdout.splitlines()
    words = " ".join(ended.stdout.split())

    assert max(map(len, table)) <= 80
    assert "…" not in ended.stdout
    assert [line.split()[0] for line in table if line[1:2].isalpha()] == ["study", *(row["study"] for row in rows)]
    assert "smoke (finished)" in words
    assert str(smoke_store) in words
    for row in rows:
        assert set(row["question"].split()) <= set(words.split())
        assert row["paper"] not in words
        assert row["paper"] in nosce.here("list", "--store", smoke_store, COLUMNS="120").stdout


def test_the_version_is_printed_and_nothing_is_made(nosce, tmp_path):
    """`nosce --version` needs no store."""
    ended = nosce.anew("--version", cwd=tmp_path)
    module = subprocess.run([sys.executable, "-m", "nosce", "--version"], capture_output=True, text=True, cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (0, f"nosce {version('nosce')}\n")
    assert (module.returncode, module.stdout) == (0, ended.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.whole
def test_a_shell_completes_commands_options_and_studies(nosce, tmp_path):
    """What bash asks for when somebody presses Tab."""

    def completed(words):
        count = str(len(words.split()) - 1)
        ended = nosce(_NOSCE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count, cwd=tmp_path)
        assert ended.stderr == ""
        return ended.stdout.split()

    assert completed("nosce sho") == ["show"]
    assert completed("nosce show --sc") == ["--scale"]
    assert completed("nosce show biographies_") == ["biographies_adamw", "biographies_packed", "biographies_variants"]
    assert "complete_bash" in nosce(_NOSCE_COMPLETE="source_bash", cwd=tmp_path).stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (("--help",), {"numpy", "polars", "scipy", "matplotlib"}),
        (("run", "--help"), {"numpy", "polars", "scipy", "matplotlib"}),
        (("list",), {"polars", "scipy", "matplotlib", "torch"}),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_a_person_waits_for_imports_only_what_it_needs(nosce, tmp_path, words, unused):
    """Help comes at once: no library is imported before a command uses it."""
    code = (
        "import sys\n"
        "from nosce.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('modules:', *sys.modules, file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=nosce.surroundings(),
        timeout=100,
    )

    assert "modules:" in ended.stderr
    assert not unused & set(ended.stderr.split())


@pytest.mark.whole
def test_the_store_is_taken_from_the_environment_or_the_folder(nosce, smoke_store, tmp_path):
    """Without --store $NOSCE_STORE is taken, and without that .nosce in the current folder."""
    named = nosce("show", "biographies_adamw", "--json", NOSCE_STORE=str(smoke_store), cwd=tmp_path)
    nosce("list", cwd=tmp_path)

    assert json.loads(named.stdout)["study"] == "biographies_adamw"
    assert (tmp_path / ".nosce" / "steps").is_dir()


def test_doctor_says_what_the_machine_has(nosce, tmp_path):
    """Versions, cores, speed in two precisions, devices and disk, each with what follows from it."""
    ended = nosce.here("doctor", "--json", "--store", tmp_path / "s")
    rows = {row["what"]: row for row in json.loads(ended.stdout)}

    assert ended.returncode == 0
    assert {"versions", "processor", "cores", "accelerators", "float32", "bfloat16", "disk"} <= set(rows)
    assert f"torch {torch.__version__.partition('+')[0]}" in rows["versions"]["found"]
    assert all(row["found"] and row["so"] for row in rows.values())


def test_explain_says_what_a_key_is_made_of_and_what_its_neighbour_has_otherwise(nosce, smoke_store):
    """A step is found by the beginning of its name or of its key; the two arms' corpora differ in the augmentation."""
    name = min(path.name for path in (smoke_store / "steps").glob("corpus-*"))
    by_name = json.loads(nosce.here("explain", name[:15], "--json", "--store", smoke_store).stdout)
    by_key = json.loads(nosce.here("explain", name.partition("-")[2][:10], "--json", "--store", smoke_store).stdout)
    for_people = nosce.here("explain", name, "--store", smoke_store)

    assert by_name == by_key
    assert by_name["name"] == name
    assert by_name["description"]["spec"]["world"]["people"] == 40
    assert [path for path, _, _ in by_name["differing_fields"]] == ["spec.world.augmentation"]
    assert {here for _, *both in by_name["differing_fields"] for here in both} == {"single", "multi5+permute"}
    assert by_name["nearest_step"].startswith("corpus-")
    assert "spec.world.augmentation" in for_people.stdout


@pytest.mark.whole
def test_report_writes_a_site_that_says_what_show_says(nosce, smoke_store, tmp_path):
    """One page a study, its figures and tables, and the same numbers as `show --json`, from the store alone."""
    elsewhere = tmp_path / "site" / "birds" / "laptop"
    elsewhere.mkdir(parents=True)
    other = {
        "study": "javascript:alert(1)//",
        "scale": "laptop",
        "title": "Do <b>birds</b>?",
        "claims": [{"verdict": "fails"}],
    }
    (elsewhere / "show.json").write_text(json.dumps(other))
    (elsewhere / "index.html").write_text("birds")
    ended = nosce.here("report", "--out", tmp_path / "site", "--store", smoke_store)
    page = tmp_path / "site" / "biographies_adamw" / "smoke"
    shown = json.loads(nosce.here("show", "biographies_adamw", "--json", "--store", smoke_store).stdout)

    assert ended.returncode == 0
    assert str(tmp_path / "site" / "index.html") in ended.stdout
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="./biographies_adamw/smoke/index.html"' in index
    assert 'href="./birds/laptop/index.html"' in index  # from another store, and left as it was
    assert "javascript:" not in index
    assert "Do &lt;b&gt;birds" in index
    (elsewhere / "show.json").write_text("[]")
    refused = nosce.here("report", "--out", tmp_path / "site", "--store", smoke_store)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "birds/laptop/show.json" in refused.stderr
    assert json.loads((page / "show.json").read_text(encoding="utf-8")) == shown
    assert {path.suffix for path in (page / "figures").iterdir()} == {".svg", ".csv"}
    page_text = (page / "index.html").read_text(encoding="utf-8")
    findings = [claim for claim in shown["claims"] if not claim["is_precondition"]]
    assert all(escape(claim["text"]) in page_text for claim in findings)
    assert all(claim["id"] in page_text for claim in shown["claims"] if claim["is_precondition"])
    assert "<script" not in page_text


def test_every_command_shows_an_example():
    """`--help` of each command holds a line that can be copied."""
    runner = CliRunner()
    names = re.findall(r"^│ (\w+)\s", runner.invoke(app, ["--help"], env={"COLUMNS": "120"}).output, re.MULTILINE)

    assert {"list", "run", "plan", "show", "report", "explain", "export", "doctor", "audit", "power"} <= set(names)
    for name in names:
        assert f"nosce {name}" in " ".join(runner.invoke(app, [name, "--help"], env={"COLUMNS": "120"}).output.split())


def options_with_a_placeholder():
    """Each `typer.Option(...)` of the command line that has a `metavar`: its place and the names that it declares."""
    for file in sorted(Path(nosce_cli.__file__).parent.glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "typer.Option"):
                continue
            if any(keyword.arg == "metavar" for keyword in call.keywords):
                names = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                yield f"{file.name}:{call.lineno}", [name for name in names if name.startswith("--")]


def test_an_option_with_a_placeholder_declares_its_name():
    """Typer 0.27.0 writes an option without a declared name like its placeholder: `--SEEDS`, and not `--seeds`."""
    declared = dict(options_with_a_placeholder())

    assert len(declared) >= 10
    assert {place: names for place, names in declared.items() if not names} == {}


# --- a model leaves the house ---

LOAD = """
import sys
sys.modules["nosce"] = None
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()
ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(prompt, add_special_tokens=False).input_ids]])
with torch.no_grad():
    save_file({"ids": ids, "logits": model(input_ids=ids).logits.contiguous()}, "heard.safetensors")
"""


@pytest.mark.whole
def test_an_exported_model_needs_no_nosce(nosce, smoke_store, tmp_path):
    """Where nosce cannot be imported transformers loads model and tokenizer, and they say what ours say."""
    from safetensors.torch import load_file

    model = tmp_path / "model"
    ended = nosce.here(
        "export", "biographies_adamw", "multi5+permute", model, "--scale", "smoke", "--store", smoke_store
    )
    prompt = "What is the birth city of"
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, model, prompt],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=nosce.surroundings(),
        timeout=200,
    )
    assert loaded.returncode == 0, loaded.stderr
    heard = load_file(tmp_path / "heard.safetensors")
    step = re.match(r"(training-\w+) is now in", ended.stdout)[1]
    ours = checkpoint.load_checkpoint(list_checkpoints(Store(smoke_store).folder(step)).popitem()[1])

    assert ended.returncode == 0
    with torch.no_grad():
        assert torch.equal(heard["logits"], ours(input_ids=heard["ids"]).logits)
    assert heard["ids"].shape[1] == 7
    assert {path.suffix for path in model.iterdir()} <= {".json", ".safetensors", ".md"}
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "license: unknown\n" in card
    assert "prepend_bos=True" in card
    assert step in card


def test_a_stage_and_a_checkpoint_can_be_exported(nosce, smoke_store, tmp_path):
    """By their names; what does not exist is refused with what does."""
    words = ("export", "biographies_adamw", "single")
    options = ("--scale", "smoke", "--store", smoke_store)
    ended = nosce.here(*words, tmp_path / "base", "--stage", "pretrain", *options)
    assert ended.returncode == 0, ended.stderr
    step = re.match(r"(training-\w+) is now in", ended.stdout)[1]
    checkpoints = list_checkpoints(Store(smoke_store).folder(step))
    assert Store(smoke_store).step_record(step).spec["spec"]["data"] == "documents"
    first = min(checkpoints)
    nosce.here(*words, tmp_path / "first", "--stage", "pretrain", "--step", first, *options)
    weights = (tmp_path / "first" / "model.safetensors").read_bytes()
    assert weights == (checkpoints[first] / "model.safetensors").read_bytes()
    assert f"step {first}" in (tmp_path / "first" / "README.md").read_text(encoding="utf-8")
    for wrong, said in (
        (("--stage", "x"), "no stage 'x'; take one of pretrain, "),
        (("--step", 7), "step 7; take one"),
    ):
        refused = nosce.here(*words, tmp_path / "new", *wrong, *options)
        assert refused.returncode == 2
        assert said in " ".join(refused.stderr.split())
    assert not (tmp_path / "new").exists()


def test_the_exported_model_is_the_one_that_was_trained_last(nosce, smoke_store, tmp_path):
    """The weights are those of the last checkpoint of the last stage, not of pretraining."""
    nosce.here("export", "biographies_adamw", "single", tmp_path / "model", "--scale", "smoke", "--store", smoke_store)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    (source,) = [
        path
        for path in smoke_store.glob("steps/training-*/checkpoints/*/model.safetensors")
        if path.read_bytes() == weights
    ]
    training = Store(smoke_store).step_record(source.parents[2].name)

    assert training.spec["spec"]["data"] == "questions"
    assert source.parent == max(source.parents[1].iterdir())
    with contextlib.suppress(FileNotFoundError):
        assert "single" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("words", "sign", "said"),
    [
        (("plan", "karel"), "Timing ", "a plan makes nothing, so nothing is lost"),
        (("run", "karel"), "steps to do", "before a step was started; nothing was made|begin anew"),
        (("run", "one_arm"), "[1/", "of 9 steps were finished and are kept; with `nosce run"),
    ],
    ids=["plan", "first", "later"],
)
def test_an_interrupt_says_what_is_kept(nosce, little, tmp_path, words, sign, said):
    """Ctrl-C ends with 130 and a true sentence, whatever was going on; nothing is promised of a plan."""
    command, study = words
    options = ["--scale", "smoke", "--store", str(tmp_path / "s"), "--json"]
    process = nosce.start(command, little(study) if study == "one_arm" else study, *options)
    read = ""
    while sign not in read and (more := process.stderr.readline()):
        read += more
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(60)
    assert process.returncode == 130, read + rest
    assert re.search(rf"interrupted after .*({said})", rest), rest
    assert "Traceback" not in read + rest
