"""A world, a read-out and a study in somebody's own file are treated like the built-in ones."""

import json
import re
from pathlib import Path

import pytest

STUDY = '''
"""Postcards: who wrote from where. A study of one's own, in a file of one's own."""
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from nosce import (Arm, Claim, Document, EvalSpec, Mean, Question, Reading, RecallEval, Selection, Span, Stage, Study,
                   Architecture, TrainingConfig, World)
from nosce.evals.base import PerCheckpointEvaluation

PLACES = ("Arles", "Saint Malo", "Cadiz")

@dataclass(frozen=True, kw_only=True)
class Postcards(World):
    """So many writers, each with a postcard from one place."""
    writers: int = 10

    def place(self, index, seed):
        return PLACES[(seed / "writer" / index).numpy().integers(len(PLACES))]

    def documents(self, seed):
        for index in range(self.writers):
            before, place = f"Writer {index} sends greetings from ", self.place(index, seed)
            span = Span("place", len(before), len(before) + len(place))
            yield Document(f"card/{index}", f"writer/{index}", f"{before}{place}.", (span,))

    def questions(self, seed):
        for index in range(self.writers):
            yield Question(f"place/{index}", f"writer/{index}", "place", f"Where is writer {index}?",
                           self.place(index, seed), "seen" if index % 2 else "unseen")

    def samples(self, seed):
        yield from (document.text for document in self.documents(seed))
        yield from (f"{question.prompt} {question.target}" for question in self.questions(seed))

@dataclass(frozen=True, kw_only=True)
class Length(PerCheckpointEvaluation):
    """How many tokens each question has: a read-out that needs no more than a corpus, and measures no share."""
    needs_model: ClassVar[bool] = False
    name: str = "length"

    def evaluate(self, model, corpus, seed) -> Iterator[Reading]:
        sequences = corpus.tokenized_questions(corpus.questions)
        for question, length in zip(corpus.questions, sequences.lengths, strict=True):
            yield Reading(study="", scale="", arm="", seed=0, stage="", step=0, evaluation=self.name,
                          split=question.split, item=question.id, entity=question.entity,
                          attribute=question.attribute,
                          metric="tokens", value=float(length), outcome=None, answer=None, target=None)

@dataclass(frozen=True, kw_only=True)
class Certainty(PerCheckpointEvaluation):
    """How many nats the end of a text costs: a read-out of one's own that asks the model."""
    needs_model: ClassVar[bool] = True
    name: str = "certainty"

    def evaluate(self, model, corpus, seed) -> Iterator[Reading]:
        from nosce.models.likelihood import score_spans
        lengths = corpus.documents.lengths
        ends = [(text, int(length) - 1, int(length)) for text, length in enumerate(lengths)]
        scores = score_spans(model, corpus.documents, ends, eos_id=corpus.eos_id)
        for entity, score in zip(corpus.document_index["entity"], scores):
            yield Reading(study="", scale="", arm="", seed=0, stage="", step=0, evaluation=self.name, split="seen",
                          item=entity, entity=entity, attribute="end", metric="nats", value=score.nats,
                          outcome=None, answer=None, target=None)

def study(scale):
    length = Mean(selection=Selection(evaluation="length", metric="tokens", quantity="tokens"))
    sure = Mean(selection=Selection(evaluation="certainty", metric="nats", stage="pretrain", quantity="nats"))
    training = TrainingConfig(steps=40, batch_size=10, window=24, peak_lr=5e-3, warmup_steps=4)
    return Study(
        name="postcards", title="Postcards", question="Where were they?", paper="none", scale=scale, unit="writer",
        arms=(Arm(name="cards", world=Postcards(), model=Architecture.named("2x64"), training=training,
                  stages=(Stage(name="asked", training=TrainingConfig(steps=4, batch_size=5, window=24)),)),),
        seeds=(0,), evals=(EvalSpec(Length()), EvalSpec(Certainty()), EvalSpec(RecallEval(), stage="asked")),
        claims=(Claim(id="short", text="Questions are short", source="ours", measure=length, threshold=12.0,
                      direction="below"),
                Claim(id="sure", text="Texts end where they end", source="ours", measure=sure, threshold=1.0,
                      direction="below")))
'''


@pytest.fixture(scope="module")
def postcards(once, nosce):
    """A folder with the file, and a store in which its study was run."""

    def make(folder):
        (folder / "postcards.py").write_text(STUDY)
        words = ("--scale", "smoke", "--workers", "1", "--store", folder / "store")
        ended = nosce.anew("run", "postcards.py:study", *words, cwd=folder)
        assert ended.returncode == 0, ended.stderr
        return str(folder)

    return Path(once("postcards", make))


