"""What an item of a result is: plain data that feeds the terminal, JSON and the page alike.

An item is an entity of one training seed, e.g. `person/7` of seed 0: each seed draws a world of its own, so `person/7`
of two seeds is two people.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Literal

from nosce.records import Outcome, Walkthrough

if TYPE_CHECKING:
    from nosce.store.spec import Json

#: "asked": a model's answers and likelihoods; "baseline": the same without a model; "probe": what was predicted from
#: hidden states; "patch": what changed with hidden states that were put in.
ItemKind = Literal["asked", "baseline", "probe", "patch"]
OUTCOME_SIGNS: dict[str, str] = {"right": "✓", "wrong": "✗", "unreadable": "?", "refused": "–", "invalid": "!"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEntry:
    """An item as a list of items shows it.

    Args:
        entity: The independently drawn unit, e.g. "person/7".
        seed: The training seed.
        n_asked: Questions about the item that were judged after the last checkpoint of each training.
        n_wrong: How many of these answers were wrong; invalid and unreadable answers are no wrong ones.
        wrong_arms: Arms with a wrong answer among them.
        patched: Did an answer follow a hidden state that was put in? None: no patching read the item.
    """

    entity: str
    seed: int
    n_asked: int = 0
    n_wrong: int = 0
    wrong_arms: tuple[str, ...] = ()
    patched: bool | None = None

    @property
    def name(self) -> str:
        """The name that `--item` takes."""
        return f"{self.entity}@{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFact:
    """How often a fact was trained on in one wording, from the exposure ledger.

    Args:
        attribute: The attribute.
        wording: Name of the wording; empty where a world has only one.
        exposures: How often.
    """

    attribute: str
    wording: str
    exposures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDocument:
    """A training text about the item.

    Args:
        id: Name of the text in its corpus.
        exposures: How often it was trained on.
        text: The text; None where the corpus holds only its tokens.
    """

    id: str
    exposures: int
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTraining:
    """What the first training of some arms had about the item, by the exposure ledger.

    Args:
        arms: The arms that share this training data.
        facts: One a fact and wording.
        documents: The texts, the first `MAX_DOCUMENTS` of them.
        n_documents: Number of all texts about the item.
        note: What is not known, in a sentence; empty where everything is.
    """

    arms: tuple[str, ...]
    facts: tuple[TrainedFact, ...]
    documents: tuple[TrainedDocument, ...]
    n_documents: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCheckpoint:
    """The readings of one question after one step. The columns are those of `ItemReadings.metrics`.

    Args:
        step: Optimizer steps within the stage.
        values: The value of each metric; None: not measured.
        outcomes: What became of the reply; None where a metric is not a matter of right and wrong.
        answers: The reply; None where a metric has none.
        probability: Probability of the whole target; None where the readings hold no likelihood.
        token_probabilities: Probability of each token of the target, given those before; () where there are none. One
            more than the target's tokens: the last one is the end.
    """

    step: int
    values: tuple[float | None, ...]
    outcomes: tuple[Outcome | None, ...]
    answers: tuple[str | None, ...]
    probability: float | None = None
    token_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReadings:
    """All readings of one question, value or position about the item, in one arm.

    Args:
        arm: Name of the arm or experiment.
        stage: Name of the stage.
        evaluation: Name of the evaluation.
        kind: What the evaluation does.
        item: The observation's own name.
        attribute: What it is about.
        split: "seen", "validation" or "unseen"; empty where the world has no question about the entity.
        prompt: What the model was given; None where it is not known.
        prompt_note: What the prompt is, where it is not word for word what the model was given.
        target: The correct answer; None where there is none.
        target_tokens: The target's tokens; () unless the readings hold the probability of each.
        metrics: Names of the metrics.
        judged: The metric by which an answer counts as right or wrong; None: none does.
        checkpoints: The readings after each step.
    """

    arm: str
    stage: str
    evaluation: str
    kind: ItemKind
    item: str
    attribute: str
    split: str
    prompt: str | None
    prompt_note: str
    target: str | None
    target_tokens: tuple[str, ...]
    metrics: tuple[str, ...]
    judged: str | None
    checkpoints: tuple[ItemCheckpoint, ...]

    def answer(self, checkpoint: ItemCheckpoint) -> str | None:
        """The judged answer, or else the first that there is."""
        if self.judged is not None:
            return checkpoint.answers[self.metrics.index(self.judged)]
        return next((answer for answer in checkpoint.answers if answer is not None), None)

    def outcome(self, checkpoint: ItemCheckpoint) -> Outcome | None:
        """What became of the judged answer; None where nothing is judged."""
        return None if self.judged is None else checkpoint.outcomes[self.metrics.index(self.judged)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyItem:
    """One item, whole.

    Args:
        study: Name of the study.
        scale: Scale and variant.
        unit: What an item is, e.g. "person".
        entry: The item in a line.
        training: What was trained on about it.
        readings: What models were asked and answered, what probes read, what patches changed.
        walks: Programs stepped through, state by state.
        absent: What there is no reading of, in sentences.
    """

    study: str
    scale: str
    unit: str
    entry: ItemEntry
    training: tuple[ItemTraining, ...]
    readings: tuple[ItemReadings, ...]
    walks: tuple[Walkthrough, ...]
    absent: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """The object that `nosce show STUDY --item ITEM --json` prints and the page shows."""
        return {field.name: _json(getattr(self, field.name)) for field in fields(self)}


def _json(value: object) -> Json:
    """A part of an item as JSON; `dataclasses.asdict` copies every text and takes ten times as long."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_json(part) for part in value]
    assert is_dataclass(value)
    return {field.name: _json(getattr(value, field.name)) for field in fields(value)}
