"""Graded outsiders in planted worlds: how many labels they need, and what a sibling knows, is planted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl
import pytest
from tests.fixtures.scripted_minds import (
    SEED,
    WORLD,
    Mind,
    PromptBook,
    planted_experiment,
    planted_run,
    planted_verdicts,
)
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import random_answer
from nosce.errors import SpecError
from nosce.models.sources import parse_models
from nosce.pipeline.context import StepContext
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.prompted_outsiders import (
    LABEL_MULTIPLES,
    OutsiderTeaching,
    outsider_parts,
    spare_prompts,
)
from nosce.studies.introspection.prompted_requests import AskedPrompts, RequestLimits
from nosce.studies.introspection.prompted_study import prompted_introspection_study

OWN_SHARE = 0.6  # of its answers that A knows


def book_with_spare() -> PromptBook:
    """The prompts of the world and the further ones, as the minds read them."""
    book = PromptBook.of_world(WORLD, SEED)
    prompts, cases = dict(book.prompts), dict(book.cases)
    for prompt in WORLD.spare_prompts(SEED / "world", 100):
        prompts[prompt.text] = prompt
        cases |= {WORLD.hypothetical_question(prompt, name): (prompt, name) for name in prompt.property_names}
    return PromptBook(prompts, cases, book.properties)


BOOK = book_with_spare()
LESSONS: list[tuple[str, int, dict[str, str]]] = []


@dataclass(frozen=True, kw_only=True)
class Learner(Mind):
    """It knows a share of a model's answers, which rises with each doubling of the labels that it was taught.

    Args:
        share: The share that it knows at `at_labels` labels.
        rise: What each doubling adds.
        at_labels: A number of labels; 0: the share is always the same.
        sibling: Number of the seed that it was taught with.
        unlike: Share of its answers that are its sibling's own.
    """

    share: float = OWN_SHARE
    rise: float = 0.0
    at_labels: int = 0
    sibling: int = 0
    unlike: float = 0.0

    def finetune(self, examples, resources):
        taught = super().finetune(examples, resources)
        labels = {one.prompt: one.completion for one in examples if one.prompt in self.book.cases}
        LESSONS.append((self.letter, resources.sibling, labels))
        return replace(taught, sibling=resources.sibling)

    def answer(self, prompt):
        own = super().answer(prompt)
        is_unlike = self.sibling and (SEED / "unlike" / prompt.string).numpy().random() < self.unlike
        return random_answer(prompt, SEED / f"sibling {self.sibling}") if is_unlike else own

    def report(self, prompt, property_name):
        known = self.share
        if self.at_labels:
            n_labels = sum(one.prompt in self.book.cases for one in self.history[-1]) if self.history else 1
            known += self.rise * math.log2(n_labels / self.at_labels)
        luck = (SEED / "luck" / prompt.string / property_name).numpy().random()
        if luck < known:
            return super().report(prompt, property_name)
        return replace(self, knows="form", before="form", share=1.0, at_labels=0).report(prompt, property_name)


def n_labels() -> int:
    """The labels of A's answers that are taught: a blank as the third character is none."""
    mind, prompts = Mind(letter="A"), [p for p in WORLD.prompts(SEED / "world") if p.split == "seen"]
    values = [WORLD.property_value(name, mind.answer(p), SEED) for p in prompts for name in p.property_names]
    return sum(value is not None and value == value.strip() != "" for value in values)


def curve_run(tmp_path, at_one: float, rise: float, **options):
    """The protocol with an A that knows a share of its answers, and a B that knows more of A the more it is taught."""
    one = Learner(letter="A", book=BOOK)
    outsider = Learner(
        letter="B",
        book=BOOK,
        knows="tested",
        mentor=replace(one, share=1.0),
        share=at_one,
        rise=rise,
        at_labels=n_labels(),
    )
    chosen = {"both_ways": False, "outsiders": OutsiderTeaching(label_curve=True), **options}
    readings = planted_run(tmp_path, one, outsider, **chosen)
    return readings, planted_verdicts(readings, one, outsider, **chosen)


def share(readings: pl.DataFrame, evaluation: str) -> float:
    return readings.filter(evaluation=evaluation, metric="right", split="unseen")["value"].mean()


