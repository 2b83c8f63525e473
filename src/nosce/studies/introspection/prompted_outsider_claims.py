"""The claims and figures of introspection in words about graded outsiders: siblings, and outsiders with more labels."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.figures import Figure, LineFigure, LinePoint
from nosce.analysis.label_equivalence import LabelCount, LabelsToReach
from nosce.analysis.measures import ComplementShare, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted_names import (
    curve_name,
    labels_name,
    sibling_name,
    taught_name,
    unlike_name,
)
from nosce.studies.introspection.prompted_outsiders import LABEL_MULTIPLES, OutsiderTeaching
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_selections import gain, observer_scores, prompted_reports, prompted_scores
from nosce.studies.introspection.selections import ADVANTAGE_MARGIN

MOST = LABEL_MULTIPLES[-1]


def outsider_claims(parties: PromptedParties, outsiders: OutsiderTeaching) -> Iterator[Claim]:
    """All claims about outsiders that are taught besides the other models."""
    for letter in parties.targets:
        if outsiders.siblings:
            yield _sibling_claim(parties, letter)
            yield from (_similarity_claim(parties, letter, other) for other in parties.taught_others(letter))
        if outsiders.label_curve:
            for other in parties.taught_others(letter):
                yield from _curve_claims(parties, letter, other)


def _sibling_claim(parties: PromptedParties, letter: str) -> Claim:
    tested, sibling = parties.tested(letter), sibling_name(letter, 1)
    return Claim(
        id=f"self-beats-sibling-{letter}",
        text=f"{tested} is right about itself more often than {sibling}, which is as alike as can be: access, and not "
        "similarity",
        source=f"{DESIGN_SOURCE}: siblings of graded similarity are the control that Song et al. 2025 asks for",
        measure=Difference(a=prompted_reports(tested, tested), b=prompted_reports(sibling, tested)),
        threshold=0.0,
        preconditions=(*parties.self_needs(letter), *parties.needs.of_reports((sibling, tested))),
    )


def _similarity_claim(parties: PromptedParties, letter: str, other: str) -> Claim:
    tested, sibling, rival = parties.tested(letter), sibling_name(letter, 1), taught_name(other, letter)
    return Claim(
        id=f"sibling-beats-cross-{letter}-{other}",
        text=f"{sibling}, which is not {tested} and answers like it, is right about it more often than {rival}",
        source=f"{DESIGN_SOURCE}: what similarity alone knows (Song et al. 2025, arXiv 2503.07513)",
        measure=Difference(a=prompted_reports(sibling, tested), b=prompted_reports(rival, tested)),
        threshold=ADVANTAGE_MARGIN,
        preconditions=(*parties.rival_needs(letter, rival, other), *parties.needs.of_reports((sibling, tested))),
    )


def _curve_claims(parties: PromptedParties, letter: str, other: str) -> Iterator[Claim]:
    tested = parties.tested(letter)
    own = prompted_reports(tested, tested)
    names = {multiple: curve_name(other, letter, multiple) for multiple in LABEL_MULTIPLES}
    curve = tuple((multiple, prompted_reports(name, tested)) for multiple, name in names.items())
    needs = (*parties.rival_needs(letter, taught_name(other, letter), other), _above_constant(tested))
    yield Claim(
        id=f"labels-to-reach-{letter}-{other}",
        text=f"With fewer than {MOST:g} times the labels that {tested} was taught, {other} becomes as right about "
        f"{tested} as {tested} is; the number is how many times as many it needs",
        source=f"{DESIGN_SOURCE}: what access is worth, in labels",
        measure=LabelsToReach(own=own, curve=curve, labels=_labels(tested)),
        threshold=MOST,
        direction="below",
        preconditions=needs,
    )
    yield Claim(
        id=f"not-within-labels-{letter}-{other}",
        text=f"Even {MOST:g} times the labels that {tested} was taught do not make {other} as right about {tested} as "
        f"{tested} is",
        source=f"{INTROSPECTION_PAPER}, appendix A.2.7 (GPT-4o about Llama: 35.1 % at 30,000 labels against 48.5 %)",
        measure=Difference(a=own, b=curve[-1][1]),
        threshold=0.0,
        preconditions=(*needs, *parties.needs.of_reports((names[MOST], tested))),
    )


def _above_constant(tested: str) -> Precondition:
    """Where a model knows no more of itself than a constant, reaching it says nothing."""
    measure = gain(prompted_reports(tested, tested), observer_scores(tested, tested, "oracle"))
    text = f"the share by which {tested} about itself exceeds the best constant"
    return Precondition(text=text, measure=measure, above=0.0, by_interval=True)


def _labels(model: str) -> Selection:
    return Selection(evaluation=labels_name(model), metric="labels", quantity="labels")


def outsider_figures(parties: PromptedParties, outsiders: OutsiderTeaching) -> Iterator[Figure]:
    """The figures of outsiders that are taught besides the other models."""
    if outsiders.siblings and parties.targets:
        yield _similarity_figure(parties, outsiders)
    if outsiders.label_curve and any(parties.taught_others(letter) for letter in parties.targets):
        yield _curve_figure(parties)


def _similarity_figure(parties: PromptedParties, outsiders: OutsiderTeaching) -> LineFigure:
    points = []
    for letter in parties.targets:
        tested, panel = parties.tested(letter), f"about {parties.tested(letter)}"
        points.append(LinePoint(1.0, "itself", Mean(selection=prompted_reports(tested, tested)), panel))
        models = {sibling_name(letter, number): "siblings" for number in range(1, outsiders.siblings + 1)}
        for other in parties.taught_others(letter):
            models |= {taught_name(other, letter): f"{other}, taught the same", other: f"{other}, taught nothing"}
        for model, group in models.items():
            alike = ComplementShare(selection=prompted_scores(unlike_name(tested, model), "differs"))
            points.append(LinePoint(alike, group, Mean(selection=prompted_reports(model, tested)), panel))
    return LineFigure(
        id="similarity",
        title="Do models know a model the better the more they answer like it?",
        caption="Held-out tasks. Siblings are the same model, taught the same labels with another seed. Access shows "
        "as a step between the outsiders and the model itself.",
        x_label="labels that are the same",
        y_label="reports that are right",
        x_scale="linear",
        points=tuple(points),
    )


def _curve_figure(parties: PromptedParties) -> LineFigure:
    points = []
    for letter in parties.targets:
        tested, panel = parties.tested(letter), f"about {parties.tested(letter)}"
        for other in parties.taught_others(letter):
            for multiple in LABEL_MULTIPLES:
                name = curve_name(other, letter, multiple)
                x, right = LabelCount(selection=_labels(name)), Mean(selection=prompted_reports(name, tested))
                points.append(LinePoint(x, other, right, panel))
                own = Mean(selection=prompted_reports(tested, tested))
                points.append(LinePoint(x, f"{tested} itself, once taught", own, panel))
    return LineFigure(
        id="label-curve",
        title="How many labels does an outsider need?",
        caption="Held-out tasks. The band is the model about itself. It was taught its labels once, and outsiders from "
        f"an eighth of them to {MOST:g} times as many.",
        x_label="labels that the outsider was taught",
        y_label="reports that are right",
        points=tuple(points),
    )
