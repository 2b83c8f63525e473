"""The arms of the study biographies: rows of the paper's table, doses, mixtures, celebrities, recipes, prose, tasks.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 to 7 and appendices A to H; tasks are those of
arXiv:2309.14402. Sizes are the sheet's (section 11).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.celebrities import Celebrities
from nosce.data.worlds.biographies.manipulation import HINTED, TASKS, Manipulation, Task, words
from nosce.data.worlds.biographies.prose import FreeBiographies, Grammar
from nosce.data.worlds.biographies.templates import DAYS
from nosce.data.worlds.biographies.world import AUGMENTATIONS, COUPLES, Biographies, Names
from nosce.evals.capacity import Capacity
from nosce.evals.patching.name import Renamed
from nosce.evals.probing.low_rank import Fit
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import Majority, Questions, Recall
from nosce.models.architecture import ENCODERS, Architecture, size
from nosce.study import Arm, Read, Stage
from nosce.train.config import LoRA, Mix, Recipe

FINETUNE, TASK = "finetune", "task"  # stages
ALONG = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # where the curves have their points
ENTRIES = 5  # texts of a person that P-probing reads: all there are in its rows
OFTEN = tuple(n / 20 for n in range(21))
SINGLE, ONE_ORDER, BEST = "single", "single+permute1", "multi5+permute"
PAIR = (SINGLE, BEST)
FOUR_ROWS = (SINGLE, ONE_ORDER, "multi5", BEST)
SIX_ROWS = (SINGLE, "single+fullname", ONE_ORDER, "single+permute5", "multi5", BEST)
#: Arms by their dose: wordings of a person in shuffled order, and the share of five wordings that is shuffled.
WORDINGS = {1: ONE_ORDER, 2: "multi2+permute", 3: "multi3+permute", 5: BEST, 10: "multi10+permute"}
SHARES = {0.0: "multi5", 0.4: "multi5+permute40%", 1.0: BEST}
FAMOUS = "single+permute1 + CEL"  # the paper's name for a minority among celebrities
MINORITY_PROBE, MINORITY_PLACES = "q-probe minority", "p-probe minority"
CONTROL_PLACES = "p-probe control"  # the same, from as many people and texts, where all can be asked for
NAMED = "multi5+permute+fullname"  # full names are what helps a model that sees both ways
BY_WORDS = "recall by words"

#: `muon` was found by `benchmarks/recipes.py` on recall alone, in people that no study reports. `adamw` is the
#: optimizer of arXiv:2309.14316, at a learning rate from pilots (LOG.md) that was searched less.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": "muon", "matrix_lr": 0.03, "peak_lr": 2e-2, "batch": 32},
    "adamw": {"optimizer": "adamw", "peak_lr": 5e-3, "batch": 32},
}

#: Few values a field, so that every class has people enough; names shared by many (the sheet, section 11.1).
SMALL = Biographies(
    people=400, wordings=20, names=(20, 20, 40), years=100, cities=30, universities=30, majors=20, companies=30
)


def mixed(row: str, dose: Dose | None = None) -> str:
    """The arm that reads a row's biographies and questions about half of its people from the first step."""
    return f"{row} mixed" + (f" {dose}" if dose else "")


@dataclass(frozen=True, kw_only=True)
class Dose:
    """A share of questions in mixed training other than the scale's."""

    questions: float  # share of the texts, lower than the scale's
    # As many steps as at the scale's share, so that everybody is met more often; else they are met as often.
    same_steps: bool = False

    def __str__(self) -> str:
        return f"{self.questions:.0%}" + (" longer" if self.same_steps else "")


def masked(row: str) -> str:
    """The arm of a model that sees both ways."""
    return f"masked {row}"


def taught(task: Task, *, hints: bool = False) -> str:
    """The arm that is taught a task."""
    return f"{task} with hints" if hints else task


def tried(row: str, how: str) -> str:
    """The arm of a row that is fine-tuned otherwise."""
    return f"{row}: {how}"


def prose(entries: int) -> str:
    """The arm that reads free texts."""
    return f"prose {entries}"


