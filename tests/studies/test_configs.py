"""The configurations of the built-in studies: every field has its phrase, and the table fits its line."""

from __future__ import annotations

import importlib
import json
from io import StringIO

import pytest
from rich.console import Console

from nosce.errors import UsageError
from nosce.pipeline.study_loading import load_study
from nosce.studies import BUILT_IN, CONFIGS, MODEL_CONFIGS
from nosce.studies.configs import config_rows, config_scales, config_table, field_phrases
from nosce.studies.settings import settable_fields
from nosce.study import SCALES

EVERY_TABLE = [(name, False) for name in sorted(CONFIGS)] + [(name, True) for name in sorted(MODEL_CONFIGS)]


def configs_of(name, with_model):
    """The configuration of each scale."""
    module, _, variable = (MODEL_CONFIGS if with_model else CONFIGS)[name].partition(":")
    return [make() for make in getattr(importlib.import_module(module), variable).values()]


@pytest.mark.parametrize(("name", "with_model"), EVERY_TABLE)
def test_every_field_of_a_configuration_has_a_phrase(name, with_model):
    """`help()` and `nosce list STUDY` say what a field means."""
    for config in configs_of(name, with_model):
        assert set(type(config).__dataclass_fields__) == set(field_phrases(type(config)))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "with_model"), EVERY_TABLE)
def test_the_table_of_all_scales_fits_its_line(name, with_model, width):
    """One column a scale, and none of them is cut off."""
    console = Console(width=width, file=StringIO())
    console.print(config_table(name, width, with_model=with_model))
    text, scales = console.file.getvalue(), config_scales(name, with_model=with_model)
    assert max(map(len, text.splitlines())) <= width
    assert all(scale in text.splitlines()[1] for scale in scales)
    assert all(len(row.values) == len(scales) for row in config_rows(name, with_model=with_model))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_list_has_every_field_that_set_changes_and_its_default(nosce, name):
    """With a model and without, as a table of 80 columns and as JSON; what `--set` does not take is marked."""
    text = nosce.here("list", name, COLUMNS="80").stdout
    assert max(map(len, text.splitlines())) <= 80
    wide = "".join(nosce.here("list", name, COLUMNS="240").stdout.split())  # no name is folded
    rows = json.loads(nosce.here("list", name, "--json").stdout)
    for with_model in (False, True) if name in MODEL_CONFIGS else (False,):
        listed = {row["field"]: row for row in rows if row["with_model"] == with_model}
        configs = configs_of(name, with_model)
        settable = {path for config in configs for path in settable_fields(config)}
        assert {field for field, row in listed.items() if row["is_settable"]} == settable
        assert all(field in wide for field in listed)
        for field in (field for field in listed if "." not in field and field in settable):
            values = list(listed[field]["values"].values())
            assert len(values) == len(configs)
            assert all(
                (value == "-") == (getattr(config, field) in (None, (), ""))
                for value, config in zip(values, configs, strict=True)
            )
    assert (f"{name} --model MODEL" in text) == (name in MODEL_CONFIGS)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_scale_that_a_study_does_not_have_is_refused(name):
    """The message names the scales that there are."""
    for scale in set(SCALES) - set(config_scales(name)) - {"demo"}:
        with pytest.raises(UsageError, match=r"has no scale .*smoke"):
            load_study(name, scale)
    with pytest.raises(UsageError, match="there is no built-in study"):
        config_table("nothing")