@pytest.mark.whole
def test_an_outsider_that_needs_twice_the_labels_is_found_to_need_twice(tmp_path):
    """It gains 15 points with each doubling, and has 15 fewer than the model itself at as many labels."""
    readings, verdicts = curve_run(tmp_path, at_one=OWN_SHARE - 0.15, rise=0.15)
    reached = verdicts["labels-to-reach-A-B"]
    assert reached.estimate == pytest.approx(2.0, rel=0.01), reached
    assert reached.low <= 2 <= reached.high
    assert f"{2 * n_labels():,} labels" in reached.why
    assert reached.verdict in ("holds", "undecided")
    assert verdicts["not-within-labels-A-B"].verdict == "fails"
    counts = readings.filter(metric="labels").sort("value")
    assert counts.filter(evaluation="labels B for A x4")["value"].to_list() == [4 * n_labels()]
    assert counts.filter(evaluation="labels B for A x1/8")["value"].to_list() == [round(n_labels() / 8)]
    assert (
        share(readings, "B for A x1/8 on A*") < share(readings, "B for A on A*") < share(readings, "B for A x4 on A*")
    )


@pytest.mark.whole
def test_an_outsider_that_never_reaches_the_model_has_no_number(tmp_path):
    """It knows three in ten whatever it is taught: not within four times the labels, told so in the verdict."""
    _, verdicts = curve_run(tmp_path, at_one=0.2, rise=0.0)
    never = verdicts["labels-to-reach-A-B"]
    assert (never.verdict, never.estimate) == ("undecided", None)
    assert f"not within {4 * n_labels():,} labels, 4 times as many" in never.why
    assert verdicts["not-within-labels-A-B"].verdict == "holds"


@pytest.mark.whole
def test_a_model_that_knows_no_more_than_a_constant_is_not_judged(tmp_path):
    """To reach it says nothing."""
    one = Learner(letter="A", book=BOOK, share=0.02)
    options = {"both_ways": False, "outsiders": OutsiderTeaching(label_curve=True)}
    minds = (one, Learner(letter="B", book=BOOK, knows="tested", mentor=replace(one, share=1.0)))
    verdicts = planted_verdicts(planted_run(tmp_path, *minds, **options), *minds, **options)
    for claim in ("labels-to-reach-A-B", "not-within-labels-A-B"):
        assert verdicts[claim].verdict == "undecided"
        assert "exceeds the best constant" in verdicts[claim].why


@pytest.mark.whole
def test_more_labels_begin_with_the_fewer_and_none_is_of_a_tested_string(tmp_path):
    """Each number of labels holds the smaller ones, and those that the model was taught."""
    LESSONS.clear()
    curve_run(tmp_path, at_one=0.5, rise=0.1)
    own = next(labels for letter, _, labels in LESSONS if letter == "A")
    others = sorted((labels for letter, _, labels in LESSONS if letter == "B"), key=len)
    assert [len(labels) for labels in others] == [max(1, round(m * len(own))) for m in LABEL_MULTIPLES]
    for fewer, more in pairwise(others):
        assert fewer.items() <= more.items()
    assert own in others
    mind = Learner(letter="A", book=BOOK)
    unseen = {p.text for p in WORLD.prompts(SEED / "world") if p.split == "unseen"}
    for question, label in others[-1].items():
        prompt, name = BOOK.cases[question]
        assert prompt.text not in unseen
        assert label == WORLD.property_value(name, mind.answer(prompt), SEED)


