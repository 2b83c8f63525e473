"""Whom to ask, as plain data: a local folder or an endpoint, and how each is taught.

Replies are kept beside the store's steps under the name of who answered, so that neither an interrupt nor another study
asks for one twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from nosce.data.worlds.behaviours.natural_text import HELD_OUT, Texts, plain
from nosce.models.api.base import Sampler
from nosce.models.api.cache import Cached, Replies
from nosce.models.api.finetune import Example, Tuning, tuned
from nosce.models.api.local import Local
from nosce.models.api.openai import Asker, Endpoint, Purse
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.store.spec import describe, digest
from nosce.train.config import LoRA, Recipe


@dataclass(frozen=True)
class Desk:
    """Where one run of a protocol keeps what it learns, and the purse that all its requests are paid from."""

    job: Job
    seed: Seed
    purse: Purse = field(default_factory=Purse)

    def replies(self, answerer: str) -> Replies:
        """The file of replies of who answers."""
        root = self.job.folder if self.job.memory is None else self.job.memory.parent
        return Replies(root / "replies" / f"{hashlib.sha256(answerer.encode()).hexdigest()[:20]}.jsonl")


class Who(Protocol):
    """Somebody who can be asked and taught."""

    @property
    def name(self) -> str:
        """For readings and messages."""
        ...

    def sampler(self, desk: Desk) -> Sampler:
        """As they are."""
        ...

    def taught(self, examples: Sequence[Example], desk: Desk) -> Who:
        """The same, taught examples; what was taught before is found again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A model in a local folder of the hub's layout; taught by low-rank updates, with our own loop."""

    model: Pretrained
    recipe: Recipe  # steps are those of one round through the examples, where 0 would be said
    adapter: LoRA
    rounds: int = 1
    batch: int = 16  # prompts answered at once
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights while replies are written

    @property
    def name(self) -> str:
        """The folder's."""
        return Path(self.model.folder).name

    def sampler(self, desk: Desk) -> Sampler:
        """The folder, whose replies are kept."""
        local = Local(Path(self.model.folder), device=desk.job.machine.device, batch=self.batch, seed=desk.seed,
                      dtype=self.dtype)  # fmt: skip
        return Cached(local, desk.replies(local.answerer))

    def taught(self, examples: Sequence[Example], desk: Desk) -> Folder:
        """Another folder, below the step's own."""
        from nosce.studies.introspection.finetune import teach

        steps = max(1, self.rounds * len(examples) // self.recipe.batch)
        recipe = replace(self.recipe, steps=steps)
        key = digest({"model": self.model.digest, "recipe": describe(recipe), "adapter": describe(self.adapter),
                      "examples": [[e.prompt, e.reply] for e in examples]})  # fmt: skip
        place = desk.job.folder / "taught" / key[:20]
        if not place.exists():
            teach(Path(self.model.folder), examples, recipe, self.adapter, place, desk.seed / "taught", desk.job)
        return replace(self, model=Pretrained.at(place))


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """A folder's model after it was taught other answers: somebody else with the same skill."""

    who: Folder
    world: Texts
    dispositions: str  # names whose they are

    @property
    def name(self) -> str:
        """The folder's, and whose answers it gives."""
        return f"{self.who.name} {self.dispositions}"

    def sampler(self, desk: Desk) -> Sampler:
        """As it answers now."""
        return self._shifted(desk).sampler(desk)

    def taught(self, examples: Sequence[Example], desk: Desk) -> Folder:
        """What it becomes by further examples."""
        return self._shifted(desk).taught(examples, desk)

    def _shifted(self, desk: Desk) -> Folder:
        """Taught answers to strings of its own, of the tasks that are not held out."""
        seed = desk.seed / self.dispositions
        prompts = [p for p in self.world.prompts(seed) if p.task not in HELD_OUT]
        examples = [Example(p.text, plain(p, seed)) for p in prompts]
        return self.who.taught(examples, desk)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A model behind an endpoint; taught by a fine-tuning job, where the endpoint has such."""

    endpoint: Endpoint
    tuning: Tuning = field(default_factory=Tuning)
    every: float = 20.0  # seconds between two looks at a job

    @property
    def name(self) -> str:
        """The model's id."""
        return self.endpoint.model

    def sampler(self, desk: Desk) -> Sampler:
        """The endpoint, whose replies are kept at once."""
        asker = self._asker(desk)
        return Cached(asker, asker.known or desk.replies(asker.answerer))

    def taught(self, examples: Sequence[Example], desk: Desk) -> Remote:
        """The model that the job leaves."""
        folder = desk.replies("").path.parent
        model = tuned(self._asker(desk), examples, self.tuning, folder, every=self.every)
        return replace(self, endpoint=replace(self.endpoint, model=model))

    def _asker(self, desk: Desk) -> Asker:
        asker = Asker(self.endpoint, purse=desk.purse)
        asker.known = desk.replies(asker.answerer)
        return asker
