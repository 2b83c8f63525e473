"""The readings that the study biographies selects, and the preconditions of its claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.claims import Claim, Precondition, needs_of_few
from nosce.analysis.measures import Contrast, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES
from nosce.studies.biographies.arms import (
    FINETUNE_STAGE,
    TASK_STAGE,
)
from nosce.studies.biographies.config import MULTI5_PERMUTE, BiographiesConfig
from nosce.studies.biographies.evals import (
    CONTROL_P_PROBE,
    COUPLES_P_PROBE,
    HIDDEN_RECALL,
    MINORITY_P_PROBE,
    MINORITY_Q_PROBE,
    TOKEN_RECALL,
    q_probe_name,
)
from nosce.study import PRETRAIN

#: Attributes without a special case: a birth date opens the text, and a company city has a strong prior.
CORE_ATTRIBUTES = ("birth_city", "university", "major", "company")
NON_DATE_ATTRIBUTES = (
    *CORE_ATTRIBUTES,
    "company_city",
)  # attributes with so few values that a probe can classify them whole

SECOND_ATTRIBUTES = ("birth_city", "major", "company_city")  # of the pairs whose sentences are neighbours
RECALL_ABOVE, RECALL_ABOVE_OF_FEW = 0.95, 0.80  # which the interval of recall must exceed
TRAINED_ANSWERS_ABOVE = 0.5  # which the interval of answers to trained questions must exceed


def extraction_accuracy(arm: str, attributes: tuple[str, ...] = ()) -> Selection:
    """Exact answers about people whose questions were never trained on."""
    return Selection(evaluation="questions", arm=arm, split="unseen", attributes=attributes, stage=FINETUNE_STAGE)


def mixed_extraction_accuracy(arm: str, attributes: tuple[str, ...] = ()) -> Selection:
    """The same of a model whose pretraining showed questions about other people."""
    return Selection(evaluation="questions", arm=arm, split="unseen", attributes=attributes, stage=PRETRAIN)


def majority_accuracy(arm: str) -> Selection:
    """The majority guess on the same questions."""
    return Selection(evaluation="majority", arm=arm, split="unseen", stage=PRETRAIN)


def first_token_accuracy(
    arm: str, evaluation: Literal["questions", "recall"], split: Literal["seen", "unseen"]
) -> Selection:
    """First-token accuracy over pretraining, in questions or inside biographies, of one half of the people."""
    return Selection(evaluation=evaluation, arm=arm, split=split, stage=PRETRAIN, metric="first", step="every")


def extraction_gap(arm: str, baseline_arm: str, attributes: tuple[str, ...] = ()) -> Difference:
    """How much more often one arm answers right about unseen people than another arm."""
    return Difference(a=extraction_accuracy(arm, attributes), b=extraction_accuracy(baseline_arm, attributes))


def recall_accuracy(arm: str) -> Selection:
    """Values recalled whole inside the biographies after pretraining."""
    return Selection(evaluation="recall", arm=arm, stage=PRETRAIN)


def recall_precondition(arm: str, split: Literal["seen", "unseen"] | None = None) -> Precondition:
    """Extraction is judged only where the facts were memorised: otherwise a low accuracy says nothing about it."""
    selection = replace(recall_accuracy(arm), split=split)
    return Precondition(
        text=f"attribute recall of {arm}", measure=Mean(selection=selection), above=RECALL_ABOVE, by_interval=True
    )


def judged_on_few(claim: Claim) -> Claim:
    """The claim on a table or a model of one's own, whose entities are too few to show a recall above 95 %.

    Of 32 people who are all recalled the interval reaches down to 89 %. So the recall itself must be above 95 %, and
    its interval above 80 %, which 16 entities can show.
    """
    needs: list[Precondition] = []
    for need in claim.preconditions:
        is_recall = need.by_interval and need.above == RECALL_ABOVE
        needs += needs_of_few(need, RECALL_ABOVE_OF_FEW) if is_recall else [need]
    return replace(claim, preconditions=tuple(needs))


def bidirectional_preconditions(arm: str) -> tuple[Precondition, ...]:
    """What must be seen of a bidirectional model before its answers are judged.

    Its words, each given all others, are what it is trained on. A model that has its words and not its values whole has
    memorised the neighbours of each word. And it must be seen to write values whole where it was trained to: in the
    questions of the other half of the people, whose answers are masked whole.
    """
    words = Selection(evaluation=TOKEN_RECALL, arm=arm, stage=PRETRAIN)
    return (
        Precondition(
            text=f"words of values recalled by {arm}", measure=Mean(selection=words), above=0.90, by_interval=True
        ),
        recall_precondition(arm),
        trained_questions_precondition(arm, extraction_accuracy(arm), above=0.90),
    )


def trained_questions_precondition(arm: str, held_out: Selection, above: float = TRAINED_ANSWERS_ABOVE) -> Precondition:
    """A fine-tuning that does not even teach its own questions is no test of others, which then are wrong by chance.

    Args:
        arm: The arm.
        held_out: Its answers to the questions that were not trained on.
        above: The share of answers that the interval must exceed.
    """
    trained = Mean(selection=replace(held_out, split="seen"))
    text = f"answers to the questions on which {arm} was trained"
    return Precondition(text=text, measure=trained, above=above, by_interval=True)


def memorization_claim(arm: str) -> Claim:
    """Attribute values are recalled inside the biographies."""
    return Claim(
        id=f"memorised/{arm}",
        text=f"{arm}: attribute values are recalled inside the biographies",
        source="remark C.1: well over 99",
        measure=Mean(selection=recall_accuracy(arm)),
        threshold=0.95,
        paper_value=0.99,
        is_precondition=True,
    )


def p_probe_accuracy(arm: str) -> Selection:
    """What P-probing reads before the first value of a text; birth dates, which stand first, are left out."""
    return Selection(evaluation="p-probe", arm=arm, metric="first/0", stage=PRETRAIN, attributes=NON_DATE_ATTRIBUTES)


def p_probe_majority_accuracy(arm: str) -> Selection:
    """The most frequent class at the same place."""
    return Selection(
        evaluation="p-probe", arm=arm, metric="first/0/constant", stage=PRETRAIN, attributes=NON_DATE_ATTRIBUTES
    )


def _p_probe_in_order(arm: str, attribute: str, steps_before: int, suffix: str = "") -> Selection:
    """What P-probing reads of an attribute at a place of texts in the fixed order of attributes.

    Args:
        arm: The arm; its texts state the attributes in their fixed order.
        attribute: The attribute.
        steps_before: 0: right before its value; 1: one value earlier.
        suffix: "/constant" for the most frequent class.
    """
    place = PERSON_ATTRIBUTES.index(attribute) - steps_before
    return replace(p_probe_accuracy(arm), metric=f"first/{place}{suffix}", attributes=(attribute,))


def p_probe_staircase(arm: str) -> Contrast:
    """How much more is read right before a value than one value earlier, in the fixed order of attributes."""
    weight = 1 / len(CORE_ATTRIBUTES)
    here = [(weight, _p_probe_in_order(arm, attribute, 0)) for attribute in CORE_ATTRIBUTES]
    earlier = [(-weight, _p_probe_in_order(arm, attribute, 1)) for attribute in CORE_ATTRIBUTES]
    return Contrast(terms=(*here, *earlier))


def p_probe_precondition(arm: str) -> Precondition:
    """A probe that reads nothing even where a value comes next is blind, and what it does not read says nothing."""
    weight = 1 / len(CORE_ATTRIBUTES)
    read = [(weight, _p_probe_in_order(arm, attribute, 0)) for attribute in CORE_ATTRIBUTES]
    guess = [(-weight, _p_probe_in_order(arm, attribute, 0, "/constant")) for attribute in CORE_ATTRIBUTES]
    text = f"what P-probing of {arm} reads right before each value beyond a guess"
    return Precondition(text=text, measure=Contrast(terms=(*read, *guess)), above=0.15, by_interval=True)


def q_probe_accuracy(arm: str, metric: str = "first", evaluation: str = "q-probe") -> Selection:
    """What Q-probing reads from the name alone."""
    return Selection(evaluation=evaluation, arm=arm, metric=metric, stage=PRETRAIN)


def couples_p_probe_accuracy(arm: str, stated: Literal["partner", "other"]) -> Selection:
    """What P-probing reads of the second attribute of each pair behind one value: its partner's, or another one."""
    return Selection(
        evaluation=COUPLES_P_PROBE, arm=arm, metric=f"first/{stated}", stage=PRETRAIN, attributes=SECOND_ATTRIBUTES
    )


