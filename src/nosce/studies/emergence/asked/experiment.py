"""The experiment `AskedArithmetic`: one model is asked problems in words, and its replies are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl

from nosce.errors import DataError
from nosce.evals.base import Experiment, ExperimentContext
from nosce.models.api.base import ChatModel, ChatRequest, complete_all
from nosce.models.api.cache import CachedChatModel
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.local import LocalChatModel
from nosce.models.api.openai import OpenAIClient
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.emergence.asked.problems import WordProblem, WordProblems
from nosce.studies.emergence.asked.scoring import likelihood_table, reply_table
from nosce.studies.replies import ReplyProgress, RunResources

TIMED_PROBLEMS = 2  # of each kind, by which the whole is priced


@dataclass(frozen=True, kw_only=True)
class AskedArithmetic(Experiment):
    """A model is asked problems in words, greedily; nothing is trained.

    Readings: those of `reply_table`; and of a folder those of `likelihood_table`. An endpoint gives the log-probability
    of its own reply alone and never of a given target, so its readings have no `log_likelihood`. Each reply is kept as
    soon as it is there.

    Args:
        problems: The problems; every model is asked the same.
        model: The model in a folder, or the endpoint.
        chat: Ask a folder through its chat template. An endpoint always asks through its own.
        max_new_tokens: Most tokens of a reply.
        dtype: Number format of a folder's weights.
        generation_batch_size: Replies of a folder that are generated side by side.
    """

    problems: WordProblems
    model: Pretrained | EndpointConfig
    chat: bool = False
    max_new_tokens: int = 12
    dtype: Literal["float32", "bfloat16"] = "float32"
    generation_batch_size: int = 16
    keeps_partial_results: ClassVar[bool] = True
    reports_progress: ClassVar[bool] = True
    name: str = "arithmetic"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """The readings of a folder, on the CPU and without a cache.

        Raises:
            DataError: The model is behind an endpoint, whose replies only a step of a run keeps.
        """
        if not isinstance(self.model, Pretrained):
            raise DataError(f"{self.model.model} is behind an endpoint, so only a run can ask it; use `nosce run`.")
        local = self._local_model(self.model, "cpu")
        local.load()
        yield pl.DataFrame()
        problems = self.problems.draw(seed)
        requests = [self._request(problem) for problem in problems]
        yield reply_table(problems, complete_all(local, requests))
        yield self._likelihood_table(local, problems)

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """The readings, with every reply kept and with reports of progress and of the money spent."""
        assert isinstance(context, StepContext)  # the pipeline has no other
        resources = RunResources.of_run(context, seed / "asked")
        local = None
        if isinstance(self.model, Pretrained):
            local = self._local_model(self.model, context.runtime.device)
            model: ChatModel = CachedChatModel(local, resources.response_cache(local.model_id))
        else:
            api_client = OpenAIClient(self.model, budget=resources.budget)
            api_client.cache = resources.response_cache(api_client.model_id)
            model = CachedChatModel(api_client, api_client.cache)
        problems = self.problems.draw(seed)
        progress = ReplyProgress(resources, len(problems))
        requests = [self._request(problem) for problem in problems]
        yield reply_table(problems, progress.complete(model, requests))
        if local is not None:
            yield self._likelihood_table(local, problems)
        context.extra_provenance["spent"] = round(resources.budget.spent, 6)

    def item_prompts(self, seed: Seed) -> dict[str, str]:
        """The message of each problem."""
        return {problem.id: problem.prompt for problem in self.problems.draw(seed)}

    def timing_subset(self) -> tuple[AskedArithmetic, float] | None:
        """A few problems of each kind; None for an endpoint, whose time is not this machine's."""
        if not isinstance(self.model, Pretrained):
            return None
        n_timed = min(TIMED_PROBLEMS, self.problems.n_problems)
        subset = replace(self, problems=replace(self.problems, n_problems=n_timed))
        return subset, len(self.problems.draw(Seed(0))) / len(subset.problems.draw(Seed(0)))

    def _local_model(self, model: Pretrained, device: str) -> LocalChatModel:
        return LocalChatModel(
            Path(model.folder),
            device=device,
            batch_size=self.generation_batch_size,
            dtype=self.dtype,
            uses_chat_template=self.chat,
        )

    def _request(self, problem: WordProblem) -> ChatRequest:
        return ChatRequest.from_user(problem.prompt, max_new_tokens=self.max_new_tokens)

    def _likelihood_table(self, local: LocalChatModel, problems: list[WordProblem]) -> pl.DataFrame:
        """Without a chat template the target stands behind "A:" and a blank; in a chat it begins the reply."""
        requests = [self._request(problem) for problem in problems]
        targets = [problem.target if self.chat else f" {problem.target}" for problem in problems]
        return likelihood_table(problems, local.target_log_likelihoods(requests, targets))
