"""The update of a training's configuration has every rank and scale that the configuration names."""

from __future__ import annotations

import pytest

from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.train.adapter import add_adapter
from nosce.train.config import LoRA


@pytest.mark.parametrize(("apart", "rank"), [(False, 3), (True, 6)])
def test_every_field_reaches_the_model(apart, rank):
    """Ranks, scale, and whether query and value have factors of their own."""
    shape = Architecture(layers=1, width=32, heads=4, max_positions=16, tie_embeddings=False)
    model = build_model(shape, vocab_size=20, eos_id=0, pad_id=1, seed=Seed(0))
    adapter = LoRA(rank=3, embedding_rank=5, alpha=4.0, query_value_apart=apart)
    adapted = add_adapter(model, adapter, Seed(1))
    layers = {name.rpartition(".")[2]: m for name, m in adapted.named_modules() if "default" in getattr(m, "r", {})}
    assert {name: module.r["default"] for name, module in layers.items()} == {"query_key_value": rank, "embed_in": 5}
    assert {module.scaling["default"] for module in layers.values()} == {4.0}