@dataclass(frozen=True, kw_only=True)
class Population:
    """People, and how a model of one shape reads of them and is asked; steps are so many that all are met as often."""

    world: Biographies
    shape: Architecture
    pretrain: Recipe  # but for its steps
    exposures: int  # of each person, by whichever of their texts
    asking: Recipe
    adapter: LoRA | None = None  # of the fine-tuning by which rows are compared
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)

    def row(self, name: str) -> Arm:
        """The arm of a row of the table; every person is met equally often in each."""
        world = replace(self.world, augmentation=name)
        return Arm(name=name, world=world, model=self.shape, recipe=self._long(self.pretrain, world.people),
                   stages=(self._asking(self.asking, self.adapter),), tokenizer=self.tokenizer)  # fmt: skip

    @property
    def per_step(self) -> float:
        """Exposures of each person in a step of a row."""
        return self.pretrain.batch / self.world.people

    def _long(self, recipe: Recipe, texts: float) -> Recipe:
        """As many steps as bring so many texts before the model as often as the scale says."""
        return replace(recipe, steps=max(1, round(self.exposures * texts / recipe.batch)))

    def _asking(self, recipe: Recipe, adapter: LoRA | None) -> Stage:
        return Stage(name=FINETUNE, recipe=recipe, adapter=adapter)


