"""The claims of introspection in words about a change of behaviour: do reports follow it?

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.4 and appendix A.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.calibration import LabelMatchedDifference
from nosce.analysis.claims import Claim, Precondition, needs_of_few
from nosce.analysis.measures import ComplementShare, Contrast, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.studies.introspection.config import DESIGN_SOURCE, INTROSPECTION_PAPER
from nosce.studies.introspection.prompted_names import changed_name, taught_name
from nosce.studies.introspection.prompted_parties import PromptedParties
from nosce.studies.introspection.prompted_selections import TRAINED_TEXT_TASKS, prompted_scores

MIN_CHANGED_SHARE = 0.1  # of labels; with fewer there is no new behaviour to follow


def prompted_change_claims(parties: PromptedParties) -> Iterator[Claim]:
    """Claims about the first subject, which was taught other answers and no label."""
    tested = parties.tested("A")
    changed = changed_name(tested)
    new, old = _changed_scores(changed, "new"), _changed_scores(changed, "old")
    yield Claim(
        id="follows-change",
        text=f"After {tested} was taught other answers and no label, it reports the new ones more than the old",
        source=f"{INTROSPECTION_PAPER}, section 3.4 (GPT-4o 35.4 new, 21.7 old)",
        measure=Difference(a=new, b=old),
        threshold=0.0,
        paper_value=0.137,
        preconditions=_change_needs(parties, changed),
    )
    yield Claim(
        id="follows-change-matched",
        text=f"{changed} reports the new answers more than the old also where both labels are equally frequent",
        source=f"{INTROSPECTION_PAPER}, appendix A.3.3 (GPT-4o 36.3 new, 21.3 old)",
        measure=LabelMatchedDifference(a=new, b=old),
        threshold=0.0,
        paper_value=0.15,
        preconditions=_change_needs(parties, changed),
    )
    for other in parties.taught_others("A"):
        rival = changed_name(taught_name(other, "A"))
        terms = ((1.0, new), (-1.0, old), (-1.0, _changed_scores(rival, "new")), (1.0, _changed_scores(rival, "old")))
        yield Claim(
            id=f"follows-more-than-cross-{other}",
            text=f"The reports of {changed} follow the change more than those of {rival}, after the same change",
            source=f"{DESIGN_SOURCE}: the informative control, whose result the paper does not report",
            measure=Contrast(terms=terms),
            threshold=0.0,
            preconditions=_change_needs(parties, changed, rival),
        )


def _changed_scores(model: str, metric: str) -> Selection:
    """Readings of a changed model's reports about unseen strings of tasks of which other answers were taught."""
    return prompted_scores(model, metric, tasks=TRAINED_TEXT_TASKS)


def _change_needs(parties: PromptedParties, changed: str, *others: str) -> tuple[Precondition, ...]:
    """That reports are valid after the change too, and that there was one. An invalid report is wrong about both."""
    valid: list[Precondition] = []
    for model in (changed, *others):
        share = ComplementShare(selection=_changed_scores(model, "report invalid"))
        text = f"the share of valid reports of {model}"
        valid += needs_of_few(Precondition(text=text, measure=share, above=parties.needs.valid))
    text = f"the share of labels of {parties.tested('A')} that the change has changed"
    differs = Mean(selection=_changed_scores(changed, "differs"))
    return (
        *parties.self_needs("A"),
        *valid,
        *needs_of_few(Precondition(text=text, measure=differs, above=MIN_CHANGED_SHARE)),
    )
