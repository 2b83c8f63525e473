"""A study whose arm starts from the folder in $NOSCE_FUZZ_FOLDER: one step of training, one evaluation."""

import os

from nosce import Arm, EvalSpec, Pretrained, QAEval, Study, TrainingConfig
from nosce.data.worlds.biographies.world import Biographies

WORLD = Biographies(people=4, name_pool_sizes=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)


def study(scale):
    """As small as a study gets."""
    training = TrainingConfig(steps=1, batch_size=2, peak_lr=1e-3, dtype="float32")
    model = Pretrained.from_folder(os.environ["NOSCE_FUZZ_FOLDER"])
    return Study(
        name="folder",
        title="A folder",
        question="Is the folder a model?",
        paper="none",
        scale=scale,
        unit="person",
        arms=(Arm(name="only", world=WORLD, model=model, training=training),),
        seeds=(0,),
        evals=(EvalSpec(QAEval()),),
        claims=(),
    )
