"""Is knowledge that was memorised also knowledge that can be asked for?

Allen-Zhu and Li 2023, "Physics of Language Models: Part 3.1, Knowledge Storage and Extraction"
(arXiv:2309.14316). Everybody's biography is learnt by heart; questions about half of the people are
then trained on; the other half are asked about. What decides is not whether the facts were stored
but in how many wordings they were met.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nosce.charts import Bars, Curves
from nosce.errors import UsageError
from nosce.measures import Claim, Difference, Mean, Need, Select
from nosce.models.families import size
from nosce.read.readouts import Majority, Questions, Recall
from nosce.scaling import along_training
from nosce.study import PRETRAIN, Arm, Read, Scale, Stage, Study
from nosce.text.tokenizer import TokenizerSpec
from nosce.train.recipe import LoRA, Recipe
from nosce.worlds.biographies import Biographies

#: Attributes of which neither the first sentence's shortcut nor company city's prior makes a special case
#: (the sheet's acceptance test, section 11.4).
FOUR = ("birth_city", "university", "major", "company")
FINETUNE = "finetune"
ALONG = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # where the curves have their points


def study(scale: Scale, optimizer: str = "muon", name: str = "biographies") -> Study:
    """The study at a scale; what it expects of the world is in `claims`.

    Args:
        optimizer: One of `OPTIMIZERS`; the scales gpu and paper are the paper's whatever is asked for.
        name: What the store and the report call it.
    """
    arms = _arms(scale, optimizer)
    names = {arm.name for arm in arms}
    per_step = arms[0].recipe.batch / arms[0].world.people  # type: ignore[attr-defined]
    return Study(
        name=name,
        title="Memorised is not extractable",
        question="Can a model be asked for what it has learnt by heart?",
        paper="arXiv:2309.14316",
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0, 1, 2) if scale in ("laptop", "gpu") else (0,),
        reads=(Read(Recall()), Read(Majority()), Read(Questions(), stage=FINETUNE)),
        claims=tuple(claim for claim in claims(arms) if _arms_of(claim) <= names),
        figures=figures(per_step),
        scalings=tuple(
            along_training(
                f"recall-{arm.name}", f"Recall of what is read, {arm.name}", arm.name, arm.recipe.kept, per_step,
                Select(readout="recall", stage=PRETRAIN),
                Select(readout="recall", metric="nats", stage=PRETRAIN, quantity="nats"), x_label="exposures",
            )
            for arm in arms
        ),
    )  # fmt: skip


def claims(arms: tuple[Arm, ...]) -> tuple[Claim, ...]:
    """What the paper says, with the values of its Figure 3 (GPT2-small, 100,000 people)."""
    multi = gap("multi5+permute", "single")
    return (
        *(memorised(arm.name) for arm in arms),
        Claim(
            id="extraction-gap",
            text="Five shuffled wordings make knowledge extractable that one wording does not",
            source="Figure 3, mean of six: 96.6 - 9.7",
            measure=multi,
            threshold=0.15,
            paper_value=0.869,
            needs=(known("single"), known("multi5+permute")),
        ),
        Claim(
            id="single-near-chance",
            text="After one wording, unseen people are answered at most a little better than by guessing",
            source="Figure 3: 9.7 against a majority guess of 2.7",
            measure=Difference(one=asked("single"), other=guessed("single")),
            threshold=0.10,
            direction="below",
            paper_value=0.07,
            needs=(known("single"),),
        ),
        Claim(
            id="permute1-no-help",
            text="Shuffling the sentences of the one text does not help by itself",
            source="Figure 3: 4.4 - 9.7",
            measure=gap("single+permute1", "single"),
            threshold=0.05,
            direction="below",
            paper_value=-0.053,
            needs=(known("single"), known("single+permute1")),
        ),
        Claim(
            id="rewording-alone-helps",
            text="Five wordings in one order lie above one wording",
            source="Figure 3: 41.0 - 9.7",
            measure=gap("multi5", "single"),
            threshold=0.0,
            paper_value=0.313,
            needs=(known("single"), known("multi5")),
        ),
        Claim(
            id="shuffling-on-top-helps",
            text="Shuffled order on top of five wordings lies above five wordings alone",
            source="Figure 3: 96.6 - 41.0",
            measure=gap("multi5+permute", "multi5"),
            threshold=0.0,
            paper_value=0.556,
            needs=(known("multi5"), known("multi5+permute")),
        ),
        Claim(
            id="gap-on-four",
            text="The gap is 40 points or more on birth city, university, major and company",
            source="Figure 3, mean of four: 95.8 - 3.4",
            measure=gap("multi5+permute", "single", FOUR),
            threshold=0.40,
            paper_value=0.924,
            needs=(known("single"), known("multi5+permute")),
        ),
    )


def asked(arm: str, facets: tuple[str, ...] = ()) -> Select:
    """Exact answers about people whose questions were never trained on."""
    return Select(readout="questions", arm=arm, split="unseen", facets=facets, stage=FINETUNE)


def guessed(arm: str) -> Select:
    """The majority guess on the same questions."""
    return Select(readout="majority", arm=arm, split="unseen", stage=PRETRAIN)


def gap(one: str, other: str, facets: tuple[str, ...] = ()) -> Difference:
    """How much better one arm answers about unseen people than another."""
    return Difference(one=asked(one, facets), other=asked(other, facets))


def recalled(arm: str) -> Select:
    """Values recalled whole inside the biographies after pretraining."""
    return Select(readout="recall", arm=arm, stage=PRETRAIN)


def known(arm: str) -> Need:
    """Extraction is judged only where the facts were memorised (the sheet's pitfall 10)."""
    return Need(text=f"attribute recall of {arm}", measure=Mean(select=recalled(arm)), above=0.95)


def memorised(arm: str) -> Claim:
    """Attribute values are recalled inside the biographies."""
    return Claim(
        id=f"memorised/{arm}",
        text=f"{arm}: attribute values are recalled inside the biographies",
        source="remark C.1: well over 99",
        measure=Mean(select=recalled(arm)),
        threshold=0.95,
        paper_value=0.99,
    )


def figures(exposures_per_step: float) -> tuple[Bars | Curves, ...]:
    """Accuracy per attribute against the majority guess, and how recall and extraction come about."""
    unseen = Select(readout="questions", split="unseen", stage=FINETUNE)
    return (
        Bars(
            id="accuracy",
            title="Questions about unseen people, by attribute",
            caption="Exact match of the whole answer after fine-tuning on questions about the other half of the "
            "people; bars are 95 % intervals over people and seeds, dashes the most frequent answer.",
            y_label="exact match",
            select=unseen,
            baseline=Select(readout="majority", split="unseen", stage=PRETRAIN),
        ),
        Curves(
            id="recall",
            title="Memorising: recall inside the biographies, over pretraining",
            caption="Share of attribute values that are recalled whole, given all that stands before them.",
            x_label="times each person was met",
            y_label="values recalled",
            panels=(("", Select(readout="recall", stage=PRETRAIN, step="every")),),
            per_step=exposures_per_step,
        ),
        Curves(
            id="finetuning",
            title="Extracting: questions, over fine-tuning",
            caption="Exact match on questions that are trained on, and on those about people never asked about before.",
            x_label="optimizer steps of fine-tuning",
            y_label="exact match",
            panels=(
                ("people asked about in training", replace(unseen, split="seen", step="every")),
                ("people never asked about", replace(unseen, step="every")),
            ),
        ),
    )


def _arms_of(claim: Claim) -> set[str]:
    measure = claim.measure
    selects = (measure.one, measure.other) if isinstance(measure, Difference) else (measure.select,)  # type: ignore[attr-defined]
    return {select.arm for select in selects if select.arm}


#: `muon` was found by `benchmarks/recipes.py` on recall alone, in people that no study reports. `adamw` is the
#: optimizer of arXiv:2309.14316, at a learning rate from pilots (LOG.md) that was searched less.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": "muon", "matrix_lr": 0.03, "peak_lr": 2e-2, "batch": 32},
    "adamw": {"optimizer": "adamw", "peak_lr": 5e-3, "batch": 32},
}


