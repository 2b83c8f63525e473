"""The configurations of the built-in studies: every field has its phrase, and the table fits its line."""

from __future__ import annotations

import importlib
from io import StringIO

import pytest
from rich.console import Console

from nosce.errors import UsageError
from nosce.studies import BUILT_IN, CONFIGS
from nosce.studies.configs import config_rows, config_scales, config_table, field_phrases
from nosce.study import SCALES, load_study


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_field_of_a_configuration_has_a_phrase(name):
    """`help()` and `nosce list STUDY` say what a field means."""
    module, _, variable = CONFIGS[name].partition(":")
    for make in getattr(importlib.import_module(module), variable).values():
        config_class = type(make())
        assert set(config_class.__dataclass_fields__) == set(field_phrases(config_class))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_the_table_of_all_scales_fits_its_line(name, width):
    """One column a scale, and none of them is cut off."""
    console = Console(width=width, file=StringIO())
    console.print(config_table(name, width))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert all(scale in text.splitlines()[1] for scale in config_scales(name))
    assert all(len(row.values) == len(config_scales(name)) for row in config_rows(name))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_scale_that_a_study_does_not_have_is_refused(name):
    """The message names the scales that there are."""
    for scale in set(SCALES) - set(config_scales(name)) - {"demo"}:
        with pytest.raises(UsageError, match=r"has no scale .*smoke"):
            load_study(name, scale)
    with pytest.raises(UsageError, match="there is no built-in study"):
        config_table("nothing")
