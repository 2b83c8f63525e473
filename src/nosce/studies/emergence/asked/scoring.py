"""What a reply to a problem in words counts as: exact match, edit distance and digits, the same for every model.

All scores are of characters, one token a character, whatever tokens the model itself has. Otherwise a model whose
tokens hold three digits would be a third as far from the answer as one whose tokens hold one.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 3, for exact match beside token edit distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from rapidfuzz.distance import Levenshtein

from nosce.evals.base import REPLY_SCHEMA
from nosce.models.api.base import ChatResponse
from nosce.studies.emergence.asked.problems import WordProblem

EXTRA_CHARACTERS = 2  # of an answer, beyond the target's, after which it is cut before distances are taken
ASKED_SPLIT = "unseen"


def read_answer(reply: str) -> str:
    """The answer in a reply: its first line that is not blank, without "A:" before it and a full stop behind it."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    return first.removeprefix("A:").strip().removesuffix(".")


def reply_table(problems: Sequence[WordProblem], replies: Sequence[ChatResponse]) -> pl.DataFrame:
    """The readings `exact`, `edit` and `digits` of every problem.

    `exact`: is the answer the target? `edit`: insertions, deletions and substitutions of characters between the target
    and the answer, which is cut `EXTRA_CHARACTERS` behind the target's length. `digits`: the share of the target's
    digits that stand in their places, counted from the first. A refused reply is wrong in all of them.
    """
    rows = []
    for problem, reply in zip(problems, replies, strict=True):
        answer = "" if reply.finish_reason == "refused" else read_answer(reply.text)
        cut = answer[: len(problem.target) + EXTRA_CHARACTERS]
        matches = [a == b for a, b in zip(problem.target, cut, strict=False)]
        outcome = _outcome(reply, answer, problem.target)
        rows.append(_row(problem, "exact", float(answer == problem.target), reply.text, outcome))
        rows.append(_row(problem, "edit", float(Levenshtein.distance(cut, problem.target))))
        rows.append(_row(problem, "digits", sum(matches) / len(problem.target)))
    return pl.DataFrame(rows, schema=REPLY_SCHEMA)


def likelihood_table(problems: Sequence[WordProblem], log_likelihoods: Sequence[float]) -> pl.DataFrame:
    """The readings `log_likelihood`: the natural log-probability of the whole target, in nats."""
    rows = [_row(p, "log_likelihood", v) for p, v in zip(problems, log_likelihoods, strict=True)]
    return pl.DataFrame(rows, schema=REPLY_SCHEMA)


def _outcome(reply: ChatResponse, answer: str, target: str) -> str:
    if reply.finish_reason == "refused":
        return "refused"
    if answer == target:
        return "right"
    return "wrong" if any(character.isdigit() for character in answer) else "unreadable"


def _row(
    problem: WordProblem, metric: str, value: float, answer: str | None = None, outcome: str | None = None
) -> dict[str, object]:
    return {
        "evaluation": problem.task,
        "split": ASKED_SPLIT,
        "item": problem.id,
        "entity": problem.id,
        "attribute": problem.attribute,
        "metric": metric,
        "value": value,
        "answer": answer,
        "target": problem.target,
        "outcome": outcome,
    }
