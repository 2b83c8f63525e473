"""The answer of a model that does not always give the same one: the mode of several draws.

Source: Binder et al. 2024 (arXiv:2410.13787), section 2.2 and released code (`evals/utils.py`): five draws at
temperature 0, of which the first 40 characters are compared; strings with five different answers are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from nosce.models.api.base import ChatResponse
from nosce.studies.introspection.prompted_names import answers_name
from nosce.studies.introspection.prompted_requests import Questioner
from nosce.studies.introspection.prompted_scoring import scored_frame, scored_row

COMPARED_CHARACTERS = 40
#: In place of an answer that has no mode. It is no valid answer, so that its string leaves every condition.
NO_MODE = ChatResponse(text="", finish_reason="stop")


def mode_of_draws(draws: Sequence[ChatResponse]) -> ChatResponse:
    """The first of the draws that begin like most of them; `NO_MODE` if all of several draws differ.

    Of equally frequent answers the one that came first is taken.
    """
    counts = Counter(draw.text[:COMPARED_CHARACTERS] for draw in draws)
    opening, count = counts.most_common(1)[0]
    if count == 1 and len(draws) > 1:
        return NO_MODE
    return next(draw for draw in draws if draw.text[:COMPARED_CHARACTERS] == opening)


def mode_answers(draws: Sequence[Mapping[str, ChatResponse]]) -> dict[str, ChatResponse]:
    """The mode of each prompt's answers, from draws of all of them."""
    return {prompt_id: mode_of_draws([draw[prompt_id] for draw in draws]) for prompt_id in draws[0]}


def draw_table(questioner: Questioner, name: str, draws: Sequence[Mapping[str, ChatResponse]]) -> pl.DataFrame:
    """How many of several draws of each answer begin as the mode does, and whether there is no mode."""
    rows = []
    for prompt_id in draws[0] if len(draws) > 1 else ():
        openings = Counter(draw[prompt_id].text[:COMPARED_CHARACTERS] for draw in draws)
        share = openings.most_common(1)[0][1] / len(draws)
        prompt = questioner.prompt_by_id[prompt_id]
        rows.append(scored_row(answers_name(name), prompt, "all", "mode share", share))
        rows.append(scored_row(answers_name(name), prompt, "all", "no mode", float(len(openings) == len(draws))))
    return scored_frame(rows)
