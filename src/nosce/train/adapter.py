"""The low-rank update that a training's configuration describes, on a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nosce.models import lora
from nosce.seeds import Seed
from nosce.train.config import LoRA

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def add_adapter(model: PreTrainedModel, adapter: LoRA, seed: Seed) -> PeftModel:
    """Freeze the model and add the update, which is drawn from `seed` and zero at first; see `lora.add_lora`.

    Raises:
        SpecError: The family's matrices are not known, or not part by part.
    """
    return lora.add_lora(
        model,
        adapter.rank,
        adapter.embedding_rank,
        adapter.alpha,
        seed,
        query_value_apart=adapter.query_value_apart,
    )