@dataclass(frozen=True, kw_only=True)
class Bench(Population):
    """All that is trained and read at a scale."""

    rows: tuple[str, ...] = SIX_ROWS
    couples: tuple[str, ...] = COUPLES
    mixed: tuple[str, ...] = (SINGLE,)
    questions: float = 0.9  # share of the texts of mixed training
    exposures_mixed: int | None = None  # of each person there, by their texts; None: as many
    doses: tuple[Dose, ...] = ()  # of questions, after one wording
    minority: int
    celebrities: int
    recipes: tuple[tuple[str, Recipe, LoRA | None], ...] = ()  # other fine-tunings of two rows
    examined: tuple[str, ...] = ()  # arms besides these whose fine-tuning is tried otherwise, by the first three
    few_people: tuple[int, ...] = ()  # as many to learn Q-probing from, besides half of the world
    prose: tuple[int, ...] = (1, 5)
    tasks: tuple[tuple[Task, float], ...] = tuple((task, hints) for task in TASKS for hints in
                                                  ((0.0, 0.5) if task in HINTED else (0.0,)))  # fmt: skip
    both_ways: tuple[str, ...] = (NAMED,)  # rows that a model reads that sees both ways
    longer: int = 4  # times as many exposures, since it is told 15 % of the words at a time
    longer_mixed: int = 1  # the same where questions stand among the texts
    questions_both_ways: float = 0.5  # their share there
    longer_asking: Recipe  # its fine-tuning
    longer_lr: float | None = None  # at the peak of its first training; None: that of the rows
    p_fit: Fit
    q_fit: Fit
    few: int | None = 1  # seeds of what no main claim rests on

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Rows first."""
        doses = [name for name in (*WORDINGS.values(), *SHARES.values(), *self.couples) if name not in self.rows]
        found = [self.row(name) for name in self.rows]
        found += [self._mixed(name, self.questions) for name in self.mixed]
        found.append(self._famous())
        few = [self.row(name) for name in dict.fromkeys(doses)]
        few += [self._mixed(SINGLE, dose.questions, dose) for dose in self.doses]
        few += [replace(self._famous() if name == FAMOUS else self.row(name), name=tried(name, how),
                        stages=(self._asking(recipe, adapter),))
                for name, recipes in self.tries for how, recipe, adapter in recipes]  # fmt: skip
        few += [self._prose(entries) for entries in self.prose]
        few += list(self._see_both_ways())
        few += [self._task(task, hints) for task, hints in self.tasks]
        return (*found, *(replace(arm, seeds=self.few) for arm in few))

    @property
    def tries(self) -> Iterator[tuple[str, tuple[tuple[str, Recipe, LoRA | None], ...]]]:
        """Arms with the other fine-tunings of each."""
        yield from ((name, self.recipes) for name in PAIR)
        yield from ((name, self.recipes[:3]) for name in self.examined)

    @property
    def reads(self) -> tuple[Read, ...]:
        """What is read of whom."""
        arms = {arm.name: arm for arm in self.arms}
        tasks = tuple(taught(task, hints=hints > 0) for task, hints in self.tasks)
        whole = tuple(name for name in arms if name not in tasks)
        sites = [*(f"residual.{number}" for number in range(self.shape.layers)), "final"]
        alone = replace(self.world, people=self.minority, augmentation=ONE_ORDER)
        names = Names()
        return (
            Read(Recall(), arms=whole),
            Read(Majority(), arms=whole),
            Read(Questions(), stage=FINETUNE),
            Read(Questions(), arms=tuple(name for name, arm in arms.items() if arm.mix is not None)),
            Read(PositionProbe(fit=self.p_fit, documents=ENTRIES), arms=PAIR),
            Read(NameProbe(fit=self.q_fit, titles=names), arms=(*self.rows, *map(masked, self.both_ways))),
            Read(Recall(by_words=True, name=BY_WORDS), arms=tuple(map(masked, self.both_ways))),
            Read(NameProbe(fit=self.q_fit, titles=names, name=MINORITY_PROBE), arms=(ONE_ORDER, FAMOUS), about=alone),
            Read(PositionProbe(fit=self.p_fit, name=MINORITY_PLACES), arms=(ONE_ORDER, FAMOUS), about=alone),
            Read(PositionProbe(fit=self.p_fit, name=CONTROL_PLACES), arms=(BEST,),
                 about=replace(alone, augmentation=BEST)),
            *(Read(NameProbe(fit=self.q_fit, titles=names, name=learnt_from(few)), arms=(BEST,),
                   about=replace(self.world, people=2 * few, augmentation=BEST)) for few in self.few_people),
            *(Read(NameProbe(fit=replace(self.q_fit, rank=0), titles=names, site=site, name=cheap(site)), arms=PAIR)
              for site in sites),
            Read(Renamed(titles=names), stage=FINETUNE, arms=PAIR),
            Read(Capacity(titles=names, names=math.prod(self.world.names), values=combinations(self.world)),
                 arms=self.rows),
            *self._tasks_read(),
        )  # fmt: skip

    def _tasks_read(self) -> Iterator[Read]:
        for task, hints in self.tasks:
            about = Manipulation(population=self.world, task=task, hints=hints)
            arm = (taught(task, hints=hints > 0),)
            yield Read(Questions(), stage=TASK, arms=arm, about=about)
            yield Read(Majority(), stage=TASK, arms=arm, about=about)

    def _mixed(self, name: str, questions: float, dose: Dose | None = None) -> Arm:
        # Biographies with questions between them; twice the batch, to have fewer steps.
        batch = 2 * self.pretrain.batch
        how = replace(self.pretrain, batch=batch, checkpoints=ALONG if dose else OFTEN)
        share = (self.exposures_mixed or self.exposures) / self.exposures
        texts = share * self.world.people / (1 - (self.questions if dose and dose.same_steps else questions))
        return replace(self.row(name), name=mixed(name, dose), recipe=self._long(how, texts), stages=(),
                       mix=Mix(questions=questions))  # fmt: skip

    def _famous(self) -> Arm:
        """A minority as in the row of one order, among celebrities; every text is met equally often."""
        both = replace(self.world, people=self.minority + self.celebrities, augmentation=ONE_ORDER)
        world = Celebrities(population=both, minority=self.minority, augmentation=BEST)
        return replace(self.row(ONE_ORDER), name=FAMOUS, world=world,
                       recipe=self._long(self.pretrain, self.minority + 5 * self.celebrities))  # fmt: skip

    def _prose(self, entries: int) -> Arm:
        world = FreeBiographies(population=self.world, entries=entries, rewriter=Grammar())
        return replace(self.row(SINGLE), name=prose(entries), world=world)

    def _see_both_ways(self) -> Iterator[Arm]:
        """Models without a causal mask, fine-tuned and mixed; of a text they are told 15 % of the words at a time."""
        shape = replace(self.shape, family=ENCODERS[0])
        tokenizer = replace(self.tokenizer, mask=True)

        def longer(arm: Arm, times: int, *stages: Stage) -> Arm:
            rate = self.longer_lr or arm.recipe.peak_lr
            recipe = replace(arm.recipe, steps=times * arm.recipe.steps, window=None, peak_lr=rate)
            return replace(arm, name=masked(arm.name), model=shape, tokenizer=tokenizer, recipe=recipe, stages=stages)

        for name in self.both_ways:
            yield longer(self.row(name), self.longer, self._asking(self.longer_asking, self.adapter))
        yield longer(self._mixed(NAMED, self.questions_both_ways), self.longer_mixed)

    def _task(self, task: Task, hints: float) -> Arm:
        learns = Manipulation(population=self.world, task=task, hints=hints)
        stage = Stage(name=TASK, recipe=self.asking, adapter=self.adapter, learns=learns)
        return replace(self.row(BEST), name=taught(task, hints=hints > 0), stages=(stage,))


def cheap(site: str) -> str:
    """The name of a probe without an update of the embedding, at a site."""
    return f"rank-0 probe, {site}"


def learnt_from(people: int) -> str:
    """The name of Q-probing that learns from so many people."""
    return f"q-probe of {people}"


def combinations(world: Biographies) -> float:
    """Combinations of values that there could be, the company's city left out, which follows from the company."""
    return float(12 * len(DAYS) * world.years * world.cities * world.universities * world.majors * world.companies)


