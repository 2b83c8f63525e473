"""Programs stepped through: the target ends where its specification says, and kept probes stand beside."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.vectorized import GLYPHS
from nosce.data.worlds.karel.world import Karel
from nosce.pipeline.items.item import ItemCheckpoint, ItemReadings
from nosce.pipeline.items.sources import EvaluationSource
from nosce.pipeline.items.walks import ItemWalker
from nosce.records import ProbedFeature, Walkthrough, WalkthroughStep
from nosce.seeds import Seed

WORLD = Karel(board_shape=(3, 3), n_examples=1, records=10, seen_questions=4, unseen_questions=4, lengths=(2, 4))
SOURCE = EvaluationSource(
    step="evaluation-1",
    arm="a",
    seed=0,
    stage="pretrain",
    name="written",
    type="GenerationEval",
    corpus="c",
    uses_model=True,
)


def readings(question, answer: str) -> ItemReadings:
    point = ItemCheckpoint(step=5, values=(0.0,), outcomes=("wrong",), answers=(answer,))
    return ItemReadings(
        arm="a",
        stage="pretrain",
        evaluation="written",
        kind="asked",
        item=question.id,
        attribute="",
        split="unseen",
        prompt=question.prompt,
        prompt_note="",
        target=question.target,
        target_tokens=(),
        metrics=("correct",),
        judged="correct",
        checkpoints=(point,),
    )


@pytest.fixture
def questions():
    return list(WORLD.questions(Seed(0) / "world"))


@pytest.fixture
def walker(tmp_path) -> ItemWalker:
    """A walker that finds its tracer and no kept walkthrough."""
    made = ItemWalker(
        SimpleNamespace(folder=lambda step: tmp_path), SimpleNamespace(evaluations=(SOURCE,), live_steps={})
    )
    vars(made)["_tracers"] = {("a", 0): KarelScorer(world=WORLD)}
    return made


def test_a_target_leads_from_the_input_to_the_output(walker, questions):
    """The boards of the first frame and of the last are those of the specification."""
    texts = SimpleNamespace(questions={question.id: question for question in questions})
    for question in questions:
        target, written = walker.walks(0, (readings(question, "turnLeft"),), lambda corpus: texts)
        pairs = WORLD.record_encoding.parse_examples(question.prompt, 9)
        for frame, cells in ((target.frames[0], pairs[0, 0]), (target.frames[-1], pairs[0, 1])):
            drawn = "".join(row[1:-1] for row in frame.picture[1:-1])
            assert drawn == "".join(np.array(list(GLYPHS))[cells])
        assert [frame.word for frame in target.frames] == ["(start)", *question.target.split()]
        assert [frame.word for frame in written.frames] == ["(start)", "turnLeft"]
        assert "written (wrong): turnLeft" in written.title


def test_a_kept_walkthrough_stands_in_its_place(walker, questions):
    """With what its probes read; another answer is stepped through without."""
    question = questions[0]
    frames = (WalkthroughStep("(start)", ("#",), ("#",), (ProbedFeature("direction", "N", "S", 0.9),)),)
    kept = Walkthrough(f"{question.entity}: turnLeft (wrong)", "Read by probes.", frames)
    vars(walker)["_probed"] = {("a", 0): (kept,)}
    texts = SimpleNamespace(questions={question.id: question})
    walks = list(walker.walks(0, (readings(question, "turnLeft"),), lambda corpus: texts))
    assert walks[1].frames == frames
    assert walks[0].frames != frames


def test_no_program_is_stepped_through_without_a_tracer_or_a_program(walker, questions):
    question = questions[0]
    texts = SimpleNamespace(questions={question.id: question})
    (target,) = walker.walks(0, (readings(question, "no program"),), lambda corpus: texts)
    assert "target" in target.title
    vars(walker)["_tracers"] = {}
    assert (
        list(walker.walks(0, (replace(readings(question, "move"), evaluation="written"),), lambda corpus: texts)) == []
    )
