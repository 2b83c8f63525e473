"""The claims about injected states, for our own models and for folders.

All are about concepts whose reports were not taught, at the place and the strengths at which the others were taught.
A false alarm, a random direction and a word in the prompt are subtracted from, or held against, a detection.
"""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.measures import Difference, Mean, Measure
from nosce.analysis.selection import Selection
from nosce.studies.introspection.config import DESIGN_SOURCE
from nosce.studies.introspection.injected_selections import InjectedReadings, over_concepts
from nosce.studies.introspection.preconditions import MIN_VALID_SHARE

INJECTION_MARGIN = 0.1  # share of trials; the smallest detection that matters, fixed before any run
MIN_LEARNT_SHARE = 0.8  # of taught concepts that are detected; with fewer, the teaching has failed
MIN_NAMING_SHARE = 0.95  # of concepts named when they are read; with fewer, a model lacks the words
LINDSEY = "Lindsey 2025 (Emergent introspective awareness)"
FINE_TUNED, LATENT = "arXiv:2511.21399, abstract", "arXiv:2602.20031, abstract"


def injection_claims(
    before: InjectedReadings, after: InjectedReadings | None, *, name: str, suffix: str = ""
) -> Iterator[Claim]:
    """The claims about one model.

    Args:
        before: Its readings as it is given.
        after: Its readings after it was taught to report; None where it is not taught.
        name: The model's name in sentences.
        suffix: The end of the claims' ids.
    """
    yield _latent_claim(before, name, suffix)
    for readings, prefix, when in ((before, "untaught-", "untaught"), (after, "", "taught")):
        if readings is not None:
            needs = (
                *_valid(readings, name),
                *((_naming(readings, name), _learnt(readings, name)) if not prefix else ()),
            )
            yield from _detection_claims(readings, f"{when} {name}", prefix, suffix, needs)
    if after is not None:
        needs = (*_valid(before, name), *_valid(after, name), _naming(after, name))
        yield Claim(
            id=f"injected-teaching-helps{suffix}",
            text=f"Teaching makes {name} say that an untaught concept was injected and name it, more often than before",
            source=f"{FINE_TUNED} (0.4 to 85 %)",
            measure=_difference(after.scores("reported"), before.scores("reported")),
            threshold=INJECTION_MARGIN,
            preconditions=needs,
        )


def _detection_claims(
    readings: InjectedReadings, who: str, prefix: str, suffix: str, needs: tuple[Precondition, ...]
) -> Iterator[Claim]:
    """What a model must detect and name, and what it must not."""
    kept_apart = {
        "detected": ("none", "than without an injection (false alarms)", LINDSEY),
        "not-random": ("random", "than with a random direction of the same length", DESIGN_SOURCE),
        "not-prompt": ("prompt", "than with a word of the concept in the prompt", DESIGN_SOURCE),
    }
    for claim_id, (kind, words, source) in kept_apart.items():
        control = readings.scores("yes", kind)  # type: ignore[arg-type]  # the kinds above
        yield Claim(
            id=f"{prefix}injected-{claim_id}{suffix}",
            text=f"With an untaught concept injected, {who} says so more often {words}",
            source=source,
            measure=_difference(readings.scores("yes"), control),
            threshold=INJECTION_MARGIN,
            preconditions=needs,
        )
    yield Claim(
        id=f"{prefix}injected-named{suffix}",
        text=f"Asked which concept was injected, {who} names an untaught one more often than the best constant",
        source=FINE_TUNED,
        measure=_difference(readings.scores("names"), readings.scores("constant")),
        threshold=INJECTION_MARGIN,
        preconditions=needs,
    )
    yield Claim(
        id=f"{prefix}random-not-named{suffix}",
        text=f"With a random direction of the same length, {who} names no concept",
        source=DESIGN_SOURCE,
        measure=over_concepts(Mean(selection=readings.scores("names any", "random"))),
        threshold=INJECTION_MARGIN,
        direction="below",
        preconditions=needs,
    )


def _latent_claim(before: InjectedReadings, name: str, suffix: str) -> Claim:
    return Claim(
        id=f"injected-latent{suffix}",
        text=f"Where the text of untaught {name} denies an injection, its probability of yes rises with a concept more "
        "often than with a random direction",
        source=f"{LATENT}: logits show what the text denies",
        measure=_difference(before.scores("shift", split=None), before.scores("shift", "random", split=None)),
        threshold=0.0,
        preconditions=_valid(before, name)[:1],
    )


def _difference(a: Selection, b: Selection) -> Measure:
    return over_concepts(Difference(a=a, b=b))


def _valid(readings: InjectedReadings, name: str) -> tuple[Precondition, ...]:
    """That replies to both questions have their form."""
    needs = []
    for metric, question in (("valid", "whether"), ("valid name", "which")):
        measure = over_concepts(Mean(selection=readings.scores(metric)))
        text = f"the share of valid replies of {name} to {question}"
        needs.append(Precondition(text=text, measure=measure, above=MIN_VALID_SHARE))
    return tuple(needs)


def _naming(readings: InjectedReadings, name: str) -> Precondition:
    measure = over_concepts(Mean(selection=readings.scores("names", "read", split=None)))
    text = f"the share of concepts that {name} names when it reads them"
    return Precondition(text=text, measure=measure, above=MIN_NAMING_SHARE)


def _learnt(readings: InjectedReadings, name: str) -> Precondition:
    measure = over_concepts(Mean(selection=readings.scores("yes", split="seen")))
    return Precondition(
        text=f"the share of taught concepts that {name} detects", measure=measure, above=MIN_LEARNT_SHARE
    )