def core(
    world: Biographies, rows: tuple[str, ...], optimizer: str, *, model: str, exposures: int, finetune: int,
    asking_lr: float = 3e-4,
) -> tuple[Arm, ...]:  # fmt: skip
    """Rows alone, for controls and for the demo."""
    how = OPTIMIZERS[optimizer]
    pretrain = Recipe(steps=1, dtype="auto", checkpoints=ALONG, **how)
    people = Population(world=world, shape=size(model), pretrain=pretrain, exposures=exposures,
                        asking=asked_in(finetune, asking_lr))  # fmt: skip
    return tuple(people.row(name) for name in rows)


def asked_in(steps: int, peak_lr: float, **more: Any) -> Recipe:
    """The fine-tuning of all weights on questions."""
    how: dict[str, Any] = {"batch": 48, "warmup": 20, "weight_decay": 0.01, "dtype": "auto",
                           "checkpoints": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0), **more}  # fmt: skip
    return Recipe(steps=steps, peak_lr=peak_lr, **how)


def bench_of(scale: str) -> Bench | None:
    """What is trained at a scale; None where there is none."""
    also = tuple(words())
    fast = Recipe(steps=1, dtype="auto", checkpoints=ALONG, **OPTIMIZERS["muon"])
    match scale:
        case "smoke":
            world = replace(SMALL, people=40, names=(8, 8, 16), also=also)
            return Bench(
                world=world, shape=size("2x64"), pretrain=fast, exposures=20, asking=asked_in(20, 3e-4), minority=20,
                celebrities=10, couples=("couple1",), prose=(1,), recipes=_recipes(20)[-1:],
                examined=(FAMOUS,), few_people=(10,), doses=_doses(0.5),
                p_fit=Fit(rank=2, steps=4, batch=8), q_fit=Fit(rank=16, steps=4, batch=16),
                longer_asking=asked_in(20, 1e-3),
            )  # fmt: skip
        case "laptop":
            return Bench(
                world=replace(SMALL, also=also), shape=size("3x128"), pretrain=fast, exposures=64,
                asking=asked_in(480, 3e-4), minority=200, celebrities=120, recipes=_recipes(480),
                examined=(FAMOUS, "single+fullname"), few_people=(50, 100),
                couples=("couple5",), doses=(Dose(questions=0.25), *_doses(0.5, 0.75)),
                p_fit=Fit(rank=2, steps=150, batch=16, peak_lr=1e-2),
                q_fit=Fit(rank=16, steps=200, batch=32, peak_lr=1e-2), longer_asking=asked_in(960, 1e-3),
            )  # fmt: skip
        case "gpu":
            return _gpu(also)
        case "paper":
            return _paper(also)
    return None


def _doses(*shares: float) -> tuple[Dose, ...]:
    return tuple(Dose(questions=share, same_steps=same) for same in (False, True) for share in shares)


def _recipes(steps: int) -> tuple[tuple[str, Recipe, LoRA | None], ...]:
    """The paper's grid in our sizes: rates and decay of all weights, ranks of LoRA, and loss on the question too."""
    lora = asked_in(steps, 3e-3)
    return (
        ("full 1e-3", asked_in(steps, 1e-3), None),
        ("full 1e-4", asked_in(steps, 1e-4), None),
        ("LoRA 8 embedding 32", lora, LoRA(rank=8, embedding_rank=32)),
        ("LoRA 8 embedding 0", lora, LoRA(rank=8, embedding_rank=0)),
        ("LoRA 16 embedding 128", lora, LoRA(rank=16, embedding_rank=128)),
        ("full loss on questions too", asked_in(steps, 3e-4, given_weight=1.0), None),
    )