def _arms(scale: Scale, optimizer: str) -> tuple[Arm, ...]:
    fast = optimizer == "muon"
    match scale:
        case "smoke":
            world = replace(SMALL, people=40, names=(8, 8, 16))
            return _population(world, PAIR, optimizer, model="2x64", exposures=20, finetune=20)
        case "demo":
            exposures = 40 if fast else 100
            return _population(SMALL, PAIR, optimizer, model="3x128", exposures=exposures, finetune=150, asking_lr=7e-4)
        case "laptop":
            exposures = 100 if fast else 260
            return _population(SMALL, FOUR_ROWS, optimizer, model="3x128", exposures=exposures, finetune=600)
        case "gpu":
            return _gpu()
        case "paper":
            return _paper()
    raise UsageError(f"biographies has no scale {scale!r}; take smoke, demo, laptop, gpu or paper.")


#: Few values a field, so that every class has people enough; names shared by many (the sheet, section 11.1).
SMALL = Biographies(
    people=400, wordings=20, names=(20, 20, 40), years=100, cities=30, universities=30, majors=20, companies=30
)


PAIR = ("single", "multi5+permute")
FOUR_ROWS = ("single", "single+permute1", "multi5", "multi5+permute")


def _population(
    world: Biographies,
    augmentations: tuple[str, ...],
    optimizer: str,
    *,
    model: str,
    exposures: int,
    finetune: int,
    asking_lr: float = 3e-4,
) -> tuple[Arm, ...]:
    """Arms that differ in the augmentation alone; every person is met equally often in each."""
    how = OPTIMIZERS[optimizer]
    recipe = Recipe(steps=exposures * world.people // how["batch"], dtype="auto", checkpoints=ALONG, **how)
    stage = Stage(
        name=FINETUNE,
        recipe=Recipe(steps=finetune, batch=48, peak_lr=asking_lr, warmup=20, weight_decay=0.01, dtype="auto",
                      checkpoints=(0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)),
    )  # fmt: skip
    return tuple(
        Arm(name=name, world=replace(world, augmentation=name), model=size(model), recipe=recipe, stages=(stage,))
        for name in augmentations
    )


def _gpu() -> tuple[Arm, ...]:
    """10,000 people, 6 layers of 384 (the sheet, section 11.2)."""
    recipe = Recipe(
        steps=32_000, batch=168, window=512, peak_lr=1e-3, warmup=1_000, dtype="bfloat16", checkpoints=ALONG
    )
    stage = Stage(
        name=FINETUNE,
        adapter=LoRA(rank=8, embedding_rank=64),
        recipe=Recipe(steps=10_000, batch=48, peak_lr=3e-4, warmup=0, weight_decay=0.01,
                      dtype="bfloat16", checkpoints=(0.0, 0.1, 0.25, 0.5, 1.0)),
    )  # fmt: skip
    return tuple(
        Arm(name=name, world=Biographies(people=10_000, augmentation=name, names=(100, 100, 250)), model=size("6x384"),
            recipe=recipe, stages=(stage,), tokenizer=TokenizerSpec(kind="bpe", vocabulary=4_096))
        for name in FOUR_ROWS
    )  # fmt: skip


def _paper() -> tuple[Arm, ...]:
    """100,000 people, GPT2-small with rotary positions, LoRA fine-tuning (arXiv:2309.14316, section 2.1)."""
    recipe = Recipe(
        steps=80_000, batch=672, window=512, peak_lr=1e-3, warmup=1_000, dtype="bfloat16", checkpoints=ALONG
    )
    stage = Stage(
        name=FINETUNE,
        adapter=LoRA(rank=8, embedding_rank=128),
        recipe=Recipe(steps=50_000, batch=48, peak_lr=3e-4, warmup=0, weight_decay=0.01,
                      dtype="bfloat16", checkpoints=(0.0, 0.02, 0.1, 0.25, 0.5, 1.0)),
    )  # fmt: skip
    return tuple(
        Arm(name=name, world=Biographies(people=100_000, augmentation=name), model=size("12x768"), recipe=recipe,
            stages=(stage,), tokenizer=TokenizerSpec(kind="bpe", vocabulary=8_192))
        for name in FOUR_ROWS
    )  # fmt: skip