def hidden_recall_accuracy(arm: str) -> Selection:
    """Values recalled whole in texts that hide the values before them."""
    return Selection(evaluation=HIDDEN_RECALL, arm=arm, stage=PRETRAIN)


def minority_q_probe_accuracy(arm: str) -> Selection:
    """What Q-probing reads of the minority."""
    return q_probe_accuracy(arm, evaluation=MINORITY_Q_PROBE)


def minority_p_probe_accuracy(arm: str) -> Selection:
    """What P-probing reads of the minority before the first value of their text."""
    return replace(p_probe_accuracy(arm), evaluation=MINORITY_P_PROBE)


def control_q_probe_accuracy(config: BiographiesConfig) -> Selection:
    """What Q-probing reads in a row with extraction, from as many people as it learns the minority from."""
    n_people = config.n_minority // 2
    return q_probe_accuracy(
        MULTI5_PERMUTE, evaluation="q-probe" if n_people == config.world.people // 2 else q_probe_name(n_people)
    )


def control_p_probe_accuracy() -> Selection:
    """What P-probing reads in that row before the first value, from as many people and texts."""
    return replace(p_probe_accuracy(MULTI5_PERMUTE), evaluation=CONTROL_P_PROBE)


def control_precondition(config: BiographiesConfig, probe_label: str, selection: Selection) -> Precondition:
    """A probe that learns from as few people as the minority's probe reads what is surely extractable."""
    gain = Difference(a=selection, b=replace(selection, metric=f"{selection.metric}/constant"))
    text = f"what {probe_label} of {config.n_minority // 2:,} people reads in {MULTI5_PERMUTE} beyond a guess"
    return Precondition(text=text, measure=gain, above=0.15, by_interval=True)


def finetuning_precondition(arm: str, text: str) -> Precondition:
    """A fine-tuning that extracts nothing from a row with extraction is no test of another row."""
    gain = Difference(a=extraction_accuracy(arm), b=majority_accuracy(arm))
    return Precondition(text=text, measure=gain, above=0.15, by_interval=True)


def task_accuracy(arm: str, attribute: str, evaluation: str = "questions") -> Selection:
    """Replies to a task about people whom no training question is about."""
    return Selection(evaluation=evaluation, arm=arm, split="unseen", attributes=(attribute,), stage=TASK_STAGE)