@pytest.mark.whole
def test_a_study_in_a_file_of_ones_own_runs_end_to_end(postcards, nosce):
    """World, read-outs and claims that nosce has never heard of are run, decided and shown."""
    ended = nosce("show", "postcards", "--json", "--store", postcards / "store", cwd=postcards)
    shown = json.loads(ended.stdout)
    verdicts = {claim["id"]: claim for claim in shown["claims"]}

    assert shown["study"] == "postcards"
    assert verdicts["short"]["verdict"] == "holds"
    assert 7 < verdicts["short"]["estimate"] < 8  # "Where is writer N?", one word or two, and an end
    assert verdicts["short"]["unit"] == "tokens"
    assert verdicts["sure"]["verdict"] == "holds", verdicts["sure"]
    assert verdicts["sure"]["n"] == 10


@pytest.mark.whole
def test_running_it_again_does_nothing(postcards, nosce):
    """Classes of the user's own have keys like any other: equal in every process."""
    ended = nosce("run", "postcards.py:study", "--scale", "smoke", "--store", postcards / "store", cwd=postcards)

    assert ended.returncode == 0
    assert "Nothing to do" in ended.stdout
    assert "stale" not in ended.stdout


@pytest.mark.whole
def test_what_was_just_run_is_not_called_stale(postcards, nosce):
    """`show` finds the code of the user's file where it is, however the study is named."""
    for name in ("postcards.py:study", "postcards"):
        ended = nosce("show", name, "--json", "--store", postcards / "store", cwd=postcards)
        assert json.loads(ended.stdout)["provenance"]["stale"] == {}


FAULTY = (
    STUDY
    + '''
import os

@dataclass(frozen=True, kw_only=True)
class Faulty(Postcards):
    """A world that breaks when it is told."""
    fault: str = "none"

    def documents(self, seed):
        yield from list(Postcards.documents(self, seed))[:3]
        if self.fault == "dies":
            os.kill(os.getpid(), 9)
        raise ZeroDivisionError("no more postcards")

def breaks(scale):
    return _with(scale, "breaks")

def dies(scale):
    return _with(scale, "dies")

def _with(scale, fault):
    from dataclasses import replace
    whole = study(scale)
    return replace(whole, arms=(replace(whole.arms[0], world=Faulty(fault=fault)),))

def narrow(scale):
    """A window that no text fits."""
    from dataclasses import replace
    whole = study(scale)
    training = replace(whole.arms[0].training, window=4)
    return replace(whole, arms=(replace(whole.arms[0], training=training),))

def list_of_nothing(scale):
    return []
'''
)


@pytest.mark.whole
@pytest.mark.parametrize(
    "elsewhere",
    [False, True],
    ids=["same folder", "copied elsewhere"],
)
def test_changed_code_in_the_file_is_noticed(nosce, tmp_path, elsewhere):
    """After a change of the world's code the same keys are found, used, and called stale."""
    folders = [tmp_path / "then", tmp_path / ("now" if elsewhere else "then")]
    texts = [FAULTY, FAULTY.replace("sends greetings", "sends his greetings")]
    for folder, text in zip(folders, texts, strict=True):
        folder.mkdir(exist_ok=True)
        (folder / "faulty.py").write_text(text)
        ended = nosce(
            "run", "faulty.py:narrow", "--scale", "smoke", "--workers", "1", "--store", tmp_path / "store", cwd=folder
        )
        assert "set window to" in ended.stderr  # the corpus and its length are made, and nothing that costs

    assert re.search(r"finished steps are stale and were used as they are.*\(faulty\)", ended.stdout)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (
            "breaks",
            r"corpus-\w+ \(cards, seed 0\) failed: it broke with ZeroDivisionError: no more postcards \(the whole",
        ),
        ("dies", r"corpus-\w+ \(cards, seed 0\) failed: its process was ended by SIGKILL"),
    ],
    ids=["breaks", "dies"],
)
def test_a_fault_in_the_file_fails_its_step_in_one_sentence(nosce, tmp_path, function, told):
    """An exception or a sudden death in a user's world ends with 1, and says which step and what happened."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    ended = nosce(
        "run",
        f"faulty.py:{function}",
        "--scale",
        "smoke",
        "--workers",
        "1",
        "--store",
        tmp_path / "store",
        cwd=tmp_path,
    )

    assert ended.returncode == 1
    assert re.search(told, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "store" / "steps").iterdir())


@pytest.mark.whole
def test_a_function_that_returns_no_study_is_the_users_mistake(nosce, tmp_path):
    """What came instead is named."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    ended = nosce("run", "faulty.py:list_of_nothing", "--scale", "smoke", cwd=tmp_path)

    assert ended.returncode == 2
    assert "returned a list and not a Study" in ended.stderr


@pytest.mark.whole
def test_a_file_that_hides_an_installed_module_is_refused(nosce, tmp_path):
    """A study in `json.py` could not be told from Python's own module by the workers."""
    (tmp_path / "json.py").write_text(STUDY)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    ended = nosce("run", f"{tmp_path / 'json.py'}:study", "--scale", "smoke", cwd=elsewhere)

    assert ended.returncode == 2
    assert "rename the file" in ended.stderr