@pytest.mark.whole
@pytest.mark.parametrize(("unlike", "verdict"), [(0.0, "undecided"), (0.5, "holds")])
def test_a_sibling_tells_similarity_from_access(unlike, verdict, tmp_path):
    """One that answers alike knows as much; one that answers half of them otherwise reports itself, and is wrong."""
    one, other = Learner(letter="A", book=BOOK, share=1.0, unlike=unlike), Learner(letter="B", book=BOOK, share=1.0)
    options = {"both_ways": False, "outsiders": OutsiderTeaching(siblings=2)}
    LESSONS.clear()
    readings = planted_run(tmp_path, one, other, **options)
    verdicts = planted_verdicts(readings, one, other, **options)
    assert verdicts["self-beats-sibling-A"].verdict == verdict, verdicts["self-beats-sibling-A"]
    differs = readings.filter(evaluation="unlike A* and A* sibling 1", metric="differs", split="unseen")["value"].mean()
    assert (differs > 0.2) == (unlike > 0)
    assert share(readings, "A* sibling 1 on A* sibling 1") == 1
    assert verdicts["sibling-beats-cross-A-B"].verdict == "holds"
    taught = {sibling: labels for letter, sibling, labels in LESSONS if letter == "A"}
    assert taught[0] == taught[1] == taught[2]
    assert list(taught[0]) != list(taught[1]) != list(taught[2])  # in other orders
    assert not readings.filter(evaluation="A* sibling 2 on A*").is_empty()


@pytest.mark.whole
def test_figures_show_the_curve_on_numbers_of_labels_and_the_model_as_a_band(tmp_path):
    """Points of the outsider at its numbers, the model's own share at each of them; siblings by how alike they are."""
    one, other = Learner(letter="A", book=BOOK), Learner(letter="B", book=BOOK)
    options = {"both_ways": False, "outsiders": OutsiderTeaching(siblings=1, label_curve=True)}
    readings = planted_run(tmp_path, one, other, **options)
    figures = {
        f.id: f for f in prompted_introspection_study(planted_experiment(one, other, **options), scale="x").figures
    }
    curve = figures["label-curve"].table(readings, [], "string")
    expected = [float(max(1, round(multiple * n_labels()))) for multiple in LABEL_MULTIPLES]
    assert curve.filter(group="B")["x"].to_list() == expected
    band = curve.filter(group="A* itself, once taught")
    assert band["value"].n_unique() == 1
    assert band["low"].null_count() == 0
    alike = figures["similarity"].table(readings, [], "string")
    assert alike.filter(group="siblings")["x"].to_list() == [1.0]
    assert alike.filter(group="B, taught the same")["x"].item() < 0.6


@pytest.mark.whole
def test_all_requests_are_counted_beforehand(tmp_path):
    """Siblings and curves in both directions, and draws of answers: as many as were expected, and no more."""
    reports = []
    outsiders, limits = OutsiderTeaching(siblings=2, label_curve=True), RequestLimits(n_answer_draws=2)
    minds = [Learner(letter=letter, book=BOOK, is_deterministic=letter == "A") for letter in "AB"]
    experiment = planted_experiment(*minds, outsiders=outsiders, limits=limits)
    for _ in experiment.run_with_context(SEED, StepContext(folder=tmp_path, progress=reports.append)):
        pass
    asked = AskedPrompts(WORLD, WORLD.prompts(SEED / "world"), limits, SEED)
    parts = outsider_parts(asked, experiment.subject_by_letter, experiment.targets, outsiders)
    spare = spare_prompts(asked, outsiders)
    assert (parts["A* spare answers"], parts["B* spare answers"]) == (len(spare), 2 * len(spare))
    assert len(spare) == 4 * sum(p.split == "seen" for p in asked.prompts), "a third more than labels are wanted"
    assert parts["B for A x1/8 reports"] == len(asked.unseen_cases)
    before_end = reports[-2]
    assert before_end.done == before_end.total
    assert reports[-1].total == before_end.total
    assert not outsider_parts(asked, experiment.subject_by_letter, experiment.targets, OutsiderTeaching())


def test_the_price_of_outsiders_is_in_the_price(tmp_path):
    a, b = (str(tiny_folder("llama", tmp_path / name, vocab_size=300)) for name in "ab")

    def price(*settings: str) -> float:
        experiment = study("smoke", parse_models(f"{a},{b}"), settings).experiments[0].experiment
        return experiment.timing_subset()[1]

    assert price("siblings=0") == price() < price("siblings=1") < price("siblings=2") < price("label_curve=yes")
    assert price("siblings=2") - price("siblings=1") == pytest.approx(price("siblings=1") - price())


@pytest.mark.parametrize("siblings", [-1, 21])
def test_a_number_of_siblings_that_is_none_is_refused(siblings):
    with pytest.raises(SpecError, match=f"siblings={siblings} cannot be taught"):
        OutsiderTeaching(siblings=siblings)
