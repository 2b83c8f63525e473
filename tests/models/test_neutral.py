"""Replies in which only what is asked for is on."""

from __future__ import annotations

import pytest
from tests.fixtures.tiny_folders import tiny_folder
from transformers import AutoModelForCausalLM

from nosce.models.neutral import neutral_generation_config


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "temperature": 1.0}], ids=["likeliest", "sampled"])
def test_transformers_finds_nothing_to_warn_of(settings, tmp_path):
    """A filter of samples where none is drawn made it write a line to every terminal; where they are, it is off."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama", tmp_path / "llama"))
    config = neutral_generation_config(model, **settings)
    config.validate(strict=True)
    if settings:
        assert (config.top_k, config.top_p) == (0, 1.0)
