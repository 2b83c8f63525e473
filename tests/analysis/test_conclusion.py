"""The answer in one sentence is what the verdicts say, and no more."""

import pytest

from nosce.analysis.conclusion import ArmConclusion
from nosce.records import Verdict

CONCLUSION = ArmConclusion(
    claims=(("one", "c/one"), ("two", "c/two"), ("three", "c/three")),
    effect="works",
    answers="of the answers are exact",
)


def verdict(arm: str, word: str, estimate: float = 0.5) -> Verdict:
    """A verdict on an arm's claim."""
    return Verdict(
        id=f"c/{arm}",
        text="",
        source="",
        criterion="",
        paper_value=None,
        estimate=estimate,
        low=estimate - 0.1,
        high=estimate + 0.1,
        n=20,
        unit="entity",
        verdict=word,
        why="",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("fails", "holds", "holds"),
            "three works: 60.0 % [50.0, 70.0] of the answers are exact (n = 20 entities) after about 1.25 million "
            "tokens of texts. two does so too, with 60.0 % [50.0, 70.0] after about 2 million tokens of texts. one "
            "does not: 60.0 % [50.0, 70.0].",
        ),
        (
            ("fails", "fails", "fails"),
            "None of the arms tried (one, two, three) works. one reaches 60.0 % [50.0, 70.0]. two reaches 60.0 % "
            "[50.0, 70.0] after about 2 million tokens of texts. three reaches 60.0 % [50.0, 70.0] after about 1.25 "
            "million tokens of texts.",
        ),
        (
            ("undecided", "fails", "undecided"),
            "It is not decided which of the arms tried (one, two, three) works. one, three are undecided, for the "
            "reasons beside the claims. two does not: 60.0 % [50.0, 70.0] after about 2 million tokens of texts.",
        ),
    ],
)
def test_the_cheapest_arm_that_does_it_is_named(words, sentence):
    """Or that none does, or that it is not decided; a cost that is not known is left out."""
    verdicts = [verdict(arm, word, 0.6) for arm, word in zip(("one", "two", "three"), words, strict=True)]
    assert CONCLUSION.sentence(verdicts, {"two": 2e6, "three": 1.25e6}) == sentence


def test_without_a_verdict_nothing_is_said():
    """A study of other arms judged no such claim."""
    assert "Nothing says" in CONCLUSION.sentence([], {})
