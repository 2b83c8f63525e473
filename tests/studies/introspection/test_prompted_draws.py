"""The mode of several draws, for models that do not always give the same answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.scripted_minds import SEED, WORLD, Mind, planted_experiment, planted_run

from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, ChatResponse
from nosce.pipeline.context import StepContext
from nosce.studies.introspection.part_sizes import expected_parts
from nosce.studies.introspection.prompted_draws import NO_MODE, mode_of_draws
from nosce.studies.introspection.prompted_requests import AskedPrompts, RequestLimits
from nosce.studies.introspection.prompted_teaching import LabelTeaching


class Flickering(Mind):
    """It gives its answer in most draws, and in one of five another; to dilemmas about haste, a new one each time."""

    def complete(self, requests):
        for index, request in enumerate(requests):
            LOG.append(request)
            text = request.messages[-1][1]
            reply = self.reply(text)
            prompt = self.book.prompts.get(text)
            if prompt is not None and prompt.task == "animals" and request.sample_index == 1:
                reply = "zebra yak xerus wombat vole"
            if prompt is not None and prompt.task == "haste":
                reply = f"{reply} {request.sample_index}"
            yield index, ChatResponse(text=reply, finish_reason="stop")


LOG: list[ChatRequest] = []


def said(*texts: str) -> list[ChatResponse]:
    return [ChatResponse(text=text, finish_reason="stop") for text in texts]


def test_the_mode_is_the_answer_that_most_draws_begin_with():
    """By the first 40 characters; of equally frequent ones the first; none where all differ; one draw is its mode."""
    assert mode_of_draws(said("a", "b", "b", "c", "d")).text == "b"
    assert mode_of_draws(said("a", "b", "b", "a", "c")).text == "a"
    assert mode_of_draws(said("a", "b", "c", "d", "e")) is NO_MODE
    assert mode_of_draws(said("a")).text == "a"
    same, other = "x" * 40 + "1", "x" * 40 + "2"
    assert mode_of_draws(said("a", same, "b", other, "c")).text == same
    assert mode_of_draws(said("x" * 39 + "1", "x" * 39 + "2")) is NO_MODE


@pytest.mark.whole
def test_an_answer_that_flickers_counts_by_its_mode_and_one_without_a_mode_is_left_out(tmp_path):
    """The odd draw changes no label; strings with five different answers have none, and that is told."""
    minds = [Flickering(letter=letter, is_deterministic=False, top_logprobs=0) for letter in "AB"]
    limits = RequestLimits(n_answer_draws=5)
    readings = planted_run(tmp_path / "five", *minds, both_ways=False, limits=limits)
    steady = planted_run(tmp_path / "one", *[Mind(letter=letter) for letter in "AB"], both_ways=False)

    def labels(table, task):
        return table.filter(evaluation="A* on A*", metric="right", attribute=f"{task}/first word")["target"].to_list()

    assert labels(readings, "animals") == labels(steady, "animals") != []
    assert readings.filter(evaluation="A* on A*", metric="right", attribute="haste/stance").is_empty()
    told = readings.filter(evaluation="answers A")
    shares = told.filter(metric="mode share", item="animals/0/all")["value"].to_list()
    assert shares == [0.8]
    missing = told.filter(metric="no mode").filter(value=1.0)
    assert set(missing["item"].str.split("/").list.first()) == {"haste"}
    again = told.filter(metric="again", item="animals/0/all")["value"].to_list()
    assert again == [0.0]


@pytest.mark.whole
def test_draws_are_counted_beforehand_and_told_apart_by_their_index(tmp_path):
    """As many answers are asked for as were expected; each draw has its own index, and so its own place in the cache.

    A model that always gives the same answer is asked once.
    """
    LOG.clear()
    minds = [Flickering(letter="A", is_deterministic=False, top_logprobs=0), Flickering(letter="B", top_logprobs=0)]
    limits, teaching = RequestLimits(n_answer_draws=5), LabelTeaching(max_rounds=1)
    experiment = planted_experiment(*minds, limits=limits, teaching=teaching, both_ways=False)
    for _ in experiment.run_with_context(SEED, StepContext(folder=tmp_path)):
        pass
    prompts = WORLD.prompts(SEED / "world")
    asked = AskedPrompts(WORLD, prompts, limits, SEED)
    expected = expected_parts(asked, experiment.subject_by_letter, experiment.targets, teaching)
    assert expected["A answers"] == 5 * len(prompts)
    assert expected["B answers"] == len(prompts)
    assert expected["A* round 1 answers"] == 5 * len(prompts)
    texts = {prompt.text for prompt in prompts}
    answers = [request for request in LOG if request.messages[-1][1] in texts]
    n_expected = sum(n for part, n in expected.items() if part.endswith(("answers", "answers again")))
    assert len(answers) == n_expected
    assert "A answers again" not in expected  # the second draw is the second answer
    assert len({request.cache_key("m") for request in answers}) == 5 * len(prompts)
    assert {request.temperature for request in answers} == {0.0}
    once = expected_parts(replace(asked, limits=RequestLimits()), experiment.subject_by_letter, ("A",), teaching)
    assert once["A answers again"] == once["A answers"] == len(prompts)


@pytest.mark.parametrize("n_draws", [0, 100])
def test_a_number_of_draws_that_is_none_is_refused(n_draws):
    with pytest.raises(SpecError, match="n_answer_draws"):
        RequestLimits(n_answer_draws=n_draws)
