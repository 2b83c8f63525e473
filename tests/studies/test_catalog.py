"""The catalog says what the studies say."""

from __future__ import annotations

from contextlib import suppress

import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.errors import UsageError
from nosce.pipeline.study_loading import builtin_studies
from nosce.studies.catalog import CATALOG, CatalogEntry
from nosce.study import SCALES


def test_every_built_in_study_is_in_the_catalog():
    """No study is forgotten and none is listed that is not there."""
    assert sorted(CATALOG) == sorted(builtin_studies())


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_has_the_question_the_paper_and_the_scales_of_its_study(name):
    """Every scale that the study takes is listed, with the study's own words."""
    by_scale = {}
    for scale in SCALES:
        with suppress(UsageError):  # the study has no such scale
            by_scale[scale] = built_in_study(name, scale)
    for study in by_scale.values():
        entry = CatalogEntry(question=study.question, paper=study.paper, scales=tuple(by_scale))
        assert CATALOG[name] == entry
