"""Introspection of a model in a local folder, e.g. what `python -m nosce.models.convert_gguf` leaves.

NOSCE_FOLDER=~/smollm2 nosce run nosce.studies.introspection.ask_folder:study --workers 1 --threads 2
"""

from __future__ import annotations

import os
from pathlib import Path

from nosce.data.worlds.behaviours.natural_text import Texts
from nosce.errors import UsageError
from nosce.models.architecture import Pretrained
from nosce.studies.introspection.prompted import Looking
from nosce.studies.introspection.study import asked
from nosce.studies.introspection.subjects import Folder, Shifted
from nosce.study import Scale, Study
from nosce.train.config import LoRA, Recipe

#: The tasks of the run that is measured in results/; `Texts` has two more, with four options each.
NINE = ("colours", "towns", "numbers", "power", "hero", "animals", "things", "openings", "haste")
#: Low-rank updates after the paper's for Llama (rank 32, batch 16, one round); its rate is for 70 B weights.
RECIPE = Recipe(steps=1, batch=16, peak_lr=5e-4, weight_decay=0.0, dtype="auto")
ADAPTER = LoRA(rank=32, embedding_rank=0)


def study(scale: Scale) -> Study:
    """As many strings as two cores can ask within the hour, or fewer."""
    if "NOSCE_FOLDER" not in os.environ:
        raise UsageError("whom to ask is looked for in $NOSCE_FOLDER, which is not set; name a folder there.")
    strings = {"smoke": 4, "laptop": 40, "gpu": 400, "paper": 1_000}.get(scale, 40)
    model = Pretrained.at(Path(os.environ["NOSCE_FOLDER"]).expanduser())
    who = Folder(model=model, recipe=RECIPE, adapter=ADAPTER, rounds=3, dtype="bfloat16")
    # Another who is taught as much: the same model, once it has learnt other answers.
    world = Texts(strings=strings, tasks=NINE)
    other = Shifted(who=who, world=world, dispositions="B")
    draws = {"smoke": 2, "laptop": 0}.get(scale, 20)
    return asked(Looking(world=world, who=who, others=(other,), draws=draws), scale=scale)
