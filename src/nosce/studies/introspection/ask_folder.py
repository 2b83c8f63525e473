"""Introspection of a model in a local folder, e.g. what `python -m nosce.models.convert_gguf` leaves.

NOSCE_FOLDER=~/smollm2 nosce run nosce.studies.introspection.ask_folder:study --workers 1 --threads 2
"""

from __future__ import annotations

import os
from pathlib import Path

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.errors import UsageError
from nosce.models.architecture import Pretrained
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.study import prompted_introspection_study
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject
from nosce.study import Scale, Study
from nosce.train.config import LoRA, TrainingConfig

#: The tasks of the run that is shown in results/; `NaturalTextBehaviours` has two more, with four options each.
MEASURED_TASKS = ("colours", "towns", "numbers", "power", "hero", "animals", "things", "openings", "haste")
#: The paper's fine-tuning of Llama (rank 32, batch 16), except the learning rate, which it chose for 70 B weights.
TRAINING = TrainingConfig(steps=1, batch_size=16, peak_lr=5e-4, weight_decay=0.0, dtype="auto")
ADAPTER = LoRA(rank=32, embedding_rank=0)


def study(scale: Scale) -> Study:
    """The scale sets the number of strings a task; at `laptop` two cores answer all within an hour."""
    if "NOSCE_FOLDER" not in os.environ:
        raise UsageError("$NOSCE_FOLDER, which names the model's folder, is not set; set it.")
    strings = {"smoke": 4, "laptop": 40, "gpu": 400, "paper": 1_000}.get(scale, 40)
    model = Pretrained.from_folder(Path(os.environ["NOSCE_FOLDER"]).expanduser())
    subject = LocalSubject(model=model, training=TRAINING, adapter=ADAPTER, epochs=3, dtype="bfloat16")
    # The other predictor is the same model after it has learnt other answers.
    world = NaturalTextBehaviours(strings_per_task=strings, tasks=MEASURED_TASKS)
    other = FinetunedSubject(base=subject, world=world, dispositions="B")
    n_samples = {"smoke": 2, "laptop": 0}.get(scale, 20)
    return prompted_introspection_study(
        PromptedIntrospection(world=world, subject=subject, other_subjects=(other,), n_samples=n_samples), scale=scale
    )