def _paper_recipes(steps: int) -> tuple[tuple[str, Recipe, LoRA | None], ...]:
    """The paper's grid (appendices B to D): rates and decays of all weights, ranks of LoRA."""
    full = [
        (f"full {rate:g} decay {decay:g}", _long_asking(steps, peak_lr=rate, weight_decay=decay), None)
        for rate in (1e-3, 3e-4, 1e-4) for decay in (0.01, 0.001)
    ]  # fmt: skip
    low: list[tuple[str, Recipe, LoRA | None]] = [
        (f"LoRA {rank} embedding {wide}", _long_asking(steps), LoRA(rank=rank, embedding_rank=wide))
        for rank in (2, 4, 8, 16, 32) for wide in (0, 16, 32, 64, 128) if (rank, wide) != (8, 128)
    ]  # fmt: skip
    return (*full, *low)


def _long_asking(steps: int, **more: Any) -> Recipe:
    how: dict[str, Any] = {"peak_lr": 3e-4, "warmup": 0, "weight_decay": 0.01, "dtype": "bfloat16",
                           "checkpoints": (0.0, 0.02, 0.1, 0.25, 0.5, 1.0), **more}  # fmt: skip
    return Recipe(steps=steps, batch=48, **how)


def _gpu(also: tuple[str, ...]) -> Bench:
    """10,000 people, 6 layers of 384 (the sheet, section 11.2)."""
    pretrain = Recipe(steps=1, batch=168, window=512, peak_lr=1e-3, warmup=1_000, dtype="bfloat16", checkpoints=ALONG)
    return Bench(
        world=Biographies(people=10_000, names=(100, 100, 250), also=also), shape=size("6x384"), pretrain=pretrain,
        exposures=540, asking=_long_asking(10_000), adapter=LoRA(rank=8, embedding_rank=64),
        tokenizer=TokenizerSpec(kind="bpe", vocabulary=4_096), rows=AUGMENTATIONS, mixed=PAIR, minority=10_000,
        celebrities=10_000, recipes=_paper_recipes(10_000)[:6], p_fit=Fit(rank=2, steps=5_000, batch=50),
        q_fit=Fit(rank=16, steps=10_000, batch=200), questions=0.75, questions_both_ways=0.75, exposures_mixed=300,
        doses=_doses(0.25, 0.5), both_ways=(SINGLE, BEST, NAMED), longer_mixed=2, longer_lr=3e-4,
        longer_asking=_long_asking(10_000),
    )  # fmt: skip


def _paper(also: tuple[str, ...]) -> Bench:
    """100,000 people, GPT2-small with rotary positions, LoRA fine-tuning (arXiv:2309.14316, section 2.1)."""
    pretrain = Recipe(steps=1, batch=672, window=512, peak_lr=1e-3, warmup=1_000, dtype="bfloat16", checkpoints=ALONG)
    return Bench(
        world=Biographies(people=100_000, also=also), shape=size("12x768"), pretrain=pretrain, exposures=538,
        asking=_long_asking(50_000), adapter=LoRA(rank=8, embedding_rank=128),
        tokenizer=TokenizerSpec(kind="bpe", vocabulary=8_192), rows=AUGMENTATIONS, mixed=AUGMENTATIONS,
        # Shares of texts; of tokens they are 80 %, and 20, 40 and 60 % as in the paper's Figure 10.
        questions=0.936, doses=tuple(Dose(questions=share, same_steps=True) for share in (0.478, 0.709, 0.846)),
        questions_both_ways=0.936, exposures_mixed=108, minority=100_000, celebrities=100_000,
        recipes=_paper_recipes(50_000), p_fit=Fit(rank=2, steps=30_000, batch=50),
        q_fit=Fit(rank=16, steps=30_000, batch=200),
        both_ways=AUGMENTATIONS, longer=2, longer_mixed=2, longer_lr=3e-4, longer_asking=_long_asking(50_000),
    )  # fmt: skip
