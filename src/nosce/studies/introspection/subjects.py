"""The models to prompt, as plain data: a local folder or an endpoint, and how each is fine-tuned.

Replies are kept beside the store's steps under the model's id, so that neither an interrupt nor another study requests
a reply twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, NaturalTextBehaviours, random_answer
from nosce.models.api.base import ChatModel
from nosce.models.api.budget import Budget
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.finetune import ChatExample, FineTuningJobConfig, run_fine_tuning_job
from nosce.models.api.local import LocalChatModel
from nosce.models.api.openai import OpenAIClient
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.spec import describe, hash_description
from nosce.train.config import LoRA, TrainingConfig


@dataclass(frozen=True)
class RunResources:
    """Where one run of a protocol keeps its results, and the budget of all its requests."""

    context: StepContext
    seed: Seed
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of_run(cls, context: StepContext, seed: Seed) -> RunResources:
        """With a budget that all steps and restarts of the run share."""
        name = context.runtime.ledger_name
        ledger = None if name is None else replies_folder(context) / name
        return cls(context, seed, Budget(context.runtime.max_cost, ledger, context.folder.name))

    @property
    def job_folder(self) -> Path:
        """Where the ids of fine-tuning jobs are kept."""
        return replies_folder(self.context)

    def response_cache(self, model_id: str) -> ResponseCache:
        """The file of a model's replies."""
        name = f"{hashlib.sha256(model_id.encode()).hexdigest()[:20]}.jsonl"
        return ResponseCache(replies_folder(self.context) / name)


def replies_folder(context: StepContext) -> Path:
    """The folder of everything that was paid for: of the store, or of a step without a store."""
    return (context.folder if context.machine_file is None else context.machine_file.parent) / "replies"


class Subject(Protocol):
    """A model that can be prompted and fine-tuned."""

    @property
    def name(self) -> str:
        """For readings and messages."""
        ...

    def chat_model(self, resources: RunResources) -> ChatModel:
        """As they are."""
        ...

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> Subject | None:
        """The same, taught examples; what was taught before is found again. None: it cannot be taught."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalSubject:
    """A model in a local folder of the hub's layout; taught by low-rank updates, with our own loop."""

    model: Pretrained
    training: TrainingConfig  # steps are those of one round through the examples, where 0 would be said
    adapter: LoRA
    epochs: int = 1
    generation_batch_size: int = 16  # prompts answered at once
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights while replies are written

    @property
    def name(self) -> str:
        """The folder's."""
        return Path(self.model.folder).name

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The folder, whose replies are kept."""
        local = LocalChatModel(
            Path(self.model.folder),
            device=resources.context.runtime.device,
            batch_size=self.generation_batch_size,
            seed=resources.seed,
            dtype=self.dtype,
        )
        return CachedChatModel(local, resources.response_cache(local.model_id))

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> LocalSubject:
        """Another folder, below the step's own."""
        from nosce.studies.introspection.finetune import finetune_local_model

        steps = max(1, self.epochs * len(examples) // self.training.batch_size)
        training = replace(self.training, steps=steps)
        key = hash_description(
            {
                "model": self.model.digest,
                "recipe": describe(training),
                "adapter": describe(self.adapter),
                "examples": [[e.prompt, e.completion] for e in examples],
            }
        )
        checkpoint_folder = resources.context.folder / "taught" / key[:20]
        if not checkpoint_folder.exists():
            finetune_local_model(
                Path(self.model.folder),
                examples,
                training,
                self.adapter,
                checkpoint_folder,
                resources.seed / "taught",
                resources.context,
            )
        return replace(self, model=Pretrained.from_folder(checkpoint_folder))


@dataclass(frozen=True, kw_only=True)
class FinetunedSubject:
    """A folder's model after it was taught other answers: another model with the same skill."""

    base: LocalSubject
    world: NaturalTextBehaviours
    dispositions: str  # names whose they are

    @property
    def name(self) -> str:
        """The folder's, and whose answers it gives."""
        return f"{self.base.name} {self.dispositions}"

    def chat_model(self, resources: RunResources) -> ChatModel:
        """As it answers now."""
        return self._finetuned_base(resources).chat_model(resources)

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> LocalSubject:
        """What it becomes by further examples."""
        return self._finetuned_base(resources).finetune(examples, resources)

    def _finetuned_base(self, resources: RunResources) -> LocalSubject:
        """Taught answers to strings of its own, of the tasks that are not held out."""
        seed = resources.seed / self.dispositions
        prompts = [p for p in self.world.prompts(seed) if p.task not in HELD_OUT_TEXT_TASKS]
        examples = [ChatExample(p.text, random_answer(p, seed)) for p in prompts]
        return self.base.finetune(examples, resources)


@dataclass(frozen=True, kw_only=True)
class RemoteSubject:
    """A model behind an endpoint; taught by a fine-tuning job. Without `tuning` it is asked and never taught."""

    endpoint: EndpointConfig
    tuning: FineTuningJobConfig | None = field(default_factory=FineTuningJobConfig)
    poll_seconds: float = 20.0  # seconds between two looks at a job

    @property
    def name(self) -> str:
        """The model's id."""
        return self.endpoint.model

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The endpoint, whose replies are kept at once."""
        api_client = self._api_client(resources)
        assert api_client.cache is not None  # an empty cache is false
        return CachedChatModel(api_client, api_client.cache)

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> RemoteSubject | None:
        """The model that the job leaves; None without `tuning`."""
        if self.tuning is None:
            return None
        model = run_fine_tuning_job(
            self._api_client(resources), examples, self.tuning, resources.job_folder, poll_seconds=self.poll_seconds
        )
        return replace(self, endpoint=replace(self.endpoint, model=model))

    def _api_client(self, resources: RunResources) -> OpenAIClient:
        api_client = OpenAIClient(self.endpoint, budget=resources.budget)
        api_client.cache = resources.response_cache(api_client.model_id)
        return api_client
