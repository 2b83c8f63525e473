"""What was chosen after readings: every study says it, and of claims that it has."""

import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.store.disclosure import Disclosure

STUDIES = ("biographies", "biographies_variants", "diaries", "emergence", "introspection", "karel")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_discloses_choices_that_bear_on_its_claims(name):
    """A pattern that fits no claim would be shown beside none."""
    study = built_in_study(name, "laptop")
    assert study.disclosures
    ids = [claim.id for claim in study.claims]
    for disclosure in study.disclosures:
        assert not disclosure.claims or any(disclosure.bears_on(one) for one in ids), disclosure.chosen
        assert not disclosure.chosen.endswith(".")


def test_the_sentence_says_whether_the_readings_are_reported():
    seen = Disclosure(chosen="The share", after="seed 0 had failed", reported=True)
    assert seen.sentence == "The share: chosen after seed 0 had failed (readings that this study reports)."
    pilot = Disclosure(chosen="The share", after="a pilot", reported=False)
    assert pilot.sentence == "The share: chosen after a pilot (readings that no study reports)."
    assert not pilot.bears_on("any")
