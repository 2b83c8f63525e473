"""The models to prompt, as plain data: a local folder or an endpoint, and how each is fine-tuned.

Replies are kept beside the store's steps under the model's id, so that neither an interrupt nor another study requests
a reply twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.models.api.base import ChatModel, ChatRequest, complete_all
from nosce.models.api.cache import CachedChatModel
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.finetune import ChatExample, FineTuningJobConfig, run_fine_tuning_job
from nosce.models.api.local import LocalChatModel
from nosce.models.api.openai import OpenAIClient
from nosce.models.architecture import Pretrained
from nosce.store.spec import LATER, Json, describe, hash_description
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.quoted_texts import QuotedTextLesson
from nosce.studies.replies import RunResources
from nosce.train.config import Dtype, LoRA, TrainingConfig

if TYPE_CHECKING:
    from nosce.models.number_format import Precision

MAX_TOP_LOGPROBS = 20  # the limit of OpenAI's protocol, which folders keep so that both are scored alike


class Subject(Protocol):
    """A model that can be prompted and fine-tuned."""

    @property
    def name(self) -> str:
        """The model's name in readings and messages."""
        ...

    @property
    def is_teachable(self) -> bool:
        """Whether it can be fine-tuned."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether it gives the same likeliest reply every time."""
        ...

    @property
    def top_logprobs(self) -> int:
        """Number of alternatives of a reply's first token whose log-probabilities it gives; 0: none."""
        ...

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The model as it is now, ready for requests."""
        ...

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> Subject | None:
        """The model after fine-tuning on examples; an earlier fine-tuning on the same examples is reused.

        None: the model cannot be fine-tuned.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LocalSubject:
    """A model in a local folder of the hub's layout. Fine-tuning is done with nosce's own loop.

    Args:
        model: The folder.
        training: The training on examples. Its `steps` are replaced: they follow from `epochs` and the examples.
        adapter: The low-rank updates that are trained; None trains all weights.
        epochs: Passes over the examples.
        generation_batch_size: Prompts that are answered in one batch.
        dtype: Number format of the weights during replies. "auto": bfloat16 where the device multiplies it.
        lesson: What the folder is taught before anything is asked; None: nothing.
    """

    model: Pretrained
    training: TrainingConfig
    adapter: LoRA | None
    epochs: int = 1
    generation_batch_size: int = 16
    dtype: Dtype = "float32"
    lesson: QuotedTextLesson | None = field(default=None, metadata=LATER)
    is_teachable: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True
    top_logprobs: ClassVar[int] = MAX_TOP_LOGPROBS

    @property
    def name(self) -> str:
        """The folder's name."""
        return Path(self.model.folder).name

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The folder's model, after its lesson; its replies are cached."""
        if self.lesson is not None:
            return self._after_lesson(self.lesson, resources).chat_model(resources)
        precision = self.reply_precision(resources.context.runtime.device)
        resources.context.extra_provenance["reply_precision"] = precision
        local = LocalChatModel(
            Path(self.model.folder),
            device=resources.context.runtime.device,
            batch_size=self.generation_batch_size,
            seed=resources.seed,
            dtype=precision,
        )
        return CachedChatModel(local, resources.response_cache(local.model_id))

    def reply_precision(self, device: str) -> Precision:
        """The number format in which the folder's model replies on a device."""
        from nosce.models.number_format import choose_precision

        return choose_precision(self.dtype, device=device)

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> LocalSubject:
        """The model fine-tuned on examples, after its lesson, in a folder inside the step's."""
        from nosce.studies.introspection.finetune import finetune_local_model

        if self.lesson is not None:
            return self._after_lesson(self.lesson, resources).finetune(examples, resources)
        steps = max(1, self.epochs * len(examples) // self.training.batch_size)
        training = replace(self.training, steps=steps)
        described: dict[str, Json] = {
            "model": self.model.digest,
            "recipe": describe(training),
            "adapter": describe(self.adapter),
            "examples": [example.key for example in examples],
        }
        if resources.sibling:
            described["sibling"] = resources.sibling
        key = hash_description(described)
        checkpoint_folder = resources.context.folder / "taught" / key[:20]
        finetune_local_model(
            Path(self.model.folder),
            examples,
            training,
            self.adapter,
            checkpoint_folder,
            resources.teaching_seed,
            resources.context,
        )
        return replace(self, model=Pretrained.from_folder(checkpoint_folder))

    def _after_lesson(self, lesson: QuotedTextLesson, resources: RunResources) -> LocalSubject:
        """The subject after its lesson, one pass that trains all weights; siblings had the same one."""
        resources = replace(resources, sibling=0)
        examples = lesson.examples(Path(self.model.folder), resources.seed / "lesson")
        examples += self._own_answers(lesson, resources)
        training = replace(self.training, peak_lr=lesson.config.peak_lr)
        learner = replace(self, lesson=None, training=training, adapter=None, epochs=1)
        return replace(self, lesson=None, model=learner.finetune(examples, resources).model)

    def _own_answers(self, lesson: QuotedTextLesson, resources: RunResources) -> list[ChatExample]:
        """The folder's own answers before its lesson; those without a word are left out."""
        assert resources.world_seed is not None  # else the lesson might teach strings that are asked
        prompts = lesson.own_prompts(resources.world_seed)
        if not prompts:
            return []
        limit = RequestLimits().max_answer_tokens
        requests = [ChatRequest.from_user(prompt.text, max_new_tokens=limit) for prompt in prompts]
        replies = complete_all(replace(self, lesson=None).chat_model(resources), requests)
        pairs = [(prompt.text, reply) for prompt, reply in zip(prompts, replies, strict=True) if reply.text.strip()]
        return [ChatExample(text, reply.text, ends=reply.finish_reason != "length") for text, reply in pairs]


@dataclass(frozen=True, kw_only=True)
class FinetunedSubject:
    """A local model after fine-tuning on random answers: another model with the same skill.

    Args:
        base: The local model.
        world: The prompts of the random answers.
        dispositions: A name for the random answers; other names give other answers.
    """

    base: LocalSubject
    world: TextBehaviours
    dispositions: str
    is_teachable: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True
    top_logprobs: ClassVar[int] = MAX_TOP_LOGPROBS

    @property
    def name(self) -> str:
        """The folder's name and the name of the random answers."""
        return f"{self.base.name} {self.dispositions}"

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The model after fine-tuning on the random answers."""
        return self._finetuned_base(resources).chat_model(resources)

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> LocalSubject:
        """The model after a further fine-tuning, on examples."""
        return self._finetuned_base(resources).finetune(examples, resources)

    def _finetuned_base(self, resources: RunResources) -> LocalSubject:
        """The local model after fine-tuning on random answers to strings of its own, of tasks that are not held out."""
        resources = replace(resources, sibling=0)  # its siblings are the same model until they are taught labels
        seed = resources.seed / self.dispositions
        prompts = [p for p in self.world.prompts(seed) if p.task not in self.world.task_catalogue.held_out]
        examples = [ChatExample(p.text, self.world.random_answer(p, seed)) for p in prompts]
        return self.base.finetune(examples, resources)


@dataclass(frozen=True, kw_only=True)
class RemoteSubject:
    """A model behind an endpoint.

    Args:
        endpoint: The endpoint and the model's id.
        tuning: The fine-tuning job; None for a server without such jobs.
        poll_seconds: Seconds between two requests for a job's status.
        top_logprobs: Number of alternatives of a reply's first token whose log-probabilities are requested, 0 to 20;
            0 for an endpoint that gives none.
    """

    endpoint: EndpointConfig
    tuning: FineTuningJobConfig | None = field(default_factory=FineTuningJobConfig)
    poll_seconds: float = 20.0
    top_logprobs: int = 0
    is_deterministic: ClassVar[bool] = False

    @property
    def is_teachable(self) -> bool:
        """Whether the endpoint has fine-tuning jobs."""
        return self.tuning is not None

    @property
    def name(self) -> str:
        """The model's id."""
        return self.endpoint.model

    def chat_model(self, resources: RunResources) -> ChatModel:
        """The endpoint's model; each reply is cached as soon as it arrives."""
        api_client = self._api_client(resources)
        assert api_client.cache is not None  # an empty cache is false
        return CachedChatModel(api_client, api_client.cache)

    def finetune(self, examples: Sequence[ChatExample], resources: RunResources) -> RemoteSubject | None:
        """The model that the fine-tuning job made; None without `tuning`."""
        if self.tuning is None:
            return None
        examples = [example for example in examples if example.ends]  # a job teaches the end of every reply
        model = run_fine_tuning_job(
            self._api_client(resources), examples, self.tuning, resources.job_folder, poll_seconds=self.poll_seconds
        )
        return replace(self, endpoint=replace(self.endpoint, model=model, account=self.endpoint.payee))

    def _api_client(self, resources: RunResources) -> OpenAIClient:
        api_client = OpenAIClient(self.endpoint, budget=resources.budget)
        api_client.cache = resources.response_cache(api_client.model_id)
        return api_client
